"""How IDENTITY keeps a click: what comes back, what is noticed, and what happens beyond the last word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.events import EVENT_TYPES
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps.clicks import ClickCodec, KeptClick, encoded, with_edition
from pipeline.wire.admission import event_table_schema
from tests.drawn import DRAWN

SCHEMA = event_table_schema("click")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
CLICKS = st.fixed_dictionaries(
    {
        "occurred_at": st.integers(0, 7_258_118_399_999),
        "program_id": st.sampled_from(("friends", "\x00", "\U0001d51e")),
        "partner_id": TEXTS,
        "link_id": st.one_of(st.none(), TEXTS),
    }
)


def click(**fields: Any) -> dict[str, Any]:
    base = {"event_id": "k1", "occurred_at": 5, "brand_id": "acme", "program_id": "friends", "partner_id": "bakery"}
    return {**base, "visitor_id": "v1", "position": 0, **fields}


def table(*clicks: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([click(**each) for each in clicks], schema=SCHEMA)


def pack(codec: ClickCodec, store: MemoryStore, *clicks: dict[str, Any]) -> list[bytes]:
    batch = WriteBatch()
    clicks_table = encoded(table(*clicks))
    values = codec.pack(clicks_table, np.arange(len(clicks_table), dtype=np.uint64), batch)
    store.write(batch)
    return values


def essence(kept: KeptClick) -> tuple[int, str, str, str]:
    return kept.at, kept.program_id, kept.partner_id, kept.link_id


@pytest.mark.parametrize("most_words", [0, 1, 3, 1 << 20])
@DRAWN
@given(batches=st.lists(st.lists(CLICKS, min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_click_comes_back_also_after_a_restart(most_words: int, batches: list[list[dict[str, Any]]]) -> None:
    store = MemoryStore()
    codec = ClickCodec(store, most_words)
    values = [value for clicks in batches for value in pack(codec, store, *clicks)]
    expected = [
        (each["occurred_at"], each["program_id"], each["partner_id"], each["link_id"] or "")
        for clicks in batches
        for each in clicks
    ]
    for reader in (codec, ClickCodec(store, most_words), ClickCodec(store, most_words=0)):
        kept = [reader.unpack(value) for value in values]
        assert [essence(each) for each in kept] == expected
        assert {each.edition for each in kept} == {1}


def test_a_click_takes_fourteen_bytes() -> None:
    store = MemoryStore()
    long = "https://example.org/" + "x" * 500
    (value,) = pack(ClickCodec(store), store, {"link_id": "l" * 200, "landing_url": long, "user_agent": long})
    assert len(value) == 14


def test_beyond_the_last_word_links_are_spelled_out() -> None:
    """Two words may be kept: the first two. Further links cost their bytes, and one word for each partner."""
    store = MemoryStore()
    codec = ClickCodec(store, most_words=2)
    links = [{"link_id": f"link-{number}"} for number in range(50)]
    values = pack(codec, store, *links)
    assert [codec.unpack(value).link_id for value in values] == [each["link_id"] for each in links]
    assert [len(value) for value in values[:3]] == [14, 14, 14 + len("link-2")]
    assert len(list(store.scan("words", b""))) == 3
    known_again, without_link = pack(codec, store, {"link_id": "link-1"}, {"link_id": None})
    assert (len(known_again), len(without_link)) == (14, 14)
    assert codec.unpack(without_link).link_id == ""


def test_words_are_given_out_once() -> None:
    store = MemoryStore()
    codec = ClickCodec(store)
    first = pack(codec, store, {"link_id": "a"}, {"link_id": "b"}, {"link_id": "a"})
    again = pack(ClickCodec(store), store, {"link_id": "b"}, {"link_id": "a"})
    assert first[0] == first[2] == again[1] != first[1] == again[0]
    assert len(list(store.scan("words", b""))) == 2


OWN_FIELDS = [
    name
    for name in EVENT_TYPES["click"].field_names
    if name not in ("event_id", "brand_id", "visitor_id", "occurred_at")
]


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_another_content_is_noticed_in_every_field(name: str) -> None:
    store = MemoryStore()
    codec = ClickCodec(store)
    full = {field: f"some {field}" for field in OWN_FIELDS}
    kept, same, other = (
        codec.unpack(value).fingerprint for value in pack(codec, store, full, full, full | {name: "another"})
    )
    assert kept == same != other
    if name not in ("program_id", "partner_id"):
        (absent,) = pack(codec, store, full | {name: None})  # a batch in which the whole column is empty
        in_company, _ = pack(codec, store, full | {name: None}, full)
        assert codec.unpack(absent).fingerprint == codec.unpack(in_company).fingerprint != kept


def test_values_that_change_places_are_another_content() -> None:
    store = MemoryStore()
    codec = ClickCodec(store)
    one, other = pack(codec, store, {"ip": "a", "country": "b"}, {"ip": "b", "country": "a"})
    assert codec.unpack(one).fingerprint != codec.unpack(other).fingerprint


def test_what_is_in_the_key_is_not_in_the_fingerprint() -> None:
    store = MemoryStore()
    codec = ClickCodec(store)
    one, other = pack(codec, store, {}, {"event_id": "k2", "visitor_id": "v2", "brand_id": "b2", "occurred_at": 9})
    assert codec.unpack(one).fingerprint == codec.unpack(other).fingerprint


def test_editions_count_and_stop_at_the_largest() -> None:
    store = MemoryStore()
    codec = ClickCodec(store)
    (value,) = pack(codec, store, {"link_id": "a"})
    second = codec.unpack(with_edition(value, 2))
    assert second == codec.unpack(value)._replace(edition=2)
    assert codec.unpack(with_edition(value, 70_000)).edition == 65_535
