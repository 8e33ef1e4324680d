"""Where the choices come from that a made-up world consists of: a seeded generator, or Hypothesis.

The first option of every choice is the plainest one, because that is where shrinking goes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Choices(Protocol):
    """Where a world's choices come from."""

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, `low` being the plainest."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, the first being the plainest."""

    def chance(self, percent: int) -> bool:
        """True about that often; False is plainer."""

    def several(self, least: int, most: int, make: Callable[[], T]) -> list[T]:
        """What `least` to `most` calls of `make`, which makes choices of its own, return; fewer are plainer."""


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def chance(self, percent: int) -> bool:
        return self._random() * 100 < percent

    def several(self, least: int, most: int, make: Callable[[], T]) -> list[T]:
        return [make() for _ in range(self.integer(least, most))]


# Choices are read off drawn bytes, a dozen at a time: a draw for each would cost 0.1 ms, and there are hundreds.
_BYTES = st.binary(min_size=12, max_size=12)


class Drawn:
    """Choices that Hypothesis draws, records and shrinks; a byte of 0 makes the plainest."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._bytes = iter(b"")

    def _byte(self) -> int:
        for byte in self._bytes:
            return byte
        self._bytes = iter(self._draw(_BYTES))
        return next(self._bytes)

    def integer(self, low: int, high: int) -> int:
        return low + self._byte() % (high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        return options[self._byte() % len(options)]

    def chance(self, percent: int) -> bool:
        return self._byte() * 100 >= 256 * (100 - percent)

    def several(self, least: int, most: int, make: Callable[[], T]) -> list[T]:
        """As a list whose elements, each with bytes of its own, Hypothesis can leave out one by one."""

        def one() -> T:
            self._bytes = iter(b"")
            return make()

        made = self._draw(st.lists(st.builds(one), min_size=least, max_size=most))
        self._bytes = iter(b"")
        return made


def maybe(choose: Choices, table: dict[str, Any], name: str, values: Sequence[Any], percent: int) -> None:
    """Give the table one of the values, or leave the name out."""
    if choose.chance(percent):
        table[name] = choose.pick(values)
