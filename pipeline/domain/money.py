"""Amounts of commission: integers of minor units, rounded once, half to even (contract.md, section 4)."""

from __future__ import annotations

from collections.abc import Iterable

BPS = 10_000
LARGEST_MINOR = 2**63 - 1
"""No amount exceeds it; a commission that would (boosts on an order of this size) is this much."""


def round_half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` to the nearest integer, halves to the even one; ``denominator`` is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


def percentage_commission(net_minor: int, rate_bps: int, multipliers_bps: Iterable[int], share_bps: int) -> int:
    """``net x rate x boosts x share`` in minor units."""
    numerator = net_minor * rate_bps * share_bps
    denominator = BPS * BPS
    for multiplier in multipliers_bps:
        numerator *= multiplier
        denominator *= BPS
    return min(round_half_even(numerator, denominator), LARGEST_MINOR)


def flat_commission(net_minor: int, amount_minor: int, multipliers_bps: Iterable[int], share_bps: int) -> int:
    """``amount x boosts x share`` in minor units while the net is at least 1, else 0."""
    if net_minor < 1:
        return 0
    numerator = amount_minor * share_bps
    denominator = BPS
    for multiplier in multipliers_bps:
        numerator *= multiplier
        denominator *= BPS
    return min(round_half_even(numerator, denominator), LARGEST_MINOR)
