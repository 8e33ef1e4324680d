"""Contract section 4: customer rewards, bonuses, milestones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.season import Season, ms


def with_bonus(**changes: Any) -> Season:
    """The first qualified referral of the program earns 250, unless changed."""
    bonus = {"id": "kickoff", "first": 1, "period": "all_time", "scope": "program", "amount_minor": 250}
    return Season(commission={"rate_bps": 0}, bonus=[bonus | changes])


def with_goal(**changes: Any) -> Season:
    """Two qualified referrals of a partner earn it 900, unless changed."""
    goal = {"id": "goal", "metric": "qualified_referrals", "threshold": 2, "period": "all_time", "award_minor": 900}
    return Season(commission={"rate_bps": 0}, milestone=[goal | changes])


def qualify(season: Season, at: str, customer: str, partner: str = "bakery", amount: int = 100) -> str:
    """The customer, referred by the partner on Jan 2, orders for the first time."""
    season.referral(customer, partner)
    return season.order(at, amount, customer)


# -- The customer's side -----------------------------------------------------------------------------------------------


def test_the_customer_is_rewarded_at_each_qualification_and_it_is_taken_back_at_each_reversal() -> None:
    season = Season(commission={"rate_bps": 0}, customer_reward={"amount_minor": 40})
    order = qualify(season, "Jan 5", "ann")
    season.refund("Jan 6", order, 100)
    season.order("Jan 7", 100)
    assert season.ledger() == [
        "Jan 5 bakery customer_reward 40",
        "Jan 6 bakery customer_reward_clawback -40",
        "Jan 7 bakery customer_reward 40",
    ]
    for row in season.rows("ledger_entries"):
        assert (row["customer_id"], row["order_id"]) == ("ann", "")


# -- Bonuses -----------------------------------------------------------------------------------------------------------


def test_the_first_fifty_qualified_referrals_earn_a_bonus_and_the_fifty_first_none() -> None:
    season = with_bonus(first=50)
    for number in range(51):
        qualify(season, f"Jan 5 00:{number:02}", f"c{number:02}")
    bonuses = season.rows("ledger_entries", kind="bonus")
    assert sorted(row["customer_id"] for row in bonuses) == [f"c{number:02}" for number in range(50)]


def test_the_slots_are_the_programs_or_each_partners_own() -> None:
    for scope, expected in (
        ("program", ["Jan 5 bakery bonus 250"]),
        ("partner", ["Jan 5 bakery bonus 250", "Jan 7 roaster bonus 250"]),
    ):
        season = with_bonus(scope=scope)
        qualify(season, "Jan 5", "ann", "bakery")
        qualify(season, "Jan 6", "bob", "bakery")
        qualify(season, "Jan 7", "cat", "roaster")
        assert season.ledger("bonus") == expected


@pytest.mark.parametrize(("second", "bonuses"), [("Mar 31 23:59:59.999", 1), ("Apr 1", 2)])
def test_every_period_has_slots_of_its_own(second: str, bonuses: int) -> None:
    season = with_bonus(period="quarter")
    qualify(season, "Jan 5", "ann")
    qualify(season, second, "bob")
    assert len(season.ledger("bonus")) == bonuses


def test_a_reversal_frees_the_slot_for_later_qualifications_of_the_period() -> None:
    """bob's, on Jan 6, came while the slot was taken; cat's is the next after ann's reversal."""
    season = with_bonus()
    order = qualify(season, "Jan 5", "ann")
    qualify(season, "Jan 6", "bob")
    season.refund("Jan 7", order, 100)
    qualify(season, "Jan 8", "cat", "roaster")
    qualify(season, "Jan 9", "dan")
    assert season.ledger() == [
        "Jan 5 bakery bonus 250",
        "Jan 7 bakery bonus_clawback -250",
        "Jan 8 roaster bonus 250",
    ]


def test_whoever_lost_a_slot_may_take_it_again() -> None:
    season = with_bonus()
    order = qualify(season, "Jan 5", "ann")
    season.refund("Jan 6", order, 100)
    season.order("Jan 7", 100)
    assert season.ledger() == ["Jan 5 bakery bonus 250", "Jan 6 bakery bonus_clawback -250", "Jan 7 bakery bonus 250"]


def test_a_reversal_of_one_who_holds_no_slot_frees_none() -> None:
    season = with_bonus()
    qualify(season, "Jan 5", "ann")
    order = qualify(season, "Jan 6", "bob")
    season.refund("Jan 7", order, 100, "bob")
    qualify(season, "Jan 8", "cat")
    assert season.ledger() == ["Jan 5 bakery bonus 250"]


def test_the_slot_of_an_earlier_period_is_freed_there() -> None:
    """ann's reversal in April frees January's slot, which nobody can take in April: bob's slot is April's own."""
    season = with_bonus(period="quarter")
    order = qualify(season, "Jan 5", "ann")
    season.refund("Apr 2", order, 100)
    qualify(season, "Apr 3", "bob")
    qualify(season, "Apr 4", "cat")
    assert season.ledger() == ["Jan 5 bakery bonus 250", "Apr 2 bakery bonus_clawback -250", "Apr 3 bakery bonus 250"]


def test_one_who_turns_out_to_have_been_earlier_takes_the_slot() -> None:
    season = with_bonus()
    qualify(season, "Jan 5", "ann", "bakery")
    assert season.ledger() == ["Jan 5 bakery bonus 250"]
    qualify(season, "Jan 4", "bob", "roaster")  # told later, dated earlier
    assert season.ledger() == ["Jan 4 roaster bonus 250"]


def test_a_bonus_names_the_customer_and_no_order() -> None:
    season = with_bonus()
    order = qualify(season, "Jan 5", "ann")
    (row,) = season.rows("ledger_entries")
    assert (row["customer_id"], row["order_id"], row["cause_event_id"]) == ("ann", "", order)


# -- Milestones --------------------------------------------------------------------------------------------------------


def test_a_milestone_is_reached_revoked_and_reached_again() -> None:
    season = with_goal()
    order = qualify(season, "Jan 5", "ann")
    assert season.milestone() == "open 1 of 2"
    qualify(season, "Jan 6", "bob")
    assert season.milestone() == "reached 2 of 2"
    season.refund("Jan 7", order, 100)
    assert season.milestone() == "revoked 1 of 2"
    qualify(season, "Jan 8", "cat")
    assert season.milestone() == "reached 2 of 2"
    assert season.ledger() == [
        "Jan 6 bakery milestone_award 900",
        "Jan 7 bakery milestone_revocation -900",
        "Jan 8 bakery milestone_award 900",
    ]


def test_what_is_not_revocable_is_never_taken_back() -> None:
    season = with_goal(revocable=False)
    order = qualify(season, "Jan 5", "ann")
    qualify(season, "Jan 6", "bob")
    season.refund("Jan 7", order, 100)
    qualify(season, "Jan 8", "cat")
    assert season.milestone() == "reached 2 of 2"
    assert season.ledger() == ["Jan 6 bakery milestone_award 900"]


def test_each_partner_has_a_milestone_of_its_own() -> None:
    season = with_goal()
    for at, customer, partner in (("Jan 5", "ann", "bakery"), ("Jan 6", "bob", "roaster"), ("Jan 7", "cat", "roaster")):
        qualify(season, at, customer, partner)
    assert season.milestone("bakery") == "open 1 of 2"
    assert season.milestone("roaster") == "reached 2 of 2"
    assert season.milestone("tearoom") == ""  # a row exists from the first change on


def test_a_group_reaches_it_together_and_each_member_is_awarded() -> None:
    season = with_goal(scope="group", partners=["roaster", "bakery"])
    qualify(season, "Jan 5", "ann", "bakery")
    qualify(season, "Jan 6", "bob", "tearoom")  # no member
    assert season.milestone("bakery+roaster") == "open 1 of 2"
    qualify(season, "Jan 7", "cat", "bakery")
    assert season.milestone("bakery+roaster") == "reached 2 of 2"
    assert season.ledger() == ["Jan 7 bakery milestone_award 900", "Jan 7 roaster milestone_award 900"]


def test_each_member_must_have_its_part() -> None:
    """Two by the bakery alone are not enough; roaster's first makes it; roaster's reversal revokes it at 2 of 2."""
    season = with_goal(scope="group", partners=["bakery", "roaster"], each_at_least=1)
    qualify(season, "Jan 5", "ann", "bakery")
    qualify(season, "Jan 6", "bob", "bakery")
    assert season.milestone("bakery+roaster") == "open 2 of 2"
    order = qualify(season, "Jan 7", "cat", "roaster")
    assert season.milestone("bakery+roaster") == "reached 3 of 2"
    season.refund("Jan 8", order, 100, "cat")
    assert season.milestone("bakery+roaster") == "revoked 2 of 2"


def test_the_whole_program_counts_together_and_nobody_is_awarded() -> None:
    goal = {"id": "goal", "metric": "qualified_referrals", "threshold": 2, "period": "all_time", "scope": "program"}
    season = Season(commission={"rate_bps": 0}, milestone=[goal])
    qualify(season, "Jan 5", "ann", "bakery")
    qualify(season, "Jan 6", "bob", "roaster")
    assert season.milestone("*") == "reached 2 of 2"
    assert season.ledger() == []


def test_sign_ups_count_by_the_primary_partner_from_the_sign_up_on() -> None:
    season = with_goal(metric="sign_ups", threshold=1)
    season.referral(at="Jan 2")
    assert season.milestone() == "reached 1 of 1"
    assert season.ledger() == ["Jan 2 01:00 bakery milestone_award 900"]


def test_net_revenue_counts_pending_referrals_by_their_shares() -> None:
    """Half of 2001 each: 1000.5, shown as 1000 and less than 1001; with one more each has 1001."""
    goal = {"id": "goal", "metric": "net_revenue_minor", "threshold": 1_001, "period": "all_time"}
    season = Season(attribution={"model": "linear"}, qualification={"min_order_minor": 9_999}, milestone=[goal])
    season.click("Jan 2", "bakery")
    season.click("Jan 3", "roaster")
    season.sign_up("Jan 4")
    season.order("Jan 5", 2_001)
    assert season.milestone("bakery") == season.milestone("roaster") == "open 1000 of 1001"
    season.order("Jan 6", 1)
    assert season.milestone("bakery") == season.milestone("roaster") == "reached 1001 of 1001"


def test_net_revenue_counts_each_change_in_the_period_of_its_event() -> None:
    season = with_goal(metric="net_revenue_minor", threshold=1_000, period="month")
    order = qualify(season, "Jan 5", "ann", amount=1_000)
    season.refund("Feb 1", order, 333)
    assert season.milestone(period="2026-01") == "reached 1000 of 1000"
    assert season.milestone(period="2026-02") == "open -333 of 1000"


def test_qualified_referrals_of_a_period_may_fall_below_0() -> None:
    season = with_goal(period="day")
    order = qualify(season, "Jan 5 23:59:59.999", "ann")
    season.refund("Jan 6", order, 100)
    assert season.milestone(period="2026-01-05") == "open 1 of 2"
    assert season.milestone(period="2026-01-06") == "open -1 of 2"


@pytest.mark.parametrize(
    ("period", "label"),
    [
        ("day", "2026-03-29"), ("week", "2026-W13"), ("month", "2026-03"), ("quarter", "2026-Q1"), ("year", "2026"),
        ("all_time", "all"),
    ],
)  # fmt: skip
def test_periods_are_named_as_the_calendar_names_them(period: str, label: str) -> None:
    """Sunday, Mar 29 2026 in Berlin, an hour before midnight there: the clocks went forward that day."""
    goal = {"id": "goal", "metric": "sign_ups", "threshold": 1, "period": period}
    season = Season(program={"time_zone": "Europe/Berlin"}, milestone=[goal])
    season.click("Mar 29")
    season.sign_up("Mar 29 23:00 Europe/Berlin")
    assert season.milestone(period=label) == "reached 1 of 1"
    season.click("Mar 29", by="bob")
    season.sign_up("Mar 29 23:59:59.999 Europe/Berlin", "bob")
    assert season.milestone(period=label) == "reached 2 of 1"
    season.click("Mar 29", by="cat")
    season.sign_up("Mar 30 Europe/Berlin", "cat")  # Monday
    in_period = 3 if period in ("month", "quarter", "year", "all_time") else 2
    assert season.milestone(period=label) == f"reached {in_period} of 1"


def test_a_milestone_names_when_it_was_reached_and_revoked() -> None:
    season = with_goal(threshold=1)
    order = qualify(season, "Jan 5", "ann")
    season.refund("Jan 7", order, 100)
    (row,) = season.rows("milestones")
    assert (row["reached_at"], row["revoked_at"], row["as_of"]) == (ms("Jan 5"), ms("Jan 7"), ms("Jan 7"))
    season.order("Jan 8", 100)
    (row,) = season.rows("milestones")
    assert (row["reached_at"], row["revoked_at"], row["as_of"]) == (ms("Jan 8"), None, ms("Jan 8"))


def test_awards_name_neither_customer_nor_order() -> None:
    season = with_goal(threshold=1)
    order = qualify(season, "Jan 5", "ann")
    (row,) = season.rows("ledger_entries")
    assert (row["customer_id"], row["order_id"], row["cause_event_id"]) == ("", "", order)
