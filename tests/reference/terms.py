"""Program terms of contract section 3: plain TOML dicts in, versions with every default applied out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def to_ms(moment: datetime) -> int:
    """Times are UTC epoch milliseconds; digits past the millisecond are cut."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def duration_ms(text: str) -> int:
    """`click_window = "30d"  # s, m, h, d, w`."""
    match = re.fullmatch(r"([0-9]+)([smhdw])", text)
    if match is None:
        raise ValueError(f"{text!r} is no duration: write digits and one of s, m, h, d, w, as in 30d")
    return int(match[1]) * UNIT_MS[match[2]]


@lru_cache(maxsize=200_000)
def _local_date(at_ms: int, zone: str) -> date:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone)).date()


def period_of(at_ms: int, period: str, zone: str) -> str:
    """Label of the calendar period that holds a time; "calendar periods are local to it" (the time zone)."""
    if period == "all_time":
        return "all"
    day = _local_date(at_ms, zone)
    iso_year, iso_week, _ = day.isocalendar()
    return {
        "day": f"{day.year:04d}-{day.month:02d}-{day.day:02d}",
        "week": f"{iso_year:04d}-W{iso_week:02d}",
        "month": f"{day.year:04d}-{day.month:02d}",
        "quarter": f"{day.year:04d}-Q{(day.month + 2) // 3}",
        "year": f"{day.year:04d}",
    }[period]


@dataclass(frozen=True)
class Partner:
    """One `[[partner]]` of one version."""

    id: str
    joined_at: int | None
    left_at: int | None
    coupon_codes: tuple[str, ...]
    customer_ids: tuple[str, ...]
    email_sha256: tuple[str, ...]

    def active_at(self, at_ms: int) -> bool:
        """ "partner had joined and not left": joined_at is inclusive, `left_at  # optional, exclusive`."""
        joined = self.joined_at is None or self.joined_at <= at_ms
        return joined and (self.left_at is None or at_ms < self.left_at)


@dataclass(frozen=True)
class Tier:
    """One `[[tier]]`; `figure` is its rate_bps, or its amount_minor where the commission is flat."""

    from_count: int
    period: str
    figure: int


@dataclass(frozen=True)
class Bonus:
    """One `[[bonus]]`."""

    id: str
    first: int
    period: str
    scope: str
    amount_minor: int


@dataclass(frozen=True)
class Milestone:
    """One `[[milestone]]`; `award_minor` is 0 where there is none."""

    id: str
    metric: str
    threshold: int
    period: str
    scope: str
    partners: tuple[str, ...]
    each_at_least: int
    award_minor: int
    revocable: bool


@dataclass(frozen=True)
class Boost:
    """One `[[boost]]`; `partner_id` None means everyone."""

    partner_id: str | None
    from_ms: int
    until_ms: int
    multiplier_bps: int


@dataclass(frozen=True)
class Version:
    """One version of one program, every default of section 3 applied, durations in milliseconds."""

    program_id: str
    brand_id: str
    currency: str
    time_zone: str
    priority: int
    version: int
    effective_from: int
    credit: str
    model: str
    click_window: int
    order_window: int
    half_life: int
    coupon_precedence: str
    qualified_by: str
    min_order_minor: int
    new_customers_only: bool
    min_click_to_sign_up: int
    kind: str
    figure: int
    orders: str
    hold: int
    customer_reward_minor: int
    tiers: tuple[Tier, ...]
    bonuses: tuple[Bonus, ...]
    milestones: tuple[Milestone, ...]
    boosts: tuple[Boost, ...]
    partners: tuple[Partner, ...]

    def partner(self, partner_id: str) -> Partner | None:
        """The partner of that id in this version, None if it has none."""
        return next((p for p in self.partners if p.id == partner_id), None)

    def coupon_owner(self, code: str) -> Partner | None:
        """`coupon_codes  # byte for byte; one owner in a version`."""
        return next((p for p in self.partners if code in p.coupon_codes), None)


@dataclass(frozen=True)
class Program:
    """All versions of one program, oldest first."""

    id: str
    brand_id: str
    currency: str
    time_zone: str
    credit: str
    versions: tuple[Version, ...]

    def in_force(self, at_ms: int) -> Version | None:
        """ "Versions stand side by side, each in force from its effective_from until the next one's." """
        return max((v for v in self.versions if v.effective_from <= at_ms), key=lambda v: v.version, default=None)

    def period_of(self, at_ms: int, period: str) -> str:
        """Label of the period, local to the program's time zone."""
        return period_of(at_ms, period, self.time_zone)


def _optional_ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def _partner(table: dict[str, Any]) -> Partner:
    return Partner(
        id=table["id"],
        joined_at=_optional_ms(table.get("joined_at")),
        left_at=_optional_ms(table.get("left_at")),
        coupon_codes=tuple(table.get("coupon_codes", ())),
        customer_ids=tuple(table.get("customer_ids", ())),
        email_sha256=tuple(table.get("email_sha256", ())),
    )


def _milestone(table: dict[str, Any]) -> Milestone:
    return Milestone(
        id=table["id"],
        metric=table["metric"],
        threshold=table["threshold"],
        period=table["period"],
        scope=table.get("scope", "partner"),
        partners=tuple(table.get("partners", ())),
        each_at_least=table.get("each_at_least", 0),
        award_minor=table.get("award_minor", 0),
        revocable=table.get("revocable", True),
    )


def _boost(table: dict[str, Any]) -> Boost:
    return Boost(table.get("partner_id"), to_ms(table["from"]), to_ms(table["until"]), table["multiplier_bps"])


def read_version(terms: dict[str, Any]) -> Version:
    """One valid program file as tomllib gives it; a key left out takes the default that section 3 names or shows."""
    program, commission = terms["program"], terms["commission"]
    attribution, qualification = terms.get("attribution", {}), terms.get("qualification", {})
    kind = commission.get("kind", "percentage")
    figure = "rate_bps" if kind == "percentage" else "amount_minor"
    return Version(
        program_id=program["id"],
        brand_id=program["brand_id"],
        currency=program["currency"],
        time_zone=program.get("time_zone", "UTC"),
        priority=program.get("priority", 0),
        version=program["version"],
        effective_from=to_ms(program["effective_from"]),
        credit=attribution.get("credit", "sign_up"),
        model=attribution.get("model", "last_touch"),
        click_window=duration_ms(attribution.get("click_window", "30d")),
        order_window=duration_ms(attribution.get("order_window", "365d")),
        half_life=duration_ms(attribution.get("half_life", "7d")),
        coupon_precedence=attribution.get("coupon_precedence", "coupon_first"),
        qualified_by=qualification.get("event", "order"),
        min_order_minor=qualification.get("min_order_minor", 0),
        new_customers_only=qualification.get("new_customers_only", False),
        min_click_to_sign_up=duration_ms(qualification.get("min_click_to_sign_up", "0s")),
        kind=kind,
        figure=commission[figure],
        orders=commission.get("orders", "all"),
        hold=duration_ms(commission.get("hold", "0d")),
        customer_reward_minor=terms.get("customer_reward", {}).get("amount_minor", 0),
        tiers=tuple(Tier(t["from"], t["period"], t[figure]) for t in terms.get("tier", ())),
        bonuses=tuple(
            Bonus(b["id"], b["first"], b["period"], b.get("scope", "program"), b["amount_minor"])
            for b in terms.get("bonus", ())
        ),
        milestones=tuple(_milestone(m) for m in terms.get("milestone", ())),
        boosts=tuple(_boost(b) for b in terms.get("boost", ())),
        partners=tuple(_partner(p) for p in terms.get("partner", ())),
    )


def read_programs(files: list[dict[str, Any]]) -> dict[str, Program]:
    """Every program of the files by its id, in ascending order of ids."""
    versions = sorted((read_version(f) for f in files), key=lambda v: (v.program_id.encode(), v.version))
    programs: dict[str, Program] = {}
    for version in versions:
        own = tuple(v for v in versions if v.program_id == version.program_id)
        programs[version.program_id] = Program(
            version.program_id, version.brand_id, version.currency, version.time_zone, version.credit, own
        )
    return programs
