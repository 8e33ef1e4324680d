"""What a referral comes to by how it stands now, to be held against the sum of its ledger entries.

The ledger is made of changes, one at a time. Here nothing is added up over time: an order's commission is that of its
last net amount, a reward and bonuses are those of the +1 that stands. Both must come to the same (contract.md,
section 4, "Ledger": it "sums to what is owed").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.domain.contribution import Earning, Element
from pipeline.domain.earnings import Recall, boosts_of
from pipeline.domain.money import flat_commission, percentage_commission
from pipeline.domain.rows import LedgerRow
from pipeline.domain.terms import Program

Balance = Counter[tuple[str, str, str]]
"""Minor units by what they are for (commission, bonus or reward), partner, and order ("" but for commission)."""

_FOR: Final = {
    "accrual": "commission", "clawback": "commission", "bonus": "bonus", "bonus_clawback": "bonus",
    "customer_reward": "reward", "customer_reward_clawback": "reward",
}  # fmt: skip


def standing_balance(program: Program, elements: Sequence[Element], recall: Recall) -> Balance:
    """What one customer's elements, in event order, come to in the end; amounts of 0 are left out."""
    balance: Balance = Counter()
    last: dict[str, Earning] = {}
    holds: Element | None = None  # the +1 that is not undone
    for element in elements:
        for earning in element.earnings:
            last[earning.order.order_id] = earning
        if element.transition:
            holds = element if element.transition > 0 else None
    for order_id, earning in last.items():
        order = earning.order
        terms = program.numbered(order.terms_version)
        earned = percentage_commission if terms.commission_kind == "percentage" else flat_commission
        rates = recall(order.at, order.event_id, 2, elements[0].customer_id).rates
        for (partner_id, share_bps), rate in zip(order.shares, rates, strict=True):
            boosts = boosts_of(program, partner_id, order.at)
            balance["commission", partner_id, order_id] += earned(earning.net_after, rate, boosts, share_bps)
    if holds is not None:
        reward_minor = program.numbered(holds.terms_version).customer_reward_minor
        balance["reward", holds.partner_id, ""] += reward_minor
        for slot in recall(holds.at, holds.event_id, holds.rank, holds.customer_id).slots:
            balance["bonus", holds.partner_id, ""] += slot.amount_minor
    return Counter({key: amount for key, amount in balance.items() if amount})


def entered_balance(entries: Iterable[LedgerRow]) -> Balance:
    """The sums of ledger entries, but for milestones' awards, which are no one referral's; sums of 0 are left out."""
    balance: Balance = Counter()
    for entry in entries:
        if entry.kind in _FOR:
            balance[_FOR[entry.kind], entry.partner_id, entry.order_id] += entry.amount_minor
    return Counter({key: amount for key, amount in balance.items() if amount})
