"""What the doctor asks of Kafka. Nothing is written there, and no consumer group is joined."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked as exported
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.doctor.findings import Finding, note, ok, unknown, wrong
from pipeline.kafka.clients import ConfluentConfig
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.topics import REMEDY, cluster_with, load_topics, topic_problems
from pipeline.topology import EVERY_STEP, NOTIFY, TOPIC_OF, group_of

_T = TypeVar("_T")

ANSWER_S: Final = 10.0
_PAUSE_S: Final = 0.2
CODECS: Final = ("lz4", "snappy", "zstd")
CLOCKS_APART_MS: Final = 5_000
"""Clocks of servers that keep time differ by milliseconds; this much is a clock that nobody sets."""

_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_COMING: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)  # fmt: skip
_EVENTS: Final = ("click", "sign_up", "order", "refund")


class KafkaDoctor:
    """The checks of one Kafka. :meth:`examine` goes first; the others need that it answers."""

    def __init__(self, config: ConfluentConfig, namespace: str, max_lag: int) -> None:
        self._config = config
        self._namespace = namespace
        self._max_lag = max_lag
        self._where = f"Kafka at {config['bootstrap.servers']}"
        self._topics = load_topics()
        self._answers = self._has_topics = False

    def examine(self) -> Iterator[Finding]:
        """Brokers, topics, codecs, groups, clocks."""
        yield from self._broker()
        yield from self._codecs()
        if not self._answers:
            yield from (unknown(check, f"{self._where} does not answer.") for check in ("topics", "groups", "clock"))
            return
        yield from self._checked_topics()
        if not self._has_topics:
            yield unknown("groups", "Topics are missing.")
            yield unknown("clock", "Topics are missing.")
            return
        try:
            ends = self._ends()
        except KafkaException as error:
            text = f"{self._where} does not tell how far its topics reach: {error.args[0].str()}."
            yield wrong("groups", text, "Let this user describe and read the topics, or see the broker's log.")
            yield unknown("clock", "The ends of topics are not known.")
            return
        yield from self._groups(ends)
        yield from self._clocks(ends)

    # -- brokers

    def _broker(self) -> Iterator[Finding]:
        try:
            cluster_with(self._config, [])
        except UnreachableError as error:
            what, _, remedy = str(error).partition(". ")
            yield wrong("kafka", f"{what}.", remedy)
            return
        self._answers = True
        self._admin = AdminClient({**self._config, "log_level": 0})
        told = self._admin.list_topics(timeout=ANSWER_S)
        version = self._version(told)
        brokers = len(told.brokers)
        yield ok("kafka", f"{self._where} answers: {brokers} broker{'s' * (brokers > 1)}, {version}.")

    def _version(self, told: ClusterMetadata) -> str:
        """Brokers do not tell their version; one before 4.0 has a setting with it, which 4.0 removed."""
        resource = ConfigResource(ResourceType.BROKER, str(next(iter(told.brokers))))
        try:
            known = self._admin.describe_configs([resource], request_timeout=ANSWER_S)[resource].result(ANSWER_S)
        except KafkaException:
            return "version not told to this user"
        old = known.get("inter.broker.protocol.version")
        return f"version {old.value}" if old is not None else "version 4.0 or newer"

    def _codecs(self) -> Iterator[Finding]:
        """Faust's driver fails on the first compressed batch that it cannot open."""
        if importlib.util.find_spec("cramjam") is None:
            lacks = list(CODECS)
        else:
            import cramjam

            lacks = [codec for codec in CODECS if not hasattr(cramjam, codec)]
        if lacks:
            remedy = "Install crosscredit with all it needs: pip install --require-hashes -r requirements.lock"
            yield wrong(
                "codecs", f"Batches compressed with {', '.join(lacks)} cannot be read: cramjam is missing.", remedy
            )
        else:
            yield ok("codecs", f"Batches compressed with gzip, {', '.join(CODECS)} can be read.")

    # -- topics

    def _checked_topics(self) -> Iterator[Finding]:
        try:
            problems = topic_problems(self._config, self._topics)
        except UnreachableError as error:
            yield wrong("topics", str(error), "Look at the broker's log.")
            return
        for name, lines in problems.items():
            is_missing = lines == ["It does not exist."]
            remedy = REMEDY if is_missing else _ALTER
            yield wrong("topics", f"{name}: {' '.join(lines)}", remedy)
        told = self._admin.list_topics(timeout=ANSWER_S)
        if not problems:
            count = len(told.topics[TOPIC_OF["click"]].partitions)
            yield ok("topics", f"All {len(self._topics)} topics are as declared, with {count} partitions each.")
        yield from self._copies(told)
        self._has_topics = all(topic.name in told.topics for topic in self._topics)

    def _copies(self, told: ClusterMetadata) -> Iterator[Finding]:
        """The topics are the truth: state and tables are made anew from them, and they from nothing."""
        here = [told.topics[topic.name] for topic in self._topics if topic.name in told.topics]
        parts = [(topic, part) for topic in here for part in topic.partitions.values()]
        leaderless = sorted({str(topic.topic) for topic, part in parts if part.leader < 0})
        if leaderless:
            yield wrong(
                "topics", f"No broker leads partitions of {', '.join(leaderless)}.", "Start the broker that does."
            )
        behind = sorted({str(topic.topic) for topic, part in parts if len(part.isrs) < len(part.replicas)})
        if behind:
            remedy = "Start the broker that is missing, and wait until it has caught up."
            yield note("topics", f"Copies lag or are gone in {', '.join(behind)}.", remedy)
        if any(len(part.replicas) < 2 for _, part in parts):
            remedy = (
                "In production keep three: crosscredit topics create --replication 3 on a cluster of three brokers."
            )
            yield note("topics", "Each record is kept once: with the broker's disk it would be gone.", remedy)

    # -- groups

    def _groups(self, ends: Mapping[tuple[str, int], int]) -> Iterator[Finding]:
        try:
            for name in EVERY_STEP:
                finding = _patiently(partial(self._group, name, group_of(name, self._namespace), ends))
                if finding is not None:
                    yield finding
        except KafkaException as error:
            text = f"{self._where} does not tell about consumer groups: {error.args[0].str()}."
            yield wrong("groups", text, "Let this user describe consumer groups.")

    def _group(self, step: str, group: str, ends: Mapping[tuple[str, int], int]) -> Finding | None:
        topics = {TOPIC_OF[record] for record in EVERY_STEP[step].reads}
        described = self._admin.describe_consumer_groups([group], request_timeout=ANSWER_S)[group]
        members = len(_result(described).members)
        asked = [ConsumerGroupTopicPartitions(group)]
        committed: dict[tuple[str, int], int] = {}
        for answer in self._admin.list_consumer_group_offsets(asked, request_timeout=ANSWER_S).values():
            for each in _result(answer).topic_partitions:
                committed[each.topic, each.partition] = each.offset
        if step == NOTIFY.name and not members and not committed:
            return None  # no worker was ever given endpoints
        mine = {where: end for where, end in ends.items() if where[0] in topics}
        lag = sum(max(0, end - max(0, committed.get(where, 0))) for where, end in mine.items())
        text = f"{group}: {members} member{'s' * (members != 1)}, {lag} records to go."
        if not members and lag:
            return wrong("groups", text, f"No worker runs the step {step}: start one with crosscredit worker.")
        if lag > self._max_lag:
            remedy = "If that grows, add workers (at most one for each partition), or see which step's log complains."
            return wrong("groups", f"{text} More than {self._max_lag}.", remedy)
        if not members:
            return note("groups", text, f"No worker runs the step {step} now.")
        return ok("groups", text)

    def _ends(self) -> dict[tuple[str, int], int]:
        told = self._admin.list_topics(timeout=ANSWER_S).topics
        names = [topic.name for topic in self._topics]
        asked = {TopicPartition(name, number): _LATEST for name in names for number in told[name].partitions}

        def ask() -> dict[tuple[str, int], int]:
            answers = self._admin.list_offsets(asked, request_timeout=ANSWER_S)
            return {(each.topic, each.partition): int(_result(answer).offset) for each, answer in answers.items()}

        return _patiently(ask)

    # -- clocks

    def _clocks(self, ends: Mapping[tuple[str, int], int]) -> Iterator[Finding]:
        """The times of the newest records: those of producers, or with LogAppendTime of the brokers."""
        names = [TOPIC_OF[record] for record in (*_EVENTS, "watermark")]
        kinds = self._time_kinds(names)
        try:
            with closing(LogReader(self._config, group_of("doctor", self._namespace))) as log:
                times = log.times_at({where: end - 1 for where, end in ends.items() if end and where[0] in names})
        except LogUnreadableError as error:
            yield wrong("clock", str(error), "Let this user read the topics.")
            return
        now_ms = time.time() * 1000
        ahead: dict[str, float] = {}
        for (name, _), at_ms in times.items():
            ahead[name] = max(ahead.get(name, 0.0), at_ms - now_ms)
        late = {name: by for name, by in ahead.items() if by > CLOCKS_APART_MS}
        for name, by in late.items():
            whose = "a broker's clock" if kinds.get(name) == "LogAppendTime" else "the clock of who produces it"
            text = f"The newest record of {name} is dated {by / 1000:.0f} s from now: {whose} is ahead, or ours behind."
            yield wrong("clock", text, "Set the clocks by NTP. Lateness and --max-future compare with such times.")
        if not late:
            named = ", ".join(sorted({kinds[name] for name in kinds})) or "not told"
            yield ok("clock", f"No record is dated after now (times of records: {named}).")

    def _time_kinds(self, names: list[str]) -> dict[str, str]:
        resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in names}
        try:
            asked = self._admin.describe_configs(list(resources.values()), request_timeout=ANSWER_S)
            return {
                name: str(asked[resource].result(ANSWER_S)["message.timestamp.type"].value)
                for name, resource in resources.items()
            }
        except KafkaException:
            return {}


_ALTER: Final = (
    "Alter it to what is expected (kafka-configs.sh); with other partitions it cannot be kept, for keys would move: "
    "delete it if its records are not needed, and run crosscredit topics create."
)


def _patiently(ask: Callable[[], _T]) -> _T:
    """Leaders and coordinators change, and those of a new topic or broker have just been chosen."""
    until = time.monotonic() + ANSWER_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _COMING or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)


def _result(future: Any) -> Any:
    return future.result(ANSWER_S)
