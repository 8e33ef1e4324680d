"""The input topics as sources of a run: what the embedded engine takes instead of files.

Each record is judged as a worker judges it, but for lateness: that depends on when an event came, was decided once, and
is read from the late events (docs/decisions/0011). Sources are to be read in their order, the misplaced ones last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.agents.intake import Intake, Lateness, Taken, source_of
from pipeline.agents.log_reader import LogReader
from pipeline.agents.replayed import Origin
from pipeline.audit.settled import EVENTS, Ends
from pipeline.domain.terms import Catalogue
from pipeline.topology import TOPIC_OF
from pipeline.wire.admission import Admitted, DeadLetter
from pipeline.wire.batches import RecordBatch
from pipeline.wire.partitioning import partition_of

_ALWAYS_MS: Final = 253_402_300_799_000  # a time of receipt after which nothing is in the future: judged before


@dataclass
class Reading:
    """What was met on the way, besides events."""

    records: Counter[str] = field(default_factory=Counter)  # by event type
    late: list[DeadLetter] = field(default_factory=list)
    replayed: dict[Origin, bytes] = field(default_factory=dict)  # what admitted records were sent again for
    misplaced: dict[tuple[str, bytes], list[bytes]] = field(default_factory=dict)  # values, by topic and right key


@dataclass(frozen=True, slots=True)
class TopicSource:
    """One input topic up to its noted ends; a :class:`~pipeline.embedded.runner.Readable`."""

    name: str
    log: LogReader
    intake: Intake
    record: str
    ends: Mapping[int, int]  # by partition
    late: Mapping[str, frozenset[int]]
    reading: Reading
    size_bytes: int | None = None

    def chunks(self, _catalogue: Catalogue) -> Iterator[Admitted]:
        """Its records, judged by the intake's terms; each partition's in their order, and under its own name.

        LogUnreadableError, RegistryUnavailableError
        """
        for batch in self.log.read_topic(self.name, self.ends):
            source = source_of(self.name, batch.partition)
            late_offsets = self.late.get(source, frozenset[int]())
            taken = self.intake.take(batch, Lateness(None, 0, late_offsets), _nothing_is_known)
            self._note(batch, taken)
            yield _admitted(self.record, source, taken)

    def _note(self, batch: RecordBatch, taken: Taken) -> None:
        reading = self.reading
        reading.records[self.record] += len(batch)
        # A record that is refused now was not late then either.
        reading.late += taken.late
        reading.replayed.update(taken.replayed)
        for output in taken.misplaced:
            reading.misplaced.setdefault((output.topic, output.key), []).append(output.value)


@dataclass(frozen=True, slots=True)
class MisplacedSource:
    """What stood under another key or in another partition: a worker has sent it on, so it is a repeat; or it is lost.

    One that was late where it belongs is left out.
    """

    name: str
    intake: Intake
    record: str
    partitions: int
    reading: Reading
    size_bytes: int | None = None

    def chunks(self, _catalogue: Catalogue) -> Iterator[Admitted]:
        """The events among them, judged again where they belong."""
        topic = TOPIC_OF[self.record]
        late = {letter.raw for letter in self.reading.late if letter.source.rpartition("/")[0] == topic}
        for (of_topic, key), values in self.reading.misplaced.items():
            found = [value for value in values if value not in late]
            if of_topic == topic and found:
                rows = range(len(found))
                batch = RecordBatch(
                    topic, partition_of(key, self.partitions), rows, [key] * len(rows), found,
                    [_ALWAYS_MS] * len(rows), [()] * len(rows),
                )  # fmt: skip
                taken = self.intake.take(batch, Lateness(None, 0), _nothing_is_known)
                yield _admitted(self.record, self.name, taken)


def topic_sources(
    log: LogReader, intake: Intake, ends: Ends, partitions: int, late: Mapping[str, frozenset[int]], reading: Reading
) -> Sequence[TopicSource | MisplacedSource]:  # fmt: skip
    """All input topics up to ``ends``; ``late`` are the offsets of late events by source (topic/partition)."""
    of_topics = [
        TopicSource(TOPIC_OF[each], log, intake, each, {n: ends[each, n] for n in range(partitions)}, late, reading)
        for each in EVENTS
    ]
    misplaced = [
        MisplacedSource(f"{TOPIC_OF[each]}/misplaced", intake, each, partitions, reading) for each in EVENTS
    ]  # fmt: skip
    return [*of_topics, *misplaced]


def _admitted(record: str, source: str, taken: Taken) -> Admitted:
    events = {record: taken.events.combine_chunks()} if len(taken.events) else {}
    return Admitted(events, taken.dead, source, len(taken.events) + len(taken.dead), 0)


def _nothing_is_known(events: pa.Table) -> npt.NDArray[np.bool_]:
    return np.zeros(len(events), dtype=np.bool_)
