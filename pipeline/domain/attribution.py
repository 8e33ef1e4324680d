"""Who earned a conversion, and why nobody else did (contract.md, section 4: candidates, priority, credit).

:func:`attribute` judges one conversion; :func:`conversions_of` walks a customer's conversions in event order. Both are pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pipeline.domain.shares import WHOLE_BPS, split
from pipeline.domain.story import Click, Order, Position, SignUp, Story
from pipeline.domain.terms import Partner, Program, Terms

ConversionType = Literal["sign_up", "order"]
Verdict = Literal[
    "credited", "outranked", "expired", "partner_inactive", "own_account", "other_program", "not_contending", "candidate"
]

SIGN_UP_RANK = 1
ORDER_RANK = 2
REFUND_RANK = 3

EXPLAINED_CLICKS = 100
EXPLAINED_BEFORE_WINDOW_MS = 7 * 86_400_000


class Touchpoint(NamedTuple):
    """A click or coupon that was considered for a conversion, with what became of it."""

    kind: Literal["click", "coupon"]
    at: int
    click_id: str
    code: str
    link_id: str
    program_id: str
    partner_id: str
    terms_version: int  # of its program at the conversion; 0 where none was in force
    window_ends_at: int | None  # the first millisecond at which a click no longer earns
    verdict: Verdict
    share_bps: int = 0


class PartnerShare(NamedTuple):
    """What one partner earned of a conversion: its shares added up, and its latest credited touchpoint's ids."""

    partner_id: str
    share_bps: int
    link_id: str
    click_id: str


@dataclass(frozen=True, slots=True)
class Credit:
    """Credit of one conversion within the program that won it."""

    program_id: str
    terms: Terms
    model: str
    shares: tuple[PartnerShare, ...]  # ascending partner id; they sum to 10 000
    primary_partner_id: str
    first_touch_at: int  # of the earliest credited touchpoint
    last_click_at: int | None  # of the last credited click; None where only a coupon was credited


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion, its credit (None: nobody's) and the touchpoints considered, latest first."""

    type: ConversionType
    position: Position
    order: Order | None
    credit: Credit | None
    touchpoints: tuple[Touchpoint, ...]
    touchpoints_omitted: int = 0
    inherited_from: str = ""  # event_id of the sign-up whose credit an order inherits


def conversions_of(story: Story, programs: Sequence[Program]) -> list[Conversion]:
    """Every conversion of the customer in event order, judged; ``programs`` are the brand's, by ascending id."""
    conversions: list[Conversion] = []
    sign_up = story.sign_up
    of_sign_up: Conversion | None = None
    if sign_up is not None and any(program.credit == "sign_up" for program in programs):
        of_sign_up = attribute(story, programs, sign_up)
        conversions.append(of_sign_up)
    for order in story.accepted_orders:
        conversions.append(attribute(story, programs, order, of_sign_up))
    conversions.sort(key=lambda conversion: conversion.position)
    return conversions


def attribute(
    story: Story, programs: Sequence[Program], event: SignUp | Order, of_sign_up: Conversion | None = None
) -> Conversion:
    """Judge one conversion. For an order, ``of_sign_up`` is the customer's sign-up's conversion, if that is one."""
    is_order = isinstance(event, Order)
    at = event.at
    kind: ConversionType = "order" if is_order else "sign_up"
    order = event if isinstance(event, Order) else None
    position = Position(at, event.event_id, ORDER_RANK if is_order else SIGN_UP_RANK, story.customer_id)
    in_force = {program.id: terms for program in programs if (terms := program.in_force_at(at)) is not None}
    contending = {program.id for program in programs if program.credit == kind and program.id in in_force}

    clicks = story.touchpoints_at(at)
    longest_window = max((terms.click_window_ms for terms in in_force.values()), default=0)
    horizon = at - longest_window - EXPLAINED_BEFORE_WINDOW_MS
    considered = [_judge_click(click, at, story, in_force) for click in clicks if click.at >= horizon]
    coupons = _judge_coupon(event.coupon_code, at, story, in_force) if event.coupon_code else []

    candidates_in = {each.program_id for each in (*considered, *coupons) if each.verdict == "candidate"} & contending
    contenders = [(-in_force[program_id].priority, program_id) for program_id in candidates_in]
    inherited = _inherited(of_sign_up, at) if is_order and of_sign_up is not None else None
    if inherited is not None:
        contenders.append((-inherited.terms.priority, inherited.program_id))
    winner = min(contenders)[1] if contenders else ""

    if inherited is not None and winner == inherited.program_id and of_sign_up is not None:
        return Conversion(
            kind, position, order, inherited, of_sign_up.touchpoints, of_sign_up.touchpoints_omitted,
            of_sign_up.position.event_id,
        )  # fmt: skip

    credit = None
    if winner:
        credit, considered, coupons = _credit(in_force[winner], event.click_id, considered, coupons)
    rest: Verdict = "other_program" if winner else "not_contending"
    clicks_shown = considered[-EXPLAINED_CLICKS:]
    shown = [*coupons, *reversed(clicks_shown)]
    touchpoints = tuple(each._replace(verdict=rest) if each.verdict == "candidate" else each for each in shown)
    return Conversion(kind, position, order, credit, touchpoints, len(considered) - len(clicks_shown))


def _inherited(of_sign_up: Conversion, at_ms: int) -> Credit | None:
    """The sign-up's credit if an order at ``at_ms`` lies in its order window, as model ``inherited``."""
    credit = of_sign_up.credit
    signed_up_at = of_sign_up.position.at
    if credit is None or not signed_up_at <= at_ms < signed_up_at + credit.terms.order_window_ms:
        return None
    return Credit(
        credit.program_id, credit.terms, "inherited", credit.shares, credit.primary_partner_id,
        credit.first_touch_at, credit.last_click_at,
    )  # fmt: skip


def _judge_click(click: Click, at_ms: int, story: Story, in_force: dict[str, Terms]) -> Touchpoint:
    """A click's own verdict, before programs and models compete: the first that applies, else "candidate"."""
    terms = in_force.get(click.program_id)
    if terms is None:
        return Touchpoint(
            "click", click.at, click.event_id, "", click.link_id, click.program_id, click.partner_id, 0, None,
            "partner_inactive",
        )  # fmt: skip
    window_ends_at = click.at + terms.click_window_ms
    partner = terms.partners.get(click.partner_id)
    verdict: Verdict = "candidate"
    if at_ms >= window_ends_at:
        verdict = "expired"
    elif partner is None or not partner.is_active_at(click.at):
        verdict = "partner_inactive"
    elif _is_own_account(partner, story, at_ms):
        verdict = "own_account"
    return Touchpoint(
        "click", click.at, click.event_id, "", click.link_id, click.program_id, click.partner_id, terms.version,
        window_ends_at, verdict,
    )  # fmt: skip


def _judge_coupon(code: str, at_ms: int, story: Story, in_force: dict[str, Terms]) -> list[Touchpoint]:
    """The coupon as a touchpoint of each program in which somebody owns it, by ascending program id."""
    touchpoints = []
    for program_id, terms in in_force.items():
        owner = terms.coupon_owner.get(code)
        if owner is None:
            continue
        partner = terms.partners[owner]
        verdict: Verdict = "candidate"
        if not partner.is_active_at(at_ms):
            verdict = "partner_inactive"
        elif _is_own_account(partner, story, at_ms):
            verdict = "own_account"
        touchpoints.append(
            Touchpoint("coupon", at_ms, "", code, "", program_id, owner, terms.version, None, verdict)
        )  # fmt: skip
    return touchpoints


def _is_own_account(partner: Partner, story: Story, at_ms: int) -> bool:
    if story.customer_id in partner.customer_ids:
        return True
    sign_up = story.sign_up
    return sign_up is not None and sign_up.at <= at_ms and sign_up.email_sha256 in partner.email_sha256


def _credit(
    terms: Terms, click_id: str, considered: list[Touchpoint], coupons: list[Touchpoint]
) -> tuple[Credit, list[Touchpoint], list[Touchpoint]]:
    """Split the credit within the winning program; returns it with the touchpoints' final verdicts."""
    program_id = terms.program_id
    clicks = [index for index, each in enumerate(considered) if _stands(each, program_id)]
    coupon = next((index for index, each in enumerate(coupons) if _stands(each, program_id)), None)
    share_of_click: dict[int, int] = {}
    share_of_coupon = 0
    if coupon is not None and (terms.coupon_precedence == "coupon_first" or not clicks):
        model = "coupon"
        share_of_coupon = WHOLE_BPS
    elif click_id and (named := [index for index in clicks if considered[index].click_id == click_id]):
        model = "click_id"
        share_of_click[named[-1]] = WHOLE_BPS
    else:
        model = terms.model
        shares = split(terms.model, [considered[index].at for index in clicks], terms.half_life_ms)
        share_of_click = {index: share for index, share in zip(clicks, shares, strict=True) if share}

    considered = list(considered)
    coupons = list(coupons)
    for index in clicks:
        considered[index] = _decided(considered[index], share_of_click.get(index, 0))
    if coupon is not None:
        coupons[coupon] = _decided(coupons[coupon], share_of_coupon)
    credited = [considered[index] for index in sorted(share_of_click)]
    if share_of_coupon and coupon is not None:
        credited.append(coupons[coupon])
    shares_of, primary = _by_partner(credited)
    credit = Credit(
        program_id, terms, model, shares_of, primary,
        first_touch_at=credited[0].at,
        last_click_at=next((each.at for each in reversed(credited) if each.kind == "click"), None),
    )  # fmt: skip
    return credit, considered, coupons


def _stands(touchpoint: Touchpoint, program_id: str) -> bool:
    return touchpoint.verdict == "candidate" and touchpoint.program_id == program_id


def _decided(touchpoint: Touchpoint, share_bps: int) -> Touchpoint:
    return touchpoint._replace(verdict="credited" if share_bps else "outranked", share_bps=share_bps)


def _by_partner(credited: Sequence[Touchpoint]) -> tuple[tuple[PartnerShare, ...], str]:
    """A partner's shares added up, ascending partner id, and the primary: the largest, ties to the latest touchpoint."""
    total: dict[str, int] = {}
    latest: dict[str, tuple[int, Touchpoint]] = {}
    for rank, touchpoint in enumerate(credited):
        total[touchpoint.partner_id] = total.get(touchpoint.partner_id, 0) + touchpoint.share_bps
        latest[touchpoint.partner_id] = (rank, touchpoint)
    primary = max(total, key=lambda partner_id: (total[partner_id], latest[partner_id][0]))
    shares = tuple(
        PartnerShare(partner_id, total[partner_id], latest[partner_id][1].link_id, latest[partner_id][1].click_id)
        for partner_id in sorted(total)
    )
    return shares, primary
