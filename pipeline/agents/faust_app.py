"""A Faust app with the batch transport, for one step, with every setting of Faust that matters pinned."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, cast

import faust
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]  # it has no types
from faust.app.base import BootStrategy
from faust.serializers.schemas import Schema
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list
from faust.types import AgentT, AppT, Message
from faust.types.assignor import PartitionAssignorT
from faust.types.auth import CredentialsT
from faust.types.transports import TransportT
from mode.utils.objects import cached_property

from pipeline.agents.assignor import KeepingAssignor
from pipeline.agents.transport import BatchConsumer, BatchLimits, BatchTransport


class TopicsError(Exception):
    """The topics that an app reads do not fit: one is missing, or their numbers of partitions differ."""


class _BatchSchema(Schema):  # type: ignore[type-arg]  # of keys and values that it does not look at
    """Hands the batch through: Faust decodes nothing."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> Any:  # noqa: ARG002  Faust's signature
        return None

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Any:  # noqa: ARG002  as above
        return message.value


class _ConsumerOnly(BootStrategy):
    enable_kafka_producer = False  # outputs go out through confluent-kafka, which tells when they are acknowledged
    enable_web = False  # Faust's would listen on 0.0.0.0:6066, whatever web_enabled says


class StepApp(faust.App):
    """One step's Faust app. ``await app.start()`` returns when it has partitions; ``await app.stop()`` is bounded."""

    BootStrategy = _ConsumerOnly
    limits: BatchLimits
    assignment_file: Path | None = None

    @cached_property
    def assignor(self) -> PartitionAssignorT:
        """The group's assignor, as this member has it."""
        return KeepingAssignor(self, self.assignment_file, self.conf.broker_session_timeout)

    @property
    def batches(self) -> BatchConsumer:
        """The consumer, for safe offsets, `pause`, `resume` and `seek`."""
        return cast(BatchConsumer, self.consumer)

    def is_alive(self) -> None:
        """Call every second or so: see :meth:`KeepingAssignor.is_alive`."""
        cast(KeepingAssignor, self.assignor).is_alive()

    @property
    def failure(self) -> BaseException | None:
        """Why the app has given up, if it has: it then delivers nothing more and must be stopped."""
        return self.crash_reason if self._crashed.is_set() else None

    async def start(self) -> None:
        """Start, and wait until the group has given partitions to this worker.

        Raises:
            TopicsError: a topic that an agent reads is missing, or not co-partitioned with the others.
        """
        await self._verify_topics()
        await super().start()
        if self.failure is not None:
            raise self.failure

    async def on_stop(self) -> None:
        """Call when the app stops: agents may finish the batch in hand, and what is safe is committed."""
        if self._consumer is not None:
            await self.batches.release()
        await super().on_stop()

    def agent(self, channel: Any = None, **options: Any) -> Any:
        """As Faust's. An agent that raises fails the app: Faust would go on with the next batch and skip this one."""
        if options.get("concurrency", 1) != 1:
            raise ValueError("agents have concurrency 1: batches of a partition are handled in order")
        return super().agent(channel, **options)

    async def _on_agent_error(self, agent: AgentT[Any], exc: BaseException) -> None:
        self.batches.halt()
        self.log.error("Agent %s failed, the app stops here: %r", agent.name, exc)
        await self.batches.commit()  # a crash ends the Kafka client at once
        await self.crash(exc)

    async def _verify_topics(self) -> None:
        wanted = sorted({str(name) for agent in self.agents.values() for name in agent.get_topic_names()})
        servers = server_list(self.conf.broker_consumer, 9092)
        client = AIOKafkaClient(
            bootstrap_servers=servers, request_timeout_ms=10_000,
            **credentials_to_aiokafka_auth(self.conf.broker_credentials, self.conf.ssl_context),
        )  # fmt: skip
        try:
            await client.bootstrap()
            cluster = await client.fetch_all_metadata()
            partitions = {name: len(cluster.partitions_for_topic(name) or ()) for name in wanted}
        finally:
            await client.close()
        if missing := [name for name, count in partitions.items() if not count]:
            raise TopicsError(f"missing on {servers[0]}: {', '.join(missing)}; create them with 'crosscredit topics'")
        if len(set(partitions.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in partitions.items())
            raise TopicsError(
                f"the inputs of one step need the same number of partitions, and have: {counts}; "
                "create the topic that differs anew under another name, and point the step to it"
            )

    def _new_transport(self) -> TransportT:
        transport = BatchTransport(self.conf.broker_consumer, self)
        transport.limits = self.limits
        return transport

    _new_producer_transport = _new_transport

    def _create_directories(self) -> None:
        """Nothing: Faust would make a folder for tables that there are none of."""


def make_app(
    step: str,
    bootstrap: str,
    *,
    group: str,
    instance_id: str | None = None,
    credentials: CredentialsT | None = None,
    ssl_context: ssl.SSLContext | None = None,
    session_timeout_s: float = 10.0,
    rebalance_timeout_s: float = 30.0,
    max_poll_interval_s: float = 300.0,
    commit_interval_s: float = 1.0,
    limits: BatchLimits | None = None,
    assignment_file: Path | None = None,
) -> StepApp:
    """A Faust app for one step, not started. Call it inside the loop that the app will run in.

    Args:
        step: the step's name, for logs and the client id.
        bootstrap: ``host:port[,host:port…]``.
        group: the consumer group.
        instance_id: the worker's static id in the group, unique in it. A worker that comes back within
            ``session_timeout_s`` gets its partitions at once and disturbs nobody; one that stops for good keeps them
            for that long. None for a member that leaves the group when it stops.
        credentials: Faust's ``SASLCredentials`` or ``SSLCredentials``; None for plain text.
        ssl_context: for TLS without credentials.
        session_timeout_s: after which a silent worker loses its partitions.
        rebalance_timeout_s: how long the group waits for a worker to give up its partitions; more than the limits'
            ``finish_s`` and ``commit_s`` together.
        max_poll_interval_s: after which a worker whose loop is stuck leaves the group. Time that an agent *awaits* does
            not count: bound every await.
        commit_interval_s: between commits of safe offsets.
        limits: sizes and waits of the batches.
        assignment_file: where the last assignment is kept, so that a restart is none to the group.
    """
    limits = limits or BatchLimits()
    if limits.finish_s + limits.commit_s >= rebalance_timeout_s:
        raise ValueError(
            f"finish_s {limits.finish_s} and commit_s {limits.commit_s} must fit into rebalance_timeout_s "
            f"{rebalance_timeout_s}: a worker that takes longer loses its partitions in the middle"
        )
    app = StepApp(
        group,
        env={},  # Faust lets the environment (BROKER_SESSION_TIMEOUT, DEBUG, …) overrule what is set here
        autodiscover=False,  # agents are declared by our own composition root
        version=1,  # any other is appended to the consumer group's name
        broker=[f"kafka://{server.strip()}" for server in bootstrap.split(",")],
        broker_client_id=f"crosscredit-{step}",
        broker_credentials=credentials,
        ssl_context=ssl_context,
        consumer_group_instance_id=instance_id,
        consumer_auto_offset_reset="earliest",  # a new group begins at the beginning; "latest" would skip silently
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=min(session_timeout_s / 4, 1.0),  # by it members hear that the group rebalances
        broker_rebalance_timeout=rebalance_timeout_s,
        broker_request_timeout=max(40.0, session_timeout_s + 10.0),  # a join may take as long as a rebalance
        broker_max_poll_interval=max_poll_interval_s,
        broker_max_poll_records=None,  # the batch limits bound a poll
        consumer_max_fetch_size=limits.fetch_partition_bytes,
        broker_check_crcs=True,  # 0.1 µs a record
        broker_commit_interval=commit_interval_s,
        broker_commit_every=2**31,  # by time only: the transport commits safe offsets, not acknowledged events
        processing_guarantee="at_least_once",  # exactly_once loses and repeats; ids and upserts make repeats harmless
        stream_wait_empty=False,  # Faust's wait has no end; the transport's own is bounded
        stream_buffer_maxsize=16,  # batches, not records; the transport hands over one at a time
        stream_recovery_delay=0.0,  # there are no tables to recover
        topic_allow_declare=False,  # topics are created by 'crosscredit topics', with their settings
        topic_disable_leader=True,  # else Faust subscribes to a leader topic of its own
        table_standby_replicas=0,
        store="memory://",
        web_enabled=False,
        cython_optimizations=False,  # its quick path "has never run in production", and gains nothing by batch
        Schema=_BatchSchema,
    )
    app.limits = limits
    app.assignment_file = assignment_file
    return app
