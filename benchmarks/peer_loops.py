"""The loops that live streams are usually written in Python with, for comparison: one state write for each record.

    python benchmarks/peer_loops.py faust BOOTSTRAP TOPIC RECORDS
    python benchmarks/peer_loops.py quix BOOTSTRAP TOPIC RECORDS     (with the interpreter that has quixstreams)

Neither decodes, joins, or writes to ClickHouse. Quix counts a key's records in its RocksDB state, with a changelog;
Faust in a dict, which flatters it. Prints the records, and the CPU-seconds of this process from the first record on.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from typing import Any


def plain_app(name: str, bootstrap: str) -> Any:
    """A Faust app that is as its documentation has it, but for what would write topics of its own or serve pages."""
    import faust

    app = faust.App(
        name, broker=f"kafka://{bootstrap}", autodiscover=False, topic_allow_declare=False, web_enabled=False,
        topic_disable_leader=True, store="memory://", datadir=tempfile.mkdtemp(), value_serializer="raw",
        key_serializer="raw", consumer_auto_offset_reset="earliest",
    )  # fmt: skip
    app.boot_strategy.enable_web = False
    return app


def with_faust(bootstrap: str, topic: str, count: int) -> None:
    app = plain_app("peer-faust", bootstrap)
    counts: dict[bytes, int] = {}
    seen, began = 0, 0.0

    async def run() -> None:
        done = asyncio.Event()

        @app.agent(app.topic(topic, value_type=bytes, key_type=bytes))
        async def counting(stream: Any) -> None:
            nonlocal seen, began
            async for key, _ in stream.items():  # noqa: PERF102  a stream has no keys()
                counts[key] = counts.get(key, 0) + 1
                began = began or time.process_time()
                seen += 1
                if seen >= count:
                    done.set()

        await app.start()
        await done.wait()
        print(seen, time.process_time() - began, flush=True)
        os._exit(0)  # Faust's threads would keep the process from ending

    asyncio.run(run())


def with_quix(bootstrap: str, topic: str, count: int) -> None:
    from quixstreams import Application, State  # type: ignore[import-not-found]  # it is in an environment of its own

    app = Application(
        broker_address=bootstrap, consumer_group="peer-quix", auto_offset_reset="earliest", loglevel="ERROR",
        state_dir=tempfile.mkdtemp(), auto_create_topics=True,
    )  # fmt: skip
    seen, began = 0, 0.0

    def counted(_: object, state: State) -> None:
        nonlocal seen, began
        state.set("count", state.get("count", 0) + 1)
        began = began or time.process_time()
        seen += 1
        if seen >= count:
            print(seen, time.process_time() - began, flush=True)
            app.stop()

    frame = app.dataframe(app.topic(topic, value_deserializer="bytes", key_deserializer="bytes"))
    frame.update(counted, stateful=True)
    app.run()


def main() -> None:
    which, bootstrap, topic, records = sys.argv[1:]
    if which == "faust":
        with_faust(bootstrap, topic, int(records))
    else:
        with_quix(bootstrap, topic, int(records))


if __name__ == "__main__":
    main()
