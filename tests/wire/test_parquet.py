"""Parquet: column types, rows of one type or of all, and broken row groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.domain.events import END_TIME_MS
from pipeline.wire.files import InputError, open_sources
from tests.wire.samples import AT, Event, click, mixed, order, read, utc


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def columns_of(events: list[Event]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for event in events for name in event))
    return {name: pa.array([event.get(name) for event in events]) for name in names}


EVENTS = [order(number) for number in range(5)]


@pytest.mark.parametrize(
    ("name", "cast"),
    [
        *(
            ("occurred_at", pa.timestamp(unit, zone))
            for unit in ("ms", "us", "ns")
            for zone in (None, "UTC", "Asia/Tokyo")
        ),
        ("occurred_at", pa.uint64()),
        ("occurred_at", pa.dictionary(pa.int32(), pa.int64())),
        *(("amount_minor", getattr(pa, each)()) for each in ("int16", "int32", "uint16", "uint32", "uint64")),
        ("event_id", pa.large_string()),
        ("event_id", pa.string_view()),
        ("event_id", pa.dictionary(pa.int32(), pa.string())),
        ("event_id", pa.dictionary(pa.int8(), pa.large_string())),
        ("event_id", pa.binary()),
        ("event_id", pa.large_binary()),
        ("type", pa.dictionary(pa.int32(), pa.string())),
        ("type", pa.binary()),
        ("coupon_code", pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
@pytest.mark.parametrize("stored_schema", [True, False])
def test_column_types_that_will_do(tmp_path: Path, name: str, cast: pa.DataType, stored_schema: bool) -> None:
    columns = columns_of(EVENTS)
    columns[name] = (
        columns[name].cast(pa.timestamp("ms")).cast(cast)
        if pa.types.is_timestamp(cast)
        else (
            columns[name].dictionary_encode().cast(cast) if pa.types.is_dictionary(cast) else columns[name].cast(cast)
        )
    )
    result = read(write(tmp_path / "a.parquet", columns, store_schema=stored_schema))
    assert result.in_order == EVENTS
    assert not result.dead


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("occurred_at", pa.array([AT / 1.0] * 5)),
        ("occurred_at", pa.array(["2026-01-01T00:00:00Z"] * 5)),
        ("occurred_at", pa.array([20_454] * 5, pa.date32())),
        ("occurred_at", pa.array([AT] * 5, pa.duration("ms"))),
        ("occurred_at", pa.array([True] * 5)),
        ("occurred_at", pa.array([END_TIME_MS] * 5)),
        ("occurred_at", pa.array([END_TIME_MS] * 5, pa.timestamp("ms"))),
        ("occurred_at", pa.array([-1] * 5, pa.timestamp("us"))),
        ("occurred_at", pa.array([2**63 - 1] * 5, pa.timestamp("us"))),
        ("occurred_at", pa.array([2**63 - 1] * 5, pa.timestamp("ms"))),
        ("occurred_at", pa.array([None] * 5)),
        ("amount_minor", pa.array([5000.0] * 5)),
        ("amount_minor", pa.array(["5000"] * 5)),
        ("amount_minor", pa.array([5000] * 5, pa.decimal128(10, 0))),
        ("amount_minor", pa.array([2**63] * 5, pa.uint64())),
        ("amount_minor", pa.array([True] * 5)),
        ("event_id", pa.array([b"abcd"] * 5, pa.binary(4))),
        ("event_id", pa.array([7] * 5)),
        ("coupon_code", pa.array([["BREAD10"]] * 5)),
        ("coupon_code", pa.array([{"code": "BREAD10"}] * 5)),
        ("coupon_code", pa.array([1.5] * 5)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_column_types_that_will_not(tmp_path: Path, name: str, values: pa.Array) -> None:
    result = read(write(tmp_path / "a.parquet", columns_of(EVENTS) | {name: values}))
    assert result.reasons == dict.fromkeys(range(1, 6), "invalid_field")
    for letter in result.dead:
        assert json.loads(letter.raw)["order_id"].startswith("A-")


def test_a_wrong_column_spoils_only_rows_that_have_a_value_there(tmp_path: Path) -> None:
    columns = columns_of([order(number, visitor_id=None) for number in range(3)])
    result = read(write(tmp_path / "a.parquet", columns | {"visitor_id": pa.array([None, 7, None])}))
    assert result.reasons == {2: "invalid_field"}
    assert set(result.events) == {1, 3}


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_digits_past_the_millisecond_are_cut(tmp_path: Path, unit: str) -> None:
    factor = {"us": 1000, "ns": 1_000_000}[unit]
    times = pa.array([AT * factor + factor - 1] * 5, pa.timestamp(unit))
    result = read(write(tmp_path / "a.parquet", columns_of(EVENTS) | {"occurred_at": times}))
    assert {event["occurred_at"] for event in result.in_order} == {AT}


def not_utf8(values: list[bytes], kind: Callable[[], pa.DataType]) -> pa.Array:
    binary = pa.large_binary() if kind is pa.large_string else pa.binary()
    return pa.array(values, binary).view(kind())


@pytest.mark.parametrize("kind", [pa.string, pa.large_string, pa.binary])
def test_text_that_is_not_utf8_spoils_its_own_row(tmp_path: Path, kind: Callable[[], pa.DataType]) -> None:
    values = not_utf8([b"a", b"\xff", b"", b"\xed\xa0\x80", "é".encode()], kind)
    result = read(write(tmp_path / "a.parquet", columns_of(EVENTS) | {"coupon_code": values}))
    assert result.reasons == {2: "invalid_field", 4: "invalid_field"}
    assert json.loads(result.dead[0].raw)["coupon_code"] == "base64:/w=="
    assert result.events[5]["coupon_code"] == "é"
    assert "coupon_code" not in result.events[3]


def test_a_dictionary_with_text_that_is_not_utf8(tmp_path: Path) -> None:
    values = not_utf8([b"a", b"\xff", b"a", b"a", b"\xff"], pa.string).dictionary_encode()
    result = read(write(tmp_path / "a.parquet", columns_of(EVENTS) | {"coupon_code": values}))
    assert result.reasons == {2: "invalid_field", 5: "invalid_field"}


def test_a_type_that_is_not_utf8_is_none(tmp_path: Path) -> None:
    types = not_utf8([b"order", b"\xff", b"order", b"ORDER", b""], pa.string)
    result = read(write(tmp_path / "a.parquet", columns_of(EVENTS) | {"type": types}))
    assert result.reasons == dict.fromkeys((2, 4, 5), "malformed")
    assert json.loads(result.dead[1].raw)["type"] == "ORDER"


@pytest.mark.parametrize("chunk_records", [1, 7, 1000])
def test_rows_of_all_types(tmp_path: Path, chunk_records: int) -> None:
    events = mixed(50)
    events[10] |= {"brand_id": "acne"}
    events[20] |= {"type": "chick"}
    path = write(tmp_path / "a.parquet", columns_of(events), row_group_size=9)
    result = read(path, chunk_records)
    assert result.events == {n: event for n, event in enumerate(events, 1) if n not in (11, 21)}
    assert result.reasons == {11: "unknown_brand", 21: "malformed"}


def test_rows_of_the_one_type_that_the_metadata_names(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{k: v for k, v in order(n).items() if k != "type"} for n in range(5)])
    pq.write_table(table.replace_schema_metadata({"crosscredit.type": "order"}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").in_order == EVENTS


@pytest.mark.parametrize("metadata", [{}, {"crosscredit.type": "purchase"}, {"crosscredit.type": b"\xff"}])
def test_rows_of_no_known_type_are_refused(tmp_path: Path, metadata: dict[str, Any]) -> None:
    table = pa.table({"event_id": ["a"]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"crosscredit\.type"):
        open_sources([str(tmp_path / "a.parquet")])


def test_raw_is_the_row_as_json_that_can_be_read_again(tmp_path: Path) -> None:
    columns = columns_of(EVENTS) | {"occurred_at": pa.array([utc(AT + n) for n in range(5)], pa.timestamp("us", "UTC"))}
    result = read(write(tmp_path / "a.parquet", columns))
    assert [json.loads(raw) for raw in result.order_raw.values()] == EVENTS


def test_unknown_columns_are_not_even_read(tmp_path: Path) -> None:
    columns = columns_of(EVENTS) | {"extra": pa.array([{"deep": [1]}] * 5), "sum.total": pa.array([1] * 5)}
    assert read(write(tmp_path / "a.parquet", columns)).in_order == EVENTS


def test_of_columns_with_one_name_the_last_counts(tmp_path: Path) -> None:
    columns = columns_of(EVENTS)
    arrays = [pa.array(["first"] * 5), *columns.values()]
    pq.write_table(pa.Table.from_arrays(arrays, ["event_id", *columns]), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").in_order == EVENTS


def test_no_rows(tmp_path: Path) -> None:
    columns = {name: values.slice(0, 0) for name, values in columns_of(EVENTS).items()}
    assert read(write(tmp_path / "a.parquet", columns)).events == {}


# Broken files


def test_a_broken_row_group_is_one_dead_letter_and_reading_goes_on(tmp_path: Path) -> None:
    events = [click(number) for number in range(300)]
    path = write(tmp_path / "a.parquet", columns_of(events), row_group_size=100, compression="zstd")
    group = pq.ParquetFile(path).metadata.row_group(1)
    content = bytearray(path.read_bytes())
    start = group.column(0).dictionary_page_offset
    whole = bytes(content[start : start + sum(group.column(i).total_compressed_size for i in range(group.num_columns))])
    content[start + 4 : start + 60] = b"\xff" * 56
    path.write_bytes(content)

    result = read(path, chunk_records=80)
    assert [(each.position, each.reason) for each in result.dead] == [(101, "malformed")]
    assert len(result.dead[0].raw) == len(whole)
    assert result.events == {n: click(n - 1) for n in (*range(1, 101), *range(201, 301))}


@pytest.mark.parametrize("chunk_records", [1, 90, 250, 5000])
def test_rows_before_a_broken_page_are_kept_whatever_the_batches(tmp_path: Path, chunk_records: int) -> None:
    events = [click(number, campaign=f"campaign {number:06d} {hash(str(number))}") for number in range(1200)]
    path = write(
        tmp_path / "a.parquet",
        columns_of(events),
        row_group_size=600,
        data_page_size=2000,
        write_batch_size=100,
        use_dictionary=False,
        write_page_checksum=True,
        compression="none",
    )
    content = bytearray(path.read_bytes())
    at = content.index(b"campaign 000333")
    content[at] ^= 1
    path.write_bytes(content)

    result = read(path, chunk_records)
    ((position, reason),) = result.reasons.items()
    assert reason == "malformed"
    assert 200 < position <= 334
    assert set(result.events) == {*range(1, position), *range(601, 1201)}
    assert (position - 1) % 100 == 0, "the page begins there, and all before it is kept"


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"not parquet at all", b"PAR1" + b"\xff" * 100 + b"PAR1"]
)
def test_a_footer_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match="footer") as refusal:
        open_sources([str(path)])
    assert str(path) in str(refusal.value)


def test_a_file_cut_short_has_no_footer(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns_of(EVENTS))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="footer"):
        open_sources([str(path)])
