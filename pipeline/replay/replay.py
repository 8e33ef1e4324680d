"""Late events and dead letters sent to their topics again, with the header that admits them (docs/decisions/0012).

What is sent are the original bytes, under the key that the event should have. The step that admits it withdraws the
row that said it was not. So whatever is sent twice, or by somebody else meanwhile, is a repeat and changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.agents.letters import Letter
from pipeline.agents.replayed import Origin, replay_headers
from pipeline.domain.events import EVENT_TYPES
from pipeline.kafka.clients import CONFIRMED_DELIVERY, GIVE_UP_MS, ConfluentConfig
from pipeline.kafka.errors import DeliveryError
from pipeline.topology import RECORD_OF
from pipeline.wire.admission import Admission
from pipeline.wire.batches import RecordBatch
from pipeline.wire.kafka_events import InputDecoder

_AT_ONCE: Final = 10_000

NOT_AN_INPUT: Final = "not_an_input"
"""Why a dead letter stays one: its record stands in a topic that steps write, and was never an event."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant. Times are epoch milliseconds of occurred_at; None and empty mean: all."""

    since_ms: int | None = None
    until_ms: int | None = None  # exclusive
    reasons: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()


@dataclass
class Replayed:
    """What a replay came to: ``standing`` = all ``sent`` + ``left_out`` + all ``refused``."""

    standing: int = 0
    left_out: int = 0  # by the filter
    sent: Counter[str] = field(default_factory=Counter)  # by event type; would be, where nothing is sent
    refused: Counter[str] = field(default_factory=Counter)  # by the reason that holds now
    examples: dict[str, str] = field(default_factory=dict)  # reason to the place of its first record


@dataclass(frozen=True, slots=True)
class _Ready:
    """A letter that is an event now."""

    letter: Letter
    event_type: str
    key: bytes


class Replay:
    """Judges letters by what is known now, and sends those that are events."""

    def __init__(
        self, record: str, admission: Admission, decoder: InputDecoder, *, max_future_ms: int,
        clock_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:  # fmt: skip
        """``record`` is late_event or dead_letter."""
        self._record = record
        self._admission = admission
        self._decoder = decoder
        self._max_future_ms = max_future_ms
        self._clock_ms = clock_ms

    def run(
        self, letters: Sequence[Letter], wanted: Filter, config: ConfluentConfig | None
    ) -> Replayed:  # fmt: skip
        """Send what is wanted and can be admitted; when it returns, the broker has all of it.

        ``config`` None: nothing is sent, only counted. DeliveryError for the first record that was not taken;
        RegistryUnavailableError.
        """
        found = Replayed(standing=len(letters))
        sender = _Sender(config) if config is not None else None
        for ready in self._ready(letters, wanted, found):
            if sender is not None:
                origin = Origin(self._record, ready.letter.source, ready.letter.position, ready.letter.reason)
                sender.send(ready.letter.source.rpartition("/")[0], ready.key, ready.letter.raw, origin)
            found.sent[ready.event_type] += 1
        if sender is not None:
            sender.confirm()
        return found

    def _ready(self, letters: Sequence[Letter], wanted: Filter, found: Replayed) -> Iterator[_Ready]:
        by_type: dict[str, list[Letter]] = {event_type: [] for event_type in EVENT_TYPES}
        for letter in letters:
            event_type = RECORD_OF.get(letter.source.rpartition("/")[0], "")
            if wanted.reasons and letter.reason not in wanted.reasons:
                found.left_out += 1
            elif event_type not in by_type:
                _refuse(found, NOT_AN_INPUT, letter)
            elif letter.reason == "duplicate_order":  # it was admitted; another event of that order is the one to count
                _refuse(found, letter.reason, letter)
            else:
                by_type[event_type].append(letter)
        for event_type, of_type in by_type.items():
            for start in range(0, len(of_type), _AT_ONCE):
                yield from self._judged(event_type, of_type[start : start + _AT_ONCE], wanted, found)

    def _judged(
        self, event_type: str, letters: Sequence[Letter], wanted: Filter, found: Replayed
    ) -> Iterator[_Ready]:  # fmt: skip
        """Those of one type that are events under what is known now, and wanted."""
        rows = range(len(letters))
        values = [letter.raw for letter in letters]
        now = self._clock_ms()
        batch = RecordBatch("", 0, rows, [None] * len(rows), values, [now] * len(rows), [()] * len(rows))
        candidates, malformed = self._decoder.decode(event_type, batch)
        events, refused = self._admission.judge(
            candidates, "", received_at_ms=now, max_future_ms=self._max_future_ms
        )  # fmt: skip
        is_filtered = wanted.since_ms is not None or wanted.until_ms is not None or bool(wanted.brands)
        for each in (*malformed, *refused):
            if is_filtered and each.reason == "malformed":  # nobody knows its time and brand
                found.left_out += 1
            else:
                _refuse(found, each.reason, letters[each.position])
        names = ("position", "occurred_at", "brand_id", EVENT_TYPES[event_type].key_field)
        columns: list[list[Any]] = [events.column(name).to_pylist() for name in names]
        for row, occurred_at, brand, key in zip(*columns, strict=True):
            if _is_meant(wanted, occurred_at, brand):
                yield _Ready(letters[row], event_type, key.encode())
            else:
                found.left_out += 1


def _is_meant(wanted: Filter, occurred_at: int, brand: str) -> bool:
    return (
        (wanted.since_ms is None or occurred_at >= wanted.since_ms)
        and (wanted.until_ms is None or occurred_at < wanted.until_ms)
        and (not wanted.brands or brand in wanted.brands)
    )


def _refuse(found: Replayed, reason: str, letter: Letter) -> None:
    found.refused[reason] += 1
    found.examples.setdefault(reason, f"{letter.source}:{letter.position}")


class _Sender:
    """A producer that loses nothing without a word."""

    def __init__(self, config: ConfluentConfig) -> None:
        self._bootstrap = config["bootstrap.servers"]
        self._failed: list[KafkaError] = []
        self._producer = Producer({**config, **CONFIRMED_DELIVERY})

    def send(self, topic: str, key: bytes, value: bytes, origin: Origin) -> None:
        """Queue one record. DeliveryError for one before it that was not taken."""
        headers = replay_headers(origin)
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=self._delivered)  # type: ignore[arg-type]  # its stubs want lists of other types
                break
            except BufferError:  # the queue is full
                self._producer.poll(0.1)
            except KafkaException as error:
                raise self._error(error.args[0].str()) from error
        self._producer.poll(0)
        self._refuse()

    def confirm(self) -> None:
        """Wait until the broker has all that was queued. DeliveryError"""
        left = self._producer.flush(2 * GIVE_UP_MS / 1000)
        self._refuse()
        if left:
            raise self._error(f"{left} records were not confirmed in time")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error)

    def _refuse(self) -> None:
        if self._failed:
            self._producer.purge()
            raise self._error(self._failed[0].str())

    def _error(self, said: str) -> DeliveryError:
        return DeliveryError(
            f"Kafka at {self._bootstrap} has not taken all records: {said}. See that it runs and that this user may"
            " write to the input topics, then run the same command again: what is sent twice changes nothing."
        )
