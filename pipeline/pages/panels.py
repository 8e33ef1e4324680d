"""Every panel once: what it shows, in words a partner understands, and the SQL behind it.

Two readers draw from here: the offline pages (:mod:`pipeline.pages.writer`) and the Grafana dashboards. The SQL names
only the views of ``migrations/0004_partner_views.sql``, bare, and holds no filter on a program or partner: whoever runs
it narrows the views. The pages do so with :class:`pipeline.pages.scope.Scope`; in ClickHouse a partner's user has a
database of its own with views of the same names. So no SQL needs a variable that a reader could change.

A panel's SQL begins with SELECT and may use the parameters of :data:`PARAMETERS` only.
"""

from __future__ import annotations

from typing import Final

from pipeline.pages.panel import FINAL_UNTIL, NOW, PARAMETERS, Panel
from pipeline.pages.panels_of_quality import QUALITY, RETENTION, SEGMENTS
from pipeline.pages.panels_of_terms import BONUSES, BOOSTS, GOALS, TIERS
from pipeline.pages.reasons import MISS_WORD, latest_credits, latest_missed

__all__ = [
    "ALL_PROGRAMS_PANELS", "BONUSES", "BOOSTS", "GOALS", "PARAMETERS", "PARTNER_PANELS", "PROGRAM_PANELS", "QUALITY",
    "RETENTION", "SEGMENTS", "TIERS", "VIEWS", "Panel",
]  # fmt: skip
VIEWS: Final = (
    "partner_clicks", "partner_credits", "partner_orders", "partner_missed", "partner_referrals", "partner_ledger",
    "partner_milestones", "partner_bonus_slots", "partner_programs", "partner_names", "partner_tiers", "partner_boosts",
    "partner_bonuses", "partner_goals", "program_brands", "rejected_records",
)  # fmt: skip
"""The views that panels read. Those named partner_ have a program_id and a partner_id ('*': for every partner)."""

FINAL_THROUGH: Final = Panel(
    "final_through",
    "Final through",
    "Everything dated up to this moment is final: it stands, and only new events, such as a refund, add to it. Younger "
    "figures are provisional, because events of that time may still arrive.",
    "stat",
    "text",
    f"""
SELECT {FINAL_UNTIL} AS final_through, any(watermark) AS watermark
FROM partner_programs
HAVING count() > 0
""",
)

FUNNEL: Final = Panel(
    "funnel",
    "From click to customer",
    "Clicks, the sign-ups and orders that were credited, wholly or in part, and the customers that qualify now.",
    "bar",
    "count",
    """
SELECT counted.2 AS step, counted.3 AS value
FROM
(
    SELECT (1, 'Clicks', count(partner_id)) AS counted FROM partner_clicks
    UNION ALL
    SELECT arrayJoin([
        (2, 'Sign-ups credited', uniqExactIf(conversion, conversion_type = 'sign_up')),
        (3, 'Orders credited', uniqExactIf(conversion, conversion_type = 'order'))
    ])
    FROM partner_credits
    UNION ALL
    SELECT (4, 'Qualified customers', countIf(status = 'qualified')) FROM partner_referrals
)
ORDER BY counted.1
""",
)

CREDITS_OVER_TIME: Final = Panel(
    "credits_over_time",
    "Credit over time",
    "Sign-ups and orders credited, by the day they happened.",
    "time_series",
    "count",
    """
SELECT
    toStartOfDay(converted_at, {zone:String}) AS time,
    uniqExactIf(conversion, conversion_type = 'sign_up') AS sign_ups,
    uniqExactIf(conversion, conversion_type = 'order') AS orders
FROM partner_credits
GROUP BY time
ORDER BY time
""",
)

EARNINGS: Final = Panel(
    "earnings",
    "Earned",
    "Everything earned so far. Payable now: what has passed the time for returns. Provisional: what may still be "
    "corrected, because events of that time may still arrive.",
    "stat",
    "money",
    f"""
SELECT
    toInt64(sum(amount_minor)) AS total_minor,
    toInt64(sumIf(amount_minor, kind IN ('accrual', 'clawback'))) AS commission_minor,
    toInt64(sumIf(amount_minor, kind IN ('bonus', 'bonus_clawback'))) AS bonus_minor,
    toInt64(sumIf(amount_minor, kind IN ('milestone_award', 'milestone_revocation'))) AS award_minor,
    toInt64(sumIf(amount_minor, kind IN ('clawback', 'bonus_clawback', 'milestone_revocation'))) AS taken_back_minor,
    toInt64(sumIf(amount_minor, as_of <= {FINAL_UNTIL})) AS final_minor,
    toInt64(sumIf(amount_minor, as_of > {FINAL_UNTIL})) AS provisional_minor,
    toInt64(sumIf(amount_minor, payable_at <= {NOW})) AS payable_minor,
    toInt64(sumIf(amount_minor, payable_at > {NOW})) AS payable_later_minor
FROM partner_ledger
""",
)

EARNINGS_OVER_TIME: Final = Panel(
    "earnings_over_time",
    "Earnings over time",
    "What was earned, and taken back, by the day of the event that caused it.",
    "time_series",
    "money",
    """
SELECT
    toStartOfDay(occurred_at, {zone:String}) AS time,
    toInt64(sumIf(amount_minor, kind = 'accrual')) AS commission_minor,
    toInt64(sumIf(amount_minor, kind IN ('bonus', 'milestone_award'))) AS extra_minor,
    toInt64(sumIf(amount_minor, kind IN ('clawback', 'bonus_clawback', 'milestone_revocation'))) AS taken_back_minor
FROM partner_ledger
GROUP BY time
ORDER BY time
""",
)

PAYABLE_LATER: Final = Panel(
    "payable_later",
    "Becomes payable",
    "What has been earned and waits for the time for returns to pass, by the day it becomes payable.",
    "table",
    "money",
    f"""
SELECT toStartOfDay(payable_at, {{zone:String}}) AS time, toInt64(sum(amount_minor)) AS amount_minor
FROM partner_ledger
WHERE payable_at > {NOW}
GROUP BY time
HAVING amount_minor != 0
ORDER BY time
""",
)

QUALIFIED_OVER_TIME: Final = Panel(
    "qualified_over_time",
    "Qualified customers",
    "Customers that began to qualify, less those that ceased to, by the day of the change. Tiers count these.",
    "time_series",
    "count",
    """
SELECT toStartOfDay(assumeNotNull(at), {zone:String}) AS time, partner_id, toInt64(sum(change)) AS change
FROM
(
    SELECT partner_id, arrayJoin([(qualified_at, 1), (reversed_at, -1)]) AS each, each.1 AS at, each.2 AS change
    FROM partner_referrals
)
WHERE at IS NOT NULL
GROUP BY time, partner_id
ORDER BY time, partner_id
""",
)

BONUS_SLOTS: Final = Panel(
    "bonus_slots",
    "Bonuses",
    "How many of a bonus's places are taken: by the partner, and (*) by everyone in the program.",
    "progress",
    "count",
    """
SELECT partner_id, terms_version, bonus_minor, toStartOfDay(taken_at, {zone:String}) AS time, count() AS slots
FROM partner_bonus_slots
GROUP BY partner_id, terms_version, bonus_minor, time
ORDER BY partner_id, terms_version, bonus_minor, time
""",
)

MILESTONES: Final = Panel(
    "milestones",
    "Milestones",
    "How far each milestone is, alone or together with others.",
    "progress",
    "count",
    """
SELECT DISTINCT
    milestone_id, scope_key, period, status, toInt64(least(count, 9223372036854775807)) AS count, threshold,
    reached_at, revoked_at, terms_version
FROM partner_milestones
ORDER BY milestone_id, scope_key, period
""",
)

RECENT_CREDITS: Final = Panel(
    "recent_credits",
    "Latest credits, and why",
    "The latest sign-ups and orders credited, with the reason. A customer is four characters that tell nothing of it.",
    "table",
    "text",
    f"""
SELECT
    converted_at, conversion_type, conversion_id, substring(customer, 1, 4) AS customer, share_bps, order_minor,
    refunded_minor, earned_minor, reason
FROM {latest_credits(15)}
ORDER BY converted_at DESC, conversion_id, customer
""",
)

MISSED_REASONS: Final = Panel(
    "missed_reasons",
    "Visits that led on, without credit",
    "Sign-ups and orders that followed a partner's links or codes but were not credited to that partner, by reason.",
    "bar",
    "count",
    f"""
SELECT {MISS_WORD} AS reason, count() AS conversions
FROM partner_missed
GROUP BY reason
ORDER BY conversions DESC, reason
""",
)

MISSED: Final = Panel(
    "missed",
    "The latest of them, and why",
    "Sign-ups and orders that followed a link or code without credit for it, with the reason.",
    "table",
    "text",
    f"""
SELECT
    converted_at, conversion_type, conversion_id, substring(customer, 1, 4) AS customer, verdict, reason
FROM {latest_missed(15)}
ORDER BY converted_at DESC, conversion_id, customer
""",
)

REFERRALS: Final = Panel(
    "referrals",
    "Customers referred",
    "Every customer, under the partner with the largest share of its first credit, by where it stands.",
    "bar",
    "count",
    """
SELECT
    status, reason,
    multiIf(status = 'qualified', 'Qualified', status = 'pending', 'Pending: has not met the conditions yet',
        status = 'reversed', 'Reversed: met them, until a refund', reason = 'existing_customer',
        'Rejected: had ordered before', reason = 'too_fast', 'Rejected: signed up too soon after the visit', status)
        AS standing,
    count() AS customers
FROM partner_referrals
GROUP BY status, reason
ORDER BY indexOf(['qualified', 'pending', 'reversed', 'rejected'], status), reason
""",
)

# Of its own, and not a column of the next one: to count ten million clicks takes as long as all of that.
CLICKS: Final = Panel(
    "clicks",
    "Clicks by partner",
    "How often each partner sent a visitor.",
    "table",
    "count",
    """
SELECT c.partner_id AS partner_id, if(n.name = '', c.partner_id, n.name) AS name, c.clicks AS clicks
FROM (SELECT partner_id, count() AS clicks FROM partner_clicks GROUP BY partner_id) AS c
LEFT ANY JOIN partner_names AS n ON n.partner_id = c.partner_id
ORDER BY clicks DESC, partner_id
""",
)

PARTNERS: Final = Panel(
    "partners",
    "Partners side by side",
    "What each partner brought beyond clicks, and what it earned for it.",
    "table",
    "text",
    """
SELECT p.*, if(n.name = '', p.partner_id, n.name) AS name
FROM
(
SELECT
    partner_id, sum(sign_ups_) AS sign_ups, sum(orders_) AS orders,
    sum(qualified_) AS qualified,
    toInt64(sum(value_)) AS order_value_minor, toInt64(sum(refunded_)) AS refunded_minor,
    toInt64(sum(commission_)) AS commission_minor, toInt64(sum(extra_)) AS extra_minor
FROM
(
    SELECT partner_id, count() AS sign_ups_, 0 AS orders_, 0 AS qualified_, toInt128(0) AS value_,
        toInt128(0) AS refunded_, toInt128(0) AS commission_, toInt128(0) AS extra_
    FROM partner_credits WHERE conversion_type = 'sign_up' GROUP BY partner_id
    UNION ALL
    SELECT partner_id, 0, count(), 0,
        toInt128(round(toDecimal128(sum(toInt128(order_minor) * share_bps), 4) / 10000)),
        toInt128(round(toDecimal128(sum(toInt128(refunded_minor) * share_bps), 4) / 10000)), 0, 0
    FROM partner_orders GROUP BY partner_id
    UNION ALL
    SELECT partner_id, 0, 0, countIf(status = 'qualified'), 0, 0, 0, 0 FROM partner_referrals GROUP BY partner_id
    UNION ALL
    SELECT partner_id, 0, 0, 0, 0, 0, sumIf(toInt128(amount_minor), kind IN ('accrual', 'clawback')),
        sumIf(toInt128(amount_minor), kind NOT IN ('accrual', 'clawback'))
    FROM partner_ledger GROUP BY partner_id
)
GROUP BY partner_id
) AS p
LEFT ANY JOIN partner_names AS n ON n.partner_id = p.partner_id
ORDER BY qualified DESC, commission_minor DESC, partner_id
""",
)

GIVE_AND_TAKE: Final = Panel(
    "give_and_take",
    "Give and take between brands",
    "Brands that refer customers to each other: qualified customers that one sent to the other, and what came back.",
    "table",
    "count",
    """
SELECT
    giver, taker, customers,
    sum(customers) OVER (PARTITION BY least(giver, taker), greatest(giver, taker)) - customers AS back
FROM
(
SELECT
    toString(r.partner_id) AS giver, toString(b.brand_id) AS taker, countIf(r.status = 'qualified') AS customers
FROM partner_referrals AS r
INNER JOIN program_brands AS b ON b.program_id = r.program_id
WHERE r.partner_id IN (SELECT brand_id FROM program_brands) AND r.partner_id != b.brand_id
GROUP BY giver, taker
)
ORDER BY giver, taker
""",
)

REJECTED: Final = Panel(
    "rejected",
    "Records that could not be used",
    "Records that were kept aside, by reason and by the brand that they name.",
    "bar",
    "count",
    """
SELECT reason, brand_id, count() AS records, any(source) AS example_source, any(position) AS example_position
FROM rejected_records
GROUP BY reason, brand_id
ORDER BY records DESC, reason, brand_id
""",
)

PARTNER_PANELS: Final = (
    FINAL_THROUGH, EARNINGS, FUNNEL, CREDITS_OVER_TIME, EARNINGS_OVER_TIME, PAYABLE_LATER, QUALIFIED_OVER_TIME,
    BONUS_SLOTS, BONUSES, MILESTONES, GOALS, TIERS, BOOSTS, REFERRALS, RECENT_CREDITS, MISSED_REASONS, MISSED, QUALITY,
    RETENTION,
)  # fmt: skip
"""What a partner reads about itself."""

PROGRAM_PANELS: Final = (
    FINAL_THROUGH, EARNINGS, FUNNEL, CREDITS_OVER_TIME, EARNINGS_OVER_TIME, PARTNERS, CLICKS, SEGMENTS,
    QUALIFIED_OVER_TIME, BONUS_SLOTS, BONUSES, MILESTONES, GOALS, TIERS, BOOSTS, REFERRALS, MISSED_REASONS, QUALITY,
    RETENTION,
)  # fmt: skip
"""What a brand reads about one of its programs: all partners together."""

ALL_PROGRAMS_PANELS: Final = (GIVE_AND_TAKE, REJECTED)
"""What only whoever runs the programs reads."""
