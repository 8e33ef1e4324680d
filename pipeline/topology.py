"""The map of the live pipeline: what each step reads, by which key, what it keeps, and what it writes.

    clicks ──► IDENTITY ──touchpoints──► CREDIT ──contributions──► EARNINGS
                  ▲                        │ │                        │
                  └────────bindings────────┘ └──────► outcomes ◄──────┘ ──► SINK ──► ClickHouse
                                                                        └──► NOTIFY ──► partners' webhooks

Every topic has the same number of partitions. An input's partition is that of its key (Kafka's default partitioner), so
partition ``n`` of a step sees everything about the keys that fall there: its state is one folder. Outcomes go to the
partition number of the step that made them, whatever their key, so that a step can read back what it ever emitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.state.store import NOTIFY_TABLES, TABLES

TOPIC_OF: Final[Mapping[str, str]] = {
    record: f"referrals.{record}.v1"
    for record in (
        "click", "sign_up", "order", "refund",
        "touchpoint", "binding", "contribution", "watermark",
        "attribution", "referral", "ledger_entry", "milestone", "dead_letter", "late_event",
        "kept_sign_up", "kept_order", "kept_refund", "notice",
    )
}  # fmt: skip
"""The topic of each record."""

RECORD_OF: Final[Mapping[str, str]] = {topic: record for record, topic in TOPIC_OF.items()}

TABLE_OF: Final[Mapping[str, str]] = {
    "attribution": "attributions",
    "referral": "referrals",
    "ledger_entry": "ledger_entries",
    "milestone": "milestones",
    "dead_letter": "dead_letters",
    "late_event": "late_events",
    "kept_sign_up": "sign_ups",
    "kept_order": "orders",
    "kept_refund": "refunds",
}
"""The ClickHouse table of each outcome record. Clicks are not among them: IDENTITY's worker inserts them itself."""

OUTCOME_OF: Final[Mapping[str, str]] = {table: record for record, table in TABLE_OF.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the live pipeline: a Faust app and consumer group of its own."""

    name: str
    reads: tuple[str, ...]  # records, all partitioned by the step's key
    key: str
    keeps: tuple[str, ...]  # tables of pipeline.state.store; none: the step has no state
    writes: tuple[str, ...]  # records
    reads_back: tuple[str, ...] = ()  # of those, what it reads when its state may not know all that was emitted
    by_the_clock: bool = False  # it has something to do even when nothing comes in
    withdraws: bool = False  # what stands in the topics that it reads back, and does not follow from its facts
    tables: tuple[str, ...] = TABLES  # that its stores have


STEPS: Final[Mapping[str, Step]] = {
    step.name: step
    for step in (
        Step(
            "identity",
            reads=("click", "binding"),
            key="visitor",
            keeps=("clicks", "words", "bindings", "outbox", "meta"),
            writes=("touchpoint", "dead_letter", "late_event"),
        ),
        Step(
            "credit",
            reads=("sign_up", "order", "refund", "touchpoint"),
            key="customer",
            keeps=("facts", "emitted", "dirty", "outbox", "meta"),
            writes=(
                "binding", "contribution", "attribution", "referral", "kept_sign_up", "kept_order", "kept_refund",
                "dead_letter", "late_event",
            ),
            reads_back=("attribution", "referral"),
            withdraws=True,
        ),
        Step(
            "earnings",
            reads=("contribution",),
            key="program",
            keeps=("contributions", "timeline", "counters", "outbox", "meta"),
            writes=("ledger_entry", "milestone"),
            reads_back=("ledger_entry", "milestone"),
            withdraws=True,
        ),
        Step("sink", reads=tuple(TABLE_OF), key="", keeps=(), writes=()),
    )
}  # fmt: skip


NOTIFY: Final = Step(
    "notify",
    reads=("milestone", "referral", "notice"),
    key="",
    keeps=NOTIFY_TABLES,
    writes=("notice", "dead_letter"),
    reads_back=("notice",),
    by_the_clock=True,
    tables=NOTIFY_TABLES,
)
"""Tells partners what was reached and qualified; only where endpoints are given. Of notices it reads those that
operators want sent again."""

EVERY_STEP: Final[Mapping[str, Step]] = {**STEPS, NOTIFY.name: NOTIFY}


def group_of(step: str, namespace: str = "crosscredit") -> str:
    """The consumer group of a step."""
    return f"{namespace}.{step}"
