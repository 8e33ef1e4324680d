"""One customer's story in one brand: the facts from which everything about that customer is decided.

Facts only ever grow in number. Where copies of an event differed, the one that counts was chosen before
(contract.md, section 2, "Repeats"). Times are UTC epoch milliseconds; an absent text is "".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Story:
    """All facts known of one customer in one brand, each list in event order.

    ``orders`` holds every distinct order event, those that turn out to be duplicates included.
    """

    brand_id: str
    customer_id: str
    sign_ups: Sequence[SignUp] = ()
    orders: Sequence[Order] = ()
    refunds: Sequence[Refund] = ()
    clicks: Sequence[Click] = ()

    @cached_property
    def sign_up(self) -> SignUp | None:
        """The customer's sign-up: its first in the brand."""
        return self.sign_ups[0] if self.sign_ups else None

    @cached_property
    def accepted_orders(self) -> tuple[Order, ...]:
        """Of the orders with one order_id the smallest by (occurred_at, event_id), in event order."""
        first: dict[str, Order] = {}
        for order in self.orders:
            first.setdefault(order.order_id, order)
        return tuple(first.values())

    @cached_property
    def duplicate_orders(self) -> tuple[Order, ...]:
        """The order events that repeat an order_id; each is a dead letter and takes no part in anything."""
        accepted = {order.event_id for order in self.accepted_orders}
        return tuple(order for order in self.orders if order.event_id not in accepted)

    @cached_property
    def bound_since(self) -> dict[str, int]:
        """Visitor id to the time from which it belongs to the customer."""
        bound: dict[str, int] = {}
        for event in (*self.sign_ups, *self.accepted_orders):
            if event.visitor_id and event.at < bound.get(event.visitor_id, event.at + 1):
                bound[event.visitor_id] = event.at
        return bound

    def touchpoints_at(self, at_ms: int) -> list[Click]:
        """The clicks dated no later than ``at_ms`` of the visitors bound by an event dated no later, in event order."""
        bound = self.bound_since
        never = at_ms + 1
        return [click for click in self.clicks if click.at <= at_ms and bound.get(click.visitor_id, never) <= at_ms]

    def refunds_of(self, order_id: str) -> list[Refund]:
        """The refunds of one order, in event order."""
        return [refund for refund in self.refunds if refund.order_id == order_id]
