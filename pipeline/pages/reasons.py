"""Why a conversion was, or was not, credited to a partner: SQL expressions that say it in plain words.

They are used by panels over ``partner_credits`` and ``partner_missed``, and use ``{zone:String}`` for dates. "You" is the
partner. They restate the verdicts of an attribution's explanation (contract.md, section 6); nothing is decided here.
"""

from __future__ import annotations

from typing import Final


def _span(seconds: str) -> str:
    """A length of time in words; exact where it is whole days or hours, else cut."""
    return (
        f"multiIf({seconds} < 120, 'a minute', {seconds} < 7200, concat(toString(intDiv({seconds}, 60)), ' minutes'), "
        f"{seconds} < 172800, concat(toString(intDiv({seconds}, 3600)), ' hours'), "
        f"concat(toString(intDiv({seconds}, 86400)), ' days'))"
    )


def _seconds(start: str, end: str) -> str:
    return f"greatest(0, ifNull(dateDiff('second', {start}, {end}), 0))"


def _date(at: str) -> str:
    return f"concat(toString(toDayOfMonth({at}, {{zone:String}})), formatDateTime({at}, ' %b %Y', {{zone:String}}))"


_WHAT: Final = "if(conversion_type = 'order', 'order', 'sign-up')"
_EARLIER: Final = _span(_seconds("touched_at", "converted_at"))
_WINDOW: Final = f"if(window_ends_at IS NULL, '', concat('; a visit counts for ', {_span(_seconds('touched_at', 'window_ends_at'))}))"
_AMONG: Final = "if(candidates > 1, concat(' of ', toString(candidates), ' that counted'), '')"

CREDIT_REASON: Final = f"""multiIf(
        model = 'inherited', concat('Your customer since the sign-up of ',
            {_date("assumeNotNull(coalesce(signed_up_at, converted_at))")}, ', so this order is yours too'),
        model = 'coupon', concat('The customer used your code ', coupon_code),
        model = 'click_id', concat('The ', {_WHAT}, ' came straight from your link, clicked ', {_EARLIER}, ' earlier', {_WINDOW}),
        model = 'last_touch', concat('You sent the last visit', {_AMONG}, ', ', {_EARLIER}, ' before the ', {_WHAT}, {_WINDOW}),
        model = 'first_touch', concat('You sent the first visit', {_AMONG}, ', ', {_EARLIER}, ' before the ', {_WHAT}, {_WINDOW}),
        share_bps = 10000, concat('Every visit that counted came from you, the latest ', {_EARLIER}, ' before the ', {_WHAT},
            {_WINDOW}),
        model = 'linear', concat('You share this with others: each of ', toString(candidates), ' visits counts the same'),
        model = 'position_based', concat('You share this with others: of ', toString(candidates),
            ' visits, the first and the last count most'),
        model = 'time_decay', concat('You share this with others: of ', toString(candidates),
            ' visits, the later ones count more; yours was ', {_EARLIER}, ' before the ', {_WHAT}),
        concat('Credited by ', model))"""
"""Over ``partner_credits``."""

_YOURS: Final = "if(touched_by = 'coupon', concat('Your code ', coupon_code, ' was used'), concat('You sent a visit ', " \
    f"{_EARLIER}, ' before the ', {_WHAT}))"  # fmt: skip

MISS_WORD: Final = """multiIf(
        verdict = 'expired', 'The window had closed',
        verdict = 'partner_inactive', 'Outside the time in the program',
        verdict = 'own_account', 'An account of the partner itself',
        verdict = 'not_contending', 'Already a customer before',
        verdict = 'other_program', 'Another program of the brand came first',
        model = 'coupon', 'Another partner''s code was used',
        model = 'click_id', 'It came straight from another partner''s link',
        model = 'first_touch', 'Another partner sent the first visit',
        model = 'last_touch', 'Another partner sent the last visit',
        'Another partner came first')"""
"""Over ``partner_missed``: the reason in a few words."""

MISS_REASON: Final = f"""concat({_YOURS}, multiIf(
        verdict = 'expired' AND window_ended_at IS NOT NULL, concat(', but a visit counts for ',
            {_span(_seconds("touched_at", "window_ended_at"))}, ': the window closed ',
            {_span(_seconds("window_ended_at", "converted_at"))}, ' too soon'),
        verdict = 'expired', ', too long before to count',
        verdict = 'partner_inactive', ', outside the time that the program lists you as its partner',
        verdict = 'own_account', '. The customer is one of your own accounts, which never earns',
        verdict = 'not_contending', '. The program pays for new sign-ups, and this customer had signed up without credit to it',
        verdict = 'other_program', '. Another program of the same brand has precedence and took the credit',
        model = 'coupon', '. The customer typed in another partner''s code, which goes before visits',
        model = 'click_id', concat('. The ', {_WHAT}, ' came straight from another partner''s link'),
        model = 'first_touch', '. Another partner had sent the first visit, which takes the credit',
        model = 'last_touch', '. Another partner sent a later visit, and the last one takes the credit',
        '. Another partner''s code or visits took the credit'))"""
"""Over ``partner_missed``: the reason in a sentence."""
