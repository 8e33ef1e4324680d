"""Tables, keys and contradictions in program terms (contract.md, section 3), and what the messages say."""

from __future__ import annotations

import tomllib

import pytest

from pipeline.domain.terms import Boost, Milestone, Partner, Terms, Tier
from pipeline.domain.terms_reader import Problem, TermsError
from pipeline.domain.terms_rules import KEYS, check_terms, parse_terms
from pipeline.toml_lines import toml_lines
from tests.domain.terms_texts import (
    BONUS,
    BOOST,
    BY_ORDER,
    DAY_MS,
    MILESTONE,
    PROGRAM,
    RATE,
    TIER,
    TWO_PARTNERS,
    check,
    problem,
    terms,
    text_of,
)


def test_the_shortest_terms_take_every_default() -> None:
    assert terms() == Terms("p", "b", "USD", 1, 1_767_225_600_000, rate_bps=1000)


def test_everything_at_once() -> None:
    extra = """
        [attribution]
        credit = "sign_up"
        model = "time_decay"
        click_window = "4w"
        order_window = "12h"
        half_life = "90m"
        coupon_precedence = "click_first"
        [qualification]
        event = "order"
        min_order_minor = 5000
        new_customers_only = true
        min_click_to_sign_up = "3s"
        [customer_reward]
        amount_minor = 1000
        [[tier]]
        from = 20
        period = "month"
        amount_minor = 900
        [[tier]]
        from = 0
        period = "month"
        amount_minor = 700
        [[milestone]]
        id = "g"
        metric = "net_revenue_minor"
        threshold = 1
        period = "week"
        scope = "group"
        partners = ["roaster", "bakery"]
        each_at_least = 2
        award_minor = 3
        revocable = false
        [[boost]]
        id = "x"
        partner_id = "bakery"
        from = 2026-01-01T00:00:00+01:00
        until = 2026-02-01T00:00:00Z
        multiplier_bps = 0
        [[partner]]
        id = "roaster"
        name = "R"
        [[partner]]
        id = "bakery"
        name = "B"
        segment = "food"
        joined_at = 2026-01-01T00:00:00.1239Z
        left_at = 2027-01-01T00:00:00Z
        coupon_codes = ["BREAD10", "Bread10"]
        customer_ids = ["c", "d"]
        email_sha256 = ["2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"]
    """
    found = terms(
        extra + BONUS,
        'kind = "flat"\namount_minor = 500\norders = "first"\nhold = "14d"',
        priority="-3",
        time_zone='"UTC"',
    )
    assert (found.model, found.click_window_ms, found.order_window_ms) == ("time_decay", 28 * DAY_MS, DAY_MS // 2)
    assert (found.half_life_ms, found.min_click_to_sign_up_ms, found.hold_ms) == (5_400_000, 3000, 14 * DAY_MS)
    assert (found.commission_kind, found.rate_bps, found.amount_minor, found.orders) == ("flat", 0, 500, "first")
    assert (found.min_order_minor, found.new_customers_only, found.priority) == (5000, True, -3)
    assert found.customer_reward_minor == 1000
    assert found.tier_period == "month"
    assert found.tiers == (Tier(0, amount_minor=700), Tier(20, amount_minor=900))
    assert found.milestones == (
        Milestone("g", "net_revenue_minor", 1, "week", "group", ("bakery", "roaster"), 2, 3, False),
    )
    assert found.boosts == (Boost("x", "bakery", 1_767_222_000_000, 1_769_904_000_000, 0),)
    assert list(found.partners) == ["roaster", "bakery"]
    assert found.partners["bakery"] == Partner(
        *("bakery", "B", "food", 1_767_225_600_123, 1_798_761_600_000, ("BREAD10", "Bread10"), frozenset("cd")),
        frozenset(["2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"]),
    )
    assert found.coupon_owner == {"BREAD10": "bakery", "Bread10": "bakery"}


# Messages


def test_a_message_names_file_line_key_and_remedy() -> None:
    found = problem(commission='rate_bps = "10%"')
    assert found == Problem(
        file="terms/acme.toml",
        path="commission.rate_bps",
        line=8,
        what='[commission] rate_bps is "10%", a text, but must be a whole number of basis points',
        remedy="Write rate_bps = 1000 for 10 %.",
    )
    assert str(found) == (
        'terms/acme.toml, line 8: [commission] rate_bps is "10%", a text, but must be a whole number of basis points. '
        "Write rate_bps = 1000 for 10 %."
    )


def test_all_problems_are_shown_at_once_in_the_order_of_the_file() -> None:
    text = text_of(BONUS.replace("50", "0") + "[extra]\n", "hold = 5", id=None, currency='"usd"')
    with pytest.raises(TermsError) as caught:
        parse_terms(tomllib.loads(text), "a.toml", toml_lines(text).get)
    assert [(each.path, each.line) for each in caught.value.problems] == [
        ("program.id", 1),  # a missing key has its table's line
        ("program.currency", 3),
        ("commission.rate_bps", 6),
        ("commission.hold", 7),
        ("bonus[1].first", 10),
        ("extra", 14),
    ]
    assert str(caught.value).splitlines()[0] == "The program terms have 6 problems; nothing was run."
    assert len(str(caught.value).splitlines()) == 7


def test_without_lines_a_message_names_the_file_alone() -> None:
    _, problems = check_terms({"program": {}, "commission": {"rate_bps": 5}}, "a.toml")
    assert str(problems[0]).startswith("a.toml: [program] has no id, which is required. Add id")
    assert all(each.line is None for each in problems)


# Tables and keys


@pytest.mark.parametrize("key", list(PROGRAM))
def test_keys_of_program_that_are_required(key: str) -> None:
    found = problem("", RATE, **{key: None})
    assert (found.path, found.line) == (f"program.{key}", 1)
    assert found.what == f"[program] has no {key}, which is required"
    assert f"Add {key} = " in found.remedy


@pytest.mark.parametrize(
    ("table", "optional"),
    [
        (TIER, set()),
        (BONUS, set()),
        (MILESTONE + 'scope = "partner"\naward_minor = 5\nrevocable = true\n', {"scope", "award_minor", "revocable"}),
        (BOOST + 'partner_id = "bakery"\n', {"partner_id"}),
        (
            '[[partner]]\nid = "x"\nname = "X"\nsegment = ""\njoined_at = 2026-01-01T00:00:00Z\n'
            "left_at = 2027-01-01T00:00:00Z\ncoupon_codes = []\ncustomer_ids = []\nemail_sha256 = []\n",
            {"segment", "joined_at", "left_at", "coupon_codes", "customer_ids", "email_sha256"},
        ),
        ("[customer_reward]\namount_minor = 5\n", set()),
    ],
)
def test_keys_of_the_other_tables_that_are_required(table: str, optional: set[str]) -> None:
    header, *lines = table.splitlines()
    assert terms(TWO_PARTNERS + table)
    for line in lines:
        key = line.split(" ")[0]
        rest = TWO_PARTNERS + "\n".join([header, *(each for each in lines if each != line)])
        if key in optional:
            assert terms(rest)
        else:
            assert problem(rest).what.endswith(f"has no {key}, which is required")


@pytest.mark.parametrize("table", ["program", "commission"])
def test_tables_that_are_required(table: str) -> None:
    document = {name: part for name, part in tomllib.loads(text_of()).items() if name != table}
    found, problems = check_terms(document, "a.toml")
    assert found is None
    assert [each.what for each in problems] == [f"there is no table [{table}], which is required"]
    assert f"[{table}]" in problems[0].remedy


@pytest.mark.parametrize("table", list(KEYS))
def test_an_unknown_key_in_any_table(table: str) -> None:
    text = "\n".join([text_of(), *(f"[{name}]" for name in ("attribution", "qualification")), TWO_PARTNERS])
    text += TIER + BONUS + MILESTONE + BOOST + "[customer_reward]\namount_minor = 1\n"
    header = f"[[{table}]]" if f"[[{table}]]" in text else f"[{table}]"
    text = text.replace(header, f"{header}\nzzz = 1", 1)
    _, problems = check(text)
    assert len(problems) == 1
    assert "has an unknown key zzz" in problems[0].what
    assert problems[0].line == text[: text.index("zzz")].count("\n") + 1


@pytest.mark.parametrize(
    ("extra", "path", "what", "remedy"),
    [
        ("[qualification]\nminimum_order = 5\n", "qualification.minimum_order", "unknown key", "min_order_minor?"),
        ('[qualification]\nhold = "5d"\n', "qualification.hold", "unknown key hold", "Move it to [commission]"),
        ("[attribution]\nzzz = 1\n", "attribution.zzz", "unknown key", "the keys of [attribution] are credit, model"),
        ('[attribution]\n"click window" = 1\n', 'attribution."click window"', '"click window"', "click_window?"),
        ("[qualificaton]\n", "qualificaton", "an unknown table", "Did you mean [qualification]?"),
        ("[[partners]]\n", "partners", "an unknown table", "Did you mean [[partner]]?"),
        ("[zzz]\n", "zzz", "zzz is an unknown table", "the tables are [program], [attribution]"),
    ],
)
def test_unknown_keys_and_tables(extra: str, path: str, what: str, remedy: str) -> None:
    found = problem(extra)
    assert (found.path, found.line) == (path, 10 if "." in path else 9)
    assert what in found.what
    assert remedy in found.remedy


def test_a_key_outside_any_table() -> None:
    _, problems = check("hold = 1\n" + text_of())
    assert [each.line for each in problems] == [1]
    assert problems[0].what == "hold is an unknown key outside any table"
    assert problems[0].remedy == "Move it below [commission]."


@pytest.mark.parametrize(
    ("extra", "what", "remedy"),
    [
        ("[tier]\nfrom = 1\n", "tier is {...}, but must be a list of tables", "Write the header [[tier]]"),
        ("[[attribution]]\n", "attribution is [...], but must be one table", "Write the header [attribution], once"),
    ],
)
def test_one_table_or_many(extra: str, what: str, remedy: str) -> None:
    found = problem(extra)
    assert found.line == 9
    assert what in found.what
    assert remedy in found.remedy


def test_a_list_of_something_else_than_tables() -> None:
    _, problems = check("boost = [1]\n" + text_of())
    assert [each.what for each in problems] == ["[[boost]] no. 1 is 1, but must be a table"]


# Contradictions, and keys that are useless


def test_the_figure_that_the_kind_of_commission_takes() -> None:
    assert terms(commission='kind = "percentage"\nrate_bps = 5').rate_bps == 5
    assert terms(commission='kind = "flat"\namount_minor = 5').amount_minor == 5
    assert "has no rate_bps, which is required" in problem(commission="").what
    assert "has no amount_minor, which is required" in problem(commission='kind = "flat"').what
    both = problem(commission='kind = "flat"\namount_minor = 5\nrate_bps = 5')
    assert both.what == '[commission] rate_bps does not fit: [commission] kind is "flat"'
    assert both.remedy == "Remove rate_bps."
    other = problem(commission="amount_minor = 5")
    assert other.what == '[commission] amount_minor does not fit: [commission] kind is "percentage"'
    assert other.remedy == "Remove amount_minor, and write rate_bps = 1000, for example, instead."


def test_the_figure_of_a_tier_fits_the_kind_of_commission() -> None:
    flat = 'kind = "flat"\namount_minor = 5'
    assert terms(TIER.replace("rate_bps", "amount_minor"), flat).tiers == (Tier(10, amount_minor=1500),)
    assert problem(TIER, flat).path == "tier[1].rate_bps"
    assert problem(TIER.replace("rate_bps", "amount_minor")).path == "tier[1].amount_minor"
    assert problem(TIER + "amount_minor = 5\n").path == "tier[1].amount_minor"
    assert problem(TIER.replace("rate_bps = 1500", "")).path == "tier[1].rate_bps"


def test_all_tiers_have_one_period() -> None:
    second = TIER.replace("10", "20")
    assert len(terms(TIER + second).tiers) == 2
    found = problem(TIER + second.replace("quarter", "month"))
    assert (found.path, found.line) == ("tier[2].period", 15)
    assert (
        found.what
        == '[[tier]] no. 2 period is "month", but [[tier]] no. 1 has "quarter"; all tiers count over one period'
    )
    assert found.remedy == 'Write period = "quarter".'


def test_only_the_first_order_needs_qualification_by_orders() -> None:
    first = 'rate_bps = 5\norders = "first"'
    assert terms(commission=first).orders == "first"
    assert terms(BY_ORDER, first).orders == "first"
    assert terms('[qualification]\nevent = "sign_up"\n').qualification_event == "sign_up"
    assert problem('[qualification]\nevent = "sign_up"\n', first).path == "commission.orders"


def test_credit_by_order_knows_no_sign_ups() -> None:
    found = problem(BY_ORDER + '[qualification]\nevent = "sign_up"\n')
    assert (found.path, found.line) == ("qualification.event", 12)
    sign_ups = MILESTONE.replace("qualified_referrals", "sign_ups")
    assert terms(sign_ups).milestones[0].metric == "sign_ups"
    assert problem(BY_ORDER + sign_ups).path == "milestone[1].metric"


def test_what_milestones_of_a_group_have() -> None:
    group = TWO_PARTNERS + MILESTONE + 'scope = "group"\n'
    assert terms(group + 'partners = ["roaster", "bakery"]\n').milestones[0].partners == ("bakery", "roaster")
    assert terms(group + 'partners = ["roaster"]\neach_at_least = 5\naward_minor = 5\n')
    assert "no partners are named" in problem(group).what
    assert "no partners are named" in problem(group + "partners = []\n").what
    again = problem(group + 'partners = ["roaster", "bakery", "roaster"]\n')
    assert (again.path, again.remedy) == ("milestone[1].partners[3]", "Remove it.")
    unknown = problem(group + 'partners = [\n"bakery",\n"roster",\n]\n')
    assert (unknown.path, unknown.line) == ("milestone[1].partners[2]", 23)
    assert unknown.what == '[[milestone]] no. 1 partners[2] is "roster", but no [[partner]] has that id'
    assert unknown.remedy == 'Did you mean "roaster"?'


@pytest.mark.parametrize("scope", ["", 'scope = "partner"\n', 'scope = "program"\n'])
@pytest.mark.parametrize("line", ['partners = ["bakery"]\n', "each_at_least = 1\n"])
def test_what_only_milestones_of_a_group_have(scope: str, line: str) -> None:
    found = problem(TWO_PARTNERS + MILESTONE + scope + line)
    assert 'is only for scope = "group"' in found.what
    assert "Remove" in found.remedy


def test_a_program_milestone_has_no_award() -> None:
    assert terms(MILESTONE + 'scope = "program"\n').milestones[0].scope == "program"
    assert problem(MILESTONE + 'scope = "program"\naward_minor = 5\n').path == "milestone[1].award_minor"


def test_a_boost_names_a_known_partner_or_none() -> None:
    assert terms(BOOST).boosts[0].partner_id is None
    assert terms(TWO_PARTNERS + BOOST + 'partner_id = "bakery"\n').boosts[0].partner_id == "bakery"
    found = problem(TWO_PARTNERS + BOOST + 'partner_id = "nobody"\n')
    assert found.path == "boost[1].partner_id"
    assert found.remedy == 'Add a [[partner]] with id = "nobody".'


def test_what_ends_begins_before() -> None:
    assert terms(BOOST.replace("2026-02-01T00:00:00Z", "2026-01-01T00:00:00.001Z"))
    found = problem(BOOST.replace("2026-02-01", "2026-01-01"))
    assert found.path == "boost[1].until"
    assert "must be later than from, 2026-01-01T00:00:00Z" in found.what
    assert found.remedy == "Correct until or from."
    partner = '[[partner]]\nid = "x"\nname = "X"\njoined_at = 2026-01-01T00:00:00Z\nleft_at = {}\n'
    assert terms(partner.format("2026-01-01T00:00:00.001Z"))
    assert problem(partner.format("2026-01-01T01:00:00+01:00")).path == "partner[1].left_at"
    assert problem(partner.format("2025-01-01T01:00:00Z")).path == "partner[1].left_at"


@pytest.mark.parametrize(
    ("one", "two", "key"),
    [
        (TIER, TIER.replace("1500", "1600"), "from"),
        (BONUS, BONUS.replace("quarter", "month"), "id"),
        (MILESTONE, MILESTONE.replace("100", "200"), "id"),
        (BOOST, BOOST.replace("20000", "30000"), "id"),
        ('[[partner]]\nid = "x"\nname = "X"\n', '[[partner]]\nid = "x"\nname = "Y"\n', "id"),
    ],
)
def test_equal_ids_in_a_version(one: str, two: str, key: str) -> None:
    table = one[2 : one.index("]")]
    found = problem(one + two)
    assert found.path == f"{table}[2].{key}"
    assert found.what.endswith(f"like that of [[{table}]] no. 1")
    assert "another" in found.remedy


def test_ids_are_told_apart_by_kind_and_byte_for_byte() -> None:
    assert terms(BONUS.replace("kickoff", "m") + MILESTONE + MILESTONE.replace('"m"', '"M"'))


def test_a_coupon_has_one_owner() -> None:
    two = '[[partner]]\nid = "x"\nname = "X"\ncoupon_codes = ["A", "B"]\n[[partner]]\nid = "y"\nname = "Y"\n'
    assert terms(two + 'coupon_codes = ["a", "C", "C"]\n').partners["y"].coupon_codes == ("a", "C")
    found = problem(two + 'coupon_codes = ["C", "B"]\n')
    assert found.path == "partner[2].coupon_codes[2]"
    assert found.what == '[[partner]] no. 2 coupon_codes[2] is "B", which [[partner]] no. 1 ("x") owns already'


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ('[attribution]\nhalf_life = "0d"\n', "half_life"),
        (BY_ORDER + 'order_window = "0d"\n', "order_window"),
        (BY_ORDER + '[qualification]\nmin_click_to_sign_up = "999999999d"\n', "min_click_to_sign_up"),
        ('[qualification]\nevent = "sign_up"\nmin_order_minor = -5\n', "min_order_minor"),
    ],
)
def test_a_useless_key_is_ignored_but_for_its_type(extra: str, key: str) -> None:
    without = "".join(line for line in extra.splitlines(keepends=True) if not line.startswith(key))
    assert terms(extra) == terms(without)
    wrong = "".join(f"{key} = true\n" if line.startswith(key) else line for line in extra.splitlines(keepends=True))
    assert problem(wrong).path.endswith(key)
