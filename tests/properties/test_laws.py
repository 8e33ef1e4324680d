"""The pipeline against the reference, on worlds made up to press on the edges of their terms.

`CROSSCREDIT_WORLDS=20000 pytest tests/properties/test_laws.py` compares more of them. Where a seed differs, its world
is `random_world(seed)`; where Hypothesis finds one, it has shrunk it already.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given

from pipeline.embedded.engine import Counts
from pipeline.state.memory import MemoryStore
from pipeline.state.rocks import RocksStore
from tests.drawn import DRAWN
from tests.properties.harness import Pipeline, StandingSink, answer, differences, run
from tests.properties.solved import DUPLICATES, chunks_of, jumbled, placed, seeds_in_parts, solved, wherever_read
from tests.properties.worlds import World, worlds
from tests.reference.oracle import compute


class RecordingSink(StandingSink):
    """Remembers every insert besides what stands."""

    def __init__(self) -> None:
        super().__init__()
        self.inserts: list[tuple[str, list[dict[str, Any]]]] = []

    def insert(self, table: str, columns: pa.Table) -> None:
        rows = columns.to_pylist()
        self.inserts.append((table, rows))
        for row in rows:
            self._put(table, row)

    def insert_rows(self, table: str, rows: Any, columns: Any) -> None:
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        self.inserts.append((table, named))
        for row in named:
            self._put(table, row)


# -- The pipeline gives the reference's answer, row for row ------------------------------------------------------------


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_WORLDS", 1_800, 10), ids=str)
def test_the_tables_are_the_references(seeds: range) -> None:
    """And whatever the terms say, credit is whole and the ledger balances."""
    for seed in seeds:
        world, expected = solved(seed)
        sink = RecordingSink()
        run(world.programs, [[world.events]], sink=sink)
        assert differences(answer(sink), expected) == [], f"seed {seed}"
        check_credit(sink, seed)
        check_ledger(sink, seed)


def check_credit(sink: RecordingSink, seed: int) -> None:
    """Each conversion is credited to one program at most, its shares sum to the whole, and nobody has a share of 0."""
    credited = defaultdict(list)
    for row in sink.standing("attributions"):
        credited[row["brand_id"], row["conversion_type"], row["customer_id"], row["conversion_id"]].append(row)
    for rows in credited.values():
        if rows[0]["partner_id"]:
            assert sum(row["share_bps"] for row in rows) == 10_000, f"seed {seed}"
            assert all(row["share_bps"] > 0 and row["partner_id"] for row in rows), f"seed {seed}"
        else:
            assert [row["share_bps"] for row in rows] == [0], f"seed {seed}"
        assert len({row["program_id"] for row in rows}) == 1, f"seed {seed}"


def check_ledger(sink: RecordingSink, seed: int) -> None:
    """Ids are unique, what takes back is negative, and nothing is taken back that was not given before."""
    gives = {"clawback": "accrual", "bonus_clawback": "bonus", "customer_reward_clawback": "customer_reward"}
    gives["milestone_revocation"] = "milestone_award"
    sent = [row for table, rows in sink.inserts if table == "ledger_entries" for row in rows]
    assert len({row["entry_id"] for row in sent}) == len(sent), f"seed {seed}: one run writes each entry once"
    balance: dict[tuple[Any, ...], int] = defaultdict(int)
    entries = sorted(sink.standing("ledger_entries"), key=lambda row: (row["occurred_at"], row["amount_minor"] < 0))
    for row in entries:
        assert row["amount_minor"] * (-1 if row["kind"] in gives else 1) > 0, f"seed {seed}"
        assert row["payable_at"] >= row["occurred_at"] == row["as_of"], f"seed {seed}"
        kind = gives.get(row["kind"], row["kind"])
        balance[kind, row["program_id"], row["partner_id"], row["customer_id"], row["order_id"]] += row["amount_minor"]
    assert all(amount >= 0 for amount in balance.values()), f"seed {seed}"


@DRAWN
@given(worlds())
def test_the_tables_are_the_references_of_any_world(world: World) -> None:
    got = answer(run(world.programs, [[world.events]]))
    assert differences(got, compute(world.programs, world.events)) == []


# -- Arrival order, repeats, batching and restarts never change an outcome ---------------------------------------------


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_JUMBLED_WORLDS", 300, 6), ids=str)
def test_order_repeats_and_restarts_change_nothing(seeds: range) -> None:
    for seed in seeds:
        world, expected = solved(seed)
        got = answer(run(world.programs, jumbled(world, random.Random(seed))))
        assert differences(wherever_read(got), wherever_read(expected)) == [], f"seed {seed}"


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_TRICKLED_WORLDS", 24, 4, first=5_000), ids=str)
def test_one_event_a_run_newest_first_changes_nothing(seeds: range) -> None:
    for seed in seeds:
        world, expected = solved(seed)
        newest_first = sorted(world.events, key=lambda event: -event["occurred_at"])
        got = answer(run(world.programs, [[[event]] for event in newest_first]))
        assert differences(wherever_read(got), wherever_read(expected)) == [], f"seed {seed}"


@DRAWN
@given(worlds(most_events=30))
def test_order_and_restarts_change_nothing_in_any_world(world: World) -> None:
    """Backwards, and in two runs: what shrinks best."""
    expected = compute(world.programs, world.events)
    backwards = world.events[::-1]
    half = len(backwards) // 2
    got = answer(run(world.programs, [[backwards[:half]], [backwards[half:]]]))
    assert differences(wherever_read(got), wherever_read(expected)) == []


# -- The same input again changes nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_REPEATED_WORLDS", 200, 4, first=10_000), ids=str)
def test_the_same_input_again_inserts_only_the_same_dead_letters(seeds: range) -> None:
    """And the first time, every record is applied, a repeat or dead."""
    for seed in seeds:
        world, expected = solved(seed)
        chooser = random.Random(seed)
        pipeline = Pipeline(world.programs, sink=RecordingSink())
        events = placed(world.events)
        runs = [(len(part), pipeline.run([part])) for part in chunks_of(events, chooser)]
        check_counts(world, expected, runs, seed)
        standing = {table: pipeline.sink.standing(table) for table in ("dead_letters", "ledger_entries")}
        refused = [row for table, rows in pipeline.sink.inserts if table == "dead_letters" for row in rows]
        pipeline.sink.inserts.clear()

        chooser.shuffle(events)
        counts = pipeline.run(chunks_of(events, chooser))
        assert counts.records == counts.repeats.total() + counts.dead.total(), f"seed {seed}"
        for table, rows in pipeline.sink.inserts:
            assert table == "dead_letters", f"seed {seed}"
            assert all(row in refused for row in rows), f"seed {seed}"
        assert {table: pipeline.sink.standing(table) for table in standing} == standing, f"seed {seed}"


def check_counts(
    world: World, expected: dict[str, list[dict[str, Any]]], runs: list[tuple[int, Counts]], seed: int
) -> None:
    """The counts of the runs, each beside the number of its events, add up to the world's and to what stands."""
    totals = {"records": 0, "applied": 0, "dead": 0}
    for events, counts in runs:
        assert counts.records == events, f"seed {seed}"
        assert counts.records == counts.applied.total() + counts.repeats.total() + counts.dead.total(), f"seed {seed}"
        totals["records"] += counts.records
        totals["applied"] += counts.applied.total()
        totals["dead"] += counts.dead.total()
    refused = [row for row in expected["dead_letters"] if row["reason"] != DUPLICATES]
    stand = sum(len(expected[table]) for table in ("clicks", "sign_ups", "orders", "refunds"))
    duplicates = len(expected["dead_letters"]) - len(refused)
    assert totals["records"] == len(world.events), f"seed {seed}"
    assert totals["dead"] == len(refused), f"seed {seed}"
    # A copy that counts instead of an earlier one is applied too, so there may be more than stand in the end.
    assert totals["applied"] >= stand + duplicates, f"seed {seed}"


# -- The same on every state backend -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", seeds_in_parts("CROSSCREDIT_ROCKS_WORLDS", 16, 2, first=40_000), ids=str)
def test_state_on_disk_gives_the_same_tables(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        world, _ = solved(seed)
        runs = jumbled(world, random.Random(seed))
        opened = [RocksStore(tmp_path / str(seed))]

        def reopen(
            store: RocksStore, opened: list[RocksStore] = opened, folder: Path = tmp_path / str(seed)
        ) -> RocksStore:
            store.close()
            opened.append(RocksStore(folder))
            return opened[-1]

        on_disk = run(world.programs, runs, store=opened[0], between=reopen)
        opened[-1].close()
        assert answer(on_disk) == answer(run(world.programs, runs, store=MemoryStore())), f"seed {seed}"
