"""Contract section 2: bad input, repeats, duplicate orders, and to which order a refund belongs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .terms import Program

Event = dict[str, Any]

TYPES = ("click", "sign_up", "order", "refund")
FIELDS = {
    "click": "event_id occurred_at brand_id program_id partner_id visitor_id link_id landing_url referrer_url campaign"
    " variant ip user_agent country",
    "sign_up": "event_id occurred_at brand_id customer_id visitor_id click_id coupon_code email_sha256 ip user_agent"
    " country",
    "order": "event_id occurred_at brand_id order_id customer_id amount_minor currency visitor_id click_id coupon_code"
    " ip payment_fingerprint",
    "refund": "event_id occurred_at brand_id order_id customer_id amount_minor currency reason",
}


@dataclass(frozen=True)
class Admitted:
    """The events that stand, each list in event order, and what was refused: (index in the input, reason)."""

    clicks: list[Event]
    sign_ups: list[Event]
    orders: list[Event]
    refunds: list[Event]
    dead_letters: list[tuple[int, str]]


def key_of(event: Event) -> str:
    """ "keyed by visitor_id (click) or customer_id (the rest)"."""
    return str(event["visitor_id"] if event["type"] == "click" else event["customer_id"])


def event_order(event: Event) -> tuple[Any, ...]:
    """ "Events are ordered by (occurred_at, event_id, type: click, sign_up, order, refund, key)".

    The brand comes last, only to make the order of output lists definite: brands never meet.
    """
    return (
        event["occurred_at"],
        event["event_id"].encode(),
        TYPES.index(event["type"]),
        key_of(event).encode(),
        event["brand_id"].encode(),
    )


def canonical_json(event: Event) -> bytes:
    """ "RFC 8785 canonical JSON of its known, present fields, integers with all digits", as UTF-8 bytes."""
    known = {name: event[name] for name in FIELDS[event["type"]].split() if name in event}
    return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def refusal(event: Event, programs: dict[str, Program]) -> str:
    """The first reason that applies to one record "judged by itself", "" if none does."""
    of_brand = [p for p in programs.values() if p.brand_id == event["brand_id"]]
    if not of_brand:
        return "unknown_brand"  # (no program has it)
    if event["type"] == "click":
        program = next((p for p in of_brand if p.id == event["program_id"]), None)
        if program is None:
            return "unknown_program"  # (none of that brand's)
        if all(version.partner(event["partner_id"]) is None for version in program.versions):
            return "unknown_partner"  # (in no version of that program)
    if event["type"] in ("order", "refund") and event["currency"] != of_brand[0].currency:
        return "currency_mismatch"  # (not the brand's)
    return ""


def admit(events: list[Event], programs: dict[str, Program]) -> Admitted:
    """Judge each record, then resolve repeats, then duplicate orders, then match refunds."""
    dead: list[tuple[int, str]] = []
    copies: dict[tuple[str, str, str, str], list[tuple[int, Event]]] = {}
    for index, event in enumerate(events):
        reason = refusal(event, programs)
        if reason:
            dead.append((index, reason))
            continue
        # As the contract says, "Events of one type, brand, key (visitor or customer) and event_id are one event."
        same = (event["type"], event["brand_id"], key_of(event), event["event_id"])
        copies.setdefault(same, []).append((index, event))

    # And then, "If their contents differ, the one with the smallest (occurred_at, canonical JSON) counts."
    standing: dict[str, list[tuple[int, Event]]] = {kind: [] for kind in TYPES}
    for (kind, *_), group in copies.items():
        first_copy = min(index for index, _ in group)
        counts = min((event for _, event in group), key=lambda e: (e["occurred_at"], canonical_json(e)))
        standing[kind].append((first_copy, counts))

    # "After that: orders of one brand, customer and order_id under several event_ids are one order; the smallest
    # (occurred_at, event_id) counts, each other event_id is one dead letter `duplicate_order`, at the position of
    # its first copy."
    orders: list[Event] = []
    for first_copy, order in standing["order"]:
        rivals = [o for _, o in standing["order"] if _same_order(o, order)]
        if order is min(rivals, key=lambda o: (o["occurred_at"], o["event_id"].encode())):
            orders.append(order)
        else:
            dead.append((first_copy, "duplicate_order"))

    # "A refund belongs to the order of the same brand, customer and order_id; until that is known it waits, and is
    # shown as unmatched."
    refunds = [{**refund, "matched": any(_same_order(o, refund) for o in orders)} for _, refund in standing["refund"]]
    return Admitted(
        clicks=sorted((click for _, click in standing["click"]), key=event_order),
        sign_ups=sorted((sign_up for _, sign_up in standing["sign_up"]), key=event_order),
        orders=sorted(orders, key=event_order),
        refunds=sorted(refunds, key=event_order),
        dead_letters=sorted(dead),
    )


def _same_order(left: Event, right: Event) -> bool:
    return all(left[name] == right[name] for name in ("brand_id", "customer_id", "order_id"))
