"""The warehouse as the engine sees it: a place for rows, and the truth about clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.events import EVENT_TYPES

_CLICK_FIELDS = tuple(name for name in EVENT_TYPES["click"].field_names if name != "occurred_at")
_CLICK = f"""
SELECT toUnixTimestamp64Milli(occurred_at), {", ".join(_CLICK_FIELDS)} FROM current_clicks
WHERE brand_id = {{brand_id:String}} AND visitor_id = {{visitor_id:String}} AND event_id = {{event_id:String}}
"""


class Tables:
    """A :class:`~pipeline.embedded.engine.Sink` that writes to ClickHouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def insert(self, table: str, columns: pa.Table) -> None:
        """Insert columns; stored when it returns."""
        self._warehouse.insert(table, columns)

    def insert_rows(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
        """Insert rows; stored when it returns."""
        self._warehouse.insert_rows(table, rows, columns)

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        """The present fields of one click that was inserted; None if there is none."""
        ids = {"brand_id": brand_id, "visitor_id": visitor_id, "event_id": event_id}
        rows: list[Any] = self._warehouse.query(_CLICK, ids)
        if not rows:
            return None
        occurred_at, *texts = rows[0]
        present = {name: text for name, text in zip(_CLICK_FIELDS, texts, strict=True) if text}
        return {"occurred_at": occurred_at, **present}
