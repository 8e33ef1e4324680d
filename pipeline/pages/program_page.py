"""A program's page for its brand: all partners together and side by side; and the page over all programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipeline.domain.terms import Catalogue, Milestone
from pipeline.pages import figures, panels, words
from pipeline.pages.goals import bonus_progress, milestone_progress, milestone_words, tier_rate
from pipeline.pages.parts import Bar, Cell, Page, Section, Table
from pipeline.pages.scene import Scene
from pipeline.pages.scope import PanelData, Row
from pipeline.pages.terms_words import terms_in_words

INDEX_FILE = "index.html"
_BACK = (INDEX_FILE, "All programs")
_ALL = {"zone": "UTC", "now_ms": 0, "final_until_ms": 0}

_REJECTED_WORDS = {
    "malformed": "Could not be read as an event",
    "invalid_field": "A field is missing, of a wrong type or out of range",
    "in_future": "Dated too far in the future",
    "unknown_brand": "No program of this brand is known",
    "unknown_program": "The brand has no such program",
    "unknown_partner": "The program has never had such a partner",
    "currency_mismatch": "Not in the currency of the brand",
    "duplicate_order": "The order is known already, under another event id",
}

_NOTHING_BUT_CLICKS: Final = dict.fromkeys(
    ("qualified", "sign_ups", "orders", "order_value_minor", "refunded_minor", "commission_minor", "extra_minor"), 0
)


def program_page(scene: Scene, brand_name: str, file_name: str, links: Mapping[str, str], as_of: str) -> Page:
    """The page for ``scene``'s program; ``links`` are partner ids to their pages' file names."""
    partners = _partners(scene)
    return Page(
        file_name,
        f"{words.named(scene.program.id)} – {brand_name}",
        f"A program of {brand_name}",
        words.named(scene.program.id),
        as_of,
        [
            figures.at_a_glance(scene),
            _side_by_side(scene, partners, links),
            *_segments(scene),
            _goals(scene),
            figures.funnel(scene),
            figures.credit_over_time(scene),
            figures.earnings_over_time(scene),
            figures.earned_by_kind(scene),
            figures.customers(scene),
            figures.quality(scene),
            figures.retention(scene),
            figures.missed_reasons(scene),
            _standing(scene),
            *_boosts(scene),
            *_partner_milestones(scene),
            _rejected(_of_brand(scene), {scene.program.brand_id: brand_name}),
        ],
        terms_in_words(scene.terms, "", scene.now_ms),
        ["A conversion that partners share counts for each of them; order values are split by share."],
        _BACK,
    )


def index_page(
    data: PanelData,
    catalogue: Catalogue,
    scenes: Sequence[Scene],
    links: Mapping[str, str],
    brand_names: Mapping[str, str],
    as_of: str,
) -> Page:
    """The page over all programs; ``links`` are program ids to their pages' file names."""
    brands = len(catalogue.by_brand)
    return Page(
        INDEX_FILE,
        "Referral programs",
        "Cross-promotion",
        "Referral programs",
        as_of,
        [
            _programs(scenes, links, brand_names),
            _give_and_take(data.rows(panels.GIVE_AND_TAKE, "", "", _ALL), brand_names),
            _rejected(data.rows(panels.REJECTED, "", "", _ALL), brand_names),
        ],
        footnotes=[
            f"{words.counted(len(scenes), 'program', 'programs')} of {words.counted(brands, 'brand', 'brands')}. "
            "This page and the programs' pages are for whoever runs them; a partner's page is for that partner."
        ],
    )


def _programs(scenes: Sequence[Scene], links: Mapping[str, str], brand_names: Mapping[str, str]) -> Section:
    rows = []
    for scene in scenes:
        steps = {row["step"]: row["value"] for row in scene.rows(panels.FUNNEL)}
        earned = scene.row(panels.EARNINGS)
        rows.append(
            [
                Cell(words.named(scene.program.id), links[scene.program.id]),
                Cell(brand_names[scene.program.brand_id]),
                Cell(words.plain(len(scene.terms.partners))),
                Cell(words.plain(steps["Clicks"])),
                Cell(words.plain(steps["Orders credited"])),
                Cell(words.plain(steps["Qualified customers"])),
                Cell(scene.money(earned["total_minor"])),
                Cell(scene.money(earned["payable_minor"])),
            ]
        )
    columns = ["Program", "Brand", "Partners", "Clicks", "Orders", "Qualified customers", "Earned", "Payable now"]
    table = Table("Programs", columns, rows, frozenset(range(2, 8)))
    return Section(
        "programs", "Programs", "What partners brought to each, and what they earned.", [table], is_wide=True
    )


def _partners(scene: Scene) -> list[Row]:
    """Who brought anything, with its clicks; those who sent clicks alone come last."""
    clicks = {row["partner_id"]: row["clicks"] for row in scene.rows(panels.CLICKS)}
    rows = [{**row, "clicks": clicks.pop(row["partner_id"], 0)} for row in scene.rows(panels.PARTNERS)]
    return rows + [{**_NOTHING_BUT_CLICKS, "partner_id": partner, "clicks": sent} for partner, sent in clicks.items()]


def _side_by_side(scene: Scene, partners: Sequence[Row], links: Mapping[str, str]) -> Section:
    most = max((row["qualified"] for row in partners), default=0)
    rows = [
        [
            Cell(scene.names.get(row["partner_id"], row["partner_id"]), links.get(row["partner_id"], "")),
            Cell(words.plain(row["qualified"]), share=row["qualified"] / most if most else 0.0),
            Cell(words.plain(row["clicks"])),
            Cell(words.plain(row["sign_ups"])),
            Cell(words.plain(row["orders"])),
            Cell(scene.money(row["order_value_minor"])),
            Cell(words.percent(row["refunded_minor"], row["order_value_minor"])),
            Cell(scene.money(row["commission_minor"])),
            Cell(scene.money(row["extra_minor"])),
        ]
        for row in partners
    ]
    columns = [
        "Partner", "Qualified customers", "Clicks", "Sign-ups", "Orders", "Order value", "Refunded", "Commission",
        "Bonuses, awards",
    ]  # fmt: skip
    table = Table(panels.PARTNERS.title, columns, rows, frozenset(range(1, 9)), "No partner has brought anything yet.")
    told = "What each partner brought, and what it earned for it."
    return Section("partners", panels.PARTNERS.title, told, [table], is_wide=True)


def _goals(scene: Scene) -> Section:
    items = [*bonus_progress(scene), *milestone_progress(scene)]
    return Section(
        "goals",
        "Shared goals",
        "Bonuses, and milestones of the whole program or of partners together.",
        items,
        is_wide=True,
        aside="" if items else "This program has none.",
    )


def _partner_milestones(scene: Scene) -> Iterator[Section]:
    """How far each partner is with the milestones that each reaches alone, in their current period."""
    for milestone in scene.terms.milestones:
        if milestone.scope == "partner":
            label = scene.period(milestone.period)
            rows = [
                row
                for row in scene.rows(panels.MILESTONES)
                if row["milestone_id"] == milestone.id and row["period"] == label
            ]
            rows.sort(key=lambda row: (-row["count"], row["scope_key"]))
            bars = [_milestone_bar(scene, milestone, row) for row in rows]
            yield Section(
                f"milestone-{milestone.id}",
                words.named(milestone.id),
                f"Each partner alone; {words.period(label)}.",
                bars,
                aside="" if bars else "No partner has begun.",
            )


def _milestone_bar(scene: Scene, milestone: Milestone, row: Row) -> Bar:
    share = min(max(row["count"] / row["threshold"], 0.0), 1.0)
    note = f"reached on {words.day(row['reached_at'], scene.zone)}" if row["status"] == "reached" else ""
    return Bar(scene.names.get(row["scope_key"], row["scope_key"]), milestone_words(scene, milestone, row), share, note)


def _segments(scene: Scene) -> Iterator[Section]:
    """Partners of a kind together, where the terms tell kinds apart."""
    found = scene.rows(panels.SEGMENTS)
    if not any(row["segment"] for row in found):
        return
    rows = [
        [
            Cell(words.named(row["segment"]) if row["segment"] else "No segment"),
            Cell(words.plain(row["partners"])),
            Cell(words.plain(row["referred"])),
            Cell(words.percent(row["qualified"], row["referred"]), share=row["qualified_share"] or 0.0),
            Cell(words.plain(row["orders"])),
            Cell(words.NONE if row["average_order_minor"] is None else scene.money(row["average_order_minor"])),
            Cell(figures.share_words(row["refunded_share"])),
            Cell(figures.share_words(row["returning_share"])),
        ]
        for row in found
    ]
    columns = [
        "Segment", "Partners", "Customers referred", "Qualified", "Orders", "Average order", "Refunded", "Came back",
    ]  # fmt: skip
    table = Table(panels.SEGMENTS.title, columns, rows, frozenset(range(1, 8)))
    yield Section("segments", panels.SEGMENTS.title, panels.SEGMENTS.description, [table], is_wide=True)


def _boosts(scene: Scene) -> Iterator[Section]:
    """What boosts brought, where there are any."""
    found = scene.rows(panels.BOOSTS)
    if not found:
        return
    rows = [
        [
            Cell(words.named(row["boost"])),
            Cell(scene.names.get(row["for_whom"], row["for_whom"])),
            Cell(words.day(row["begins_at"], scene.zone)),
            Cell(words.day(row["ends_at"], scene.zone)),
            Cell(f"{row['factor']:g}"),
            Cell(row["state"]),
            Cell(words.plain(row["orders"])),
            Cell(words.plain(row["orders_before"])),
        ]
        for row in found
    ]
    columns = ["Boost", "For", "From", "Until before", "Times", "State", "Orders in it", "Orders before"]
    table = Table(panels.BOOSTS.title, columns, rows, frozenset({4, 6, 7}))
    yield Section("boosts", panels.BOOSTS.title, panels.BOOSTS.description, [table], is_wide=True)


def _standing(scene: Scene) -> Section:
    """The partners by what they brought in the current period, with the tier that they are in."""
    terms = scene.terms
    kind = terms.tier_period if terms.tiers else "month"
    counts = scene.qualified_in(kind)
    most = max(counts.values(), default=0)
    bars = [
        Bar(
            scene.names.get(partner_id, partner_id),
            words.plain(count),
            max(count, 0) / most if most > 0 else 0.0,
            tier_rate(terms, count) if terms.tiers else "",
        )
        for partner_id, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    ]
    lead = f"Customers that began to qualify, less those that ceased to; {words.period(scene.period(kind))}."
    return Section("standing", "Tiers" if terms.tiers else "This month", lead, bars, aside="" if bars else "None yet.")


def _give_and_take(rows: Sequence[Row], brand_names: Mapping[str, str]) -> Section:
    sent = {(row["giver"], row["taker"]): row["customers"] for row in rows}
    pairs = sorted({tuple(sorted(pair)) for pair in sent})
    lines = []
    for one, other in pairs:
        there, back = sent.get((one, other), 0), sent.get((other, one), 0)
        if there or back:
            lines.append((there + back, one, other, there, back))
    lines.sort(key=lambda line: (-line[0], line[1], line[2]))
    table = Table(
        panels.GIVE_AND_TAKE.title,
        ["One brand", "The other", "It sent", "It got back", "Balance"],
        [
            [
                Cell(brand_names.get(one, one)),
                Cell(brand_names.get(other, other)),
                Cell(words.plain(there)),
                Cell(words.plain(back)),
                Cell(_balance(one, other, there, back, brand_names)),
            ]
            for _, one, other, there, back in lines
        ],
        frozenset({2, 3}),
        "No two brands refer customers to each other.",
    )
    return Section("give-and-take", panels.GIVE_AND_TAKE.title, panels.GIVE_AND_TAKE.description, [table], is_wide=True)


def _balance(one: str, other: str, there: int, back: int, brand_names: Mapping[str, str]) -> str:
    if there == back:
        return "even"
    giver = one if there > back else other
    return f"{brand_names.get(giver, giver)} gave {words.plain(abs(there - back))} more"


def _of_brand(scene: Scene) -> list[Row]:
    return [row for row in scene.rows(panels.REJECTED) if row["brand_id"] == scene.program.brand_id]


def _rejected(rows: Sequence[Row], brand_names: Mapping[str, str]) -> Section:
    lines = [
        [
            Cell(_REJECTED_WORDS.get(row["reason"], str(row["reason"]))),
            Cell(brand_names.get(row["brand_id"], str(row["brand_id"])) or "unknown"),
            Cell(words.plain(row["records"])),
            Cell(f"{row['example_source'].rpartition('/')[2]}, {row['example_position']}"),
        ]
        for row in rows
    ]
    table = Table(panels.REJECTED.title, ["Reason", "Brand", "Records", "For example"], lines, frozenset({2}), "None.")
    lead = "They took no part in anything above, and stopped nothing. Their raw bytes are kept in dead_letters."
    return Section("rejected", panels.REJECTED.title, lead, [table], is_wide=True)
