"""Running a worker as a process: logs, signals, and a watchdog for a stop that does not end."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from pipeline.agents.worker import Worker
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue
from pipeline.kafka.clients import KafkaSettings
from pipeline.opening import schemas_of, warehouse_of
from pipeline.settings import Settings
from pipeline.webhooks.endpoints import load_endpoints

STOP_AT_MOST_S: Final = 30.0
"""After which a worker that stops or has failed is ended: nothing is lost, for nothing unfinished counts as done."""

EXIT_STUCK: Final = 70

LEAVE_WITHIN_S: Final = 3.0
"""After which a worker that has stopped in order leaves, whatever threads of its clients still run."""

COLLECT_EVERY_S: Final = 5.0
FULL_COLLECTION_EVERY: Final = 12  # a minute; it takes a fifth of a second


def run_worker(
    settings: Settings, kafka: KafkaSettings, catalogue: Catalogue, steps: Sequence[str]
) -> None:  # fmt: skip
    """Work until SIGTERM or SIGINT; returns after a clean stop.

    :raises WorkerFailedError: something went wrong that a restart may mend.
    """
    set_up_logs(settings.log_format)
    schemas = schemas_of(settings)

    def warehouse() -> Warehouse:
        return warehouse_of(settings)

    endpoints = load_endpoints(settings.webhooks, catalogue) if "notify" in steps and settings.webhooks else None

    async def work() -> None:
        worker = Worker(
            settings, kafka, catalogue, steps, schemas=schemas, warehouse=warehouse, on_end=_start_watchdog,
            endpoints=endpoints,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, worker.stop)
        await worker.run()

    gc.freeze()  # what lives long (imports, schemas, terms) need not be looked through
    gc.disable()  # by itself it looks whenever many objects were made, and batches make many: a fifteenth of the CPU
    collecting = threading.Thread(target=_collect_for_ever, name="collector", daemon=True)
    collecting.start()
    try:
        _run(work())
    finally:
        _start_watchdog(LEAVE_WITHIN_S, 0 if sys.exc_info()[0] is None else 1)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, but it does not wait for ever for tasks that go on although they are cancelled.

    Some of Faust's do, when an app did not stop in order; by then all that matters is closed.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LEAVE_WITHIN_S))


def _collect_for_ever() -> None:
    """Cycles are few, and collected by the clock instead: young ones often, what survived rarely."""
    for count in itertools.count(1):
        time.sleep(COLLECT_EVERY_S)
        gc.collect(2 if count % FULL_COLLECTION_EVERY == 0 else 1)


def _start_watchdog(within_s: float = STOP_AT_MOST_S, status: int = EXIT_STUCK) -> None:
    """A thread that hangs would keep the process from ending: the interpreter waits for all of them."""
    watchdog = threading.Timer(within_s, _leave, (status,))
    watchdog.daemon = True
    watchdog.start()


def _leave(status: int) -> None:
    if status == EXIT_STUCK:
        structlog.get_logger().error("worker is stuck and is ended; what each thread does follows", status=status)
        faulthandler.dump_traceback(all_threads=True)
    os._exit(status)


def set_up_logs(log_format: str) -> None:
    """Structured lines on standard error: one JSON object each, or text for people."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        last: list[structlog.types.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,  # the other shows values: customers' data
            )
        ]
    structlog.configure(
        processors=[*shared, *last], logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), cache_logger_on_first_use=True,
    )  # fmt: skip
    lines = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=lines)
