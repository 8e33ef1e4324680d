"""What a run came to, in a page of text: funnel, partners, milestones, what was not accepted, what to do next."""

from __future__ import annotations

from typing import Any

from babel.numbers import format_currency, get_currency_precision
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue
from pipeline.embedded.engine import Counts

_MOST_PARTNERS = 15
_MOST_MILESTONES = 12

_PARTNERS = """
SELECT program_id, partner_id, sum(sign_ups), sum(orders), sum(qualified), sum(commission), sum(other)
FROM (
    SELECT program_id, partner_id, countIf(conversion_type = 'sign_up') AS sign_ups,
           countIf(conversion_type = 'order') AS orders, 0 AS qualified, toInt64(0) AS commission, toInt64(0) AS other
    FROM current_attributions WHERE partner_id != '' GROUP BY program_id, partner_id
    UNION ALL
    SELECT program_id, partner_id, 0, 0, countIf(status = 'qualified'), 0, 0
    FROM current_referrals GROUP BY program_id, partner_id
    UNION ALL
    SELECT program_id, partner_id, 0, 0, 0, sumIf(amount_minor, kind IN ('accrual', 'clawback')),
           sumIf(amount_minor, kind NOT IN ('accrual', 'clawback', 'customer_reward', 'customer_reward_clawback'))
    FROM current_ledger_entries GROUP BY program_id, partner_id
)
GROUP BY program_id, partner_id ORDER BY sum(commission) + sum(other) DESC, program_id, partner_id
"""

_FUNNEL = """
SELECT (SELECT count() FROM current_sign_ups),
       (SELECT uniqExact(brand_id, customer_id, conversion_id) FROM current_attributions
        WHERE conversion_type = 'sign_up' AND partner_id != ''),
       (SELECT count() FROM current_orders),
       (SELECT uniqExact(brand_id, customer_id, conversion_id) FROM current_attributions
        WHERE conversion_type = 'order' AND partner_id != ''),
       (SELECT count() FROM current_referrals),
       (SELECT countIf(status = 'qualified') FROM current_referrals),
       (SELECT count() FROM current_refunds),
       (SELECT countIf(NOT matched) FROM current_refunds)
"""

_MILESTONES = """
SELECT program_id, milestone_id, scope_key, period, status, count, threshold FROM current_milestones
ORDER BY status = 'reached' DESC, count / threshold DESC, program_id, milestone_id, scope_key, period
LIMIT {most:UInt32}
"""

_DEAD = """
SELECT reason, count(), argMin(source, (source, position)), argMin(position, (source, position))
FROM current_dead_letters GROUP BY reason ORDER BY count() DESC, reason
"""

_EXAMPLE = """
SELECT conversion_id FROM current_attributions WHERE partner_id != '' ORDER BY converted_at DESC, conversion_id LIMIT 1
"""


# What a user can do about each reason of a dead letter.
REMEDIES = {
    "malformed": "not readable as an event: see the raw text, and mend the export",
    "invalid_field": "a field is missing, has a wrong type or is out of range",
    "in_future": "dated too far ahead: check the sender's clock",
    "unknown_brand": "no program of this brand was given: add its terms with --program",
    "unknown_program": "the brand has no such program: add its terms, or mend the link",
    "unknown_partner": "no version of the program names this partner",
    "currency_mismatch": "not the currency of the brand's programs",
    "duplicate_order": "a second event for an order_id that is already known",
}


def print_summary(
    console: Console, warehouse: Warehouse, catalogue: Catalogue, counts: Counts, hints: list[str]
) -> None:
    """Print it. ``hints`` are commands to try next."""
    parts: list[RenderableType] = [_read(counts), _funnel(warehouse, counts), _partners(warehouse, catalogue)]
    parts += [part for part in (_milestones(warehouse, catalogue), _dead_letters(warehouse)) if part is not None]
    if hints:
        parts.append(Text("Next", style="bold"))
        parts += [Text("  " + hint) for hint in hints]
    console.print(Group(*parts), soft_wrap=True)


def example_conversion(warehouse: Warehouse) -> str:
    """A credited conversion worth explaining, or ""."""
    rows = warehouse.query(_EXAMPLE)
    return str(rows[0][0]) if rows else ""


def money(amount_minor: int, currency: str) -> str:
    """An amount of minor units as people write it."""
    digits = get_currency_precision(currency)
    return format_currency(amount_minor / 10**digits, currency, locale="en_US")


def _read(counts: Counts) -> RenderableType:
    applied, repeats, dead = sum(counts.applied.values()), sum(counts.repeats.values()), sum(counts.dead.values())
    return Text.assemble(
        ("Read", "bold"),
        f"  {counts.records:,} records = {applied:,} events + {repeats:,} repeats + {dead:,} not accepted",
    )


def _funnel(warehouse: Warehouse, counts: Counts) -> RenderableType:
    ((sign_ups, credited_sign_ups, orders, credited_orders, referrals, qualified, refunds, waiting),) = warehouse.query(
        _FUNNEL
    )
    table = Table(title="Funnel (everything this database knows)", title_justify="left", box=None, pad_edge=False)
    for name in ("", "all", "credited"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("clicks", f"{counts.clicks_known:,}", "")
    table.add_row("sign-ups", f"{sign_ups:,}", f"{credited_sign_ups:,}")
    table.add_row("orders", f"{orders:,}", f"{credited_orders:,}")
    table.add_row("referrals", f"{referrals:,}", f"{qualified:,} qualified")
    table.add_row("refunds", f"{refunds:,}", f"{waiting:,} wait for their order" if waiting else "")
    return table


def _partners(warehouse: Warehouse, catalogue: Catalogue) -> RenderableType:
    rows: list[Any] = warehouse.query(_PARTNERS)
    table = Table(title="Partners", title_justify="left", box=None, pad_edge=False)
    if not rows:
        return Text("Partners: nobody has earned anything yet")
    table.add_column("program", overflow="fold")
    table.add_column("partner", overflow="fold")
    for name in ("sign-ups", "orders", "qualified", "commission", "bonuses, awards"):
        table.add_column(name, justify="right")
    for program_id, partner_id, sign_ups, orders, qualified, commission, other in rows[:_MOST_PARTNERS]:
        currency = catalogue.programs[program_id].currency if program_id in catalogue.programs else "XXX"
        table.add_row(
            program_id, partner_id, f"{sign_ups:,}", f"{orders:,}", f"{qualified:,}", money(commission, currency),
            money(other, currency),
        )  # fmt: skip
    if len(rows) > _MOST_PARTNERS:
        table.add_row(f"… and {len(rows) - _MOST_PARTNERS} more", "", "", "", "", "", "")
    return table


def _milestones(warehouse: Warehouse, catalogue: Catalogue) -> RenderableType | None:
    rows: list[Any] = warehouse.query(_MILESTONES, {"most": _MOST_MILESTONES})
    if not rows:
        return None
    table = Table(title="Milestones", title_justify="left", box=None, pad_edge=False)
    for name in ("program", "milestone", "who", "period", "status"):
        table.add_column(name, overflow="fold")
    table.add_column("progress", justify="right")
    for program_id, milestone_id, scope_key, period, status, count, threshold in rows:
        who = "everyone" if scope_key == "*" else scope_key
        progress = _progress(catalogue, program_id, milestone_id, int(count), threshold)
        table.add_row(program_id, milestone_id, who, period, status, progress)
    return table


def _progress(catalogue: Catalogue, program_id: str, milestone_id: str, count: int, threshold: int) -> str:
    """A milestone's figure beside its threshold, as money where it counts revenue."""
    program = catalogue.programs.get(program_id)
    versions = program.versions if program is not None else ()
    metrics = {each.metric for terms in versions for each in terms.milestones if each.id == milestone_id}
    if program is not None and "net_revenue_minor" in metrics:
        return f"{money(count, program.currency)} of {money(threshold, program.currency)}"
    return f"{count:,} of {threshold:,}"


def _dead_letters(warehouse: Warehouse) -> RenderableType | None:
    rows: list[Any] = warehouse.query(_DEAD)
    if not rows:
        return None
    table = Table(title="Not accepted, kept in dead_letters", title_justify="left", box=None, pad_edge=False)
    table.add_column("reason")
    table.add_column("records", justify="right")
    table.add_column("what it means")
    table.add_column("for instance", overflow="fold")
    for reason, count, source, position in rows:
        table.add_row(reason, f"{count:,}", REMEDIES.get(reason, ""), f"{source}:{position}")
    return table
