"""A small made-up world of outcome rows: two brands that refer to each other, awkward names, all verdicts.

The rows are what the pipeline would have written; nothing here computes an outcome. Figures that the tests expect are
summed from these rows in Python.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.clickhouse.tables import TABLES
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Bonus, Boost, Catalogue, Milestone, Partner, Program, Terms, Tier

DAY = 86_400_000
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1000
NOW = START + 80 * DAY  # 22 March 2026, 00:00 UTC: in New York it is still the 21st
HOLD = 14 * DAY
FINAL_THROUGH = NOW - 20 * DAY
AWKWARD = "Bakery & <Co> \"Söhne\" 'Ltd'"
HOSTILE_CODE = "<script>alert(1)</script>"

Row = dict[str, Any]


def terms(version: int, **changes: Any) -> Terms:
    partners = {
        "bakery": Partner("bakery", AWKWARD, "food", coupon_codes=(HOSTILE_CODE,)),
        "roaster": Partner("roaster", "Roaster", "food"),
        "florist": Partner("florist", "Florist", "garden"),
        "idle": Partner("idle", "Idle Hands"),
    }
    common: dict[str, Any] = {
        "program_id": "acme-friends",
        "brand_id": "acme",
        "currency": "USD",
        "version": version,
        "effective_from_ms": START + (version - 1) * 30 * DAY,
        "time_zone": "America/New_York",
        "rate_bps": 1000,
        "hold_ms": HOLD,
        "partners": partners,
        "tier_period": "quarter",
        "tiers": (Tier(5, rate_bps=1250), Tier(500, rate_bps=2000)),
        "bonuses": (Bonus("kickoff", 10, "quarter", "program", 500), Bonus("own", 3, "all_time", "partner", 700)),
        "milestones": (
            Milestone("together", "qualified_referrals", 50, "all_time", "group", ("bakery", "roaster"), 3, 50_000),
            Milestone("alone", "qualified_referrals", 4, "quarter", award_minor=1000),
            Milestone("revenue", "net_revenue_minor", 1_000_000, "month", "program"),
        ),
        "boosts": (
            Boost("lent", None, START + 48 * DAY, START + 88 * DAY, 15_000),
            Boost("thanks", "roaster", START + 20 * DAY, START + 40 * DAY, 20_000),
        ),
    }
    return Terms(**(common | changes))


def catalogue() -> Catalogue:
    friends = Program((terms(1), terms(2, bonuses=(Bonus("kickoff", 10, "quarter", "program", 600),))))
    back = Terms(
        "Bakery: Café/Kreis",
        "bakery",
        "JPY",
        1,
        START,
        credit="order",
        model="linear",
        commission_kind="flat",
        amount_minor=300,
        partners={"acme": Partner("acme", "Acme"), "idle": Partner("idle", "Idle <b>")},
    )
    return Catalogue.of([friends, Program((back,))])


def touch(
    partner: str, program: str, at: int, verdict: str, share: int = 0, code: str = "", ends: int | None = None
) -> Row:
    return {
        "kind": "coupon" if code else "click",
        "click_id": "" if code else f"k{at}",
        "code": code,
        "at": at,
        "partner_id": partner,
        "program_id": program,
        "verdict": verdict,
        "share_bps": share,
        "window_ends_at": ends,
        "terms_version": 1,
    }


@dataclass
class World:
    """Rows that stand, by table."""

    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def add(self, table: str, **values: Any) -> None:
        self.tables[table].append(values)

    def of(self, table: str, program: str, partner: str = "") -> list[Row]:
        """The rows of a program, and of a partner if one is given."""
        return [
            row
            for row in self.tables[table]
            if row.get("program_id") == program and partner in ("", row.get("partner_id"))
        ]

    def store(self, warehouse: Warehouse) -> None:
        """Insert every row, an older version of it before and once more after it, its own repeat, and one withdrawn.

        Two in three clicks have one version alone, as nearly all clicks do.
        """
        write_program_terms(warehouse, catalogue())
        progress = ("pipeline", NOW, FINAL_THROUGH, NOW)
        warehouse.insert_rows("pipeline_progress", [progress], ("name", "watermark", "final_through", "updated_at"))
        copies = [str(name) for (name,) in warehouse.query(_REPLACING)]
        for name in copies:
            warehouse.execute(f"SYSTEM STOP MERGES {name}")  # else a merge may do what the views must
        for name, rows in self.tables.items():
            corrected = [row for number, row in enumerate(rows) if name != "clicks" or number % 3 == 0]
            stale = [_stale(name, row) for row in corrected]
            if rows:
                insert(warehouse, name, [row for row in rows if row not in corrected], version=1)
                insert(warehouse, name, stale, version=1)
                insert(warehouse, name, corrected, version=2)
            if rows and name not in ("dead_letters", "late_events"):
                gone = rows[0] | {TABLES[name].key[-1]: "gone"}
                if name == "attributions":
                    gone["program_id"] = "gone"
                insert(warehouse, name, [gone], version=1)
                insert(warehouse, name, [gone], version=2, is_deleted=1)
                insert(warehouse, name, [gone], version=1)
            if rows:  # a replay writes all of it again, the old versions too
                insert(warehouse, name, [row for row in rows if row not in corrected], version=1)
                insert(warehouse, name, corrected, version=2)
                insert(warehouse, name, stale, version=1)


_REPLACING = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE 'Replacing%'"
KEPT = ("raw", "program_id", "kind", "order_id", "customer_id")
OLD_EXPLANATION = json.dumps({"touchpoints": [touch("bakery", "acme-friends", START, "expired", ends=START + 1)]})


def _stale(table: str, row: Row) -> Row:
    """An older version of the row: the same identity, other content."""
    stale: Row = {}
    for column in TABLES[table].fields:
        if column.name in TABLES[table].key or column.name in KEPT:
            stale[column.name] = row[column.name]
        elif column.name == "explanation":
            stale[column.name] = OLD_EXPLANATION
        elif column.name == "partner_id" and table == "ledger_entries":
            stale[column.name] = row[column.name]  # an entry's id is made of its partner
        elif column.name == "partner_id":
            stale[column.name] = "bakery"  # what now is somebody else's was the bakery's
        elif column.is_time:
            stale[column.name] = None if column.is_optional else START
        else:
            stale[column.name] = "stale" if column.is_text else column.type == "Bool" or 7
    return stale


def insert(warehouse: Warehouse, table: str, rows: list[Row], version: int, is_deleted: int = 0) -> None:
    """In one insert for each set of columns that rows have."""
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        full = row | {"version": version, "is_deleted": is_deleted}
        by_columns.setdefault(tuple(full), []).append(full)
    for columns, alike in by_columns.items():
        warehouse.insert_rows(table, [tuple(row.values()) for row in alike], columns)


def make_world() -> World:
    world, rng = World(), Random(7)
    for number in range(60):
        world.add(
            "clicks",
            event_id=f"clk{number}",
            occurred_at=START + rng.randrange(70 * DAY),
            brand_id="acme",
            program_id="acme-friends",
            partner_id=rng.choice(["bakery", "bakery", "roaster", "florist"]),
            visitor_id=f"visitor-secret-{number % 40}",
            ip="203.0.113.9",
            user_agent="Mozilla",
        )
    for number in range(24):
        _customer(world, rng, number)
    _missed(world)
    _bakery_circle(world)
    month = {"period": "2026-03", "threshold": 1_000_000, "terms_version": 2, "as_of": NOW, "status": "open"}
    world.add("milestones", program_id="acme-friends", milestone_id="revenue", scope_key="*", count=123_456, **month)
    together = {"period": "all", "threshold": 50, "terms_version": 2, "as_of": NOW, "status": "open"}
    world.add(
        "milestones",
        program_id="acme-friends",
        milestone_id="together",
        scope_key="bakery+roaster",
        count=38,
        **together,
    )
    for scope, count, reached in (("bakery", 6, START + 40 * DAY), ("roaster", 2, None)):
        world.add(
            "milestones",
            program_id="acme-friends",
            milestone_id="alone",
            scope_key=scope,
            period="2026-Q1",
            count=count,
            status="reached" if reached else "open",
            threshold=4,
            reached_at=reached,
            terms_version=1,
            as_of=NOW,
        )
    for number, (reason, raw) in enumerate(
        [
            ("malformed", "<not json"),
            ("invalid_field", '{"brand_id":"acme"}'),
            ("invalid_field", '{"brand_id":"acme","x":1}'),
            ("unknown_brand", '{"brand_id":"<i>other</i>"}'),
        ]
    ):
        world.add("dead_letters", source="/data/in.jsonl", position=str(number), reason=reason, raw=raw)
    return world


def _customer(world: World, rng: Random, number: int) -> None:
    """A sign-up credited by last touch, orders that inherit it, a refund now and then, and what follows."""
    partner, customer = ("bakery", "roaster", "bakery", "florist")[number % 4], f"customer-secret-{number}@example.com"
    at = START + rng.randrange(70 * DAY)
    program, version = "acme-friends", 1 if at < START + 30 * DAY else 2
    base = {
        "brand_id": "acme",
        "customer_id": customer,
        "partner_id": partner,
        "program_id": program,
        "share_bps": 10_000,
        "terms_version": version,
        "as_of": at,
    }
    is_coupon = number % 7 == 0 and partner == "bakery"
    touches = [
        touch(
            partner,
            program,
            at if is_coupon else at - 3 * DAY,
            "credited",
            10_000,
            HOSTILE_CODE if is_coupon else "",
            None if is_coupon else at + 27 * DAY,
        )
    ]
    if number % 4 == 1 or number % 6 == 0:
        other = "roaster" if partner != "roaster" else "bakery"
        touches.append(touch(other, program, at - 5 * DAY, "outranked", ends=at + 25 * DAY))
    explanation = json.dumps({"outcome": "credited", "touchpoints": touches})
    model = "coupon" if is_coupon else "last_touch"
    world.add(
        "attributions",
        conversion_type="sign_up",
        conversion_id=f"sup{number}",
        model=model,
        converted_at=at,
        explanation=explanation,
        link_id="" if is_coupon else f"link{number}",
        order_id="",
        **base,
    )
    status, reversed_at, qualified_at = "pending", None, None
    for each in range(number % 3):
        ordered, amount = at + (each + 1) * DAY, rng.randrange(1000, 9000)
        order = f"order{number}-{each}"
        names = {"brand_id": "acme", "customer_id": customer, "order_id": order}
        world.add("orders", event_id=f"ord{order}", occurred_at=ordered, amount_minor=amount, currency="USD", **names)
        world.add(
            "attributions",
            conversion_type="order",
            conversion_id=f"ord{order}",
            order_id=order,
            model="inherited",
            converted_at=ordered,
            explanation=explanation,
            link_id=f"link{number}",
            **base,
        )
        _entry(world, "accrual", partner, customer, order, amount // 10, ordered, version)
        if each == 0:
            status, qualified_at = "qualified", ordered
            _entry(world, "bonus", partner, customer, "", 500 if version == 1 else 600, ordered, version)
            _entry(world, "customer_reward", partner, customer, "", 1000, ordered, version)
        if number % 8 == 2 and each == 0:
            back, refunded = ordered + 2 * DAY, amount if number % 3 == 1 else amount // 3
            world.add(
                "refunds",
                event_id=f"ref{order}",
                occurred_at=back,
                amount_minor=refunded,
                currency="USD",
                reason="refund",
                matched=True,
                **names,
            )
            _entry(world, "clawback", partner, customer, order, -(refunded // 10), back, version)
            if number % 3 == 1:
                status, reversed_at = "reversed", back
                _entry(world, "bonus_clawback", partner, customer, "", -500 if version == 1 else -600, back, version)
    if number == 5:
        status, qualified_at, reversed_at = "rejected", None, None
    world.add(
        "referrals",
        program_id=program,
        customer_id=customer,
        partner_id=partner,
        status=status,
        reason="existing_customer" if status == "rejected" else "",
        signed_up_at=at,
        qualified_at=qualified_at,
        reversed_at=reversed_at,
        terms_version=version,
        as_of=at,
    )


def _entry(
    world: World,
    kind: str,
    partner: str,
    customer: str,
    order: str,
    amount: int,
    at: int,
    version: int,
    program: str = "acme-friends",
    currency: str = "USD",
) -> None:
    world.add(
        "ledger_entries",
        entry_id=f"{kind}|{customer}|{order}|{at}|{partner}",
        kind=kind,
        program_id=program,
        partner_id=partner,
        customer_id=customer,
        order_id=order,
        amount_minor=amount,
        currency=currency,
        occurred_at=at,
        payable_at=at + HOLD,
        terms_version=version,
        as_of=at,
    )


VERDICTS = ("expired", "partner_inactive", "own_account", "other_program", "not_contending")


def _missed(world: World) -> None:
    """A conversion that nobody earned for each verdict, each touched by the bakery."""
    for number, verdict in enumerate(VERDICTS):
        at = START + (10 + number) * DAY
        ends = at - 5 * DAY if verdict == "expired" else at + DAY
        touches = [touch("bakery", "acme-friends", at - 35 * DAY, verdict, ends=ends)]
        if verdict == "expired":  # the latest visit tells, not this
            touches.append(touch("bakery", "acme-friends", at - 40 * DAY, "partner_inactive", ends=ends))
        world.add(
            "attributions",
            brand_id="acme",
            conversion_type="order" if verdict == "not_contending" else "sign_up",
            customer_id=f"customer-secret-lost-{number}",
            conversion_id=f"lost{number}",
            partner_id="",
            program_id="",
            order_id="",
            share_bps=0,
            model="",
            converted_at=at,
            terms_version=0,
            as_of=at,
            explanation=json.dumps({"outcome": "uncredited", "touchpoints": touches}),
        )
    at = START + 3 * DAY  # a program that credits orders loses nothing by a sign-up
    world.add(
        "attributions",
        brand_id="acme",
        conversion_type="sign_up",
        customer_id="customer-secret-none",
        conversion_id="none",
        partner_id="",
        program_id="",
        order_id="",
        share_bps=0,
        model="",
        converted_at=at,
        terms_version=0,
        as_of=at,
        explanation=json.dumps({"touchpoints": [touch("bakery", "acme-friends", at - DAY, "not_contending")]}),
    )


def _bakery_circle(world: World) -> None:
    """The bakery's own program: Acme refers to it; one order is shared with another partner."""
    program = "Bakery: Café/Kreis"
    for number, at in enumerate((START + 5 * DAY, START + 66 * DAY)):
        customer, order = f"customer-secret-b{number}", f"b-order{number}"
        shares = {"acme": 10_000} if number == 0 else {"acme": 5000, "idle": 5000}
        touches = [
            touch(partner, program, at - DAY, "credited", share, ends=at + DAY) for partner, share in shares.items()
        ]
        world.add(
            "orders",
            event_id=order,
            occurred_at=at,
            brand_id="bakery",
            customer_id=customer,
            order_id=order,
            amount_minor=1001,
            currency="JPY",
        )
        for partner, share in shares.items():
            world.add(
                "attributions",
                brand_id="bakery",
                conversion_type="order",
                customer_id=customer,
                conversion_id=order,
                partner_id=partner,
                program_id=program,
                order_id=order,
                share_bps=share,
                model="linear",
                converted_at=at,
                terms_version=1,
                as_of=at,
                explanation=json.dumps({"touchpoints": touches}),
                link_id="",
            )
            _entry(world, "accrual", partner, customer, order, 300 * share // 10_000, at, 1, program, "JPY")
        world.add(
            "referrals",
            program_id=program,
            customer_id=customer,
            partner_id="acme",
            status="qualified",
            reason="",
            qualified_at=at,
            terms_version=1,
            as_of=at,
        )
