"""Avro records to candidates, in two ways.

A flat record, of strings and integers that may be null, is decoded here straight into columns, several times as fast
as ``fastavro`` can make a dict of each record; so is a union of such records. Any other schema goes through
``fastavro``. Both admit and refuse the same records; a test compares them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final, Protocol

import fastavro
import numpy as np
import orjson
import pyarrow as pa

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.admission import Admission, Admitted, DeadLetter, judged
from pipeline.wire.arrow_columns import shown
from pipeline.wire.avro_blocks import BrokenBlockError
from pipeline.wire.avro_schemas import FASTAVRO_ERRORS, FileSchema
from pipeline.wire.columns import Candidates, Column, from_records
from pipeline.wire.tables import judged_rows

_TICKS_PER_MS: Final = {"ms": 1, "us": 1000, "ns": 1_000_000}


class Decoder(Protocol):
    """Collects the records of blocks, to be judged some thousands at a time."""

    waiting: int

    def add(self, body: bytes, count: int) -> None:
        """Decode ``count`` records that fill ``body``. BrokenBlockError, and none of them is kept, if they do not."""

    def judged(self, limit: int, first: int, admission: Admission, source: str) -> Admitted:
        """Judge up to ``limit`` waiting records; the first has the position ``first``. ``bytes_read`` is 0."""


def decoder_for(schema: FileSchema) -> Decoder:
    """The fastest decoder for a file's records."""
    return _General(schema) if schema.flat is None else _Flat(schema)


class _Flat:
    """Decodes into one list a field. In a union the branch is a record's first byte, and its type is a column too."""

    def __init__(self, schema: FileSchema) -> None:
        branches = schema.flat or ()
        records = list(schema.records.values())
        self.waiting = 0
        self._fields = {field.name: field for fields in branches for field in fields}
        self._time_unit = records[0].time_unit
        self._only_type = None if isinstance(schema.parsed, list) else records[0].event_type
        self._is_union = isinstance(schema.parsed, list)
        self._values: dict[str, list[Any]] = {name: [] for name in self._fields}
        if self._is_union:
            self._values.setdefault("type", [])
        self._plans = [
            [(each.null_byte, each.value_byte, each.is_text, self._values[each.name]) for each in fields]
            for fields in branches
        ]
        self._labels = [record.event_type.encode() if record.event_type else None for record in records]

    def add(self, body: bytes, count: int) -> None:
        try:
            if count > len(body):
                raise BrokenBlockError("fewer bytes than records")
            for values in self._values.values():
                values += [None] * count
            self._decode(body, count)
        except (BrokenBlockError, IndexError) as error:
            for values in self._values.values():
                del values[self.waiting :]
            raise BrokenBlockError(str(error)) from error
        self.waiting += count

    def _decode(self, body: bytes, count: int) -> None:
        """The hot loop: a few bytecodes a field. Slices that reach past the end show in the last line."""
        plan = self._plans[0]
        types = self._values.get("type", [])
        at = 0
        for row in range(self.waiting, self.waiting + count):
            if self._is_union:
                branch = body[at]
                at += 1
                if branch & 1:
                    raise BrokenBlockError("a negative branch")
                plan = self._plans[branch >> 1]
                types[row] = self._labels[branch >> 1]
            for null_byte, value_byte, is_text, values in plan:
                if value_byte >= 0:
                    branch = body[at]
                    at += 1
                    if branch == null_byte:
                        continue
                    if branch != value_byte:
                        raise BrokenBlockError("no such branch")
                number = body[at]
                at += 1
                if number > 127:
                    number &= 127
                    shift = 7
                    while (more := body[at]) > 127:
                        number |= (more & 127) << shift
                        shift += 7
                        at += 1
                        if shift > 63:
                            raise BrokenBlockError("an integer of more than 64 bits")
                    number |= more << shift
                    at += 1
                    if number >> 64:
                        raise BrokenBlockError("an integer of more than 64 bits")
                number = (number >> 1) ^ -(number & 1)
                if not is_text:
                    values[row] = number
                    continue
                if number < 0:
                    raise BrokenBlockError("a negative length")
                start, at = at, at + number
                values[row] = body[start:at]
        if at != len(body):
            raise BrokenBlockError("the records do not fill the block")

    def judged(self, limit: int, first: int, admission: Admission, source: str) -> Admitted:
        columns: dict[str, Column] = {}
        for name, values in self._values.items():
            columns[name] = self._column(name, values[:limit])
            del values[:limit]
        self.waiting -= min(limit, self.waiting)
        return judged_rows(columns, first, self._only_type, admission, source)

    def _column(self, name: str, values: list[Any]) -> Column:
        if name not in self._fields or self._fields[name].is_text:
            return pa.array(values, pa.binary())
        integers: Column = pa.array(values, pa.int64())
        if name != "occurred_at" or self._time_unit == "ms":
            return integers
        unit = self._time_unit
        return integers.cast(pa.timestamp(unit, "UTC") if unit else pa.float64(), safe=False)


class _General:
    """Decodes with fastavro: a block is read as one Avro array, so that its end can be checked."""

    def __init__(self, schema: FileSchema) -> None:
        self.waiting = 0
        self._schema = fastavro.parse_schema({"type": "array", "items": schema.parsed})
        self._records = schema.records
        self._only_name = schema.parsed["name"] if isinstance(schema.parsed, dict) else ""
        self._items: list[Any] = []

    def add(self, body: bytes, count: int) -> None:
        if count > len(body):  # also a record of no bytes at all, which could be there without end
            raise BrokenBlockError("fewer bytes than records")
        array = (_zigzag_bytes(count) if count else b"") + body + b"\0"
        stream = io.BytesIO(array)
        try:
            items: Any = fastavro.schemaless_reader(
                stream, self._schema, None, return_record_name=True, handle_unicode_errors="surrogateescape"
            )
        except FASTAVRO_ERRORS as error:
            raise BrokenBlockError(str(error)) from error
        if len(items) != count or stream.tell() != len(array):
            raise BrokenBlockError("the records do not fill the block")
        self._items += items
        self.waiting += count

    def judged(self, limit: int, first: int, admission: Admission, source: str) -> Admitted:
        items = self._items[:limit]
        del self._items[:limit]
        self.waiting -= len(items)
        groups: dict[str, tuple[list[dict[str, Any]], list[int]]] = {name: ([], []) for name in EVENT_TYPES}
        malformed: list[DeadLetter] = []
        for row, item in enumerate(items):
            event_type, record = self._typed(item)
            if event_type in groups:
                groups[event_type][0].append(record)
                groups[event_type][1].append(row)
            else:
                malformed.append(DeadLetter(source, first + row, "malformed", _as_json(event_type, item)))
        candidates = [
            _candidates(name, records, rows, items, first) for name, (records, rows) in groups.items() if rows
        ]
        events, dead = judged(admission, candidates, malformed, source)
        return Admitted(events, dead, source, len(items), 0)

    def _typed(self, item: Any) -> tuple[str, dict[str, Any]]:
        """A record's event type, "" or whatever it says if it is none; and the record, time in milliseconds."""
        name, record = item if isinstance(item, tuple) else (self._only_name, item)
        schema = self._records.get(name)
        if schema is None:
            return "", {}
        event_type = record.get("type") if schema.event_type is None else schema.event_type
        at = record.get("occurred_at")
        if schema.time_unit != "ms" and type(at) is int:
            ticks_per_ms = _TICKS_PER_MS.get(schema.time_unit or "")
            record = record | {"occurred_at": at // ticks_per_ms if ticks_per_ms else float(at)}
        return event_type if isinstance(event_type, str) else "", record


def _candidates(
    event_type: str, records: list[dict[str, Any]], rows: list[int], items: list[Any], first: int
) -> Candidates:
    def raw_of(wanted: Sequence[int]) -> list[bytes]:
        return [_as_json(event_type, items[rows[index]]) for index in wanted]

    positions = np.array(rows, dtype=np.uint64) + np.uint64(first)
    return from_records(event_type, records, positions, raw_of, is_json=False)


def _as_json(event_type: str, item: Any) -> bytes:
    """A record as JSON, nulls left out; bytes, and text that is not UTF-8, as ``base64:…``."""
    record = item[1] if isinstance(item, tuple) else item
    if not isinstance(record, dict):
        record = {"value": record}
    present = {name: value for name, value in record.items() if value is not None}
    if event_type:
        present = {"type": event_type} | present
    try:
        return orjson.dumps(present, default=_shown)
    except TypeError:  # lone surrogates, where bytes were not UTF-8
        return orjson.dumps(_encodable(present), default=_shown)


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(each) for each in value]
    return shown(value.encode(errors="surrogateescape")) if isinstance(value, str) else value


def _shown(value: Any) -> str:
    return shown(value) if isinstance(value, bytes) else str(value)


def _zigzag_bytes(count: int) -> bytes:
    value = count << 1
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
