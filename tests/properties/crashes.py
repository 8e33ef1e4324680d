"""Stores and sinks at which a process may end: before a call takes effect, half-way through it, or after it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from tests.properties.harness import StandingSink

BEFORE, HALF_WAY, AFTER = "before", "half-way", "after"
"""When a process ends at a call. A store's write is atomic, so it has no half-way."""


class Killed(BaseException):  # so that nothing catches it, as nothing catches kill -9
    """The process ended here."""


class Fate:
    """Says at which calls of a store or sink the process ends. It counts the calls of all runs."""

    def __init__(self) -> None:
        self.calls = 0
        self._at = (-1, AFTER)
        self._chance = 0.0
        self._chooser = random.Random(0)

    def kill_at(self, call: int, when: str) -> None:
        """End at the call of that number, the first being 0."""
        self._at = (call, when)

    def kill_often(self, chooser: random.Random, chance: float) -> None:
        """End at any call with the given chance."""
        self._chooser, self._chance = chooser, chance

    def relent(self) -> None:
        """End no more."""
        self._at, self._chance = (-1, AFTER), 0.0

    def next(self) -> str:
        """When, if at all, the process ends at the call that begins now; "" if it does not."""
        number, self.calls = self.calls, self.calls + 1
        if number == self._at[0]:
            return self._at[1]
        if self._chance and self._chooser.random() < self._chance:
            return self._chooser.choice((BEFORE, HALF_WAY, AFTER))
        return ""


class FatedStore(MemoryStore):
    """A store at whose writes the process may end."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def write(self, batch: WriteBatch) -> None:
        when = self._fate.next()
        if when in (BEFORE, HALF_WAY):
            raise Killed
        super().write(batch)
        if when:
            raise Killed


class FatedSink(StandingSink):
    """A sink at whose inserts the process may end."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def insert(self, table: str, columns: pa.Table) -> None:
        when = self._fate.next()
        super().insert(table, columns.slice(0, _taken(when, len(columns))))
        if when:
            raise Killed

    def insert_rows(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
        when = self._fate.next()
        super().insert_rows(table, rows[: _taken(when, len(rows))], columns)
        if when:
            raise Killed


def _taken(when: str, rows: int) -> int:
    return {BEFORE: 0, HALF_WAY: rows // 2}.get(when, rows)


def contents(store: MemoryStore, *tables: str) -> dict[str, dict[bytes, bytes]]:
    """Everything that the tables of a store hold."""
    return {table: dict(store.scan(table, b"")) for table in tables}
