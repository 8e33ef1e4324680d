"""Bringing a partition's state to where the group stands, before it takes new records.

State on disk may be behind the group (another worker went on), or gone. Its facts are read again from the topics, up
to the group's offsets: their outputs were acknowledged, so nothing is sent. Which events were late or refused is not
judged again; it is read from the late events and dead letters. And what was emitted in the step's name by others is
read from the outcome topics, so that it can be withdrawn where it no longer holds. State that claims more than the log
has belongs to other topics: it is not trusted.

State that is *ahead* of the group in one input holds facts that whoever committed did not know. What they imply
together with facts that are restored nobody has sent: then restored facts count as new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.agents.intake import source_of
from pipeline.agents.log_reader import LogReader
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.partition import PartitionState
from pipeline.agents.replayed import REPLAYABLE
from pipeline.topology import TOPIC_OF, Step
from pipeline.wire.batches import RecordBatch

_EVENTS = ("click", "sign_up", "order", "refund")


class ForeignStateError(Exception):
    """The state on disk is not one of these topics'."""


class Partition(Protocol):
    """A partition of a step that has state."""

    number: int
    state: PartitionState

    def restore(self, batch: RecordBatch, late_offsets: set[int], *, is_ahead: bool) -> None:
        """Take facts whose outputs were acknowledged, but not what they imply together with facts ``is_ahead``."""


class ReadsBack(Partition, Protocol):
    """One whose step may have to withdraw what others emitted."""

    def read_back(self, batch: RecordBatch, *, is_ahead: bool) -> None:
        """Learn what was emitted."""


Told = Callable[[str, int, int], object]
"""Hears of progress: what is read, records done, records in all."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a partition stands when it has caught up."""

    ends: Mapping[str, int]  # of each input: the end of the log at that time
    restored: int  # records that had to be read again


def catch_up(
    partition: Partition, step: Step, log: LogReader, outcomes: Outcomes, told: Told, is_wanted: Callable[[], bool]
) -> Reached:  # fmt: skip
    """Restore what the state lacks; ends early, without harm, when ``is_wanted`` becomes false."""
    number, state = partition.number, partition.state
    spans: dict[str, tuple[int, int]] = {}
    ends: dict[str, int] = {}
    is_ahead = False
    for record in step.reads:
        topic = TOPIC_OF[record]
        low, high = log.bounds(topic, number)
        own = state.offset(record)
        if own > high:
            raise ForeignStateError(f"state of {topic}/{number} reaches offset {own}, the log ends at {high}")
        ends[record] = high
        spans[record] = (max(own, low), log.committed(topic, number))
        is_ahead |= own > spans[record][1]
    total = sum(max(0, end - start) for start, end in spans.values())
    done = 0
    late = _late_offsets(step, number, log, outcomes) if total else {}
    for record, (start, end) in spans.items():
        for batch in log.read(TOPIC_OF[record], number, start, end):
            if not is_wanted():
                return Reached(ends, done)
            partition.restore(batch, late.get(batch.topic, set()), is_ahead=is_ahead)
            done += len(batch)
            told(batch.topic, done, total)
    for record in step.reads_back:
        topic = TOPIC_OF[record]
        _, high = log.bounds(topic, number)
        for batch in log.read(topic, number, state.seen(record), high):
            if not is_wanted():
                return Reached(ends, done)
            partition.read_back(batch, is_ahead=is_ahead)  # type: ignore[attr-defined]  # a step that reads back has it
    return Reached(ends, done)


def _late_offsets(step: Step, number: int, log: LogReader, outcomes: Outcomes) -> dict[str, set[int]]:
    """The offsets, by topic, of the partition's records that were late, or refused by rules that may be others now."""
    topics = {source_of(TOPIC_OF[each], number): TOPIC_OF[each] for each in step.reads if each in _EVENTS}
    late: dict[str, set[int]] = {topic: set() for topic in topics.values()}
    if not topics:
        return late
    for record in REPLAYABLE:
        letters = TOPIC_OF[record]
        _, high = log.bounds(letters, number)
        for batch in log.read(letters, number, 0, high):
            for source, position, reason, *_ in outcomes.rows(record, batch)[0]:
                # Withdrawn ones too: then another record was admitted in this one's place, and only that one counts.
                # A duplicate order was admitted: what it is in the end, is decided by its customer's facts.
                if source in topics and reason != "duplicate_order":
                    late[topics[source]].add(int(position))
    return late
