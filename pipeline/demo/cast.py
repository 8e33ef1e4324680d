"""Who plays in the season: brands, their shops, the partners' sites, and the programs' terms as filed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

TERMS_FOLDER: Final = Path(__file__).with_name("terms")
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
SECOND_MS: Final = 1_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_UNIT_MS: Final = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}


def utc_ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    """A UTC wall time in epoch milliseconds."""
    return (datetime(year, month, day, hour, minute, tzinfo=UTC) - _EPOCH) // _MILLISECOND


SEASON_START_MS: Final = utc_ms(2025, 10, 1, 6)
"""The first event may happen now: the first quarter has begun on every brand's clock."""
SEASON_END_MS: Final = utc_ms(2026, 3, 31, 12)
"""No event happens from now on: the second quarter has not ended on any brand's clock."""


@dataclass(frozen=True)
class Brand:
    """A brand with its shop: where it sells, what things cost there, how its order numbers begin."""

    id: str
    site: str
    countries: tuple[str, ...]
    prices_minor: tuple[int, ...]
    order_prefix: str


@dataclass(frozen=True)
class Version:
    """What the arithmetic of the truth needs of one version of a program, read from its file without any rules."""

    number: int
    effective_from_ms: int
    content: Mapping[str, Any]

    def table(self, name: str) -> Mapping[str, Any]:
        """One of the single tables; empty if the file leaves it out."""
        found: Mapping[str, Any] = self.content.get(name, {})
        return found

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """One of the lists of tables."""
        found: list[Mapping[str, Any]] = self.content.get(name, [])
        return found

    @property
    def least_order_minor(self) -> int:
        """The net amount from which an order qualifies."""
        return max(int(self.table("qualification").get("min_order_minor", 0)), 1)


@dataclass(frozen=True)
class Program:
    """A program of the season; ``partners`` are those of its crowd, with weights (others have scenes of their own)."""

    id: str
    brand: Brand
    versions: tuple[Version, ...]
    partners: Mapping[str, int]
    coupons: Mapping[str, str]

    @property
    def currency(self) -> str:
        """The ISO 4217 code of all its money."""
        return str(self.versions[0].table("program")["currency"])

    @property
    def by_sign_up(self) -> bool:
        """Whether the sign-up binds the customer."""
        return bool(self.versions[0].table("attribution")["credit"] == "sign_up")

    @property
    def qualifies_by_order(self) -> bool:
        """Whether an order makes a referral count; else the sign-up does."""
        return str(self.versions[0].table("qualification").get("event", "order")) == "order"

    @property
    def first_order_only(self) -> bool:
        """Whether only the order that made the referral count earns."""
        return str(self.versions[0].table("commission").get("orders", "all")) == "first"

    @property
    def model(self) -> str:
        """Who is credited when several partners' links were clicked."""
        return str(self.versions[0].table("attribution").get("model", "last_touch"))

    @property
    def zone(self) -> ZoneInfo:
        """The clock that its calendar periods follow."""
        return ZoneInfo(str(self.versions[0].table("program")["time_zone"]))

    def in_force(self, at_ms: int) -> Version:
        """The version in force at a time that is not before the first."""
        return [version for version in self.versions if version.effective_from_ms <= at_ms][-1]


BRANDS: Final = {
    brand.id: brand
    for brand in (
        Brand("bakery", "crumbandcrust.example", ("GB", "GB", "GB", "IE"), (420, 650, 895, 1250, 1800, 2400), "CC"),
        Brand("roaster", "embercoffee.example", ("GB", "GB", "IE", "FR"), (850, 950, 1150, 1600, 2900), "EMB"),
        Brand("bookshop", "dogearbooks.example", ("GB", "GB", "IE", "US"), (799, 999, 1299, 1899, 2500), "DE"),
        Brand("cheesemonger", "vandamkaas.example", ("NL", "NL", "BE", "DE", "GB"), (1150, 1495, 2250, 3400), "VDK"),
        Brand("florist", "tulpentak.example", ("NL", "NL", "BE", "DE"), (1995, 2495, 3495, 4950), "TT"),
    )
}

PARTNER_SITES: Final = {
    **{brand.id: brand.site for brand in BRANDS.values()},
    "nina-bakes": "ninabakes.example",
    "slow-mornings": "slowmornings.example",
    "kitchen-twins": "kitchentwins.example",
    "deal-scout": "dealscout.example",
    "page-turner": "pageturner.example",
    "green-thumb-gus": "greenthumb.example",
    "fresh-crumbs": "freshcrumbs.example",
}

_CROWD: Final[dict[str, tuple[str, dict[str, int]]]] = {
    "bakery-table": (
        "bakery",
        {"roaster": 42, "bookshop": 18, "nina-bakes": 18, "slow-mornings": 12, "kitchen-twins": 10},
    ),
    "roaster-circle": ("roaster", {"bakery": 42, "bookshop": 22, "cheesemonger": 14, "slow-mornings": 22}),
    "bookshop-readers": (
        "bookshop",
        {"page-turner": 36, "roaster": 24, "bakery": 18, "slow-mornings": 12, "florist": 10},
    ),
    "cheese-board": (
        "cheesemonger",
        {"nina-bakes": 32, "bakery": 26, "florist": 18, "kitchen-twins": 14, "bookshop": 10},
    ),
    "florist-bloom": ("florist", {"cheesemonger": 32, "bookshop": 28, "bakery": 25, "roaster": 15}),
    "florist-creators": ("florist", {"page-turner": 40, "slow-mornings": 32, "nina-bakes": 28}),
}


def terms_files() -> list[Path]:
    """The handwritten terms, one file a version, by name."""
    return sorted(TERMS_FOLDER.glob("*.toml"))


def load_programs() -> dict[str, Program]:
    """The season's programs by id."""
    contents = [tomllib.loads(path.read_text(encoding="utf-8")) for path in terms_files()]
    return {program_id: _program(program_id, contents) for program_id in _CROWD}


def period_label(at_ms: int, period: str, zone: ZoneInfo) -> str:
    """The calendar period that holds a time on the zone's clock, as far as the season's terms use periods."""
    local = datetime.fromtimestamp(at_ms // 1000, zone)
    labels = {
        "month": f"{local.year}-{local.month:02d}",
        "quarter": f"{local.year}-Q{(local.month + 2) // 3}",
        "all_time": "all",
    }
    return labels[period]


def as_ms(moment: datetime) -> int:
    """A time of a terms file in epoch milliseconds."""
    return (moment - _EPOCH) // _MILLISECOND


def duration_ms(text: str) -> int:
    """A duration of a terms file, such as "30d"."""
    return int(text[:-1]) * _UNIT_MS[text[-1]]


def _program(program_id: str, contents: list[dict[str, Any]]) -> Program:
    brand_id, partners = _CROWD[program_id]
    versions = [
        Version(content["program"]["version"], as_ms(content["program"]["effective_from"]), content)
        for content in contents
        if content["program"]["id"] == program_id
    ]
    versions.sort(key=lambda version: version.number)
    coupons = {
        partner["id"]: partner["coupon_codes"][0]
        for version in versions
        for partner in version.rows("partner")
        if partner.get("coupon_codes")
    }
    return Program(program_id, BRANDS[brand_id], tuple(versions), partners, coupons)
