from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clickhouse.warehouse import Warehouse
from tests.clickhouse.fronts import FrontProcess


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
    shared_front.empty()


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
