"""What may happen in a run of the simulation."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.reference.examples import DAY


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

    @property
    def allowed_ms(self) -> int:
        """The allowed lateness."""
        return self.lateness_ms if self.lateness_ms is not None else 100_000 * DAY


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
