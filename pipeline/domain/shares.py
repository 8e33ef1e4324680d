"""How one conversion's credit is split over its candidates (contract.md, section 4, "Credit").

Shares are basis points that sum to 10 000. Quotas are cut to whole points and the rest is dealt by the largest
remainder, ties to the earlier touchpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise

from pipeline.domain.terms import Model

WHOLE_BPS = 10_000

# Enough digits that a quota is exact far beyond the 1e-9 to which it is rounded.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_CLEAR = 1e-6


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
    """Weights 2^(-(c_last - c) / half_life), quotas rounded to 1e-9 of a basis point before the remainder is dealt.

    Binary floating point is far nearer to the true quotas than :data:`_CLEAR`. Where no quota is that near to a whole
    point, and no two remainders that near to each other, neither its error nor the rounding can move a share.
    """
    last = click_times_ms[-1]
    weights = [2.0 ** ((at - last) / half_life_ms) for at in click_times_ms]
    scale = WHOLE_BPS / sum(weights)
    quotas = [weight * scale for weight in weights]
    shares = [int(quota) for quota in quotas]
    remainders = [quota - share for quota, share in zip(quotas, shares, strict=True)]
    ascending = sorted(remainders)
    gaps = pairwise(ascending)
    if ascending[0] < _CLEAR or ascending[-1] > 1 - _CLEAR or any(above - below < _CLEAR for below, above in gaps):
        return _time_decay_exactly(click_times_ms, half_life_ms)
    for index in sorted(range(len(shares)), key=lambda index: -remainders[index])[: WHOLE_BPS - sum(shares)]:
        shares[index] += 1
    return shares


def _time_decay_exactly(click_times_ms: Sequence[int], half_life_ms: int) -> list[int]:
    last = click_times_ms[-1]
    two = Decimal(2)
    weights = [_EXACT.power(two, _EXACT.divide(Decimal(at - last), Decimal(half_life_ms))) for at in click_times_ms]
    total = Decimal(0)
    for weight in weights:
        total = _EXACT.add(total, weight)
    nano = 10**9
    nano_quotas = [
        int(_EXACT.divide(_EXACT.multiply(weight, Decimal(WHOLE_BPS * nano)), total).to_integral_value(ROUND_HALF_EVEN))
        for weight in weights
    ]
    return _deal(nano_quotas, nano)


def _deal(numerators: Sequence[int], denominator: int) -> list[int]:
    """Whole points for the quotas ``numerator / denominator`` by the largest remainder, ties to the earlier."""
    shares = [numerator // denominator for numerator in numerators]
    left = WHOLE_BPS - sum(shares)
    if left:
        by_remainder = sorted(range(len(shares)), key=lambda index: (-(numerators[index] % denominator), index))
        for index in by_remainder[:left]:
            shares[index] += 1
    return shares
