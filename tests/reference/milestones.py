"""Contract section 4, Milestone: rows and awards of one program."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import Any

from .admission import Event
from .earnings import Entry, entry
from .referrals import Referral, Transition
from .terms import Milestone, Program, Version


@dataclass(frozen=True)
class Change:
    """One partner's change of one metric at one event of the timeline."""

    metric: str
    position: int
    event: Event
    partner_id: str
    amount: Fraction


@dataclass
class Standing:
    """Where one milestone stands in one scope and period; `paid` are the awards not taken back."""

    status: str = "open"
    reached_at: int | None = None
    revoked_at: int | None = None
    paid: list[Entry] = field(default_factory=list)
    row: dict[str, Any] = field(default_factory=dict)


def metric_changes(timeline: list[Event], referrals: list[Referral], moves: list[Transition]) -> list[Change]:
    """All that any milestone may sum, in event order; rejected referrals "count nowhere"."""
    # "qualified_referrals sums transitions dated in the period"
    changes = [
        Change("qualified_referrals", m.position, m.event, m.referral.partner_id, Fraction(m.step)) for m in moves
    ]
    for referral in referrals:
        if referral.rejection:
            continue
        # "sign_ups counts credited sign-ups by primary partner"
        conversion = referral.first.conversion
        if conversion["type"] == "sign_up":
            assert referral.sign_up_position is not None
            changes.append(Change("sign_ups", referral.sign_up_position, conversion, referral.partner_id, Fraction(1)))
        # "net_revenue_minor sums net amounts of credited orders times share, unrounded, each change in the period of
        # its event, whatever the referral's status unless rejected"
        for order in referral.orders:
            for position, event in enumerate(timeline):
                change = order.net_at(position) - order.net_at(position - 1)
                for partner_id, share_bps in order.decision.share_bps.items() if change else ():
                    amount = Fraction(change * share_bps, 10_000)
                    changes.append(Change("net_revenue_minor", position, event, partner_id, amount))
    return sorted(changes, key=lambda c: c.position)


def milestones(
    program: Program, timeline: list[Event], changes: list[Change]
) -> tuple[list[dict[str, Any]], list[Entry]]:
    """The rows of `milestones` and the ledger entries of awards."""
    standings: dict[tuple[str, str, str], Standing] = {}
    entries: list[Entry] = []
    for position, event in enumerate(timeline):
        # "milestones [follow] the version at the event that is counted (a milestone is evaluated at events under a
        # version that has it, and then sums its whole period)"
        terms = program.in_force(event["occurred_at"])
        for milestone in terms.milestones if terms else ():
            assert terms is not None
            here = [c for c in changes if c.metric == milestone.metric and c.position == position]
            period = program.period_of(event["occurred_at"], milestone.period)
            so_far = [
                c
                for c in (changes if here else [])
                if c.metric == milestone.metric
                and c.position <= position
                and program.period_of(c.event["occurred_at"], milestone.period) == period
            ]
            for scope_key, members in _scopes(milestone, here):
                standing = standings.setdefault((milestone.id, scope_key, period), Standing())
                count = sum((c.amount for c in so_far if members is None or c.partner_id in members), Fraction(0))
                holds = count >= milestone.threshold and all(
                    sum(c.amount for c in so_far if c.partner_id == member) >= milestone.each_at_least
                    for member in (members or ())
                )
                entries += _evaluate(program, terms, milestone, standing, holds, members, event)
                standing.row = _row(program, terms, milestone, scope_key, period, count, standing, event)
    return [s.row for s in standings.values()], entries


def _scopes(milestone: Milestone, here: list[Change]) -> list[tuple[str, tuple[str, ...] | None]]:
    """The scopes whose metric the event changes: (scope_key, members), members None for the whole program.

    "`scope_key`: the partner id, the group's ids sorted and joined by `+`, or `*`."
    """
    partners = sorted({c.partner_id for c in here}, key=str.encode)
    if milestone.scope == "partner":
        return [(partner, (partner,)) for partner in partners]
    if milestone.scope == "group":
        members = tuple(sorted(milestone.partners, key=str.encode))
        return [("+".join(members), members)] if set(members) & set(partners) else []
    return [("*", None)] if partners else []


def _evaluate(
    program: Program,
    terms: Version,
    milestone: Milestone,
    standing: Standing,
    holds: bool,
    members: tuple[str, ...] | None,
    event: Event,
) -> list[Entry]:
    """ "`reached` when at least the threshold and each member at least each_at_least; if revocable, `revoked` when that
    no longer holds, awards taken back; it can be reached again." "Awards are entries at those events."
    """
    if holds and standing.status != "reached":
        standing.status, standing.reached_at, standing.revoked_at = "reached", event["occurred_at"], None
        # "award_minor: to the partner, or to each member (not with scope "program")"; an award of 0 writes no entry.
        if milestone.award_minor:
            standing.paid = [
                entry("milestone_award", program, event, milestone.award_minor, terms, partner_id=member)
                for member in members or ()
            ]
        return list(standing.paid)
    if not holds and standing.status == "reached" and milestone.revocable:
        standing.status, standing.revoked_at = "revoked", event["occurred_at"]
        taken, standing.paid = standing.paid, []
        return [
            entry(
                "milestone_revocation",
                program,
                event,
                -e["amount_minor"],
                terms,
                partner_id=e["partner_id"],
                takes_back=e,
            )
            for e in taken
        ]
    return []


def _row(
    program: Program,
    terms: Version,
    milestone: Milestone,
    scope_key: str,
    period: str,
    count: Fraction,
    standing: Standing,
    event: Event,
) -> dict[str, Any]:
    """ "`count` is rounded towards -inf; the test is exact; `threshold` and terms_version are those of the latest
    change. reached_at is the latest reaching; revoked_at only while revoked."
    """
    return {
        "program_id": program.id,
        "milestone_id": milestone.id,
        "scope_key": scope_key,
        "period": period,
        "status": standing.status,
        "count": floor(count),
        "threshold": milestone.threshold,
        "reached_at": standing.reached_at,
        "revoked_at": standing.revoked_at,
        "terms_version": terms.version,
        "as_of": event["occurred_at"],
    }
