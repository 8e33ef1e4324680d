"""The warehouse's tables: name, columns with their types, identifying columns (contract.md, section 6).

Two readers: the warehouse, which checks and types what is inserted, and the export. The SQL in ``migrations/`` creates
the same tables; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pyarrow as pa

TIME: Final = "DateTime64(3, 'UTC')"
OPTIONAL_TIME: Final = f"Nullable({TIME})"
WORD: Final = "LowCardinality(String)"  # one of at most some thousands: ids of brands, programs, partners, kinds

_TIME_ARROW: Final = pa.timestamp("ms", "UTC")
_ARROW: Final[Mapping[str, pa.DataType]] = {
    "String": pa.string(),
    WORD: pa.string(),
    TIME: _TIME_ARROW,
    OPTIONAL_TIME: _TIME_ARROW,
    "Bool": pa.bool_(),
    "Int64": pa.int64(),
    "Int128": pa.decimal128(38, 0),  # Arrow has no wider integer; a milestone's revenue may exceed 64 bits
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt64": pa.uint64(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name and ClickHouse type."""

    name: str
    type: str

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that is sent for it."""
        return _ARROW[self.type]

    @property
    def is_time(self) -> bool:
        """Whether it is a time, which callers give and get as integer epoch milliseconds."""
        return self.type in (TIME, OPTIONAL_TIME)

    @property
    def is_text(self) -> bool:
        """Whether it is a string, for which a null means empty."""
        return self.type in ("String", WORD)

    @property
    def is_optional(self) -> bool:
        """Whether a null is a value of its own."""
        return self.type == OPTIONAL_TIME


BOOKKEEPING: Final = (Column("version", "UInt64"), Column("is_deleted", "UInt8"))
"""Which of two rows with one identity stands (the higher version), and whether it is withdrawn. The writer says so."""


@dataclass(frozen=True)
class Table:
    """One table. ``key`` names its identifying columns, in sorting order."""

    name: str
    key: tuple[str, ...]
    fields: tuple[Column, ...]  # what it says, in the order of the contract; without BOOKKEEPING
    view: str = ""

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """Every column that a writer may give, by name."""
        return {column.name: column for column in (*self.fields, *BOOKKEEPING)}

    @property
    def current(self) -> str:
        """The view of what stands: the newest versions that are not withdrawn."""
        return self.view or f"current_{self.name}"


def _columns(type_name: str, names: str) -> tuple[Column, ...]:
    return tuple(Column(name, type_name) for name in names.split())


_REJECTED: Final = (*_columns(WORD, "source"), *_columns("String", "position"), *_columns(WORD, "reason"))
_AS_OF: Final = Column("as_of", TIME)
_VERSION_OF_TERMS: Final = Column("terms_version", "Int64")

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        Table(
            "attributions",
            ("brand_id", "conversion_type", "customer_id", "conversion_id", "partner_id"),
            (
                *_columns(WORD, "brand_id conversion_type"),
                *_columns("String", "customer_id conversion_id"),
                *_columns(WORD, "partner_id program_id"),
                *_columns("String", "order_id link_id click_id"),
                Column("share_bps", "UInt16"),
                Column("model", WORD),
                Column("converted_at", TIME),
                _VERSION_OF_TERMS,
                Column("explanation", "String"),
                _AS_OF,
            ),
        ),
        Table(
            "referrals",
            ("program_id", "customer_id"),
            (
                Column("program_id", WORD),
                Column("customer_id", "String"),
                *_columns(WORD, "partner_id status reason"),
                *_columns(OPTIONAL_TIME, "signed_up_at qualified_at reversed_at"),
                _VERSION_OF_TERMS,
                _AS_OF,
            ),
        ),
        Table(
            "ledger_entries",
            ("entry_id",),
            (
                Column("entry_id", "String"),
                *_columns(WORD, "kind program_id partner_id"),
                *_columns("String", "customer_id order_id"),
                Column("amount_minor", "Int64"),
                Column("currency", WORD),
                *_columns(TIME, "occurred_at payable_at"),
                Column("cause_event_id", "String"),
                _VERSION_OF_TERMS,
                _AS_OF,
            ),
        ),
        Table(
            "milestones",
            ("program_id", "milestone_id", "scope_key", "period"),
            (
                *_columns(WORD, "program_id milestone_id"),
                Column("scope_key", "String"),
                *_columns(WORD, "period status"),
                Column("count", "Int128"),
                Column("threshold", "Int64"),
                *_columns(OPTIONAL_TIME, "reached_at revoked_at"),
                _VERSION_OF_TERMS,
                _AS_OF,
            ),
        ),
        Table("dead_letters", ("source", "position", "reason", "raw_hash"), (*_REJECTED, Column("raw", "String"))),
        Table("late_events", ("source", "position", "reason", "raw_hash"), (*_REJECTED, Column("raw", "String"))),
        Table(
            "clicks",
            ("brand_id", "visitor_id", "event_id"),
            (
                Column("event_id", "String"),
                Column("occurred_at", TIME),
                *_columns(WORD, "brand_id program_id partner_id"),
                *_columns("String", "visitor_id link_id landing_url referrer_url"),
                *_columns(WORD, "campaign variant"),
                *_columns("String", "ip user_agent"),
                Column("country", WORD),
            ),
        ),
        Table(
            "sign_ups",
            ("brand_id", "customer_id", "event_id"),
            (
                Column("event_id", "String"),
                Column("occurred_at", TIME),
                Column("brand_id", WORD),
                *_columns("String", "customer_id visitor_id click_id coupon_code email_sha256 ip user_agent"),
                Column("country", WORD),
            ),
        ),
        Table(
            "orders",
            ("brand_id", "customer_id", "event_id"),
            (
                Column("event_id", "String"),
                Column("occurred_at", TIME),
                Column("brand_id", WORD),
                *_columns("String", "order_id customer_id"),
                Column("amount_minor", "Int64"),
                Column("currency", WORD),
                *_columns("String", "visitor_id click_id coupon_code ip payment_fingerprint"),
            ),
        ),
        Table(
            "refunds",
            ("brand_id", "customer_id", "event_id"),
            (
                Column("event_id", "String"),
                Column("occurred_at", TIME),
                Column("brand_id", WORD),
                *_columns("String", "order_id customer_id"),
                Column("amount_minor", "Int64"),
                *_columns(WORD, "currency reason"),
                Column("matched", "Bool"),
            ),
        ),
    )
}
"""By name, in the order of the contract. ``raw_hash`` in a key is computed by the table itself from ``raw``."""

PROGRESS: Final = Table(
    "pipeline_progress",
    ("name",),
    (Column("name", "String"), *_columns(TIME, "watermark final_through updated_at")),
    view="current_progress",
)
"""How far the live pipeline has come. It says nothing about events, so neither the contract nor the export has it."""

PROGRAM_TERMS: Final = Table(
    "program_terms",
    ("program_id", "terms_version"),
    (
        *_columns(WORD, "program_id"),
        _VERSION_OF_TERMS,
        *_columns(WORD, "brand_id currency"),
        Column("currency_digits", "UInt8"),
        *_columns(WORD, "time_zone"),
        Column("effective_from", TIME),
        Column("content", "String"),
    ),
    view="current_program_terms",
)
"""The terms that outcomes follow from, for the panels."""

STORED: Final[Mapping[str, Table]] = {**TABLES, PROGRESS.name: PROGRESS, PROGRAM_TERMS.name: PROGRAM_TERMS}
"""Every table that takes inserts."""

COPIES: Final = (
    "clicks_by_partner", "corrected_clicks", "credits_by_partner", "passed_over", "ledger_by_partner", "order_amounts",
    "refund_amounts",
)  # fmt: skip
"""Tables that ClickHouse itself fills from those, for panels to read (``migrations/0006_panels.sql``)."""
