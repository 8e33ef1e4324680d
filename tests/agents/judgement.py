"""What a run of the simulation is held against: the reference, and what was decided on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.agents.intake import Taken, source_of
from pipeline.agents.replayed import origin_in
from pipeline.domain.events import EVENT_TYPES
from pipeline.topology import TOPIC_OF
from pipeline.wire.batches import RecordBatch
from pipeline.wire.partitioning import partition_of
from tests.agents.arrivals import Arrivals, Place
from tests.agents.options import Options
from tests.agents.simulated import Log, Tables
from tests.properties.harness import answer, canonical, differences
from tests.reference.admission import key_of, refusal
from tests.reference.oracle import compute
from tests.reference.terms import read_programs

_DEAD = ("source", "position", "reason")


class Judgement:
    """Hears of decisions as they reach a disk, and says at the end what is wrong."""

    def __init__(
        self, options: Options, programs: list[dict[str, Any]], log: Log, tables: Tables, arrivals: Arrivals
    ) -> None:  # fmt: skip
        self._options = options
        self._programs = programs
        self._log = log
        self._tables = tables
        self._arrivals = arrivals
        self._decisions: dict[Place, set[str]] = {}
        self._broken: list[str] = []
        self._reached: dict[tuple[str, int], int] = {}  # the highest watermark that an input was judged by

    @property
    def _is_one_alone(self) -> bool:
        """Nobody else decides, and nothing decided is forgotten: then each decision is made once, and in time."""
        return not (self._options.moves or self._options.wipes or self._options.zombies)

    def note_decision(
        self, batch: RecordBatch, watermark_ms: int | None, news: Sequence[tuple[int, int]], taken: Taken, judged: bool
    ) -> None:  # fmt: skip
        """What was decided on a batch is on disk."""
        if not judged:
            return
        where = (batch.topic, batch.partition)
        headers = dict(zip(batch.offsets, batch.headers, strict=True))
        for offset, occurred_at in news:
            self._decisions.setdefault((*where, offset), set()).add("admitted")
            reached = self._reached.get(where)
            is_over = reached is not None and occurred_at + self._options.allowed_ms < reached
            if is_over and self._is_one_alone and not headers[offset]:
                self._broken.append(f"{where} admitted {offset} of {occurred_at} after the watermark {reached}")
        for letter in taken.late:
            self._decisions.setdefault((*where, letter.position), set()).add("late")
        if watermark_ms is not None:
            self._reached[where] = max(watermark_ms, self._reached.get(where, watermark_ms))

    def wrong(self) -> list[str]:
        """Where what stands is not what the reference says of the events that are not late."""
        late = {(row["source"], int(row["position"])) for row in self._tables.standing("late_events")}
        origins = (origin_in(entry.headers) for entry, _, _ in self._inputs())
        replayed = {(origin.source, int(origin.position)) for origin in origins if origin is not None}
        still_late = sorted(late & replayed)
        late |= replayed  # what was sent again counts where it stands the second time
        programs = read_programs(self._programs)
        events: list[dict[str, Any]] = []
        places: list[tuple[str, int]] = []
        sent_on: list[tuple[dict[str, Any], tuple[str, int]]] = []
        for entry, topic, number in self._inputs():
            event = self._arrivals.told.get((topic, entry.value or b""))
            if event is None:
                continue
            key = key_of(event).encode()
            is_misplaced = entry.key != key or partition_of(key, self._options.partitions) != number
            place = (source_of(topic, number), entry.offset)
            if is_misplaced and not refusal(event, programs):
                sent_on.append((event, place))
            elif place not in late or refusal(event, programs):
                events.append(event)
                places.append(place)
        if self._options.lateness_ms is None:  # else what is sent on may be late where it arrives
            # Each has a copy where it belongs, which was there before as regards dead letters. Or else it was lost.
            events += [event for event, _ in sent_on]
            places += [place for _, place in sent_on]
        expected = compute(self._programs, events)
        dead = {(*places[row["index"]], row["reason"]) for row in expected["dead_letters"]}
        dead |= self._arrivals.expected_dead
        expected["dead_letters"] = canonical(dict(zip(_DEAD, each, strict=True)) for each in dead)
        got = answer(self._tables)
        rows = [(row["source"], int(row["position"]), row["reason"]) for row in self._tables.standing("dead_letters")]
        got["dead_letters"] = canonical(dict(zip(_DEAD, each, strict=True)) for each in rows)
        found = self._broken + differences(got, expected)
        if self._is_one_alone:
            torn = [place for place, kinds in self._decisions.items() if len(kinds) > 1]
            found += [f"both admitted and late: {torn}"] if torn else []
            found += [f"late, though a copy was admitted before: {place}" for place in self._copies(late, programs)]
        return found + ([f"replayed and still late: {still_late}"] if still_late else [])

    def _copies(self, late: set[tuple[str, int]], programs: Any) -> list[tuple[str, int]]:
        """Places of late events that came after a copy of theirs was admitted in the same partition."""
        admitted: set[Any] = set()
        found = []
        for entry, topic, number in self._inputs():
            event = self._arrivals.told.get((topic, entry.value or b""))
            if event is None or refusal(event, programs):
                continue
            key = key_of(event).encode()
            if entry.key != key or partition_of(key, self._options.partitions) != number:
                continue
            copy = (topic, number, key, event["brand_id"], event["event_id"])
            if (source_of(topic, number), entry.offset) not in late:
                admitted.add(copy)
            elif copy in admitted:
                found.append((source_of(topic, number), entry.offset))
        return found

    def _inputs(self) -> Iterator[tuple[Any, str, int]]:
        found = [
            (entry, TOPIC_OF[record], number)
            for record in EVENT_TYPES
            for number in range(self._options.partitions)
            for entry in self._log.entries(TOPIC_OF[record], number)
        ]
        return iter(sorted(found, key=lambda each: each[0].number))
