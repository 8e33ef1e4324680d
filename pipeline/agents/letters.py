"""Late events and dead letters as their topics have them: who is still out, and who was let in since."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.agents.log_reader import LogReader
from pipeline.agents.outcomes import Outcomes
from pipeline.topology import TOPIC_OF


@dataclass(frozen=True, slots=True)
class Letter:
    """One late event or dead letter. ``raw`` are the record's own bytes, ``source`` and ``position`` its place."""

    source: str
    position: str
    reason: str
    raw: bytes

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition, and offset."""
        return self.source, int(self.position)


def read_letters(log: LogReader, outcomes: Outcomes, record: str, partitions: int) -> dict[Letter, bool]:
    """Every ``late_event`` or ``dead_letter`` ever written, and whether it still stands.

    All of them are in memory at once. LogUnreadableError
    """
    versions: dict[Letter, tuple[int, int]] = {}
    topic = TOPIC_OF[record]
    for batch in log.read_topic(topic, log.ends(record, partitions)):
        for source, position, reason, raw, version, is_deleted in outcomes.rows(record, batch)[0]:
            if not position.isdigit():
                continue  # of nobody here: ours are offsets
            letter = Letter(source, position, reason, raw)
            versions[letter] = max(versions.get(letter, (0, 0)), (version, is_deleted))
    return {letter: not is_deleted for letter, (_, is_deleted) in versions.items()}
