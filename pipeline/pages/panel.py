"""What a panel is, and the pieces that panels' SQL is put together from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Visual = Literal["stat", "time_series", "bar", "progress", "table"]
Unit = Literal["count", "money", "percent", "text"]

_NOW_MS: Final = "toUnixTimestamp64Milli(now64(3))"

PARAMETERS: Final[Mapping[str, str]] = {
    "{zone:String}": "(SELECT if(uniqExact(time_zone) = 1, any(time_zone), 'UTC') FROM partner_programs)",
    "{now_ms:Int64}": _NOW_MS,
    "{final_until_ms:Int64}": (
        f"(SELECT if(max(is_live), toUnixTimestamp64Milli(max(final_through)), {_NOW_MS}) FROM partner_programs)"
    ),
}
"""The query parameters that a panel may use, and what to write in their place where there are none (Grafana)."""

NOW: Final = "fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC')"
FINAL_UNTIL: Final = "fromUnixTimestamp64Milli({final_until_ms:Int64}, 'UTC')"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. Columns of money end in ``_minor``, in the program's currency; those that end in ``_share`` are parts
    of one; ``time`` begins a local day.
    """

    id: str
    title: str
    description: str
    visual: Visual
    unit: Unit
    sql: str


def period_label(kind: str, at: str) -> str:
    """The label (contract.md, section 6: ``2026-W05``) of the period of a kind that holds an instant, on the program's
    clock; both are SQL.
    """
    return (
        f"multiIf({kind} = 'day', formatDateTime({at}, '%Y-%m-%d', {{zone:String}}), "
        f"{kind} = 'week', concat(toString(toISOYear({at}, {{zone:String}})), '-W', "
        f"leftPad(toString(toISOWeek({at}, {{zone:String}})), 2, '0')), "
        f"{kind} = 'month', formatDateTime({at}, '%Y-%m', {{zone:String}}), "
        f"{kind} = 'quarter', concat(toString(toYear({at}, {{zone:String}})), '-Q', "
        f"toString(toQuarter({at}, {{zone:String}}))), "
        f"{kind} = 'year', toString(toYear({at}, {{zone:String}})), 'all')"
    )


IS_IN_FORCE: Final = f"(effective_from <= {NOW} AND effective_until > {NOW})"


def in_force(view: str) -> str:
    """The rows of a view of terms that are in force now, as a subquery."""
    return f"(SELECT * FROM {view} WHERE {IS_IN_FORCE})"


def by_share(amount: str) -> str:
    """A partner's part of orders' amounts, summed exactly and rounded once, half to even."""
    return f"toInt64(round(sum(toDecimal128({amount}, 4) * share_bps / 10000)))"
