"""Scenes of brands that credit each order on its own, each with a known ending (see :mod:`pipeline.demo.scenes`)."""

from __future__ import annotations

from typing import Final

from pipeline.demo.cast import DAY_MS, HOUR_MS, MINUTE_MS, SEASON_END_MS, Program
from pipeline.demo.scenes import Scene, basket, before_the_end, longest_window_ms, opening
from pipeline.demo.story import Bought, Credit, Story, World, soon

THIRDS: Final = (3334, 3333, 3333)
"""What is left over by a split in three goes to the earliest touchpoint."""


def clicks_and_buys(world: World, program: Program, leave_ms: int = 6 * HOUR_MS) -> tuple[Story, str, Bought]:
    """A click, mostly an account, and the order that the click leads to; the story, its partner and the order."""
    story, partner = world.story(program.id), world.partner(program)
    at_ms = opening(world, program, leave_ms)
    story.click(at_ms, partner)
    at_ms = before_the_end(world, at_ms + soon(world), min(leave_ms, 4 * HOUR_MS))
    if world.rng.random() < 0.7:
        story.signs_up(at_ms, None)
        at_ms += world.between(MINUTE_MS, 20 * MINUTE_MS)
    return story, partner, story.buys(at_ms, basket(world, program), story.credit(partner))


def one_order(world: World, program: Program) -> None:
    """The usual: a click, an order, and perhaps another long after, which nobody led to."""
    story, _, bought = clicks_and_buys(world, program)
    at_ms = bought.when[0] + longest_window_ms(program) + world.between(2 * DAY_MS, 25 * DAY_MS)
    if world.rng.random() < 0.5 and at_ms < SEASON_END_MS - HOUR_MS:
        story.buys(at_ms, basket(world, program))
    story.ends("qualified")


def two_orders(world: World, program: Program) -> None:
    """The same click is still in its window when the customer orders again."""
    story, partner, bought = clicks_and_buys(world, program, 14 * DAY_MS)
    at_ms = bought.when[0] + world.between(DAY_MS, 6 * DAY_MS)
    story.buys(at_ms, basket(world, program), story.credit(partner))
    story.ends("qualified")


def equal_parts(world: World, program: Program) -> None:
    """Two or three partners' links before one order: equal parts."""
    a, b, c = world.partners(program, 3)
    path, shares, primary = world.rng.choice(
        (
            ((a, b), ((a, 5000), (b, 5000)), b),
            ((a, b), ((a, 5000), (b, 5000)), b),
            ((a, b, c), ((a, THIRDS[0]), (b, THIRDS[1]), (c, THIRDS[2])), a),
            ((a, b, a), ((a, THIRDS[0] + THIRDS[2]), (b, THIRDS[1])), a),
        )
    )
    story, at_ms = world.story(program.id), opening(world, program, 12 * DAY_MS)
    for partner in path:
        at_ms += world.between(HOUR_MS, DAY_MS)
        story.click(at_ms, partner)
    story.buys(at_ms + soon(world), basket(world, program), Credit("linear", shares, primary))
    story.ends("qualified")


def click_before_coupon(world: World, program: Program) -> None:
    """Types in one partner's code after clicking another's link: here the click goes first."""
    owner = world.rng.choice([each for each in program.partners if each in program.coupons])
    clicked = next(each for each in world.partners(program, 2) if each != owner)
    story, at_ms = world.story(program.id), opening(world, program)
    story.click(at_ms, clicked)
    at_ms = before_the_end(world, at_ms + soon(world), 4 * HOUR_MS)
    story.buys(at_ms, basket(world, program), story.credit(clicked), coupon_code=program.coupons[owner])
    story.ends("qualified")


def coupon_alone(world: World, program: Program) -> None:
    """A code and no click."""
    owner = world.rng.choice([each for each in program.partners if each in program.coupons])
    story, at_ms = world.story(program.id), opening(world, program)
    story.buys(at_ms, basket(world, program), story.credit(owner, "coupon"), coupon_code=program.coupons[owner])
    story.ends("qualified")


def names_the_click(world: World, program: Program) -> None:
    """The order carries the id of one of two clicks, and that one is not shared."""
    named, other = world.partners(program, 2)
    story, at_ms = world.story(program.id), opening(world, program)
    click_id = story.click(at_ms, named)
    story.click(at_ms + world.between(MINUTE_MS, HOUR_MS), other)
    at_ms = before_the_end(world, at_ms + HOUR_MS + soon(world), 4 * HOUR_MS)
    story.buys(at_ms, basket(world, program), story.credit(named, "click_id"), click_id=click_id)
    story.ends("qualified")


def too_late(world: World, program: Program) -> None:
    """The click is days past its window when the customer orders."""
    window_ms = longest_window_ms(program)
    story, at_ms = world.story(program.id), opening(world, program, window_ms + 16 * DAY_MS)
    story.click(at_ms, world.partner(program))
    story.buys(at_ms + window_ms + world.between(2 * DAY_MS, 15 * DAY_MS), basket(world, program))
    story.ends("none")


def comes_alone(world: World, program: Program) -> None:
    """Nobody sent this customer."""
    story, at_ms = world.story(program.id), opening(world, program)
    if world.rng.random() < 0.5:
        story.signs_up(at_ms - 30 * MINUTE_MS, None)
    story.buys(at_ms, basket(world, program))
    story.ends("none")


def sends_it_back(world: World, program: Program) -> None:
    """One order, returned whole or charged back."""
    story, _, bought = clicks_and_buys(world, program, 16 * DAY_MS)
    reason = world.rng.choice(("refund", "refund", "chargeback", "cancellation"))
    story.returns(bought, bought.when[0] + world.between(HOUR_MS, 9 * DAY_MS), reason=reason)
    story.ends("reversed")


def sends_some_back(world: World, program: Program) -> None:
    """A part goes back, in two parcels; what stays is enough."""
    story, partner = world.story(program.id), world.partner(program)
    at_ms = opening(world, program, 16 * DAY_MS)
    story.click(at_ms, partner)
    bought = story.buys(at_ms + soon(world), basket(world, program, 6000), story.credit(partner))
    at_ms = bought.when[0] + world.between(HOUR_MS, 3 * DAY_MS)
    story.returns(bought, at_ms, bought.amount_minor // 7)
    story.returns(bought, at_ms + world.between(HOUR_MS, 3 * DAY_MS), bought.amount_minor // 9)
    story.ends("qualified")


def new_phone(world: World, program: Program) -> None:
    """Has an account on the laptop; clicks and orders on a phone, which the order ties to the account."""
    story, partner = world.story(program.id), world.partner(program)
    at_ms, phone = opening(world, program, 12 * DAY_MS), world.token("v")
    story.signs_up(at_ms, None)
    at_ms += world.between(DAY_MS, 3 * DAY_MS)
    story.click(at_ms, partner, visitor_id=phone)
    story.buys(at_ms + soon(world), basket(world, program), story.credit(partner), visitor_id=phone)
    story.ends("qualified")


def a_week_apart(world: World, program: Program) -> None:
    """Two clicks exactly one half-life apart: a third and two thirds."""
    first, last = world.partners(program, 2)
    story, at_ms = world.story(program.id), opening(world, program, 16 * DAY_MS)
    story.click(at_ms, first)
    story.click(at_ms + 7 * DAY_MS, last)
    at_ms += 7 * DAY_MS + soon(world)
    story.buys(at_ms, basket(world, program), Credit("time_decay", ((first, 3333), (last, 6667)), last))
    story.ends("qualified")


def no_stranger(world: World, program: Program) -> None:
    """Bought before the partner's link was clicked: no new customer, so nothing is earned."""
    story, at_ms = world.story(program.id), opening(world, program, 40 * DAY_MS)
    story.buys(at_ms, basket(world, program))
    at_ms += world.between(8 * DAY_MS, 25 * DAY_MS)
    partner = world.partner(program)
    story.click(at_ms, partner)
    story.buys(at_ms + soon(world), basket(world, program), story.credit(partner))
    story.ends("rejected", "existing_customer")


_COMMON: Final[dict[Scene, int]] = {
    one_order: 40,
    two_orders: 12,
    too_late: 7,
    comes_alone: 10,
    sends_it_back: 5,
    sends_some_back: 4,
    new_phone: 3,
}
ORDER_SCENES: Final[dict[str, dict[Scene, int]]] = {
    "roaster-circle": {**_COMMON, equal_parts: 22, click_before_coupon: 4, coupon_alone: 3, names_the_click: 2},
    "florist-bloom": {**_COMMON, a_week_apart: 14, no_stranger: 5},
}
"""How often each scene is played in each program."""
