"""Hand-computed examples that pin the reference: bad input, repeats, who is who, candidates, priority, credit."""

from __future__ import annotations

import json

import pytest

from .admission import canonical_json
from .examples import DAY, EMAIL, HOUR, Table, click, day, moment, order, partners, program, refund, shares, sign_up
from .oracle import Row, compute
from .shares import model_shares, time_decay_quotas
from .terms import period_of

BY_ORDER: Table = {"credit": "order"}


def verdicts(programs: list[Table], events: list[Row], conversion: str) -> list[tuple[str, str]]:
    """(click or code, verdict) of the explanation of one conversion."""
    rows = compute(programs, events)["attributions"]
    row = next(row for row in rows if row["conversion_id"] == conversion)
    return [(t["click_id"] or t["code"], t["verdict"]) for t in row["explanation"]]


# -- Events in (section 2) -------------------------------------------------------------------------------------------


def test_repeats_are_one_event() -> None:
    events = [click(day(1)), sign_up(day(2)), order(day(3)), order(day(3)), sign_up(day(2)), click(day(1))]
    answer = compute([program()], events)
    assert [len(answer[name]) for name in ("clicks", "sign_ups", "orders", "dead_letters")] == [1, 1, 1, 0]
    assert [row["amount_minor"] for row in answer["ledger_entries"]] == [1_000]


def test_of_repeats_that_differ_the_earliest_counts() -> None:
    events = [click(day(1)), sign_up(day(2)), order(day(4), 100), order(day(3), 900)]
    (standing,) = compute([program()], events)["orders"]
    assert (standing["occurred_at"], standing["amount_minor"]) == (day(3), 900)


def test_of_repeats_at_one_time_the_smallest_canonical_json_counts() -> None:
    """Amounts compare as text there: "1000" is smaller than "999"."""
    (standing,) = compute([program()], [order(day(3), 999), order(day(3), 1_000)])["orders"]
    assert standing["amount_minor"] == 1_000


def test_canonical_json_is_rfc_8785() -> None:
    event = refund(5, 9_007_199_254_740_993, reason="refund", order_id='\u20ac\x0f\n"\\/\x7f', unknown="ignored")
    assert canonical_json(event).decode() == (
        '{"amount_minor":9007199254740993,"brand_id":"acme","currency":"USD","customer_id":"ann","event_id":"r1",'
        '"occurred_at":5,"order_id":"\u20ac\\u000f\\n\\"\\\\/\x7f","reason":"refund"}'
    )


def test_a_bad_copy_does_not_compete_with_a_good_one() -> None:
    events = [order(day(2), 500, currency="EUR"), order(day(3), 700)]
    answer = compute([program()], events)
    assert [o["amount_minor"] for o in answer["orders"]] == [700]
    assert answer["dead_letters"] == [{"index": 0, "reason": "currency_mismatch"}]


def test_orders_told_under_several_event_ids_are_one_order() -> None:
    """The position of a duplicate is that of its first copy; a duplicate binds no visitor."""
    events = [
        click(day(1)),
        order(day(3), event_id="late", order_id="o", visitor_id="v1"),
        order(day(2), event_id="b", order_id="o"),
        order(day(2), event_id="a", order_id="o"),
        order(day(3), event_id="late", order_id="o", visitor_id="v1"),
        order(day(5), event_id="next"),
    ]
    answer = compute([program(attribution=BY_ORDER)], events)
    assert [o["event_id"] for o in answer["orders"]] == ["a", "next"]
    assert answer["dead_letters"] == [{"index": i, "reason": "duplicate_order"} for i in (1, 2)]
    assert shares([program(attribution=BY_ORDER)], events, "next") == {"": 0}


def test_each_bad_record_has_the_first_reason_that_applies() -> None:
    programs = [program(), program("other", brand="bolt", program={"currency": "EUR"})]
    events = [
        click(day(1), "nobody", program_id="none", brand_id="none"),
        click(day(1), "nobody", program_id="other"),
        click(day(1), "nobody"),
        order(day(1), currency="EUR"),
        refund(day(1), 5, currency="EUR"),
        order(day(1), currency="USD", brand_id="bolt"),
        sign_up(day(1), brand_id="none"),
    ]
    reasons = [row["reason"] for row in compute(programs, events)["dead_letters"]]
    mismatch = "currency_mismatch"
    expected = ["unknown_brand", "unknown_program", "unknown_partner", mismatch, mismatch, mismatch, "unknown_brand"]
    assert reasons == expected


def test_a_partner_of_any_version_is_known() -> None:
    programs = [program(), program(version=2, begins=9, partner=[{"id": "newcomer", "name": "N"}])]
    assert compute(programs, [click(day(1), "newcomer")])["dead_letters"] == []


def test_a_refund_is_matched_with_the_order_of_its_customer() -> None:
    refunds = [refund(day(1), 1), refund(day(3), 1, event_id="r2"), refund(day(3), 1, customer="bob", event_id="r3")]
    answer = compute([program()], [order(day(2)), *refunds])
    assert [row["matched"] for row in answer["refunds"]] == [True, True, False]


# -- Who is who ------------------------------------------------------------------------------------------------------


def test_a_visitor_counts_from_the_event_that_binds_it() -> None:
    """o1 is before the order that names v1, o2 at the same time as it, o3 after."""
    terms = [program(attribution=BY_ORDER)]
    events = [
        click(day(1)),
        order(day(2), event_id="o1"),
        order(day(3), event_id="o2"),
        order(day(3), event_id="naming", visitor_id="v1"),
        order(day(4), event_id="o3"),
    ]
    assert shares(terms, events, "o1") == {"": 0}
    for conversion in ("o2", "naming", "o3"):
        assert shares(terms, events, conversion) == {"bakery": 10_000}


def test_a_visitor_may_belong_to_several_customers() -> None:
    events = [click(day(1)), sign_up(day(2)), sign_up(day(3), "bob", "s2")]
    assert shares([program()], events, "s1") == shares([program()], events, "s2") == {"bakery": 10_000}


def test_later_sign_ups_only_bind_visitors() -> None:
    """The second sign-up is no conversion, but it brings v2's click to the order."""
    programs = [program(), program("each", attribution=BY_ORDER, program={"priority": 1})]
    events = [
        sign_up(day(2)),
        sign_up(day(3), event_id="s2", visitor_id="v2"),
        click(day(1), "roaster", visitor_id="v2", program_id="each"),
        order(day(4)),
    ]
    assert {row["conversion_id"] for row in compute(programs, events)["attributions"]} == {"s1", "o1"}
    assert shares(programs, events, "o1") == {"roaster": 10_000}


def test_a_sign_up_is_no_conversion_where_no_program_credits_sign_ups() -> None:
    assert compute([program(attribution=BY_ORDER)], [click(day(1)), sign_up(day(2))])["attributions"] == []


# -- Candidates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "credited"), [(day(10), True), (day(11), True), (day(13, -1), True), (day(13), False), (day(10, -1), False)]
)
def test_a_click_may_earn_up_to_but_not_at_the_end_of_its_window(at: int, credited: bool) -> None:
    programs = [program(attribution={"click_window": "3d"})]
    assert shares(programs, [click(day(10)), sign_up(at)], "s1") == ({"bakery": 10_000} if credited else {"": 0})


@pytest.mark.parametrize(("at", "active"), [(day(5, -1), False), (day(5), True), (day(8, -1), True), (day(8), False)])
def test_the_partner_had_joined_and_not_left_at_the_click(at: int, active: bool) -> None:
    programs = [program(partner=partners(bakery={"joined_at": moment(5), "left_at": moment(8)}))]
    events = [click(at), sign_up(day(20))]
    assert shares(programs, events, "s1") == ({"bakery": 10_000} if active else {"": 0})
    assert verdicts(programs, events, "s1") == [("k1", "credited" if active else "partner_inactive")]


def test_nobody_earns_on_the_own_account() -> None:
    by_id = [program(partner=partners(bakery={"customer_ids": ["ann"]}))]
    by_email = [program(partner=partners(bakery={"email_sha256": [EMAIL]}))]
    assert shares(by_id, [click(day(1)), sign_up(day(2))], "s1") == {"": 0}
    assert shares(by_email, [click(day(1)), sign_up(day(2), email_sha256=EMAIL)], "s1") == {"": 0}
    assert shares(by_email, [click(day(1)), sign_up(day(2))], "s1") == {"bakery": 10_000}


def test_the_email_of_a_sign_up_counts_from_the_sign_up_on() -> None:
    programs = [program(attribution=BY_ORDER, partner=partners(bakery={"email_sha256": [EMAIL]}))]
    known = sign_up(day(3), email_sha256=EMAIL)
    before = order(day(3, -1), visitor_id="v1")
    after = order(day(3), event_id="o2", visitor_id="v1")
    assert shares(programs, [click(day(1)), known, before], "o1") == {"bakery": 10_000}
    assert shares(programs, [click(day(1)), known, after], "o2") == {"": 0}


def test_terms_of_a_conversion_are_those_in_force_at_it() -> None:
    """The click is from before the first version; only from day 9 on is its window long enough."""
    programs = [program(begins=5, attribution={"click_window": "2d"}), program(version=2, begins=9)]
    for at, terms_version in ((day(5, -1), 0), (day(5), 1), (day(6), 0), (day(9, -1), 0), (day(9), 2)):
        (row,) = compute(programs, [click(day(4)), sign_up(at)])["attributions"]
        assert row["terms_version"] == terms_version


# -- Credit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "days", "expected"),
    [
        ("first_touch", (0, 1, 2), [10_000, 0, 0]),
        ("last_touch", (0, 1, 2), [0, 0, 10_000]),
        ("linear", (0, 1, 2), [3_334, 3_333, 3_333]),
        ("linear", (0, 1, 2, 3, 4, 5), [1_667, 1_667, 1_667, 1_667, 1_666, 1_666]),
        ("position_based", (0,), [10_000]),
        ("position_based", (0, 1), [5_000, 5_000]),
        ("position_based", (0, 1, 2), [4_000, 2_000, 4_000]),
        ("position_based", (0, 1, 2, 3, 4), [4_000, 667, 667, 666, 4_000]),
        # Weights 1/4, 1/2, 1: quotas 1428.571, 2857.143, 5714.286; one point left, to the largest remainder, the first.
        ("time_decay", (0, 1, 2), [1_429, 2_857, 5_714]),
        # Weights 2^-20 : 1 give 0.0095 of a point to the first: no credit.
        ("time_decay", (0, 20), [0, 10_000]),
        # Both the same moment: halves.
        ("time_decay", (3, 3), [5_000, 5_000]),
    ],
)
def test_models_share_ten_thousand_points(model: str, days: tuple[int, ...], expected: list[int]) -> None:
    assert model_shares(model, [day(d) for d in days], DAY) == expected


def test_quotas_of_time_decay_are_rounded_to_nine_digits() -> None:
    """2^-0.5 = 0.70710678118654752: the earlier has 10000 * 0.7071.../1.7071... = 4142.13562373095 points."""
    earlier, later = time_decay_quotas([0, DAY // 2], DAY)
    assert (float(earlier), float(later)) == (4142.135623731, 5857.864376269)


def test_clicks_at_one_time_are_ordered_by_the_bytes_of_their_ids() -> None:
    """U+FFEE is before U+1D51E in UTF-8, after it in UTF-16."""
    events = [click(day(1), "bakery", "\uffee"), click(day(1), "roaster", "\U0001d51e"), sign_up(day(2))]
    assert shares([program()], events, "s1") == {"roaster": 10_000}


def test_a_coupon_takes_the_credit_first_or_only_without_clicks() -> None:
    owners = partners(tearoom={"coupon_codes": ["TEA"]})
    events = [click(day(1)), sign_up(day(2), coupon_code="TEA")]
    coupon_first = [program(partner=owners)]
    click_first = [program(partner=owners, attribution={"coupon_precedence": "click_first"})]
    assert shares(coupon_first, events, "s1") == {"tearoom": 10_000}
    assert shares(click_first, events, "s1") == {"bakery": 10_000}
    assert shares(click_first, events[1:], "s1") == {"tearoom": 10_000}
    assert verdicts(coupon_first, events, "s1") == [("TEA", "credited"), ("k1", "outranked")]
    (row,) = compute(coupon_first, events)["attributions"]
    assert (row["model"], row["click_id"], row["link_id"]) == ("coupon", "", "")
    assert shares(coupon_first, [click(day(1)), sign_up(day(2), coupon_code="tea")], "s1") == {"bakery": 10_000}


def test_the_coupon_of_a_partner_who_left_earns_nothing() -> None:
    programs = [program(partner=partners(tearoom={"coupon_codes": ["TEA"], "left_at": moment(2)}))]
    assert shares(programs, [sign_up(day(2), coupon_code="TEA")], "s1") == {"": 0}
    assert shares(programs, [sign_up(day(2, -1), coupon_code="TEA")], "s1") == {"tearoom": 10_000}


def test_a_click_id_takes_the_credit_if_it_is_a_candidate() -> None:
    clicks = [click(day(1), "bakery", "a"), click(day(2), "roaster", "b")]
    assert shares([program()], [*clicks, sign_up(day(3), click_id="a")], "s1") == {"bakery": 10_000}
    assert shares([program()], [*clicks, sign_up(day(3), click_id="else")], "s1") == {"roaster": 10_000}
    assert shares([program()], [clicks[0], sign_up(day(3), click_id="a", visitor_id="v9")], "s1") == {"": 0}


def test_of_several_clicks_with_the_click_id_the_latest_takes_it() -> None:
    """Two visitors of the customer have a click of the same event_id; a third click is later."""
    events = [
        click(day(1), "bakery", "a"),
        click(day(2), "roaster", "a", visitor_id="v2"),
        click(day(3), "tearoom", "z"),
        sign_up(day(4), click_id="a"),
        order(day(4), event_id="o", visitor_id="v2"),
    ]
    assert shares([program()], events, "s1") == {"roaster": 10_000}


def test_a_row_carries_the_latest_credited_click_of_its_partner() -> None:
    clicks = [click(day(n), p, f"k{n}", link_id=f"l{n}") for n, p in ((1, "bakery"), (2, "bakery"), (3, "roaster"))]
    events = [*clicks, sign_up(day(4)), order(day(5))]
    rows = compute([program(attribution={"model": "linear"})], events)["attributions"]
    expected = [("bakery", 6_667, "k2", "l2"), ("roaster", 3_333, "k3", "l3")]
    for conversion, model, order_id in (("s1", "linear", ""), ("o1", "inherited", "o1")):
        found = [row for row in rows if row["conversion_id"] == conversion]
        assert [(r["partner_id"], r["share_bps"], r["click_id"], r["link_id"]) for r in found] == expected
        assert {(r["model"], r["order_id"]) for r in found} == {(model, order_id)}


def test_an_uncredited_conversion_has_one_row() -> None:
    (row,) = compute([program()], [order(day(1))])["attributions"]
    assert row == {
        "brand_id": "acme",
        "conversion_type": "order",
        "customer_id": "ann",
        "conversion_id": "o1",
        "partner_id": "",
        "program_id": "",
        "order_id": "o1",
        "link_id": "",
        "click_id": "",
        "share_bps": 0,
        "model": "",
        "converted_at": day(1),
        "terms_version": 0,
        "explanation": [],
        "as_of": day(1),
    }


# -- Priority --------------------------------------------------------------------------------------------------------


def test_the_program_of_highest_priority_takes_the_conversion_whole() -> None:
    clicks = [click(day(1), program_id="b"), click(day(2), "roaster", "k2", program_id="a")]
    events = [*clicks, sign_up(day(3))]
    low, high = program("a"), program("b", program={"priority": 1})
    assert shares([low, high], events, "s1") == {"bakery": 10_000}
    assert verdicts([low, high], events, "s1") == [("k2", "other_program"), ("k1", "credited")]
    assert shares([low, program("b")], events, "s1") == {"roaster": 10_000}  # a tie: the smallest id
    assert shares([low, high], [clicks[1], sign_up(day(3))], "s1") == {"roaster": 10_000}  # b has no candidate


@pytest.mark.parametrize(("at", "credited"), [(day(2, -1), False), (day(2), True), (day(5, -1), True), (day(5), False)])
def test_orders_inherit_within_the_order_window(at: int, credited: bool) -> None:
    programs = [program(attribution={"order_window": "3d"})]
    events = [click(day(1)), sign_up(day(2)), order(at, visitor_id="v1", coupon_code="X")]
    assert shares(programs, events, "o1") == ({"bakery": 10_000} if credited else {"": 0})
    expected = "credited" if credited else "not_contending"
    assert verdicts(programs, events, "o1") == [("k1", expected)]


def test_a_program_that_credits_orders_contends_with_the_one_that_won_the_sign_up() -> None:
    events = [click(day(1)), sign_up(day(2)), click(day(3), "roaster", "k2", program_id="each"), order(day(4))]
    for priority, expected in ((-1, "bakery"), (0, "roaster"), (1, "roaster")):  # "each" is smaller than "friends"
        programs = [program(), program("each", attribution=BY_ORDER, program={"priority": priority})]
        assert shares(programs, events, "o1") == {expected: 10_000}


def test_a_sign_ups_priority_is_that_of_its_own_time() -> None:
    later = program(version=2, begins=3, program={"priority": -5})
    programs = [program(), later, program("other", attribution=BY_ORDER, program={"priority": -1})]
    events = [click(day(1)), sign_up(day(2)), click(day(3), "roaster", "k2", program_id="other"), order(day(4))]
    assert shares(programs, events, "o1") == {"bakery": 10_000}


# -- Explanation -----------------------------------------------------------------------------------------------------


def test_the_explanation_lists_what_was_considered() -> None:
    """The window is 2 days, so clicks up to 9 days old are listed; one ms more is too old."""
    programs = [program(attribution={"click_window": "2d"})]
    events = [
        click(day(11), "bakery", "too-old-by-a-ms", occurred_at=day(11, -1)),
        click(day(11), "bakery", "old"),
        click(day(18, 1), "roaster", "first"),
        click(day(19), "bakery", "last"),
        click(day(20, 1), "bakery", "after"),
        sign_up(day(20)),
    ]
    (row,) = compute(programs, events)["attributions"]
    found = [(t["click_id"], t["verdict"], t["share_bps"], t["window_ends_at"]) for t in row["explanation"]]
    assert found == [
        ("last", "credited", 10_000, day(21)),
        ("first", "outranked", 0, day(20, 1)),
        ("old", "expired", 0, day(13)),
    ]
    assert json.loads(json.dumps(row["explanation"])) == row["explanation"]


def test_the_explanation_lists_the_latest_hundred_clicks() -> None:
    clicks = [click(day(1, n), "bakery", f"k{n:03}") for n in range(103)]
    listed = [name for name, _ in verdicts([program()], [*clicks, sign_up(day(2))], "s1")]
    assert listed == [f"k{n:03}" for n in range(102, 2, -1)]


# -- Periods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "zone", "period", "label"),
    [
        (day(0), "UTC", "day", "2026-01-01"),
        (day(0), "America/New_York", "day", "2025-12-31"),
        (day(0) + 5 * HOUR, "America/New_York", "year", "2026"),
        (day(0) + 5 * HOUR - 1, "America/New_York", "quarter", "2025-Q4"),
        (day(0), "UTC", "week", "2026-W01"),
        (day(363), "UTC", "week", "2026-W53"),  # 2026-12-30
        (day(365), "UTC", "week", "2026-W53"),  # 2027-01-01, a Friday
        (day(368), "UTC", "week", "2027-W01"),
        (day(89), "UTC", "quarter", "2026-Q1"),  # 2026-03-31
        (day(90), "UTC", "month", "2026-04"),
        (day(90), "UTC", "all_time", "all"),
        # 2026-04-05 02:00 Lord Howe: clocks go back half an hour, so its midnight is at +11:00, the next at +10:30.
        (day(94) - 11 * HOUR, "Australia/Lord_Howe", "day", "2026-04-05"),
        (day(95) - 21 * HOUR // 2 - 1, "Australia/Lord_Howe", "day", "2026-04-05"),
        (day(95) - 21 * HOUR // 2, "Australia/Lord_Howe", "day", "2026-04-06"),
    ],
)
def test_periods_are_local_to_the_time_zone(at: int, zone: str, period: str, label: str) -> None:
    assert period_of(at, period, zone) == label
