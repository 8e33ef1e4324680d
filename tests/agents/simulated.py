"""What a worker has around it, in memory and in one thread: the log, ClickHouse, its disk, its ways in and out.

Everything durable outlives a process. A process ends by :class:`Killed` at a write, a send or an insert.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.agents.outlet import BY_KEY, Output, Span, Spans
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.wire.batches import Headers, RecordBatch
from pipeline.wire.partitioning import partition_of
from tests.properties.crashes import AFTER, BEFORE, HALF_WAY, Killed
from tests.properties.harness import KEYS, StandingSink

CLOCK_MS = 4_000_000_000_000
"""What the clock shows: the year 2096, so that no event is in the future."""


class Entry(NamedTuple):
    """One record of the log; ``number`` counts all records of all partitions."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers
    number: int


class Log:
    """Topics of as many partitions each, and what consumer groups have committed."""

    def __init__(self, partitions: int, chooser: random.Random, gaps: bool) -> None:
        self.partitions = partitions
        self.committed: dict[tuple[str, str, int], int] = {}  # by group, topic and partition
        self._entries: dict[tuple[str, int], list[Entry]] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._chooser = chooser
        self._gaps = gaps
        self._count = 0

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> int:  # fmt: skip
        where = (topic, partition)
        offset = self._ends.get(where, 0)
        if self._gaps and self._chooser.random() < 0.1:
            offset += self._chooser.randint(1, 3)  # as a transaction's marker leaves them
        self._entries.setdefault(where, []).append(Entry(offset, key, value, CLOCK_MS, headers, self._count))
        self._ends[where] = offset + 1
        self._count += 1
        return offset

    def end(self, topic: str, partition: int) -> int:
        return self._ends.get((topic, partition), 0)

    def entries(self, topic: str, partition: int, start: int = 0) -> list[Entry]:
        found = self._entries.get((topic, partition), [])
        return found[bisect_left(found, start, key=lambda entry: entry.offset) :]

    def batch(self, topic: str, partition: int, start: int, most: int) -> RecordBatch | None:
        found = self.entries(topic, partition, start)[:most]
        if not found:
            return None
        return RecordBatch(
            topic, partition, [each.offset for each in found], [each.key for each in found],
            [each.value for each in found], [each.timestamp_ms for each in found], [each.headers for each in found],
        )  # fmt: skip


class FakeLogReader:
    """As :class:`~pipeline.agents.log_reader.LogReader`; others may act between any two of its answers."""

    def __init__(self, log: Log, group: str, chooser: random.Random, meanwhile: Callable[[], None]) -> None:
        self._log = log
        self._group = group
        self._chooser = chooser
        self._meanwhile = meanwhile

    def partitions(self, _topic: str) -> int:
        return self._log.partitions

    def committed(self, topic: str, partition: int) -> int:
        self._meanwhile()
        return self._log.committed.get((self._group, topic, partition), 0)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        self._meanwhile()
        return 0, self._log.end(topic, partition)

    def ends_of(self, where: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {each: self._log.end(*each) for each in where}

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[RecordBatch]:
        while start < end:
            batch = self._log.batch(topic, partition, start, self._chooser.randint(1, 6))
            batch = batch.until(end) if batch is not None else None
            if batch is None:
                return
            yield batch
            self._meanwhile()
            start = batch.next_offset

    def close(self) -> None:
        pass


class Fate:
    """Says at which write, send or insert of one process it ends."""

    def __init__(self) -> None:
        self.is_over = False
        self._left = -1
        self._when = AFTER

    def end_at(self, calls: int, when: str) -> None:
        """End at the call after so many others."""
        self._left, self._when = calls, when

    def next(self) -> str:
        if self._left < 0:
            return ""
        self._left -= 1
        self.is_over = self._left < 0
        return self._when if self.is_over else ""


class FatedStore:
    """A store on a disk that outlives the process; the process may end at a write."""

    def __init__(self, disk: MemoryStore, fate: Fate, on_write: Callable[[WriteBatch], None]) -> None:
        self._disk = disk
        self._fate = fate
        self._on_write = on_write
        self.get, self.get_many = disk.get, disk.get_many
        self.scan, self.scan_each = disk.scan, disk.scan_each

    def write(self, batch: WriteBatch) -> None:
        when = self._fate.next()
        if when in (BEFORE, HALF_WAY):
            raise Killed
        self._disk.write(batch)
        self._on_write(batch)
        if when:
            raise Killed

    def close(self) -> None:
        pass


class FakeOutlet:
    """Appends to the log. Sometimes a send fails in the middle and is made again; the process may end at any point."""

    def __init__(self, log: Log, fate: Fate, chooser: random.Random, retries: bool) -> None:
        self._log = log
        self._fate = fate
        self._chooser = chooser
        self._retries = retries

    def send(self, outputs: Sequence[Output]) -> Spans:
        when = self._fate.next() if outputs else ""
        if when == BEFORE:
            raise Killed
        spans: Spans = {}
        if when == HALF_WAY or (self._retries and self._chooser.random() < 0.05):
            self._append(outputs[: self._chooser.randint(0, len(outputs))], spans)
            if when:
                raise Killed
        self._append(outputs, spans)
        if when:
            raise Killed
        return spans

    def _append(self, outputs: Sequence[Output], spans: Spans) -> None:
        for topic, partition, key, value in outputs:
            number = partition_of(key, self._log.partitions) if partition == BY_KEY else partition
            offset = self._log.append(topic, number, key, value)
            known = spans.get((topic, number), Span(offset, offset, 0))
            spans[topic, number] = Span(min(known.first, offset), offset, known.records + 1)

    def close(self) -> None:
        pass


class Tables(StandingSink):
    """ClickHouse: of the rows of a key the highest version, and of those the last, stands."""

    def __init__(self) -> None:
        super().__init__()
        self._rows["late_events"] = {}

    def put(self, table: str, row: dict[str, Any]) -> None:
        self._put(table, row)

    def _put(self, table: str, row: dict[str, Any]) -> None:
        key = tuple(row[name] for name in KEYS.get(table, KEYS["dead_letters"]))
        standing = self._rows[table].get(key)
        if standing is None or row["version"] >= standing["version"]:
            self._rows[table][key] = row


class FakeWriter:
    """The way to ClickHouse: what is put waits, and is lost with the process."""

    def __init__(self, tables: Tables, fate: Fate, on_stored: Callable[[str, int, int], None]) -> None:
        self._tables = tables
        self._fate = fate
        self._on_stored = on_stored
        self._waiting: deque[tuple[str, list[dict[str, Any]], str, int, int]] = deque()

    def put(
        self, table: str, columns: pa.Table | None, topic: str, partition: int, next_offset: int, oldest_ms: int
    ) -> None:
        assert oldest_ms == CLOCK_MS
        rows = columns.to_pylist() if columns is not None else []
        self._waiting.append((table, rows, topic, partition, next_offset))

    def put_rows(
        self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str], topic: str, partition: int,
        next_offset: int, oldest_ms: int,
    ) -> None:  # fmt: skip
        assert oldest_ms == CLOCK_MS
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        self._waiting.append((table, named, topic, partition, next_offset))

    def waiting(self) -> int:
        return len(self._waiting)

    def store(self, most: int) -> None:
        """Insert the oldest of what waits, then tell."""
        for _ in range(min(most, len(self._waiting))):
            table, rows, topic, partition, next_offset = self._waiting.popleft()
            when = self._fate.next()
            taken = {BEFORE: 0, HALF_WAY: len(rows) // 2}.get(when, len(rows))
            for row in rows[:taken]:
                self._tables.put(table, row)
            if when:
                raise Killed
            self._on_stored(topic, partition, next_offset)

    def flush(self) -> None:
        self.store(len(self._waiting))


class Truth:
    """Whole clicks, after what waits is stored."""

    def __init__(self, tables: Tables, writer: FakeWriter) -> None:
        self._tables = tables
        self._writer = writer

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> dict[str, Any] | None:
        self._writer.flush()
        return self._tables.click(brand_id, visitor_id, event_id)


class Pending(Future[Any]):
    """The result of work that is done when somebody runs it; waiting for it runs what comes before it too."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    def result(self, _timeout: float | None = None) -> Any:
        while not self.done():
            self._queue.run_one()
        return super().result()


class Queue:
    """In place of an executor of one thread: the schedule says when the next piece of work is done."""

    def __init__(self) -> None:
        self._work: deque[tuple[Pending, Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Pending:
        pending = Pending(self)
        self._work.append((pending, work, arguments))
        return pending

    def __len__(self) -> int:
        return len(self._work)

    def run_one(self) -> None:
        pending, work, arguments = self._work.popleft()
        pending.set_result(work(*arguments))

    def run_all(self) -> None:
        while self._work:
            self.run_one()


class AtOnce:
    """In place of an executor: does what is submitted right away."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done
