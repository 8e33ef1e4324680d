"""How events come into the log of the simulation: in what order, how often, under which key, and with litter between.

Every choice is the schedule's: the arrivals share its generator.
"""

from __future__ import annotations

import random
from base64 import b64decode
from typing import Any

from pipeline.agents.intake import source_of
from pipeline.agents.replayed import ADMIT_HEADER, Origin, replay_headers
from pipeline.domain.events import EVENT_TYPES
from pipeline.topology import TOPIC_OF
from pipeline.wire.messages import Messages
from pipeline.wire.partitioning import partition_of
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.options import Options
from tests.agents.simulated import Log, Tables
from tests.properties.worlds import World
from tests.reference.admission import key_of
from tests.reference.examples import HOUR

INNER = ("binding", "touchpoint", "contribution")
MESSAGES = Messages(LocalSchemas())
Place = tuple[str, int, int]  # topic, partition, offset


def with_copies(world: World, options: Options, chooser: random.Random) -> World:
    """Some events come again, several times, with contents that differ in small things."""
    events = list(world.events)
    for event in world.events:
        while chooser.random() * 100 < options.copies:
            copy = dict(event)
            kind = chooser.random()
            if kind < 0.5 and event["type"] == "click":
                copy["link_id"] = f"l{chooser.randint(1, 9)}"
            elif kind < 0.7:
                copy["occurred_at"] += chooser.choice((-HOUR, -1, 1))
            elif kind < 0.8 and "amount_minor" in copy:
                copy["amount_minor"] = chooser.randint(0, 5) * 1000
            elif kind < 0.85 and "order_id" in copy:
                copy["order_id"] = f"o{chooser.randint(0, 3)}"
            events.insert(chooser.randint(0, len(events)), copy)
    return World(world.programs, events)


class Arrivals:
    """The events that are still to come, and what was told of those that came."""

    def __init__(self, options: Options, world: World, log: Log, tables: Tables, chooser: random.Random) -> None:
        self._options = options
        self._log = log
        self._tables = tables
        self._chooser = chooser
        self.left = self._in_order(list(world.events))
        self.told: dict[tuple[str, bytes], dict[str, Any]] = {}  # events by topic and value
        self.expected_dead: set[tuple[str, int, str]] = set()

    def _in_order(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._options.lateness_ms is None:
            return events
        most = self._options.lateness_ms

        def arrival(event: dict[str, Any]) -> float:
            return float(event["occurred_at"] + self._chooser.random() * self._chooser.choice((0, most, 40 * most)))

        return sorted(events, key=arrival)

    def send_next(self, count: int) -> list[Place]:
        """As many of those that are left, or all."""
        events, self.left = self.left[:count], self.left[count:]
        return [self.send(event) for event in events]

    def send(self, event: dict[str, Any]) -> Place:
        record, topic = event["type"], TOPIC_OF[event["type"]]
        fields = MESSAGES.fields(record)
        (value,) = MESSAGES.encode(record, [[event.get(name) for name in fields]])
        self.told[topic, value] = event
        key = key_of(event).encode()
        number = partition_of(key, self._options.partitions)
        if self._options.misplaced and self._chooser.random() < 0.1:
            if self._chooser.random() < 0.5:
                key = b"another"
                number = partition_of(key, self._options.partitions)
            else:
                number = self._chooser.randrange(self._options.partitions)
        late_ok = self._options.lateness_ms is not None and self._chooser.random() < 0.05
        headers = [(ADMIT_HEADER, b"1")] if late_ok else []
        return topic, number, self._log.append(topic, number, key, value, headers)

    def litter(self) -> str:
        """A record that is none, in a topic that a step reads."""
        topic = TOPIC_OF[self._chooser.choice((*EVENT_TYPES, *INNER))]
        number = self._chooser.randrange(self._options.partitions)
        value = self._chooser.choice((None, b"junk", b"\x00\x00\x00\x00\x01junk", b"\x00\x00\x00\x00\x63", b"\xff"))
        offset = self._log.append(topic, number, b"k", value)
        self.expected_dead.add((source_of(topic, number), offset, "malformed"))
        return f"litter at {topic}/{number}/{offset}"

    def send_late_again(self) -> str | None:
        """Send late events again, as `crosscredit replay` does; also some that were sent again before."""
        found = [
            row for number in range(self._options.partitions)
            for entry in self._log.entries(TOPIC_OF["late_event"], number)
            for row in MESSAGES.decode("late_event", [entry.value])[0]
        ]  # fmt: skip
        if not found:
            return None
        some = self._chooser.choices(found, k=self._chooser.randint(1, 3))
        return f"replayed {[self._send_again(*row[:3], row[3]) for row in some]}"

    def send_all_late_again(self) -> None:
        for row in self._tables.standing("late_events"):
            raw = row["raw"].removeprefix("base64:")
            value = raw.encode() if raw == row["raw"] else b64decode(raw)
            self._send_again(row["source"], row["position"], row["reason"], value)

    def _send_again(self, source: str, position: str, reason: str, raw: bytes) -> tuple[str, str, int]:
        topic = source.rpartition("/")[0]
        key = key_of(self.told[topic, raw]).encode()
        headers = replay_headers(Origin("late_event", source, position, reason))
        offset = self._log.append(topic, partition_of(key, self._options.partitions), key, raw, headers)
        return source, position, offset
