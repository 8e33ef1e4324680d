"""Values of the input topics: the same events and dead letters as one by one, whatever is wrong with which of them."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.admission import DeadLetter
from pipeline.wire.avro_schemas import FASTAVRO_ERRORS
from pipeline.wire.batches import RecordBatch
from pipeline.wire.columns import Candidates, from_records
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.schema_ids import LocalSchemas, RegistryUnavailableError, UnknownSchemaError, header
from tests.drawn import DRAWN
from tests.wire.samples import AT

TIME = {"type": "long", "logicalType": "timestamp-millis"}
TEXT = ["null", "string"]
LOCAL = LocalSchemas()


def record(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "namespace": "elsewhere", "fields": listed}


REASON = {"type": "enum", "name": "why", "symbols": ["refund", "chargeback", "cancellation", "whim"]}
WRITERS: dict[int, Any] = {
    101: record("Click", {"event_id": "string", "occurred_at": TIME, "brand_id": "string"}),
    102: record("click", {"new": "double", "link_id": ["string", "null"], "ip": "string", "more": [REASON, "null"]}),
    103: record("click", {"event_id": "long", "occurred_at": ["null", "string"], "ip": "boolean", "country": "int"}),
    104: record("click", {"event_id": "string", "tags": {"type": "array", "items": "string"}, "ip": "bytes"}),
    105: record("click", {"occurred_at": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "ip": TEXT}),
    106: record("click", {"occurred_at": {"type": "int", "logicalType": "date"}, "ip": TEXT}),
    107: record("refund", {"event_id": "string", "amount_minor": "int", "reason": REASON}),
    108: record("refund", {"event_id": "string", "amount_minor": ["null", "long"], "reason": ["null", REASON]}),
    109: record("impression", {"event_id": "string"}),
    110: "string",
    111: [record("click", {"event_id": "string"}), record("order", {"event_id": "string"})],
    112: None,
    113: {"type": "record", "name": "click"},
    114: record("click", {"type": "string", "event_id": "string", "occurred_at": "int"}),
}


class Writers:
    """The ids of the folder, and those of other producers."""

    def id_of(self, record: str) -> int:
        return LOCAL.id_of(record)

    def schema_of(self, schema_id: int) -> Any:
        return WRITERS[schema_id] if schema_id in WRITERS else LOCAL.schema_of(schema_id)


def plain(schema: Any) -> Any:
    """Without logical types, so that times are written and read as integers."""
    if isinstance(schema, dict):
        return {name: plain(value) for name, value in schema.items() if name != "logicalType"}
    return [plain(each) for each in schema] if isinstance(schema, list) else schema


def encoded(schema_id: int, fields: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, plain(Writers().schema_of(schema_id)), fields)
    return header(schema_id) + stream.getvalue()


def batch_of(values: list[bytes | None], topic: str = "referrals.click.v1") -> RecordBatch:
    offsets = [100 + 3 * index for index in range(len(values))]
    count = len(values)
    return RecordBatch(topic, 5, offsets, [b"key"] * count, values, [AT] * count, [()] * count)


def rows_of(candidates: Candidates) -> list[dict[str, Any]]:
    """What admission sees of each candidate."""
    columns = {name: column.to_pylist() for name, column in candidates.columns.items()}
    marks = candidates.ill_typed
    rows = []
    for row, position in enumerate(candidates.positions.tolist()):
        fields = {name: columns[name][row] if name in columns else None for name in _names(candidates)}
        is_marked = marks is not None and bool(marks[row])
        rows.append({"position": position, "ill_typed": is_marked, "raw": candidates.raw_of([row])[0]} | fields)
    return rows


def _names(candidates: Candidates) -> tuple[str, ...]:
    return EVENT_TYPES[candidates.event_type].field_names


def one_by_one(event_type: str, batch: RecordBatch) -> tuple[Candidates, list[DeadLetter]]:
    """What should come of a batch: fastavro for each value by itself, and its records by their names."""
    records, good, dead = [], [], []
    for row, value in enumerate(batch.values):
        found = read_alone(event_type, value)
        if found is None:
            dead.append(DeadLetter("referrals.click.v1/5", batch.offsets[row], "malformed", value or b""))
        else:
            records.append(found)
            good.append(row)
    positions = np.array([batch.offsets[row] for row in good], dtype=np.uint64)

    def raw_of(rows: Any) -> list[bytes]:
        return [batch.values[good[row]] or b"" for row in rows]

    return from_records(event_type, records, positions, raw_of, is_json=False), dead


def read_alone(event_type: str, value: bytes | None) -> dict[str, Any] | None:
    if value is None or len(value) < 5 or value[0] != 0:
        return None
    try:
        schema = Writers().schema_of(int.from_bytes(value[1:5], "big"))
    except UnknownSchemaError:
        return None
    if not isinstance(schema, dict) or schema["name"].lower() != event_type or "fields" not in schema:
        return None
    stream = io.BytesIO(value[5:])
    try:
        found: Any = fastavro.schemaless_reader(stream, plain(schema), None, handle_unicode_errors="surrogateescape")
    except FASTAVRO_ERRORS:
        return None
    if stream.read():
        return None
    at = found.get("occurred_at")
    if "micros" in json.dumps(schema) and at is not None:
        found["occurred_at"] = at // 1000
    if '"date"' in json.dumps(schema):
        found["occurred_at"] = float(at)
    return dict(found)


TEXTS = st.one_of(st.text(max_size=5), st.sampled_from(["", "a" * 63, "a" * 64, "é" * 40, "a" * 8192, "\x00"]))
LONGS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([AT, 63, 64, -64, -65, 2**62, -(2**63)]))
INTS = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([2**27, 2**31 - 1, -(2**31)]))


def values_of(schema: Any) -> st.SearchStrategy[Any]:
    match schema:
        case list():
            return st.one_of([values_of(branch) for branch in schema])
        case {"type": "record", "fields": fields}:
            return st.fixed_dictionaries({field["name"]: values_of(field["type"]) for field in fields})
        case {"type": "enum", "symbols": symbols}:
            return st.sampled_from(symbols)
        case {"type": "array", "items": items}:
            return st.lists(values_of(items), max_size=3)
        case {"type": inner}:
            return values_of(inner)
    known: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "string": TEXTS,
        "long": LONGS,
        "int": INTS,
        "boolean": st.booleans(),
        "double": st.floats(),
        "bytes": st.binary(max_size=3),
    }
    return known[schema]


def written(ids: list[int]) -> st.SearchStrategy[bytes]:
    return st.sampled_from(ids).flatmap(
        lambda schema_id: values_of(plain(Writers().schema_of(schema_id))).map(lambda value: encoded(schema_id, value))
    )


@st.composite
def damaged(draw: st.DrawFn, ids: list[int]) -> bytes | None:
    """A value cut, lengthened, with some bytes changed, of an unknown schema or of another; or none at all."""
    value = bytearray(draw(written(ids)))
    match draw(st.integers(0, 5)):
        case 0:
            return None
        case 1:
            del value[draw(st.integers(0, len(value))) :]
        case 2:
            value += draw(st.binary(min_size=1, max_size=3))
        case 3:
            value[1:5] = draw(st.sampled_from([1, 2, 109, 110, 111, 112, 113, 7777, *ids])).to_bytes(4, "big")
        case 4:
            at = draw(st.integers(0, len(value) - 1))
            value[at : at + 1] = draw(st.binary(min_size=1, max_size=11))
        case 5:
            at = draw(st.integers(0, len(value) - 1))
            value[at] = draw(st.sampled_from([0, 1, 2, 4, 0x7F, 0x80, 0xFF]))
    return bytes(value)


@pytest.mark.parametrize(
    ("event_type", "ids"),
    [("click", [1]), ("click", [1, 101, 102, 103, 104, 105, 106, 114]), ("order", [3]), ("refund", [4, 107, 108])],
    ids=["clicks of ours", "clicks of anyone", "orders", "refunds"],
)
@given(data=st.data())
@settings(DRAWN, max_examples=DRAWN.max_examples // 4)  # each is many values
def test_a_batch_gives_what_its_values_give_one_by_one(event_type: str, ids: list[int], data: st.DataObject) -> None:
    rare = data.draw(st.booleans())
    value = st.one_of(*[written(ids)] * (20 if rare else 1), damaged(ids))
    batch = batch_of(data.draw(st.lists(value, min_size=1, max_size=40)))

    candidates, dead = InputDecoder(Writers()).decode(event_type, batch)
    wanted, wanted_dead = one_by_one(event_type, batch)

    assert dead == wanted_dead
    assert rows_of(candidates) == rows_of(wanted)
    for name, column in candidates.columns.items():
        assert column.type == wanted.columns[name].type
        column.validate(full=True)


def click(number: int = 1, **changes: Any) -> bytes:
    fields = {"event_id": f"k{number}", "occurred_at": AT, "brand_id": "acme", "program_id": "p", "partner_id": "b"}
    return encoded(1, fields | {"visitor_id": "v"} | changes)


GOOD = click()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00\x00\x00\x00\x01",
        b"\x01" + GOOD[1:],
        b'{"type": "click"}',
        GOOD[:-1],
        GOOD + b"\x00",
        header(7777) + GOOD[5:],
        header(3) + GOOD[5:],
        header(112) + GOOD[5:],
        header(113) + GOOD[5:],
    ],
    ids=[
        "tombstone",
        "empty",
        "no body",
        "magic",
        "json",
        "cut",
        "trailing",
        "unknown id",
        "an order",
        "no Avro",
        "bad",
    ],
)
@pytest.mark.parametrize("place", [0, 700, 1000])
def test_a_bad_value_is_malformed_it_alone(value: bytes | None, place: int) -> None:
    values: list[bytes | None] = [click(number) for number in range(1000)]
    values.insert(place, value)
    batch = batch_of(values)
    candidates, dead = InputDecoder(Writers()).decode("click", batch)

    assert dead == [DeadLetter("referrals.click.v1/5", 100 + 3 * place, "malformed", value or b"")]
    assert candidates.columns["event_id"].to_pylist() == [f"k{number}" for number in range(1000)]
    assert candidates.positions.tolist() == [offset for offset in batch.offsets if offset != 100 + 3 * place]
    assert candidates.raw_of([place - 1 if place else 0]) == [values[place - 1] if place else values[1]]


def test_text_that_is_not_unicode_is_an_invalid_field_not_a_malformed_record() -> None:
    bad = GOOD.replace(b"acme", b"ac\xffe")
    candidates, dead = InputDecoder(LOCAL).decode("click", batch_of([GOOD, bad, GOOD]))

    assert not dead
    assert candidates.ill_typed is not None
    assert candidates.ill_typed.tolist() == [False, True, False]
    assert candidates.raw_of([1]) == [bad]


def test_a_registry_that_does_not_answer_condemns_nothing() -> None:
    class Away(Writers):
        is_away = True

        def schema_of(self, schema_id: int) -> Any:
            if self.is_away:
                raise RegistryUnavailableError("away")
            return super().schema_of(schema_id)

    schemas = Away()
    decoder = InputDecoder(schemas)
    with pytest.raises(RegistryUnavailableError):
        decoder.decode("click", batch_of([GOOD]))
    schemas.is_away = False
    candidates, dead = decoder.decode("click", batch_of([GOOD]))
    assert (len(candidates), dead) == (1, [])
