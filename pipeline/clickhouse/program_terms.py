"""The terms as rows of ``program_terms``, from which panels take targets, rates, names and currencies.

Called by whoever was given terms: a run over files, and a worker when it starts. What must not be read by partners
stays out: coupon codes, and partners' own accounts.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from babel.numbers import get_currency_precision

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue, Milestone, Terms, Tier

COLUMNS: Final = (
    "program_id", "terms_version", "brand_id", "currency", "currency_digits", "time_zone", "effective_from", "content",
    "version", "is_deleted",
)  # fmt: skip

_BELOW_ALL: Final = -(1 << 62)
"""From where the program's own rate holds: a period's net qualified customers may be fewer than none."""

_KNOWN: Final = f"""
SELECT {", ".join(COLUMNS[:6])}, toUnixTimestamp64Milli(effective_from), content, version, is_deleted
FROM program_terms ORDER BY version DESC LIMIT 1 BY program_id, terms_version
"""
# Without FINAL: a version that was withdrawn and comes back must be written above its withdrawal.


def write_program_terms(warehouse: Warehouse, catalogue: Catalogue) -> None:
    """Make the table say what ``catalogue`` says; versions that it lacks are withdrawn. Writes only what differs.

    Workers of one catalogue may do so at once: they write the same.

    :raises WarehouseError: as :meth:`Warehouse.insert`.
    """
    known: dict[tuple[Any, ...], tuple[Any, ...]] = {row[:2]: row for row in warehouse.query(_KNOWN)}
    stated = {
        (terms.program_id, terms.version): _row(terms)
        for program in catalogue.programs.values()
        for terms in program.versions
    }
    rows: list[tuple[Any, ...]] = []
    for key, row in stated.items():
        stored = known.pop(key, None)
        if stored is None:
            rows.append((*row, 1, 0))
        elif stored != (*row, stored[-2], 0):
            rows.append((*row, stored[-2] + 1, 0))
    rows += [(*row[:-2], row[-2] + 1, 1) for row in known.values() if not row[-1]]
    warehouse.insert_rows("program_terms", rows, COLUMNS)


def _row(terms: Terms) -> tuple[Any, ...]:
    return (
        terms.program_id, terms.version, terms.brand_id, terms.currency, get_currency_precision(terms.currency),
        terms.time_zone, terms.effective_from_ms, orjson.dumps(_content(terms)).decode(),
    )  # fmt: skip


def _content(terms: Terms) -> dict[str, Any]:
    return {
        "commission_kind": terms.commission_kind,
        "tier_period": terms.tier_period,
        "tiers": [
            {"from_referrals": tier.from_referrals, "rate_bps": tier.rate_bps, "amount_minor": tier.amount_minor}
            for tier in (Tier(_BELOW_ALL, terms.rate_bps, terms.amount_minor), *terms.tiers)
        ],
        "bonuses": [
            {
                "id": bonus.id, "first": bonus.first, "period": bonus.period, "scope": bonus.scope,
                "amount_minor": bonus.amount_minor,
            }
            for bonus in terms.bonuses
        ],
        "milestones": [
            {
                "id": each.id, "metric": each.metric, "threshold": each.threshold, "period": each.period,
                "scope": each.scope, "scope_keys": _scope_keys(each, terms), "award_minor": each.award_minor,
            }
            for each in terms.milestones
        ],
        "boosts": [
            {
                "id": boost.id, "partner_id": boost.partner_id or "*", "from_ms": boost.from_ms,
                "until_ms": boost.until_ms, "multiplier_bps": boost.multiplier_bps,
            }
            for boost in terms.boosts
        ],
        "partners": [
            {"id": each.id, "name": each.name, "segment": each.segment} for each in terms.partners.values()
        ],
    }  # fmt: skip


def _scope_keys(milestone: Milestone, terms: Terms) -> list[str]:
    """The scope keys of the milestone's rows (contract.md, section 6)."""
    if milestone.scope == "program":
        return ["*"]
    return ["+".join(milestone.partners)] if milestone.scope == "group" else list(terms.partners)
