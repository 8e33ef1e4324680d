"""Types, words, numbers, durations and times in program terms (contract.md, section 3), on both sides of each edge."""

from __future__ import annotations

import tomllib
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.terms_rules import ARRAYS, KEYS, check_terms
from tests.domain.terms_texts import BONUS, BOOST, DAY_MS, MILESTONE, TIER, TWO_PARTNERS, problem, terms, text_of


@pytest.mark.parametrize("value", ["1.0", "true", '"1"', "[1]", "{}", "2026-01-01", "nan"])
def test_what_is_no_integer(value: str) -> None:
    found = problem(version=value)
    assert found.line == 5
    assert "must be a whole number" in found.what
    assert found.remedy.startswith("Write version = 1")


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ('"12.5 %"', "Write rate_bps = 1250 for 12.5 %."),
        ('"1500"', "Write rate_bps = 1500 for 15 %, without quotes."),
        ("0.1", "Write rate_bps = 1000 for 10 %."),
        ("true", "Write rate_bps = 1000 for 10 %."),
    ],
)
def test_remedies_for_rates(value: str, remedy: str) -> None:
    assert problem(commission=f"rate_bps = {value}").remedy == remedy


@pytest.mark.parametrize("value", ["1", "true", "1.5", '["x"]', "2026-01-01T00:00:00Z"])
def test_what_is_no_text(value: str) -> None:
    found = problem(id=value)
    assert "must be a text in quotes" in found.what
    assert found.remedy.startswith('Write id = "')


@pytest.mark.parametrize("value", ["0", "1", '"true"', "[]"])
def test_what_is_no_flag(value: str) -> None:
    found = problem(f"[qualification]\nnew_customers_only = {value}\n")
    assert "must be true or false" in found.what
    assert "Write new_customers_only = true" in found.remedy


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        ('"BREAD10"', "a text, but must be a list", 'Write coupon_codes = ["BREAD10"].'),
        ("5", "a number, but must be a list", "Write coupon_codes = ["),
        ("{}", "a table, but must be a list", "Write coupon_codes = ["),
    ],
)
def test_what_is_no_list(value: str, what: str, remedy: str) -> None:
    found = problem(f'[[partner]]\nid = "x"\nname = "X"\ncoupon_codes = {value}\n')
    assert what in found.what
    assert remedy in found.remedy


def test_an_item_of_another_type_is_found_on_its_line() -> None:
    found = problem('[[partner]]\nid = "x"\nname = "X"\ncustomer_ids = [\n  "a", # one\n  5,\n]\n')
    assert (found.path, found.line) == ("partner[1].customer_ids[2]", 14)
    assert found.remedy == 'Write "5" instead.'


@pytest.mark.parametrize(
    ("extra", "remedy"),
    [
        ('[attribution]\ncredit = "signup"\n', 'Did you mean credit = "sign_up"?'),
        ('[attribution]\ncredit = "Order"\n', 'Did you mean credit = "order"?'),
        ("[attribution]\ncredit = 5\n", 'Write credit = "sign_up" or "order".'),
        ('[attribution]\nmodel = "best"\n', 'Write model = "first_touch", "last_touch", "linear"'),
        ('[attribution]\ncoupon_precedence = "coupon"\n', "Did you mean"),
        ('[qualification]\nevent = "signup"\n', 'Did you mean event = "sign_up"?'),
        (TIER.replace("quarter", "all"), 'Did you mean period = "all_time"?'),
        (BONUS.replace('"program"', '"group"'), 'Write scope = "program" or "partner".'),
        (MILESTONE.replace("qualified_referrals", "revenue"), "metric ="),
        (MILESTONE + 'scope = "all"\n', 'Write scope = "partner", "group" or "program".'),
    ],
)
def test_words_that_are_not_allowed(extra: str, remedy: str) -> None:
    found = problem(extra)
    assert "must be" in found.what
    assert remedy in found.remedy


@pytest.mark.parametrize("commission", ['kind = "percent"\nrate_bps = 5', 'rate_bps = 5\norders = "last"'])
def test_words_of_the_commission(commission: str) -> None:
    assert "must be" in problem(commission=commission).what


# Texts, numbers, durations, times


@pytest.mark.parametrize("key", ["id", "brand_id"])
def test_ids_may_hold_anything_but_nothing(key: str) -> None:
    assert problem(**{key: '""'}).what == f"[program] {key} is empty"
    assert terms(**{key: r'"+*\u0000 é😀/\""'})


def test_texts_that_are_empty() -> None:
    partner = '[[partner]]\nid = "x"\nname = "X"\n'
    assert problem(partner.replace('"x"', '""')).path == "partner[1].id"
    assert problem(partner.replace('"X"', '""')).path == "partner[1].name"
    assert problem(partner + 'coupon_codes = ["a", ""]').path == "partner[1].coupon_codes[2]"
    assert problem(BOOST + 'partner_id = ""\n').path == "boost[1].partner_id"
    assert terms(partner + 'segment = ""\n').partners["x"].segment == ""


@pytest.mark.parametrize("character", "+*")
def test_characters_that_a_partner_id_must_not_have(character: str) -> None:
    found = problem(f'[[partner]]\nid = "a{character}b"\nname = "X"\n')
    assert (found.path, found.line) == ("partner[1].id", 10)
    assert 'must not have "+" or "*"' in found.what


@pytest.mark.parametrize(
    ("extra", "key", "edge"),
    [
        (BONUS.replace("= 50", "= {}"), "first", 1),
        (BONUS.replace("2500", "{}"), "amount_minor", 0),
        (MILESTONE.replace("100", "{}"), "threshold", 1),
        (MILESTONE + "award_minor = {}\n", "award_minor", 0),
        (TWO_PARTNERS + MILESTONE + 'scope = "group"\npartners = ["bakery"]\neach_at_least = {}\n', "each_at_least", 0),
        (TIER.replace("10", "{}"), "from", 0),
        (TIER.replace("1500", "{}"), "rate_bps", 0),
        (BOOST.replace("20000", "{}"), "multiplier_bps", 0),
        ("[customer_reward]\namount_minor = {}\n", "amount_minor", 0),
        ("[qualification]\nmin_order_minor = {}\n", "min_order_minor", 0),
    ],
)
def test_the_least_and_the_greatest_number(extra: str, key: str, edge: int) -> None:
    assert terms(extra.format(edge))
    assert terms(extra.format(2**63 - 1))
    low = problem(extra.format(edge - 1))
    assert low.path.endswith(f".{key}")
    assert low.what.endswith(f"{key} is {edge - 1}, but must be {edge} or more")
    assert low.remedy == f"Write {key} = {edge} or more."
    high = problem(extra.format(2**63))
    assert high.what.endswith(f"{key} is too large a number")
    assert "9223372036854775807" in high.remedy


def test_numbers_of_program_and_commission() -> None:
    assert terms(version="0").version == 0
    assert "must be 0 or more" in problem(version="-1").what
    assert terms(priority="-9223372036854775808").priority == -(2**63)
    assert "too large" in problem(priority="-9223372036854775809").what
    assert "too large" in problem(priority="0x" + "f" * 5000).what
    assert terms(commission="rate_bps = 0").rate_bps == 0
    assert terms(commission="rate_bps = 20000").rate_bps == 20_000
    assert "must be 0 or more" in problem(commission="rate_bps = -1").what
    assert "must be 0 or more" in problem(commission='kind = "flat"\namount_minor = -1').what


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [
        ("1s", 1000),
        ("2m", 120_000),
        ("3h", 10_800_000),
        ("30d", 30 * DAY_MS),
        ("2w", 14 * DAY_MS),
        ("007d", 7 * DAY_MS),
    ],
)
def test_durations(text: str, length_ms: int) -> None:
    assert terms(f'[attribution]\nclick_window = "{text}"\n').click_window_ms == length_ms


@pytest.mark.parametrize(
    "value", ['"30"', '"d"', '"-1d"', '"1.5d"', '"30 d"', '"30D"', '"1d12h"', '""', '"٣d"', '"1y"']
)
def test_what_is_no_duration(value: str) -> None:
    found = problem(f"[attribution]\nclick_window = {value}\n")
    assert (found.path, found.line) == ("attribution.click_window", 10)
    assert "which is not a duration" in found.what
    assert 'Write click_window = "30d" for 30 days' in found.remedy


def test_a_duration_without_a_unit() -> None:
    found = problem("[attribution]\nclick_window = 14\n")
    assert "is 14, a number, but must be a duration in quotes" in found.what
    assert 'Write click_window = "14d" for 14 days' in found.remedy


@pytest.mark.parametrize("key", ["click_window", "order_window", "half_life"])
def test_windows_and_half_lives_last(key: str) -> None:
    model = '[attribution]\nmodel = "time_decay"\n'
    assert terms(f'{model}{key} = "1s"\n')
    assert "must be longer than nothing" in problem(f'{model}{key} = "0d"\n').what
    assert terms(f'{model}{key} = "365000d"\n')
    assert "too long" in problem(f'{model}{key} = "365001d"\n').what
    assert "365000d" in problem(f'{model}{key} = "{"9" * 5000}d"\n').remedy


def test_other_durations_may_be_nothing() -> None:
    assert terms('[qualification]\nmin_click_to_sign_up = "0s"\n', 'rate_bps = 1\nhold = "0w"').hold_ms == 0
    assert terms(commission='rate_bps = 1\nhold = "36500d"').hold_ms == 36_500 * DAY_MS
    assert "too long" in problem(commission='rate_bps = 1\nhold = "36501d"').what


@pytest.mark.parametrize(
    ("value", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2199-12-31T23:59:59.999Z", 7_258_118_399_999),
        ("2026-01-01T00:00:00.9999Z", 1_767_225_600_999),
        ("2026-01-01 00:00:00-05:00", 1_767_243_600_000),
    ],
)
def test_times(value: str, at_ms: int) -> None:
    assert terms(effective_from=value).effective_from_ms == at_ms


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        ("2026-01-01T00:00:00", "without Z or an offset", "Add Z or an offset: effective_from = 2026-01-01T00:00:00Z."),
        (
            "2026-01-01",
            "a date without",
            "Add a time of day, and Z or an offset: effective_from = 2026-01-01T00:00:00Z.",
        ),
        ("12:00:00", "a time of day", "Write effective_from = 2026-01-01T00:00:00Z"),
        ('"2026-01-01T00:00:00Z"', "a text, but must be a time", "without quotes"),
        ("1767225600000", "a number, but must be a time", "Write effective_from = 2026-01-01T00:00:00Z"),
        ("1969-12-31T23:59:59.999Z", "must lie in the years 1970 to 2199", "Correct the year."),
        ("2200-01-01T00:00:00Z", "must lie in the years 1970 to 2199", "Correct the year."),
        ("0001-01-01T00:00:00+23:00", "must lie in the years 1970 to 2199", "Correct the year."),
    ],
)
def test_what_is_no_time(value: str, what: str, remedy: str) -> None:
    found = problem(effective_from=value)
    assert (found.path, found.line) == ("program.effective_from", 6)
    assert what in found.what
    assert remedy in found.remedy


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD", "XAF"])
def test_currencies(currency: str) -> None:
    assert terms(currency=f'"{currency}"').currency == currency


@pytest.mark.parametrize(
    ("currency", "remedy"), [("usd", '"USD"'), ("US$", '"USD"'), ("ABC", '"USD"'), ("eur ", '"EUR"')]
)
def test_what_is_no_currency(currency: str, remedy: str) -> None:
    found = problem(currency=f'"{currency}"')
    assert "no ISO 4217 currency code" in found.what
    assert remedy in found.remedy


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Calcutta"])
def test_time_zones(zone: str) -> None:
    assert terms(time_zone=f'"{zone}"').time_zone == zone


@pytest.mark.parametrize(
    ("zone", "remedy"),
    [
        ("america/new_york", '"America/New_York"?'),
        ("Europe/Pariss", '"Europe/Paris"?'),
        ("", "must"),
        ("+01:00", "Write"),
    ],
)
def test_what_is_no_time_zone(zone: str, remedy: str) -> None:
    found = problem(time_zone=f'"{zone}"')
    assert found.path == "program.time_zone"
    assert remedy in found.remedy or found.what.endswith("is empty")


@pytest.mark.parametrize("text", ["a" * 63, "a" * 65, "g" * 64, "A" * 64, "owner@example.org"])
def test_what_is_no_hash(text: str) -> None:
    found = problem(f'[[partner]]\nid = "x"\nname = "X"\nemail_sha256 = ["{"0" * 64}", "{text}"]\n')
    assert found.path == "partner[1].email_sha256[2]"
    assert "64 lower-case hexadecimal digits" in found.what
    assert (f'Write "{"a" * 64}".' in found.remedy) == (text == "A" * 64)


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["sign_up", "order", "group", "flat", "30d", "0s", "USD", "all_time", "bakery", "10 %"]),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
PLACES = st.sampled_from([(table, key) for table, keys in KEYS.items() for key in ("", *keys, "other")])


@given(st.lists(st.tuples(PLACES, VALUES), max_size=5))
def test_whatever_a_file_holds_it_is_terms_or_problems(changes: list[tuple[tuple[str, str], object]]) -> None:
    document = tomllib.loads(text_of(TWO_PARTNERS + TIER + BONUS + MILESTONE + BOOST))
    for (table, key), value in changes:
        content = document.setdefault(table, [{}] if table in ARRAYS else {})
        row = content[0] if isinstance(content, list) and content else content
        if key and isinstance(row, dict):
            row[key] = value
        else:
            document[table] = value
    found, problems = check_terms(document, "a.toml")
    assert (found is None) == bool(problems)
    assert all(each.what and each.path and each.remedy.endswith((".", "?")) for each in problems)
