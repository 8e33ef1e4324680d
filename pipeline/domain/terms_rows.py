"""The tables of a terms file that occur many times: partners, tiers, bonuses, milestones and boosts.

A part of :mod:`pipeline.domain.terms_rules`; each function takes the tables of one kind and notes what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeVar, get_args

from pipeline.domain.terms import Bonus, Boost, Metric, Milestone, Partner, PeriodKind, Terms, Tier
from pipeline.domain.terms_reader import Table, nearest, show

PERIODS: Final[tuple[PeriodKind, ...]] = get_args(PeriodKind)
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
BONUS_SCOPES: Final[tuple[Literal["program", "partner"], ...]] = ("program", "partner")
MILESTONE_SCOPES: Final[tuple[Literal["partner", "group", "program"], ...]] = ("partner", "group", "program")

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FIGURES: Final = {"percentage": "rate_bps", "flat": "amount_minor"}
_FIGURE_EXAMPLES: Final = {"rate_bps": 1000, "amount_minor": 500}

Identity = TypeVar("Identity", str, int)


def read_tiers(rows: list[Table], kind: Literal["percentage", "flat"] | None) -> tuple[PeriodKind, tuple[Tier, ...]]:
    """The period of all tiers, and the tiers by ascending ``from``. ``kind`` is None if it cannot be read."""
    period: PeriodKind = Terms.tier_period
    first: Table | None = None
    tiers = []
    for row in rows:
        row_period = row.word("period", PERIODS)
        if row.sound("period"):
            if first is None:
                first, period = row, row_period
            elif row_period != period:
                what = f'is "{row_period}", but {first.title} has "{period}"; all tiers count over one period'
                row.problem("period", what, f'Write period = "{period}".')
        from_referrals = row.integer("from", 10)
        rate_bps, amount_minor = (0, 0) if kind is None else figure(row, kind, f'[commission] kind is "{kind}"')
        tiers.append(Tier(from_referrals, rate_bps, amount_minor))
    _check_distinct([(row, "from", tier.from_referrals) for row, tier in zip(rows, tiers, strict=True)])
    return period, tuple(sorted(tiers, key=lambda tier: tier.from_referrals))


def read_bonuses(rows: list[Table]) -> tuple[Bonus, ...]:
    """The bonuses, in the file's order."""
    bonuses = tuple(
        Bonus(
            id=row.text("id"),
            first=row.integer("first", 50, at_least=1),
            period=row.word("period", PERIODS),
            scope=row.word("scope", BONUS_SCOPES),
            amount_minor=row.integer("amount_minor", 2500),
        )
        for row in rows
    )
    _check_distinct([(row, "id", bonus.id) for row, bonus in zip(rows, bonuses, strict=True)])
    return bonuses


def read_milestones(rows: list[Table], partners: Mapping[str, Partner], by_sign_up: bool) -> tuple[Milestone, ...]:
    """The milestones, in the file's order."""
    milestones = tuple(_milestone(row, partners, by_sign_up) for row in rows)
    _check_distinct([(row, "id", milestone.id) for row, milestone in zip(rows, milestones, strict=True)])
    return milestones


def _milestone(row: Table, partners: Mapping[str, Partner], by_sign_up: bool) -> Milestone:
    milestone = Milestone(
        id=row.text("id"),
        metric=row.word("metric", METRICS),
        threshold=row.integer("threshold", 100, at_least=1),
        period=row.word("period", PERIODS),
        scope=row.word("scope", MILESTONE_SCOPES, "partner"),
        partners=tuple(sorted(row.texts("partners", distinct=True))),
        each_at_least=row.integer("each_at_least", 10, 0),
        award_minor=row.integer("award_minor", 50000, 0),
        revocable=row.flag("revocable", True),
    )
    if milestone.metric == "sign_ups" and row.sound("metric") and not by_sign_up:
        what = 'is "sign_ups", but [attribution] credit is "order", which credits no sign-ups'
        row.problem("metric", what, 'Write metric = "qualified_referrals", or credit = "sign_up" in [attribution].')
    if not row.sound("scope"):
        return milestone
    if milestone.scope == "group":
        if not milestone.partners and row.sound("partners"):
            what = 'is "group", but no partners are named'
            row.problem("scope", what, 'Add partners = ["...", "..."], or write scope = "partner".')
        _check_members(row, partners)
    else:
        for key in ("partners", "each_at_least"):
            if row.has(key) and row.sound(key):
                what = f'is only for scope = "group", but scope is "{milestone.scope}"'
                row.problem(key, what, f'Remove {key}, or write scope = "group".')
    if milestone.scope == "program" and row.has("award_minor"):
        what = 'does not go with scope = "program", which has no partner to award it to'
        row.problem("award_minor", what, 'Remove award_minor, or write scope = "partner" or "group".')
    return milestone


def _check_members(row: Table, partners: Mapping[str, Partner]) -> None:
    listed = row.content.get("partners")
    for number, member in enumerate(listed if isinstance(listed, list) else [], 1):
        if isinstance(member, str) and member and member not in partners:
            _unknown_partner(row, f"partners[{number}]", member, partners)


def read_boosts(rows: list[Table], partners: Mapping[str, Partner]) -> tuple[Boost, ...]:
    """The boosts, in the file's order."""
    boosts = []
    for row in rows:
        partner_id = row.text("partner_id") if row.has("partner_id") else None
        if partner_id is not None and row.sound("partner_id") and partner_id not in partners:
            _unknown_partner(row, "partner_id", partner_id, partners)
        from_ms, until_ms = row.time_ms("from", required=True) or 0, row.time_ms("until", required=True) or 0
        _check_order(row, "from", from_ms, "until", until_ms)
        multiplier_bps = row.integer("multiplier_bps", 20_000)
        boosts.append(Boost(row.text("id"), partner_id, from_ms, until_ms, multiplier_bps))
    _check_distinct([(row, "id", boost.id) for row, boost in zip(rows, boosts, strict=True)])
    return tuple(boosts)


def _unknown_partner(row: Table, key: str, partner_id: str, partners: Mapping[str, Partner]) -> None:
    guess = nearest(partner_id, partners)
    remedy = f"Did you mean {show(guess)}?" if guess else f"Add a [[partner]] with id = {show(partner_id)}."
    row.problem(key, f"is {show(partner_id)}, but no [[partner]] has that id", remedy)


def read_partners(rows: list[Table]) -> dict[str, Partner]:
    """The partners by id, in the file's order."""
    partners = [_partner(row) for row in rows]
    _check_distinct([(row, "id", partner.id) for row, partner in zip(rows, partners, strict=True)])
    owners: dict[str, tuple[int, Partner]] = {}
    for index, (row, partner) in enumerate(zip(rows, partners, strict=True)):
        for code in partner.coupon_codes:
            owner_index, owner = owners.setdefault(code, (index, partner))
            if owner_index != index:
                key = _item_key(row, "coupon_codes", code)
                what = f"is {show(code)}, which {rows[owner_index].title} ({show(owner.id)}) owns already"
                row.problem(key, what, "Leave the code with one of the two partners.")
    return {partner.id: partner for partner in partners}


def _partner(row: Table) -> Partner:
    partner_id = row.text("id")
    for character in "+*":
        if character in partner_id:
            what = f'is {show(partner_id)}, but a partner id must not have "+" or "*"'
            row.problem("id", what, 'Write "-" or "_" instead.')
            break
    joined_at_ms = row.time_ms("joined_at", required=False)
    left_at_ms = row.time_ms("left_at", required=False)
    _check_order(row, "joined_at", joined_at_ms, "left_at", left_at_ms)
    hashes = row.texts("email_sha256")
    for text in hashes:
        if not _SHA256.fullmatch(text):
            lower = text.strip().lower()
            remedy = "Write the SHA-256 of the address, 64 digits from 0 to 9 and a to f, not the address itself."
            if _SHA256.fullmatch(lower):
                remedy = f'Write "{lower}".'
            what = f"is {show(text)}, but must be 64 lower-case hexadecimal digits"
            row.problem(_item_key(row, "email_sha256", text), what, remedy)
    return Partner(
        id=partner_id,
        name=row.text("name"),
        segment=row.text("segment", "", may_be_empty=True),
        joined_at_ms=joined_at_ms,
        left_at_ms=left_at_ms,
        coupon_codes=row.texts("coupon_codes"),
        customer_ids=frozenset(row.texts("customer_ids")),
        email_sha256=frozenset(hashes),
    )


def figure(table: Table, kind: Literal["percentage", "flat"], reason: str) -> tuple[int, int]:
    """rate_bps and amount_minor, of which the table must have the one that fits the kind, and not the other."""
    fit, unfit = _FIGURES[kind], _FIGURES["flat" if kind == "percentage" else "percentage"]
    if table.has(unfit):
        example = f"write {fit} = {_FIGURE_EXAMPLES[fit]}, for example, instead"
        remedy = f"Remove {unfit}." if table.has(fit) else f"Remove {unfit}, and {example}."
        table.problem(unfit, f"does not fit: {reason}", remedy)
        if not table.has(fit):
            return 0, 0
    figure = table.integer(fit, _FIGURE_EXAMPLES[fit])
    return (figure, 0) if kind == "percentage" else (0, figure)


def _check_distinct(rows: list[tuple[Table, str, Identity]]) -> None:
    first_of: dict[Identity, Table] = {}
    for row, key, identity in rows:
        if not row.sound(key):
            continue
        first = first_of.setdefault(identity, row)
        if first is not row:
            remedy = f"Give each another {key}, or remove one."
            row.problem(key, f"is {show(identity)}, like that of {first.title}", remedy)


def _check_order(row: Table, start_key: str, start_ms: int | None, end_key: str, end_ms: int | None) -> None:
    if start_ms is None or end_ms is None or not row.sound(start_key, end_key):
        return
    if start_ms >= end_ms:
        what = f"is {show(row.content[end_key])}, but must be later than {start_key}, {show(row.content[start_key])}"
        row.problem(end_key, what, f"Correct {end_key} or {start_key}.")


def _item_key(row: Table, key: str, item: str) -> str:
    """The place of an item in a list that is known to hold it."""
    listed = row.content[key]
    return f"{key}[{listed.index(item) + 1}]" if isinstance(listed, list) else key
