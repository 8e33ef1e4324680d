"""The whole live pipeline on this machine: a broker, a ClickHouse front, and workers under a supervisor."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client.parser import text_string_to_metric_families

from pipeline.kafka.broker import LocalBroker, free_port
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.kafka.topics import create_topics, load_topics
from pipeline.topology import STEPS, TOPIC_OF, group_of
from tests.live.processes import CROSSCREDIT, Child
from tests.live.streams import PARTITIONS

STANDSTILL_S = 100.0
"""After which a pipeline that makes no progress has failed. The machine may be busy with other things."""
SESSION_S = 10.0


@dataclass
class Worker:
    """One worker: a folder, a name, and one process after the other."""

    name: str
    folder: Path
    port: int
    child: Child | None = None  # None: it is not meant to run
    started: float = 0.0
    died: list[str] = field(default_factory=list)  # ends that nobody asked for


class LiveStack:
    """Also a context manager: what it started ends with it."""

    def __init__(
        self, folder: Path, programs: Sequence[Path], *, lateness: str = "3650d", session_s: float = SESSION_S
    ) -> None:
        self.folder = folder
        self.broker = LocalBroker(folder / "kafka")
        self.clickhouse_port = free_port()
        self.workers: dict[str, Worker] = {}
        self.restarts: list[float] = []  # seconds from the start of a worker that was killed to its first event
        self.killed_at_work = 0
        self._programs = programs
        self._lateness = lateness
        self._session_s = session_s
        self._front: Child | None = None
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> Self:
        try:
            with ThreadPoolExecutor(1) as beside:
                front = beside.submit(self.start_front)
                self.broker.start()
                create_topics(
                    confluent_config(KafkaSettings(bootstrap=self.broker.bootstrap)), load_topics(), PARTITIONS
                )  # fmt: skip
                front.result()
        except BaseException:
            self.close()
            raise
        self._supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            for worker in self.workers.values():
                if worker.child is not None:
                    worker.child.end()
            if self._front is not None:
                self._front.end()
        self.broker.kill()

    # -- ClickHouse

    @property
    def clickhouse(self) -> str:
        return f"http://127.0.0.1:{self.clickhouse_port}"

    def start_front(self) -> None:
        self._front = Child(
            [sys.executable, "-m", "pipeline.clickhouse.front", "--path", self.folder / "clickhouse", "--port",
             self.clickhouse_port, "--faults"],
            self.folder / "clickhouse.log",
        )  # fmt: skip
        until(lambda: _answers(f"{self.clickhouse}/ping"), "ClickHouse answers")

    def kill_front(self) -> None:
        assert self._front is not None
        self._front.end()

    def clickhouse_fault(self, mode: str, **details: Any) -> None:
        """See pipeline.clickhouse.front_faults."""
        body = json.dumps({"mode": mode, **details}).encode()
        request = urllib.request.Request(f"{self.clickhouse}/faults", body, {"Content-Type": "application/json"})  # noqa: S310  our own address
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310  our own address

    def faults_met(self) -> int:
        with urllib.request.urlopen(f"{self.clickhouse}/faults", timeout=20) as answer:  # noqa: S310  our own address
            return int(json.load(answer)["met"])

    # -- workers

    def start_workers(self, *names: str) -> None:
        for name in names:
            with self._lock:
                worker = self.workers.get(name)
                if worker is None:
                    worker = self.workers[name] = Worker(name, self.folder / name, free_port())
                self._launch(worker)

    def wait_until_ready(self) -> None:
        """Every partition of every step has a worker that takes its records."""
        until(self._all_ready, "every partition is ready", timeout_s=120)

    def kill(self, *names: str, wipe: bool = False, measure: bool = True) -> None:
        """SIGKILL, all at once; then they start again, as under a supervisor that does not wait."""
        with self._lock:
            workers = [self.workers[name] for name in names]
            for worker in workers:
                assert worker.child is not None
                worker.child.send(signal.SIGKILL)
            for worker in workers:
                assert worker.child is not None
                worker.child.end()
                if wipe:
                    shutil.rmtree(worker.folder, ignore_errors=True)
                self._launch(worker)
        if measure:
            for worker in workers:
                threading.Thread(target=self._measure, args=(worker, worker.started), daemon=True).start()

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after some time: a worker that thinks it still owns what others took over."""
        child = self.workers[name].child
        assert child is not None
        child.send(signal.SIGSTOP)
        time.sleep(seconds)
        child.send(signal.SIGCONT)

    def leave(self, name: str) -> float:
        """SIGTERM; how long it took to stop, in order."""
        with self._lock:
            worker = self.workers[name]
            child, worker.child = worker.child, None
        assert child is not None
        had_begun = bool(self.metrics(name))
        began = time.monotonic()
        status = child.end(signal.SIGTERM)
        assert status == 0 or not had_begun, f"{name} ended with {status} on SIGTERM, see {worker.folder}.log"
        return time.monotonic() - began

    def died(self) -> dict[str, list[str]]:
        """The workers' ends that nobody asked for."""
        return {name: worker.died for name, worker in self.workers.items() if worker.died}

    def metrics(self, name: str) -> dict[tuple[str, ...], float]:
        """A worker's samples, by name and the labels' values by label; none while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.workers[name].port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        return {
            (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def _launch(self, worker: Worker) -> None:
        worker.child = Child(
            [CROSSCREDIT, "worker", "--program", *self._programs, "--folder", worker.folder, "--instance", worker.name,
             "--bootstrap", self.broker.bootstrap, "--clickhouse-url", self.clickhouse, "--session-timeout",
             f"{self._session_s:.0f}s", "--idle-timeout", "3s", "--allowed-lateness", self._lateness, "--max-future",
             "3650d", "--status-port", worker.port],
            worker.folder.with_suffix(".log"),
        )  # fmt: skip
        worker.started = time.monotonic()

    def _supervise(self) -> None:
        while not self._closing.wait(0.2):
            with self._lock:
                for worker in self.workers.values():
                    if worker.child is not None and worker.child.status() is not None and not self._closing.is_set():
                        worker.died.append(f"status {worker.child.end()}")
                        self._launch(worker)

    def at_work(self) -> list[str]:
        """The workers that have taken events since they started, the one that took most first."""
        taken = {name: self._consumed(name) for name, worker in self.workers.items() if worker.child is not None}
        return sorted((name for name, count in taken.items() if count), key=lambda name: -taken[name])

    def _consumed(self, name: str) -> float:
        return sum(count for (metric, *_), count in self.metrics(name).items()
                   if metric == "referral_events_consumed_total")  # fmt: skip

    def _measure(self, worker: Worker, started: float) -> None:
        while worker.started == started and time.monotonic() - started < 60:
            if self._consumed(worker.name):
                self.restarts.append(time.monotonic() - started)
                return
            time.sleep(0.1)

    # -- how far it is

    def wait_until_done(self) -> float:
        """Every group has read all there is, every partition is ready, and it stays so; how long that took, seconds.

        AssertionError if nothing moves any more.
        """
        began = moved = time.monotonic()
        last: Any = None
        quiet_since: float | None = None
        with Progress(self.broker.bootstrap) as progress:
            while True:
                now = progress.now()
                is_done = now.is_done and self._all_ready()
                if now.marks != last:
                    last, moved, quiet_since = now.marks, time.monotonic(), None
                if not is_done:
                    quiet_since = None
                elif quiet_since is None:
                    quiet_since = time.monotonic()
                elif time.monotonic() - quiet_since > 2.0:
                    return quiet_since - began
                if time.monotonic() - moved > STANDSTILL_S:
                    raise AssertionError(self._standstill(now))
                time.sleep(0.3)

    def _all_ready(self) -> bool:
        ready: Counter[str] = Counter()
        for name, worker in self.workers.items():
            if worker.child is not None:
                for (metric, *labels), value in self.metrics(name).items():
                    if metric == "referral_partitions_ready":
                        ready[labels[0]] += int(value)
        return all(ready[step] == PARTITIONS for step, spec in STEPS.items() if spec.keeps)

    def _standstill(self, now: Standing) -> str:
        for worker in self.workers.values():
            if worker.child is not None:
                worker.child.send(signal.SIGABRT)
        time.sleep(1)
        tails = [
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-100:])
            for path in sorted(self.folder.glob("*.log"))
        ]
        return f"nothing moved for {STANDSTILL_S:.0f} s; behind: {dict(now.behind)}; died: {self.died()}\n" + "\n".join(
            tails
        )


@dataclass(frozen=True)
class Standing:
    """How far the groups are."""

    is_done: bool
    behind: Counter[str]  # records by group and topic
    marks: Any  # what changes as long as anything moves


class Progress:
    """Asks how far the groups have committed, and how long the logs are."""

    def __init__(self, bootstrap: str) -> None:
        config: Any = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(config)
        self._groups = {
            step: Consumer({**config, "group.id": group_of(step), "enable.auto.commit": False}) for step in STEPS
        }
        self._reader_config = config

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for consumer in self._groups.values():
            consumer.close()

    def now(self) -> Standing:
        try:
            return self._now()
        except KafkaException as error:  # the broker starts, or a group moves
            return Standing(False, Counter({str(error): 1}), None)

    def _now(self) -> Standing:
        committed: dict[tuple[str, str, int], int] = {}
        for step, consumer in self._groups.items():
            inputs = [TopicPartition(TOPIC_OF[record], n) for record in STEPS[step].reads for n in range(PARTITIONS)]
            for each in consumer.committed(inputs, timeout=60):
                committed[step, each.topic, each.partition] = max(0, each.offset)
        topics = sorted({topic for _, topic, _ in committed})
        asked = {TopicPartition(topic, n): OffsetSpec.latest() for topic in topics for n in range(PARTITIONS)}
        ends = {
            (where.topic, where.partition): found.result().offset
            for where, found in self._admin.list_offsets(asked, request_timeout=60).items()
        }
        behind: Counter[str] = Counter()
        open_: list[TopicPartition] = []
        for (step, topic, number), offset in committed.items():
            missing = ends[topic, number] - offset
            if missing > 0:
                behind[f"{step} {topic}"] += missing
                open_.append(TopicPartition(topic, number, offset))
        # The end of a transaction is a record too, which nobody gets to see.
        is_done = not open_ or (sum(behind.values()) < 500 and not self._any_record(open_))
        return Standing(is_done, behind, (committed, ends))

    def _any_record(self, places: Sequence[TopicPartition]) -> bool:
        consumer = Consumer(
            {**self._reader_config, "group.id": "test.peek", "enable.auto.commit": False, "enable.partition.eof": True,
             "isolation.level": "read_committed"}
        )  # fmt: skip
        try:
            consumer.assign(list(places))
            waiting = {(each.topic, each.partition) for each in places}
            until_s = time.monotonic() + 20
            while waiting and time.monotonic() < until_s:
                for message in consumer.consume(500, timeout=0.5):
                    error = message.error()
                    if error is None:
                        return True
                    if error.code() == KafkaError._PARTITION_EOF:
                        waiting.discard((message.topic(), message.partition()))
            return bool(waiting)
        finally:
            consumer.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it stands in a log."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def read_log(bootstrap: str, topic: str) -> list[Stored]:
    """Everything committed in a topic, each partition in its order."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "test.read", "enable.auto.commit": False,
         "enable.partition.eof": True, "isolation.level": "read_committed", "fetch.message.max.bytes": 4 << 20}
    )  # fmt: skip
    found: dict[int, list[Stored]] = defaultdict(list)
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        waiting = set(range(PARTITIONS))
        until_s = time.monotonic() + 120
        while waiting:
            assert time.monotonic() < until_s, f"{topic} cannot be read"
            for message in consumer.consume(10_000, timeout=0.5):
                number = message.partition()
                if message.error() is None:
                    found[number].append(Stored(number, message.offset(), message.key(), message.value()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    waiting.discard(number)
    finally:
        consumer.close()
    return [record for number in sorted(found) for record in found[number]]


def until(holds: Any, what: str, timeout_s: float = 90.0) -> None:
    """Wait for something."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310  our own address
    except OSError:
        return False
    return True
