"""The records that the steps write for each other and for the sink: rows to Kafka values and back.

A row is a tuple in the order of the schema's fields. Times are integer epoch milliseconds on both sides. Some records
read more comfortably than they are written: ``is_deleted`` is 0 or 1, a decimal is an ``int``, and bytes may be given
as text, which stands for its UTF-8.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastavro
import msgspec

from pipeline.wire.avro_schemas import FASTAVRO_ERRORS
from pipeline.wire.flat_avro import flat_columns
from pipeline.wire.own_schemas import key_fields, newest_schema, schemas_folder
from pipeline.wire.schema_ids import HEADER_BYTES, Schemas, UnknownSchemaError, by_header, header, id_in

Row = tuple[Any, ...]

_FEW_TO_ENCODE: Final = 8  # rows up to which one by one is as fast as in columns
_FEW_TO_DECODE: Final = 64
_BROKEN: Final = object()
_LOGICAL: Final = ("logicalType", "precision", "scale")
_KEY_JSON: Final = msgspec.json.Encoder().encode


class Messages:
    """Encodes and decodes rows of our own records; remembers what it learned of each schema."""

    def __init__(self, schemas: Schemas, folder: Path | None = None) -> None:
        self._schemas = schemas
        self._folder = folder or schemas_folder()
        self._records: dict[str, _Record] = {}
        self._readers: dict[tuple[str, bytes], _Reader | None] = {}

    def fields(self, record: str) -> tuple[str, ...]:
        """The names of a record's fields, in the order of its rows' values."""
        return self._record(record).names

    def encode(self, record: str, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        """The Kafka value of each row, in turn.

        ValueError, TypeError or OverflowError where a row does not fit its schema, which is this program's mistake;
        RegistryUnavailableError or SchemaRefusedError where the schema has no id yet and none is to be had.
        """
        if not rows:
            return []
        known = self._record(record)
        if known.header is None:
            known.header = header(self._schemas.id_of(record))
        return known.encode(rows, known.header)

    def decode(self, record: str, values: Sequence[bytes | None]) -> tuple[list[Row], list[int]]:
        """The rows of values in turn, in the field order of *our* newest schema, whatever they were written with.

        Also the indices of values that are no such record (a value of None, an unknown schema id, another record,
        damaged or trailing bytes): they have no row. RegistryUnavailableError where schemas cannot be asked for.
        """
        found: list[Any] = [_BROKEN] * len(values)
        for head, indices, bodies in by_header(values):
            reader = self._reader(record, head)
            if reader is None:
                continue
            rows = reader.read(bodies)
            if len(indices) == len(values):
                found = rows
                break
            for index, row in zip(indices, rows, strict=True):
                found[index] = row
        broken = [index for index, row in enumerate(found) if row is _BROKEN]
        return [row for row in found if row is not _BROKEN] if broken else found, broken

    def _record(self, record: str) -> _Record:
        known = self._records.get(record)
        if known is None:
            schema = newest_schema(record, self._folder)
            known = self._records[record] = _Record(schema)
        return known

    def _reader(self, record: str, head: bytes) -> _Reader | None:
        """What reads values that begin with ``head``; None if they are no such records."""
        key = record, head
        if key not in self._readers:
            schema_id = id_in(head)
            try:
                schema = None if schema_id is None else self._schemas.schema_of(schema_id)
            except UnknownSchemaError:  # not remembered here: it may be registered later
                return None
            if schema_id is None:
                return None  # garbage may have any head: nothing to remember
            self._readers[key] = self._record(record).reader(schema)
        return self._readers[key]


def row_key(record: str, row: Sequence[Any]) -> bytes:
    """The Kafka key of a row, as its topic's YAML file says: one field's text in UTF-8, or the JSON array of several.

    Rows in field order as :class:`Messages` has them.
    """
    places = _key_places(record)
    if len(places) == 1:
        return str(row[places[0]]).encode()
    return _KEY_JSON([row[place] for place in places])


@cache
def _key_places(record: str) -> tuple[int, ...]:
    folder = schemas_folder()
    names = [field["name"] for field in newest_schema(record, folder)["fields"]]
    return tuple(names.index(name) for name in key_fields(record, folder))


class _Record:
    """One record in its newest version."""

    def __init__(self, schema: Any) -> None:
        self.names = tuple(field["name"] for field in schema["fields"])
        self.header: bytes | None = None
        self.plain = _plain(schema)
        self._parsed = fastavro.parse_schema(self.plain, _write_hint=False)
        self._flat = flat_columns(self.plain)
        self._to_avro: list[tuple[int, Callable[[Any], Any]]] = []
        self.from_avro: list[tuple[int, Callable[[Any], Any]]] = []
        for place, field in enumerate(schema["fields"]):
            if field["name"] == "is_deleted":
                self._to_avro.append((place, bool))
                self.from_avro.append((place, int))
            elif _is_decimal(field["type"]):
                self._to_avro.append((place, _decimal_bytes))
                self.from_avro.append((place, _decimal))
            elif field["type"] == "bytes":
                self._to_avro.append((place, _as_bytes))

    def encode(self, rows: Sequence[Sequence[Any]], head: bytes) -> list[bytes]:
        if self._flat is not None and len(rows) > _FEW_TO_ENCODE:
            columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
            if len(columns) != len(self.names):
                raise ValueError(f"rows have {len(columns)} values, but the fields are {', '.join(self.names)}")
            for place, convert in self._to_avro:
                columns[place] = list(map(convert, columns[place]))
            return [head + body for body in self._flat.write(columns)]
        write, schema, names = fastavro.schemaless_writer, self._parsed, self.names
        stream = io.BytesIO(head)
        values = []
        for row in rows:
            record = dict(zip(names, row, strict=True))
            for place, convert in self._to_avro:
                record[names[place]] = convert(row[place])
            stream.seek(HEADER_BYTES)
            write(stream, schema, record)
            stream.truncate()
            values.append(stream.getvalue())
        return values

    def reader(self, schema: Any) -> _Reader | None:
        """What reads bodies written with ``schema``; None if it is another record's."""
        try:
            plain = _plain(schema)
            name = plain["name"].rpartition(".")[2]
            written = fastavro.parse_schema(plain, _write_hint=False)
        except FASTAVRO_ERRORS:
            return None
        return _Reader(self, plain, written, self._parsed) if name == self.plain["name"] else None


class _Reader:
    """Reads bodies written with one schema as rows of our newest version of it."""

    def __init__(self, record: _Record, plain: Any, written: Any, ours: Any) -> None:
        is_ours = plain["fields"] == record.plain["fields"]
        self._written = written
        self._resolved = None if is_ours else ours
        self._flat = flat_columns(plain) if is_ours else None
        self._from_avro = record.from_avro
        self._names = record.names

    def read(self, bodies: list[bytes]) -> list[Any]:
        """A row, or ``_BROKEN``, for each body."""
        if self._flat is None or len(bodies) <= _FEW_TO_DECODE:
            return [self._row(body) for body in bodies]
        batches, places, doubtful = self._flat.read(bodies)
        rows: list[Any] = []
        for batch in batches:
            columns: list[Iterable[Any]] = [column.to_pylist() for column in batch.columns]
            for place, convert in self._from_avro:
                columns[place] = map(convert, columns[place])
            rows += zip(*columns, strict=True)
        if not doubtful:
            return rows
        found: list[Any] = [None] * len(bodies)
        for place, row in zip(places.tolist(), rows, strict=True):
            found[place] = row
        for place in doubtful:
            found[place] = self._row(bodies[place])
        return found

    def _row(self, body: bytes) -> Any:
        stream = io.BytesIO(body)
        try:
            record: Any = fastavro.schemaless_reader(stream, self._written, self._resolved)
            if stream.tell() != len(body):
                return _BROKEN
            if self._resolved is not None:  # then fields come in the writer's order
                record = {name: record[name] for name in self._names}
            if not self._from_avro:
                return tuple(record.values())
            values = list(record.values())
            for place, convert in self._from_avro:
                values[place] = convert(values[place])
        except FASTAVRO_ERRORS:
            return _BROKEN
        return tuple(values)


def _plain(schema: Any) -> Any:
    """The schema without what does not change bytes: documentation, and logical types, so that times stay integers."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _plain(value) for name, value in schema.items() if name not in ("doc", *_LOGICAL)}
    return kept["type"] if set(kept) == {"type"} else kept


def _is_decimal(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("logicalType") == "decimal"


def _decimal_bytes(number: int) -> bytes:
    """Avro's decimal of scale 0: two's complement, big-endian, the fewest bytes."""
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)


def _decimal(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _as_bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
