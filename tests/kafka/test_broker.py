"""The local broker: its data survive a stop and a crash, and nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.kafka.broker import LocalBroker, answers
from pipeline.kafka.errors import BrokerError
from pipeline.kafka.kafka_jars import class_path
from pipeline.kafka.topics import create_topics, load_topics


def put(broker: LocalBroker, topic: str, value: str) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
    errors: list[object] = []
    producer.produce(topic, value, key="k", partition=0, on_delivery=lambda error, _message: errors.append(error))
    assert producer.flush(20) == 0
    assert errors == [None]


def held(broker: LocalBroker, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = [message.value() for message in consumer.consume(count, timeout=20)]
    consumer.close()
    return found


def test_data_and_address_survive_a_stop_and_a_kill(tmp_path: Path) -> None:
    with LocalBroker(tmp_path / "kafka") as broker:
        bootstrap = broker.bootstrap
        topic = load_topics()[0]
        create_topics({"bootstrap.servers": bootstrap}, [topic], partitions=1)
        put(broker, topic.name, "a")
        broker.restart()
        put(broker, topic.name, "b")
        broker.kill()
        assert not broker.running
        assert not answers(bootstrap, 0.2)
        broker.start()
        assert broker.bootstrap == bootstrap
        assert held(broker, topic.name, 2) == [b"a", b"b"]
        pid = broker.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_broker_that_does_not_start_shows_its_log(tmp_path: Path, broker: str) -> None:
    taken = int(broker.rpartition(":")[2])
    other = LocalBroker(tmp_path / "kafka", port=taken)
    with pytest.raises(BrokerError) as told:
        other.start()
    assert "Address already in use" in str(told.value)
    assert str(tmp_path / "kafka" / "kafka.log") in str(told.value)
    assert not other.running


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, threading, time; from pathlib import Path; from pipeline.kafka.broker import LocalBroker\n"
        "broker = LocalBroker(Path(sys.argv[1])); thread = threading.Thread(target=broker.start)\n"
        "thread.start(); thread.join(); print(broker.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, tmp_path / "kafka"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()  # although the thread that started it has ended
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_cannot_be_fetched_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_arguments: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("jgo.build", offline)
    told: list[str] = []
    with pytest.raises(BrokerError, match=r"no network.*--bootstrap HOST:PORT"):
        class_path(told.append)
    assert told == ["Fetching Kafka 4.1.1 from Maven Central: 43 MB, once."]
    assert [each.name for each in (tmp_path / "crosscredit").iterdir()] == ["kafka-4.1.1.lock"]
