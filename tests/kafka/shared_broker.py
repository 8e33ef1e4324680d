"""One real Kafka for all test processes: whoever needs it first starts it; it ends with the whole run.

Other live tests get it with ``from tests.kafka.shared_broker import broker, kafka_broker`` in their own conftest.
Topics are everybody's: use names of your own, such as ``unique("clicks")``. A test that stops or kills its broker
starts one for itself (``LocalBroker(tmp_path / "kafka")``).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from pipeline.kafka.broker import LocalBroker, answers

# Ends the broker (if it is still ours) once the process of the whole run is gone, however it went.
_WATCH = 'while kill -0 "$0" 2>/dev/null; do sleep 0.3; done; grep -qs "$2" "/proc/$1/cmdline" && kill "$1"'

_started: list[object] = []  # what this process started lives as long as it


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``host:port`` of the shared broker."""
    base = tmp_path_factory.getbasetemp()
    run = os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base, run = base.parent, os.getppid()  # those of the whole run
    folder = base / "shared-kafka"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = folder / "bootstrap"
        if not known.exists():
            known.write_text(_start(folder / "kafka", run), encoding="utf-8")
        return known.read_text(encoding="utf-8")


def _start(folder: Path, run: int) -> str:
    broker = LocalBroker(folder, detached=True)  # the process that starts it may end before the others do
    broker.start()
    watch = ["/bin/sh", "-c", _WATCH, str(run), str(broker.pid), str(folder)]
    _started.extend((broker, subprocess.Popen(watch, stdin=subprocess.DEVNULL, start_new_session=True)))
    return broker.bootstrap


@pytest.fixture
def broker(kafka_broker: str) -> str:
    """``host:port`` of the shared broker, which must answer when a test begins."""
    assert answers(kafka_broker, timeout_s=10.0)
    return kafka_broker


def unique(name: str) -> str:
    """A name that no other test has."""
    return f"{name}.{uuid.uuid4().hex[:12]}"
