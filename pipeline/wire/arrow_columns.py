"""From Arrow columns of any type to those of events: what Parquet files hold.

Text may be stored as strings, as plain bytes (as some writers do) or with a dictionary; times as integers of
milliseconds or as timestamps of any unit, those without a zone in UTC; amounts as integers of any width. Other types,
and text that is not UTF-8, are wrong types: such values become null and their rows are marked, as in
:mod:`pipeline.wire.columns`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipeline.wire.columns import Column, Mask, text_column

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another
types: Any = pa.types

_PER_MS: Final = {"ms": 1, "us": 1000, "ns": 1_000_000}
_FAR_SECONDS: Final = 10**12
_MAX_INT64: Final = 2**63 - 1


def type_codes(column: Column, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Where each row's type stands in ``names``; -1 where it is none of them."""
    text = arrow_text(column, np.zeros(len(column), dtype=np.bool_))
    found = pc.fill_null(pc.index_in(text, value_set=pa.array(names, pa.string())), -1)
    codes: npt.NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return codes


def arrow_text(column: Column, ill_typed: Mask) -> Column:
    """The column as valid UTF-8 strings."""
    plain = _plain(column)
    if not (_is_string(plain.type) or _is_binary(plain.type)):
        return _refused(plain, ill_typed, pa.string())
    try:
        if _is_string(plain.type):
            plain.validate(full=True)
        text: Column = plain.cast(pa.string())
    except pa.ArrowInvalid:
        values = _as_bytes(plain).to_pylist()
        texts = [None if value is None else value.decode(errors="surrogateescape") for value in values]
        return text_column(texts, ill_typed, may_hold_bytes=False)
    return text


def arrow_integers(column: Column, ill_typed: Mask) -> Column:
    """The column as int64, whatever its width was."""
    plain = _plain(column)
    if not types.is_integer(plain.type):
        return _refused(plain, ill_typed, pa.int64())
    if types.is_uint64(plain.type):
        too_large = pc.fill_null(pc.greater(plain, pa.scalar(_MAX_INT64, pa.uint64())), False)
        ill_typed |= too_large.to_numpy(zero_copy_only=False)
        plain = pc.if_else(too_large, pa.scalar(None, pa.uint64()), plain)
    integers: Column = plain.cast(pa.int64())
    return integers


def arrow_times(column: Column, ill_typed: Mask) -> Column:
    """Milliseconds of integers or timestamps; digits past the millisecond are cut."""
    plain = _plain(column)
    if not types.is_timestamp(plain.type):
        return arrow_integers(plain, ill_typed)
    absent = pc.is_null(plain).to_numpy(zero_copy_only=False)
    ticks = pc.fill_null(plain.cast(pa.int64()), 0).to_numpy()
    times: Column = pa.array(_milliseconds(ticks, plain.type.unit), pa.int64(), mask=absent)
    return times


def _milliseconds(ticks: npt.NDArray[np.int64], unit: str) -> npt.NDArray[np.int64]:
    if unit == "s":
        return np.clip(ticks, -_FAR_SECONDS, _FAR_SECONDS) * 1000  # what is out of range remains so
    return ticks // _PER_MS[unit]


def row_values(column: Column) -> list[Any]:
    """The values as JSON can show them: text as text, times in milliseconds, other bytes as ``base64:…``."""
    plain = _plain(column)
    if types.is_timestamp(plain.type):
        return arrow_times(plain, np.zeros(len(plain), dtype=np.bool_)).to_pylist()
    if _is_string(plain.type) or _is_binary(plain.type):
        return [None if value is None else shown(value) for value in _as_bytes(plain).to_pylist()]
    try:
        values: list[Any] = plain.to_pylist()
    except (ValueError, OverflowError):  # a nested timestamp that Python cannot hold
        values = [f"({plain.type})" if value.is_valid else None for value in plain]
    return values


def shown(value: bytes) -> str:
    """Bytes as text: themselves where they are UTF-8, else ``base64:…``."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


def _plain(column: Column) -> Column:
    """The column without a dictionary, run-end or extension encoding."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def without_views(column: Column) -> Column:
    """The column in a layout that can be filtered: views of text or bytes become plain bytes."""
    if types.is_string_view(column.type) or types.is_binary_view(column.type):
        plain: Column = column.cast(pa.large_binary())
        return plain
    return column


def _refused(column: Column, ill_typed: Mask, instead: Any) -> Column:
    """All nulls: whatever value there was has a wrong type."""
    if column.null_count < len(column):
        ill_typed |= pc.is_valid(column).to_numpy(zero_copy_only=False)
    nulls: Column = pa.nulls(len(column), instead)
    return nulls


def _is_string(data_type: pa.DataType) -> bool:
    return bool(types.is_string(data_type) or types.is_large_string(data_type))


def _is_binary(data_type: pa.DataType) -> bool:
    return bool(types.is_binary(data_type) or types.is_large_binary(data_type))


def _as_bytes(column: Column) -> Column:
    as_bytes: Column = column.cast(pa.large_binary())
    return as_bytes
