"""/readyz of a worker whose state is being restored: the real runtime on a real disk, and a log that is held up."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from faust.types import TP

from pipeline.agents.earnings import EarningsPartition
from pipeline.agents.reachings import Reachings
from pipeline.agents.runtime import StepRuntime
from pipeline.agents.status import StatusServer
from pipeline.agents.worker import Worker
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.kafka.clients import KafkaSettings
from pipeline.settings import settings_of
from pipeline.topology import STEPS, TOPIC_OF, group_of
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.options import options_of
from tests.agents.simulated import FakeLogReader, FakeOutlet, Fate
from tests.agents.simulation import Simulation
from tests.agents.test_lag import get

PARTITIONS = 2


class HeldUp(FakeLogReader):
    """Says nothing of a partition until it is let."""

    def __init__(self, sim: Simulation, let: list[threading.Event]) -> None:
        super().__init__(sim.log, group_of("earnings"), random.Random(1), lambda: None)
        self._let = let

    def committed(self, topic: str, partition: int) -> int:
        assert self._let[partition].wait(20)
        return super().committed(topic, partition)


def a_log_with_commits() -> Simulation:
    """What a worker left that went through everything in peace."""
    peace = ("kills", "wipes", "moves", "zombies", "redelivery", "strays", "misplaced", "garbage", "gaps", "retries")
    sim = Simulation(options_of(7, partitions=PARTITIONS, workers=1, most_events=30, **dict.fromkeys(peace, False)))
    sim.run()
    assert any(committed(sim))
    return sim


def committed(sim: Simulation) -> list[int]:
    group = group_of("earnings")
    return [sim.log.committed[group, TOPIC_OF["contribution"], number] for number in range(PARTITIONS)]


def test_a_worker_is_ready_as_soon_as_one_of_its_partitions_is(tmp_path: Path) -> None:
    sim, let = a_log_with_commits(), [threading.Event() for _ in range(PARTITIONS)]
    counts: Counter[tuple[str, str]] = Counter()
    outlet = FakeOutlet(sim.log, Fate(), random.Random(1), retries=False)
    runtime = StepRuntime(
        STEPS["earnings"], tmp_path, open_log=lambda: HeldUp(sim, let), outcomes=sim.outcomes, terms="",
        make=lambda number, store: EarningsPartition(
            number, store, outlet, catalogue=sim.catalogue, outcomes=sim.outcomes, reachings=Reachings(sim.catalogue),
            counts=counts,
        ),
        on_safe=lambda *_: None, on_failure=lambda _: None,
    )  # fmt: skip
    worker = Worker(
        settings_of({}), KafkaSettings(), sim.catalogue, ["earnings"], schemas=LocalSchemas(),
        warehouse=lambda: Warehouse.embedded(None),
    )  # fmt: skip
    assigned = {TP(TOPIC_OF["contribution"], number) for number in range(PARTITIONS)}
    worker._apps["earnings"] = SimpleNamespace(batches=SimpleNamespace(assigned=lambda: assigned))
    worker._runtimes["earnings"] = runtime
    found: list[tuple[int, str]] = []

    async def play() -> None:
        status = StatusServer(worker.metrics.registry, is_healthy=worker._trouble, is_ready=worker._not_ready)
        port = await status.start("127.0.0.1", 0)

        async def ask(path: str = "readyz") -> None:
            found.append(await asyncio.to_thread(get, port, path))

        try:
            await ask()
            worker._is_ready = True  # all is started
            restored = [runtime.assign(number) for number in range(PARTITIONS)]
            time.sleep(0.1)
            await ask()
            await ask("healthz")  # nobody is to restart it for that
            for number in reversed(range(PARTITIONS)):
                let[number].set()
                await asyncio.to_thread(restored[number].result, 20)
                await ask()
        finally:
            for each in let:
                each.set()
            await status.stop()

    try:
        asyncio.run(play())
        assert dict(runtime.read("contribution")) == dict(enumerate(committed(sim)))  # there was something to restore
    finally:
        runtime.close()
    ok = (200, "ok\n")
    waits = (503, "earnings restores the state of all its 2 partitions\n")
    assert found == [(503, "starting or stopping\n"), waits, ok, ok, ok]
