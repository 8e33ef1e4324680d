"""How often the worlds of `tests/properties/worlds.py` hit each rule: `python -m tests.reference.world_coverage 1000`.

Two measures, each in percent of worlds: which words of the contract occur in the reference answer, and for which terms
the answer would differ if they were absent or had their default ("matters").
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.properties.worlds import World, random_world

from .oracle import Row, compute

Table = dict[str, Any]
OUTCOMES = ("attributions", "referrals", "ledger_entries", "milestones")


def tags(world: World, answer: dict[str, list[Row]]) -> set[str]:
    """The words of the contract that occur in the answer for one world."""
    found = {f"dead letter {row['reason']}" for row in answer["dead_letters"]}
    found |= {f"model {row['model']}" for row in answer["attributions"] if row["model"]}
    found |= {f"uncredited {row['conversion_type']}" for row in answer["attributions"] if not row["partner_id"]}
    found |= {f"verdict {t['verdict']} {t['kind']}" for row in answer["attributions"] for t in row["explanation"]}
    found |= {f"referral {row['status']} {row['reason']}".strip() for row in answer["referrals"]}
    found |= {f"ledger {row['kind']}" for row in answer["ledger_entries"]}
    for row in answer["milestones"]:
        shape = _milestone_shape(world, row)
        found |= {f"milestone {row['status']}", f"milestone period {shape['period']} {row['status']}"}
        found |= {f"milestone {shape['metric']} {shape.get('scope', 'partner')} {row['status']}"}
        found |= {"milestone below 0"} if row["count"] < 0 else set()
    found |= {"unmatched refund" for row in answer["refunds"] if not row["matched"]}
    orders = {(o["brand_id"], o["customer_id"], o["order_id"]): o["occurred_at"] for o in answer["orders"]}
    for refund in answer["refunds"]:
        order_at = orders.get((refund["brand_id"], refund["customer_id"], refund["order_id"]))
        found |= {"refund before its order"} if order_at is not None and refund["occurred_at"] < order_at else set()
    shared = Counter((r["brand_id"], r["conversion_type"], r["conversion_id"]) for r in answer["attributions"])
    found |= {"several partners share"} if max(shared.values(), default=0) > 1 else set()
    found |= {"credited"} if any(row["partner_id"] for row in answer["attributions"]) else set()
    found |= {"later version decides"} if any(row["terms_version"] > 1 for row in answer["attributions"]) else set()
    gains = Counter(
        (r["program_id"], r["kind"], r["customer_id"])
        for r in answer["ledger_entries"]
        if r["kind"] == "customer_reward"
    )
    found |= {"qualified again"} if max(gains.values(), default=0) > 1 else set()
    won = {(r["brand_id"], r["customer_id"]): r for r in answer["attributions"] if r["conversion_type"] == "sign_up"}
    for row in answer["attributions"]:
        sign_up = won.get((row["brand_id"], row["customer_id"]), row)
        if row["program_id"] and sign_up["program_id"] and row["program_id"] != sign_up["program_id"]:
            found |= {"order won by another program than the sign-up"}
    refused = len(answer["dead_letters"])
    kept = sum(len(answer[name]) for name in ("clicks", "sign_ups", "orders", "refunds"))
    return found | ({"repeats"} if kept + refused < len(world.events) else set())


def _milestone_shape(world: World, row: Row) -> Table:
    of_program = [t for t in world.programs if t["program"]["id"] == row["program_id"]]
    return next(m for t in of_program for m in t.get("milestone", ()) if m["id"] == row["milestone_id"])


def without(*path: str) -> Callable[[Table], None]:
    """Terms without one key: `without("tier")` a whole table, `without("program", "priority")` one key of it."""

    def remove(terms: Table) -> None:
        if len(path) == 1:
            terms.pop(path[0], None)
            return
        tables = terms.get(path[0], [])
        for table in tables if isinstance(tables, list) else [tables]:
            table.pop(path[1], None)

    return remove


def bonus_scope(terms: Table) -> None:
    """Every bonus counted for the whole program."""
    for bonus in terms.get("bonus", ()):
        bonus["scope"] = "program"


REMOVALS: dict[str, Callable[[Table], None]] = {
    " ".join(path): without(*path)
    for path in (
        ("program", "time_zone"),
        ("program", "priority"),
        ("attribution", "click_window"),
        ("attribution", "order_window"),
        ("attribution", "half_life"),
        ("attribution", "coupon_precedence"),
        ("qualification", "min_order_minor"),
        ("qualification", "new_customers_only"),
        ("qualification", "min_click_to_sign_up"),
        ("commission", "orders"),
        ("commission", "hold"),
        ("customer_reward",),
        ("tier",),
        ("milestone", "each_at_least"),
        ("milestone", "revocable"),
        ("milestone", "award_minor"),
        ("boost",),
        ("boost", "partner_id"),
        ("partner", "joined_at"),
        ("partner", "left_at"),
        ("partner", "coupon_codes"),
        ("partner", "customer_ids"),
        ("partner", "email_sha256"),
    )
} | {"bonus scope": bonus_scope}


def matters(world: World, answer: dict[str, list[Row]]) -> Iterator[str]:
    """The terms, and the facts, without which the answer would be another."""
    for name, remove in REMOVALS.items():
        programs = copy.deepcopy(world.programs)
        for terms in programs:
            remove(terms)
        if programs != world.programs and _differs(answer, compute(programs, world.events)):
            yield f"matters: {name}"
    for name in ("click_id", "email_sha256", "visitor_id"):
        kept = [{k: v for k, v in e.items() if k != name or e["type"] == "click"} for e in world.events]
        if _differs(answer, compute(world.programs, kept)):
            yield f"matters: {name} of a conversion"
    if _differs(answer, compute([t for t in world.programs if t["program"]["version"] == 1], world.events)):
        yield "matters: later versions"


def _differs(answer: dict[str, list[Row]], other: dict[str, list[Row]]) -> bool:
    return any(answer[name] != other[name] for name in OUTCOMES)


def main(arguments: list[str]) -> None:
    """Print the two measures over the worlds of seeds 0 to N-1."""
    count = int(arguments[0]) if arguments else 500
    counted: Counter[str] = Counter()
    for seed in range(count):
        world = random_world(seed)
        answer = compute(world.programs, world.events)
        counted.update(tags(world, answer))
        if seed % 4 == 0:  # each costs two dozen answers
            counted.update(dict.fromkeys(matters(world, answer), 4))
    for tag, times in sorted(counted.items()):
        sys.stdout.write(f"{100 * times / count:6.1f} %  {tag}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
