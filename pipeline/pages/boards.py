"""The Grafana dashboards: which panel stands where. ``python -m pipeline.pages.boards dashboards`` writes them.

The JSON in ``dashboards/`` is generated: change the panels or this file, and run ``make dashboards``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.pages import panels
from pipeline.pages.grafana import Json, Shown, dashboard
from pipeline.pages.health_board import HEALTH_BOARD
from pipeline.pages.panels_of_quality import MONTHS

_FINAL = Shown(panels.FINAL_THROUGH, (("final_through", "Final through"),), 6, 5)
_BALANCE = Shown(
    panels.EARNINGS,
    (
        ("payable_minor", "Payable now"), ("payable_later_minor", "Payable later"), ("final_minor", "Final"),
        ("provisional_minor", "Provisional"), ("total_minor", "Earned in all"),
    ),
    18, 5, "Earned",
)  # fmt: skip
_MADE_OF = Shown(
    panels.EARNINGS,
    (
        ("commission_minor", "Commission on orders"), ("bonus_minor", "Bonuses"), ("award_minor", "Milestone awards"),
        ("taken_back_minor", "Taken back"),
    ),
    12, 5, "What it is made of",
    "Commission, bonuses and awards so far, refunds taken off. Taken back: what refunds cost; it is off already.",
)  # fmt: skip
_FUNNEL = Shown(panels.FUNNEL, (("step", "Step"), ("value", "Count")), 12, 8)
_CREDITS = Shown(panels.CREDITS_OVER_TIME, (("time", "time"), ("sign_ups", "Sign-ups"), ("orders", "Orders")), 12, 8)
_EARNED = Shown(
    panels.EARNINGS_OVER_TIME,
    (
        ("time", "time"), ("commission_minor", "Commission"), ("extra_minor", "Bonuses and awards"),
        ("taken_back_minor", "Taken back"),
    ),
    12, 8,
)  # fmt: skip
_LATER = Shown(panels.PAYABLE_LATER, (("time", "Becomes payable on"), ("amount_minor", "Amount")), 12, 8)
_GOALS = Shown(
    panels.GOALS,
    (
        ("milestone_id", "Milestone"), ("scope_key", "Who counts"), ("period", "Period"), ("status", "Status"),
        ("progress_share", "Progress"), ("shown_count", "So far"), ("shown_threshold", "Needed"),
        ("reached_at", "Reached on"), ("award_minor", "Award"),
    ),
    24, 8,
)  # fmt: skip
_TIERS = Shown(
    panels.TIERS,
    (
        ("name", "Partner"), ("period", "Period"), ("qualified", "Qualified customers"), ("rate_share", "Rate"),
        ("order_minor", "For each order"), ("next_from", "Next tier from"),
    ),
    12, 8,
)  # fmt: skip
_BONUSES = Shown(
    panels.BONUSES,
    (
        ("bonus", "Bonus"), ("period", "Period"), ("taken_share", "Progress"), ("taken", "Places taken"),
        ("places_left", "Places left"), ("taken_by_partner", "Taken by partners shown"), ("place_minor", "For each"),
    ),
    12, 8,
)  # fmt: skip
_BOOSTS = Shown(
    panels.BOOSTS,
    (
        ("boost", "Boost"), ("for_whom", "For"), ("begins_at", "From"), ("ends_at", "Until"), ("factor", "Times"),
        ("state", "State"), ("orders", "Orders in it"), ("orders_before", "Orders before"),
    ),
    12, 8,
)  # fmt: skip
_QUALITY = Shown(
    panels.QUALITY,
    (
        ("order_value_minor", "Order value"), ("average_order_minor", "Average order"),
        ("refunded_share", "Refunded"), ("returning_share", "Came back"),
    ),
    12, 8,
)  # fmt: skip
_RETENTION = Shown(
    panels.RETENTION,
    (
        ("month", "First order in"), ("customers", "Customers"),
        *((f"month_{number}_share", f"Month {number}") for number in range(1, MONTHS + 1)),
    ),
    12, 8,
)  # fmt: skip
_REFERRALS = Shown(panels.REFERRALS, (("standing", "Where they stand"), ("customers", "Customers")), 12, 8)
_MISSED_REASONS = Shown(panels.MISSED_REASONS, (("reason", "Reason"), ("conversions", "Conversions")), 12, 8)
_RECENT = Shown(
    panels.RECENT_CREDITS,
    (
        ("converted_at", "Date"), ("conversion_type", "What"), ("customer", "Customer"), ("share_bps", "Share"),
        ("order_minor", "Order"), ("refunded_minor", "Refunded"), ("earned_minor", "Commission"), ("reason", "Why"),
        ("conversion_id", "Reference"),
    ),
    24, 10,
)  # fmt: skip
_MISSED = Shown(
    panels.MISSED,
    (
        ("converted_at", "Date"), ("conversion_type", "What"), ("customer", "Customer"), ("reason", "Why not"),
        ("conversion_id", "Reference"),
    ),
    24, 10,
)  # fmt: skip
_CLICKS = Shown(panels.CLICKS, (("name", "Partner"), ("clicks", "Clicks")), 8, 10)
_PARTNERS = Shown(
    panels.PARTNERS,
    (
        ("name", "Partner"), ("sign_ups", "Sign-ups"), ("orders", "Orders"), ("qualified", "Qualified customers"),
        ("order_value_minor", "Order value"), ("refunded_minor", "Refunded"), ("commission_minor", "Commission"),
        ("extra_minor", "Bonuses and awards"),
    ),
    16, 10,
)  # fmt: skip
_SEGMENTS = Shown(
    panels.SEGMENTS,
    (
        ("segment", "Segment"), ("partners", "Partners"), ("referred", "Customers referred"),
        ("qualified_share", "Qualified"), ("orders", "Orders"), ("average_order_minor", "Average order"),
        ("refunded_share", "Refunded"), ("returning_share", "Came back"),
    ),
    24, 8,
)  # fmt: skip
_GIVE_AND_TAKE = Shown(
    panels.GIVE_AND_TAKE,
    (("giver", "Who referred"), ("taker", "To whom"), ("customers", "Qualified customers"), ("back", "The other way")),
    12, 8,
)  # fmt: skip
_REJECTED = Shown(
    panels.REJECTED,
    (
        ("reason", "Reason"), ("brand_id", "Brand"), ("records", "Records"), ("example_source", "For example in"),
        ("example_position", "At"),
    ),
    12, 8,
)  # fmt: skip

PARTNER_BOARD: Final = (
    _FINAL, _BALANCE, _FUNNEL, _CREDITS, _EARNED, _LATER, _MADE_OF, _REFERRALS, _GOALS, _TIERS, _BONUSES, _BOOSTS,
    _MISSED_REASONS, _QUALITY, _RETENTION, _RECENT, _MISSED,
)  # fmt: skip
PROGRAM_BOARD: Final = (
    _FINAL, _BALANCE, _PARTNERS, _CLICKS, _SEGMENTS, _FUNNEL, _CREDITS, _EARNED, _MADE_OF, _TIERS, _BOOSTS, _BONUSES,
    _REFERRALS, _GOALS, _QUALITY, _RETENTION, _MISSED_REASONS, _LATER, _GIVE_AND_TAKE, _REJECTED,
)  # fmt: skip


def boards() -> Mapping[str, Json]:
    """The dashboards by file name."""
    return {
        "partner.json": dashboard(
            "crosscredit-partner", "Referrals",
            "What a partner brought and earned, and why. Every figure is of the one partner whose data source it "
            "reads.",
            PARTNER_BOARD, "now-90d",
        ),
        "program.json": dashboard(
            "crosscredit-program", "Referral program",
            "A brand's program: its partners side by side, what they bring, and what it costs.",
            PROGRAM_BOARD, "now-90d", program_variable=True,
        ),
        "pipeline-health.json": dashboard(
            "crosscredit-health", "Pipeline health", "How the live pipeline runs, for whoever operates it.",
            HEALTH_BOARD, "now-6h",
        ),
    }  # fmt: skip


def written(name: str) -> str:
    """The text of a dashboard's file."""
    return json.dumps(boards()[name], indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file_name in boards():
        (Path(sys.argv[1]) / file_name).write_text(written(file_name), encoding="utf-8")
