"""What a referral comes to by how it stands now is the sum of its ledger entries, in any world."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from pipeline.domain import earnings as folding
from pipeline.domain.contribution import Contribution
from pipeline.domain.terms import Catalogue
from pipeline.state.memory import MemoryStore
from pipeline.steps.earnings import EarningsStep
from tests.properties.harness import Pipeline, catalogue_from
from tests.properties.solved import in_any_order, placed, seeds_in_parts, solved


def imbalances(store: MemoryStore, catalogue: Catalogue) -> tuple[int, list[Any]]:
    """How many referrals there are, and what is wrong with any."""
    step = EarningsStep(store, catalogue)
    found = [msgspec.msgpack.decode(value, type=Contribution) for _, value in store.scan("contributions", b"")]
    return len(found), [wrong for each in found for wrong in step.imbalances(each.program_id, each.customer_id)]


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_BALANCED_WORLDS", 80, 2, first=130_000), ids=str)
def test_every_referral_balances(seeds: range) -> None:
    referrals = 0
    for seed in seeds:
        world, _ = solved(seed)
        pipeline = in_any_order(world, random.Random(seed))
        count, wrong = imbalances(pipeline.store, catalogue_from(world.programs))
        assert not wrong, f"seed {seed}: {wrong}"
        referrals += count
    assert referrals > 2 * len(seeds)


@pytest.mark.parametrize("kind", ["accrual", "clawback", "bonus", "bonus_clawback", "customer_reward"])
def test_an_entry_that_is_missing_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = folding._Fold.enter

    def forgetful(self: Any, entered: str, *arguments: Any, **options: Any) -> None:
        if entered != kind:
            real(self, entered, *arguments, **options)

    monkeypatch.setattr(folding._Fold, "enter", forgetful)
    for seed in range(130_000, 130_200):
        world, _ = solved(seed)
        pipeline = Pipeline(world.programs)
        pipeline.run([placed(world.events)])
        if imbalances(pipeline.store, catalogue_from(world.programs))[1]:
            return
    pytest.fail("nobody noticed")
