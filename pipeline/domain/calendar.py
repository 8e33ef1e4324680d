"""Calendar periods local to a time zone (contract.md, sections 3 and 6).

Clock changes come from the package tzdata alone, never from the machine's own zone files, so that every worker gives an
instant the same label. Zone files are read at a zone's first use, and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.domain.terms import PeriodKind

FIRST_MS: Final = 0
"""1970-01-01T00:00:00Z, the first time that an event or a term may name."""
END_MS: Final = 7_258_118_400_000
"""2200-01-01T00:00:00Z, the first time that no event or term may name."""

_HOUR_MS: Final = 3_600_000
_QUARTER_MS: Final = 900_000
_MAX_BUCKETS: Final = 200_000  # 22 years of hours, some 25 MB
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_SECOND: Final = timedelta(seconds=1)

_Labels = dict[str, dict[str, dict[int, str | None]]]  # by kind, zone and number of the bucket
_hours: _Labels = {}
_quarters: _Labels = {}


@cache
def zone_names() -> frozenset[str]:
    """The IANA time zones that tzdata knows, old names included."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache
def zone_info(zone: str) -> ZoneInfo:
    """The zone's clock as tzdata has it; ZoneInfoNotFoundError if it is not an IANA zone."""
    if zone not in zone_names():
        raise ZoneInfoNotFoundError(f"no IANA time zone is called {zone!r}")
    with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=zone)


def period_label(at_ms: int, kind: PeriodKind, zone: str) -> str:
    """The calendar period of ``kind`` that holds ``at_ms`` on the zone's clock.

    ``2026-01-31`` | ``2026-W05`` (ISO week and its year) | ``2026-01`` | ``2026-Q1`` | ``2026`` | ``all``.
    Called for each transition and order: labels are kept by hours and quarters of an hour that lie within one period.
    """
    if kind == "all_time":
        return "all"
    try:
        label = _hours[kind][zone][at_ms // _HOUR_MS]
    except KeyError:
        label = _whole_bucket_label(at_ms, kind, zone, _hours, _HOUR_MS)
    if label is not None:
        return label
    try:
        label = _quarters[kind][zone][at_ms // _QUARTER_MS]
    except KeyError:
        label = _whole_bucket_label(at_ms, kind, zone, _quarters, _QUARTER_MS)
    return _exact_label(at_ms, kind, zone) if label is None else label


def period_bounds(label: str, kind: PeriodKind, zone: str) -> tuple[int, int]:
    """The UTC milliseconds [start, end) that hold every instant of a period; ValueError if it is no label of ``kind``.

    Neighbours overlap where a zone set its clock back over midnight (St. John's until 2011, for an hour), and a day
    that a zone skipped has start = end (Apia's 2011-12-30). ``all`` is 1970 to 2199.
    """
    if kind == "all_time":
        if label != "all":
            raise ValueError(f"{label!r} is not an all-time period; write 'all'")
        return FIRST_MS, END_MS
    first_day, next_day = _days(label, kind)
    clock = zone_info(zone)
    return _midnight_ms(first_day, clock, fold=0), _midnight_ms(next_day, clock, fold=1)


def _whole_bucket_label(at_ms: int, kind: PeriodKind, zone: str, kept: _Labels, length_ms: int) -> str | None:
    """Keep and return the one label of the bucket around ``at_ms``; None where the bucket has, or may have, several.

    The two ends decide: a zone never changes its clock twice within three days (a test holds tzdata to that), so equal
    offsets at both ends mean a steady clock between them, and a steady clock never comes back to a label.
    """
    bucket = at_ms // length_ms
    start_ms, last_ms = bucket * length_ms, (bucket + 1) * length_ms - 1
    label: str | None = _exact_label(start_ms, kind, zone)
    steady = _local(start_ms, zone).utcoffset() == _local(last_ms, zone).utcoffset()
    if not steady or label != _exact_label(last_ms, kind, zone):
        label = None
    labels = kept.setdefault(kind, {}).setdefault(zone, {})
    if len(labels) >= _MAX_BUCKETS:
        labels.clear()
    labels[bucket] = label
    return label


def _exact_label(at_ms: int, kind: PeriodKind, zone: str) -> str:
    return _LABEL_OF[kind](_local(at_ms, zone))


def _local(at_ms: int, zone: str) -> datetime:
    """The zone's wall clock at ``at_ms``, cut to the second: no clock change falls within one."""
    return datetime.fromtimestamp(at_ms // 1000, zone_info(zone))


def _week_label(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


_LABEL_OF: Final[dict[PeriodKind, Callable[[datetime], str]]] = {
    "day": lambda day: f"{day.year:04d}-{day.month:02d}-{day.day:02d}",
    "week": _week_label,
    "month": lambda day: f"{day.year:04d}-{day.month:02d}",
    "quarter": lambda day: f"{day.year:04d}-Q{(day.month + 2) // 3}",
    "year": lambda day: f"{day.year:04d}",
}

_PATTERN: Final[dict[PeriodKind, tuple[re.Pattern[str], str]]] = {
    "day": (re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"), "2026-01-31"),
    "week": (re.compile(r"([0-9]{4})-W([0-9]{2})"), "2026-W05"),
    "month": (re.compile(r"([0-9]{4})-([0-9]{2})"), "2026-01"),
    "quarter": (re.compile(r"([0-9]{4})-Q([1-4])"), "2026-Q1"),
    "year": (re.compile(r"([0-9]{4})"), "2026"),
}


def _days(label: str, kind: PeriodKind) -> tuple[date, date]:
    """The first day of a period and of the next one."""
    pattern, example = _PATTERN[kind]
    match = pattern.fullmatch(label)
    if match is None:
        raise ValueError(f"{label!r} is not a {kind}; write it like {example}")
    numbers = [int(group) for group in match.groups()]
    if kind == "day":
        first = date(*numbers)
        return first, first + timedelta(days=1)
    if kind == "week":
        first = date.fromisocalendar(numbers[0], numbers[1], 1)
        return first, first + timedelta(days=7)
    months = {"month": 1, "quarter": 3, "year": 12}[kind]
    month_0 = (numbers[1] - 1) * months if len(numbers) > 1 else 0
    first = date(numbers[0], month_0 + 1, 1)
    next_month = first.month + months
    return first, date(first.year + (next_month - 1) // 12, (next_month - 1) % 12 + 1, 1)


def _midnight_ms(day: date, clock: ZoneInfo, fold: int) -> int:
    """The instant when ``day`` begins: with fold 0 the first, with fold 1 the last that could be meant.

    A midnight that the clock skips begins at the change that skips it.
    """
    early_s, late_s = (_midnight_s(day, clock, each) for each in (0, 1))
    if early_s <= late_s:  # one midnight, or two as the clock is set back
        return (early_s if fold == 0 else late_s) * 1000
    before_s, after_s = late_s, early_s  # skipped: read with either offset, it lies on either side of the change
    old_offset_s = _offset_s(datetime.fromtimestamp(before_s, clock))
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(datetime.fromtimestamp(middle_s, clock)) == old_offset_s:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s * 1000


def _midnight_s(day: date, clock: ZoneInfo, fold: int) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=clock, fold=fold)
    return (day.toordinal() - _EPOCH_DAY) * 86_400 - _offset_s(midnight)


def _offset_s(moment: datetime) -> int:
    return (moment.utcoffset() or timedelta()) // _SECOND
