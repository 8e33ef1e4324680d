"""From a partition batch of an input topic to admitted events: what IDENTITY and CREDIT do first, in one place.

Every record ends in exactly one of: admitted (new or a repeat), late, a dead letter, misplaced (under another key or in
another partition than its own, and so sent on to where it belongs).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipeline.agents.outlet import BY_KEY, Output
from pipeline.agents.replayed import ADMIT_HEADER, Origin, origin_in
from pipeline.domain.events import EVENT_TYPES
from pipeline.topology import RECORD_OF
from pipeline.wire.admission import Admission, DeadLetter
from pipeline.wire.batches import RecordBatch
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.partitioning import partitions_of

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another

LATE: Final = "late"
"""The reason of a late event."""

IsKnown = Callable[[pa.Table], npt.NDArray[np.bool_]]
"""Which events of a table state has already."""


@dataclass(slots=True)
class Taken:
    """What a batch came to."""

    events: pa.Table
    records: int
    newest_ms: int | None  # of what was admitted
    dead: list[DeadLetter] = field(default_factory=list)
    late: list[DeadLetter] = field(default_factory=list)
    misplaced: list[Output] = field(default_factory=list)
    replayed: list[tuple[Origin, bytes]] = field(default_factory=list)  # rows that hold no longer, with their bytes


@dataclass(frozen=True, slots=True)
class Lateness:
    """What decides whether an event is late.

    While state is rebuilt, what was decided before holds: ``late_offsets`` are late, everything else is not.
    """

    watermark_ms: int | None
    allowed_ms: int
    late_offsets: Container[int] | None = None


class Intake:
    """Decodes, judges and sorts batches under one catalogue of terms."""

    def __init__(
        self, admission: Admission, decoder: InputDecoder, *, partitions: int, max_future_ms: int
    ) -> None:  # fmt: skip
        self._admission = admission
        self._decoder = decoder
        self._partitions = partitions
        self._max_future_ms = max_future_ms

    def take(self, batch: RecordBatch, lateness: Lateness, is_known: IsKnown) -> Taken:
        """Judge a batch of one of the four input topics."""
        event_type = RECORD_OF[batch.topic]
        source = source_of(batch.topic, batch.partition)
        candidates, dead = self._decoder.decode(event_type, batch)
        offsets = np.asarray(batch.offsets, dtype=np.int64)
        received = np.asarray(batch.timestamps_ms, dtype=np.int64)
        received = received[np.searchsorted(offsets, candidates.positions.astype(np.int64))]
        events, refused = self._admission.judge(
            candidates, source, received_at_ms=received, max_future_ms=self._max_future_ms
        )
        dead = sorted([*dead, *refused], key=lambda letter: letter.position)
        taken = Taken(events, len(batch), None, dead)
        if len(events):
            rows = np.searchsorted(offsets, events.column("position").to_numpy().astype(np.int64))
            rows = self._set_misplaced_aside(taken, batch, event_type, rows)
            self._set_late_aside(taken, batch, rows, lateness, is_known)
        if any(batch.headers):
            taken.replayed = _replayed(batch, taken.events)
        if len(taken.events):
            taken.newest_ms = pc.max(taken.events.column("occurred_at")).as_py()
        return taken

    def _set_misplaced_aside(
        self, taken: Taken, batch: RecordBatch, event_type: str, rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Leave out records under another key or in another partition; returns the rows of those that remain."""
        wanted = taken.events.column(EVENT_TYPES[event_type].key_field).combine_chunks()
        keys = pa.array(batch.keys, pa.binary())
        keys = keys if len(rows) == len(batch) else keys.take(rows)
        right = pc.fill_null(pc.equal(keys, wanted.cast(pa.binary())), False).to_numpy(zero_copy_only=False)
        right &= partitions_of(wanted, self._partitions) == batch.partition
        if right.all():
            return rows
        for row in np.flatnonzero(~right).tolist():
            value = batch.values[rows[row]] or b""
            taken.misplaced.append(Output(batch.topic, BY_KEY, wanted[row].as_py().encode(), value))
        taken.events = taken.events.filter(pa.array(right))
        remaining: npt.NDArray[np.int64] = rows[right]
        return remaining

    def _set_late_aside(
        self, taken: Taken, batch: RecordBatch, rows: npt.NDArray[np.int64], lateness: Lateness, is_known: IsKnown
    ) -> None:
        events = taken.events
        if lateness.late_offsets is not None:
            known_late = lateness.late_offsets
            late = np.array([batch.offsets[row] in known_late for row in rows.tolist()], dtype=np.bool_)
        elif lateness.watermark_ms is None:
            return
        else:
            late = events.column("occurred_at").to_numpy() + lateness.allowed_ms < lateness.watermark_ms
        if not late.any():
            return
        places = np.flatnonzero(late)
        if lateness.late_offsets is None:
            places = places[~is_known(events.take(places))]  # a copy of an admitted event is never late
            places = np.array(
                [place for place in places.tolist() if not _is_waved_through(batch, int(rows[place]))], dtype=np.int64
            )
            places = _without_copies(events, places, EVENT_TYPES[RECORD_OF[batch.topic]].key_field)
        if not len(places):
            return
        source = source_of(batch.topic, batch.partition)
        for place in places.tolist():
            row = int(rows[place])
            taken.late.append(DeadLetter(source, batch.offsets[row], LATE, batch.values[row] or b""))
        keep = np.ones(len(events), dtype=np.bool_)
        keep[places] = False
        taken.events = events.filter(pa.array(keep))


def source_of(topic: str, partition: int) -> str:
    """A partition as the source of a dead letter; its position is the offset."""
    return f"{topic}/{partition}"


def _replayed(batch: RecordBatch, events: pa.Table) -> list[tuple[Origin, bytes]]:
    """What the admitted ones among a batch's records were sent again for, and their bytes."""
    admitted = set(events.column("position").to_pylist())
    origins = (
        (origin_in(headers), value)
        for offset, headers, value in zip(batch.offsets, batch.headers, batch.values, strict=True)
        if headers and offset in admitted
    )
    return [(origin, value or b"") for origin, value in origins if origin is not None]


def _without_copies(events: pa.Table, places: npt.NDArray[np.int64], key_field: str) -> npt.NDArray[np.int64]:
    """Those of the late places before which the batch has no copy that is admitted."""
    late = set(places.tolist())
    ids = [events.column(name).to_pylist() for name in ("brand_id", key_field, "event_id")] if late else []
    admitted: set[tuple[str, ...]] = set()
    for place, event in enumerate(zip(*ids, strict=True)):
        if place not in late or event in admitted:
            admitted.add(event)
            late.discard(place)
    return np.array(sorted(late), dtype=np.int64)


def _is_waved_through(batch: RecordBatch, row: int) -> bool:
    return any(name == ADMIT_HEADER for name, _ in batch.headers[row])
