"""What is written can be read, and is the same in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.domain.events import EVENT_TYPES, MAX_AMOUNT_MINOR, REFUND_REASONS
from pipeline.wire.files import InputError
from pipeline.wire.writing import write_events
from tests.wire.samples import AT, Event, mixed, read

KINDS = [f"{kind}{packed}" for kind in ("jsonl", "csv", "parquet", "avro") for packed in ("", ".gz", ".zst")]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(tmp_path: Path, kind: str) -> None:
    events = mixed(100)
    path = tmp_path / f"a.{kind}"
    assert write_events(path, iter(events)) == 100
    result = read(path)
    assert result.in_order == events
    assert not result.dead


@pytest.mark.parametrize("kind", KINDS)
def test_no_events(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    assert write_events(path, []) == 0
    assert read(path).events == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_events_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / name for name in (f"a.{kind}", f"b.{kind}")]
    for path in paths:
        write_events(path, mixed(20))
    if not kind.startswith("avro"):  # whose sync marker is random
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no known kind"):
        write_events(tmp_path / "a.xml", [])


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "string": lambda: TEXT,
    "time": lambda: st.integers(0, 2**42),
    "amount": lambda: st.integers(0, MAX_AMOUNT_MINOR),
    "reason": lambda: st.sampled_from(REFUND_REASONS),
    "sha256": lambda: st.text("0123456789abcdef", min_size=64, max_size=64),
}
KNOWN = {"brand_id": "acme", "program_id": "acme-friends", "partner_id": "bakery", "currency": "USD"}


@st.composite
def good_events(draw: st.DrawFn) -> Event:
    event_type = EVENT_TYPES[draw(st.sampled_from(list(EVENT_TYPES)))]
    event: Event = {"type": event_type.name}
    for field in event_type.fields:
        if field.name in KNOWN:
            event[field.name] = KNOWN[field.name]
        elif field.required or draw(st.booleans()):
            event[field.name] = draw(VALUES[field.kind]())
    return event


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(st.lists(good_events(), max_size=12), st.integers(1, 13))
def test_the_same_events_are_admitted_from_every_format(
    tmp_path: Path, events: list[Event], chunk_records: int
) -> None:
    for kind in ("jsonl", "csv", "parquet", "avro"):
        path = tmp_path / f"a.{kind}"
        write_events(path, events)
        result = read(path, chunk_records)
        assert result.in_order == events
        assert not result.dead


def test_times_are_times_and_amounts_are_whole(tmp_path: Path) -> None:
    """An independent look at what is in the files."""
    import fastavro
    import pyarrow.parquet as pq

    write_events(tmp_path / "a.parquet", mixed(4))
    write_events(tmp_path / "a.avro", mixed(4))
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert str(schema.field("occurred_at").type) == "timestamp[ms, tz=UTC]"
    assert str(schema.field("amount_minor").type) == "int64"
    with (tmp_path / "a.avro").open("rb") as file:
        first: Any = next(iter(fastavro.reader(file)))
    assert int(first["occurred_at"].timestamp() * 1000) == AT
    write_events(tmp_path / "a.jsonl", mixed(4))
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == mixed(4)
