"""How one conversion's credit is split over its candidates (contract.md, section 4, "Credit").

Shares are basis points that sum to 10 000. Quotas are cut to whole points and the rest is dealt by the largest remainder,
ties to the earlier touchpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from pipeline.domain.terms import Model

WHOLE_BPS = 10_000

# Enough digits that a weight is exact far beyond the 1e-9 to which a quota is rounded.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NANO = Decimal("1e-9")


def split(model: Model, click_times_ms: Sequence[int], half_life_ms: int) -> list[int]:
    """Shares in basis points for candidates at ``click_times_ms``, which are in event order; at least one.

    A share may be 0 where there are many candidates: that candidate then has no credit.
    """
    count = len(click_times_ms)
    if model == "last_touch" or count == 1:
        return [0] * (count - 1) + [WHOLE_BPS]
    if model == "first_touch":
        return [WHOLE_BPS] + [0] * (count - 1)
    if model == "linear":
        return _deal([WHOLE_BPS] * count, count)
    if model == "position_based":
        if count == 2:
            return [5_000, 5_000]
        middle = count - 2
        return _deal([4_000 * middle, *[2_000] * middle, 4_000 * middle], middle)
    return _time_decay(click_times_ms, half_life_ms)


def _time_decay(click_times_ms: Sequence[int], half_life_ms: int) -> list[int]:
    """Weights 2^(-(c_last - c) / half_life), quotas rounded to 1e-9 of a basis point before the remainder is dealt."""
    last = click_times_ms[-1]
    two = Decimal(2)
    weights = [
        _EXACT.power(two, _EXACT.divide(Decimal(at - last), Decimal(half_life_ms))) if at != last else Decimal(1)
        for at in click_times_ms
    ]
    total = Decimal(0)
    for weight in weights:
        total = _EXACT.add(total, weight)
    scale = 10**9
    nano_quotas = [
        int(_EXACT.divide(_EXACT.multiply(weight, Decimal(WHOLE_BPS)), total).quantize(_NANO, context=_EXACT) * scale)
        for weight in weights
    ]
    return _deal(nano_quotas, scale)


def _deal(numerators: Sequence[int], denominator: int) -> list[int]:
    """Whole points for the quotas ``numerator / denominator`` by the largest remainder, ties to the earlier."""
    shares = [numerator // denominator for numerator in numerators]
    left = WHOLE_BPS - sum(shares)
    if left:
        by_remainder = sorted(range(len(shares)), key=lambda index: (-(numerators[index] % denominator), index))
        for index in by_remainder[:left]:
            shares[index] += 1
    return shares
