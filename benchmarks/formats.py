"""Tables of events to Parquet, JSON Lines or Avro, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Final, cast

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_REQUIRED: Final = {
    "click": "event_id occurred_at brand_id program_id partner_id visitor_id",
    "sign_up": "event_id occurred_at brand_id customer_id",
    "order": "event_id occurred_at brand_id order_id customer_id amount_minor currency",
    "refund": "event_id occurred_at brand_id order_id customer_id amount_minor currency reason",
}
_OPTIONAL: Final = {
    "click": "link_id landing_url referrer_url campaign variant ip user_agent country",
    "sign_up": "visitor_id click_id coupon_code email_sha256 ip user_agent country",
    "order": "visitor_id click_id coupon_code ip payment_fingerprint",
    "refund": "",
}


def write(chunks: Iterable[pa.Table], folder: Path, name: str) -> Path:
    """Write the events in the named format; the file, or for Avro the folder of a file for each type."""
    folder.mkdir(parents=True, exist_ok=True)
    return FORMATS[name](chunks, folder)


def _write_parquet(chunks: Iterable[pa.Table], folder: Path) -> Path:
    """One file in the order of arrival, a row group a chunk, pages compressed with Zstandard."""
    path = folder / "events.parquet"
    writer: pq.ParquetWriter | None = None
    for chunk in chunks:
        writer = writer or pq.ParquetWriter(path, chunk.schema, compression="zstd")
        writer.write_table(chunk)
    if writer is not None:
        writer.close()
    return path


def _write_jsonl(chunks: Iterable[pa.Table], folder: Path) -> Path:
    """One file in the order of arrival; absent fields are left out."""
    path = folder / "events.jsonl"
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(b"\n".join(_json_lines(chunk)) + b"\n")
    return path


def _json_lines(chunk: pa.Table) -> list[bytes]:
    """Lines put together by column: no text here needs escapes."""
    lines = np.empty(len(chunk), dtype=object)
    for event_type in _REQUIRED:
        rows = np.flatnonzero(pc.equal(chunk["type"], event_type).to_numpy())
        if not len(rows):
            continue
        table = chunk.take(pa.array(rows)).combine_chunks()
        parts: list[Any] = [f'{{"type":"{event_type}"']
        for name in [*_REQUIRED[event_type].split(), *_OPTIONAL[event_type].split()]:
            if name not in table.column_names or table[name].null_count == len(table):
                continue
            column = table[name].combine_chunks()
            quote = '"' if pa.types.is_string(column.type) else ""
            shown = pc.binary_join_element_wise(f',"{name}":{quote}', pc.cast(column, pa.string()), quote, "")
            parts.append(pc.fill_null(shown, ""))
        joined = pc.binary_join_element_wise(*parts, "}", "")
        lines[rows] = pc.cast(joined, pa.binary()).to_pylist()
    return cast(list[bytes], lines.tolist())


def _write_avro(chunks: Iterable[pa.Table], folder: Path) -> Path:
    """A container file for each type, as an export of each topic would be: flat records, blocks deflated."""
    into = folder / "avro"
    into.mkdir(exist_ok=True)
    files: dict[str, IO[bytes]] = {}
    writers: dict[str, Any] = {}
    for event_type in _REQUIRED:
        files[event_type] = (into / f"referrals.{event_type}.v1.avro").open("wb")
        schema = fastavro.parse_schema(_avro_schema(event_type))
        writers[event_type] = fastavro.write.Writer(files[event_type], schema, codec="deflate", sync_interval=64_000)
    for chunk in chunks:
        for event_type, writer in writers.items():
            names = [*_REQUIRED[event_type].split(), *_OPTIONAL[event_type].split()]
            table = chunk.filter(pc.equal(chunk["type"], event_type))
            for record in table.select([name for name in names if name in table.column_names]).to_pylist():
                writer.write(record)
    for event_type, writer in writers.items():
        writer.flush()
        files[event_type].close()
    return into


def _avro_schema(event_type: str) -> dict[str, Any]:
    kinds: dict[str, Any] = {"occurred_at": {"type": "long", "logicalType": "timestamp-millis"}, "amount_minor": "long"}
    required = [{"name": name, "type": kinds.get(name, "string")} for name in _REQUIRED[event_type].split()]
    optional = [{"name": name, "type": ["null", "string"], "default": None} for name in _OPTIONAL[event_type].split()]
    return {"type": "record", "name": event_type, "namespace": "referrals.v1", "fields": required + optional}


FORMATS: Final[dict[str, Callable[[Iterable[pa.Table], Path], Path]]] = {
    "parquet": _write_parquet,
    "jsonl": _write_jsonl,
    "avro": _write_avro,
}
