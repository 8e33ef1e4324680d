"""Lag, readiness and the times of rows, against a real broker where one is asked."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from faust.types import TP
from prometheus_client import CollectorRegistry, Counter

from pipeline.agents.lag import PEEK_BYTES, LagWatch
from pipeline.agents.log_reader import LogReader
from pipeline.agents.status import StatusServer
from pipeline.agents.writer import Writer
from pipeline.clickhouse.errors import WarehouseError
from pipeline.metrics import Metrics
from tests.agents.live import create
from tests.kafka.shared_broker import unique


@pytest.fixture
def watch(broker: str) -> Iterator[tuple[LagWatch, Metrics]]:
    metrics = Metrics(["credit"])
    reader = LogReader({"bootstrap.servers": broker}, unique("group"), fetch_bytes=PEEK_BYTES)
    watch = LagWatch("credit", reader, metrics)
    yield watch, metrics
    watch.close()


def lags(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["topic"], sample.labels["partition"]): sample.value
        for family in metrics.lag.collect() for sample in family.samples
    }  # fmt: skip


def age_s(metrics: Metrics) -> float:
    (family,) = metrics.lag_seconds.collect()
    return next(sample.value for sample in family.samples)


def send(broker: str, topic: str, *records: tuple[int, float, int]) -> None:
    """Records of a partition, so many seconds old, of so many bytes."""
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 0})
    for partition, old_s, size in records:
        producer.produce(topic, b"v" * size, partition=partition, timestamp=int((time.time() - old_s) * 1000))
        assert producer.flush(20) == 0


def test_lag_is_what_is_not_settled_and_how_old_the_oldest_of_it_is(
    broker: str, watch: tuple[LagWatch, Metrics]
) -> None:
    looking, metrics = watch
    topic = unique("lag")
    create(broker, topic, partitions=3)
    send(broker, topic, (0, 500, 10), (0, 300, 10), (0, 20, 10), (1, 100, 100_000), (1, 90, 10))
    looking.look({TP(topic, 0): 1, TP(topic, 1): None, TP(topic, 2): None})
    assert lags(metrics) == {(topic, "0"): 2, (topic, "1"): 2, (topic, "2"): 0}
    assert 300 <= age_s(metrics) < 330
    looking.look({TP(topic, 0): 2, TP(topic, 1): 0, TP(topic, 2): 0})
    assert 100 <= age_s(metrics) < 130
    looking.look({TP(topic, 0): 3, TP(topic, 1): 2, TP(topic, 2): 0})
    assert lags(metrics) == {(topic, "0"): 0, (topic, "1"): 0, (topic, "2"): 0}
    assert age_s(metrics) == 0


def test_partitions_that_moved_away_leave_no_series(broker: str, watch: tuple[LagWatch, Metrics]) -> None:
    looking, metrics = watch
    topic = unique("lag")
    create(broker, topic, partitions=2)
    send(broker, topic, (0, 50, 10), (1, 40, 10))
    looking.look({TP(topic, 0): 0, TP(topic, 1): 0})
    looking.look({TP(topic, 1): 0})
    assert lags(metrics) == {(topic, "1"): 1}
    assert 40 <= age_s(metrics) < 50
    looking.look({})
    assert lags(metrics) == {}
    assert age_s(metrics) == 0


def test_the_end_of_a_transaction_is_no_record_that_waits(broker: str, watch: tuple[LagWatch, Metrics]) -> None:
    looking, metrics = watch
    topic = unique("lag")
    create(broker, topic)
    producer = Producer({"bootstrap.servers": broker, "transactional.id": unique("t")})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"v", timestamp=1)
    producer.commit_transaction(20)
    looking.look({TP(topic, 0): 1})
    assert age_s(metrics) == 0


class Store:
    """Takes rows; refuses those of the table "refused" for good."""

    def insert(self, table: str, _: pa.Table) -> None:
        self.insert_rows(table)

    def insert_rows(self, table: str, *_: Any) -> None:
        if table == "refused":
            raise WarehouseError("no such table.")


def test_the_lag_of_rows_is_that_of_the_oldest_record_of_each_partition_in_an_insert() -> None:
    told: list[tuple[str, float]] = []
    stored = threading.Event()
    writer = Writer(
        Store(), on_stored=lambda *_: stored.set(), on_trouble=print, max_wait_s=0.2,
        on_lag=lambda table, seconds: told.append((table, round(seconds, -1))),
    )  # fmt: skip
    now_ms = int(time.time() * 1000)
    writer.put("clicks", pa.table({"a": [1]}), "c", 0, 1, now_ms - 60_000)
    writer.put("clicks", pa.table({"a": [2]}), "c", 0, 2, now_ms - 90_000)
    writer.put("clicks", None, "c", 1, 2, now_ms - 200_000)  # no row: nothing is stored
    writer.put_rows("orders", [[1]], ("a",), "o", 0, 1, now_ms - 30_000)
    writer.put_rows("orders", [[1]], ("a",), "o", 1, 1, now_ms - 40_000)
    assert stored.wait(10)
    writer.close()
    assert sorted(told) == [("clicks", 90), ("orders", 30), ("orders", 40)]


def test_a_row_that_is_refused_for_good_fails_the_worker_even_if_no_other_comes() -> None:
    failed: list[BaseException] = []
    writer = Writer(
        Store(), on_stored=lambda *_: None, on_trouble=lambda _: None, max_wait_s=0, on_failure=failed.append
    )  # fmt: skip
    writer.put_rows("refused", [[1]], ("a",), "o", 0, 1, 0)
    deadline = time.monotonic() + 10
    while not failed and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.close()
    assert isinstance(failed[0], WarehouseError)


def test_status_says_what_is_wrong_and_knows_whether_its_metrics_were_read() -> None:
    problems = {"health": "", "ready": "starting"}
    registry = CollectorRegistry()
    Counter("born", "At 0.", registry=registry)

    async def play() -> list[tuple[int, str]]:
        server = StatusServer(registry, is_healthy=lambda: problems["health"], is_ready=lambda: problems["ready"])
        port = await server.start("127.0.0.1", 0)
        found = []
        try:
            found += [await asyncio.to_thread(get, port, path) for path in ("healthz", "readyz")]
            assert not server.was_read
            problems.update(health="worker fails", ready="")
            found += [await asyncio.to_thread(get, port, path) for path in ("healthz", "readyz", "metrics")]
            assert server.was_read
        finally:
            await server.stop()
        return found

    *answers, (status, metrics) = asyncio.run(play())
    assert answers == [(200, "ok\n"), (503, "starting\n"), (503, "worker fails\n"), (200, "ok\n")]
    assert status == 200
    assert "born_total 0.0" in metrics


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
