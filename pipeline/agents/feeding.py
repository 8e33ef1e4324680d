"""How a step's Faust app feeds its runtime: batches, assignments, and what has to be finished before letting go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from faust.types import TP

from pipeline.agents.faust_app import StepApp
from pipeline.agents.runtime import StepRuntime


def add_agent(app: StepApp, topic: str, take: Callable[[Any], Any]) -> None:
    """An agent that hands each batch over and waits until it is taken. What goes wrong is told by whoever takes."""

    async def batches(stream: Any) -> None:
        async for event in stream.events():
            await take(event.message.value)

    app.agent(app.topic(topic), name=f"take-{topic}")(batches)


def feed(
    app: StepApp, topics: Iterable[str], runtime: StepRuntime, *,
    on_assigned: Callable[[set[TP]], object] = lambda _: None,
) -> None:  # fmt: skip
    """Feed a runtime from an app that reads ``topics``. Partitions are held back until their state is ready.

    ``on_assigned`` hears of each assignment before any of its records is delivered.
    """
    topics = list(topics)
    for topic in topics:
        add_agent(app, topic, lambda batch: asyncio.wrap_future(runtime.take(batch)))
    held: set[asyncio.Task[None]] = set()
    assignment: dict[int, object] = {}  # of each partition the last

    async def assigned(*signal: Any, **_: Any) -> None:
        partitions: set[TP] = signal[-1]
        numbers = {tp.partition for tp in partitions if tp.topic in topics}
        app.batches.pause({TP(topic, number) for topic in topics for number in numbers})
        on_assigned(partitions)
        for number in numbers:
            assignment[number] = mark = object()
            task = asyncio.create_task(ready(number, mark))
            held.add(task)
            task.add_done_callback(held.discard)

    async def ready(number: int, mark: object) -> None:
        with contextlib.suppress(Exception):  # told by the runtime's on_failure
            await asyncio.wrap_future(runtime.assign(number))
            # If it was assigned anew meanwhile, that assignment is not ready: its records would be passed over.
            if assignment.get(number) is mark:
                app.batches.resume({TP(topic, number) for topic in topics})

    async def released(partitions: set[TP]) -> None:
        numbers = {tp.partition for tp in partitions}
        for number in numbers:
            assignment.pop(number, None)
        settled = asyncio.wrap_future(runtime.settle())
        let_go = [asyncio.wrap_future(runtime.revoke(number)) for number in numbers]
        await asyncio.wait([settled])  # not to be cancelled with this: what is not let go is never taken over again
        await asyncio.sleep(0)  # safe offsets are told through the loop
        if let_go:
            await asyncio.wait(let_go)

    app.on_partitions_assigned.connect(assigned, weak=False)
    app.batches.on_release = released
