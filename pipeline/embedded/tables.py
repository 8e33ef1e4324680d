"""The warehouse as the engine sees it: a place for rows, and the truth about clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.clickhouse.click_rows import ClickTruth
from pipeline.clickhouse.warehouse import Warehouse


class Tables:
    """A :class:`~pipeline.embedded.engine.Sink` that writes to ClickHouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._truth = ClickTruth(warehouse)

    def insert(self, table: str, columns: pa.Table) -> None:
        """Insert columns; stored when it returns."""
        self._warehouse.insert(table, columns)

    def insert_rows(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
        """Insert rows; stored when it returns."""
        self._warehouse.insert_rows(table, rows, columns)

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        """The present fields of one click that was inserted; None if there is none."""
        return self._truth.click(brand_id, visitor_id, event_id)
