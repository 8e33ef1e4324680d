"""The topic of notices, as operators look at it: what waits, what was given up; and what they want sent again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.agents.log_reader import LogReader
from pipeline.agents.outcomes import Outcomes
from pipeline.kafka.clients import ConfluentConfig
from pipeline.kafka.errors import DeliveryError
from pipeline.topology import TOPIC_OF
from pipeline.webhooks.notices import Notice
from pipeline.wire.messages import row_key

_GIVE_UP_MS: Final = 60_000  # how long a broker may be away
_PRODUCER: Final[ConfluentConfig] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": _GIVE_UP_MS,
    "log_level": 2,
}


class Kept(NamedTuple):
    """A notice as it is now, and the partition whose worker delivers it."""

    partition: int
    notice: Notice


def read_notices(log: LogReader, outcomes: Outcomes, partitions: int) -> list[Kept]:
    """Every notice as it is now, the earliest first.

    :raises LogUnreadableError: Kafka did not answer.
    """
    found: dict[tuple[str, str], Kept] = {}
    ends = log.ends("notice", partitions)
    for batch in log.read_topic(TOPIC_OF["notice"], ends):
        for row in outcomes.rows("notice", batch)[0]:
            notice = Notice(*row)
            found[notice.endpoint, notice.notice_id] = Kept(batch.partition, notice)
    return sorted(found.values(), key=lambda each: (each.notice.created_at, each.notice.notice_id))


def send_again(config: ConfluentConfig, outcomes: Outcomes, notices: Sequence[Kept]) -> None:
    """Have the workers deliver these notices again, under the ids that they have.

    :raises DeliveryError: Kafka did not take all of it; asking again is harmless.
    """
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({**config, **_PRODUCER})
    rows = [each.notice._replace(status="resend") for each in notices]
    for kept, row, output in zip(
        notices, rows, outcomes.outputs("notice", rows, [row_key("notice", row) for row in rows], 0), strict=True
    ):  # fmt: skip
        try:
            producer.produce(output.topic, output.value, output.key, kept.partition, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            raise DeliveryError(f"Kafka did not take {row.notice_id}: {error}. Run the command again.") from error
        producer.poll(0)
    left = producer.flush(_GIVE_UP_MS / 1000 + 5)
    if left or failed:
        why = failed[0].str() if failed else "no answer"
        raise DeliveryError(f"Kafka did not confirm {left + len(failed)} notices: {why}. Run the command again.")
