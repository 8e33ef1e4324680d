"""Fetched Kafka records as columns: what aiokafka makes into one Python object a record, taken in one pass.

aiokafka unpacks a fetch response through a generator that builds a ``ConsumerRecord`` for every record (about 3 µs).
Its Cython batches already hold key, value, offset and timestamp, so they are read straight into the columns of a
`RecordBatch` (about 0.4 µs). What the generator also did is done here: checksums, aborted transactions, control
records, records before the wanted offset, and the offset from which to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords  # type: ignore[import-untyped]  # it has no types
from aiokafka.errors import CorruptRecordException  # type: ignore[import-untyped]  # it has no types

from pipeline.wire.batches import Headers, RecordBatch

_FIRST_SLICE = 64  # records taken before their mean size is known
_RECORD_OVERHEAD_BYTES = 150  # Python's own cost of a record: two bytes objects, two integers, five references


@dataclass(slots=True)
class _Columns:
    """A batch in the making."""

    offsets: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    timestamps_ms: list[int] = field(default_factory=list)
    headers: dict[int, Headers] = field(default_factory=dict)  # by row: few records have any
    size_bytes: int = 0


class PartitionReader:
    """Reads what one fetch response holds of one partition, batch by batch.

    Keeps ``next_fetch_offset`` of the `PartitionRecords` true after every read, also after a failed one: aiokafka takes
    the partition's position from it.
    """

    def __init__(self, records: PartitionRecords) -> None:
        self.source = records
        # Its own way to read, which nobody goes here, is a cycle with it: a response's bytes, used up, would stay until
        # cycles are collected.
        records._records_iterator = None
        self._open: Iterator[Any] | None = None  # the records of the batch that a read stopped in
        self._open_end = 0

    def read(self, max_records: int, max_bytes: int) -> tuple[RecordBatch | None, int, bool]:
        """The next batch, its size in memory in bytes, and whether the response is used up.

        Stops at ``max_records``, or with the record that reaches ``max_bytes``, give or take one record of mean size.
        None if nothing is left that a consumer may see: the position moves on all the same.

        Raises:
            CorruptRecordException: a checksum or a structure is wrong. What was read before it is not lost: it is
                behind ``next_fetch_offset`` only once it was returned, so it is fetched again.
        """
        columns = _Columns()
        before = self.source.next_fetch_offset
        try:
            finished = self._fill(columns, max_records, max_bytes)
        except BaseException:
            self.source.next_fetch_offset = before
            raise
        if not columns.offsets:
            return None, 0, finished
        topic, partition = self.source._tp
        no_headers: list[Headers] = [()] * len(columns.offsets)
        for row, headers in columns.headers.items():
            no_headers[row] = headers
        batch = RecordBatch(
            topic, partition, columns.offsets, columns.keys, columns.values, columns.timestamps_ms, no_headers
        )
        return batch, columns.size_bytes + _RECORD_OVERHEAD_BYTES * len(batch), finished

    def _fill(self, columns: _Columns, max_records: int, max_bytes: int) -> bool:
        source = self.source
        while True:
            records = self._open or self._open_next()
            if records is None:
                return True
            while True:
                wanted = _slice_length(columns, max_records, max_bytes)
                if wanted == 0:
                    return False
                if _take(records, wanted, source.next_fetch_offset, columns) < wanted:
                    break
                if columns.offsets:
                    source.next_fetch_offset = columns.offsets[-1] + 1
            # The batch's own end, not the last record's: compaction may have removed the records after it, and a
            # position before the end would fetch the same batch for ever.
            source.next_fetch_offset = self._open_end
            self._open = None

    def _open_next(self) -> Iterator[Any] | None:
        """Open the next batch that holds records for us; None at the end of the response."""
        source = self.source
        while source._records.has_next():
            batch = source._records.next_batch()
            if source._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {source._tp}")
            if not self._hidden(batch):
                self._open, self._open_end = chain(batch), batch.next_offset
                return self._open
            source.next_fetch_offset = batch.next_offset
        return None

    def _hidden(self, batch: Any) -> bool:
        """Whether the batch is of an aborted transaction, or the broker's own; as in aiokafka's ``_unpack_records``."""
        source = self.source
        if source._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            source._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and source._contains_abort_marker(batch):
                source._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in source._aborted_producers:
                return True
        return bool(batch.is_control_batch)


def _slice_length(columns: _Columns, max_records: int, max_bytes: int) -> int:
    """How many more records to take before looking again."""
    taken = len(columns.offsets)
    if taken == 0:
        return min(_FIRST_SLICE, max_records)
    if taken >= max_records or columns.size_bytes >= max_bytes:
        return 0
    mean = columns.size_bytes // taken + 1
    return min(max_records - taken, (max_bytes - columns.size_bytes) // mean + 1)


def _take(records: Iterator[Any], wanted: int, first_offset: int, columns: _Columns) -> int:
    """Append up to ``wanted`` records to the columns; how many there were, those before ``first_offset`` included."""
    add_offset, add_key = columns.offsets.append, columns.keys.append
    add_value, add_timestamp = columns.values.append, columns.timestamps_ms.append
    start, skipped = len(columns.offsets), 0
    for record in islice(records, wanted):
        offset = record.offset
        if offset < first_offset:  # the broker sends whole batches: the first may begin before the wanted offset
            skipped += 1
            continue
        if headers := record.headers:
            columns.headers[len(columns.offsets)] = tuple((name, content or b"") for name, content in headers)
            columns.size_bytes += sum(len(name) + len(content or b"") for name, content in headers)
        add_offset(offset)
        add_key(record.key)
        add_value(record.value)
        add_timestamp(record.timestamp)
    for column in (columns.keys, columns.values):
        columns.size_bytes += sum(map(len, filter(None, islice(column, start, None))))
    return len(columns.offsets) - start + skipped
