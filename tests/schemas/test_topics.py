"""One YAML file a topic, each with a schema, none orphaned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.domain.events import EVENT_TYPES

SCHEMAS = Path(__file__).parents[2] / "schemas"
TOPICS: dict[str, dict[str, Any]] = {
    path.name.removesuffix(".yaml"): yaml.safe_load(path.read_text()) for path in sorted((SCHEMAS / "topics").iterdir())
}
OUTCOMES = (
    *("attribution", "referral", "ledger_entry", "milestone", "dead_letter", "late_event"),
    *("kept_sign_up", "kept_order", "kept_refund", "watermark", "notice"),
)
KEYS = {
    "topic",
    "description",
    "schema",
    "key",
    "partitions",
    "cleanup_policy",
    "retention_ms",
    "timestamp_type",
    "producers",
    "consumers",
}


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_says_all_there_is_to_say(name: str) -> None:
    topic = TOPICS[name]
    assert set(topic) == KEYS
    assert topic["topic"] == name
    assert topic["partitions"] == 16
    assert topic["cleanup_policy"] in ("compact", "delete")
    assert topic["retention_ms"] == -1 or topic["retention_ms"] > 0
    # What is in the future is judged by the time of receipt, which no producer's clock decides.
    is_input = name.split(".")[1] in EVENT_TYPES
    assert topic["timestamp_type"] == ("LogAppendTime" if is_input else "CreateTime")
    assert topic["description"]
    assert topic["producers"]
    assert topic["consumers"]


@pytest.mark.parametrize("name", TOPICS)
def test_a_topics_key_is_made_of_required_fields_of_its_schema(name: str) -> None:
    schema = json.loads((SCHEMAS / TOPICS[name]["schema"]).read_text())
    types = {field["name"]: field["type"] for field in schema["fields"]}
    assert TOPICS[name]["key"]
    for field in TOPICS[name]["key"]:
        assert types[field] in ("string", "int", "long")


def test_each_schema_has_a_topic_and_each_topic_a_schema() -> None:
    latest = {path.name for path in SCHEMAS.glob("*.v1.avsc")}
    assert {topic["schema"] for topic in TOPICS.values()} == latest
    assert set(TOPICS) == {f"referrals.{name.removesuffix('.avsc')}" for name in latest}


@pytest.mark.parametrize("event_type", EVENT_TYPES.values(), ids=list(EVENT_TYPES))
def test_an_event_topic_is_keyed_as_the_contract_says(event_type: Any) -> None:
    assert TOPICS[f"referrals.{event_type.name}.v1"]["key"] == [event_type.key_field]


@pytest.mark.parametrize("record", OUTCOMES)
def test_outcomes_are_upserts_so_their_topics_are_compacted(record: str) -> None:
    assert TOPICS[f"referrals.{record}.v1"]["cleanup_policy"] == "compact"


def test_each_input_of_a_step_has_a_producer_and_each_output_a_consumer() -> None:
    producers = {name for topic in TOPICS.values() for name in topic["producers"]}
    consumers = {name for topic in TOPICS.values() for name in topic["consumers"]}
    assert producers == {"producers outside", "identity", "credit", "earnings", "notify", "crosscredit webhooks resend"}
    assert consumers == {"identity", "credit", "earnings", "sink", "notify"}
