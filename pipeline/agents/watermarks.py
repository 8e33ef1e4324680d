"""How far event time has come: each input's watermark, and the pipeline's (contract.md, section 5).

An input is one partition of one of the four input topics. Its watermark is the newest occurred_at that was read from
it. The pipeline's is the least of them, without the inputs that are silent: those whose owner has read all there is
and heard nothing for ``idle_timeout``. An input that nobody reads at the moment is not silent; it holds the watermark
until somebody has read what waits in it. The pipeline's watermark never goes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple


class Mark(NamedTuple):
    """What is known of one input."""

    newest_ms: int | None  # None: nothing was read from it yet
    is_idle: bool


class Watermarks:
    """The marks of all inputs, as one worker knows them. Used by several threads."""

    def __init__(self, inputs: Iterable[tuple[str, int]], floor_ms: int | None = None) -> None:
        """``inputs`` are topic and partition; ``floor_ms`` is a watermark that was reached before."""
        self._marks = dict.fromkeys(inputs, Mark(None, False))
        self._current = floor_ms
        self._heard: dict[tuple[str, int], float] = {}
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def observe(self, topic: str, partition: int, newest_ms: int | None, *, is_idle: bool = False) -> None:
        """Note what was read from an input, or what another worker says of it; older news changes no time."""
        with self._lock:
            known = self._marks.get((topic, partition), Mark(None, False)).newest_ms
            times = [each for each in (known, newest_ms) if each is not None]
            self._marks[topic, partition] = Mark(max(times, default=None), is_idle)
            self._heard[topic, partition] = time.monotonic()
            self._advance()

    def silent_s(self, topic: str, partition: int) -> float:
        """For how long this process has heard nothing of an input."""
        with self._lock:
            return time.monotonic() - self._heard.get((topic, partition), self._began)

    def raise_to(self, watermark_ms: int | None) -> None:
        """Note a watermark of the pipeline that is known to have been reached."""
        if watermark_ms is not None:
            with self._lock:
                self._current = max(self._current or watermark_ms, watermark_ms)

    def current(self) -> int | None:
        """The pipeline's watermark in epoch milliseconds; None until every input that is not silent was read."""
        return self._current

    def marks(self) -> dict[tuple[str, int], Mark]:
        """What is known of each input."""
        with self._lock:
            return dict(self._marks)

    def _advance(self) -> None:
        newest = [mark.newest_ms for mark in self._marks.values() if not mark.is_idle]
        times = [each for each in newest if each is not None]
        if newest and len(times) == len(newest):
            least = min(times)
            self._current = max(self._current, least) if self._current is not None else least
