"""Worlds for property tests: valid programs with events that press on the edges of their terms.

A world is built from primitive choices only. `worlds()` lets Hypothesis make them, so that a failing world shrinks;
`random_world(seed)` lets a seeded generator make the very same kind of choices, for runs of thousands.
The first option of every choice is the plainest one, because that is where shrinking goes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

T = TypeVar("T")
Table = dict[str, Any]
Event = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR, DAY = 3_600_000, 86_400_000
UNIT_MS = {"s": 1_000, "m": 60_000, "h": HOUR, "d": DAY, "w": 7 * DAY}
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu")
# Within a few days of each: clock changes of the zones above, ends of months, quarters, years and ISO years.
ANCHORS = ((2026, 3, 28), (2026, 3, 7), (2026, 4, 3), (2026, 12, 29), (2024, 12, 28), (2025, 10, 24), (2026, 6, 29))
PERIODS = ("all_time", "day", "week", "month", "quarter", "year")
EMAILS = ("0f" * 32, "a1" * 32)
# Their order by UTF-8 bytes differs from that by UTF-16 units, by case-folding and by length.
PREFIXES = ("e", "e", "d", "f", "E", "\N{LATIN SMALL LETTER E WITH ACUTE}", "\uffee", "\U0001d51e")
PARTNERS = ("bakery", "roaster", "\uffee-shop", "\U0001d51e-mart")
CUSTOMERS = ("c1", "c2", "c3", "c4", "c5", "c6")
VISITORS = ("v1", "v2", "v3", "v4", "v5")
CODES = ("BREAD10", "bread10", "TREE")
AMOUNTS = (5_000, 1_000, 999, 3_333, 1, 0, 10_001, 2_500, 12_345)
AWKWARD = ("x", "y", 'q"\\/', "\x1f\t\u007f", "\u2028\u00e9", "\U0001d51e", "\uffee")


class Choices(Protocol):
    """Where a world's choices come from."""

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, `low` being the plainest."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, the first being the plainest."""

    def chance(self, percent: int) -> bool:
        """True about that often; False is plainer."""

    def several(self, least: int, most: int, make: Callable[[], T]) -> list[T]:
        """What `least` to `most` calls of `make`, which makes choices of its own, return; fewer are plainer."""


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def chance(self, percent: int) -> bool:
        return self._random() * 100 < percent

    def several(self, least: int, most: int, make: Callable[[], T]) -> list[T]:
        return [make() for _ in range(self.integer(least, most))]


# Choices are read off drawn bytes, a dozen at a time: a draw for each would cost 0.1 ms, and there are hundreds.
_BYTES = st.binary(min_size=12, max_size=12)


class Drawn:
    """Choices that Hypothesis draws, records and shrinks; a byte of 0 makes the plainest."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._bytes = iter(b"")

    def _byte(self) -> int:
        for byte in self._bytes:
            return byte
        self._bytes = iter(self._draw(_BYTES))
        return next(self._bytes)

    def integer(self, low: int, high: int) -> int:
        return low + self._byte() % (high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        return options[self._byte() % len(options)]

    def chance(self, percent: int) -> bool:
        return self._byte() * 100 >= 256 * (100 - percent)

    def several(self, least: int, most: int, make: Callable[[], T]) -> list[T]:
        """As a list whose elements, each with bytes of its own, Hypothesis can leave out one by one."""

        def one() -> T:
            self._bytes = iter(b"")
            return make()

        made = self._draw(st.lists(st.builds(one), min_size=least, max_size=most))
        self._bytes = iter(b"")
        return made


@dataclass(frozen=True)
class World:
    """Program files as tomllib would load them, and events in arrival order with `occurred_at` in milliseconds."""

    programs: list[Table]
    events: list[Event]


def build_world(choose: Choices, most_events: int = 60) -> World:
    """One world out of the given choices."""
    anchor = datetime(*choose.pick(ANCHORS), tzinfo=UTC)
    programs = build_programs(choose, anchor)
    return World(programs, build_events(choose, programs, anchor, most_events))


def random_world(seed: int, most_events: int = 60) -> World:
    """The world of a seed: fast, the same everywhere, and not shrinkable."""
    return build_world(Seeded(seed), most_events)


@st.composite
def worlds(draw: st.DrawFn, most_events: int = 40) -> World:
    """Worlds that shrink to few events under plain terms."""
    return build_world(Drawn(draw), most_events)


@st.composite
def program_sets(draw: st.DrawFn) -> list[Table]:
    """Valid sets of program files alone."""
    return build_programs(Drawn(draw), datetime(*ANCHORS[0], tzinfo=UTC))


# -- Program terms (contract, section 3) -----------------------------------------------------------------------------


def build_programs(choose: Choices, anchor: datetime) -> list[Table]:
    """One to three brands with one to four programs between them, each of one to three versions.

    Whatever begins or ends does so within days of `anchor`, where calendar periods end and clocks change too.
    """
    brands = (("acme", "USD"), ("bolt", "EUR"), ("c\u00f4te", "JPY"))

    def one() -> list[Table]:
        brand_id, currency = choose.pick((*brands[:1] * 5, *brands[:2] * 2, brands[2]))
        name = f"{choose.pick(('p', 'p', 'P', chr(0xFFEE), chr(0x1D51E)))}{next(numbers)}"
        identity = {"id": name, "brand_id": brand_id, "currency": currency, "time_zone": choose.pick(ZONES)}
        return _versions(choose, identity, anchor)

    numbers = count()
    return [terms for family in choose.several(1, 4, one) for terms in family]


def _versions(choose: Choices, identity: Table, anchor: datetime) -> list[Table]:
    credit = choose.pick(("sign_up", "order", "sign_up"))
    partner_ids = PARTNERS[: choose.integer(2, 4)]
    # What two versions may not tell differently is chosen once for the program.
    bonuses, milestones = count(), count()

    def bonus_shape() -> Table:
        scope = choose.pick(("program", "partner"))
        return {"id": f"bonus-{next(bonuses)}", "period": choose.pick(PERIODS), "scope": scope}

    def milestone_shape() -> Table:
        own = "sign_ups" if credit == "sign_up" else "net_revenue_minor"
        table = {
            "id": f"goal-{next(milestones)}",
            "metric": choose.pick(("qualified_referrals", "net_revenue_minor", own)),
        }
        return table | {"period": choose.pick(PERIODS), "scope": choose.pick(("partner", "group", "program"))}

    bonus_shapes = choose.several(0, 2, bonus_shape)
    milestone_shapes = choose.several(0, 3, milestone_shape)
    numbers = count()
    begins = anchor + timedelta(days=choose.pick((-60, -60, -60, -60, 0)))

    def version() -> Table:
        nonlocal begins
        program = _program(choose, identity, next(numbers), begins)
        begins = max(begins, anchor - timedelta(days=1)) + timedelta(hours=choose.pick((24, 36, 54)))
        attribution = _attribution(choose, credit)
        qualification = _qualification(choose, credit)
        commission = _commission(choose, qualification.get("event", "order"))
        terms: Table = {"program": program, "attribution": attribution}
        terms |= {"qualification": qualification, "commission": commission}
        if choose.chance(40):
            terms["customer_reward"] = {"amount_minor": choose.pick((1_000, 1_000, 0))}
        terms["tier"] = _tiers(choose, commission)
        terms["bonus"] = [_bonus(choose, shape) for shape in bonus_shapes if not choose.chance(10)]
        terms["milestone"] = [_milestone(choose, s, partner_ids) for s in milestone_shapes if not choose.chance(10)]
        boosts = count()
        terms["boost"] = choose.several(0, 2, lambda: _boost(choose, next(boosts), (None, *partner_ids), anchor))
        named = {p for m in terms["milestone"] for p in m.get("partners", ())}
        named |= {b["partner_id"] for b in terms["boost"] if "partner_id" in b}
        terms["partner"] = _partners(choose, partner_ids, named, anchor)
        return {name: table for name, table in terms.items() if table}

    return choose.several(1, 3, version)


def _program(choose: Choices, identity: Table, number: int, begins: datetime) -> Table:
    # A program that leaves out what has a default means the same as one that writes the default.
    table = {k: v for k, v in identity.items() if (k, v) != ("time_zone", "UTC") or choose.chance(50)}
    priority = choose.pick((0, 0, 0, 1, 5, -1))
    if priority or choose.chance(30):
        table["priority"] = priority
    offset = timezone(timedelta(minutes=choose.pick((0, 0, 330))))
    return table | {"version": number * choose.pick((1, 2)) + 1 + number, "effective_from": begins.astimezone(offset)}


def _attribution(choose: Choices, credit: str) -> Table:
    table: Table = {} if credit == "sign_up" and choose.chance(50) else {"credit": credit}
    models = ("last_touch", "first_touch", "linear", "position_based", "position_based", "time_decay", "time_decay")
    _maybe(choose, table, "model", models, 80)
    _maybe(choose, table, "click_window", ("30d", "4w", "1w", "3d", "2d", "36h"), 70)
    _maybe(choose, table, "order_window", ("365d", "4w", "3d", "2d", "90m", "1d"), 70)
    _maybe(choose, table, "half_life", ("7d", "1d", "6h", "3600s"), 60)
    _maybe(choose, table, "coupon_precedence", ("coupon_first", "click_first"), 60)
    return table


def _qualification(choose: Choices, credit: str) -> Table:
    table: Table = {}
    if credit == "sign_up":
        _maybe(choose, table, "event", ("order", "order", "sign_up"), 75)
        _maybe(choose, table, "min_click_to_sign_up", ("0s", "60s", "1h", "6h"), 25)
    _maybe(choose, table, "min_order_minor", (0, 1, 1_000, 2_000), 50)
    _maybe(choose, table, "new_customers_only", (False, True, True), 30)
    return table


def _commission(choose: Choices, qualified_by: str) -> Table:
    if choose.chance(30):
        table: Table = {"kind": "flat", "amount_minor": choose.pick((500, 333, 1, 0))}
    else:
        table = {"kind": "percentage"} if choose.chance(50) else {}
        table["rate_bps"] = choose.pick((1_000, 1_250, 333, 10_000, 0))
    if qualified_by == "order":
        _maybe(choose, table, "orders", ("all", "first"), 50)
    _maybe(choose, table, "hold", ("0d", "1d", "7d", "36h"), 60)
    return table


def _maybe(choose: Choices, table: Table, name: str, values: Sequence[Any], percent: int) -> None:
    if choose.chance(percent):
        table[name] = choose.pick(values)


def _tiers(choose: Choices, commission: Table) -> list[Table]:
    period = choose.pick(PERIODS)
    name, figures = ("amount_minor", (800, 1_200)) if commission.get("kind") == "flat" else ("rate_bps", (1_500, 2_500))
    floors = choose.pick(((), (1,), (2, 3), (2, 1), (0, 2)))
    return [{"from": floor, "period": period, name: choose.pick(figures) + floor} for floor in floors]


def _bonus(choose: Choices, shape: Table) -> Table:
    return {**shape, "first": choose.pick((1, 1, 2, 3)), "amount_minor": choose.pick((2_500, 2_500, 700, 0))}


def _milestone(choose: Choices, shape: Table, partner_ids: Sequence[str]) -> Table:
    money = shape["metric"] == "net_revenue_minor"
    table = {**shape, "threshold": choose.pick((1_000, 5_000, 3_334, 9_000) if money else (1, 1, 2, 3))}
    if shape["scope"] == "partner" and choose.chance(50):
        del table["scope"]
    if shape["scope"] == "group":
        table["partners"] = list(partner_ids[choose.integer(0, 1) :][: choose.integer(1, 3)])
        _maybe(choose, table, "each_at_least", (0, 1_000, 500) if money else (0, 1, 1), 40)
    if shape["scope"] != "program":
        _maybe(choose, table, "award_minor", (9_000, 9_000, 50, 0), 75)
    _maybe(choose, table, "revocable", (True, False), 40)
    return table


def _boost(choose: Choices, number: int, partner_ids: Sequence[str | None], anchor: datetime) -> Table:
    begins = anchor + timedelta(hours=choose.pick((0, -24, 24, 30, 60)))
    table: Table = {"id": f"boost-{number}"}
    partner_id = choose.pick(partner_ids)
    if partner_id is not None:
        table["partner_id"] = partner_id
    table |= {"from": begins, "until": begins + timedelta(hours=choose.pick((240, 24, 48, 6)))}
    return table | {"multiplier_bps": choose.pick((20_000, 15_000, 20_000, 12_345, 5_000, 0))}


def _partners(choose: Choices, partner_ids: Sequence[str], named: set[str], anchor: datetime) -> list[Table]:
    partners = []
    codes = list(CODES)
    for partner_id in partner_ids:
        if partner_id not in named and choose.chance(7):
            continue
        table: Table = {"id": partner_id, "name": f"{partner_id} & Co"}
        for edge, hours, percent in (("joined_at", (-24, 0, 24, 36), 12), ("left_at", (120, 96, 72, 48), 15)):
            if choose.chance(percent):
                moment = anchor + timedelta(hours=choose.pick(hours), milliseconds=choose.pick((0, 0, 1)))
                table[edge] = moment
        if choose.chance(10):
            table["segment"] = "food"
        if codes and choose.chance(55):
            table["coupon_codes"] = [codes.pop(choose.integer(0, len(codes) - 1))]
        _maybe(choose, table, "customer_ids", (["c5"], ["c1", "c6"], []), 12)
        _maybe(choose, table, "email_sha256", ([EMAILS[0]], list(EMAILS)), 12)
        partners.append(table)
    return partners or [{"id": partner_ids[0], "name": "the only one"}]


def to_toml(program: Table) -> str:
    """The program file that tomllib loads as `program`: a table for a dict, an array of tables for a list of dicts."""
    lines = []
    for name, value in program.items():
        tables = value if isinstance(value, list) else [value]
        header = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
        for table in tables:
            lines += [header, *(f"{key} = {_toml_value(v)}" for key, v in table.items()), ""]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


# -- Events (contract, section 2), timed at the edges of those terms ---------------------------------------------------


@dataclass
class _Brand:
    """What events of one brand may name, and those built so far."""

    id: str
    currency: str
    partners: list[tuple[str, str]]  # (program, partner), of any version
    sign_ups_count: bool  # one of its programs credits sign-ups
    clicks: list[Event] = field(default_factory=list)
    sign_ups: list[Event] = field(default_factory=list)
    orders: list[Event] = field(default_factory=list)


def build_events(choose: Choices, programs: list[Table], anchor: datetime, most_events: int) -> list[Event]:
    """Events in arrival order, at least one journey from a click to an order or a sign-up among them."""
    builder = _Builder(choose, programs, anchor)
    builder.journey()
    actions = (builder.journey,) * 5 + (builder.noise,) * 3 + (builder.repeat, builder.bad)
    for _ in range(3):  # because Hypothesis keeps lists to about five
        choose.several(0, most_events // 10, lambda: choose.pick(actions)())
    return builder.arrived[:most_events]


class _Builder:
    def __init__(self, choose: Choices, programs: list[Table], anchor: datetime) -> None:
        self.choose = choose
        self.arrived: list[Event] = []
        self.brands = _brands(programs)
        self.edges = _edges(programs, anchor)
        self.gaps = _gaps(programs)

    def journey(self) -> None:
        """Clicks of one visitor, then the conversions of one customer, then perhaps refunds."""
        choose, brand = self.choose, self.choose.pick(self.brands)
        customer_id, visitor_id = choose.pick(CUSTOMERS), choose.pick(VISITORS)
        at = self._edge()
        program_id, partner_id = choose.pick(brand.partners)

        def visit() -> None:
            nonlocal at, program_id, partner_id
            self._click(brand, at, visitor_id, program_id, partner_id)
            at = self._later(at)
            if choose.chance(60):
                favoured = [pair for pair in brand.partners if pair[0] == program_id or choose.chance(25)]
                program_id, partner_id = choose.pick(favoured)

        def purchase() -> None:
            nonlocal at
            at = self._later(at)
            order = self._order(brand, at, customer_id, visitor_id)
            choose.several(0, 1, lambda: self._refund(brand, self._later(at), order))
            if choose.chance(15):
                at = self._later(at)
                self._refund(brand, at, order)

        choose.several(1, 4, visit)
        if brand.sign_ups_count or choose.chance(30):
            self._sign_up(brand, at, customer_id, visitor_id)
        choose.several(0, 3, purchase)

    def noise(self) -> None:
        """One event anywhere, tied to the others only by the small pools of ids."""
        choose, brand, at = self.choose, self.choose.pick(self.brands), self._edge()
        kind = choose.integer(0, 3)
        if kind == 0:
            self._click(brand, at, choose.pick(VISITORS), *choose.pick(brand.partners))
        elif kind == 1:
            self._sign_up(brand, at, choose.pick(CUSTOMERS), choose.pick(VISITORS))
        elif kind == 2 or not brand.orders:
            self._order(brand, at, choose.pick(CUSTOMERS), choose.pick(VISITORS))
        else:
            self._refund(brand, at, choose.pick(brand.orders))

    def repeat(self) -> None:
        """A copy of an earlier event: the same, of other content, or an order told again under another event_id."""
        choose = self.choose
        copy = dict(choose.pick(self.arrived))
        for _ in range(choose.integer(0, 2)):
            _change(choose, copy)
        if copy["type"] == "order" and choose.chance(40):
            copy["event_id"] = self._event_id()
        self._arrive(copy)

    def bad(self) -> None:
        """A copy of an earlier event that names what no terms know, or another currency."""
        choose = self.choose
        copy = dict(choose.pick(self.arrived))
        wrong = {"brand_id": "nobody", "program_id": "p9", "partner_id": "stranger", "currency": "CHF"}
        names = [name for name in wrong if name in copy]
        for name in names[choose.integer(0, len(names) - 1) :]:
            copy[name] = wrong[name]
        if choose.chance(50):
            copy["event_id"] = self._event_id()
        self._arrive(copy)

    def _click(self, brand: _Brand, at: int, visitor_id: str, program_id: str, partner_id: str) -> None:
        click = {**self._base("click", brand, at), "program_id": program_id, "partner_id": partner_id}
        click["visitor_id"] = visitor_id
        _maybe(self.choose, click, "link_id", ("l1", "l2"), 50)
        _maybe(self.choose, click, "campaign", AWKWARD, 10)
        brand.clicks.append(click)
        self._arrive(click)

    def _sign_up(self, brand: _Brand, at: int, customer_id: str, visitor_id: str) -> None:
        sign_up = {**self._base("sign_up", brand, at), "customer_id": customer_id}
        self._name_touchpoints(sign_up, brand, visitor_id)
        _maybe(self.choose, sign_up, "email_sha256", (*EMAILS, "cc" * 32), 25)
        brand.sign_ups.append(sign_up)
        self._arrive(sign_up)

    def _order(self, brand: _Brand, at: int, customer_id: str, visitor_id: str) -> Event:
        choose = self.choose
        order = {**self._base("order", brand, at), "customer_id": customer_id, "currency": brand.currency}
        order["order_id"] = f"o{len(brand.orders) if choose.chance(92) else choose.integer(0, len(brand.orders))}"
        order["amount_minor"] = choose.pick(AMOUNTS)
        self._name_touchpoints(order, brand, visitor_id)
        _maybe(choose, order, "payment_fingerprint", AWKWARD, 10)
        brand.orders.append(order)
        self._arrive(order)
        return order

    def _refund(self, brand: _Brand, at: int, order: Event) -> None:
        choose = self.choose
        amount = order["amount_minor"]
        refund = {**self._base("refund", brand, at), "customer_id": order["customer_id"], "currency": brand.currency}
        refund["order_id"] = order["order_id"] if choose.chance(95) else "unknown"
        refund["amount_minor"] = choose.pick(
            (amount, amount, amount, amount // 2, amount // 3, max(0, amount - 1), amount * 2, 1)
        )
        refund["reason"] = choose.pick(("refund", "chargeback", "cancellation"))
        self._arrive(refund)

    def _base(self, kind: str, brand: _Brand, at: int) -> Event:
        return {"type": kind, "event_id": self._event_id(), "occurred_at": at, "brand_id": brand.id}

    def _name_touchpoints(self, conversion: Event, brand: _Brand, visitor_id: str) -> None:
        choose = self.choose
        if choose.chance(85):
            conversion["visitor_id"] = visitor_id
        if brand.clicks and choose.chance(15):
            conversion["click_id"] = choose.pick(brand.clicks[-4:])["event_id"]
        _maybe(choose, conversion, "coupon_code", (*CODES, "unheard-of"), 18)

    def _event_id(self) -> str:
        choose = self.choose
        if self.arrived and choose.chance(6):
            return str(choose.pick(self.arrived)["event_id"])
        return f"{choose.pick(PREFIXES)}{len(self.arrived)}"

    def _edge(self) -> int:
        return self.choose.pick(self.edges) + self.choose.pick((0, 0, 0, 1, -1))

    def _later(self, at: int) -> int:
        """A moment after `at` by a gap that the terms make interesting, at an edge, or just before it."""
        choose = self.choose
        if choose.chance(20):
            return self._edge()
        return at + choose.pick(self.gaps)

    def _arrive(self, event: Event) -> None:
        """Most events arrive as they are built, some earlier."""
        place = self.choose.integer(0, len(self.arrived)) if self.choose.chance(15) else len(self.arrived)
        self.arrived.insert(place, event)


def _change(choose: Choices, event: Event) -> None:
    """Another content under the same event_id; at the same time or another."""
    if choose.chance(40):
        event["occurred_at"] += choose.pick((1, -1, HOUR, -HOUR, DAY))
    elif "amount_minor" in event and choose.chance(60):
        event["amount_minor"] = choose.pick(AMOUNTS)
    elif event["type"] == "click":
        event["link_id"] = choose.pick(AWKWARD)
    elif event["type"] == "refund":
        event["reason"] = choose.pick(("refund", "chargeback", "cancellation"))
    elif "visitor_id" in event and choose.chance(50):
        del event["visitor_id"]
    else:
        event["ip"] = choose.pick(AWKWARD)
        event["visitor_id"] = choose.pick(VISITORS)


def _brands(programs: list[Table]) -> list[_Brand]:
    brands: dict[str, _Brand] = {}
    for terms in programs:
        program = terms["program"]
        brand = brands.setdefault(program["brand_id"], _Brand(program["brand_id"], program["currency"], [], False))
        pairs = [(program["id"], partner["id"]) for partner in terms["partner"]]
        brand.partners += [pair for pair in pairs if pair not in brand.partners]
        brand.sign_ups_count |= terms.get("attribution", {}).get("credit", "sign_up") == "sign_up"
    return list(brands.values())


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _edges(programs: list[Table], anchor: datetime) -> list[int]:
    """Moments near the anchor at which something of the terms begins or ends, local midnights among them."""
    edges: set[int] = set()
    for terms in programs:
        zone = ZoneInfo(terms["program"].get("time_zone", "UTC"))
        midnight = datetime(anchor.year, anchor.month, anchor.day, tzinfo=zone)
        moments = [midnight + timedelta(days=number) for number in range(-1, 5)]
        moments += [boost[edge] for boost in terms.get("boost", ()) for edge in ("from", "until")]
        moments += [
            partner[edge] for partner in terms["partner"] for edge in ("joined_at", "left_at") if edge in partner
        ]
        edges |= {_ms(moment) for moment in (*moments, terms["program"]["effective_from"])}
    return sorted(edge for edge in edges if abs(edge - _ms(anchor)) < 6 * DAY)


def _gaps(programs: list[Table]) -> list[int]:
    """Stretches between two events of a journey: plain ones, and the durations of the terms give or take 1 ms."""
    gaps = [HOUR, 6 * HOUR, 0, DAY, HOUR, 1, -HOUR]
    for terms in programs:
        attribution, qualification = terms.get("attribution", {}), terms.get("qualification", {})
        texts = [attribution.get(name, "1h") for name in ("click_window", "order_window", "half_life")]
        for text in (*texts, qualification.get("min_click_to_sign_up", "1h")):
            length = int(text[:-1]) * UNIT_MS[text[-1]]
            gaps += [length, length - 1] if length <= 4 * DAY else []
    return gaps
