"""How workers tell each other about watermarks: each says what it knows of the inputs it owns, all listen.

The topic is compacted, so a worker that starts reads the last word about every input.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import BY_KEY, KafkaOutlet, StoppedError
from pipeline.agents.watermarks import Mark, Watermarks
from pipeline.topology import TOPIC_OF
from pipeline.wire.messages import row_key

log = structlog.get_logger()

_ROUND_S: Final = 0.25
_TOPIC: Final = TOPIC_OF["watermark"]

Owned = Callable[[], Iterable[tuple[str, int, int]]]
"""The inputs that this worker owns: topic, partition, and the offset up to which it has read."""


class WatermarkExchange:
    """A thread that speaks and listens."""

    def __init__(
        self, config: Mapping[str, Any], group: str, partitions: int, watermarks: Watermarks, outcomes: Outcomes, *,
        owned: Owned, idle_timeout_ms: int, on_failure: Callable[[BaseException], object] = lambda _: None,
    ) -> None:  # fmt: skip
        """``on_failure`` hears what ended the thread, should that happen."""
        self._watermarks = watermarks
        self._outcomes = outcomes
        self._owned = owned
        self._idle_timeout_s = idle_timeout_ms / 1000
        self._on_failure = on_failure
        self._said: dict[tuple[str, int], Mark] = {}
        self._stopping = threading.Event()
        self._outlet = KafkaOutlet(config, on_trouble=lambda text: log.warning("watermarks not sent", reason=text))
        self._log = LogReader(config, group)
        self._consumer = Consumer(
            {**config, "group.id": f"{group}.watermarks", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        )
        self._consumer.assign([TopicPartition(_TOPIC, each, 0) for each in range(partitions)])
        self._thread = threading.Thread(target=self._run, name="watermarks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what was not said is said by whoever owns the inputs next."""
        self._stopping.set()
        self._outlet.close()
        self._thread.join(5)
        self._consumer.close()
        self._log.close()

    def _run(self) -> None:
        try:
            self._exchange()
        except Exception as error:  # noqa: BLE001  else nobody would notice that the thread has ended
            if not self._stopping.is_set():
                self._on_failure(error)

    def _exchange(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(StoppedError):
                try:
                    self._listen()
                    self._note_silence()
                    self._speak()
                except (KafkaException, LogUnreadableError) as error:
                    log.warning("watermarks are not exchanged", reason=str(error))
                    self._stopping.wait(1.0)

    def _listen(self) -> None:
        owned = {(topic, partition) for topic, partition, _ in self._owned()}
        values = [
            message.value()
            for message in self._consumer.consume(1000, timeout=_ROUND_S)
            if message.error() is None and message.value() is not None
        ]
        for topic, partition, newest_ms, is_idle in self._outcomes.decoded("watermark", values):
            if (topic, partition) not in owned:
                self._watermarks.observe(topic, partition, newest_ms, is_idle=is_idle)

    def _note_silence(self) -> None:
        marks = self._watermarks.marks()
        for topic, partition, offset in self._owned():
            mark = marks.get((topic, partition), Mark(None, False))
            silent = self._watermarks.silent_s(topic, partition) >= self._idle_timeout_s
            if silent and not mark.is_idle and offset >= self._log.bounds(topic, partition)[1]:
                self._watermarks.observe(topic, partition, mark.newest_ms, is_idle=True)

    def _speak(self) -> None:
        marks = self._watermarks.marks()
        owned = [(topic, partition) for topic, partition, _ in self._owned()]
        news = {each: marks[each] for each in owned if each in marks and self._said.get(each) != marks[each]}
        news = {each: mark for each, mark in news.items() if mark != Mark(None, False)}
        rows = [(topic, partition, *mark) for (topic, partition), mark in news.items()]
        if rows:
            keys = [row_key("watermark", row) for row in rows]
            self._outlet.send(self._outcomes.outputs("watermark", rows, keys, BY_KEY))
            self._said.update(news)
