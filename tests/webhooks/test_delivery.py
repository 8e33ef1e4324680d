"""Whatever a receiver does, it gets each notice at least once, under one id, in order for one referral."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.agents.notify import FinalMark
from pipeline.domain.terms import Catalogue, Milestone, Partner, Program, Terms
from pipeline.kafka.broker import free_port
from pipeline.topology import TOPIC_OF
from pipeline.webhooks.courier import Answer, Courier, Job
from tests.webhooks.desk import GROUP, SECRET, Desk, endpoint
from tests.webhooks.receiver import Receiver

T0 = 1_772_373_600_000  # 2026-03-01 14:00 UTC

TERMS = Terms(
    "friends", "roastery", "USD", 1, 0,
    milestones=(
        Milestone("alone", "qualified_referrals", 1, "all_time"),
        Milestone("together", "qualified_referrals", 2, "all_time", "group", ("bakery", "florist")),
    ),
    partners={each: Partner(each, each.title()) for each in ("bakery", "florist", "baker")},
)  # fmt: skip
CATALOGUE = Catalogue.of([Program((TERMS,))])

PATIENT = {"first_retry_ms": 60_000, "longest_retry_ms": 60_000}


def referral(
    customer: str, status: str, version: int, qualified: int | None = None, reverse: int | None = None,
    partner: str = "bakery",
) -> tuple[Any, ...]:  # fmt: skip
    return ("friends", customer, partner, status, "", T0, qualified, reverse, 1, T0, version, 0)


def milestone(name: str, scope_key: str, status: str, version: int, *times: int) -> tuple[Any, ...]:
    reached, revoked = (*times, None, None)[:2]
    return ("friends", name, scope_key, "all", status, 1, 1, reached, revoked, 1, T0, version, 0)


def qualified(*customers: str) -> list[tuple[Any, ...]]:
    return [referral(each, "qualified", 1, T0 + number) for number, each in enumerate(customers)]


def hashed(customer: str) -> str:
    return hashlib.sha256(f"roastery {customer}".encode()).hexdigest()[:12]


def test_what_is_no_notice_is_a_dead_letter_and_holds_nothing_up() -> None:
    with Receiver() as receiver, Desk(CATALOGUE, [endpoint("bakery", receiver.url, partner_id="bakery")]) as desk:
        for value in (b"poison", b"", None):
            desk.log.append(TOPIC_OF["notice"], 0, b"key", value)
        desk.write("referral", referral("c-1", "qualified", 1, T0))
        desk.until(lambda: len(receiver.taken()) == 1)
        letters, _ = desk.outcomes.rows("dead_letter", desk.log.batch(TOPIC_OF["dead_letter"], 0, 0, 10))
        assert [(source, position, reason, raw) for source, position, reason, raw, *_ in letters] == [
            ("referrals.notice.v1/0", str(offset), "malformed", raw) for offset, raw in enumerate((b"poison", b"", b""))
        ]


def test_what_a_partner_gets() -> None:
    with Receiver() as receiver, Desk(CATALOGUE, [endpoint("bakery", receiver.url, partner_id="bakery")]) as desk:
        desk.write("referral", referral("c-1", "qualified", 1, T0), referral("c-1", "reversed", 2, T0, T0 + 5))
        desk.until(lambda: len(receiver.taken()) == 2)
        first, second = receiver.taken()
        assert first.json == {
            "type": "referral.qualified",
            "timestamp": "2026-03-01T14:00:00.000Z",
            "data": {
                "program_id": "friends", "partner_id": "bakery", "customer": "5ad16696f768",
                "signed_up_at": "2026-03-01T14:00:00.000Z", "qualified_at": "2026-03-01T14:00:00.000Z",
                "reversed_at": None, "terms_version": 1, "is_final": False,
            },
        }  # fmt: skip
        assert second.json["type"] == "referral.reversed"
        assert second.json["timestamp"] == second.json["data"]["reversed_at"] == "2026-03-01T14:00:00.005Z"
        assert second.json["data"]["reason"] == "refund"
        assert b"c-1" not in first.body + second.body
        assert first.headers["content-type"] == "application/json"

        desk.write("milestone", milestone("together", "bakery+florist", "reached", 3, T0))
        desk.until(lambda: len(receiver.taken()) == 3)
        assert receiver.taken()[2].json["data"] == {
            "program_id": "friends", "milestone_id": "together", "scope": "group", "partner_ids": ["bakery", "florist"],
            "period": "all", "count": 1, "threshold": 1, "reached_at": "2026-03-01T14:00:00.000Z", "revoked_at": None,
            "terms_version": 1, "is_final": False,
        }  # fmt: skip
        desk.until(lambda: desk.statuses() == {("bakery", "delivered"): 3})
        assert desk.ended == {("bakery", "delivered"): 3}


def test_receivers_verify_signatures_with_the_published_library() -> None:
    new = b"n" * 24
    with Receiver() as receiver:
        with Desk(CATALOGUE, [endpoint("bakery", receiver.url, secrets=(new, SECRET))]) as desk:
            desk.write("referral", *qualified("c-1"))
            desk.until(receiver.taken)
        (got,) = receiver.taken()
    for key in (SECRET, new):
        assert Webhook(key).verify(got.body.decode(), got.headers) == got.json
    with pytest.raises(WebhookVerificationError):
        Webhook(b"o" * 32).verify(got.body.decode(), got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.decode().replace("bakery", "florist"), got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.decode(), {**got.headers, "webhook-id": "msg_other"})


def test_who_gets_what() -> None:
    with Receiver() as receiver:
        names = {
            "bakery": {"partner_id": "bakery"}, "florist": {"partner_id": "florist"}, "baker": {"partner_id": "baker"},
            "brand": {}, "other": {"program_id": "other"}, "few": {"types": frozenset({"milestone.reached"})},
            "new": {"since_ms": T0 + 1},
        }  # fmt: skip
        endpoints = [endpoint(name, receiver.url, **options) for name, options in names.items()]
        with Desk(CATALOGUE, endpoints) as desk:
            desk.write("referral", *qualified("c-1"))
            desk.write(
                "milestone", milestone("together", "bakery+florist", "reached", 1, T0),
                milestone("alone", "baker", "reached", 1, T0 + 1), milestone("all", "*", "reached", 1, T0),
            )  # fmt: skip
            desk.until(lambda: sum(desk.ended.values()) == 15)
            desk.rest(0.1)
            told = {name: set[str]() for name in names}
            for (name, _), each in desk.notices().items():
                told[name].add(each.subject.split('"')[5])
    everything = {"c-1", "together", "alone", "all"}
    assert told == {
        "bakery": {"c-1", "together", "all"}, "florist": {"together", "all"}, "baker": {"alone", "all"},
        "brand": everything, "other": set(), "few": everything - {"c-1"}, "new": {"alone"},
    }  # fmt: skip
    assert len({each.id for each in receiver.taken()}) == 4  # one id for all who are told the same


def test_one_that_answers_500_or_too_late_gets_it_again_under_the_same_id_and_in_order() -> None:
    with Receiver(lambda n: 500 if n < 3 else 200) as receiver:
        with Desk(CATALOGUE, [endpoint("bakery", receiver.url)]) as desk:
            receiver.delay_s = 0.8  # longer than the endpoint's patience
            desk.write(
                "referral", referral("c-1", "qualified", 1, T0), referral("c-1", "reversed", 2, T0, T0 + 5),
                referral("c-1", "qualified", 3, T0 + 9),
            )  # fmt: skip
            desk.until(lambda: len(receiver.requests) == 4)
            receiver.delay_s = 0.0
            desk.until(lambda: desk.ended["bakery", "delivered"] == 3)
            assert desk.statuses() == {("bakery", "delivered"): 3}
        kinds = [(each.json["type"], each.json["timestamp"]) for each in receiver.requests]
        assert kinds == sorted(kinds, key=lambda kind: kind[1])  # never a later one before an earlier one was taken
        assert len({each.id for each in receiver.requests}) == 3
        assert len(receiver.requests) > 5


def test_one_that_is_down_holds_up_nobody_and_gets_everything_when_it_is_back() -> None:
    port = free_port()
    customers = [f"c-{number}" for number in range(60)]
    with Receiver() as other:
        here, down = endpoint("here", other.url), endpoint("down", f"http://127.0.0.1:{port}/")
        with Desk(CATALOGUE, [down, here]) as desk:
            desk.write("referral", *qualified(*customers))
            desk.until(lambda: desk.ended["here", "delivered"] == 60)
            desk.rest(0.5)
            # Asked whether it is back, not stormed.
            assert 5 <= desk.attempts["down", 0] <= 12
            desk.rest(0.6)
            assert desk.standing[0, "down"].waiting == 60
            assert desk.standing[0, "here"] == (0, None)
            desk.restart()
            with Receiver(port=port) as back:
                desk.until(lambda: desk.ended["down", "delivered"] == 60)
                assert len({each.id for each in back.taken()}) == 60


@pytest.mark.parametrize(
    ("status", "headers", "word"),
    [(302, {"location": "http://127.0.0.1:1/"}, "redirect"), (400, {}, "400: said"), (410, {}, "410")],
)
def test_what_is_refused_ends_on_the_dead_list_and_is_sent_again_when_asked(
    status: int, headers: dict[str, str], word: str
) -> None:
    with (
        Receiver(lambda _: status, **headers) as receiver,
        Desk(CATALOGUE, [endpoint("bakery", receiver.url)], give_up_after_ms=400) as desk,
    ):
        desk.write("referral", *qualified("c-1"))
        desk.until(lambda: desk.ended["bakery", "dead"] == 1)
        (dead,) = desk.notices().values()
        assert dead.status == "dead"
        assert word in dead.reason
        assert len(receiver.requests) == dead.attempts
        assert dead.attempts == 1 if status == 410 else dead.attempts > 1
        desk.restart(lose_disk=True)
        desk.rest()
        assert len(receiver.requests) == dead.attempts  # a dead list that lasts

        receiver.answers = lambda _: 200
        desk.write("notice", dead._replace(status="resend"))
        desk.until(receiver.taken)
        assert {each.id for each in receiver.requests} == {dead.notice_id}
        assert {each.body for each in receiver.requests} == {dead.body.encode()}
        desk.until(lambda: desk.statuses() == {("bakery", "delivered"): 1})


def test_a_delivered_one_is_sent_again_when_asked_and_one_that_waits_need_not_wait_any_longer() -> None:
    with (
        Receiver(lambda n: 503 if n == 1 else 200) as receiver,
        Desk(CATALOGUE, [endpoint("bakery", receiver.url)], **PATIENT) as desk,
    ):
        desk.write("referral", *qualified("c-1"))
        desk.until(lambda: desk.ended["bakery", "delivered"] == 1)
        desk.write("notice", *(each._replace(status="resend") for each in desk.notices().values()))
        desk.until(lambda: len(receiver.requests) == 2)  # refused: a minute to wait
        desk.rest()
        assert len(receiver.requests) == 2
        desk.write("notice", *(each._replace(status="resend") for each in desk.notices().values()))
        desk.until(lambda: len(receiver.taken()) == 2)
        desk.until(lambda: desk.statuses() == {("bakery", "delivered"): 1})
        desk.restart(commit=False)  # the group does not know that it was taken
        desk.restart(commit=False, lose_disk=True)
        desk.rest()
        assert len({each.id for each in receiver.requests}) == 1


@pytest.mark.parametrize("lose_disk", [False, True])
@pytest.mark.parametrize("commit", [False, True])
def test_after_a_restart_nothing_is_told_twice_and_nothing_is_missing(lose_disk: bool, commit: bool) -> None:
    with Receiver() as receiver, Desk(CATALOGUE, [endpoint("bakery", receiver.url)]) as desk:
        desk.write("referral", *qualified("c-1", "c-2"))
        desk.write("milestone", milestone("alone", "bakery", "reached", 1, T0))
        desk.until(lambda: desk.ended["bakery", "delivered"] == 3)
        receiver.answers = lambda _: 500
        desk.write("referral", *qualified("c-3"), referral("c-1", "reversed", 2, T0, T0 + 5))
        desk.until(lambda: len(receiver.requests) >= 7)
        desk.restart(lose_disk=lose_disk, commit=commit)
        receiver.answers = lambda _: 200
        desk.write("referral", referral("c-1", "qualified", 3, T0 + 7), *qualified("c-1", "c-2", "c-3"))
        desk.write("milestone", milestone("alone", "bakery", "reached", 1, T0))
        desk.until(lambda: len(receiver.taken()) == 6)
        desk.rest()
        taken = receiver.taken()
        assert len(taken) == len({each.id for each in taken}) == 6
        of_one = [each.json["type"] for each in taken if each.json["data"].get("customer") == "5ad16696f768"]
        assert of_one == ["referral.qualified", "referral.reversed", "referral.qualified"]
        assert desk.statuses() == {("bakery", "delivered"): 6}


@pytest.mark.parametrize("commit", [False, True])
def test_what_was_told_is_learned_where_rows_are_gone_by_compaction(commit: bool) -> None:
    """Qualified, corrected, and corrected back: who knows the last row alone would take that for the first."""
    rows = [referral("c-1", "qualified", 1, T0), referral("c-1", "pending", 2), referral("c-1", "qualified", 3, T0)]
    with Receiver() as receiver:
        with Desk(CATALOGUE, [endpoint("bakery", receiver.url)]) as desk:
            desk.write("referral", *rows)
            desk.until(lambda: desk.ended["bakery", "delivered"] == 3)
            sent = desk.log.entries(TOPIC_OF["notice"], 0)
        with Desk(CATALOGUE, [endpoint("bakery", receiver.url)]) as desk:
            desk.write("referral", rows[-1])
            for each in sent:
                desk.log.append(TOPIC_OF["notice"], 0, each.key, each.value)
            if commit:
                desk.log.committed[GROUP, TOPIC_OF["referral"], 0] = 1
            desk.restart(lose_disk=True, commit=False)
            desk.write("referral", referral("c-1", "pending", 4))
            desk.until(lambda: len(receiver.taken()) == 4)
            desk.rest(0.1)
    assert len(receiver.requests) == len({each.id for each in receiver.requests}) == 4
    assert receiver.requests[-1].json["type"] == "referral.reversed"


def test_an_endpoint_that_comes_later_is_not_told_what_was_before_it_even_after_a_lost_disk() -> None:
    with Receiver() as receiver, Desk(CATALOGUE, [endpoint("new", receiver.url)]) as desk:
        desk.write("referral", *qualified("c-1"))
        desk.log.committed[GROUP, TOPIC_OF["referral"], 0] = 1  # taken by a worker that had nobody to tell
        desk.restart(lose_disk=True, commit=False)
        desk.write("referral", *qualified("c-1"), *qualified("c-2"))
        desk.until(receiver.taken)
        desk.rest(0.1)
        assert [each.json["data"]["customer"] for each in receiver.requests] == [hashed("c-2")]


def test_what_nobody_wanted_to_hear_is_not_forgotten_with_the_disk() -> None:
    wanted = endpoint("few", "http://127.0.0.1:1/", types=frozenset({"milestone.reached"}))
    with Receiver() as receiver, Desk(CATALOGUE, [replace(wanted, url=receiver.url)]) as desk:
        desk.write("milestone", milestone("alone", "bakery", "reached", 1, T0))
        desk.write("milestone", milestone("alone", "bakery", "revoked", 2, T0, T0 + 5))
        desk.until(lambda: desk.ended["few", "delivered"] == 1)
        desk.restart(lose_disk=True)
        desk.write("milestone", milestone("alone", "bakery", "reached", 3, T0 + 9))
        desk.until(lambda: desk.ended["few", "delivered"] == 2)
        assert len({each.id for each in receiver.requests}) == 2


def test_rows_that_others_have_overtaken_tell_nothing() -> None:
    with Receiver() as receiver, Desk(CATALOGUE, [endpoint("bakery", receiver.url)]) as desk:
        desk.write("referral", referral("c-1", "pending", 2), referral("c-1", "qualified", 1, T0), *qualified("c-2"))
        desk.until(receiver.taken)
        desk.rest(0.1)
        assert len(receiver.requests) == 1


def test_a_worker_that_ended_while_it_told_several_is_followed_by_one_that_tells_the_others() -> None:
    with Receiver() as receiver:
        endpoints = [endpoint("first", receiver.url), endpoint("second", receiver.url)]
        with Desk(CATALOGUE, endpoints) as desk:
            desk.write("referral", referral("c-1", "qualified", 1, T0), referral("c-1", "reversed", 2, T0, T0 + 5))
            desk.until(lambda: desk.statuses() == {("first", "delivered"): 2, ("second", "delivered"): 2})
            sent = desk.log.entries(TOPIC_OF["notice"], 0)
        with Desk(CATALOGUE, endpoints) as desk:  # on an empty disk, with three of the four in the topic
            for row in [referral("c-1", "qualified", 1, T0), referral("c-1", "reversed", 2, T0, T0 + 5)]:
                desk.write("referral", row)
            for each in sent[:3]:
                desk.log.append(TOPIC_OF["notice"], 0, each.key, each.value)
            desk.restart(lose_disk=True, commit=False)
            desk.until(lambda: desk.statuses() == {("first", "delivered"): 2, ("second", "delivered"): 2})
    assert len({each.id for each in receiver.requests}) == 2


def test_what_is_not_final_is_not_told_until_all_that_it_comes_to_is_read() -> None:
    with (
        Receiver() as receiver,
        Desk(CATALOGUE, [endpoint("bakery", receiver.url)], waits_for_finality=True) as desk,
    ):
        desk.write("referral", *qualified("c-1", "c-2"))
        desk.rest()
        desk.restart(lose_disk=True)  # and what waits is not forgotten
        desk.final = FinalMark(T0, {("referral", 0): 3})  # one more lies in the topic by then
        desk.rest()
        assert not receiver.requests
        desk.write("referral", referral("c-1", "pending", 2))  # a late event: it never was
        desk.rest()
        assert not receiver.requests
        desk.final = FinalMark(T0 + 1, {("referral", 0): 3})
        desk.until(receiver.taken)
        desk.rest(0.1)
        assert [each.json["data"]["is_final"] for each in receiver.taken()] == [True]
        desk.restart(lose_disk=True)
        desk.final = FinalMark(T0 + 2, {("referral", 0): 3})
        desk.write("referral", referral("c-3", "qualified", 1, T0 + 2))
        desk.until(lambda: len(receiver.taken()) == 2)
        desk.rest(0.1)
        assert len(receiver.requests) == 2


def test_a_name_that_leads_into_this_network_is_not_followed() -> None:
    with Receiver() as receiver:
        names = [
            endpoint("name", f"http://localhost:{receiver.port}/", allow_private=False),
            endpoint("meant", f"http://localhost:{receiver.port}/"),
        ]
        courier, said, both = Courier(names), dict[str, Answer](), threading.Event()

        def done(name: str, answer: Answer) -> None:
            said[name] = answer
            if len(said) == 2:
                both.set()

        courier.start()
        try:
            for each in names:
                courier.offer(Job(each.name, "msg_1", b"{}", partial(done, each.name), lambda: True))
            assert both.wait(10)
        finally:
            courier.close()
        assert said["name"].status == 0
        assert "private network" in said["name"].reason
        assert said["meant"].is_taken
        assert len(receiver.requests) == 1
