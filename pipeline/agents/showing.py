"""What a worker shows of its work in the metrics: counts as they come, and what takes a look at Kafka or the disk."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from faust.types import TP

from pipeline.agents.faust_app import StepApp
from pipeline.agents.lag import LagWatch
from pipeline.agents.log_reader import LogReader
from pipeline.agents.reachings import Reachings, Series
from pipeline.agents.runtime import StepRuntime
from pipeline.agents.writer import Writer
from pipeline.metrics import Metrics

log = structlog.get_logger()

OBSERVE_EVERY_S: Final = 10.0
WALK_EVERY: Final = 3  # observations: a walk over the disk is hundreds of files


class Showing:
    """Carries over to the metrics what a worker's parts count, wherever those are used from one loop."""

    def __init__(self, metrics: Metrics, counts: Counter[tuple[str, str]], reachings: Reachings) -> None:
        """``counts`` are by event type and outcome, or by ``violated`` and ``refused`` and what was."""
        self._metrics = metrics
        self._counts = counts
        self._reachings = reachings
        self._shown: Counter[tuple[str, str]] = Counter()
        self._reached: Counter[Series] = Counter()

    def show(
        self, runtimes: Mapping[str, StepRuntime], writers: Iterable[Writer], *, was_read: bool
    ) -> None:  # fmt: skip
        """Bring the metrics up to date; ``was_read`` is whether somebody has seen the counters at 0."""
        for (kind, what), count in list(self._counts.items()):
            more = count - self._shown[kind, what]
            self._shown[kind, what] = count
            if kind == "violated":
                self._metrics.violations.labels(what).inc(more)
            elif kind == "refused":
                self._metrics.dead_letters.labels(what).inc(more)
            elif what == "consumed":
                self._metrics.consumed.labels(kind).inc(more)
            else:
                self._metrics.events.labels(kind, what).inc(more)
                if what == "late":
                    self._metrics.late.labels(kind).inc(more)
        for name, runtime in runtimes.items():
            self._metrics.partitions.labels(name).set(len(runtime.partitions()))
        self._metrics.waiting_rows.set(sum(writer.waiting() for writer in writers))
        if was_read:  # a counter that is born above 0 is not seen to grow
            self._show_reached()

    def _show_reached(self) -> None:
        families = {"reached": self._metrics.milestones, "revoked": self._metrics.milestones_revoked}
        for series, count in self._reachings.counts().items():
            what, *names = series
            families[what].labels(*names).inc(count - self._reached[series])
            self._reached[series] = count


class Observing:
    """Looks every few seconds at what takes a question to Kafka or a walk over the disk."""

    def __init__(
        self, metrics: Metrics, apps: Mapping[str, StepApp], runtimes: Mapping[str, StepRuntime],
        open_log: Callable[[str], LogReader],
    ) -> None:  # fmt: skip
        """``open_log`` takes the name of a step. It reads no more of a log than the time of a record."""
        self._metrics = metrics
        self._apps = apps
        self._runtimes = runtimes
        self._open_log = open_log
        self._watches: dict[str, LagWatch] = {}

    async def for_ever(self) -> None:
        """Look until cancelled."""
        try:
            for count in itertools.count():
                for step, app in self._apps.items():
                    settled = {tp: app.batches.safe_offset(tp) for tp in app.batches.assigned()}
                    try:
                        await asyncio.to_thread(self._observe, step, settled, walk=count % WALK_EVERY == 0)
                    except Exception as error:  # noqa: BLE001  what only shows must not end, nor end what works
                        log.warning("lag is not known", step=step, reason=str(error))
                await asyncio.sleep(OBSERVE_EVERY_S)
        finally:
            for watch in self._watches.values():
                await asyncio.to_thread(watch.close)

    def _observe(self, step: str, settled: Mapping[TP, int | None], *, walk: bool) -> None:
        if step not in self._watches:
            self._watches[step] = LagWatch(step, self._open_log(step), self._metrics)
        self._watches[step].look(settled)
        if walk and step in self._runtimes:
            self._metrics.state_bytes.labels(step).set(self._runtimes[step].disk_bytes())
