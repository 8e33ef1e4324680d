"""How far bonuses, tiers and milestones are: the terms' targets beside the figures that panels found."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.domain.terms import Bonus, Milestone, PeriodKind, Terms
from pipeline.pages import panels, words
from pipeline.pages.parts import Progress
from pipeline.pages.scene import Scene
from pipeline.pages.scope import Row
from pipeline.pages.terms_words import PERIOD_ADVERB, commission_rate

_WHAT = {"qualified_referrals": ("customer", "customers"), "sign_ups": ("sign-up", "sign-ups")}


def tier_progress(scene: Scene) -> Progress | None:
    """Where the scene's partner stands among the tiers; None where there are none."""
    terms = scene.terms
    if not terms.tiers:
        return None
    count = scene.qualified_in(terms.tier_period).get(scene.partner_id, 0)
    notes = [f"Now {tier_rate(terms, count)}.", _counted(scene, terms.tier_period)]
    ahead = [tier for tier in terms.tiers if tier.from_referrals > count]
    if not ahead:
        return Progress("Highest tier", words.counted(count, "customer", "customers"), 1.0, "reached", notes)
    target = ahead[0].from_referrals
    notes.insert(1, f"From {words.plain(target)} on: {tier_rate(terms, target)}.")
    value = f"{words.plain(count)} of {words.counted(target, 'customer', 'customers')}"
    return Progress("Next tier", value, _share(count, target), "open", notes)


def tier_rate(terms: Terms, count: int) -> str:
    """What an order earns a partner with so many qualified customers in the tiers' period, in words."""
    reached = [(tier.rate_bps, tier.amount_minor) for tier in terms.tiers if tier.from_referrals <= count]
    return commission_rate(terms, *(reached[-1] if reached else (terms.rate_bps, terms.amount_minor)))


def bonus_progress(scene: Scene) -> Iterator[Progress]:
    """The places taken of each bonus in its current period.

    A ledger entry does not name its bonus, so bonuses alike in amount, period and scope are shown as one.
    """
    alike: dict[tuple[int, PeriodKind, str], list[Bonus]] = {}
    for bonus in scene.terms.bonuses:
        alike.setdefault((bonus.amount_minor, bonus.period, bonus.scope), []).append(bonus)
    for bonuses in alike.values():
        yield _bonus(scene, bonuses)


def _bonus(scene: Scene, bonuses: list[Bonus]) -> Progress:
    first, is_each = sum(bonus.first for bonus in bonuses), bonuses[0].scope == "partner"
    slots = _slots(scene, bonuses)
    own = [row for row in slots if row["partner_id"] == scene.partner_id]
    counted = own if is_each and scene.partner_id else [row for row in slots if row["partner_id"] == "*"]
    taken, left = sum(row["slots"] for row in counted), first - sum(row["slots"] for row in counted)
    title = words.named(" / ".join(bonus.id for bonus in bonuses))
    customers = words.counted(first, "customer", "customers")
    period = words.period(scene.period(bonuses[0].period))
    notes = [f"{scene.money(bonuses[0].amount_minor)} for each of the first {customers} that qualify; {period}."]
    if is_each and not scene.partner_id:
        notes.append("Each partner has as many places.")
        return Progress(title, f"{words.plain(taken)} taken", None, "open", notes)
    if scene.partner_id and not is_each:
        yours = words.counted(sum(row["slots"] for row in own), "place is", "places are")
        notes.append(f"{yours} yours: {scene.money(sum(row['slots'] * row['bonus_minor'] for row in own))}.")
    notes.append(f"{words.counted(left, 'place is', 'places are')} left." if left > 0 else "All places are taken.")
    value = f"{words.plain(taken)} of {words.plain(first)} places taken"
    return Progress(title, value, _share(taken, first), "open" if left > 0 else "reached", notes)


def _slots(scene: Scene, bonuses: list[Bonus]) -> list[Row]:
    """The rows of the bonuses' current period, whichever version of the terms paid them."""
    ids = {bonus.id for bonus in bonuses}
    paid = {
        (terms.version, bonus.amount_minor)
        for terms in scene.program.versions
        for bonus in terms.bonuses
        if bonus.id in ids
    }
    rows = scene.in_period(panels.BONUS_SLOTS, bonuses[0].period)
    return [row for row in rows if (row["terms_version"], row["bonus_minor"]) in paid]


def milestone_progress(scene: Scene) -> Iterator[Progress]:
    """The milestones that concern the scene in their current period, then those reached in earlier ones.

    Without a partner: those of the whole program and of groups.
    """
    found = {(row["milestone_id"], row["scope_key"], row["period"]): row for row in scene.rows(panels.MILESTONES)}
    for milestone in scene.terms.milestones:
        scope_key = _scope_key(milestone, scene.partner_id)
        if scope_key is not None:
            yield _milestone(
                scene, milestone, found.pop((milestone.id, scope_key, scene.period(milestone.period)), None)
            )
    metrics = {each.id: each.metric for terms in scene.program.versions for each in terms.milestones}
    for (milestone_id, scope_key, label), row in sorted(found.items(), key=lambda each: each[0][2], reverse=True):
        if row["status"] == "reached" and _concerns(scope_key, scene.partner_id):
            value = _amount(row["count"], row["threshold"], metrics.get(milestone_id, ""), scene.terms)
            notes = [
                f"Reached on {words.day(row['reached_at'], scene.zone)}.",
                f"{words.capital(words.period(label))}.",
            ]
            yield Progress(words.named(milestone_id), value, 1.0, "reached", notes)


def milestone_words(scene: Scene, milestone: Milestone, row: Row) -> str:
    """``38 of 50 customers``."""
    return _amount(row["count"], row["threshold"], milestone.metric, scene.terms)


def _milestone(scene: Scene, milestone: Milestone, row: Row | None) -> Progress:
    count, threshold = (row["count"], row["threshold"]) if row else (0, milestone.threshold)
    state = str(row["status"]) if row else "open"
    notes = []
    if row and state == "reached":
        notes.append(f"Reached on {words.day(row['reached_at'], scene.zone)}.")
    if row and state == "revoked":
        notes.append(f"Was reached, and fell below again on {words.day(row['revoked_at'], scene.zone)}.")
    notes += [*_together(scene, milestone), _counted(scene, milestone.period)]
    if milestone.award_minor and milestone.scope != "program":
        each = " for each member" if milestone.scope == "group" else ""
        notes.append(f"Award: {scene.money(milestone.award_minor)}{each}.")
    value = _amount(count, threshold, milestone.metric, scene.terms)
    return Progress(
        words.named(milestone.id), value, 1.0 if state == "reached" else _share(count, threshold), state, notes
    )


def _together(scene: Scene, milestone: Milestone) -> Iterator[str]:
    """Who else counts towards a milestone, by name."""
    if milestone.scope == "program" and scene.partner_id:
        yield "All partners together."
    if milestone.scope != "group":
        return
    others = words.listed([scene.names.get(each, each) for each in milestone.partners if each != scene.partner_id])
    yield f"Together with {others}." if scene.partner_id else f"{others} together."
    if milestone.each_at_least:
        least = _amount(milestone.each_at_least, None, milestone.metric, scene.terms)
        own = ""
        if scene.partner_id and milestone.metric == "qualified_referrals":
            own = f"; you have {words.plain(scene.qualified_in(milestone.period).get(scene.partner_id, 0))}"
        yield f"Each member brings at least {least}{own}."


def _amount(count: int, threshold: int | None, metric: str, terms: Terms) -> str:
    def shown(number: int) -> str:
        return words.money(number, terms.currency) if metric == "net_revenue_minor" else words.plain(number)

    one, many = _WHAT.get(metric, ("", ""))
    noun = one if (count if threshold is None else threshold) == 1 else many
    figures = shown(count) if threshold is None else f"{shown(count)} of {shown(threshold)}"
    return f"{figures} {noun}".strip()


def _scope_key(milestone: Milestone, partner_id: str) -> str | None:
    """The ``scope_key`` of the row that concerns the partner (without one: that of all or of a group); None: no row."""
    if milestone.scope == "program":
        return "*"
    if milestone.scope == "group":
        return "+".join(milestone.partners) if not partner_id or partner_id in milestone.partners else None
    return partner_id or None


def _concerns(scope_key: str, partner_id: str) -> bool:
    members = scope_key.split("+")
    return scope_key == "*" or (partner_id in members if partner_id else len(members) > 1)


def _counted(scene: Scene, kind: PeriodKind) -> str:
    if kind == "all_time":
        return "Counted from the start."
    return f"Counted {PERIOD_ADVERB[kind]}: {words.period(scene.period(kind))}."


def _share(count: int, target: int) -> float:
    return min(max(count / target, 0.0), 1.0)
