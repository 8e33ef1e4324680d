"""Splitting the credit: the fast path of time decay gives what exact arithmetic gives, to the basis point."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import shares
from pipeline.domain.shares import WHOLE_BPS, split
from tests.drawn import DRAWN
from tests.reference.shares import model_shares

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
HALF_LIVES = (SECOND, 60_000, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 7 * DAY + 1)
MODELS = ("first_touch", "last_touch", "linear", "position_based", "time_decay")


def random_times(chooser: random.Random, half_life_ms: int) -> list[int]:
    """Clicks up to some half-lives apart; whole half-lives, equal times and neighbouring milliseconds among them."""
    count = chooser.choice((2, 2, 3, 3, 4, 5, 8, 13, 40))
    steps = (0, 0, 1, half_life_ms, half_life_ms // 2, half_life_ms // 3, half_life_ms - 1, half_life_ms + 1)
    at, times = 0, []
    for _ in range(count):
        wide = int(chooser.expovariate(1) * half_life_ms)
        at += chooser.choice((*steps, wide, wide, wide, chooser.randrange(1, 1_000)))
        times.append(at)
    return times


@pytest.mark.parametrize("part", range(4))
def test_the_fast_path_is_exact_on_random_clicks(part: int) -> None:
    chooser = random.Random(part)
    for _ in range(600):
        half_life_ms = chooser.choice(HALF_LIVES)
        times = random_times(chooser, half_life_ms)
        assert split("time_decay", times, half_life_ms) == shares._time_decay_exactly(times, half_life_ms), times


ADVERSARIAL: list[tuple[str, list[int], int]] = [
    ("equal times", [0] * 3, DAY),
    ("equal times, many", [0] * 7_001, DAY),
    ("more clicks than basis points", [0] * 10_001, DAY),
    ("whole half-lives: 1 to 2 to 4", [0, DAY, 2 * DAY], DAY),
    ("whole half-lives: quotas on whole points", [0, DAY, DAY, DAY, DAY], DAY),
    ("two equal pairs", [0, 0, DAY, DAY], DAY),
    ("pairs a millisecond apart", [0, 1, DAY, DAY + 1], 30 * DAY),
    ("a millisecond apart, for a whole minute", list(range(0, 60_000, 100)), 30 * DAY),
    ("a weight of nothing", [0, 10**12], SECOND),
    ("half the clicks weigh nothing", [0] * 50 + [10**12] * 3, SECOND),
    ("two hundred years", [0, 7_258_118_399_999], 30 * DAY),
    ("one in sixteen thousand", [0, 14 * DAY], DAY),
    ("five against five", [0] * 5 + [DAY] * 5, DAY),
    ("a remainder of exactly a half twice", [0, 0, 3 * DAY], DAY),
]


@pytest.mark.parametrize(("times", "half_life_ms"), [pytest.param(t, h, id=name) for name, t, h in ADVERSARIAL])
def test_the_fast_path_is_exact_on_adversarial_clicks(times: list[int], half_life_ms: int) -> None:
    fast = split("time_decay", times, half_life_ms)
    assert fast == shares._time_decay_exactly(times, half_life_ms)
    assert sum(fast) == WHOLE_BPS


def near_ties() -> list[tuple[list[int], int]]:
    """For two clicks, the gaps whose quotas lie nearest to a half or a whole basis point: found by bisection."""
    found = []
    half_life_ms = 36_500 * DAY  # the longer, the nearer a gap in milliseconds comes to a tie
    for target in (5_000.5, 4_999.0, 4_000.5, 3_333.0, 2_500.5, 2_500.0, 1_250.0, 1.0, 0.5):
        low, high = 0, 20 * half_life_ms
        while high - low > 1:
            middle = (low + high) // 2
            weight = 2.0 ** (-middle / half_life_ms)
            if weight / (1 + weight) * WHOLE_BPS > target:
                low = middle
            else:
                high = middle
        found += [([0, gap], half_life_ms) for gap in range(low - 2, low + 4) if gap >= 0]
    return found


def test_the_fast_path_is_exact_next_to_ties() -> None:
    for times, half_life_ms in near_ties():
        assert split("time_decay", times, half_life_ms) == shares._time_decay_exactly(times, half_life_ms), times


def test_the_fast_path_gives_way_where_it_is_not_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal remainders are a tie, which only exact arithmetic may decide; plain clicks never need it."""
    calls: list[Any] = []
    monkeypatch.setattr(shares, "_time_decay_exactly", lambda times, _: calls.append(times) or [])
    split("time_decay", [0, HOUR, 5 * HOUR], DAY)
    assert calls == []
    split("time_decay", [0, 0, 5 * HOUR], DAY)
    assert calls == [[0, 0, 5 * HOUR]]


@DRAWN
@given(
    st.sampled_from(MODELS),
    st.lists(st.integers(0, 60 * DAY), min_size=1, max_size=12).map(sorted),
    st.sampled_from(HALF_LIVES),
)
def test_every_model_shares_the_whole_as_the_reference_does(model: Any, times: list[int], half_life_ms: int) -> None:
    found = split(model, times, half_life_ms)
    assert sum(found) == WHOLE_BPS
    assert all(share >= 0 for share in found)
    assert found == model_shares(model, times, half_life_ms)


@pytest.mark.parametrize("model", MODELS)
def test_one_click_has_it_all(model: Any) -> None:
    assert split(model, [5], DAY) == [WHOLE_BPS]
