"""Worlds for property tests: valid programs with events that press on the edges of their terms.

A world is built from primitive choices only. `worlds()` lets Hypothesis make them, so that a failing world shrinks;
`random_world(seed)` lets a seeded generator make the very same kind of choices, for runs of thousands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st

from tests.properties.choices import Choices, Drawn, Seeded
from tests.properties.world_events import Event, build_events
from tests.properties.world_terms import Table, build_programs

# Within a few days of each: clock changes of the zones above, ends of months, quarters, years and ISO years.
ANCHORS = ((2026, 3, 28), (2026, 3, 7), (2026, 4, 3), (2026, 12, 29), (2024, 12, 28), (2025, 10, 24), (2026, 6, 29))


@dataclass(frozen=True)
class World:
    """Program files as tomllib would load them, and events in arrival order with `occurred_at` in milliseconds."""

    programs: list[Table]
    events: list[Event]


def build_world(choose: Choices, most_events: int = 60) -> World:
    """One world out of the given choices."""
    anchor = datetime(*choose.pick(ANCHORS), tzinfo=UTC)
    programs = build_programs(choose, anchor)
    return World(programs, build_events(choose, programs, anchor, most_events))


def random_world(seed: int, most_events: int = 60) -> World:
    """The world of a seed: fast, the same everywhere, and not shrinkable."""
    return build_world(Seeded(seed), most_events)


@st.composite
def worlds(draw: st.DrawFn, most_events: int = 40) -> World:
    """Worlds that shrink to few events under plain terms."""
    return build_world(Drawn(draw), most_events)


@st.composite
def program_sets(draw: st.DrawFn) -> list[Table]:
    """Valid sets of program files alone."""
    return build_programs(Drawn(draw), datetime(*ANCHORS[0], tzinfo=UTC))
