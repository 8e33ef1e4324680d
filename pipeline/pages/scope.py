"""Panels' SQL, run for one program, one partner or all, over one consistent copy of the partner views."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.pages.panels import VIEWS, Panel

_ORDER: Final[Mapping[str, str]] = {"program_brands": "program_id", "rejected_records": "brand_id"}

Row = dict[str, Any]
"""One row of a panel: column to value, times as aware datetimes."""


class PanelData:
    """A copy of the partner views, taken once, so that all pages show one moment and each view is computed once.

    Use it as a context manager: the copies are dropped at its end.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._prefix = f"page_{uuid.uuid4().hex[:8]}_"

    def __enter__(self) -> Self:
        try:
            for view in VIEWS:
                order = _ORDER.get(view, "program_id, partner_id")
                self._warehouse.execute(
                    f"CREATE TABLE {self._prefix}{view} ENGINE = MergeTree ORDER BY ({order}) AS SELECT * FROM {view}"
                )
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def _drop(self) -> None:
        for view in VIEWS:
            self._warehouse.execute(f"DROP TABLE IF EXISTS {self._prefix}{view} SYNC")

    def rows(self, panel: Panel, program_id: str, partner_id: str, parameters: Mapping[str, object]) -> list[Row]:
        """The panel's rows for a partner of a program; an empty ``partner_id`` means all partners, an empty
        ``program_id`` all programs. ``parameters`` are those of :data:`pipeline.pages.panels.PARAMETERS` by name."""
        values = {**parameters, "scope_program": program_id, "scope_partner": partner_id}
        sql = self._narrowed(panel.sql, program_id, partner_id)
        return self._warehouse.query_arrow(sql, values).to_pylist()

    def _narrowed(self, sql: str, program_id: str, partner_id: str) -> str:
        """The SQL, with each view that it names defined as the part that the scope may see."""
        parts = []
        for view in VIEWS:
            if re.search(rf"\b{view}\b", sql):
                conditions = []
                if program_id and view.startswith("partner_"):
                    conditions.append("program_id = {scope_program:String}")
                if partner_id and view.startswith("partner_"):
                    conditions.append("partner_id IN ({scope_partner:String}, '*')")
                where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
                parts.append(f"{view} AS (SELECT * FROM {self._prefix}{view}{where})")
        # One thread: the copies are small, and a pipeline of many costs more than it saves.
        return f"WITH {', '.join(parts)} {sql} SETTINGS max_threads = 1"
