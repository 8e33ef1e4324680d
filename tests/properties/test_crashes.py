"""A process that ends anywhere loses nothing and doubles nothing: the same input is simply run again."""

from __future__ import annotations

import random
from functools import partial

import pytest

from pipeline.embedded import engine
from pipeline.steps.earnings import EarningsStep
from tests.properties.crashes import AFTER, BEFORE, HALF_WAY, Fate, FatedSink, FatedStore, Killed, contents
from tests.properties.harness import Pipeline, answer, differences
from tests.properties.solved import Placed, chunks_of, placed, seeds_in_parts, solved, wherever_read
from tests.properties.worlds import World

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


@pytest.mark.parametrize("seed", [3, 11, 17, 42, 77, 101])
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


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_KILLED_WORLDS", 100, 4, first=50_000), ids=str)
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


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_NEGLECTED_WORLDS", 100, 4, first=60_000), ids=str)
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
