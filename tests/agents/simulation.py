"""The live pipeline in one thread and in memory, driven by a seed: workers, moves, kills, lost disks, zombies.

The classes of ``pipeline.agents`` are the real ones, down to :class:`StepRuntime`; what is played is Kafka, ClickHouse,
disks, and Faust's part (assignments, batches, commits of safe offsets). A schedule is a function of the seed alone:

    Simulation(options_of(1234)).run()      # raises ScheduleError, which prints the schedule

One worker is in ``simulated_worker``, what comes into the log in ``arrivals``, the verdict in ``judgement``.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import MagicMock, patch

from pipeline.agents import credit, earnings, runtime
from pipeline.agents.intake import Intake
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.reachings import Reachings
from pipeline.agents.watermarks import Mark
from pipeline.state.memory import MemoryStore
from pipeline.steps.earnings import EarningsStep
from pipeline.topology import STEPS, TOPIC_OF, group_of
from pipeline.wire.admission import Admission
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.arrivals import MESSAGES, Arrivals, with_copies
from tests.agents.judgement import Judgement
from tests.agents.options import Options, options_of
from tests.agents.simulated import Log, Tables
from tests.agents.simulated_worker import Process
from tests.properties.crashes import AFTER, BEFORE, HALF_WAY, Killed
from tests.properties.harness import catalogue_from
from tests.properties.worlds import World, random_world
from tests.reference.examples import HOUR


class ScheduleError(AssertionError):
    """What a schedule led to, with the seed and the schedule."""


class Simulation:
    """One run: made by the options, played by :meth:`run`, judged against the reference."""

    def __init__(self, options: Options, world: World | None = None) -> None:
        self.options = options
        self.chooser = random.Random(f"schedule {options.seed}")
        self.world = world or with_copies(random_world(options.seed, options.most_events), options, self.chooser)
        self.catalogue = catalogue_from(self.world.programs)
        self.outcomes = Outcomes(MESSAGES)
        self.intake = Intake(
            Admission(self.catalogue), InputDecoder(LocalSchemas()),
            partitions=options.partitions, max_future_ms=HOUR,
        )  # fmt: skip
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
        self.arrivals = Arrivals(options, self.world, self.log, self.tables, self.chooser)
        self.judgement = Judgement(options, self.world.programs, self.log, self.tables, self.arrivals)
        self.schedule: list[str] = []
        self.turns = self.tried = 0
        self._is_nested = False
        self._is_draining = False

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
                    self.arrivals.send_all_late_again()
                    self._drain()
            except Exception as error:
                raise ScheduleError(self._report([f"{type(error).__name__}: {error}"])) from error
        if wrong := self.judgement.wrong():
            raise ScheduleError(self._report(wrong))

    def _report(self, wrong: Sequence[str]) -> str:
        lines = [f"seed {self.options.seed}: {self.options}", *self.schedule, "", *wrong]
        return "\n".join(lines)

    def _turn(self) -> None:
        options, rough = self.options, 3 * self.options.violence
        talk = 3 if options.lateness_ms is None else 12
        weights: list[tuple[float, Callable[[], str | None]]] = [
            (20, self._produce), (40, self._deliver), (10, self._work), (10, self._settle), (2, self._look_back),
            (9, self._store), (7, self._commit), (12, self._assign), (talk, self._exchange), (5, self._restart),
            (rough * options.kills, self._doom), (rough * options.moves, self._move),
            (rough * options.zombies / 2, self._move_unnoticed), (2, self._notice), (2, self._stray),
            (rough * options.redelivery / 3, self._forget_commits), (options.garbage / 2, self.arrivals.litter),
            (6 * options.replays, self.arrivals.send_late_again),
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
        left, share = len(self.arrivals.left), self.turns / (0.8 * self.options.turns)
        if not left or (not self._is_draining and 1 - left / len(self.world.events) > share):
            return None
        return f"produced {self.arrivals.send_next(self.chooser.randint(1, 4))}"

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
            process.runtimes[member.step]._work.run_all()
            return None
        return said

    def _work(self) -> str | None:
        process = self._one()
        busy = [step for step, each in process.runtimes.items() if len(each._work)] if process else []
        if not busy:
            return None
        step = self.chooser.choice(busy)
        process.runtimes[step]._work.run_one()
        return f"worker {process.worker} works on {step}"

    def _settle(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        step = self.chooser.choice(sorted(process.runtimes))
        process.runtimes[step].settle()
        self.schedule.append(f"worker {process.worker} settles {step}")
        if self.chooser.random() < 0.7:
            process.runtimes[step]._work.run_all()
        return None

    def _look_back(self) -> str | None:
        process = self._one()
        if process is None:
            return None
        step = self.chooser.choice(("credit", "earnings"))
        process.runtimes[step].look_back()
        return f"worker {process.worker} looks what others emitted for {step}"

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
        old = self.owner[step, number]
        member = old.members[step]
        self.schedule.append(f"worker {old.worker} gives up {step}/{number}")
        if step in old.runtimes and self.chooser.random() < 0.7:
            old.runtimes[step].settle().result()
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
        self.schedule.append(f"{where} goes to worker {new.worker}; worker {old.worker} does not notice")
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
        while self.arrivals.left:
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
                    each.look_back()
                    each.settle().result()
                for writer in (process.clicks, process.rows):
                    writer.flush()
                for member in process.members.values():
                    member.commit()

    def counts(self) -> Counter[tuple[str, str]]:
        """The workers' own counts, of those that live."""
        return sum((process.counts for process in self._alive()), Counter())

    def records(self, record: str) -> int:
        """How many records the log has in an input topic."""
        return sum(len(self.log.entries(TOPIC_OF[record], number)) for number in range(self.options.partitions))


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
        rows = json.dumps({"rows": {name: len(rows) for name, rows in simulation.tables._rows.items()}})
        sys.stdout.write("\n".join([*simulation.schedule, rows, ""]))
