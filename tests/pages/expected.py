"""What each panel of a dashboard must show, worked out in plain Python from the rows of the made-up world.

A function a panel title: of the world and a partner ('' for all), the rows as dictionaries of the labels that readers
see, money in major units. Nothing here knows SQL, and nothing of the panels' code is used.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.pages.world import DAY, FINAL_THROUGH, NOW, START, Row, World, terms

PROGRAM, ZONE = "acme-friends", ZoneInfo("America/New_York")
QUARTER = "2026-Q1"  # that holds NOW in New York; the world's first hours belong to the last quarter of 2025 there
Rows = list[dict[str, Any]]


def local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, ZONE)


def day(at_ms: int) -> float:
    return local(at_ms).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def quarter(at_ms: int) -> str:
    return f"{local(at_ms).year}-Q{(local(at_ms).month + 2) // 3}"


def entries(world: World, partner: str) -> list[Row]:
    return [row for row in world.of("ledger_entries", PROGRAM, partner) if not row["kind"].startswith("customer_")]


def major(rows: Iterable[Row], *kinds: str) -> float:
    return sum(row["amount_minor"] for row in rows if not kinds or row["kind"] in kinds) / 100


def credits(world: World, partner: str, kind: str = "") -> list[Row]:
    return [row for row in world.of("attributions", PROGRAM, partner) if kind in ("", row["conversion_type"])]


def amount(world: World, credit: Row) -> int:
    [order] = [row for row in world.tables["orders"] if row["event_id"] == credit["conversion_id"]]
    return int(order["amount_minor"])


def refunded(world: World, credit: Row) -> int:
    return sum(row["amount_minor"] for row in world.tables["refunds"] if row["order_id"] == credit["order_id"])


def kept(world: World, partner: str) -> list[Row]:
    """Credited orders that were not refunded in full."""
    return [row for row in credits(world, partner, "order") if refunded(world, row) < amount(world, row)]


def final_through(world: World, partner: str) -> Rows:
    return [{"Final through": FINAL_THROUGH}]


def earned(world: World, partner: str) -> Rows:
    rows = entries(world, partner)
    return [
        {
            "Payable now": major(row for row in rows if row["payable_at"] <= NOW),
            "Payable later": major(row for row in rows if row["payable_at"] > NOW),
            "Final": major(row for row in rows if row["as_of"] <= FINAL_THROUGH),
            "Provisional": major(row for row in rows if row["as_of"] > FINAL_THROUGH),
            "Earned in all": major(rows),
        }
    ]


def made_of(world: World, partner: str) -> Rows:
    rows = entries(world, partner)
    return [
        {
            "Commission on orders": major(rows, "accrual", "clawback"),
            "Bonuses": major(rows, "bonus", "bonus_clawback"),
            "Milestone awards": 0,
            "Taken back": major(rows, "clawback", "bonus_clawback"),
        }
    ]


def funnel(world: World, partner: str) -> Rows:
    qualified = sum(row["status"] == "qualified" for row in world.of("referrals", PROGRAM, partner))
    counts = {
        "Clicks": len(world.of("clicks", PROGRAM, partner)),
        "Sign-ups credited": len(credits(world, partner, "sign_up")),
        "Orders credited": len(credits(world, partner, "order")),
        "Qualified customers": qualified,
    }
    return [{"Step": step, "Count": count} for step, count in counts.items()]


def credit_over_time(world: World, partner: str) -> Rows:
    days = sorted({day(row["converted_at"]) for row in credits(world, partner)})
    kinds = Counter((day(row["converted_at"]), row["conversion_type"]) for row in credits(world, partner))
    return [{"time": at, "Sign-ups": kinds[at, "sign_up"], "Orders": kinds[at, "order"]} for at in days]


def earnings_over_time(world: World, partner: str) -> Rows:
    found: dict[float, list[Row]] = defaultdict(list)
    for row in entries(world, partner):
        found[day(row["occurred_at"])].append(row)
    return [
        {
            "time": at,
            "Commission": major(rows, "accrual"),
            "Bonuses and awards": major(rows, "bonus"),
            "Taken back": major(rows, "clawback", "bonus_clawback"),
        }
        for at, rows in sorted(found.items())
    ]


def becomes_payable(world: World, partner: str) -> Rows:
    later: Counter[float] = Counter()
    for row in entries(world, partner):
        later[day(row["payable_at"])] += row["amount_minor"] if row["payable_at"] > NOW else 0
    return [{"Becomes payable on": at, "Amount": total / 100} for at, total in sorted(later.items()) if total]


STANDING = {
    ("qualified", ""): "Qualified",
    ("pending", ""): "Pending: has not met the conditions yet",
    ("reversed", ""): "Reversed: met them, until a refund",
    ("rejected", "existing_customer"): "Rejected: had ordered before",
}


def customers_referred(world: World, partner: str) -> Rows:
    counts = Counter((row["status"], row["reason"]) for row in world.of("referrals", PROGRAM, partner))
    return [{"Where they stand": STANDING[key], "Customers": counts[key]} for key in STANDING if counts[key]]


def milestones(world: World, partner: str) -> Rows:
    """The three of the terms in their present periods; who has not begun is at 0."""
    alone = [partner] if partner else list(terms(2).partners)
    keys = [("alone", each, QUARTER, 4, 1000) for each in alone]
    keys += [("revenue", "*", "2026-03", 1_000_000, 0)]
    keys += [("together", "bakery+roaster", "all", 50, 50_000)] if partner in ("", "bakery", "roaster") else []
    rows = []
    for milestone, scope, period, threshold, award in keys:
        found = [
            row
            for row in world.of("milestones", PROGRAM)
            if (row["milestone_id"], row["scope_key"], row["period"]) == (milestone, scope, period)
        ]
        row = found[0] if found else {"count": 0, "status": "open"}
        is_money = milestone == "revenue"
        rows.append(
            {
                "Milestone": milestone,
                "Who counts": scope,
                "Period": period,
                "Status": row["status"],
                "Progress": 1.0 if row["status"] == "reached" else row["count"] / threshold,
                "So far": f"{row['count'] / 100:.2f} USD" if is_money else str(row["count"]),
                "Needed": f"{threshold / 100:.2f} USD" if is_money else str(threshold),
                "Reached on": row["reached_at"] / 1000 if row.get("reached_at") else None,
                "Award": award / 100,
            }
        )
    return sorted(rows, key=lambda row: (-row["Progress"], row["Milestone"], row["Who counts"]))


def tiers(world: World, partner: str) -> Rows:
    names = {each.id: each.name for each in terms(2).partners.values() if partner in ("", each.id)}
    counts = Counter(dict.fromkeys(names, 0))
    for row in world.of("referrals", PROGRAM, partner):
        counts[row["partner_id"]] += bool(row["qualified_at"]) and quarter(row["qualified_at"]) == QUARTER
        counts[row["partner_id"]] -= bool(row["reversed_at"]) and quarter(row["reversed_at"]) == QUARTER
    return [
        {
            "Partner": names[each],
            "Period": QUARTER,
            "Qualified customers": count,
            "Rate": 0.125 if count >= 5 else 0.1,
            "For each order": None,
            "Next tier from": 500 if count >= 5 else 5,
        }
        for each, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def bonuses(world: World, partner: str) -> Rows:
    """The one bonus of the second version, which the first paid at another amount."""
    held: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in world.of("ledger_entries", PROGRAM):
        if row["kind"] in ("bonus", "bonus_clawback"):
            held[row["partner_id"], row["customer_id"]].append(row)
    taken = [
        who
        for (who, _), rows in held.items()
        if major(rows) > 0 and quarter(max(row["occurred_at"] for row in rows if row["kind"] == "bonus")) == QUARTER
    ]
    return [
        {
            "Bonus": "kickoff",
            "Period": QUARTER,
            "Progress": min(len(taken) / 10, 1.0),
            "Places taken": len(taken),
            "Places left": max(10 - len(taken), 0),
            "Taken by partners shown": sum(partner in ("", who) for who in taken),
            "For each": 6.0,
        }
    ]


def boosts(world: World, partner: str) -> Rows:
    rows = []
    for name, whom, begins, ends, factor, state in (
        ("thanks", "roaster", START + 20 * DAY, START + 40 * DAY, 2.0, "over"),
        ("lent", "", START + 48 * DAY, START + 88 * DAY, 1.5, "on"),
    ):
        if whom and partner not in ("", whom):
            continue
        at = [row["converted_at"] for row in credits(world, whom or partner, "order")]
        until = min(ends, NOW)
        rows.append(
            {
                "Boost": name,
                "For": whom or "everyone",
                "From": begins / 1000,
                "Until": ends / 1000,
                "Times": factor,
                "State": state,
                "Orders in it": sum(begins <= each < until for each in at),
                "Orders before": sum(begins - (until - begins) <= each < begins for each in at),
            }
        )
    return rows


MISS_WORDS = {
    "expired": "The window had closed",
    "partner_inactive": "Outside the time in the program",
    "own_account": "An account of the partner itself",
    "not_contending": "A customer already, signed up without credit",
    "other_program": "Another program of the brand came first",
    "coupon": "Another partner's code was used",
    "last_touch": "Another partner sent the last visit",
}


def passed_over(world: World, partner: str) -> list[tuple[Row, Row]]:
    """(attribution, the latest touchpoint) of each partner that touched it without credit."""
    found = {}
    for row in world.tables["attributions"]:
        touches = [] if row["model"] == "inherited" else json.loads(row["explanation"])["touchpoints"]
        if row["conversion_type"] == "sign_up":
            touches = [each for each in touches if each["verdict"] != "not_contending"]
        credited = {(each["program_id"], each["partner_id"]) for each in touches if each["verdict"] == "credited"}
        for each in sorted(touches, key=lambda touch: touch["at"]):
            whose = (each["program_id"], each["partner_id"])
            if whose not in credited and whose[0] == PROGRAM and partner in ("", whose[1]):
                found[row["customer_id"], row["conversion_id"], whose[1]] = (row, each)
    return list(found.values())


def missed_reasons(world: World, partner: str) -> Rows:
    counts = Counter(
        MISS_WORDS[touch["verdict"] if touch["verdict"] != "outranked" else row["model"]]
        for row, touch in passed_over(world, partner)
    )
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"Reason": reason, "Conversions": count} for reason, count in ordered]


def quality(world: World, partner: str) -> Rows:
    orders = credits(world, partner, "order")
    if not orders:
        return [{"Order value": 0, "Average order": None, "Refunded": None, "Came back": None}]
    value = sum(amount(world, row) for row in orders)
    again = Counter(row["customer_id"] for row in kept(world, partner))
    return [
        {
            "Order value": value / 100,
            "Average order": round(value / len(orders)) / 100,
            "Refunded": sum(refunded(world, row) for row in orders) / value,
            "Came back": sum(n > 1 for n in again.values()) / len({row["customer_id"] for row in orders}),
        }
    ]


def retention(world: World, partner: str) -> Rows:
    months: dict[str, set[int]] = defaultdict(set)
    for row in kept(world, partner):
        at = local(row["converted_at"])
        months[row["customer_id"]].add(12 * at.year + at.month - 1)
    now = 12 * local(NOW).year + local(NOW).month - 1
    cohorts: dict[int, list[set[int]]] = defaultdict(list)
    for each in months.values():
        cohorts[min(each)].append(each)
    return [
        {"First order in": f"{first // 12}-{first % 12 + 1:02}", "Customers": len(people)}
        | {
            f"Month {n}": sum(first + n in each for each in people) / len(people) if first + n <= now else None
            for n in range(1, 7)
        }
        for first, people in sorted(cohorts.items())
    ]


def customer(row: Row) -> str:
    return hashlib.sha256(f"{row['brand_id']} {row['customer_id']}".encode()).hexdigest()


def latest_credits(world: World, partner: str) -> Rows:
    newest = sorted(
        credits(world, partner), key=lambda row: (-row["converted_at"], row["conversion_id"], customer(row))
    )
    earned_by = Counter()
    for row in entries(world, partner):
        earned_by[row["order_id"]] += row["amount_minor"] if row["kind"] in ("accrual", "clawback") else 0
    return [
        {
            "Date": row["converted_at"] / 1000,
            "What": row["conversion_type"],
            "Customer": customer(row)[:4],
            "Share": row["share_bps"] / 10_000,
            "Order": amount(world, row) / 100 if row["order_id"] else 0,
            "Refunded": refunded(world, row) / 100,
            "Commission": earned_by[row["order_id"]] / 100 if row["order_id"] else 0,
            "Why": ANY_TEXT,
            "Reference": row["conversion_id"],
        }
        for row in newest[:15]
    ]


def latest_missed(world: World, partner: str) -> Rows:
    newest = sorted(
        passed_over(world, partner),
        key=lambda pair: (-pair[0]["converted_at"], pair[0]["conversion_id"], customer(pair[0])),
    )
    return [
        {
            "Date": row["converted_at"] / 1000,
            "What": row["conversion_type"],
            "Customer": customer(row)[:4],
            "Why not": ANY_TEXT,
            "Reference": row["conversion_id"],
        }
        for row, _ in newest[:15]
    ]


def partners(world: World, partner: str) -> Rows:
    names = {each.id: each.name for each in terms(2).partners.values()}
    rows = []
    for each in ("bakery", "roaster", "florist"):
        steps = [row["Count"] for row in funnel(world, each)]
        orders = credits(world, each, "order")
        rows.append(
            {
                "Partner": names[each],
                "Sign-ups": steps[1],
                "Orders": steps[2],
                "Qualified customers": steps[3],
                "Order value": sum(amount(world, row) for row in orders) / 100,
                "Refunded": sum(refunded(world, row) for row in orders) / 100,
                "Commission": major(entries(world, each), "accrual", "clawback"),
                "Bonuses and awards": major(entries(world, each), "bonus", "bonus_clawback"),
            }
        )
    return sorted(rows, key=lambda row: (-row["Qualified customers"], -row["Commission"]))


def clicks(world: World, partner: str) -> Rows:
    names = {each.id: each.name for each in terms(2).partners.values()}
    counts = Counter(names[row["partner_id"]] for row in world.of("clicks", PROGRAM, ""))
    return [{"Partner": name, "Clicks": count} for name, count in counts.most_common()]


def segments(world: World, partner: str) -> Rows:
    members = {"food": ("bakery", "roaster"), "garden": ("florist",), "": ("idle",)}
    rows = []
    for segment, ids in members.items():
        referrals = [row for each in ids for row in world.of("referrals", PROGRAM, each)]
        orders = [row for each in ids for row in credits(world, each, "order")]
        value = sum(amount(world, row) for row in orders)
        again = [n for each in ids for n in Counter(row["customer_id"] for row in kept(world, each)).values()]
        share = sum(row["status"] == "qualified" for row in referrals) / len(referrals) if referrals else None
        rows.append(
            {
                "Segment": segment,
                "Partners": len(ids),
                "Customers referred": len(referrals),
                "Qualified": share,
                "Orders": len(orders),
                "Average order": round(value / len(orders)) / 100 if orders else None,
                "Refunded": sum(refunded(world, row) for row in orders) / value if value else None,
                "Came back": sum(n > 1 for n in again) / len(again) if again else None,
            }
        )
    return sorted(rows, key=lambda row: (row["Qualified"] is None, -(row["Qualified"] or 0), row["Segment"]))


def give_and_take(world: World, partner: str) -> Rows:
    to_acme = sum(row["status"] == "qualified" for row in world.of("referrals", PROGRAM, "bakery"))
    return [
        {"Who referred": "acme", "To whom": "bakery", "Qualified customers": 2, "The other way": to_acme},
        {"Who referred": "bakery", "To whom": "acme", "Qualified customers": to_acme, "The other way": 2},
    ]


def rejected(world: World, partner: str) -> Rows:
    counts = Counter(
        (row["reason"], json.loads(row["raw"])["brand_id"] if row["raw"].startswith("{") else "")
        for row in world.tables["dead_letters"]
    )
    return [
        {"Reason": reason, "Brand": brand, "Records": count, "For example in": "/data/in.jsonl", "At": ANY_TEXT}
        for (reason, brand), count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


class _AnyText:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other != ""

    def __hash__(self) -> int:
        return 0


ANY_TEXT = _AnyText()

EXPECTED: dict[str, Callable[[World, str], Rows]] = {
    "Final through": final_through,
    "Earned": earned,
    "From click to customer": funnel,
    "Credit over time": credit_over_time,
    "Earnings over time": earnings_over_time,
    "Becomes payable": becomes_payable,
    "What it is made of": made_of,
    "Customers referred": customers_referred,
    "Milestones now": milestones,
    "Tiers": tiers,
    "Places of the bonuses": bonuses,
    "Boosts": boosts,
    "Visits that led on, without credit": missed_reasons,
    "How well these customers fit": quality,
    "Do they come back?": retention,
    "Latest credits, and why": latest_credits,
    "The latest of them, and why": latest_missed,
    "Partners side by side": partners,
    "Clicks by partner": clicks,
    "Segments by quality": segments,
    "Give and take between brands": give_and_take,
    "Records that could not be used": rejected,
}


def instant(value: datetime) -> float:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
