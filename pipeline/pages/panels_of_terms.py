"""Panels that set figures beside what the terms ask for or promise: milestones, bonuses, tiers, boosts."""

from __future__ import annotations

from typing import Final

from pipeline.pages.panel import IS_IN_FORCE, NOW, Panel, in_force, period_label


def worded(figure: str) -> str:
    """A figure of a milestone as text: its metric may be money, which then has its currency."""
    whole = "toInt64(pow(10, g.currency_digits))"
    return (
        f"if(g.metric != 'net_revenue_minor', toString({figure}), concat(if({figure} < 0, '-', ''), "
        f"toString(intDiv(abs({figure}), {whole})), if(g.currency_digits = 0, '', concat('.', "
        f"leftPad(toString(abs({figure}) % {whole}), g.currency_digits, '0'))), ' ', g.currency))"
    )


GOALS: Final = Panel(
    "goals",
    "Milestones now",
    "How far each milestone of the present terms is in its present period: alone, together with others (joint), or all "
    "partners of the program (*).",
    "progress",
    "percent",
    f"""
SELECT
    g.milestone_id AS milestone_id, g.scope_key AS scope_key, g.scope AS scope, g.label AS period, g.metric AS metric,
    if(m.status = '', 'open', m.status) AS status, toInt64(least(m.count, 9223372036854775807)) AS count,
    if(m.threshold = 0, g.threshold, m.threshold) AS threshold,
    if(status = 'reached', 1., least(greatest(toFloat64(count) / threshold, 0.), 1.)) AS progress_share,
    {worded("count")} AS shown_count, {worded("threshold")} AS shown_threshold,
    m.reached_at AS reached_at, g.award_minor AS award_minor
FROM
(
    SELECT DISTINCT
        program_id, milestone_id, scope_key, scope, metric, threshold, award_minor, currency, currency_digits,
        {period_label("period", NOW)} AS label
    FROM {in_force("partner_goals")}
) AS g
LEFT JOIN
(
    SELECT DISTINCT program_id, milestone_id, scope_key, period, status, count, threshold, reached_at
    FROM partner_milestones
) AS m
    ON m.program_id = g.program_id AND m.milestone_id = g.milestone_id AND m.scope_key = g.scope_key
    AND m.period = g.label
ORDER BY progress_share DESC, milestone_id, scope_key
""",
)

BONUSES: Final = Panel(
    "bonuses",
    "Places of the bonuses",
    "Bonuses for the first customers that qualify in a period: how many places there are, how many are taken, how "
    "many of "
    "them by the partner, and what a place pays. Bonuses alike in amount, period and scope are shown as one.",
    "progress",
    "text",
    f"""
SELECT
    arrayStringConcat(ids, ', ') AS bonus, label AS period, scope, places,
    toInt64(if(scope = 'program', sumIf(slots, whose = '*' AND slot_label = label), taken_by_partner)) AS taken,
    toInt64(sumIf(slots, whose != '*' AND slot_label = label)) AS taken_by_partner,
    greatest(places - taken, 0) AS places_left,
    least(taken / places, 1.) AS taken_share,
    place_minor
FROM
(
    SELECT
        b.program_id AS program_id, b.ids AS ids, b.label AS label, b.scope AS scope, b.places AS places,
        b.place_minor AS place_minor, s.partner_id AS whose, s.slots AS slots,
        {period_label("b.kind", "s.day")} AS slot_label
    FROM
    (
        SELECT
            program_id, arraySort(groupArray(bonus_id)) AS ids, toInt64(sum(places_)) AS places, scope_ AS scope,
            place_ AS place_minor, kind, {period_label("kind", NOW)} AS label,
            arrayJoin(groupUniqArrayArray(paid_)) AS paid
        FROM
        (
            SELECT
                program_id, bonus_id, groupArray((terms_version, amount_minor)) AS paid_,
                anyIf(places, {IS_IN_FORCE}) AS places_, anyIf(scope, {IS_IN_FORCE}) AS scope_,
                anyIf(amount_minor, {IS_IN_FORCE}) AS place_, anyIf(period, {IS_IN_FORCE}) AS kind
            FROM partner_bonuses
            GROUP BY program_id, bonus_id
            HAVING countIf({IS_IN_FORCE}) > 0
        )
        GROUP BY program_id, place_, kind, scope_
    ) AS b
    LEFT JOIN
    (
        SELECT
            program_id, partner_id, terms_version, bonus_minor, toStartOfDay(taken_at, {{zone:String}}) AS day,
            count() AS slots
        FROM partner_bonus_slots
        GROUP BY program_id, partner_id, terms_version, bonus_minor, day
    ) AS s
        ON s.program_id = b.program_id AND s.terms_version = b.paid.1 AND s.bonus_minor = b.paid.2
)
GROUP BY program_id, ids, label, scope, places, place_minor
ORDER BY bonus
""",
)

TIERS: Final = Panel(
    "tiers",
    "Tiers",
    "The rate that each partner's next order earns: it grows with the customers that began to qualify in the tiers' "
    "period, less those that ceased to.",
    "table",
    "text",
    f"""
SELECT
    n.partner_id AS partner_id, n.name AS name, t.label AS period, toInt64(q.change) AS qualified,
    if(t.kind = 'percentage', argMaxIf(t.rate_bps, t.from_referrals, t.from_referrals <= qualified) / 10000, NULL)
        AS rate_share,
    if(t.kind = 'flat', argMaxIf(t.amount_minor, t.from_referrals, t.from_referrals <= qualified), NULL)
        AS order_minor,
    if(countIf(t.from_referrals > qualified) = 0, NULL, minIf(t.from_referrals, t.from_referrals > qualified))
        AS next_from
FROM partner_names AS n
INNER JOIN
(
    SELECT
        program_id, from_referrals, rate_bps, amount_minor, commission_kind AS kind,
        {period_label("period", NOW)} AS label
    FROM {in_force("partner_tiers")}
) AS t ON t.program_id = n.program_id
LEFT JOIN
(
    SELECT program_id, partner_id, label, sum(change) AS change
    FROM
    (
        SELECT c.program_id AS program_id, c.partner_id AS partner_id, c.change AS change,
            {period_label("p.period", "c.day")} AS label
        FROM
        (
            SELECT
                program_id, partner_id, toStartOfDay(assumeNotNull(at), {{zone:String}}) AS day, sum(change_) AS change
            FROM
            (
                SELECT
                    program_id, partner_id, arrayJoin([(qualified_at, 1), (reversed_at, -1)]) AS each, each.1 AS at,
                    each.2 AS change_
                FROM partner_referrals
            )
            WHERE at IS NOT NULL
            GROUP BY program_id, partner_id, day
        ) AS c
        INNER JOIN (SELECT DISTINCT program_id, period FROM {in_force("partner_tiers")}) AS p
            ON p.program_id = c.program_id
    )
    GROUP BY program_id, partner_id, label
) AS q ON q.program_id = n.program_id AND q.partner_id = n.partner_id AND q.label = t.label
GROUP BY n.program_id, n.partner_id, n.name, t.label, t.kind, q.change
ORDER BY qualified DESC, partner_id
""",
)

BOOSTS: Final = Panel(
    "boosts",
    "Boosts",
    "Times in which commission is multiplied, such as a slow period: credited orders in it so far, beside as much time "
    "just before it.",
    "table",
    "text",
    f"""
SELECT
    b.boost_id AS boost, if(b.partner_id = '*', 'everyone', b.partner_id) AS for_whom, b.begins_at AS begins_at,
    b.ends_at AS ends_at, b.multiplier_bps / 10000 AS factor,
    multiIf(b.begins_at > {NOW}, 'to come', b.ends_at > {NOW}, 'on', 'over') AS state,
    least(b.ends_at, {NOW}) AS so_far,
    uniqExactIf(o.conversion, o.converted_at >= b.begins_at AND o.converted_at < so_far) AS orders,
    uniqExactIf(
        o.conversion,
        o.converted_at < b.begins_at
            AND dateDiff('millisecond', o.converted_at, b.begins_at) <= dateDiff('millisecond', b.begins_at, so_far)
    ) AS orders_before
FROM partner_boosts AS b
LEFT JOIN
(
    SELECT program_id, arrayJoin([toString(partner_id), '*']) AS whose, conversion, converted_at
    FROM partner_credits WHERE conversion_type = 'order'
) AS o ON o.program_id = b.program_id AND o.whose = b.partner_id
GROUP BY b.program_id, boost, for_whom, begins_at, ends_at, b.multiplier_bps, b.begins_at, b.ends_at
ORDER BY begins_at, boost
""",
)
