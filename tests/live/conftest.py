"""One live test at a time: each has a broker, three workers and a ClickHouse of its own."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / "live.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Tells the person who runs the tests, whether or not they fail."""

    def said(text: str) -> None:
        with capfd.disabled():
            sys.stderr.write(f"\n{text}\n")

    return said
