"""Small programs and events for the hand-computed examples: plain terms, of which each changes what it is about.

Everything happens in January 2026 and later, in days from 2026-01-01T00:00:00Z, when the terms begin.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from .oracle import Row, compute

HOUR, DAY = 3_600_000, 86_400_000
START = datetime(2026, 1, 1, tzinfo=UTC)
START_MS = 1_767_225_600_000
EMAIL = "0f" * 32

Table = dict[str, Any]
PARTNERS = ("bakery", "roaster", "tearoom")


def day(days: float, ms: int = 0) -> int:
    """Epoch milliseconds of so many days after the start, and `ms` more."""
    return START_MS + round(days * DAY) + ms


def moment(days: float) -> datetime:
    """The same as a TOML datetime."""
    return START + timedelta(days=days)


def partners(**changes: Table) -> list[Table]:
    """The three partners, each with the given changes."""
    return [{"id": name, "name": name.title(), **changes.get(name, {})} for name in PARTNERS]


def program(name: str = "friends", version: int = 1, begins: float = 0, brand: str = "acme", **tables: Any) -> Table:
    """A program file: percentage commission of 10 %, everything else by default unless given as a table."""
    tables = dict(tables)
    identity: Table = {"id": name, "brand_id": brand, "currency": "USD", "version": version}
    identity |= {"effective_from": moment(begins), **tables.pop("program", {})}
    return {"program": identity, "commission": {"rate_bps": 1_000}, "partner": partners(), **tables}


def click(at: int, partner: str = "bakery", event_id: str = "k1", **fields: Any) -> Row:
    """A click of visitor v1 in the program `friends`."""
    base = {"type": "click", "event_id": event_id, "occurred_at": at, "brand_id": "acme", "program_id": "friends"}
    return {**base, "partner_id": partner, "visitor_id": "v1", **fields}


def sign_up(at: int, customer: str = "ann", event_id: str = "s1", **fields: Any) -> Row:
    """A sign-up that names visitor v1."""
    base = {"type": "sign_up", "event_id": event_id, "occurred_at": at, "brand_id": "acme", "customer_id": customer}
    return {**base, "visitor_id": "v1", **fields}


def order(at: int, amount: int = 10_000, customer: str = "ann", event_id: str = "o1", **fields: Any) -> Row:
    """An order that names no visitor; its order_id is its event_id unless given."""
    base = {"type": "order", "event_id": event_id, "occurred_at": at, "brand_id": "acme", "customer_id": customer}
    return {**base, "order_id": event_id, "amount_minor": amount, "currency": "USD", **fields}


def refund(at: int, amount: int, of: str = "o1", customer: str = "ann", event_id: str = "r1", **fields: Any) -> Row:
    """A refund of the order `of`."""
    base = {"type": "refund", "event_id": event_id, "occurred_at": at, "brand_id": "acme", "customer_id": customer}
    return {**base, "order_id": of, "amount_minor": amount, "currency": "USD", "reason": "refund", **fields}


def referred(customer: str, at: int, partner: str = "bakery", **fields: Any) -> list[Row]:
    """A click and, an hour later, the sign-up of a customer with a visitor of its own."""
    visitor = f"v-{customer}"
    return [
        click(at, partner, f"k-{customer}", visitor_id=visitor),
        sign_up(at + HOUR, customer, f"s-{customer}", visitor_id=visitor, **fields),
    ]


def shares(programs: list[Table], events: list[Row], conversion: str) -> dict[str, int]:
    """Basis points of each partner for one conversion, {"": 0} if it is uncredited."""
    rows = compute(programs, events)["attributions"]
    return {row["partner_id"]: row["share_bps"] for row in rows if row["conversion_id"] == conversion}


def ledger(programs: list[Table], events: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    """(kind, amount_minor, cause_event_id), or the columns named, of each entry in order of time."""
    rows = compute(programs, events)["ledger_entries"]
    rows = sorted(rows, key=lambda row: row["occurred_at"])
    return [tuple(row[column] for column in columns or ("kind", "amount_minor", "cause_event_id")) for row in rows]


def status(programs: list[Table], events: list[Row], *columns: str) -> Any:
    """Columns of the one referral; its status alone if none are named."""
    (row,) = compute(programs, events)["referrals"]
    return tuple(row[column] for column in columns) if columns else row["status"]


def amounts(programs: list[Table], events: list[Row], kind: str) -> list[tuple[str, int]]:
    """(cause_event_id, amount_minor) of the entries of one kind, in order of time."""
    return [(c, a) for k, c, a in ledger(programs, events, "kind", "cause_event_id", "amount_minor") if k == kind]


def goal(programs: list[Table], events: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    """Columns of each milestone row, sorted by scope and period."""
    return [tuple(row[column] for column in columns) for row in compute(programs, events)["milestones"]]
