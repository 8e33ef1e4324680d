"""One customer's story in one brand, told event by event together with what must come of it.

A :class:`Story` writes the events and keeps what it knows: who is credited, by which model, whether the referral
qualifies. It knows this from its author (the scenes), not from the pipeline, whose domain code is not used here.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from random import Random
from typing import Any, Final, Literal

from pipeline.demo.cast import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PARTNER_SITES,
    SEASON_END_MS,
    SEASON_START_MS,
    SECOND_MS,
    Program,
    Version,
    load_programs,
)

Event = dict[str, Any]
When = tuple[int, str]
"""A place on the timeline: occurred_at in epoch milliseconds, then event_id."""
Status = Literal["pending", "qualified", "reversed", "rejected", "none"]
"""How a story ends for the referral; "none" where nobody is credited with the customer."""

CAMPAIGNS: Final = ("autumn-table", "gift-guide", "newsletter", "reel", "packaging-qr", "blog")
USER_AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/141.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_5) Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/143.0",
)
_DAY_WEIGHTS: Final = [
    (1.0 + 0.004 * day)
    * (1.9 if 55 <= day < 85 else 0.7 if 92 <= day < 120 else 1.0)
    * (1.25 if day % 7 in (3, 4) else 1.0)
    for day in range((SEASON_END_MS - SEASON_START_MS) // DAY_MS + 1)
]
_HOUR_WEIGHTS: Final = (1, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 8, 9, 8, 7, 7, 7, 8, 10, 12, 13, 11, 7, 3)
_DAYS: Final = list(accumulate(_DAY_WEIGHTS))
_HOURS: Final = list(accumulate(_HOUR_WEIGHTS))


@dataclass(frozen=True, slots=True)
class Credit:
    """Who is credited with a conversion: basis points by partner, summing to 10 000, and the partner that counts."""

    model: str
    shares: tuple[tuple[str, int], ...]
    primary: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """A sign-up or order, and who is credited with it; ``credit`` None where nobody is."""

    brand_id: str
    type: Literal["sign_up", "order"]
    program_id: str
    credit: Credit | None


@dataclass(slots=True)
class Bought:
    """An order that stands, its refunds, and where it is credited the version that prices it."""

    order_id: str
    when: When
    amount_minor: int
    credit: Credit | None = None
    version: Version | None = None
    refunds: list[tuple[When, int]] = field(default_factory=list)

    def net_minor(self, until: When) -> int:
        """What the customer has kept by ``until``; an order that is still to come counts nothing."""
        if until < self.when:
            return 0
        return max(0, self.amount_minor - sum(amount for when, amount in self.refunds if when <= until))

    def changes(self) -> list[When]:
        """The moments when the net amount changes."""
        return sorted({max(when, self.when) for when, _ in self.refunds} | {self.when})


@dataclass(frozen=True, slots=True)
class Referral:
    """What the generator knows of one customer credited in one program."""

    program: Program
    customer_id: str
    partner_id: str
    status: Status
    reason: str
    version: Version
    signed_up: When | None
    moves: tuple[tuple[When, int], ...]
    orders: tuple[Bought, ...]


@dataclass
class Known:
    """Everything that the generator knows of the stories told so far."""

    conversions: list[Conversion] = field(default_factory=list)
    referrals: list[Referral] = field(default_factory=list)
    unmatched_refunds: int = 0
    showcases: dict[str, str] = field(default_factory=dict)
    orders: list[Event] = field(default_factory=list)


@dataclass
class World:
    """The season so far: its dice, its programs, the events that stand, and what is known of them."""

    rng: Random
    programs: dict[str, Program] = field(default_factory=load_programs)
    events: list[Event] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    customers: int = 0

    def token(self, prefix: str) -> str:
        """An id as product systems make them."""
        return f"{prefix}{self.rng.getrandbits(64):016x}"

    def between(self, least_ms: int, most_ms: int) -> int:
        """A duration, or a moment, from an interval."""
        return least_ms + int(self.rng.random() * (most_ms - least_ms))

    def moment(self, from_ms: int = SEASON_START_MS, until_ms: int = SEASON_END_MS) -> int:
        """A believable moment of the season in [from_ms, until_ms): busy evenings, a full December, a slow January."""
        rng = self.rng
        while True:
            day = bisect(_DAYS, rng.random() * _DAYS[-1])
            hour = bisect(_HOURS, rng.random() * _HOURS[-1])
            at_ms = SEASON_START_MS - 6 * HOUR_MS + day * DAY_MS + hour * HOUR_MS + int(rng.random() * HOUR_MS)
            if from_ms <= at_ms < until_ms:
                return at_ms

    def partner(self, program: Program) -> str:
        """A partner of the program's crowd."""
        return self.rng.choices(list(program.partners), list(program.partners.values()))[0]

    def partners(self, program: Program, count: int) -> list[str]:
        """Several different ones, in random order."""
        chosen: dict[str, None] = {}
        while len(chosen) < count:
            chosen.setdefault(self.partner(program))
        return list(chosen)

    def story(self, program_id: str, *, customer_id: str = "", visitor_id: str = "", email: str = "") -> Story:
        """A new customer of the program's brand, with a device of its own unless told otherwise."""
        self.customers += 1
        program = self.programs[program_id]
        customer_id = customer_id or f"{program.brand.order_prefix.lower()}-{100_000 + self.customers}"
        return Story(self, program, customer_id, visitor_id or self.token("v"), email or f"{customer_id}@mail.example")

    def click(self, at_ms: int, program: Program, partner_id: str, visitor_id: str) -> str:
        """Write one click; its event_id."""
        rng = self.rng
        event_id = f"clk_{rng.getrandbits(64):016x}"
        base = _click_base(program.brand.site, program.brand.id, program.id, partner_id)
        campaign = CAMPAIGNS[int(rng.random() * 6)]
        self.events.append(
            {
                "type": "click",
                "event_id": event_id,
                "occurred_at": at_ms,
                **base,
                "visitor_id": visitor_id,
                "link_id": f"{partner_id}-{campaign}",
                "campaign": campaign,
                "variant": "A" if rng.random() < 0.5 else "B",
                "ip": f"198.51.{rng.getrandbits(7)}.{rng.getrandbits(8)}",
                "user_agent": USER_AGENTS[int(rng.random() * 4)],
                "country": program.brand.countries[int(rng.random() * len(program.brand.countries))],
            }
        )
        return event_id


@cache
def _click_base(site: str, brand_id: str, program_id: str, partner_id: str) -> Event:
    return {
        "brand_id": brand_id,
        "program_id": program_id,
        "partner_id": partner_id,
        "landing_url": f"https://{site}/?via={partner_id}",
        "referrer_url": f"https://{PARTNER_SITES[partner_id]}/friends",
    }


class Story:
    """One customer of one brand. Call the verbs in any order, then :meth:`ends`."""

    def __init__(self, world: World, program: Program, customer_id: str, visitor_id: str, email: str) -> None:
        self.world = world
        self.program = program
        self.customer_id = customer_id
        self.visitor_id = visitor_id
        self.bought: list[Bought] = []
        self._email_sha256 = hashlib.sha256(email.encode()).hexdigest()
        self._sign_up: tuple[When, Credit | None] | None = None

    def click(self, at_ms: int, partner_id: str, *, visitor_id: str = "", program_id: str = "") -> str:
        """The customer clicks a partner's link; the click's event_id."""
        program = self.world.programs[program_id] if program_id else self.program
        return self.world.click(at_ms, program, partner_id, visitor_id or self.visitor_id)

    def credit(self, partner_id: str, model: str = "") -> Credit:
        """The whole credit for one partner, by the program's model unless another word is given."""
        return Credit(model or self.program.model, ((partner_id, 10_000),), partner_id)

    def signs_up(
        self, at_ms: int, credit: Credit | None, *, coupon_code: str = "", click_id: str = "", visitor_id: str = ""
    ) -> str:
        """The customer's one sign-up, and who is credited with it; its event_id."""
        world, brand = self.world, self.program.brand
        event_id = world.token("sup_")
        self._emit("sign_up", event_id, at_ms, visitor_id=visitor_id or self.visitor_id, coupon_code=coupon_code,
                   click_id=click_id, email_sha256=self._email_sha256, country=brand.countries[0])  # fmt: skip
        if any(program.by_sign_up for program in world.programs.values() if program.brand is brand):
            world.known.conversions.append(Conversion(brand.id, "sign_up", self.program.id if credit else "", credit))
        self._sign_up = ((at_ms, event_id), credit)
        return event_id

    def signs_up_again(self, at_ms: int) -> None:
        """A second sign-up of the same customer, on another device: it only ties that device to the customer."""
        self._emit("sign_up", self.world.token("sup_"), at_ms, visitor_id=self.world.token("v"))

    def buys(
        self,
        at_ms: int,
        amount_minor: int,
        credit: Credit | None = None,
        *,
        alone: bool = False,
        coupon_code: str = "",
        click_id: str = "",
        visitor_id: str = "",
    ) -> Bought:
        """An order. Where sign-ups bind customers it inherits the sign-up's credit, unless it stands ``alone``."""
        world, program = self.world, self.program
        event_id, order_id = world.token("ord_"), f"{program.brand.order_prefix}-{world.rng.getrandbits(40):010x}"
        version: Version | None = None
        (signed_up_at, _), signed = self._sign_up or ((0, ""), None)
        if program.by_sign_up and signed is not None and not alone:
            credit, version = Credit("inherited", signed.shares, signed.primary), program.in_force(signed_up_at)
        elif credit is not None:
            version = program.in_force(at_ms)
        bought = Bought(order_id, (at_ms, event_id), amount_minor, credit, version)
        self.bought.append(bought)
        self._emit("order", event_id, at_ms, order_id=order_id, amount_minor=amount_minor, currency=program.currency,
                   visitor_id=visitor_id or self.visitor_id, coupon_code=coupon_code, click_id=click_id,
                   payment_fingerprint=f"pm_{self._email_sha256[:12]}")  # fmt: skip
        world.known.orders.append(world.events[-1])
        program_id = program.id if credit else ""
        world.known.conversions.append(Conversion(program.brand.id, "order", program_id, credit))
        return bought

    def returns(self, bought: Bought, at_ms: int, amount_minor: int = 0, reason: str = "refund") -> None:
        """Money goes back: so much of the order, or all of it."""
        event_id = self.world.token("ref_")
        amount_minor = amount_minor or bought.amount_minor
        bought.refunds.append(((at_ms, event_id), amount_minor))
        self._emit("refund", event_id, at_ms, order_id=bought.order_id, amount_minor=amount_minor,
                   currency=self.program.currency, reason=reason)  # fmt: skip

    def ends(self, status: Status, reason: str = "") -> None:
        """How the story ends for the referral; a scene whose arithmetic ends otherwise is wrong, and says so."""
        credited = tuple(bought for bought in self.bought if bought.credit is not None)
        moves: tuple[tuple[When, int], ...] = ()
        first: Credit | None = None
        if self._sign_up is not None and self._sign_up[1] is not None:
            first, first_at = self._sign_up[1], self._sign_up[0][0]
        elif credited:
            earliest = min(credited, key=lambda bought: bought.when)
            first, first_at = earliest.credit, earliest.when[0]
        if first is not None and status != "rejected":
            moves = self._moves(credited)
        found = "none" if first is None else status if status == "rejected" else _status(moves)
        if found != status:
            raise RuntimeError(f"a scene of {self.program.id} is to end {status}, but its events end {found}")
        if first is not None:
            signed_up = self._sign_up[0] if self._sign_up else None
            version = self.program.in_force(first_at)
            self.world.known.referrals.append(
                Referral(
                    self.program, self.customer_id, first.primary, status, reason, version, signed_up, moves, credited
                )
            )

    def _moves(self, credited: tuple[Bought, ...]) -> tuple[tuple[When, int], ...]:
        """When the referral begins to count, and when it ceases."""
        if not self.program.qualifies_by_order:
            return ((self._sign_up[0], 1),) if self._sign_up else ()
        moves: list[tuple[When, int]] = []
        counts = False
        for when in sorted({when for bought in credited for when in bought.changes()}):
            least = [bought.version.least_order_minor if bought.version else 0 for bought in credited]
            now = any(
                bought.net_minor(when) >= least_minor for bought, least_minor in zip(credited, least, strict=True)
            )
            if now != counts:
                moves.append((when, 1 if now else -1))
            counts = now
        return tuple(moves)

    def _emit(self, kind: str, event_id: str, at_ms: int, **fields: Any) -> None:
        world = self.world
        event = {"type": kind, "event_id": event_id, "occurred_at": at_ms, "brand_id": self.program.brand.id,
                 "customer_id": self.customer_id}  # fmt: skip
        event.update((name, value) for name, value in fields.items() if value != "")
        if kind != "refund":
            event["ip"] = f"198.51.{world.rng.getrandbits(7)}.{world.rng.getrandbits(8)}"
        world.events.append(event)


def _status(moves: tuple[tuple[When, int], ...]) -> Status:
    if not moves:
        return "pending"
    return "qualified" if moves[-1][1] > 0 else "reversed"


def soon(world: World) -> int:
    """The time from a click to the sign-up that it leads to: minutes, hours or days."""
    roll = world.rng.random()
    if roll < 0.6:
        return world.between(40 * SECOND_MS, 40 * MINUTE_MS)
    return world.between(HOUR_MS, DAY_MS) if roll < 0.85 else world.between(DAY_MS, 6 * DAY_MS)
