"""A small language for the examples: a season of cross-promotion, told event by event, run through the real pipeline.

    season = Season(attribution={"click_window": "3d"})
    season.click("Jan 10 12:00", "bakery", by="ann")
    season.sign_up("Jan 13 11:59:59.999", "ann")
    assert season.credit("ann") == {"bakery": 10_000}

Unless told otherwise there is one program, ``friends`` of the brand ``acme``, in force from 2026-01-01 in UTC, with a
commission of 10 % and the partners bakery, roaster and tearoom; everything else is as contract.md's defaults have it.
A customer's sign-up names a visitor of the customer's own name; orders name none. Amounts are minor units.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.properties.harness import answer, canonical, differences, run
from tests.reference.oracle import compute

Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTNERS = ("bakery", "roaster", "tearoom")
EMAIL = "0f" * 32
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(
    r"(?:(?P<year>\d{4}) )?(?P<month>[A-Z][a-z]{2}) (?P<day>\d+)(?: (?P<hour>\d+):(?P<minute>\d+)"
    r"(?::(?P<second>\d+)(?:\.(?P<ms>\d{3}))?)?)?(?: (?P<zone>[A-Z]\w+/\w+))?"
)


def moment(text: str) -> datetime:
    """ "Jan 31", "Jan 31 12:00", "2025 Dec 31 23:59:59.999", "Mar 29 02:30 Europe/Berlin": 2026 and UTC unless said."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time as moment() describes it")
    numbers = {name: int(found[name] or 0) for name in ("day", "hour", "minute", "second", "ms")}
    zone = ZoneInfo(found["zone"]) if found["zone"] else UTC
    return datetime(
        int(found["year"] or 2026), _MONTHS.index(found["month"]) + 1, numbers["day"], numbers["hour"],
        numbers["minute"], numbers["second"], numbers["ms"] * 1_000, tzinfo=zone,
    ).astimezone(UTC)  # fmt: skip


def ms(text: str) -> int:
    """The same in epoch milliseconds."""
    return (moment(text) - EPOCH) // timedelta(milliseconds=1)


def shown(at_ms: int | None) -> str:
    """Epoch milliseconds as :func:`moment` reads them in UTC, as short as they can be; "" for none."""
    if at_ms is None:
        return ""
    at = EPOCH + timedelta(milliseconds=at_ms)
    text = f"{_MONTHS[at.month - 1]} {at.day}" if at.year == 2026 else f"{at.year} {_MONTHS[at.month - 1]} {at.day}"
    if at.microsecond:
        return f"{text} {at:%H:%M:%S}.{at.microsecond // 1_000:03}"
    return (
        text if not (at.hour or at.minute or at.second) else f"{text} {at:%H:%M}" + (f":{at:%S}" if at.second else "")
    )


def terms(name: str = "friends", version: int = 1, begins: str = "Jan 1", **tables: Any) -> Row:
    """One version of a program: plain but for the tables given; ``partners`` gives each partner's further keys."""
    tables = dict(tables)
    identity: Row = {"id": name, "brand_id": "acme", "currency": "USD", "version": version}
    identity |= {"effective_from": moment(begins), **tables.pop("program", {})}
    further = tables.pop("partners", {})
    partners = [{"id": each, "name": each.title(), **further.get(each, {})} for each in PARTNERS]
    return {"program": identity, "commission": {"rate_bps": 1_000}, "partner": partners, **tables}


class Season:
    """Events under one or more versions of one or more programs; each question runs the pipeline over all of them."""

    def __init__(self, *programs: Row, **tables: Any) -> None:
        self.programs = list(programs) or [terms(**tables)]
        self.events: list[Row] = []
        self._answered: tuple[int, dict[str, list[Row]]] = (-1, {})

    # -- What happens --------------------------------------------------------------------------------------------------

    def click(self, at: str, partner: str = "bakery", by: str = "ann", **fields: Any) -> str:
        """A visitor's click on a partner's link; returns its event_id."""
        return self._happen("click", at, fields, program_id="friends", partner_id=partner, visitor_id=by)

    def sign_up(self, at: str, customer: str = "ann", **fields: Any) -> str:
        """A customer's sign-up, which names the visitor of the customer's name (``visitor_id=None``: nobody)."""
        return self._happen("sign_up", at, {"visitor_id": customer, **fields}, customer_id=customer)

    def order(self, at: str, amount: int = 10_000, customer: str = "ann", **fields: Any) -> str:
        """A customer's order; returns its event_id, which is its order_id too."""
        event_id = fields.pop("event_id", f"order-{len(self.events) + 1}")
        fields = {"event_id": event_id, "order_id": event_id, **fields}
        return self._happen("order", at, fields, customer_id=customer, amount_minor=amount, currency="USD")

    def refund(self, at: str, of: str, amount: int, customer: str = "ann", **fields: Any) -> str:
        """Some of an order is paid back."""
        fields = {"order_id": of, "reason": "refund", **fields}
        return self._happen("refund", at, fields, customer_id=customer, amount_minor=amount, currency="USD")

    def referral(self, customer: str = "ann", partner: str = "bakery", at: str = "Jan 2") -> None:
        """A click on a partner's link and, an hour later, the sign-up."""
        self.click(at, partner, by=customer)
        later = ms(at) + 3_600_000
        self.sign_up(shown(later), customer)

    def told_again(self, event_id: str, **changes: Any) -> None:
        """A copy of an event, perhaps of other content."""
        event = next(event for event in self.events if event["event_id"] == event_id)
        if "at" in changes:
            changes["occurred_at"] = ms(changes.pop("at"))
        self.events.append(event | changes)

    def _happen(self, kind: str, at: str, fields: Row, **base: Any) -> str:
        event = {"type": kind, "event_id": f"{kind}-{len(self.events) + 1}", "occurred_at": ms(at), "brand_id": "acme"}
        event |= base | fields
        self.events.append({name: value for name, value in event.items() if value is not None})
        return str(event["event_id"])

    # -- What comes of it ----------------------------------------------------------------------------------------------

    @property
    def outcome(self) -> dict[str, list[Row]]:
        """All tables. That they do not depend on the order of arrival, and are the reference's, is checked besides."""
        if self._answered[0] != len(self.events):
            found = answer(run(self.programs, [[self.events]]))
            dated = sorted(self.events, key=lambda event: -event["occurred_at"])
            backwards = answer(run(self.programs, [[dated[: len(dated) // 2]], [dated[len(dated) // 2 :]]]))
            for table, rows in found.items():
                assert table == "dead_letters" or backwards[table] == rows, f"{table} depends on the order of arrival"
            assert differences(found, compute(self.programs, self.events)) == []
            self._answered = (len(self.events), found)
        return self._answered[1]

    def rows(self, table: str, **values: Any) -> list[Row]:
        """The rows of a table with these values, in an order of their own."""
        return [row for row in self.outcome[table] if all(row[name] == value for name, value in values.items())]

    def attribution(self, conversion: str) -> list[Row]:
        """The rows of one conversion: by its event_id, or a customer's sign-up by the customer."""
        rows = self.rows("attributions", conversion_id=conversion)
        return rows or self.rows("attributions", customer_id=conversion, conversion_type="sign_up")

    def credit(self, conversion: str = "ann") -> dict[str, int]:
        """Basis points by partner; empty where nobody is credited."""
        rows = self.attribution(conversion)
        assert rows, f"{conversion} is no conversion"
        return {row["partner_id"]: row["share_bps"] for row in rows if row["partner_id"]}

    def model(self, conversion: str = "ann") -> str:
        """The model that split the credit."""
        (model,) = {row["model"] for row in self.attribution(conversion)}
        return str(model)

    def verdicts(self, conversion: str = "ann") -> dict[str, str]:
        """What the explanation says of each touchpoint, latest first: verdicts by click or coupon."""
        explanation = self.attribution(conversion)[0]["explanation"]
        return {each["click_id"] or each["code"]: each["verdict"] for each in explanation}

    def status(self, customer: str = "ann") -> str:
        """The status of the customer's one referral; for a rejected one the reason; "" if there is none."""
        rows = self.rows("referrals", customer_id=customer)
        return (rows[0]["reason"] or rows[0]["status"]) if rows else ""

    def dates(self, customer: str = "ann") -> dict[str, str]:
        """The times of the customer's one referral."""
        (row,) = self.rows("referrals", customer_id=customer)
        return {name: shown(row[name]) for name in ("signed_up_at", "qualified_at", "reversed_at", "as_of")}

    def ledger(self, *kinds: str, partner: str = "") -> list[str]:
        """The entries, or those of some kinds or of a partner, by time: "Jan 5 bakery accrual 1000"."""
        rows = [row for row in self.outcome["ledger_entries"] if not partner or row["partner_id"] == partner]
        rows = sorted(canonical(rows), key=lambda row: (row["occurred_at"], row["kind"], row["partner_id"]))
        return [
            f"{shown(row['occurred_at'])} {row['partner_id']} {row['kind']} {row['amount_minor']}"
            for row in rows
            if not kinds or row["kind"] in kinds
        ]

    def earned(self, order: str, partner: str = "bakery") -> int:
        """What the partner has earned of one order so far."""
        return sum(row["amount_minor"] for row in self.rows("ledger_entries", order_id=order, partner_id=partner))

    def payable(self, *kinds: str) -> list[str]:
        """When entries are payable, by time: "accrual 1000 on Jan 9"."""
        rows = sorted(self.outcome["ledger_entries"], key=lambda row: (row["occurred_at"], row["kind"]))
        return [
            f"{row['kind']} {row['amount_minor']} on {shown(row['payable_at'])}"
            for row in rows
            if not kinds or row["kind"] in kinds
        ]

    def milestone(self, scope_key: str = "bakery", period: str = "all") -> str:
        """Where a milestone stands: "reached 2 of 2"; "" if there is no row."""
        rows = self.rows("milestones", scope_key=scope_key, period=period)
        return f"{rows[0]['status']} {rows[0]['count']} of {rows[0]['threshold']}" if rows else ""

    def refused(self) -> list[str]:
        """The reasons of the dead letters, by position."""
        rows = sorted(self.outcome["dead_letters"], key=lambda row: row["index"])
        return [f"{row['index']} {row['reason']}" for row in rows]

    def standing(self, table: str, *columns: str) -> list[Any]:
        """Columns of the events that stand."""
        return sorted(
            tuple(row.get(column) for column in columns) for row in json.loads(json.dumps(self.outcome[table]))
        )
