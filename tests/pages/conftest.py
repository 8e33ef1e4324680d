from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.pages.scope import PanelData
from pipeline.pages.writer import write_pages
from tests.pages.world import NOW, World, catalogue, make_world


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def warehouse(world: World) -> Iterator[Warehouse]:
    """The world's rows on the real engine. Tests only read."""
    with Warehouse.embedded(None) as warehouse:
        warehouse.migrate()
        world.store(warehouse)
        yield warehouse


@pytest.fixture(scope="session")
def data(warehouse: Warehouse) -> Iterator[PanelData]:
    with PanelData(warehouse) as data:
        yield data


@pytest.fixture(scope="session")
def pages(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every page's HTML by file name."""
    folder: Path = tmp_path_factory.mktemp("pages")
    paths = write_pages(warehouse, catalogue(), folder, NOW, NOW - 20 * 86_400_000)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    return {path.name: path.read_text(encoding="utf-8") for path in paths}
