"""IDENTITY live: clicks and bindings of one partition, kept in state and forwarded to CREDIT."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.agents.intake import Intake, Lateness, Taken
from pipeline.agents.invariants import check_records
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import BY_KEY, Outlet, Output
from pipeline.agents.partition import PartitionState
from pipeline.agents.watermarks import Watermarks
from pipeline.domain.attribution import EXPLAINED_BEFORE_WINDOW_MS
from pipeline.domain.terms import Catalogue
from pipeline.state.keys import parts_of, texts_of
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.identity import Binding, ForwardedClick, IdentityStep, Truth
from pipeline.topology import TOPIC_OF
from pipeline.wire.admission import DeadLetter
from pipeline.wire.batches import RecordBatch

CLICKS_AT_ONCE: Final = 5_000
"""How many clicks are looked at between two batches: some milliseconds."""

SWEEPS_A_LIFE: Final = 20
"""How often all clicks are looked at within a click's life: state is at most a twentieth too large."""

GRACE_S: Final = 120.0
"""How long before clicks leave every worker has heard of the watermark by which they are old."""

_SLACK_MS: Final = 86_400_000


def click_life_ms(catalogue: Catalogue, allowed_lateness_ms: int) -> int:
    """For how long after its time a click may matter: no conversion that is still admitted can ask for it later.

    Explanations show clicks up to a week older than the longest window. A day more, because workers do not hear of
    watermarks at the same time.
    """
    windows = [terms.click_window_ms for program in catalogue.programs.values() for terms in program.versions]
    return max(windows, default=0) + EXPLAINED_BEFORE_WINDOW_MS + allowed_lateness_ms + _SLACK_MS


@dataclass(frozen=True, slots=True)
class Expiry:
    """When clicks leave: see :func:`click_life_ms` and :meth:`IdentityPartition.settle`."""

    life_ms: int
    bindings_end: Callable[[int], int | None]  # of a partition: the offset after its log's last binding; None: unknown
    grace_s: float = GRACE_S
    clock: Callable[[], float] = time.monotonic  # seconds


@dataclass(slots=True)
class _Edge:
    """A time before which clicks are to leave, once nothing can ask for them any more."""

    before_ms: int
    chosen_at: float  # by the clock
    bindings_end: int | None = None


class ClickSink(Protocol):
    """Where clicks go on their way to ClickHouse."""

    def put_clicks(
        self, clicks: pa.Table, editions: npt.NDArray[np.uint64], partition: int, next_offset: int, oldest_ms: int
    ) -> None:  # fmt: skip
        """Take clicks, possibly none; blocks while too many wait. Once they, and all before them, are stored, the
        partition is safe up to ``next_offset``. ``oldest_ms`` is Kafka's time of the oldest of them.
        """


class IdentityPartition:
    """One partition of the step. One thread uses it; every call returns when its outputs are acknowledged."""

    def __init__(
        self, number: int, store: Store, outlet: Outlet, *, intake: Intake, outcomes: Outcomes, truth: Truth,
        sink: ClickSink, watermarks: Watermarks, allowed_lateness_ms: int, counts: Counter[tuple[str, str]],
        expiry: Expiry | None = None,
    ) -> None:  # fmt: skip
        """Without ``expiry`` clicks are kept for good."""
        self.number = number
        self.state = PartitionState(store, outlet)
        self._step = IdentityStep(store, truth)
        self._intake = intake
        self._outcomes = outcomes
        self._sink = sink
        self._watermarks = watermarks
        self._allowed_lateness_ms = allowed_lateness_ms
        self._counts = counts
        self._expiry = expiry
        self._edge: _Edge | None = None  # the next sweep's
        self._sweeping = b""  # the last key looked at; b"" between sweeps
        self._swept_to = 0
        self._watermarks.raise_to(self.state.watermark_ms())

    def start(self) -> None:
        """Send what an earlier process could not."""
        self.state.send_waiting()

    def take(self, batch: RecordBatch) -> None:
        """Take a batch of clicks or bindings; what was taken before is only stored again."""
        record = "click" if batch.topic == TOPIC_OF["click"] else "binding"
        known = self.state.offset(record)
        again, new = batch.until(known), batch.since(known)
        if record == "binding":
            if new is not None:
                self._take_bindings(new)
            return
        if again is not None:
            self._store_again(again)
        if new is not None:
            self._take_clicks(new)

    def settle(self) -> None:
        """Clicks and bindings are settled as they are taken; look whether old clicks may leave.

        A conversion that is admitted while the watermark stands where it stood can still bring a binding that asks for
        clicks of before the edge, and it may have been admitted by a worker that had not heard of the watermark. So an
        edge waits until all have heard, and then until the bindings that are in the log by now have been taken.
        """
        if self._expiry is None:
            return
        if not self._sweeping and not self._may_sweep(self._expiry):
            return
        batch = WriteBatch()
        self._sweeping = self._step.expire(self._swept_to, self._sweeping, CLICKS_AT_ONCE, batch)
        if len(batch):
            self.state.write(batch)

    def _may_sweep(self, expiry: Expiry) -> bool:
        watermark = self._watermarks.current()
        if self._edge is None:
            if watermark is None or watermark - expiry.life_ms - self._swept_to < expiry.life_ms // SWEEPS_A_LIFE:
                return False
            self._edge = _Edge(watermark - expiry.life_ms, expiry.clock())
        edge = self._edge
        if expiry.clock() - edge.chosen_at < expiry.grace_s:
            return False
        if edge.bindings_end is None:
            edge.bindings_end = expiry.bindings_end(self.number)
        if edge.bindings_end is None or self.state.offset("binding") < edge.bindings_end:
            return False
        self._swept_to, self._edge = edge.before_ms, None
        return True

    def safe_offsets(self) -> dict[str, int]:
        """How far bindings are safe; for clicks that depends on ClickHouse, and the sink tells it."""
        return {"binding": self.state.offset("binding")}

    def caught_up(self) -> None:
        """Nothing is left to do: what IDENTITY emits is never withdrawn."""

    def restore(self, batch: RecordBatch, late_offsets: set[int], *, is_ahead: bool) -> None:
        """Take a batch whose outputs are known to have been acknowledged, and whose rows are stored: facts alone.

        If state ``is_ahead`` of the group, it may hold clicks or bindings that were not known to whoever forwarded.
        """
        known = self.state.offset("click" if batch.topic == TOPIC_OF["click"] else "binding")
        new = batch.since(known)
        if new is None:
            return
        facts = WriteBatch()
        if batch.topic == TOPIC_OF["binding"]:
            forwarded = self._step.bind(self._bindings(new)[0], facts)
            self.state.keep(facts, "binding", new.next_offset, self._touchpoints(forwarded) if is_ahead else ())
            return
        taken = self._intake.take(new, Lateness(None, self._allowed_lateness_ms, late_offsets), self._step.known)
        forwarded = self._step.add_clicks(taken.events, facts).forwarded if len(taken.events) else []
        self._watermarks.observe(new.topic, self.number, taken.newest_ms)
        self.state.keep(facts, "click", new.next_offset, self._touchpoints(forwarded) if is_ahead else ())

    def _take_clicks(self, batch: RecordBatch) -> None:
        watermark = self._watermarks.current()
        taken = self._intake.take(batch, Lateness(watermark, self._allowed_lateness_ms), self._step.known)
        facts = WriteBatch()
        outputs = [*taken.misplaced, *self._outcomes.refused(taken, self.number)]
        clicks, editions = taken.events, np.empty(0, dtype=np.uint64)
        repeats = 0
        if len(taken.events):
            new = self._step.add_clicks(taken.events, facts)
            outputs += self._touchpoints(new.forwarded)
            clicks, editions, repeats = new.added, new.editions, new.repeats
        self.state.commit(facts, "click", batch.next_offset, outputs, watermark)
        self._sink.put_clicks(clicks, editions, self.number, batch.next_offset, min(batch.timestamps_ms))
        self._watermarks.observe(batch.topic, self.number, taken.newest_ms)
        count(self._counts, "click", taken, repeats)

    def _store_again(self, batch: RecordBatch) -> None:
        """Clicks that were taken before this process or assignment may not be in ClickHouse yet."""
        taken = self._intake.take(batch, Lateness(None, self._allowed_lateness_ms), self._step.known)
        clicks, editions = taken.events, np.empty(0, dtype=np.uint64)
        if len(clicks):
            clicks, editions = self._step.standing(clicks)
        self._sink.put_clicks(clicks, editions, self.number, batch.next_offset, min(batch.timestamps_ms))
        self._watermarks.observe(batch.topic, self.number, taken.newest_ms)

    def _take_bindings(self, batch: RecordBatch) -> None:
        facts = WriteBatch()
        bindings, dead = self._bindings(batch)
        outputs = self._touchpoints(self._step.bind(bindings, facts))
        outputs += self._outcomes.letters("dead_letter", dead, self.number)
        self.state.commit(facts, "binding", batch.next_offset, outputs)

    def _bindings(self, batch: RecordBatch) -> tuple[list[Binding], list[DeadLetter]]:
        rows, dead = self._outcomes.rows("binding", batch)
        columns = map(parts_of, zip(*rows, strict=True))
        return list(starmap(Binding, zip(*columns, strict=True))), dead

    def _touchpoints(self, forwarded: Sequence[ForwardedClick]) -> list[Output]:
        if not forwarded:
            return []
        brands, customers, visitors, events, clicks = zip(*forwarded, strict=True)
        customer_ids = texts_of(customers)
        *kept, _ = zip(*clicks, strict=True)  # all but the fingerprint
        rows = list(
            zip(texts_of(brands), customer_ids, texts_of(visitors), texts_of(events), *kept, strict=True)
        )  # fmt: skip
        return self._outcomes.outputs("touchpoint", rows, map(str.encode, customer_ids), BY_KEY)


def count(counts: Counter[tuple[str, str]], event_type: str, taken: Taken, repeats: int) -> None:
    """Count a batch: each of its records is in exactly one of these."""
    check_records(counts, event_type, taken, repeats)
    counts[event_type, "consumed"] += taken.records
    counts[event_type, "applied"] += len(taken.events) - repeats
    counts[event_type, "repeated"] += repeats
    counts[event_type, "late"] += len(taken.late)
    counts[event_type, "dead_letter"] += len(taken.dead)
    counts[event_type, "misplaced"] += len(taken.misplaced)
    for letter in taken.dead:
        counts["refused", letter.reason] += 1
