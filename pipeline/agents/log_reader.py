"""Reading stretches of partitions outside the consumer group: to rebuild state, and to learn what was emitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition, admin
from confluent_kafka.admin import AdminClient

from pipeline.topology import TOPIC_OF
from pipeline.wire.batches import RecordBatch

_LATEST: Final[Any] = admin.OffsetSpec.latest()  # type: ignore[attr-defined,no-untyped-call]  # not in its stubs
_RECORDS_AT_ONCE: Final = 10_000
_TIMEOUT_S: Final = 30.0
_WAIT_S: Final = 0.1
_PAUSE_S: Final = 0.2
_COORDINATOR_WITHIN_S: Final = 15.0
_COMING: Final = (
    KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)  # fmt: skip
_TIMES_WITHIN_S: Final = 2.0
_TIMES_AT_ONCE: Final = 16


class LogUnreadableError(Exception):
    """Kafka did not answer in time; trying again may help."""


class LogReader:
    """Reads the log of one consumer group's topics. One thread uses it."""

    def __init__(self, config: Mapping[str, Any], group: str, *, fetch_bytes: int = 1 << 20) -> None:
        """``fetch_bytes`` is how much of a partition comes at once, one batch of records at least."""
        self._config = dict(config)
        self._admin: AdminClient | None = None  # a client of its own, with threads: only where it is needed
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,  # to ask for its offsets; it never joins
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": fetch_bytes,
            }
        )

    def committed(self, topic: str, partition: int) -> int:
        """The group's committed offset; 0 if there is none."""
        (found,) = self._ask(
            lambda: self._consumer.committed([TopicPartition(topic, partition)], timeout=_TIMEOUT_S)
        )  # fmt: skip
        return int(found.offset) if found.offset >= 0 else 0

    def ends(self, record: str, partitions: int) -> dict[int, int]:
        """The offset after the last record of each partition of a record's topic."""
        topic = TOPIC_OF[record]
        return {number: end for (_, number), end in self.ends_of((topic, each) for each in range(partitions)).items()}

    def ends_of(self, where: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset after the last record of each of these topics and partitions."""
        asked = {TopicPartition(topic, number): _LATEST for topic, number in where}
        if not asked:
            return {}
        if self._admin is None:
            self._admin = AdminClient(self._config)
        admin_client = self._admin
        answers = self._ask(lambda: admin_client.list_offsets(asked, request_timeout=_TIMEOUT_S))
        return {(each.topic, each.partition): self._ask(answer.result).offset for each, answer in answers.items()}

    def have_committed(self, record: str, ends: Mapping[int, int]) -> bool:
        """Whether the group has committed everything before ``ends``, of partitions of a record's topic."""
        topic = TOPIC_OF[record]
        asked = [TopicPartition(topic, number) for number in ends]
        found = self._ask(lambda: self._consumer.committed(asked, timeout=_TIMEOUT_S))
        return all(each.offset >= ends[each.partition] or ends[each.partition] == 0 for each in found)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that the log still has, and the one after its last record."""
        low, high = self._ask(
            lambda: self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
        )  # fmt: skip
        return low, high

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[RecordBatch]:
        """The records from ``start`` up to, not including, ``end``, which is no further than the log reaches."""
        low, high = self.bounds(topic, partition)
        position, end = max(start, low), min(end, high)
        if position >= end:
            return
        where = TopicPartition(topic, partition, position)
        self._consumer.assign([where])
        heard_at = time.monotonic()
        try:
            while position < end:
                # No more than may come: else it waits for others until the timeout.
                most = min(_RECORDS_AT_ONCE, end - position)
                messages = self._ask(lambda: self._consumer.consume(most, timeout=_WAIT_S))  # noqa: B023  # asked at once
                records = []
                for message in messages:
                    heard_at = time.monotonic()
                    offset = message.offset() or 0
                    if _is_end(message):
                        position = max(position, offset)  # what lies before it and is no record, is a transaction's
                    elif offset < end:
                        records.append(message)
                    else:
                        position = end
                if records:
                    position = max(position, (records[-1].offset() or 0) + 1)
                    yield _batch(topic, partition, records)
                if time.monotonic() - heard_at > _TIMEOUT_S:
                    raise LogUnreadableError(f"{topic}/{partition} gave nothing for {_TIMEOUT_S:.0f} s")
        finally:
            self._consumer.unassign()

    def read_topic(self, topic: str, ends: Mapping[int, int]) -> Iterator[RecordBatch]:
        """The records of several partitions from their beginnings up to, not including, ``ends``, as they come."""
        left = {number: end for number, end in ends.items() if end}
        self._consumer.assign([TopicPartition(topic, number, 0) for number in left])
        heard_at = time.monotonic()
        try:
            while left:
                messages = self._ask(lambda: self._consumer.consume(_RECORDS_AT_ONCE, timeout=_WAIT_S))
                found: dict[int, list[Message]] = {}
                for message in messages:
                    heard_at = time.monotonic()
                    number, offset = message.partition() or 0, message.offset() or 0
                    end = left.get(number, 0)
                    is_end = _is_end(message)
                    if not is_end and offset < end:
                        found.setdefault(number, []).append(message)
                    if (is_end or offset >= end - 1) and left.pop(number, None) is not None:
                        self._consumer.pause([TopicPartition(topic, number)])
                for number, records in found.items():
                    yield _batch(topic, number, records)
                if time.monotonic() - heard_at > _TIMEOUT_S:
                    raise LogUnreadableError(f"{topic} gave nothing for {_TIMEOUT_S:.0f} s")
        finally:
            self._consumer.unassign()

    def times_at(self, offsets: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Kafka's time, in epoch milliseconds, of the first record at or after an offset of each topic and partition.

        Those without such a record are left out; so are those of which nothing came within 2 s.
        """
        found: dict[tuple[str, int], int] = {}
        ended: set[tuple[str, int]] = set()
        if not offsets:
            return found
        self._consumer.assign([TopicPartition(topic, number, at) for (topic, number), at in offsets.items()])
        until = time.monotonic() + _TIMES_WITHIN_S
        try:
            while len(found.keys() | ended) < len(offsets) and time.monotonic() < until:
                for message in self._ask(lambda: self._consumer.consume(_TIMES_AT_ONCE, timeout=0.1)):
                    where = (message.topic() or "", message.partition() or 0)
                    if _is_end(message):
                        ended.add(where)
                    elif where not in found:
                        found[where] = message.timestamp()[1]
                        self._consumer.pause([TopicPartition(*where)])  # the rest of what came is thrown away
        finally:
            self._consumer.resume([TopicPartition(*where) for where in found])  # it would outlast the assignment
            self._consumer.unassign()
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _ask(self, question: Callable[[], Any]) -> Any:
        until = time.monotonic() + _COORDINATOR_WITHIN_S
        while True:
            try:
                return question()
            except KafkaException as error:
                # A broker that is new, or has just begun, has no coordinator of a group for a moment.
                if error.args[0].code() not in _COMING or time.monotonic() > until:
                    raise LogUnreadableError(f"Kafka did not answer: {error}. Is the broker up?") from error
            time.sleep(_PAUSE_S)


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise LogUnreadableError(f"Kafka refused to give {message.topic()}/{message.partition()}: {error}")


def _batch(topic: str, partition: int, messages: Sequence[Message]) -> RecordBatch:
    return RecordBatch(
        topic,
        partition,
        [each.offset() or 0 for each in messages],
        [_bytes(each.key()) for each in messages],
        [_bytes(each.value()) for each in messages],
        [each.timestamp()[1] for each in messages],
        [_headers(each) for each in messages],
    )


def _headers(message: Message) -> list[tuple[str, bytes]]:
    headers: Any = message.headers() or []  # its stubs know a dict too, which is only ever given, never got
    return [(name, _bytes(value) or b"") for name, value in headers]


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
