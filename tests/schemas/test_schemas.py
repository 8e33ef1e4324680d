"""Every schema parses, has one valid example, agrees with the event definitions, and stays readable for ever."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import fastavro
import msgspec
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from pipeline.domain.contribution import Contribution
from pipeline.domain.events import EVENT_TYPES
from pipeline.steps.clicks import KeptClick
from pipeline.steps.rows import COLUMNS

SCHEMAS = Path(__file__).parents[2] / "schemas"
FILES = sorted(SCHEMAS.glob("*.avsc"))
NAMES = [path.name.removesuffix(".avsc") for path in FILES]
RECORDS = sorted({name.split(".")[0] for name in NAMES})


def versions_of(record: str) -> list[Path]:
    return sorted(SCHEMAS.glob(f"{record}.v*.avsc"), key=lambda path: int(path.suffixes[0][2:]))


def example_of(record: str, schema: dict[str, Any], *, times_as_datetimes: bool) -> dict[str, Any]:
    """The example as Python values: bytes as Avro's JSON encoding has them, times as the library in question wants."""
    example: dict[str, Any] = json.loads((SCHEMAS / "examples" / f"{record}.json").read_text())
    for field in schema["fields"]:
        value = example[field["name"]]
        if value is None:
            continue
        if field["type"] == "bytes":
            example[field["name"]] = value.encode("latin-1")
        elif "decimal" in json.dumps(field["type"]):
            example[field["name"]] = Decimal(int.from_bytes(value.encode("latin-1"), "big", signed=True))
        elif times_as_datetimes and "timestamp-millis" in json.dumps(field["type"]):
            example[field["name"]] = datetime.datetime.fromtimestamp(value / 1000, datetime.UTC)
    return example


def test_there_are_schemas() -> None:
    assert len(RECORDS) == 18


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_schema_parses_and_is_named_as_its_file(path: Path) -> None:
    parsed = avro.schema.parse(path.read_text())
    fastavro.parse_schema(json.loads(path.read_text()))

    assert re.fullmatch(r"[a-z_]+\.v[1-9][0-9]*\.avsc", path.name)
    assert parsed.fullname == f"referrals.v1.{path.name.split('.')[0]}"
    assert parsed.doc
    assert all(field.doc for field in parsed.fields), "each field says what it means"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_what_may_be_absent_is_null_by_default(path: Path) -> None:
    for field in json.loads(path.read_text())["fields"]:
        if isinstance(field["type"], list):
            assert field["type"][0] == "null"
            assert field["default"] is None


@pytest.mark.parametrize("record", RECORDS)
def test_the_example_is_valid(record: str) -> None:
    text = versions_of(record)[-1].read_text()
    schema = json.loads(text)
    names = {field["name"] for field in schema["fields"]}

    example = example_of(record, schema, times_as_datetimes=True)
    assert set(example) == names, "an example shows every field"
    assert avro.io.validate(avro.schema.parse(text), example, raise_on_error=True)
    assert fastavro.validate(example, schema, strict=True)
    assert fastavro.validate(example_of(record, schema, times_as_datetimes=False), schema, strict=True)


@pytest.mark.parametrize("record", RECORDS)
def test_the_example_check_notices_a_wrong_value(record: str) -> None:
    text = versions_of(record)[-1].read_text()
    schema = json.loads(text)
    example = example_of(record, schema, times_as_datetimes=True) | {schema["fields"][0]["name"]: 7}

    assert not avro.io.validate(avro.schema.parse(text), example)
    assert not fastavro.validate(example, schema, raise_errors=False)


def test_no_example_is_orphaned() -> None:
    assert sorted(path.stem for path in (SCHEMAS / "examples").iterdir()) == RECORDS


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_schema_is_the_contracts_table(event_type: str) -> None:
    schema = json.loads(versions_of(event_type)[-1].read_text())
    types = {"time": {"type": "long", "logicalType": "timestamp-millis"}, "amount": "long"}

    assert tuple(field["name"] for field in schema["fields"]) == EVENT_TYPES[event_type].field_names
    for field, known in zip(schema["fields"], EVENT_TYPES[event_type].fields, strict=True):
        base = types.get(known.kind, "string")
        assert field["type"] == (base if known.required else ["null", base])


TABLES = {
    "attribution": "attributions",
    "referral": "referrals",
    "ledger_entry": "ledger_entries",
    "milestone": "milestones",
    "dead_letter": "dead_letters",
    "late_event": "dead_letters",
    "kept_sign_up": "sign_ups",
    "kept_order": "orders",
    "kept_refund": "refunds",
}


def names_of(record: str) -> list[str]:
    return [field["name"] for field in json.loads(versions_of(record)[-1].read_text())["fields"]]


@pytest.mark.parametrize("record", TABLES)
def test_a_record_of_a_table_is_the_row_that_a_step_gives(record: str) -> None:
    assert names_of(record) == [*COLUMNS[TABLES[record]], "version", "is_deleted"]


@pytest.mark.parametrize("event_type", ["sign_up", "order", "refund"])
def test_what_is_kept_of_an_event_has_the_fields_of_the_event(event_type: str) -> None:
    kept = {field["name"]: field for field in json.loads(versions_of(f"kept_{event_type}")[-1].read_text())["fields"]}
    for field in json.loads(versions_of(event_type)[-1].read_text())["fields"]:
        assert kept[field["name"]] == field


def test_a_touchpoint_is_a_kept_click_under_a_customer_and_nothing_else_of_the_click() -> None:
    kept = [name for name in KeptClick._fields if name != "fingerprint"]
    assert kept[:2] == ["edition", "at"]
    assert names_of("touchpoint") == [
        "brand_id",
        "customer_id",
        "visitor_id",
        "event_id",
        "edition",
        "occurred_at",
        *kept[2:],
    ]


def test_the_example_of_a_contribution_holds_one() -> None:
    schema = json.loads(versions_of("contribution")[-1].read_text())
    example = example_of("contribution", schema, times_as_datetimes=False)
    held = msgspec.msgpack.decode(example["payload"], type=Contribution)

    assert (held.program_id, held.customer_id, held.version) == tuple(example.values())[:3]
    assert held.elements


def test_each_schema_has_an_id_that_never_changes() -> None:
    ids: dict[str, int] = json.loads((SCHEMAS / "ids.json").read_text())
    assert sorted(ids) == NAMES
    assert list(ids.values()) == list(range(1, len(ids) + 1)), "a new schema takes the next number, at the end"
    assert list(ids)[: len(RELEASED)] == RELEASED


# In the order of their ids. Add new ones at the end; change nothing.
RELEASED = [
    f"{record}.v1"
    for record in (
        *("click", "sign_up", "order", "refund", "binding", "touchpoint", "contribution", "watermark"),
        *("attribution", "referral", "ledger_entry", "milestone", "dead_letter", "late_event"),
        *("kept_sign_up", "kept_order", "kept_refund"),
    )
]


# Compatibility: BACKWARD_TRANSITIVE. Each version reads what any version before it wrote.


def can_read(reader: str, writer: str) -> bool:
    checker = ReaderWriterCompatibilityChecker()
    result = checker.get_compatibility(avro.schema.parse(reader), avro.schema.parse(writer))
    return result.compatibility is SchemaCompatibilityType.compatible


@pytest.mark.parametrize("record", RECORDS)
def test_each_version_reads_all_before_it(record: str) -> None:
    texts = [path.read_text() for path in versions_of(record)]
    for index, reader in enumerate(texts):
        for writer in texts[: index + 1]:
            assert can_read(reader, writer)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ("add_optional", True),
        ("add_required", False),
        ("retype", False),
        ("rename", False),
        ("make_required", False),
    ],
)
def test_the_compatibility_check_tells_breaking_changes(change: str, allowed: bool) -> None:
    old = (SCHEMAS / "order.v1.avsc").read_text()
    new = json.loads(old)
    fields = {field["name"]: field for field in new["fields"]}
    match change:
        case "add_optional":
            new["fields"].append({"name": "channel", "type": ["null", "string"], "default": None})
        case "add_required":
            new["fields"].append({"name": "channel", "type": "string"})
        case "retype":
            fields["amount_minor"]["type"] = "string"
        case "rename":
            fields["order_id"]["name"] = "basket_id"
        case "make_required":
            fields["ip"].pop("default")
            fields["ip"]["type"] = "string"

    assert can_read(json.dumps(new), old) is allowed
