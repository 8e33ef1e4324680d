"""How far bonuses, tiers and milestones are: the terms' targets beside the figures that panels found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.domain.calendar import period_bounds, period_label
from pipeline.domain.terms import Milestone, PeriodKind, Program, Terms
from pipeline.pages import words
from pipeline.pages.parts import Progress
from pipeline.pages.scope import Row
from pipeline.pages.terms_words import PERIOD_ADVERB, commission_rate

_WHAT = {"qualified_referrals": ("customer", "customers"), "sign_ups": ("sign-up", "sign-ups")}


def in_period(rows: Sequence[Row], kind: PeriodKind, zone: str, now_ms: int) -> list[Row]:
    """The rows whose ``time`` (epoch seconds of a day's start) lies in the current period."""
    start_ms, end_ms = period_bounds(period_label(now_ms, kind, zone), kind, zone)
    return [row for row in rows if start_ms <= row["time"] * 1000 < end_ms]


def tier_progress(terms: Terms, partner_id: str, qualified: Sequence[Row], now_ms: int) -> Progress | None:
    """Where a partner stands among the tiers; None where there are none."""
    if not terms.tiers:
        return None
    rows = in_period(qualified, terms.tier_period, terms.time_zone, now_ms)
    count = sum(row["change"] for row in rows if row["partner_id"] == partner_id)
    ahead = [tier for tier in terms.tiers if tier.from_referrals > count]
    now = commission_rate(
        terms, *((reached[-1].rate_bps, reached[-1].amount_minor) if reached else (terms.rate_bps, terms.amount_minor))
    )
    period = words.period(period_label(now_ms, terms.tier_period, terms.time_zone))
    notes = [f"Now {now}.", _counted(terms.tier_period, period)]
    if not ahead:
        return Progress("Highest tier", f"{words.counted(count, 'customer', 'customers')}", 1.0, "reached", notes)
    target = ahead[0]
    then = commission_rate(terms, target.rate_bps, target.amount_minor)
    notes.insert(1, f"From {target.from_referrals} on: {then}.")
    return Progress(
        "Next tier", f"{words.plain(count)} of {words.counted(target.from_referrals, 'customer', 'customers')}",
        _share(count, target.from_referrals), "open", notes,
    )  # fmt: skip


def tier_figures(terms: Terms, count: int) -> tuple[int, int]:
    """(rate_bps, amount_minor) of a partner with so many qualified customers in the tiers' period."""
    reached = [(tier.rate_bps, tier.amount_minor) for tier in terms.tiers if tier.from_referrals <= count]
    return reached[-1] if reached else (terms.rate_bps, terms.amount_minor)


def bonus_progress(
    program: Program, terms: Terms, partner_id: str, slots: Sequence[Row], now_ms: int
) -> Iterator[Progress]:
    """The places taken of each bonus in its current period. An empty ``partner_id`` means all partners together.

    A ledger entry does not name its bonus, so bonuses that pay the same amount are shown as one.
    """
    groups: dict[tuple[int, PeriodKind, str], list[tuple[str, int]]] = {}
    for bonus in terms.bonuses:
        groups.setdefault((bonus.amount_minor, bonus.period, bonus.scope), []).append((bonus.id, bonus.first))
    for (amount_minor, period, scope), members in groups.items():
        ids = {bonus_id for bonus_id, _ in members}
        first = sum(places for _, places in members)
        mine = [
            row
            for row in in_period(slots, period, terms.time_zone, now_ms)
            if ids
            & {
                bonus.id
                for bonus in program.numbered(row["terms_version"]).bonuses
                if bonus.amount_minor == row["bonus_minor"]
            }
        ]
        own = [row for row in mine if row["partner_id"] == partner_id]
        counted = own if scope == "partner" and partner_id else [row for row in mine if row["partner_id"] == "*"]
        taken = sum(row["slots"] for row in counted)
        when = words.period(period_label(now_ms, period, terms.time_zone))
        amount = words.money(amount_minor, terms.currency)
        notes = [
            f"{amount} for each of the first {words.counted(first, 'customer', 'customers')} that qualify; {when}."
        ]
        if partner_id and scope == "program":
            yours = sum(row["slots"] for row in own)
            earned = words.money(sum(row["slots"] * row["bonus_minor"] for row in own), terms.currency)
            notes.append(f"{words.counted(yours, 'place is', 'places are')} yours: {earned}.")
        if scope == "partner" and not partner_id:
            yield Progress(words.named(" / ".join(sorted(ids))), f"{words.plain(taken)} taken", 1.0 if taken else 0.0, "open",
                           [*notes, "Each partner has as many places."])  # fmt: skip
            continue
        left = max(first - taken, 0)
        notes.append(f"{words.counted(left, 'place is', 'places are')} left." if left else "All places are taken.")
        yield Progress(
            words.named(" / ".join(sorted(ids))), f"{words.plain(taken)} of {words.plain(first)} places taken",
            _share(taken, first), "open" if left else "reached", notes,
        )  # fmt: skip


def milestone_progress(
    program: Program,
    terms: Terms,
    partner_id: str,
    rows: Sequence[Row],
    qualified: Sequence[Row],
    names: Mapping[str, str],
    now_ms: int,
) -> Iterator[Progress]:
    """Every milestone of the terms that concerns a partner in its current period, then those reached in earlier ones."""
    found = {(row["milestone_id"], row["scope_key"], row["period"]): row for row in rows}
    for milestone in terms.milestones:
        scope_key = _scope_key(milestone, partner_id)
        if scope_key is None:
            continue
        label = period_label(now_ms, milestone.period, terms.time_zone)
        row = found.pop((milestone.id, scope_key, label), None)
        yield _one(milestone, row, label, partner_id, qualified, names, terms, now_ms)
    for (milestone_id, scope_key, label), row in sorted(found.items(), key=lambda each: each[0][2], reverse=True):
        if row["status"] == "reached" and (not partner_id or partner_id in scope_key.split("+") or scope_key == "*"):
            metrics = {each.id: each.metric for version in program.versions for each in version.milestones}
            value = _amount(row["count"], row["threshold"], metrics.get(milestone_id, ""), terms)
            when = f"Reached on {words.day(row['reached_at'], terms.time_zone)}."
            yield Progress(words.named(milestone_id), value, 1.0, "reached", [when, f"{words.capital(words.period(label))}."])  # fmt: skip


def milestone_words(milestone: Milestone, count: int, threshold: int, terms: Terms) -> str:
    """``38 of 50 customers``."""
    return _amount(count, threshold, milestone.metric, terms)


def _one(
    milestone: Milestone, row: Row | None, label: str, partner_id: str, qualified: Sequence[Row], names: Mapping[str, str],
    terms: Terms, now_ms: int,
) -> Progress:  # fmt: skip
    count, threshold = (row["count"], row["threshold"]) if row else (0, milestone.threshold)
    state = str(row["status"]) if row else "open"
    notes = [_counted(milestone.period, words.period(label))]
    if milestone.scope == "group":
        others = [names.get(each, each) for each in milestone.partners if each != partner_id]
        notes.insert(0, f"Together with {words.listed(others)}." if partner_id else f"{words.listed(others)} together.")
        if milestone.each_at_least and milestone.metric == "qualified_referrals" and partner_id:
            own = sum(
                each["change"]
                for each in in_period(qualified, milestone.period, terms.time_zone, now_ms)
                if each["partner_id"] == partner_id
            )
            notes.append(
                f"Each member brings at least {words.plain(milestone.each_at_least)}; you have {words.plain(own)}."
            )
        elif milestone.each_at_least:
            notes.append(
                f"Each member brings at least {_amount(milestone.each_at_least, None, milestone.metric, terms)}."
            )
    if milestone.scope == "program" and partner_id:
        notes.insert(0, "All partners together.")
    if milestone.award_minor and milestone.scope != "program":
        award = words.money(milestone.award_minor, terms.currency)
        notes.append(f"Award: {award}{' for each member' if milestone.scope == 'group' else ''}.")
    if row and state == "reached":
        notes.insert(0, f"Reached on {words.day(row['reached_at'], terms.time_zone)}.")
    if row and state == "revoked":
        notes.insert(0, f"Was reached, and fell below again on {words.day(row['revoked_at'], terms.time_zone)}.")
    share = 1.0 if state == "reached" else _share(count, threshold)
    return Progress(words.named(milestone.id), _amount(count, threshold, milestone.metric, terms), share, state, notes)


def _amount(count: int, threshold: int | None, metric: str, terms: Terms) -> str:
    def shown(number: int) -> str:
        return words.money(number, terms.currency) if metric == "net_revenue_minor" else words.plain(number)

    one, many = _WHAT.get(metric, ("", ""))
    last = count if threshold is None else threshold
    noun = f" {one if last == 1 else many}" if many else ""
    return f"{shown(count)}{noun}" if threshold is None else f"{shown(count)} of {shown(threshold)}{noun}"


def _scope_key(milestone: Milestone, partner_id: str) -> str | None:
    """The row that concerns the partner (any of a group or of the program without one); None: not this one."""
    if milestone.scope == "program":
        return "*"
    if milestone.scope == "group":
        return "+".join(milestone.partners) if not partner_id or partner_id in milestone.partners else None
    return partner_id or None


def _counted(kind: PeriodKind, period: str) -> str:
    return "Counted from the start." if kind == "all_time" else f"Counted {PERIOD_ADVERB[kind]}: {period}."


def _share(count: int, target: int) -> float:
    return min(max(count / target, 0.0), 1.0)
