"""Hand-computed examples that pin the reference: referrals, commission, rewards, bonuses, milestones, the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from .examples import (
    HOUR,
    Table,
    click,
    day,
    ledger,
    moment,
    order,
    partners,
    program,
    referred,
    refund,
    sign_up,
)
from .oracle import Row, compute

BY_ORDER: Table = {"credit": "order"}
QUALIFIED_BY_SIGN_UP: Table = {"event": "sign_up"}
ANN = referred("ann", day(1))


def status(programs: list[Table], events: list[Row], *columns: str) -> Any:
    """Columns of the one referral; its status alone if none are named."""
    (row,) = compute(programs, events)["referrals"]
    return tuple(row[column] for column in columns) if columns else row["status"]


def amounts(programs: list[Table], events: list[Row], kind: str) -> list[tuple[str, int]]:
    """(cause_event_id, amount_minor) of the entries of one kind, in order of time."""
    return [(c, a) for k, c, a in ledger(programs, events, "kind", "cause_event_id", "amount_minor") if k == kind]


def goal(programs: list[Table], events: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    """Columns of each milestone row, sorted by scope and period."""
    return [tuple(row[column] for column in columns) for row in compute(programs, events)["milestones"]]


# -- Referral --------------------------------------------------------------------------------------------------------


def test_a_referral_is_pending_qualified_reversed_and_qualified_again() -> None:
    programs = [program(qualification={"min_order_minor": 1_000})]
    events = [*ANN]
    columns = ("status", "qualified_at", "reversed_at", "signed_up_at", "as_of")
    joined = day(1) + HOUR
    assert status(programs, events, *columns) == ("pending", None, None, joined, joined)
    events.append(order(day(2), 999))
    assert status(programs, events, *columns) == ("pending", None, None, joined, day(2))
    events.append(order(day(3), 1_500, event_id="o2"))
    assert status(programs, events, *columns) == ("qualified", day(3), None, joined, day(3))
    events.append(refund(day(4), 500, of="o2", event_id="r1"))
    assert status(programs, events, *columns) == ("qualified", day(3), None, joined, day(4))
    events.append(refund(day(5), 1, of="o2", event_id="r2"))
    assert status(programs, events, *columns) == ("reversed", day(3), day(5), joined, day(5))
    events.append(order(day(6), 1_000, event_id="o3"))
    assert status(programs, events, *columns) == ("qualified", day(6), None, joined, day(6))


def test_an_order_of_nothing_qualifies_nobody() -> None:
    assert status([program()], [*ANN, order(day(2), 0)]) == "pending"
    assert status([program()], [*ANN, order(day(2), 1)]) == "qualified"


def test_a_refund_dated_before_its_order_counts_from_the_order_on() -> None:
    events = [*ANN, refund(day(2), 4_000), order(day(3), 10_000)]
    assert ledger([program()], events) == [("accrual", 600, "o1")]
    assert status([program()], [*ANN, refund(day(2), 10_000), order(day(3), 10_000)]) == "pending"


def test_existing_customers_are_rejected_for_good() -> None:
    """An order strictly before the click, though refunded, makes ann an existing customer; one at its time does not."""
    programs = [program(qualification={"new_customers_only": True}, customer_reward={"amount_minor": 5})]
    for at, reason in ((day(1, -1), "existing_customer"), (day(1), "")):
        events = [order(at, 500, event_id="old"), refund(at, 500, of="old"), *ANN, order(day(2))]
        assert status(programs, events, "reason") == (reason,)
    rejected = compute(programs, [order(day(0), 500, event_id="old"), *ANN, order(day(2))])
    assert rejected["ledger_entries"] == []
    assert [row["partner_id"] for row in rejected["attributions"] if row["conversion_id"] == "o1"] == ["bakery"]


@pytest.mark.parametrize(("waited", "reason"), [(59_999, "too_fast"), (60_000, "")])
def test_sign_ups_too_soon_after_the_click_are_rejected(waited: int, reason: str) -> None:
    """Only the last credited click counts: here the one named by click_id."""
    programs = [program(qualification={"min_click_to_sign_up": "1m"})]
    events = [click(day(1)), click(day(1) + waited, event_id="k2"), sign_up(day(1) + waited, click_id="k1")]
    assert status(programs, events, "reason") == (reason,)


def test_a_coupon_is_never_too_fast() -> None:
    owners = partners(tearoom={"coupon_codes": ["TEA"]})
    programs = [program(qualification={"min_click_to_sign_up": "1m"}, partner=owners)]
    assert status(programs, [sign_up(day(1), coupon_code="TEA")]) == "pending"


def test_the_primary_partner_has_the_largest_share_or_the_latest_touchpoint() -> None:
    programs = [program(attribution={"model": "linear"})]
    clicks = [click(day(n), p, f"k{n}") for n, p in enumerate(("bakery", "bakery", "roaster", "roaster"), 1)]
    assert status(programs, [*clicks, sign_up(day(5))], "partner_id") == ("roaster",)
    assert status(programs, [*clicks[:3], sign_up(day(5))], "partner_id") == ("bakery",)


def test_the_referral_of_a_program_that_credits_orders_is_its_first_orders() -> None:
    events = [click(day(1)), order(day(2), visitor_id="v1"), click(day(3), "roaster", "k2")]
    events += [order(day(4), event_id="o2"), sign_up(day(9))]
    programs = [program(attribution=BY_ORDER, customer_reward={"amount_minor": 7})]
    assert status(programs, events, "partner_id", "signed_up_at", "as_of") == ("bakery", day(9), day(4))
    entries = ledger(programs, events, "kind", "partner_id", "order_id", "amount_minor")
    assert entries == [
        ("accrual", "bakery", "o1", 1_000),
        ("customer_reward", "bakery", "", 7),
        ("accrual", "roaster", "o2", 1_000),
    ]


# -- Commission ------------------------------------------------------------------------------------------------------


def test_an_order_earns_its_rate_payable_after_the_hold() -> None:
    programs = [program(commission={"rate_bps": 1_000, "hold": "7d"})]
    (row,) = compute(programs, [*ANN, order(day(2), 10_000)])["ledger_entries"]
    assert row == {
        "kind": "accrual",
        "program_id": "friends",
        "partner_id": "bakery",
        "customer_id": "ann",
        "order_id": "o1",
        "amount_minor": 1_000,
        "currency": "USD",
        "occurred_at": day(2),
        "payable_at": day(9),
        "cause_event_id": "o1",
        "terms_version": 1,
        "as_of": day(2),
    }


def test_refunds_take_back_what_they_reduce_never_below_nothing() -> None:
    programs = [program(commission={"rate_bps": 1_000, "hold": "7d"})]
    events = [*ANN, order(day(2)), refund(day(3), 2_500), refund(day(20), 99_999, event_id="r2")]
    entries = ledger(programs, events, "kind", "amount_minor", "occurred_at", "payable_at")
    assert entries == [
        ("accrual", 1_000, day(2), day(9)),
        ("clawback", -250, day(3), day(9)),  # not before what it takes back
        ("clawback", -750, day(20), day(20)),
    ]


@pytest.mark.parametrize(("amount", "earned"), [(24, 2), (25, 2), (26, 3), (35, 4), (45, 4)])
def test_money_rounds_half_to_even(amount: int, earned: int) -> None:
    assert ledger([program()], [*ANN, order(day(2), amount)]) == [("accrual", earned, "o1")]


def test_an_entry_of_nothing_is_not_written() -> None:
    assert ledger([program()], [*ANN, order(day(2), 5)]) == []  # 0.5 rounds to 0


def test_each_partners_share_is_rounded_by_itself() -> None:
    """10 % of 150 is 15: shares 3334, 3333, 3333 make 5.001, 4.9995, 4.9995: 5 each."""
    clicks = [click(day(n), p, f"k{n}") for n, p in enumerate(("bakery", "roaster", "tearoom"), 1)]
    events = [*clicks, sign_up(day(5)), order(day(6), 150)]
    programs = [program(attribution={"model": "linear"})]
    assert sorted(ledger(programs, events, "partner_id", "amount_minor")) == [
        ("bakery", 5),
        ("roaster", 5),
        ("tearoom", 5),
    ]
    # 14.5 in all: 4.8343, 4.83285, 4.83285 are 5 each too; parts are not made to sum.
    assert [a for _, a, _ in ledger(programs, [*events[:-1], order(day(6), 145)])] == [5, 5, 5]


def test_orders_before_qualification_earn_from_it_on_at_the_rate_of_their_own_time() -> None:
    """o1 is boosted at its own time; it earns only when o2 qualifies the referral, at o2's event."""
    boost = {"id": "b", "from": moment(2), "until": moment(3), "multiplier_bps": 30_000}
    programs = [program(qualification={"min_order_minor": 1_000}, boost=[boost])]
    events = [*ANN, order(day(2), 500), order(day(4), 1_000, event_id="o2")]
    assert ledger(programs, events, "kind", "order_id", "amount_minor", "occurred_at") == [
        ("accrual", "o1", 150, day(4)),
        ("accrual", "o2", 100, day(4)),
    ]


def test_a_reversed_referral_goes_on_earning() -> None:
    programs = [program(qualification={"min_order_minor": 1_000})]
    events = [*ANN, order(day(2), 1_000), refund(day(3), 400), order(day(4), 300, event_id="o2")]
    assert status(programs, events) == "reversed"
    assert ledger(programs, events) == [("accrual", 100, "o1"), ("clawback", -40, "r1"), ("accrual", 30, "o2")]


def test_with_orders_first_only_the_qualifying_order_earns() -> None:
    commission = {"rate_bps": 1_000, "orders": "first"}
    programs = [program(commission=commission, qualification={"min_order_minor": 1_000})]
    events = [*ANN, order(day(2), 999), order(day(3), 1_000, event_id="o2"), order(day(4), 5_000, event_id="o3")]
    assert ledger(programs, events) == [("accrual", 100, "o2")]
    # Not even when it is refunded and another order qualifies the referral again.
    assert ledger(programs, [*events[:-1], refund(day(4), 1_000, of="o2"), order(day(5), 5_000, event_id="o3")]) == [
        ("accrual", 100, "o2"),
        ("clawback", -100, "r1"),
    ]


def test_a_flat_commission_is_earned_while_the_net_is_at_least_one() -> None:
    """500 x 0.6667 = 333.35 and 500 x 0.3333 = 166.65."""
    programs = [program(attribution={"model": "linear"}, commission={"kind": "flat", "amount_minor": 500})]
    clicks = [click(day(1), "bakery", "a"), click(day(1), "bakery", "b"), click(day(1), "roaster", "c")]
    events = [*clicks, sign_up(day(2)), order(day(3), 100), refund(day(4), 99), refund(day(5), 1, event_id="r2")]
    entries = ledger(programs, events, "kind", "partner_id", "amount_minor", "cause_event_id")
    assert entries == [
        ("accrual", "bakery", 333, "o1"),
        ("accrual", "roaster", 167, "o1"),
        ("clawback", "bakery", -333, "r2"),
        ("clawback", "roaster", -167, "r2"),
    ]


def test_tiers_count_the_orders_own_event_and_nothing_dated_later() -> None:
    """bob's order is bakery's second qualified referral; ann's second comes after it, her first keeps its rate."""
    tiers = [{"from": 2, "period": "month", "rate_bps": 2_000}, {"from": 1, "period": "month", "rate_bps": 1_500}]
    programs = [program(tier=tiers)]
    ann, bob = [*ANN, order(day(2), 1_000)], [*referred("bob", day(1)), order(day(3), 1_000, "bob", "o2")]
    again = [order(day(4), 1_000, event_id="o3")]
    events = [*ann, *bob, *again]
    assert amounts(programs, events, "accrual") == [("o1", 150), ("o2", 200), ("o3", 200)]
    # bob's order reversed before ann's second: back to one.
    reversal = refund(day(3, 1), 1_000, of="o2", customer="bob")
    assert amounts(programs, [*events, reversal], "accrual") == [("o1", 150), ("o2", 200), ("o3", 150)]
    # In February nobody has qualified yet: the program's rate.
    february = order(day(31), 1_000, event_id="o4")
    assert amounts(programs, [*events, february], "accrual")[-1] == ("o4", 100)


def test_tiers_count_each_partner_by_itself_where_it_is_primary() -> None:
    """Both share ann half and half; roaster, the later, is primary, so only roaster has one qualified referral."""
    programs = [program(attribution={"model": "linear"}, tier=[{"from": 1, "period": "day", "rate_bps": 2_000}])]
    events = [click(day(1)), click(day(2), "roaster", "k2"), sign_up(day(3)), order(day(4), 1_000)]
    assert ledger(programs, events, "partner_id", "amount_minor") == [("bakery", 50), ("roaster", 100)]


def test_boosts_in_force_for_the_partner_at_the_order_multiply() -> None:
    boosts = [
        {"id": "all", "from": moment(2), "until": moment(4), "multiplier_bps": 20_000},
        {"id": "bakery", "partner_id": "bakery", "from": moment(3), "until": moment(5), "multiplier_bps": 15_000},
        {"id": "roaster", "partner_id": "roaster", "from": moment(0), "until": moment(9), "multiplier_bps": 0},
    ]
    expected = {day(2, -1): 100, day(2): 200, day(3): 300, day(4): 150, day(5): 100}
    for at, earned in expected.items():
        assert ledger([program(boost=boosts)], [*ANN, order(at, 1_000)]) == [("accrual", earned, "o1")]


def test_qualified_by_sign_up_needs_no_order_and_is_never_reversed() -> None:
    programs = [program(qualification=QUALIFIED_BY_SIGN_UP, customer_reward={"amount_minor": 9})]
    events = [*ANN, order(day(2), 1_000), refund(day(3), 1_000)]
    assert status(programs, events, "status", "qualified_at") == ("qualified", day(1) + HOUR)
    expected = [("customer_reward", 9, "s-ann"), ("accrual", 100, "o1"), ("clawback", -100, "r1")]
    assert ledger(programs, events) == expected


# -- Customer reward and bonus ---------------------------------------------------------------------------------------


def test_the_customer_is_rewarded_at_each_qualification() -> None:
    programs = [program(commission={"rate_bps": 0, "hold": "2d"}, customer_reward={"amount_minor": 40})]
    events = [*ANN, order(day(2)), refund(day(3), 10_000), order(day(6), event_id="o2")]
    columns = ("kind", "amount_minor", "customer_id", "order_id", "occurred_at", "payable_at")
    assert ledger(programs, events, *columns) == [
        ("customer_reward", 40, "ann", "", day(2), day(4)),
        ("customer_reward_clawback", -40, "ann", "", day(3), day(4)),
        ("customer_reward", 40, "ann", "", day(6), day(8)),
    ]


def _three_customers() -> list[Row]:
    """ann, bob and cat, referred by bakery, bakery and roaster, order on days 5, 6 and 7."""
    events = []
    for n, (customer, partner) in enumerate((("ann", "bakery"), ("bob", "bakery"), ("cat", "roaster"))):
        events += [*referred(customer, day(1), partner), order(day(5 + n), 100, customer, f"o-{customer}")]
    return events


def _bonus(**changes: Any) -> list[Table]:
    table = {"id": "b", "first": 1, "period": "all_time", "scope": "program", "amount_minor": 250}
    return [program(bonus=[table | changes])]


def test_the_first_qualified_referrals_earn_a_bonus() -> None:
    events = _three_customers()
    assert amounts(_bonus(), events, "bonus") == [("o-ann", 250)]
    assert amounts(_bonus(first=2), events, "bonus") == [("o-ann", 250), ("o-bob", 250)]
    assert amounts(_bonus(scope="partner"), events, "bonus") == [("o-ann", 250), ("o-cat", 250)]
    assert len(amounts(_bonus(period="day"), events, "bonus")) == 3


def test_a_reversal_frees_the_slot_for_later_qualifications() -> None:
    events = [*_three_customers(), refund(day(6, 1), 100, of="o-ann")]
    entries = ledger(_bonus(), events, "kind", "amount_minor", "partner_id", "customer_id", "occurred_at")
    assert [e for e in entries if e[0] != "accrual" and e[0] != "clawback"] == [
        ("bonus", 250, "bakery", "ann", day(5)),
        ("bonus_clawback", -250, "bakery", "ann", day(6, 1)),
        ("bonus", 250, "roaster", "cat", day(7)),
    ]


def test_a_bonus_of_nothing_takes_a_slot_and_writes_no_entry() -> None:
    programs = [
        program(bonus=[{"id": "b", "first": 1, "period": "year", "scope": "program", "amount_minor": 0}]),
        program(version=2, begins=6, bonus=_bonus(period="year")[0]["bonus"]),
    ]
    assert amounts(programs, _three_customers(), "bonus") == []


# -- Milestone -------------------------------------------------------------------------------------------------------


def _milestone(version: int = 1, begins: float = 0, **changes: Any) -> Table:
    table = {"id": "m", "metric": "qualified_referrals", "threshold": 2, "period": "all_time", **changes}
    return program(version=version, begins=begins, milestone=[table])


def test_a_milestone_is_reached_revoked_and_reached_again() -> None:
    programs = [_milestone(award_minor=900)]
    events = _three_customers()
    columns = ("scope_key", "period", "status", "count", "reached_at", "revoked_at", "as_of")
    roaster = ("roaster", "all", "open", 1, None, None, day(7))
    assert goal(programs, events, *columns) == [
        ("bakery", "all", "reached", 2, day(6), None, day(6)),
        roaster,
    ]
    events.append(refund(day(8), 100, of="o-ann"))
    assert goal(programs, events, *columns) == [
        ("bakery", "all", "revoked", 1, day(6), day(8), day(8)),
        roaster,
    ]
    events.append(order(day(9), 100, event_id="more"))
    assert goal(programs, events, *columns)[0] == ("bakery", "all", "reached", 2, day(9), None, day(9))
    awards = ledger(programs, events, "kind", "amount_minor", "partner_id", "customer_id", "order_id")
    assert [e for e in awards if e[0].startswith("milestone")] == [
        ("milestone_award", 900, "bakery", "", ""),
        ("milestone_revocation", -900, "bakery", "", ""),
        ("milestone_award", 900, "bakery", "", ""),
    ]


def test_what_is_not_revocable_stays_reached() -> None:
    events = [*_three_customers(), refund(day(8), 100, of="o-ann"), order(day(9), 100, event_id="more")]
    programs = [_milestone(award_minor=900, revocable=False)]
    assert goal(programs, events, "scope_key", "status", "reached_at")[0] == ("bakery", "reached", day(6))
    assert amounts(programs, events, "milestone_award") == [("o-bob", 900)]


def test_a_group_reaches_a_milestone_together_each_with_its_part() -> None:
    """Two are reached on day 6, but by bakery alone; roaster's first comes on day 7."""
    changes: Table = {"scope": "group", "partners": ["roaster", "bakery"], "award_minor": 30}
    columns = ("scope_key", "status", "count", "reached_at")
    assert goal([_milestone(**changes)], _three_customers(), *columns) == [("bakery+roaster", "reached", 3, day(6))]
    programs = [_milestone(**changes, each_at_least=1)]
    assert goal(programs, _three_customers(), *columns) == [("bakery+roaster", "reached", 3, day(7))]
    assert amounts(programs, _three_customers(), "milestone_award") == [("o-cat", 30), ("o-cat", 30)]
    # tearoom's referrals change nothing of the group's.
    events = [*referred("dan", day(1), "tearoom"), order(day(5), 100, "dan")]
    assert goal(programs, events, *columns) == []


def test_the_program_milestone_sums_over_everyone() -> None:
    columns = ("scope_key", "period", "status", "count")
    assert goal([_milestone(scope="program", threshold=3)], _three_customers(), *columns) == [
        ("*", "all", "reached", 3)
    ]
    days = [("*", f"2026-01-0{n}", "open", 1) for n in (6, 7, 8)]
    assert goal([_milestone(scope="program", period="day")], _three_customers(), *columns) == days


def test_sign_ups_count_by_primary_partner_unless_rejected() -> None:
    programs = [_milestone(metric="sign_ups", threshold=1)]
    assert goal(programs, ANN, "scope_key", "count", "as_of") == [("bakery", 1, day(1) + HOUR)]
    programs[0]["qualification"] = {"min_click_to_sign_up": "1d"}
    assert goal(programs, ANN, "scope_key", "count", "as_of") == []


def test_net_revenue_is_unrounded_and_dated_by_its_events() -> None:
    """Shares 3334, 3333, 3333 of 100: bakery 33.34; refunded on another day: -33.34 there, shown as -34."""
    clicks = [click(day(n), p, f"k{n}") for n, p in enumerate(("bakery", "roaster", "tearoom"), 1)]
    events = [*clicks, sign_up(day(5)), order(day(6), 100), refund(day(7), 100)]
    changes: Table = {"metric": "net_revenue_minor", "period": "day", "threshold": 33}
    programs = [_milestone(**changes) | {"attribution": {"model": "linear"}}]
    assert goal(programs, events, "scope_key", "period", "count", "status")[:2] == [
        ("bakery", "2026-01-07", 33, "reached"),
        ("bakery", "2026-01-08", -34, "open"),
    ]
    changes = {"metric": "net_revenue_minor", "scope": "group", "partners": ["roaster", "tearoom"], "threshold": 67}
    programs = [_milestone(**changes) | {"attribution": {"model": "linear"}}]
    # 66.66 is shown as 66 and is less than 67; a second such order makes 133.32.
    assert goal(programs, events[:-1], "count", "status") == [(66, "open")]
    assert goal(programs, [*events[:-1], order(day(8), 100, event_id="o2")], "count", "status") == [(133, "reached")]


def test_net_revenue_counts_pending_referrals() -> None:
    programs = [_milestone(metric="net_revenue_minor") | {"qualification": {"min_order_minor": 900}}]
    assert goal(programs, [*ANN, order(day(2), 500)], "count", "status") == [(500, "reached")]
    assert goal(programs, [*ANN, order(day(2), 0)], "count", "status") == []  # no change of the metric


def test_qualified_referrals_may_fall_below_nothing() -> None:
    """+1 on the first day, -1 on the second: New York's days end at 05:00 UTC."""
    programs = [_milestone(period="day") | {"program": program()["program"] | {"time_zone": "America/New_York"}}]
    at = day(2) + 5 * HOUR
    events = [*ANN, order(at - 1, 100), refund(at, 100)]
    assert goal(programs, events, "period", "count") == [("2026-01-02", 1), ("2026-01-03", -1)]


# -- Versions --------------------------------------------------------------------------------------------------------


def test_later_terms_never_reprice() -> None:
    """ann signed up under version 1: its rate, hold, tiers and reward; boosts and bonuses are those of day 20."""
    later = program(
        version=2,
        begins=10,
        commission={"rate_bps": 5_000, "hold": "9d"},
        customer_reward={"amount_minor": 77},
        tier=[{"from": 1, "period": "year", "rate_bps": 9_000}],
        boost=[{"id": "b", "from": moment(1), "until": moment(99), "multiplier_bps": 20_000}],
        bonus=[{"id": "b", "first": 1, "period": "year", "scope": "program", "amount_minor": 3}],
    )
    programs = [program(customer_reward={"amount_minor": 11}), later]
    columns = ("kind", "amount_minor", "payable_at", "terms_version")
    assert ledger(programs, [*ANN, order(day(20), 100)], *columns) == [
        ("accrual", 20, day(20), 1),
        ("bonus", 3, day(29), 2),
        ("customer_reward", 11, day(20), 1),
    ]


def test_with_credit_by_order_each_order_follows_its_own_version() -> None:
    later = program(
        version=2, begins=10, attribution=BY_ORDER, commission={"rate_bps": 5_000}, customer_reward={"amount_minor": 77}
    )
    programs = [program(attribution=BY_ORDER, qualification={"min_order_minor": 500}), later]
    events = [click(day(1)), order(day(2), 100, visitor_id="v1"), order(day(11), 200, event_id="o2")]
    assert ledger(programs, events, "kind", "order_id", "amount_minor", "terms_version") == [
        ("accrual", "o1", 10, 1),
        ("accrual", "o2", 100, 2),
    ]
    assert status(programs, events, "status", "qualified_at", "terms_version") == ("qualified", day(11), 1)


def test_what_takes_back_names_the_version_that_gave() -> None:
    programs = [
        program(bonus=[{"id": "b", "first": 1, "period": "day", "scope": "program", "amount_minor": 3}]),
        program(version=2, begins=10, commission={"rate_bps": 1, "hold": "90d"}),
    ]
    events = [*ANN, order(day(2), 100), refund(day(11), 100)]
    assert ledger(programs, events, "kind", "amount_minor", "payable_at", "terms_version") == [
        ("accrual", 10, day(2), 1),
        ("bonus", 3, day(2), 1),
        ("bonus_clawback", -3, day(11), 1),
        ("clawback", -10, day(11), 1),
    ]


def test_a_milestone_is_evaluated_only_at_events_under_a_version_that_has_it() -> None:
    """The first version lacks it, so nothing is reached on day 6; the third referral's event then sums all three."""
    programs = [program(), _milestone(version=2, begins=6.5, scope="program"), program(version=3, begins=7.5)]
    columns = ("status", "count", "reached_at", "terms_version", "as_of")
    assert goal(programs, _three_customers(), *columns) == [("reached", 3, day(7), 2, day(7))]
    unseen = refund(day(8), 100, of="o-cat", customer="cat")
    assert goal(programs, [*_three_customers(), unseen], *columns) == [("reached", 3, day(7), 2, day(7))]


def test_a_raised_threshold_is_noticed_at_the_next_change() -> None:
    programs = [_milestone(scope="program"), _milestone(version=2, begins=6.5, scope="program", threshold=9)]
    columns = ("status", "count", "threshold", "reached_at", "revoked_at")
    assert goal(programs, _three_customers()[:6], *columns) == [("reached", 2, 2, day(6), None)]
    assert goal(programs, _three_customers(), *columns) == [("revoked", 3, 9, day(6), day(7))]


# -- Two partners' accounts stay apart -------------------------------------------------------------------------------


def test_customers_and_orders_are_a_brands_own() -> None:
    """The same ids in another brand are others; its program earns nothing from acme's order."""
    programs = [program(), program("bolted", brand="bolt")]
    events = [*ANN, order(day(2), 1_000), refund(day(3), 1_000, brand_id="bolt"), order(day(2), brand_id="bolt")]
    answer = compute(programs, events)
    assert [(row["program_id"], row["amount_minor"]) for row in answer["ledger_entries"]] == [("friends", 100)]
    assert len(answer["orders"]) == 2
