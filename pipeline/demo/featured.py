"""The scenes that a visitor of the demo is shown: partners with a story of their own, told in fixed numbers.

Whatever the size of the season, these turn out the same way: the pair that stands at 38 of 50, the newcomer, the
partner in dispute, the one that refers itself, the one that left.
"""

from __future__ import annotations

from pipeline.demo.cast import DAY_MS, HOUR_MS, MINUTE_MS, SEASON_END_MS, SEASON_START_MS, utc_ms
from pipeline.demo.scenes import basket, before_the_end, shops
from pipeline.demo.story import Bought, Story, World, soon


def tell_featured_stories(world: World) -> None:
    """All of them, in a fixed order."""
    thirty_eight_of_fifty(world)
    partner_in_dispute(world)
    newcomer(world)
    refers_itself(world)
    partner_that_left(world)
    before_the_first_terms(world)
    new_terms_in_mid_season(world)
    last_hour_of_the_year(world)
    creators_go_first(world)
    odds_and_ends(world)


def referred(world: World, program_id: str, partner: str, from_ms: int, until_ms: int) -> tuple[Story, int]:
    """A customer whom one partner's link brings to sign up; the story and the time of the sign-up."""
    story = world.story(program_id)
    at_ms = world.moment(from_ms, until_ms)
    story.click(at_ms, partner)
    at_ms = before_the_end(world, at_ms + soon(world), 2 * DAY_MS)
    story.signs_up(at_ms, story.credit(partner))
    return story, at_ms


def buys_soon(story: Story, after_ms: int) -> Bought:
    """One order within some hours."""
    world = story.world
    return story.buys(after_ms + world.between(MINUTE_MS, 9 * HOUR_MS), basket(world, story.program, 2500))


def thirty_eight_of_fifty(world: World) -> None:
    """The Dutch brands' joint milestone at the bakery: 21 + 17 that count, some that ceased to, some that wait."""
    for partner, counting, returned, waiting in (("cheesemonger", 21, 3, 4), ("florist", 17, 2, 5)):
        last_ms = SEASON_END_MS - 14 * DAY_MS
        for _ in range(counting):
            story, at_ms = referred(world, "bakery-table", partner, SEASON_START_MS, last_ms)
            buys_soon(story, at_ms)
            story.ends("qualified")
        for _ in range(returned):
            story, at_ms = referred(world, "bakery-table", partner, SEASON_START_MS, last_ms)
            bought = buys_soon(story, at_ms)
            story.returns(bought, bought.when[0] + world.between(HOUR_MS, 5 * DAY_MS))
            story.ends("reversed")
        for _ in range(waiting):
            story, _ = referred(world, "bakery-table", partner, utc_ms(2026, 3, 1), last_ms)
            story.ends("pending")


def partner_in_dispute(world: World) -> None:
    """Deal Scout wonders where its credit went: chargebacks, clicks that expired, other partners' codes."""
    known = world.known
    reached: list[tuple[Story, Bought]] = []
    for _ in range(14):  # a dozen is reached before Christmas ...
        story, at_ms = referred(world, "florist-creators", "deal-scout", utc_ms(2025, 11, 5), utc_ms(2025, 12, 10))
        reached.append((story, buys_soon(story, at_ms)))
    for number, (story, bought) in enumerate(reached):
        if number < 4:  # ... and undone in January
            story.returns(bought, world.moment(utc_ms(2026, 1, 5), utc_ms(2026, 1, 25)), reason="chargeback")
        story.ends("reversed" if number < 4 else "qualified")
    known.showcases["charged back, and a milestone with it"] = reached[0][1].order_id
    for _ in range(9):
        story = world.story("florist-creators")
        at_ms = world.moment(utc_ms(2025, 10, 20), utc_ms(2026, 2, 1))
        story.click(at_ms, "deal-scout")
        story.signs_up(at_ms + world.between(33 * DAY_MS, 50 * DAY_MS), None)
        bought = buys_soon(story, at_ms + 51 * DAY_MS)
        story.ends("none")
        known.showcases["the click had expired"] = bought.order_id
    for _ in range(11):
        story = world.story("bakery-table")
        at_ms = world.moment(utc_ms(2025, 11, 1), utc_ms(2026, 3, 10))
        story.click(at_ms, "deal-scout")
        at_ms += world.between(2 * MINUTE_MS, 3 * HOUR_MS)
        known.showcases["another partner's code took the credit"] = story.signs_up(
            at_ms, story.credit("roaster", "coupon"), coupon_code="EMBER10"
        )
        buys_soon(story, at_ms)
        story.ends("qualified")
    for number in range(12):
        story, at_ms = referred(world, "bakery-table", "deal-scout", utc_ms(2025, 10, 10), utc_ms(2026, 3, 10))
        bought = buys_soon(story, at_ms)
        if number < 7:
            story.returns(bought, bought.when[0] + world.between(HOUR_MS, 9 * DAY_MS))
        story.ends("reversed" if number < 7 else "qualified")


def newcomer(world: World) -> None:
    """Fresh Crumbs joined in March: what it sent before counts for nothing, what it sent since is a beginning."""
    joined_ms = utc_ms(2026, 3, 1)
    for _ in range(4):
        story = world.story("bakery-table")
        story.click(world.moment(utc_ms(2026, 2, 18), joined_ms - DAY_MS), "fresh-crumbs")
        at_ms = world.moment(joined_ms + DAY_MS, joined_ms + 7 * DAY_MS)
        world.known.showcases["clicked before the partner had joined"] = story.signs_up(at_ms, None)
        buys_soon(story, at_ms)
        story.ends("none")
    for number in range(7):
        story, at_ms = referred(world, "bakery-table", "fresh-crumbs", joined_ms + DAY_MS, SEASON_END_MS - 6 * DAY_MS)
        if number < 4:
            buys_soon(story, at_ms)
        story.ends("qualified" if number < 4 else "pending")


def refers_itself(world: World) -> None:
    """Green Thumb Gus buys through his own link, with his own code, and under another account with his own email."""
    gus = "green-thumb-gus"
    for customer_id, email, by_code in (
        ("tt-gus-01", "", False),
        ("tt-gus-02", "", True),
        ("", "gus@greenthumb.example", False),
        ("", "gus@greenthumb.example", True),
    ):
        story = world.story("florist-creators", customer_id=customer_id, email=email)
        at_ms = world.moment(utc_ms(2025, 11, 1), utc_ms(2026, 3, 1))
        story.click(at_ms, gus)
        at_ms += world.between(2 * MINUTE_MS, HOUR_MS)
        story.signs_up(at_ms, None, coupon_code="GUSBLOOM" if by_code else "")
        world.known.showcases["a partner's own account"] = buys_soon(story, at_ms).order_id
        story.ends("none")
    for _ in range(6):  # and honest ones
        story, at_ms = referred(world, "florist-creators", gus, utc_ms(2025, 11, 1), utc_ms(2026, 3, 1))
        buys_soon(story, at_ms)
        story.ends("qualified")


def partner_that_left(world: World) -> None:
    """The Kitchen Twins left the roaster's circle in February: clicks from before earn, clicks since do not."""
    for number in range(10):
        story = world.story("roaster-circle")
        left = number >= 6
        from_ms, until_ms = (
            (utc_ms(2026, 2, 2), utc_ms(2026, 3, 20)) if left else (SEASON_START_MS, utc_ms(2026, 1, 20))
        )
        at_ms = world.moment(from_ms, until_ms)
        story.click(at_ms, "kitchen-twins")
        credit = None if left else story.credit("kitchen-twins")
        story.buys(at_ms + soon(world), basket(world, story.program), credit)
        story.ends("none" if left else "qualified")


def before_the_first_terms(world: World) -> None:
    """The creators' program began on 15 October: sign-ups from before credit nothing, clicks from before may earn."""
    for number in range(8):
        early = number < 4
        story = world.story("florist-creators")
        story.click(utc_ms(2025, 10, 7, 9, 7 * number), "page-turner")
        at_ms = utc_ms(2025, 10, 9 if early else 19, 18, 5 * number)
        story.signs_up(at_ms, None if early else story.credit("page-turner"))
        shops(story, at_ms)
        story.ends("none" if early else "qualified")


def new_terms_in_mid_season(world: World) -> None:
    """A second version with a longer window and one more partner; the first one's customers keep their terms."""
    for number in range(6):
        second = number >= 3  # 39 days from the click to the sign-up: too long for version 1, not for version 2
        story = world.story("cheese-board")
        at_ms = utc_ms(2025, 12, 20, 20, number) if second else utc_ms(2025, 11, 20, 20, number)
        story.click(at_ms, "bakery")
        at_ms += 39 * DAY_MS
        story.signs_up(at_ms, story.credit("bakery") if second else None)
        buys_soon(story, at_ms)
        story.ends("qualified" if second else "none")
    for number in range(8):
        second = number >= 2  # the podcast is a partner in version 2 only
        story = world.story("cheese-board")
        at_ms = utc_ms(2026, 2, 3 + number, 19) if second else utc_ms(2025, 12, 3 + number, 19)
        story.click(at_ms, "slow-mornings")
        at_ms += soon(world)
        story.signs_up(at_ms, story.credit("slow-mornings") if second else None)
        buys_soon(story, at_ms)
        story.ends("qualified" if second else "none")
    for number in range(5):  # signed up under version 1, first bought under version 2: priced by version 1
        story = world.story("cheese-board")
        at_ms = utc_ms(2026, 1, 9, 20, number)
        story.click(at_ms, "nina-bakes")
        story.signs_up(at_ms + HOUR_MS, story.credit("nina-bakes"))
        buys_soon(story, utc_ms(2026, 1, 20 + number, 8))
        story.ends("qualified")


def last_hour_of_the_year(world: World) -> None:
    """Late on 31 December it is still this quarter in London, and the next one in Amsterdam already."""
    for number in range(6):
        program_id, partner = (("bakery-table", "nina-bakes"), ("cheese-board", "florist"))[number % 2]
        story = world.story(program_id)
        at_ms = utc_ms(2025, 12, 31, 22, number)
        story.click(at_ms, partner)
        story.signs_up(at_ms + 10 * MINUTE_MS, story.credit(partner))
        story.buys(utc_ms(2025, 12, 31, 23, 10 + 7 * number), basket(world, story.program))
        story.ends("qualified")


def creators_go_first(world: World) -> None:
    """A creator brought the sign-up, a brand's link came before the order: the higher priority takes it whole."""
    for _ in range(14):
        story = world.story("florist-creators")
        at_ms = world.moment(utc_ms(2025, 11, 1), utc_ms(2026, 3, 10))
        story.click(at_ms, "bookshop", program_id="florist-bloom")
        story.click(at_ms + HOUR_MS, "nina-bakes")
        at_ms += 2 * HOUR_MS + world.between(0, DAY_MS)
        story.signs_up(at_ms, story.credit("nina-bakes"))
        story.click(at_ms + HOUR_MS, "cheesemonger", program_id="florist-bloom")
        bought = story.buys(at_ms + 2 * HOUR_MS, basket(world, story.program))
        story.ends("qualified")
        world.known.showcases["the program of higher priority took it"] = bought.order_id


def odds_and_ends(world: World) -> None:
    """Second sign-ups, and refunds of orders that no file has."""
    for _ in range(3):
        story, at_ms = referred(world, "bakery-table", "nina-bakes", SEASON_START_MS, SEASON_END_MS - 14 * DAY_MS)
        story.signs_up_again(at_ms + 2 * DAY_MS)
        buys_soon(story, at_ms + 3 * DAY_MS)
        story.ends("qualified")
    for _ in range(9):
        story = world.story("bookshop-readers")
        lost = Bought(f"DE-lost-{world.customers}", (0, ""), 1999)
        story.returns(lost, world.moment(), reason="cancellation")
        world.known.unmatched_refunds += 1
        story.ends("none")
