"""Rows on their way out of a step, by table, each with its version and whether it is withdrawn."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pipeline.domain.rows import AttributionRow, LedgerRow, MilestoneRow, ReferralRow
from pipeline.steps.facts import VALUE_FIELDS

_FACT = ("event_id", "brand_id", "customer_id")

# The columns that a step gives for each table; ``version`` and ``is_deleted`` follow them.
COLUMNS: dict[str, tuple[str, ...]] = {
    "attributions": AttributionRow._fields,
    "referrals": ReferralRow._fields,
    "ledger_entries": LedgerRow._fields,
    "milestones": MilestoneRow._fields,
    "dead_letters": ("source", "position", "reason", "raw"),
    "sign_ups": (*_FACT, *VALUE_FIELDS["sign_up"]),
    "orders": (*_FACT, *VALUE_FIELDS["order"]),
    "refunds": (*_FACT, *VALUE_FIELDS["refund"], "matched"),
}


def shown_raw(raw: bytes) -> str:
    """The bytes of a record as tables show them: text if they are UTF-8, else ``base64:`` and the base64 of them."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "base64:" + b64encode(raw).decode()


class Rows:
    """Rows by table, in the columns of :data:`COLUMNS` followed by ``version`` and ``is_deleted``."""

    __slots__ = ("tables",)

    def __init__(self) -> None:
        self.tables: dict[str, list[Sequence[Any]]] = {}

    def add(self, table: str, row: Sequence[Any], version: int, deleted: bool = False) -> None:
        """Add one row."""
        self.tables.setdefault(table, []).append((*row, version, int(deleted)))

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))
