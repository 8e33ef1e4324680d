"""What one customer contributes to one program's timeline: the hand-over from CREDIT to EARNINGS.

A contribution is a list of elements, one for each event that matters to what the program owes, each complete in
itself, so that the timeline can be folded element by element in event order. The structures are encoded as
MessagePack arrays in state and on Kafka; fields are only ever added at the end.
"""

from __future__ import annotations

import msgspec

from pipeline.domain.story import Position


class CreditedOrder(msgspec.Struct, array_like=True, frozen=True):
    """An order that the program's partners earned, under the version that sets its commission."""

    order_id: str
    at: int
    event_id: str
    terms_version: int
    shares: tuple[tuple[str, int], ...]  # (partner id, basis points), ascending partner id
    earns_since: int | None  # when it began to earn; None if it never does


class Earning(msgspec.Struct, array_like=True, frozen=True):
    """The net amount on which an order earns, before and after the element's event."""

    order: CreditedOrder
    net_before: int
    net_after: int


class Element(msgspec.Struct, array_like=True, frozen=True):
    """One event of a customer as it matters to the program."""

    at: int
    event_id: str
    rank: int
    customer_id: str
    partner_id: str  # the referral's primary partner
    terms_version: int  # the referral's
    transition: int  # +1, -1, or 0
    qualified_by: tuple[int, str, int] | None  # for a -1: (at, event_id, rank) of the +1 it undoes
    counts_sign_up: bool
    order: CreditedOrder | None  # the order whose net amount the event changed or set
    is_own_event: bool  # whether the event is that order itself
    net_before: int
    net_after: int
    earnings: tuple[Earning, ...]

    @property
    def position(self) -> Position:
        """Where it stands in event order."""
        return Position(self.at, self.event_id, self.rank, self.customer_id)


class Contribution(msgspec.Struct, array_like=True, frozen=True):
    """All of one customer's elements in one program, in event order; none if it has no (or a rejected) referral
    there.
    """

    program_id: str
    customer_id: str
    version: int  # grows with the facts known of the customer
    elements: tuple[Element, ...]
