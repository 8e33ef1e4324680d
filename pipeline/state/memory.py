"""State in memory: for tests, what-ifs and small inputs. Gone when the process ends."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from pipeline.state.store import TABLES, WriteBatch


class MemoryStore:
    """A :class:`~pipeline.state.store.Store` of sorted keys and dictionaries."""

    def __init__(self, tables: Sequence[str] = TABLES) -> None:
        self._values: dict[str, dict[bytes, bytes]] = {table: {} for table in tables}
        self._keys: dict[str, list[bytes]] = {table: [] for table in tables}

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""
        return self._values[table].get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys`` in their order, None where there is none."""
        values = self._values[table]
        return [values.get(key) for key in keys]

    def scan(self, table: str, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Every key with ``prefix`` from ``start`` on, ascending, as they are at the call."""
        keys = self._keys[table]
        values = self._values[table]
        found = []
        for index in range(bisect_left(keys, max(prefix, start)), len(keys)):
            key = keys[index]
            if not key.startswith(prefix):
                break
            found.append((key, values[key]))
        return iter(found)

    def scan_each(self, table: str, prefixes: Sequence[bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
        """For each prefix what :meth:`scan` gives."""
        for prefix in prefixes:
            yield list(self.scan(table, prefix))

    def write(self, batch: WriteBatch) -> None:
        """Apply the batch."""
        for table, deletes in batch.deletes.items():
            for key in deletes:
                if self._values[table].pop(key, None) is not None:
                    keys = self._keys[table]
                    del keys[bisect_left(keys, key)]
        for table, puts in batch.puts.items():
            values, keys = self._values[table], self._keys[table]
            new = [key for key in puts if key not in values]
            if len(new) > 1000:
                keys += new
                keys.sort()
            else:
                for key in new:
                    insort(keys, key)
            values.update(puts)

    def close(self) -> None:
        """Nothing to release."""
