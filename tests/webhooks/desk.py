"""One partition of NOTIFY with a real courier, over a log in memory that outlives its disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Self

from pipeline.agents.catch_up import catch_up
from pipeline.agents.notify import FinalMark, NotifyPartition, Standing
from pipeline.agents.outcomes import Outcomes
from pipeline.domain.terms import Catalogue
from pipeline.state.memory import MemoryStore
from pipeline.state.store import NOTIFY_TABLES
from pipeline.topology import NOTIFY, TOPIC_OF, group_of
from pipeline.webhooks.courier import Courier
from pipeline.webhooks.endpoints import Endpoint, Endpoints
from pipeline.webhooks.notices import Notice
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.simulated import FakeLogReader, FakeOutlet, Fate, Log

MESSAGES = Messages(LocalSchemas())
SECRET = b"k" * 32
GROUP = group_of("notify")


def endpoint(name: str, url: str, **options: Any) -> Endpoint:
    options = {"secrets": (SECRET,), "program_id": "friends", "allow_private": True, "timeout_s": 0.5, **options}
    return Endpoint(name, url, **options)


class Desk:
    """Also a context manager. Its clock may be put forward; ``lose_disk`` begins anew on an empty one."""

    def __init__(self, catalogue: Catalogue, endpoints: Sequence[Endpoint], **options: Any) -> None:
        options = {"first_retry_ms": 50, "longest_retry_ms": 200, "give_up_after_ms": 60_000, **options}
        self.endpoints = Endpoints(tuple(endpoints), **options)
        self.catalogue = catalogue
        self.log = Log(1, Random(1), gaps=False)
        self.outcomes = Outcomes(MESSAGES)
        self.ahead_ms = 0
        self.final: FinalMark | None = None
        self.ended: Counter[tuple[str, str]] = Counter()
        self.standing: dict[tuple[int, str], Standing] = {}
        self.attempts: Counter[tuple[str, int]] = Counter()
        self.disk = MemoryStore(NOTIFY_TABLES)
        self._begin()

    def _begin(self) -> None:
        self.courier = Courier(self.endpoints.all, lambda name, status, _: self.attempts.update([(name, status)]))
        self.courier.start()
        outlet = FakeOutlet(self.log, Fate(), Random(1), retries=False)
        self.partition = NotifyPartition(
            0, self.disk, outlet, endpoints=self.endpoints, catalogue=self.catalogue, outcomes=self.outcomes,
            courier=self.courier, final_mark=lambda: self.final,
            on_end=lambda name, outcome: self.ended.update([(name, outcome)]), standing=self.standing,
            clock_ms=lambda: int(time.time() * 1000) + self.ahead_ms,
        )  # fmt: skip
        reader: Any = FakeLogReader(self.log, GROUP, Random(1), lambda: None)
        catch_up(self.partition, NOTIFY, reader, self.outcomes, lambda *_: None, lambda: True)
        self.partition.start()
        self.feed()

    def write(self, record: str, *rows: tuple[Any, ...]) -> None:
        for value in MESSAGES.encode(record, rows):
            self.log.append(TOPIC_OF[record], 0, b"key", value)

    def feed(self) -> None:
        """Take all there is, as the worker does."""
        for record in NOTIFY.reads:
            start = self.log.committed.get((GROUP, TOPIC_OF[record], 0), 0)
            while batch := self.log.batch(TOPIC_OF[record], 0, start, 5):
                self.partition.take(batch)
                start = batch.next_offset

    def commit(self) -> None:
        for record, offset in self.partition.safe_offsets().items():
            self.log.committed[GROUP, TOPIC_OF[record], 0] = offset

    def restart(self, *, lose_disk: bool = False, commit: bool = True) -> None:
        if commit:
            self.commit()
        self.courier.close()
        self.partition.state.close()
        if lose_disk:
            self.disk = MemoryStore(NOTIFY_TABLES)
        self._begin()

    def until(self, holds: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, "it did not come about in time"
            self.feed()
            self.partition.settle()
            time.sleep(0.01)

    def rest(self, seconds: float = 0.3) -> None:
        """Let anything happen that may."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def notices(self) -> dict[tuple[str, str], Notice]:
        """What the topic has in the end."""
        entries = self.log.entries(TOPIC_OF["notice"], 0)
        rows, _ = MESSAGES.decode("notice", [each.value for each in entries])
        return {(row[0], row[1]): Notice(*row) for row in rows}

    def statuses(self) -> Counter[tuple[str, str]]:
        return Counter((each.endpoint, each.status) for each in self.notices().values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.courier.close()
        self.partition.state.close()
