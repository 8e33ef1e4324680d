"""From values of any type to the columns of one event type, with the rows whose values had a wrong type marked.

Readers hand over *candidates*: records of a known type whose fields are still to be judged. A column here has the
type that an admitted event's column has (text ``pa.string()`` in valid UTF-8, times and amounts ``pa.int64()``). A
value that does not fit becomes null and marks its row; ranges and the rest are :mod:`pipeline.wire.admission`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.domain.events import EVENT_TYPES, Field
from pipeline.wire.text_times import text_times

Mask: TypeAlias = npt.NDArray[np.bool_]
Column: TypeAlias = "pa.Array[Any]"
RawOf: TypeAlias = Callable[[Sequence[int]], list[bytes]]

_DIGITS: Final = re.compile(rb"0|[1-9][0-9]{0,18}")
_NONE: Final = type(None)
_TEXT: Final = frozenset((str, _NONE))
_INTEGER: Final = frozenset((int, _NONE))


@dataclass(frozen=True, slots=True)
class Candidates:
    """Records of one known type, before admission.

    ``columns`` holds the known fields that were there, ``ill_typed`` marks rows with a value of a wrong type (None: no
    row). ``raw_of`` gives the bytes of some rows; it is asked for those that are refused, and for orders.
    """

    event_type: str
    columns: Mapping[str, Column]
    ill_typed: Mask | None
    positions: npt.NDArray[np.uint64]
    raw_of: RawOf

    def __len__(self) -> int:
        return len(self.positions)


def from_records(
    event_type: str,
    records: Sequence[Mapping[str, Any]],
    positions: npt.NDArray[np.uint64],
    raw_of: RawOf,
    *,
    is_json: bool,
) -> Candidates:
    """Gather decoded records by column. ``is_json``: RFC 3339 text is a time too, and there are no ``bytes``.

    A ``str`` with a lone surrogate (JSON's ``\\ud800``, or bytes decoded with ``surrogateescape``) is a wrong type.
    """
    columns: dict[str, Column] = {}
    ill_typed = np.zeros(len(records), dtype=np.bool_)
    for field in EVENT_TYPES[event_type].fields:
        name = field.name
        values = [record.get(name) for record in records]
        columns[name] = _column(field, values, ill_typed, is_json)
    return Candidates(event_type, columns, ill_typed, positions, raw_of)


def _column(field: Field, values: list[Any], ill_typed: Mask, is_json: bool) -> Column:
    if field.is_text:
        return text_column(values, ill_typed, may_hold_bytes=not is_json)
    if field.kind == "time" and is_json:
        return _json_time_column(values, ill_typed)
    return integer_column(values, ill_typed)


def text_column(values: list[Any], ill_typed: Mask, *, may_hold_bytes: bool) -> Column:
    """A string column of Python values; what is neither ``str`` nor None, or not Unicode, is marked."""
    if not may_hold_bytes or _TEXT.issuperset(map(type, values)):  # pa.array() would take bytes for text
        try:
            return pa.array(values, pa.string())
        except (UnicodeEncodeError, pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    kept: list[str | None] = []
    for row, value in enumerate(values):
        if value is None or (type(value) is str and _is_unicode(value)):
            kept.append(value)
        else:
            kept.append(None)
            ill_typed[row] = True
    return pa.array(kept, pa.string())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def integer_column(values: list[Any], ill_typed: Mask) -> Column:
    """An int64 column; what is not exactly ``int`` (a bool, a float, text) or does not fit 64 bits is marked."""
    if _INTEGER.issuperset(map(type, values)):
        try:
            return pa.array(values, pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            pass
    kept: list[int | None] = []
    for row, value in enumerate(values):
        if value is None or (type(value) is int and -(2**63) <= value < 2**63):
            kept.append(value)
        else:
            kept.append(None)
            ill_typed[row] = True
    return pa.array(kept, pa.int64())


def _json_time_column(values: list[Any], ill_typed: Mask) -> Column:
    if _INTEGER.issuperset(map(type, values)):
        return integer_column(values, ill_typed)
    rows = [row for row, value in enumerate(values) if type(value) is str]
    times = text_times([values[row] for row in rows])
    values = values.copy()
    for row, at_ms in zip(rows, times, strict=True):
        values[row] = at_ms
        ill_typed[row] |= at_ms is None
    return integer_column(values, ill_typed)


def utf8_column(values: list[bytes], ill_typed: Mask) -> Column:
    """A string column of bytes that should be UTF-8; what is not is marked."""
    try:
        return pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return text_column(
            [value.decode(errors="surrogateescape") for value in values], ill_typed, may_hold_bytes=False
        )


def digit_column(values: list[bytes], ill_typed: Mask, *, text_times_too: bool) -> Column:
    """An int64 column of text as CSV has it: digits without sign or leading zero; "" is null, anything else marked.

    ``text_times_too``: RFC 3339 text is read as milliseconds.
    """
    filled = pa.array([value or None for value in values], pa.binary())
    try:
        numbers: Column = filled.cast(pa.string()).cast(pa.int64())
        if numbers.cast(pa.string()).equals(filled.cast(pa.string())):  # no sign, space or leading zero
            return numbers
    except pa.ArrowInvalid:
        pass
    kept: list[int | None] = [None] * len(values)
    others: list[int] = []
    for row, value in enumerate(values):
        if _DIGITS.fullmatch(value):
            kept[row] = int(value)
        elif value:
            others.append(row)
    texts = [values[row].decode(errors="replace") for row in others] if text_times_too else []
    for row, at_ms in zip(others, text_times(texts) if text_times_too else [None] * len(others), strict=True):
        kept[row] = at_ms
        ill_typed[row] |= at_ms is None
    return integer_column(kept, ill_typed)
