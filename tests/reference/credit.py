"""Contract section 4, from Who is who to Credit, and the explanation: who earned which conversion, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .admission import Admitted, Event, event_order
from .shares import model_shares
from .terms import UNIT_MS, Partner, Program, Version

SEVEN_DAYS = 7 * UNIT_MS["d"]
MOST_CLICKS_LISTED = 100


@dataclass(frozen=True)
class Touchpoint:
    """A click, or the use of a coupon, that may earn credit; `click` is None for a coupon, `code` "" for a click."""

    at: int
    program_id: str
    partner_id: str
    click: Event | None
    code: str


@dataclass(frozen=True)
class Story:
    """What stands of one customer in one brand; `clicks` are all of the brand, in event order."""

    brand_id: str
    customer_id: str
    sign_ups: list[Event]
    orders: list[Event]
    clicks: list[Event]
    programs: list[Program]

    @property
    def sign_up(self) -> Event | None:
        """ "The customer's sign-up is its first in the brand; later ones only bind visitors." """
        return min(self.sign_ups, key=event_order, default=None)

    def email_at(self, at_ms: int) -> str:
        """ "email_sha256 of the customer's sign-up if that is dated no later than `t`", "" if there is none."""
        if self.sign_up is None or self.sign_up["occurred_at"] > at_ms:
            return ""
        return str(self.sign_up.get("email_sha256", ""))

    def touchpoint_clicks(self, at_ms: int) -> list[Event]:
        """ "A conversion's touchpoints are all clicks, whenever made, of the visitors bound by an event dated no later
        than it." Those made after the conversion are left out here: neither candidates nor explanation want them.
        """
        bound = {e.get("visitor_id") for e in self.sign_ups + self.orders if e["occurred_at"] <= at_ms} - {None}
        return [c for c in self.clicks if c["visitor_id"] in bound and c["occurred_at"] <= at_ms]


@dataclass(frozen=True)
class Decision:
    """What became of one conversion. `credited` is in event order; shares are above 0 and sum to 10 000, or empty.

    `version` is the winner's in force at the credited conversion: for an inherited order, the sign-up's.
    """

    conversion: Event
    program: Program | None
    version: Version | None
    model: str
    credited: list[tuple[Touchpoint, int]]
    explanation: list[dict[str, Any]]

    @property
    def share_bps(self) -> dict[str, int]:
        """ "a partner's shares add up"."""
        shares: dict[str, int] = {}
        for touchpoint, share in self.credited:
            shares[touchpoint.partner_id] = shares.get(touchpoint.partner_id, 0) + share
        return shares

    def latest_touchpoint(self, partner_id: str) -> Touchpoint:
        """The partner's latest credited touchpoint."""
        return [touchpoint for touchpoint, _ in self.credited if touchpoint.partner_id == partner_id][-1]

    @property
    def primary_partner(self) -> str:
        """ "The primary partner has the largest share (ties: the latest touchpoint)." """
        shares = self.share_bps
        partners_latest_first = [touchpoint.partner_id for touchpoint, _ in reversed(self.credited)]
        return next(p for p in partners_latest_first if shares[p] == max(shares.values()))


def stories(admitted: Admitted, programs: dict[str, Program]) -> list[Story]:
    """One story for each customer of each brand, "customer, order and visitor ids are a brand's own"."""
    names = {(e["brand_id"], e["customer_id"]) for e in admitted.sign_ups + admitted.orders}
    return [
        Story(
            brand_id=brand,
            customer_id=customer,
            sign_ups=[e for e in admitted.sign_ups if (e["brand_id"], e["customer_id"]) == (brand, customer)],
            orders=[e for e in admitted.orders if (e["brand_id"], e["customer_id"]) == (brand, customer)],
            clicks=[e for e in admitted.clicks if e["brand_id"] == brand],
            programs=[p for p in programs.values() if p.brand_id == brand],
        )
        for brand, customer in sorted(names)
    ]


def decisions(story: Story) -> list[Decision]:
    """A decision for each conversion of the customer, the sign-up first.

    "A sign-up is a conversion only in a brand with a credit = "sign_up" program." Every order is a conversion.
    """
    sign_up = None
    if story.sign_up is not None and any(p.credit == "sign_up" for p in story.programs):
        sign_up = decide(story, story.sign_up, None)
    orders = [decide(story, order, sign_up) for order in story.orders]
    return orders if sign_up is None else [sign_up, *orders]


def decide(story: Story, conversion: Event, sign_up: Decision | None) -> Decision:
    """Candidates, priority and credit of one conversion; `sign_up` is the customer's decided sign-up, for orders."""
    at = conversion["occurred_at"]
    clicks, coupons = _considered(story, conversion)
    candidates = [t for t in clicks + coupons if not _obstacle(story, t, at)]

    # "Of the brand's programs with a candidate the one with the highest priority takes the conversion, whole (ties:
    # smallest program id)". "For a sign-up only credit = "sign_up" programs contend." For an order "the credit =
    # "order" programs".
    crediting = "sign_up" if conversion["type"] == "sign_up" else "order"
    contenders: list[tuple[int, bytes, Program]] = []
    for program in story.programs:
        version = program.in_force(at)
        if version and program.credit == crediting and any(t.program_id == program.id for t in candidates):
            contenders.append((-version.priority, program.id.encode(), program))
    # "For an order the contenders are the program that won the customer's sign-up, at the sign-up's priority, if
    # `s <= o < s + order_window`".
    if sign_up is not None and sign_up.program is not None and sign_up.version is not None:
        signed_up_at = sign_up.conversion["occurred_at"]
        if signed_up_at <= at < signed_up_at + sign_up.version.order_window:
            contenders.append((-sign_up.version.priority, sign_up.program.id.encode(), sign_up.program))
    winner = min(contenders, default=(0, b"", None), key=lambda contender: contender[:2])[2]

    if winner is None:
        return Decision(conversion, None, None, "", [], _explain(story, at, clicks, coupons, crediting, None, []))
    if sign_up is not None and winner is sign_up.program:
        # "An order of a sign-up's winner inherits the sign-up's shares (model `inherited`), whatever coupon or
        # click_id it carries." "An inherited order shows its sign-up's."
        return Decision(conversion, winner, sign_up.version, "inherited", sign_up.credited, sign_up.explanation)
    version = winner.in_force(at)
    assert version is not None
    model, credited = _credit(conversion, version, [t for t in candidates if t.program_id == winner.id])
    explanation = _explain(story, at, clicks, coupons, crediting, winner, credited)
    return Decision(conversion, winner, version, model, credited, explanation)


def _considered(story: Story, conversion: Event) -> tuple[list[Touchpoint], list[Touchpoint]]:
    """Clicks dated no later than the conversion, in event order; its coupon, for each program that knows it."""
    at = conversion["occurred_at"]
    clicks = [
        Touchpoint(c["occurred_at"], c["program_id"], c["partner_id"], c, "") for c in story.touchpoint_clicks(at)
    ]
    code = conversion.get("coupon_code")
    coupons = []
    for program in story.programs if code is not None else []:
        version = program.in_force(at)
        owner = version.coupon_owner(str(code)) if version else None
        if owner is not None:
            coupons.append(Touchpoint(at, program.id, owner.id, None, str(code)))
    return clicks, coupons


def _obstacle(story: Story, touchpoint: Touchpoint, at: int) -> str:
    """Why a touchpoint is no candidate of a conversion at `at`, the first that applies; "" if it is one.

    "clicks `c` of that program with `c <= t` and `t < c + click_window`, whose partner had joined and not left at `c`,
    and whose partner's own account the customer is not"; a coupon the same at `t`, without a window.
    "Partners' joining, leaving, coupons and accounts are read in the version at the conversion; a partner not in it is
    inactive." "a conversion from before it [the first version] credits nothing".
    """
    version = _program(story, touchpoint).in_force(at)
    if version is None:
        return "partner_inactive"
    if touchpoint.click is not None and not at < touchpoint.at + version.click_window:
        return "expired"
    partner = version.partner(touchpoint.partner_id)
    if partner is None or not partner.active_at(touchpoint.at):
        return "partner_inactive"
    if _owns(partner, story.customer_id, story.email_at(at)):
        return "own_account"
    return ""


def _owns(partner: Partner, customer_id: str, email_sha256: str) -> bool:
    return customer_id in partner.customer_ids or (email_sha256 != "" and email_sha256 in partner.email_sha256)


def _program(story: Story, touchpoint: Touchpoint) -> Program:
    return next(p for p in story.programs if p.id == touchpoint.program_id)


def _credit(
    conversion: Event, version: Version, candidates: list[Touchpoint]
) -> tuple[str, list[tuple[Touchpoint, int]]]:
    """The model's name and the credited touchpoints with their basis points, in event order."""
    clicks = [t for t in candidates if t.click is not None]
    coupon = next((t for t in candidates if t.click is None), None)
    # "With `coupon_first` a coupon takes the whole credit (model `coupon`); with `click_first` only if no click is a
    # candidate."
    if coupon is not None and (version.coupon_precedence == "coupon_first" or not clicks):
        return "coupon", [(coupon, 10_000)]
    # "Else a `click_id` that is the event_id of a candidate (of several the latest) takes it (model `click_id`); it
    # binds nobody."
    named = [t for t in clicks if t.click is not None and t.click["event_id"] == conversion.get("click_id")]
    if named:
        return "click_id", [(named[-1], 10_000)]
    # "Else the model, over the clicks that are candidates"; "a share of 0 is no credit"
    shares = model_shares(version.model, [t.at for t in clicks], version.half_life)
    return version.model, [(t, share) for t, share in zip(clicks, shares, strict=True) if share > 0]


def _explain(
    story: Story,
    at: int,
    clicks: list[Touchpoint],
    coupons: list[Touchpoint],
    crediting: str,
    winner: Program | None,
    credited: list[tuple[Touchpoint, int]],
) -> list[dict[str, Any]]:
    """ "each touchpoint considered (the customer's clicks in the brand dated no later than the conversion and up to 7
    days older than its longest click_window, latest first, at most 100)", coupons at the head by program id.
    """
    in_force = [version for program in story.programs if (version := program.in_force(at))]
    horizon = at - max((version.click_window for version in in_force), default=0) - SEVEN_DAYS
    listed = [t for t in reversed(clicks) if t.at >= horizon][:MOST_CLICKS_LISTED]
    rows = []
    for touchpoint in sorted(coupons, key=lambda t: t.program_id.encode()) + listed:
        version = _program(story, touchpoint).in_force(at)
        share = sum(share for t, share in credited if t is touchpoint)
        verdict = _obstacle(story, touchpoint, at)
        if not verdict and winner is None:
            # A candidate of a program that could have contended would have won the conversion for it.
            assert _program(story, touchpoint).credit != crediting
            verdict = "not_contending"
        elif not verdict and winner is not None and touchpoint.program_id != winner.id:
            verdict = "other_program"
        elif not verdict:
            verdict = "credited" if share else "outranked"
        click = touchpoint.click
        rows.append(
            {
                "kind": "coupon" if click is None else "click",
                "click_id": "" if click is None else click["event_id"],
                "code": touchpoint.code,
                "at": touchpoint.at,
                "partner_id": touchpoint.partner_id,
                "program_id": touchpoint.program_id,
                "verdict": verdict,
                "share_bps": share,
                "window_ends_at": None if click is None or version is None else touchpoint.at + version.click_window,
                "terms_version": 0 if version is None else version.version,
            }
        )
    return rows
