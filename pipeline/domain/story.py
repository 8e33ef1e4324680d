"""One customer's story in one brand: the facts from which everything about that customer is decided.

Facts only ever grow in number. Where copies of an event differed, the one that counts was chosen before
(contract.md, section 2, "Repeats"). Times are UTC epoch milliseconds; an absent text is "".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Position(NamedTuple):
    """Where an event stands in event order (contract.md, section 4); compares by exactly these fields."""

    at: int
    event_id: str
    rank: int  # click 0, sign_up 1, order 2, refund 3
    key: str  # the visitor of a click, else the customer


class Click(NamedTuple):
    """A click of a visitor that belongs to the customer; compares in event order."""

    at: int
    event_id: str
    visitor_id: str
    program_id: str
    partner_id: str
    link_id: str


class SignUp(NamedTuple):
    """A sign-up; compares in event order."""

    at: int
    event_id: str
    visitor_id: str
    click_id: str
    coupon_code: str
    email_sha256: str


class Order(NamedTuple):
    """An order; compares in event order."""

    at: int
    event_id: str
    order_id: str
    amount_minor: int
    visitor_id: str
    click_id: str
    coupon_code: str


class Refund(NamedTuple):
    """A refund, chargeback or cancellation of an order; compares in event order."""

    at: int
    event_id: str
    order_id: str
    amount_minor: int


class Story:
    """All facts known of one customer in one brand, in event order. Immutable by convention: nothing changes it.

    ``sign_up`` is the customer's first. Of ``orders`` with one order_id the smallest by (occurred_at, event_id) is
    among ``accepted_orders``, the others are ``duplicate_orders`` and take no part in anything. ``bound_since`` gives
    the time from which a visitor belongs to the customer.
    """

    __slots__ = (
        "accepted_orders", "bound_since", "brand_id", "clicks", "customer_id", "duplicate_orders", "refunds", "sign_up",
        "sign_ups",
    )  # fmt: skip

    def __init__(
        self, brand_id: str, customer_id: str, sign_ups: Sequence[SignUp] = (), orders: Sequence[Order] = (),
        refunds: Sequence[Refund] = (), clicks: Sequence[Click] = (),
    ) -> None:  # fmt: skip
        self.brand_id = brand_id
        self.customer_id = customer_id
        self.sign_ups = sorted(sign_ups)
        self.refunds = sorted(refunds)
        self.clicks = sorted(clicks)
        self.sign_up = self.sign_ups[0] if sign_ups else None
        self.accepted_orders: list[Order] = []
        self.duplicate_orders: list[Order] = []
        seen: set[str] = set()
        for order in sorted(orders):
            (self.duplicate_orders if order.order_id in seen else self.accepted_orders).append(order)
            seen.add(order.order_id)
        self.bound_since: dict[str, int] = {}
        bindings: list[SignUp | Order] = [*self.sign_ups, *self.accepted_orders]
        for event in bindings:
            visitor_id, at = event.visitor_id, event.at
            if visitor_id and at < self.bound_since.get(visitor_id, at + 1):
                self.bound_since[visitor_id] = at

    def touchpoints_at(self, at_ms: int) -> list[Click]:
        """The clicks dated no later than ``at_ms`` of the visitors bound by an event dated no later, in event order."""
        bound = self.bound_since
        never = at_ms + 1
        return [click for click in self.clicks if click.at <= at_ms and bound.get(click.visitor_id, never) <= at_ms]
