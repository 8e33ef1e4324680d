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
    """Where the records of one call went that were given a partition."""

    first: int
    last: int
    records: int  # less than the offsets between first and last: others wrote there too


Spans = dict[tuple[str, int], Span]
"""By topic and partition."""


class Outlet(Protocol):
    """Sends records. One thread uses it."""

    def send(self, outputs: Sequence[Output]) -> Spans:
        """Send the records in their order; when it returns, all are acknowledged: where they are.

        Tries again, for as long as it takes; StoppedError once the outlet is closed. Where a record was sent twice, the
        span's ends tell.
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
        # A callback in Python for each record costs more than sending it; one that is a dictionary's own method notes
        # what failed. Records of one partition keep their order, so the first and the last tell where they are.
        answers: dict[KafkaError | None, Message] = {}
        ends = _ends(outputs)
        located = {place for end in ends.values() for place in end[:2]}
        offsets: dict[tuple[str, int], list[int]] = {}

        def delivered(error: KafkaError | None, message: Message) -> None:
            answers.setdefault(error, message)
            if error is None:
                where = (message.topic() or "", message.partition() or 0)
                offsets.setdefault(where, []).append(message.offset() or 0)

        produce = self._producer.produce
        noted: Any = answers.setdefault
        for place, (topic, partition, key, value) in enumerate(outputs):
            on_delivery = delivered if place in located else noted
            while True:
                try:
                    produce(topic, value, key, partition, on_delivery=on_delivery)
                except BufferError:
                    self._wait()
                    continue
                except KafkaException as error:
                    return f"Kafka refused a record for {topic}: {error}"
                break
        deadline = time.monotonic() + self._timeout_s + 5
        while (waiting := self._wait()) and time.monotonic() < deadline:
            pass
        for where, found in offsets.items():
            first, last, records = spans.get(where, Span(min(found), max(found), 0))
            spans[where] = Span(min(first, *found), max(last, *found), records + ends[where][2])
        failed = [error for error in answers if error is not None]
        if not waiting and not failed:
            return ""
        what = failed[0].str() if failed else f"no answer within {self._timeout_s:.0f} s"
        return f"Of {len(outputs)} records, the first for {outputs[0].topic}, not all were acknowledged: {what}"

    def _wait(self) -> int:
        """Wait a moment for acknowledgements; how many records are still without an answer."""
        if self._closed.is_set():
            raise StoppedError("closed while records were waiting for their acknowledgement")
        return self._producer.flush(_POLL_S)

    def close(self) -> None:
        """Stop waiting, and let go of the connection. May be called from another thread."""
        self._closed.set()
        self._producer.purge()
        self._producer.flush(1)


def _ends(outputs: Sequence[Output]) -> dict[tuple[str, int], list[int]]:
    """Of each partition that records are given to, the places of the first and the last, and how many there are."""
    found: dict[tuple[str, int], list[int]] = {}
    for place, (topic, partition, _, _) in enumerate(outputs):
        if partition == BY_KEY:
            continue
        end = found.get((topic, partition))
        if end is None:
            found[topic, partition] = [place, place, 1]
        else:
            end[1] = place
            end[2] += 1
    return found
