"""The project's own schemas and topics, as files: ``schemas/`` in the repository, ``pipeline/schemas`` in a wheel."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it has no types

_PACKAGE = Path(__file__).parents[1]


class MissingSchemasError(Exception):
    """The folder of schemas, or a record's file in it, is not where it should be; the text says where that is."""


def schemas_folder() -> Path:
    """The folder ``schemas`` of the installed package, or of the repository. MissingSchemasError if none is there."""
    for folder in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas"):
        if (folder / "ids.json").is_file():
            return folder
    raise MissingSchemasError(f"no folder schemas beside {_PACKAGE} or in it. Install crosscredit again")


@cache
def record_names(folder: Path) -> tuple[str, ...]:
    """The records that ``folder`` has schemas for, such as "click", in alphabetical order."""
    return tuple(sorted({path.name.partition(".")[0] for path in folder.glob("*.avsc")}))


def topic_of(record: str) -> str:
    """The topic whose values are these records, at its major version: "referrals.click.v1"."""
    return f"referrals.{record}.v1"


@cache
def newest_version(record: str, folder: Path) -> str:
    """The name of a record's newest schema, such as "click.v2". MissingSchemasError if it has none."""
    versions = [int(path.suffixes[0].removeprefix(".v")) for path in folder.glob(f"{record}.v*.avsc")]
    if not versions:
        known = ", ".join(record_names(folder))
        raise MissingSchemasError(f"{folder} has no schema of a record {record}. It has {known}")
    return f"{record}.v{max(versions)}"


@cache
def schema_text(name: str, folder: Path) -> str:
    """The text of ``<name>.avsc``, such as that of "click.v1"."""
    return (folder / f"{name}.avsc").read_text(encoding="utf-8")


def newest_schema(record: str, folder: Path) -> Any:
    """A record's newest schema as parsed JSON; the caller's own copy."""
    return json.loads(schema_text(newest_version(record, folder), folder))


@cache
def key_fields(record: str, folder: Path) -> tuple[str, ...]:
    """The fields that make up the key of a record's topic, as its YAML file says."""
    path = folder / "topics" / f"{topic_of(record)}.yaml"
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8"))["key"])
