"""Where a row group's bytes stand in a Parquet file.

pyarrow could tell, but ends the process when a damaged footer contradicts itself (``RowGroupMetaData.column`` lets a
C++ exception out; seen with 26.0.1), and damaged files are what this is for. So the footer, a struct in Thrift's
compact protocol, is read here, as far as that needs.
"""

from __future__ import annotations

from typing import IO, Any, Final

_TAIL_BYTES: Final = 8
_MAX_FOOTER: Final = 64 * 2**20

# Field numbers of parquet.thrift.
_FILE_ROW_GROUPS: Final = 4
_GROUP_COLUMNS: Final = 1
_CHUNK_META: Final = 3
_META_COMPRESSED_SIZE: Final = 7
_META_DATA_PAGE: Final = 9
_META_DICTIONARY_PAGE: Final = 11


def row_group_span(file: IO[bytes], index: int) -> tuple[int, int]:
    """Offset and length of a row group, as the footer has them; (0, 0) where it makes no sense."""
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL_BYTES))
    size = int.from_bytes(file.read(4), "little")
    if size > min(end, _MAX_FOOTER):
        return 0, 0
    file.seek(max(0, end - _TAIL_BYTES - size))
    try:
        footer, _ = _struct(file.read(size), 0)
        chunks = [chunk[_CHUNK_META] for chunk in footer[_FILE_ROW_GROUPS][index][_GROUP_COLUMNS]]
        starts = [chunk.get(_META_DICTIONARY_PAGE) or chunk[_META_DATA_PAGE] for chunk in chunks]
        ends = [start + chunk[_META_COMPRESSED_SIZE] for start, chunk in zip(starts, chunks, strict=True)]
    except (LookupError, TypeError, AttributeError, RecursionError):
        return 0, 0
    if not starts or not 0 <= min(starts) < max(ends) <= end:
        return 0, 0
    return min(starts), max(ends) - min(starts)


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The fields of the struct at ``at`` by number, and where it ends. IndexError past the end of ``data``."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(data, at)
        kind = head & 15
        if kind in (1, 2):  # a boolean field is its own value
            fields[number] = kind == 1
        else:
            fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    match kind:
        case 1 | 2 | 3:
            return data[at], at + 1
        case 4 | 5 | 6:
            return _signed(data, at)
        case 7:
            return None, at + 8
        case 8:
            length, at = _unsigned(data, at)
            return None, at + length
        case 9 | 10:
            return _list(data, at)
        case 11:
            return _map(data, at)
        case 12:
            return _struct(data, at)
    raise LookupError(kind)


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    length, kind = data[at] >> 4, data[at] & 15
    at += 1
    if length == 15:
        length, at = _unsigned(data, at)
    items: list[Any] = []
    for _ in range(length):
        item, at = _value(data, at, kind)
        items.append(item)
    return items, at


def _map(data: bytes, at: int) -> tuple[None, int]:
    length, at = _unsigned(data, at)
    kinds = data[at] if length else 0
    at += bool(length)
    for _ in range(length):
        _, at = _value(data, at, kinds >> 4)
        _, at = _value(data, at, kinds & 15)
    return None, at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise LookupError("no integer")


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at
