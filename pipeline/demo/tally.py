"""What the known stories of a season come to: a running tally, short, and separate from the pipeline's own arithmetic.

It starts where the stories end: which referral counts for whom from when, which orders earn for whom. What is left is
to walk each program's timeline once, because rates, bonuses and milestones depend on who came before whom.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from operator import itemgetter

from pipeline.demo.cast import Program, Version, as_ms, period_label
from pipeline.demo.story import Bought, Referral, When

Money = Counter[tuple[str, ...]]
"""Minor units by program, partner and ledger kind."""


@dataclass
class Standing:
    """Where a milestone stands in one scope and period; metrics are kept in basis points of a unit."""

    sums_bps: Counter[str] = field(default_factory=Counter)
    status: str = "open"
    reached_at: int | None = None
    revoked_at: int | None = None

    @property
    def count(self) -> int:
        """The metric in whole units, rounded down."""
        return self.sums_bps.total() // 10_000


MilestoneKey = tuple[str, str, str, str]
"""Program, milestone, scope key, period."""


@dataclass
class Tally:
    """One program's money and milestones."""

    program: Program
    money: Money = field(default_factory=Counter)
    milestones: dict[MilestoneKey, Standing] = field(default_factory=dict)

    def add(self, partner_id: str, kind: str, amount_minor: int) -> None:
        """One ledger entry."""
        self.money[self.program.id, partner_id, kind] += amount_minor


def tally(program: Program, referrals: list[Referral]) -> Tally:
    """Walk the program's timeline once for each of the four things that it decides."""
    counting = [referral for referral in referrals if referral.status != "rejected"]
    result = Tally(program)
    moves = sorted(
        ((when, step, referral) for referral in counting for when, step in referral.moves), key=itemgetter(0)
    )
    _commission(result, counting, moves)
    _rewards(result, moves)
    _bonuses(result, moves)
    _milestones(result, counting, moves)
    return result


Moves = list[tuple[When, int, Referral]]


def _commission(result: Tally, referrals: list[Referral], moves: Moves) -> None:
    program = result.program
    earning = [
        (bought, version, referral.moves[0][0])
        for referral in referrals
        if referral.moves
        for bought in referral.orders
        if (version := bought.version) is not None
        and (not program.first_order_only or bought.when == referral.moves[0][0])
    ]
    earning.sort(key=lambda item: item[0].when)
    so_far: Counter[tuple[str, str]] = Counter()  # by partner and period
    coming = iter([*moves, None])
    move = next(coming)
    for bought, version, first_qualified in earning:
        while move is not None and move[0] <= bought.when:
            so_far[move[2].partner_id, _tier_period(program, version, move[0][0])] += move[1]
            move = next(coming)
        for partner_id, share_bps in bought.credit.shares if bought.credit else ():
            count = so_far[partner_id, _tier_period(program, version, bought.when[0])]
            factor = _factor(program, version, bought, partner_id, count) * share_bps / 10_000
            earned_minor = 0
            for when in _moments(bought, first_qualified):
                net_minor = bought.net_minor(when)
                flat = version.table("commission")["kind"] == "flat"
                due_minor = round(factor * (min(net_minor, 1) if flat else net_minor))  # a Fraction rounds half to even
                change_minor = due_minor - earned_minor
                if change_minor:
                    result.add(partner_id, "accrual" if change_minor > 0 else "clawback", change_minor)
                earned_minor = due_minor


def _moments(bought: Bought, first_qualified: When) -> Iterator[When]:
    """When the order begins to earn, and when that changes."""
    begins = max(bought.when, first_qualified)
    yield begins
    yield from (when for when in bought.changes() if when > begins)


def _tier_period(program: Program, version: Version, at_ms: int) -> str:
    tiers = version.rows("tier")
    return period_label(at_ms, tiers[0]["period"], program.zone) if tiers else "all"


def _factor(program: Program, version: Version, bought: Bought, partner_id: str, count: int) -> Fraction:
    """Rate or flat amount of the order, boosts included: what one partner would earn alone on one unit."""
    flat = version.table("commission")["kind"] == "flat"
    figure = "amount_minor" if flat else "rate_bps"
    paid = version.table("commission")[figure]
    for tier in sorted(version.rows("tier"), key=itemgetter("from")):
        if tier["from"] <= count:
            paid = tier[figure]
    factor = Fraction(paid, 1 if flat else 10_000)
    for boost in program.in_force(bought.when[0]).rows("boost"):
        mine = boost.get("partner_id", partner_id) == partner_id
        if mine and as_ms(boost["from"]) <= bought.when[0] < as_ms(boost["until"]):
            factor *= Fraction(boost["multiplier_bps"], 10_000)
    return factor


def _rewards(result: Tally, moves: Moves) -> None:
    for _, step, referral in moves:
        amount_minor = referral.version.table("customer_reward").get("amount_minor", 0)
        if amount_minor:
            kind = "customer_reward" if step > 0 else "customer_reward_clawback"
            result.add(referral.partner_id, kind, step * amount_minor)


def _bonuses(result: Tally, moves: Moves) -> None:
    program = result.program
    taken: Counter[tuple[str, str, str]] = Counter()
    held: dict[tuple[str, str], list[tuple[tuple[str, str, str], int]]] = defaultdict(list)
    for when, step, referral in moves:
        if step < 0:
            for slot, amount_minor in held.pop((referral.customer_id, referral.partner_id), []):
                taken[slot] -= 1
                result.add(referral.partner_id, "bonus_clawback", -amount_minor)
            continue
        for bonus in program.in_force(when[0]).rows("bonus"):
            owner = referral.partner_id if bonus["scope"] == "partner" else ""
            slot = (bonus["id"], period_label(when[0], bonus["period"], program.zone), owner)
            if taken[slot] < bonus["first"]:
                taken[slot] += 1
                held[referral.customer_id, referral.partner_id].append((slot, bonus["amount_minor"]))
                result.add(referral.partner_id, "bonus", bonus["amount_minor"])


def _changes(referrals: list[Referral], moves: Moves) -> Iterator[tuple[When, str, str, int]]:
    """Each change of a metric: when, which, whose, by how many basis points of a unit."""
    for when, step, referral in moves:
        yield when, "qualified_referrals", referral.partner_id, step * 10_000
    for referral in referrals:
        if referral.signed_up is not None and referral.program.by_sign_up:
            yield referral.signed_up, "sign_ups", referral.partner_id, 10_000
        for bought in referral.orders:
            before_minor = 0
            for when in bought.changes():
                net_minor = bought.net_minor(when)
                for partner_id, share_bps in bought.credit.shares if bought.credit else ():
                    yield when, "net_revenue_minor", partner_id, (net_minor - before_minor) * share_bps
                before_minor = net_minor


def _milestones(result: Tally, referrals: list[Referral], moves: Moves) -> None:
    program = result.program
    changes = sorted((change for change in _changes(referrals, moves) if change[3]), key=itemgetter(0))
    for (at_ms, _), together in groupby(changes, key=itemgetter(0)):
        here = list(together)
        for milestone in program.in_force(at_ms).rows("milestone"):
            period = period_label(at_ms, milestone["period"], program.zone)
            touched: set[str] = set()
            for _, metric, partner_id, change_bps in here:
                scope_key = _scope_key(milestone.get("scope", "partner"), milestone.get("partners", ()), partner_id)
                if metric == milestone["metric"] and scope_key:
                    key = (program.id, milestone["id"], scope_key, period)
                    result.milestones.setdefault(key, Standing()).sums_bps[partner_id] += change_bps
                    touched.add(scope_key)
            for scope_key in sorted(touched):
                standing = result.milestones[program.id, milestone["id"], scope_key, period]
                members = scope_key.split("+") if scope_key != "*" else []
                least = milestone.get("each_at_least", 0)
                holds = standing.sums_bps.total() >= milestone["threshold"] * 10_000 and all(
                    standing.sums_bps[member] >= least * 10_000 for member in members
                )
                award_minor = milestone.get("award_minor", 0)
                if holds and standing.status != "reached":
                    standing.status, standing.reached_at, standing.revoked_at = "reached", at_ms, None
                    _award(result, members, "milestone_award", award_minor)
                elif not holds and standing.status == "reached" and milestone.get("revocable", True):
                    standing.status, standing.revoked_at = "revoked", at_ms
                    _award(result, members, "milestone_revocation", -award_minor)


def _award(result: Tally, members: list[str], kind: str, amount_minor: int) -> None:
    for member in members if amount_minor else []:
        result.add(member, kind, amount_minor)


def _scope_key(scope: str, members: list[str], partner_id: str) -> str:
    """The scope that a partner's change counts in; empty if it counts in none."""
    if scope == "group":
        return "+".join(sorted(members)) if partner_id in members else ""
    return partner_id if scope == "partner" else "*"
