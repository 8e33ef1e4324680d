"""Sections that a partner's and a program's page share: panels' rows turned into parts of a page."""

from __future__ import annotations

from pipeline.pages import panels, words
from pipeline.pages.charts import Series, columns_over_time
from pipeline.pages.panels_of_quality import MONTHS
from pipeline.pages.parts import Bar, Cell, Chart, Section, Stat, Table
from pipeline.pages.scene import Scene


def at_a_glance(scene: Scene) -> Section:
    """The balance and the customers, in figures."""
    earned, later, customers = (
        scene.row(panels.EARNINGS),
        scene.rows(panels.PAYABLE_LATER),
        scene.rows(panels.REFERRALS),
    )
    count = sum(row["customers"] for row in customers if row["status"] == "qualified")
    known = sum(row["customers"] for row in customers)
    next_one = (
        f"the next {scene.money(later[0]['amount_minor'])} on {words.day(scene.day_of(later[0]), scene.zone)}"
        if later
        else ""
    )
    final = (
        "all final"
        if not earned["provisional_minor"]
        else f"{scene.money(earned['final_minor'])} final, {scene.money(earned['provisional_minor'])} provisional"
    )
    return Section(
        "glance",
        "At a glance",
        items=[
            Stat("Payable now", scene.money(earned["payable_minor"]), "the time for returns has passed"),
            Stat("Payable later", scene.money(earned["payable_later_minor"]), next_one),
            Stat("Earned in all", scene.money(earned["total_minor"]), final),
            Stat("Qualified customers", words.plain(count), f"of {words.plain(known)} referred"),
        ],
        is_wide=True,
    )


def funnel(scene: Scene) -> Section:
    """From clicks to qualified customers. Clicks are so many more that only the steps after them are drawn."""
    values = [(str(row["step"]), int(row["value"])) for row in scene.rows(panels.FUNNEL)]
    if scene.program.credit == "order":
        values = [value for value in values if value[0] != "Sign-ups credited"]
    (first, clicks), *rest = values
    most = max(value for _, value in rest)
    bars = [Bar(first, words.plain(clicks))]
    bars += [
        Bar(step, words.plain(value), _part(value, most), f"{words.percent(value, clicks)} of clicks" if clicks else "")
        for step, value in rest
    ]
    return Section("funnel", panels.FUNNEL.title, panels.FUNNEL.description, bars)


def credit_over_time(scene: Scene) -> Section:
    """Sign-ups and orders by day, week or month."""
    rows = scene.rows(panels.CREDITS_OVER_TIME)
    series = [Series("Orders", [row["orders"] for row in rows]), Series("Sign-ups", [row["sign_ups"] for row in rows])]
    chart = columns_over_time(
        [scene.day_of(row) for row in rows],
        series,
        "Sign-ups and orders credited",
        "",
        lambda value: words.plain(int(value)),
    )
    return _charted("credit", panels.CREDITS_OVER_TIME.title, panels.CREDITS_OVER_TIME.description, chart)


def earnings_over_time(scene: Scene) -> Section:
    """Commission, extras and what was taken back by day, week or month."""
    rows, currency = scene.rows(panels.EARNINGS_OVER_TIME), scene.program.currency
    names = {"commission_minor": "Commission", "extra_minor": "Bonuses and awards", "taken_back_minor": "Taken back"}
    series = [Series(name, [float(words.major(row[key], currency)) for row in rows]) for key, name in names.items()]

    def shown(value: float) -> str:
        return words.money(words.minor(value, currency), currency)

    chart = columns_over_time(
        [scene.day_of(row) for row in rows], series, "Earned and taken back", words.symbol(currency), shown
    )
    return _charted("earnings", panels.EARNINGS_OVER_TIME.title, panels.EARNINGS_OVER_TIME.description, chart)


def earned_by_kind(scene: Scene) -> Section:
    """What the total is made of, and when the rest becomes payable."""
    row, later = scene.row(panels.EARNINGS), scene.rows(panels.PAYABLE_LATER)
    kinds = [
        ("Commission on orders", row["commission_minor"]),
        ("Bonuses", row["bonus_minor"]),
        ("Milestone awards", row["award_minor"]),
    ]
    made = Table(
        "What the total is made of",
        ["What for", "Amount"],
        [
            *(
                [Cell(name), Cell(scene.money(amount))]
                for name, amount in kinds
                if amount or name.startswith("Commission")
            ),
            [Cell("Together"), Cell(scene.money(row["total_minor"]))],
        ],
        frozenset({1}),
    )
    due = Table(
        "What becomes payable when",
        ["Becomes payable on", "Amount"],
        [
            [Cell(words.day(scene.day_of(each), scene.zone)), Cell(scene.money(each["amount_minor"]))]
            for each in later[:5]
        ],
        frozenset({1}),
        "Nothing is waiting.",
    )
    more = sum(each["amount_minor"] for each in later[5:])
    back = (
        f"{scene.money(-row['taken_back_minor'])} taken back after refunds is already off."
        if row["taken_back_minor"]
        else ""
    )
    rest = f" Another {scene.money(more)} follows after these days." if more else ""
    return Section("made-of", "What it is made of", back, [made, due], aside=rest.strip())


def customers(scene: Scene) -> Section:
    """Where the referred customers stand."""
    rows = scene.rows(panels.REFERRALS)
    most = max((row["customers"] for row in rows), default=0)
    bars = [
        Bar(
            row["standing"],
            words.plain(row["customers"]),
            _part(row["customers"], most),
        )
        for row in rows
    ]
    return Section(
        "customers", panels.REFERRALS.title, panels.REFERRALS.description, bars, aside="" if bars else "None yet."
    )


def quality(scene: Scene) -> Section:
    """Order value, refunds, and who came back."""
    row = scene.row(panels.QUALITY)
    average = words.NONE if row["average_order_minor"] is None else scene.money(row["average_order_minor"])
    return Section(
        "quality",
        panels.QUALITY.title,
        items=[
            Stat("Order value", scene.money(row["order_value_minor"]), words.counted(row["orders"], "order", "orders")),
            Stat("Average order", average),
            Stat(
                "Refunded",
                words.percent(row["refunded_minor"], row["order_value_minor"]),
                f"of the value, in {words.counted(row['refunded_orders'], 'order', 'orders')}",
            ),
            Stat(
                "Came back",
                words.percent(row["returning_customers"], row["customers"]),
                f"{words.plain(row['returning_customers'])} of "
                f"{words.counted(row['customers'], 'customer', 'customers')}",
            ),
        ],
    )


def retention(scene: Scene) -> Section:
    """Which part of each month's new customers ordered again, month by month."""
    found = scene.rows(panels.RETENTION)
    months = [
        number for number in range(1, MONTHS + 1) if any(row[f"month_{number}_share"] is not None for row in found)
    ]
    rows = [
        [
            Cell(words.capital(words.period(row["month"]))),
            Cell(words.plain(row["customers"])),
            *(Cell(share_words(row[f"month_{number}_share"])) for number in months),
        ]
        for row in found
    ]
    columns = ["First order in", "Customers", *(f"Month {number}" for number in months)]
    table = Table(panels.RETENTION.title, columns, rows, frozenset(range(1, len(columns))), "No order yet.")
    return Section("retention", panels.RETENTION.title, panels.RETENTION.description, [table])


def share_words(part: float | None) -> str:
    """A part of one as ``12.5 %``; nothing where there is no telling."""
    return "" if part is None else words.percent(round(part * 1_000_000), 1_000_000)


def missed_reasons(scene: Scene) -> Section:
    """Conversions without credit, by reason."""
    rows = scene.rows(panels.MISSED_REASONS)
    most = max((row["conversions"] for row in rows), default=0)
    bars = [Bar(row["reason"], words.plain(row["conversions"]), _part(row["conversions"], most)) for row in rows]
    return Section(
        "missed",
        panels.MISSED_REASONS.title,
        panels.MISSED_REASONS.description,
        bars,
        aside="" if bars else "None so far.",
    )


def _charted(section_id: str, title: str, description: str, chart: Chart | None) -> Section:
    return Section(section_id, title, description, [chart] if chart else [], aside="" if chart else "Nothing yet.")


def _part(value: int, whole: int) -> float:
    return value / whole if whole else 0.0
