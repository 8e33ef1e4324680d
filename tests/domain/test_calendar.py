"""Periods on a zone's clock: labels against a plain computation, and bounds against labels."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfoNotFoundError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.domain.calendar import END_MS, period_bounds, period_label, zone_info, zone_names
from pipeline.domain.terms import PeriodKind

KINDS: tuple[PeriodKind, ...] = ("day", "week", "month", "quarter", "year", "all_time")
HARD_ZONES = (
    "UTC",
    "America/New_York",
    "Europe/London",
    "Asia/Kolkata",  # +05:30
    "Asia/Kathmandu",  # +05:45, +05:30 until 1986
    "Australia/Lord_Howe",  # changes by 30 minutes
    "America/St_Johns",  # changed at a minute past midnight until 2011
    "America/Sao_Paulo",  # skipped midnights
    "Asia/Beirut",
    "Pacific/Apia",  # skipped a day
    "Pacific/Kwajalein",
    "Africa/Monrovia",  # -00:44:30 until 1972
    "Antarctica/Troll",  # changes by two hours
    "Africa/Casablanca",
    "Europe/Dublin",
)
TIMES_MS = st.one_of(
    st.integers(0, END_MS - 1),
    st.integers(0, 1_600_000_000).map(lambda second: second * 1000),
    st.integers(1, 10**6).flatmap(lambda quarter: st.integers(-1, 1).map(lambda off: quarter * 900_000 + off)),
)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def plain_label(at_ms: int, kind: PeriodKind, zone: str) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    local = moment.astimezone(zone_info(zone))
    week = local.isocalendar()
    return {
        "day": local.date().isoformat(),
        "week": f"{week.year:04d}-W{week.week:02d}",
        "month": local.date().isoformat()[:7],
        "quarter": f"{local.year:04d}-Q{(local.month - 1) // 3 + 1}",
        "year": f"{local.year:04d}",
        "all_time": "all",
    }[kind]


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("day", "2026-01-31"),
        ("week", "2026-W05"),
        ("month", "2026-01"),
        ("quarter", "2026-Q1"),
        ("year", "2026"),
        ("all_time", "all"),
    ],
)
def test_labels_are_those_of_the_contract(kind: PeriodKind, label: str) -> None:
    assert period_label(ms("2026-01-31T12:00:00Z"), kind, "UTC") == label


@pytest.mark.parametrize(
    ("day", "week"),
    [("2027-01-03", "2026-W53"), ("2027-01-04", "2027-W01"), ("2024-12-30", "2025-W01"), ("2021-01-01", "2020-W53")],
)
def test_a_week_bears_its_iso_year(day: str, week: str) -> None:
    assert period_label(ms(f"{day}T00:00:00Z"), "week", "UTC") == week


def test_a_day_begins_at_local_midnight() -> None:
    assert period_label(ms("2026-01-31T04:59:59.999Z"), "day", "America/New_York") == "2026-01-30"
    assert period_label(ms("2026-01-31T05:00:00Z"), "day", "America/New_York") == "2026-01-31"
    assert period_label(ms("2026-07-01T03:59:59.999Z"), "month", "America/New_York") == "2026-06"
    assert period_label(ms("2026-07-01T04:00:00Z"), "month", "America/New_York") == "2026-07"


def test_a_zone_with_seconds_in_its_offset() -> None:
    assert period_label(ms("1970-01-02T00:44:29.999Z"), "day", "Africa/Monrovia") == "1970-01-01"
    assert period_label(ms("1970-01-02T00:44:30Z"), "day", "Africa/Monrovia") == "1970-01-02"


def test_a_clock_set_back_over_midnight_shows_the_earlier_day_again() -> None:
    zone = "America/St_Johns"  # 2010-11-07 00:01 went back to 2010-11-06 23:01
    labels = [
        period_label(ms(f"2010-11-07T{time}Z"), "day", zone) for time in ("02:29:59", "02:30:30", "02:31", "03:31")
    ]
    assert labels == ["2010-11-06", "2010-11-07", "2010-11-06", "2010-11-07"]


@given(TIMES_MS, st.sampled_from(KINDS), st.sampled_from(HARD_ZONES))
@example(ms("2010-11-07T02:30:30+00:00"), "day", "America/St_Johns")
def test_labels_are_those_of_a_plain_computation(at_ms: int, kind: PeriodKind, zone: str) -> None:
    assert period_label(at_ms, kind, zone) == plain_label(at_ms, kind, zone)
    assert period_label(at_ms, kind, zone) == plain_label(at_ms, kind, zone)  # from what was kept


@pytest.mark.parametrize("zone", HARD_ZONES)
def test_labels_hold_around_every_clock_change(zone: str) -> None:
    for change_s in changes_s(zone):
        for off_ms in (-3_600_000, -900_001, -60_000, -1, 0, 1, 60_000, 900_000, 3_600_000):
            at_ms = change_s * 1000 + off_ms
            assert period_label(at_ms, "day", zone) == plain_label(at_ms, "day", zone)


def test_no_zone_changes_its_clock_twice_within_three_days() -> None:
    """What the kept labels rest on."""
    nearest_s = min(after - before for zone in zone_names() for before, after in pairwise(changes_s(zone)))
    assert nearest_s > 3 * 86_400


@given(TIMES_MS, st.sampled_from(KINDS), st.sampled_from(HARD_ZONES))
def test_bounds_hold_every_instant_of_their_label(at_ms: int, kind: PeriodKind, zone: str) -> None:
    start_ms, end_ms = period_bounds(period_label(at_ms, kind, zone), kind, zone)
    assert start_ms <= at_ms < end_ms


@given(TIMES_MS, st.sampled_from(KINDS[:-1]), st.sampled_from(HARD_ZONES))
def test_bounds_are_no_wider_than_their_label(at_ms: int, kind: PeriodKind, zone: str) -> None:
    label = period_label(at_ms, kind, zone)
    start_ms, end_ms = period_bounds(label, kind, zone)
    assert plain_label(start_ms, kind, zone) == plain_label(end_ms - 1, kind, zone) == label
    assert plain_label(start_ms - 1, kind, zone) != label != plain_label(end_ms, kind, zone)


@pytest.mark.parametrize(
    ("label", "kind", "zone", "start", "end"),
    [
        ("2026-01-31", "day", "America/New_York", "2026-01-31T05:00:00Z", "2026-02-01T05:00:00Z"),
        ("2026-03-08", "day", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        ("2026-W05", "week", "UTC", "2026-01-26T00:00:00Z", "2026-02-02T00:00:00Z"),
        ("2026-12", "month", "UTC", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-Q4", "quarter", "UTC", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026", "year", "Asia/Kolkata", "2025-12-31T18:30:00Z", "2026-12-31T18:30:00Z"),
        ("all", "all_time", "Asia/Kolkata", "1970-01-01T00:00:00Z", "2200-01-01T00:00:00Z"),
        ("2018-11-04", "day", "America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),  # no midnight
        ("2010-11-06", "day", "America/St_Johns", "2010-11-06T02:30:00Z", "2010-11-07T03:30:00Z"),  # ends twice
        ("2010-11-07", "day", "America/St_Johns", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),  # begins twice
        ("2011-12-30", "day", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"),  # never was
    ],
)
def test_bounds(label: str, kind: PeriodKind, zone: str, start: str, end: str) -> None:
    assert period_bounds(label, kind, zone) == (ms(start), ms(end))


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("2026-1-31", "day"),
        ("2026-02-30", "day"),
        ("2026-W54", "week"),
        ("2025-W53", "week"),
        ("2026-13", "month"),
        ("2026-Q5", "quarter"),
        ("26", "year"),
        ("2026", "all_time"),
        ("2026-01", "day"),
    ],
)
def test_what_is_no_label_is_refused(label: str, kind: PeriodKind) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of the words are Python's
        period_bounds(label, kind, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../UTC", "Europe", "america/new_york", "localtime"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        period_label(0, "day", zone)


def changes_s(zone: str) -> list[int]:
    """The seconds at which the zone's offset changes, from its file (RFC 8536)."""
    data = resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()

    def counts(at: int) -> tuple[int, ...]:
        return struct.unpack(">6l", data[at + 20 : at + 44])

    utc_flags, wall_flags, leaps, times, types, letters = counts(0)
    at = 44 + times * 5 + types * 6 + letters + leaps * 8 + wall_flags + utc_flags
    _, _, _, times, types, _ = counts(at)
    at += 44
    seconds = struct.unpack(f">{times}q", data[at : at + 8 * times])
    indexes = data[at + 8 * times : at + 9 * times]
    at += 9 * times
    offsets = [struct.unpack(">l", data[at + 6 * index : at + 6 * index + 4])[0] for index in range(types)]
    changes, current = [], offsets[0]
    for second, index in zip(seconds, indexes, strict=True):
        if offsets[index] != current:
            changes.append(second)
            current = offsets[index]
    return changes
