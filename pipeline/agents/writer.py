"""The way to ClickHouse: rows of many partitions in few inserts, in a thread of its own.

Rows wait for half a second at most, or until there are enough of them. An insert that fails is repeated until it
succeeds: rows are upserts, so a repeat writes nothing twice. While ClickHouse is away the writer takes a bounded number
of rows and then makes its callers wait, which slows the intake down; nothing is dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import pyarrow as pa

from pipeline.agents.outlet import StoppedError
from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError

MAX_WAIT_S: Final = 0.5
ROWS_AT_ONCE: Final = 100_000
MOST_WAITING: Final = 400_000

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0

Stored = Callable[[str, int, int], object]
"""Hears topic, partition and the offset up to which everything of it is stored."""


class Rows(Protocol):
    """Where rows are inserted: :class:`~pipeline.clickhouse.warehouse.Warehouse`."""

    def insert(self, table: str, columns: pa.Table) -> None:
        """Upsert columns."""

    def insert_rows(self, table: str, rows: Sequence[Sequence[object]], columns: Sequence[str]) -> None:
        """Upsert rows."""


@dataclass(slots=True)
class _Waiting:
    """What is to be inserted next."""

    since: float | None = None
    count: int = 0
    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    rows: dict[tuple[str, tuple[str, ...]], list[Sequence[Any]]] = field(default_factory=dict)
    reached: dict[tuple[str, int], int] = field(default_factory=dict)
    oldest_ms: dict[tuple[str, str, int], int] = field(default_factory=dict)  # by table, topic and partition


class Writer:
    """Collects rows and inserts them. Any thread may put; one thread of its own inserts.

    ``on_stored`` and ``on_trouble`` are called from that thread, as are ``on_insert`` with table, rows and seconds, and
    ``on_lag`` with table and seconds: once for each partition with rows in an insert, from the time of the oldest
    record that they come from until they are stored. A row that ClickHouse refuses for good ends the writer:
    ``on_failure`` hears of it, and further puts raise what ClickHouse said.
    """

    def __init__(
        self, warehouse: Rows, *, on_stored: Stored, on_trouble: Callable[[str], object],
        on_insert: Callable[[str, int, float], object] = lambda *_: None,
        on_lag: Callable[[str, float], object] = lambda *_: None,
        on_failure: Callable[[BaseException], object] = lambda _: None, max_wait_s: float = MAX_WAIT_S,
        rows_at_once: int = ROWS_AT_ONCE, most_waiting: int = MOST_WAITING,
    ) -> None:  # fmt: skip
        self._warehouse = warehouse
        self._on_stored = on_stored
        self._on_trouble = on_trouble
        self._on_insert = on_insert
        self._on_lag = on_lag
        self._on_failure = on_failure
        self._max_wait_s = max_wait_s
        self._rows_at_once = rows_at_once
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._waiting = _Waiting()
        self._in_flight = 0
        self._is_closing = False
        self._refused: WarehouseError | None = None
        self._thread = threading.Thread(target=self._run, name="clickhouse-writer", daemon=True)
        self._thread.start()

    def put(
        self, table: str, columns: pa.Table | None, topic: str, partition: int, next_offset: int, oldest_ms: int
    ) -> None:
        """Take columns (None: no row, only progress) of a partition that reach up to ``next_offset``.

        ``oldest_ms`` is Kafka's time of the oldest record that they come from.
        """
        with self._changed:
            self._make_room()
            if columns is not None and columns.num_rows:
                self._waiting.tables.setdefault(table, []).append(columns)
                self._waiting.count += columns.num_rows
                self._note_oldest(table, topic, partition, oldest_ms)
            self._note(topic, partition, next_offset)

    def put_rows(
        self, table: str, rows: Sequence[Sequence[Any]], columns: tuple[str, ...], topic: str, partition: int,
        next_offset: int, oldest_ms: int,
    ) -> None:  # fmt: skip
        """Take rows of a partition that reach up to ``next_offset``; ``oldest_ms`` as for :meth:`put`."""
        with self._changed:
            self._make_room()
            if rows:
                self._waiting.rows.setdefault((table, columns), []).extend(rows)
                self._waiting.count += len(rows)
                self._note_oldest(table, topic, partition, oldest_ms)
            self._note(topic, partition, next_offset)

    def waiting(self) -> int:
        """How many rows are not stored yet."""
        with self._changed:
            return self._waiting.count + self._in_flight

    def flush(self) -> None:
        """Wait until everything that was put is stored."""
        with self._changed:
            self._max_wait_s, usual = 0.0, self._max_wait_s
            self._changed.notify_all()
            while (self._waiting.since is not None or self._in_flight) and not self._is_closing:
                self._raise_if_refused()
                self._changed.wait(0.1)
            self._max_wait_s = usual

    def close(self, timeout_s: float = 5) -> None:
        """Insert what waits, for up to ``timeout_s``; the rest is not counted as stored."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _make_room(self) -> None:
        while self._waiting.count + self._in_flight > self._most_waiting and not self._is_closing:
            self._raise_if_refused()
            self._changed.wait(0.5)
        self._raise_if_refused()
        if self._is_closing:
            raise StoppedError("the way to ClickHouse is closed")

    def _raise_if_refused(self) -> None:
        if self._refused is not None:
            raise self._refused

    def _note(self, topic: str, partition: int, next_offset: int) -> None:
        self._waiting.reached[topic, partition] = next_offset
        if self._waiting.since is None:
            self._waiting.since = time.monotonic()
        self._changed.notify_all()

    def _note_oldest(self, table: str, topic: str, partition: int, oldest_ms: int) -> None:
        key = table, topic, partition
        self._waiting.oldest_ms[key] = min(oldest_ms, self._waiting.oldest_ms.get(key, oldest_ms))

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                stored = self._insert(batch)
            except WarehouseError as error:
                with self._changed:
                    self._refused = error
                    self._changed.notify_all()
                self._on_trouble(f"{error} The worker cannot go on: is it older than the database?")
                self._on_failure(error)
                return
            if stored:
                for (topic, partition), next_offset in batch.reached.items():
                    self._on_stored(topic, partition, next_offset)
            with self._changed:
                self._in_flight = 0
                self._changed.notify_all()

    def _next(self) -> _Waiting | None:
        """What is to be inserted now; None: closed, and nothing is left."""
        with self._changed:
            while True:
                since = self._waiting.since
                if since is None:
                    if self._is_closing:
                        return None
                    self._changed.wait(1.0)
                    continue
                left = since + self._max_wait_s - time.monotonic()
                if left <= 0 or self._waiting.count >= self._rows_at_once or self._is_closing:
                    batch, self._waiting = self._waiting, _Waiting()
                    self._in_flight = batch.count
                    return batch
                self._changed.wait(left)

    def _insert(self, batch: _Waiting) -> bool:
        """Insert everything, however often it takes; False if the writer was closed before that."""
        for table, parts in batch.tables.items():
            columns = parts[0]
            if len(parts) > 1:  # columns that hold nothing are left out of a part
                columns = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
            if not self._until_done(table, len(columns), partial(self._warehouse.insert, table, columns)):
                return False
            self._tell_lag(batch, table)
        for (table, names), rows in batch.rows.items():
            if not self._until_done(table, len(rows), partial(self._warehouse.insert_rows, table, rows, names)):
                return False
            self._tell_lag(batch, table)
        return True

    def _tell_lag(self, batch: _Waiting, table: str) -> None:
        now_ms = time.time() * 1000
        for (of_table, _, _), oldest_ms in batch.oldest_ms.items():
            if of_table == table:
                self._on_lag(table, max(0.0, (now_ms - oldest_ms) / 1000))

    def _until_done(self, table: str, count: int, insert: Callable[[], None]) -> bool:
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                insert()
            except WarehouseUnavailableError as error:
                self._on_trouble(f"{error} {count} rows for {table} wait, and are inserted again.")
                with self._changed:
                    if self._is_closing:
                        return False
                    self._changed.wait_for(lambda: self._is_closing, pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._on_insert(table, count, time.monotonic() - began)
                return True
