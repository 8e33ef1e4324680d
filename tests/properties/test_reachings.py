"""How often a milestone was reached is how often the reference pays its award."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pipeline.domain.earnings import MilestoneState
from pipeline.domain.terms import Program
from pipeline.steps.earnings import EarningsStep
from tests.properties.solved import in_any_order, seeds_in_parts, solved

Paid = Counter[tuple[str, str]]  # awards and revocations by program


def pays_each(program: Program) -> bool:
    """Whether every reaching of its milestones is an award to each member."""
    return all(each.award_minor and each.scope != "program" for terms in program.versions for each in terms.milestones)


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_REACHED_WORLDS", 120, 2, first=140_000), ids=str)
def test_reachings_are_counted_as_awards_are_paid(seeds: range) -> None:
    seen: Paid = Counter()
    for seed in seeds:
        world, expected = solved(seed)
        pipeline = in_any_order(world, random.Random(seed))
        programs = {program_id for program_id, each in pipeline.catalogue.programs.items() if pays_each(each)}
        paid: Paid = Counter(
            (entry["kind"], entry["program_id"]) for entry in expected["ledger_entries"]
            if entry["program_id"] in programs and entry["kind"] in ("milestone_award", "milestone_revocation")
        )  # fmt: skip
        counted: Paid = Counter()
        step = EarningsStep(pipeline.store, pipeline.catalogue)
        for program_id in programs:
            for counter, state in step._ledger(program_id).counters.items():
                if isinstance(state, MilestoneState):
                    members = len(counter[2].split("+"))
                    counted["milestone_award", program_id] += state.reachings * members
                    counted["milestone_revocation", program_id] += state.revocations * members
        assert +counted == paid, f"seed {seed}"
        seen.update((kind, "") for kind, _ in paid.elements())
    assert seen["milestone_award", ""] > seen["milestone_revocation", ""] > 0
