"""The four event types: the one definition of their fields (contract.md, section 2).

Whatever reads, checks, writes or stores events takes names, order and kinds from :data:`EVENT_TYPES`. Times are UTC
epoch milliseconds, money minor units. Nothing here touches files: readers are in :mod:`pipeline.wire`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from typing import Final, Literal

Kind = Literal["string", "time", "amount", "reason", "sha256"]
FieldValue = str | int

#: The order of types among events of one time and event_id (contract.md, section 4).
TYPE_RANK: Final[Mapping[str, int]] = {"click": 0, "sign_up": 1, "order": 2, "refund": 3}

#: What a refund's ``reason`` may be.
REFUND_REASONS: Final = ("refund", "chargeback", "cancellation")

#: Times lie in [1970-01-01, 2200-01-01).
FIRST_TIME_MS: Final = 0
END_TIME_MS: Final = 7_258_118_400_000

#: Amounts lie in [0, MAX_AMOUNT_MINOR].
MAX_AMOUNT_MINOR: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event. An optional one may be absent; null and (for text) the empty string mean absent."""

    name: str
    kind: Kind
    required: bool

    @property
    def is_text(self) -> bool:
        """Whether values are strings; the others are 64-bit integers."""
        return self.kind not in ("time", "amount")


@dataclass(frozen=True)
class EventType:
    """One event type: its fields in the contract's order and the field that keys its topic."""

    name: str
    key_field: str
    fields: tuple[Field, ...]

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """The names of the fields, in the contract's order."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def required_names(self) -> tuple[str, ...]:
        """The names of the fields that every event of the type has."""
        return tuple(field.name for field in self.fields if field.required)


_KINDS: Final[Mapping[str, Kind]] = {
    "occurred_at": "time",
    "amount_minor": "amount",
    "reason": "reason",
    "email_sha256": "sha256",
}


def _event_type(name: str, key_field: str, fields: str) -> EventType:
    """Read a line of the contract's table; ``*`` marks a required field."""
    names = [(word.rstrip("*"), word.endswith("*")) for word in fields.split()]
    return EventType(name, key_field, tuple(Field(each, _KINDS.get(each, "string"), needed) for each, needed in names))


#: The event types by name, in the order of :data:`TYPE_RANK`.
EVENT_TYPES: Final[Mapping[str, EventType]] = {
    event_type.name: event_type
    for event_type in (
        _event_type(
            "click",
            "visitor_id",
            "event_id* occurred_at* brand_id* program_id* partner_id* visitor_id* link_id landing_url referrer_url"
            " campaign variant ip user_agent country",
        ),
        _event_type(
            "sign_up",
            "customer_id",
            "event_id* occurred_at* brand_id* customer_id* visitor_id click_id coupon_code email_sha256 ip user_agent"
            " country",
        ),
        _event_type(
            "order",
            "customer_id",
            "event_id* occurred_at* brand_id* order_id* customer_id* amount_minor* currency* visitor_id click_id"
            " coupon_code ip payment_fingerprint",
        ),
        _event_type(
            "refund",
            "customer_id",
            "event_id* occurred_at* brand_id* order_id* customer_id* amount_minor* currency* reason*",
        ),
    )
}

_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(event_type.field_names) for name, event_type in EVENT_TYPES.items()
}


def canonical_json(event_type: str, fields: Mapping[str, object]) -> str:
    """RFC 8785 JSON of the known, present fields: what decides between copies of one event that differ.

    ``type``, unknown names, None and "" are left out; integers keep all digits (RFC 8785 would round to a double).
    Field names are ASCII, so that sorting them by code point is sorting by UTF-16 code unit.
    """
    known = _KNOWN[event_type]
    present = {name: value for name, value in fields.items() if name in known and value is not None and value != ""}
    return json.dumps(present, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


@lru_cache(maxsize=4096)
def _day_start_ms(day: str) -> int | None:
    try:
        return (date.fromisoformat(day).toordinal() - _EPOCH_DAY) * 86_400_000
    except ValueError:  # 2026-02-30
        return None


def rfc3339_ms(text: str) -> int | None:
    """Epoch milliseconds of an RFC 3339 time with an offset; None where ``text`` is not one within 1970-2199.

    Digits past the millisecond are cut. Second 60, a leap second, is read as the next minute's second 0. A lower-case
    ``t`` or ``z``, and a space for ``T``, are allowed, as RFC 3339 (section 5.6) has it.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    day_ms = _day_start_ms(day)
    if day_ms is None:
        return None
    at_ms = day_ms + int(hour) * 3_600_000 + int(minute) * 60_000 + int(second) * 1000
    if fraction is not None:
        at_ms += int(fraction[:3].ljust(3, "0"))
    if sign is not None:
        offset_ms = int(offset_hour) * 3_600_000 + int(offset_minute) * 60_000
        at_ms += offset_ms if sign == "-" else -offset_ms
    return at_ms if FIRST_TIME_MS <= at_ms < END_TIME_MS else None
