"""What stands, as JSON Lines files of the contract's table names (contract.md, section 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipeline.clickhouse.tables import TABLES, Table
from pipeline.clickhouse.warehouse import Warehouse

_ORDER: Final = {"raw_hash": "raw"}  # what the view shows of that key column


def export_jsonl(warehouse: Warehouse, directory: Path) -> dict[str, int]:
    """Write ``<table>.jsonl`` for every table into ``directory``; returns the number of rows of each.

    One object a line, sorted by the table's key; times are integer epoch milliseconds, null where empty. Memory stays
    bounded. Each file is complete when it appears: it is written beside its place and moved there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return {table.name: _export(warehouse, table, directory / f"{table.name}.jsonl") for table in TABLES.values()}


def select_standing(table: Table) -> str:
    """The SELECT behind one file: all columns of what stands, times as integers, sorted by the key."""
    columns = ", ".join(
        f"toUnixTimestamp64Milli({column.name}) AS {column.name}" if column.is_time else column.name
        for column in table.fields
    )
    order = ", ".join(_ORDER.get(name, name) for name in table.key)
    return f"SELECT {columns} FROM {table.current} ORDER BY {order}"


def _export(warehouse: Warehouse, table: Table, path: Path) -> int:
    draft = path.with_name(f".{path.name}.part")  # one name, so that the next export replaces what a kill left
    try:
        rows = warehouse.write_json(select_standing(table), draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return rows
