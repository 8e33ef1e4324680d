"""What the transport's tests do to a broker, and an app that notes what it gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.agents.faust_app import StepApp, make_app
from pipeline.agents.transport import BatchLimits
from pipeline.wire.batches import RecordBatch


def create(broker: str, *topics: str, partitions: int = 1, **config: str) -> None:
    """New topics that keep everything: the tests' records are old, and a week's retention would delete them."""
    settings = {"retention.ms": "-1", **{name.replace("_", "."): value for name, value in config.items()}}
    admin = AdminClient({"bootstrap.servers": broker})  # must outlive the requests
    for done in admin.create_topics([NewTopic(topic, partitions, 1, config=settings) for topic in topics]).values():
        done.result(20)


def producer(broker: str, **config: Any) -> Producer:
    return Producer({
        "bootstrap.servers": broker, "partitioner": "murmur2", "linger.ms": 20,
        "queue.buffering.max.messages": 1_000_000, **{name.replace("_", "."): value for name, value in config.items()},
    })  # fmt: skip


def produce(
    broker: str, topic: str, count: int, *, partition: int | None = None, first: int = 0, **config: Any
) -> None:
    """``count`` records with their number as value; keyed by it, or all into one partition."""
    sending = producer(broker, **config)
    for number in range(first, first + count):
        where = {} if partition is None else {"partition": partition}
        sending.produce(topic, b"%d" % number, key=b"key-%d" % number, timestamp=1_700_000_000_000 + number, **where)
        if number % 5_000 == 0:
            sending.poll(0)
    assert sending.flush(30) == 0


def committed(broker: str, group: str, topic: str, partitions: int = 1) -> dict[int, int]:
    """The group's committed offsets by partition; those without are left out."""
    asking = Consumer({"bootstrap.servers": broker, "group.id": group})
    try:
        found = asking.committed([TopicPartition(topic, number) for number in range(partitions)], timeout=10)
    finally:
        asking.close()
    return {each.partition: each.offset for each in found if each.offset >= 0}


def ends(broker: str, topic: str, partitions: int) -> dict[int, int]:
    asking = Consumer({"bootstrap.servers": broker, "group.id": "ends"})
    try:
        return {n: asking.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in range(partitions)}
    finally:
        asking.close()


async def until(holds: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        await asyncio.sleep(0.02)


class Noted:
    """What an agent got."""

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []

    def values(self, partition: int | None = None) -> list[bytes | None]:
        return [
            value for batch in self.batches if partition in (None, batch.partition) for value in batch.values
        ]  # fmt: skip

    def offsets(self, partition: int = 0) -> list[int]:
        return [offset for batch in self.batches if batch.partition == partition for offset in batch.offsets]

    def __len__(self) -> int:
        return sum(map(len, self.batches))


def build(
    broker: str, group: str, *topics: str, handle: Callable[[StepApp, Any], Awaitable[None]] | None = None,
    limits: BatchLimits | None = None, **options: Any,
) -> tuple[StepApp, Noted]:  # fmt: skip
    """An app whose agents note what they get, call ``handle(app, event)`` and report the batch as safe."""
    options = {"session_timeout_s": 3.0, "commit_interval_s": 0.1, **options}
    app = make_app("test", broker, group=group, limits=limits, **options)
    noted = Noted()

    def declare(topic: str) -> None:
        @app.agent(app.topic(topic), name=f"agent.{topic}")
        async def note(stream: Any) -> None:
            async for event in stream.events():
                noted.batches.append(event.message.value)
                if handle is not None:
                    await handle(app, event)
                else:
                    app.batches.set_safe_offset(event.message.tp, event.message.value.next_offset)

    for topic in topics:
        declare(topic)
    return app, noted


@asynccontextmanager
async def running(*apps: StepApp) -> AsyncIterator[None]:
    await asyncio.gather(*(app.start() for app in apps))
    try:
        yield
    finally:
        await asyncio.gather(*(app.stop() for app in apps))
