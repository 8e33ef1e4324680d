"""Write one event, as it is, in each format: the column has whatever type the value has."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from tests.wire.samples import Event

FORMATS = ("jsonl", "csv", "parquet", "avro")

_AVRO = {str: "string", bool: "boolean", int: "long", float: "double", bytes: "bytes", type(None): "null"}


def write_rows(path: Path, events: list[Event]) -> Path:
    """All events have the same fields, of the same types."""
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(event) + "\n" for event in events))
        case ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(events[0]))
                writer.writeheader()
                writer.writerows(events)
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(events), path)
        case ".avro":
            fields = [{"name": name, "type": _avro(value)} for name, value in events[0].items()]
            with path.open("wb") as file:
                fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, events)
    return path


def _avro(value: Any) -> Any:
    if isinstance(value, list):
        return {"type": "array", "items": "string"}
    return _AVRO[type(value)]
