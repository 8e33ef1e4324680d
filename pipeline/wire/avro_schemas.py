"""What the Avro schema of a file says of its records: which event each is, and how its times are counted."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import fastavro
from fastavro.schema import SchemaParseException

from pipeline.domain.events import EVENT_TYPES

_TYPE_BY_NAME: Final = {name.replace("_", ""): name for name in EVENT_TYPES}
_MAX_BRANCHES: Final = 64  # whose index is one byte
_UNITS: Final = {"millis": "ms", "micros": "us", "nanos": "ns"}

#: What fastavro raises on damaged bytes or an impossible schema.
FASTAVRO_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    SchemaParseException,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
)


class UnusableSchemaError(Exception):
    """A schema whose records cannot be events; the text goes on after "its Avro schema"."""


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """One record: ``event_type`` None if a field ``type`` tells it, "" if nothing does.

    ``time_unit`` of ``occurred_at`` is "ms", "us" or "ns"; None if what is there is no time at all, such as a date.
    """

    event_type: str | None
    time_unit: str | None


@dataclass(frozen=True, slots=True)
class FlatField:
    """A string or integer in a flat record. ``null_byte`` and ``value_byte`` choose a branch of its union; -1: none."""

    name: str
    is_text: bool
    null_byte: int
    value_byte: int


@dataclass(frozen=True, slots=True)
class FileSchema:
    """``parsed`` is fastavro's form without logical types, so that times stay integers.

    ``records`` are the top-level record, or those of the top-level union, by full name. ``flat`` has the fields of
    each of them in turn, where all of them are flat and fit the same columns; None where they do not.
    """

    parsed: Any
    records: dict[str, RecordSchema]
    flat: tuple[tuple[FlatField, ...], ...] | None


def read_schema(schema: Any) -> FileSchema:
    """Understand a schema given as parsed JSON; UnusableSchemaError if no event can be in its file."""
    try:
        parsed: Any = fastavro.parse_schema(schema, _write_hint=False)
        _refuse_recursion(parsed, ())
        plain = fastavro.parse_schema(_without_logical_types(parsed), _write_hint=False)
    except FASTAVRO_ERRORS as error:
        raise UnusableSchemaError(f"is not valid ({error})") from error
    branches = parsed if isinstance(parsed, list) else [parsed]
    records = {each["name"]: _record_schema(each) for each in branches if _is_record(each)}
    if all(record.event_type == "" for record in records.values()):
        remedy = "Name it click, sign_up, order or refund, or give it a field `type`"
        raise UnusableSchemaError(f"has no record of a known type. {remedy}")
    return FileSchema(plain, records, _flat(plain, records))


def _is_record(schema: Any) -> bool:
    return isinstance(schema, dict) and schema["type"] == "record"


def _record_schema(record: dict[str, Any]) -> RecordSchema:
    types = {field["name"]: field["type"] for field in record["fields"]}
    short = record["name"].rpartition(".")[2].replace("_", "").lower()
    return RecordSchema(None if "type" in types else _TYPE_BY_NAME.get(short, ""), _time_unit(types.get("occurred_at")))


def _time_unit(schema: Any) -> str | None:
    for branch in schema if isinstance(schema, list) else [schema]:
        logical_type = branch.get("logicalType") if isinstance(branch, dict) else None
        if logical_type is not None:
            kind, _, unit = logical_type.removeprefix("local-").partition("-")
            return _UNITS.get(unit) if kind == "timestamp" else None
    return "ms"


def _refuse_recursion(schema: Any, within: tuple[str, ...]) -> None:
    """A record within itself could nest without bound, which no decoder here survives."""
    if isinstance(schema, str) and schema in within:
        raise UnusableSchemaError(f"has the record {schema} within itself. Leave that field out")
    if isinstance(schema, list):
        for branch in schema:
            _refuse_recursion(branch, within)
    elif isinstance(schema, dict):
        if _is_record(schema):
            within = (*within, schema["name"])
        for inner in [field["type"] for field in schema.get("fields", ())] + [
            schema[key] for key in ("type", "items", "values") if key in schema
        ]:
            _refuse_recursion(inner, within)


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    return [_without_logical_types(each) for each in schema] if isinstance(schema, list) else schema


def _flat(schema: Any, records: dict[str, RecordSchema]) -> tuple[tuple[FlatField, ...], ...] | None:
    branches = schema if isinstance(schema, list) else [schema]
    if not len(branches) == len(records) <= _MAX_BRANCHES or any(
        record.event_type == "" for record in records.values()
    ):
        return None
    fields = [_flat_fields(branch) for branch in branches]
    flat = tuple(each for each in fields if each)
    is_text = {("type", True), *((field.name, field.is_text) for each in flat for field in each)}
    units = {record.time_unit for record in records.values()}
    if len(flat) < len(fields) or len(is_text) > len(dict(is_text)) or len(units) > 1:
        return None
    return flat


def _flat_fields(record: Any) -> tuple[FlatField, ...]:
    """The fields of a record if all are flat, else none."""
    fields = [_flat_field(field["name"], field["type"]) for field in record["fields"]]
    known = tuple(field for field in fields if field is not None)
    return known if len(known) == len(fields) else ()


def _flat_field(name: str, schema: Any) -> FlatField | None:
    branches = [_plain(branch) for branch in (schema if isinstance(schema, list) else [schema])]
    values = [branch for branch in branches if branch != "null"]
    if len(values) != 1 or values[0] not in ("string", "int", "long"):
        return None
    is_union = isinstance(schema, list)
    return FlatField(
        name,
        is_text=values[0] == "string",
        null_byte=2 * branches.index("null") if "null" in branches else -1,
        value_byte=2 * branches.index(values[0]) if is_union else -1,
    )


def _plain(schema: Any) -> Any:
    """``{"type": "string"}`` is "string"."""
    return _plain(schema["type"]) if isinstance(schema, dict) and set(schema) <= {"type", "doc"} else schema
