"""The tables over several ClickHouse servers: what each statement of a migration becomes on a cluster.

A table ``orders`` becomes ``orders_local`` on every server, replicated within its shard, and ``orders`` itself, which
holds nothing and sends each row to the shard of its key. Inserts, queries and views go by the same names as on one
server. All versions of a row must be on one shard, or FINAL would show two of them: so columns choose the
shard that identify the row, and by nothing else.

The servers need a Keeper, and the macros ``shard`` and ``replica``. A server that joins gets its tables by running
``crosscredit migrate --again``: that is why Keeper's paths name the table, and not the UUID of one statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pipeline.clickhouse.errors import WarehouseError

SHARDED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "clicks": ("brand_id", "visitor_id"),
    "sign_ups": ("brand_id", "customer_id"),
    "orders": ("brand_id", "customer_id"),
    "refunds": ("brand_id", "customer_id"),
    "attributions": ("brand_id", "customer_id"),
    "referrals": ("program_id", "customer_id"),
    "ledger_entries": ("entry_id",),
    "milestones": ("program_id", "milestone_id", "scope_key", "period"),
    "dead_letters": ("source", "position"),
    "late_events": ("source", "position"),
    "pipeline_progress": ("name",),
    "program_terms": ("program_id",),
    "clicks_by_partner": ("click",),
    "corrected_clicks": ("click",),
    "credits_by_partner": ("conversion",),
    "passed_over": ("conversion",),
    "ledger_by_partner": ("entry",),
    "order_amounts": ("conversion",),
    "refund_amounts": ("refund",),
}
"""The columns by which a row's shard is chosen, each of them in the table's sorting key, which identifies it."""

EVERYWHERE: Final = frozenset({"schema_migrations"})
"""Tables that every server has whole."""

_NAME: Final = r"`?([A-Za-z_][A-Za-z0-9_]*)`?"
_CREATE_TABLE: Final = re.compile(rf"CREATE TABLE IF NOT EXISTS {_NAME}\s*(\(.*)", re.DOTALL)
_ENGINE: Final = re.compile(r"\bENGINE = (\w*MergeTree)(?:\(([^)]*)\))?")
_VIEW: Final = re.compile(
    rf"(CREATE OR REPLACE VIEW|CREATE VIEW IF NOT EXISTS|DROP VIEW IF EXISTS) {_NAME}(.*)", re.DOTALL
)
_FEED: Final = re.compile(
    rf"CREATE MATERIALIZED VIEW IF NOT EXISTS {_NAME} TO {_NAME} AS\b(.*?)\bFROM {_NAME}(\s+AS\s+\w+)?(.*)", re.DOTALL
)
_ALTER: Final = re.compile(rf"ALTER TABLE {_NAME}\s+(.*)", re.DOTALL)
_DROP_TABLE: Final = re.compile(rf"DROP TABLE IF EXISTS {_NAME}(.*)", re.DOTALL)
_COLUMNS: Final = re.compile(r"(ADD|DROP|RENAME|MODIFY|COMMENT|CLEAR) COLUMN\b")
_STORAGE: Final = re.compile(
    r"(ADD|DROP|MATERIALIZE|CLEAR) (INDEX|PROJECTION|STATISTICS)\b|MODIFY (SETTING|TTL|ORDER BY)\b"
)


def create_database(database: str, cluster: str) -> str:
    """The statement that makes the database on every server."""
    return f"CREATE DATABASE IF NOT EXISTS `{database}` ON CLUSTER {cluster}"


def on_cluster(statement: str, cluster: str, database: str) -> list[str]:
    """What to run instead of one statement of a migration.

    :raises WarehouseError: nobody has thought about how such a statement reads on a cluster.
    """
    where = f"ON CLUSTER {cluster}"
    if match := _CREATE_TABLE.match(statement):
        return _tables(match[1], match[2], cluster, database)
    if match := _VIEW.match(statement):
        return [f"{match[1]} `{database}`.{match[2]} {where}{match[3]}"]
    if match := _FEED.match(statement):  # of what a server stores, to the shard that the new row belongs to
        source = f"`{database}`.{_names(match[4])[0]}{match[5] or f' AS {match[4]}'}"
        made = f"CREATE MATERIALIZED VIEW IF NOT EXISTS `{database}`.{match[1]} {where} TO `{database}`.{match[2]}"
        return [f"{made} AS{match[3]}FROM {source}{match[6]}"]
    if statement.startswith("INSERT INTO "):  # by the names that spread rows
        return [statement]
    if match := _ALTER.match(statement):
        return _alterations(match[1], match[2], where, database)
    if match := _DROP_TABLE.match(statement):
        return [f"DROP TABLE IF EXISTS `{database}`.{name} {where}{match[2]}" for name in _names(match[1])]
    raise WarehouseError(
        f"A migration has a statement that has no form on a cluster yet: {statement.splitlines()[0]} ... Add it to "
        "pipeline/clickhouse/cluster.py, or leave --clickhouse-cluster away."
    )


def _tables(name: str, definition: str, cluster: str, database: str) -> list[str]:
    local, *spread = _names(name)
    engine = _ENGINE.search(definition)
    if engine is None or name not in SHARDED_BY.keys() | EVERYWHERE:
        raise WarehouseError(
            f"Nothing says how the table {name} is spread over a cluster. Add it to pipeline/clickhouse/cluster.py."
        )
    path, replica = ("{shard}", "{replica}") if spread else ("all", "{shard}-{replica}")
    own = f", {engine[2]}" if engine[2] else ""
    replicated = f"ENGINE = Replicated{engine[1]}('/clickhouse/tables/{path}/{database}/{local}', '{replica}'{own})"
    made = definition[: engine.start()] + replicated + definition[engine.end() :]
    found = [f"CREATE TABLE IF NOT EXISTS `{database}`.{local} ON CLUSTER {cluster} {made}"]
    for each in spread:
        key = f"cityHash64({', '.join(SHARDED_BY[name])})"
        found.append(
            f"CREATE TABLE IF NOT EXISTS `{database}`.{each} ON CLUSTER {cluster} AS `{database}`.{local} "
            f"ENGINE = Distributed('{cluster}', '{database}', '{local}', {key})"
        )
    return found


def _alterations(name: str, change: str, where: str, database: str) -> list[str]:
    """Storage is the local table's own affair; columns must be alike in both."""
    of_columns, of_storage = bool(_COLUMNS.search(change)), bool(_STORAGE.search(change))
    if of_columns == of_storage:
        raise WarehouseError(
            f"A migration alters {name} in a way that has no form on a cluster yet. Alter columns and storage in "
            "statements of their own, or see pipeline/clickhouse/cluster.py."
        )
    names = _names(name) if of_columns else _names(name)[:1]
    return [f"ALTER TABLE `{database}`.{each} {where} {change}" for each in names]


def _names(name: str) -> list[str]:
    """The table that holds rows, then the one that spreads them, if there is one."""
    return [name] if name in EVERYWHERE else [f"{name}_local", name]
