"""The deployment that docker-compose.yml describes comes up, and the doctor tells each fault that is made in it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.cli import status_of
from pipeline.clickhouse import server
from pipeline.clickhouse.schema import packaged_migrations
from pipeline.kafka.broker import free_port
from pipeline.kafka.topics import load_topics
from pipeline.topology import STEPS
from tests.deploy.deployment import (
    ComposedKafka,
    ComposedWorker,
    FrontProcess,
    findings,
    own_command,
    own_environment,
)

TERMS = Path("pipeline/demo/terms")

Doctor = Callable[..., tuple[int, dict[str, list[dict[str, Any]]]]]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposedKafka]:
    composed = ComposedKafka(tmp_path_factory.mktemp("kafka"))
    yield composed
    composed.process.end(signal.SIGTERM)


@pytest.fixture
def terms(tmp_path: Path) -> Path:
    shutil.copytree(TERMS, tmp_path / "terms")
    return tmp_path / "terms"


@pytest.fixture
def run(
    kafka: ComposedKafka, tmp_path: Path, terms: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:  # fmt: skip
    """Run a one-shot service of the compose file, with more arguments and other variables."""
    (tmp_path / "clickhouse-password").write_text("word\n", encoding="utf-8")

    def once(name: str, *more: str, clickhouse: str, **variables: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for variable in [each for each in os.environ if each.startswith("CROSSCREDIT_")]:
                patch.delenv(variable)
            given = own_environment(name, kafka.bootstrap, clickhouse, tmp_path)
            for variable, value in {**given, **variables}.items():
                patch.setenv(variable, value)
            capsys.readouterr()
            status = status_of([*own_command(name, terms), *more])
            told = capsys.readouterr()
            return status, told.out or told.err

    return once


def wrongs(found: dict[str, list[dict[str, Any]]]) -> set[str]:
    return {check for check, each in found.items() if any(one["verdict"] == "wrong" for one in each)}


def text_of(found: dict[str, list[dict[str, Any]]], check: str) -> str:
    return "\n".join(f"{each['verdict']}: {each['text']} -> {each['remedy']}" for each in found[check])


def test_it_comes_up_and_the_doctor_tells_each_fault(
    kafka: ComposedKafka, run: Callable[..., tuple[int, str]], terms: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def doctor(*more: str, clickhouse: str = "", **variables: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        status, told = run("doctor", "--json", *more, clickhouse=clickhouse or url, **variables)
        return status, findings(told)

    # What the image makes of the environment.
    properties = dict(line.split("=", 1) for line in kafka.properties.read_text().splitlines() if "=" in line)
    assert properties["process.roles"] == "broker,controller"
    assert properties["auto.create.topics.enable"] == "false"
    assert "heap.opts" not in properties

    # A Kafka without topics, and no ClickHouse.
    url = f"http://127.0.0.1:{free_port()}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for done in admin.create_topics([NewTopic("referrals.order.v1", 3, config={"cleanup.policy": "compact"})]).values():
        done.result(20)
    status, found = doctor()
    assert status == 1
    assert wrongs(found) == {"topics", "clickhouse"}
    assert "answers: 1 broker, version 4.0 or newer" in text_of(found, "kafka")
    told = text_of(found, "topics")
    declared = len(load_topics())
    assert told.count("It does not exist. -> Run crosscredit topics create.") == declared - 1
    assert "referrals.order.v1: partitions is 3, expected 16. cleanup.policy is compact, expected delete." in told
    assert "keys would move" in told
    assert "nobody answers there" in text_of(found, "clickhouse")
    assert "CROSSCREDIT_CLICKHOUSE_URL" in text_of(found, "clickhouse")
    for check in ("groups", "clock", "clickhouse tables", "clickhouse grants", "clickhouse clock"):
        assert [each["verdict"] for each in found[check]] == ["unknown"]
    for done in admin.delete_topics(["referrals.order.v1"]).values():
        done.result(20)

    # The service `topics`.
    status, told = run("topics", clickhouse=url)
    assert (status, told.splitlines()[-1]) == (0, f"{declared} topics created, 0 were there.")

    front = FrontProcess()
    try:
        url = front.url
        status, found = doctor()
        assert wrongs(found) == {"clickhouse"}
        assert "has no database crosscredit. -> Run crosscredit migrate" in text_of(found, "clickhouse")

        # The service `migrate`.
        status, told = run("migrate", clickhouse=url)
        assert status == 0
        assert told.splitlines()[-1].endswith("migrations applied; crosscredit is at this version.")
        status, found = doctor()
        assert (status, wrongs(found)) == (0, set())
        assert f"{declared} topics are as declared, with 16 partitions" in text_of(found, "topics")

        clickhouse_faults(doctor, run, front, monkeypatch)
        with_a_worker(doctor, kafka, front, terms, tmp_path, monkeypatch)
    finally:
        front.close()


def clickhouse_faults(
    doctor: Doctor, run: Callable[..., tuple[int, str]], front: FrontProcess, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def ask(sql: str) -> None:
        status, _, said = front.ask("POST", "/?database=crosscredit", sql.encode())
        assert status == 200, said

    ask("DROP TABLE orders SYNC")
    _, found = doctor()
    assert wrongs(found) == {"clickhouse tables"}
    assert "The tables orders are gone. -> Somebody dropped them." in text_of(found, "clickhouse tables")
    assert run("migrate", "--again", clickhouse=front.url)[0] == 0
    assert doctor()[0] == 0

    last = packaged_migrations()[-1]
    ask(f"ALTER TABLE schema_migrations DELETE WHERE number = {last.number} SETTINGS mutations_sync = 1")
    _, found = doctor()
    assert wrongs(found) == {"clickhouse tables"}
    assert f"Not applied yet: {last.name}. -> Run crosscredit migrate" in text_of(found, "clickhouse tables")
    assert "1 migrations applied" in run("migrate", clickhouse=front.url)[1]

    ask("INSERT INTO schema_migrations (number, name, sha256) VALUES (9999, '9999_later.sql', 'x')")
    _, found = doctor()
    assert wrongs(found) == {"clickhouse tables"}
    assert "written by a newer one" in text_of(found, "clickhouse tables")
    ask("ALTER TABLE schema_migrations DELETE WHERE number = 9999 SETTINGS mutations_sync = 1")

    with monkeypatch.context() as patch:  # a user that may only read
        patch.setitem(server._SETTINGS, "readonly", 1)
        _, found = doctor()
    assert "The user lacks INSERT, ALTER TABLE, CREATE TABLE" in text_of(found, "clickhouse grants")
    assert "GRANT INSERT, ALTER TABLE" in text_of(found, "clickhouse grants")

    front.fault("deny")
    status, found = doctor()
    front.fault("none")
    assert status == 1
    assert "CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE" in text_of(found, "clickhouse")

    with monkeypatch.context() as patch:
        own = time.time
        patch.setattr("pipeline.doctor.clickhouse.time.time", lambda: own() + 60)
        _, found = doctor()
    assert "clickhouse clock" in wrongs(found)
    assert "ClickHouse's clock is 60.0 s behind this one." in text_of(found, "clickhouse clock")

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cramjam", None)
        _, found = doctor()
    assert wrongs(found) == {"codecs"}
    assert "lz4, snappy, zstd cannot be read" in text_of(found, "codecs")
    assert doctor()[0] == 0


def with_a_worker(
    doctor: Doctor, kafka: ComposedKafka, front: FrontProcess, terms: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})

    def send(record: str, seconds_from_now: float = 0) -> None:
        at_ms = int((time.time() + seconds_from_now) * 1000)
        producer.produce(f"referrals.{record}.v1", b"none that can be read", key=b"k", timestamp=at_ms)
        assert producer.flush(20) == 0

    # Records that wait for nobody, and a worker whose clock was ahead.
    send("click")
    send("click")
    send("watermark", 60)
    status, found = doctor()
    assert status == 1
    assert wrongs(found) == {"groups", "clock"}
    told = text_of(found, "groups")
    assert "crosscredit.identity: 0 members, 2 records to go. -> No worker runs the step identity" in told
    assert re.search(
        r"referrals\.watermark\.v1 is dated (5\d|60) s from now: the clock of who produces it", text_of(found, "clock")
    )
    send("watermark")

    # The service `worker`.
    given = own_environment("worker", kafka.bootstrap, front.url, tmp_path)
    worker = ComposedWorker(given, own_command("worker", terms), tmp_path / "worker.log")
    try:
        worker.await_ready()
        assert worker.answer("/healthz") == 200  # as the image's HEALTHCHECK asks
        state = ("--folder", given["CROSSCREDIT_FOLDER"])
        until = time.monotonic() + 60
        settled = {f"crosscredit.{step}: 1 member, 0 records to go." for step in STEPS}
        status, found = doctor(*state)
        while {each["text"] for each in found["groups"]} != settled and time.monotonic() < until:
            time.sleep(1)
            status, found = doctor(*state)
        assert {each["text"] for each in found["groups"]} == settled
        assert (status, wrongs(found)) == (0, set()), worker.log.read_text()
        kept = re.search(r"(\d+) partitions are kept in", text_of(found, "state"))
        assert kept is not None
        assert 0 < int(kept[1]) <= 16 * sum(bool(step.keeps) for step in STEPS.values())  # some may still be opened
        assert '"event": "worker starts"' in worker.log.read_text()  # JSON, as the file asks

        _, found = doctor(*state, CROSSCREDIT_NAMESPACE="another")
        assert "another.identity: 0 members, 2 records to go." in text_of(found, "groups")
        assert "another.notify" not in text_of(found, "groups")  # nobody was ever given endpoints there
        member = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "another.notify", "log_level": 0})
        member.commit(offsets=[TopicPartition("referrals.milestone.v1", 0, 0)], asynchronous=False)
        member.close()
        _, found = doctor(*state, CROSSCREDIT_NAMESPACE="another")
        assert "another.notify: 0 members, 0 records to go. -> No worker runs the step notify now." in text_of(
            found, "groups"
        )

        # Terms that changed on the disk meanwhile: a change of meaning, then none that can be read.
        one = terms / "bookshop-readers.toml"
        text = one.read_text(encoding="utf-8")
        one.write_text(text.replace("[program]", "[program]\npriority = 3", 1), encoding="utf-8")
        _, found = doctor(*state)
        assert wrongs(found) == {"state"}
        counts = re.search(r"(\d+) of (\d+) partitions were made with other terms", text_of(found, "state"))
        assert counts is not None
        assert counts[1] == counts[2]
        one.write_text(text + "\n[nonsense]\n", encoding="utf-8")
        _, found = doctor(*state)
        assert wrongs(found) == {"terms"}
        assert "nonsense" in text_of(found, "terms")
        one.write_text(text, encoding="utf-8")

        worker.process.send_signal(signal.SIGSTOP)  # it lags, and is a member still
        send("click")
        _, found = doctor(*state, "--max-lag", "0")
        worker.process.send_signal(signal.SIGCONT)
        assert wrongs(found) == {"groups"}
        assert "1 records to go. More than 0. -> If that grows, add workers" in text_of(found, "groups")
        assert worker.end(signal.SIGTERM) == 0
    finally:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CROSSCREDIT_KAFKA_BOOTSTRAP": "nowhere"}, "does not name brokers"),
        ({"CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE": "/no/such/file"}, "make secrets"),
        ({"CROSSCREDIT_ALLOWED_LATENESS": "soon"}, "no duration"),
        ({"CROSSCREDIT_CLICKHOUS_URL": "http://a:1"}, "is no setting"),
    ],
)
def test_settings_that_cannot_be_used_are_told_before_anything_is_asked(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert status_of(["doctor"]) == 2
    assert said in capsys.readouterr().err


def test_a_kafka_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.kafka.topics._ANSWER_S", 0.5)
    nowhere = f"127.0.0.1:{free_port()}"
    assert status_of(["doctor", "--bootstrap", nowhere, "--clickhouse-url", f"http://{nowhere}"]) == 1
    told = capsys.readouterr().out
    assert f"WRONG    kafka               No Kafka answers at {nowhere}" in told
    assert "-> Start one with `crosscredit stack up`, or name yours with --bootstrap" in told
    assert told.splitlines()[-1].startswith("Something is wrong: ")
