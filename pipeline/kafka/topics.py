"""Topics as declared in ``schemas/topics``: read, created where they are missing, and compared with what exists.

Nothing that exists is ever altered: other partitions would send keys elsewhere, another policy could lose records.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # it has no types
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked as exported
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from pipeline.kafka.clients import ConfluentConfig, refusal
from pipeline.kafka.errors import TopicsError, UnreachableError
from pipeline.topology import TOPIC_OF
from pipeline.wire.own_schemas import schemas_folder

_ANSWER_S: Final = 10.0
_CREATE_S: Final = 30.0
_POLICIES: Final = ("compact", "delete")
_TIMESTAMP_TYPES: Final = ("CreateTime", "LogAppendTime")
_KEYS: Final = (
    "topic", "description", "schema", "key", "partitions", "cleanup_policy", "retention_ms", "timestamp_type",
    "producers", "consumers",
)  # fmt: skip

REMEDY: Final = "Run crosscredit topics create."


@dataclass(frozen=True, slots=True)
class Topic:
    """One declared topic. ``key`` names the fields of its records' key, ``retention_ms`` -1 is for ever.

    ``timestamp_type`` says whose clock a record's timestamp is of: the producer's (CreateTime), or the broker's as it
    receives it (LogAppendTime). That of an input is its receipt, by which ``in_future`` is judged.
    """

    name: str
    description: str
    schema: str
    key: tuple[str, ...]
    partitions: int
    cleanup_policy: str
    retention_ms: int
    timestamp_type: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]


def load_topics(schemas: Path | None = None) -> list[Topic]:
    """The topics that ``schemas/topics`` declares, by name. TopicsError names file and key that cannot be used."""
    folder = (schemas or schemas_folder()) / "topics"
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise TopicsError(f"{folder} declares no topic. Name the folder `schemas` of crosscredit.")
    return [_topic(file) for file in files]


def create_topics(
    config: ConfluentConfig, topics: Sequence[Topic], partitions: int | None = None, replication: int = 1
) -> list[str]:
    """Create what is missing and return its names; once it returns, every partition has a leader.

    ``partitions`` goes before the declared numbers, for all topics. TopicsError, before anything is created, if a topic
    exists otherwise than declared; UnreachableError if no broker answers.
    """
    admin = _Admin(config)
    existing = admin.existing()
    _refuse(_mismatches(admin, existing, topics, partitions))
    missing = [topic for topic in topics if topic.name not in existing]
    if missing:
        admin.create([_new(topic, partitions or topic.partitions, replication) for topic in missing])
        admin.await_leaders({topic.name: partitions or topic.partitions for topic in missing})
    return [topic.name for topic in missing]


def verify_topics(config: ConfluentConfig, topics: Sequence[Topic], partitions: int | None = None) -> None:
    """TopicsError with every topic that is missing or otherwise than declared; UnreachableError if nobody answers."""
    admin = _Admin(config)
    existing = admin.existing()
    missing = [f"{topic.name}: it does not exist." for topic in topics if topic.name not in existing]
    problems = missing + _mismatches(admin, existing, topics, partitions)
    if problems:
        remedies = ([REMEDY] if missing else []) + ([_ALTER] if len(problems) > len(missing) else [])
        raise TopicsError("\n".join(["Topics are not as declared in schemas/topics:", *problems, *remedies]))


def verify_all_topics(config: ConfluentConfig) -> int:
    """Verify every declared topic; returns the number of partitions, which all must have alike, whatever it is.

    TopicsError and UnreachableError as :func:`verify_topics`.
    """
    topics = load_topics()
    partitions = _Admin(config).existing().get(TOPIC_OF["click"], topics[0].partitions)
    verify_topics(config, topics, partitions)
    return partitions


def topic_problems(config: ConfluentConfig, topics: Sequence[Topic]) -> dict[str, list[str]]:
    """What is wrong with each topic that is missing or not as declared; all must have as many partitions as the clicks.

    UnreachableError if nobody answers.
    """
    admin = _Admin(config)
    existing = admin.existing()
    found = {topic.name: ["It does not exist."] for topic in topics if topic.name not in existing}
    for line in _mismatches(admin, existing, topics, existing.get(TOPIC_OF["click"])):
        name, _, problem = line.partition(": ")
        found.setdefault(name, []).append(problem)
    return found


def cluster_with(config: ConfluentConfig, names: Sequence[str]) -> str:
    """The id of the cluster. TopicsError if it lacks a topic of these names, UnreachableError if nobody answers."""
    told = _Admin(config).metadata()
    missing = [name for name in names if name not in told.topics]
    if missing:
        raise TopicsError(f"Kafka at {config['bootstrap.servers']} has no topic {', '.join(missing)}. {REMEDY}")
    return str(told.cluster_id)


_ALTER: Final = (
    "Alter what exists to what is expected (kafka-configs.sh), or delete the topic if its records are not needed (with"
    " other partitions it cannot be kept: keys would move), and run crosscredit topics create."
)


def _refuse(mismatches: list[str]) -> None:
    if mismatches:
        raise TopicsError("\n".join(["Topics exist, but not as declared:", *mismatches, _ALTER]))


class _Admin:
    """An admin client whose errors are ours."""

    def __init__(self, config: ConfluentConfig) -> None:
        self._bootstrap = config["bootstrap.servers"]
        self._config = config
        self._said: list[str] = []
        heard: dict[str, Any] = {"error_cb": lambda error: self._said.append(error.str()), "log_level": 0}
        self._client = AdminClient({**config, **heard})

    def metadata(self) -> ClusterMetadata:
        try:
            return self._client.list_topics(timeout=_ANSWER_S)
        except KafkaException as error:
            raise self._unreachable(error) from error

    def existing(self) -> dict[str, int]:
        """The number of partitions of each topic."""
        return {name: len(topic.partitions) for name, topic in self.metadata().topics.items()}

    def configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The configuration of each of these topics."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        asked = self._client.describe_configs(resources, request_timeout=_ANSWER_S)
        try:
            return {
                str(resource.name): {key: str(entry.value) for key, entry in future.result().items()}
                for resource, future in asked.items()
            }
        except KafkaException as error:
            raise self._unreachable(error) from error

    def create(self, topics: list[NewTopic]) -> None:
        for name, future in self._client.create_topics(topics, request_timeout=_CREATE_S).items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else made it meanwhile
                    raise TopicsError(
                        f"{name} cannot be created: {error.args[0].str()}. Create it by hand as schemas/topics declares"
                        " it, or let this user create topics."
                    ) from error

    def await_leaders(self, partitions_of: Mapping[str, int]) -> None:
        until = time.monotonic() + _CREATE_S
        while time.monotonic() < until:
            topics = self.metadata().topics
            if all(
                name in topics
                and len(topics[name].partitions) >= partitions
                and all(each.leader >= 0 for each in topics[name].partitions.values())
                for name, partitions in partitions_of.items()
            ):
                return
            time.sleep(0.05)
        raise UnreachableError(
            f"The topics were created, but Kafka at {self._bootstrap} has no leader for all of them. See its log, then"
            " run this again."
        )

    def _unreachable(self, error: KafkaException) -> UnreachableError:
        self._client.poll(0)  # what went wrong is told here, and nowhere else
        if refused := refusal(self._config, self._said):
            return refused
        told = [text for text in self._said if "brokers are down" not in text]
        why = told[-1] if told else error.args[0].str()
        protocol = self._config.get("security.protocol", "PLAINTEXT")
        return UnreachableError(
            f"No Kafka answers at {self._bootstrap} ({why}). Start one with `crosscredit stack up`, or name yours with"
            " --bootstrap HOST:PORT or CROSSCREDIT_KAFKA_BOOTSTRAP. If one runs there, does that port speak"
            f" CROSSCREDIT_KAFKA_SECURITY_PROTOCOL={protocol}?"
        )


def _mismatches(
    admin: _Admin, existing: Mapping[str, int], topics: Sequence[Topic], partitions: int | None
) -> list[str]:
    here = [topic for topic in topics if topic.name in existing]
    configs = admin.configs([topic.name for topic in here])
    found = []
    for topic in here:
        config = configs[topic.name]
        for what, expected, actual in (
            ("partitions", str(partitions or topic.partitions), str(existing[topic.name])),
            ("cleanup.policy", topic.cleanup_policy, config["cleanup.policy"]),
            ("retention.ms", str(topic.retention_ms), config["retention.ms"]),
            ("message.timestamp.type", topic.timestamp_type, config["message.timestamp.type"]),
        ):
            if expected != actual:
                found.append(f"{topic.name}: {what} is {actual}, expected {expected}.")
    return found


def _new(topic: Topic, partitions: int, replication: int) -> NewTopic:
    config = {
        "cleanup.policy": topic.cleanup_policy,
        "retention.ms": str(topic.retention_ms),
        "message.timestamp.type": topic.timestamp_type,
    }
    return NewTopic(topic.name, num_partitions=partitions, replication_factor=replication, config=config)


def _topic(file: Path) -> Topic:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise TopicsError(f"{file}: is no YAML ({error}). Compare it with its neighbours.") from error
    if not isinstance(read, dict):
        raise TopicsError(f"{file}: has no keys. It needs {', '.join(_KEYS)}.")
    for key in read:
        if key not in _KEYS:
            raise TopicsError(f"{file}: the key {key} is not known. Known are {', '.join(_KEYS)}.")
    for key in _KEYS:
        if key not in read:
            raise TopicsError(f"{file}: the key {key} is missing. Add it.")
    topic = Topic(
        name=_text(file, read, "topic"),
        description=_text(file, read, "description"),
        schema=_text(file, read, "schema"),
        key=_texts(file, read, "key"),
        partitions=_integer(file, read, "partitions"),
        cleanup_policy=_text(file, read, "cleanup_policy"),
        retention_ms=_integer(file, read, "retention_ms"),
        timestamp_type=_text(file, read, "timestamp_type"),
        producers=_texts(file, read, "producers"),
        consumers=_texts(file, read, "consumers"),
    )
    if topic.name != file.stem:
        raise TopicsError(f"{file}: topic is {topic.name}. Name topic and file alike.")
    if topic.cleanup_policy not in _POLICIES:
        raise TopicsError(f"{file}: cleanup_policy is {topic.cleanup_policy}. Use one of {', '.join(_POLICIES)}.")
    if topic.partitions < 1:
        raise TopicsError(f"{file}: partitions is {topic.partitions}. Use a number from 1.")
    if topic.retention_ms != -1 and topic.retention_ms < 1:
        raise TopicsError(f"{file}: retention_ms is {topic.retention_ms}. Use milliseconds, or -1 for ever.")
    if topic.timestamp_type not in _TIMESTAMP_TYPES:
        known = ", ".join(_TIMESTAMP_TYPES)
        raise TopicsError(f"{file}: timestamp_type is {topic.timestamp_type}. Use one of {known}.")
    return topic


def _text(file: Path, read: Mapping[str, object], key: str) -> str:
    value = read[key]
    if not isinstance(value, str) or not value:
        raise TopicsError(f"{file}: {key} is {value!r}. It must be text.")
    return value


def _texts(file: Path, read: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = read[key]
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise TopicsError(f"{file}: {key} is {value!r}. It must be a list of texts.")
    return tuple(value)


def _integer(file: Path, read: Mapping[str, object], key: str) -> int:
    value = read[key]
    if type(value) is not int:
        raise TopicsError(f"{file}: {key} is {value!r}. It must be a whole number.")
    return value
