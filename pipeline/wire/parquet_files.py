"""Parquet: a file with a ``type`` column, or of the type that its metadata names; positions are row numbers, from 1.

Rows are read in batches. Where a row group is broken, its rows before the break are kept, and the rest of it is one
malformed dead letter: its position is that of the first row lost, its raw bytes are the row group's. The raw bytes of a
row are JSON: the known columns that are not null, times in milliseconds, what is not text as ``base64:…``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.admission import Admission, Admitted, DeadLetter
from pipeline.wire.parquet_footer import row_group_span
from pipeline.wire.streams import MAX_RAW_BYTES, ByteStream, InputError
from pipeline.wire.tables import judged_rows

#: The key of the file's metadata that names the type of all its rows, where there is no ``type`` column.
TYPE_KEY: Final = b"crosscredit.type"

_KNOWN: Final = tuple(dict.fromkeys(name for each in EVENT_TYPES.values() for name in each.field_names))
_BATCH_BYTES: Final = 32 * 2**20

#: What pyarrow raises on damaged content, as seen by feeding it such.
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def check_parquet(stream: ByteStream) -> None:
    """InputError if the footer cannot be read, or says nothing of the rows' types."""
    with _reading(stream.name), _opened(stream) as (file, _):
        _only_type(file, stream.name)


def read_parquet(stream: ByteStream, admission: Admission, part_records: int) -> Iterator[Admitted]:
    """Read and judge all rows, at most ``part_records`` at a time."""
    with _reading(stream.name), _opened(stream) as (file, raw):
        reader = _Reader(file, raw, stream.name, part_records)
        size = stream.path.stat().st_size if stream.path else 0
        told = 0
        for rows_done, part in reader.parts(admission):
            upto = size * rows_done // max(1, file.metadata.num_rows)
            yield replace(part, bytes_read=upto - told)
            told = upto
        if told < size:
            yield Admitted({}, [], stream.name, 0, size - told)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns a failing disk into an InputError; what Arrow says of damaged content is dealt with where it is read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{name}: reading failed ({error}). Check the disk or share, and run again.") from error


@contextmanager
def _opened(stream: ByteStream) -> Iterator[tuple[pq.ParquetFile, IO[bytes]]]:
    """The file and its bytes. A compressed one is unpacked first: Parquet is read from its end."""
    with _seekable(stream) as raw:
        try:
            file = pq.ParquetFile(raw, page_checksum_verification=True)
            file.schema_arrow.names  # noqa: B018 - reads the schema, which may be damaged too
        except _DAMAGE as error:
            remedy = "Write it again, or give it the suffix of what it is."
            raise InputError(f"{stream.name}: the Parquet footer cannot be read ({error}). {remedy}") from error
        with file:
            yield file, raw


@contextmanager
def _seekable(stream: ByteStream) -> Iterator[IO[bytes]]:
    assert stream.path is not None  # noqa: S101 - standard input is JSON Lines
    if not stream.compression:
        with stream.path.open("rb") as raw:
            yield raw
        return
    with tempfile.TemporaryFile() as unpacked:
        for piece in stream.pieces():
            unpacked.write(piece)
        stream.take_consumed()  # progress is told by rows
        if stream.broken is not None:
            raise InputError(f"{stream.name}: {stream.broken}, so the Parquet footer is lost. Compress the file again.")
        unpacked.seek(0)
        yield unpacked


def _only_type(file: pq.ParquetFile, name: str) -> str | None:
    """The one type of all rows; None if a ``type`` column tells."""
    if "type" in file.schema_arrow.names:
        return None
    found = (file.metadata.metadata or {}).get(TYPE_KEY, b"").decode(errors="replace")
    if found not in EVENT_TYPES:
        problem = f"its metadata {TYPE_KEY.decode()} is `{found}`" if found else "has no column `type`"
        remedy = f"Add the column, or set the metadata {TYPE_KEY.decode()} to click, sign_up, order or refund."
        raise InputError(f"{name}: {problem}, so its rows are of no known type. {remedy}")
    return found


class _Reader:
    """Row groups to candidates."""

    def __init__(self, file: pq.ParquetFile, raw: IO[bytes], name: str, part_records: int) -> None:
        self._file = file
        self._raw = raw
        self._name = name
        self._part_records = part_records
        self._only_type = _only_type(file, name)
        present = set(file.schema_arrow.names)
        self._columns = [column for column in ("type", *_KNOWN) if column in present]

    def parts(self, admission: Admission) -> Iterator[tuple[int, Admitted]]:
        """Judged rows, each time with the number of rows done so far, lost ones included."""
        first = 1
        for index in range(self._file.metadata.num_row_groups):
            rows = self._file.metadata.row_group(index).num_rows
            done = 0
            for batch in self._batches(index, rows):
                yield first - 1 + done + batch.num_rows, self._judged(batch, first + done, admission)
                done += batch.num_rows
            if done < rows:
                lost = DeadLetter(self._name, first + done, "malformed", self._row_group_bytes(index))
                yield first - 1 + rows, Admitted({}, [lost], self._name, 1, 0)
            first += rows

    def _batches(self, index: int, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a group, up to where it breaks if it does."""
        size = self._batch_size(index, rows)
        done = 0
        try:
            for batch in self._read(index, size):
                yield batch
                done += batch.num_rows
        except _DAMAGE as error:
            _raise_if_disk_failed(error)
            readable = self._readable(index, done, min(rows, done + size))
            if readable > done:
                yield next(self._read(index, readable)).slice(done)

    def _batch_size(self, index: int, rows: int) -> int:
        bytes_a_row = self._file.metadata.row_group(index).total_byte_size // max(1, rows) + 1
        return max(1, min(self._part_records, _BATCH_BYTES // bytes_a_row))

    def _read(self, index: int, size: int) -> Iterator[pa.RecordBatch]:
        return self._file.iter_batches(size, row_groups=[index], columns=self._columns, use_threads=False)

    def _readable(self, index: int, low: int, high: int) -> int:
        """How many rows can be read before the break: at least ``low``, fewer than ``high``; found by halving."""
        while high - low > 1:
            middle = (low + high) // 2
            try:
                whole = next(self._read(index, middle)).num_rows == middle
            except (*_DAMAGE, StopIteration) as error:
                _raise_if_disk_failed(error)
                whole = False
            low, high = (middle, high) if whole else (low, middle)
        return low

    def _row_group_bytes(self, index: int) -> bytes:
        start, length = row_group_span(self._raw, index)
        self._raw.seek(start)
        return self._raw.read(min(MAX_RAW_BYTES, length))

    def _judged(self, batch: pa.RecordBatch, first: int, admission: Admission) -> Admitted:
        # Of columns with one name the last counts, as in JSON.
        columns = {name: batch.column(at) for at, name in enumerate(batch.schema.names)}
        return judged_rows(columns, first, self._only_type, admission, self._name)


def _raise_if_disk_failed(error: Exception) -> None:
    """Again, if it is the operating system's: Arrow's errors about content have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
