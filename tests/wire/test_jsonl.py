"""JSON Lines: what a line is, what JSON is, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.wire import streams
from tests.wire.samples import AT, MAKERS, click, mixed, order, read, sign_up


def write(path: Path, *lines: bytes | str, end: bytes = b"\n") -> Path:
    path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + end for line in lines))
    return path


def test_positions_are_line_numbers_and_blank_lines_count(tmp_path: Path) -> None:
    lines = [b"", json.dumps(click()), b"  \t", b"\r", b"{", json.dumps(sign_up()), b""]
    result = read(write(tmp_path / "a.jsonl", *lines))
    assert result.events == {2: click(), 6: sign_up()}
    assert result.reasons == {5: "malformed"}
    assert sum(chunk.records for chunk in result.chunks) == 3


def test_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(each).encode() for each in (order(), click())))
    result = read(path)
    assert result.events == {1: order(), 2: click()}
    assert result.order_raw == {1: json.dumps(order()).encode()}


def test_a_byte_order_mark_elsewhere_is_no_json(tmp_path: Path) -> None:
    line = b"\xef\xbb\xbf" + json.dumps(click()).encode()
    result = read(write(tmp_path / "a.jsonl", json.dumps(click()), line))
    assert [(each.position, each.raw) for each in result.dead] == [(2, line)]


def test_a_carriage_return_ends_no_line(tmp_path: Path) -> None:
    two = json.dumps(click(1)) + "\r" + json.dumps(click(2))
    assert read(write(tmp_path / "a.jsonl", two)).reasons == {1: "malformed"}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"}",
        b"[]",
        b"null",
        b"7",
        b'"click"',
        b'"type"',
        b'[{"type":"click"}]',
        b"{}",
        b'{"type":"refunds"}',
        b'{"type":["click"]}',
        b'{"type":{}}',
        b'{"type":1.5}',
        b'{"type":"cl\\ud800"}',
        b'{"type":"click"} x',
        b'{"type":"click"}{"type":"click"}',
        b"{'type':'click'}",
        b'{"type":"click",}',
        b'{"type":"click","a":NaN}',
        b'{"type":"click","a":Infinity}',
        b'{"type":"click","a":-Infinity}',
        b'{"type":"click","a":01}',
        b'{"type":"click","a":"\t"}',
        b'{"type":"click","a":"\xff"}',
        b'{"type":"click","a":"\xed\xa0\x80"}',
        b'\xff\xfe{\x00"\x00',
        b"\x00\x01\x02",
        b'{"type":"click","a":' + b"[" * 100_000,
        b'{"type":"click","a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"type":"click","a":"' + b'\\"' * 100_000,
    ],
    ids=lambda line: repr(line[:24]),
)
def test_malformed(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(click())
    result = read(write(tmp_path / "a.jsonl", good, line, good))
    assert [(each.position, each.reason, each.raw) for each in result.dead] == [(2, "malformed", line)]
    assert set(result.events) == {1, 3}


def with_raw_field(name: str, value: str) -> str:
    """A click with a field that holds exactly this JSON text."""
    return json.dumps(click(**{name: "@"})).replace('"@"', value)


@pytest.mark.parametrize(
    "value",
    [
        '"\\ud800"',
        '"\\udc00\\ud800"',
        "1e400",
        "-1e400",
        "1" * 30,
        "1" * 5000,
        "[" * 900 + "]" * 900,
        '{"a": {"b": [1, null, "c"]}}',
        "0.1e-999",
    ],
    ids=lambda value: value[:12],
)
def test_an_unknown_field_may_hold_any_json(tmp_path: Path, value: str) -> None:
    assert read(write(tmp_path / "a.jsonl", with_raw_field("extra", value))).in_order == [click()]


@pytest.mark.parametrize(("depth", "count"), [(490, 1), (600, 0)])
def test_how_deep_what_orjson_refuses_may_nest(tmp_path: Path, depth: int, count: int) -> None:
    """The limit is fixed, so that it does not depend on how deep the reader's own stack is."""
    line = with_raw_field("extra", "[" * depth + '"[\\ud800"' + "]" * depth)
    result = read(write(tmp_path / "a.jsonl", line))
    assert (len(result.events), len(result.dead)) == (count, 1 - count)


@pytest.mark.parametrize("name", ["link_id", "event_id", "brand_id"])
@pytest.mark.parametrize("value", ['"\\ud800"', '"a\\udfff"', "1e400", "1" * 5000, "{}", "[]", "false", "0"])
def test_a_known_field_may_not(tmp_path: Path, name: str, value: str) -> None:
    line = with_raw_field(name, value)
    result = read(write(tmp_path / "a.jsonl", json.dumps(click(1)), line, json.dumps(click(2))))
    assert [(each.position, each.reason, each.raw) for each in result.dead] == [(2, "invalid_field", line.encode())]


@pytest.mark.parametrize("value", ["18446744073709551616", "1" * 5000, "1e3", "5000.0", "1e400", '"5000"', "true"])
def test_an_amount_is_an_integer_of_63_bits(tmp_path: Path, value: str) -> None:
    line = json.dumps(order(amount_minor="@")).replace('"@"', value)
    assert read(write(tmp_path / "a.jsonl", line)).reasons == {1: "invalid_field"}


def test_a_pair_of_surrogates_is_one_character(tmp_path: Path) -> None:
    line = with_raw_field("link_id", '"\\ud83d\\ude00"')
    assert read(write(tmp_path / "a.jsonl", line)).in_order == [click(link_id="\U0001f600")]


def test_of_a_name_that_stands_twice_the_last_counts(tmp_path: Path) -> None:
    line = with_raw_field("extra", '"\\ud800", "event_id": "last"')  # the slow way
    line_fast = with_raw_field("extra", '1, "event_id": "last"')
    result = read(write(tmp_path / "a.jsonl", line, line_fast))
    assert result.in_order == [click(event_id="last")] * 2


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    line = json.dumps(order(amount_minor="@")).replace('"@"', "-0")
    assert read(write(tmp_path / "a.jsonl", line)).in_order == [order(amount_minor=0)]


def test_times_as_text_and_as_numbers_mixed(tmp_path: Path) -> None:
    given = [AT, "2026-01-01T00:00:00Z", "2025-12-31T19:00:00.000-05:00", "2026-01-01 00:00:00.0009z"]
    lines = [json.dumps(click(number, occurred_at=at)) for number, at in enumerate(given)]
    result = read(write(tmp_path / "a.jsonl", *lines))
    assert [event["occurred_at"] for event in result.in_order] == [AT] * 4


def test_a_line_of_10_mb(tmp_path: Path) -> None:
    url = "https://example.com/" + "x" * 10_000_000
    bad = b"{" + b"y" * 10_000_000
    lines = [json.dumps(click(1)), json.dumps(click(2, landing_url=url)), bad, json.dumps(click(3))]
    result = read(write(tmp_path / "a.jsonl", *lines))
    assert result.events == {1: click(1), 2: click(2, landing_url=url), 4: click(3)}
    assert [(each.position, each.raw) for each in result.dead] == [(3, bad)]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n"])
def test_a_line_longer_than_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: bytes) -> None:
    monkeypatch.setattr(streams, "MAX_RAW_BYTES", 1000)
    monkeypatch.setattr(streams, "_MAX_OUTPUT", 256)
    good = json.dumps(click()).encode()
    long = json.dumps(click(landing_url="x" * 5000)).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join((good, long, good, long, long, good, long)) + tail)
    result = read(path)
    assert set(result.events) == {1, 3, 6}
    assert [(each.position, each.reason, each.raw) for each in result.dead] == [
        (number, "malformed", long[:1000]) for number in (2, 4, 5, 7)
    ]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64])
def test_where_the_reads_fall_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(streams, "_MAX_OUTPUT", piece)
    path = tmp_path / "a.jsonl"
    text = "\n".join([json.dumps(click(1)), "", "{", json.dumps(order(2)), "  "])
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    result = read(path)
    assert result.events == {1: click(1), 4: order(2)}
    assert result.reasons == {3: "malformed"}


@pytest.mark.parametrize("chunk_records", [1, 3, 10, 1000])
def test_chunks(tmp_path: Path, chunk_records: int) -> None:
    events = mixed(40)
    path = write(tmp_path / "a.jsonl", *(json.dumps(event) for event in events))
    result = read(path, chunk_records)
    assert result.in_order == events
    assert len(result.chunks) == -(-40 // chunk_records)


def test_the_bytes_of_orders_are_kept(tmp_path: Path) -> None:
    lines = [json.dumps(make(1, extra=" "), indent=None).encode() + b"  " for make in MAKERS.values()]
    result = read(write(tmp_path / "a.jsonl", *lines))
    assert result.order_raw == {3: lines[2]}


def test_an_empty_file_has_no_events(tmp_path: Path) -> None:
    result = read(write(tmp_path / "a.jsonl"))
    assert (result.events, result.dead) == ({}, [])
