"""Hostile streams: events of three kinds of programs, with everything done to them that a live pipeline must bear.

The same seed gives the same records. They come out of order, 2 % twice, some again with other content, orders under a
second id, 1 % under a wrong key or in a wrong partition, bad records of every kind; and values that are no records in
every other topic. *Ghosts* are events that would change outcomes, for transactions that are aborted.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
from aiokafka.partitioner import murmur2

from benchmarks.terms import write_terms
from benchmarks.workload import Workload
from pipeline.demo.season import write_season
from pipeline.topology import TOPIC_OF
from pipeline.wire.admission import AnyTerms
from pipeline.wire.files import open_sources
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas
from tests.properties.world_terms import to_toml
from tests.properties.worlds import random_world

Event = dict[str, Any]

PARTITIONS: Final = 16
EVENT_TYPES: Final = ("click", "sign_up", "order", "refund")
KEY_OF: Final = {"click": "visitor_id", "sign_up": "customer_id", "order": "customer_id", "refund": "customer_id"}
BY_KEY: Final = -1
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
IN_2150_MS: Final = 5_680_281_600_000
POISONED: Final = tuple(record for record in TOPIC_OF if record not in (*EVENT_TYPES, "notice"))
"""Nobody reads notices here; what NOTIFY does with poison is for tests/webhooks."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record to produce."""

    record: str  # which topic
    key: bytes | None
    value: bytes | None
    partition: int = BY_KEY
    event: Event | None = None  # what it holds; None: no event can be read from it
    reason: str = ""  # why it is a dead letter that no run over files could have


@dataclass(frozen=True)
class Stream:
    """What is produced, and the terms it is judged under."""

    seed: int
    programs: tuple[Path, ...]
    records: list[Record]
    poison: list[Record]  # for the topics that are no input
    ghosts: list[Record]
    event_of: dict[tuple[str, bytes], Event] = field(default_factory=dict)  # by topic and value

    def late_comers(self, number: int, at_ms: int, not_of: str = "") -> list[Record]:
        """New events of that time, of known visitors and customers; none of brands that begin with ``not_of``."""
        chooser = Random(self.seed + 1)
        made = []
        plain = [each for each in self.records if is_plain(each)]
        if not_of:
            plain = [each for each in plain if not (each.event or {})["brand_id"].startswith(not_of)]
        for record in chooser.sample(plain, number):
            made.append(self._kept(Event(record.event or {}) | {"event_id": f"late-{len(made)}", "occurred_at": at_ms}))
        return made

    def _kept(self, event: Event) -> Record:
        record = Encoder().record(event)
        assert record is not None
        assert record.value is not None
        self.event_of[record.record, record.value] = event
        return record


def is_plain(record: Record) -> bool:
    """Whether the record is an event where it belongs."""
    return record.event is not None and not record.reason and record.partition == BY_KEY


def partition_of(key: bytes) -> int:
    """Where Kafka's own clients send a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


def identity_of(event: Event) -> tuple[str, str, str, str]:
    """Events with the same are one event."""
    return event["type"], event["brand_id"], event[KEY_OF[event["type"]]], event["event_id"]


class Encoder:
    """Events to records."""

    def __init__(self) -> None:
        self._messages = Messages(LocalSchemas())
        self._fields = {each: self._messages.fields(each) for each in EVENT_TYPES}

    def records(self, events: Sequence[Event]) -> Iterator[tuple[Event, Record]]:
        """Each event that Avro can hold, with its record."""
        places = defaultdict(list)
        for event in events:
            places[event["type"]].append(event)
        for event_type, found in places.items():
            rows = [tuple(event.get(name) for name in self._fields[event_type]) for event in found]
            try:
                values: Sequence[bytes | None] = self._messages.encode(event_type, rows)
            except (ValueError, TypeError, OverflowError):
                values = [self._value(event_type, row) for row in rows]
            for event, value in zip(found, values, strict=True):
                if value is not None:
                    key = event[KEY_OF[event_type]].encode()
                    yield event, Record(event_type, key, value, event=event)

    def record(self, event: Event) -> Record | None:
        """One event's record, if Avro can hold it."""
        return next((record for _, record in self.records([event])), None)

    def message(self, record: str, row: Sequence[Any]) -> bytes:
        """The value of a record of any topic."""
        return self._messages.encode(record, [row])[0]

    def _value(self, event_type: str, row: Sequence[Any]) -> bytes | None:
        try:
            return self._messages.encode(event_type, [row])[0]
        except (ValueError, TypeError, OverflowError):
            return None


def hostile_stream(
    folder: Path, seed: int, *, workload: int, season: int = 0, worlds: int = 0, in_time: bool = False
) -> Stream:
    """About ``workload`` + ``season`` + 37 × ``worlds`` events. ``in_time``: nearly in order, up to 20 days early, but
    one in a hundred comes 40 to 90 days after its time; else in no order at all.
    """
    chooser = Random(seed)
    programs, events = _sources(folder, seed, workload, season, worlds)
    encoder = Encoder()
    bad = list(_bad(chooser, events))
    events += _again(chooser, events)
    good = [record for _, record in encoder.records(events)]
    refused = [record for _, record in encoder.records(bad)]
    placed = [(_at(record.event), _strayed(chooser, record)) for record in (*good, *refused)]
    event_of = {(record.record, record.value): record.event for _, record in placed}
    some = [record for each in EVENT_TYPES for record in chooser.sample([r for r in good if r.record == each], 2)]
    placed += [(_at(record.event), _future(encoder, record)) for record in some]
    placed += [(_at(record.event), broken) for record in some for broken in _broken(record)]
    ghosts = [_ghost(encoder, record) for record in chooser.sample(good, min(300, len(good) // 10))]
    if in_time:
        placed.sort(key=lambda pair: pair[0] + _delay(chooser))
    else:
        chooser.shuffle(placed)
    return Stream(
        seed, programs, [record for _, record in placed], list(_poison(chooser, encoder, good)),
        ghosts, event_of,
    )  # fmt: skip


def _sources(
    folder: Path, seed: int, workload: int, season: int, worlds: int
) -> tuple[tuple[Path, ...], list[Event]]:  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    programs: list[Path] = []
    events: list[Event] = []
    if workload:
        programs.append(folder / "workload")
        write_terms(programs[-1])
        for chunk in Workload(workload, seed).chunks():
            events += map(_present, chunk.to_pylist())
    if season:
        write_season(folder / "season", seed=seed, events=season)
        programs.append(folder / "season" / "programs")
        events += _season_events(folder / "season" / "events")
    if worlds:
        programs.append(folder / "worlds")
        programs[-1].mkdir(parents=True)
        for number in range(worlds):
            events += _world(programs[-1], f"w{number}-", seed * 1000 + number)
    return tuple(programs), events


def _season_events(folder: Path) -> Iterator[Event]:
    for source in open_sources([str(folder)]):
        for chunk in source.chunks_by(AnyTerms()):
            for event_type, table in chunk.events.items():
                names = [name for name in table.column_names if name not in ("position", "raw")]
                for event in table.select(names).to_pylist():
                    yield {"type": event_type, **_present(event)}


def _world(programs: Path, prefix: str, seed: int) -> Iterator[Event]:
    """A small world of awkward terms and events, its brands and programs renamed so that it stands beside others."""
    world = random_world(seed)
    for number, terms in enumerate(world.programs):
        program = terms["program"]
        program["id"], program["brand_id"] = prefix + program["id"], prefix + program["brand_id"]
        (programs / f"{prefix}{number}.toml").write_text(to_toml(terms), encoding="utf-8")
    for event in world.events:
        for name in ("brand_id", "program_id"):
            if name in event:
                event[name] = prefix + event[name]
        yield event


def _present(event: Event) -> Event:
    return {name: value for name, value in event.items() if value is not None}


def _at(event: Event | None) -> int:
    at: int = (event or {}).get("occurred_at", 0)
    return at


def _delay(chooser: Random) -> float:
    roll = chooser.random()
    if roll < 0.01:
        return chooser.uniform(40, 90) * DAY_MS
    return chooser.uniform(0, 20 * DAY_MS if roll < 0.3 else HOUR_MS)


def _again(chooser: Random, events: Sequence[Event]) -> list[Event]:
    """The same events again, events again with other content, and orders under a second id."""
    same = chooser.choices(events, k=len(events) // 50)
    changed = [_changed(chooser, dict(event)) for event in chooser.choices(events, k=len(events) // 100)]
    orders = [event for event in events if event["type"] == "order"]
    twice = [
        {
            **event,
            "event_id": event["event_id"] + "-again",
            "occurred_at": event["occurred_at"] + chooser.choice((0, 1)),
        }
        for event in chooser.sample(orders, len(orders) // 50)
    ]
    return same + changed + twice


def _changed(chooser: Random, event: Event) -> Event:
    way = chooser.random()
    if way < 0.4:
        event["occurred_at"] -= chooser.randrange(1, HOUR_MS)
    elif way < 0.6:
        event["occurred_at"] += chooser.randrange(1, HOUR_MS)
    elif event["type"] == "refund":
        event["amount_minor"] = chooser.randrange(5_000)
    elif event["type"] == "click":
        event["campaign"] = chooser.choice(("", "aaa", "zzz"))
    elif way < 0.8:
        event["ip"] = chooser.choice(("0", "zzz"))
    else:
        event.pop("coupon_code", None)
        event.pop("click_id", None)
    return event


def _bad(chooser: Random, events: Sequence[Event]) -> Iterator[Event]:
    """Events that are refused, six of each type in each way."""
    numbers = count()
    everywhere: dict[str, Any] = {"event_id": "", "occurred_at": -1, "brand_id": "nobodys"}
    ways: dict[str, list[Event]] = {
        "click": [everywhere, {"program_id": "no-program"}, {"partner_id": "no-partner"}, {"visitor_id": ""}],
        "sign_up": [everywhere, {"email_sha256": "ABC"}, {"customer_id": ""}],
        "order": [everywhere, {"amount_minor": -5}, {"currency": "XXX"}, {"order_id": ""}],
        "refund": [everywhere, {"reason": "whim"}, {"amount_minor": -(2**63)}, {"currency": "usd"}],
    }
    for event_type, changes in ways.items():
        of_type = [event for event in events if event["type"] == event_type]
        for change in changes:
            for name, value in change.items():
                for event in chooser.sample(of_type, min(6, len(of_type))):
                    yield {**event, "event_id": f"bad-{next(numbers)}", name: value}


def _strayed(chooser: Random, record: Record) -> Record:
    """One record in a hundred is not where it belongs."""
    if chooser.random() >= 0.01:
        return record
    elsewhere = chooser.randrange(PARTITIONS)
    key = chooser.choice((record.key, None, b"", b"somebody else"))
    return Record(record.record, key, record.value, elsewhere, record.event)


def _future(encoder: Encoder, record: Record) -> Record:
    event = {**(record.event or {}), "occurred_at": IN_2150_MS, "event_id": "of-the-future"}
    made = encoder.record(event)
    assert made is not None
    return Record(made.record, made.key, made.value, reason="in_future")


def _broken(record: Record) -> Iterator[Record]:
    """Values that are no record, each in its own way."""
    value = record.value or b""
    other = "order" if record.record == "click" else "click"
    for bytes_ in (
        None, b"", b"\x00", b"plain text", b"\xff" * 40, b"\x01" + value[1:], b"\x00\x00\x00\xff\xff" + value[5:],
        value[: len(value) // 2], value + b"!",
    ):  # fmt: skip
        yield Record(record.record, record.key, bytes_, reason="malformed")
    yield Record(other, record.key, value, reason="malformed")


def _ghost(encoder: Encoder, record: Record) -> Record:
    """An event that counts, if it is taken: earlier than the one it is made of, and under an id of its own."""
    event = record.event or {}
    made = encoder.record({**event, "event_id": f"ghost-{event['event_id']}", "occurred_at": event["occurred_at"] - 1})
    assert made is not None
    return made


def _poison(chooser: Random, encoder: Encoder, good: Sequence[Record]) -> Iterator[Record]:
    """What the steps must not choke on, in the topics that they themselves write."""
    value = next(record.value for record in good if record.value) or b""
    for record in POISONED:
        for bytes_ in (None, b"", b"\x00\x00", b"poison", value, b"\x00\x00\x00\xff\xff" + value[5:]):
            yield Record(record, b"poison", bytes_, chooser.randrange(PARTITIONS), reason="malformed")
    damaged = encoder.message("contribution", ("no-program", "nobody", 1, b"\xc1 no MessagePack"))
    yield Record("contribution", b"no-program", damaged, chooser.randrange(PARTITIONS), reason="malformed")


def line_of(event: Event) -> bytes:
    """The event as a line of JSON."""
    return orjson.dumps(event) + b"\n"
