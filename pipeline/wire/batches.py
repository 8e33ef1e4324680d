"""Records as a Kafka partition holds them: what the batch transport hands to the agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one partition, in offset order; at least one. All sequences are of one length.

    Offsets ascend, but may leave gaps (transactions, compaction). A key or value is None where the record has none.
    ``timestamps_ms`` are the records' own (the broker's or the producer's, as the topic is set).
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
        if self.offsets[0] >= offset:
            return self
        first = next((index for index, each in enumerate(self.offsets) if each >= offset), None)
        if first is None:
            return None
        return RecordBatch(
            self.topic, self.partition, self.offsets[first:], self.keys[first:], self.values[first:],
            self.timestamps_ms[first:], self.headers[first:],
        )  # fmt: skip
