"""Files to topics: every kind of file, every record once and confirmed, and on from where a run was cut off."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.cli import status_of
from pipeline.domain.events import EVENT_TYPES
from pipeline.kafka import produce as module
from pipeline.kafka.broker import LocalBroker
from pipeline.kafka.clients import ConfluentConfig, KafkaSettings, confluent_config
from pipeline.kafka.errors import DeliveryError
from pipeline.kafka.produce import produce
from pipeline.kafka.topics import create_topics, load_topics
from pipeline.wire.files import InputError, open_sources
from pipeline.wire.own_schemas import topic_of
from pipeline.wire.partitioning import partition_of
from pipeline.wire.schema_ids import HEADER_BYTES, LocalSchemas, id_in
from pipeline.wire.writing import write_events
from tests.reference.examples import click, day, order, refund, sign_up

PARTITIONS = 4
Record = tuple[str, int, bytes, dict[str, object]]


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker of this module's own: the topics' names are fixed, and one test ends it."""
    with LocalBroker(tmp_path_factory.mktemp("kafka")) as broker:
        create_topics(confluent_config(KafkaSettings(broker.bootstrap)), load_topics(), partitions=PARTITIONS)
        yield broker


@pytest.fixture
def config(own_broker: LocalBroker) -> ConfluentConfig:
    return confluent_config(KafkaSettings(own_broker.bootstrap))


def read_all(config: ConfluentConfig) -> list[Record]:
    """Topic, partition, key and event of every record in the input topics, in the order of their offsets."""
    schemas = LocalSchemas()
    consumer = Consumer({**config, "group.id": "test", "enable.auto.commit": False})
    found: list[Record] = []
    ends = {}
    for event_type in EVENT_TYPES:
        for partition in range(PARTITIONS):
            part = TopicPartition(topic_of(event_type), partition, 0)
            ends[part.topic, partition] = consumer.get_watermark_offsets(part, timeout=20)[1]
    consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
    while len(found) < sum(ends.values()):
        for message in consumer.consume(10_000, timeout=1):
            assert message.error() is None
            value, key = message.value(), message.key()
            schema = schemas.schema_of(id_in(value))
            event = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), fastavro.parse_schema(schema), None)
            found.append((message.topic(), message.partition(), key, event))
    consumer.close()
    return found


def of_prefix(records: list[Record], prefix: str) -> list[Record]:
    return [record for record in records if str(record[3]["event_id"]).startswith(prefix)]


def clicks(prefix: str, count: int) -> list[dict[str, object]]:
    return [
        click(day(1), event_id=f"{prefix}{number}", visitor_id=f"{prefix}v{number % 50}") for number in range(count)
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "avro", "jsonl.gz", "csv.zst"])
def test_every_kind_of_file_becomes_the_same_records(kind: str, config: ConfluentConfig, tmp_path: Path) -> None:
    prefix = f"{kind}-"
    events = [
        *clicks(prefix, 100),
        sign_up(day(2), event_id=f"{prefix}s"),
        order(day(3), event_id=f"{prefix}o"),
        refund(day(4), 100, event_id=f"{prefix}r"),
    ]
    write_events(tmp_path / f"events.{kind}", events)
    produced = produce(config, LocalSchemas(), open_sources([str(tmp_path)]))
    assert produced.sent == {"click": 100, "sign_up": 1, "order": 1, "refund": 1}
    assert not produced.rejected
    records = of_prefix(read_all(config), prefix)
    assert len(records) == 103
    for topic, partition, key, event in records:
        event_type = EVENT_TYPES[topic.split(".")[1]]
        assert key == str(event[event_type.key_field]).encode()
        assert partition == partition_of(key, PARTITIONS)
    in_order = [event["event_id"] for _, _, key, event in records if key == f"{prefix}v7".encode()]
    assert in_order == [f"{prefix}7", f"{prefix}57"]
    sent = {str(event["event_id"]): event for _, _, _, event in records}
    for given in events:
        at = sent[str(given["event_id"])].pop("occurred_at")
        assert int(at.timestamp() * 1000) == given["occurred_at"]
        present = {name: value for name, value in sent[str(given["event_id"])].items() if value is not None}
        assert present == {name: value for name, value in given.items() if name not in ("type", "occurred_at")}


def test_what_is_no_event_is_kept_apart_with_its_reason(
    config: ConfluentConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = clicks("bad-", 3)
    del events[1]["visitor_id"]
    events[2]["landing_url"] = "x" * 2_000_000
    file, rejected = tmp_path / "events.jsonl", tmp_path / "rejected.jsonl"
    write_events(file, [*events, {"type": "page_view"}, click(day(1), event_id="bad-u", brand_id="unknown")])
    with file.open("ab") as opened:
        opened.write(b'{"type": "click"\n\xff\n')
    bootstrap = str(config["bootstrap.servers"])
    assert status_of(["produce", "--input", str(file), "--bootstrap", bootstrap, "--rejected", str(rejected)]) == 0
    said = capsys.readouterr().out
    assert "7 records = 2 sent and confirmed + 5 not accepted" in said
    assert f"invalid_field, the first is {file}:2" in said
    rows = [json.loads(line) for line in rejected.read_text(encoding="utf-8").splitlines()]
    assert sorted((row["position"], row["reason"]) for row in rows) == [
        (2, "invalid_field"), (3, "too_large"), (4, "malformed"), (6, "malformed"), (7, "malformed"),
    ]  # fmt: skip
    assert {row["position"]: row for row in rows}[7]["raw_base64"] == "/w=="
    assert {str(event["event_id"]) for *_, event in of_prefix(read_all(config), "bad-")} == {"bad-0", "bad-u"}


def test_a_run_that_was_cut_off_goes_on_and_leaves_out_nothing(
    config: ConfluentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_events(tmp_path / f"{name}.jsonl", clicks(f"cut-{name}", 1_000))
    sources = open_sources([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    resume = tmp_path / "progress.json"
    confirm = module._Delivery.confirm
    left = 12

    def cut_off(delivery: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        confirm(delivery)

    with monkeypatch.context() as patch:
        patch.setattr(module._Delivery, "confirm", cut_off)
        with pytest.raises(KeyboardInterrupt):
            produce(config, LocalSchemas(), sources, resume=resume, chunk_records=100)
    rest = produce(config, LocalSchemas(), sources, resume=resume, chunk_records=333)
    assert (rest.records, rest.skipped, rest.sent.total()) == (2_000, 1_100, 900)
    found = {str(event["event_id"]) for *_, event in of_prefix(read_all(config), "cut-")}
    assert found == {f"cut-{name}{number}" for name in ("a", "b") for number in range(1_000)}

    again = produce(config, LocalSchemas(), sources, resume=resume)
    assert (again.skipped, again.sent.total()) == (2_000, 0)
    write_events(tmp_path / "a.jsonl", clicks("cut-c", 10))
    told: list[str] = []
    changed = produce(
        config, LocalSchemas(), open_sources([str(tmp_path / "a.jsonl")]), resume=resume, tell=told.append
    )
    assert changed.sent.total() == 10
    assert "a.jsonl has changed" in told[0]


def test_progress_that_does_not_fit_is_refused(config: ConfluentConfig, tmp_path: Path) -> None:
    file, resume = tmp_path / "events.jsonl", tmp_path / "progress.json"
    write_events(file, clicks("fit-", 1))
    with pytest.raises(InputError, match="standard input cannot be resumed"):
        produce(config, LocalSchemas(), open_sources(["-"]), resume=resume)
    for text, said in (("{}", "is no progress"), ("[", "is no progress")):
        resume.write_text(text)
        with pytest.raises(InputError, match=said):
            produce(config, LocalSchemas(), open_sources([str(file)]), resume=resume)
    resume.write_text('{"format": 1, "cluster": "other", "sources": {}}')
    with pytest.raises(InputError, match=r"another Kafka cluster \(other.*remove it"):
        produce(config, LocalSchemas(), open_sources([str(file)]), resume=resume)


def test_a_record_that_is_not_taken_is_named(
    own_broker: LocalBroker, config: ConfluentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, resume = tmp_path / "events.jsonl", tmp_path / "progress.json"
    write_events(file, clicks("lost-", 1_000))
    monkeypatch.setitem(module._PRODUCER, "message.timeout.ms", 1_500)
    encode = module._Encoder.encode

    def killed_meanwhile(encoder: object, table: object) -> object:
        own_broker.kill()
        return encode(encoder, table)

    with monkeypatch.context() as patch:
        patch.setattr(module._Encoder, "encode", killed_meanwhile)
        with pytest.raises(DeliveryError, match=r"events\.jsonl:\d+ \(click lost-\d+\) was not taken .*--resume FILE"):
            produce(config, LocalSchemas(), open_sources([str(file)]), resume=resume)
    own_broker.start()
    monkeypatch.undo()
    assert produce(config, LocalSchemas(), open_sources([str(file)]), resume=resume).sent.total() == 1_000


def test_missing_topics_and_brokers_are_told_with_status_1(
    config: ConfluentConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.topics._ANSWER_S", 2.0)
    write_events(tmp_path / "events.jsonl", clicks("no-", 1))
    monkeypatch.setattr(module, "topic_of", lambda event_type: f"nowhere.{event_type}")
    assert status_of(["produce", "--input", str(tmp_path), "--bootstrap", str(config["bootstrap.servers"])]) == 1
    assert "has no topic nowhere.click, nowhere.sign_up" in capsys.readouterr().err
    assert status_of(["produce", "--input", str(tmp_path), "--bootstrap", "127.0.0.1:9"]) == 1
    assert "crosscredit stack up" in capsys.readouterr().err
    assert status_of(["produce", "--input", str(tmp_path), "--bootstrap", "nowhere"]) == 2
    assert "Write HOST:PORT" in capsys.readouterr().err
    assert status_of(["topics", "create", "--partitions", "0"]) == 2
