"""Programs of made-up worlds (contract, section 3): valid terms of every kind, in several versions; and their TOML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

from tests.properties.choices import Choices, maybe

Table = dict[str, Any]

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu")
PERIODS = ("all_time", "day", "week", "month", "quarter", "year")
EMAILS = ("0f" * 32, "a1" * 32)
PARTNERS = ("bakery", "roaster", "\uffee-shop", "\U0001d51e-mart")
CODES = ("BREAD10", "bread10", "TREE")


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
    maybe(choose, table, "model", models, 80)
    maybe(choose, table, "click_window", ("30d", "4w", "1w", "3d", "2d", "36h"), 70)
    maybe(choose, table, "order_window", ("365d", "4w", "3d", "2d", "90m", "1d"), 70)
    maybe(choose, table, "half_life", ("7d", "1d", "6h", "3600s"), 60)
    maybe(choose, table, "coupon_precedence", ("coupon_first", "click_first"), 60)
    return table


def _qualification(choose: Choices, credit: str) -> Table:
    table: Table = {}
    if credit == "sign_up":
        maybe(choose, table, "event", ("order", "order", "sign_up"), 75)
        maybe(choose, table, "min_click_to_sign_up", ("0s", "60s", "1h", "6h"), 25)
    maybe(choose, table, "min_order_minor", (0, 1, 1_000, 2_000), 50)
    maybe(choose, table, "new_customers_only", (False, True, True), 30)
    return table


def _commission(choose: Choices, qualified_by: str) -> Table:
    if choose.chance(30):
        table: Table = {"kind": "flat", "amount_minor": choose.pick((500, 333, 1, 0))}
    else:
        table = {"kind": "percentage"} if choose.chance(50) else {}
        table["rate_bps"] = choose.pick((1_000, 1_250, 333, 10_000, 0))
    if qualified_by == "order":
        maybe(choose, table, "orders", ("all", "first"), 50)
    maybe(choose, table, "hold", ("0d", "1d", "7d", "36h"), 60)
    return table


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
        maybe(choose, table, "each_at_least", (0, 1_000, 500) if money else (0, 1, 1), 40)
    if shape["scope"] != "program":
        maybe(choose, table, "award_minor", (9_000, 9_000, 50, 0), 75)
    maybe(choose, table, "revocable", (True, False), 40)
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
        maybe(choose, table, "customer_ids", (["c5"], ["c1", "c6"], []), 12)
        maybe(choose, table, "email_sha256", ([EMAILS[0]], list(EMAILS)), 12)
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
