"""Waiting until all that stands in the topics has come through every step and into the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from pipeline.agents.finality import LEVELS
from pipeline.agents.log_reader import LogReader
from pipeline.topology import TOPIC_OF

EVENTS: Final = ("click", "sign_up", "order", "refund")
_ROUND_S: Final = 0.3
_FEW: Final = 1_000  # more records than any transactions' markers between two records

Ends = dict[tuple[str, int], int]
"""By record and partition: the offset after the last record that may be read."""


class LagError(Exception):
    """The workers have not come through in time; the text says who waits where."""


class RecordsGoneError(Exception):
    """The input topics do not hold everything any more; the text says where."""


class Settled:
    """Asks how far the groups are. ``log_of`` gives a reader in the name of a step's group."""

    def __init__(
        self, log_of: Callable[[str], LogReader], partitions: int, patience_s: float, tell: Callable[[str], object]
    ) -> None:  # fmt: skip
        self._logs: Mapping[str, LogReader] = {
            step: log_of(step) for step in sorted({step for level in LEVELS for step, _ in level})
        }
        self._partitions = partitions
        self._tell = tell
        self._deadline = time.monotonic() + patience_s
        self._has_told = False

    def close(self) -> None:
        """Let go of the connections."""
        for log in self._logs.values():
            log.close()

    def ends(self) -> Ends:
        """How far the input topics reach now, without transactions that are still open. RecordsGoneError"""
        found: Ends = {}
        for step, record in LEVELS[0]:
            for number in range(self._partitions):
                low, found[record, number] = self._logs[step].bounds(TOPIC_OF[record], number)
                if low:
                    raise RecordsGoneError(
                        f"{TOPIC_OF[record]}/{number} begins at offset {low}: what stood before it was deleted, so the "
                        "answer cannot be computed again. Keep the input topics for good (retention.ms=-1)."
                    )
        return found

    def wait(self) -> None:
        """Return when everything that was in the topics at the call is in the tables. LagError, LogUnreadableError"""
        for level in LEVELS:  # one after the other: what a level implies is written before it is committed
            ends = {(step, record): self._logs[step].ends(record, self._partitions) for step, record in level}
            while behind := {
                (step, record): left
                for (step, record) in level
                if (left := self._left(step, record, ends[step, record]))
            }:
                self._be_patient(behind)

    def wait_for_quiet(self, ends: Ends) -> bool:
        """Whether the input topics still end where they did; LagError if that was asked too often."""
        if self.ends() == ends:
            return True
        if time.monotonic() > self._deadline:
            raise LagError(
                "Events keep coming in, so the tables never stand still for a comparison. Audit when the producers "
                "pause, or give it more time with --patience."
            )
        return False

    def _left(self, step: str, record: str, ends: Mapping[int, int]) -> int:
        """How many offsets the group has before it in a topic, of partitions in which records stand there."""
        log, topic, found = self._logs[step], TOPIC_OF[record], 0
        if log.have_committed(record, ends):
            return 0
        for number, end in ends.items():
            left = end - log.committed(topic, number)
            if left > 0 and (left > _FEW or self._has_records(log, topic, number, end - left, end)):
                found += left
        return found

    @staticmethod
    def _has_records(log: LogReader, topic: str, number: int, start: int, end: int) -> bool:
        """Whether anything stands there but transactions' markers, which nobody gets to see, nor commits."""
        return bool(list(log.read(topic, number, start, end)))

    def _be_patient(self, behind: Mapping[tuple[str, str], int]) -> None:
        if time.monotonic() > self._deadline:
            raise LagError(_words(behind))
        if not self._has_told:
            self._has_told = True
            self._tell("Waiting for the workers to come through ...")
        time.sleep(_ROUND_S)


def _words(behind: Mapping[tuple[str, str], int]) -> str:
    lines = [f"  {step} has {left} records of {TOPIC_OF[record]} before it" for (step, record), left in behind.items()]
    remedy = (
        "Nothing was compared. See that workers run for every step, with the same --namespace; then audit again, or "
        "give them more time with --patience."
    )
    return "\n".join(["The tables lag behind the topics:", *lines, remedy])
