"""Scenes that happen to many customers of brands whose sign-up binds the customer, each with a known ending.

A scene takes the world and a program, picks who plays, and tells one story. Clicks stay clear of the windows' edges by
days, and each device belongs to one customer unless the scene is about that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.demo.cast import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SEASON_END_MS,
    SEASON_START_MS,
    SECOND_MS,
    Program,
    duration_ms,
)
from pipeline.demo.story import Bought, Credit, Status, Story, World, soon

Scene = Callable[[World, Program], None]


def opening(world: World, program: Program, leave_ms: int = 6 * HOUR_MS) -> int:
    """A moment for a scene's first click that leaves so much of the season to play in."""
    start_ms = max(SEASON_START_MS, program.versions[0].effective_from_ms) + HOUR_MS
    return world.moment(start_ms, SEASON_END_MS - leave_ms)


def before_the_end(world: World, at_ms: int, leave_ms: int) -> int:
    """The moment itself, or one some hours before the season's end."""
    return min(at_ms, SEASON_END_MS - leave_ms - world.between(0, 30 * MINUTE_MS))


def basket(world: World, program: Program, least_minor: int = 0) -> int:
    """The amount of an order: some of the shop's things, and enough to count."""
    prices = program.brand.prices_minor
    least_minor = max(least_minor, program.versions[-1].least_order_minor)
    amount = sum(world.rng.choices(prices, k=1 + int(world.rng.random() * 4)))
    while amount < least_minor:
        amount += world.rng.choice(prices)
    return amount


def longest_window_ms(program: Program) -> int:
    """The longest click window of all versions."""
    return max(duration_ms(version.table("attribution").get("click_window", "30d")) for version in program.versions)


def first_order(story: Story, after_ms: int, least_minor: int = 0) -> Bought:
    """An order within a day of the sign-up."""
    world = story.world
    at_ms = before_the_end(world, after_ms + world.between(MINUTE_MS, 20 * HOUR_MS), 2 * HOUR_MS)
    return story.buys(at_ms, basket(world, story.program, least_minor))


def shops(story: Story, after_ms: int) -> None:
    """A first order, and as the season allows some more, all well inside the order window."""
    world, program = story.world, story.program
    at_ms = first_order(story, after_ms).when[0]
    window_ms = duration_ms(program.versions[0].table("attribution").get("order_window", "365d"))
    for _ in range(world.rng.choice((0, 0, 0, 1, 1, 2, 3))):
        at_ms += world.between(3 * DAY_MS, 30 * DAY_MS)
        if at_ms >= min(SEASON_END_MS - HOUR_MS, after_ms + window_ms - 2 * DAY_MS):
            return
        story.buys(at_ms, basket(world, program))


def arrives(world: World, program: Program, leave_ms: int = 6 * HOUR_MS) -> tuple[Story, int]:
    """A customer who clicks one partner's link and signs up with the same device; the story and the time of sign-up."""
    story, partner = world.story(program.id), world.partner(program)
    at_ms = opening(world, program, leave_ms)
    story.click(at_ms, partner)
    at_ms = before_the_end(world, at_ms + soon(world), min(leave_ms, 4 * HOUR_MS))
    story.signs_up(at_ms, story.credit(partner))
    return story, at_ms


def after(program: Program, by_order: Status) -> Status:
    """How a story ends that ends thus where orders qualify: with event = "sign_up" nothing that follows matters."""
    return by_order if program.qualifies_by_order else "qualified"


def one_click(world: World, program: Program) -> None:
    """The usual: a click, a sign-up, some orders."""
    story, at_ms = arrives(world, program)
    shops(story, at_ms)
    story.ends("qualified")


def never_orders(world: World, program: Program) -> None:
    """Signs up, and that is all so far."""
    story, _ = arrives(world, program)
    story.ends(after(program, "pending"))


def small_order(world: World, program: Program) -> None:
    """Orders less than the program asks for."""
    story, at_ms = arrives(world, program)
    story.buys(at_ms + HOUR_MS, world.rng.choice((420, 650, 895, 1150)))
    story.ends("pending")


def two_clicks(world: World, program: Program) -> None:
    """One partner begins it, another closes it: the model takes the first or the last."""
    first, last = world.partners(program, 2)
    story, at_ms = world.story(program.id), opening(world, program, 9 * DAY_MS)
    story.click(at_ms, first)
    at_ms += world.between(HOUR_MS, 8 * DAY_MS)
    story.click(at_ms, last)
    at_ms = before_the_end(world, at_ms + soon(world), 4 * HOUR_MS)
    story.signs_up(at_ms, story.credit(first if program.model == "first_touch" else last))
    shops(story, at_ms)
    story.ends("qualified")


def coupon_takes_over(world: World, program: Program) -> None:
    """Clicks one partner's link, then types in another's code, which takes the whole credit."""
    owner = world.rng.choice([each for each in program.partners if each in program.coupons])
    other = next(each for each in world.partners(program, 2) if each != owner)
    story, at_ms = world.story(program.id), opening(world, program)
    story.click(at_ms, other)
    at_ms = before_the_end(world, at_ms + soon(world), 4 * HOUR_MS)
    story.signs_up(at_ms, story.credit(owner, "coupon"), coupon_code=program.coupons[owner])
    shops(story, at_ms)
    story.ends("qualified")


def coupon_alone(world: World, program: Program) -> None:
    """A code from a parcel's leaflet, and no click at all."""
    owner = world.rng.choice([each for each in program.partners if each in program.coupons])
    story, at_ms = world.story(program.id), opening(world, program)
    story.signs_up(at_ms, story.credit(owner, "coupon"), coupon_code=program.coupons[owner])
    shops(story, at_ms)
    story.ends("qualified")


def names_the_click(world: World, program: Program) -> None:
    """The sign-up form carries the id of a click that the model would have passed over."""
    first, last = world.partners(program, 2)
    story, at_ms = world.story(program.id), opening(world, program)
    first_click = story.click(at_ms, first)
    last_click = story.click(at_ms + world.between(MINUTE_MS, HOUR_MS), last)
    named = (last, last_click) if program.model == "first_touch" else (first, first_click)
    at_ms = before_the_end(world, at_ms + HOUR_MS + soon(world), 4 * HOUR_MS)
    story.signs_up(at_ms, story.credit(named[0], "click_id"), click_id=named[1])
    shops(story, at_ms)
    story.ends("qualified")


def too_late(world: World, program: Program) -> None:
    """The click is days past its window when the customer signs up: nobody is credited."""
    window_ms = longest_window_ms(program)
    story, at_ms = world.story(program.id), opening(world, program, window_ms + 16 * DAY_MS)
    story.click(at_ms, world.partner(program))
    at_ms += window_ms + world.between(2 * DAY_MS, 15 * DAY_MS)
    story.signs_up(at_ms, None)
    shops(story, at_ms)
    story.ends("none")


def comes_alone(world: World, program: Program) -> None:
    """Nobody sent this customer."""
    story, at_ms = world.story(program.id), opening(world, program)
    story.signs_up(at_ms, None)
    shops(story, at_ms)
    story.ends("none")


def sends_it_back(world: World, program: Program) -> None:
    """One order, returned whole or charged back."""
    story, at_ms = arrives(world, program, 16 * DAY_MS)
    bought = first_order(story, at_ms)
    reason = world.rng.choice(("refund", "refund", "chargeback", "cancellation"))
    story.returns(bought, bought.when[0] + world.between(HOUR_MS, 9 * DAY_MS), reason=reason)
    story.ends(after(program, "reversed"))


def sends_some_back(world: World, program: Program) -> None:
    """A fifth of a large order goes back; what stays is still enough."""
    story, at_ms = arrives(world, program, 16 * DAY_MS)
    bought = first_order(story, at_ms, 6000)
    story.returns(bought, bought.when[0] + world.between(HOUR_MS, 9 * DAY_MS), bought.amount_minor // 5)
    story.ends("qualified")


def keeps_too_little(world: World, program: Program) -> None:
    """Most of an order goes back; commission stays for the rest, but the referral no longer counts."""
    story, at_ms = arrives(world, program, 16 * DAY_MS)
    bought = first_order(story, at_ms, 4000)
    back_minor = bought.amount_minor - world.rng.choice((300, 455, 999))
    story.returns(bought, bought.when[0] + world.between(HOUR_MS, 9 * DAY_MS), back_minor)
    story.ends(after(program, "reversed"))


def gives_it_another_try(world: World, program: Program) -> None:
    """Returns the first order, and keeps the second."""
    story, at_ms = arrives(world, program, 30 * DAY_MS)
    bought = first_order(story, at_ms)
    at_ms = bought.when[0] + world.between(HOUR_MS, 9 * DAY_MS)
    story.returns(bought, at_ms)
    story.buys(at_ms + world.between(DAY_MS, 12 * DAY_MS), basket(world, program))
    story.ends("qualified")


def clock_runs_ahead(world: World, program: Program) -> None:
    """The till's clock runs ahead, so that a price correction is dated before the order that it corrects."""
    story, at_ms = arrives(world, program)
    bought = first_order(story, at_ms, 6000)
    story.returns(bought, bought.when[0] - world.between(5 * SECOND_MS, 50 * SECOND_MS), bought.amount_minor // 10)
    story.ends("qualified")


def phone_and_laptop(world: World, program: Program) -> None:
    """A guest order ties the phone to the customer who later signs up on the laptop: clicks of both count."""
    on_laptop, on_phone = world.partners(program, 2)
    story, at_ms = world.story(program.id), opening(world, program, 5 * DAY_MS)
    phone = world.token("v")
    story.click(at_ms, on_laptop)
    at_ms += world.between(HOUR_MS, DAY_MS)
    story.click(at_ms, on_phone, visitor_id=phone)
    at_ms += world.between(10 * MINUTE_MS, HOUR_MS)
    story.buys(at_ms, basket(world, program), alone=True, visitor_id=phone)
    at_ms += world.between(HOUR_MS, DAY_MS)
    story.signs_up(at_ms, story.credit(on_laptop if program.model == "first_touch" else on_phone))
    first_order(story, at_ms)
    story.ends("qualified")


def household(world: World, program: Program) -> None:
    """Two people share a tablet: its one click counts for each."""
    partner, tablet = world.partner(program), world.token("v")
    at_ms = opening(world, program, 5 * DAY_MS)
    world.click(at_ms, program, partner, tablet)
    for _ in range(2):
        story = world.story(program.id, visitor_id=tablet)
        at_ms += world.between(MINUTE_MS, DAY_MS)
        story.signs_up(at_ms, story.credit(partner))
        shops(story, at_ms)
        story.ends("qualified")


def no_stranger(world: World, program: Program) -> None:
    """Bought as a guest weeks before the partner's link was clicked: no new customer, so nothing is earned."""
    story, at_ms = world.story(program.id), opening(world, program, 40 * DAY_MS)
    story.buys(at_ms, basket(world, program), alone=True)
    at_ms += world.between(8 * DAY_MS, 25 * DAY_MS)
    partner = world.partner(program)
    story.click(at_ms, partner)
    at_ms += soon(world)
    story.signs_up(at_ms, story.credit(partner))
    first_order(story, at_ms)
    story.ends("rejected", "existing_customer")


def several_positions(world: World, program: Program) -> None:
    """Several partners on the way to one sign-up: 40 % to the first, 40 % to the last, the middle shares the rest."""
    a, b, c, d, e = world.partners(program, 5)
    path, shares, primary = world.rng.choice(
        (
            ((a, b), ((a, 5000), (b, 5000)), b),
            ((a, b, c), ((a, 4000), (b, 2000), (c, 4000)), c),
            ((a, b, a), ((a, 8000), (b, 2000)), a),
            ((a, b, c, d), ((a, 4000), (b, 1000), (c, 1000), (d, 4000)), d),
            ((a, b, c, d, e), ((a, 4000), (b, 667), (c, 667), (d, 666), (e, 4000)), e),
        )
    )
    story, at_ms = world.story(program.id), opening(world, program, 14 * DAY_MS)
    for partner in path:
        at_ms += world.between(HOUR_MS, 2 * DAY_MS)
        story.click(at_ms, partner)
    at_ms = before_the_end(world, at_ms + soon(world), 4 * HOUR_MS)
    story.signs_up(at_ms, Credit("position_based", shares, primary))
    shops(story, at_ms)
    story.ends("qualified")


def fills_in_too_fast(world: World, program: Program) -> None:
    """Two seconds from the click to the finished form: a script."""
    story, at_ms = world.story(program.id), opening(world, program)
    partner = world.partner(program)
    click_id = story.click(at_ms, partner)
    story.signs_up(at_ms + 2 * SECOND_MS, story.credit(partner, "click_id"), click_id=click_id)
    story.ends("rejected", "too_fast")


def months_later(world: World, program: Program) -> None:
    """An order inside the order window is the partner's merit, one well after it is not."""
    story, at_ms = arrives(world, program, 85 * DAY_MS)
    first_order(story, at_ms)
    story.buys(at_ms + world.between(63 * DAY_MS, 78 * DAY_MS), basket(world, program), alone=True)
    story.ends("qualified")


_COMMON: Final[dict[Scene, int]] = {
    one_click: 40,
    never_orders: 12,
    too_late: 6,
    comes_alone: 10,
    sends_it_back: 4,
    sends_some_back: 3,
    gives_it_another_try: 1,
    clock_runs_ahead: 1,
    household: 1,
}
SIGN_UP_SCENES: Final[dict[str, dict[Scene, int]]] = {
    "bakery-table": {**_COMMON, small_order: 4, two_clicks: 9, coupon_takes_over: 5, coupon_alone: 2,
                     names_the_click: 2, keeps_too_little: 2, phone_and_laptop: 2},
    "cheese-board": {**_COMMON, small_order: 3, two_clicks: 8, coupon_takes_over: 4, names_the_click: 2,
                     keeps_too_little: 2, phone_and_laptop: 2, no_stranger: 4},
    "bookshop-readers": {**_COMMON, several_positions: 18, fills_in_too_fast: 2, months_later: 4, coupon_alone: 2},
    "florist-creators": {**_COMMON, two_clicks: 9, coupon_takes_over: 3, names_the_click: 2, phone_and_laptop: 2},
}  # fmt: skip
"""How often each scene is played in each program."""
