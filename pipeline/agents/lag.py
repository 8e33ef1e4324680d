"""How far a step is behind its topics: records, and the age of the oldest that is not settled yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from faust.types import TP

from pipeline.agents.log_reader import LogReader
from pipeline.metrics import Metrics
from pipeline.topology import NOTIFY

PEEK_BYTES: Final = 1 << 14
"""What a log reader needs to fetch of a partition to tell the time of a record."""

_MS: Final = 1000
_CLOSE_WITHIN_S: Final = 3.0


class LagWatch:
    """Looks at one step of one worker. One thread at a time uses it."""

    def __init__(self, step: str, log: LogReader, metrics: Metrics) -> None:
        self._step = step
        self._log = log
        self._metrics = metrics
        self._shown: set[TP] = set()
        self._in_use = threading.Lock()

    def look(self, settled: Mapping[TP, int | None]) -> None:
        """Show how far the worker's partitions are behind; ``settled`` are their safe offsets, None before the first.

        What it showed of partitions that the worker has no more, goes.

        :raises LogUnreadableError: Kafka did not answer; what was shown before stays.
        """
        with self._in_use:
            lags, waiting = self._lags(settled)
            times_ms = self._log.times_at(waiting).values()
        age_s = max((time.time() - oldest / _MS for oldest in times_ms), default=0.0)
        # A topic that the sink reads too is shown by the sink: the series have no step.
        for tp, lag in lags.items() if self._step != NOTIFY.name else ():
            self._metrics.lag.labels(tp.topic, str(tp.partition)).set(lag)
        for tp in self._shown - lags.keys():
            self._metrics.lag.remove(tp.topic, str(tp.partition))
        self._shown = set(lags) if self._step != NOTIFY.name else set()
        self._metrics.lag_seconds.labels(self._step).set(max(0.0, age_s))

    def _lags(self, settled: Mapping[TP, int | None]) -> tuple[dict[TP, int], dict[tuple[str, int], int]]:
        """How many records each partition waits for, and from which offset on, where there are any."""
        lags: dict[TP, int] = {}
        waiting: dict[tuple[str, int], int] = {}
        for (topic, number), end in self._log.ends_of((tp.topic, tp.partition) for tp in settled).items():
            tp = TP(topic, number)
            offset = settled[tp]
            if offset is None:  # nothing was ever settled; the log may begin anywhere
                offset = self._log.bounds(topic, number)[0] if end else 0
            lags[tp] = max(0, end - offset)
            if lags[tp]:
                waiting[topic, number] = offset
        return lags, waiting

    def close(self) -> None:
        """Let go of the connection, unless somebody waits for an answer over it for long."""
        if self._in_use.acquire(timeout=_CLOSE_WITHIN_S):
            self._log.close()
