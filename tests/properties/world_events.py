"""Events of made-up worlds (contract, section 2), timed at the edges of their programs' terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.properties.choices import Choices, maybe
from tests.properties.world_terms import CODES, EMAILS, Table
from tests.reference.examples import DAY, HOUR

Event = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNIT_MS = {"s": 1_000, "m": 60_000, "h": HOUR, "d": DAY, "w": 7 * DAY}
# Their order by UTF-8 bytes differs from that by UTF-16 units, by case-folding and by length.
PREFIXES = ("e", "e", "d", "f", "E", "\N{LATIN SMALL LETTER E WITH ACUTE}", "\uffee", "\U0001d51e")
CUSTOMERS = ("c1", "c2", "c3", "c4", "c5", "c6")
VISITORS = ("v1", "v2", "v3", "v4", "v5")
AMOUNTS = (5_000, 1_000, 999, 3_333, 1, 0, 10_001, 2_500, 12_345)
AWKWARD = ("x", "y", 'q"\\/', "\x1f\t\u007f", "\u2028\u00e9", "\U0001d51e", "\uffee")


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
        maybe(self.choose, click, "link_id", ("l1", "l2"), 50)
        maybe(self.choose, click, "campaign", AWKWARD, 10)
        brand.clicks.append(click)
        self._arrive(click)

    def _sign_up(self, brand: _Brand, at: int, customer_id: str, visitor_id: str) -> None:
        sign_up = {**self._base("sign_up", brand, at), "customer_id": customer_id}
        self._name_touchpoints(sign_up, brand, visitor_id)
        maybe(self.choose, sign_up, "email_sha256", (*EMAILS, "cc" * 32), 25)
        brand.sign_ups.append(sign_up)
        self._arrive(sign_up)

    def _order(self, brand: _Brand, at: int, customer_id: str, visitor_id: str) -> Event:
        choose = self.choose
        order = {**self._base("order", brand, at), "customer_id": customer_id, "currency": brand.currency}
        order["order_id"] = f"o{len(brand.orders) if choose.chance(92) else choose.integer(0, len(brand.orders))}"
        order["amount_minor"] = choose.pick(AMOUNTS)
        self._name_touchpoints(order, brand, visitor_id)
        maybe(choose, order, "payment_fingerprint", AWKWARD, 10)
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
        maybe(choose, conversion, "coupon_code", (*CODES, "unheard-of"), 18)

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
