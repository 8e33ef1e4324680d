"""One customer's referral in one program (contract.md, section 4, "Referral")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.domain.attribution import ORDER_RANK, REFUND_RANK, Conversion, Credit
from pipeline.domain.contribution import Contribution, CreditedOrder, Earning, Element
from pipeline.domain.rows import ReferralRow
from pipeline.domain.story import Order, Position, Story
from pipeline.domain.terms import Program, Terms


class _Change(NamedTuple):
    """An event that sets or changes the net amount of a credited order; compares in event order."""

    position: Position
    order: Order
    net_before: int
    net_after: int


class _Transition(NamedTuple):
    position: Position
    sign: int
    order_id: str  # of the order whose event made it; "" for a sign-up


def refer(
    story: Story, program: Program, conversions: Sequence[Conversion], version: int
) -> tuple[ReferralRow, Contribution]:
    """The referral and the contribution of ``story``'s customer in ``program``.

    ``conversions`` are those that the program won, in event order; at least one. ``version`` is the number of facts
    known.
    """
    credits = {each.order.order_id: each.credit for each in conversions if each.order is not None and each.credit}
    first, first_credit = _first(program, conversions)
    changes = _changes(story, [each.order for each in conversions if each.order is not None])
    reason = _rejection(story, first, first_credit)
    transitions = [] if reason else _transitions(first, first_credit.terms, changes, credits)
    as_of = max(
        [each.position.at for each in conversions]
        + [refund.at for refund in story.refunds if refund.order_id in credits]
    )
    row = _row(story, program.id, first_credit, reason, transitions, as_of)
    elements = (
        () if reason else _elements(story.customer_id, program, first, first_credit, changes, credits, transitions)
    )
    return row, Contribution(program.id, story.customer_id, version, elements)


def _first(program: Program, conversions: Sequence[Conversion]) -> tuple[Conversion, Credit]:
    """The referral's first credited conversion: the sign-up where the program credits those, else the first order."""
    first = conversions[0]
    if program.credit == "sign_up":
        first = next(each for each in conversions if each.type == "sign_up")
    if first.credit is None:
        raise ValueError("a referral needs a credited conversion")
    return first, first.credit


def _rejection(story: Story, first: Conversion, credit: Credit) -> str:
    """The first reason for which the referral is rejected for good, or ""."""
    terms = credit.terms
    if terms.new_customers_only and any(order.at < credit.first_touch_at for order in story.accepted_orders):
        return "existing_customer"
    if (
        terms.credit == "sign_up"
        and credit.last_click_at is not None
        and first.position.at - credit.last_click_at < terms.min_click_to_sign_up_ms
    ):
        return "too_fast"
    return ""


def _changes(story: Story, orders: Sequence[Order]) -> list[_Change]:
    """Every event that sets or changes a credited order's net amount: its own, and each refund after it that lowers
    it.
    """
    changes = []
    customer_id = story.customer_id
    for order in orders:
        placed = Position(order.at, order.event_id, ORDER_RANK, customer_id)
        net = order.amount_minor
        later = []
        for refund in story.refunds:
            if refund.order_id == order.order_id:
                refunded = Position(refund.at, refund.event_id, REFUND_RANK, customer_id)
                if refunded < placed:
                    net -= refund.amount_minor  # a refund dated before its order counts from the order on
                else:
                    later.append((refunded, refund.amount_minor))
        changes.append(_Change(placed, order, 0, max(net, 0)))
        for refunded, amount in later:  # in event order, as the story's refunds are
            before, net = max(net, 0), net - amount
            if max(net, 0) != before:
                changes.append(_Change(refunded, order, before, max(net, 0)))
    if len(changes) > 1:
        changes.sort()
    return changes


def _transitions(
    first: Conversion, terms: Terms, changes: Sequence[_Change], credits: dict[str, Credit]
) -> list[_Transition]:
    if terms.qualification_event == "sign_up":
        return [_Transition(first.position, 1, "")]
    transitions: list[_Transition] = []
    enough: set[str] = set()
    for change in changes:
        order_id = change.order.order_id
        was_qualified = bool(enough)
        if change.net_after >= max(credits[order_id].terms.min_order_minor, 1):
            enough.add(order_id)
        else:
            enough.discard(order_id)
        if bool(enough) != was_qualified:
            transitions.append(_Transition(change.position, 1 if enough else -1, order_id))
    return transitions


def _row(
    story: Story, program_id: str, credit: Credit, reason: str, transitions: Sequence[_Transition], as_of: int
) -> ReferralRow:
    status = "pending"
    qualified_at = reversed_at = None
    if reason:
        status = "rejected"
    for transition in transitions:
        if transition.sign > 0:
            status, qualified_at, reversed_at = "qualified", transition.position.at, None
        else:
            status, reversed_at = "reversed", transition.position.at
    return ReferralRow(
        program_id, story.customer_id, credit.primary_partner_id, status, reason,
        story.sign_up.at if story.sign_up is not None else None,
        qualified_at, reversed_at, credit.terms.version, as_of,
    )  # fmt: skip


def _elements(
    customer_id: str, program: Program, first: Conversion, credit: Credit,
    changes: Sequence[_Change], credits: dict[str, Credit], transitions: Sequence[_Transition],
) -> tuple[Element, ...]:  # fmt: skip
    """One element for the credited sign-up and for each change of a credited order, in event order."""
    begins = transitions[0] if transitions else None
    orders = {
        change.order.order_id: _credited_order(change, credits[change.order.order_id], begins)
        for change in changes
        if change.position.rank != REFUND_RANK
    }
    transition_at = {transition.position: index for index, transition in enumerate(transitions)}
    events: list[tuple[Position, _Change | None]] = [(change.position, change) for change in changes]
    if program.credit == "sign_up":
        events.append((first.position, None))
    events.sort(key=lambda event: event[0])

    partner_id, version = credit.primary_partner_id, credit.terms.version
    elements = []
    net: dict[str, int] = {}  # of each credited order so far
    for position, change in events:
        index = transition_at.get(position)
        sign = transitions[index].sign if index is not None else 0
        undone = transitions[index - 1].position[:3] if index is not None and sign < 0 else None
        earnings: list[Earning] = []
        if begins is not None and position == begins.position:
            earnings = [Earning(orders[order_id], 0, amount) for order_id, amount in net.items() if amount]
        if change is not None:
            net[change.order.order_id] = change.net_after
            if begins is not None and position >= begins.position:
                earnings.append(Earning(orders[change.order.order_id], change.net_before, change.net_after))
        earning = tuple(each for each in earnings if each.order.earns_since is not None)
        at, event_id, rank, _ = position
        if change is None:
            elements.append(
                Element(
                    at, event_id, rank, customer_id, partner_id, version, sign, undone, True, None, False, 0, 0, earning
                )
            )
        else:
            elements.append(
                Element(
                    at, event_id, rank, customer_id, partner_id, version, sign, undone, False,
                    orders[change.order.order_id], rank != REFUND_RANK, change.net_before, change.net_after, earning,
                )
            )  # fmt: skip
    return tuple(elements)


def _credited_order(change: _Change, credit: Credit, begins: _Transition | None) -> CreditedOrder:
    order = change.order
    earns = begins is not None and (credit.terms.orders == "all" or begins.order_id == order.order_id)
    return CreditedOrder(
        order_id=order.order_id, at=order.at, event_id=order.event_id, terms_version=credit.terms.version,
        shares=tuple((share.partner_id, share.share_bps) for share in credit.shares),
        earns_since=max(begins.position.at, order.at) if begins is not None and earns else None,
    )  # fmt: skip
