"""Program terms as immutable values (contract.md, section 3).

A :class:`Program` is one brand's terms for a set of partners, as a line of :class:`Terms`, its versions. Each version
is in force from ``effective_from_ms`` until the next one's. Times are UTC epoch milliseconds, durations milliseconds,
money minor units of the brand's currency, rates basis points.

Values of these classes are valid by construction when they come from :mod:`pipeline.domain.terms_rules`; nothing here
checks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Credit = Literal["sign_up", "order"]
Model = Literal["first_touch", "last_touch", "linear", "position_based", "time_decay"]
PeriodKind = Literal["day", "week", "month", "quarter", "year", "all_time"]
Metric = Literal["qualified_referrals", "sign_ups", "net_revenue_minor"]


@dataclass(frozen=True, slots=True)
class Partner:
    """A brand or creator that refers its audience to the program's brand, as one version of the terms lists it."""

    id: str
    name: str
    segment: str = ""
    joined_at_ms: int | None = None
    left_at_ms: int | None = None
    coupon_codes: tuple[str, ...] = ()
    customer_ids: frozenset[str] = frozenset()
    email_sha256: frozenset[str] = frozenset()

    def is_active_at(self, at_ms: int) -> bool:
        """Whether the partner had joined and not left at ``at_ms`` (``left_at`` is exclusive)."""
        if self.joined_at_ms is not None and at_ms < self.joined_at_ms:
            return False
        return self.left_at_ms is None or at_ms < self.left_at_ms


@dataclass(frozen=True, slots=True)
class Tier:
    """What a partner earns from its ``from_referrals``-th net qualified referral of the tier period on."""

    from_referrals: int
    rate_bps: int = 0
    amount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Bonus:
    """So much for each of the first ``first`` qualified referrals of a period."""

    id: str
    first: int
    period: PeriodKind
    scope: Literal["program", "partner"]
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Milestone:
    """A threshold of a metric over a scope and a period. ``partners`` is sorted, and empty unless scope is "group"."""

    id: str
    metric: Metric
    threshold: int
    period: PeriodKind
    scope: Literal["partner", "group", "program"] = "partner"
    partners: tuple[str, ...] = ()
    each_at_least: int = 0
    award_minor: int = 0
    revocable: bool = True


@dataclass(frozen=True, slots=True)
class Boost:
    """A multiplier of commission for orders dated in [from_ms, until_ms); ``partner_id`` None means everyone."""

    id: str
    partner_id: str | None
    from_ms: int
    until_ms: int
    multiplier_bps: int


@dataclass(frozen=True)
class Terms:
    """One version of a program's terms."""

    program_id: str
    brand_id: str
    currency: str
    version: int
    effective_from_ms: int
    time_zone: str = "UTC"
    priority: int = 0
    credit: Credit = "sign_up"
    model: Model = "last_touch"
    click_window_ms: int = 30 * 86_400_000
    order_window_ms: int = 365 * 86_400_000
    half_life_ms: int = 7 * 86_400_000
    coupon_precedence: Literal["coupon_first", "click_first"] = "coupon_first"
    qualification_event: Literal["order", "sign_up"] = "order"
    min_order_minor: int = 0
    new_customers_only: bool = False
    min_click_to_sign_up_ms: int = 0
    commission_kind: Literal["percentage", "flat"] = "percentage"
    rate_bps: int = 0
    amount_minor: int = 0
    orders: Literal["all", "first"] = "all"
    hold_ms: int = 0
    customer_reward_minor: int = 0
    tier_period: PeriodKind = "all_time"
    tiers: tuple[Tier, ...] = ()  # ascending from_referrals
    bonuses: tuple[Bonus, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    boosts: tuple[Boost, ...] = ()
    partners: Mapping[str, Partner] = field(default_factory=dict)  # in the file's order

    @cached_property
    def coupon_owner(self) -> Mapping[str, str]:
        """Coupon code to the id of the one partner that owns it."""
        return {code: partner.id for partner in self.partners.values() for code in partner.coupon_codes}


@dataclass(frozen=True)
class Program:
    """The versions of one program, oldest first; there is at least one."""

    versions: tuple[Terms, ...]

    @property
    def id(self) -> str:
        """Its id, unique among all programs."""
        return self.versions[0].program_id

    @property
    def brand_id(self) -> str:
        """The brand whose terms they are."""
        return self.versions[0].brand_id

    @property
    def currency(self) -> str:
        """ISO 4217; one for all programs of a brand."""
        return self.versions[0].currency

    @property
    def time_zone(self) -> str:
        """IANA; calendar periods are local to it."""
        return self.versions[0].time_zone

    @property
    def credit(self) -> Credit:
        """Which conversions it credits."""
        return self.versions[0].credit

    @cached_property
    def _starts(self) -> list[int]:
        return [version.effective_from_ms for version in self.versions]

    def in_force_at(self, at_ms: int) -> Terms | None:
        """The version in force at ``at_ms``; None before the first."""
        index = bisect_right(self._starts, at_ms) - 1
        return self.versions[index] if index >= 0 else None

    def numbered(self, version: int) -> Terms:
        """The version that carries the number ``version``; KeyError if there is none."""
        for terms in self.versions:
            if terms.version == version:
                return terms
        raise KeyError(version)

    @cached_property
    def partner_ids(self) -> frozenset[str]:
        """Every partner that any version names."""
        return frozenset(partner_id for version in self.versions for partner_id in version.partners)


@dataclass(frozen=True)
class Catalogue:
    """All programs that a run knows, by id (sorted) and by brand."""

    programs: Mapping[str, Program]

    @classmethod
    def of(cls, programs: Iterable[Program]) -> Catalogue:
        """A catalogue of the given programs, whose ids are distinct."""
        return cls({program.id: program for program in sorted(programs, key=lambda each: each.id)})

    @cached_property
    def by_brand(self) -> Mapping[str, tuple[Program, ...]]:
        """Brand id to its programs, by ascending id."""
        brands: dict[str, list[Program]] = {}
        for program in self.programs.values():
            brands.setdefault(program.brand_id, []).append(program)
        return {brand: tuple(programs) for brand, programs in brands.items()}

    @cached_property
    def currency_of(self) -> Mapping[str, str]:
        """Brand id to the one currency of all its programs."""
        return {brand: programs[0].currency for brand, programs in self.by_brand.items()}

    def brand_at(self, brand_id: str, at_ms: int) -> BrandTerms:
        """The terms of all the brand's programs in force at ``at_ms``."""
        starts, views = self._brand_lines.get(brand_id, _NOWHERE)
        return views[bisect_right(starts, at_ms)]

    @cached_property
    def _brand_lines(self) -> Mapping[str, tuple[list[int], list[BrandTerms]]]:
        """Brand id to the times at which a version comes into force, and the terms before the first and from each."""
        lines = {}
        for brand_id, programs in self.by_brand.items():
            starts = sorted({version.effective_from_ms for program in programs for version in program.versions})
            views = [_NO_TERMS, *(BrandTerms.at(programs, start) for start in starts)]
            lines[brand_id] = (starts, views)
        return lines


@dataclass(frozen=True, slots=True)
class BrandTerms:
    """One brand's terms at one time: what every conversion dated then is judged by."""

    in_force: Mapping[str, Terms]  # by program id, ascending; programs without a version in force are absent
    contending: Mapping[str, frozenset[str]]  # "sign_up" and "order" to the programs that credit such conversions
    longest_click_window_ms: int

    @classmethod
    def at(cls, programs: Iterable[Program], at_ms: int) -> BrandTerms:
        """The terms of ``programs``, which are in ascending order of id, at ``at_ms``."""
        in_force = {each.id: terms for each in programs if (terms := each.in_force_at(at_ms)) is not None}
        contending = {
            credit: frozenset(terms.program_id for terms in in_force.values() if terms.credit == credit)
            for credit in ("sign_up", "order")
        }
        longest = max((terms.click_window_ms for terms in in_force.values()), default=0)
        return cls(in_force, contending, longest)


_NO_TERMS = BrandTerms({}, {"sign_up": frozenset(), "order": frozenset()}, 0)
_NOWHERE: tuple[list[int], list[BrandTerms]] = ([], [_NO_TERMS])
