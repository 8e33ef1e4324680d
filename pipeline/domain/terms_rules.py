"""One terms file's content to :class:`Terms`, by every rule of contract.md, section 3, that one version can break.

Rules that compare versions or programs are in :mod:`pipeline.domain.terms_versions`. A key that the contract's comments
rule out beside another choice is a contradiction, whatever it holds; a key that another choice merely makes useless is
ignored once its type is right, and leaves the default in :class:`Terms`, so that it changes nothing, not even a
fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal, get_args

from pipeline.domain import terms_rows
from pipeline.domain.calendar import zone_names
from pipeline.domain.currencies import CURRENCIES
from pipeline.domain.terms import Credit, Model, Terms
from pipeline.domain.terms_reader import Findings, LineOf, Problem, Table, TermsError, key_name, nearest, no_line, show

__all__ = ["ARRAYS", "KEYS", "MAX_HOLD_DAYS", "Problem", "TermsError", "check_terms", "parse_terms"]

MAX_HOLD_DAYS: Final = 36_500
"""A hundred years: what occurs up to 2199 becomes payable before 2300, the last year that the result tables hold."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "program": ("id", "brand_id", "currency", "time_zone", "priority", "version", "effective_from"),
    "attribution": ("credit", "model", "click_window", "order_window", "half_life", "coupon_precedence"),
    "qualification": ("event", "min_order_minor", "new_customers_only", "min_click_to_sign_up"),
    "commission": ("kind", "rate_bps", "amount_minor", "orders", "hold"),
    "customer_reward": ("amount_minor",),
    "tier": ("from", "period", "rate_bps", "amount_minor"),
    "bonus": ("id", "first", "period", "scope", "amount_minor"),
    "milestone": (
        *("id", "metric", "threshold", "period", "scope", "partners"),
        *("each_at_least", "award_minor", "revocable"),
    ),
    "boost": ("id", "partner_id", "from", "until", "multiplier_bps"),
    "partner": ("id", "name", "segment", "joined_at", "left_at", "coupon_codes", "customer_ids", "email_sha256"),
}
"""Every table of a terms file, with its keys."""

ARRAYS: Final = frozenset({"tier", "bonus", "milestone", "boost", "partner"})
REQUIRED_TABLES: Final = ("program", "commission")

CREDITS: Final[tuple[Credit, ...]] = get_args(Credit)
MODELS: Final[tuple[Model, ...]] = get_args(Model)
PRECEDENCES: Final[tuple[Literal["coupon_first", "click_first"], ...]] = ("coupon_first", "click_first")
EVENTS: Final[tuple[Literal["order", "sign_up"], ...]] = ("order", "sign_up")
KINDS: Final[tuple[Literal["percentage", "flat"], ...]] = ("percentage", "flat")
ORDERS: Final[tuple[Literal["all", "first"], ...]] = ("all", "first")


def check_terms(
    document: Mapping[str, object], file: str, line_of: LineOf = no_line
) -> tuple[Terms | None, tuple[Problem, ...]]:
    """The terms that a parsed file means, or None and everything that is wrong with it.

    ``document`` is what ``tomllib`` returns; ``file`` is the name that problems give it.
    """
    findings = Findings(file, line_of)
    terms = _Reader(document, findings).terms()
    problems = tuple(sorted(findings.problems, key=lambda each: each.line or 0))
    return (None if problems else terms), problems


def parse_terms(document: Mapping[str, object], file: str, line_of: LineOf = no_line) -> Terms:
    """As :func:`check_terms`; TermsError with all its problems if the file has any."""
    terms, problems = check_terms(document, file, line_of)
    if terms is None:
        raise TermsError(problems)
    return terms


class _Reader:
    """Reads the tables of one file, each by its own method, and then what concerns several of them."""

    def __init__(self, document: Mapping[str, object], findings: Findings) -> None:
        self.document = document
        self.findings = findings
        self._check_tables()
        self.program = self._table("program")
        self.attribution = self._table("attribution")
        self.qualification = self._table("qualification")
        self.commission = self._table("commission")

    def terms(self) -> Terms:
        """The terms as far as they can be read; worth nothing if the findings have problems."""
        program, attribution = self.program, self.attribution
        qualification, commission = self.qualification, self.commission
        credit = attribution.word("credit", CREDITS, Terms.credit)
        model = attribution.word("model", MODELS, Terms.model)
        by_sign_up = credit == "sign_up"
        event = qualification.word("event", EVENTS, Terms.qualification_event)
        if event == "sign_up" and not by_sign_up:
            what = 'is "sign_up", but [attribution] credit is "order"'
            qualification.problem("event", what, 'Write event = "order", or credit = "sign_up" in [attribution].')
        min_order_minor = qualification.integer("min_order_minor", 5000, Terms.min_order_minor, used=event == "order")
        kind, rate_bps, amount_minor = self._figures()
        orders = commission.word("orders", ORDERS, Terms.orders)
        if orders == "first" and event == "sign_up":
            what = 'is "first", but [qualification] event is "sign_up", so that no order qualifies the referral'
            commission.problem("orders", what, 'Write orders = "all", or event = "order" in [qualification].')
        partners = terms_rows.read_partners(self._rows("partner"))
        tier_period, tiers = terms_rows.read_tiers(self._rows("tier"), kind)
        return Terms(
            program_id=program.text("id"),
            brand_id=program.text("brand_id"),
            currency=self._currency(),
            version=program.integer("version", 1),
            effective_from_ms=program.time_ms("effective_from", required=True) or 0,
            time_zone=self._time_zone(),
            priority=program.integer("priority", 0, Terms.priority, at_least=None),
            credit=credit,
            model=model,
            click_window_ms=attribution.duration_ms("click_window", Terms.click_window_ms, positive=True),
            order_window_ms=attribution.duration_ms(
                "order_window", Terms.order_window_ms, positive=True, used=by_sign_up
            ),
            half_life_ms=attribution.duration_ms(
                "half_life", Terms.half_life_ms, positive=True, used=model == "time_decay"
            ),
            coupon_precedence=attribution.word("coupon_precedence", PRECEDENCES, Terms.coupon_precedence),
            qualification_event=event,
            min_order_minor=min_order_minor,
            new_customers_only=qualification.flag("new_customers_only", Terms.new_customers_only),
            min_click_to_sign_up_ms=qualification.duration_ms(
                "min_click_to_sign_up", Terms.min_click_to_sign_up_ms, used=by_sign_up
            ),
            commission_kind=kind or "percentage",
            rate_bps=rate_bps,
            amount_minor=amount_minor,
            orders=orders,
            hold_ms=commission.duration_ms("hold", Terms.hold_ms, max_days=MAX_HOLD_DAYS),
            customer_reward_minor=self._customer_reward(),
            tier_period=tier_period,
            tiers=tiers,
            bonuses=terms_rows.read_bonuses(self._rows("bonus")),
            milestones=terms_rows.read_milestones(self._rows("milestone"), partners, by_sign_up),
            boosts=terms_rows.read_boosts(self._rows("boost"), partners),
            partners=partners,
        )

    def _check_tables(self) -> None:
        for name in self.document:
            if name in KEYS:
                continue
            key = key_name(name)
            guess = nearest(name, KEYS)
            homes = [_header(table) for table, keys in KEYS.items() if name in keys]
            if guess is not None:
                remedy = f"Did you mean {_header(guess)}?"
            elif homes:
                remedy = f"Move it below {' or '.join(homes)}."
            else:
                remedy = f"Remove it; the tables are {', '.join(_header(table) for table in KEYS)}."
            kind = "table" if isinstance(self.document[name], dict) or guess else "key outside any table"
            self.findings.add(key, f"{key} is an unknown {kind}", remedy)

    def _table(self, name: str) -> Table:
        """A table that occurs once; empty if it is left out or is something else, which is then a problem."""
        content = self.document.get(name)
        table = Table(content if isinstance(content, dict) else {}, name, f"[{name}]", self.findings)
        if isinstance(content, dict):
            table.check_keys(KEYS[name], _homes(name))
        elif content is not None:
            what = f"{name} is {show(content)}, but must be one table"
            self.findings.add(name, what, f"Write the header [{name}], once, and its keys below it.")
            return _Unreadable(name, self.findings)
        elif name in REQUIRED_TABLES:
            what = f"there is no table [{name}], which is required"
            example = "rate_bps = 1000" if name == "commission" else 'id = "..." and the other required keys'
            self.findings.add(name, what, f"Add [{name}] with {example}.")
            return _Unreadable(name, self.findings)
        return table

    def _rows(self, name: str) -> list[Table]:
        """The tables of an array, numbered from 1."""
        content = self.document.get(name, [])
        remedy = f"Write the header [[{name}]] before the keys of each."
        if not isinstance(content, list):
            self.findings.add(name, f"{name} is {show(content)}, but must be a list of tables", remedy)
            return []
        rows = []
        for number, each in enumerate(content, 1):
            if isinstance(each, dict):
                rows.append(Table(each, f"{name}[{number}]", f"[[{name}]] no. {number}", self.findings))
                rows[-1].check_keys(KEYS[name], _homes(name))
            else:
                what = f"[[{name}]] no. {number} is {show(each)}, but must be a table"
                self.findings.add(f"{name}[{number}]", what, remedy)
        return rows

    def _currency(self) -> str:
        currency = self.program.text("currency")
        if currency not in CURRENCIES and self.program.sound("currency"):
            known = currency.strip().upper()
            remedy = f'Write currency = "{known}".' if known in CURRENCIES else 'Write, for example, currency = "USD".'
            self.program.problem("currency", f"is {show(currency)}, which is no ISO 4217 currency code", remedy)
        return currency

    def _time_zone(self) -> str:
        zone = self.program.text("time_zone", Terms.time_zone)
        if zone not in zone_names() and self.program.sound("time_zone"):
            guess = nearest(zone, zone_names())
            remedy = f'Did you mean time_zone = "{guess}"?' if guess else 'Write, for example, "America/New_York".'
            self.program.problem("time_zone", f"is {show(zone)}, which is no IANA time zone", remedy)
        return zone

    def _figures(self) -> tuple[Literal["percentage", "flat"] | None, int, int]:
        """The commission's kind (None if it cannot be read) and its two figures, of which it has one."""
        table = self.commission
        kind = table.word("kind", KINDS, Terms.commission_kind)
        if isinstance(table, _Unreadable) or not table.sound("kind"):
            return None, 0, 0
        return (kind, *terms_rows.figure(table, kind, f'[commission] kind is "{kind}"'))

    def _customer_reward(self) -> int:
        table = self._table("customer_reward")
        return table.integer("amount_minor", 1000) if "customer_reward" in self.document else 0


class _Unreadable(Table):
    """A missing table that is a problem already: its keys are not missing one by one."""

    def __init__(self, name: str, findings: Findings) -> None:
        super().__init__({}, name, f"[{name}]", Findings(findings.file, no_line))


def _header(table: str) -> str:
    return f"[[{table}]]" if table in ARRAYS else f"[{table}]"


@cache
def _homes(table: str) -> Mapping[str, str]:
    """Keys that single tables other than ``table`` have, to the header of the one that has each."""
    owners: dict[str, list[str]] = {}
    for name, keys in KEYS.items():
        for key in keys:
            owners.setdefault(key, []).append(_header(name))
    return {key: names[0] for key, names in owners.items() if len(names) == 1 and key not in KEYS[table]}
