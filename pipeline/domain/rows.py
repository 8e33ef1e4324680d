"""The outcome rows, field for field as contract.md, section 6, names them (without ``version`` and ``is_deleted``).

Times are UTC epoch milliseconds, None where empty; money is minor units.
"""

from __future__ import annotations

from typing import NamedTuple


class AttributionRow(NamedTuple):
    """One partner's share of one conversion; a conversion that nobody earned has one row with an empty partner."""

    brand_id: str
    conversion_type: str
    customer_id: str
    conversion_id: str
    partner_id: str
    program_id: str
    order_id: str
    link_id: str
    click_id: str
    share_bps: int
    model: str
    converted_at: int
    terms_version: int
    explanation: str
    as_of: int


class ReferralRow(NamedTuple):
    """One customer credited in one program."""

    program_id: str
    customer_id: str
    partner_id: str
    status: str
    reason: str
    signed_up_at: int | None
    qualified_at: int | None
    reversed_at: int | None
    terms_version: int
    as_of: int


class LedgerRow(NamedTuple):
    """One entry of the ledger."""

    entry_id: str
    kind: str
    program_id: str
    partner_id: str
    customer_id: str
    order_id: str
    amount_minor: int
    currency: str
    occurred_at: int
    payable_at: int
    cause_event_id: str
    terms_version: int
    as_of: int


class MilestoneRow(NamedTuple):
    """Where one milestone stands for one scope and period."""

    program_id: str
    milestone_id: str
    scope_key: str
    period: str
    status: str
    count: int  # type: ignore[assignment]  # the contract's name; nobody asks how often a row holds a value
    threshold: int
    reached_at: int | None
    revoked_at: int | None
    terms_version: int
    as_of: int
