"""Upserts, views, types and errors of the warehouse: the same for the engine in this process and for a server."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.tables import STORED, TABLES, Table
from pipeline.clickhouse.warehouse import INSERT_SETTINGS, Warehouse

AT = 1_767_225_600_123
CLICK_KEY = ["brand_id", "visitor_id", "event_id", "occurred_at"]


def sample(table: Table, number: int = 1, **values: object) -> dict[str, object]:
    """One row with a distinct value in every column."""
    row: dict[str, object] = {}
    for index, column in enumerate(table.fields):
        if column.is_text:
            row[column.name] = f"{column.name}-{number}"
        elif column.is_time:
            row[column.name] = AT + index
        else:
            row[column.name] = column.type == "Bool" or number * 10 + index
    return row | values


def put(warehouse: Warehouse, table: str, *rows: dict[str, object]) -> None:
    for row in rows:
        warehouse.insert_rows(table, [tuple(row.values())], list(row))


@pytest.mark.parametrize("name", STORED)
def test_tables_are_what_the_migrations_make(warehouse: Warehouse, name: str) -> None:
    table = STORED[name]
    columns = warehouse.query(
        "SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() AND table = {t:String}"
        " ORDER BY position",
        {"t": name},
    )
    assert [(column, kind) for column, kind, default in columns if default != "MATERIALIZED"] == [
        (column.name, column.type) for column in table.columns.values()
    ]
    [(key, engine)] = warehouse.query(
        "SELECT sorting_key, engine_full FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        {"t": name},
    )
    assert str(key).strip("()") == ", ".join(table.key)
    assert str(engine).startswith("ReplacingMergeTree(version, is_deleted)")
    view = warehouse.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {t:String}"
        " ORDER BY position",
        {"t": table.current},
    )
    assert view == [(column.name, column.type) for column in table.fields]


@pytest.mark.parametrize("name", STORED)
def test_every_value_comes_back(warehouse: Warehouse, name: str) -> None:
    table = STORED[name]
    put(warehouse, name, sample(table))
    picked = ", ".join(
        f"toUnixTimestamp64Milli({column.name})" if column.is_time else column.name for column in table.fields
    )
    assert warehouse.query(f"SELECT {picked} FROM {table.current}") == [tuple(sample(table).values())]


@pytest.mark.parametrize("name", STORED)
def test_the_highest_version_stands_and_a_withdrawn_row_does_not(warehouse: Warehouse, name: str) -> None:
    table = STORED[name]
    kept, gone = sample(table, 1), sample(table, 2)
    told = next(each.name for each in reversed(table.fields) if each.name not in table.key)
    put(warehouse, name, kept | {"version": 3}, gone | {"version": 1}, gone | {"version": 4, "is_deleted": 1})
    put(warehouse, name, gone | {"version": 2}, kept | {"version": 2}, kept | {"version": 3})  # a replay
    assert warehouse.query(f"SELECT {told}, count() FROM {table.current} GROUP BY 1") == [
        (warehouse.query(f"SELECT {told} FROM {name} WHERE version = 3")[0][0], 1)
    ]


def test_repeats_within_one_insert_count_once(warehouse: Warehouse) -> None:
    rows = [("b", "v", "e", AT + version, version) for version in (2, 3, 1)]
    warehouse.insert_rows("clicks", rows, [*CLICK_KEY, "version"])
    assert warehouse.query("SELECT toUnixTimestamp64Milli(occurred_at) FROM current_clicks") == [(AT + 3,)]


def test_other_bytes_at_one_position_are_another_dead_letter(warehouse: Warehouse) -> None:
    columns = ["source", "position", "reason", "raw"]
    for raw in ("{", "[", "{"):
        warehouse.insert_rows("dead_letters", [("file", "1", "malformed", raw)], columns)
    assert warehouse.query("SELECT raw FROM current_dead_letters ORDER BY raw") == [("[",), ("{",)]


def test_a_milestone_counts_beyond_64_bits(warehouse: Warehouse) -> None:
    put(warehouse, "milestones", sample(TABLES["milestones"], count=-(2**70)))
    assert warehouse.query("SELECT count FROM current_milestones") == [(-(2**70),)]


def test_columns_may_be_left_out_null_or_encoded(warehouse: Warehouse) -> None:
    columns = pa.table(
        {
            "brand_id": pa.array(["b", "b"]).dictionary_encode(),
            "visitor_id": pa.array(["v", "w"], pa.large_string()),
            "event_id": ["e", "e"],
            "occurred_at": pa.array([AT * 1000, AT * 1000], pa.timestamp("us", "UTC")),
            "campaign": pa.array([None, "spring"]).dictionary_encode(),
            "country": [None, "DE"],
        }
    )
    warehouse.insert("clicks", columns)
    warehouse.insert("clicks", columns.slice(0, 0))
    assert warehouse.query(
        "SELECT visitor_id, campaign, country, link_id, toUnixTimestamp64Milli(occurred_at) FROM clicks ORDER BY 1"
    ) == [("v", "", "", "", AT), ("w", "spring", "DE", "", AT)]
    assert warehouse.query("SELECT DISTINCT version, is_deleted FROM clicks") == [(1, 0)]


@pytest.mark.parametrize(
    ("table", "row", "said"),
    [
        ("klicks", {"event_id": "e"}, "no table 'klicks'"),
        ("clicks", {"brand_id": "b", "visitor_id": "v", "event_id": "e", "colour": "red"}, "no column 'colour'"),
        ("clicks", {"event_id": "e", "brand_id": "b"}, "need visitor_id"),
        ("clicks", {"brand_id": "b", "visitor_id": "v", "event_id": "e", "occurred_at": None}, "must have a value"),
        ("orders", {"brand_id": "b", "customer_id": "c", "event_id": "e", "amount_minor": 2**63}, "does not fit"),
        ("orders", {"brand_id": "b", "customer_id": "c", "event_id": "e", "amount_minor": 1.5}, "does not fit"),
        ("orders", {"brand_id": "b", "customer_id": "c", "event_id": "e", "occurred_at": "today"}, "does not fit"),
    ],
)
def test_what_a_table_cannot_hold_is_refused_whole(
    warehouse: Warehouse, table: str, row: dict[str, object], said: str
) -> None:
    with pytest.raises(WarehouseError, match=said):
        put(warehouse, table, row)
    assert warehouse.query("SELECT count() FROM clicks") == warehouse.query("SELECT count() FROM orders") == [(0,)]


def test_an_overflow_in_a_column_is_refused(warehouse: Warehouse) -> None:
    columns = {"brand_id": ["b"], "conversion_type": ["order"], "customer_id": ["c"], "conversion_id": ["e"]}
    with pytest.raises(WarehouseError, match=r"attributions\.share_bps must hold UInt16"):
        warehouse.insert("attributions", pa.table(columns | {"partner_id": ["p"], "share_bps": [70_000]}))


def test_query_takes_parameters_and_names_its_errors(warehouse: Warehouse) -> None:
    assert warehouse.query("SELECT {word:String}, {n:Int64}", {"word": "it's <&> ü", "n": -5}) == [("it's <&> ü", -5)]
    assert warehouse.query_arrow("SELECT 'a' AS x, 1::Int64 AS y").to_pylist() == [{"x": "a", "y": 1}]
    with pytest.raises(WarehouseError, match="refused to answer a query"):
        warehouse.query("SELECT nothing FROM nowhere")


def test_insert_settings_are_known_to_the_engine(warehouse: Warehouse) -> None:
    found = warehouse.query(
        "SELECT name FROM system.settings WHERE name IN {names:Array(String)}", {"names": [*INSERT_SETTINGS]}
    )
    assert {str(name) for (name,) in found} == set(INSERT_SETTINGS)


def test_settling_changes_nothing(warehouse: Warehouse) -> None:
    for version in (1, 3, 2):
        put(warehouse, "referrals", sample(TABLES["referrals"], status=f"s{version}") | {"version": version})
    warehouse.settle()
    assert warehouse.query("SELECT status FROM referrals") == [("s3",)]
