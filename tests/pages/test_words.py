"""Figures, dates and terms in words."""

from __future__ import annotations

from datetime import UTC, date, datetime
from xml.etree import ElementTree as ET

import pytest

from pipeline.domain.terms import Boost, Partner, Tier
from pipeline.pages import words
from pipeline.pages.charts import Series, columns_over_time
from pipeline.pages.parts import Section, without_gaps
from pipeline.pages.terms_words import terms_in_words
from tests.pages.world import DAY, NOW, START, terms


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("2026-01-31", "31 January 2026"), ("2026-W05", "week 5 of 2026"), ("2026-01", "January 2026"),
        ("2026-Q4", "October to December 2026"), ("2026", "2026"), ("all", "since the start"),
    ],
)  # fmt: skip
def test_periods(label: str, said: str) -> None:
    assert words.period(label) == said


@pytest.mark.parametrize(
    ("length_ms", "said"),
    [(30 * DAY, "30 days"), (DAY, "1 day"), (36 * 3_600_000, "36 hours"), (90_000, "90 seconds"), (0, "no time")],
)
def test_spans(length_ms: int, said: str) -> None:
    assert words.span(length_ms) == said


def test_money_and_rates() -> None:
    assert words.money(-123_456_789, "GBP") == "-£1,234,567.89"
    assert words.money(1234, "JPY") == "JP¥1,234"
    assert words.money(1234, "BHD").endswith("1.234")
    assert words.money(2**63 - 1, "EUR") == "€92,233,720,368,547,758.07"
    assert [words.rate(bps) for bps in (1000, 1250, 1, 10_000)] == ["10 %", "12.5 %", "0.01 %", "100 %"]
    assert words.percent(1, 3) == "33.3 %"
    assert words.percent(1, 0) == words.NONE
    assert words.minor(0.29, "EUR") == 29


def test_dates_are_local() -> None:
    assert words.day(datetime(2026, 3, 1, 2, tzinfo=UTC), "America/New_York") == "28 Feb 2026"
    assert words.moment(START, "Asia/Tokyo") == "1 January 2026, 09:00"


def test_lists_and_names() -> None:
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.named("forty-in_a-quarter") == "Forty in a quarter"
    assert words.named("-") == "-"


@pytest.mark.parametrize("model", ["last_touch", "first_touch", "linear", "position_based", "time_decay"])
@pytest.mark.parametrize("credit", ["sign_up", "order"])
def test_terms_of_every_model(model: str, credit: str) -> None:
    facts = dict(terms_in_words(terms(1, model=model, credit=credit), "", NOW))
    assert facts["Who gets the credit"].startswith(f"At the {credit.replace('_', '-')}, ")
    assert facts["How long a visit counts"] == "30 days."
    assert "{" not in " ".join(facts.values())


def test_terms_say_what_is_special() -> None:
    special = terms(
        1, commission_kind="flat", amount_minor=300, orders="first", hold_ms=0, qualification_event="sign_up",
        new_customers_only=True, min_click_to_sign_up_ms=60_000, customer_reward_minor=500,
        tiers=(Tier(10, amount_minor=400),), coupon_precedence="click_first",
        partners={"p": Partner("p", "P", coupon_codes=("B", "A"))},
        boosts=(
            Boost("spring", None, NOW, NOW + 10 * DAY, 15_000), Boost("other", "q", NOW, NOW + DAY, 20_000),
            Boost("over", None, START, NOW, 20_000),
        ),
    )  # fmt: skip
    facts = terms_in_words(special, "p", NOW)
    assert facts[2:] == [
        ("When a customer qualifies", "From the sign-up on, if it has not ordered from the brand before and it takes "
         "at least 1 minute from the visit to the sign-up."),
        ("Commission", "US$3.00 for the order that first qualified the customer."),
        ("When it is payable", "At once."),
        ("More for more", "Qualified customers are counted each quarter; from 10: US$4.00 for the order that first "
         "qualified the customer."),
        ("For a while", "Spring: commission times 1.5 for orders from 21 Mar 2026 to 31 Mar 2026."),
        ("For the customer", "US$5.00 once the customer qualifies."),
        ("Your codes", "A and B. A code typed in counts where no visit does."),
    ]  # fmt: skip


@pytest.mark.parametrize(("days", "step", "columns"), [(10, "day", 10), (100, "week", 15), (500, "month", 17)])
def test_charts_fit_their_span(days: int, step: str, columns: int) -> None:
    dates = [date.fromordinal(date(2026, 1, 1).toordinal() + offset) for offset in range(days)]
    chart = columns_over_time(
        dates, [Series("Up", [1.0] * days), Series("Down", [-2.0] * days)], "What", "£", "{:.0f}".format
    )
    assert chart is not None
    assert chart.label == f"What, by {step}"
    assert len(chart.table.rows) == columns
    assert sum(int(row[1].text) for row in chart.table.rows) == days
    assert sum(int(row[2].text) for row in chart.table.rows) == -2 * days
    for svg in (chart.wide_svg, chart.narrow_svg):
        ET.fromstring(svg)  # noqa: S314 - our own drawing
        assert "var(--c1)" in svg
        assert "#a0a0" not in svg
    assert chart.wide_svg != chart.narrow_svg


def test_no_days_no_chart() -> None:
    assert columns_over_time([], [Series("a", [])], "What", "", str) is None


@pytest.mark.parametrize(
    ("given", "laid_out"), [("nn", "nn"), ("nwn", "www"), ("wnnnw", "wnnWw"), ("n", "W"), ("", ""), ("nnn", "nnW")]
)
def test_no_section_stands_alone_in_a_row_of_two(given: str, laid_out: str) -> None:
    sections = [Section(f"s{index}", "", is_wide=kind == "w") for index, kind in enumerate(given)]
    found = without_gaps(sections)
    assert [each.id for each in found] == [each.id for each in sections]
    assert "".join("w" if each.is_wide else "n" for each in found) == laid_out.lower()
