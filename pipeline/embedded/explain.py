"""`crosscredit explain`: why this partner, why not the others, under which terms, and what it came to.

The decision is taken afresh from the facts in state, so it also shows the clicks that came after the conversion, and it
is the same decision that the tables hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.domain.attribution import AFTER_CONVERSION, EXPLAINED_BEFORE_WINDOW_MS, Conversion, Touchpoint
from pipeline.domain.calendar import zone_info
from pipeline.domain.rows import ReferralRow
from pipeline.domain.story import Click
from pipeline.domain.terms import Catalogue, Terms
from pipeline.embedded.database import Database
from pipeline.embedded.runner import kept_terms
from pipeline.embedded.summary import REMEDIES, money
from pipeline.state.keys import key
from pipeline.steps.credit import CreditStep, Decision

_MOST_LATER_CLICKS = 20
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000

_FIND = """
SELECT DISTINCT brand_id, customer_id, conversion_id FROM current_attributions
WHERE conversion_id = {id:String} OR order_id = {id:String} ORDER BY ALL
"""
_LEDGER = """
SELECT kind, partner_id, order_id, amount_minor, currency, toUnixTimestamp64Milli(occurred_at),
       toUnixTimestamp64Milli(payable_at), terms_version
FROM current_ledger_entries
WHERE program_id = {program:String} AND customer_id = {customer:String} AND (order_id = {order:String} OR order_id = '')
ORDER BY occurred_at, kind, partner_id, order_id
"""
_NOT_A_CONVERSION = {
    "current_clicks": "a click. Ask for a sign-up or an order; this click is listed where it was considered.",
    "current_sign_ups": "a sign-up that is no conversion: not the customer's first in this brand, or no program of the "
    "brand credits sign-ups. It only binds its visitor to the customer.",
    "current_refunds": "a refund. Ask for its order: what it takes back is listed there.",
}
_MODELS = {
    "first_touch": "the first click takes the credit",
    "last_touch": "the last click takes the credit",
    "linear": "all clicks share alike",
    "position_based": "the first and the last click take 40 % each, those between them share the rest",
    "time_decay": "a click counts half as much for each half-life before the last one",
    "coupon": "the partner's coupon takes the credit",
    "click_id": "the event names the click that takes the credit",
    "inherited": "an order takes over the credit of its customer's sign-up",
}


def explain(database: Database, wanted: str) -> list[str]:
    """The explanation as lines of text; empty if nothing of this id is known.

    ``wanted`` is the event_id of a conversion or an order_id; where several brands or customers use it, all are
    explained.
    """
    catalogue = kept_terms(database)
    credit = CreditStep(database.store, catalogue)
    lines: list[str] = []
    for brand_id, customer_id, conversion_id in _rows(database, _FIND, id=wanted):
        (facts,) = credit.load([key(brand_id, customer_id)])
        decision = credit.decide(facts)
        for conversion in decision.conversions:
            if conversion.position.event_id == conversion_id:
                lines += [""] if lines else []
                lines += _Telling(database, catalogue, decision, conversion).lines()
    return lines or _otherwise(database, wanted)


def _otherwise(database: Database, wanted: str) -> list[str]:
    """What is known of an id that is no conversion's."""
    for view, words in _NOT_A_CONVERSION.items():
        if _rows(database, f"SELECT 1 FROM {view} WHERE event_id = {{id:String}} LIMIT 1", id=wanted):
            return [f"{wanted} is {words}"]
    dead = _rows(
        database,
        "SELECT source, position, reason, raw FROM current_dead_letters WHERE position(raw, {id:String}) > 0 LIMIT 5",
        id=wanted,
    )
    return [
        f"{source}:{position} names {wanted} and was not accepted: {reason} ({REMEDIES.get(reason, '')}). "
        f"It says: {raw[:300]}"
        for source, position, reason, raw in dead
    ]


def _rows(database: Database, sql: str, **parameters: str) -> Sequence[Any]:
    return database.warehouse.query(sql, parameters)


class _Telling:
    """One conversion told in words."""

    def __init__(self, database: Database, catalogue: Catalogue, decision: Decision, conversion: Conversion) -> None:
        self._database = database
        self._catalogue = catalogue
        self._decision = decision
        self._conversion = conversion
        programs = catalogue.by_brand.get(decision.story.brand_id, ())
        program = conversion.credit.terms if conversion.credit is not None else (programs[0] if programs else None)
        self._zone = program.time_zone if program is not None else "UTC"
        self._of_sign_up = next((each for each in decision.conversions if each.type == "sign_up"), None)
        # An inherited order shows its sign-up's touchpoints: windows and rules are those of the sign-up.
        self._judged = self._of_sign_up if conversion.inherited_from and self._of_sign_up is not None else conversion

    def lines(self) -> Iterator[str]:
        """The whole answer."""
        yield from self._heading()
        yield ""
        yield "What was considered, latest first"
        touchpoints = self._conversion.touchpoints
        for touchpoint in touchpoints:
            yield f"  {self._time(touchpoint.at)}  {self._touchpoint(touchpoint)}"
        if not touchpoints:
            yield "  nothing: no click of this customer's visitors, and no known coupon"
        if self._conversion.touchpoints_omitted:
            yield f"  … and {self._conversion.touchpoints_omitted} earlier clicks"
        yield from self._later_clicks()
        yield from self._earned()

    def _heading(self) -> Iterator[str]:
        conversion, story = self._conversion, self._decision.story
        what = "Sign-up"
        if conversion.order is not None:
            currency = self._catalogue.currency_of.get(story.brand_id, "XXX")
            what = f"Order {conversion.order.order_id} of {money(conversion.order.amount_minor, currency)}"
        at = conversion.position.at
        when = f"{self._time(at)} ({self._zone})"
        yield f"{what} by {story.customer_id} at {story.brand_id}, {when}, event {conversion.position.event_id}"
        credit = conversion.credit
        if credit is None:
            yield f"Credited to nobody: {self._why_nobody()}"
            return
        shares = ", ".join(
            f"{self._name(credit.terms, share.partner_id)} {share.share_bps / 100:g} %" for share in credit.shares
        )
        yield f"Credited to {shares} in {credit.program_id}"
        yield f"because {_MODELS[credit.model]}"
        since = self._time(credit.terms.effective_from_ms)
        which = "the sign-up's time" if credit.model == "inherited" else "that time"
        yield f"under version {credit.terms.version} of the terms, in force at {which} (since {since})"
        if conversion.inherited_from:
            signed_up_at = story.sign_up.at if story.sign_up is not None else at
            ends = self._time(signed_up_at + credit.terms.order_window_ms)
            yield f"The sign-up is event {conversion.inherited_from}; orders inherit from it until {ends}."

    def _why_nobody(self) -> str:
        ended = self._order_window_ended()
        if ended:
            return f"orders could inherit from the sign-up only until {ended}."
        verdicts = {touchpoint.verdict for touchpoint in self._conversion.touchpoints}
        if not verdicts and self._decision.story.touchpoints_at(self._conversion.position.at):
            return "every click was far too old."
        if not verdicts:
            return "no click or coupon leads to this customer."
        if verdicts == {"expired"}:
            return "every click was too old."
        if "not_contending" in verdicts:
            return "no program credits a conversion like this one (see below)."
        return "no click or coupon met the terms (see below)."

    def _order_window_ended(self) -> str:
        """When the order window of the customer's credited sign-up ended, if this is an order that came after it."""
        sign_up = self._of_sign_up
        if self._conversion.order is None or sign_up is None or sign_up.credit is None:
            return ""
        ends_at = sign_up.position.at + sign_up.credit.terms.order_window_ms
        return self._time(ends_at) if self._conversion.position.at >= ends_at else ""

    def _touchpoint(self, touchpoint: Touchpoint) -> str:
        terms = self._terms(touchpoint)
        who = self._name(terms, touchpoint.partner_id) + f" ({touchpoint.program_id})"
        what = f"coupon {touchpoint.code}" if touchpoint.kind == "coupon" else f"click {touchpoint.click_id}"
        return f"{what} of {who}: {self._verdict(touchpoint, terms)}"

    def _verdict(self, touchpoint: Touchpoint, terms: Terms | None) -> str:
        at = self._judged.position.at
        credit = self._judged.credit
        what = self._judged.type.replace("_", "-")
        until = self._time(touchpoint.window_ends_at) if touchpoint.window_ends_at is not None else ""
        match touchpoint.verdict:
            case "credited":
                window = f"; it could earn until {until}" if until else ""
                before = f"{_span(at - touchpoint.at)} before the {what}"
                if touchpoint.kind == "coupon":
                    before = f"it was used with the {what}"
                return f"CREDITED with {touchpoint.share_bps / 100:g} %, {before}{window}"
            case "outranked":
                return f"outranked: {_MODELS[credit.model] if credit is not None else 'by another touchpoint'}"
            case "expired":
                return f"expired: it could earn until {until}, the {what} came {_span(at - touchpoint.at)} after it"
            case "partner_inactive":
                if terms is None:
                    return "the program had no terms in force yet"
                return "the partner was not in the program at that time"
            case "own_account":
                return "it is the partner's own account: nobody earns on themselves"
            case "other_program":
                winner = credit.program_id if credit is not None else "another program"
                return f"not credited: {winner} won this conversion whole, a conversion is credited once"
            case _:
                kind = "sign-ups" if terms is not None and terms.credit == "sign_up" else "orders"
                return f"not credited: its program credits {kind}, and this conversion is not one that it won"

    def _later_clicks(self) -> Iterator[str]:
        at = self._conversion.position.at
        later = [click for click in self._decision.story.clicks if click.at > at]
        early = self._unbound_clicks(at)
        if later or early:
            yield ""
            yield "Clicks that could not count"
        for click in early:
            yield f"  {self._click(click)}: its visitor was not known to be this customer then"
        for click in later[:_MOST_LATER_CLICKS]:
            yield f"  {self._click(click)}: {AFTER_CONVERSION}, {_span(click.at - at)} too late"
        if len(later) > _MOST_LATER_CLICKS:
            yield f"  … and {len(later) - _MOST_LATER_CLICKS} later clicks"

    def _click(self, click: Click) -> str:
        program = self._catalogue.programs.get(click.program_id)
        terms = program.in_force_at(click.at) if program is not None else None
        who = self._name(terms, click.partner_id)
        return f"{self._time(click.at)}  click {click.event_id} of {who} ({click.program_id})"

    def _unbound_clicks(self, at: int) -> list[Click]:
        """Earlier clicks of visitors that only a later event bound to the customer."""
        story = self._decision.story
        brand = self._catalogue.brand_at(story.brand_id, at)
        horizon = at - brand.longest_click_window_ms - EXPLAINED_BEFORE_WINDOW_MS
        counted = set(story.touchpoints_at(at))
        return [click for click in story.clicks if horizon <= click.at <= at and click not in counted]

    def _earned(self) -> Iterator[str]:
        credit = self._conversion.credit
        if credit is None:
            return
        referral = next(
            (row for row in self._decision.referrals if row.program_id == credit.program_id), None
        )  # fmt: skip
        yield ""
        if referral is not None:
            yield f"The referral is {self._referral(referral)}."
        order_id = self._conversion.order.order_id if self._conversion.order is not None else ""
        story = self._decision.story
        entries = _rows(
            self._database, _LEDGER, program=credit.program_id, customer=story.customer_id, order=order_id
        )  # fmt: skip
        if not entries:
            yield "The ledger has no entry for it." + (
                "" if order_id else " What its orders earned is listed under each of them."
            )
            return
        yield "In the ledger"
        for kind, partner_id, of_order, amount, currency, occurred_at, payable_at, version in entries:
            whom = "the customer" if kind.startswith("customer_reward") else self._name(credit.terms, partner_id)
            which = f" for order {of_order}" if of_order else ""
            yield (
                f"  {self._time(occurred_at)}  {kind.replace('_', ' ')}{which}: {money(amount, currency)} to {whom}, "
                f"payable {self._time(payable_at)}, version {version}"
            )

    def _referral(self, referral: ReferralRow) -> str:
        match referral.status:
            case "rejected" if referral.reason == "existing_customer":
                return "rejected: the customer had ordered before, and the program counts new customers only"
            case "rejected":
                return "rejected: the sign-up came too soon after the click"
            case "qualified":
                return f"qualified since {self._time(referral.qualified_at or 0)}"
            case "reversed":
                return f"reversed since {self._time(referral.reversed_at or 0)}: refunds took back what qualified it"
            case _:
                return "pending: no credited order is large enough yet"

    def _terms(self, touchpoint: Touchpoint) -> Terms | None:
        program = self._catalogue.programs.get(touchpoint.program_id)
        if program is None or not touchpoint.terms_version:
            return None
        return program.numbered(touchpoint.terms_version)

    @staticmethod
    def _name(terms: Terms | None, partner_id: str) -> str:
        partner = terms.partners.get(partner_id) if terms is not None else None
        return partner.name if partner is not None else partner_id

    def _time(self, at_ms: int) -> str:
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone_info(self._zone))
        return local.strftime("%Y-%m-%d %H:%M:%S")


def _span(ms: int) -> str:
    """A length of time in one or two units."""
    if ms >= 2 * _DAY_MS:
        return f"{ms // _DAY_MS} days"
    if ms >= 2 * _HOUR_MS:
        return f"{ms // _HOUR_MS} hours"
    if ms >= 2 * _MINUTE_MS:
        return f"{ms // _MINUTE_MS} minutes"
    return f"{ms / 1000:g} seconds"
