"""What a step may ask of its state, whichever backend keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

# Every table of every step. A store knows no others, so that a misspelt name fails at once.
TABLES = (
    "clicks",  # IDENTITY: brand, visitor, event -> click
    "words",  # IDENTITY: number -> program, partner and link that clicks name by it
    "bindings",  # IDENTITY: brand, visitor, customer -> nothing
    "facts",  # CREDIT: brand, customer, kind, event -> fact
    "emitted",  # CREDIT: brand, customer -> every destination it ever wrote to
    "dirty",  # CREDIT: brand, customer -> nothing; facts came in that no emitted outcome has seen
    "contributions",  # EARNINGS: program, customer -> contribution
    "timeline",  # EARNINGS: program, position -> element and what came of it
    "counters",  # EARNINGS: program, counter -> value before the frontier
    "outbox",  # live: number -> records that are to be sent, and perhaps were
    "meta",  # the runner's own
)

# Those of NOTIFY, whose stores have no others.
NOTIFY_TABLES = (
    "subjects",  # subject -> its latest row, and what was told of it
    "later",  # time, subject -> nothing; to be looked at again once that time is final
    "told",  # endpoint, notice id -> what became of it
    "notices",  # endpoint, number -> a notice that waits
    "chains",  # endpoint, subject, number -> nothing; of a subject one notice after the other
    "due",  # endpoint, time, number -> nothing; when the first of each chain is to be delivered
    "outbox",
    "meta",
)


class WriteBatch:
    """Puts and deletes that become visible and durable together. Of two writes of one key the later counts."""

    __slots__ = ("deletes", "puts")

    def __init__(self) -> None:
        self.puts: dict[str, dict[bytes, bytes]] = {}
        self.deletes: dict[str, dict[bytes, None]] = {}

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set ``key`` of ``table``."""
        self.table(table)[key] = value
        if table in self.deletes:
            self.deletes[table].pop(key, None)

    def table(self, table: str) -> dict[bytes, bytes]:
        """The puts of one table, for filling in bulk keys that this batch does not delete."""
        return self.puts.setdefault(table, {})

    def delete(self, table: str, key: bytes) -> None:
        """Remove ``key`` of ``table``, if it is there."""
        self.deletes.setdefault(table, {})[key] = None
        if table in self.puts:
            self.puts[table].pop(key, None)

    def __len__(self) -> int:
        return sum(map(len, self.puts.values())) + sum(map(len, self.deletes.values()))


class Store(Protocol):
    """Ordered tables of bytes. One writer; a reader sees every write that returned."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys`` in their order, None where there is none."""

    def scan(self, table: str, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Every key that begins with ``prefix`` and is at least ``start``, ascending by bytes, with its value.

        Writes made while the iterator is in use may or may not be seen by it.
        """

    def scan_each(self, table: str, prefixes: Sequence[bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
        """For each prefix in turn what :meth:`scan` would give; fastest if the prefixes ascend. No write meanwhile."""

    def write(self, batch: WriteBatch) -> None:
        """Apply the batch atomically; when it returns, it survives the end of the process."""

    def close(self) -> None:
        """Release what the store holds. It must not be used afterwards."""
