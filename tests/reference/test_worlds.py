"""The worlds of `tests/properties/worlds.py` are valid, can be written as TOML, and are worth trying."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.properties.world_terms import to_toml
from tests.properties.worlds import World, random_world, worlds

from .admission import FIELDS
from .oracle import compute
from .world_coverage import tags

WORLDS = 300
# What one world in a hundred must show; how often each occurs: `python -m tests.reference.world_coverage`.
WANTED = {
    *(f"model {m}" for m in ("first_touch", "last_touch", "linear", "position_based", "time_decay")),
    *(f"model {m}" for m in ("coupon", "click_id", "inherited")),
    *(f"verdict {v} click" for v in ("credited", "outranked", "expired", "partner_inactive", "own_account")),
    *(f"verdict {v} click" for v in ("other_program", "not_contending")),
    *(f"verdict {v} coupon" for v in ("credited", "outranked", "partner_inactive", "own_account", "other_program")),
    "verdict not_contending coupon",
    *(f"ledger {k}" for k in ("accrual", "clawback", "bonus", "bonus_clawback")),
    *(f"ledger {k}" for k in ("customer_reward", "customer_reward_clawback", "milestone_award")),
    "ledger milestone_revocation",
    *(f"referral {s}" for s in ("pending", "qualified", "reversed", "rejected existing_customer", "rejected too_fast")),
    *(f"milestone {s}" for s in ("open", "reached", "revoked", "below 0")),
    *(f"dead letter {r}" for r in ("unknown_brand", "unknown_program", "unknown_partner", "currency_mismatch")),
    *("dead letter duplicate_order", "repeats", "unmatched refund", "refund before its order", "qualified again"),
    *("uncredited sign_up", "uncredited order", "several partners share", "later version decides"),
    "order won by another program than the sign-up",
}


def check(world: World) -> None:
    """What the oracle relies on: valid terms, and events that are valid each by itself."""
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for terms in world.programs:
        assert tomllib.loads(to_toml(terms)) == terms
        families[terms["program"]["id"]].append(terms)
        ids = {partner["id"] for partner in terms["partner"]}
        assert len(ids) == len(terms["partner"])
        assert ids >= {p for m in terms.get("milestone", ()) for p in m.get("partners", ())}
        assert ids >= {b["partner_id"] for b in terms.get("boost", ()) if "partner_id" in b}
        codes = [code for partner in terms["partner"] for code in partner.get("coupon_codes", ())]
        assert len(codes) == len(set(codes))
        floors = [tier["from"] for tier in terms.get("tier", ())]
        assert len(floors) == len(set(floors))
        by_order = terms.get("attribution", {}).get("credit") == "order"
        qualified_by = terms.get("qualification", {}).get("event", "order")
        assert not (by_order and qualified_by == "sign_up")
        assert not (qualified_by == "sign_up" and terms["commission"].get("orders") == "first")
        for partner in terms["partner"]:
            assert not {"joined_at", "left_at"} <= partner.keys() or partner["joined_at"] < partner["left_at"]
    for family in families.values():
        moments = [(terms["program"]["version"], terms["program"]["effective_from"]) for terms in family]
        assert all(v < w and a < b for (v, a), (w, b) in pairwise(moments))
    for event in world.events:
        assert event.keys() <= {"type", *FIELDS[event["type"]].split()}
        assert 0 <= event.get("amount_minor", 0) < 2**63


@pytest.fixture(scope="module")
def counted() -> Counter[str]:
    """In how many of the first worlds each word of the contract occurs."""
    counter: Counter[str] = Counter()
    for seed in range(WORLDS):
        world = random_world(seed)
        check(world)
        counter.update(tags(world, compute(world.programs, world.events)))
    return counter


def test_worlds_are_worth_trying(counted: Counter[str]) -> None:
    assert {tag for tag in WANTED if counted[tag] < WORLDS / 100} == set()
    assert counted["credited"] > WORLDS * 0.8


def test_a_seed_always_makes_the_same_world() -> None:
    assert random_world(7) == random_world(7) != random_world(8)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_drawn_worlds_are_valid(world: World) -> None:
    check(world)
    compute(world.programs, world.events)
