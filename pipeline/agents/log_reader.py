"""Reading stretches of partitions outside the consumer group: to rebuild state, and to learn what was emitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from pipeline.wire.batches import RecordBatch

_RECORDS_AT_ONCE: Final = 10_000
_TIMEOUT_S: Final = 30.0


class LogUnreadableError(Exception):
    """Kafka did not answer in time; trying again may help."""


class LogReader:
    """Reads the log of one consumer group's topics. One thread uses it."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,  # to ask for its offsets; it never joins
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": False,
                "fetch.wait.max.ms": 100,
            }
        )

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        found = self._ask(lambda: self._consumer.list_topics(topic, timeout=_TIMEOUT_S)).topics[topic]
        return len(found.partitions)

    def committed(self, topic: str, partition: int) -> int:
        """The group's committed offset; 0 if there is none."""
        (found,) = self._ask(
            lambda: self._consumer.committed([TopicPartition(topic, partition)], timeout=_TIMEOUT_S)
        )  # fmt: skip
        return int(found.offset) if found.offset >= 0 else 0

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
        silent_s = 0.0
        try:
            while position < end:
                messages = self._ask(lambda: self._consumer.consume(_RECORDS_AT_ONCE, timeout=0.2))
                (at,) = self._consumer.position([where])
                if at.offset not in (OFFSET_INVALID, position) and at.offset >= 0:
                    position, silent_s = int(at.offset), 0.0
                else:
                    silent_s += 0.2
                    if silent_s > _TIMEOUT_S:
                        raise LogUnreadableError(f"{topic}/{partition} gave nothing for {_TIMEOUT_S:.0f} s")
                wanted = [each for each in messages if _checked(each) and (each.offset() or 0) < end]
                if wanted:
                    yield _batch(topic, partition, wanted)
                    position = max(position, (wanted[-1].offset() or 0) + 1)
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except KafkaException as error:
            raise LogUnreadableError(f"Kafka did not answer: {error}. Is the broker up?") from error


def _checked(message: Message) -> bool:
    error = message.error()
    if error is not None:
        raise LogUnreadableError(f"Kafka refused to give {message.topic()}/{message.partition()}: {error}")
    return True


def _batch(topic: str, partition: int, messages: Sequence[Message]) -> RecordBatch:
    return RecordBatch(
        topic,
        partition,
        [each.offset() or 0 for each in messages],
        [_bytes(each.key()) for each in messages],
        [_bytes(each.value()) for each in messages],
        [each.timestamp()[1] for each in messages],
        [[(name, _bytes(value) or b"") for name, value in each.headers() or []] for each in messages],
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
