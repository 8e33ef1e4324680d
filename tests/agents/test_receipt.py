"""What lies in the future is judged by when the broker received it, whatever its producer's clock: on a real broker."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import numpy as np

from pipeline.agents.intake import Intake, Lateness
from pipeline.agents.log_reader import LogReader
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.kafka.topics import create_topics, load_topics
from pipeline.topology import TOPIC_OF
from pipeline.wire.admission import Admission
from pipeline.wire.batches import RecordBatch
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.live import build, producer, running, until
from tests.kafka.shared_broker import unique
from tests.properties.harness import catalogue_from
from tests.reference.examples import DAY, HOUR, click, program

YEAR = 365 * DAY


def read_by_an_agent(broker: str, topic: str, count: int) -> RecordBatch:
    async def scenario() -> RecordBatch:
        app, noted = build(broker, unique("group"), topic)
        async with running(app):
            await until(lambda: len(noted) == count)
        (batch,) = noted.batches
        return batch

    return asyncio.run(scenario())


def read_by_who_restores(broker: str, topic: str, count: int) -> RecordBatch:
    log = LogReader(confluent_config(KafkaSettings(broker)), unique("group"))
    try:
        (batch,) = log.read(topic, 0, 0, count)
    finally:
        log.close()
    return batch


def test_a_producer_whose_clock_is_a_year_ahead_makes_no_event_of_next_year(broker: str) -> None:
    """It stamps its records with the time that it believes in, as all clients do; and another sends what is old."""
    (declared,) = (topic for topic in load_topics() if topic.name == TOPIC_OF["click"])
    topic = replace(declared, name=unique(declared.name))
    create_topics(confluent_config(KafkaSettings(broker)), [topic], partitions=1)
    now = int(time.time() * 1000)
    times = {"next-year": now + YEAR, "in-two-hours": now + 2 * HOUR, "soon": now + HOUR // 2, "old": now - YEAR}
    messages, sending = Messages(LocalSchemas()), producer(broker)
    for event_id, at in times.items():
        event = click(at, event_id=event_id)
        (value,) = messages.encode("click", [[event.get(name) for name in messages.fields("click")]])
        sending.produce(topic.name, value, key=event["visitor_id"].encode(), timestamp=at)
    assert sending.flush(10) == 0

    batch = read_by_an_agent(broker, topic.name, len(times))
    assert all(abs(received - now) < HOUR // 4 for received in batch.timestamps_ms)
    restored = read_by_who_restores(broker, topic.name, len(times))
    assert (restored.offsets, restored.timestamps_ms) == (batch.offsets, batch.timestamps_ms)

    intake = Intake(
        Admission(catalogue_from([program()])), InputDecoder(LocalSchemas()), partitions=1, max_future_ms=HOUR
    )  # fmt: skip
    taken = intake.take(
        replace(batch, topic=TOPIC_OF["click"]), Lateness(None, 0), lambda events: np.zeros(len(events), np.bool_)
    )
    assert [(letter.position, letter.reason) for letter in taken.dead] == [(0, "in_future"), (1, "in_future")]
    assert taken.events.column("event_id").to_pylist() == ["soon", "old"]
