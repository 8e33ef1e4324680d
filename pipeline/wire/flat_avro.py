"""Avro bodies of flat records to Arrow columns and back, a batch at a time, with ``pyruhvro``.

That is many times as fast as a dict of each record, but takes some bodies that are none: bytes may follow the record,
text may not be UTF-8, an integer may have more bits than fit. So Arrow validates the text, and each row is measured:
the bytes that its values need, in the one shortest way to write them, must be as many as there are. Rows where that
is not so, and rows that cannot be read at all, are *doubtful*: they are left to ``fastavro``, which says what counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyruhvro  # type: ignore[import-untyped]  # it has no types

Sizes = npt.NDArray[np.int64]

_FEW: Final = 8  # as many bodies go to fastavro together, rather than looking for the bad one among them
_MOST_BYTES: Final = 1 << 30  # at once: Arrow's strings have 32-bit offsets
_MOST_SYMBOLS: Final = 64  # of an enum, whose index is then one byte
_NEVER: Final = 1 << 40  # the size of an integer that may be the rest of a longer one
_FIXED_SIZES: Final = {"boolean": 1, "float": 4, "double": 8, "enum": 1}
_LAST_CERTAIN: Final = {"int": 1 << 28, "long": 1 << 63}  # zigzag values from there on may be cut ones
_STEPS: Final = [1 << bits for bits in range(7, 64, 7)]


class FlatColumns:
    """Reads and writes bodies of one flat record. Made by :func:`flat_columns`."""

    def __init__(self, schema: Any, kinds: Sequence[tuple[str, bool]], arrow_schema: pa.Schema) -> None:
        self._text = json.dumps(schema)
        self._kinds = kinds
        self._arrow_schema = arrow_schema

    def read(self, bodies: list[bytes]) -> tuple[list[pa.RecordBatch], Sizes, list[int]]:
        """Columns of the rows that are beyond doubt: batches, the row of each of their records, and doubtful rows.

        Rows are indices into ``bodies``; both lists of them ascend.
        """
        batches: list[pa.RecordBatch] = []
        rows: list[Sizes] = []
        doubtful: list[int] = []
        lengths = np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies))
        spans = [(0, len(bodies))] if bodies else []
        while spans:
            start, end = spans.pop()
            batch = self._batch(bodies[start:end], int(lengths[start:end].sum()))
            if batch is None:
                if end - start <= _FEW:
                    doubtful += range(start, end)
                else:
                    middle = (start + end) // 2
                    spans += ((middle, end), (start, middle))
                continue
            certain = self._sizes(batch) == lengths[start:end]
            if not certain.all():
                doubtful += (np.flatnonzero(~certain) + start).tolist()
                batch = batch.filter(pa.array(certain))
            batches.append(batch)
            rows.append(np.flatnonzero(certain) + start)
        return batches, np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64), doubtful

    def _batch(self, bodies: list[bytes], size: int) -> pa.RecordBatch | None:
        if size > _MOST_BYTES:
            return None
        try:
            batch: pa.RecordBatch = pyruhvro.deserialize_array(bodies, self._text)
            for column in batch.columns:
                _check_unicode(column)
        except ValueError:
            return None
        return batch

    def _sizes(self, batch: pa.RecordBatch) -> Sizes:
        """How many bytes each row takes at least."""
        total = np.zeros(len(batch), dtype=np.int64)
        for (kind, is_optional), column in zip(self._kinds, batch.columns, strict=True):
            size: Sizes | int = _text_sizes(column) if kind == "string" else _FIXED_SIZES.get(kind, 0)
            if kind in _LAST_CERTAIN:
                size = _integer_sizes(column, kind)
            if column.null_count:
                size = np.where(column.is_valid().to_numpy(zero_copy_only=False), size, 0)
            total += size + 1 if is_optional else size
        return total

    def write(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """The body of each row, whose values stand in ``columns``, one for each field; at least one row.

        ValueError where a value is None that must not be; Arrow's errors (among them ValueError, TypeError and
        OverflowError) where one does not fit its type.
        """
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._arrow_schema, strict=True)]
        for array, field in zip(arrays, self._arrow_schema, strict=True):
            if array.null_count and not field.nullable:
                raise ValueError(f"the field {field.name} must not be None")
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._arrow_schema)
        bodies: list[bytes] = pyruhvro.serialize_record_batch(batch, self._text, 1)[0].to_pylist()
        return bodies


def flat_columns(schema: Any) -> FlatColumns | None:
    """For a record (without logical types) of strings, numbers, booleans and enums, or null; None for any other."""
    if not isinstance(schema, dict) or schema.get("type") != "record" or not schema["fields"]:
        return None
    kinds = [_kind(field["type"]) for field in schema["fields"]]
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None
    try:
        return FlatColumns(schema, known, pyruhvro.avro_to_arrow_schema(json.dumps(schema)))
    except ValueError:  # names or defaults that one library takes and the other does not
        return None


def _kind(schema: Any) -> tuple[str, bool] | None:
    """A field's type, and whether it may be null, which takes a byte."""
    if isinstance(schema, list):
        if len(schema) != 2 or schema.count("null") != 1:
            return None
        inner = _kind(schema[1 - schema.index("null")])
        return None if inner is None else (inner[0], True)
    if isinstance(schema, dict):
        if schema["type"] == "enum":
            return ("enum", False) if len(schema["symbols"]) <= _MOST_SYMBOLS else None
        schema = schema["type"]
    return (schema, False) if schema in ("string", *_FIXED_SIZES, *_LAST_CERTAIN) else None


def _check_unicode(column: Any) -> None:
    """ArrowInvalid, a ValueError, if a text is not UTF-8. Text in ASCII, which nearly all is, is quickly seen to be."""
    if pa.types.is_string(column.type):
        data = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)
        if data.max(initial=0) > 127:
            column.validate(full=True)


def _text_sizes(column: Any) -> Sizes:
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32, count=len(column) + 1, offset=4 * column.offset)
    lengths = np.diff(offsets).astype(np.int64)
    return lengths + _varint_sizes(lengths << 1)


def _integer_sizes(column: Any, kind: str) -> Sizes:
    values = column.fill_null(0).to_numpy().astype(np.int64)
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)
    sizes = _varint_sizes(zigzag)
    sizes[zigzag >= np.uint64(_LAST_CERTAIN[kind])] = _NEVER
    return sizes


def _varint_sizes(zigzag: npt.NDArray[Any]) -> Sizes:
    """How many bytes of seven bits each number takes."""
    least, most = int(zigzag.min()), int(zigzag.max())
    sizes = np.full(len(zigzag), 1 + sum(step <= least for step in _STEPS), dtype=np.int64)
    for step in _STEPS:
        if least < step <= most:
            sizes += zigzag >= step
    return sizes
