"""Why a conversion was, or was not, credited to a partner: SQL that says it in plain words.

"You" is the partner. The words restate the verdicts of an attribution's explanation (contract.md, section 6); nothing
is decided here. Dates are those of ``{zone:String}``.
"""

from __future__ import annotations

from typing import Final


def _span(seconds: str) -> str:
    """A length of time in words, cut to whole minutes, hours or days."""
    return (
        f"multiIf({seconds} < 120, 'a minute', {seconds} < 7200, concat(toString(intDiv({seconds}, 60)), ' minutes'), "
        f"{seconds} < 172800, concat(toString(intDiv({seconds}, 3600)), ' hours'), "
        f"concat(toString(intDiv({seconds}, 86400)), ' days'))"
    )


def _seconds(start: str, end: str) -> str:
    return f"greatest(0, ifNull(dateDiff('second', {start}, {end}), 0))"


def latest_credits(limit: int) -> str:
    """The latest rows of ``partner_credits`` with a column ``reason``, as a subquery."""
    return f"""(
    SELECT *, {_CREDIT} AS reason
    FROM
    (
        SELECT *, {_span("earlier_s")} AS earlier,
            if(window_ends_at IS NULL, '', concat('; a visit counts for ', {_span("window_s")})) AS and_window,
            if(candidates > 1, concat(' of ', toString(candidates), ' that counted'), '') AS among,
            if(conversion_type = 'order', 'order', 'sign-up') AS what
        FROM
        (
            SELECT *, {_seconds("touched_at", "converted_at")} AS earlier_s,
                {_seconds("touched_at", "window_ends_at")} AS window_s,
                assumeNotNull(coalesce(signed_up_at, converted_at)) AS since
            FROM
            (
                SELECT {_CREDIT_COLUMNS}, r.signed_up_at AS signed_up_at, o.order_minor AS order_minor,
                    o.refunded_minor AS refunded_minor, toInt64(l.earned_minor) AS earned_minor
                FROM
                (
                    SELECT * FROM partner_credits ORDER BY converted_at DESC, conversion_id, customer LIMIT {limit}
                ) AS c
                LEFT ANY JOIN
                (
                    SELECT program_id, partner_id, buyer, toNullable(converted_at) AS signed_up_at
                    FROM partner_credits WHERE conversion_type = 'sign_up'
                ) AS r
                    ON r.program_id = c.program_id AND r.partner_id = c.partner_id AND r.buyer = c.buyer
                LEFT JOIN partner_orders AS o
                    ON c.conversion_type = 'order' AND o.program_id = c.program_id AND o.partner_id = c.partner_id
                    AND o.conversion = c.conversion
                LEFT JOIN
                (
                    SELECT program_id, partner_id, purchase, sum(toInt128(amount_minor)) AS earned_minor
                    FROM partner_ledger WHERE kind IN ('accrual', 'clawback')
                    GROUP BY program_id, partner_id, purchase
                ) AS l
                    ON c.conversion_type = 'order' AND l.program_id = c.program_id AND l.partner_id = c.partner_id
                    AND l.purchase = c.purchase
            )
        )
    )
)"""


def latest_missed(limit: int) -> str:
    """The latest rows of ``partner_missed`` with a column ``reason``, as a subquery."""
    return f"""(
    SELECT *, concat(what_you_did, {_MISSED}) AS reason
    FROM
    (
        SELECT *, {_span("open_s")} AS open, {_span("late_s")} AS late,
            if(conversion_type = 'order', 'order', 'sign-up') AS what,
            if(touched_by = 'coupon', concat('Your code ', coupon_code, ' was used'),
                concat('You sent a visit ', {_span("earlier_s")}, ' before the ', what)) AS what_you_did
        FROM
        (
            SELECT *, {_seconds("touched_at", "converted_at")} AS earlier_s,
                {_seconds("touched_at", "window_ended_at")} AS open_s,
                {_seconds("window_ended_at", "converted_at")} AS late_s
            FROM partner_missed
            ORDER BY converted_at DESC, conversion_id, customer
            LIMIT {limit}
        )
    )
)"""


_CREDIT_COLUMNS: Final = ", ".join(
    f"c.{name} AS {name}"
    for name in (
        "conversion_type", "conversion_id", "customer", "share_bps", "model", "converted_at", "coupon_code",
        "touched_at", "window_ends_at", "candidates",
    )
)  # fmt: skip

_CREDIT: Final = """multiIf(
        model = 'inherited', concat('Your customer since the sign-up of ',
            toString(toDayOfMonth(since, {zone:String})), formatDateTime(since, ' %b %Y', {zone:String}),
            ', so this order is yours too'),
        model = 'coupon', concat('The customer used your code ', coupon_code),
        model = 'click_id', concat('The ', what, ' came straight from your link, clicked ', earlier, ' earlier',
            and_window),
        model = 'last_touch', concat('You sent the last visit', among, ', ', earlier, ' before the ', what,
            and_window),
        model = 'first_touch', concat('You sent the first visit', among, ', ', earlier, ' before the ', what,
            and_window),
        share_bps = 10000, concat('Every visit that counted came from you, the latest ', earlier, ' before the ', what,
            and_window),
        model = 'linear', concat('Shared: each of ', toString(candidates), ' visits that counted weighs the same'),
        model = 'position_based', concat('Shared: of ', toString(candidates),
            ' visits that counted, the first and the last weigh most'),
        model = 'time_decay', concat('Shared: of ', toString(candidates),
            ' visits that counted, the later ones weigh more; yours was ', earlier, ' before the ', what),
        concat('Credited by ', model))"""

_MISSED: Final = """multiIf(
        verdict = 'expired' AND window_ended_at IS NOT NULL, concat(', but a visit counts for ', open,
            ': the window had closed ', late, ' before'),
        verdict = 'expired', ', too long before to count',
        verdict = 'partner_inactive', ', outside the time that the program lists you as its partner',
        verdict = 'own_account', '. The customer is one of your own accounts, which never earns',
        verdict = 'not_contending',
            '. The program pays for new sign-ups, and this customer had signed up without credit to it',
        verdict = 'other_program', '. Another program of the same brand has precedence and took the credit',
        model = 'coupon', '. The customer typed in another partner''s code, which goes before visits',
        model = 'click_id', concat('. The ', what, ' came straight from another partner''s link'),
        model = 'first_touch', '. Another partner had sent the first visit, which takes the credit',
        model = 'last_touch', '. Another partner sent a later visit, and the last one takes the credit',
        '. Another partner''s code or visits took the credit')"""

MISS_WORD: Final = """multiIf(
        verdict = 'expired', 'The window had closed',
        verdict = 'partner_inactive', 'Outside the time in the program',
        verdict = 'own_account', 'An account of the partner itself',
        verdict = 'not_contending', 'A customer already, signed up without credit',
        verdict = 'other_program', 'Another program of the brand came first',
        model = 'coupon', 'Another partner''s code was used',
        model = 'click_id', 'It came straight from another partner''s link',
        model = 'first_touch', 'Another partner sent the first visit',
        model = 'last_touch', 'Another partner sent the last visit',
        'Another partner came first')"""
"""Over ``partner_missed``: the reason in a few words."""
