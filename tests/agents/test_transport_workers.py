"""The batch transport in several processes that are killed, restarted, joined and left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents.live import committed, create, ends, produce
from tests.kafka.shared_broker import unique

_WORKER = Path(__file__).parent / "worker.py"
_PARTITIONS = 16


class Worker:
    """A worker process, and what it has noted over all its lives."""

    def __init__(
        self, broker: str, group: str, topics: str, notes: Path, pause_s: float, instance: str | None = None
    ) -> None:
        self._arguments = [broker, group, topics, str(notes), str(pause_s), *([instance] if instance else [])]
        self._errors = notes.with_suffix(".log")
        self.notes = notes
        self.start()

    def start(self) -> None:
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen([sys.executable, str(_WORKER), *self._arguments], stderr=errors)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self._errors.read_text()[-2_000:]

    def batches(self) -> list[tuple[str, int, int, int, int]]:
        lines = [line.split() for line in self._lines() if not line.startswith("assigned")]
        return [(topic, *map(int, numbers)) for topic, *numbers in lines]

    def assigned(self) -> set[str]:
        """The partitions of the last assignment, as ``topic:partition``."""
        lines = [line for line in self._lines() if line.startswith("assigned")]
        return set(lines[-1].removeprefix("assigned").strip().split(",")) - {""} if lines else set()

    def _lines(self) -> list[str]:
        whole = self.notes.read_text().rpartition("\n")[0] if self.notes.exists() else ""
        return whole.splitlines()


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def begin(*arguments: object) -> Worker:
        workers.append(Worker(*arguments))
        return workers[-1]

    yield begin
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def reached(workers: list[Worker], topic: str) -> dict[int, int]:
    """By partition: up to which offset everything from the first on was handled by somebody."""
    handled: dict[int, list[tuple[int, int]]] = {}
    for worker in workers:
        for name, partition, first, last, _ in worker.batches():
            if name == topic:
                handled.setdefault(partition, []).append((first, last))
    until = {}
    for partition, ranges in handled.items():
        end = 0
        for first, last in sorted(ranges):
            if first > end:
                break
            end = max(end, last + 1)
        until[partition] = end
    return until


def wait(holds: Callable[[], bool], timeout_s: float = 45.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)


def test_kills_restarts_and_rebalances_skip_nothing(broker: str, tmp_path: Path, start: Callable[..., Worker]) -> None:
    topic, group = unique("killed"), unique("group")
    create(broker, topic, partitions=_PARTITIONS)
    produce(broker, topic, 200_000, compression_type="lz4")
    end = ends(broker, topic, _PARTITIONS)
    assert sum(end.values()) == 200_000

    workers = [start(broker, group, topic, tmp_path / name, 0.02, name) for name in ("first", "second")]

    def nothing_skipped() -> None:
        safe = committed(broker, group, topic, _PARTITIONS)  # asked first: the notes are written before the report
        known = reached(workers, topic)
        assert all(offset <= known.get(partition, 0) for partition, offset in safe.items()), (safe, known)

    wait(lambda: all(worker.batches() for worker in workers))
    for turn in range(4):
        time.sleep(0.8)
        workers[turn % 2].kill()
        nothing_skipped()
        workers[turn % 2].start()
        if turn == 1:
            workers.append(start(broker, group, topic, tmp_path / "guest", 0.02))
        if turn == 3:
            wait(lambda: bool(workers[2].assigned()))
            nothing_skipped()
            workers[2].stop()
    wait(lambda: reached(workers, topic) == end)
    wait(lambda: committed(broker, group, topic, _PARTITIONS) == end)
    for worker in workers[:2]:
        worker.stop()
    nothing_skipped()
    handled = sum(count for worker in workers for *_, count in worker.batches())
    assert 200_000 <= handled < 260_000  # commits make progress batch by batch: little is handled again


def test_partitions_of_two_topics_stay_together(broker: str, tmp_path: Path, start: Callable[..., Worker]) -> None:
    clicks, orders, group = unique("clicks"), unique("orders"), unique("group")
    create(broker, clicks, orders, partitions=_PARTITIONS)

    def begin(name: str) -> Worker:
        return start(broker, group, f"{clicks},{orders}", tmp_path / name, 0.0)

    def together(workers: list[Worker]) -> bool:
        shares = [worker.assigned() for worker in workers]
        by_topic = [
            [{int(tp.split(":")[1]) for tp in share if tp.startswith(topic)} for share in shares]
            for topic in (clicks, orders)
        ]
        return (
            by_topic[0] == by_topic[1]
            and sorted(number for share in by_topic[0] for number in share) == list(range(_PARTITIONS))
            and max(map(len, by_topic[0])) <= -(-_PARTITIONS // len(workers))  # Faust balances no closer
        )

    first = begin("first")
    wait(lambda: together([first]))
    second, third = begin("second"), begin("third")
    wait(lambda: together([first, second, third]))
    kept = third.assigned()
    first.stop()
    wait(lambda: together([second, third]))
    assert kept <= third.assigned()  # sticky: state on disk is used where it is
