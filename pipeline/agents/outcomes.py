"""Between rows and the records of inner and outcome topics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.agents.intake import Taken, source_of
from pipeline.agents.outlet import Output
from pipeline.steps.rows import Rows
from pipeline.topology import OUTCOME_OF, TOPIC_OF
from pipeline.wire.admission import DeadLetter
from pipeline.wire.batches import RecordBatch
from pipeline.wire.messages import Messages, row_key


class Outcomes:
    """Encodes what steps emit, and decodes what they read of each other."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def outputs(
        self, record: str, rows: Sequence[Sequence[Any]], keys: Iterable[bytes], partition: int
    ) -> list[Output]:  # fmt: skip
        """Rows of one record as they are sent."""
        topic = TOPIC_OF[record]
        values = self._messages.encode(record, rows)
        return [Output(topic, partition, key, value) for key, value in zip(keys, values, strict=True)]

    def of_tables(self, rows: Rows, partition: int) -> list[Output]:
        """A step's rows, all to its own partition."""
        found: list[Output] = []
        for table, of_table in rows.tables.items():
            record = OUTCOME_OF[table]
            if record == "dead_letter":
                of_table = [(source, position, reason, raw.encode(), version, deleted)
                            for source, position, reason, raw, version, deleted in of_table]  # fmt: skip
            found += self.outputs(record, of_table, [row_key(record, row) for row in of_table], partition)
        return found

    def refused(self, taken: Taken, partition: int) -> list[Output]:
        """A batch's dead letters and late events; and those that were sent again and are admitted now, withdrawn."""
        out = [*self.letters("dead_letter", taken.dead, partition), *self.letters("late_event", taken.late, partition)]
        return out + self._withdrawn(taken, partition)

    def _withdrawn(self, taken: Taken, partition: int) -> list[Output]:
        found: list[Output] = []
        for (record, *place), raw in taken.replayed:
            row = (*place, raw, 2, True)  # above the version that every letter has, so that order does not matter
            found += self.outputs(record, [row], [row_key(record, row)], partition)
        return found

    def letters(self, record: str, letters: Sequence[DeadLetter], partition: int) -> list[Output]:
        """Dead letters or late events."""
        rows = [(each.source, str(each.position), each.reason, each.raw, 1, False) for each in letters]
        return self.outputs(record, rows, [row_key(record, row) for row in rows], partition)

    def rows(self, record: str, batch: RecordBatch) -> tuple[list[tuple[Any, ...]], list[DeadLetter]]:
        """The rows of a batch of an inner or outcome topic; what cannot be read as one is a dead letter."""
        rows, unreadable = self._messages.decode(record, batch.values)
        source = source_of(batch.topic, batch.partition)
        dead = [DeadLetter(source, batch.offsets[at], "malformed", batch.values[at] or b"") for at in unreadable]
        return rows, dead

    def decoded(self, record: str, values: Sequence[bytes | None]) -> list[tuple[Any, ...]]:
        """The rows of what can be read as ``record``."""
        return self._messages.decode(record, values)[0]
