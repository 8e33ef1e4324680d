"""Terms that change between two runs: everything is derived afresh under the new ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.embedded.engine import TermsChangedError
from tests.properties.crashes import Fate, FatedSink, FatedStore, Killed
from tests.properties.harness import Pipeline, answer, differences
from tests.properties.solved import chunks_of, placed, seeds_in_parts, solved, wherever_read
from tests.properties.worlds import World, random_world
from tests.reference.oracle import compute
from tests.reference.world_coverage import REMOVALS

Programs = list[dict[str, Any]]


def without_later_versions(programs: Programs) -> Programs:
    """Of each program only its first version, as before anybody wrote another."""
    first: dict[str, dict[str, Any]] = {}
    for terms in sorted(programs, key=lambda terms: terms["program"]["version"]):
        first.setdefault(terms["program"]["id"], terms)
    return list(first.values())


def without(remove: Callable[[dict[str, Any]], None]) -> Callable[[Programs], Programs]:
    """The programs without one of their terms, as before somebody corrected them."""

    def earlier(programs: Programs) -> Programs:
        programs = copy.deepcopy(programs)
        for terms in programs:
            remove(terms)
        return programs

    return earlier


def refused(programs: Programs, world: World) -> list[Any]:
    """What is not admitted under these terms: the same before and after, or the events differ, not the terms."""
    return compute(programs, world.events)["dead_letters"]


EARLIER = [without_later_versions, *(without(remove) for remove in REMOVALS.values())]


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_CHANGED_WORLDS", 120, 4, first=70_000), ids=str)
def test_under_new_terms_everything_is_derived_afresh(seeds: range) -> None:
    compared = 0
    for seed in seeds:
        world, expected = solved(seed)
        chooser = random.Random(seed)
        before = (EARLIER[0] if seed % 2 else chooser.choice(EARLIER[1:]))(world.programs)
        if before == world.programs or refused(before, world) != expected["dead_letters"]:
            continue
        compared += 1
        parts = [*chunks_of(placed(world.events), chooser)]
        known, new = parts[: len(parts) // 2], parts[len(parts) // 2 :]
        pipeline = Pipeline(before)
        pipeline.run(known)
        pipeline.change_terms(world.programs)
        pipeline.run(new)
        assert differences(answer(pipeline.sink), expected) == [], f"seed {seed}"
    assert compared > len(seeds) / 4


def test_back_to_the_old_terms_without_any_new_event() -> None:
    for seed in range(80_000, 80_030):
        world, expected = solved(seed)
        before = without_later_versions(world.programs)
        pipeline = Pipeline(world.programs)
        pipeline.run([placed(world.events)])
        pipeline.change_terms(before)
        pipeline.run([])
        got = answer(pipeline.sink)
        if refused(before, world) == expected["dead_letters"]:
            assert differences(got, compute(before, world.events)) == [], f"seed {seed}"
        pipeline.change_terms(world.programs)
        pipeline.run([])
        assert differences(answer(pipeline.sink), expected) == [], f"seed {seed}"


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_CHANGED_KILLED_WORLDS", 30, 2, first=90_000), ids=str)
def test_killed_while_terms_change(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.embedded.engine.CUSTOMERS_AT_ONCE", 2)
    for seed in seeds:
        world, expected = solved(seed)
        chooser = random.Random(seed)
        before = without_later_versions(world.programs)
        if refused(before, world) != expected["dead_letters"]:
            continue
        fate = Fate()
        pipeline = Pipeline(before, FatedStore(fate), FatedSink(fate))
        fate.kill_often(chooser, 0.08)
        for number in range(8):
            pipeline.change_terms(before if number in (0, 1, 4) else world.programs)
            try:
                pipeline.run(chunks_of(placed(world.events), chooser))
            except Killed:
                continue
        fate.relent()
        pipeline.run([placed(world.events)])
        got = wherever_read(answer(pipeline.sink), are_bad_ones_kept=True)
        assert differences(got, wherever_read(expected, are_bad_ones_kept=True)) == [], f"seed {seed}"


def test_a_program_that_is_no_longer_given_is_named_with_a_remedy() -> None:
    world = next(
        world for world in map(random_world, range(50)) if len({p["program"]["id"] for p in world.programs}) > 1
    )
    pipeline = Pipeline(world.programs)
    pipeline.run([placed(world.events)])
    missing = world.programs[0]["program"]["id"]
    pipeline.change_terms([terms for terms in world.programs if terms["program"]["id"] != missing])
    with pytest.raises(TermsChangedError, match=f"outcomes of {missing}.*--program.*--database"):
        pipeline.run([])
