"""Faults by a schedule that a seed determines, and playing them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.live.stack import SESSION_S, LiveStack


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, to whom, this long after the fault before it was over."""

    pause_s: float
    kind: str
    worker: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        details = " ".join(filter(None, (self.worker, f"for {self.seconds:.1f} s" if self.seconds else "")))
        return f"+{self.pause_s:.1f} s {self.kind} {details}".rstrip()


def schedule(seed: int, weights: Mapping[str, int], number: int, workers: list[str]) -> list[Fault]:
    """``number`` faults of the kinds that have a weight."""
    chooser = Random(seed)
    kinds = chooser.choices(list(weights), list(weights.values()), k=number)
    return [_fault(chooser, kind, workers) for kind in kinds]


def _fault(chooser: Random, kind: str, workers: list[str]) -> Fault:
    pause_s, worker = round(chooser.uniform(1.0, 3.5), 1), chooser.choice(workers)
    low, high = _SECONDS.get(kind, (0.0, 0.0))
    seconds = round(chooser.uniform(low, high), 1)
    return Fault(pause_s, kind, worker if kind in _OF_A_WORKER else "", seconds)


def play(stack: LiveStack, faults: list[Fault]) -> None:
    """One after the other."""
    for fault in faults:
        time.sleep(fault.pause_s)
        _PLAYED[fault.kind](stack, fault)


def _kill(stack: LiveStack, fault: Fault) -> None:
    stack.kill(fault.worker)


def _kill_at_work(stack: LiveStack, fault: Fault) -> None:
    """Whoever has taken events since it started; if for a while nobody has, somebody all the same."""
    deadline = time.monotonic() + 20
    while not (at_work := stack.at_work()) and time.monotonic() < deadline:
        time.sleep(0.1)
    stack.kill(at_work[0] if at_work else fault.worker)
    stack.killed_at_work += bool(at_work)


def _wipe(stack: LiveStack, fault: Fault) -> None:
    stack.kill(fault.worker, wipe=True, measure=False)


def _kill_all(stack: LiveStack, _: Fault) -> None:
    stack.kill(*stack.workers, measure=False)


def _freeze(stack: LiveStack, fault: Fault) -> None:
    stack.freeze(fault.worker, fault.seconds)


def _leave(stack: LiveStack, fault: Fault) -> None:
    """A worker stops in order, and comes back."""
    stack.leave(fault.worker)
    time.sleep(fault.seconds)
    stack.start_workers(fault.worker)


def _kill_broker(stack: LiveStack, _: Fault) -> None:
    stack.broker.kill()
    stack.broker.start(timeout_s=180)


def _front_down(stack: LiveStack, fault: Fault) -> None:
    stack.kill_front()
    time.sleep(fault.seconds)
    stack.start_front()


def _clickhouse(stack: LiveStack, fault: Fault) -> None:
    """For some seconds; or the next three requests, which are waited for."""
    mode = fault.kind.replace(" ", "_")
    if fault.seconds:
        stack.clickhouse_fault(mode)
        time.sleep(fault.seconds)
        stack.clickhouse_fault("none")
        return
    known = stack.faults_met()
    stack.clickhouse_fault(mode, count=3, only_inserts=True)
    deadline = time.monotonic() + 15
    while stack.faults_met() < known + 3 and time.monotonic() < deadline:
        time.sleep(0.2)


_SECONDS: Final = {
    "freeze": (SESSION_S + 1, SESSION_S + 3), "leave": (0, 4), "front down": (1, 5), "refuse": (2, 5), "drop": (1, 3),
}  # fmt: skip
_OF_A_WORKER: Final = ("kill", "kill at work", "wipe", "freeze", "leave")
_PLAYED: Final[Mapping[str, Callable[[LiveStack, Fault], None]]] = {
    "kill": _kill, "kill at work": _kill_at_work, "wipe": _wipe, "kill all": _kill_all, "freeze": _freeze,
    "leave": _leave,
    "kill broker": _kill_broker, "front down": _front_down, "refuse": _clickhouse, "hang": _clickhouse,
    "drop": _clickhouse, "fail half way": _clickhouse, "cut after commit": _clickhouse,
}  # fmt: skip
KINDS: Final = tuple(_PLAYED)
