"""Topics: strictly read, created as declared, never altered; against a real Kafka."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipeline.kafka.clients import ConfluentConfig, KafkaSettings, confluent_config
from pipeline.kafka.errors import TopicsError, UnreachableError
from pipeline.kafka.topics import Topic, create_topics, load_topics, verify_topics
from pipeline.wire.own_schemas import schemas_folder
from tests.kafka.shared_broker import unique


@pytest.fixture
def config(broker: str) -> ConfluentConfig:
    return confluent_config(KafkaSettings(broker))


@pytest.fixture
def topics() -> list[Topic]:
    """The declared ones under names of this test's own."""
    return [replace(topic, name=unique(topic.name)) for topic in load_topics()]


def test_topics_are_created_as_declared_and_then_left_alone(config: ConfluentConfig, topics: list[Topic]) -> None:
    with pytest.raises(TopicsError) as told:
        verify_topics(config, topics)
    assert all(f"{topic.name}: it does not exist." in str(told.value) for topic in topics)
    assert "crosscredit topics create" in str(told.value)
    assert create_topics(config, topics[1:]) == [topic.name for topic in topics[1:]]
    assert create_topics(config, topics) == [topics[0].name]
    assert create_topics(config, topics) == []
    verify_topics(config, topics)


def test_whatever_differs_is_refused_with_what_was_expected_and_found(
    config: ConfluentConfig, topics: list[Topic]
) -> None:
    topic = topics[0]
    create_topics(config, [topic], partitions=3)
    verify_topics(config, [topic], partitions=3)
    other_policy = "delete" if topic.cleanup_policy == "compact" else "compact"
    other_clock = "CreateTime" if topic.timestamp_type == "LogAppendTime" else "LogAppendTime"
    wanted = replace(topic, partitions=5, cleanup_policy=other_policy, retention_ms=7, timestamp_type=other_clock)
    for check in (verify_topics, create_topics):
        with pytest.raises(TopicsError) as told:
            check(config, [wanted, topics[1]])
        assert f"{topic.name}: partitions is 3, expected 5." in str(told.value)
        assert f"{topic.name}: cleanup.policy is {topic.cleanup_policy}, expected {other_policy}." in str(told.value)
        assert f"{topic.name}: retention.ms is -1, expected 7." in str(told.value)
        said = f"{topic.name}: message.timestamp.type is {topic.timestamp_type}, expected {other_clock}."
        assert said in str(told.value)
        assert "Alter what exists" in str(told.value)
    with pytest.raises(TopicsError, match="does not exist"):  # a refusal creates nothing
        verify_topics(config, [topics[1]])


def test_a_broker_that_does_not_answer_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.kafka.topics._ANSWER_S", 0.5)
    with pytest.raises(UnreachableError, match=r"No Kafka answers at 127\.0\.0\.1:9 .*crosscredit stack up"):
        verify_topics(confluent_config(KafkaSettings("127.0.0.1:9")), load_topics())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partition": 16}, "the key partition is not known"),
        ({"key": None}, "the key key is missing"),
        ({"partitions": "16"}, "It must be a whole number"),
        ({"partitions": True}, "It must be a whole number"),
        ({"partitions": 0}, "a number from 1"),
        ({"cleanup_policy": "compacted"}, "Use one of compact, delete"),
        ({"retention_ms": -2}, "or -1 for ever"),
        ({"timestamp_type": "EventTime"}, "Use one of CreateTime, LogAppendTime"),
        ({"topic": "another"}, "Name topic and file alike"),
        ({"consumers": "sink"}, "It must be a list of texts"),
    ],
)
def test_a_declaration_that_cannot_be_used_names_file_and_key(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    shutil.copytree(schemas_folder() / "topics", tmp_path / "topics")
    file = tmp_path / "topics" / "referrals.click.v1.yaml"
    declared = {**yaml.safe_load(file.read_text(encoding="utf-8")), **change}
    file.write_text(yaml.safe_dump({key: value for key, value in declared.items() if value is not None}))
    with pytest.raises(TopicsError) as told:
        load_topics(tmp_path)
    assert str(file) in str(told.value)
    assert said in str(told.value)
