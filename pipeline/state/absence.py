"""Knowing that a key is absent without asking the disk.

Most keys that a step looks up are new: nine events in ten are clicks seen for the first time. A table that this process
created can be answered for from the hashes of the keys written since, at 4 bytes a key and a tenth of a look-up's cost.
The hashes are Python's own, salted for this process, so nobody can make keys collide, and cut to 32 bits; a collision,
one for 400 look-ups among ten million keys, costs a look-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint32]


class AbsenceFilter:
    """The hashes of all keys of one table, as a few sorted runs of growing size."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, keys: Sequence[bytes]) -> None:
        """Note keys that the table now holds."""
        if not keys:
            return
        run = np.sort(_hashes(keys))
        # Neighbours of like size are merged, so that there are few runs and each hash is moved few times.
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = _without_repeats(np.sort(np.concatenate([self._runs.pop(), run]), kind="stable"))
        self._runs.append(run)

    def mib(self) -> float:
        """The memory that it takes."""
        return sum(run.nbytes for run in self._runs) / (1 << 20)

    def maybe_present(self, keys: Sequence[bytes]) -> list[int]:
        """The indexes of those keys that the table may hold; all others it does not."""
        if not self._runs or not keys:
            return []
        hashes = _hashes(keys)
        order = np.argsort(hashes)
        ascending = hashes[order]  # neighbours in a run are then neighbours in memory
        found = np.zeros(len(ascending), dtype=np.bool_)
        for run in self._runs:
            places = np.searchsorted(run, ascending)
            places[places == len(run)] = 0
            found |= run[places] == ascending
        indexes: list[int] = np.sort(order[found]).tolist()
        return indexes


def _without_repeats(ascending: Hashes) -> Hashes:
    """Each once: keys whose values change are written again and again."""
    first = np.ones(len(ascending), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return ascending if first.all() else ascending[first]


def _hashes(keys: Sequence[bytes]) -> Hashes:
    return np.fromiter(map(hash, keys), np.int64, len(keys)).astype(np.uint32)
