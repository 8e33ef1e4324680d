"""Who earned a conversion, and why nobody else did (contract.md, section 4: candidates, priority, credit).

:func:`attribute` judges one conversion; :func:`conversions_of` walks a customer's conversions in event order. Both
are pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from pipeline.domain.shares import WHOLE_BPS, split
from pipeline.domain.story import Click, Order, Position, SignUp, Story
from pipeline.domain.terms import BrandTerms, Catalogue, Partner, Terms

ConversionType = Literal["sign_up", "order"]

CREDITED = "credited"
OUTRANKED = "outranked"
EXPIRED = "expired"
PARTNER_INACTIVE = "partner_inactive"
OWN_ACCOUNT = "own_account"
OTHER_PROGRAM = "other_program"
NOT_CONTENDING = "not_contending"  # ours: nobody won, and the touchpoint's program does not credit such a conversion
AFTER_CONVERSION = "after_conversion"  # only `crosscredit explain` lists such clicks
_CANDIDATE = "candidate"  # not judged to the end yet

SIGN_UP_RANK = 1
ORDER_RANK = 2
REFUND_RANK = 3

EXPLAINED_CLICKS = 100
EXPLAINED_BEFORE_WINDOW_MS = 7 * 86_400_000


class Touchpoint(msgspec.Struct, frozen=True):
    """A click or coupon that was considered for a conversion, with what became of it, as explanations show it."""

    kind: str  # "click" | "coupon"
    click_id: str
    code: str
    at: int
    partner_id: str
    program_id: str
    verdict: str
    share_bps: int
    window_ends_at: int | None  # the first millisecond at which a click no longer earns
    terms_version: int  # of its program at the conversion; 0 where none was in force


class PartnerShare(NamedTuple):
    """What one partner earned of a conversion: its shares added up, and its latest credited touchpoint's ids."""

    partner_id: str
    share_bps: int
    link_id: str
    click_id: str


class Credit(msgspec.Struct, frozen=True):
    """Credit of one conversion within the program that won it."""

    program_id: str
    terms: Terms
    model: str
    shares: tuple[PartnerShare, ...]  # ascending partner id; they sum to 10 000
    primary_partner_id: str
    first_touch_at: int  # of the earliest credited touchpoint
    last_click_at: int | None  # of the last credited click; None where only a coupon was credited


class Conversion(msgspec.Struct, frozen=True):
    """One conversion, its credit (None: nobody's) and the touchpoints considered, latest first."""

    type: ConversionType
    position: Position
    order: Order | None
    credit: Credit | None
    touchpoints: Sequence[Touchpoint]
    touchpoints_omitted: int = 0
    inherited_from: str = ""  # event_id of the sign-up whose credit an order inherits


def conversions_of(story: Story, catalogue: Catalogue) -> list[Conversion]:
    """Every conversion of the customer in event order, judged."""
    conversions: list[Conversion] = []
    sign_up = story.sign_up
    of_sign_up: Conversion | None = None
    programs = catalogue.by_brand.get(story.brand_id, ())
    if sign_up is not None and any(program.credit == "sign_up" for program in programs):
        of_sign_up = attribute(story, catalogue.brand_at(story.brand_id, sign_up.at), sign_up)
        conversions.append(of_sign_up)
    conversions += [
        attribute(story, catalogue.brand_at(story.brand_id, order.at), order, of_sign_up)
        for order in story.accepted_orders
    ]
    if len(conversions) > 1:
        conversions.sort(key=lambda conversion: conversion.position)
    return conversions


def attribute(
    story: Story, brand: BrandTerms, event: SignUp | Order, of_sign_up: Conversion | None = None
) -> Conversion:
    """Judge one conversion under the terms in force at it.

    For an order, ``of_sign_up`` is the customer's sign-up's conversion, if that is one.
    """
    at = event.at
    order = event if isinstance(event, Order) else None
    kind: ConversionType = "sign_up" if order is None else "order"
    position = Position(at, event.event_id, SIGN_UP_RANK if order is None else ORDER_RANK, story.customer_id)
    if not story.clicks and not event.coupon_code and (of_sign_up is None or of_sign_up.credit is None):
        return Conversion(kind, position, order, None, ())
    in_force, contending = brand.in_force, brand.contending[kind]
    inherited = _inherited(of_sign_up, order, position) if of_sign_up is not None else None
    claim = _claim(inherited.credit.terms) if inherited is not None and inherited.credit is not None else None
    if inherited is not None and claim is not None and all(claim < _claim(in_force[each]) for each in contending):
        return inherited  # whatever the touchpoints come to, nobody outbids it

    horizon = at - brand.longest_click_window_ms - EXPLAINED_BEFORE_WINDOW_MS
    clicks = story.touchpoints_at(at)
    if clicks and clicks[0].at < horizon:
        clicks = [click for click in clicks if click.at >= horizon]
    verdicts = [_judge_click(click, at, story, in_force.get(click.program_id)) for click in clicks]
    coupons = _coupons(event.coupon_code, at, story, brand) if event.coupon_code else []

    contenders = {click.program_id for click, verdict in zip(clicks, verdicts, strict=True) if verdict is _CANDIDATE}
    contenders.update(terms.program_id for terms, _, verdict in coupons if verdict is _CANDIDATE)
    best = min((_claim(in_force[each]) for each in contenders & contending), default=None)
    if inherited is not None and claim is not None and (best is None or claim < best):
        return inherited

    winner = best[1] if best is not None else ""
    credit = None
    shares = [0] * len(clicks)
    coupon_takes = False
    if winner:
        credit, shares, coupon_takes = _credit(in_force[winner], event, clicks, verdicts, coupons)
    shown = [
        Touchpoint(
            "coupon", "", event.coupon_code, at, owner, terms.program_id,
            _final(verdict, terms.program_id == winner, winner, WHOLE_BPS if coupon_takes else 0),
            WHOLE_BPS if coupon_takes and terms.program_id == winner else 0, None, terms.version,
        )
        for terms, owner, verdict in coupons
    ]  # fmt: skip
    first = max(len(clicks) - EXPLAINED_CLICKS, 0)
    for index in range(len(clicks) - 1, first - 1, -1):
        click = clicks[index]
        click_terms = in_force.get(click.program_id)
        shown.append(
            Touchpoint(
                "click", click.event_id, "", click.at, click.partner_id, click.program_id,
                _final(verdicts[index], click.program_id == winner, winner, shares[index]), shares[index],
                click.at + click_terms.click_window_ms if click_terms is not None else None,
                click_terms.version if click_terms is not None else 0,
            )
        )  # fmt: skip
    return Conversion(kind, position, order, credit, shown, first)


def _final(verdict: str, of_winner: bool, winner: str, share_bps: int) -> str:
    if verdict is not _CANDIDATE:
        return verdict
    if of_winner:
        return CREDITED if share_bps else OUTRANKED
    return OTHER_PROGRAM if winner else NOT_CONTENDING


def _claim(terms: Terms) -> tuple[int, str]:
    """What contending programs are compared by; the smallest takes the conversion."""
    return -terms.priority, terms.program_id


def _inherited(of_sign_up: Conversion, order: Order | None, position: Position) -> Conversion | None:
    """The order with its sign-up's credit, as model ``inherited``, if it lies in the order window."""
    credit = of_sign_up.credit
    signed_up_at = of_sign_up.position.at
    if credit is None or not signed_up_at <= position.at < signed_up_at + credit.terms.order_window_ms:
        return None
    passed_on = Credit(
        credit.program_id, credit.terms, "inherited", credit.shares, credit.primary_partner_id,
        credit.first_touch_at, credit.last_click_at,
    )  # fmt: skip
    return Conversion(
        "order", position, order, passed_on, of_sign_up.touchpoints, of_sign_up.touchpoints_omitted,
        of_sign_up.position.event_id,
    )  # fmt: skip


def _judge_click(click: Click, at_ms: int, story: Story, terms: Terms | None) -> str:
    """A click's own verdict, before programs and models compete: the first that applies, else a candidate."""
    if terms is None:
        return PARTNER_INACTIVE
    if at_ms >= click.at + terms.click_window_ms:
        return EXPIRED
    partner = terms.partners.get(click.partner_id)
    if partner is None or not partner.is_active_at(click.at):
        return PARTNER_INACTIVE
    if (partner.customer_ids or partner.email_sha256) and _is_own_account(partner, story, at_ms):
        return OWN_ACCOUNT
    return _CANDIDATE


def _coupons(code: str, at_ms: int, story: Story, brand: BrandTerms) -> list[tuple[Terms, str, str]]:
    """The coupon as a touchpoint of each program in which somebody owns it: its terms, the owner, its own verdict."""
    found = []
    for terms in brand.in_force.values():
        owner = terms.coupon_owner.get(code)
        if owner is None:
            continue
        partner = terms.partners[owner]
        verdict = _CANDIDATE
        if not partner.is_active_at(at_ms):
            verdict = PARTNER_INACTIVE
        elif _is_own_account(partner, story, at_ms):
            verdict = OWN_ACCOUNT
        found.append((terms, owner, verdict))
    return found


def _is_own_account(partner: Partner, story: Story, at_ms: int) -> bool:
    if story.customer_id in partner.customer_ids:
        return True
    sign_up = story.sign_up
    return (
        bool(partner.email_sha256)
        and sign_up is not None
        and sign_up.at <= at_ms
        and sign_up.email_sha256 in partner.email_sha256
    )


def _credit(
    terms: Terms, event: SignUp | Order, clicks: Sequence[Click], verdicts: Sequence[str],
    coupons: Sequence[tuple[Terms, str, str]],
) -> tuple[Credit, list[int], bool]:  # fmt: skip
    """Split the credit within the winning program: the credit, each click's share, and whether the coupon takes all."""
    program_id = terms.program_id
    candidates = [
        index for index, click in enumerate(clicks)
        if verdicts[index] is _CANDIDATE and click.program_id == program_id
    ]  # fmt: skip
    coupon_owner = next(
        (owner for coupon_terms, owner, verdict in coupons if coupon_terms is terms and verdict is _CANDIDATE), ""
    )  # fmt: skip
    shares = [0] * len(clicks)
    if coupon_owner and (terms.coupon_precedence == "coupon_first" or not candidates):
        share = PartnerShare(coupon_owner, WHOLE_BPS, "", "")
        return Credit(program_id, terms, "coupon", (share,), coupon_owner, event.at, None), shares, True

    named = next((index for index in reversed(candidates) if clicks[index].event_id == event.click_id), None)
    model: str = terms.model
    if named is not None:
        model = "click_id"
        shares[named] = WHOLE_BPS
    else:
        times = [clicks[index].at for index in candidates]
        for index, share_bps in zip(candidates, split(terms.model, times, terms.half_life_ms), strict=True):
            shares[index] = share_bps
    credited = [index for index in candidates if shares[index]]
    last = clicks[credited[-1]]
    if len(credited) == 1:
        partner_shares: tuple[PartnerShare, ...] = (
            PartnerShare(last.partner_id, WHOLE_BPS, last.link_id, last.event_id),
        )
        primary = last.partner_id
    else:
        partner_shares, primary = _by_partner([(clicks[index], shares[index]) for index in credited])
    return Credit(program_id, terms, model, partner_shares, primary, clicks[credited[0]].at, last.at), shares, False


def _by_partner(credited: Sequence[tuple[Click, int]]) -> tuple[tuple[PartnerShare, ...], str]:
    """A partner's shares added up, ascending partner id, and the primary: the largest, ties to the latest one."""
    total: dict[str, int] = {}
    latest: dict[str, int] = {}
    for rank, (click, share_bps) in enumerate(credited):
        total[click.partner_id] = total.get(click.partner_id, 0) + share_bps
        latest[click.partner_id] = rank
    primary = max(total, key=lambda partner_id: (total[partner_id], latest[partner_id]))
    shares = tuple(
        PartnerShare(partner_id, total[partner_id], credited[rank][0].link_id, credited[rank][0].event_id)
        for partner_id, rank in sorted(latest.items())
    )
    return shares, primary
