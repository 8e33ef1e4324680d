"""Worlds with the reference's answer, and what the laws do to their events: shuffle, repeat, split."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from tests.properties.harness import Pipeline
from tests.properties.worlds import World, random_world
from tests.reference.oracle import compute

Row = dict[str, Any]
Placed = list[tuple[int, Row]]
"""Events, each with its position in the source."""


def seeds_in_parts(name: str, count: int, parts: int, first: int = 0) -> list[range]:
    """The seeds of ``count`` worlds (or as many as the environment variable ``name`` says) in parts for both cores."""
    count = int(os.environ.get(name, count))
    edges = [first + count * part // parts for part in range(parts + 1)]
    return [range(start, end) for start, end in pairwise(edges)]


@lru_cache(maxsize=64)
def solved(seed: int, most_events: int = 60) -> tuple[World, dict[str, list[Row]]]:
    """The world of a seed and the reference's answer."""
    world = random_world(seed, most_events)
    return world, compute(world.programs, world.events)


def placed(events: Sequence[Row]) -> Placed:
    """The events at their places."""
    return list(enumerate(events))


def chunks_of(events: Sequence[Any], chooser: random.Random) -> Iterator[list[Any]]:
    """The events in one to five or so chunks."""
    start = 0
    while start < len(events):
        size = chooser.randint(1, max(1, len(events) // 2))
        yield list(events[start : start + size])
        start += size


def jumbled(world: World, chooser: random.Random) -> list[list[list[Row]]]:
    """The events in any order, three in ten of them twice, in several runs of several chunks."""
    events = [*world.events, *(event for event in world.events if chooser.random() < 0.3)]
    chooser.shuffle(events)
    return [list(chunks_of(run, chooser)) for run in chunks_of(events, chooser)]


def in_any_order(world: World, chooser: random.Random) -> Pipeline:
    """The pipeline after the world's events came once each, in any order, in several runs."""
    events = placed(world.events)
    chooser.shuffle(events)
    pipeline = Pipeline(world.programs)
    for part in chunks_of(events, chooser):
        pipeline.run([part])
    return pipeline


DUPLICATES = "duplicate_order"


def wherever_read(outcomes: dict[str, list[Row]], are_bad_ones_kept: bool = False) -> dict[str, list[Row]]:
    """Outcomes without what depends on the order of reading: of a duplicate order, which copy was read first.

    Bad records are left out too, unless they are kept: one that comes twice is listed twice.
    """
    dead = [row if row["reason"] != DUPLICATES else {"reason": DUPLICATES} for row in outcomes["dead_letters"]]
    return outcomes | {"dead_letters": [row for row in dead if are_bad_ones_kept or row["reason"] == DUPLICATES]}
