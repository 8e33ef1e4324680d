"""Files of events sent to the four input topics, each record's delivery confirmed, and resumable.

A chunk of a file is encoded, sent and confirmed before its last position goes into the progress file, so that a run
that ends anyhow, and is run again, leaves out nothing. It may send some records twice: repeats change no outcome.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyruhvro  # type: ignore[import-untyped]  # it has no types
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.domain.events import EVENT_TYPES
from pipeline.kafka.clients import CONFIRMED_DELIVERY, GIVE_UP_MS, ConfluentConfig
from pipeline.kafka.errors import DeliveryError
from pipeline.kafka.produce_progress import Progress, Rejected
from pipeline.kafka.topics import cluster_with
from pipeline.wire.admission import Admitted, AnyTerms, DeadLetter
from pipeline.wire.files import Source
from pipeline.wire.own_schemas import newest_schema, schemas_folder, topic_of
from pipeline.wire.schema_ids import Schemas, header

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another

_CHUNK_RECORDS: Final = 50_000
_FLUSH_S: Final = 2 * GIVE_UP_MS / 1000
_PRODUCER: Final[ConfluentConfig] = {
    **CONFIRMED_DELIVERY,
    "batch.size": 262_144,
    "queue.buffering.max.messages": 2 * _CHUNK_RECORDS,
    "queue.buffering.max.kbytes": 131_072,
    "delivery.report.only.error": True,  # what is neither in the queue nor reported was confirmed
}


@dataclass
class Produced:
    """What a run came to. ``records`` = all ``sent`` + all ``rejected`` + ``skipped`` (confirmed by an earlier run)."""

    records: int = 0
    skipped: int = 0
    sent: Counter[str] = field(default_factory=Counter)  # by event type
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    examples: dict[str, str] = field(default_factory=dict)  # reason to source and position of its first record


def produce(
    config: ConfluentConfig,
    schemas: Schemas,
    sources: Sequence[Source],
    *,
    resume: Path | None = None,
    rejected: Path | None = None,
    tell: Callable[[str], None] = lambda _text: None,
    chunk_records: int = _CHUNK_RECORDS,
) -> Produced:
    """Send all records that can be events to the topics of their types; the others go to ``rejected`` (JSON Lines).

    UnreachableError or TopicsError before anything is sent; DeliveryError names the first record that was not taken;
    InputError for a file that cannot be read, or a progress file that is none.
    """
    topics = [topic_of(event_type) for event_type in EVENT_TYPES]
    cluster = cluster_with(config, topics)
    progress = Progress.read(resume, cluster, sources) if resume is not None else None
    delivery = _Delivery(config)
    encoders = {event_type: _Encoder(event_type, schemas) for event_type in EVENT_TYPES}
    produced = Produced()
    with Rejected(rejected, is_continued=progress is not None and progress.is_begun) as kept:
        for source in sources:
            done = progress.begin(source, tell) if progress is not None else 0
            for chunk in source.chunks_by(AnyTerms(), chunk_records):
                rest = _after(chunk, done)
                dead = list(rest.dead)
                for event_type, table in rest.events.items():
                    too_large = delivery.send(event_type, encoders[event_type], table, source.name)
                    produced.sent[event_type] += table.num_rows - len(too_large)
                    dead += too_large
                delivery.confirm()
                _count(produced, chunk, rest, dead)
                kept.add(dead)
                if progress is not None:
                    progress.confirmed(source, _last_position(chunk))
    return produced


class _Encoder:
    """Tables of one event type to framed Avro values and their keys."""

    def __init__(self, event_type: str, schemas: Schemas) -> None:
        schema = newest_schema(event_type, schemas_folder())
        for each in schema["fields"]:
            if isinstance(each["type"], dict):  # a logical type: its bytes are those of the plain one
                each["type"] = each["type"]["type"]
        self._text = json.dumps(schema)
        self._arrow_schema: pa.Schema = pyruhvro.avro_to_arrow_schema(self._text)
        self._key_field = EVENT_TYPES[event_type].key_field
        self._head = header(schemas.id_of(event_type))

    def encode(self, table: pa.Table) -> tuple[list[str], list[bytes]]:
        """Key and value of each row."""
        arrays = [
            table.column(field.name).combine_chunks().cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)  # of a newer schema than the events here
            for field in self._arrow_schema
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._arrow_schema)
        head = self._head
        bodies = pyruhvro.serialize_record_batch(batch, self._text, 1)[0].to_pylist()
        keys: list[Any] = table.column(self._key_field).to_pylist()
        return keys, [head + body for body in bodies]


class _Delivery:
    """A producer that loses nothing without a word."""

    def __init__(self, config: ConfluentConfig) -> None:
        self._bootstrap = config["bootstrap.servers"]
        self._failed: list[tuple[KafkaError, bytes]] = []
        self._under_way: list[tuple[str, str, list[bytes], pa.Table]] = []
        own: dict[str, Any] = {"on_delivery": self._delivered}
        self._producer = Producer({**config, **_PRODUCER, **own})

    def send(self, event_type: str, encoder: _Encoder, table: pa.Table, source: str) -> list[DeadLetter]:
        """Queue a table's rows; those that are longer than a message may be are returned. DeliveryError."""
        keys, values = encoder.encode(table)
        self._under_way.append((event_type, source, values, table))
        produce, topic = self._producer.produce, topic_of(event_type)
        too_large: list[DeadLetter] = []
        rows = iter(range(len(keys)))
        while some := list(islice(rows, 10_000)):
            for row in some:
                while True:
                    try:
                        produce(topic, values[row], keys[row])
                    except BufferError:  # the queue is full
                        self._producer.poll(0.1)
                        self._refuse()
                        continue
                    except KafkaException as error:
                        if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                            raise self._error(error.args[0], values[row]) from error
                        position = table.column("position")[row].as_py()
                        too_large.append(DeadLetter(source, position, "too_large", values[row]))
                    break
            self._producer.poll(0)
            self._refuse()
        return too_large

    def confirm(self) -> None:
        """Wait until the broker has all that was queued. DeliveryError for the first record that it did not take."""
        left = self._producer.flush(_FLUSH_S)
        self._refuse()
        if left:
            raise DeliveryError(
                f"Kafka at {self._bootstrap} has not confirmed {left} records within {_FLUSH_S:.0f} s. {_AGAIN}"
            )
        self._under_way.clear()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append((error, message.value() or b""))

    def _refuse(self) -> None:
        if self._failed:
            error, value = self._failed[0]
            self._producer.purge()
            raise self._error(error, value)

    def _error(self, error: KafkaError, value: bytes) -> DeliveryError:
        remedy = "Let this user write to the topic" if error.code() in _FORBIDDEN else "See that Kafka runs"
        return DeliveryError(
            f"{self._name(value)} was not taken by Kafka at {self._bootstrap}: {error.str()}. {remedy}. {_AGAIN}"
        )

    def _name(self, value: bytes) -> str:
        for event_type, source, values, table in self._under_way:
            if value in values:
                row = table.slice(values.index(value), 1).to_pylist()[0]
                return f"{source}:{row['position']} ({event_type} {row['event_id']})"
        return "A record"


_FORBIDDEN: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_AGAIN: Final = "Then run the same command again: repeats do no harm, and --resume FILE goes on where it stood."


def _after(chunk: Admitted, position: int) -> Admitted:
    """What stands behind ``position``."""
    if not position:
        return chunk
    events = {}
    for name, table in chunk.events.items():
        rest = table.filter(pc.greater(table.column("position"), pa.scalar(position, pa.uint64())))
        if rest.num_rows:
            events[name] = rest
    dead = [letter for letter in chunk.dead if letter.position > position]
    records = sum(table.num_rows for table in events.values()) + len(dead)
    return Admitted(events, dead, chunk.source, records, chunk.bytes_read)


def _last_position(chunk: Admitted) -> int:
    positions = [int(np.max(table.column("position").to_numpy())) for table in chunk.events.values()]
    return max([*positions, *(letter.position for letter in chunk.dead)], default=0)


def _count(produced: Produced, chunk: Admitted, rest: Admitted, dead: Sequence[DeadLetter]) -> None:
    produced.records += chunk.records
    produced.skipped += chunk.records - rest.records
    for letter in dead:
        produced.rejected[letter.reason] += 1
        produced.examples.setdefault(letter.reason, f"{letter.source}:{letter.position}")
