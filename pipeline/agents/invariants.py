"""What must hold of everything a worker derives, checked while it runs (contract.md, section 4).

    records_accounted       every record that was read is in exactly one outcome
    shares_sum              the shares of a conversion sum to 10 000 basis points, or nobody has credit
    credited_once           a conversion is one program's, and of an order's events one alone is credited
    balance_equals_entries  what a referral earns by how it stands now is the sum of its ledger entries

A violation is counted and logged, and the worker goes on: its rows say what was derived, and to stop would help nobody.
The log names events, orders, programs and partners, and no customer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import structlog

from pipeline.agents.intake import Taken
from pipeline.domain.money import BPS
from pipeline.domain.rows import AttributionRow

log = structlog.get_logger()

Counts = Counter[tuple[str, str]]

_PLACE: Final = {name: at for at, name in enumerate(AttributionRow._fields)}
_PARTNER, _PROGRAM, _ORDER, _SHARE = (_PLACE[name] for name in ("partner_id", "program_id", "order_id", "share_bps"))


def violated(counts: Counts, invariant: str, **where: Any) -> None:
    """Count a violation, and log ``where``."""
    counts["violated", invariant] += 1
    log.error("an invariant does not hold", invariant=invariant, **where)


def check_records(counts: Counts, event_type: str, taken: Taken, repeats: int) -> None:
    """Each record of a batch is admitted (``repeats`` of them known already), late, a dead letter or misplaced."""
    found = len(taken.events) + len(taken.late) + len(taken.dead) + len(taken.misplaced)
    if found != taken.records or not 0 <= repeats <= len(taken.events):
        violated(
            counts, "records_accounted", type=event_type, records=taken.records, admitted=len(taken.events),
            repeats=repeats, late=len(taken.late), dead=len(taken.dead), misplaced=len(taken.misplaced),
        )  # fmt: skip


def check_attributions(counts: Counts, rows: Iterable[Sequence[Any]]) -> None:
    """Rows of whole conversions: the columns of :class:`AttributionRow`, then ``version`` and ``is_deleted``."""
    shares: dict[Any, int] = {}
    programs: dict[Any, str] = {}
    credited: dict[Any, str] = {}
    for row in rows:
        if row[-1]:
            continue
        brand, kind, customer, conversion = row[:4]
        key = brand, kind, customer, conversion
        share, program = row[_SHARE], row[_PROGRAM]
        if share == BPS and key not in shares:  # most conversions that are credited are so to one partner
            shares[key], programs[key] = share, program
        else:
            if share <= 0 and row[_PARTNER]:
                violated(counts, "shares_sum", brand=brand, conversion=conversion, partner=row[_PARTNER], bps=share)
            shares[key] = shares.get(key, 0) + share
            if programs.setdefault(key, program) != program:
                names = sorted((programs[key], program))
                violated(counts, "credited_once", brand=brand, conversion=conversion, programs=names)
        if share and kind == "order" and credited.setdefault((brand, customer, row[_ORDER]), conversion) != conversion:
            events = sorted((credited[brand, customer, row[_ORDER]], conversion))
            violated(counts, "credited_once", brand=brand, order=row[_ORDER], conversions=events)
    for key, total in shares.items():
        if total not in (0, BPS):
            violated(counts, "shares_sum", brand=key[0], conversion=key[3], bps=total)
