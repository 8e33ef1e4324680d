"""Faust's aiokafka transport, by partition batches: one event for all that a fetch brought of a partition.

Stock Faust makes four asyncio tasks, a lock, a queue entry and an acknowledgement for every record: 7 000 records a
second. Here the *thread* that Faust runs the Kafka client in makes columns of what was fetched, and the *consumer*, in
the app's loop, hands an agent one `RecordBatch` at a time. Agents, assignment, rebalancing and the group stay Faust's.

What differs from stock Faust, on purpose:

- **Commits.** Only offsets that the application reported by `BatchConsumer.set_safe_offset` are committed. What Faust
  believes to be acknowledged plays no part: its bookkeeping commits past work in flight (faust-streaming #707).
- **Back-pressure.** One batch of a topic is with the agents; at most one of each partition waits, and no more is taken
  while those waiting exceed `BatchLimits.waiting_bytes`. The client itself fetches nothing more for a partition
  before its last response was used up.
- **Revocation.** The batch in hand may be finished, for a bounded time; what waits is dropped; the safe offsets are
  committed; then everything that was known of the partitions is forgotten.
- **Assignment.** No batch is delivered before the app's ``on_partitions_assigned`` signal has been handled, so it may
  `pause` or `seek` partitions. Stock Faust seeks back to the committed offsets after it, and starts during it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future as ThreadFuture
from typing import Any, ClassVar, TypeVar, cast

from aiokafka.errors import ConsumerStoppedError, KafkaError  # type: ignore[import-untyped]  # it has no types
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import TPorTopicSet

from pipeline.agents.batch_thread import BatchLimits, BatchThread, Taken
from pipeline.wire.batches import RecordBatch

__all__ = ["BatchConsumer", "BatchLimits", "BatchTransport"]

_T = TypeVar("_T")

_IDLE_S = 1.0  # the drain looks around at least this often, which also tells the group that this worker is alive


class _BatchMessage(ConsumerMessage):
    """Faust's message around a batch. Tells the consumer when the agents let go of it.

    Faust's Cython stream marks ``acked`` itself instead of calling ``Consumer.ack``: the attribute is the only place
    that both of its streams pass.
    """

    __slots__ = ("_acked", "_let_go")

    def __init__(self, tp: TP, batch: RecordBatch, generation: int, let_go: Callable[[Message], None]) -> None:
        self._let_go = let_go
        super().__init__(
            tp.topic, tp.partition, batch.next_offset - 1, batch.timestamps_ms[-1] / 1000, 0, None, None,
            cast(Any, batch), None, 0, 0, tp, generation_id=generation,
        )  # fmt: skip

    @property
    def acked(self) -> bool:
        """Whether every agent that the batch went to has let go of it."""
        return self._acked

    @acked.setter
    def acked(self, acked: bool) -> None:
        self._acked = acked
        if acked:
            self._let_go(self)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, by batches. Its methods belong to the app's loop; the module says what differs from stock."""

    transport: BatchTransport
    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = self.transport.limits
        self._thread.fetch_every_s = self.limits.fetch_every_s
        #: Awaited with the revoked partitions after the batch in hand and before the last commit, for bounded time.
        self.on_release: Callable[[set[TP]], Awaitable[None]] | None = None
        #: Hears what the group has taken of this worker's commits; nothing of one that lost its partitions.
        self.on_commit: Callable[[Mapping[TP, int]], object] = lambda _: None
        self._generation = 0
        self._assigned: set[TP] = set()
        self._settled = False  # the app has handled the assignment
        self._halted = False
        self._waiting: dict[TP, Taken] = {}
        self._in_hand: dict[str, _BatchMessage] = {}
        self._held: set[TP] = set()
        self._safe: dict[TP, int] = {}
        self._delivered: dict[TP, tuple[int, int]] = {}  # where the last batch that went to an agent ends, and position
        self._committed: dict[TP, int] = {}
        self._seeks: dict[TP, int] = {}
        self._taking: asyncio.Future[list[Taken]] | None = None
        self._waker: asyncio.Future[None] | None = None
        self._let_go_waiters: list[asyncio.Future[None]] = []
        self._committing = asyncio.Lock()

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    # -- for the application

    @property
    def generation(self) -> int:
        """The number of the present assignment; every message carries that of its own as ``generation_id``."""
        return self._generation

    def set_safe_offset(self, tp: TP, offset: int, generation: int | None = None) -> bool:
        """Report that everything before ``offset`` is done: outputs acknowledged, facts on disk.

        Committed at the next interval, on revocation or at the end. An offset below one reported before, or below the
        group's committed one, changes nothing. False if the partition is not assigned (any more), or not in the
        ``generation`` that the batch came in: then nothing is noted.
        """
        if tp not in self._assigned or generation not in (None, self._generation):
            return False
        self._safe[tp] = max(offset, self._safe.get(tp, 0))
        return True

    def assigned(self) -> frozenset[TP]:
        """The partitions that this worker has now."""
        return frozenset(self._assigned)

    def safe_offset(self, tp: TP) -> int | None:
        """The offset up to which the partition is done, as reported or else as committed; None if neither."""
        known = [offsets[tp] for offsets in (self._safe, self._committed) if tp in offsets]
        return max(known) if known else None

    def pause(self, tps: Iterable[TP]) -> None:
        """Deliver nothing of these partitions until `resume`; what was fetched already comes then. Others go on.

        Ends with the assignment. A batch that an agent has in hand is not taken back.
        """
        self._held.update(tp for tp in tps if tp in self._assigned)

    def resume(self, tps: Iterable[TP]) -> None:
        """Deliver these partitions again."""
        self._held.difference_update(tps)
        self._wake()

    async def seek(self, partition: TP, offset: int) -> None:
        """Go on from ``offset``; batches of the partition that are not in an agent's hand are dropped.

        Raises:
            KeyError: the partition is not assigned to this worker.
        """
        tp = TP(*partition)
        if tp not in self._assigned:
            raise KeyError(f"{tp} is not assigned to this worker: seek from on_partitions_assigned, or later")
        seeks = self._seeks[tp] = self._seeks.get(tp, 0) + 1
        self._waiting.pop(tp, None)
        await self._in_thread(self._thread.seek_now(tp, offset, seeks))
        self._wake()

    @property
    def held(self) -> frozenset[TP]:
        """The partitions that are paused."""
        return frozenset(self._held)

    @property
    def waiting_bytes(self) -> int:
        """Size in memory of the batches that no agent has yet."""
        return sum(taken.size_bytes for taken in self._waiting.values())

    def behind(self) -> int:
        """How many records the broker had, when it was last asked, beyond what was taken; roughly, for pacing."""
        return sum(list(self._thread.behind.values()))  # a copy: the thread writes there

    def fetch_every(self, seconds: float) -> None:
        """Ask the broker no more often than that, from now on: the longer, the fuller the batches."""
        self._thread.fetch_every_s = seconds

    def halt(self) -> None:
        """Deliver nothing more: an agent has failed, and what comes after its batch must not be done before it."""
        self._halted = True

    async def release(self) -> None:
        """Stop delivering, let the agents finish what they have in hand, and commit. Bounded."""
        self.stop_flow()
        self._settled = False
        self._waiting.clear()
        await self._finish_in_hand()
        if self.on_release is not None:
            try:
                await asyncio.wait_for(self.on_release(set(self._assigned)), self.limits.finish_s)
            except TimeoutError:
                self.log.warning("Partitions are released before on_release was done: more will be handled again")
        await self.commit()

    # -- commits

    async def commit(
        self,
        topics: TPorTopicSet | None = None,  # noqa: ARG002  Faust's signature
        start_new_transaction: bool = True,  # noqa: ARG002  as above
    ) -> bool:
        """Commit the safe offsets that are not committed yet, of all partitions; whether there were any."""
        # Faust's streams note acknowledged offsets here, and only its own commit, which this replaces, clears them.
        self._acked.clear()
        self._acked_index.clear()
        async with self._committing:
            generation = self._generation
            self._pass_what_holds_no_record()
            due = {tp: safe for tp, safe in self._safe.items() if safe > self._committed.get(tp, 0)}
            if not due:
                return False
            try:
                done = await asyncio.wait_for(self._in_thread(self._thread.commit_now(due)), self.limits.commit_s)
            except (TimeoutError, asyncio.CancelledError, KafkaError) as failure:
                if isinstance(failure, asyncio.CancelledError) and not self._thread.should_stop:
                    raise
                if isinstance(failure, KafkaError) and not (failure.retriable or self.should_stop):
                    await self.crash(failure)
                self.log.warning("Offsets not committed, tried again later: %r", failure)
                return False
            if generation == self._generation:
                self._committed.update(done)
            self.on_commit(done)
            return bool(done)

    def _pass_what_holds_no_record(self) -> None:
        """Where everything delivered is safe, so is what came after it and had no record.

        Without this a partition whose log ends with the mark of a transaction would seem to lag behind for ever.
        """
        for tp in self._assigned:
            committed = self._committed.get(tp, 0)
            delivered, position = self._delivered.get(tp, (committed, committed))
            if self._safe.get(tp, committed) >= delivered:
                if tp not in self._waiting:
                    position = max(position, self._thread.passed.get(tp, 0))
                self._safe[tp] = max(position, self._safe.get(tp, 0))

    async def wait_empty(self) -> None:
        """Replaced by `release`, which is bounded."""

    async def on_stop(self) -> None:
        """Call when the consumer stops: the last commit."""
        await self.commit()

    # -- assignment

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish, commit, forget, and tell the app."""
        await self.release()
        self._forget()
        if not self.app.should_stop:
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take the partitions over; deliver only when the app has handled its ``on_partitions_assigned``."""
        if self.app.should_stop:
            return
        self._forget()
        self._assigned = set(assigned)
        self._generation = generation_id
        self._committed = await asyncio.wait_for(
            self._in_thread(self._thread.committed(assigned)), self.app.conf.broker_request_timeout
        )
        await super().on_partitions_assigned(assigned, generation_id)
        if self._generation == generation_id and self._assigned == set(assigned):
            self._settled = True
            self._wake()

    def _forget(self) -> None:
        self._settled = False
        self._assigned.clear()
        for notes in (self._waiting, self._in_hand, self._safe, self._committed, self._held, self._delivered):
            notes.clear()

    async def perform_seek(self) -> None:
        """Nothing: aiokafka begins at the committed offsets by itself, and a `seek` of the app's must not be undone."""

    def _get_active_partitions(self) -> set[TP]:
        """As Faust's, without asking of each partition each time whether it is one."""
        active: set[TP] | None = self._active_partitions
        return self._set_active_tps(self.assignment()) if active is None else active

    async def verify_all_partitions_active(self) -> None:
        """Nothing: Faust's look-out for stuck partitions goes by bookkeeping that this transport does not keep."""

    def stop_flow(self) -> None:
        """Deliver nothing more for now."""
        super().stop_flow()
        self._wake()

    def resume_flow(self) -> None:
        """Deliver again."""
        super().resume_flow()
        self._wake()

    # -- delivery

    async def _drain_messages(self, fetcher: Any) -> None:
        """Take batches from the thread and hand them to the agents, until the fetcher stops. Faust's main loop."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._deliver()
                self._ask()
                await self._rest()
                if self._taking is not None and self._taking.done():
                    taking, self._taking = self._taking, None
                    self._accept(taking.result())
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        except Exception as failure:
            self.log.exception("The batch transport failed: %r", failure)
            await self.crash(failure)
            raise

    def _ask(self) -> None:
        """Tell the thread what is wanted. A take under way is never cancelled: what it took would be lost."""
        room = self.limits.waiting_bytes - self.waiting_bytes
        wanted: frozenset[TP] = frozenset()
        if self._settled and self.flow_active and not self._halted and room > 0:
            # Faust pauses partitions itself during a rebalance.
            wanted = frozenset(self._get_active_partitions() - self._held - self._waiting.keys())
        more = not wanted <= self._thread.wanted
        self._thread.wanted, self._thread.max_bytes = wanted, room
        if self._taking is None:
            self._taking = asyncio.ensure_future(self._in_thread(self._thread.take(_IDLE_S)))
        elif more:
            self._thread.thread_loop.call_soon_threadsafe(self._thread.nudge)

    def _accept(self, taken: list[Taken]) -> None:
        for each in taken:
            fresh = self._settled and each.epoch == (self._thread.assignments, self._seeks.get(each.tp, 0))
            if fresh and each.tp in self._assigned:
                self._waiting[each.tp] = each

    async def _deliver(self) -> None:
        for tp in list(self._waiting):
            if not (self._settled and self.flow_active) or self._halted:
                return
            if tp in self._held or tp.topic in self._in_hand or tp not in self._get_active_partitions():
                continue
            taken = self._waiting.pop(tp, None)
            if taken is None:
                continue  # dropped while another was delivered
            message = _BatchMessage(tp, taken.batch, self._generation, self._let_go)
            self._in_hand[tp.topic] = message
            self._delivered[tp] = taken.batch.next_offset, taken.position
            await self.callback(message)
            if not message.refcount and not message.acked:
                self._let_go(message)  # no agent reads this topic

    def _let_go(self, message: Message) -> None:
        if self._in_hand.get(message.topic) is message:
            del self._in_hand[message.topic]
            self._wake()
            if not self._in_hand:
                for waiter in self._let_go_waiters:
                    if not waiter.done():
                        waiter.set_result(None)

    async def _finish_in_hand(self) -> None:
        if not self._in_hand:
            return
        waiter = self.loop.create_future()
        self._let_go_waiters.append(waiter)
        try:
            await asyncio.wait({waiter}, timeout=self.limits.finish_s)
        finally:
            self._let_go_waiters.remove(waiter)
        if self._in_hand:
            self.log.warning(
                "Partitions are released while agents still work on %s: those batches will be handled again",
                sorted(str(message.tp) for message in self._in_hand.values()),
            )

    async def _rest(self) -> None:
        self._waker = waker = self.loop.create_future()
        taking = cast("asyncio.Future[list[Taken]]", self._taking)
        await asyncio.wait({waker, taking}, timeout=_IDLE_S, return_when=asyncio.FIRST_COMPLETED)

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def _in_thread(self, work: Coroutine[Any, Any, _T]) -> asyncio.Future[_T]:
        if self._thread.thread_loop.is_closed():  # a crash ends the thread at once
            work.close()
            raise ConsumerStoppedError
        future: ThreadFuture[_T] = asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop)
        return asyncio.wrap_future(future)


class BatchTransport(driver.Transport):
    """The transport that an app of `pipeline.agents.faust_app.make_app` has."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer

    limits: BatchLimits = BatchLimits()
