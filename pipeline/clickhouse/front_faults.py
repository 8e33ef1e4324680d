"""Faults that the HTTP front plays on request, so that tests meet a ClickHouse that fails as real ones do."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

MODES: Final = ("none", "refuse", "drop", "deny", "hang", "slow", "cut_after_commit", "fail_half_way")
"""refuse: HTTP 503. drop: the connection is closed without an answer. deny: wrong password. hang: accepted and never
answered. slow: answered after ``seconds``. cut_after_commit: an insert is stored, then the connection closed without an
answer. fail_half_way: the first half of an insert's rows is stored, then it fails with "out of memory"."""

_OF_INSERTS: Final = ("cut_after_commit", "fail_half_way")


@dataclass(frozen=True, slots=True)
class Fault:
    """``count``: how many requests it meets before it is over; None: until another is set."""

    mode: str = "none"
    seconds: float = 1.0
    count: int | None = None
    only_inserts: bool = False

    @classmethod
    def parse(cls, asked: object) -> Fault:
        """Of a decoded JSON object.

        :raises ValueError: it is none of ours; the message says what is wrong.
        """
        if not isinstance(asked, dict):
            raise ValueError('Send a JSON object such as {"mode": "hang"}.')
        unknown = asked.keys() - {"mode", "seconds", "count", "only_inserts"}
        mode, seconds, count = asked.get("mode"), asked.get("seconds", 1.0), asked.get("count")
        if unknown or mode not in MODES:
            raise ValueError(f"Send mode (one of {', '.join(MODES)}), seconds, count and only_inserts; no other names.")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
            raise ValueError("seconds must be a number from 0 to 3600.")
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ValueError("count must be a whole number above 0, or absent.")
        return cls(mode, float(seconds), count, bool(asked.get("only_inserts")) or mode in _OF_INSERTS)


class Faults:
    """The fault that is set, and how many requests have met one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault = Fault()
        self.met = 0

    def set(self, fault: Fault) -> None:
        """Replace what is set."""
        with self._lock:
            self._fault = fault

    def take(self, is_insert: bool) -> Fault:
        """The fault that the next request meets, if any."""
        with self._lock:
            fault = self._fault
            if fault.mode == "none" or (fault.only_inserts and not is_insert):
                return Fault()
            if fault.count is not None:
                self._fault = replace(fault, count=fault.count - 1) if fault.count > 1 else Fault()
            self.met += 1
            return fault
