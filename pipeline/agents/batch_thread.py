"""The Kafka client's side of the batch transport: a thread that fetches and takes batches, and commits and seeks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import aiokafka  # type: ignore[import-untyped]  # it has no types
from aiokafka.consumer.fetcher import FetchError  # type: ignore[import-untyped]  # it has no types
from aiokafka.errors import (  # type: ignore[import-untyped]  # it has no types
    CommitFailedError,
    ConsumerStoppedError,
    CorruptRecordException,
    IllegalStateError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]  # it has no types
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.agents.record_columns import PartitionReader
from pipeline.wire.batches import RecordBatch

if TYPE_CHECKING:
    from pipeline.agents.transport import BatchConsumer

_CORRUPT_TRIES = 3  # a damaged response is fetched again; one that stays damaged is damaged on the broker's disk


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much an app takes at once, fetches ahead and waits for. Sizes in bytes, times in seconds."""

    batch_records: int = 8192  # more than a fetch of one partition brings at 150 bytes a record
    batch_bytes: int = 4 << 20
    waiting_bytes: int = 16 << 20  # of batches that no agent has yet, over all partitions
    fetch_partition_bytes: int = 1 << 20
    fetch_bytes: int = 8 << 20  # of one response, which is in memory three times while it arrives; aiokafka: 50 MiB
    fetch_wait_s: float = 0.2  # hard-coded 1.5 in Faust: one fetch at a time is under way, and may hold up others
    fetch_every_s: float = 0.05  # at most: a request costs milliseconds of CPU, however little it brings
    finish_s: float = 10.0  # how long a batch in hand may take when its partition is revoked or the app stops
    commit_s: float = 10.0  # after which a commit is given up, to be tried again at the next interval


class Taken(NamedTuple):
    """A batch on its way from the thread to the consumer, and when it was taken, to know it if it has become stale."""

    tp: TP
    batch: RecordBatch
    size_bytes: int
    position: int  # the offset up to which no other record is: beyond the batch's where a transaction's end follows
    epoch: tuple[int, int]


class _PacedConsumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]  # it has no types
    """A consumer that fetches no more often than ``every_s``.

    While records trickle in, aiokafka asks again as soon as it has an answer, and encodes every partition each time.
    A record that comes when nothing is on its way is answered at once: the broker holds a fetch until there is one.
    """

    def __init__(self, every_s: Callable[[], float], **settings: Any) -> None:
        super().__init__(**settings)
        self._every_s = every_s
        self._fetched_at: dict[int, float] = {}

    async def start(self) -> None:
        await super().start()
        fetch = self._fetcher._proc_fetch_request

        async def paced(assignment: Any, node_id: int, request: Any) -> bool:
            pause_s = self._fetched_at.get(node_id, 0.0) + self._every_s() - monotonic()
            if pause_s > 0:
                try:
                    await asyncio.sleep(pause_s)
                except asyncio.CancelledError:
                    return False  # as aiokafka does when the assignment is over: who awaits it takes no exception
            self._fetched_at[node_id] = monotonic()
            return bool(await fetch(assignment, node_id, request))

        self._fetcher._proc_fetch_request = paced


class BatchThread(driver.AIOKafkaConsumerThread):
    """The Kafka client in its own thread and loop, so that heartbeats go on while an agent computes."""

    consumer: BatchConsumer

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wanted: frozenset[TP] = frozenset()  # set by the consumer, read here: replaced, never changed
        self.max_bytes = 0
        self.fetch_every_s = 0.0  # set by the consumer
        self.assignments = 0
        self.seeks: dict[TP, int] = {}
        self.behind: dict[TP, int] = {}  # records that the broker had beyond the last batch, when it was fetched
        self.passed: dict[TP, int] = {}  # the position after what holds no record: a transaction's end, say
        self._readers: dict[Any, PartitionReader] = {}  # of responses that were used in part
        self._corrupt: dict[TP, int] = {}
        self._nudged: asyncio.Future[None] | None = None
        self._ending = asyncio.Event()

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        """As the driver's, but for what it hard-codes: the wait, the assignor, the isolation level, the sizes."""
        conf, limits = self.app.conf, self.consumer.limits
        # Always Faust's own assignor: without tables the driver takes RoundRobin, which gives the same partition of two
        # topics to different workers. Faust's is co-partitioned and sticky.
        self._assignor = self.app.assignor
        return _PacedConsumer(
            lambda: self.fetch_every_s,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=None,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=limits.fetch_partition_bytes,
            fetch_max_bytes=limits.fetch_bytes,
            fetch_max_wait_ms=int(limits.fetch_wait_s * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    # -- the consumer's requests; each runs in the thread's loop

    async def take(self, timeout_s: float) -> list[Taken]:
        """What was fetched of the wanted partitions, one batch of each; empty after ``timeout_s``, or when nudged."""
        consumer = self._ensure_consumer()
        with consumer._subscription.fetch_context():
            pass  # tells aiokafka that this worker polls; a context left by an exception would count for ever
        deadline = monotonic() + timeout_s
        while not self._ending.is_set():
            if consumer._closed or consumer._fetcher._closed:
                raise ConsumerStoppedError
            if consumer._coordinator is not None:
                consumer._coordinator.check_errors()  # a refused group or topic; stock Faust stays silent
            if taken := self._drain(consumer):
                return taken
            fetched = consumer._fetcher._create_fetch_waiter()
            self._nudged = self.thread_loop.create_future()
            waits: set[asyncio.Future[None]] = {fetched, self._nudged}
            done, _ = await asyncio.wait(
                waits, timeout=max(0.0, deadline - monotonic()), return_when=asyncio.FIRST_COMPLETED
            )
            if fetched in done:
                fetched.result()  # raises what made the client give up
            else:
                fetched.cancel()
            if not done or monotonic() >= deadline:
                break
        return []

    def nudge(self) -> None:
        """Make a waiting `take` look at ``wanted`` again."""
        if self._nudged is not None and not self._nudged.done():
            self._nudged.set_result(None)

    async def seek_now(self, tp: TP, offset: int, seeks: int) -> None:
        """Move the position; batches taken before it are told by their number of seeks."""
        self._ensure_consumer().seek(TopicPartition(*tp), offset)
        self.seeks[tp] = seeks

    async def committed(self, tps: Iterable[TP]) -> dict[TP, int]:
        """The group's committed offsets; none where nothing was committed yet."""
        coordinator = self._ensure_consumer()._coordinator
        found = await coordinator.fetch_committed_offsets([TopicPartition(*tp) for tp in tps])  # one request for all
        return {TP(*tp): known.offset for tp, known in found.items() if known.offset >= 0}

    async def commit_now(self, offsets: Mapping[TP, int]) -> Mapping[TP, int]:
        """Commit; what was committed: nothing of partitions that are no longer ours."""
        consumer = self._ensure_consumer()
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        if not ours:
            return {}
        try:
            await consumer.commit({TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in ours.items()})
        except (CommitFailedError, IllegalStateError) as failure:
            self.log.info("Offsets not committed, the group has moved on: %s", failure)
            return {}
        return ours

    # -- what aiokafka calls

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the app's loop finish and commit, then go on; never wait for a loop that has stopped."""
        self.assignments += 1  # what is still taken now is stale
        self._readers.clear()
        self.passed.clear()
        self.behind.clear()
        await self._in_app(self.consumer.on_partitions_revoked(revoked))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the app's loop, and wait until it has taken the partitions over."""
        await self._in_app(self.consumer.on_partitions_assigned(assigned, generation_id))

    async def on_thread_stop(self) -> None:
        """Call when the thread ends."""
        self._ending.set()
        self.nudge()
        await super().on_thread_stop()

    async def _in_app(self, work: Coroutine[Any, Any, None]) -> None:
        # Faust's own way round (a method queue in the app's loop) never answers once that queue has stopped, and the
        # client then waits for its callback until the stop times out.
        working = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.parent_loop))
        ending = asyncio.ensure_future(self._ending.wait())
        waits: set[asyncio.Future[Any]] = {working, ending}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if working.done():
            working.result()

    # -- taking

    def _drain(self, consumer: aiokafka.AIOKafkaConsumer) -> list[Taken]:
        """One batch of each wanted partition that has some, up to ``max_bytes``. Never waits."""
        fetcher = consumer._fetcher
        taken: list[Taken] = []
        room = self.max_bytes
        if consumer._subscription.reassignment_in_progress:
            return taken
        for key in list(fetcher._records):
            tp = TP(key.topic, key.partition)
            if tp not in self.wanted:
                if not consumer._subscription.is_assigned(key):
                    del fetcher._records[key]
                continue
            if room <= 0:
                break
            found = fetcher._records[key]
            if isinstance(found, FetchError):
                if taken:
                    break  # raised by the next call
                self._used_up(fetcher, key)
                found.check_raise()
            read = self._read(fetcher, key, found)
            if read is not None:
                batch, size_bytes = read
                room -= size_bytes
                position = found._partition_records.next_fetch_offset
                taken.append(Taken(tp, batch, size_bytes, position, (self.assignments, self.seeks.get(tp, 0))))
        return taken

    def _read(self, fetcher: Any, key: Any, found: Any) -> tuple[RecordBatch, int] | None:
        if not found.check_assignment(key) or not found.has_more():
            self._used_up(fetcher, key)
            return None
        records = found._partition_records
        reader = self._readers.pop(key, None)
        if reader is None or reader.source is not records:
            reader = PartitionReader(records)
        limits = self.consumer.limits
        try:
            batch, size_bytes, finished = reader.read(limits.batch_records, limits.batch_bytes)
        except CorruptRecordException as damage:
            self._used_up(fetcher, key)  # fetched again: most damage happens on the way
            tries = self._corrupt[key] = self._corrupt.get(key, 0) + 1
            self.log.error("Damaged records in %s at offset %s: %s", key, records.next_fetch_offset, damage)
            if tries >= _CORRUPT_TRIES:
                raise
            return None
        self._corrupt.pop(key, None)
        found._update_position()
        tp = TP(key.topic, key.partition)
        self.behind[tp] = max(0, (found._assignment.state_value(key).highwater or 0) - records.next_fetch_offset)
        if batch is None:
            self.passed[tp] = records.next_fetch_offset
        if finished:
            self._used_up(fetcher, key)
        else:
            self._readers[key] = reader
        return None if batch is None else (batch, size_bytes)

    @staticmethod
    def _used_up(fetcher: Any, key: Any) -> None:
        del fetcher._records[key]
        fetcher._notify(fetcher._wait_consume_future)
