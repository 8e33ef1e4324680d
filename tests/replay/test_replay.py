"""Which letters are sent in again, and what a step makes of them: without a broker, with the real intake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.agents.intake import Intake, Lateness, Taken
from pipeline.agents.letters import Letter
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.replayed import REPLAY_HEADER, Origin, origin_in, replay_headers
from pipeline.cli import status_of
from pipeline.replay.replay import NOT_AN_INPUT, Filter, Replay, Replayed
from pipeline.topology import TOPIC_OF
from pipeline.wire.admission import Admission
from pipeline.wire.batches import RecordBatch
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.messages import Messages
from pipeline.wire.partitioning import partition_of
from pipeline.wire.schema_ids import HEADER_BYTES, LocalSchemas, UnknownSchemaError, header
from tests.properties.harness import catalogue_from
from tests.reference.examples import click, day, order, program, sign_up

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
FOREIGN_ID = 4_711
MESSAGES = Messages(LocalSchemas())


class Registry:
    """Schemas of which one, with an id of its own, is unknown until somebody registers it."""

    def __init__(self) -> None:
        self._local = LocalSchemas()
        self.is_mended = False

    def id_of(self, record: str) -> int:
        return self._local.id_of(record)

    def schema_of(self, schema_id: int) -> Any:
        if schema_id == FOREIGN_ID:
            if not self.is_mended:
                raise UnknownSchemaError
            return self._local.schema_of(self._local.id_of("order"))
        return self._local.schema_of(schema_id)


def value_of(event: dict[str, Any]) -> bytes:
    record = event["type"]
    return MESSAGES.encode(record, [[event.get(name) for name in MESSAGES.fields(record)]])[0]


def letter(event: dict[str, Any], reason: str = "late", position: int = 7) -> Letter:
    return Letter(f"{TOPIC_OF[event['type']]}/0", str(position), reason, value_of(event))


def replay(letters: list[Letter], wanted: Filter | None = None, schemas: Any = None) -> Replayed:
    admission = Admission(catalogue_from([program()]))
    judged = Replay(
        "dead_letter", admission, InputDecoder(schemas or LocalSchemas()), max_future_ms=HOUR_MS,
        clock_ms=lambda: NOW_MS,
    )  # fmt: skip
    return judged.run(letters, wanted or Filter(), None)


def test_what_can_be_admitted_now_is_sent_and_the_rest_says_why() -> None:
    found = replay(
        [
            letter(click(day(1))),
            letter(sign_up(day(2)), "in_future"),
            letter({**order(day(3)), "occurred_at": NOW_MS + HOUR_MS + 1}, "in_future"),
            letter({**order(day(3)), "brand_id": "nobodys"}, "unknown_brand"),
            letter(order(day(4)), "duplicate_order"),
            Letter(f"{TOPIC_OF['order']}/3", "9", "malformed", b"junk"),
            Letter(f"{TOPIC_OF['contribution']}/3", "9", "malformed", b"junk"),
        ]
    )
    assert found.sent == {"click": 1, "sign_up": 1}
    assert found.refused == {
        "in_future": 1, "unknown_brand": 1, "duplicate_order": 1, "malformed": 1, NOT_AN_INPUT: 1,
    }  # fmt: skip
    assert found.examples["malformed"] == f"{TOPIC_OF['order']}/3:9"
    assert found.standing == found.sent.total() + found.left_out + found.refused.total()


def test_filters_leave_the_others_out() -> None:
    letters = [letter(sign_up(day(each)), position=each) for each in range(1, 6)]
    days = [event["occurred_at"] for event in map(sign_up, map(day, range(1, 6)))]
    assert replay(letters, Filter(since_ms=days[1], until_ms=days[3])).sent.total() == 2
    assert replay(letters, Filter(brands=frozenset({"nobodys"}))).left_out == 5
    assert replay(letters, Filter(reasons=frozenset({"malformed"}))).left_out == 5


def test_a_mended_registry_lets_a_dead_letter_in_and_its_row_is_withdrawn() -> None:
    registry = Registry()
    value = header(FOREIGN_ID) + value_of(order(day(3)))[HEADER_BYTES:]
    key = order(day(3))["customer_id"].encode()
    number = partition_of(key, 4)
    intake = Intake(
        Admission(catalogue_from([program()])), InputDecoder(registry), partitions=4, max_future_ms=HOUR_MS
    )  # fmt: skip

    def taken(offset: int, headers: Any = ()) -> Taken:
        batch = RecordBatch(TOPIC_OF["order"], number, [offset], [key], [value], [NOW_MS], [headers])
        return intake.take(batch, Lateness(NOW_MS, 0), lambda events: np.zeros(len(events), dtype=np.bool_))

    (dead,) = taken(5).dead
    assert dead.reason == "malformed"
    found = [Letter(dead.source, str(dead.position), dead.reason, dead.raw)]
    assert replay(found, schemas=registry).refused == {"malformed": 1}
    registry.is_mended = True
    assert replay(found, schemas=registry).sent == {"order": 1}

    origin = Origin("dead_letter", dead.source, "5", "malformed")
    again = taken(6, replay_headers(origin))
    assert len(again.events) == 1
    assert not again.late
    outcomes = Outcomes(MESSAGES)
    (first,) = outcomes.letters("dead_letter", [dead], number)
    (withdrawn,) = outcomes.refused(again, number)
    assert withdrawn[:3] == first[:3]  # topic, partition and key: of the two the last remains
    assert outcomes.decoded("dead_letter", [withdrawn.value]) == [(dead.source, "5", "malformed", value, 2, 1)]


def test_a_record_that_is_refused_again_withdraws_nothing() -> None:
    intake = Intake(
        Admission(catalogue_from([program()])), InputDecoder(LocalSchemas()), partitions=1, max_future_ms=HOUR_MS
    )  # fmt: skip
    headers = replay_headers(Origin("dead_letter", "referrals.order.v1/0", "5", "malformed"))
    batch = RecordBatch(TOPIC_OF["order"], 0, [6], [b"c"], [b"junk"], [NOW_MS], [headers])
    taken = intake.take(batch, Lateness(None, 0), lambda events: np.zeros(len(events), dtype=np.bool_))
    assert taken.replayed == []
    assert len(taken.dead) == 1


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\xff", b"[]", b'["late_event","a","1"]', b'["late_event","a",1,"late"]',
                b'["milestone","a","1","late"]', b'{"late_event":1}'],
)  # fmt: skip
def test_a_header_that_names_nothing_is_passed_over(content: bytes) -> None:
    assert origin_in([(REPLAY_HEADER, content)]) is None


def test_a_header_holds_any_name() -> None:
    origin = Origin("late_event", 'a/"é\x00', "1", "late")
    assert origin_in(replay_headers(origin)) == origin
    assert origin_in([]) is None


def test_unusable_arguments_name_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["replay", "late", "--since", "yesterday"]) == 2
    assert "Write 2026-03-01" in capsys.readouterr().err
