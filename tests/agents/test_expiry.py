"""Old clicks leave a worker's state, but not while a binding on its way may still ask for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.agents.identity import Expiry, IdentityPartition
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import Output, Spans
from pipeline.agents.watermarks import Watermarks
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps.identity import IdentityStep
from pipeline.topology import TOPIC_OF
from pipeline.wire.batches import RecordBatch
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas
from tests.steps.test_identity_expiry import NoTruth, clicks

LIFE_MS = 1_000
GRACE_S = 120.0
OUTCOMES = Outcomes(Messages(LocalSchemas()))


class Sent:
    """An outlet that remembers."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    def send(self, outputs: Sequence[Output]) -> Spans:
        self.topics += [output.topic for output in outputs]
        return {}

    def close(self) -> None:
        pass


class World:
    """One partition whose store has clicks dated 100 and 5 000 of one visitor; the watermark is 10 000."""

    def __init__(self, bindings_in_log: int | None) -> None:
        self.store, self.sent, self.now = MemoryStore(), Sent(), 0.0
        facts = WriteBatch()
        IdentityStep(self.store, NoTruth()).add_clicks(clicks({"old": 100, "new": 9_500}), facts)
        self.store.write(facts)
        watermarks = Watermarks([], floor_ms=10_000)
        unused: Any = None
        self.partition = IdentityPartition(
            0, self.store, self.sent, intake=unused, outcomes=OUTCOMES, truth=NoTruth(), sink=unused,
            watermarks=watermarks, allowed_lateness_ms=0, counts=Counter(),
            expiry=Expiry(LIFE_MS, lambda _: bindings_in_log, GRACE_S, lambda: self.now),
        )  # fmt: skip

    def bind(self) -> None:
        """The log's first binding: the visitor is somebody."""
        (output,) = OUTCOMES.outputs("binding", [("acme", "v", "ann")], [b"v"], 0)
        self.partition.take(
            RecordBatch(TOPIC_OF["binding"], 0, [0], [output.key], [output.value], [0], [[]]),
        )

    def kept(self) -> list[bytes]:
        return [key.rsplit(b"\x00", 1)[1] for key, _ in self.store.scan("clicks", b"")]


def test_an_old_click_leaves_after_the_grace_and_a_new_one_stays() -> None:
    world = World(bindings_in_log=0)
    world.partition.settle()
    world.now = GRACE_S - 0.001
    world.partition.settle()
    assert world.kept() == [b"new", b"old"]
    world.now = GRACE_S
    world.partition.settle()
    assert world.kept() == [b"new"]


def test_a_binding_that_was_sent_already_still_gets_the_old_click() -> None:
    world = World(bindings_in_log=1)
    world.partition.settle()
    world.now = 10 * GRACE_S
    world.partition.settle()
    assert world.kept() == [b"new", b"old"]
    world.bind()
    assert world.sent.topics == [TOPIC_OF["touchpoint"]] * 2
    world.partition.settle()
    assert world.kept() == [b"new"]


def test_nothing_leaves_while_kafka_does_not_tell_how_many_bindings_there_are() -> None:
    world = World(bindings_in_log=None)
    for world.now in (0.0, GRACE_S, 2 * GRACE_S):
        world.partition.settle()
    assert world.kept() == [b"new", b"old"]
