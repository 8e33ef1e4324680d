"""Clicks as rows of their table, and whole clicks out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.events import EVENT_TYPES

_FIELDS = tuple(name for name in EVENT_TYPES["click"].field_names if name != "occurred_at")
_CLICK = f"""
SELECT toUnixTimestamp64Milli(occurred_at), {", ".join(_FIELDS)} FROM current_clicks
WHERE brand_id = {{brand_id:String}} AND visitor_id = {{visitor_id:String}} AND event_id = {{event_id:String}}
"""


def click_columns(clicks: pa.Table, editions: npt.NDArray[np.uint64]) -> pa.Table:
    """Admitted clicks as columns of the table ``clicks``, without those that hold no value."""
    empty = [name for name in clicks.column_names if clicks.column(name).null_count == len(clicks)]
    columns = clicks.drop_columns([*empty, "position"])
    columns = columns.append_column("version", pa.array(editions, pa.uint64()))
    return columns.append_column("is_deleted", pa.repeat(pa.scalar(0, pa.uint8()), len(clicks)))


class ClickTruth:
    """Whole clicks, of which state is an index. ``before`` is called before each look: it makes sure that what was
    handed over is stored.
    """

    def __init__(self, warehouse: Warehouse, before: Callable[[], object] = lambda: None) -> None:
        self._warehouse = warehouse
        self._before = before

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        """The present fields of one click that was inserted; None if there is none."""
        self._before()
        ids = {"brand_id": brand_id, "visitor_id": visitor_id, "event_id": event_id}
        rows: list[Any] = self._warehouse.query(_CLICK, ids)
        if not rows:
            return None
        occurred_at, *texts = rows[0]
        present = {name: text for name, text in zip(_FIELDS, texts, strict=True) if text}
        return {"occurred_at": occurred_at, **present}
