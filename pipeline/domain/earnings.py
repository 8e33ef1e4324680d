"""What a program owes: the fold over its timeline (contract.md, section 4, from "Commission" on).

:func:`advance` takes one element and the counters as they stand before it, and gives the counters that change, the
ledger rows that its event causes, and what later elements need to know of it (:class:`Memo`). It is pure: equal
counters and element give an equal result, whatever came in which order. How far a fold has come is the step's
business.

A counter's key is a tuple that begins with what it counts:
    ("tier", partner, period kind, period)          net qualified referrals
    ("bonus", bonus id, period, partner or "")      slots taken
    (metric, period kind, period, partner or "*")   the metric; net_revenue_minor in 1/10 000 of a minor unit
    ("milestone", id, scope_key, period)            where the milestone stands: a MilestoneState
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from pipeline.domain.calendar import period_label
from pipeline.domain.contribution import CreditedOrder, Earning, Element
from pipeline.domain.money import BPS, flat_commission, percentage_commission
from pipeline.domain.rows import LedgerRow, MilestoneRow
from pipeline.domain.terms import Milestone, Program, Terms

CounterKey = tuple[str, ...]
EVERYONE = "*"  # no partner id holds it


class Slot(msgspec.Struct, array_like=True, frozen=True):
    """A bonus slot that a referral holds."""

    bonus_id: str
    period: str
    counted_for: str  # the partner with scope "partner", else ""
    amount_minor: int
    terms_version: int
    payable_at: int


class Award(msgspec.Struct, array_like=True, frozen=True):
    """A milestone award that was paid and not taken back."""

    partner_id: str
    amount_minor: int
    terms_version: int
    payable_at: int


class MilestoneState(msgspec.Struct, array_like=True, frozen=True):
    """Where a milestone stands after its latest change."""

    status: str
    count: int
    threshold: int
    reached_at: int | None
    revoked_at: int | None
    terms_version: int
    as_of: int
    awards: tuple[Award, ...] = ()
    reachings: int = 0  # how often it was reached, in event order, up to that change

    @property
    def revocations(self) -> int:
        """How often a reaching was revoked: each but the one that stands."""
        return self.reachings - (self.status == "reached")


class Memo(msgspec.Struct, array_like=True, frozen=True):
    """What later elements need of an earlier one: an order's rates, and the bonus slots that a +1 took."""

    rates: tuple[int, ...] = ()  # rate_bps or amount_minor for each of the order's shares
    slots: tuple[Slot, ...] = ()


Read = Callable[[CounterKey], Any]
Recall = Callable[[int, str, int, str], Memo]  # (at, event_id, rank, customer_id) of an earlier element


@dataclass(slots=True)
class Advance:
    """The result of one element."""

    changes: dict[CounterKey, Any] = field(default_factory=dict)
    entries: list[LedgerRow] = field(default_factory=list)
    memo: Memo = field(default_factory=Memo)


class Plan:
    """What must be counted for a program, whichever of its versions is in force."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.tier_kinds = tuple(sorted({terms.tier_period for terms in program.versions if terms.tiers}))
        self.metric_kinds: dict[str, tuple[str, ...]] = {
            metric: tuple(
                sorted(
                    {each.period for terms in program.versions for each in terms.milestones if each.metric == metric}
                )
            )
            for metric in ("qualified_referrals", "sign_ups", "net_revenue_minor")
        }

    def period(self, at_ms: int, kind: str) -> str:
        """The label of the period of ``kind`` that holds ``at_ms``, in the program's time zone."""
        return period_label(at_ms, kind, self.program.time_zone)  # type: ignore[arg-type]  # kinds come from the terms


class _Fold:
    """One call of :func:`advance`: the counters as seen through the changes made so far."""

    def __init__(self, plan: Plan, element: Element, read: Read, recall: Recall) -> None:
        self.plan = plan
        self.program = plan.program
        self.element = element
        self.recall = recall
        self.result = Advance()
        self._read = read

    def get(self, key: CounterKey) -> Any:
        changes = self.result.changes
        return changes[key] if key in changes else self._read(key)

    def add(self, key: CounterKey, amount: int) -> None:
        self.result.changes[key] = (self.get(key) or 0) + amount

    def enter(
        self, kind: str, partner_id: str, amount_minor: int, payable_at: int, terms_version: int,
        subject: Sequence[str], customer_id: str = "", order_id: str = "",
    ) -> None:  # fmt: skip
        """Write a ledger entry at this element's event, unless its amount is 0."""
        if not amount_minor:
            return
        element = self.element
        cause = (element.at, element.event_id, element.rank, element.customer_id)
        self.result.entries.append(
            LedgerRow(
                entry_id(self.program.id, kind, partner_id, customer_id, subject, cause),
                kind, self.program.id, partner_id, customer_id, order_id, amount_minor, self.program.currency,
                element.at, payable_at, element.event_id, terms_version, element.at,
            )
        )  # fmt: skip


def entry_id(
    program_id: str, kind: str, partner_id: str, customer_id: str, subject: Sequence[str], cause: Sequence[str | int]
) -> str:
    """An id from causes alone: 32 hex digits of SHA-256 over their JSON array.

    ``subject`` is the order, or the bonus or milestone with its period; ``cause`` the event's position in event
    order. Its time belongs to it: an event of which an earlier copy turns up is another cause, whose entries replace
    the first's.
    """
    causes = orjson.dumps([program_id, kind, partner_id, customer_id, *subject, *cause])
    return hashlib.sha256(causes).hexdigest()[:32]


def advance(plan: Plan, element: Element, read: Read, recall: Recall) -> Advance:
    """Fold one element; ``read`` gives a counter's value before it (None: not yet counted), ``recall`` an earlier
    memo.
    """
    fold = _Fold(plan, element, read, recall)
    if element.transition:
        for kind in plan.tier_kinds:
            fold.add(("tier", element.partner_id, kind, plan.period(element.at, kind)), element.transition)
    rates = _rates(fold, element.order) if element.is_own_event and element.order is not None else ()
    for earning in element.earnings:
        _earn(fold, earning, rates)
    slots: tuple[Slot, ...] = ()
    if element.transition:
        _reward(fold)
        slots = _bonuses(fold)
    _milestones(fold, _count_metrics(fold))
    fold.result.memo = Memo(rates, slots)
    return fold.result


def _rates(fold: _Fold, order: CreditedOrder) -> tuple[int, ...]:
    """For each share of the order its tier's rate (or flat amount) at the order's own event, else the program's."""
    terms = fold.program.numbered(order.terms_version)
    flat = terms.commission_kind == "flat"
    base = terms.amount_minor if flat else terms.rate_bps
    if not terms.tiers:
        return (base,) * len(order.shares)
    period = fold.plan.period(order.at, terms.tier_period)
    rates = []
    for partner_id, _ in order.shares:
        referrals = fold.get(("tier", partner_id, terms.tier_period, period)) or 0
        rate = base
        for tier in terms.tiers:
            if tier.from_referrals <= referrals:
                rate = tier.amount_minor if flat else tier.rate_bps
        rates.append(rate)
    return tuple(rates)


def _earn(fold: _Fold, earning: Earning, own_rates: tuple[int, ...]) -> None:
    """Enter what the change of an order's earning net earns, or takes back from, each credited partner."""
    order = earning.order
    element = fold.element
    is_own = element.is_own_event and element.order is not None and element.order.order_id == order.order_id
    rates = own_rates if is_own else fold.recall(order.at, order.event_id, 2, element.customer_id).rates
    terms = fold.program.numbered(order.terms_version)
    earned = percentage_commission if terms.commission_kind == "percentage" else flat_commission
    earns_since = order.earns_since if order.earns_since is not None else element.at
    payable_at = earns_since + terms.hold_ms
    for (partner_id, share_bps), rate in zip(order.shares, rates, strict=True):
        boosts = boosts_of(fold.program, partner_id, order.at)
        before = earned(earning.net_before, rate, boosts, share_bps)
        after = earned(earning.net_after, rate, boosts, share_bps)
        kind = "accrual" if after > before else "clawback"
        fold.enter(
            kind, partner_id, after - before, max(element.at, payable_at), terms.version,
            (order.order_id,), element.customer_id, order.order_id,
        )  # fmt: skip


def boosts_of(program: Program, partner_id: str, ordered_at: int) -> tuple[int, ...]:
    """Multipliers of the boosts in force for the partner at the order, by the version at the order."""
    terms = program.in_force_at(ordered_at)
    if terms is None or not terms.boosts:
        return ()
    return tuple(
        boost.multiplier_bps
        for boost in terms.boosts
        if boost.from_ms <= ordered_at < boost.until_ms and boost.partner_id in (None, partner_id)
    )


def _reward(fold: _Fold) -> None:
    """The customer's side: an entry at each +1, taken back at each -1."""
    element = fold.element
    terms = fold.program.numbered(element.terms_version)
    if element.transition > 0:
        fold.enter(
            "customer_reward", element.partner_id, terms.customer_reward_minor, element.at + terms.hold_ms,
            terms.version, ("",), element.customer_id,
        )  # fmt: skip
    elif element.qualified_by is not None:
        payable_at = max(element.at, element.qualified_by[0] + terms.hold_ms)
        fold.enter(
            "customer_reward_clawback", element.partner_id, -terms.customer_reward_minor, payable_at,
            terms.version, ("",), element.customer_id,
        )  # fmt: skip


def _bonuses(fold: _Fold) -> tuple[Slot, ...]:
    """Slots that a +1 takes; a -1 frees those of the +1 that it undoes."""
    element = fold.element
    if element.transition < 0:
        if element.qualified_by is not None:
            for slot in fold.recall(*element.qualified_by, element.customer_id).slots:
                fold.add(("bonus", slot.bonus_id, slot.period, slot.counted_for), -1)
                fold.enter(
                    "bonus_clawback", element.partner_id, -slot.amount_minor, max(element.at, slot.payable_at),
                    slot.terms_version, (slot.bonus_id, slot.period), element.customer_id,
                )  # fmt: skip
        return ()
    terms = fold.program.in_force_at(element.at)
    taken = []
    for bonus in terms.bonuses if terms is not None else ():
        period = fold.plan.period(element.at, bonus.period)
        counted_for = element.partner_id if bonus.scope == "partner" else ""
        key = ("bonus", bonus.id, period, counted_for)
        if terms is None or (fold.get(key) or 0) >= bonus.first:
            continue
        fold.add(key, 1)
        payable_at = element.at + terms.hold_ms
        taken.append(Slot(bonus.id, period, counted_for, bonus.amount_minor, terms.version, payable_at))
        fold.enter(
            "bonus", element.partner_id, bonus.amount_minor, payable_at, terms.version,
            (bonus.id, period), element.customer_id,
        )  # fmt: skip
    return tuple(taken)


def _count_metrics(fold: _Fold) -> dict[str, dict[str, int]]:
    """Count this element into every metric; returns the partners whose figure changed, by metric."""
    element = fold.element
    changed: dict[str, dict[str, int]] = {}
    if element.transition:
        changed["qualified_referrals"] = {element.partner_id: element.transition}
    if element.counts_sign_up:
        changed["sign_ups"] = {element.partner_id: 1}
    if element.order is not None and element.net_after != element.net_before:
        difference = element.net_after - element.net_before
        changed["net_revenue_minor"] = {partner_id: difference * share for partner_id, share in element.order.shares}
    for metric, deltas in changed.items():
        for kind in fold.plan.metric_kinds[metric]:
            period = fold.plan.period(element.at, kind)
            for partner_id, delta in deltas.items():
                fold.add((metric, kind, period, partner_id), delta)
                fold.add((metric, kind, period, EVERYONE), delta)
    return changed


def _milestones(fold: _Fold, changed: dict[str, dict[str, int]]) -> None:
    """Evaluate each milestone of the version at the event whose metric the event changed."""
    if not changed:
        return
    terms = fold.program.in_force_at(fold.element.at)
    if terms is None:
        return
    for milestone in terms.milestones:
        partners = changed.get(milestone.metric)
        if not partners:
            continue
        period = fold.plan.period(fold.element.at, milestone.period)
        if milestone.scope == "program":
            _evaluate(fold, terms, milestone, EVERYONE, period, ())
        elif milestone.scope == "group":
            if any(member in partners for member in milestone.partners):
                _evaluate(fold, terms, milestone, "+".join(milestone.partners), period, milestone.partners)
        else:
            for partner_id in sorted(partners):
                _evaluate(fold, terms, milestone, partner_id, period, (partner_id,))


def _evaluate(
    fold: _Fold, terms: Terms, milestone: Milestone, scope_key: str, period: str, members: Sequence[str]
) -> None:
    unit = BPS if milestone.metric == "net_revenue_minor" else 1
    counted = members or (EVERYONE,)
    figures = [fold.get((milestone.metric, milestone.period, period, member)) or 0 for member in counted]
    total = sum(figures)
    holds = total >= milestone.threshold * unit
    if milestone.scope == "group":
        holds = holds and all(figure >= milestone.each_at_least * unit for figure in figures)

    key = ("milestone", milestone.id, scope_key, period)
    at = fold.element.at
    before: MilestoneState = fold.get(key) or MilestoneState("open", 0, 0, None, None, 0, 0)
    status, reached_at, revoked_at, awards = before.status, before.reached_at, before.revoked_at, before.awards
    reachings = before.reachings
    if holds and status != "reached":
        status, reached_at, revoked_at = "reached", at, None
        reachings += 1
        awards = tuple(
            Award(member, milestone.award_minor, terms.version, at + terms.hold_ms)
            for member in members
            if milestone.award_minor
        )
        for award in awards:
            fold.enter(
                "milestone_award", award.partner_id, award.amount_minor, award.payable_at, award.terms_version,
                (milestone.id, period, scope_key),
            )  # fmt: skip
    elif not holds and status == "reached" and milestone.revocable:
        status, revoked_at = "revoked", at
        for award in awards:
            fold.enter(
                "milestone_revocation", award.partner_id, -award.amount_minor, max(at, award.payable_at),
                award.terms_version, (milestone.id, period, scope_key),
            )  # fmt: skip
        awards = ()
    fold.result.changes[key] = MilestoneState(
        status, total // unit, milestone.threshold, reached_at, revoked_at, terms.version, at, awards,
        reachings,
    )  # fmt: skip


def milestone_row(program_id: str, key: CounterKey, state: MilestoneState) -> MilestoneRow:
    """The outcome row of a milestone's counter."""
    _, milestone_id, scope_key, period = key
    return MilestoneRow(
        program_id, milestone_id, scope_key, period, state.status, state.count, state.threshold,
        state.reached_at, state.revoked_at, state.terms_version, state.as_of,
    )  # fmt: skip
