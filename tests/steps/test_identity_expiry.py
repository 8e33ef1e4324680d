"""Clicks leave state when nobody can ask for them any more."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps.identity import IdentityStep, binding
from pipeline.wire.admission import event_table_schema


class NoTruth:
    def click(self, *_: str) -> None:
        raise AssertionError("no copies differ here")


def clicks(times: dict[str, int]) -> pa.Table:
    rows = [
        {
            "event_id": event_id, "occurred_at": at, "brand_id": "acme", "program_id": "p", "partner_id": "bakery",
            "visitor_id": "v", "position": 1,
        }
        for event_id, at in times.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, event_table_schema("click"))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    batch = WriteBatch()
    IdentityStep(store, NoTruth()).add_clicks(clicks({"a": 99, "b": 100, "c": 101, "d": 5, "e": 1 << 40}), batch)
    store.write(batch)
    return store


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_what_is_dated_before_the_edge_leaves_and_nothing_else(store: MemoryStore, most: int) -> None:
    step = IdentityStep(store, NoTruth())
    after = b""
    for _ in range(10):
        batch = WriteBatch()
        after = step.expire(100, after, most, batch)
        store.write(batch)
        if not after:
            break
    assert not after
    left = WriteBatch()
    assert [click.event for click in step.bind([binding("acme", "v", "c1")], left)] == [b"b", b"c", b"e"]


def test_a_sweep_goes_on_where_it_stood(store: MemoryStore) -> None:
    step = IdentityStep(store, NoTruth())
    batch = WriteBatch()
    after = step.expire(1 << 47, b"", 2, batch)
    assert [key.rsplit(b"\x00", 1)[1] for key in batch.deletes["clicks"]] == [b"a", b"b"]
    step.expire(1 << 47, after, 2, batch)
    assert [key.rsplit(b"\x00", 1)[1] for key in batch.deletes["clicks"]] == [b"a", b"b", b"c", b"d"]
