"""However workers come, go, die and lose their disks: ClickHouse ends with what the reference says, row for row.

``CROSSCREDIT_SCHEDULES`` is how many schedules of each kind are played (default 40). A failure prints its schedule;
``python -c 'from tests.agents.simulation import replay; replay(SEED)'`` plays it again.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.agents.options import options_of
from tests.agents.reached import miscounted
from tests.agents.simulation import Simulation
from tests.properties.solved import seeds_in_parts
from tests.reference.examples import DAY, HOUR

LATENESS = (HOUR, 6 * HOUR, DAY)


def schedules(first: int, share: float = 1.0) -> Any:
    return pytest.mark.parametrize(
        "seeds", seeds_in_parts("CROSSCREDIT_SCHEDULES", round(60 * share), 2, first=first), ids=str
    )


@schedules(0)
def test_any_schedule_ends_with_the_right_answer(seeds: range) -> None:
    for seed in seeds:
        simulation = Simulation(options_of(seed, zombies=False))
        simulation.run()
        check_counts(simulation)


@schedules(400_000, 0.5)
def test_what_zombies_emit_is_withdrawn(seeds: range) -> None:
    """Workers that lost a partition without noticing go on for a while, and send what they believe."""
    for seed in seeds:
        Simulation(options_of(seed, violence=2, kills=True, zombies=True, redelivery=True)).run()


@schedules(100_000, 0.5)
def test_one_worker_that_is_killed_admits_late_events_neither_twice_nor_after_they_were_final(seeds: range) -> None:
    for seed in seeds:
        options = options_of(
            seed, lateness_ms=LATENESS[seed % 3], workers=1, moves=False, wipes=False, zombies=False
        )  # fmt: skip
        Simulation(options).run()


@schedules(300_000, 0.5)
def test_replayed_late_events_count_and_are_late_no_longer(seeds: range) -> None:
    for seed in seeds:
        options = options_of(
            seed, lateness_ms=LATENESS[seed % 3], workers=1, moves=False, wipes=False, zombies=False, replays=True
        )  # fmt: skip
        Simulation(options).run()


def test_replayed_late_events_survive_lost_disks() -> None:
    for seed in range(300_000, 300_020):
        options = options_of(
            seed, lateness_ms=LATENESS[seed % 3], workers=1, moves=False, wipes=True, zombies=False, replays=True
        )  # fmt: skip
        Simulation(options).run()


def check_counts(simulation: Simulation) -> None:
    """Milestones are counted each time that they are reached, whoever is killed; and no running check failed."""
    wrong = miscounted(simulation)
    wrong += [str(key) for counts in simulation.all_counts for key in counts if key[0] == "violated"]
    assert not wrong, "\n".join([f"seed {simulation.options.seed}", *simulation.schedule, "", *wrong])


def test_every_record_is_counted_once() -> None:
    """Without faults: each is new, a repeat, late, dead or sent on, and there are some of each."""
    seen: set[str] = set()
    for seed in range(200_000, 200_012):
        options = options_of(
            seed, lateness_ms=HOUR, kills=False, wipes=False, moves=False, zombies=False, redelivery=False,
            retries=False, strays=False, misplaced=True, garbage=True, copies=50,
        )  # fmt: skip
        simulation = Simulation(options)
        simulation.run()
        counts = simulation.counts()
        for record in ("click", "sign_up", "order", "refund"):
            kinds = ("applied", "repeated", "late", "dead_letter", "misplaced")
            assert sum(counts[record, kind] for kind in kinds) == counts[record, "consumed"], f"seed {seed}"
            assert counts[record, "consumed"] == simulation.records(record), f"seed {seed}"
            seen.update(kind for kind in kinds if counts[record, kind])
    assert seen == {"applied", "repeated", "late", "dead_letter", "misplaced"}
