"""Contract section 4: how the winning program splits the credit, and how it explains it."""

from __future__ import annotations

import pytest

from tests.rules.season import Season, moment

# -- Credit within the program -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        ("first_touch", {"bakery": 10_000}),
        ("last_touch", {"tearoom": 10_000}),
        ("linear", {"bakery": 3_334, "roaster": 3_333, "tearoom": 3_333}),  # one point left: the earliest's
        ("position_based", {"bakery": 4_000, "roaster": 2_000, "tearoom": 4_000}),
        # Weights 1/4, 1/2, 1 of 7/4: 1428.57, 2857.14, 5714.29 points; the one left goes to the largest rest.
        ("time_decay", {"bakery": 1_429, "roaster": 2_857, "tearoom": 5_714}),
    ],
)
def test_three_clicks_a_half_life_apart(model: str, shares: dict[str, int]) -> None:
    season = Season(attribution={"model": model, "half_life": "1d"})
    for day, partner in ((2, "bakery"), (3, "roaster"), (4, "tearoom")):
        season.click(f"Jan {day}", partner)
    season.sign_up("Jan 5")
    assert season.credit() == shares
    assert season.model() == model


@pytest.mark.parametrize(
    ("clicks", "shares"),
    [
        (("bakery",), {"bakery": 10_000}),
        (("bakery", "roaster"), {"bakery": 5_000, "roaster": 5_000}),
        # 40 / 6.67 6.67 6.67 / 40: the two middle points left over go to the earlier two.
        (("bakery", "roaster", "roaster", "tearoom", "bakery"), {"bakery": 8_000, "roaster": 1_334, "tearoom": 666}),
    ],
)
def test_position_based(clicks: tuple[str, ...], shares: dict[str, int]) -> None:
    season = Season(attribution={"model": "position_based"})
    for day, partner in enumerate(clicks, 2):
        season.click(f"Jan {day}", partner)
    season.sign_up("Jan 9")
    assert season.credit() == shares


def test_remainders_that_tie_go_to_the_earlier_touchpoints() -> None:
    """Six clicks: 1666 points each and 4 left, for the first four; bakery clicked first and last."""
    season = Season(attribution={"model": "linear"})
    for day, partner in enumerate(("bakery", "roaster", "roaster", "roaster", "tearoom", "bakery"), 2):
        season.click(f"Jan {day}", partner)
    season.sign_up("Jan 9")
    assert season.credit() == {"bakery": 1_667 + 1_666, "roaster": 3 * 1_667, "tearoom": 1_666}


def test_a_share_of_nothing_is_no_credit() -> None:
    """After 20 half-lives the bakery's share is 0.0095 of a basis point."""
    season = Season(attribution={"model": "time_decay", "half_life": "1d"})
    old = season.click("Jan 2", "bakery")
    new = season.click("Jan 22", "roaster")
    season.sign_up("Jan 23")
    assert season.credit() == {"roaster": 10_000}
    assert season.verdicts() == {new: "credited", old: "outranked"}


def test_clicks_of_one_moment_are_ordered_by_event_id() -> None:
    season = Season()
    season.click("Jan 2", "roaster", event_id="b")
    season.click("Jan 2", "bakery", event_id="a")
    season.sign_up("Jan 3")
    assert season.credit() == {"roaster": 10_000}


def test_coupon_first_gives_the_coupon_all_of_it() -> None:
    season = Season(partners={"tearoom": {"coupon_codes": ["TEA"]}})
    click = season.click("Jan 2", "bakery")
    season.sign_up("Jan 3", coupon_code="TEA")
    assert season.credit() == {"tearoom": 10_000}
    assert season.model() == "coupon"
    assert season.verdicts() == {"TEA": "credited", click: "outranked"}
    (row,) = season.attribution("ann")
    assert (row["click_id"], row["link_id"]) == ("", "")


def test_click_first_gives_the_coupon_credit_only_without_a_click() -> None:
    season = Season(attribution={"coupon_precedence": "click_first"}, partners={"tearoom": {"coupon_codes": ["TEA"]}})
    season.click("Jan 2", "bakery")
    season.sign_up("Jan 3", "ann", coupon_code="TEA")
    season.sign_up("Jan 3", "bob", coupon_code="TEA")
    assert season.credit("ann") == {"bakery": 10_000}
    assert season.credit("bob") == {"tearoom": 10_000}


def test_a_coupon_code_is_compared_byte_for_byte() -> None:
    season = Season(partners={"tearoom": {"coupon_codes": ["TEA"]}})
    season.sign_up("Jan 3", coupon_code="tea")
    assert season.credit() == {}


@pytest.mark.parametrize(("signed_up", "earns"), [("Jan 4 23:59:59.999", True), ("Jan 5", False)])
def test_the_coupons_owner_must_be_active_at_the_conversion(signed_up: str, earns: bool) -> None:
    season = Season(partners={"tearoom": {"coupon_codes": ["TEA"], "left_at": moment("Jan 5")}})
    season.sign_up(signed_up, coupon_code="TEA")
    assert season.credit() == ({"tearoom": 10_000} if earns else {})
    assert season.verdicts() == {"TEA": "credited" if earns else "partner_inactive"}


def test_nobody_earns_by_its_own_coupon() -> None:
    season = Season(partners={"tearoom": {"coupon_codes": ["TEA"], "customer_ids": ["ann"]}})
    click = season.click("Jan 2", "bakery")
    season.sign_up("Jan 3", coupon_code="TEA")
    assert season.credit() == {"bakery": 10_000}
    assert season.verdicts() == {"TEA": "own_account", click: "credited"}


def test_a_click_id_takes_the_whole_credit() -> None:
    season = Season(attribution={"model": "linear"})
    named = season.click("Jan 2", "bakery")
    other = season.click("Jan 3", "roaster")
    season.sign_up("Jan 4", click_id=named)
    assert season.credit() == {"bakery": 10_000}
    assert season.model() == "click_id"
    assert season.verdicts() == {other: "outranked", named: "credited"}


def test_a_click_id_that_is_no_candidate_is_ignored() -> None:
    """The click named is expired."""
    season = Season(attribution={"click_window": "2d"})
    expired = season.click("Jan 2", "bakery")
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4 12:00", click_id=expired)
    assert season.credit() == {"roaster": 10_000}
    assert season.model() == "last_touch"


def test_a_click_id_binds_nobody() -> None:
    season = Season()
    click = season.click("Jan 2", by="stranger")
    season.sign_up("Jan 3", click_id=click)
    assert season.credit() == {}


def test_of_several_clicks_with_the_id_the_latest_takes_it() -> None:
    """Visitors' event ids are their own: two of ann's visitors have a click "x"; a third click is later."""
    season = Season(attribution={"credit": "order"})
    season.click("Jan 2", "bakery", by="phone", event_id="x")
    season.click("Jan 3", "roaster", by="laptop", event_id="x")
    season.click("Jan 4", "tearoom", by="laptop")
    season.sign_up("Jan 5", visitor_id="phone")
    order = season.order("Jan 6", visitor_id="laptop", click_id="x")
    assert season.credit(order) == {"roaster": 10_000}


def test_with_coupon_first_the_coupon_goes_before_the_click_id() -> None:
    season = Season(partners={"tearoom": {"coupon_codes": ["TEA"]}})
    click = season.click("Jan 2", "bakery")
    season.sign_up("Jan 3", coupon_code="TEA", click_id=click)
    assert season.credit() == {"tearoom": 10_000}


def test_the_explanation_reaches_seven_days_beyond_the_window() -> None:
    """Two days of window and seven more: clicks since Jan 11 are listed for a sign-up on Jan 20."""
    season = Season(attribution={"click_window": "2d"})
    season.click("Jan 10 23:59:59.999")
    old = season.click("Jan 11")
    edge = season.click("Jan 18")  # its window ends with the sign-up
    good = season.click("Jan 18 00:00:00.001")
    season.click("Jan 20 00:00:00.001")
    season.sign_up("Jan 20")
    assert season.verdicts() == {good: "credited", edge: "expired", old: "expired"}


def test_the_explanation_lists_the_latest_hundred_clicks() -> None:
    season = Season(attribution={"model": "first_touch"})
    clicks = [
        season.click(f"Jan 2 {number // 60:02}:{number % 60:02}", event_id=f"k{number:03}") for number in range(101)
    ]
    season.sign_up("Jan 3")
    assert list(season.verdicts()) == clicks[:0:-1]
    assert season.attribution("ann")[0]["click_id"] == clicks[0]  # credited all the same
