"""Contract section 3: versions of a program stand side by side, and later terms never reprice."""

from __future__ import annotations

import pytest

from tests.rules.season import EMAIL, Season, moment, ms, terms

BY_ORDER = {"credit": "order"}


@pytest.mark.parametrize(("signed_up", "version", "earned"), [("Jan 9 23:59:59.999", 1, 100), ("Jan 10", 2, 500)])
def test_the_version_in_force_at_the_sign_up_sets_the_rate_for_good(signed_up: str, version: int, earned: int) -> None:
    season = Season(terms(), terms(version=2, begins="Jan 10", commission={"rate_bps": 5_000}))
    season.click("Jan 9")
    season.sign_up(signed_up)
    order = season.order("Jan 20", 1_000)
    assert season.earned(order) == earned
    for table in ("attributions", "referrals", "ledger_entries"):
        assert {row["terms_version"] for row in season.rows(table)} == {version}


def test_later_terms_never_reprice() -> None:
    """Everything of the referral follows the version of the sign-up: model, minimum, tiers, reward, hold."""
    later = terms(
        version=2, begins="Jan 10",
        attribution={"model": "first_touch", "click_window": "1d", "order_window": "1d"},
        qualification={"min_order_minor": 99_999, "new_customers_only": True, "min_click_to_sign_up": "2h"},
        commission={"rate_bps": 9_000, "hold": "30d"},
        customer_reward={"amount_minor": 77},
        tier=[{"from": 1, "period": "all_time", "rate_bps": 9_500}],
    )  # fmt: skip
    season = Season(terms(customer_reward={"amount_minor": 11}), later)
    season.referral(at="Jan 2")
    season.order("Jan 20", 1_000)
    assert season.ledger() == ["Jan 20 bakery accrual 100", "Jan 20 bakery customer_reward 11"]
    assert season.payable() == ["accrual 100 on Jan 20", "customer_reward 11 on Jan 20"]


def test_boosts_follow_the_version_at_the_order_and_bonuses_and_milestones_the_one_at_the_event() -> None:
    later = terms(
        version=2, begins="Jan 10", commission={"rate_bps": 9_000, "hold": "9d"},
        boost=[{"id": "b", "from": moment("Jan 1"), "until": moment("Feb 1"), "multiplier_bps": 20_000}],
        bonus=[{"id": "k", "first": 1, "period": "year", "scope": "program", "amount_minor": 3}],
        milestone=[{"id": "m", "metric": "qualified_referrals", "threshold": 1, "period": "year", "award_minor": 5}],
    )  # fmt: skip
    season = Season(terms(), later)
    season.referral(at="Jan 2")
    season.order("Jan 20", 1_000)
    versions = {row["kind"]: (row["amount_minor"], row["terms_version"]) for row in season.rows("ledger_entries")}
    assert versions == {"accrual": (200, 1), "bonus": (3, 2), "milestone_award": (5, 2)}
    assert season.payable("bonus", "milestone_award", "accrual") == [
        "accrual 200 on Jan 20",  # the hold of the version that set the amount
        "bonus 3 on Jan 29",
        "milestone_award 5 on Jan 29",
    ]


def test_a_boost_that_a_later_version_dropped_no_longer_applies() -> None:
    boost = {"id": "b", "from": moment("Jan 1"), "until": moment("Feb 1"), "multiplier_bps": 20_000}
    season = Season(terms(boost=[boost]), terms(version=2, begins="Jan 10"))
    season.referral(at="Jan 2")
    before, after = season.order("Jan 9 23:59:59.999", 1_000), season.order("Jan 10", 1_000)
    assert (season.earned(before), season.earned(after)) == (200, 100)


def test_where_orders_are_credited_each_follows_its_own_version_and_the_rest_the_first() -> None:
    """The first order is too small under version 1, the second large enough under version 2."""
    first = terms(attribution=BY_ORDER, qualification={"min_order_minor": 500}, customer_reward={"amount_minor": 11})
    later = terms(
        version=2, begins="Jan 10", attribution=BY_ORDER, commission={"rate_bps": 5_000},
        customer_reward={"amount_minor": 77},
    )  # fmt: skip
    season = Season(first, later)
    season.click("Jan 2")
    small = season.order("Jan 5", 100, visitor_id="ann")
    large = season.order("Jan 11", 200)
    assert (season.earned(small), season.earned(large)) == (10, 100)
    assert season.ledger("customer_reward") == ["Jan 11 bakery customer_reward 11"]
    assert [row["terms_version"] for row in season.rows("referrals")] == [1]


def test_what_takes_back_names_the_version_that_gave_and_its_amount() -> None:
    bonus = {"id": "k", "first": 1, "period": "year", "scope": "program", "amount_minor": 250}
    first = terms(bonus=[bonus], customer_reward={"amount_minor": 11})
    later = terms(
        version=2, begins="Jan 10", bonus=[bonus | {"amount_minor": 9_999}], commission={"rate_bps": 1, "hold": "90d"},
        customer_reward={"amount_minor": 77},
    )  # fmt: skip
    season = Season(first, later)
    season.referral(at="Jan 2")
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 20", order, 1_000)
    assert season.payable() == [
        "accrual 100 on Jan 5",
        "bonus 250 on Jan 5",
        "customer_reward 11 on Jan 5",
        "bonus_clawback -250 on Jan 20",
        "clawback -100 on Jan 20",
        "customer_reward_clawback -11 on Jan 20",
    ]
    assert {row["terms_version"] for row in season.rows("ledger_entries")} == {1}


def test_slots_are_counted_across_versions() -> None:
    """The later version raises the number of slots from 1 to 2: the one that is taken stays taken."""
    bonus = {"id": "k", "first": 1, "period": "year", "scope": "program", "amount_minor": 250}
    season = Season(terms(bonus=[bonus]), terms(version=2, begins="Jan 10", bonus=[bonus | {"first": 2}]))
    for customer, at in (("ann", "Jan 5"), ("bob", "Jan 6"), ("cat", "Jan 11"), ("dan", "Jan 12")):
        season.referral(customer)
        season.order(at, 1_000, customer)
    assert season.ledger("bonus") == ["Jan 5 bakery bonus 250", "Jan 11 bakery bonus 250"]


def test_a_version_change_alone_triggers_nothing() -> None:
    """With 2 the raised threshold of 3 is not met any more, which is noticed at the next change only."""
    goal = {"id": "m", "metric": "qualified_referrals", "threshold": 2, "period": "all_time"}
    season = Season(terms(milestone=[goal]), terms(version=2, begins="Jan 10", milestone=[goal | {"threshold": 9}]))
    for customer, at in (("ann", "Jan 5"), ("bob", "Jan 6")):
        season.referral(customer)
        season.order(at, 1_000, customer)
    season.order("Jan 15", 1_000, "ann")  # no transition
    assert season.milestone() == "reached 2 of 2"
    season.referral("cat")
    season.order("Jan 16", 1_000, "cat")
    assert season.milestone() == "revoked 3 of 9"


def test_a_milestone_is_evaluated_at_events_under_a_version_that_has_it_and_then_sums_its_period() -> None:
    goal = {"id": "m", "metric": "qualified_referrals", "threshold": 2, "period": "all_time", "scope": "program"}
    season = Season(terms(), terms(version=2, begins="Jan 10", milestone=[goal]), terms(version=3, begins="Jan 20"))
    for customer, at in (("ann", "Jan 5"), ("bob", "Jan 6")):
        season.referral(customer)
        season.order(at, 1_000, customer)
    assert season.milestone("*") == ""
    season.referral("cat")
    order = season.order("Jan 15", 1_000, "cat")
    assert season.milestone("*") == "reached 3 of 2"
    season.refund("Jan 25", order, 1_000, "cat")  # version 3 has no such milestone
    assert season.milestone("*") == "reached 3 of 2"
    assert [row["as_of"] for row in season.rows("milestones")] == [ms("Jan 15")]


def test_partners_are_read_in_the_version_at_the_conversion() -> None:
    """The tearoom's code, the bakery's own account and the roaster's leaving are all of version 2."""
    changes = {
        "tearoom": {"coupon_codes": ["TEA"]},
        "bakery": {"email_sha256": [EMAIL]},
        "roaster": {"left_at": moment("Jan 3")},
    }
    for begins, coupon, own, left in (
        ("Jan 20", {}, {"bakery": 10_000}, {"roaster": 10_000}),
        ("Jan 10", {"tearoom": 10_000}, {}, {}),
    ):
        season = Season(terms(), terms(version=2, begins=begins, partners=changes))
        season.sign_up("Jan 10", "cat", coupon_code="TEA")
        season.click("Jan 5", "bakery", by="ann")
        season.sign_up("Jan 10", "ann", email_sha256=EMAIL)
        season.click("Jan 5", "roaster", by="bob")
        season.sign_up("Jan 10", "bob")
        assert (season.credit("cat"), season.credit("ann"), season.credit("bob")) == (coupon, own, left)


def test_a_partner_that_is_not_in_the_version_is_inactive() -> None:
    later = terms(version=2, begins="Jan 10")
    later["partner"] = [partner for partner in later["partner"] if partner["id"] != "bakery"]
    season = Season(terms(), later)
    click = season.click("Jan 5", "bakery")
    season.sign_up("Jan 10")
    assert season.verdicts() == {click: "partner_inactive"}


def test_the_click_window_is_that_of_the_version_at_the_conversion() -> None:
    season = Season(
        terms(attribution={"click_window": "1d"}), terms(version=2, begins="Jan 10", attribution={"click_window": "9d"})
    )
    season.click("Jan 8")
    season.click("Jan 8", by="bob")
    season.sign_up("Jan 9 12:00", "ann")
    season.sign_up("Jan 10", "bob")
    assert (season.credit("ann"), season.credit("bob")) == ({}, {"bakery": 10_000})


def test_customers_and_orders_are_a_brands_own() -> None:
    """The same ids in another brand are others."""
    season = Season(terms(), terms("bolted", program={"brand_id": "bolt"}))
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 1_000, brand_id="bolt")
    season.order("Jan 5", 500, brand_id="bolt", event_id=order)
    assert season.ledger() == ["Jan 5 bakery accrual 100"]
