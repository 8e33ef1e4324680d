"""EARNINGS folds a program's timeline piece by piece, and comes to what one fold from the beginning comes to."""

from __future__ import annotations

import random
from functools import partial
from itertools import count
from typing import Any

import pytest

from pipeline.domain.contribution import Contribution
from pipeline.domain.earnings import Advance, advance
from pipeline.embedded import engine
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps import earnings
from pipeline.steps.earnings import EarningsStep
from tests.properties.crashes import contents
from tests.properties.harness import Pipeline, answer, catalogue_from, differences, run
from tests.properties.solved import in_any_order, jumbled, placed, seeds_in_parts, solved, wherever_read
from tests.reference.examples import day, order, program, referred

FOLDED = ("contributions", "timeline", "counters")


@pytest.mark.parametrize("segment", [1, 2, 3])
@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_SEGMENTED_WORLDS", 40, 2, first=100_000), ids=str)
def test_small_segments_and_batches_change_nothing(seeds: range, segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CUSTOMERS_AT_ONCE", segment)
    monkeypatch.setattr(engine, "EarningsStep", partial(EarningsStep, segment=segment))
    monkeypatch.setattr(earnings, "_REMEMBERED_MEMOS", 2)
    for seed in seeds:
        world, expected = solved(seed)
        got = answer(run(world.programs, jumbled(world, random.Random(seed))))
        assert differences(wherever_read(got), wherever_read(expected)) == [], f"seed {seed}"


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_FOLDED_WORLDS", 60, 2, first=110_000), ids=str)
def test_the_fold_in_pieces_leaves_the_state_of_one_fold(seeds: range) -> None:
    for seed in seeds:
        world, _ = solved(seed)
        at_once = Pipeline(world.programs)
        at_once.run([placed(world.events)])
        in_pieces = in_any_order(world, random.Random(seed))
        assert folded_state(in_pieces.store) == folded_state(at_once.store), f"seed {seed}"


def folded_state(store: MemoryStore) -> dict[str, Any]:
    """What EARNINGS keeps, but for the versions of contributions: those count copies, and which came first decides."""
    state: dict[str, Any] = contents(store, *FOLDED)
    state["contributions"] = {
        key: earnings._decode_contribution(value).elements for key, value in state["contributions"].items()
    }
    return {**state, "contributions": {key: elements for key, elements in state["contributions"].items() if elements}}


class Folds:
    """Counts the elements that are folded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._calls = count()
        monkeypatch.setattr(earnings, "advance", self._advance)
        self._seen = 0

    def _advance(self, *arguments: Any) -> Advance:
        next(self._calls)
        return advance(*arguments)

    def since_last_asked(self) -> int:
        total = next(self._calls)
        self._calls = count(total)
        seen, self._seen = self._seen, total
        return total - seen


def test_a_late_contribution_folds_only_what_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred customers sign up on day 1, and order one a day from day 2 on: 200 elements."""
    folds = Folds(monkeypatch)
    programs = [program(tier=[{"from": 50, "period": "all_time", "rate_bps": 2_000}])]
    pipeline = Pipeline(programs)
    customers = [f"c{number:03}" for number in range(100)]
    events = [event for customer in customers for event in referred(customer, day(1))]
    events += [order(day(2 + number), 100, name, f"o-{name}") for number, name in enumerate(customers)]
    pipeline.run([placed(events)])
    assert folds.since_last_asked() == 200

    late = [(len(events), order(day(91.5), 100, "c000", "late"))]  # after 90 of the orders
    pipeline.run([late])
    assert folds.since_last_asked() == 1 + 10

    newest = [(len(events) + 1, order(day(300), 100, "c000", "newest"))]
    pipeline.run([newest])
    assert folds.since_last_asked() == 1

    pipeline.run([late, newest, placed(events)])
    assert folds.since_last_asked() == 0


def test_many_late_contributions_of_one_run_are_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = Folds(monkeypatch)
    monkeypatch.setattr(engine, "CUSTOMERS_AT_ONCE", 1)
    pipeline = Pipeline([program()])
    customers = [f"c{number:02}" for number in range(20)]
    events = [event for customer in customers for event in referred(customer, day(1))]
    pipeline.run([placed(events)])
    assert folds.since_last_asked() == 20
    orders = [order(day(30 - number), 100, name, f"o-{name}") for number, name in enumerate(customers)]
    pipeline.run([list(enumerate(orders, len(events)))])
    assert folds.since_last_asked() == 20


def test_a_stale_contribution_is_ignored() -> None:
    """One of a lower version arrives after a newer one, as it may when a hand-over is repeated."""
    catalogue = catalogue_from([program()])
    store = MemoryStore()
    step = EarningsStep(store, catalogue)
    pipeline = Pipeline([program()])
    pipeline.run([placed([*referred("ann", day(1)), order(day(2))])])
    ((_, encoded),) = pipeline.store.scan("contributions", b"")
    newer = earnings._decode_contribution(encoded)
    for contribution in (newer, Contribution("friends", "ann", newer.version - 1, ())):
        batch = WriteBatch()
        step.stage([contribution], batch)
        store.write(batch)
        for settled in step.settle():
            store.write(settled.notes)
            store.write(settled.batch)
    assert contents(store, *FOLDED) == contents(pipeline.store, *FOLDED)
