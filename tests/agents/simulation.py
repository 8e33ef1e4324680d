"""The live pipeline in one thread and in memory, driven by a seed: workers, moves, kills, lost disks, zombies.

The classes of ``pipeline.agents`` are the real ones, down to :class:`StepRuntime`; what is played is Kafka, ClickHouse,
disks, and Faust's part (assignments, batches, commits of safe offsets). A schedule is a function of the seed alone:

    Simulation(options_of(1234)).run()      # raises ScheduleError, which prints the schedule
"""

from __future__ import annotations

import json
import random
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

from pipeline.agents import credit, earnings, runtime
from pipeline.agents.credit import CreditPartition
from pipeline.agents.earnings import EarningsPartition
from pipeline.agents.identity import IdentityPartition
from pipeline.agents.intake import Intake, Lateness, Taken, source_of
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.reachings import Reachings
from pipeline.agents.replayed import ADMIT_HEADER, Origin, origin_in, replay_headers
from pipeline.agents.runtime import StepRuntime
from pipeline.agents.sink import Sink
from pipeline.agents.watermarks import Mark, Watermarks
from pipeline.clickhouse.click_rows import click_columns
from pipeline.state.memory import MemoryStore
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.earnings import EarningsStep
from pipeline.topology import RECORD_OF, STEPS, TOPIC_OF, group_of
from pipeline.wire.admission import Admission
from pipeline.wire.batches import RecordBatch
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.messages import Messages
from pipeline.wire.partitioning import partition_of
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.simulated import (
    AtOnce,
    FakeLogReader,
    FakeOutlet,
    FakeWriter,
    Fate,
    FatedStore,
    Log,
    Queue,
    Tables,
    Truth,
)
from tests.properties.crashes import AFTER, BEFORE, HALF_WAY, Killed
from tests.properties.harness import answer, canonical, catalogue_from, differences
from tests.properties.worlds import DAY, HOUR, World, random_world
from tests.reference.admission import key_of, refusal
from tests.reference.oracle import compute
from tests.reference.terms import read_programs

EVENTS = ("click", "sign_up", "order", "refund")
INNER = ("binding", "touchpoint", "contribution")
MESSAGES = Messages(LocalSchemas())
TERMS: dict[str, Any] = {"terms": ""} if "terms" in signature(StepRuntime).parameters else {}
Place = tuple[str, int, int]  # topic, partition, offset


class ScheduleError(AssertionError):
    """What a schedule led to, with the seed and the schedule."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may happen in a run."""

    seed: int
    partitions: int = 2
    workers: int = 2
    most_events: int = 24
    turns: int = 300
    violence: float = 1.0  # how often what is not wanted happens
    kills: bool = True
    wipes: bool = True
    moves: bool = True
    zombies: bool = True
    redelivery: bool = True
    strays: bool = True
    misplaced: bool = True
    garbage: bool = True
    gaps: bool = True
    retries: bool = True
    lateness_ms: int | None = None  # None: nothing is ever late
    copies: int = 15  # per cent of the events that come again, some with other content
    replays: bool = False  # late events are sent again, some of them more than once


def options_of(seed: int, **fixed: Any) -> Options:
    """The options of a seed: each fault in most runs, all of them in many."""
    chooser = random.Random(f"options {seed}")
    some = {
        name: chooser.random() < chance
        for name, chance in {
            "kills": 0.85, "wipes": 0.6, "moves": 0.85, "zombies": 0.6, "redelivery": 0.5, "strays": 0.5,
            "misplaced": 0.4, "garbage": 0.3, "gaps": 0.4, "retries": 0.5,
        }.items()
    }  # fmt: skip
    found: dict[str, Any] = {
        "partitions": chooser.choice((1, 2, 2, 3, 4)), "workers": chooser.choice((1, 2, 2, 3)),
        "most_events": chooser.choice((6, 12, 20, 30)), "turns": chooser.choice((150, 300, 500)),
        "violence": chooser.choice((0.5, 1, 1, 2)),
        "copies": chooser.choice((0, 15, 50)),
    }  # fmt: skip
    return Options(seed, **{**found, **some, **fixed})


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
            STEPS[step], Path(), make=make, open_log=open_log, outcomes=sim.outcomes,  # type: ignore[arg-type]
            on_safe=lambda topic, number, offset: process.members[step].told_safe(topic, number, offset),
            on_failure=lambda _: None, **TERMS,
        )  # fmt: skip
        self._process = process
        self._work = Queue()  # type: ignore[assignment]
        self._catching_up = AtOnce()  # type: ignore[assignment]

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
        self.sink = Sink(self.rows, sim.outcomes)  # type: ignore[arg-type]
        inputs = [(TOPIC_OF[each], number) for each in EVENTS for number in range(sim.options.partitions)]
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
            "allowed_lateness_ms": sim.allowed_ms, "counts": self.counts,
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
        return FatedStore(disk, self.fate, partial(self._written, step))  # type: ignore[return-value]

    def _written(self, step: str, batch: WriteBatch) -> None:
        if self.decided is not None and step in ("identity", "credit"):
            key = b"offset\x00" + RECORD_OF[self.decided[0].topic].encode()
            if key in batch.puts.get("meta", {}):
                self.sim.note_decision(*self.decided)
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


class Simulation:
    """One run: made by the options, played by :meth:`run`, judged against the reference."""

    def __init__(self, options: Options, world: World | None = None) -> None:
        self.options = options
        self.chooser = random.Random(f"schedule {options.seed}")
        self.world = world or self._copied(random_world(options.seed, options.most_events))
        self.catalogue = catalogue_from(self.world.programs)
        self.outcomes = Outcomes(MESSAGES)
        self.intake = Intake(
            Admission(self.catalogue), InputDecoder(LocalSchemas()),
            partitions=options.partitions, max_future_ms=HOUR,
        )  # fmt: skip
        self.allowed_ms = options.lateness_ms if options.lateness_ms is not None else 100_000 * DAY
        self.log = Log(options.partitions, self.chooser, options.gaps)
        self.tables = Tables()
        self.disks: dict[tuple[int, str, int], MemoryStore] = {}
        self.said: dict[tuple[str, int], Mark] = {}
        self.owner: dict[tuple[str, int], Process | None] = {
            (step, number): None for step in STEPS for number in range(options.partitions)
        }
        self.processes: dict[int, Process | None] = dict.fromkeys(range(options.workers))
        self.reachings: list[Reachings] = []  # what each process counted, the killed ones too
        self.all_counts: list[Counter[tuple[str, str]]] = []
        self.left = self._in_order()
        self.told: dict[tuple[str, bytes], dict[str, Any]] = {}  # events by topic and value
        self.expected_dead: set[tuple[str, int, str]] = set()
        self.schedule: list[str] = []
        self.turns = self.tried = 0
        self.decisions: dict[Place, set[str]] = {}
        self.broken: list[str] = []
        self._reached: dict[tuple[str, int], int] = {}  # the highest watermark that an input was judged by
        self._is_nested = False
        self._is_draining = False

    def _copied(self, world: World) -> World:
        """Some events come again, several times, with contents that differ in small things."""
        events = list(world.events)
        for event in world.events:
            while self.chooser.random() * 100 < self.options.copies:
                copy = dict(event)
                kind = self.chooser.random()
                if kind < 0.5 and event["type"] == "click":
                    copy["link_id"] = f"l{self.chooser.randint(1, 9)}"
                elif kind < 0.7:
                    copy["occurred_at"] += self.chooser.choice((-HOUR, -1, 1))
                elif kind < 0.8 and "amount_minor" in copy:
                    copy["amount_minor"] = self.chooser.randint(0, 5) * 1000
                elif kind < 0.85 and "order_id" in copy:
                    copy["order_id"] = f"o{self.chooser.randint(0, 3)}"
                events.insert(self.chooser.randint(0, len(events)), copy)
        return World(world.programs, events)

    def _in_order(self) -> list[dict[str, Any]]:
        if self.options.lateness_ms is None:
            return list(self.world.events)
        most = self.options.lateness_ms

        def arrival(event: dict[str, Any]) -> float:
            return float(event["occurred_at"] + self.chooser.random() * self.chooser.choice((0, most, 40 * most)))

        return sorted(self.world.events, key=arrival)

    # -- the schedule

    def run(self) -> None:
        """Play the schedule and judge the end."""
        with small_steps():
            try:
                for worker in self.processes:
                    self.processes[worker] = Process(self, worker)
                while self.turns < self.options.turns:
                    self._turn()
                self._drain()
                if self.options.replays:  # however often workers changed their minds about what is late
                    self._replay_all()
                    self._drain()
            except Exception as error:
                raise ScheduleError(self._report([f"{type(error).__name__}: {error}"])) from error
        if wrong := [*self.broken, *self.wrong()]:
            raise ScheduleError(self._report(wrong))

    def _report(self, wrong: Sequence[str]) -> str:
        lines = [f"seed {self.options.seed}: {self.options}", *self.schedule, "", *wrong]
        return "\n".join(lines)

    def _turn(self) -> None:
        options, rough = self.options, 3 * self.options.violence
        talk = 3 if options.lateness_ms is None else 12
        weights: list[tuple[float, Callable[[], str | None]]] = [
            (20, self._produce), (40, self._deliver), (10, self._work), (10, self._settle), (9, self._store),
            (7, self._commit), (12, self._assign), (talk, self._exchange), (5, self._restart),
            (rough * options.kills, self._doom), (rough * options.moves, self._move),
            (rough * options.zombies / 2, self._move_unnoticed), (2, self._notice), (2, self._stray),
            (rough * options.redelivery / 3, self._forget_commits), (options.garbage / 2, self._litter),
            (6 * options.replays, self._replay),
        ]  # fmt: skip
        act = self.chooser.choices([each for _, each in weights], [weight for weight, _ in weights])[0]
        self.tried += 1
        if self._guarded(act) or self.tried > 20 * self.options.turns:
            self.turns += 1

    def _guarded(self, act: Callable[[], str | None]) -> bool:
        before = len(self.schedule)
        try:
            done = act()
        except Killed:
            done = f"{act.__name__}: killed worker {self._bury()}"
        if done:
            self.schedule.append(("  meanwhile " if self._is_nested else "") + done)
        return len(self.schedule) > before

    def _bury(self) -> int:
        """Whoever was killed is gone, with what it owned; returns its number."""
        (process,) = (each for each in self._alive() if each.fate.is_over)
        self.processes[process.worker] = None
        for where, owner in self.owner.items():
            if owner is process:
                self.owner[where] = None
        return process.worker

    def _alive(self) -> list[Process]:
        return [each for each in self.processes.values() if each is not None]

    def _one(self) -> Process | None:
        """A process that acts now: any, or while one catches up, another."""
        alive = [each for each in self._alive() if each is not self._busy]
        if not alive:
            return None
        return self.chooser.choice(alive)

    _busy: Process | None = None

    def meanwhile(self, process: Process) -> None:
        """Others act while one catches up; and it may lose what it catches up with."""
        if self._is_nested or self._is_draining or self.chooser.random() > 0.25:
            return
        self._is_nested, self._busy = True, process
        try:
            act = self.chooser.choice((self._produce, self._deliver, self._work, self._settle, self._commit))
            self._guarded(act)
            if self.options.moves and self.chooser.random() < 0.03:
                self._guarded(self._lose_while_busy)
        finally:
            self._is_nested, self._busy = False, None

    def _lose_while_busy(self) -> str | None:
        assert self._busy is not None
        found = [
            (step, n) for step, member in self._busy.members.items() for n in member.assigned if n not in member.ready
        ]
        for step, number in found:
            self.owner[step, number] = None
            self._busy.members[step].revoke(number)
        return f"worker {self._busy.worker} loses {found} while it catches up"

    def _produce(self) -> str | None:
        share = self.turns / (0.8 * self.options.turns)
        if not self.left or (not self._is_draining and 1 - len(self.left) / len(self.world.events) > share):
            return None
        count = self.chooser.randint(1, 4)
        events, self.left = self.left[:count], self.left[count:]
        return f"produced {[self._send(event) for event in events]}"

    def _send(self, event: dict[str, Any]) -> Place:
        record, topic = event["type"], TOPIC_OF[event["type"]]
        fields = MESSAGES.fields(record)
        (value,) = MESSAGES.encode(record, [[event.get(name) for name in fields]])
        self.told[topic, value] = event
        key = key_of(event).encode()
        number = partition_of(key, self.options.partitions)
        if self.options.misplaced and self.chooser.random() < 0.1:
            if self.chooser.random() < 0.5:
                key = b"another"
                number = partition_of(key, self.options.partitions)
            else:
                number = self.chooser.randrange(self.options.partitions)
        late_ok = self.options.lateness_ms is not None and self.chooser.random() < 0.05
        headers = [(ADMIT_HEADER, b"1")] if late_ok else []
        return topic, number, self.log.append(topic, number, key, value, headers)

    def _litter(self) -> str | None:
        """A record that is none, in a topic that a step reads."""
        topic = TOPIC_OF[self.chooser.choice((*EVENTS, *INNER))]
        number = self.chooser.randrange(self.options.partitions)
        value = self.chooser.choice((None, b"junk", b"\x00\x00\x00\x00\x01junk", b"\x00\x00\x00\x00\x63", b"\xff"))
        offset = self.log.append(topic, number, b"k", value)
        self.expected_dead.add((source_of(topic, number), offset, "malformed"))
        return f"litter at {topic}/{number}/{offset}"

    def _replay(self) -> str | None:
        """Send late events again, as `crosscredit replay` does; also some that were sent again before."""
        found = [
            row for number in range(self.options.partitions)
            for entry in self.log.entries(TOPIC_OF["late_event"], number)
            for row in MESSAGES.decode("late_event", [entry.value])[0]
        ]  # fmt: skip
        if not found:
            return None
        some = self.chooser.choices(found, k=self.chooser.randint(1, 3))
        return f"replayed {[self._send_again(*row[:3], row[3]) for row in some]}"

    def _replay_all(self) -> None:
        for row in self.tables.standing("late_events"):
            raw = row["raw"].removeprefix("base64:")
            value = raw.encode() if raw == row["raw"] else b64decode(raw)
            self._send_again(row["source"], row["position"], row["reason"], value)

    def _send_again(self, source: str, position: str, reason: str, raw: bytes) -> tuple[str, str, int]:
        topic = source.rpartition("/")[0]
        key = key_of(self.told[topic, raw]).encode()
        headers = replay_headers(Origin("late_event", source, position, reason))
        offset = self.log.append(topic, partition_of(key, self.options.partitions), key, raw, headers)
        return source, position, offset

    def _deliver(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        found = [(member, *where) for member in process.members.values() for where in member.waiting()]
        if not found:
            return None
        member, topic, number = self.chooser.choice(found)
        most = self.chooser.choice((1, 1, 2, 3, 10))
        said = f"worker {process.worker} is given {most} of {topic}/{number} from {member.position[topic, number]}"
        member.deliver(topic, number, most)
        if member.step != "sink" and self.chooser.random() < 0.6:
            self.schedule.append(said)
            process.runtimes[member.step]._work.run_all()  # type: ignore[attr-defined]
            return None
        return said

    def _work(self) -> str | None:
        process = self._one()
        busy = [step for step, each in process.runtimes.items() if len(each._work)] if process else []  # type: ignore[arg-type]
        if not busy:
            return None
        step = self.chooser.choice(busy)
        process.runtimes[step]._work.run_one()  # type: ignore[union-attr]
        return f"worker {process.worker} works on {step}"  # type: ignore[union-attr]

    def _settle(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        step = self.chooser.choice(sorted(process.runtimes))
        process.runtimes[step].settle()
        self.schedule.append(f"worker {process.worker} settles {step}")
        if self.chooser.random() < 0.7:
            process.runtimes[step]._work.run_all()  # type: ignore[attr-defined]
        return None

    def _store(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        writer = self.chooser.choice((process.clicks, process.rows))
        writer.store(self.chooser.randint(1, 10))
        return f"worker {process.worker} stores"

    def _commit(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        step = self.chooser.choice(sorted(process.members))
        process.members[step].commit()
        return f"worker {process.worker} commits {step}"

    def _assign(self) -> str | None:
        """Partitions that nobody has go to somebody."""
        free = [where for where, owner in self.owner.items() if owner is None]
        process = self._one()
        if process is None or not free:
            return None
        said = []
        for where in free if self.chooser.random() < 0.7 else [self.chooser.choice(free)]:
            if self.processes[process.worker] is process and self.owner[where] is None:
                said.append(where)
                self.schedule.append(f"worker {process.worker} is assigned {where}")
                self._give(where, process)
                process = self.chooser.choice(self._alive())
        return None

    def _give(self, where: tuple[str, int], process: Process) -> None:
        step, number = where
        member = process.members[step]
        if number in member.assigned:  # it lost it before without noticing
            member.revoke(number)
        self.owner[where] = process
        member.assign(number)

    def _exchange(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        acts = [process.listen, process.speak, *[process.note_silence] * (self.chooser.random() < 0.6)]
        for act in reversed(acts):
            act()
        return f"worker {process.worker} talks of watermarks: its own is {process.watermarks.current()}"

    def _restart(self) -> str | None:
        dead = [worker for worker, process in self.processes.items() if process is None]
        if not dead:
            return None
        worker, wiped = self.chooser.choice(dead), []
        if self.options.wipes and self.chooser.random() < 0.3:
            everything = self.chooser.random() < 0.5
            wiped = [each for each in self.disks if each[0] == worker and (everything or self.chooser.random() < 0.5)]
            for each in wiped:
                del self.disks[each]
        self.processes[worker] = Process(self, worker)
        return f"worker {worker} starts" + (f", its disks lost: {wiped}" if wiped else "")

    def _doom(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        how = self.chooser.random()
        if how < 0.2:
            process.fate.is_over = True
            raise Killed
        calls, when = self.chooser.randint(0, 3 if how < 0.8 else 12), self.chooser.choice((BEFORE, HALF_WAY, AFTER))
        process.fate.end_at(calls, when)
        self.schedule.append(f"worker {process.worker} will end {when} call {calls} from now")
        step = self.chooser.choice(sorted(process.runtimes))
        if how < 0.5:
            process.runtimes[step].settle().result()
        elif how < 0.8 and (waiting := process.members[step].waiting()):
            process.members[step].deliver(*self.chooser.choice(waiting), self.chooser.randint(1, 4))
            process.runtimes[step].settle().result()
        return None

    def _move(self) -> str | None:
        """A rebalance that the old owner takes part in; its last commit may fail, and it may not settle in time."""
        owned = [where for where, owner in self.owner.items() if owner is not None]
        if not owned:
            return None
        step, number = self.chooser.choice(owned)
        old = self.owner[step, number]  # type: ignore[assignment]
        member = old.members[step]  # type: ignore[union-attr]
        self.schedule.append(f"worker {old.worker} gives up {step}/{number}")  # type: ignore[union-attr]
        if step in old.runtimes and self.chooser.random() < 0.7:  # type: ignore[union-attr]
            old.runtimes[step].settle().result()  # type: ignore[union-attr]
        if self.chooser.random() < 0.7:
            member.commit()
        member.revoke(number)
        self.owner[step, number] = None
        if self.chooser.random() < 0.7:
            new = self.chooser.choice(self._alive())
            self.schedule.append(f"worker {new.worker} is assigned {step}/{number}")
            self._give((step, number), new)
        return None

    def _move_unnoticed(self) -> str | None:
        """The group gives a partition to another, and its owner does not notice yet."""
        owned = [where for where, owner in self.owner.items() if owner is not None]
        if not owned:
            return None
        where = self.chooser.choice(owned)
        old = self.owner[where]
        others = [each for each in self._alive() if each is not old]
        if not others:
            return None
        new = self.chooser.choice(others)
        self.schedule.append(f"{where} goes to worker {new.worker}; worker {old.worker} does not notice")  # type: ignore[union-attr]
        self._give(where, new)
        return None

    def _notice(self) -> str | None:
        lost = [
            (process, step, number)
            for process in self._alive() for step, member in process.members.items() for number in member.assigned
            if self.owner[step, number] is not process
        ]  # fmt: skip
        if not lost:
            return None
        process, step, number = self.chooser.choice(lost)
        process.members[step].revoke(number)
        return f"worker {process.worker} notices that it lost {step}/{number}"

    def _stray(self) -> str | None:
        process = self._one()
        if process is None or not process.strays:
            return None
        process.strays.pop(self.chooser.randrange(len(process.strays)))()
        return f"worker {process.worker} is given a batch of an earlier assignment"

    def _forget_commits(self) -> str | None:
        """The group begins again at an older offset."""
        free = [where for where, owner in self.owner.items() if owner is None]
        if not free:
            return None
        step, number = self.chooser.choice(free)
        where = (group_of(step), TOPIC_OF[self.chooser.choice(STEPS[step].reads)], number)
        self.log.committed[where] = self.chooser.randint(0, self.log.committed.get(where, 0))
        return f"{where} begins again at {self.log.committed[where]}"

    def _drain(self) -> None:
        """Without further faults, until nothing is left to do."""
        self._is_draining = True
        for worker, process in self.processes.items():
            self.processes[worker] = process or Process(self, worker)
        for process in self._alive():
            process.fate.end_at(-1, AFTER)
            process.strays.clear()
            for step, member in process.members.items():
                for number in list(member.assigned):
                    if self.owner[step, number] is not process:
                        member.revoke(number)
        while self.left:
            self._produce()
        for where, owner in self.owner.items():
            if owner is None:
                self._give(where, self.chooser.choice(self._alive()))
        quiet = rounds = 0
        while quiet < 2:
            quiet, rounds = quiet + 1, rounds + 1
            assert rounds < 1_000, "the workers never come to rest"
            for process in self._alive():
                for member in process.members.values():
                    for topic, number in member.waiting():
                        member.deliver(topic, number, 10)
                        quiet = 0
                for each in process.runtimes.values():
                    each.settle().result()
                for writer in (process.clicks, process.rows):
                    writer.flush()
                for member in process.members.values():
                    member.commit()

    # -- the judgement

    def note_decision(
        self, batch: RecordBatch, watermark_ms: int | None, news: Sequence[tuple[int, int]], taken: Taken, judged: bool
    ) -> None:  # fmt: skip
        """What was decided on a batch is on disk."""
        if not judged:
            return
        where = (batch.topic, batch.partition)
        headers = dict(zip(batch.offsets, batch.headers, strict=True))
        for offset, occurred_at in news:
            self.decisions.setdefault((*where, offset), set()).add("admitted")
            reached = self._reached.get(where)
            if reached is not None and occurred_at + self.allowed_ms < reached and not headers[offset]:
                self.finality.append(f"{where} admitted {offset} of {occurred_at} after the watermark {reached}")
        for letter in taken.late:
            self.decisions.setdefault((*where, letter.position), set()).add("late")
        if watermark_ms is not None:
            self._reached[where] = max(watermark_ms, self._reached.get(where, watermark_ms))

    @property
    def finality(self) -> list[str]:
        return self.broken if not (self.options.wipes or self.options.moves or self.options.zombies) else []

    def wrong(self) -> list[str]:
        """Where what stands is not what the reference says of the events that are not late."""
        late = {(row["source"], int(row["position"])) for row in self.tables.standing("late_events")}
        origins = (origin_in(entry.headers) for entry, _, _ in self._inputs())
        replayed = {(origin.source, int(origin.position)) for origin in origins if origin is not None}
        still_late = sorted(late & replayed)
        late |= replayed  # what was sent again counts where it stands the second time
        programs = read_programs(self.world.programs)
        events: list[dict[str, Any]] = []
        places: list[tuple[str, int]] = []
        sent_on: list[tuple[dict[str, Any], tuple[str, int]]] = []
        for entry, topic, number in self._inputs():
            event = self.told.get((topic, entry.value or b""))
            if event is None:
                continue
            key = key_of(event).encode()
            is_misplaced = entry.key != key or partition_of(key, self.options.partitions) != number
            place = (source_of(topic, number), entry.offset)
            if is_misplaced and not refusal(event, programs):
                sent_on.append((event, place))
            elif place not in late or refusal(event, programs):
                events.append(event)
                places.append(place)
        if self.options.lateness_ms is None:  # else what is sent on may be late where it arrives
            # Each has a copy where it belongs, which was there before as regards dead letters. Or else it was lost.
            events += [event for event, _ in sent_on]
            places += [place for _, place in sent_on]
        expected = compute(self.world.programs, events)
        dead = {(*places[row["index"]], row["reason"]) for row in expected["dead_letters"]} | self.expected_dead
        expected["dead_letters"] = canonical(dict(zip(_DEAD, each, strict=True)) for each in dead)
        got = answer(self.tables)
        rows = [(row["source"], int(row["position"]), row["reason"]) for row in self.tables.standing("dead_letters")]
        got["dead_letters"] = canonical(dict(zip(_DEAD, each, strict=True)) for each in rows)
        found = differences(got, expected)
        if not (self.options.moves or self.options.wipes or self.options.zombies):
            torn = [place for place, kinds in self.decisions.items() if len(kinds) > 1]
            found += [f"both admitted and late: {torn}"] if torn else []
            found += [f"late, though a copy was admitted before: {place}" for place in self._copies(late, programs)]
        return found + ([f"replayed and still late: {still_late}"] if still_late else [])

    def _copies(self, late: set[tuple[str, int]], programs: Any) -> list[tuple[str, int]]:
        """Places of late events that came after a copy of theirs was admitted in the same partition."""
        admitted: set[Any] = set()
        found = []
        for entry, topic, number in self._inputs():
            event = self.told.get((topic, entry.value or b""))
            if event is None or refusal(event, programs):
                continue
            key = key_of(event).encode()
            if entry.key != key or partition_of(key, self.options.partitions) != number:
                continue
            copy = (topic, number, key, event["brand_id"], event["event_id"])
            if (source_of(topic, number), entry.offset) not in late:
                admitted.add(copy)
            elif copy in admitted:
                found.append((source_of(topic, number), entry.offset))
        return found

    def counts(self) -> Counter[tuple[str, str]]:
        """The workers' own counts, of those that live."""
        return sum((process.counts for process in self._alive()), Counter())

    def records(self, record: str) -> int:
        """How many records the log has in an input topic."""
        return sum(len(self.log.entries(TOPIC_OF[record], number)) for number in range(self.options.partitions))

    def _inputs(self) -> Iterator[tuple[Any, str, int]]:
        found = [
            (entry, TOPIC_OF[record], number)
            for record in EVENTS
            for number in range(self.options.partitions)
            for entry in self.log.entries(TOPIC_OF[record], number)
        ]
        return iter(sorted(found, key=lambda each: each[0].number))


_DEAD = ("source", "position", "reason")


@contextmanager
def small_steps() -> Iterator[None]:
    """Two customers and three elements at a time, so that there are many points at which to end."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(credit, "CUSTOMERS_AT_ONCE", 2))
        stack.enter_context(patch.object(runtime, "log", MagicMock()))
        if earnings.EarningsStep is EarningsStep:
            stack.enter_context(patch.object(earnings, "EarningsStep", partial(EarningsStep, segment=3)))
        yield


def replay(seed: int, **fixed: Any) -> None:
    """Run one seed and print what happened: ``python -c 'from tests.agents.simulation import replay; replay(7)'``."""
    simulation = Simulation(options_of(seed, **fixed))
    try:
        simulation.run()
    finally:
        print("\n".join(simulation.schedule))  # noqa: T201
        print(json.dumps({"rows": {name: len(rows) for name, rows in simulation.tables._rows.items()}}))  # noqa: T201
