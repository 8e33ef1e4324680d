"""Where records go that a step sends: to Kafka, acknowledged before anything is counted as done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

BY_KEY: Final = -1
"""As a partition: the one that Kafka's default partitioner gives to the key."""

_POLL_S: Final = 0.05
_PAUSE_S: Final = 1.0


class Output(NamedTuple):
    """One record to send."""

    topic: str
    partition: int  # BY_KEY, or the one it must go to
    key: bytes
    value: bytes


class StoppedError(Exception):
    """The worker is stopping: what it was doing is not done, and is done again by whoever goes on."""


class Span(NamedTuple):
    """Where the records of one call went in one partition."""

    first: int
    last: int
    records: int  # less than the offsets between first and last: others wrote there too


Spans = dict[tuple[str, int], Span]
"""By topic and partition."""


class Outlet(Protocol):
    """Sends records. One thread uses it."""

    def send(self, outputs: Sequence[Output]) -> Spans:
        """Send the records in their order; when it returns, all are acknowledged: where they are.

        Tries again, for as long as it takes; StoppedError once the outlet is closed.
        """

    def close(self) -> None:
        """Let go of the connection."""


class KafkaOutlet:
    """An :class:`Outlet` over librdkafka: acknowledged by all replicas, in order, once for each call.

    ``on_trouble`` hears of each attempt that failed, in words for an operator.
    """

    def __init__(
        self, config: Mapping[str, Any], *, on_trouble: Callable[[str], object], timeout_s: float = 30
    ) -> None:  # fmt: skip
        self._timeout_s = timeout_s
        self._on_trouble = on_trouble
        self._closed = threading.Event()
        self._producer = Producer(
            {
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 2,  # a step sends in bursts, and waits for the end of each
                "partitioner": "murmur2_random",  # Java's default, which producers outside use too
                "message.timeout.ms": int(timeout_s * 1000),
                "queue.buffering.max.messages": 1_000_000,
                **config,
            }
        )

    def send(self, outputs: Sequence[Output]) -> Spans:
        """Send the records; blocks until the last is acknowledged."""
        spans: Spans = {}
        while outputs:
            trouble = self._attempt(outputs, spans)
            if not trouble:
                break
            self._on_trouble(f"{trouble}. Is the broker up, and do the topics exist? They are sent again.")
            if self._closed.wait(_PAUSE_S):
                raise StoppedError(trouble)
        return spans

    def _attempt(self, outputs: Sequence[Output], spans: Spans) -> str:
        """Send all; returns what went wrong, or ""."""
        failed: list[KafkaError] = []
        waiting = 0

        def delivered(error: KafkaError | None, message: Message) -> None:
            nonlocal waiting
            waiting -= 1
            if error is not None:
                failed.append(error)
                return
            where = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            known = spans.get(where)
            spans[where] = (
                Span(offset, offset, 1)
                if known is None
                else Span(min(known.first, offset), max(known.last, offset), known.records + 1)
            )

        producer = self._producer
        for output in outputs:
            while True:
                try:
                    producer.produce(output.topic, output.value, output.key, output.partition, on_delivery=delivered)
                except BufferError:
                    self._poll()
                    continue
                except KafkaException as error:
                    return f"Kafka refused a record for {output.topic}: {error}"
                waiting += 1
                break
        deadline = time.monotonic() + self._timeout_s + 5
        while waiting and time.monotonic() < deadline:
            self._poll()
        if not waiting and not failed:
            return ""
        what = failed[0].str() if failed else f"no answer within {self._timeout_s:.0f} s"
        return f"{waiting + len(failed)} of {len(outputs)} records for {outputs[0].topic} were not acknowledged: {what}"

    def _poll(self) -> None:
        if self._closed.is_set():
            raise StoppedError("closed while records were waiting for their acknowledgement")
        self._producer.poll(_POLL_S)

    def close(self) -> None:
        """Stop waiting, and let go of the connection. May be called from another thread."""
        self._closed.set()
        self._producer.purge()
        self._producer.flush(1)
