"""Times by the thousand are the times one by one."""

from __future__ import annotations

import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.events import rfc3339_ms
from pipeline.wire.text_times import text_times

USUAL = ["2026-01-01T00:00:00Z", "2026-02-28T23:59:59.5Z", "2024-02-29T12:34:56.789Z", "1970-01-01T00:00:00.123456Z"]
OFFSETS = ["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.5-23:59", "1970-01-01T00:00:00+00:01"]
UNUSUAL = [
    "2026-01-01t00:00:00z",
    "2026-01-01 00:00:00Z",
    "2025-12-31T23:59:60Z",
    "2025-12-31T23:59:61Z",
    "2026-02-29T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00 00:00",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00.5+0000",
    "2026-01-01T00:00:00,5Z",
    "2026-01-01T00:00:00.1a3Z",
    "2200-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "0000-01-01T00:00:00Z",
    "\uff19026-01-01T00:00:00Z",  # a full-width digit
    "2026-01-01T00:00:00",
    "2026-01-01",
    "soon",
    "",
]
ALL = [*USUAL, *OFFSETS, *UNUSUAL]


def one_by_one(texts: list[str]) -> list[int | None]:
    return [rfc3339_ms(text) for text in texts]


def test_all_at_once() -> None:
    assert text_times(ALL * 3) == one_by_one(ALL) * 3


def test_many_of_each_alone() -> None:
    for text in ALL:
        assert text_times([text] * 20) == one_by_one([text]) * 20


def test_usual_times_are_not_left_to_the_slow_way() -> None:
    assert None not in text_times(USUAL * 10)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(ALL), min_size=16), st.lists(st.tuples(st.integers(0, 30), st.characters()), max_size=5)
)
def test_with_characters_replaced(texts: list[str], changes: list[tuple[int, str]]) -> None:
    for index, (at, character) in enumerate(changes):
        texts[index] = texts[index][:at] + character + texts[index][at + 1 :]
    assert text_times(texts) == one_by_one(texts)


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime.datetime(1969, 1, 1), datetime.datetime(2201, 1, 1)), min_size=16, max_size=40),  # noqa: DTZ001  the zone is drawn
    st.sampled_from(["Z", "+05:30", "-23:59"]),
    st.sampled_from(["seconds", "milliseconds", "microseconds", "auto"]),
)
def test_any_time(moments: list[datetime.datetime], zone: str, timespec: str) -> None:
    texts = [moment.isoformat(timespec=timespec) + zone for moment in moments]
    assert text_times(texts) == one_by_one(texts)
