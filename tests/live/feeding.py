"""Producing a stream: with every codec, in and outside transactions, and events in transactions that are aborted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Message, Producer

from pipeline.topology import TOPIC_OF
from tests.live.streams import BY_KEY, Record

CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
PATIENCE_S: Final = 120


class Feeder:
    """Sends records in chunks, each confirmed: one codec after the other, and every third chunk in a transaction."""

    def __init__(self, bootstrap: str, *, transactions: bool = True) -> None:
        config: dict[str, Any] = {
            "bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20, "acks": "all",
            "enable.idempotence": True, "message.timeout.ms": PATIENCE_S * 1000, "log_level": 0,
            "queue.buffering.max.messages": 1_000_000,
        }  # fmt: skip
        plain = [Producer({**config, "compression.type": codec}) for codec in CODECS]
        self._plain = cycle(plain)
        self._transactional: Producer | None = None
        self.chunks = 0
        if transactions:
            timeouts = {"message.timeout.ms": 60_000, "transaction.timeout.ms": 60_000}
            self._transactional = Producer(
                {**config, **timeouts, "transactional.id": "outside", "compression.type": "lz4"}
            )
            self._transactional.init_transactions(PATIENCE_S)

    def send(self, records: Sequence[Record]) -> None:
        """Send, and wait until all is confirmed."""
        self.chunks += 1
        if self._transactional is not None and self.chunks % 3 == 0:
            self._transactional.begin_transaction()
            _produce(self._transactional, records)
            self._transactional.commit_transaction(PATIENCE_S)
        else:
            _produce(next(self._plain), records)

    def send_in_vain(self, records: Sequence[Record]) -> None:
        """Send in a transaction that is aborted, once the broker has it all."""
        if self._transactional is not None:
            self._transactional.begin_transaction()
            _produce(self._transactional, records)
            self._transactional.abort_transaction(PATIENCE_S)


class Feeding:
    """Sends everything over some seconds, in a thread."""

    def __init__(
        self, feeder: Feeder, records: Sequence[Record], extra: Sequence[Record], ghosts: Sequence[Record],
        seconds: float,
    ) -> None:  # fmt: skip
        self._feeder = feeder
        self._parts = _parts(records, extra, ghosts, max(6, int(seconds)))
        self._pause_s = seconds / len(self._parts)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self._thread.join(3 * PATIENCE_S)
            assert not self._thread.is_alive(), "not everything could be produced"
            if self._failure is not None:
                raise self._failure

    def _run(self) -> None:
        try:
            for records, ghosts in self._parts:
                began = time.monotonic()
                self._feeder.send(records)
                if ghosts:
                    self._feeder.send_in_vain(ghosts)
                time.sleep(max(0.0, began + self._pause_s - time.monotonic()))
        except BaseException as error:  # noqa: BLE001  told by the thread that waits
            self._failure = error


def feed_all(
    feeder: Feeder, records: Sequence[Record], extra: Sequence[Record], ghosts: Sequence[Record]
) -> None:  # fmt: skip
    """Send everything at once."""
    for some, vain in _parts(records, extra, ghosts, 18):
        feeder.send(some)
        if vain:
            feeder.send_in_vain(vain)


def _parts(
    records: Sequence[Record], extra: Sequence[Record], ghosts: Sequence[Record], number: int
) -> list[tuple[list[Record], list[Record]]]:  # fmt: skip
    """In ``number`` parts: records with what stands between them, and ghosts with every third."""
    return [
        ([*_slice(records, part, number), *_slice(extra, part, number)],
         list(_slice(ghosts, part // 3, number // 3)) if part % 3 == 1 else [])
        for part in range(number)
    ]  # fmt: skip


def _slice(items: Sequence[Record], part: int, number: int) -> Sequence[Record]:
    return items[len(items) * part // number : len(items) * (part + 1) // number]


def _produce(producer: Producer, records: Sequence[Record]) -> None:
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    for record in records:
        while True:
            try:
                where = {} if record.partition == BY_KEY else {"partition": record.partition}
                producer.produce(TOPIC_OF[record.record], record.value, record.key, on_delivery=delivered, **where)
                break
            except BufferError:
                producer.poll(0.2)
        producer.poll(0)
    left = producer.flush(PATIENCE_S)
    assert not left, f"{left} records were not confirmed"
    assert not failed, f"{len(failed)} records were refused: {failed[0]}"
