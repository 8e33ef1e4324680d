"""One worker of the simulation: the real steps, sink and runtimes, with their places in Kafka's groups played.

The schedule says when anything of it happens (:mod:`tests.agents.simulation`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.agents.credit import CreditPartition
from pipeline.agents.earnings import EarningsPartition
from pipeline.agents.identity import IdentityPartition
from pipeline.agents.intake import Intake, Lateness, Taken
from pipeline.agents.reachings import Reachings
from pipeline.agents.runtime import StepRuntime
from pipeline.agents.sink import Sink
from pipeline.agents.watermarks import Mark, Watermarks
from pipeline.clickhouse.click_rows import click_columns
from pipeline.domain.events import EVENT_TYPES
from pipeline.state.memory import MemoryStore
from pipeline.state.store import Store, WriteBatch
from pipeline.topology import RECORD_OF, STEPS, TOPIC_OF, group_of
from pipeline.wire.batches import RecordBatch
from tests.agents.simulated import AtOnce, FakeLogReader, FakeOutlet, FakeWriter, Fate, FatedStore, Queue, Truth

if TYPE_CHECKING:
    from tests.agents.simulation import Simulation


class SpyingIntake:
    """The real intake, watched: which decisions on admission reach the disk."""

    def __init__(self, intake: Intake, process: Process) -> None:
        self._intake = intake
        self._process = process

    def take(self, batch: RecordBatch, lateness: Lateness, is_known: Any) -> Taken:
        taken = self._intake.take(batch, lateness, is_known)
        judged = lateness.late_offsets is None
        news: list[tuple[int, int]] = []
        if judged and len(taken.events):
            known = is_known(taken.events).tolist()
            columns = (taken.events.column(name).to_pylist() for name in ("position", "occurred_at"))
            news = [(at, time) for at, time, old in zip(*columns, known, strict=True) if not old]
        self._process.decided = (batch, lateness.watermark_ms, news, taken, judged)
        return taken


class Member:
    """One process's place in one consumer group, as the transport keeps it."""

    def __init__(self, process: Process, step: str) -> None:
        self.process, self.step = process, step
        self.topics = [TOPIC_OF[record] for record in STEPS[step].reads]
        self.position: dict[tuple[str, int], int] = {}
        self.safe: dict[tuple[str, int], int] = {}
        self.assigned: dict[int, object] = {}  # partitions, each with the mark of its assignment
        self.ready: set[int] = set()

    def assign(self, number: int) -> None:
        sim, mark = self.process.sim, object()
        self.assigned[number] = mark
        for topic in self.topics:
            committed = sim.log.committed.get((group_of(self.step), topic, number), 0)
            self.position[topic, number] = committed
        if self.step == "earnings":
            self.process.reachings.assigned(number, self.position[TOPIC_OF["contribution"], number])
        runtime = self.process.runtimes.get(self.step)
        if runtime is not None:
            runtime._work.run_all()  # what an earlier assignment left
            runtime.assign(number)
        if self.assigned.get(number) is mark:
            self.ready.add(number)

    def revoke(self, number: int) -> None:
        self.assigned.pop(number, None)
        self.ready.discard(number)
        runtime = self.process.runtimes.get(self.step)
        if runtime is not None:
            stray = self._stray(number, runtime)
            let_go = runtime.revoke(number)
            if not self.process.sim.options.zombies:
                let_go.result()  # a rebalance waits for the work in hand; not for ever, and then it is a zombie's
            if stray is not None:
                self.process.strays.append(stray)
        for topic in self.topics:
            self.position.pop((topic, number), None)
            self.safe.pop((topic, number), None)

    def _stray(self, number: int, runtime: StepRuntime) -> Callable[[], object] | None:
        """A batch that an agent still holds; it comes when the partition may be assigned anew."""
        sim = self.process.sim
        topic = sim.chooser.choice(self.topics)
        start = self.position.get((topic, number), 0) + sim.chooser.randint(0, 2)
        batch = sim.log.batch(topic, number, start, 3)
        mark = runtime._wanted.get(number)
        if not sim.options.strays or batch is None or mark is None:
            return None
        return lambda: runtime._work.submit(runtime._guarded, runtime._take, batch, mark)

    def told_safe(self, topic: str, number: int, offset: int) -> None:
        if number in self.assigned:
            self.safe[topic, number] = max(offset, self.safe.get((topic, number), 0))

    def commit(self) -> None:
        """Commit what is safe; of a partition that was lost the group refuses it."""
        sim, group = self.process.sim, group_of(self.step)
        for (topic, number), offset in self.safe.items():
            if sim.owner.get((self.step, number)) is self.process:
                where = (group, topic, number)
                sim.log.committed[where] = max(offset, sim.log.committed.get(where, 0))
                if self.step == "earnings":
                    self.process.reachings.committed(number, offset)

    def waiting(self) -> list[tuple[str, int]]:
        """Topics and partitions with records to deliver."""
        log = self.process.sim.log
        return [
            (topic, number) for number in sorted(self.ready) for topic in self.topics
            if log.entries(topic, number, self.position[topic, number])
        ]  # fmt: skip

    def deliver(self, topic: str, number: int, most: int) -> None:
        batch = self.process.sim.log.batch(topic, number, self.position[topic, number], most)
        assert batch is not None
        self.position[topic, number] = batch.next_offset
        runtime = self.process.runtimes.get(self.step)
        if runtime is None:
            self.process.sink.take(batch)
        else:
            runtime.take(batch)


class Runtime(StepRuntime):
    """The real one, with its threads played by the schedule and its disk in memory."""

    def __init__(self, process: Process, step: str, make: Callable[[int, Store], Any]) -> None:
        sim = process.sim

        def open_log() -> FakeLogReader:
            return FakeLogReader(sim.log, group_of(step), sim.chooser, partial(sim.meanwhile, process))

        super().__init__(
            STEPS[step], Path(), make=make, open_log=open_log, outcomes=sim.outcomes,
            on_safe=lambda topic, number, offset: process.members[step].told_safe(topic, number, offset),
            on_failure=lambda _: None, terms="",
        )  # fmt: skip
        self._process = process
        self._work = Queue()
        self._catching_up = AtOnce()

    def _opened(self, number: int, _folder: Path) -> Any:
        return self._make(number, self._process.store(self.step.name, number))


class Process:
    """One life of a worker: everything that a kill ends."""

    def __init__(self, sim: Simulation, worker: int) -> None:
        self.sim, self.worker = sim, worker
        self.fate = Fate()
        self.decided: Any = None
        self.strays: list[Callable[[], object]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reachings = Reachings(sim.catalogue)
        sim.reachings.append(self.reachings)
        sim.all_counts.append(self.counts)
        self.clicks = FakeWriter(sim.tables, self.fate, self._told_safe("identity"))
        self.rows = FakeWriter(sim.tables, self.fate, self._told_safe("sink"))
        self.sink = Sink(self.rows, sim.outcomes)
        inputs = [(TOPIC_OF[each], number) for each in EVENT_TYPES for number in range(sim.options.partitions)]
        self.watermarks = Watermarks(inputs)
        self.listen()
        self.members = {step: Member(self, step) for step in STEPS}
        self.runtimes = {step: Runtime(self, step, self._maker(step)) for step in ("identity", "credit", "earnings")}

    def _told_safe(self, step: str) -> Callable[[str, int, int], None]:
        return lambda topic, number, offset: self.members[step].told_safe(topic, number, offset)

    def _maker(self, step: str) -> Callable[[int, Store], Any]:
        sim = self.sim
        outlet = FakeOutlet(sim.log, self.fate, sim.chooser, sim.options.retries)
        shared: dict[str, Any] = {
            "intake": SpyingIntake(sim.intake, self), "outcomes": sim.outcomes, "watermarks": self.watermarks,
            "allowed_lateness_ms": sim.options.allowed_ms, "counts": self.counts,
        }  # fmt: skip
        if step == "identity":
            truth = Truth(sim.tables, self.clicks)
            return lambda number, store: IdentityPartition(number, store, outlet, truth=truth, sink=self, **shared)
        if step == "credit":
            terms = {"catalogue": sim.catalogue, "terms_epoch": 0}
            return lambda number, store: CreditPartition(number, store, outlet, **terms, **shared)
        return lambda number, store: EarningsPartition(
            number, store, outlet, catalogue=sim.catalogue, outcomes=sim.outcomes, reachings=self.reachings,
            counts=self.counts,
        )  # fmt: skip

    def put_clicks(self, clicks: Any, editions: Any, partition: int, next_offset: int, oldest_ms: int) -> None:
        columns = click_columns(clicks, editions) if len(clicks) else None
        self.clicks.put("clicks", columns, TOPIC_OF["click"], partition, next_offset, oldest_ms)

    def store(self, step: str, number: int) -> Store:
        disk = self.sim.disks.setdefault((self.worker, step, number), MemoryStore())
        return FatedStore(disk, self.fate, partial(self._written, step))

    def _written(self, step: str, batch: WriteBatch) -> None:
        if self.decided is not None and step in ("identity", "credit"):
            key = b"offset\x00" + RECORD_OF[self.decided[0].topic].encode()
            if key in batch.puts.get("meta", {}):
                self.sim.judgement.note_decision(*self.decided)
                self.decided = None

    # -- watermarks, as the exchange carries them

    def owned_inputs(self) -> list[tuple[str, int, int]]:
        return [
            (TOPIC_OF[record], number, offset)
            for step, records in (("identity", ("click",)), ("credit", ("sign_up", "order", "refund")))
            for record in records
            for number, offset in self.runtimes[step].read(record)
        ]

    def listen(self) -> None:
        owned = {(topic, number) for topic, number, _ in self.owned_inputs()} if hasattr(self, "runtimes") else set()
        for (topic, number), mark in self.sim.said.items():
            if (topic, number) not in owned:
                self.watermarks.observe(topic, number, mark.newest_ms, is_idle=mark.is_idle)

    def note_silence(self) -> None:
        marks = self.watermarks.marks()
        for topic, number, offset in self.owned_inputs():
            if offset >= self.sim.log.end(topic, number):
                self.watermarks.observe(topic, number, marks[topic, number].newest_ms, is_idle=True)

    def speak(self) -> None:
        marks = self.watermarks.marks()
        for topic, number, _ in self.owned_inputs():
            if marks[topic, number] != Mark(None, False):
                self.sim.said[topic, number] = marks[topic, number]
