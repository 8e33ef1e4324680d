"""Contract section 2, "Bad input": every reason, for every type, in every format; the first that applies wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.domain.events import END_TIME_MS, EVENT_TYPES, MAX_AMOUNT_MINOR
from pipeline.domain.terms import Catalogue
from pipeline.wire.admission import REASONS, Admission, event_table_schema
from pipeline.wire.columns import from_records
from tests.wire.one_row import FORMATS, write_rows
from tests.wire.samples import AT, CATALOGUE, MAKERS, Event, click, mixed, order, read, refund, sign_up

ALL = ("jsonl", "csv", "parquet", "avro")
TYPED = ("jsonl", "parquet", "avro")  # where a value has a type of its own
Case = tuple[Event, str, tuple[str, ...]]


def without(event: Event, name: str) -> Event:
    return {key: value for key, value in event.items() if key != name}


def invalid_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for event_type, make in MAKERS.items():
        for field in EVENT_TYPES[event_type].fields:
            name, where = field.name, f"{event_type}.{field.name}"
            if field.required:
                cases[f"{where} missing"] = (without(make(), name), "invalid_field", ALL)
                cases[f"{where} null"] = (make(**{name: None}), "invalid_field", ALL)
                cases[f"{where} empty"] = (make(**{name: ""}), "invalid_field", ALL)
            for value in (True, 1.5, b"x", ["x"]):
                formats = tuple(f for f in TYPED if not (isinstance(value, bytes) and f != "avro"))
                cases[f"{where} {value!r}"] = (make(**{name: value}), "invalid_field", formats)
            if field.is_text:
                cases[f"{where} number"] = (make(**{name: 7}), "invalid_field", TYPED)
            if field.kind in ("time", "amount"):
                cases[f"{where} negative"] = (make(**{name: -1}), "invalid_field", ALL)
                cases[f"{where} whole float"] = (make(**{name: 5000.0}), "invalid_field", ALL)
                cases[f"{where} text"] = (make(**{name: "soon"}), "invalid_field", ALL)
                cases[f"{where} beyond 64 bits"] = (make(**{name: 2**64}), "invalid_field", ("jsonl", "csv"))
                cases[f"{where} beyond 63 bits"] = (make(**{name: 2**63}), "invalid_field", ("jsonl", "csv"))
            if field.kind == "time":
                cases[f"{where} too late"] = (make(**{name: END_TIME_MS}), "invalid_field", ALL)
                cases[f"{where} RFC 3339"] = (
                    make(**{name: "2026-01-01T00:00:00Z"}),
                    "invalid_field",
                    ("parquet", "avro"),
                )
                cases[f"{where} no offset"] = (make(**{name: "2026-01-01T00:00:00"}), "invalid_field", ALL)
            if field.kind == "amount":
                cases[f"{where} digits"] = (make(**{name: "5000"}), "invalid_field", TYPED)
            if field.kind == "reason":
                cases[f"{where} other"] = (make(**{name: "regret"}), "invalid_field", ALL)
                cases[f"{where} upper case"] = (make(**{name: "Refund"}), "invalid_field", ALL)
            if field.kind == "sha256":
                for bad in ("A" * 64, "a" * 63, "a" * 65, "g" * 64, "a" * 64 + "\n"):
                    cases[f"{where} {bad!r}"] = (make(**{name: bad}), "invalid_field", ALL)
    for text in ("+5", "05", "5 ", " 5", "5_0", "\u0665", "1e3", "-0", "0x5", "5."):
        cases[f"order.amount_minor {text!r} in CSV"] = (order(amount_minor=text), "invalid_field", ("csv",))
    return cases


REFUSED: dict[str, Case] = {
    "no such type": (click(type="purchase"), "malformed", ALL),
    "type in another case": (click(type="Click"), "malformed", ALL),
    "type empty": (click(type=""), "malformed", ALL),
    "type null": (click(type=None), "malformed", ALL),
    "type no text": (click(type=1), "malformed", ALL),
    "brand of a click": (click(brand_id="acne"), "unknown_brand", ALL),
    "brand of a sign-up": (sign_up(brand_id="acne"), "unknown_brand", ALL),
    "brand of an order": (order(brand_id="acne"), "unknown_brand", ALL),
    "brand of a refund": (refund(brand_id="acne"), "unknown_brand", ALL),
    "no such program": (click(program_id="foes"), "unknown_program", ALL),
    "another brand's program": (click(program_id="zen"), "unknown_program", ALL),
    "no such partner": (click(partner_id="butcher"), "unknown_partner", ALL),
    "no such partner in the last program": (
        click(brand_id="zenith", program_id="zen", partner_id="butcher"),
        "unknown_partner",
        ALL,
    ),
    "another program's partner": (click(partner_id="studio"), "unknown_partner", ALL),
    "currency of an order": (order(currency="EUR"), "currency_mismatch", ALL),
    "currency of a refund": (refund(currency="usd"), "currency_mismatch", ALL),
    "currency of another brand": (order(currency="JPY"), "currency_mismatch", ALL),
    "brand before currency": (order(brand_id="acne", currency="EUR"), "unknown_brand", ALL),
    "brand before program": (click(brand_id="acne", program_id="foes"), "unknown_brand", ALL),
    "program before partner": (click(program_id="foes", partner_id="butcher"), "unknown_program", ALL),
    "field before brand": (click(brand_id="acne", event_id=""), "invalid_field", ALL),
    "field before currency": (order(currency="EUR", amount_minor=-1), "invalid_field", ALL),
    "type before field": (order(type="buy", amount_minor=-1), "malformed", ALL),
}
CASES = invalid_cases() | REFUSED
RUNS = [(name, kind) for name, (_, _, formats) in CASES.items() for kind in formats]


@pytest.mark.parametrize("kind", FORMATS)
def test_refused(tmp_path: Path, kind: str) -> None:
    """Each case in a file of its own."""
    wrong: list[str] = []
    for name, (event, reason, formats) in CASES.items():
        if kind not in formats:
            continue
        path = write_rows(tmp_path / f"one.{kind}", [event])
        result = read(path)
        if list(result.reasons.values()) != [reason] or result.events:
            wrong.append(f"{name}: {result.reasons}, not {reason}")
    assert not wrong


def test_there_is_a_case_for_every_reason_decided_here() -> None:
    assert {reason for _, reason, _ in CASES.values()} == set(REASONS) - {"in_future", "duplicate_order"}
    assert len(RUNS) > 500


ADMITTED: dict[str, tuple[Event, Event, tuple[str, ...]]] = {
    "nothing optional": (without(without(sign_up(), "visitor_id"), "email_sha256"), {}, ALL),
    "unknown field": (click(colour="red"), {"colour": None}, ALL),
    "unknown field of a wrong type": (click(colour=1.5), {"colour": None}, TYPED),
    "another type's field": (click(amount_minor=-3), {"amount_minor": None}, ALL),
    "optional empty": (click(link_id="", country=""), {"link_id": None, "country": None}, ALL),
    "a space is text": (click(link_id=" "), {}, ALL),
    "partner of an earlier version": (click(partner_id="roaster"), {}, ALL),
    "partner of a later version": (click(partner_id="florist"), {}, ALL),
    "another brand": (click(brand_id="zenith", program_id="zen"), {}, ALL),
    "another currency": (refund(brand_id="zenith", currency="JPY"), {}, ALL),
    "amount 0": (order(amount_minor=0), {}, ALL),
    "amount largest": (order(amount_minor=MAX_AMOUNT_MINOR), {}, ALL),
    "time first": (click(occurred_at=0), {}, ALL),
    "time last": (click(occurred_at=END_TIME_MS - 1), {}, ALL),
    "time RFC 3339": (click(occurred_at="2026-01-01T01:00:00.0019+01:00"), {"occurred_at": AT + 1}, ("jsonl", "csv")),
    "chargeback": (refund(reason="chargeback"), {}, ALL),
    "cancellation": (refund(reason="cancellation"), {}, ALL),
    "beyond the basic plane": (click(campaign="\U0001f600\x00\x7f\uffff"), {}, ALL),
    "comma, quote and line ends": (click(campaign='a,"b"\r\nc\rd\n'), {}, ALL),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_admitted(tmp_path: Path, kind: str) -> None:
    wrong: list[str] = []
    for name, (event, changes, formats) in ADMITTED.items():
        if kind not in formats:
            continue
        expected = {key: value for key, value in (event | changes).items() if value is not None}
        result = read(write_rows(tmp_path / f"one.{kind}", [event]))
        if result.in_order != [expected] or result.dead:
            wrong.append(f"{name}: {result.events} {result.dead}")
    assert not wrong


@pytest.mark.parametrize("kind", FORMATS)
def test_bad_and_good_together(tmp_path: Path, kind: str) -> None:
    """A refused record never touches its neighbours."""
    events = [order(number) for number in range(200)]
    for number in range(0, 200, 3):
        events[number]["currency"] = "EUR"
    for number in range(1, 200, 10):
        events[number]["event_id"] = ""
    result = read(write_rows(tmp_path / f"all.{kind}", events), chunk_records=37)

    first = 2 if kind == "csv" else 1
    expected = {
        number + first: "invalid_field" if number % 10 == 1 else "currency_mismatch"
        for number in range(200)
        if number % 10 == 1 or number % 3 == 0
    }
    assert result.reasons == expected
    assert result.events == {n + first: e for n, e in enumerate(events) if n + first not in expected}


def test_the_table_of_a_type() -> None:
    schema = event_table_schema("order")
    assert schema.names == [*EVENT_TYPES["order"].field_names, "position", "raw"]
    assert {str(schema.field(name).type) for name in ("occurred_at", "amount_minor")} == {"int64"}
    assert (str(schema.field("position").type), str(schema.field("raw").type)) == ("uint64", "binary")
    assert event_table_schema("click").names == [*EVENT_TYPES["click"].field_names, "position"]


def test_without_programs_every_brand_is_unknown(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", mixed(8))
    result = read(path, catalogue=Catalogue.of([]))
    assert set(result.reasons.values()) == {"unknown_brand"}
    assert len(result.reasons) == 8


# in_future: for live streams only


def judge(events: list[Event], **limits: Any) -> dict[int, str]:
    positions = np.arange(len(events), dtype=np.uint64)
    candidates = from_records("click", events, positions, lambda rows: [b"" for _ in rows], is_json=True)
    table, dead = Admission(CATALOGUE).judge(candidates, "live", **limits)
    assert table.num_rows + len(dead) == len(events)
    return {letter.position: letter.reason for letter in dead}


def test_in_future_is_later_than_receipt_and_what_is_allowed() -> None:
    events = [click(occurred_at=AT + 99), click(occurred_at=AT + 100), click(occurred_at=AT + 101)]
    assert judge(events, received_at_ms=AT, max_future_ms=100) == {2: "in_future"}


def test_each_record_may_have_a_receipt_of_its_own() -> None:
    events = [click(occurred_at=AT), click(occurred_at=AT)]
    received = np.array([AT, AT - 1], dtype=np.int64)
    assert judge(events, received_at_ms=received, max_future_ms=0) == {1: "in_future"}


def test_in_future_comes_after_invalid_field_and_before_unknown_brand() -> None:
    far = AT + 10**9
    events = [click(occurred_at=far, event_id=""), click(occurred_at=far, brand_id="acne"), click(brand_id="acne")]
    reasons = judge(events, received_at_ms=AT, max_future_ms=1000)
    assert reasons == {0: "invalid_field", 1: "in_future", 2: "unknown_brand"}


def test_files_have_no_receipt() -> None:
    assert judge([click(occurred_at=END_TIME_MS - 1)]) == {}
