"""A season of cross-promotion between a bakery, a coffee roaster, a bookshop, a cheesemonger and a florist.

:func:`write_season` makes up half a year of clicks, sign-ups, orders and refunds from a seed and writes them as the
exports of product systems. Customers come from scenes with a known ending (:mod:`pipeline.demo.scenes` and its
neighbours), so the generator knows what the pipeline must find; :func:`check_season` compares.
"""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path
from random import Random
from typing import Final

from pipeline.demo.cast import terms_files
from pipeline.demo.delivery import deliver, sent
from pipeline.demo.featured import tell_featured_stories
from pipeline.demo.mishaps import bad_records, repeated
from pipeline.demo.scenes import SIGN_UP_SCENES
from pipeline.demo.scenes_by_order import ORDER_SCENES
from pipeline.demo.story import World
from pipeline.demo.truth import SeasonTruth, check_season, known_figures
from pipeline.demo.visitors import visits

__all__ = ["LEAST_EVENTS", "SeasonTruth", "check_season", "write_season"]

LEAST_EVENTS: Final = 3_000
"""The featured stories alone, with some visitors around them, take this many."""
_CROWD: Final = {
    "bakery-table": 30,
    "roaster-circle": 24,
    "bookshop-readers": 18,
    "cheese-board": 13,
    "florist-bloom": 8,
    "florist-creators": 7,
}
"""Customers of the crowd by program, in parts of a hundred."""


def write_season(directory: Path, seed: int = 2026, events: int = 250_000) -> SeasonTruth:
    """Write a season of exactly ``events`` records: ``events/`` (exports), ``programs/`` (terms) and ``truth.json``.

    The same seed and number give the same bytes. ValueError if ``events`` is below :data:`LEAST_EVENTS`.
    """
    if events < LEAST_EVENTS:
        raise ValueError(f"a season needs at least {LEAST_EVENTS} events, not {events}; ask for more")
    world = World(Random(seed))  # noqa: S311 - a made-up season, not a secret
    tell_featured_stories(world)
    scenes = {**SIGN_UP_SCENES, **ORDER_SCENES}
    for program_id, parts in _CROWD.items():
        chosen = scenes[program_id]
        customers = events * parts // 6_000  # some 4 200 in a season of 250 000 events
        for scene in world.rng.choices(list(chosen), list(chosen.values()), k=customers):
            scene(world, world.programs[program_id])
    bad, dead_letters = bad_records(world, events // 1_000)
    repeats = events * 12 // 1_000
    standing = [sent(event) for event in world.events]
    standing += visits(world, events - repeats - len(bad) - len(standing))
    again = repeated(world.rng, standing, repeats)
    records, late = deliver(world.rng, chain(standing, bad), again, directory / "events")
    programs = directory / "programs"
    programs.mkdir(parents=True, exist_ok=True)
    for path in terms_files():
        shutil.copyfile(path, programs / path.name)
    truth = SeasonTruth(
        seed, records, repeats, late, known_figures(world, standing, dead_letters), world.known.showcases
    )
    truth.write(directory / "truth.json")
    return truth
