"""Avro container files: which record is which event, both decoders, and broken blocks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.wire import avro_blocks
from pipeline.wire.admission import Admission
from pipeline.wire.avro_blocks import BrokenBlockError
from pipeline.wire.avro_decoding import _Flat, _General, decoder_for
from pipeline.wire.avro_schemas import read_schema
from pipeline.wire.files import InputError, open_sources
from pipeline.wire.writing import write_events
from tests.wire.samples import AT, CATALOGUE, MAKERS, Event, Result, click, mixed, order, read, sign_up

SCHEMAS = Path(__file__).parents[2] / "schemas"
SYNC = b"0123456789abcdef"


def schema_of(event_type: str, **changes: Any) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{event_type}.v1.avsc").read_text())
    return schema | changes


def write(path: Path, schema: Any, records: Iterable[Any], **options: Any) -> Path:
    with path.open("wb") as file:
        fastavro.writer(file, schema, records, sync_marker=SYNC, **options)
    return path


def untyped(event: Event) -> Event:
    return {name: value for name, value in event.items() if name != "type"}


CLICKS = [click(number) for number in range(300)]


@pytest.mark.parametrize("event_type", MAKERS)
def test_the_projects_own_schemas(tmp_path: Path, event_type: str) -> None:
    events = [MAKERS[event_type](number) for number in range(10)]
    result = read(write(tmp_path / "a.avro", schema_of(event_type), map(untyped, events)))
    assert result.in_order == events
    assert sorted(result.events) == list(range(1, 11))


@pytest.mark.parametrize("name", ["click", "Click", "CLICK", "other.Click", "sign_up", "SignUp", "Signup", "signUp"])
def test_names_of_records(tmp_path: Path, name: str) -> None:
    event = sign_up() if "p" in name.lower() else click()
    schema = schema_of(event["type"], name=name, namespace="")
    assert read(write(tmp_path / "a.avro", schema, [untyped(event)])).in_order == [event]


@pytest.mark.parametrize("chunk_records", [1, 7, 1000])
def test_a_union_of_records(tmp_path: Path, chunk_records: int) -> None:
    events = mixed(60)
    schema = [schema_of(event_type) for event_type in MAKERS]
    records = [(f"referrals.v1.{event['type']}", untyped(event)) for event in events]
    path = write(tmp_path / "a.avro", schema, records, sync_interval=500)
    assert read(path, chunk_records).events == dict(enumerate(events, 1))


def test_a_union_with_records_of_no_known_type(tmp_path: Path) -> None:
    note = {"type": "record", "name": "note", "fields": [{"name": "text", "type": "string"}]}
    records = [None, ("referrals.v1.click", untyped(click())), ("note", {"text": "hi"}), 7]
    result = read(write(tmp_path / "a.avro", ["null", schema_of("click"), note, "long"], records))
    assert result.events == {2: click()}
    assert [(each.position, each.reason, json.loads(each.raw)) for each in result.dead] == [
        (1, "malformed", {}),
        (3, "malformed", {"text": "hi"}),
        (4, "malformed", {"value": 7}),
    ]


def test_a_field_that_tells_the_type(tmp_path: Path) -> None:
    events = [*mixed(20), click(20, type="chick")]
    write_events(tmp_path / "a.avro", events)
    result = read(tmp_path / "a.avro", chunk_records=7)
    assert result.in_order == events[:-1]
    assert result.reasons == {21: "malformed"}
    assert json.loads(result.dead[0].raw)["type"] == "chick"


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "zstandard"])
def test_codecs(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "a.avro", schema_of("click"), map(untyped, CLICKS), codec=codec, sync_interval=2000)
    assert read(path).in_order == CLICKS


def snappy(body: bytes) -> bytes:
    """All of ``body`` as literals, with Avro's checksum."""
    import zlib

    import pyarrow as pa

    packed = bytes(pa.Codec("snappy").compress(body))
    return packed + zlib.crc32(body).to_bytes(4, "big")


def container(schema: Any, codec: str, *blocks: bytes) -> bytes:
    """A container file from blocks made by hand."""
    out = io.BytesIO()
    fastavro.writer(out, schema, [], sync_marker=SYNC, codec="null")
    head = out.getvalue()
    if codec != "null":
        head = head.replace(b"\x08null", bytes([2 * len(codec)]) + codec.encode())
    return head + b"".join(blocks)


def block(count: int, body: bytes, sync: bytes = SYNC) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", count)
    fastavro.schemaless_writer(out, "long", len(body))
    return out.getvalue() + body + sync


def encoded(schema: Any, *events: Event) -> bytes:
    out = io.BytesIO()
    for event in events:
        fastavro.schemaless_writer(out, schema, untyped(event))
    return out.getvalue()


def test_snappy(tmp_path: Path) -> None:
    body = encoded(schema_of("click"), *CLICKS[:3])
    good, bad = block(3, snappy(body)), block(3, snappy(body)[:-1] + b"\0")
    (tmp_path / "a.avro").write_bytes(container(schema_of("click"), "snappy", good, bad, good))
    result = read(tmp_path / "a.avro")
    assert result.in_order == CLICKS[:3] * 2
    assert [(each.position, each.raw) for each in result.dead] == [(4, bad)]


@pytest.mark.parametrize(
    ("avro_type", "value"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, AT),
        ({"type": "long", "logicalType": "timestamp-micros"}, AT * 1000 + 999),
        ({"type": "long", "logicalType": "timestamp-nanos"}, AT * 1_000_000 + 999_999),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, AT),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, AT * 1000 + 999),
        ("long", AT),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], AT * 1000),
        ([{"type": "long", "logicalType": "timestamp-micros"}, "null"], AT * 1000),
        ({"type": "long", "logicalType": "time-micros"}, None),
        ({"type": "int", "logicalType": "date"}, None),
        ("double", None),
    ],
    ids=str,
)
@pytest.mark.parametrize("flat", [True, False])
def test_times(tmp_path: Path, avro_type: Any, value: int | None, flat: bool) -> None:
    fields = [
        {"name": "occurred_at", "type": _plain(avro_type)} if field["name"] == "occurred_at" else field
        for field in schema_of("click")["fields"]
    ]
    if not flat:
        fields.append({"name": "extra", "type": {"type": "array", "items": "string"}, "default": []})
    event = untyped(click()) | {"occurred_at": 20_454 if value is None else value}
    body = encoded(schema_of("click", fields=fields), event | {"extra": ["x"]})
    fields = [field | ({"type": avro_type} if field["name"] == "occurred_at" else {}) for field in fields]
    (tmp_path / "a.avro").write_bytes(container(schema_of("click", fields=fields), "null", block(1, body)))
    result = read(tmp_path / "a.avro")
    if value is None:
        assert result.reasons == {1: "invalid_field"}
    else:
        assert result.in_order == [click(occurred_at=AT)]


def _plain(avro_type: Any) -> Any:
    """Without logical types, so that the writer takes integers as they are."""
    if isinstance(avro_type, list):
        return [_plain(each) for each in avro_type]
    return avro_type["type"] if isinstance(avro_type, dict) else avro_type


def test_an_enum_is_text_and_bytes_are_not(tmp_path: Path) -> None:
    reasons = {"type": "enum", "name": "reasons", "symbols": ["refund", "chargeback", "whim"]}
    refund = schema_of("refund")
    refund["fields"][-1]["type"] = reasons
    records = [untyped(MAKERS["refund"](number, reason=reason)) for number, reason in enumerate(reasons["symbols"])]
    assert read(write(tmp_path / "a.avro", refund, records)).reasons == {3: "invalid_field"}

    refund["fields"][-1]["type"] = "bytes"
    records = [record | {"reason": b"refund"} for record in records]
    assert set(read(write(tmp_path / "b.avro", refund, records)).reasons) == {1, 2, 3}


@pytest.mark.parametrize("flat", [True, False])
def test_text_that_is_not_utf8_spoils_its_own_record(tmp_path: Path, flat: bool) -> None:
    schema = schema_of("click")
    if not flat:
        schema["fields"].append({"name": "extra", "type": {"type": "map", "values": "string"}, "default": {}})
    event = click(campaign="@@", extra={"a": "b"})
    bad = encoded(schema, event).replace(b"@@", b"\xff\xc3")
    body = encoded(schema, event) + bad + encoded(schema, event)
    (tmp_path / "a.avro").write_bytes(container(schema, "null", block(3, body)))
    result = read(tmp_path / "a.avro")
    assert set(result.events) == {1, 3}
    assert result.reasons == {2: "invalid_field"}
    assert json.loads(result.dead[0].raw)["campaign"] == "base64:/8M="


# Headers


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "header"),
        (b"Obj", "header"),
        (b"PAR1" * 20, "header"),
        (b"Obj\x01" + b"\xff" * 100, "header"),
        (b"Obj\x01" + b"\x00" * 100, "header"),
        (container("string", "null"), "no record of a known type"),
        (container({"type": "record", "name": "note", "fields": []}, "null"), "no record of a known type"),
        (container(schema_of("click"), "null").replace(b'"record"', b'"rekord"'), "not valid"),
        (container(schema_of("click"), "lzma2"), "codec `lzma2`"),
        (
            container(
                schema_of("click", fields=[{"name": "next", "type": ["null", "referrals.v1.click"]}]),
                "null",
            ),
            "within itself",
        ),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.avro"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as refusal:
        open_sources([str(path)])
    assert str(path) in str(refusal.value)


# Broken blocks

THREE = [block(2, encoded(schema_of("click"), click(2 * n), click(2 * n + 1))) for n in range(3)]
SIX = dict(enumerate((click(number) for number in range(6)), 1))


def read_blocks(tmp_path: Path, *blocks: bytes, schema: Any = None) -> Result:
    (tmp_path / "a.avro").write_bytes(container(schema or schema_of("click"), "null", *blocks))
    return read(tmp_path / "a.avro")


def test_whole_blocks(tmp_path: Path) -> None:
    assert read_blocks(tmp_path, *THREE, block(0, b"")).events == SIX


def garbled(number: int) -> bytes:
    """The block with its first record's first length far too long."""
    return THREE[number][:3] + b"\xfe\xff\xff\xff\x7f" + THREE[number][8:]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(garbled(1), id="a record that ends nowhere"),
        pytest.param(b"\x06" + THREE[1][1:], id="more records than there are"),
        pytest.param(b"\x02" + THREE[1][1:], id="fewer records than there are"),
        pytest.param(b"\x00" + THREE[1][1:], id="no records, but bytes"),
        pytest.param(b"\x01" + THREE[1][1:], id="a negative count"),
        pytest.param(THREE[1][:1] + b"\x01" + THREE[1][2:], id="a negative size"),
        pytest.param(b"\xff" * 30 + THREE[1][-16:], id="no frame"),
        pytest.param(THREE[1][:20] + THREE[1][40:], id="bytes missing"),
        pytest.param(THREE[1][:20] + b"more" + THREE[1][20:], id="bytes too many"),
        pytest.param(THREE[1][:-16] + b"!" * 16, id="another sync marker"),
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_a_broken_block_is_one_dead_letter_and_reading_goes_on(tmp_path: Path, bad: bytes, flat: bool) -> None:
    schema: Any = schema_of("click")
    blocks = [THREE[0], bad, THREE[2]]
    if not flat:  # a field that takes no byte, but keeps the flat decoder away
        schema["fields"].append({"name": "extra", "type": "null"})
    result = read_blocks(tmp_path, *blocks, schema=schema)
    ((position, reason, raw),) = [(each.position, each.reason, each.raw) for each in result.dead]
    assert (position, reason, raw) == (3, "malformed", bad)
    assert result.in_order == [click(0), click(1), click(4), click(5)]


def test_positions_go_on_by_the_number_of_records_that_the_block_says(tmp_path: Path) -> None:
    assert set(read_blocks(tmp_path, THREE[0], garbled(1), THREE[2]).events) == {1, 2, 5, 6}


@pytest.mark.parametrize("cut", [1, 2, 10, 50, 100])
def test_a_file_cut_short(tmp_path: Path, cut: int) -> None:
    result = read_blocks(tmp_path, *THREE[:2], THREE[2][:-cut])
    assert set(result.events) == {1, 2, 3, 4}
    assert [(each.position, each.raw) for each in result.dead] == [(5, THREE[2][:-cut])]


def test_two_broken_blocks_in_a_row(tmp_path: Path) -> None:
    result = read_blocks(tmp_path, garbled(0), garbled(1), THREE[2])
    assert result.reasons == {1: "malformed", 3: "malformed"}
    assert set(result.events) == {5, 6}


def test_a_sync_marker_far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_blocks, "MAX_RAW_BYTES", 10_000)
    noise = b"\xff" * 3_000_000
    result = read_blocks(tmp_path, THREE[0], noise + SYNC, THREE[2])
    assert [(each.position, each.raw) for each in result.dead] == [(3, noise[:10_000])]
    assert result.in_order == [click(0), click(1), click(4), click(5)]


def test_an_integer_without_end_is_no_work(tmp_path: Path) -> None:
    bad = block(1, b"\xff" * 5_000_000)
    assert [each.raw for each in read_blocks(tmp_path, THREE[0], bad).dead] == [bad]


# Both decoders agree


def outcome(decoder: Any, body: bytes, count: int) -> tuple[Any, ...] | None:
    """What one block gives; None if it is broken."""
    try:
        decoder.add(body, count)
    except BrokenBlockError:
        assert not decoder.waiting
        return None
    if not decoder.waiting:
        return {}, []
    result = decoder.judged(10**6, 1, Admission(CATALOGUE), "s")
    assert not decoder.waiting
    events = {name: table.drop(["raw"]) if name == "order" else table for name, table in result.events.items()}
    return events, [(each.position, each.reason, json.loads(each.raw)) for each in result.dead]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(
                    [
                        *mixed(4),
                        order(2, click_id="é"),
                        order(3, currency="X"),
                        order(4, amount_minor=-1),
                        click(country=""),
                    ]
                )
            ),
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
            st.integers(-1, 1),
        ),
        max_size=4,
    ),
    st.sampled_from(["union", "type field", "order"]),
)
def test_the_flat_decoder_is_fastavro_but_faster(
    blocks: list[tuple[list[Event], list[tuple[int, int]], int]], kind: str
) -> None:
    """fastavro takes a union's branch -1 for its last, so that damaged bytes may be a record to it alone."""
    orders = schema_of("order")
    typed = orders | {"name": "row", "fields": [{"name": "type", "type": "string"}, *orders["fields"]]}
    union = [schema_of(event_type) for event_type in MAKERS]
    schema = read_schema({"union": union, "type field": typed, "order": orders}[kind])
    flat = decoder_for(schema)
    assert isinstance(flat, _Flat)
    for events, flips, miscounted in blocks:
        if kind != "union":
            events = [event for event in events if event["type"] == "order"]
        out = io.BytesIO()
        for event in events:
            name = f"referrals.v1.{event['type']}"
            record = event if kind == "type field" else untyped(event)
            fastavro.schemaless_writer(out, schema.parsed, (name, record) if kind == "union" else record)
        body = bytearray(out.getvalue())
        for at, byte in flips:
            if at < len(body):
                body[at] = byte
        count = max(0, len(events) + miscounted)
        ours, theirs = outcome(flat, bytes(body), count), outcome(_General(schema), bytes(body), count)
        assert ours == theirs or (ours is None and flips)


@pytest.mark.parametrize(
    "schema",
    [
        [schema_of("click"), "null"],
        [schema_of("click"), {"type": "record", "name": "note", "fields": [{"name": "text", "type": "string"}]}],
        [schema_of("click"), schema_of("order", fields=[{"name": "event_id", "type": "long"}])],
        [
            schema_of("click"),
            schema_of("order", fields=[{"name": "occurred_at", "type": "long"}, {"name": "x", "type": "null"}]),
        ],
        [schema_of("click"), {"type": "record", "name": "row", "fields": [{"name": "type", "type": "int"}]}],
        schema_of("click", fields=[{"name": "event_id", "type": ["null", "string", "long"]}]),
        schema_of("click", fields=[{"name": "event_id", "type": "bytes"}]),
        schema_of("click", fields=[]),
    ],
    ids=repr,
)
def test_what_is_not_flat_is_left_to_fastavro(schema: Any) -> None:
    assert isinstance(decoder_for(read_schema(schema)), _General)
