"""A partner's page of one program: what it earned and why, how far its goals are, and what it was not credited."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.pages import figures, panels, words
from pipeline.pages.goals import bonus_progress, milestone_progress, tier_progress
from pipeline.pages.parts import Cell, Page, Progress, Section, Table
from pipeline.pages.scene import Scene
from pipeline.pages.scope import Row
from pipeline.pages.terms_words import terms_in_words


def partner_page(scene: Scene, brand_name: str, file_name: str, as_of: str) -> Page:
    """The page for ``scene``'s partner."""
    name = scene.names[scene.partner_id]
    return Page(
        file_name,
        f"{name} – {words.named(scene.program.id)}",
        f"Referrals to {brand_name} · {words.named(scene.program.id)}",
        name,
        as_of,
        [
            figures.at_a_glance(scene),
            _goals(scene),
            figures.funnel(scene),
            figures.credit_over_time(scene),
            figures.earnings_over_time(scene),
            figures.earned_by_kind(scene),
            figures.customers(scene),
            figures.quality(scene),
            figures.retention(scene),
            _recent_credits(scene),
            figures.missed_reasons(scene),
            _missed(scene),
        ],
        terms_in_words(scene.terms, scene.partner_id, scene.now_ms),
        [
            "Provisional: events of that time may still arrive and correct it. Final: it stands, and only new events, "
            "such as a refund, add to it.",
            "Customers are shown as four characters that say nothing about them. The reference of a line lets the "
            "brand look up how it was decided.",
        ],
    )


def _goals(scene: Scene) -> Section:
    items = list(_goal_items(scene))
    return Section(
        "goals",
        "Goals",
        "Tiers, bonuses and milestones of this program, as far as they are now.",
        items,
        is_wide=True,
        aside="" if items else "This program has no tiers, bonuses or milestones.",
    )


def _goal_items(scene: Scene) -> Iterator[Progress]:
    tier = tier_progress(scene)
    if tier is not None:
        yield tier
    yield from bonus_progress(scene)
    yield from milestone_progress(scene)


def _recent_credits(scene: Scene) -> Section:
    found = scene.rows(panels.RECENT_CREDITS)
    is_shared = any(row["share_bps"] < 10_000 for row in found)
    rows = [
        [
            Cell(words.day(row["converted_at"], scene.zone)),
            Cell(f"{_what(row['conversion_type'])} of customer …{row['customer']}"),
            *([Cell(words.rate(row["share_bps"]))] if is_shared else []),
            Cell(scene.money(row["earned_minor"]) if row["conversion_type"] == "order" else ""),
            Cell(_why(scene, row)),
            Cell(row["conversion_id"]),
        ]
        for row in found
    ]
    columns = ["Date", "What", *(["Your share"] if is_shared else []), "Commission", "Why", "Reference"]
    table = Table(panels.RECENT_CREDITS.title, columns, rows, frozenset({2, 3} if is_shared else {2}), "No credit yet.")
    return Section("recent", panels.RECENT_CREDITS.title, "The latest sign-ups and orders.", [table], is_wide=True)


def _why(scene: Scene, row: Row) -> str:
    """The reason, and for orders what refunds or a missing qualification did to it."""
    sentences = [row["reason"] + "."]
    if row["conversion_type"] == "order":
        if row["refunded_minor"] and row["refunded_minor"] == row["order_minor"]:
            sentences.append("It was refunded.")
        elif row["refunded_minor"]:
            sentences.append(f"{scene.money(row['refunded_minor'])} of it was refunded.")
        elif not row["earned_minor"]:
            sentences.append("It has earned nothing so far.")
    return " ".join(sentences)


def _missed(scene: Scene) -> Section:
    rows = [
        [
            Cell(words.day(row["converted_at"], scene.zone)),
            Cell(f"{_what(row['conversion_type'])} of customer …{row['customer']}"),
            Cell(row["reason"] + "."),
            Cell(row["conversion_id"]),
        ]
        for row in scene.rows(panels.MISSED)
    ]
    table = Table(panels.MISSED.title, ["Date", "What", "Why not", "Reference"], rows, frozenset(), "None so far.")
    return Section("missed-latest", panels.MISSED.title, "", [table], is_wide=True)


def _what(conversion_type: str) -> str:
    return "Order" if conversion_type == "order" else "Sign-up"
