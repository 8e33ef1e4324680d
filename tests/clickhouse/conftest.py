from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.clickhouse.warehouse import Warehouse


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """Keeps the temporary engine of this process up, so that a test's warehouse opens in milliseconds."""
    with Warehouse.embedded(None):
        yield


@pytest.fixture
def warehouse(engine: None) -> Iterator[Warehouse]:
    """A warehouse with a fresh database."""
    with Warehouse.embedded(None) as fresh:
        fresh.migrate()
        yield fresh
