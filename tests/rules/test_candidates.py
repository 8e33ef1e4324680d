"""Contract section 4: who is who, candidates, priority."""

from __future__ import annotations

import pytest

from tests.rules.season import EMAIL, Season, moment, terms

BY_ORDER = {"credit": "order"}


# -- Who is who --------------------------------------------------------------------------------------------------------


def test_a_visitor_is_the_customers_from_the_event_that_names_it() -> None:
    """The order of Jan 5 names the phone: it and what is dated no earlier sees the phone's click of Jan 2."""
    season = Season(attribution=BY_ORDER)
    season.click("Jan 2", by="phone")
    before = season.order("Jan 4 23:59:59.999")
    naming = season.order("Jan 5", visitor_id="phone")
    same_time = season.order("Jan 5")
    after = season.order("Jan 6")
    assert season.credit(before) == {}
    for order in (naming, same_time, after):
        assert season.credit(order) == {"bakery": 10_000}


def test_a_later_sign_up_binds_its_visitor_for_later_orders_but_is_no_conversion() -> None:
    season = Season(terms(), terms("each", attribution=BY_ORDER, program={"priority": 1}))
    season.click("Jan 2", "roaster", by="laptop", program_id="each")
    season.sign_up("Jan 3", "ann")
    season.sign_up("Jan 5", "ann", visitor_id="laptop", event_id="second")
    before, after = season.order("Jan 4"), season.order("Jan 6")
    assert season.credit(before) == {}
    assert season.credit(after) == {"roaster": 10_000}
    assert season.attribution("second") == []


def test_a_visitor_of_two_customers_counts_for_each() -> None:
    season = Season()
    season.click("Jan 2", by="family tablet")
    season.sign_up("Jan 3", "ann", visitor_id="family tablet")
    season.sign_up("Jan 4", "bob", visitor_id="family tablet")
    assert season.credit("ann") == season.credit("bob") == {"bakery": 10_000}


def test_clicks_of_several_visitors_are_one_customers() -> None:
    season = Season(attribution={"model": "linear", "credit": "order"})
    season.click("Jan 2", "bakery", by="phone")
    season.click("Jan 3", "roaster", by="laptop")
    season.sign_up("Jan 4", visitor_id="phone")
    order = season.order("Jan 5", visitor_id="laptop")
    assert season.credit(order) == {"bakery": 5_000, "roaster": 5_000}


def test_a_click_that_is_told_late_counts_as_if_it_had_been_told_in_time() -> None:
    season = Season()
    season.sign_up("Jan 3")
    assert season.credit() == {}
    season.click("Jan 2")
    assert season.credit() == {"bakery": 10_000}


def test_a_sign_up_is_no_conversion_where_no_program_credits_sign_ups() -> None:
    season = Season(attribution=BY_ORDER)
    season.referral()
    assert season.attribution("ann") == []


def test_what_nobody_earned_has_one_row_without_a_partner() -> None:
    season = Season()
    order = season.order("Jan 5")
    (row,) = season.attribution(order)
    assert (row["partner_id"], row["program_id"], row["model"], row["share_bps"], row["terms_version"]) == (
        "",
        "",
        "",
        0,
        0,
    )
    assert (row["order_id"], row["explanation"]) == (order, [])


# -- Candidates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signed_up", "earns"),
    [
        ("Jan 9 23:59:59.999", False),  # before the click
        ("Jan 10", True),  # with the click
        ("Jan 10 00:00:00.001", True),
        ("Jan 12 23:59:59.999", True),  # a millisecond before three days are over
        ("Jan 13", False),
        ("Jan 13 00:00:00.001", False),
    ],
)
def test_a_click_earns_within_its_window(signed_up: str, earns: bool) -> None:
    season = Season(attribution={"click_window": "3d"})
    season.click("Jan 10")
    season.sign_up(signed_up)
    assert season.credit() == ({"bakery": 10_000} if earns else {})


@pytest.mark.parametrize(
    ("clicked", "verdict"),
    [
        ("Jan 4 23:59:59.999", "partner_inactive"),
        ("Jan 5", "credited"),  # the moment of joining
        ("Jan 7 23:59:59.999", "credited"),
        ("Jan 8", "partner_inactive"),  # the moment of leaving
    ],
)
def test_the_partner_had_joined_and_not_left_at_the_click(clicked: str, verdict: str) -> None:
    """Whether it has left by the sign-up on Jan 20 does not matter."""
    season = Season(partners={"bakery": {"joined_at": moment("Jan 5"), "left_at": moment("Jan 8")}})
    click = season.click(clicked)
    season.sign_up("Jan 20")
    assert season.verdicts() == {click: verdict}
    assert season.credit() == ({"bakery": 10_000} if verdict == "credited" else {})


def test_a_partner_earns_nothing_from_its_own_account() -> None:
    season = Season(partners={"bakery": {"customer_ids": ["ann"]}})
    click = season.click("Jan 2")
    season.sign_up("Jan 3")
    assert season.credit() == {}
    assert season.verdicts() == {click: "own_account"}


def test_an_own_account_leaves_the_credit_to_another_partner() -> None:
    season = Season(partners={"roaster": {"customer_ids": ["ann"]}})
    season.click("Jan 2", "bakery")
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    assert season.credit() == {"bakery": 10_000}


def test_an_own_account_is_known_by_its_e_mail() -> None:
    season = Season(partners={"bakery": {"email_sha256": [EMAIL]}})
    season.click("Jan 2", by="ann")
    season.click("Jan 2", by="bob")
    season.sign_up("Jan 3", "ann", email_sha256=EMAIL)
    season.sign_up("Jan 3", "bob", email_sha256="a1" * 32)
    assert season.credit("ann") == {}
    assert season.credit("bob") == {"bakery": 10_000}


@pytest.mark.parametrize(
    ("ordered", "earns"), [("Jan 4 23:59:59.999", True), ("Jan 5", False), ("Jan 5 00:00:00.001", False)]
)
def test_the_e_mail_of_a_sign_up_counts_from_the_sign_up_on(ordered: str, earns: bool) -> None:
    """The sign-up of Jan 5 tells the e-mail; an order dated before it is judged without."""
    season = Season(attribution=BY_ORDER, partners={"bakery": {"email_sha256": [EMAIL]}})
    season.click("Jan 2")
    season.sign_up("Jan 5", email_sha256=EMAIL)
    order = season.order(ordered, visitor_id="ann")
    assert season.credit(order) == ({"bakery": 10_000} if earns else {})


def test_a_click_from_before_the_first_version_may_earn_but_no_conversion_from_before_it() -> None:
    season = Season(terms(begins="Jan 5"))
    season.click("Jan 2")
    season.click("Jan 2", by="bob")
    season.sign_up("Jan 4 23:59:59.999", "ann")
    season.sign_up("Jan 5", "bob")
    assert season.credit("ann") == {}
    assert season.credit("bob") == {"bakery": 10_000}


# -- Priority ----------------------------------------------------------------------------------------------------------


def test_the_program_of_the_highest_priority_takes_the_conversion_whole() -> None:
    """The loyal program's click is older, and the last touch would be the friends' one."""
    season = Season(terms(), terms("loyal", program={"priority": 1}))
    loyal = season.click("Jan 2", "bakery", program_id="loyal")
    friends = season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    assert season.credit() == {"bakery": 10_000}
    assert season.verdicts() == {friends: "other_program", loyal: "credited"}


def test_of_equal_priorities_the_smallest_program_id_takes_it() -> None:
    season = Season(terms("b"), terms("a"))
    season.click("Jan 2", "bakery", program_id="a")
    season.click("Jan 3", "roaster", program_id="b")
    season.sign_up("Jan 4")
    assert season.credit() == {"bakery": 10_000}


def test_a_program_without_a_candidate_does_not_contend() -> None:
    season = Season(terms(), terms("loyal", program={"priority": 1}, attribution={"click_window": "1d"}))
    season.click("Jan 2", "bakery", program_id="loyal")  # expired by Jan 4
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    assert season.credit() == {"roaster": 10_000}


def test_what_the_winner_rejects_goes_to_nobody_else() -> None:
    """ann is no new customer, which only the loyal program minds."""
    loyal = terms("loyal", program={"priority": 1}, qualification={"new_customers_only": True})
    season = Season(terms(), loyal)
    season.order("Jan 1 12:00")
    season.click("Jan 2", "bakery", program_id="loyal")
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    season.order("Jan 5")
    assert season.credit() == {"bakery": 10_000}
    assert season.status() == "existing_customer"
    assert season.ledger() == []


@pytest.mark.parametrize(
    ("ordered", "earns"),
    [
        ("Jan 2 23:59:59.999", False),  # before the sign-up
        ("Jan 3", True),
        ("Jan 7 23:59:59.999", True),
        ("Jan 8", False),  # five days after the sign-up
    ],
)
def test_orders_inherit_the_sign_ups_credit_within_the_order_window(ordered: str, earns: bool) -> None:
    season = Season(attribution={"order_window": "5d"})
    click = season.click("Jan 2")
    season.sign_up("Jan 3")
    order = season.order(ordered, visitor_id="ann")
    assert season.credit(order) == ({"bakery": 10_000} if earns else {})
    assert season.verdicts(order) == {click: "credited" if earns else "not_contending"}
    assert season.model(order) == ("inherited" if earns else "")


def test_an_inherited_order_ignores_its_own_coupon_and_click_id() -> None:
    season = Season(partners={"tearoom": {"coupon_codes": ["TEA"]}})
    first = season.click("Jan 2", "bakery", link_id="poster")
    season.sign_up("Jan 3")
    second = season.click("Jan 4", "roaster")
    order = season.order("Jan 5", coupon_code="TEA", click_id=second)
    (row,) = season.attribution(order)
    assert (row["partner_id"], row["model"], row["click_id"], row["link_id"]) == (
        "bakery",
        "inherited",
        first,
        "poster",
    )
    assert season.verdicts(order) == {first: "credited"}  # as its sign-up's


@pytest.mark.parametrize(("priority", "winner"), [(-1, "bakery"), (0, "roaster"), (1, "roaster")])
def test_a_program_that_credits_orders_contends_with_the_sign_ups_winner(priority: int, winner: str) -> None:
    """At equal priorities "each" is the smaller id."""
    season = Season(terms(), terms("each", program={"priority": priority}, attribution=BY_ORDER))
    season.referral(partner="bakery")
    season.click("Jan 3", "roaster", program_id="each")
    assert season.credit(season.order("Jan 4")) == {winner: 10_000}


def test_the_sign_ups_winner_contends_at_the_priority_of_the_sign_up() -> None:
    """By the order, friends has a priority of -5; at the sign-up it had 0."""
    lowered = terms(version=2, begins="Jan 3", program={"priority": -5})
    season = Season(terms(), lowered, terms("other", program={"priority": -1}, attribution=BY_ORDER))
    season.referral(partner="bakery", at="Jan 2")
    season.click("Jan 3", "roaster", program_id="other")
    assert season.credit(season.order("Jan 4")) == {"bakery": 10_000}
