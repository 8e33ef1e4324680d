"""What goes wrong between product systems and the pipeline: events that are no good, and events that come twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

import orjson

from pipeline.demo.cast import MINUTE_MS, SECOND_MS
from pipeline.demo.delivery import SYSTEM_OF, Sent, sent
from pipeline.demo.story import Event, World

REASONS: Final = (
    "malformed",
    "invalid_field",
    "unknown_brand",
    "unknown_program",
    "unknown_partner",
    "currency_mismatch",
    "duplicate_order",
)
"""Every dead-letter reason that a file can have (``in_future`` is for live streams)."""

_DROP: Final = object()
_CLICK_FAULTS: Final[tuple[Event, ...]] = (
    {"visitor_id": ""},
    {"visitor_id": None},
    {"event_id": _DROP},
    {"occurred_at": "2025-13-45T10:00:00Z"},
    {"occurred_at": "yesterday"},
    {"occurred_at": -1},
    {"country": 44},
)
_ORDER_FAULTS: Final[tuple[Event, ...]] = (
    {"amount_minor": "2450"},
    {"amount_minor": 24.5},
    {"amount_minor": -2450},
    {"amount_minor": True},
    {"amount_minor": 2**63},
    {"customer_id": ""},
    {"order_id": _DROP},
    {"currency": 826},
)


def bad_records(world: World, count: int) -> tuple[list[Sent], Counter[str]]:
    """Records that cannot be admitted, every reason among them in turn, and how many there are of each reason."""
    made: list[Sent] = []
    reasons: Counter[str] = Counter()
    for number in range(max(count, len(REASONS))):
        reason = REASONS[number % len(REASONS)]
        made.append(_bad_record(world, reason, number // len(REASONS)))
        reasons[reason] += 1
    return made, reasons


def repeated(rng: Random, standing: Sequence[Sent], count: int) -> list[Sent]:
    """Copies of events that stand. One in eight was stamped anew by a retry; the earlier stamp counts."""
    copies: list[Sent] = []
    for system, at_ms, line in rng.choices(standing, k=count):
        if rng.random() < 0.125:
            copies.append(sent(orjson.loads(line) | {"occurred_at": at_ms + 1 + int(rng.random() * 20 * SECOND_MS)}))
        else:
            copies.append((system, at_ms, line))
    return copies


def _bad_record(world: World, reason: str, number: int) -> Sent:
    at_ms = world.moment()
    if reason == "malformed":
        return "edge", at_ms, _malformed(world, at_ms, number)
    if reason == "invalid_field":
        on_order, turn = number % 2 == 0, number // 2
        event = _order(world, at_ms) if on_order else _click(world, at_ms)
        faults = _ORDER_FAULTS if on_order else _CLICK_FAULTS
        return SYSTEM_OF[event["type"]], at_ms, orjson.dumps(_altered(event, faults[turn % len(faults)]))
    if reason == "unknown_brand":
        return sent(_order(world, at_ms) | {"brand_id": "patisserie"})
    if reason == "unknown_program":
        return sent(_click(world, at_ms) | {"program_id": ("spring-2024", "cheese-board")[number % 2]})
    if reason == "unknown_partner":
        return sent(_click(world, at_ms) | {"partner_id": ("rooster", "nina_bakes", "Roaster")[number % 3]})
    if reason == "currency_mismatch":
        return sent(_order(world, at_ms) | {"currency": ("EUR", "USD")[number % 2]})
    order = world.rng.choice(world.known.orders)  # a checkout that retries under a new event id
    at_ms = order["occurred_at"] + world.between(5 * SECOND_MS, 10 * MINUTE_MS)
    return sent(order | {"event_id": world.token("ord_"), "occurred_at": at_ms})


def _click(world: World, at_ms: int) -> Event:
    """A click of the bakery's program, taken out of the events that stand, so that it can be spoilt."""
    program = world.programs["bakery-table"]
    world.click(at_ms, program, world.partner(program), world.token("v"))
    return world.events.pop()


def _order(world: World, at_ms: int) -> Event:
    """An order at the bakery by a customer of no story."""
    return {
        "type": "order",
        "event_id": world.token("ord_"),
        "occurred_at": at_ms,
        "brand_id": "bakery",
        "customer_id": f"cc-9{world.rng.getrandbits(20):07d}",
        "order_id": f"CC-{world.rng.getrandbits(40):010x}",
        "amount_minor": 2450,
        "currency": "GBP",
    }


def _altered(event: Event, fault: Event) -> Event:
    altered = event | fault
    return {name: value for name, value in altered.items() if value is not _DROP}


def _malformed(world: World, at_ms: int, number: int) -> bytes:
    click = orjson.dumps(_click(world, at_ms))
    return (
        click[: len(click) * 2 // 3],  # the disk was full
        orjson.dumps(_click(world, at_ms) | {"type": "page_view"}),
        b"[" + click + b"]",
        click.replace(b'"partner_id"', b'"\xff\xfe"'),  # not UTF-8
        b"-- 2 rows skipped --",
        b'"click"',
    )[number % 6]
