"""The reference answer: every outcome of the contract, recomputed by brute force from the whole set of events.

Nothing here is incremental, and nothing is shared with `pipeline`: where both agree row for row, two independent
readings of the contract agree.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from .admission import Event, admit, event_order
from .credit import Decision, decisions, stories
from .earnings import bonuses, commissions, customer_rewards
from .milestones import metric_changes, milestones
from .referrals import find_referral, find_transitions
from .terms import read_programs

Row = dict[str, Any]


def compute(programs: list[dict[str, Any]], events: list[Event]) -> dict[str, list[Row]]:
    """Outcomes that `events` (dicts with "type", in arrival order, `occurred_at` in ms) imply under `programs`.

    `programs` are valid program files as tomllib loads them. Rows have the columns of notes/rows.md, without entry_id;
    `explanation` is the list of touchpoints. "dead_letters" are {index, reason}; "clicks", "sign_ups", "orders" and
    "refunds" are the events that stand, refunds with "matched". Every list is sorted by what identifies its rows.
    """
    known = read_programs(programs)
    admitted = admit(events, known)
    decided = [(story, decisions(story)) for story in stories(admitted, known)]
    outcomes: dict[str, list[Row]] = {
        "attributions": [row for _, made in decided for decision in made for row in attribution_rows(decision)],
        "referrals": [],
        "ledger_entries": [],
        "milestones": [],
    }
    for program in known.values():
        # "everything from transitions on is evaluated after each event in that order"; clicks change nothing by then.
        facts = admitted.sign_ups + admitted.orders + admitted.refunds
        timeline = sorted((e for e in facts if e["brand_id"] == program.brand_id), key=event_order)
        referrals = [
            referral
            for story, made in decided
            if story.brand_id == program.brand_id
            and (referral := find_referral(program, story, made, timeline, admitted.refunds)) is not None
        ]
        moves = find_transitions(timeline, referrals)
        reached, awards = milestones(program, timeline, metric_changes(timeline, referrals, moves))
        outcomes["referrals"] += [referral.row() for referral in referrals]
        outcomes["milestones"] += reached
        outcomes["ledger_entries"] += commissions(program, timeline, referrals, moves)
        outcomes["ledger_entries"] += customer_rewards(program, moves) + bonuses(program, moves) + awards
    for name, key in IDENTITY.items():
        outcomes[name] = sorted(outcomes[name], key=itemgetter(*key))
    outcomes["dead_letters"] = [{"index": index, "reason": reason} for index, reason in admitted.dead_letters]
    for name in ("clicks", "sign_ups", "orders", "refunds"):
        outcomes[name] = getattr(admitted, name)
    return outcomes


# What identifies a row, and for the ledger the rest too, because several bonuses may share a cause.
IDENTITY = {
    "attributions": ("brand_id", "conversion_type", "customer_id", "conversion_id", "partner_id"),
    "referrals": ("program_id", "customer_id"),
    "ledger_entries": (
        "program_id",
        "occurred_at",
        "cause_event_id",
        "kind",
        "partner_id",
        "customer_id",
        "order_id",
        "amount_minor",
        "payable_at",
        "terms_version",
    ),
    "milestones": ("program_id", "milestone_id", "scope_key", "period"),
}


def attribution_rows(decision: Decision) -> list[Row]:
    """A row for each credited partner, or the one row of an uncredited conversion.

    "An uncredited conversion has one attribution row: partner_id, program_id and model empty, share_bps and
    terms_version 0. link_id and click_id are of the partner's latest credited touchpoint (of the sign-up for inherited;
    empty for coupons). order_id only for orders."
    """
    conversion = decision.conversion
    rows = []
    for partner_id, share_bps in decision.share_bps.items() or [("", 0)]:
        click = decision.latest_touchpoint(partner_id).click if partner_id else None
        rows.append(
            {
                "brand_id": conversion["brand_id"],
                "conversion_type": conversion["type"],
                "customer_id": conversion["customer_id"],
                "conversion_id": conversion["event_id"],
                "partner_id": partner_id,
                "program_id": decision.program.id if decision.program else "",
                "order_id": conversion.get("order_id", ""),
                "link_id": click.get("link_id", "") if click else "",
                "click_id": click["event_id"] if click else "",
                "share_bps": share_bps,
                "model": decision.model,
                "converted_at": conversion["occurred_at"],
                "terms_version": decision.version.version if decision.version else 0,
                "explanation": decision.explanation,
                "as_of": conversion["occurred_at"],
            }
        )
    return rows
