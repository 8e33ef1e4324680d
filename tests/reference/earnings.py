"""Contract section 4: Commission, Customer reward and Bonus of one program, as ledger entries without an id."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Required, TypedDict

from .admission import Event
from .referrals import Order, Referral, Transition
from .terms import Bonus, Program, Version

Entry = dict[str, Any]


class Names(TypedDict, total=False):
    """Whom an entry names."""

    partner_id: Required[str]
    customer_id: str
    order_id: str


ONE = Fraction(10_000)


def entry(
    kind: str,
    program: Program,
    event: Event,
    amount_minor: int,
    terms: Version,
    *,
    partner_id: str,
    customer_id: str = "",
    order_id: str = "",
    takes_back: Entry | None = None,
) -> Entry:
    """One ledger entry at `event`, naming "the version that set its amount, whose hold counts".

    "Accruals, bonuses, rewards and awards are payable at occurred_at + hold; what takes back is payable at the later of
    its own time and the payable time of what it takes back." "what takes back names the same one [version]".
    """
    occurred_at = event["occurred_at"]
    payable_at = occurred_at + terms.hold if takes_back is None else max(occurred_at, takes_back["payable_at"])
    return {
        "kind": kind,
        "program_id": program.id,
        "partner_id": partner_id,
        "customer_id": customer_id,
        "order_id": order_id,
        "amount_minor": amount_minor,
        "currency": program.currency,
        "occurred_at": occurred_at,
        "payable_at": payable_at,
        "cause_event_id": event["event_id"],
        "terms_version": terms.version if takes_back is None else takes_back["terms_version"],
        "as_of": occurred_at,
    }


def commissions(
    program: Program, timeline: list[Event], referrals: list[Referral], moves: list[Transition]
) -> list[Entry]:
    """ "Each change of what an order earns a partner, that is not 0, is a ledger entry at the event that made it:
    `accrual` where it grows, `clawback` (negative) where it shrinks."
    """
    entries = []
    for referral in referrals:
        for order in referral.orders:
            for partner_id, share_bps in sorted(order.decision.share_bps.items()):
                factor = _factor(program, order, partner_id, share_bps, moves)
                names: Names = {
                    "partner_id": partner_id,
                    "customer_id": referral.customer_id,
                    "order_id": order.event["order_id"],
                }
                accrual = None
                before = 0
                for position, event in enumerate(timeline):
                    earned = _earned(referral, order, factor, position)
                    if earned > before:
                        accrual = entry("accrual", program, event, earned - before, order.terms, **names)
                        entries.append(accrual)
                    elif earned < before:
                        entries.append(
                            entry("clawback", program, event, earned - before, order.terms, takes_back=accrual, **names)
                        )
                    before = earned
    return entries


def _factor(program: Program, order: Order, partner_id: str, share_bps: int, moves: list[Transition]) -> Fraction:
    """What multiplies the net amount (a rate), or stands alone (a flat amount): figure x boosts x share, unrounded."""
    terms, event = order.terms, order.event
    # "The rate is that of the tier with the highest `from` that is at most N, else the program's; N is that partner's
    # sum of transitions, in the tier's period that holds the order, up to and including the order's own event."
    figure = terms.figure
    for tier in sorted(terms.tiers, key=lambda t: t.from_count):
        period = program.period_of(event["occurred_at"], tier.period)
        reached = sum(
            move.step
            for move in moves
            if move.referral.partner_id == partner_id
            and move.position <= order.position
            and program.period_of(move.event["occurred_at"], tier.period) == period
        )
        if tier.from_count <= reached:
            figure = tier.figure
    # "Boosts in force for the partner at the order multiply." "Boosts follow the version at the order".
    factor = figure * share_bps / ONE
    at_order = program.in_force(event["occurred_at"])
    for boost in at_order.boosts if at_order else ():
        if boost.partner_id in (None, partner_id) and boost.from_ms <= event["occurred_at"] < boost.until_ms:
            factor *= boost.multiplier_bps / ONE
    return factor


def _earned(referral: Referral, order: Order, factor: Fraction, position: int) -> int:
    """What an order earns one partner after the event at `position`.

    "each credited partner earns `net x rate x boosts x share`, or `flat amount x boosts x share` while the net is at
    least 1." "Money rounds half to even, once, after all factors are multiplied, for each partner by itself."
    """
    first = referral.first_qualified
    # "An order earns from the referral's first qualification on ... and goes on earning if the referral is reversed."
    if first is None or position < first.position:
        return 0
    # "with orders = "first", only the one whose event first qualified the referral"
    if order.terms.orders == "first" and first.position != order.position:
        return 0
    net = order.net_at(position)
    if order.terms.kind == "percentage":
        return round(net * factor / ONE)
    return round(factor) if net >= 1 else 0


def customer_rewards(program: Program, moves: list[Transition]) -> list[Entry]:
    """ "Customer reward: an entry for the customer at each +1, taken back at each -1." """
    entries = []
    paid: dict[str, Entry] = {}
    for move in moves:
        terms = move.referral.terms
        amount = terms.customer_reward_minor
        if amount == 0:
            continue
        names: Names = {"partner_id": move.referral.partner_id, "customer_id": move.referral.customer_id}
        if move.step == +1:
            made = paid[move.referral.customer_id] = entry(
                "customer_reward", program, move.event, amount, terms, **names
            )
        else:
            taken = paid.pop(move.referral.customer_id)
            made = entry("customer_reward_clawback", program, move.event, -amount, terms, takes_back=taken, **names)
        entries.append(made)
    return entries


def bonuses(program: Program, moves: list[Transition]) -> list[Entry]:
    """ "A +1 takes a slot of its period while fewer than `first` are taken and earns the primary partner the amount; a
    -1 of a referral that holds one frees it for later +1s of that period and takes back what was paid."

    "Slots are counted by (bonus id, period, and with scope "partner" the partner)." "bonuses and milestones [follow]
    the version at the event that is counted".
    """
    entries = []
    taken: list[tuple[tuple[str, str, str], Referral, Entry]] = []
    for move in moves:
        referral = move.referral
        names: Names = {"partner_id": referral.partner_id, "customer_id": referral.customer_id}
        if move.step == -1:
            for held in [slot for slot in taken if slot[1] is referral]:
                taken.remove(held)
                paid = held[2]
                entries.append(
                    entry(
                        "bonus_clawback",
                        program,
                        move.event,
                        -paid["amount_minor"],
                        referral.terms,
                        takes_back=paid,
                        **names,
                    )
                )
            continue
        terms = program.in_force(move.event["occurred_at"])
        for bonus in terms.bonuses if terms else ():
            slot = _slot(program, bonus, move)
            if sum(1 for other, _, _ in taken if other == slot) < bonus.first:
                assert terms is not None
                made = entry("bonus", program, move.event, bonus.amount_minor, terms, **names)
                taken.append((slot, referral, made))
                entries.append(made)
    return [e for e in entries if e["amount_minor"] != 0]  # no entry has the amount 0, though its slot is taken


def _slot(program: Program, bonus: Bonus, move: Transition) -> tuple[str, str, str]:
    period = program.period_of(move.event["occurred_at"], bonus.period)
    return bonus.id, period, move.referral.partner_id if bonus.scope == "partner" else ""
