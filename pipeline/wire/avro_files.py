"""Avro object container files: a record's position is its number, from 1.

Records are told by name (``click``, ``SignUp``, ``referrals.v1.order`` …), also in a union, or by a field ``type``. A
broken block is one malformed dead letter with the block's bytes, at the position of its first record. Records that
fail are shown as JSON, since a record alone cannot be read without the file's schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import fastavro

from pipeline.wire.admission import Admission, Admitted, DeadLetter
from pipeline.wire.avro_blocks import CODECS, BrokenBlockError, Window, blocks, unpacked
from pipeline.wire.avro_decoding import decoder_for
from pipeline.wire.avro_schemas import FASTAVRO_ERRORS, FileSchema, UnusableSchemaError, read_schema
from pipeline.wire.streams import ByteStream, InputError

_MAGIC: Final = b"Obj\x01"
_HEADER: Final[Any] = {
    "type": "record",
    "name": "header",
    "fields": [
        {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
        {"name": "meta", "type": {"type": "map", "values": "bytes"}},
        {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": 16}},
    ],
}
_PART_RECORDS: Final = 32_768


def check_avro(stream: ByteStream) -> None:
    """InputError if the header cannot be read, or no event can be in the file."""
    _read_header(stream.name, Window(stream))


def read_avro(stream: ByteStream, admission: Admission, part_records: int) -> Iterator[Admitted]:
    """Read and judge all records, at most ``part_records`` at a time."""
    window = Window(stream)
    header = _read_header(stream.name, window)
    decoder = decoder_for(header.schema)
    limit = min(part_records, _PART_RECORDS)
    position = 1

    def part(admitted: Admitted) -> Admitted:
        return replace(admitted, bytes_read=stream.take_consumed())

    def broken(raw: bytes) -> Admitted:
        return part(Admitted({}, [DeadLetter(stream.name, position, "malformed", raw)], stream.name, 1, 0))

    broke_in_block = False
    for block in blocks(window, header.sync):
        broke_in_block = block.broken
        try:
            decoder.add(unpacked(block, header.codec), block.count)
        except BrokenBlockError:
            while decoder.waiting:
                admitted = decoder.judged(limit, position, admission, stream.name)
                position += admitted.records
                yield part(admitted)
            yield broken(block.raw)
            position += max(1, block.count)
        while decoder.waiting >= limit:
            admitted = decoder.judged(limit, position, admission, stream.name)
            position += admitted.records
            yield part(admitted)
    if decoder.waiting:
        admitted = decoder.judged(limit, position, admission, stream.name)
        position += admitted.records
        yield part(admitted)
    if stream.broken is not None and not broke_in_block:
        yield broken(b"")


@dataclass(frozen=True, slots=True)
class _Header:
    schema: FileSchema
    codec: str
    sync: bytes


def _read_header(name: str, window: Window) -> _Header:
    try:
        header: Any = fastavro.schemaless_reader(window, _HEADER, None)  # type: ignore[arg-type]  # a Window is read as a file is
        if header["magic"] != _MAGIC:
            raise ValueError("it does not begin with `Obj`")
        meta: dict[str, bytes] = header["meta"]
        codec = meta.get("avro.codec", b"null").decode()
        text = json.loads(meta["avro.schema"])
    except FASTAVRO_ERRORS as error:
        problem = f"{name}: the Avro header cannot be read ({error})."
        raise InputError(f"{problem} Write the file again, or give it the suffix of what it is.") from error
    if codec not in CODECS:
        known = ", ".join(CODECS)
        raise InputError(f"{name}: its Avro codec `{codec}` is not known here. Write it again with one of {known}.")
    try:
        return _Header(read_schema(text), codec, header["sync"])
    except UnusableSchemaError as error:
        raise InputError(f"{name}: its Avro schema {error}.") from error
