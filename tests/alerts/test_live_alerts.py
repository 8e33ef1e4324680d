"""A milestone, from the event to Alertmanager's call and the partner's webhook: once, whatever restarts."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from pipeline.cli import status_of
from pipeline.kafka.broker import free_port
from tests.alerts.tools import Alertmanager, Prometheus, tool
from tests.live.conftest import _alone
from tests.live.feeding import Feeder
from tests.live.processes import CROSSCREDIT, Child, environment
from tests.live.stack import LiveStack, Worker, until
from tests.live.streams import Encoder, Event
from tests.webhooks.receiver import Receiver

__all__ = ["_alone"]  # one live test at a time

TERMS = """
[program]
id = "friends"
brand_id = "roastery"
currency = "USD"
version = 1
effective_from = 2026-01-01T00:00:00Z

[commission]
rate_bps = 1000

[[milestone]]
id = "first-one"
metric = "qualified_referrals"
threshold = 1
period = "all_time"
scope = "partner"

[[partner]]
id = "bakery"
name = "Bakery & Co"
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOKS = """
announce = "final"
first_retry = "1s"

[[endpoint]]
name = "bakery"
url = "{url}"
secret_file = "bakery.secret"
program = "friends"
partner = "bakery"
"""
AT = 1_772_373_600_000
EVENTS: list[Event] = [
    {"type": "click", "event_id": "k", "occurred_at": AT, "brand_id": "roastery", "program_id": "friends",
     "partner_id": "bakery", "visitor_id": "v"},
    {"type": "sign_up", "event_id": "s", "occurred_at": AT + 1, "brand_id": "roastery", "customer_id": "c",
     "visitor_id": "v"},
    {"type": "order", "event_id": "o", "occurred_at": AT + 2, "brand_id": "roastery", "order_id": "O-1",
     "customer_id": "c", "amount_minor": 5000, "currency": "USD"},
]  # fmt: skip
LATER = [
    {**each, "event_id": f"{each['event_id']}2", "occurred_at": each["occurred_at"] + 7_200_000} for each in EVENTS[:2]
] + [{**EVENTS[2], "event_id": "o2", "order_id": "O-2", "occurred_at": AT + 7_200_000}]
"""What moves the watermark on in the same partitions."""


class Stack(LiveStack):
    """With a worker that tells partners."""

    def __init__(self, folder: Path, program: Path, webhooks: Path) -> None:
        super().__init__(folder, [program])
        self._program = program
        self._webhooks = webhooks

    def _launch(self, worker: Worker) -> None:
        worker.child = Child(
            [CROSSCREDIT, "worker", "--program", self._program, "--folder", worker.folder, "--instance", worker.name,
             "--bootstrap", self.broker.bootstrap, "--clickhouse-url", self.clickhouse, "--idle-timeout", "3s",
             "--allowed-lateness", "1h", "--status-port", worker.port, "--webhooks", self._webhooks],
            worker.folder.with_suffix(".log"),
        )  # fmt: skip
        worker.started = time.monotonic()


@contextmanager
def everything(folder: Path) -> Iterator[tuple[Stack, Prometheus, Receiver, Receiver]]:
    with ExitStack() as stack:
        operators, partner = stack.enter_context(Receiver()), stack.enter_context(Receiver())
        (folder / "friends.toml").write_text(TERMS)
        (folder / "bakery.secret").write_text(SECRET)
        (folder / "webhooks.toml").write_text(WEBHOOKS.format(url=partner.url))
        live = stack.enter_context(Stack(folder / "live", folder / "friends.toml", folder / "webhooks.toml"))
        live.start_workers("w1")
        urls = {name: f"http://127.0.0.1:{operators.port}/{name}" for name in ("operators", "milestones")}
        alertmanager = Alertmanager(folder / "alertmanager", free_port(), urls)
        stack.callback(alertmanager.end)
        alertmanager.start()
        prometheus = Prometheus(folder / "prometheus", free_port(), live.workers["w1"].port, alertmanager.port)
        stack.callback(prometheus.end)
        prometheus.start()
        yield live, prometheus, operators, partner


def test_a_milestone_is_told_once(tmp_path: Path, run: Callable[..., str]) -> None:
    tool("prometheus")
    tool("alertmanager", "prometheus-alertmanager")
    with everything(tmp_path) as (live, prometheus, operators, partner):
        live.wait_until_ready()
        until(lambda: seen(prometheus, "referral_milestones_reached_total") == [0.0], "Prometheus sees the counter")
        send(live, EVENTS)
        until(lambda: operators.requests, "Alertmanager calls")
        (call,) = operators.requests
        assert call.headers["authorization"] == "Bearer milestones"
        told = call.json
        assert (told["status"], told["receiver"], told["groupLabels"]) == (
            "firing",
            "milestones",
            {"program": "friends"},
        )
        (alert,) = told["alerts"]
        assert {name: alert["labels"][name] for name in ("alertname", "program", "milestone", "scope")} == {
            "alertname": "MilestoneReached", "program": "friends", "milestone": "first-one", "scope": "partner",
        }  # fmt: skip
        assert alert["annotations"]["runbook_url"] == "docs/alerts.md#milestonereached"

        assert not partner.requests  # an event may still come that changes it
        send(live, LATER)
        until(lambda: len(partner.requests) == 2, "the partner is told")
        notices = {each.json["type"]: each for each in partner.requests}
        assert set(notices) == {"milestone.reached", "referral.qualified"}
        for each in partner.requests:
            assert Webhook(SECRET).verify(each.body.decode(), each.headers) == each.json
            assert each.json["data"]["is_final"]
        assert notices["milestone.reached"].json["data"]["reached_at"] == "2026-03-01T14:00:00.002Z"

        prometheus.end(signal.SIGTERM)
        prometheus.start()
        firing = 'ALERTS{alertname="MilestoneReached",alertstate="firing"}'
        until(lambda: seen(prometheus, firing) == [1.0], "the alert still fires")
        began = seen(prometheus, "referral_worker_started_timestamp_seconds")
        live.kill("w1", wipe=True, measure=False)  # with all its state
        live.wait_until_ready()
        until(
            lambda: seen(prometheus, "referral_worker_started_timestamp_seconds") not in ([], began),
            "Prometheus sees the new worker",
        )
        until(lambda: live.metrics("w1").get(("referral_partitions_ready", "notify")) == 16, "notify is ready")
        time.sleep(5)  # what is final is asked for every two seconds
        assert seen(prometheus, firing) == [1.0]
        assert [each.json["alerts"][0]["labels"]["alertname"] for each in operators.requests] == ["MilestoneReached"]
        assert len(partner.requests) == 2

        commands(live, partner, run)


def commands(live: LiveStack, partner: Receiver, run: Callable[..., str]) -> None:
    """What is listed was told, and what is sent again has the id that it had."""
    there = ("--bootstrap", live.broker.bootstrap)
    listed = [json.loads(line) for line in run("list", "--status", "all", "--json", *there).splitlines()]
    assert {(each["status"], each["endpoint"], each["notice_id"]) for each in listed} == {
        ("delivered", "bakery", each.id) for each in partner.requests
    }
    again = partner.requests[0]
    assert "1 notices are sent again" in run("resend", again.id, *there)
    until(lambda: len(partner.requests) == 3, "it is sent again")
    assert (partner.requests[2].id, partner.requests[2].body) == (again.id, again.body)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`crosscredit webhooks …` in this process, without what the tests are told; what it prints."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)

    def ran(*arguments: str) -> str:
        capsys.readouterr()
        status = status_of(["webhooks", *arguments])
        said = capsys.readouterr()
        assert status == 0, said.err
        return said.out

    return ran


def seen(prometheus: Prometheus, expression: str) -> list[float]:
    return [value for _, value in prometheus.query(expression)]


def send(live: LiveStack, events: list[Event]) -> None:
    Feeder(live.broker.bootstrap, transactions=False).send([record for _, record in Encoder().records(events)])
