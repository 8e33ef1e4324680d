"""What the partitions of NOTIFY in one worker share: the courier, what is final, and their metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.agents.notify import FinalMark, NotifyPartition, Standing
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import Outlet
from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue
from pipeline.metrics import Metrics
from pipeline.state.store import Store
from pipeline.webhooks.courier import Courier
from pipeline.webhooks.endpoints import Endpoints
from pipeline.webhooks.transitions import RECORDS

log = structlog.get_logger()

_ASK_EVERY_S: Final = 2.0
_FINAL_SQL: Final = "SELECT toUnixTimestamp64Milli(max(final_through)) FROM current_progress"


class Notifying:
    """Makes the partitions of NOTIFY."""

    def __init__(
        self, endpoints: Endpoints, catalogue: Catalogue, outcomes: Outcomes, metrics: Metrics, warehouse: Warehouse,
        open_log: Callable[[], LogReader], partitions: int,
    ) -> None:  # fmt: skip
        self._endpoints = endpoints
        self._catalogue = catalogue
        self._outcomes = outcomes
        self._metrics = metrics
        self._warehouse = warehouse
        self._open_log = open_log
        self._partitions = partitions
        self._courier = Courier(endpoints.all, self._attempted)
        self._standing: dict[tuple[int, str], Standing] = {}
        self._final: FinalMark | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow_finality, name="notify-finality", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        names = [each.name for each in self._endpoints.all]
        self._metrics.expect_endpoints(names)
        for name in names:
            self._metrics.webhook_waiting.labels(name).set_function(partial(self._waiting, name))
            self._metrics.webhook_waiting_seconds.labels(name).set_function(partial(self._waiting_s, name))
        self._courier.start()
        if self._endpoints.waits_for_finality:
            self._thread.start()

    def partition(self, number: int, store: Store, outlet: Outlet) -> NotifyPartition:
        """One partition of the step."""
        return NotifyPartition(
            number, store, outlet, endpoints=self._endpoints, catalogue=self._catalogue, outcomes=self._outcomes,
            courier=self._courier, final_mark=lambda: self._final, on_end=self._ended, standing=self._standing,
        )  # fmt: skip

    def close(self) -> None:
        """Stop delivering; what was not taken waits on disk."""
        self._ending.set()
        self._courier.close()
        if self._thread.is_alive():
            self._thread.join(3)

    def _attempted(self, endpoint: str, status: int, seconds: float) -> None:
        answer = f"{status // 100}xx" if status else "none"
        self._metrics.webhook_attempts.labels(endpoint, answer).inc()
        self._metrics.webhook_seconds.labels(endpoint).observe(seconds)

    def _ended(self, endpoint: str, outcome: str) -> None:
        self._metrics.webhook_notices.labels(endpoint, outcome).inc()

    def _waiting(self, endpoint: str) -> float:
        return sum(each.waiting for (_, name), each in list(self._standing.items()) if name == endpoint)

    def _waiting_s(self, endpoint: str) -> float:
        since_ms = [each.since_ms for (_, name), each in list(self._standing.items()) if name == endpoint]
        return max((time.time() - since / 1000 for since in since_ms if since is not None), default=0.0)

    def _follow_finality(self) -> None:
        """What ClickHouse shows as final has come through all steps: what it comes to is in the topics by then."""
        reader = self._open_log()
        try:
            while not self._ending.wait(_ASK_EVERY_S):
                try:
                    final_ms = int(str(self._warehouse.query(_FINAL_SQL)[0][0]))
                    if self._final is not None and final_ms <= self._final.final_ms:
                        continue
                    ends = {
                        (record, number): end
                        for record in RECORDS
                        for number, end in reader.ends(record, self._partitions).items()
                    }
                    self._final = FinalMark(final_ms, ends)
                except (LogUnreadableError, WarehouseError) as error:
                    log.warning("what is final is not known", reason=str(error))
        finally:
            reader.close()
