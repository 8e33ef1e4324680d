"""A small catalogue, good and bad events, and a plain view of what a file gave."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.domain.terms import Catalogue, Partner, Program, Terms
from pipeline.wire.admission import Admitted, DeadLetter, event_table_schema
from pipeline.wire.files import open_sources

Event = dict[str, Any]

AT = 1_767_225_600_000


def _program(program_id: str, brand_id: str, currency: str, *partner_ids: str, version: int = 1) -> Terms:
    partners = {each: Partner(each, each.title()) for each in partner_ids}
    return Terms(program_id, brand_id, currency, version, version * 1000, partners=partners)


CATALOGUE = Catalogue.of(
    [
        Program(
            (
                _program("acme-friends", "acme", "USD", "bakery", "roaster"),
                _program("acme-friends", "acme", "USD", "bakery", "florist", version=2),
            )
        ),
        Program((_program("acme-vip", "acme", "USD", "studio"),)),
        Program((_program("zen", "zenith", "JPY", "bakery"),)),
    ]
)


def click(number: int = 1, **changes: Any) -> Event:
    return {
        "type": "click",
        "event_id": f"k{number}",
        "occurred_at": AT + number,
        "brand_id": "acme",
        "program_id": "acme-friends",
        "partner_id": "bakery",
        "visitor_id": f"v{number}",
        "country": "US",
    } | changes


def sign_up(number: int = 1, **changes: Any) -> Event:
    return {
        "type": "sign_up",
        "event_id": f"s{number}",
        "occurred_at": AT + number,
        "brand_id": "acme",
        "customer_id": f"c{number}",
        "visitor_id": f"v{number}",
        "email_sha256": "0123456789abcdef" * 4,
    } | changes


def order(number: int = 1, **changes: Any) -> Event:
    return {
        "type": "order",
        "event_id": f"o{number}",
        "occurred_at": AT + number,
        "brand_id": "acme",
        "order_id": f"A-{number}",
        "customer_id": f"c{number}",
        "amount_minor": 5000,
        "currency": "USD",
        "coupon_code": "BREAD10",
    } | changes


def refund(number: int = 1, **changes: Any) -> Event:
    return {
        "type": "refund",
        "event_id": f"r{number}",
        "occurred_at": AT + number,
        "brand_id": "acme",
        "order_id": f"A-{number}",
        "customer_id": f"c{number}",
        "amount_minor": 1500,
        "currency": "USD",
        "reason": "refund",
    } | changes


MAKERS = {"click": click, "sign_up": sign_up, "order": order, "refund": refund}


def mixed(count: int) -> list[Event]:
    """Good events of all types, in turn."""
    return [tuple(MAKERS.values())[number % 4](number) for number in range(count)]


@dataclass(frozen=True)
class Result:
    """What came out of one source, in plain values."""

    events: dict[int, Event]
    dead: list[DeadLetter]
    order_raw: dict[int, bytes]
    chunks: list[Admitted]

    @property
    def reasons(self) -> dict[int, str]:
        return {letter.position: letter.reason for letter in self.dead}

    @property
    def in_order(self) -> list[Event]:
        return [self.events[position] for position in sorted(self.events)]


def read(path: Path | str, chunk_records: int = 100_000, catalogue: Catalogue = CATALOGUE) -> Result:
    """All events of one file by position, absent fields left out; checks what holds for any file."""
    (source,) = open_sources([str(path)])
    result = Result({}, [], {}, list(source.chunks(catalogue, chunk_records)))
    for chunk in result.chunks:
        assert chunk.source == source.name
        assert chunk.records <= chunk_records
        assert chunk.records == sum(table.num_rows for table in chunk.events.values()) + len(chunk.dead)
        result.dead.extend(chunk.dead)
        for event_type, table in chunk.events.items():
            assert table.num_rows
            assert all(column.num_chunks == 1 for column in table.columns)
            assert table.schema == event_table_schema(event_type)
            for row in table.to_pylist():
                position = row.pop("position")
                if event_type == "order":
                    result.order_raw[position] = row.pop("raw")
                assert position not in result.events, "two events at one position"
                present = {name: value for name, value in row.items() if value is not None}
                result.events[position] = {"type": event_type} | present
    positions = [letter.position for letter in result.dead]
    assert positions == sorted(positions)
    assert not set(positions) & set(result.events)
    if source.size_bytes is not None:
        assert sum(chunk.bytes_read for chunk in result.chunks) == source.size_bytes
    return result


def utc(at_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
