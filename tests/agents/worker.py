"""A worker process for the transport's tests: notes what it has done, batch by batch, before it reports it as safe.

``python worker.py BOOTSTRAP GROUP TOPICS FILE PAUSE_S [INSTANCE]``: a line ``topic partition first last sum`` for each
batch, one ``assigned topic:partition,…`` for each assignment. Stops in order at SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from pipeline.agents.faust_app import make_app
from pipeline.agents.transport import BatchLimits


async def main(bootstrap: str, group: str, topics: str, path: str, pause_s: float, instance: str | None) -> None:
    app = make_app(
        "worker", bootstrap, group=group, instance_id=instance, session_timeout_s=3.0, rebalance_timeout_s=10.0,
        commit_interval_s=0.1, limits=BatchLimits(batch_records=500, finish_s=3.0, commit_s=3.0),
    )  # fmt: skip
    notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def declare(topic: str) -> None:
        @app.agent(app.topic(topic), name=f"agent.{topic}")
        async def handle(stream: object) -> None:
            async for event in stream.events():
                batch = event.message.value
                if pause_s:
                    await asyncio.sleep(pause_s)
                line = f"{topic} {batch.partition} {batch.offsets[0]} {batch.offsets[-1]} {len(batch)}\n"
                os.write(notes, line.encode())
                app.batches.set_safe_offset(event.message.tp, batch.next_offset, event.message.generation_id)

    for topic in topics.split(","):
        declare(topic)

    async def assigned(_: object, tps: set[object], **__: object) -> None:
        names = ",".join(sorted(f"{tp.topic}:{tp.partition}" for tp in tps))
        os.write(notes, f"assigned {names}\n".encode())

    app.on_partitions_assigned.connect(assigned)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await app.start()
    await ended.wait()
    await app.stop()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(*arguments[:4], float(arguments[4]), arguments[5] if len(arguments) > 5 else None))
