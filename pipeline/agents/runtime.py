"""The partitions of one step that this worker owns: opened and caught up, fed, settled, and let go.

All work on partitions that are ready is done in one thread, a batch at a time and in order. A partition that has to
catch up does so in another thread, while the others go on; until then the transport holds its records back.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from pipeline.agents.catch_up import ForeignStateError, Reached, Told, catch_up
from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.partition import PartitionState
from pipeline.state.rocks import RocksStore, SharedMemory
from pipeline.state.store import Store, WriteBatch
from pipeline.topology import TOPIC_OF, Step
from pipeline.wire.batches import RecordBatch

log = structlog.get_logger()

CATCHING_UP_AT_ONCE: Final = 4
_SAY_EVERY_S: Final = 5.0
_PAUSE_S: Final = 1.0
_TERMS_KEY: Final = b"terms"

# A worker may have a hundred stores, of several tables each.
_shared_memory: Final = cache(partial(SharedMemory, 160))
_ABSENT_MIB: Final = 3  # four bytes a key: with 16 partitions for 12 million clicks


class TermsChangedError(Exception):
    """State was made under other terms than the worker was given."""


class StepPartition(Protocol):
    """One partition of a step with state: :class:`~pipeline.agents.identity.IdentityPartition` and its siblings."""

    number: int
    state: PartitionState

    def start(self) -> None:
        """Send what an earlier process could not."""

    def take(self, batch: RecordBatch) -> None:
        """Take new records; returns when their facts are on disk and their direct outputs acknowledged."""

    def restore(self, batch: RecordBatch, late_offsets: set[int], *, is_ahead: bool) -> None:
        """Take facts whose outputs were acknowledged, but not what they imply together with facts ``is_ahead``."""

    def settle(self) -> None:
        """Derive and send what the facts taken so far imply."""

    def safe_offsets(self) -> Mapping[str, int]:
        """After :meth:`settle`: for each input that it makes safe, how far."""

    def caught_up(self) -> None:
        """Everything that was in the log at the assignment is settled. Called after each time that it settles then."""


Safe = Callable[[str, int, int], object]
"""Hears topic, partition and the offset up to which nothing more has to be done."""


class StepRuntime:
    """One step in one worker."""

    def __init__(
        self, step: Step, folder: Path, *, make: Callable[[int, Store], StepPartition],
        open_log: Callable[[], LogReader], outcomes: Outcomes, terms: str, on_safe: Safe,
        on_failure: Callable[[BaseException], object],
    ) -> None:  # fmt: skip
        """Partitions of a step that acts by the clock are settled each time, not only after they took something."""
        self.step = step
        self._folder = folder / step.name
        self._make = make
        self._readers = _Readers(open_log)
        self._outcomes = outcomes
        self._terms = terms
        self._on_safe = on_safe
        self._on_failure = on_failure
        self._ready: dict[int, StepPartition] = {}
        self._ends: dict[int, Mapping[str, int]] = {}  # of partitions that have not caught up yet
        self._unsettled: set[int] = set()
        self._wanted: dict[int, object] = {}  # partitions that are assigned, each with the mark of its assignment
        self._mark_of: dict[int, object] = {}
        self._opening: dict[int, threading.Lock] = {}
        self._lock = threading.Lock()
        self._work = ThreadPoolExecutor(1, thread_name_prefix=f"{step.name}-work")
        self._catching_up = ThreadPoolExecutor(CATCHING_UP_AT_ONCE, thread_name_prefix=f"{step.name}-catch-up")

    def assign(self, number: int) -> Future[None]:
        """Make a partition ready; the result comes when records may be delivered."""
        mark = object()
        with self._lock:
            self._wanted[number] = mark
        return self._catching_up.submit(self._guarded, self._prepare, number, mark)

    def revoke(self, number: int) -> Future[None]:
        """Let a partition go, after the batch that is being worked on."""
        with self._lock:
            self._wanted.pop(number, None)
        return self._work.submit(self._guarded, self._let_go, number)

    def take(self, batch: RecordBatch) -> Future[None]:
        """Work on a batch; the result comes when it was taken. Of a partition that is not ready nothing is taken."""
        return self._work.submit(self._guarded, self._take, batch, self._wanted.get(batch.partition))

    def settle(self) -> Future[None]:
        """Derive and send what was taken since the last time, and tell how far that makes the inputs safe."""
        return self._work.submit(self._guarded, self._settle)

    def look_back(self) -> Future[None]:
        """Learn what others have emitted in the step's name while its partitions are ours: see :meth:`_look_back`."""
        return self._catching_up.submit(self._guarded, self._look_back)

    def is_ready(self, number: int) -> bool:
        """Whether the partition takes records."""
        return number in self._ready

    def partitions(self) -> list[int]:
        """The partitions that take records."""
        return sorted(self._ready)

    def read(self, record: str) -> list[tuple[int, int]]:
        """How far an input is read: partition and next offset of each that takes records."""
        return [(number, partition.state.offset(record)) for number, partition in list(self._ready.items())]

    def disk_bytes(self) -> int:
        """What the step's state takes on disk."""
        return sum(each.stat().st_size for each in self._folder.rglob("*") if each.is_file())

    def close(self) -> None:
        """Let every partition go."""
        with self._lock:
            self._wanted.clear()
        self._catching_up.shutdown(wait=True, cancel_futures=True)
        for number in list(self._ready):
            self._work.submit(self._guarded, self._let_go, number)
        self._work.shutdown(wait=True)

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            self._on_failure(error)
            raise

    def _prepare(self, number: int, mark: object) -> None:
        began = time.monotonic()
        with self._opening.setdefault(number, threading.Lock()):  # one at a time has the folder
            while number in self._ready and self._wanted.get(number) is mark:
                time.sleep(0.01)  # an earlier assignment is still being let go
            opened = self._patiently_caught_up(number, mark)
            if opened is None:
                return
            partition, reached = opened
            with self._lock:  # whoever revokes it from here on, does so after it became ready
                wanted = self._wanted.get(number) is mark
                if wanted:
                    made_ready = self._work.submit(self._guarded, self._make_ready, partition, mark, reached)
            if not wanted:
                partition.state.close()
                return
            made_ready.result()
        if reached.restored:
            log.info(
                "state restored", step=self.step.name, partition=number, records=reached.restored,
                seconds=round(time.monotonic() - began, 1),
            )  # fmt: skip

    def _patiently_caught_up(self, number: int, mark: object) -> tuple[StepPartition, Reached] | None:
        """The partition, however long Kafka is away; None once it is not wanted any more."""
        while self._wanted.get(number) is mark:
            try:
                with self._readers.one() as reader:
                    return self._caught_up(number, reader, lambda: self._wanted.get(number) is mark)
            except LogUnreadableError as error:
                log.warning("state cannot be restored yet", step=self.step.name, partition=number, reason=str(error))
                time.sleep(_PAUSE_S)
        return None

    def _make_ready(self, partition: StepPartition, mark: object, reached: Reached) -> None:
        partition.start()
        self._ready[partition.number] = partition
        self._mark_of[partition.number] = mark
        self._ends[partition.number] = reached.ends
        self._unsettled.add(partition.number)

    def _caught_up(
        self, number: int, reader: LogReader, is_wanted: Callable[[], bool]
    ) -> tuple[StepPartition, Reached]:  # fmt: skip
        folder = self._folder / f"{number:05d}"
        while True:
            partition = self._opened(number, folder)
            try:
                told = _telling(self.step.name, number)
                return partition, catch_up(partition, self.step, reader, self._outcomes, told, is_wanted)
            except ForeignStateError as error:
                log.warning("state is rebuilt", step=self.step.name, partition=number, reason=str(error))
                partition.state.close()
                shutil.rmtree(folder)
            except BaseException:
                partition.state.close()
                raise

    def _opened(self, number: int, folder: Path) -> StepPartition:
        folder.mkdir(parents=True, exist_ok=True)
        store = RocksStore(
            folder,
            memory=_shared_memory(),
            write_buffer_mib=8,
            absent_mib=_ABSENT_MIB,
            tables=self.step.tables,
        )
        known = store.get("meta", _TERMS_KEY)
        if known is not None and known.decode() != self._terms:
            store.close()
            raise TermsChangedError(
                f"The state in {folder} was made under other terms. Start with those terms again; or, to have all "
                "derived under the new ones, with a new --namespace, a new --folder and a new --clickhouse-database."
            )
        if known is None:
            batch = WriteBatch()
            batch.put("meta", _TERMS_KEY, self._terms.encode())
            store.write(batch)
        return self._make(number, store)

    def _take(self, batch: RecordBatch, mark: object) -> None:
        partition = self._ready.get(batch.partition)
        # A batch of an earlier assignment may lie beyond where this one begins: taking it would skip records.
        if partition is not None and self._mark_of[batch.partition] is mark:
            partition.take(batch)
            self._unsettled.add(batch.partition)
        elif mark is not None and self._wanted.get(batch.partition) is mark:
            # Never seen since partitions are held back until they are ready. To pass it over would lose records.
            raise RuntimeError(f"{batch.topic}/{batch.partition} was delivered before its state was ready")

    def _look_back(self) -> None:
        """Read what stands in the step's outcome topics beyond what this worker knows to be its own.

        Somebody who has lost a partition without noticing may still emit what it believes, to destinations that the
        right outcome does not have; its owner withdraws them. So whoever owns it has to look, again and again.
        """
        owned = list(self._ready.items())
        try:
            with self._readers.one() as reader:
                ends = reader.ends_of((TOPIC_OF[each], number) for each in self.step.reads_back for number, _ in owned)
                for number, partition in owned:
                    for record in self.step.reads_back:
                        topic = TOPIC_OF[record]
                        start, end = partition.state.seen(record), ends[topic, number]
                        if end > start:
                            batches = list(reader.read(topic, number, start, end))
                            self._work.submit(self._guarded, self._learn, partition, record, batches)
        except LogUnreadableError as error:
            log.warning("what others emit is not known", step=self.step.name, reason=str(error))

    def _learn(self, partition: StepPartition, record: str, batches: Sequence[RecordBatch]) -> None:
        if self._ready.get(partition.number) is not partition:
            return
        for batch in batches:
            new = batch.since(partition.state.seen(record))
            if new is not None:
                partition.read_back(new, is_ahead=True)  # type: ignore[attr-defined]  # a step that reads back has it
        self._unsettled.add(partition.number)

    def _settle(self) -> None:
        for number in sorted(self._ready if self.step.by_the_clock else self._unsettled):
            partition = self._ready.get(number)
            if partition is None:
                continue
            partition.settle()
            if number not in self._unsettled:
                continue
            for record, offset in partition.safe_offsets().items():
                self._on_safe(TOPIC_OF[record], number, offset)
            ends = self._ends.get(number, {})
            if all(partition.state.offset(record) >= end for record, end in ends.items()):
                partition.caught_up()
                self._ends.pop(number, None)
        self._unsettled.clear()

    def _let_go(self, number: int) -> None:
        partition = self._ready.pop(number, None)
        if partition is not None:
            partition.state.close()
        self._ends.pop(number, None)
        self._unsettled.discard(number)


class _Readers:
    """Readers of the log, one for each thread that catches up: connecting takes longer than what most have to read.

    They are let go when nobody reads.
    """

    def __init__(self, open_log: Callable[[], LogReader]) -> None:
        self._open_log = open_log
        self._lock = threading.Lock()
        self._idle: list[LogReader] = []
        self._lent = 0

    @contextmanager
    def one(self) -> Iterator[LogReader]:
        """A reader for this thread alone; one that failed is not lent again."""
        with self._lock:
            self._lent += 1
            reader = self._idle.pop() if self._idle else None
        failed = True
        try:
            if reader is None:
                reader = self._open_log()
            yield reader
            failed = False
        finally:
            with self._lock:
                self._lent -= 1
                if reader is not None:
                    self._idle.append(reader)
                if failed or not self._lent:
                    over, self._idle = self._idle, []
                else:
                    over = []
            for each in over:
                each.close()


def _telling(step: str, number: int) -> Told:
    said = time.monotonic()

    def told(what: str, done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            log.info("restoring state", step=step, partition=number, topic=what, records=done, of=total)

    return told
