"""Events from Kafka: the values of an input topic's batch to candidates for admission.

A value is read with the schema that it was written with, whatever its version: fields are known by their names,
unknown ones are ignored, and those that the writer did not have are absent. A record of another type, or that is no
record at all, is ``malformed``, it alone; whether fields are right is for :mod:`pipeline.wire.admission` to say.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.domain.events import EVENT_TYPES, Field
from pipeline.wire.admission import DeadLetter
from pipeline.wire.avro_schemas import FASTAVRO_ERRORS, FileSchema, UnusableSchemaError, read_schema
from pipeline.wire.batches import RecordBatch
from pipeline.wire.columns import Candidates, Column, Mask, from_records
from pipeline.wire.flat_avro import FlatColumns, flat_columns
from pipeline.wire.schema_ids import Schemas, UnknownSchemaError, by_header, id_in

_TICKS_PER_MS: Final = {"ms": 1, "us": 1000, "ns": 1_000_000}
_NO_ROWS: Final = np.zeros(0, dtype=np.int64)


def source_of(batch: RecordBatch) -> str:
    """The source that a batch's dead letters name; a position in it is an offset."""
    return f"{batch.topic}/{batch.partition}"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows read alike, as :class:`Candidates` has them; ``rows`` are indices into the batch."""

    rows: npt.NDArray[np.int64]
    columns: Mapping[str, Column]
    ill_typed: Mask | None


class InputDecoder:
    """Decodes batches of the four input topics; remembers what it learned of each schema."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._readers: dict[tuple[str, int], _Reader | None] = {}

    def decode(self, event_type: str, batch: RecordBatch) -> tuple[Candidates, list[DeadLetter]]:
        """The records of ``event_type`` in offset order, and a dead letter for each value that is none.

        Raises RegistryUnavailableError and nothing else, if schemas are unknown here and cannot be asked for: then the
        batch is to be tried again. Candidates, never None, may have no rows.
        """
        pieces: list[_Piece] = []
        malformed: list[int] = []
        for head, rows, bodies in by_header(batch.values):
            reader = self._reader(event_type, head)
            if reader is None:
                malformed += rows
                continue
            index = np.asarray(rows, dtype=np.int64)
            for piece, bad in reader.read(bodies):
                pieces.append(_Piece(index[piece.rows], piece.columns, piece.ill_typed))
                malformed += [rows[each] for each in bad]
        source = source_of(batch)
        dead = [
            DeadLetter(source, batch.offsets[row], "malformed", batch.values[row] or b"") for row in sorted(malformed)
        ]
        return _candidates(event_type, _joined(event_type, pieces), batch), dead

    def _reader(self, event_type: str, head: bytes) -> _Reader | None:
        """What reads the values that begin with ``head``; None if they are no records of ``event_type``."""
        schema_id = id_in(head)
        if schema_id is None:
            return None
        key = event_type, schema_id
        if key not in self._readers:
            try:
                self._readers[key] = _reader_for(event_type, self._schemas.schema_of(schema_id))
            except UnknownSchemaError:  # not remembered here: it may be registered later
                return None
        return self._readers[key]


def _reader_for(event_type: str, schema: Any) -> _Reader | None:
    """None if no record written with the schema is an event of that type."""
    try:
        known = read_schema(schema)
    except UnusableSchemaError:
        return None
    if not isinstance(known.parsed, dict) or len(known.records) != 1:
        return None
    name = known.parsed["name"].rpartition(".")[2].replace("_", "").lower()
    return _Reader(event_type, known) if name == event_type.replace("_", "") else None


class _Reader:
    """Reads bodies written with one schema, in columns where that can be, else record by record."""

    def __init__(self, event_type: str, schema: FileSchema) -> None:
        self._event_type = event_type
        self._schema = schema.parsed
        (record,) = schema.records.values()
        self._ticks_per_ms = _TICKS_PER_MS.get(record.time_unit or "")  # None: what is there is no time
        self._flat: FlatColumns | None = flat_columns(schema.parsed)
        places = {field["name"]: place for place, field in enumerate(schema.parsed["fields"])}
        self._fields = [(field, places[field.name]) for field in EVENT_TYPES[event_type].fields if field.name in places]

    def read(self, bodies: list[bytes]) -> Iterable[tuple[_Piece, Sequence[int]]]:
        """The rows that are records, and those that are not; rows are indices into ``bodies``."""
        doubtful: Sequence[int] = range(len(bodies))
        if self._flat is not None:
            batches, rows, doubtful = self._flat.read(bodies)
            start = 0
            for batch in batches:
                end = start + len(batch)
                yield self._from_columns(batch, rows[start:end]), ()
                start = end
        if doubtful:
            yield self._one_by_one(bodies, doubtful)

    def _from_columns(self, batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> _Piece:
        ill_typed = np.zeros(len(batch), dtype=np.bool_)
        columns = {}
        for field, index in self._fields:
            column = batch.column(index)
            if field.kind == "time":
                column = self._in_ms(column)
            columns[field.name] = _typed(field, column, ill_typed)
        return _Piece(rows, columns, ill_typed if ill_typed.any() else None)

    def _in_ms(self, column: Column) -> Column:
        """Times in milliseconds; those that are none become doubles, which are no times."""
        if self._ticks_per_ms == 1 or not pa.types.is_integer(column.type):
            return column
        if self._ticks_per_ms is None:
            doubles: Column = column.cast(pa.float64(), safe=False)
            return doubles
        ticks = column.fill_null(0).to_numpy()
        times: Column = pa.array(ticks // self._ticks_per_ms, mask=column.is_null().to_numpy(zero_copy_only=False))
        return times

    def _one_by_one(self, bodies: Sequence[bytes], rows: Sequence[int]) -> tuple[_Piece, Sequence[int]]:
        records, good, bad = [], [], []
        for row in rows:
            record = self._record(bodies[row])
            if record is None:
                bad.append(row)
            else:
                records.append(record)
                good.append(row)
        found = from_records(self._event_type, records, np.zeros(len(records), dtype=np.uint64), _no_raw, is_json=False)
        return _Piece(np.array(good, dtype=np.int64), found.columns, found.ill_typed), bad

    def _record(self, body: bytes) -> dict[str, Any] | None:
        """The record that fills ``body``, or None."""
        stream = io.BytesIO(body)
        try:
            record: Any = fastavro.schemaless_reader(
                stream, self._schema, None, handle_unicode_errors="surrogateescape"
            )
        except FASTAVRO_ERRORS:
            return None
        if stream.tell() != len(body):
            return None
        at = record.get("occurred_at")
        if self._ticks_per_ms != 1 and type(at) is int:
            record["occurred_at"] = at // self._ticks_per_ms if self._ticks_per_ms else float(at)
        return dict(record)


def _typed(field: Field, column: Column, ill_typed: Mask) -> Column:
    """The column in the type that admission wants; values of a wrong type become null and are marked."""
    if field.is_text and pa.types.is_string(column.type):
        return column
    if not field.is_text and pa.types.is_integer(column.type):
        integers: Column = column.cast(pa.int64())
        return integers
    ill_typed |= column.is_valid().to_numpy(zero_copy_only=False)
    return _nulls(len(column), field)


def _nulls(count: int, field: Field) -> Column:
    nulls: Column = pa.nulls(count, pa.string() if field.is_text else pa.int64())
    return nulls


def _joined(event_type: str, pieces: Sequence[_Piece]) -> _Piece:
    """All pieces as one, rows ascending."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return _Piece(_NO_ROWS, {}, None)
    rows = np.concatenate([piece.rows for piece in pieces])
    order: Any = np.argsort(rows)
    columns = {}
    for field in EVENT_TYPES[event_type].fields:
        parts = [piece.columns.get(field.name) for piece in pieces]
        filled = [
            _nulls(len(piece.rows), field) if part is None else part for part, piece in zip(parts, pieces, strict=True)
        ]
        columns[field.name] = pa.concat_arrays(filled).take(order)
    masks = [np.zeros(len(each.rows), np.bool_) if each.ill_typed is None else each.ill_typed for each in pieces]
    return _Piece(rows[order], columns, np.concatenate(masks)[order])


def _candidates(event_type: str, piece: _Piece, batch: RecordBatch) -> Candidates:
    rows = piece.rows
    offsets = np.asarray(batch.offsets, dtype=np.uint64)

    def raw_of(wanted: Sequence[int]) -> list[bytes]:
        return [batch.values[rows[row]] or b"" for row in wanted]

    return Candidates(event_type, piece.columns, piece.ill_typed, offsets[rows], raw_of)


def _no_raw(rows: Sequence[int]) -> list[bytes]:
    raise NotImplementedError("pieces have no raw bytes; the batch has them")
