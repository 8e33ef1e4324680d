"""Contract section 4, Credit: how the models share 10 000 basis points among the candidates of one conversion."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction

WHOLE = Fraction(10_000)
NINE_DIGITS = Decimal("1e-9")
PRECISE = Context(prec=60, Emin=-(10**15), Emax=10**15, rounding=ROUND_HALF_EVEN)


def largest_remainder(quotas: list[Fraction]) -> list[int]:
    """ "Splits into basis points use the largest remainder, ties to the earlier touchpoint, so that parts sum to the
    whole." Quotas come earliest touchpoint first.
    """
    parts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda i: (-(quotas[i] - parts[i]), i))
    for i in by_remainder[: 10_000 - sum(parts)]:
        parts[i] += 1
    assert sum(parts) == 10_000
    return parts


def time_decay_quotas(times_ms: list[int], half_life_ms: int) -> list[Fraction]:
    """ "weights 2^(-(c_last - c)/half_life), quotas rounded to 1e-9 of a basis point before the remainder is dealt"."""
    with localcontext(PRECISE):
        weights = [Decimal(2) ** (-(Decimal(max(times_ms) - at) / Decimal(half_life_ms))) for at in times_ms]
        quotas = [10_000 * weight / sum(weights) for weight in weights]
        return [Fraction(quota.quantize(NINE_DIGITS)) for quota in quotas]


def model_shares(model: str, times_ms: list[int], half_life_ms: int) -> list[int]:
    """Basis points for each candidate click, earliest first; some may be 0.

    "`last_touch`/`first_touch` the last/first candidate; `linear` equal; `position_based` 40/20/40, the middle shared
    equally, two candidates 50/50; `time_decay` weights ..."
    """
    count = len(times_ms)
    if model == "first_touch":
        return [10_000] + [0] * (count - 1)
    if model == "last_touch":
        return [0] * (count - 1) + [10_000]
    if model == "linear":
        return largest_remainder([WHOLE / count] * count)
    if model == "position_based":
        if count == 1:
            return [10_000]
        if count == 2:
            return [5_000, 5_000]
        middle = WHOLE * Fraction(20, 100) / (count - 2)
        return largest_remainder([Fraction(4_000), *[middle] * (count - 2), Fraction(4_000)])
    if model == "time_decay":
        return largest_remainder(time_decay_quotas(times_ms, half_life_ms))
    raise ValueError(f"{model!r} is no attribution model")
