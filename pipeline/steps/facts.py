"""How an event becomes a fact in state, and which copy counts when copies differ.

A fact's key names the event: brand, visitor or customer, (kind,) event_id. Its value is a MessagePack array: how many
contents have counted so far (the fact's *edition*, 1 unless copies differed), then the event's other fields in contract
order. The same event gives the same bytes, so a repeat is seen by comparing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipeline.domain.events import EVENT_TYPES, canonical_json
from pipeline.state.keys import part

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another

encode = msgspec.msgpack.Encoder().encode
decode: Any = msgspec.msgpack.Decoder(list).decode

KEY_FIELD = {name: spec.key_field for name, spec in EVENT_TYPES.items()}

# The fields of a fact's value, after the edition.
VALUE_FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(
        field.name for field in spec.fields if field.name not in ("event_id", "brand_id", spec.key_field)
    )
    for name, spec in EVENT_TYPES.items()
}  # fmt: skip


def key_columns(table: pa.Table, *names: str) -> list[list[str]]:
    """The id columns as lists of key parts (escaped where an id holds one of the two lowest bytes)."""
    return [_parts(table.column(name)) for name in names]


def _parts(column: Any) -> list[str]:
    values: list[str] = column.to_pylist()
    if any(_holds_low_bytes(chunk) for chunk in column.chunks):
        return [part(value).decode() for value in values]
    return values


def _holds_low_bytes(chunk: Any) -> bool:
    data = chunk.buffers()[2]
    return data is not None and bool((np.frombuffer(data, dtype=np.uint8) <= 1).any())


def sorted_keys(table: pa.Table, *names: str) -> tuple[Any, npt.NDArray[np.uint64]]:
    """The keys that these ids make as an Arrow array, ascending, and the row of each.

    State and tables both keep rows in this order; what arrives sorted costs them half as much.
    """
    columns: list[Any] = [table.column(name).combine_chunks() for name in names]
    if any(_holds_low_bytes(chunk) for column in columns for chunk in _chunks(column)):
        texts: Any = pa.array(joined(key_columns(table, *names)), pa.binary())
    else:
        texts = pc.binary_join_element_wise(*(column.cast(pa.binary()) for column in columns), b"\x00")
    order = pc.sort_indices(texts)
    return texts.take(order), order.to_numpy()


def _chunks(column: Any) -> list[Any]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def fact_values(event_type: str, table: pa.Table) -> list[bytes]:
    """The value of each row's fact, as edition 1."""
    columns: list[Any] = [repeat(1)]
    for name in VALUE_FIELDS[event_type]:
        column = table.column(name)
        columns.append(repeat(None) if column.null_count == len(column) else column.to_pylist())
    return [encode(row) for row in zip(*columns, strict=False)] if len(table) else []


def resolve(
    event_type: str, keys: Sequence[bytes], values: Sequence[bytes], known: Sequence[bytes | None]
) -> tuple[dict[bytes, bytes], list[int]]:
    """Which facts are new or changed: their final values by key, and the rows that hold those values.

    ``known`` are the values that state has for ``keys``. Of copies that differ, the smallest (occurred_at, canonical
    JSON) counts; a row that repeats or loses is in neither result.
    """
    new: dict[bytes, bytes] = {}
    row_of: dict[bytes, int] = {}
    for row, (key, value, old) in enumerate(zip(keys, values, known, strict=True)):
        if old is None:
            seen = new.get(key)
            if seen is None:
                new[key] = value
                row_of[key] = row
                continue
        else:
            seen = new.get(key, old)
        if seen == value:
            continue
        edition, *standing = decode(seen)
        contender = decode(value)[1:]
        if contender != standing and _precedence(event_type, contender) < _precedence(event_type, standing):
            new[key] = encode([edition + 1, *contender])
            row_of[key] = row
    return new, list(row_of.values())


def _precedence(event_type: str, fields: Sequence[Any]) -> tuple[int, bytes]:
    """What decides between copies of one event; the fields in the key are the same in all of them."""
    present = {
        name: value for name, value in zip(VALUE_FIELDS[event_type], fields, strict=True) if value is not None
    }  # fmt: skip
    at = present["occurred_at"]
    return at, canonical_json(event_type, present).encode()


def joined(columns: Sequence[Sequence[str]]) -> Iterator[bytes]:
    """The keys of rows whose parts stand in ``columns``."""
    for row in zip(*columns, strict=True):
        yield "\x00".join(row).encode()
