"""Contract section 2: repeats, duplicate orders, bad input, refunds that wait for their order."""

from __future__ import annotations

import pytest

from tests.properties.harness import answer, run
from tests.rules.season import Season, ms, terms


def test_a_repeated_event_counts_once() -> None:
    season = Season()
    season.referral()
    order = season.order("Jan 5", 1_000)
    for event in ("click-1", "sign_up-2", order):
        season.told_again(event)
    assert season.ledger() == ["Jan 5 bakery accrual 100"]
    assert season.refused() == []


def test_of_copies_that_differ_the_earliest_counts() -> None:
    season = Season()
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.told_again(order, at="Jan 4", amount_minor=700)
    season.told_again(order, at="Jan 6", amount_minor=5)
    assert season.ledger() == ["Jan 4 bakery accrual 70"]


def test_of_copies_at_one_time_the_smallest_json_counts() -> None:
    """Compared as text, 1000 comes before 999."""
    season = Season()
    season.referral()
    order = season.order("Jan 5", 999)
    season.told_again(order, amount_minor=1_000)
    assert season.ledger() == ["Jan 5 bakery accrual 100"]


def test_one_event_id_under_two_customers_or_two_types_is_two_events() -> None:
    season = Season()
    season.order("Jan 5", 100, "ann", event_id="e", order_id="a")
    season.order("Jan 5", 200, "bob", event_id="e", order_id="b")
    season.refund("Jan 6", "a", 10, event_id="e")
    assert season.standing("orders", "customer_id", "amount_minor") == [("ann", 100), ("bob", 200)]
    assert season.standing("refunds", "matched") == [(True,)]


def test_an_order_told_under_two_event_ids_is_one_order() -> None:
    """The earlier counts, of equal times the smaller event_id. The other is a dead letter where it was first read."""
    season = Season()
    season.referral()  # events 0 and 1
    season.order("Jan 6", 5_000, event_id="again", order_id="o")
    season.order("Jan 5", 9_000, event_id="b", order_id="o")
    season.order("Jan 5", 1_000, event_id="a", order_id="o")
    season.told_again("again")
    assert season.ledger() == ["Jan 5 bakery accrual 100"]
    assert season.refused() == ["2 duplicate_order", "3 duplicate_order"]


def test_the_same_order_id_of_another_customer_is_another_order() -> None:
    season = Season()
    season.order("Jan 5", 100, "ann", event_id="a", order_id="o")
    season.order("Jan 5", 100, "bob", event_id="b", order_id="o")
    assert season.refused() == []


def test_a_duplicate_order_binds_no_visitor() -> None:
    """Only the copy that is refused names the visitor of the click."""
    season = Season(attribution={"credit": "order"})
    season.click("Jan 2", by="phone")
    season.order("Jan 5", event_id="a", order_id="o")
    season.order("Jan 6", event_id="b", order_id="o", visitor_id="phone")
    later = season.order("Jan 7")
    assert season.credit(later) == {}


BAD = [
    ("unknown_brand", {"brand_id": "nobody", "program_id": "nothing", "partner_id": "nobody"}),
    ("unknown_program", {"program_id": "nothing", "partner_id": "nobody"}),
    ("unknown_program", {"program_id": "bolted"}),  # another brand's
    ("unknown_partner", {"partner_id": "nobody"}),
    ("invalid_field", {"brand_id": "nobody", "occurred_at": -1}),
    ("invalid_field", {"occurred_at": 7_258_118_400_000}),  # the year 2200
    ("invalid_field", {"occurred_at": True}),
    ("invalid_field", {"visitor_id": ""}),
    ("invalid_field", {"partner_id": 7}),
    ("invalid_field", {"campaign": 7}),
]


@pytest.mark.parametrize(("reason", "changes"), BAD)
def test_a_bad_click_names_the_first_reason_that_applies(reason: str, changes: dict[str, object]) -> None:
    """The reference judges only readable events, so this asks the pipeline alone."""
    season = Season(terms(), terms("bolted", program={"brand_id": "bolt"}))
    season.click("Jan 2")
    season.events[0] |= changes
    season.referral("bob", at="Jan 3")
    outcome = answer(run(season.programs, [[season.events]]))
    assert outcome["dead_letters"] == [{"index": 0, "reason": reason}]
    assert [row["customer_id"] for row in outcome["referrals"]] == ["bob"]  # the others are not disturbed


@pytest.mark.parametrize("amount", [-1, 2**63, 5_000.0, "5000", True, None])
def test_an_amount_is_an_integer_from_0_to_2_63_minus_1(amount: object) -> None:
    season = Season()
    season.order("Jan 5")
    season.events[0]["amount_minor"] = amount
    assert answer(run(season.programs, [[season.events]]))["dead_letters"] == [{"index": 0, "reason": "invalid_field"}]


@pytest.mark.parametrize("amount", [0, 2**63 - 1])
def test_the_smallest_and_the_largest_amount_are_taken(amount: int) -> None:
    season = Season()
    season.order("Jan 5", amount)
    assert season.standing("orders", "amount_minor") == [(amount,)]


@pytest.mark.parametrize("reason", ["refund", "chargeback", "cancellation"])
def test_every_known_reason_of_a_refund_takes_back(reason: str) -> None:
    season = Season()
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 1_000, reason=reason)
    assert season.earned(order) == 0


def test_another_currency_than_the_brands_is_refused() -> None:
    season = Season()
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.order("Jan 6", currency="EUR")
    season.refund("Jan 6", order, 1_000, currency="EUR")
    assert season.refused() == ["3 currency_mismatch", "4 currency_mismatch"]
    assert season.earned(order) == 100


def test_a_bad_copy_does_not_compete_with_a_good_one() -> None:
    """The earlier copy is in another currency: refused by itself, so the later counts."""
    season = Season()
    order = season.order("Jan 5", 700)
    season.told_again(order, at="Jan 4", currency="EUR")
    assert season.standing("orders", "occurred_at") == [(ms("Jan 5"),)]
    assert season.refused() == ["1 currency_mismatch"]


def test_a_partner_of_any_version_is_known() -> None:
    later = terms(version=2, begins="Jun 1")
    later["partner"].append({"id": "newcomer", "name": "Newcomer"})
    season = Season(terms(), later)
    season.click("Jan 2", "newcomer")
    assert season.refused() == []


def test_a_refund_waits_for_its_order() -> None:
    season = Season()
    season.referral()
    season.refund("Jan 6", "not-yet", 400)
    season.refund("Jan 6", "never", 400)
    assert season.standing("refunds", "order_id", "matched") == [("never", False), ("not-yet", False)]
    season.order("Jan 5", 1_000, event_id="not-yet")
    assert season.standing("refunds", "order_id", "matched") == [("never", False), ("not-yet", True)]
    assert season.ledger() == ["Jan 5 bakery accrual 100", "Jan 6 bakery clawback -40"]


def test_a_refund_under_another_customers_name_matches_nothing() -> None:
    season = Season()
    season.referral()
    order = season.order("Jan 5", 1_000)
    season.refund("Jan 6", order, 1_000, "bob")
    assert season.standing("refunds", "matched") == [(False,)]
    assert season.earned(order) == 100


def test_a_better_copy_of_a_click_beside_a_new_click_in_one_chunk() -> None:
    """Copies of one time: the smaller link has the smaller JSON. The third copy comes with a new click after it."""
    season = Season()
    season.click("Jan 2", event_id="k")
    season.told_again("k", link_id="b")
    season.told_again("k", link_id="a")
    season.click("Jan 1 12:00", by="bob", link_id="poster")
    first, second, *third = season.events
    sink = run(season.programs, [[[first], [second]], [third]])
    assert sorted(row["link_id"] for row in answer(sink)["clicks"]) == ["a", "poster"]
