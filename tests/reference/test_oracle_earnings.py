"""Hand-computed examples that pin the reference: referrals, commission, and which version counts."""

from __future__ import annotations

import pytest

from .examples import (
    HOUR,
    Table,
    amounts,
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
    status,
)
from .oracle import compute

BY_ORDER: Table = {"credit": "order"}
QUALIFIED_BY_SIGN_UP: Table = {"event": "sign_up"}
ANN = referred("ann", day(1))


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


# -- Two partners' accounts stay apart -------------------------------------------------------------------------------


def test_customers_and_orders_are_a_brands_own() -> None:
    """The same ids in another brand are others; its program earns nothing from acme's order."""
    programs = [program(), program("bolted", brand="bolt")]
    events = [*ANN, order(day(2), 1_000), refund(day(3), 1_000, brand_id="bolt"), order(day(2), brand_id="bolt")]
    answer = compute(programs, events)
    assert [(row["program_id"], row["amount_minor"]) for row in answer["ledger_entries"]] == [("friends", 100)]
    assert len(answer["orders"]) == 2
