"""Contract section 4: referrals and their status; section 5: as_of."""

from __future__ import annotations

import pytest

from tests.rules.season import Season, shown, terms

BY_ORDER = {"credit": "order"}


def test_a_referral_is_pending_then_qualified_then_reversed_and_may_qualify_again() -> None:
    season = Season(qualification={"min_order_minor": 1_000})
    season.referral(at="Jan 2")
    assert season.status() == "pending"
    season.order("Jan 5", 999)
    assert season.status() == "pending"
    order = season.order("Jan 6", 1_000)
    assert season.status() == "qualified"
    season.refund("Jan 7", order, 1)
    assert season.status() == "reversed"
    season.order("Jan 8", 1_000)
    assert season.status() == "qualified"
    assert season.dates() == {
        "signed_up_at": "Jan 2 01:00",
        "qualified_at": "Jan 8",
        "reversed_at": "",
        "as_of": "Jan 8",
    }


def test_a_reversed_referral_names_when() -> None:
    season = Season()
    season.referral(at="Jan 2")
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 7", order, 1_000)
    season.order("Jan 9", 0)  # not enough to qualify, but the referral's latest order
    assert season.dates() == {
        "signed_up_at": "Jan 2 01:00",
        "qualified_at": "Jan 5",
        "reversed_at": "Jan 7",
        "as_of": "Jan 9",
    }


def test_an_order_of_nothing_qualifies_nobody() -> None:
    season = Season()
    season.referral()
    season.order("Jan 5", 0)
    assert season.status() == "pending"
    season.order("Jan 6", 1)
    assert season.status() == "qualified"


def test_a_referral_stays_qualified_while_any_order_is_worth_enough() -> None:
    season = Season()
    season.referral()
    first, second = season.order("Jan 5", 1_000), season.order("Jan 6", 1_000)
    season.refund("Jan 7", first, 1_000)
    assert season.status() == "qualified"
    season.refund("Jan 8", second, 1_000)
    assert season.status() == "reversed"


@pytest.mark.parametrize(("refunded", "status"), [(1_000, "qualified"), (1_001, "reversed")])
def test_partial_refunds_count_together(refunded: int, status: str) -> None:
    """Of 2000, at least 1000 must be left."""
    season = Season(qualification={"min_order_minor": 1_000})
    season.referral()
    order = season.order("Jan 5", 2_000)
    season.refund("Jan 6", order, 500)
    season.refund("Jan 7", order, refunded - 500)
    assert season.status() == status


def test_a_refund_dated_before_its_order_counts_from_the_order_on() -> None:
    season = Season()
    season.referral()
    season.refund("Jan 4", "o", 400)
    season.order("Jan 5", 1_000, event_id="o")
    assert season.ledger() == ["Jan 5 bakery accrual 60"]


def test_an_order_refunded_in_full_before_it_qualifies_nobody() -> None:
    season = Season()
    season.referral()
    season.refund("Jan 4", "o", 1_000)
    season.order("Jan 5", 1_000, event_id="o")
    assert season.status() == "pending"


def test_qualified_by_sign_up_needs_no_order_and_is_never_reversed() -> None:
    season = Season(qualification={"event": "sign_up"})
    season.referral(at="Jan 2")
    assert season.dates()["qualified_at"] == "Jan 2 01:00"
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 1_000)
    assert season.status() == "qualified"
    assert season.ledger() == ["Jan 5 bakery accrual 100", "Jan 6 bakery clawback -100"]


# -- Rejections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ordered", "status"),
    [("Jan 1 23:59:59.999", "existing_customer"), ("Jan 2", "qualified"), ("Jan 2 00:30", "qualified")],
)
def test_only_new_customers_count_those_without_an_order_before_the_touchpoint(ordered: str, status: str) -> None:
    """The click is of Jan 2. An order at its very time is not strictly before it."""
    season = Season(qualification={"new_customers_only": True})
    season.order(ordered)
    season.referral(at="Jan 2")
    season.order("Jan 5")
    assert season.status() == status


def test_a_refunded_order_makes_an_existing_customer_all_the_same() -> None:
    season = Season(qualification={"new_customers_only": True})
    order = season.order("Jan 1 12:00", 1_000)
    season.refund("Jan 1 13:00", order, 1_000)
    season.referral(at="Jan 2")
    assert season.status() == "existing_customer"


def test_the_earliest_credited_touchpoint_decides_who_is_new() -> None:
    """Both clicks are credited, the first before the order of Jan 3; by the last touch alone ann had ordered before."""
    for model, status in (("linear", "qualified"), ("last_touch", "existing_customer")):
        season = Season(attribution={"model": model}, qualification={"new_customers_only": True})
        season.click("Jan 2", "bakery")
        season.order("Jan 3")
        season.click("Jan 4", "roaster")
        season.sign_up("Jan 5")
        season.order("Jan 6")
        assert season.status() == status


def test_with_a_coupon_the_sign_up_itself_is_the_touchpoint() -> None:
    season = Season(qualification={"new_customers_only": True}, partners={"tearoom": {"coupon_codes": ["TEA"]}})
    season.order("Jan 3")
    season.click("Jan 2")
    season.sign_up("Jan 5", coupon_code="TEA")
    assert season.status() == "existing_customer"


@pytest.mark.parametrize(("signed_up", "status"), [("Jan 2 00:00:59.999", "too_fast"), ("Jan 2 00:01", "pending")])
def test_a_sign_up_sooner_after_the_click_than_the_terms_allow_is_too_fast(signed_up: str, status: str) -> None:
    season = Season(qualification={"min_click_to_sign_up": "1m"})
    season.click("Jan 2")
    season.sign_up(signed_up)
    assert season.status() == status


def test_only_the_last_credited_click_makes_a_sign_up_too_fast() -> None:
    """The second click is a second before the sign-up; with first_touch it is not credited."""
    for model, status in (("last_touch", "too_fast"), ("linear", "too_fast"), ("first_touch", "pending")):
        season = Season(attribution={"model": model}, qualification={"min_click_to_sign_up": "1m"})
        season.click("Jan 2", "bakery")
        season.click("Jan 2 12:00", "roaster")
        season.sign_up("Jan 2 12:00:01")
        assert season.status() == status


def test_a_coupon_is_never_too_fast() -> None:
    season = Season(qualification={"min_click_to_sign_up": "1m"}, partners={"tearoom": {"coupon_codes": ["TEA"]}})
    season.sign_up("Jan 2", coupon_code="TEA")
    assert season.status() == "pending"


def test_where_both_reasons_apply_the_first_is_named() -> None:
    season = Season(qualification={"new_customers_only": True, "min_click_to_sign_up": "1m"})
    season.order("Jan 1")
    season.click("Jan 2")
    season.sign_up("Jan 2")
    assert season.status() == "existing_customer"


def test_a_rejected_referral_earns_nothing_and_counts_nowhere() -> None:
    goals = [
        {"id": "signs", "metric": "sign_ups", "threshold": 1, "period": "all_time"},
        {"id": "money", "metric": "net_revenue_minor", "threshold": 1, "period": "all_time"},
    ]
    season = Season(
        qualification={"min_click_to_sign_up": "1m"},
        customer_reward={"amount_minor": 5},
        bonus=[{"id": "b", "first": 9, "period": "all_time", "scope": "program", "amount_minor": 7}],
        milestone=goals,
    )
    season.click("Jan 2")
    season.sign_up("Jan 2")
    season.order("Jan 5")
    assert season.status() == "too_fast"
    assert season.ledger() == []
    assert season.outcome["milestones"] == []
    assert season.credit() == {"bakery": 10_000}  # the credit is told, though it earns nothing


# -- The primary partner -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clicks", "primary"),
    [
        (("bakery", "bakery", "roaster"), "bakery"),  # two thirds
        (("bakery", "bakery", "roaster", "roaster"), "roaster"),  # a tie: the latest touchpoint
        (("bakery", "roaster", "bakery", "roaster", "tearoom"), "roaster"),
    ],
)
def test_the_primary_partner_has_the_largest_share(clicks: tuple[str, ...], primary: str) -> None:
    season = Season(attribution={"model": "linear"})
    for day, partner in enumerate(clicks, 2):
        season.click(f"Jan {day}", partner)
    season.sign_up("Jan 9")
    assert [row["partner_id"] for row in season.rows("referrals")] == [primary]


def test_where_orders_are_credited_the_first_credited_order_makes_the_referral() -> None:
    season = Season(attribution=BY_ORDER)
    season.order("Jan 1 12:00")  # nobody's
    season.click("Jan 2", "bakery")
    first = season.order("Jan 3", visitor_id="ann")
    season.click("Jan 4", "roaster")
    second = season.order("Jan 5")
    assert [row["partner_id"] for row in season.rows("referrals")] == ["bakery"]
    assert season.credit(first) == {"bakery": 10_000}
    assert season.credit(second) == {"roaster": 10_000}
    assert season.ledger() == ["Jan 3 bakery accrual 1000", "Jan 5 roaster accrual 1000"]
    assert season.dates() == {"signed_up_at": "", "qualified_at": "Jan 3", "reversed_at": "", "as_of": "Jan 5"}


def test_nobody_is_referred_in_a_program_that_credited_nothing() -> None:
    season = Season()
    season.sign_up("Jan 3")
    season.order("Jan 4")
    assert season.outcome["referrals"] == []


def test_a_customer_may_be_referred_in_several_programs() -> None:
    """friends won the sign-up; a program of higher priority won the order."""
    season = Season(terms(), terms("each", program={"priority": 1}, attribution=BY_ORDER))
    season.referral(partner="bakery")
    season.click("Jan 3", "roaster", program_id="each")
    season.order("Jan 4")
    found = {row["program_id"]: (row["partner_id"], row["status"]) for row in season.outcome["referrals"]}
    assert found == {"friends": ("bakery", "pending"), "each": ("roaster", "qualified")}


# -- as_of: the time of each outcome's own latest event ----------------------------------------------------------------


def test_every_outcome_tells_as_of_when() -> None:
    goal = {"id": "g", "metric": "qualified_referrals", "threshold": 5, "period": "all_time"}
    season = Season(milestone=[goal])
    season.referral(at="Jan 2")
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 7", order, 300)
    season.refund("Jan 8", order, 700)
    dated = {
        table: [shown(row["as_of"]) for row in season.outcome[table]] for table in ("attributions", "ledger_entries")
    }
    assert sorted(dated["attributions"]) == ["Jan 2 01:00", "Jan 5"]  # the conversions
    assert sorted(dated["ledger_entries"]) == ["Jan 5", "Jan 7", "Jan 8"]  # each entry's own time
    assert season.dates()["as_of"] == "Jan 8"  # its latest order or refund
    assert [shown(row["as_of"]) for row in season.outcome["milestones"]] == ["Jan 8"]  # its latest change: the -1
