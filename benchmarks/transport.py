"""How many records a second of CPU the batch transport brings to an agent that only counts, next to Faust's own.

    python -m benchmarks.transport [--records 1000000] [--stock-records 50000] [--slow]

Starts a Kafka of its own in a temporary folder. ``--slow`` measures the process's memory instead, with an agent that
takes half a second for a batch.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.local import resident_mib
from benchmarks.peer_loops import plain_app
from pipeline.agents.faust_app import make_app
from pipeline.kafka.broker import LocalBroker

_PARTITIONS = 16
_VALUE_BYTES = 150


def fill(bootstrap: str, topic: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic(topic, _PARTITIONS, 1)]).values():
        done.result(20)
    sending = Producer({
        "bootstrap.servers": bootstrap, "partitioner": "murmur2", "linger.ms": 50, "batch.size": 200_000,
        "queue.buffering.max.messages": 2_000_000,
    })  # fmt: skip
    value = os.urandom(_VALUE_BYTES)
    for number in range(count):
        sending.produce(topic, value, key=b"visitor-%d" % (number % 5_000))
        if number % 10_000 == 0:
            sending.poll(0)
    sending.flush(60)


def tell(name: str, count: int, wall_s: float, cpu_s: float) -> None:
    print(f"{name}: {count:,} records, {count / cpu_s:,.0f} per CPU second, {count / wall_s:,.0f} per second")


async def by_batches(bootstrap: str, topic: str, count: int) -> None:
    app = make_app("benchmark", bootstrap, group="by-batches")
    seen = 0
    first: list[float] = []
    done = asyncio.Event()

    @app.agent(app.topic(topic))
    async def counting(stream: Any) -> None:
        nonlocal seen
        async for event in stream.events():
            batch = event.message.value
            seen += len(batch)
            app.batches.set_safe_offset(event.message.tp, batch.next_offset)
            if seen >= count:
                done.set()

    await app.start()
    first[:] = [time.monotonic(), time.process_time()]
    await done.wait()
    tell("by batches", count, time.monotonic() - first[0], time.process_time() - first[1])
    await app.stop()


async def stock(bootstrap: str, topic: str, count: int) -> None:
    app = plain_app("stock", bootstrap)
    seen = 0
    done = asyncio.Event()

    @app.agent(app.topic(topic, value_type=bytes, key_type=bytes))
    async def counting(stream: Any) -> None:
        nonlocal seen
        async for _ in stream:
            seen += 1
            if seen >= count:
                done.set()

    await app.start()
    first = time.monotonic(), time.process_time()
    await done.wait()
    tell("Faust's own", count, time.monotonic() - first[0], time.process_time() - first[1])
    await app.stop()


async def slow(bootstrap: str, topic: str, count: int) -> None:
    app = make_app("benchmark", bootstrap, group="slow")
    seen = 0

    @app.agent(app.topic(topic))
    async def dawdling(stream: Any) -> None:
        nonlocal seen
        async for event in stream.events():
            seen += len(event.message.value)
            await asyncio.sleep(0.5)

    before = resident_mib(os.getpid())
    await app.start()
    most = 0
    for _ in range(100):
        await asyncio.sleep(0.1)
        most = max(most, resident_mib(os.getpid()))
    print(f"slow agent: {seen:,} of {count:,} records in 10 s; {before} MiB before, at most {most} MiB")
    await app.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--stock-records", type=int, default=50_000)
    options.add_argument("--slow", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka") as broker:
        fill(broker.bootstrap, "many", chosen.records)
        if chosen.slow:
            asyncio.run(slow(broker.bootstrap, "many", chosen.records))
            return
        asyncio.run(by_batches(broker.bootstrap, "many", chosen.records))
        fill(broker.bootstrap, "few", chosen.stock_records)
        asyncio.run(stock(broker.bootstrap, "few", chosen.stock_records))


if __name__ == "__main__":
    main()
