"""Databases without the reading copies: one from before them, which is migrated, and one of `crosscredit run`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.clickhouse import schema
from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.clickhouse.tables import COPIES
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.pages import panels
from tests.pages.world import World, catalogue, insert

VIEWS = (
    "partner_clicks",
    "partner_credits",
    "partner_orders",
    "partner_missed",
    "partner_ledger",
    "partner_bonus_slots",
)


@pytest.fixture(scope="module")
def upgraded(world: World) -> Iterator[Warehouse]:
    with Warehouse.embedded(None) as warehouse:
        schema.apply(schema.packaged_migrations()[:5], warehouse._command, warehouse._records)
        for table, rows in world.tables.items():
            if rows:
                insert(warehouse, table, rows[1:], version=1)
                # A click of which copies differ is there under a version above 1.
                insert(warehouse, table, rows[:1], version=2)
        warehouse.migrate()
        write_program_terms(warehouse, catalogue())
        yield warehouse


@pytest.fixture(scope="module")
def of_a_run(world: World) -> Iterator[Warehouse]:
    """As `crosscredit run` has it: no copies, but views in their place."""
    with Warehouse.embedded(None, copies=False) as warehouse:
        warehouse.migrate()
        world.store(warehouse)
        warehouse.migrate()  # a second run
        yield warehouse


@pytest.mark.parametrize("view", panels.VIEWS)
def test_views_of_a_run_over_files_say_the_same(of_a_run: Warehouse, warehouse: Warehouse, view: str) -> None:
    whole = f"SELECT count(), groupBitXor(cityHash64(tuple(*))) FROM {view}"
    assert of_a_run.query(whole) == warehouse.query(whole)


def test_a_run_over_files_feeds_no_copies(of_a_run: Warehouse, warehouse: Warehouse) -> None:
    feeds = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'"
    assert of_a_run.query(feeds) == [(0,)]
    assert warehouse.query(feeds) == [(len(COPIES),)]


@pytest.mark.parametrize("view", VIEWS)
def test_views_say_the_same_as_of_a_new_database(upgraded: Warehouse, warehouse: Warehouse, view: str) -> None:
    whole = f"SELECT count(), groupBitXor(cityHash64(tuple(*))) FROM {view}"
    assert upgraded.query(whole) == warehouse.query(whole)
    assert upgraded.query(whole)[0][0] != 0
