"""Schedules made by hand: the shortest for each way in which one worker may leave a partition to another, or to itself.

One partition, two workers; at the end all faults are over, and what stands must be what the reference says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.topology import TOPIC_OF
from tests.agents.options import Options
from tests.agents.simulated_worker import Process
from tests.agents.simulation import ScheduleError, Simulation, small_steps
from tests.properties.crashes import BEFORE, Killed
from tests.properties.worlds import World
from tests.reference.examples import HOUR, click, day, order, program, sign_up

QUIET = dict.fromkeys(
    ("kills", "wipes", "moves", "zombies", "redelivery", "strays", "misplaced", "garbage", "gaps", "retries"), False
)


class Script:
    """Two workers, named 0 and 1, that do what they are told."""

    def __init__(self, *programs: dict[str, Any]) -> None:
        self.sim = Simulation(Options(0, partitions=1, workers=2, **QUIET), World(list(programs), []))
        for worker in self.sim.processes:
            self.starts(worker)

    def starts(self, worker: int) -> None:
        self.sim.processes[worker] = Process(self.sim, worker)

    def process(self, worker: int) -> Process:
        found = self.sim.processes[worker]
        assert found is not None
        return found

    def arrive(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.sim.arrivals.send(event)

    def gets(self, worker: int, *steps: str) -> None:
        """The steps' partition goes to a worker; who had it notices, unless it is told to be a zombie."""
        for step in steps:
            old = self.sim.owner[step, 0]
            if old is not None:
                old.members[step].revoke(0)
            self.sim._give((step, 0), self.process(worker))

    def gets_unnoticed(self, worker: int, step: str) -> None:
        self.sim._give((step, 0), self.process(worker))

    def takes(self, worker: int, step: str, *records: str) -> None:
        """All that waits of the records, each topic's as one batch."""
        member = self.process(worker).members[step]
        for topic, number in member.waiting():
            if not records or any(f".{record}." in topic for record in records):
                member.deliver(topic, number, 100)
        self.process(worker).runtimes[step]._work.run_all()

    def settles(self, worker: int, step: str) -> None:
        self.process(worker).runtimes[step].settle().result()

    def does(self, worker: int, step: str, *records: str) -> None:
        """Takes, settles, and commits what is safe."""
        self.takes(worker, step, *records)
        self.settles(worker, step)
        self.process(worker).clicks.flush()
        self.process(worker).members[step].commit()

    def still_has(self, worker: int, step: str, record: str, start: int) -> Callable[[], None]:
        """A batch that an agent of the present assignment has in hand; it is taken when the result is called."""
        runtime = self.process(worker).runtimes[step]
        batch, mark = self.sim.log.batch(TOPIC_OF[record], 0, start, 100), runtime._wanted[0]
        assert batch is not None

        def is_taken() -> None:
            runtime._work.submit(runtime._guarded, runtime._take, batch, mark).result()

        return is_taken

    def dies(self, worker: int, *, wiped: bool = False) -> None:
        process = self.process(worker)
        for where, owner in self.sim.owner.items():
            if owner is process:
                self.sim.owner[where] = None
        if wiped:
            self.sim.disks = {where: disk for where, disk in self.sim.disks.items() if where[0] != worker}
        self.starts(worker)

    def dies_at(self, worker: int, call: int, act: Callable[[], object]) -> None:
        """Before the write, send or insert of that number, the first of ``act`` being 0."""
        self.process(worker).fate.end_at(call, BEFORE)
        try:
            act()
        except Killed:
            self.dies(worker)
            return
        raise AssertionError("it did not die")

    def ends(self) -> None:
        self.sim._drain()
        if wrong := self.sim.judgement.wrong():
            raise ScheduleError("\n".join(wrong))


def _clicked_and_signed_up(*others: str) -> Script:
    """IDENTITY, and what else is named, is at worker 1, CREDIT at worker 0; a click and its sign-up have come."""
    at = Script(program())
    at.gets(1, "identity", *others)
    at.gets(0, "credit")
    at.arrive(click(day(1)), sign_up(day(2)))
    return at


def _dies_and_worker_1_commits_the_touchpoint(at: Script) -> None:
    at.dies(0)
    at.gets(1, "credit")
    at.does(1, "credit", "touchpoint")
    at.gets(0, "credit")
    at.ends()


def a_binding_restored_by_who_has_clicks_that_were_not_committed() -> None:
    at = Script(program())
    at.gets(0, "identity")
    at.arrive(click(day(1)))
    at.takes(0, "identity")
    at.dies(0)
    at.arrive(sign_up(day(2)))
    at.gets(1, "identity", "credit")
    at.does(1, "credit")
    at.does(1, "identity", "binding")
    at.gets(0, "identity")
    at.ends()


def a_touchpoint_restored_by_who_has_an_order_that_was_not_committed() -> None:
    at = _clicked_and_signed_up()
    at.does(1, "identity")
    at.does(0, "credit")
    at.does(1, "identity")
    at.arrive(order(day(3)))
    at.takes(0, "credit", "order")
    at.settles(0, "credit")
    _dies_and_worker_1_commits_the_touchpoint(at)


def a_touchpoint_restored_by_who_alone_knows_the_sign_up() -> None:
    """Whoever committed the touchpoint had nothing to decide, and emitted nothing that could be read back."""
    at = _clicked_and_signed_up()
    at.takes(0, "credit")
    at.settles(0, "credit")
    at.does(1, "identity")
    _dies_and_worker_1_commits_the_touchpoint(at)


def less_is_emitted_by_who_is_behind() -> None:
    at = _clicked_and_signed_up()
    at.does(1, "identity")
    at.takes(0, "credit")
    at.does(1, "identity")
    at.takes(0, "credit")
    at.settles(0, "credit")
    at.dies(0)
    at.gets(1, "credit")
    at.takes(1, "credit", "sign_up")
    at.settles(1, "credit")
    at.dies(1)
    at.gets(0, "credit")
    at.ends()


def _moved(*later: dict[str, Any], programs: tuple[dict[str, Any], ...]) -> Script:
    """The bakery's commission is emitted, not committed, and lost with the disk; then the credit moves."""
    at = Script(*programs)
    at.gets(1, "identity", "credit")
    at.gets(0, "earnings")
    at.arrive(click(day(1)), sign_up(day(2)), order(day(3)))
    for step in ("identity", "credit", "identity", "credit"):
        at.does(1, step)
    at.takes(0, "earnings")
    at.settles(0, "earnings")
    at.dies(0, wiped=True)
    at.arrive(*later)
    at.does(1, "identity")
    at.does(1, "credit")
    return at


def rows_of_a_lost_disk_that_do_not_hold_any_more() -> None:
    at = _moved(click(day(1) + HOUR, "roaster", "k2"), programs=(program(),))
    at.gets(0, "earnings")
    at.dies(0)  # before it could act upon what it had read back
    at.gets(0, "earnings")
    at.ends()


def rows_of_a_lost_disk_in_a_program_without_credit_any_more() -> None:
    first = program("first", program={"priority": 1})
    at = _moved(click(day(1) + HOUR, "roaster", "k2", program_id="first"), programs=(program(), first))
    at.ends()


def _editions() -> Script:
    """Worker 0 dies with the first edition of a click in its outbox; worker 1 forwards that and a second."""
    at = Script(program())
    at.gets(0, "identity")
    at.gets(1, "credit")
    at.arrive(sign_up(day(2)))
    at.does(1, "credit")
    at.does(0, "identity")
    at.arrive(click(day(1), link_id="l9"))
    at.dies_at(0, 1, lambda: at.takes(0, "identity"))
    at.gets(1, "identity")
    at.does(1, "identity")
    at.arrive(click(day(1), link_id="l1"))
    at.does(1, "identity")
    return at


def an_old_edition_is_sent_after_a_new_one() -> None:
    """The order that follows makes as high a version of what is known less."""
    at = _editions()
    at.does(1, "credit")
    at.gets(0, "identity")
    at.does(1, "credit")
    at.arrive(order(day(3)))
    at.ends()


def an_old_edition_is_sent_after_a_new_one_in_one_batch() -> None:
    at = _editions()
    at.gets(0, "identity")
    at.does(1, "credit")
    at.ends()


def a_duplicate_order_that_is_one_no_more_after_the_disk_was_lost() -> None:
    at = Script(program())
    at.gets(0, "credit")
    at.arrive(order(day(5), order_id="x"), order(day(3), event_id="o2", order_id="x"))
    at.does(0, "credit")
    at.dies(0, wiped=True)
    at.gets(0, "credit")
    at.arrive(order(day(1), order_id="x"))
    at.does(0, "credit")
    at.ends()


def a_binding_in_the_outbox() -> None:
    at = Script(program())
    at.gets(0, "identity", "credit")
    at.arrive(click(day(1)), sign_up(day(2)))
    at.does(0, "identity")
    at.dies_at(0, 1, lambda: at.takes(0, "credit"))
    at.ends()


def customers_decided_but_not_sent() -> None:
    at = Script(program())
    at.gets(0, "credit")
    at.arrive(sign_up(day(2)))
    at.takes(0, "credit")
    at.dies_at(0, 1, lambda: at.settles(0, "credit"))
    at.ends()


def _forwarded(*others: str) -> Script:
    """As :func:`_clicked_and_signed_up`; the click is on its way to CREDIT."""
    at = _clicked_and_signed_up(*others)
    at.does(1, "identity")
    at.does(0, "credit")
    at.does(1, "identity")
    return at


def a_zombie_sends_an_older_contribution() -> None:
    at = _forwarded("earnings")
    at.does(0, "credit")
    at.arrive(order(day(3)))
    at.takes(0, "credit")
    at.gets_unnoticed(1, "credit")
    at.does(1, "credit")
    at.arrive(click(day(1) + HOUR, "roaster", "k2"))
    at.does(1, "identity")
    at.does(1, "credit")
    at.does(1, "earnings")
    at.settles(0, "credit")
    at.does(1, "earnings")
    at.ends()


def a_zombie_emits_a_credit_that_its_successor_never_gave() -> None:
    at = _forwarded()
    at.takes(0, "credit")
    at.gets_unnoticed(1, "credit")
    at.arrive(click(day(1) + HOUR, "roaster", "k2"))
    at.does(1, "identity")
    at.does(1, "credit")
    at.settles(0, "credit")
    at.ends()


def a_zombie_emits_an_entry_that_its_successor_never_made() -> None:
    at = _forwarded()
    at.gets(0, "earnings")
    at.arrive(order(day(3)))
    at.does(0, "credit")
    at.takes(0, "earnings")
    at.gets_unnoticed(1, "earnings")
    at.arrive(click(day(1) + HOUR, "roaster", "k2"))
    at.does(1, "identity")
    at.does(0, "credit")
    at.does(1, "earnings")
    at.settles(0, "earnings")
    at.ends()


def a_copy_that_counts_lies_beyond_what_is_stored() -> None:
    """Worker 0 knows the first copy of a click, worker 1 both; what is stored reaches between them."""
    at = Script(program())
    at.gets(0, "identity")
    at.arrive(click(day(1), link_id="l4"))
    at.takes(0, "identity")
    at.dies(0)
    at.arrive(click(day(1), link_id="l1"))
    at.gets(1, "identity")
    at.takes(1, "identity")
    at.dies(1)
    at.gets(1, "identity")
    at.process(1).members["identity"].deliver(TOPIC_OF["click"], 0, 1)
    at.process(1).runtimes["identity"]._work.run_all()
    at.process(1).clicks.flush()
    at.process(1).members["identity"].commit()
    at.gets(0, "identity")
    at.ends()


def a_batch_of_an_earlier_assignment_comes_late() -> None:
    at = Script(program())
    at.gets(0, "identity", "credit")
    at.arrive(click(day(1)), sign_up(day(2)), order(day(3)), order(day(4), event_id="o2"))
    is_taken = at.still_has(0, "credit", "order", 1)
    at.gets(1, "credit")
    at.gets(0, "credit")
    is_taken()
    at.ends()


SCRIPTS: list[Callable[[], None]] = [
    a_binding_restored_by_who_has_clicks_that_were_not_committed,
    a_touchpoint_restored_by_who_has_an_order_that_was_not_committed,
    a_touchpoint_restored_by_who_alone_knows_the_sign_up,
    less_is_emitted_by_who_is_behind,
    rows_of_a_lost_disk_that_do_not_hold_any_more,
    rows_of_a_lost_disk_in_a_program_without_credit_any_more,
    an_old_edition_is_sent_after_a_new_one,
    an_old_edition_is_sent_after_a_new_one_in_one_batch,
    a_duplicate_order_that_is_one_no_more_after_the_disk_was_lost,
    a_binding_in_the_outbox,
    customers_decided_but_not_sent,
    a_zombie_sends_an_older_contribution,
    a_zombie_emits_a_credit_that_its_successor_never_gave,
    a_zombie_emits_an_entry_that_its_successor_never_made,
    a_copy_that_counts_lies_beyond_what_is_stored,
    a_batch_of_an_earlier_assignment_comes_late,
]


def play(script: Callable[[], None]) -> None:
    """ScheduleError if it ends wrong."""
    with small_steps():
        script()
