"""Contract section 4, Referral: status and transitions of each (program, customer), evaluated after each event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .admission import Event
from .credit import Decision, Story
from .terms import Program, Version


@dataclass(frozen=True)
class Order:
    """A credited order of a referral, with the version that its credit, commission, tiers and minimum follow."""

    decision: Decision
    event: Event
    position: int
    refunds: list[tuple[int, Event]]
    terms: Version

    def net_at(self, position: int) -> int:
        """ "amount less its refunds so far, at least 0; a refund dated before its order counts from the order on"."""
        if position < self.position:
            return 0
        refunded = sum(int(refund["amount_minor"]) for at, refund in self.refunds if at <= position)
        return max(0, int(self.event["amount_minor"]) - refunded)


@dataclass(frozen=True)
class Transition:
    """ "Each change is a transition (+1 or -1) at the event that made it, and counts for the primary partner." """

    position: int
    event: Event
    referral: Referral
    step: int


@dataclass(eq=False)
class Referral:
    """ "One per (program, customer) with any credit; its primary partner is that of its first credited conversion."

    Positions are indexes into the program's timeline: its brand's sign-ups, orders and refunds in event order.
    """

    program: Program
    customer_id: str
    partner_id: str
    terms: Version
    first: Decision
    sign_up: Event | None
    sign_up_position: int | None
    orders: list[Order]
    rejection: str
    transitions: list[Transition] = field(default_factory=list)

    def qualified_at(self, position: int) -> bool:
        """Whether the referral is qualified after the event at `position`."""
        if self.rejection:
            return False  # "It earns nothing and counts nowhere."
        if self.terms.qualified_by == "sign_up":
            # "with event = "sign_up" it is `qualified` from the sign-up"
            return self.sign_up_position is not None and self.sign_up_position <= position
        # "With event = "order" it is `qualified` while some credited order has a net amount of at least
        # max(min_order_minor, 1)"
        return any(order.net_at(position) >= max(order.terms.min_order_minor, 1) for order in self.orders)

    @property
    def first_qualified(self) -> Transition | None:
        """The first +1, None before it."""
        return next((t for t in self.transitions if t.step == +1), None)

    def row(self) -> dict[str, Any]:
        """The row of `referrals`; `as_of` is "the referral's latest order or refund" (or its first conversion)."""
        last = self.transitions[-1] if self.transitions else None
        gained = [t for t in self.transitions if t.step == +1]
        if self.rejection:
            status = "rejected"
        elif last is None:
            status = "pending"  # "before that `pending`, after it `reversed`"
        else:
            status = "qualified" if last.step == +1 else "reversed"
        facts = [self.first.conversion] + [order.event for order in self.orders]
        facts += [refund for order in self.orders for _, refund in order.refunds]
        return {
            "program_id": self.program.id,
            "customer_id": self.customer_id,
            "partner_id": self.partner_id,
            "status": status,
            "reason": self.rejection,
            "signed_up_at": None if self.sign_up is None else self.sign_up["occurred_at"],
            "qualified_at": gained[-1].event["occurred_at"] if gained else None,  # "the latest +1"
            "reversed_at": last.event["occurred_at"] if last and status == "reversed" else None,
            "terms_version": self.terms.version,
            "as_of": max(fact["occurred_at"] for fact in facts),
        }


def find_referral(
    program: Program, story: Story, decided: list[Decision], timeline: list[Event], refunds: list[Event]
) -> Referral | None:
    """The customer's referral in a program, transitions still empty; None without any credit."""
    won = [d for d in decided if d.program is program]
    if not won:
        return None

    def position(event: Event) -> int:
        return next(i for i, other in enumerate(timeline) if other is event)

    # "follow the version in force at its credited conversion (the sign-up; with credit = "order" each order's credit,
    # commission, tiers and minimum follow the order's version, the rest the first credited order's)"; an inherited
    # order's decision already carries the sign-up's version.
    if program.credit == "sign_up":
        first = next(d for d in decided if d.conversion["type"] == "sign_up")
    else:
        first = min(won, key=lambda d: position(d.conversion))
    assert first.program is program
    assert first.version is not None
    orders = []
    for decision in won:
        order = decision.conversion
        if order["type"] == "order":
            assert decision.version is not None
            own = [(position(r), r) for r in refunds if _belongs(r, order)]
            orders.append(Order(decision, order, position(order), own, decision.version))
    return Referral(
        program=program,
        customer_id=story.customer_id,
        partner_id=first.primary_partner,
        terms=first.version,
        first=first,
        sign_up=story.sign_up,
        sign_up_position=None if story.sign_up is None else position(story.sign_up),
        orders=sorted(orders, key=lambda o: o.position),
        rejection=_rejection(story, first),
    )


def _belongs(refund: Event, order: Event) -> bool:
    return all(refund[name] == order[name] for name in ("brand_id", "customer_id", "order_id"))


def _rejection(story: Story, first: Decision) -> str:
    """ "`rejected`, for good, if (first that applies)"; the reason, "" if none."""
    assert first.version is not None
    # "`existing_customer`: new_customers_only and the customer has an accepted order in the brand, refunded or not,
    # strictly before the earliest credited touchpoint of that conversion"
    earliest = min(touchpoint.at for touchpoint, _ in first.credited)
    if first.version.new_customers_only and any(order["occurred_at"] < earliest for order in story.orders):
        return "existing_customer"
    # "`too_fast` (credit = "sign_up" only): the sign-up came sooner after the last credited click than
    # min_click_to_sign_up"
    clicks = [touchpoint.at for touchpoint, _ in first.credited if touchpoint.click is not None]
    waited = first.conversion["occurred_at"] - max(clicks, default=0)
    if first.version.credit == "sign_up" and clicks and waited < first.version.min_click_to_sign_up:
        return "too_fast"
    return ""


def find_transitions(timeline: list[Event], referrals: list[Referral]) -> list[Transition]:
    """ "everything from transitions on is evaluated after each event in that order": each change of each referral."""
    transitions = []
    for position, event in enumerate(timeline):
        for referral in referrals:
            step = int(referral.qualified_at(position)) - int(referral.qualified_at(position - 1))
            if step:
                transition = Transition(position, event, referral, step)
                referral.transitions.append(transition)
                transitions.append(transition)
    return transitions
