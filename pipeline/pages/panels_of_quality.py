"""Panels of how good the customers are that partners bring: value, refunds, and whether they come back."""

from __future__ import annotations

from typing import Final

from pipeline.pages.panel import NOW, Panel, by_share

QUALITY: Final = Panel(
    "quality",
    "How well these customers fit",
    "Credited orders: how many, what they came to (shared ones by share), how much of that was refunded, and how many "
    "customers came back: those with two orders or more that were not refunded in full.",
    "stat",
    "money",
    f"""
SELECT
    uniqExact(conversion) AS orders,
    uniqExact(buyer) AS customers,
    (SELECT countIf(kept > 1) FROM
        (
            SELECT uniqExact(conversion) AS kept FROM partner_orders
            WHERE refunded_minor < order_minor GROUP BY buyer
        )) AS returning_customers,
    {by_share("order_minor")} AS order_value_minor,
    {by_share("refunded_minor")} AS refunded_minor,
    uniqExactIf(conversion, partner_orders.refunded_minor > 0) AS refunded_orders,
    if(orders = 0, NULL, toInt64(round(order_value_minor / orders))) AS average_order_minor,
    if(order_value_minor = 0, NULL, refunded_minor / order_value_minor) AS refunded_share,
    if(customers = 0, NULL, returning_customers / customers) AS returning_share
FROM partner_orders
""",
)

MONTHS: Final = 6
"""How many months after the first one :data:`RETENTION` follows."""

_LATER = ",\n    ".join(
    f"if(cohort + {number} <= this_month, countIf(has(months, toInt32(cohort + {number}))) / count(), NULL) "
    f"AS month_{number}_share"
    for number in range(1, MONTHS + 1)
)

RETENTION: Final = Panel(
    "retention",
    "Do they come back?",
    "Customers by the month of their first credited order, and the part of them that ordered again in each of the "
    "months "
    "after it. Orders refunded in full are not counted.",
    "table",
    "percent",
    f"""
SELECT
    formatDateTime(toDate('1970-01-01') + toIntervalMonth(cohort - 23641), '%Y-%m') AS month,
    count() AS customers,
    {_LATER}
FROM
(
    SELECT
        buyer, groupUniqArray(toInt32(toRelativeMonthNum(converted_at, {{zone:String}}))) AS months,
        arrayMin(months) AS cohort,
        toInt32(toRelativeMonthNum({NOW}, {{zone:String}})) AS this_month
    FROM partner_orders
    WHERE refunded_minor < order_minor
    GROUP BY buyer
)
GROUP BY cohort, this_month
ORDER BY cohort
""",
)

SEGMENTS: Final = Panel(
    "segments",
    "Segments by quality",
    "Partners of a kind together: how many of the customers that they referred qualify, what an order comes to, how "
    "much "
    "is refunded, and how many customers come back. Few but good customers stand out here.",
    "table",
    "text",
    f"""
SELECT
    segment, count() AS partners, sum(referred_) AS referred, sum(qualified_) AS qualified,
    if(referred = 0, NULL, qualified / referred) AS qualified_share,
    sum(orders_) AS orders,
    if(orders = 0, NULL, toInt64(round(sum(value_) / orders))) AS average_order_minor,
    if(sum(value_) = 0, NULL, toFloat64(sum(refunded_)) / toFloat64(sum(value_))) AS refunded_share,
    if(sum(buyers_) = 0, NULL, sum(returning_) / sum(buyers_)) AS returning_share
FROM
(
    SELECT n.segment AS segment, referred_, qualified_, orders_, value_, refunded_, buyers_, returning_
    FROM partner_names AS n
    LEFT JOIN
    (
        SELECT program_id, partner_id, count() AS referred_, countIf(status = 'qualified') AS qualified_
        FROM partner_referrals GROUP BY program_id, partner_id
    ) AS r ON r.program_id = n.program_id AND r.partner_id = n.partner_id
    LEFT JOIN
    (
        SELECT
            program_id, partner_id, toInt64(sum(bought)) AS orders_, sum(value) AS value_, sum(refunded) AS refunded_,
            countIf(kept > 0) AS buyers_, countIf(kept > 1) AS returning_
        FROM
        (
            SELECT
                program_id, partner_id, buyer, count() AS bought, countIf(refunded_minor < order_minor) AS kept,
                toInt128({by_share("order_minor")}) AS value,
                toInt128({by_share("partner_orders.refunded_minor")}) AS refunded
            FROM partner_orders GROUP BY program_id, partner_id, buyer
        )
        GROUP BY program_id, partner_id
    ) AS o ON o.program_id = n.program_id AND o.partner_id = n.partner_id
)
GROUP BY segment
ORDER BY qualified_share DESC NULLS LAST, segment
""",
)
