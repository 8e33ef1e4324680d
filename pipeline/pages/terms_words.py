"""A program's terms in plain words, for the partner that they bind (contract.md, section 3)."""

from __future__ import annotations

from typing import Final

from pipeline.domain.terms import Terms
from pipeline.pages import words

_MODELS: Final = {
    "last_touch": "the last visit before the {what} takes the credit",
    "first_touch": "the first visit that counts takes the credit",
    "linear": "all visits that count share the credit equally",
    "position_based": "the first and the last visit get 40 % of the credit each, those between share 20 %",
    "time_decay": "all visits that count share the credit; one that is {half_life} older counts half",
}
PERIOD_ADVERB: Final = {
    "day": "each day",
    "week": "each week",
    "month": "each month",
    "quarter": "each quarter",
    "year": "each year",
    "all_time": "from the start",
}


def terms_in_words(terms: Terms, partner_id: str, now_ms: int) -> list[tuple[str, str]]:
    """(heading, sentence) pairs; an empty ``partner_id`` means for everyone."""
    facts = [
        ("Who gets the credit", _credit(terms)),
        ("How long a visit counts", f"{words.span(terms.click_window_ms)}."),
        ("When a customer qualifies", _qualification(terms)),
        ("Commission", _commission(terms)),
        ("When it is payable", _hold(terms)),
    ]
    if terms.tiers:
        facts.append(("More for more", _tiers(terms)))
    facts += [("For a while", text) for text in _boosts(terms, partner_id, now_ms)]
    if terms.customer_reward_minor:
        reward = words.money(terms.customer_reward_minor, terms.currency)
        facts.append(("For the customer", f"{reward} once the customer qualifies."))
    partner = terms.partners.get(partner_id)
    if partner is not None and partner.coupon_codes:
        codes = words.listed(sorted(partner.coupon_codes))
        facts.append(("Your codes", f"{codes}. A code typed in {_coupon_rule(terms)}."))
    return facts


def commission_rate(terms: Terms, rate_bps: int, amount_minor: int) -> str:
    """``12 % of each order``, ``£3.00 for each order``."""
    which = "order" if terms.orders == "all" else "order that first qualified the customer"
    each = "each " if terms.orders == "all" else "the "
    if terms.commission_kind == "percentage":
        return f"{words.rate(rate_bps)} of {each}{which}"
    return f"{words.money(amount_minor, terms.currency)} for {each}{which}"


def _credit(terms: Terms) -> str:
    what = "sign-up" if terms.credit == "sign_up" else "order"
    model = _MODELS[terms.model].format(what=what, half_life=words.span(terms.half_life_ms))
    text = f"At the {what}, {model}."
    if terms.credit == "sign_up":
        text += (
            f" The customer's orders of the next {words.span(terms.order_window_ms)} are then credited the same way."
        )
    return text


def _qualification(terms: Terms) -> str:
    conditions = []
    if terms.new_customers_only:
        conditions.append("it has not ordered from the brand before")
    if terms.credit == "sign_up" and terms.min_click_to_sign_up_ms:
        conditions.append(
            f"it takes at least {words.span(terms.min_click_to_sign_up_ms)} from the visit to the sign-up"
        )
    also = f", if {words.listed(conditions)}" if conditions else ""
    if terms.qualification_event == "sign_up":
        return f"From the sign-up on{also}."
    least = words.money(max(terms.min_order_minor, 1), terms.currency)
    return (
        f"From its first order of at least {least}, refunds taken off{also}. If refunds undo that, it no longer does."
    )


def _commission(terms: Terms) -> str:
    text = commission_rate(terms, terms.rate_bps, terms.amount_minor)
    return f"{words.capital(text)}{', refunds taken off' if terms.commission_kind == 'percentage' else ''}."


def _hold(terms: Terms) -> str:
    return f"{words.capital(words.span(terms.hold_ms))} after it was earned." if terms.hold_ms else "At once."


def _tiers(terms: Terms) -> str:
    steps = [
        f"from {tier.from_referrals}: {commission_rate(terms, tier.rate_bps, tier.amount_minor)}"
        for tier in terms.tiers
    ]
    return f"Qualified customers are counted {PERIOD_ADVERB[terms.tier_period]}; {'; '.join(steps)}."


def _boosts(terms: Terms, partner_id: str, now_ms: int) -> list[str]:
    """Boosts that are on or still to come."""
    texts = []
    for boost in terms.boosts:
        if boost.until_ms > now_ms and (not partner_id or boost.partner_id in (None, partner_id)):
            whole, rest = divmod(boost.multiplier_bps, 10_000)
            factor = f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
            first, end = (words.day(at // 1000, terms.time_zone) for at in (boost.from_ms, boost.until_ms - 1))
            texts.append(f"{words.named(boost.id)}: commission times {factor} for orders from {first} to {end}.")
    return texts


def _coupon_rule(terms: Terms) -> str:
    if terms.coupon_precedence == "coupon_first":
        return "goes before any visit"
    return "counts where no visit does"
