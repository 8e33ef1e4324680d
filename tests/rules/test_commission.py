"""Contract section 4: commission, tiers, boosts, when entries are payable."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.season import Season, moment

BY_ORDER = {"credit": "order"}


def tiered(*tiers: tuple[int, int], period: str = "all_time", **tables: Any) -> Season:
    """Tiers as (from, rate_bps)."""
    return Season(tier=[{"from": floor, "period": period, "rate_bps": rate} for floor, rate in tiers], **tables)


# -- What an order earns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "earned"),
    [(24, 2), (25, 2), (26, 3), (34, 3), (35, 4), (36, 4), (45, 4), (55, 6), (4, 0), (5, 0), (6, 1), (15, 2)],
)
def test_money_rounds_half_to_even(amount: int, earned: int) -> None:
    """10 % of 25 is 2.5, which rounds to 2; of 35 it is 3.5, which rounds to 4."""
    season = Season()
    season.referral()
    order = season.order("Jan 5", amount)
    assert season.earned(order) == earned


def test_an_entry_of_nothing_is_not_written() -> None:
    season = Season()
    season.referral()
    season.order("Jan 5", 5)
    assert season.ledger() == []


def test_rounding_is_once_after_all_factors() -> None:
    """15 × 10 % × 1.5 × 0.5 (half the credit) = 1.125, so 1; rounding at each step would give 2 × 1.5 × 0.5, so 2."""
    boost = {"id": "b", "from": moment("Jan 1"), "until": moment("Feb 1"), "multiplier_bps": 15_000}
    season = Season(attribution={"model": "linear"}, boost=[boost])
    season.click("Jan 2", "bakery")
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    order = season.order("Jan 5", 15)
    assert (season.earned(order, "bakery"), season.earned(order, "roaster")) == (1, 1)


def test_each_partner_is_rounded_by_itself() -> None:
    """10 % of 145 is 14.5; thirds are 4.8343, 4.83285, 4.83285: 5 each, which is 15."""
    season = Season(attribution={"model": "linear"})
    for day, partner in ((2, "bakery"), (3, "roaster"), (4, "tearoom")):
        season.click(f"Jan {day}", partner)
    season.sign_up("Jan 5")
    order = season.order("Jan 6", 145)
    assert [season.earned(order, partner) for partner in ("bakery", "roaster", "tearoom")] == [5, 5, 5]


def test_refunds_take_back_what_they_take_off_and_never_more() -> None:
    season = Season()
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 300)
    season.refund("Jan 7", order, 5_000)
    season.refund("Jan 8", order, 10)
    assert season.ledger() == ["Jan 5 bakery accrual 100", "Jan 6 bakery clawback -30", "Jan 7 bakery clawback -70"]


def test_a_flat_commission_is_earned_while_at_least_1_is_left() -> None:
    season = Season(commission={"kind": "flat", "amount_minor": 500})
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 999)
    assert season.ledger() == ["Jan 5 bakery accrual 500"]
    season.refund("Jan 7", order, 1)
    assert season.ledger() == ["Jan 5 bakery accrual 500", "Jan 7 bakery clawback -500"]


def test_orders_before_the_qualification_earn_from_it_on_at_the_rate_of_their_own_time() -> None:
    """The small order of Jan 5 was boosted threefold at its time; the order of Jan 9 qualifies, unboosted."""
    boost = {"id": "b", "from": moment("Jan 5"), "until": moment("Jan 6"), "multiplier_bps": 30_000}
    season = Season(qualification={"min_order_minor": 1_000}, boost=[boost])
    season.referral()
    small = season.order("Jan 5", 500)
    assert season.ledger() == []
    large = season.order("Jan 9", 1_000)
    assert season.ledger() == ["Jan 9 bakery accrual 100", "Jan 9 bakery accrual 150"]
    assert (season.earned(small), season.earned(large)) == (150, 100)


def test_a_refund_between_an_order_and_the_qualification_lowers_what_it_earns() -> None:
    season = Season(qualification={"min_order_minor": 1_000})
    season.referral()
    small = season.order("Jan 5", 500)
    season.refund("Jan 6", small, 200)
    season.order("Jan 9", 1_000)
    assert season.earned(small) == 30


def test_a_reversed_referral_goes_on_earning() -> None:
    season = Season(qualification={"min_order_minor": 1_000})
    season.referral()
    first = season.order("Jan 5", 1_000)
    season.refund("Jan 6", first, 400)
    season.order("Jan 7", 300)
    assert season.status() == "reversed"
    assert season.ledger() == ["Jan 5 bakery accrual 100", "Jan 6 bakery clawback -40", "Jan 7 bakery accrual 30"]


def test_with_orders_first_only_the_order_that_first_qualified_earns() -> None:
    season = Season(commission={"rate_bps": 1_000, "orders": "first"}, qualification={"min_order_minor": 1_000})
    season.referral()
    season.order("Jan 5", 999)
    first = season.order("Jan 6", 1_000)
    season.order("Jan 7", 5_000)
    assert season.ledger() == ["Jan 6 bakery accrual 100"]
    season.refund("Jan 8", first, 1_000)  # reversed only if no other order is worth enough, but earned once
    season.order("Jan 9", 5_000)
    assert season.ledger() == ["Jan 6 bakery accrual 100", "Jan 8 bakery clawback -100"]


# -- Tiers -------------------------------------------------------------------------------------------------------------


def test_the_order_that_reaches_a_tier_earns_its_rate() -> None:
    """From the second qualified referral on 20 %: bob's first order is the one."""
    season = tiered((2, 2_000))
    season.referral("ann")
    season.referral("bob")
    ann = season.order("Jan 5", 1_000, "ann")
    bob = season.order("Jan 6", 1_000, "bob")
    again = season.order("Jan 7", 1_000, "ann")
    assert [season.earned(order) for order in (ann, bob, again)] == [100, 200, 200]


@pytest.mark.parametrize(("referrals", "rate"), [(49, 100), (50, 300), (51, 300)])
def test_the_fiftieth_referral(referrals: int, rate: int) -> None:
    """All but one sign up and order on Jan 3; the last orders on Jan 5."""
    season = tiered((50, 3_000))
    for number in range(referrals):
        season.referral(f"c{number:02}")
    for number in range(referrals - 1):
        season.order("Jan 3", 1, f"c{number:02}")
    last = season.order("Jan 5", 1_000, f"c{referrals - 1:02}")
    assert season.earned(last) == rate


def test_the_highest_tier_reached_holds_in_whatever_order_they_are_written() -> None:
    season = tiered((3, 3_000), (1, 1_500), (2, 2_000))
    earned = []
    for number, customer in enumerate(("ann", "bob", "cat", "dan"), 5):
        season.referral(customer)
        order = season.order(f"Jan {number}", 1_000, customer)
        earned.append(season.earned(order))
    assert earned == [150, 200, 300, 300]


def test_a_tier_from_0_replaces_the_programs_rate() -> None:
    season = tiered((0, 500), qualification={"event": "sign_up"}, attribution={"order_window": "1d"})
    season.referral()
    order = season.order("Jan 2 12:00", 1_000)
    assert season.earned(order) == 50


def test_a_reversal_takes_a_later_order_down_a_tier_but_not_an_earlier_one() -> None:
    season = tiered((2, 2_000))
    for customer in ("ann", "bob"):
        season.referral(customer)
    first = season.order("Jan 5", 1_000, "ann")
    bob = season.order("Jan 6", 1_000, "bob")
    season.refund("Jan 8", first, 1_000, "ann")
    after = season.order("Jan 9", 1_000, "bob")
    assert (season.earned(bob), season.earned(after)) == (200, 100)


def test_referrals_count_in_the_period_that_holds_the_order() -> None:
    """Two in January; in February nobody has qualified anew, so the program's own rate holds."""
    season = tiered((2, 2_000), period="month")
    for customer in ("ann", "bob"):
        season.referral(customer)
        season.order("Jan 5", 1, customer)
    january, february = season.order("Jan 31 23:59:59.999", 1_000), season.order("Feb 1", 1_000)
    assert (season.earned(january), season.earned(february)) == (200, 100)


@pytest.mark.parametrize(
    ("ordered", "earned"),
    [
        # Clocks in New York go forward on Mar 8 at 2:00, so Mar 8 begins at 05:00 UTC and ends at 04:00 UTC.
        ("Mar 8 05:00", 200),
        ("Mar 9 03:59:59.999", 200),
        ("Mar 9 04:00", 100),
    ],
)
def test_periods_end_by_the_programs_clock(ordered: str, earned: int) -> None:
    season = tiered((1, 2_000), period="day", program={"time_zone": "America/New_York"})
    season.referral(at="Mar 8 00:00")
    season.order("Mar 8 05:00", 1)  # qualifies on Mar 8, New York's time
    order = season.order(ordered, 1_000)
    assert season.earned(order) == earned


@pytest.mark.parametrize(
    ("period", "last", "first"),
    [
        ("day", "Jan 7 23:59:59.999", "Jan 8"),
        ("week", "Jan 11 23:59:59.999", "Jan 12"),  # Monday
        ("month", "Jan 31 23:59:59.999", "Feb 1"),
        ("quarter", "Mar 31 23:59:59.999 America/New_York", "Apr 1 America/New_York"),
        ("year", "Dec 31 23:59:59.999", "2027 Jan 1"),
        ("all_time", "2027 Jan 1", None),
    ],
)
def test_every_kind_of_period_ends_where_the_calendar_says(period: str, last: str, first: str | None) -> None:
    zone = "America/New_York" if period == "quarter" else "UTC"
    season = tiered((1, 2_000), period=period, program={"time_zone": zone}, attribution={"order_window": "600d"})
    season.referral(at="Jan 2")
    season.order("Jan 7", 1)
    assert season.earned(season.order(last, 1_000)) == 200
    if first is not None:
        assert season.earned(season.order(first, 1_000)) == 100


def test_tiers_count_each_partner_where_it_is_primary() -> None:
    """Half and half; the roaster, who came later, is primary, so only the roaster has a qualified referral."""
    season = tiered((1, 2_000), attribution={"model": "linear"})
    season.click("Jan 2", "bakery")
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    order = season.order("Jan 5", 1_000)
    assert (season.earned(order, "bakery"), season.earned(order, "roaster")) == (50, 100)


def test_flat_tiers() -> None:
    season = Season(
        commission={"kind": "flat", "amount_minor": 500}, tier=[{"from": 1, "period": "all_time", "amount_minor": 800}]
    )
    season.referral()
    assert season.earned(season.order("Jan 5", 3)) == 800


# -- Late news about others --------------------------------------------------------------------------------------------


def test_what_turns_out_to_have_come_before_changes_the_rates_of_what_followed() -> None:
    """cat's order of Jan 4 is told last. It was bakery's first, so ann's was the second and bob's the third."""
    season = tiered((2, 2_000), (3, 3_000))
    for customer in ("ann", "bob", "cat"):
        season.referral(customer)
    ann, bob = season.order("Jan 5", 1_000, "ann"), season.order("Jan 6", 1_000, "bob")
    assert (season.earned(ann), season.earned(bob)) == (100, 200)
    cat = season.order("Jan 4", 1_000, "cat")
    assert [season.earned(order) for order in (cat, ann, bob)] == [100, 200, 300]


def test_what_is_dated_later_never_changes_an_earlier_rate() -> None:
    season = tiered((2, 2_000))
    for customer in ("ann", "bob"):
        season.referral(customer)
    ann = season.order("Jan 5", 1_000, "ann")
    season.order("Jan 6", 1_000, "bob")
    assert season.earned(ann) == 100


# -- Boosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ordered", "earned"),
    [
        ("Jan 9 23:59:59.999", 100),
        ("Jan 10", 200),  # doubled from here on
        ("Jan 12", 300),  # and half as much again for the bakery
        ("Jan 14 23:59:59.999", 300),
        ("Jan 15", 150),  # the first has ended
        ("Jan 20", 100),
    ],
)
def test_boosts_in_force_at_the_order_multiply(ordered: str, earned: int) -> None:
    everyones = {"id": "all", "from": moment("Jan 10"), "until": moment("Jan 15"), "multiplier_bps": 20_000}
    theirs = {"id": "theirs", "from": moment("Jan 12"), "until": moment("Jan 20"), "multiplier_bps": 15_000}
    others = {"id": "others", "from": moment("Jan 1"), "until": moment("Feb 1"), "multiplier_bps": 0}
    season = Season(boost=[everyones, theirs | {"partner_id": "bakery"}, others | {"partner_id": "roaster"}])
    season.referral()
    assert season.earned(season.order(ordered, 1_000)) == earned


def test_boosts_touch_commission_only() -> None:
    season = Season(
        commission={"kind": "flat", "amount_minor": 500},
        boost=[{"id": "b", "from": moment("Jan 1"), "until": moment("Feb 1"), "multiplier_bps": 20_000}],
        customer_reward={"amount_minor": 40},
        bonus=[{"id": "b", "first": 1, "period": "all_time", "scope": "program", "amount_minor": 70}],
        milestone=[{"id": "m", "metric": "sign_ups", "threshold": 1, "period": "all_time", "award_minor": 9}],
    )
    season.referral(at="Jan 2")
    season.order("Jan 5")
    assert season.ledger() == [
        "Jan 2 01:00 bakery milestone_award 9",
        "Jan 5 bakery accrual 1000",
        "Jan 5 bakery bonus 70",
        "Jan 5 bakery customer_reward 40",
    ]


# -- When entries are payable ------------------------------------------------------------------------------------------


def test_what_is_given_is_payable_after_the_hold() -> None:
    season = Season(commission={"rate_bps": 1_000, "hold": "7d"})
    season.referral()
    season.order("Jan 5", 1_000)
    assert season.payable() == ["accrual 100 on Jan 12"]


def test_what_takes_back_is_payable_with_what_it_takes_back_or_at_once_if_later() -> None:
    season = Season(commission={"rate_bps": 1_000, "hold": "7d"})
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 11", order, 300)
    season.refund("Jan 13", order, 300)
    assert season.payable() == ["accrual 100 on Jan 12", "clawback -30 on Jan 12", "clawback -30 on Jan 13"]


def test_the_hold_of_an_order_before_the_qualification_runs_from_the_qualification() -> None:
    """That is when its entry occurred."""
    season = Season(commission={"rate_bps": 1_000, "hold": "7d"}, qualification={"min_order_minor": 1_000})
    season.referral()
    season.order("Jan 5", 500)
    season.order("Jan 9", 1_000)
    assert sorted(season.payable()) == ["accrual 100 on Jan 16", "accrual 50 on Jan 16"]


def test_rewards_bonuses_and_awards_wait_for_the_hold_too() -> None:
    season = Season(
        commission={"rate_bps": 0, "hold": "7d"},
        customer_reward={"amount_minor": 40},
        bonus=[{"id": "b", "first": 1, "period": "all_time", "scope": "program", "amount_minor": 70}],
        milestone=[
            {"id": "m", "metric": "qualified_referrals", "threshold": 1, "period": "all_time", "award_minor": 9}
        ],
    )
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 1_000)
    assert season.payable() == [
        "bonus 70 on Jan 12",
        "customer_reward 40 on Jan 12",
        "milestone_award 9 on Jan 12",
        "bonus_clawback -70 on Jan 12",
        "customer_reward_clawback -40 on Jan 12",
        "milestone_revocation -9 on Jan 12",
    ]
