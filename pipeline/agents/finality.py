"""Up to when outcomes are final, as ClickHouse shows them.

A watermark says what was *read*. Before anybody is told that outcomes up to it are final, everything that was read then
must have come through every step and into the tables. So the watermark of a moment is followed: the ends of the topics
are noted level by level, each once the groups have committed what was noted of the level before.

    clicks, sign-ups … ─► bindings ─► touchpoints ─► contributions ─► outcomes ─► tables

One worker does this: the one whose sink has partition 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.agents.watermarks import Watermarks
from pipeline.clickhouse.errors import WarehouseError
from pipeline.topology import STEPS, TABLE_OF

log = structlog.get_logger()

LEVELS: Final[Sequence[Sequence[tuple[str, str]]]] = (
    (("identity", "click"), ("credit", "sign_up"), ("credit", "order"), ("credit", "refund")),
    (("identity", "binding"),),
    (("credit", "touchpoint"),),
    (("earnings", "contribution"),),
    tuple(("sink", record) for record in TABLE_OF),
)
"""What has to be committed, by step and record, one level after the other."""

PROGRESS_COLUMNS: Final = ("name", "watermark", "final_through", "updated_at", "version", "is_deleted")
NAME: Final = "pipeline"

_ROUND_S: Final = 0.5


class Inserts(Protocol):
    """Where progress is written: :class:`~pipeline.clickhouse.warehouse.Warehouse`."""

    def insert_rows(self, table: str, rows: Sequence[Sequence[object]], columns: Sequence[str]) -> None:
        """Upsert rows."""


class Finality:
    """A thread that follows one watermark after the other."""

    def __init__(
        self, watermarks: Watermarks, log_of: Callable[[str], LogReader], warehouse: Inserts, *, partitions: int,
        allowed_lateness_ms: int, is_mine: Callable[[], bool], on_final: Callable[[int, int], object],
        on_failure: Callable[[BaseException], object] = lambda _: None,
    ) -> None:  # fmt: skip
        """``on_failure`` hears what ended the thread, should that happen."""
        self._watermarks = watermarks
        self._logs = {name: log_of(name) for name in STEPS}
        self._warehouse = warehouse
        self._partitions = partitions
        self._allowed_lateness_ms = allowed_lateness_ms
        self._is_mine = is_mine
        self._on_final = on_final
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="finality", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop; whoever goes on begins with the watermark of that time."""
        self._stopping.set()
        self._thread.join(5)
        for reader in self._logs.values():
            reader.close()

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001  else nobody would notice that the thread has ended
            if not self._stopping.is_set():
                self._on_failure(error)

    def _follow(self) -> None:
        told: int | None = None
        while not self._stopping.wait(_ROUND_S):
            watermark = self._watermarks.current()
            if watermark is None or watermark == told or not self._is_mine():
                continue
            try:
                if self._came_through():
                    self._tell(watermark)
                    told = watermark
            except (LogUnreadableError, WarehouseError) as error:
                log.warning("finality is not told", reason=str(error))

    def _came_through(self) -> bool:
        """Wait until all that is in the topics now is in the tables; False if that is not for us to wait for."""
        for level in LEVELS:
            ends = {each: self._logs[each[0]].ends(each[1], self._partitions) for each in level}
            while not all(
                self._logs[step].have_committed(record, ends[step, record]) for step, record in level
            ):  # fmt: skip
                if self._stopping.wait(_ROUND_S) or not self._is_mine():
                    return False
        return True

    def _tell(self, watermark_ms: int) -> None:
        final_ms = max(0, watermark_ms - self._allowed_lateness_ms)
        now = datetime.now(UTC)
        row = (NAME, watermark_ms, final_ms, int(now.timestamp() * 1000), time.time_ns(), 0)
        self._warehouse.insert_rows("pipeline_progress", [row], PROGRESS_COLUMNS)
        self._on_final(watermark_ms, final_ms)
