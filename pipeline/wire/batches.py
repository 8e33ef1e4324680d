"""Records as a Kafka partition holds them: what the batch transport hands to the agents."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one partition, in offset order; at least one. All sequences are of one length.

    Offsets ascend, but may leave gaps (transactions, compaction). A key or value is None where the record has none.
    ``timestamps_ms`` are the records' own: of the input topics when the broker received them, of the others when they
    were sent (``timestamp_type`` in schemas/topics).
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    timestamps_ms: Sequence[int]
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.offsets)

    def since(self, offset: int) -> RecordBatch | None:
        """The records from ``offset`` on; None if there are none."""
        return self._slice(bisect_left(self.offsets, offset), len(self.offsets))

    def until(self, offset: int) -> RecordBatch | None:
        """The records before ``offset``; None if there are none."""
        return self._slice(0, bisect_left(self.offsets, offset))

    @property
    def next_offset(self) -> int:
        """The first offset after the batch."""
        return self.offsets[-1] + 1

    def _slice(self, start: int, stop: int) -> RecordBatch | None:
        if start == 0 and stop == len(self.offsets):
            return self
        if start >= stop:
            return None
        return RecordBatch(
            self.topic, self.partition, self.offsets[start:stop], self.keys[start:stop], self.values[start:stop],
            self.timestamps_ms[start:stop], self.headers[start:stop],
        )  # fmt: skip
