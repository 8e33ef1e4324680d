"""Rows of our own records as Kafka values, and back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.wire.messages import Messages, row_key
from pipeline.wire.own_schemas import newest_schema, record_names, schemas_folder
from pipeline.wire.schema_ids import LocalSchemas, header
from tests.drawn import DRAWN
from tests.wire.test_kafka_events import INTS, LONGS, TEXTS

SCHEMAS = schemas_folder()
LOCAL = LocalSchemas()
RECORDS = record_names(SCHEMAS)


def values_of(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([values_of(branch) for branch in schema])
    if isinstance(schema, dict):
        if schema.get("logicalType") == "decimal":
            return st.integers(-(2**127) // 2, 2**126)
        schema = schema["type"]
    return {
        "null": st.none(),
        "string": TEXTS,
        "long": LONGS,
        "int": INTS,
        "boolean": st.booleans(),
        "bytes": st.binary(max_size=9),
    }[schema]


def rows_of(record: str) -> st.SearchStrategy[tuple[Any, ...]]:
    fields = newest_schema(record, SCHEMAS)["fields"]
    return st.tuples(
        *(st.integers(0, 1) if field["name"] == "is_deleted" else values_of(field["type"]) for field in fields)
    )


@pytest.mark.parametrize("record", RECORDS)
@given(data=st.data())
@settings(DRAWN, max_examples=DRAWN.max_examples // 8)  # for each record
def test_what_is_written_is_read(record: str, data: st.DataObject) -> None:
    # Some rows many times over, since many are written and read in another way than a few.
    rows = data.draw(st.lists(rows_of(record), min_size=1, max_size=4)) * data.draw(st.sampled_from([1, 30]))
    messages = Messages(LOCAL)
    values = messages.encode(record, rows)

    assert messages.decode(record, values) == (rows, [])
    assert [value for row in rows for value in messages.encode(record, [row])] == values
    schema = fastavro.parse_schema(LOCAL.schema_of(LOCAL.id_of(record)))
    for value in values[:4]:
        assert value[:5] == header(LOCAL.id_of(record))
        fastavro.schemaless_reader(body := io.BytesIO(value[5:]), plain(schema), None)
        assert not body.read()


def plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: plain(each) for name, each in schema.items() if name not in ("logicalType", "precision", "scale")}
    return [plain(each) for each in schema] if isinstance(schema, list) else schema


@given(data=st.data())
@settings(DRAWN, max_examples=DRAWN.max_examples // 2)
def test_a_broken_value_has_no_row_and_harms_no_other(data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(RECORDS))
    messages = Messages(LOCAL)
    rows = data.draw(st.lists(rows_of(record), min_size=1, max_size=4)) * data.draw(st.sampled_from([1, 30]))
    values: list[bytes | None] = list(messages.encode(record, rows))
    other = "refund" if record != "refund" else "order"
    good = values[0] or b""
    bad = [None, b"", good[:5], good[:-1], good + b"\x00", b"\x01" + good[1:], header(9999) + good[5:]]
    bad.append(header(LOCAL.id_of(other)) + good[5:])
    places = data.draw(st.lists(st.integers(0, len(values)), min_size=1, max_size=5))
    for place in sorted(places, reverse=True):
        values.insert(place, data.draw(st.sampled_from(bad)))
    broken = [index + place for index, place in enumerate(sorted(places))]

    assert messages.decode(record, values) == (rows, broken)


@pytest.mark.parametrize("record", RECORDS)
def test_the_example_has_a_key_and_goes_both_ways(record: str) -> None:
    example = json.loads((SCHEMAS / "examples" / f"{record}.json").read_text())
    names = Messages(LOCAL).fields(record)
    assert tuple(example) == names
    assert row_key(record, tuple(example.values()))


def test_a_key_is_one_fields_text_or_the_json_array_of_several() -> None:
    assert row_key("binding", ("acme", "v-é", "c")) == "v-é".encode()
    assert row_key("watermark", ("referrals.click.v1", 3, None, False)) == b'["referrals.click.v1",3]'
    assert row_key("kept_refund", ("r", 'a"b', "ü", *[None] * 8)) == '["a\\"b","ü","r"]'.encode()


def test_bytes_may_be_given_as_text() -> None:
    messages = Messages(LOCAL)
    row = ("referrals.order.v1/3", "1207", "malformed", "é", 1, 0)
    (value,) = messages.encode("dead_letter", [row])
    assert messages.decode("dead_letter", [value]) == ([(*row[:3], "é".encode(), *row[4:])], [])


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize(
    "row",
    [("acme", "v"), ("acme", "v", "c", "more"), ("acme", None, "c"), ("acme", 7, "c"), ("acme", "\ud800", "c")],
    ids=["short", "long", "null", "number", "surrogate"],
)
def test_a_row_that_does_not_fit_is_not_written(row: tuple[Any, ...], count: int) -> None:
    with pytest.raises((ValueError, TypeError)):
        Messages(LOCAL).encode("binding", [row] * count)


@pytest.mark.parametrize("count", [1, 100])
def test_rows_are_read_in_our_newest_version_whatever_they_were_written_with(tmp_path: Path, count: int) -> None:
    def fields(*names: str) -> list[dict[str, Any]]:
        return [{"name": name, "type": "string", "default": f"no {name}"} for name in names]

    def folder(name: str, *versions: list[dict[str, Any]]) -> Path:
        place = tmp_path / name
        place.mkdir()
        for number, each in enumerate(versions, start=1):
            schema = {"type": "record", "name": "note", "fields": each}
            (place / f"note.v{number}.avsc").write_text(json.dumps(schema))
        ids = {f"note.v{number}": number for number in range(1, len(versions) + 1)}
        (place / "ids.json").write_text(json.dumps(ids))
        return place

    old = folder("old", fields("a", "b"))
    new = folder("new", fields("a", "b"), fields("c", "b", "a"))
    old_messages, new_messages = Messages(LocalSchemas(old), old), Messages(LocalSchemas(new), new)
    of_both = Messages(LocalSchemas(new), old)  # a worker of the old version that reads what the new one wrote

    written = old_messages.encode("note", [("1", "2")] * count)
    assert new_messages.decode("note", written) == ([("no c", "2", "1")] * count, [])
    written = new_messages.encode("note", [("3", "2", "1")] * count)
    assert of_both.decode("note", written) == ([("1", "2")] * count, [])
