"""The four event types, their canonical JSON, and times as text (contract.md, sections 1 and 2)."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.events import (
    END_TIME_MS,
    EVENT_TYPES,
    FIRST_TIME_MS,
    MAX_AMOUNT_MINOR,
    TYPE_RANK,
    canonical_json,
    rfc3339_ms,
)

CONTRACT = """
click   event_id* occurred_at* brand_id* program_id* partner_id* visitor_id* link_id landing_url referrer_url campaign variant ip user_agent country
sign_up event_id* occurred_at* brand_id* customer_id* visitor_id click_id coupon_code email_sha256 ip user_agent country
order   event_id* occurred_at* brand_id* order_id* customer_id* amount_minor* currency* visitor_id click_id coupon_code ip payment_fingerprint
refund  event_id* occurred_at* brand_id* order_id* customer_id* amount_minor* currency* reason*
"""  # noqa: E501  as the contract has it


def test_the_fields_are_the_contracts() -> None:
    table = {line.split()[0]: line.split()[1:] for line in CONTRACT.strip().splitlines()}
    ours = {
        name: [field.name + "*" * field.required for field in event_type.fields]
        for name, event_type in EVENT_TYPES.items()
    }
    assert ours == table
    assert list(EVENT_TYPES) == sorted(TYPE_RANK, key=TYPE_RANK.__getitem__) == list(table)


def test_each_type_is_keyed_by_a_required_field() -> None:
    keys = {name: each.key_field for name, each in EVENT_TYPES.items()}
    assert keys == {
        "click": "visitor_id",
        "sign_up": "customer_id",
        "order": "customer_id",
        "refund": "customer_id",
    }
    assert all(each.key_field in each.required_names for each in EVENT_TYPES.values())


def test_kinds() -> None:
    kinds = {field.name: field.kind for each in EVENT_TYPES.values() for field in each.fields if field.kind != "string"}
    assert kinds == {
        "occurred_at": "time",
        "amount_minor": "amount",
        "reason": "reason",
        "email_sha256": "sha256",
    }


def test_limits() -> None:
    end = datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC)
    assert FIRST_TIME_MS == 0
    assert int(end.timestamp() * 1000) == END_TIME_MS
    assert MAX_AMOUNT_MINOR == 9_223_372_036_854_775_807


# Canonical JSON


def test_canonical_json_has_the_known_present_fields_in_order() -> None:
    event = {
        "type": "order",
        "order_id": "o",
        "event_id": "e",
        "amount_minor": MAX_AMOUNT_MINOR,
        "visitor_id": None,
        "click_id": "",
        "link_id": "not a field of an order",
    }
    assert canonical_json("order", event) == '{"amount_minor":9223372036854775807,"event_id":"e","order_id":"o"}'


def test_canonical_json_keeps_a_zero() -> None:
    assert canonical_json("order", {"amount_minor": 0}) == '{"amount_minor":0}'


def test_canonical_json_escapes_as_rfc_8785_shows() -> None:
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"  # its section 3.2.2
    assert canonical_json("click", {"campaign": text}) == '{"campaign":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'


def test_canonical_json_escapes_nothing_else() -> None:
    assert canonical_json("click", {"campaign": "\x7f\u2028\U0001f600\x1b\b\f"}) == (
        '{"campaign":"\x7f\u2028\U0001f600\\u001b\\b\\f"}'
    )


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(EVENT_TYPES["click"].field_names), st.text(min_size=1)))
def test_canonical_json_can_be_read_back(fields: dict[str, str]) -> None:
    text = canonical_json("click", fields)
    assert json.loads(text) == fields
    assert list(json.loads(text)) == sorted(fields)


# RFC 3339

NEW_YEAR = 1_767_225_600_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01t00:00:00z", NEW_YEAR),
        ("2026-01-01 00:00:00Z", NEW_YEAR),
        ("2026-01-01T00:00:00.5Z", NEW_YEAR + 500),
        ("2026-01-01T00:00:00.123999999Z", NEW_YEAR + 123),
        ("2026-01-01T00:00:00.0009Z", NEW_YEAR),
        ("2026-01-01T01:30:00+01:30", NEW_YEAR),
        ("2025-12-31T19:00:00-05:00", NEW_YEAR),
        ("2026-01-01T00:00:00-00:00", NEW_YEAR),
        ("2026-01-01T23:59:00+23:59", NEW_YEAR),
        ("2025-12-31T23:59:60Z", NEW_YEAR),
        ("2025-12-31T23:59:60.25Z", NEW_YEAR + 250),
        ("2016-12-31T18:59:60-05:00", 1_483_228_800_000),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T05:00:00+05:00", 0),
        ("2199-12-31T23:59:59.999Z", END_TIME_MS - 1),
        ("2024-02-29T12:00:00Z", 1_709_208_000_000),
    ],
)
def test_rfc3339(text: str, at_ms: int) -> None:
    assert rfc3339_ms(text) == at_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "26-01-01T00:00:00Z",
        "20260101T000000Z",
        "2026-01-01T00:00:00Z ",
        " 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "٢٠٢٦-01-01T00:00:00Z",
        "1767225600000",
        "1969-12-31T23:59:59.9999Z",
        "1970-01-01T00:00:00+00:01",
        "2200-01-01T00:00:00Z",
        "2199-12-31T23:59:60Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_not_rfc3339_or_out_of_range(text: str) -> None:
    assert rfc3339_ms(text) is None


@settings(deadline=None)
@given(
    st.datetimes(datetime.datetime(1970, 1, 3), datetime.datetime(2199, 12, 29)),  # noqa: DTZ001 - the zone is drawn
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["milliseconds", "microseconds"]),
)
def test_rfc3339_agrees_with_datetime(naive: datetime.datetime, offset_minutes: int, timespec: str) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=offset_minutes))
    moment = naive.replace(tzinfo=zone)
    expected = (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(milliseconds=1)
    assert rfc3339_ms(moment.isoformat(timespec=timespec)) == expected
