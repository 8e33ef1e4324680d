"""Every panel's SQL on the real engine; its figures against the rows, summed in Python."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.pages import panels
from pipeline.pages.panels import ALL_PROGRAMS_PANELS, PARAMETERS, PARTNER_PANELS, PROGRAM_PANELS, VIEWS, Panel
from pipeline.pages.scope import PanelData
from tests.pages.world import DAY, NOW, VERDICTS, Row, World

ZONE = "America/New_York"
FINAL = NOW - 20 * DAY
VALUES = {"zone": ZONE, "now_ms": NOW, "final_until_ms": FINAL}
PROGRAM = "acme-friends"
EVERY = {panel.id: panel for panel in (*PARTNER_PANELS, *PROGRAM_PANELS, *ALL_PROGRAMS_PANELS)}
SCOPES = [
    ("acme-friends", "bakery"),
    ("acme-friends", "idle"),
    ("acme-friends", ""),
    ("Bakery: Café/Kreis", "acme"),
    ("", ""),
]
REWARDS = ("customer_reward", "customer_reward_clawback")


def day(at_ms: int) -> int:
    """The start of the local day that holds the instant, in epoch seconds."""
    local = datetime.fromtimestamp(at_ms // 1000, ZoneInfo(ZONE))
    return int(local.replace(hour=0, minute=0, second=0).timestamp())


@pytest.mark.parametrize("panel", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_every_panel_runs_in_every_scope(data: PanelData, panel: Panel, scope: tuple[str, str]) -> None:
    data.rows(panel, *scope, VALUES)


@pytest.mark.parametrize("panel", EVERY.values(), ids=EVERY)
def test_every_panel_runs_bare_with_grafana_s_values(warehouse: Warehouse, panel: Panel) -> None:
    sql = panel.sql
    for parameter, value in PARAMETERS.items():
        sql = sql.replace(parameter, value)
    warehouse.query(sql)


@pytest.mark.parametrize("panel", EVERY.values(), ids=EVERY)
def test_panels_keep_their_rules(panel: Panel) -> None:
    assert panel.sql.strip().startswith("SELECT")
    assert ";" not in re.sub(r"'[^']*'", "", panel.sql)
    assert set(re.findall(r"\{[^}]*\}", panel.sql)) <= set(PARAMETERS)
    read = set(re.findall(r"\b(?:FROM|JOIN)\s+([a-z_]+)", panel.sql))
    assert read
    assert read <= set(VIEWS)
    narrowed = re.findall(r"\b(?:program|partner)_id\s*(?:=|!=|IN|NOT IN|LIKE)\s*\(?'([^']+)'", panel.sql)
    assert set(narrowed) <= {"*"}, "whoever runs a panel narrows its views, not the panel"
    assert panel.title
    assert panel.description.endswith(".")


def test_panel_ids_are_distinct() -> None:
    assert len(EVERY) == len({id(panel) for panel in (*PARTNER_PANELS, *PROGRAM_PANELS, *ALL_PROGRAMS_PANELS)})


@pytest.mark.parametrize("partner", ["bakery", "roaster", "florist", "idle", ""])
def test_earnings(data: PanelData, world: World, partner: str) -> None:
    [row] = data.rows(panels.EARNINGS, PROGRAM, partner, VALUES)
    entries = [entry for entry in world.of("ledger_entries", PROGRAM, partner) if entry["kind"] not in REWARDS]

    def total(*kinds: str) -> int:
        return sum(entry["amount_minor"] for entry in entries if not kinds or entry["kind"] in kinds)

    assert row == {
        "total_minor": total(),
        "commission_minor": total("accrual", "clawback"),
        "bonus_minor": total("bonus", "bonus_clawback"),
        "award_minor": 0,
        "taken_back_minor": total("clawback", "bonus_clawback"),
        "final_minor": sum(entry["amount_minor"] for entry in entries if entry["as_of"] <= FINAL),
        "provisional_minor": sum(entry["amount_minor"] for entry in entries if entry["as_of"] > FINAL),
        "payable_minor": sum(entry["amount_minor"] for entry in entries if entry["payable_at"] <= NOW),
        "payable_later_minor": sum(entry["amount_minor"] for entry in entries if entry["payable_at"] > NOW),
    }
    if partner in ("bakery", ""):
        assert all(row[key] for key in row if key != "award_minor")


@pytest.mark.parametrize("partner", ["bakery", "roaster", ""])
def test_funnel_and_credit_over_time(data: PanelData, world: World, partner: str) -> None:
    credits = world.of("attributions", PROGRAM, partner)
    kinds = Counter(row["conversion_type"] for row in credits)
    steps = {row["step"]: row["value"] for row in data.rows(panels.FUNNEL, PROGRAM, partner, VALUES)}
    assert steps == {
        "Clicks": len(world.of("clicks", PROGRAM, partner)),
        "Sign-ups credited": kinds["sign_up"],
        "Orders credited": kinds["order"],
        "Qualified customers": sum(row["status"] == "qualified" for row in world.of("referrals", PROGRAM, partner)),
    }
    expected: Counter[tuple[int, str]] = Counter((day(row["converted_at"]), row["conversion_type"]) for row in credits)
    rows = data.rows(panels.CREDITS_OVER_TIME, PROGRAM, partner, VALUES)
    found = {
        (row["time"], kind): row[key] for row in rows for kind, key in (("sign_up", "sign_ups"), ("order", "orders"))
    }
    assert {key: value for key, value in found.items() if value} == dict(expected)


def test_earnings_and_payables_by_day(data: PanelData, world: World) -> None:
    entries = [entry for entry in world.of("ledger_entries", PROGRAM, "bakery") if entry["kind"] not in REWARDS]
    by_day: Counter[int] = Counter()
    later: Counter[int] = Counter()
    for entry in entries:
        by_day[day(entry["occurred_at"])] += entry["amount_minor"]
        if entry["payable_at"] > NOW:
            later[day(entry["payable_at"])] += entry["amount_minor"]
    rows = data.rows(panels.EARNINGS_OVER_TIME, PROGRAM, "bakery", VALUES)
    columns = ("commission_minor", "extra_minor", "taken_back_minor")
    assert {row["time"]: sum(row[column] for column in columns) for row in rows} == dict(by_day)
    assert {row["time"]: row["amount_minor"] for row in data.rows(panels.PAYABLE_LATER, PROGRAM, "bakery", VALUES)} == {
        at: amount for at, amount in later.items() if amount
    }


def test_referrals_and_changes(data: PanelData, world: World) -> None:
    referrals = world.of("referrals", PROGRAM, "bakery")
    rows = data.rows(panels.REFERRALS, PROGRAM, "bakery", VALUES)
    assert Counter({(row["status"], row["reason"]): row["customers"] for row in rows}) == Counter(
        (row["status"], row["reason"]) for row in referrals
    )
    changes = data.rows(panels.QUALIFIED_OVER_TIME, PROGRAM, "bakery", VALUES)
    assert sum(row["change"] for row in changes) == sum(row["status"] == "qualified" for row in referrals)


def test_quality(data: PanelData, world: World) -> None:
    orders = {row["event_id"]: row for row in world.tables["orders"]}
    refunded = Counter({row["order_id"]: row["amount_minor"] for row in world.tables["refunds"]})
    credited = [row for row in world.of("attributions", PROGRAM, "bakery") if row["conversion_type"] == "order"]
    [row] = data.rows(panels.QUALITY, PROGRAM, "bakery", VALUES)
    assert row == {
        "orders": len(credited),
        "customers": len({each["customer_id"] for each in credited}),
        "order_value_minor": sum(orders[each["conversion_id"]]["amount_minor"] for each in credited),
        "refunded_minor": sum(refunded[each["order_id"]] for each in credited),
        "refunded_orders": sum(refunded[each["order_id"]] > 0 for each in credited),
        "returning_customers": returning(credited, world),
        "average_order_minor": round(row["order_value_minor"] / len(credited)),
        "refunded_share": pytest.approx(row["refunded_minor"] / row["order_value_minor"]),
        "returning_share": pytest.approx(row["returning_customers"] / row["customers"]),
    }
    assert row["refunded_orders"]
    assert row["returning_customers"]


def returning(credited: list[Row], world: World) -> int:
    """How many customers have two orders or more that were not refunded in full."""
    return sum(n > 1 for n in Counter(row["customer_id"] for row in kept(credited, world)).values())


def kept(credited: list[Row], world: World) -> list[Row]:
    amounts = {row["event_id"]: row["amount_minor"] for row in world.tables["orders"]}
    refunded = Counter({row["order_id"]: row["amount_minor"] for row in world.tables["refunds"]})
    return [row for row in credited if refunded[row["order_id"]] < amounts[row["conversion_id"]]]


def test_a_shared_order_counts_by_share(data: PanelData) -> None:
    [acme] = data.rows(panels.QUALITY, "Bakery: Café/Kreis", "acme", VALUES)
    assert (acme["orders"], acme["order_value_minor"]) == (2, 1502)  # 1001 + 1001 / 2, rounded once
    [both] = data.rows(panels.QUALITY, "Bakery: Café/Kreis", "", VALUES)
    assert (both["orders"], both["order_value_minor"]) == (2, 2002)


def test_bonus_slots_of_the_partner_and_of_everyone(data: PanelData, world: World) -> None:
    held: Counter[tuple[str, str]] = Counter()
    for entry in world.of("ledger_entries", PROGRAM):
        if entry["kind"] in ("bonus", "bonus_clawback"):
            held[entry["partner_id"], entry["customer_id"]] += 1 if entry["amount_minor"] > 0 else -1
    rows = data.rows(panels.BONUS_SLOTS, PROGRAM, "bakery", VALUES)
    found: Counter[str] = Counter()
    for row in rows:
        found[row["partner_id"]] += row["slots"]
    assert found == {
        "*": sum(held.values()),
        "bakery": sum(n for (partner, _), n in held.items() if partner == "bakery"),
    }
    assert 0 in held.values()  # a slot that was given back is in the world


def test_missed_says_every_reason_once_and_nothing_else(data: PanelData, world: World) -> None:
    outranked = sum(
        '"partner_id": "bakery"' in row["explanation"] and row["partner_id"] != "bakery"
        for row in world.of("attributions", PROGRAM)
        if row["conversion_type"] == "sign_up"
    )
    rows = data.rows(panels.MISSED_REASONS, PROGRAM, "bakery", VALUES)
    assert sum(row["conversions"] for row in rows) == len(VERDICTS) + outranked
    assert {row["reason"]: row["conversions"] for row in rows} == {
        "The window had closed": 1,
        "Outside the time in the program": 1,
        "An account of the partner itself": 1,
        "Another program of the brand came first": 1,
        "A customer already, signed up without credit": 1,
        "Another partner sent the last visit": outranked,
    }
    [expired] = [row for row in data.rows(panels.MISSED, PROGRAM, "bakery", VALUES) if row["verdict"] == "expired"]
    assert expired["reason"] == (
        "You sent a visit 35 days before the sign-up, but a visit counts for 30 days: the window had "
        "closed 5 days before"
    )


def test_credits_say_why(data: PanelData) -> None:
    reasons = [
        row["reason"]
        for partner in ("roaster", "florist")
        for row in data.rows(panels.RECENT_CREDITS, PROGRAM, partner, VALUES)
    ]
    assert "You sent the last visit, 3 days before the sign-up; a visit counts for 30 days" in reasons
    assert "You sent the last visit of 2 that counted, 3 days before the sign-up; a visit counts for 30 days" in reasons
    assert any(
        re.fullmatch(r"Your customer since the sign-up of \d+ \w+ 2026, so this order is yours too", each)
        for each in reasons
    )
    shared = [row["reason"] for row in data.rows(panels.RECENT_CREDITS, "Bakery: Café/Kreis", "idle", VALUES)]
    assert shared == ["Shared: each of 2 visits that counted weighs the same"]


def test_credits_tell_what_each_order_came_to(data: PanelData, world: World) -> None:
    entries: Counter[str] = Counter()
    for entry in world.of("ledger_entries", PROGRAM, "bakery"):
        entries[entry["order_id"]] += entry["amount_minor"] if entry["kind"] in ("accrual", "clawback") else 0
    orders = {row["event_id"]: row for row in world.tables["orders"]}
    refunds = {row["order_id"]: row["amount_minor"] for row in world.tables["refunds"]}
    for row in data.rows(panels.RECENT_CREDITS, PROGRAM, "bakery", VALUES):
        order = orders.get(row["conversion_id"], {"order_id": None, "amount_minor": 0})
        assert row["order_minor"] == order["amount_minor"]
        assert row["refunded_minor"] == refunds.get(order["order_id"], 0)
        assert row["earned_minor"] == (entries[order["order_id"]] if order["order_id"] else 0)


def test_views_for_partners_always_name_the_partner(warehouse: Warehouse, world: World) -> None:
    for view in VIEWS:
        if view.startswith("partner_"):
            assert warehouse.query(f"SELECT count() FROM {view} WHERE program_id = '' OR partner_id = ''") == [(0,)]
            assert warehouse.query(f"SELECT count() > 0 FROM {view}") == [(1,)]
    credited = sum(row["partner_id"] != "" for row in world.tables["attributions"])
    assert warehouse.query("SELECT count() FROM partner_credits") == [(credited,)]
    brands = warehouse.query("SELECT program_id, brand_id FROM program_brands ORDER BY program_id")
    assert brands == [("Bakery: Café/Kreis", "bakery"), (PROGRAM, "acme")]


def test_milestones_of_a_partner_are_its_own_its_groups_and_everyone_s(data: PanelData) -> None:
    def scopes(partner: str) -> dict[str, int]:
        rows = data.rows(panels.MILESTONES, PROGRAM, partner, VALUES)
        return {row["scope_key"]: row["count"] for row in rows}

    assert scopes("bakery") == {"bakery": 6, "bakery+roaster": 38, "*": 123_456}
    assert scopes("florist") == {"*": 123_456}
    assert scopes("") == {"bakery": 6, "roaster": 2, "bakery+roaster": 38, "*": 123_456}
    assert len(data.rows(panels.MILESTONES, PROGRAM, "", VALUES)) == 4


def test_partners_side_by_side_add_up(data: PanelData, world: World) -> None:
    rows = data.rows(panels.PARTNERS, PROGRAM, "", VALUES)
    assert sorted(row["partner_id"] for row in rows) == ["bakery", "florist", "roaster"]
    for row in rows:
        [earned] = data.rows(panels.EARNINGS, PROGRAM, row["partner_id"], VALUES)
        [quality] = data.rows(panels.QUALITY, PROGRAM, row["partner_id"], VALUES)
        steps = [step["value"] for step in data.rows(panels.FUNNEL, PROGRAM, row["partner_id"], VALUES)]
        assert [row[key] for key in ("sign_ups", "orders", "qualified")] == steps[1:]
        assert row["commission_minor"] == earned["commission_minor"]
        assert row["extra_minor"] == earned["bonus_minor"] + earned["award_minor"]
        assert (row["order_value_minor"], row["refunded_minor"]) == (
            quality["order_value_minor"],
            quality["refunded_minor"],
        )


def test_clicks_by_partner(data: PanelData, world: World) -> None:
    rows = data.rows(panels.CLICKS, PROGRAM, "", VALUES)
    assert rows == sorted(rows, key=lambda row: (-row["clicks"], row["partner_id"]))
    assert {row["partner_id"]: row["clicks"] for row in rows} == Counter(
        click["partner_id"] for click in world.of("clicks", PROGRAM, "")
    )


def test_give_and_take(data: PanelData, world: World) -> None:
    rows = data.rows(panels.GIVE_AND_TAKE, "", "", VALUES)
    to_acme = sum(row["status"] == "qualified" for row in world.of("referrals", PROGRAM, "bakery"))
    assert [tuple(row.values()) for row in rows] == [("acme", "bakery", 2, to_acme), ("bakery", "acme", to_acme, 2)]


def test_rejected_records(data: PanelData) -> None:
    rows: list[Any] = data.rows(panels.REJECTED, "", "", VALUES)
    assert {(row["reason"], row["brand_id"]): row["records"] for row in rows} == {
        ("malformed", ""): 1,
        ("invalid_field", "acme"): 2,
        ("unknown_brand", "<i>other</i>"): 1,
    }


def test_a_partner_s_rows_hold_nothing_of_others(data: PanelData) -> None:
    for panel in PARTNER_PANELS:
        text = repr(data.rows(panel, PROGRAM, "florist", VALUES))
        assert "bakery" not in text
        assert "roaster" not in text
        assert "secret" not in text


def test_copies_are_dropped(warehouse: Warehouse) -> None:
    count = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'page\\_%'"
    before = warehouse.query(count)
    wrong = Panel("wrong", "", "", "table", "text", "SELECT nonsense FROM partner_clicks")
    with PanelData(warehouse) as data:
        assert warehouse.query(count) != before
        with pytest.raises(WarehouseError, match="nonsense"):
            data.rows(wrong, "", "", VALUES)
    assert warehouse.query(count) == before
