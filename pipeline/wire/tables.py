"""Judging rows that come as Arrow columns: sorted by type, checked, and shown as JSON where their bytes are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.admission import Admission, Admitted, DeadLetter, judged
from pipeline.wire.arrow_columns import arrow_integers, arrow_text, arrow_times, row_values, type_codes, without_views
from pipeline.wire.columns import Candidates, Column

_TYPES: Final = tuple(EVENT_TYPES)
_CONVERT: Final = {"time": arrow_times, "amount": arrow_integers}


def judged_rows(
    columns: Mapping[str, Column], first: int, event_type: str | None, admission: Admission, source: str
) -> Admitted:
    """Judge rows with the positions from ``first`` on; ``event_type`` None: the column ``type`` tells each row's.

    ``columns`` are of one length and any types; there is at least one. The result's ``bytes_read`` is 0.
    """
    columns = {name: without_views(column) for name, column in columns.items()}
    rows = len(next(iter(columns.values())))
    codes = np.full(rows, _TYPES.index(event_type)) if event_type else type_codes(columns["type"], _TYPES)
    groups = [_candidates(name, columns, codes == code, first) for code, name in enumerate(_TYPES) if code in codes]
    unknown = np.flatnonzero(codes < 0)
    malformed = [
        DeadLetter(source, first + row, "malformed", raw)
        for row, raw in zip(unknown.tolist(), _as_json(columns, unknown, None), strict=True)
    ]
    events, dead = judged(admission, groups, malformed, source)
    return Admitted(events, dead, source, rows, 0)


def _candidates(event_type: str, columns: Mapping[str, Column], keep: npt.NDArray[np.bool_], first: int) -> Candidates:
    rows = np.flatnonzero(keep)
    mask = None if len(rows) == len(keep) else pa.array(keep)
    ill_typed = np.zeros(len(rows), dtype=np.bool_)
    checked: dict[str, Column] = {}
    for field in EVENT_TYPES[event_type].fields:
        column = columns.get(field.name)
        if column is not None:
            of_type = column if mask is None else column.filter(mask)
            checked[field.name] = _CONVERT.get(field.kind, arrow_text)(of_type, ill_typed)

    def raw_of(wanted: Sequence[int]) -> list[bytes]:
        return _as_json(columns, rows[wanted], event_type)

    return Candidates(event_type, checked, ill_typed, (rows + first).astype(np.uint64), raw_of)


def _as_json(columns: Mapping[str, Column], rows: npt.NDArray[np.int64], event_type: str | None) -> list[bytes]:
    """Rows as JSON objects of all columns that are not null."""
    if not len(rows):
        return []
    start: dict[str, Any] = {} if event_type is None else {"type": event_type}
    values: dict[str, list[Any]] = {}
    for name, column in columns.items():
        wanted = column.take(rows)
        if wanted.null_count < len(wanted):
            values[name] = row_values(wanted)
    lines: list[bytes] = []
    for row in range(len(rows)):
        present = {name: cells[row] for name, cells in values.items() if cells[row] is not None}
        lines.append(orjson.dumps(start | present, default=str))
    return lines
