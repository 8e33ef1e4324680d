from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clickhouse.warehouse import Warehouse


class FrontProcess:
    """The HTTP front in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pipeline.clickhouse.front", "--port", "0", "--faults", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("Ready: "), said + self.errors()
        self.url = said.removeprefix("Ready: ").strip()
        self._numbers = itertools.count(1)

    def open(self, database: str | None = None, **options: object) -> Warehouse:
        """A warehouse on it, with a fresh database where none is named."""
        return Warehouse.server(self.url, database or f"fresh_{next(self._numbers)}", **options)  # type: ignore[arg-type]

    def fault(self, mode: str, **more: object) -> None:
        body = json.dumps({"mode": mode, **more}).encode()
        with urllib.request.urlopen(f"{self.url}/faults", body, timeout=5) as answer:
            assert answer.status == 200

    def errors(self) -> str:
        self.stop()
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(5)

    def close(self) -> None:
        self.stop()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """Keeps the temporary engine of this process up, so that a test's warehouse opens in milliseconds."""
    with Warehouse.embedded(None):
        yield


@pytest.fixture(scope="session")
def shared_front() -> Iterator[FrontProcess]:
    front = FrontProcess()
    yield front
    front.close()


@pytest.fixture
def front(shared_front: FrontProcess) -> Iterator[FrontProcess]:
    """A running front without faults."""
    shared_front.fault("none")
    yield shared_front
    shared_front.fault("none")


@pytest.fixture
def fronts(tmp_path: Path) -> Iterator[list[FrontProcess]]:
    """Fronts that a test starts itself; they are stopped after it."""
    started: list[FrontProcess] = []
    yield started
    for each in started:
        each.close()


@pytest.fixture(params=["embedded", "server"])
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    """A warehouse with a fresh database, of each kind: the same contract for both."""
    if request.param == "embedded":
        request.getfixturevalue("engine")
        opened = Warehouse.embedded(None)
    else:
        opened = request.getfixturevalue("front").open()
    with opened as fresh:
        fresh.migrate()
        yield fresh
