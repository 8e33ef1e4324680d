"""A worker: the live pipeline's composition root. One Faust app a step, all in one loop; shared ways in and out.

Kafka ─► Faust app of a step ─► agent ─► StepRuntime (a thread) ─► its partitions' state
              ▲                                 ├─► outlet ─► Kafka
              └── safe offsets ◄────────────────┴─► writer (a thread) ─► ClickHouse
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog
from faust.types import TP

from pipeline.agents.batch_thread import BatchLimits
from pipeline.agents.credit import CreditPartition
from pipeline.agents.earnings import EarningsPartition
from pipeline.agents.exchange import WatermarkExchange
from pipeline.agents.faust_app import StepApp, make_app
from pipeline.agents.feeding import add_agent, feed
from pipeline.agents.finality import Finality
from pipeline.agents.identity import Expiry, IdentityPartition, click_life_ms
from pipeline.agents.intake import Intake
from pipeline.agents.lag import PEEK_BYTES
from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.agents.notifying import Notifying
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import KafkaOutlet, StoppedError
from pipeline.agents.pacing import (
    FAR_BEHIND,
    FETCH_FAR_BEHIND,
    FETCH_USUALLY,
    LOOK_BACK_EVERY_S,
    REST_AFTER_SETTLING_S,
    SETTLE_AT_LEAST_EVERY_S,
)
from pipeline.agents.patient_truth import PatientTruth
from pipeline.agents.reachings import Reachings, scopes_of
from pipeline.agents.runtime import StepPartition, StepRuntime
from pipeline.agents.showing import Observing, Showing
from pipeline.agents.sink import Sink
from pipeline.agents.status import StatusServer
from pipeline.agents.watermarks import Watermarks
from pipeline.agents.writer import Writer
from pipeline.clickhouse.click_rows import ClickTruth, click_columns
from pipeline.clickhouse.errors import WarehouseUnavailableError
from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue
from pipeline.kafka.clients import KafkaSettings, confluent_config, faust_credentials
from pipeline.kafka.errors import RefusedError, UnreachableError
from pipeline.kafka.topics import verify_all_topics
from pipeline.metrics import Metrics
from pipeline.settings import Settings
from pipeline.state.store import Store
from pipeline.terms_files import fingerprint
from pipeline.topology import EVERY_STEP, STEPS, TOPIC_OF, Step, group_of
from pipeline.webhooks.endpoints import Endpoints
from pipeline.wire.admission import Admission
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import Schemas

log = structlog.get_logger()

_T = TypeVar("_T")

STOP_WITHIN_S: Final = 8.0


class WorkerFailedError(Exception):
    """The worker cannot go on; the text says why. What it had not finished is done by whoever goes on."""


class Worker:
    """Runs some steps until it is told to stop, or fails."""

    def __init__(
        self, settings: Settings, kafka: KafkaSettings, catalogue: Catalogue, steps: Sequence[str], *,
        schemas: Schemas, warehouse: Callable[[], Warehouse], on_end: Callable[[], object] = lambda: None,
        endpoints: Endpoints | None = None,
    ) -> None:  # fmt: skip
        """``on_end`` is called once, when it begins to end, for whatever reason; ``endpoints`` are for notify."""
        self._endpoints = endpoints
        self._on_end = on_end
        self._settings = settings
        self._kafka = kafka
        self._config = dict(confluent_config(kafka))
        self._catalogue = catalogue
        self._steps = [EVERY_STEP[name] for name in steps]
        self._schemas = schemas
        self._open_warehouse = warehouse
        self.metrics = Metrics(steps)
        if "earnings" in steps:
            self.metrics.expect_milestones((*names, scope) for names, scope in scopes_of(catalogue).items())
        self._reachings = Reachings(catalogue)
        self.counts: Counter[tuple[str, str]] = Counter()
        self._showing = Showing(self.metrics, self.counts, self._reachings)
        self._writers: list[Writer] = []
        self._stopping = asyncio.Event()
        self._is_stopping = threading.Event()  # the same, for threads
        self._failure: BaseException | None = None
        self._apps: dict[str, StepApp] = {}
        self._runtimes: dict[str, StepRuntime] = {}
        self._closing: list[Callable[[], object]] = []
        self._is_ready = False

    def stop(self) -> None:
        """Finish what is in hand, and end. May be called from a signal handler of the loop."""
        log.info("worker stops")
        self._end()

    def _end(self) -> None:
        if not self._stopping.is_set():
            self._on_end()
        self._is_stopping.set()
        self._stopping.set()

    async def run(self) -> None:
        """Work until :meth:`stop`.

        :raises WorkerFailedError: something went wrong that a restart may mend.
        """
        self._loop = asyncio.get_running_loop()
        self._status = status = StatusServer(
            self.metrics.registry, is_healthy=self._trouble, is_ready=self._not_ready
        )  # fmt: skip
        port = await status.start(self._settings.status_host, self._settings.status_port)
        log.info("worker starts", steps=[step.name for step in self._steps], status=f"http://127.0.0.1:{port}/metrics")
        self.metrics.restarts.set(time.time())
        try:
            if await self._start():
                self._is_ready = True
                observing = Observing(
                    self.metrics, self._apps, self._runtimes, lambda name: self._log(name, fetch_bytes=PEEK_BYTES)
                )  # fmt: skip
                works = (self._settle_for_ever(), self._look_back_for_ever(), observing.for_ever())
                tasks = [asyncio.create_task(work) for work in works]
                await self._until_the_end()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._is_ready = False
            self._is_stopping.set()  # whoever still waits for Kafka or ClickHouse need not any more
            await self._take_down()
            await status.stop()
        if self._failure is not None:
            raise WorkerFailedError(str(self._failure)) from self._failure

    # -- putting together

    async def _start(self) -> bool:
        """Everything up to the first records; False if it was told to stop before."""
        # Kafka and ClickHouse are waited for at the same time: each of them may be long in starting.
        partitions, warehouse = await asyncio.gather(
            asyncio.to_thread(self._patiently, "kafka", UnreachableError, self._count_partitions),
            asyncio.to_thread(self._patiently, "clickhouse", WarehouseUnavailableError, self._migrated),
        )
        if warehouse is not None:
            self._closing.append(warehouse.close)
        if partitions is None or warehouse is None:
            return False
        self._partitions = partitions
        self._assemble(partitions, warehouse)
        starting = asyncio.gather(*(app.start() for app in self._apps.values()))
        told_to_stop = asyncio.create_task(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [starting, told_to_stop]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        told_to_stop.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return False
        starting.result()
        return True

    def _patiently(self, what: str, absent: type[Exception], reach: Callable[[], _T]) -> _T | None:
        """What ``reach`` returns, as soon as it does not fail with ``absent``; None if told to stop before."""
        pause_s = 0.5
        while not self._is_stopping.is_set():
            try:
                return reach()
            except RefusedError:
                raise  # however long it waits: somebody has to put the settings right
            except absent as error:
                log.warning(what, reason=str(error))
                self._is_stopping.wait(pause_s)
                pause_s = min(2 * pause_s, 10.0)
        return None

    def _count_partitions(self) -> int:
        return verify_all_topics(self._config)

    def _migrated(self) -> Warehouse:
        warehouse = self._open_warehouse()
        try:
            warehouse.migrate()
            write_program_terms(warehouse, self._catalogue)
        except BaseException:
            warehouse.close()
            raise
        return warehouse

    def _assemble(self, partitions: int, warehouse: Warehouse) -> None:
        settings = self._settings
        outcomes = Outcomes(Messages(self._schemas))
        inputs = [(TOPIC_OF[each], number) for each in _EVENTS for number in range(partitions)]
        watermarks = Watermarks(inputs)
        intake = Intake(
            Admission(self._catalogue), InputDecoder(self._schemas),
            partitions=partitions, max_future_ms=settings.max_future_ms,
        )  # fmt: skip
        for step in self._steps:
            self._apps[step.name] = self._app(step)
        for step in self._steps:
            if step.name == "sink":
                self._assemble_sink(step, warehouse, outcomes)
                continue
            outlet = KafkaOutlet(self._config, on_trouble=lambda text: log.warning("kafka", reason=text))
            self._closing.append(outlet.close)
            make = self._maker(step, outlet, outcomes, intake, watermarks, warehouse)
            self._runtimes[step.name] = runtime = StepRuntime(
                step, settings.folder / "state", make=make, open_log=partial(self._log, step.name), outcomes=outcomes,
                terms=fingerprint(self._catalogue),
                on_safe=self._safe_in(step), on_failure=self._fail,
            )  # fmt: skip
            app = self._apps[step.name]
            hears = {"on_assigned": self._note_assignment} if step.name == "earnings" else {}
            feed(app, [TOPIC_OF[record] for record in step.reads], runtime, **hears)
            if step.name == "earnings":
                app.batches.on_commit = self._note_commit
        exchange = WatermarkExchange(
            self._config, group_of("identity", settings.namespace), partitions, watermarks, outcomes,
            owned=self._owned_inputs, idle_timeout_ms=settings.idle_timeout_ms, on_failure=self._fail,
        )  # fmt: skip
        exchange.start()
        self._closing.append(exchange.close)
        self._watermarks = watermarks
        if "sink" in self._apps:
            finality = Finality(
                watermarks, self._log, warehouse,
                partitions=partitions, allowed_lateness_ms=settings.allowed_lateness_ms,
                is_mine=self._tells_finality, on_final=self._show_finality, on_failure=self._fail,
            )  # fmt: skip
            finality.start()
            self._closing.append(finality.close)

    def _app(self, step: Step) -> StepApp:
        settings = self._settings
        return make_app(
            step.name, self._kafka.bootstrap, group=group_of(step.name, settings.namespace),
            instance_id=f"{settings.instance_name()}-{step.name}", credentials=faust_credentials(self._kafka),
            session_timeout_s=settings.session_timeout_ms / 1000,
            assignment_file=state_folder(settings) / step.name / "assignment",
            limits=BatchLimits(fetch_every_s=FETCH_USUALLY[step.name]),
        )  # fmt: skip

    def _log(self, step: str, **options: int) -> LogReader:
        return LogReader(self._config, group_of(step, self._settings.namespace), **options)

    def _maker(
        self, step: Step, outlet: KafkaOutlet, outcomes: Outcomes, intake: Intake, watermarks: Watermarks,
        warehouse: Warehouse,
    ) -> Callable[[int, Store], StepPartition]:  # fmt: skip
        lateness_ms = self._settings.allowed_lateness_ms
        if step.name == "identity":
            writer = self._writer(warehouse, "identity")
            sink = _ClickSink(writer)
            truth = PatientTruth(ClickTruth(warehouse, before=writer.flush), self._patiently)
            expiry = Expiry(click_life_ms(self._catalogue, lateness_ms), self._bindings_end)
            return lambda number, store: IdentityPartition(
                number, store, outlet, intake=intake, outcomes=outcomes, truth=truth, sink=sink,
                watermarks=watermarks, allowed_lateness_ms=lateness_ms, counts=self.counts, expiry=expiry,
            )  # fmt: skip
        if step.name == "credit":
            return lambda number, store: CreditPartition(
                number, store, outlet, catalogue=self._catalogue, terms_epoch=0, intake=intake, outcomes=outcomes,
                watermarks=watermarks, allowed_lateness_ms=lateness_ms, counts=self.counts,
            )  # fmt: skip
        if step.name == "notify":
            assert self._endpoints is not None, "the command line does not run notify without endpoints"  # noqa: S101
            notifying = Notifying(
                self._endpoints, self._catalogue, outcomes, self.metrics, warehouse, partial(self._log, "notify"),
                self._partitions,
            )  # fmt: skip
            notifying.start()
            self._closing.append(notifying.close)
            return lambda number, store: notifying.partition(number, store, outlet)
        return lambda number, store: EarningsPartition(
            number, store, outlet, catalogue=self._catalogue, outcomes=outcomes, reachings=self._reachings,
            counts=self.counts,
        )  # fmt: skip

    def _bindings_end(self, number: int) -> int | None:
        log_reader = self._log("identity")
        try:
            return log_reader.bounds(TOPIC_OF["binding"], number)[1]
        except LogUnreadableError:
            return None
        finally:
            log_reader.close()

    def _writer(self, warehouse: Warehouse, step: str) -> Writer:
        writer = Writer(
            warehouse, on_stored=self._safe_in(STEPS[step]), on_trouble=self._insert_trouble,
            on_insert=lambda table, _, seconds: self.metrics.insert.labels(table).observe(seconds),
            on_lag=lambda table, seconds: self.metrics.latency.labels(table).observe(seconds), on_failure=self._fail,
            max_wait_s=self._settings.insert_interval_ms / 1000,
        )  # fmt: skip
        self._closing.append(writer.close)
        self._writers.append(writer)
        return writer

    def _assemble_sink(self, step: Step, warehouse: Warehouse, outcomes: Outcomes) -> None:
        sink = Sink(self._writer(warehouse, "sink"), outcomes)
        app = self._apps[step.name]
        for record in step.reads:
            add_agent(app, TOPIC_OF[record], lambda batch: asyncio.to_thread(self._guarded, sink.take, batch))

        async def released(_: set[TP]) -> None:
            await asyncio.to_thread(sink.flush)
            await asyncio.sleep(0)  # what was stored is told through the loop

        app.batches.on_release = released

    def _note_assignment(self, partitions: set[TP]) -> None:
        batches = self._apps["earnings"].batches
        for tp in partitions:
            self._reachings.assigned(tp.partition, batches.safe_offset(tp) or 0)

    # -- while it runs

    def _safe_in(self, step: Step) -> Callable[[str, int, int], None]:
        def safe(topic: str, partition: int, offset: int) -> None:
            app = self._apps[step.name]
            self._loop.call_soon_threadsafe(app.batches.set_safe_offset, TP(topic, partition), offset)

        return safe

    async def _settle_for_ever(self) -> None:
        pause_s = self._settings.settle_interval_ms / 1000
        while True:
            began = time.monotonic()
            # What is derived far behind the end of the topics would soon be derived again.
            while self._is_far_behind() and time.monotonic() - began < SETTLE_AT_LEAST_EVERY_S:
                self._fetch(FETCH_FAR_BEHIND)
                await asyncio.sleep(pause_s)
            began = time.monotonic()
            for runtime in self._runtimes.values():
                await asyncio.wrap_future(runtime.settle())
            self._fetch(FETCH_USUALLY)  # not before: deriving what was caught up with still makes many records
            # The fuller its batches, the less it takes: up to some seconds half of the time goes into settling.
            await asyncio.sleep(max(pause_s, min(time.monotonic() - began, REST_AFTER_SETTLING_S)))

    async def _look_back_for_ever(self) -> None:
        """Somebody who lost a partition without noticing may still emit; whoever owns it withdraws what is wrong."""
        while True:
            await asyncio.sleep(LOOK_BACK_EVERY_S)
            for runtime in self._runtimes.values():
                if runtime.step.withdraws:
                    await asyncio.wrap_future(runtime.look_back())

    def _is_far_behind(self) -> bool:
        """Whether there is something to catch up with."""
        return sum(app.batches.behind() for app in self._apps.values()) > FAR_BEHIND

    def _fetch(self, every_s: Mapping[str, float]) -> None:
        for name, app in self._apps.items():
            app.batches.fetch_every(every_s[name])

    async def _until_the_end(self) -> None:
        while not self._stopping.is_set():
            for app in self._apps.values():
                app.is_alive()
                if app.failure is not None:
                    self._fail(app.failure)
            self._showing.show(self._runtimes, self._writers, was_read=self._status.was_read)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 0.5)

    def _owned_inputs(self) -> list[tuple[str, int, int]]:
        owned = []
        for name, records in (("identity", ("click",)), ("credit", ("sign_up", "order", "refund"))):
            runtime = self._runtimes.get(name)
            if runtime is not None:
                owned += [
                    (TOPIC_OF[record], number, offset) for record in records for number, offset in runtime.read(record)
                ]
        return owned

    def _note_commit(self, offsets: Mapping[TP, int]) -> None:
        for tp, offset in offsets.items():
            self._reachings.committed(tp.partition, offset)

    def _tells_finality(self) -> bool:
        return TP(TOPIC_OF["milestone"], 0) in self._apps["sink"].batches.assigned()

    def _show_finality(self, watermark_ms: int, final_ms: int) -> None:
        self.metrics.watermark.set(watermark_ms / 1000)
        self.metrics.final_through.set(final_ms / 1000)

    def _guarded(self, work: Callable[[Any], None], argument: Any) -> None:
        try:
            work(argument)
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        if self._stopping.is_set() and isinstance(error, StoppedError):
            return
        if self._failure is None:
            self._failure = error
            log.error("worker fails", reason=str(error), error=type(error).__name__, exc_info=error)
        self._loop.call_soon_threadsafe(self._end)

    def _insert_trouble(self, text: str) -> None:
        self.metrics.insert_failures.inc()
        log.warning("clickhouse", reason=text)

    def _trouble(self) -> str:
        return str(self._failure) if self._failure is not None else ""

    def _not_ready(self) -> str:
        if self._failure is not None:
            return f"fails: {self._failure}"
        if not self._is_ready:
            return "starting or stopping"
        for name, runtime in self._runtimes.items():
            # While some partitions are restored others go on. Where none goes on, nothing is done yet.
            assigned = {tp.partition for tp in self._apps[name].batches.assigned()}
            if assigned and not assigned.intersection(runtime.partitions()):
                return f"{name} restores the state of all its {len(assigned)} partitions"
        return ""

    # -- taking down

    async def _take_down(self) -> None:
        stopping = {name: asyncio.create_task(app.stop()) for name, app in self._apps.items()}
        if stopping:
            await asyncio.wait(stopping.values(), timeout=STOP_WITHIN_S)
        for name, task in stopping.items():
            if not task.done():
                task.cancel()
                log.warning(
                    "an app did not stop in order", step=name, reason=f"not within {STOP_WITHIN_S:.0f} s",
                    unfinished=sorted({_named(each) for each in asyncio.all_tasks()}),
                )  # fmt: skip
            elif not task.cancelled() and task.exception() is not None:
                log.warning("an app did not stop in order", step=name, reason=repr(task.exception()))
        for close in reversed(self._closing):
            with contextlib.suppress(Exception):
                await asyncio.to_thread(close)
        for runtime in self._runtimes.values():
            await asyncio.to_thread(runtime.close)


def _named(task: asyncio.Task[Any]) -> str:
    """Where a task waits: its own coroutine, and the innermost that it awaits."""
    outer = inner = task.get_coro()
    while (awaited := getattr(inner, "cr_await", None)) is not None and hasattr(awaited, "__qualname__"):
        inner = awaited
    return f"{getattr(outer, '__qualname__', outer)} in {getattr(inner, '__qualname__', inner)}"


_EVENTS: Final = ("click", "sign_up", "order", "refund")


class _ClickSink:
    """IDENTITY's way to ClickHouse."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def put_clicks(
        self, clicks: pa.Table, editions: npt.NDArray[np.uint64], partition: int, next_offset: int, oldest_ms: int
    ) -> None:  # fmt: skip
        columns = click_columns(clicks, editions) if len(clicks) else None
        self._writer.put("clicks", columns, TOPIC_OF["click"], partition, next_offset, oldest_ms)


def state_folder(settings: Settings) -> Path:
    """Where a worker keeps its steps' state."""
    return settings.folder / "state"
