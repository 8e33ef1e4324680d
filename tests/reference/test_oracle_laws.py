"""Laws that the reference must keep on every world; they need no second implementation."""

from __future__ import annotations

import random
from collections import defaultdict
from functools import lru_cache

import pytest

from tests.properties.worlds import World, random_world

from .oracle import Row, compute

OUTCOMES = ("attributions", "referrals", "ledger_entries", "milestones", "clicks", "sign_ups", "orders", "refunds")
SEEDS = range(100)


@lru_cache(maxsize=len(SEEDS))
def solved(seed: int) -> tuple[World, dict[str, list[Row]]]:
    """The world of a seed and its answer."""
    world = random_world(seed)
    return world, compute(world.programs, world.events)


@pytest.mark.parametrize("first", SEEDS[::50])
def test_arrival_order_and_repeats_change_nothing(first: int) -> None:
    for seed in range(first, first + 50):
        world, answer = solved(seed)
        again = [*world.events, *world.events[::2]]
        random.Random(seed).shuffle(again)
        other = compute(world.programs[::-1], again)
        assert {name: other[name] for name in OUTCOMES} == {name: answer[name] for name in OUTCOMES}, seed


def test_shares_of_a_credited_conversion_sum_to_the_whole() -> None:
    for seed in SEEDS:
        shares: dict[tuple[str | None, ...], int] = defaultdict(int)
        for row in solved(seed)[1]["attributions"]:
            shares[row["brand_id"], row["conversion_type"], row["customer_id"], row["conversion_id"]] += row[
                "share_bps"
            ]
            explained = sum(t["share_bps"] for t in row["explanation"])
            assert explained == (10_000 if row["partner_id"] else 0), seed
        assert set(shares.values()) <= {0, 10_000}, seed


def test_what_is_taken_back_never_exceeds_what_was_given() -> None:
    """By program, partner, customer and order no kind of entry sums below 0, and rejected referrals have none."""
    gives = {"clawback": "accrual", "bonus_clawback": "bonus", "customer_reward_clawback": "customer_reward"}
    gives["milestone_revocation"] = "milestone_award"
    for seed in SEEDS:
        answer = solved(seed)[1]
        rejected = {(r["program_id"], r["customer_id"]) for r in answer["referrals"] if r["status"] == "rejected"}
        sums: dict[tuple[str | None, ...], int] = defaultdict(int)
        for row in answer["ledger_entries"]:
            assert row["amount_minor"] * (-1 if row["kind"] in gives else 1) > 0, seed
            assert row["payable_at"] >= row["occurred_at"], seed
            assert (row["program_id"], row["customer_id"]) not in rejected, seed
            kind = gives.get(row["kind"], row["kind"])
            sums[kind, row["program_id"], row["partner_id"], row["customer_id"], row["order_id"]] += row["amount_minor"]
        assert all(total >= 0 for total in sums.values()), seed


def test_rows_are_identified_as_the_contract_says() -> None:
    identities = {
        "attributions": ("brand_id", "conversion_type", "customer_id", "conversion_id", "partner_id"),
        "referrals": ("program_id", "customer_id"),
        "milestones": ("program_id", "milestone_id", "scope_key", "period"),
    }
    for seed in SEEDS:
        for name, columns in identities.items():
            keys = [tuple(row[column] for column in columns) for row in solved(seed)[1][name]]
            assert len(keys) == len(set(keys)), (seed, name)
