"""A database from before the reading copies: the migration fills them from what is in its tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.clickhouse import schema
from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.clickhouse.warehouse import Warehouse
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


@pytest.mark.parametrize("view", VIEWS)
def test_views_say_the_same_as_of_a_new_database(upgraded: Warehouse, warehouse: Warehouse, view: str) -> None:
    whole = f"SELECT count(), groupBitXor(cityHash64(tuple(*))) FROM {view}"
    assert upgraded.query(whole) == warehouse.query(whole)
    assert upgraded.query(whole)[0][0] != 0
