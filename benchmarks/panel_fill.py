# ruff: noqa: E501  # a statement is easier to follow on one line
"""The tables that ``benchmarks.panels`` reads: made by the engine itself, by INSERT … SELECT from numbers.

One program has almost everything, which is the hardest case; sixty partners share it unevenly, the first having a fifth.
The rows are what the pipeline would have written, repeats and corrections among them: they fit together (an order's
customer has a referral, a refund its order), but no terms were applied to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from pipeline.domain.terms import Bonus, Boost, Catalogue, Milestone, Partner, Program, Terms, Tier

PROGRAM, BRAND, PARTNER = "friends", "acme", "partner-00"
DAYS: Final = 180
_START: Final = "toDateTime64('2026-05-01 00:00:00', 3, 'UTC')"
NOW: Final = "2026-10-28 00:00:00"  # the end of those days

# Sixty partners; the first has about a fifth, the last one in a few hundred.
_PARTNER = "concat('partner-', leftPad(toString(toUInt8(60 * pow((cityHash64({0}) % 100003) / 100003., 2.))), 2, '0'))"
_SPAN_MS = DAYS * 86_400_000


def partner_of(number: str) -> str:
    return _PARTNER.format(number)


def _at(number: str, salt: str) -> str:
    return f"({_START} + toIntervalMillisecond(cityHash64({number}, '{salt}') % {_SPAN_MS}))"


def _in_order(number: str, total: int) -> str:
    """Times that ascend with the number, as events arrive."""
    return f"({_START} + toIntervalMillisecond(intDiv({number} * {_SPAN_MS}, {total})))"


def statements(clicks: int, outcomes: int) -> Iterator[tuple[str, str]]:
    """(what, SQL) in order."""
    yield from _clicks(clicks)
    yield from _outcomes(outcomes)


def _clicks(clicks: int) -> Iterator[tuple[str, str]]:
    """In forty inserts, as they came; then one in fifty again, and a few with other contents."""
    insert = "INSERT INTO clicks (event_id, occurred_at, brand_id, program_id, partner_id, visitor_id, link_id, campaign, country, version)"
    row = (
        "hex(MD5(concat('k', toString(n)))) AS event_id, "
        f"{_in_order('n', clicks)} AS occurred_at, '{BRAND}', '{PROGRAM}', {{partner}}, "
        "substring(hex(MD5(toString(cityHash64(n) % (1 + intDiv({clicks}, 3))))), 1, 16), "
        "concat('link-', toString(cityHash64(n, 'l') % 300)), concat('campaign-', toString(cityHash64(n, 'c') % 12)), "
        "['DE', 'FR', 'US', 'GB', 'IT'][1 + cityHash64(n, 'y') % 5], {version}"
    )
    step = max(1, clicks // 40)
    for first in range(0, clicks, step):
        columns = row.format(partner=partner_of("n % 3000017"), clicks=clicks, version=1)
        yield (
            "clicks",
            f"{insert} SELECT {columns} FROM (SELECT number AS n FROM numbers({first}, {min(step, clicks - first)}))",
        )
    columns = row.format(partner=partner_of("n % 3000017"), clicks=clicks, version=1)
    yield "repeats", f"{insert} SELECT {columns} FROM (SELECT number * 50 AS n FROM numbers({clicks // 50}))"
    columns = row.format(partner="'partner-59'", clicks=clicks, version=2)
    yield "corrections", f"{insert} SELECT {columns} FROM (SELECT number * 10000 AS n FROM numbers({clicks // 10000}))"


def _outcomes(outcomes: int) -> Iterator[tuple[str, str]]:
    """Of a hundred: 42 attributions, 12 referrals, 44 ledger entries, 2 dead letters; a twentieth corrected once."""
    customers = outcomes * 12 // 100
    partner = partner_of("c")
    customer = "concat('cus_', substring(hex(MD5(toString(c))), 1, 12))"
    signed_up = _at("c", "s")
    one_in_twenty = "WHERE cityHash64(c, 'v') % 20 = 0"
    people = f"(SELECT number AS c FROM numbers({customers}))"
    orders = f"(SELECT intDiv(number, 2) AS c, number AS o FROM numbers({customers * 2}))"
    ordered = f"least({signed_up} + toIntervalMillisecond(cityHash64(o, 'd') % {40 * 86_400_000}), {_START} + toIntervalDay({DAYS}))"
    explanation = _explanation(partner, signed_up, "credited")
    signing = "INSERT INTO attributions (brand_id, conversion_type, customer_id, conversion_id, partner_id, program_id, order_id, link_id, click_id, share_bps, model, converted_at, terms_version, explanation, as_of, version)"

    def own(kind: str, id: str, order: str, model: str, at: str, version: int) -> str:
        return (
            f"'{BRAND}', '{kind}', {customer}, {id}, {partner}, '{PROGRAM}', {order}, 'link-7', '', 10000, "
            f"'{model}', {at} AS at, 1, {explanation}, at, {version}"
        )

    order = "concat('ord_', hex(MD5(concat('o', toString(o)))))"
    for version, where in ((1, one_in_twenty), (2, "")):
        signed = own(
            kind="sign_up",
            id="concat('s', hex(MD5(toString(c))))",
            order="''",
            model="last_touch",
            at=signed_up,
            version=version,
        )
        yield "attributions", f"{signing} SELECT {signed} FROM {people} {where}"
        bought = own(
            kind="order", id=f"concat('e', {order})", order=order, model="inherited", at=ordered, version=version
        )
        yield "attributions", f"{signing} SELECT {bought} FROM {orders} {where}"
    lost = (
        f"'{BRAND}', 'sign_up', concat('lost', {customer}), concat('l', hex(MD5(toString(c)))), '', '', '', '', '', 0, '', {signed_up} AS at, 0, "
        f"{_explanation(partner, signed_up, 'expired')}, at, 1"
    )
    yield "attributions", f"{signing} SELECT {lost} FROM (SELECT number AS c FROM numbers({outcomes * 6 // 100}))"
    buying = (
        "INSERT INTO orders (event_id, occurred_at, brand_id, order_id, customer_id, amount_minor, currency, version)"
    )
    amount = "(1000 + cityHash64(o, 'a') % 9000)"
    yield (
        "orders",
        f"{buying} SELECT concat('e', {order}), {ordered}, '{BRAND}', {order}, {customer}, {amount}, 'USD', 1 FROM {orders}",
    )
    refunding = "INSERT INTO refunds (event_id, occurred_at, brand_id, order_id, customer_id, amount_minor, currency, reason, matched, version)"
    yield (
        "refunds",
        f"{refunding} SELECT concat('r', {order}), {ordered} + toIntervalDay(3), '{BRAND}', {order}, {customer}, {amount} / 2, 'USD', 'refund', 1, 1 FROM {orders} WHERE o % 13 = 0",
    )
    referring = "INSERT INTO referrals (program_id, customer_id, partner_id, status, reason, signed_up_at, qualified_at, reversed_at, terms_version, as_of, version)"
    status = "['qualified', 'qualified', 'qualified', 'pending', 'reversed', 'rejected'][1 + c % 6]"
    for version, where in ((1, one_in_twenty), (2, "")):
        yield "referrals", (
            f"{referring} SELECT '{PROGRAM}', {customer}, {partner}, {status} AS st, if(st = 'rejected', 'existing_customer', ''), {signed_up} AS at, "
            f"if(st IN ('qualified', 'reversed'), at + toIntervalDay(1), NULL), if(st = 'reversed', at + toIntervalDay(9), NULL), 1, at, {version} FROM {people} {where}"
        )  # fmt: skip
    entering = "INSERT INTO ledger_entries (entry_id, kind, program_id, partner_id, customer_id, order_id, amount_minor, currency, occurred_at, payable_at, cause_event_id, terms_version, as_of, version)"

    def entry(kind: str, order_id: str, money: str, at: str, version: int) -> str:
        return f"{entering} SELECT hex(MD5(concat('{kind}', {order_id}, toString(c)))), '{kind}', '{PROGRAM}', {partner}, {customer}, {order_id}, {money}, 'USD', {at} AS at, at + toIntervalDay(14), '', 1, at, {version}"

    for version, where in ((1, one_in_twenty), (2, "")):
        yield (
            "ledger_entries",
            f"{entry('accrual', order, f'toInt64({amount} / 10) + {version}', ordered, version)} FROM {orders} {where}",
        )
    yield (
        "ledger_entries",
        f"{entry('clawback', order, f'-toInt64({amount} / 20)', ordered, 1)} FROM {orders} WHERE o % 13 = 0",
    )
    yield "ledger_entries", f"{entry('customer_reward', _EMPTY, '1000', signed_up, 1)} FROM {people}"
    yield "ledger_entries", f"{entry('bonus', _EMPTY, '250', signed_up, 1)} FROM {people} WHERE c % 2 = 0"
    scopes = ["*", "partner-00+partner-07", *(f"partner-{number:02}" for number in range(60))]
    yield (
        "milestones",
        (
            "INSERT INTO milestones (program_id, milestone_id, scope_key, period, status, count, threshold, terms_version, as_of, version) "
            f"SELECT '{PROGRAM}', 'monthly', arrayJoin({scopes}), concat('2026-', leftPad(toString(5 + number), 2, '0')), 'open', 70, 100, 1, {_START}, 1 FROM numbers(6)"
        ),
    )
    yield "dead_letters", (
        "INSERT INTO dead_letters (source, position, reason, raw, version) SELECT 'events.jsonl', toString(number), "
        f"['invalid_field', 'unknown_partner', 'duplicate_order'][1 + number % 3], concat('{{\"brand_id\":\"{BRAND}\",\"type\":\"order\",\"n\":', toString(number), '}}'), 1 "
        f"FROM numbers({outcomes * 2 // 100})"
    )  # fmt: skip
    yield (
        "progress",
        f"INSERT INTO pipeline_progress (name, watermark, final_through, updated_at, version) SELECT 'pipeline', toDateTime64('{NOW}', 3, 'UTC'), toDateTime64('{NOW}', 3, 'UTC') - INTERVAL 1 DAY, toDateTime64('{NOW}', 3, 'UTC'), 1",
    )


_EMPTY = "''"


def catalogue() -> Catalogue:
    """The terms of the one program."""
    ids = [f"partner-{number:02}" for number in range(60)]
    terms = Terms(
        PROGRAM,
        BRAND,
        "USD",
        1,
        int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000),
        time_zone="America/New_York",
        rate_bps=1000,
        tier_period="quarter",
        tiers=(Tier(100, 1250), Tier(500, 1500)),
        bonuses=(Bonus("kickoff", 50, "quarter", "program", 250), Bonus("own", 50, "month", "partner", 300)),
        milestones=(
            Milestone("monthly", "qualified_referrals", 100, "month"),
            Milestone("together", "qualified_referrals", 500, "all_time", "group", (ids[0], ids[7])),
            Milestone("revenue", "net_revenue_minor", 10_000_000, "quarter", "program"),
        ),
        boosts=(Boost("autumn", None, 1_790_000_000_000, 1_791_000_000_000, 20_000),),
        partners={each: Partner(each, each.title(), ("food", "garden", "books")[i % 3]) for i, each in enumerate(ids)},
    )
    return Catalogue.of([Program((terms,))])


def _explanation(partner: str, at: str, verdict: str) -> str:
    """Three touchpoints: the latest as told, one of another partner outranked or expired, one of a third."""

    def touch(whose: str, days: int, word: str) -> str:
        return (
            '\'{"kind":"click","click_id":"\', hex(MD5(concat(\'k\', toString(c)))), \'","code":"","at":\', '
            f'toString(toUnixTimestamp64Milli({at}) - {days} * 86400000), \',"partner_id":"\', {whose}, \'","program_id":"{PROGRAM}",'
            f'"verdict":"{word}","share_bps":{10_000 if word == "credited" else 0},"window_ends_at":\', '
            f"toString(toUnixTimestamp64Milli({at}) + {30 - days} * 86400000), ',\"terms_version\":1}}'"
        )

    others = "outranked" if verdict == "credited" else "expired"
    touches = [touch(partner, 2, verdict), touch(partner_of("c + 1"), 5, others), touch(partner_of("c + 2"), 9, others)]
    head = '\'{"outcome":"credited","program_id":"friends","terms_version":1,"inherited_from":"","touchpoints":[\''
    listed = ", ',', ".join(touches)
    return f"concat({head}, {listed}, '],\"touchpoints_omitted\":0}}')"


def fill(execute: Callable[[str], None], clicks: int, outcomes: int) -> None:
    for _, sql in statements(clicks, outcomes):
        execute(sql)
