"""Write events to a file of any kind that can be read: for the demo, the benchmarks and the tests.

An event is a dict with ``type`` and its fields. JSON Lines keep each as it is given; the other kinds have a column for
``type`` and for every known field, take the known fields only, and need values of the right types.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

import fastavro
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.files import kind_of
from pipeline.wire.streams import Compression, InputError

_FIELDS: Final = {field.name: field for each in EVENT_TYPES.values() for field in each.fields}
_COLUMNS: Final = ("type", *_FIELDS)
_ROWS_AT_ONCE: Final = 100_000

Event = Mapping[str, Any]


def write_events(path: str | Path, events: Iterable[Event]) -> int:
    """Write ``events`` to ``path``, in the format that its suffixes name (``.jsonl``, ``.csv.gz`` …), and count them.

    InputError for an unknown suffix.
    """
    kind = kind_of(Path(path).name)
    if kind is None:
        raise InputError(f"{path}: is of no known kind to write.")
    write = {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet, "avro": _write_avro}[kind[0]]
    written = 0

    def counted() -> Iterator[Event]:
        nonlocal written
        for event in events:
            written += 1
            yield event

    with _compressing(Path(path), kind[1]) as file:
        write(file, counted())
    return written


@contextmanager
def _compressing(path: Path, compression: Compression) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if compression == "gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                yield cast(IO[bytes], packed)
        elif compression == "zst":
            with zstd.ZstdFile(raw, "w") as packed_zst:
                yield cast(IO[bytes], packed_zst)
            if not raw.tell():  # ZstdFile writes no frame at all where there was nothing to write
                raw.write(zstd.compress(b""))
        else:
            yield raw


def _write_jsonl(file: IO[bytes], events: Iterable[Event]) -> None:
    for event in events:
        file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))


def _write_csv(file: IO[bytes], events: Iterable[Event]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([event.get(name) for name in _COLUMNS] for event in events)
    text.flush()
    text.detach()


def _write_parquet(file: IO[bytes], events: Iterable[Event]) -> None:
    schema = pa.schema([pa.field("type", pa.string()), *(pa.field(name, _arrow_type(name)) for name in _FIELDS)])
    rest = iter(events)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while rows := [{name: event.get(name) for name in _COLUMNS} for event in islice(rest, _ROWS_AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _arrow_type(name: str) -> Any:
    match _FIELDS[name].kind:
        case "time":
            return pa.timestamp("ms", "UTC")
        case "amount":
            return pa.int64()
        case _:
            return pa.string()


def _write_avro(file: IO[bytes], events: Iterable[Event]) -> None:
    schema = fastavro.parse_schema(
        {
            "type": "record",
            "name": "event",
            "namespace": "referrals.v1",
            "fields": [{"name": "type", "type": "string"}, *(_avro_field(name) for name in _FIELDS)],
        }
    )
    fastavro.writer(file, schema, ({name: event.get(name) for name in _COLUMNS} for event in events), codec="deflate")


def _avro_field(name: str) -> dict[str, Any]:
    match _FIELDS[name].kind:
        case "time":
            avro_type: Any = {"type": "long", "logicalType": "timestamp-millis"}
        case "amount":
            avro_type = "long"
        case _:
            avro_type = "string"
    return {"name": name, "type": ["null", avro_type], "default": None}
