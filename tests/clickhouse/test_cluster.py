"""Tables over a cluster: every migration has a form there, and shards give the answers of one server.

The engine here is one process without a Keeper. So what is run is each statement without replication; two databases
stand for two shards, and a Merge table over both for the Distributed one, whose own statement is run with one shard.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.clickhouse.cluster import EVERYWHERE, SHARDED_BY, on_cluster
from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.schema import CREATE_RECORD, packaged_migrations
from pipeline.clickhouse.tables import STORED, Column, Table
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.kafka.broker import free_port

STATEMENTS = [CREATE_RECORD.strip(), *(each for known in packaged_migrations() for each in known.statements)]


@pytest.fixture
def warehouse(engine: None) -> Iterator[Warehouse]:
    with Warehouse.embedded(None) as fresh:
        yield fresh


def forms(database: str = "crosscredit") -> list[str]:
    return [form for each in STATEMENTS for form in on_cluster(each, "everyone", database)]


def unreplicated(statement: str) -> str:
    """The statement for an engine that has no Keeper and no other servers."""
    statement = statement.replace(" ON CLUSTER everyone", "")
    return re.sub(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?", r"\1(", statement)


def test_every_statement_of_every_migration_reads_on_a_cluster(warehouse: Warehouse) -> None:
    for form in forms():
        ((read,),) = warehouse.query("SELECT formatQuery({sql:String})", {"sql": form})
        assert "ON CLUSTER everyone" in str(read) or form.startswith("INSERT INTO ")
    text = "\n".join(forms())
    for table in STORED:
        assert f"`crosscredit`.{table}_local ON CLUSTER" in text
        assert f"`crosscredit`.{table} ON CLUSTER" in text
    assert "schema_migrations_local" not in text
    # A server that joins runs the statements again, and must find what the others have under the same path.
    paths = re.findall(r"'/clickhouse/tables/([^']*)', '([^']*)'", text)
    assert len({path for path, _ in paths}) == len(paths) > len(STORED)
    for path, replica in paths:
        of_one_shard = path.startswith("{shard}/crosscredit/") and replica == "{replica}"
        assert of_one_shard or (path == "all/crosscredit/schema_migrations" and replica == "{shard}-{replica}")


def test_a_row_never_changes_its_shard(warehouse: Warehouse) -> None:
    """What chooses the shard must be the same in every version of a row: a part of what identifies it."""
    warehouse.migrate()
    listed = (
        "SELECT name, sorting_key FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    )
    for name, key in warehouse.query(listed):
        if name not in EVERYWHERE:
            assert set(SHARDED_BY[str(name)]) <= set(str(key).strip("()").split(", ")), name
    assert STORED.keys() <= SHARDED_BY.keys()


@pytest.mark.parametrize(
    ("statement", "reads"),
    [
        ("ALTER TABLE orders ADD COLUMN IF NOT EXISTS note String",
         ["ALTER TABLE `db`.orders_local ON CLUSTER c ADD COLUMN IF NOT EXISTS note String",
          "ALTER TABLE `db`.orders ON CLUSTER c ADD COLUMN IF NOT EXISTS note String"]),
        ("ALTER TABLE orders ADD PROJECTION IF NOT EXISTS p (SELECT amount_minor ORDER BY order_id)",
         ["ALTER TABLE `db`.orders_local ON CLUSTER c ADD PROJECTION IF NOT EXISTS p "
          "(SELECT amount_minor ORDER BY order_id)"]),
        ("ALTER TABLE orders MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'",
         ["ALTER TABLE `db`.orders_local ON CLUSTER c MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'"]),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS feed TO order_amounts AS SELECT a FROM orders WHERE FROM_x",
         ["CREATE MATERIALIZED VIEW IF NOT EXISTS `db`.feed ON CLUSTER c TO `db`.order_amounts "
          "AS SELECT a FROM `db`.orders_local AS orders WHERE FROM_x"]),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS feed TO order_amounts AS SELECT o.a FROM orders AS o WHERE b",
         ["CREATE MATERIALIZED VIEW IF NOT EXISTS `db`.feed ON CLUSTER c TO `db`.order_amounts "
          "AS SELECT o.a FROM `db`.orders_local AS o WHERE b"]),
        ("INSERT INTO orders SELECT * FROM orders", ["INSERT INTO orders SELECT * FROM orders"]),
        ("DROP VIEW IF EXISTS v", ["DROP VIEW IF EXISTS `db`.v ON CLUSTER c"]),
        ("DROP TABLE IF EXISTS orders", ["DROP TABLE IF EXISTS `db`.orders_local ON CLUSTER c",
                                         "DROP TABLE IF EXISTS `db`.orders ON CLUSTER c"]),
    ],
)  # fmt: skip
def test_other_statements_that_migrations_may_have(statement: str, reads: list[str]) -> None:
    assert on_cluster(statement, "c", "db") == reads


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE MATERIALIZED VIEW v ENGINE = Log AS SELECT 1", "no form on a cluster yet: CREATE MATERIALIZED VIEW v"),
        ("CREATE TABLE IF NOT EXISTS other (a UInt8) ENGINE = MergeTree ORDER BY a", "how the table other is spread"),
        ("ALTER TABLE orders ADD COLUMN a String, ADD INDEX i a TYPE minmax", "Alter columns and storage in"),
    ],
)  # fmt: skip
def test_what_nobody_thought_of_is_refused(statement: str, said: str) -> None:
    with pytest.raises(WarehouseError, match=said):
        on_cluster(statement, "c", "db")


def value(column: Column, chance: random.Random, few: bool) -> str:
    number = chance.randrange(4 if few else 1000)
    if column.type == "Bool":
        return str(number % 2)
    if "DateTime64" in column.type:
        return f"toDateTime64({1_700_000_000 + number}, 3, 'UTC')"
    return f"'{column.name[0]}{number}'" if column.is_text else str(number)


def rows_of(table: Table, chance: random.Random) -> list[Mapping[str, str]]:
    """Rows of few identities in many versions, some withdrawn, in no order."""
    names = [name for name in table.columns if name not in ("version", "is_deleted")]
    found = []
    for version in random.Random(table.name).sample(range(1, 400), 300):
        row = {name: value(table.columns[name], chance, name in table.key) for name in names}
        found.append({**row, "version": str(version), "is_deleted": str(int(chance.random() < 0.2))})
    return found


def inserted(table: str, rows: list[Mapping[str, str]]) -> str:
    values = ", ".join(f"({', '.join(row.values())})" for row in rows)
    return f"INSERT INTO {table} ({', '.join(rows[0])}) SETTINGS optimize_on_insert = 0 VALUES {values}"


def spread_out(warehouse: Warehouse, spread: Warehouse, shards: list[str]) -> Mapping[str, str]:
    """Make what a cluster of two shards has; returns for each local table what chooses the shard."""
    key_of: dict[str, str] = {}
    for form in forms("spread"):
        if found := re.search(r"AS `spread`\.(\w+) ENGINE = Distributed\('everyone', 'spread', '\1', (.*)\)$", form):
            key_of[found[1]] = found[2]
            over = f" AS `{shards[0]}`.{found[1]} ENGINE = Merge(REGEXP('^({'|'.join(shards)})$'), '^{found[1]}$')"
            spread.execute(unreplicated(form[: found.start()] + over).replace("`spread`.", ""))
        elif "MATERIALIZED VIEW" in form or form.startswith("INSERT INTO "):
            continue  # nothing can be inserted into what stands for Distributed here
        elif "_local ON CLUSTER" in form:
            for shard in shards:
                warehouse.execute(unreplicated(form).replace("`spread`.", f"`{shard}`."))
        else:  # on a cluster ClickHouse completes the names in a view with the database of the session, as here
            spread.execute(unreplicated(form).replace("`spread`.", ""))
    return key_of


def test_two_shards_answer_as_one_server_does(warehouse: Warehouse) -> None:
    chance = random.Random(20)
    warehouse.migrate()
    own = str(warehouse.query("SELECT currentDatabase()")[0][0])
    shards = [f"{own}_shard_0", f"{own}_shard_1"]
    for shard in shards:
        warehouse.execute(f"CREATE DATABASE {shard}")
    with Warehouse.embedded(None) as spread:
        key_of = spread_out(warehouse, spread, shards)
        for name, table in STORED.items():
            rows = rows_of(table, chance)
            for half in (rows[::2], rows[1::2]):
                warehouse.execute(inserted(name, half))
            assert warehouse.query(f"SELECT count() FROM {table.current}")[0][0], name
        both_have = 0
        for local, key in key_of.items():
            name = local.removesuffix("_local")
            for number, shard in enumerate(shards):
                warehouse.execute(
                    f"INSERT INTO {shard}.{local} SELECT * FROM {name} WHERE {key} % 2 = {number} "
                    "SETTINGS optimize_on_insert = 0"
                )
            both_have += all(warehouse.query(f"SELECT count() FROM {shard}.{local}")[0][0] for shard in shards)
        assert both_have >= len(STORED) - 2
        views = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"
        for (view,) in warehouse.query(views):
            here, there = (each.query(f"SELECT * FROM {view} ORDER BY ALL") for each in (warehouse, spread))
            assert here == there, view


ONE_SHARD = """
import chdb, sys
statements, folder = eval(sys.stdin.read()), sys.argv[1]
engine = chdb.connect(f"{folder}/data?config-file={folder}/config.xml")
engine.query("CREATE DATABASE crosscredit; USE crosscredit")
for statement in statements:
    print(engine.query(statement, "TabSeparated").bytes().decode(), end="")
"""

CLUSTER = """<clickhouse><tcp_port>{port}</tcp_port><remote_servers><everyone><shard><replica><host>127.0.0.1</host>
<port>{port}</port></replica></shard></everyone></remote_servers><profiles><default/></profiles><users><default>
<password></password><profile>default</profile><networks><ip>::/0</ip></networks></default></users></clickhouse>"""


def test_rows_that_go_in_by_the_distributed_table_come_out_by_the_views(tmp_path: Path) -> None:
    """The statements with Distributed as they are, on a cluster of one server: the engine that reads the file."""
    (tmp_path / "config.xml").write_text(CLUSTER.format(port=free_port()), encoding="utf-8")
    order = "INSERT INTO orders (event_id, brand_id, customer_id, amount_minor, version, is_deleted)"
    order += " SETTINGS distributed_foreground_insert = 1"
    statements = [
        *(unreplicated(each) for each in forms()),
        *(f"{order} VALUES ('o1', 'b', 'c', {v}, {v}, 0)" for v in (2, 3, 1)),
        f"{order} VALUES ('o2', 'b', 'c', 5, 1, 0), ('o2', 'b', 'c', 5, 2, 1)",
        "SELECT event_id, amount_minor FROM current_orders",
        "SELECT count() >= 3 FROM orders_local",
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_SHARD, str(tmp_path)], input=repr(statements), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "o1\t3\n1\n"), done.stderr
