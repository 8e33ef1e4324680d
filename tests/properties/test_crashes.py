"""A process that ends anywhere loses nothing and doubles nothing: the same input is simply run again."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from pipeline.embedded import engine
from pipeline.steps.earnings import EarningsStep
from tests.properties.crashes import AFTER, BEFORE, HALF_WAY, Fate, FatedSink, FatedStore, Killed, contents
from tests.properties.harness import Pipeline, StandingSink, answer, differences
from tests.properties.solved import Placed, chunks_of, placed, seeds_in_parts, solved, wherever_read
from tests.properties.worlds import World
from tests.reference.examples import HOUR, click, day, order, program, referred, sign_up
from tests.reference.oracle import compute

STATE = ("clicks", "bindings", "facts", "contributions", "timeline", "counters", "dirty")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two customers and three elements at a time, so that there are many points at which to end."""
    monkeypatch.setattr(engine, "CUSTOMERS_AT_ONCE", 2)
    monkeypatch.setattr(engine, "EarningsStep", partial(EarningsStep, segment=3))


def fated(world: World) -> tuple[Pipeline, Fate]:
    """A pipeline that ends when its fate says so."""
    fate = Fate()
    return Pipeline(world.programs, FatedStore(fate), FatedSink(fate)), fate


def survives(pipeline: Pipeline, chunks: list[Placed], source: str = "events.jsonl") -> bool:
    """Whether a run comes to its end."""
    try:
        pipeline.run(chunks, source)
    except Killed:
        return False
    return True


@pytest.mark.parametrize("seed", [3, 17, 42, 101])
def test_killed_at_any_point_and_run_again(seed: int) -> None:
    world, expected = solved(seed, most_events=30)
    chunks = list(chunks_of(placed(world.events), random.Random(seed)))
    unharmed, fate = fated(world)
    assert survives(unharmed, chunks)
    assert differences(answer(unharmed.sink), expected) == []
    state = contents(unharmed.store, *STATE)

    for call in range(fate.calls):
        for when in (BEFORE, HALF_WAY, AFTER):
            pipeline, fate = fated(world)
            fate.kill_at(call, when)
            assert not survives(pipeline, chunks)
            assert survives(pipeline, chunks)
            assert differences(answer(pipeline.sink), expected) == [], f"killed {when} call {call}"
            assert contents(pipeline.store, *STATE) == state, f"killed {when} call {call}"


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_KILLED_WORLDS", 60, 4, first=50_000), ids=str)
def test_killed_again_and_again(seeds: range) -> None:
    for seed in seeds:
        world, expected = solved(seed)
        chooser = random.Random(seed)
        chunks = list(chunks_of(placed(world.events), chooser))
        pipeline, fate = fated(world)
        for chance in (0.5, 0.3, 0.2, 0.1, 0.1, 0.05):
            fate.kill_often(chooser, chance)
            survives(pipeline, chunks)
        fate.relent()
        assert survives(pipeline, chunks)
        assert differences(answer(pipeline.sink), expected) == [], f"seed {seed}"


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_NEGLECTED_WORLDS", 60, 4, first=60_000), ids=str)
def test_more_input_after_a_killed_run_that_is_repeated_only_at_the_end(seeds: range) -> None:
    for seed in seeds:
        world, expected = solved(seed)
        chooser = random.Random(seed)
        sources = {f"{number}.jsonl": part for number, part in enumerate(chunks_of(placed(world.events), chooser))}
        pipeline, fate = fated(world)
        fate.kill_often(chooser, 0.15)
        for _ in range(2):
            for name, events in sources.items():
                survives(pipeline, list(chunks_of(events, chooser)), name)
        fate.relent()
        for name, events in sorted(sources.items(), key=lambda _: chooser.random()):
            assert survives(pipeline, [events], name)
        got = wherever_read(answer(pipeline.sink), are_bad_ones_kept=True)
        assert differences(got, wherever_read(expected, are_bad_ones_kept=True)) == [], f"seed {seed}"


class KilledAt(StandingSink):
    """Ends the process once, just after a table's rows arrived."""

    def __init__(self, table: str) -> None:
        super().__init__()
        self._table = table

    def insert_rows(self, table: str, rows: Any, columns: Any) -> None:
        super().insert_rows(table, rows, columns)
        if table == self._table:
            self._table = ""
            raise Killed


@pytest.mark.parametrize("table", ["attributions", "referrals", "ledger_entries", "milestones"])
def test_outcomes_that_arrived_before_the_kill_are_withdrawn_if_later_input_moves_the_credit(table: str) -> None:
    """The bakery's commission arrived; then a later click of the roaster turns up, and the order is the roaster's."""
    goal = {"id": "goal", "metric": "qualified_referrals", "threshold": 1, "period": "all_time", "award_minor": 5}
    programs = [program(milestone=[goal])]
    first = [*referred("ann", day(1), "bakery"), order(day(2), 1_000)]
    late = click(day(1) + HOUR // 2, "roaster", "k2", visitor_id="v-ann")
    pipeline = Pipeline(programs, sink=KilledAt(table))
    assert not survives(pipeline, [placed(first)])
    assert survives(pipeline, [[(3, late)]])
    got = answer(pipeline.sink)
    assert sorted((entry["partner_id"], entry["amount_minor"]) for entry in got["ledger_entries"]) == [
        ("roaster", 5),
        ("roaster", 100),
    ]
    assert differences(got, compute(programs, [*first, late])) == []


def test_a_click_whose_better_copy_arrived_just_before_the_kill() -> None:
    """Two copies of a click differ in their link; the one that counts came second, and the process ended with it."""
    programs = [program()]
    plain, linked = click(day(1)), click(day(1), link_id="from-the-newsletter")  # "link_id" sorts before "occurred_at"
    pipeline, fate = fated(World(programs, []))
    assert survives(pipeline, [[(0, plain)]])
    fate.kill_at(fate.calls, AFTER)
    assert not survives(pipeline, [[(1, linked)]])
    rest = [(1, linked), (2, sign_up(day(2)))]
    assert survives(pipeline, [rest])
    assert differences(answer(pipeline.sink), compute(programs, [plain, linked, rest[1][1]])) == []
    assert [row["link_id"] for row in answer(pipeline.sink)["attributions"]] == ["from-the-newsletter"]
