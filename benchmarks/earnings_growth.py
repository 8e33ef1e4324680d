"""What an event costs EARNINGS in a program that already has many referrals, as against one that has few.

    python benchmarks/earnings_growth.py --referrals 1000 1000000

Each number has a process and a store on disk of its own. Before the clock starts, that many referrals are taken in and
settled, and the store is closed and opened again, as after a restart. Then the processes take turns, so that whatever
else the machine does falls on all alike. In a turn each program gets, in batches that are settled at once:

    late       2 000 new referrals, each batch of 100 reaching back an hour: what follows is derived again
    in order   500 new referrals at the end of the timeline
    refund     500 refunds, at the end, of orders at random places in it
    reaching   a referral that exactly 500 others follow, four times

The smaller programs stay small: they have a fresh program of that many referrals for every turn.

Printed: for each kind the median over the turns, in CPU microseconds an event (of the thread that works); of the last
kind, for each referral that follows. Beside it what RocksDB's own threads do: flushing and compacting what these
events wrote, counted from the reopening up to and with the closing, spread over all events. What they still owe for
the referrals taken in before is awaited first: it would fall on whichever events come next, whose own share of such
work is in the figure.

With ``--middle`` the largest program lastly gets one referral in the middle of its timeline. That must derive half of
it again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.domain.contribution import Contribution, CreditedOrder, Earning, Element
from pipeline.domain.terms import Bonus, Catalogue, Milestone, Partner, Program, Terms, Tier
from pipeline.state.rocks import RocksStore
from pipeline.state.store import WriteBatch
from pipeline.steps.earnings import EarningsStep

END_MS = 1_777_593_600_000  # 2026-05-01: of what is taken in first; the periods that count are then alike
SPACING_MS = 10_000
LATE_MS = 3_600_000
PARTNERS = 50
LATE, LATE_BATCH = 2_000, 100
OTHERS, OTHERS_BATCH = 500, 20
REACHING, FOLLOWING = 4, 500
EVENTS = LATE + 2 * OTHERS + FOLLOWING + REACHING
KINDS = ("late", "in order", "refund", "reaching, a follower")
SMALL = 10_000
MOST_REFUNDS = 20_000


def terms(program_id: str) -> Terms:
    """With bonus slots for all: what an event must do then does not depend on how many came before it."""
    return Terms(
        program_id=program_id, brand_id="acme", currency="USD", version=1, effective_from_ms=0, rate_bps=1_000,
        time_zone="America/New_York", customer_reward_minor=500, tier_period="quarter",
        tiers=(Tier(10, 1_200), Tier(100, 1_500)),
        bonuses=(Bonus("each", 1_000_000_000, "quarter", "partner", 2_500),),
        milestones=(
            Milestone("hundred", "qualified_referrals", 100, "month"),
            Milestone("together", "net_revenue_minor", 10_000_000, "all_time", "program"),
        ),
        partners={f"p{number}": Partner(f"p{number}", f"Partner {number}") for number in range(PARTNERS)},
    )  # fmt: skip


def scattered(number: int) -> str:
    """An id that says nothing of when its customer came; every number below 2**32 has its own."""
    return f"c{number * 2_654_435_761 % 2**32:010}"


def contribution(program_id: str, number: int, at: int, refunded_at: int | None = None) -> Contribution:
    """A customer whose order at ``at`` qualifies the referral; perhaps refunded later, in full."""
    customer, partner = scattered(number), f"p{number % PARTNERS}"
    order = CreditedOrder(f"O{number}", at, f"o{number:09}", 1, ((partner, 10_000),), at)
    elements = [
        Element(at - 1_000, f"s{number:09}", 1, customer, partner, 1, 0, None, True, None, False, 0, 0, ()),
        Element(
            at, order.event_id, 2, customer, partner, 1, 1, None, False, order, True, 0, 5_000,
            (Earning(order, 0, 5_000),),
        ),
    ]  # fmt: skip
    if refunded_at is not None:
        elements.append(
            Element(
                refunded_at, f"r{number:09}", 3, customer, partner, 1, -1, (at, order.event_id, 2), False, order,
                False, 5_000, 0, (Earning(order, 5_000, 0),),
            )
        )  # fmt: skip
    return Contribution(program_id, customer, len(elements), tuple(elements))


class Growing:
    """One program that goes on after it took in ``referrals``."""

    def __init__(self, store: RocksStore, program_id: str, referrals: int) -> None:
        self._id = program_id
        self._before = referrals
        self._count = referrals
        self._now = END_MS
        # No list of all: the garbage collector would go through it, in the program that has many.
        self._refundable = Random(1).sample(range(referrals), min(referrals, MOST_REFUNDS))
        self.open(store)

    def open(self, store: RocksStore) -> None:
        """Go on with the store opened again."""
        self._store = store
        self._step = EarningsStep(store, Catalogue.of([Program((terms(self._id),))]))
        self._step.unsettled()  # its counters are read

    def _first_at(self, number: int) -> int:
        return END_MS - (self._before - number) * SPACING_MS

    def take_in(self) -> None:
        """The referrals before the clock starts."""
        for first in range(0, self._before, 10_000):
            numbers = range(first, min(first + 10_000, self._before))
            self._stage(contribution(self._id, number, self._first_at(number)) for number in numbers)
        self._settle()

    def cost(self, kind: int, turn: int) -> float:
        """CPU microseconds an event of one of KINDS."""
        return (lambda: self.late(Random(turn)), self.in_order, self.refunds, self.reaching)[kind]()

    def late(self, random: Random) -> float:
        batches = []
        for _ in range(LATE // LATE_BATCH):
            self._now += LATE_BATCH * SPACING_MS
            batches.append([self._new(self._now - random.randrange(LATE_MS)) for _ in range(LATE_BATCH)])
        return self._timed(batches) / LATE

    def in_order(self) -> float:
        batches = [[self._new(self._later()) for _ in range(OTHERS_BATCH)] for _ in range(OTHERS // OTHERS_BATCH)]
        return self._timed(batches) / OTHERS

    def refunds(self) -> float:
        batches = [
            [self._refund(self._refundable.pop(), self._later()) for _ in range(OTHERS_BATCH)]
            for _ in range(OTHERS // OTHERS_BATCH)
        ]
        return self._timed(batches) / OTHERS

    def reaching(self) -> float:
        """For each referral that follows."""
        place = self._later()
        self._stage(self._new(self._later()) for _ in range(FOLLOWING))
        self._settle()
        return self._timed([[self._new(place)] for _ in range(REACHING)]) / REACHING / FOLLOWING

    def middle(self) -> float:
        """One referral before half of those taken in first, and all since; for each of them."""
        place = self._first_at(self._before // 2) - 1
        following = self._count - self._before // 2
        return self._timed([[self._new(place)]]) / following

    def _later(self) -> int:
        self._now += SPACING_MS
        return self._now

    def _new(self, at: int) -> Contribution:
        self._count += 1
        return contribution(self._id, self._count - 1, at)

    def _refund(self, number: int, at: int) -> Contribution:
        return contribution(self._id, number, self._first_at(number), at)

    def _timed(self, batches: Sequence[Sequence[Contribution]]) -> float:
        began = time.thread_time()
        for batch in batches:
            self._stage(batch)
            self._settle()
        return (time.thread_time() - began) * 1e6

    def _stage(self, contributions: Iterable[Contribution]) -> None:
        batch = WriteBatch()
        self._step.stage(contributions, batch)
        self._store.write(batch)

    def _settle(self) -> None:
        for settled in self._step.settle():
            self._store.write(settled.notes)
            self._store.write(settled.batch)


def serve(pipe: Connection, referrals: int, programs: int) -> None:
    """A process's whole life. It works only between a message and its answer."""
    ids = [f"grown-{number}" for number in range(programs)]
    with tempfile.TemporaryDirectory(prefix="crosscredit-bench-") as folder:
        pipe.recv()
        store = RocksStore(Path(folder))
        for each in ids:
            Growing(store, each, referrals).take_in()
        _await_background()
        store.close()
        store = RocksStore(Path(folder))
        growing = [Growing(store, each, referrals) for each in ids]
        _await_background()
        background = _background()
        pipe.send(None)
        while (asked := pipe.recv()) is not None:
            turn, kind = asked
            pipe.send(growing[turn % programs].cost(kind, turn))
        _await_background()
        background = _background() - background
        closing = time.process_time()
        store.close()
        pipe.send((background + time.process_time() - closing) * 1e6)
        if pipe.recv():
            store = RocksStore(Path(folder))
            growing[0].open(store)
            pipe.send(growing[0].middle())
            store.close()


def _background() -> float:
    """CPU seconds of all threads but this one."""
    return time.process_time() - time.thread_time()


def _await_background() -> None:
    """Wait until RocksDB's threads rest."""
    before = float("-inf")
    while _background() - before > 0.001:
        before = _background()
        time.sleep(1)


class Size:
    """The other end of :func:`serve`, which takes in the referrals."""

    def __init__(self, referrals: int, turns: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.costs: dict[int, list[float]] = {kind: [] for kind in range(len(KINDS))}
        self._pipe, theirs = spawn.Pipe()
        arguments = (theirs, referrals, turns if referrals <= max(SMALL, turns * OTHERS) else 1)
        self._process = spawn.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.ask(None)

    def ask(self, message: object) -> Any:
        self._pipe.send(message)
        return self._pipe.recv()

    def turn(self, number: int, kind: int) -> None:
        self.costs[kind].append(self.ask((number, kind)))

    def end(self, *, middle: bool) -> tuple[float, float | None]:
        """What RocksDB's threads did, an event, and what one referral in the middle cost for each that follows."""
        background = self.ask(None) / (len(self.costs[0]) * EVENTS)
        self._pipe.send(middle)
        cost = self._pipe.recv() if middle else None
        self._process.join()
        return background, cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--referrals", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--middle", action="store_true")
    arguments = parser.parse_args()
    if min(arguments.referrals) < OTHERS:
        parser.error(f"--referrals: at least {OTHERS}, for so many are refunded")
    if arguments.turns * OTHERS > MOST_REFUNDS:
        parser.error(f"--turns: at most {MOST_REFUNDS // OTHERS}")
    sizes = {referrals: Size(referrals, arguments.turns) for referrals in arguments.referrals}
    for turn in range(arguments.turns):
        for kind in range(len(KINDS)):
            for size in list(sizes.values())[:: -1 if turn % 2 else 1]:
                size.turn(turn, kind)
    most = max(sizes)
    ends = {referrals: size.end(middle=arguments.middle and referrals == most) for referrals, size in sizes.items()}

    print(f"{'CPU us an event':<24}{''.join(f'{referrals:>12,}' for referrals in sizes)}   largest / smallest")
    costs = {referrals: list(map(statistics.median, size.costs.values())) for referrals, size in sizes.items()}
    for kind, name in enumerate(KINDS):
        _row(name, {referrals: costs[referrals][kind] for referrals in sizes})
    _row("RocksDB's threads", {referrals: background for referrals, (background, _) in ends.items()})
    _row("late, and these threads", {referrals: costs[referrals][0] + ends[referrals][0] for referrals in sizes})
    middle = ends[most][1]
    if middle is not None:
        print(f"in the middle of {most:,}, a follower: {middle:,.1f}")


def _row(name: str, figures: dict[int, float]) -> None:
    ratio = figures[max(figures)] / figures[min(figures)] if figures[min(figures)] else float("nan")
    print(f"{name:<24}{''.join(f'{figure:>12,.1f}' for figure in figures.values())}{ratio:>21.2f}")


if __name__ == "__main__":
    main()
