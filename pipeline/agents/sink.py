"""SINK: outcome topics to ClickHouse tables. It keeps no state: rows are upserts, and an offset is safe once stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipeline.agents.outcomes import Outcomes
from pipeline.agents.writer import Writer
from pipeline.steps.rows import COLUMNS, shown_raw
from pipeline.topology import RECORD_OF, TABLE_OF
from pipeline.wire.batches import RecordBatch

_LETTER: Final = ("source", "position", "reason", "raw")


class Sink:
    """Turns batches of outcome topics into rows for the writer. Any thread may call it."""

    def __init__(self, writer: Writer, outcomes: Outcomes) -> None:
        self._writer = writer
        self._outcomes = outcomes

    def take(self, batch: RecordBatch) -> None:
        """Hand a batch over; waits while too many rows are on their way."""
        record = RECORD_OF[batch.topic]
        table = TABLE_OF[record]
        rows: Sequence[Sequence[Any]]
        rows, dead = self._outcomes.rows(record, batch)
        if record in ("dead_letter", "late_event"):
            rows = [(*row[:3], shown_raw(row[3]), *row[4:]) for row in rows]
        oldest_ms = min(batch.timestamps_ms)
        if dead:  # before the batch's own rows: those make it safe
            letters = [(each.source, str(each.position), each.reason, shown_raw(each.raw), 1, 0) for each in dead]
            self._writer.put_rows(
                "dead_letters", letters, _columns("dead_letters"), batch.topic, batch.partition, batch.offsets[0],
                oldest_ms,
            )  # fmt: skip
        self._writer.put_rows(table, rows, _columns(table), batch.topic, batch.partition, batch.next_offset, oldest_ms)

    def flush(self) -> None:
        """Wait until everything handed over is stored."""
        self._writer.flush()


def _columns(table: str) -> tuple[str, ...]:
    return (*COLUMNS.get(table, _LETTER), "version", "is_deleted")
