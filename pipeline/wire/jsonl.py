"""JSON Lines: one event a line; a record's position is its line number, from 1, blank lines counted.

Lines end at ``\\n`` alone (a ``\\r`` before it is dropped). ``orjson`` reads nearly all of them. What it refuses gets
a second, exact reading, since it refuses some valid JSON too: lone surrogates, which only spoil the field they are in,
and numbers beyond a double. Of a name that stands twice in an object, the last value counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NoReturn

import numpy as np
import orjson

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.admission import Admission, Admitted, DeadLetter, judged
from pipeline.wire.columns import Candidates, from_records
from pipeline.wire.streams import ByteStream, LineBlock, line_blocks

_BLANK: Final = b" \t\r"
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_NO_BRACKETS: Final = bytes(each for each in range(256) if each not in b"[]{}")
_PART_RECORDS: Final = 32_768
_PART_BYTES: Final = 4 * 2**20
_MAX_DEPTH: Final = 500
_MAX_DIGITS: Final = 4000


def read_jsonl(stream: ByteStream, admission: Admission, part_records: int) -> Iterator[Admitted]:
    """Read and judge all lines, at most ``part_records`` at a time."""
    limit = min(part_records, _PART_RECORDS)
    for block in _full(line_blocks(stream)):
        for start in range(0, len(block.lines), limit):
            lines = block.lines[start : start + limit]
            yield _part(LineBlock(block.number + start, lines, block.size, block.defect), stream, admission)


def _full(blocks: Iterable[LineBlock]) -> Iterator[LineBlock]:
    """Blocks joined until they are worth the fixed cost of judging them: some milliseconds."""
    held: LineBlock | None = None
    for block in blocks:
        if held is None:
            held = block
        elif held.defect or block.defect or held.size + block.size > _PART_BYTES:
            yield held
            held = block
        else:
            held = LineBlock(held.number, held.lines + block.lines, held.size + block.size)
    if held is not None:
        yield held


def _part(block: LineBlock, stream: ByteStream, admission: Admission) -> Admitted:
    """Judge some lines; ``records`` leaves blank ones out."""
    groups: dict[str, tuple[list[dict[str, Any]], list[int]]] = {name: ([], []) for name in EVENT_TYPES}
    sinks = {name: (records.append, rows.append) for name, (records, rows) in groups.items()}
    bad_rows: list[int] = []
    lines = block.lines
    load = orjson.loads
    for row, line in enumerate(lines):
        try:
            record = load(line)
            keep_record, keep_row = sinks[record["type"]]
        except (ValueError, KeyError, TypeError):
            record = None if block.defect == "too_long" else read_object(line)
            event_type = None if record is None else record.get("type")
            if record is None or not isinstance(event_type, str) or event_type not in sinks:
                bad_rows.append(row)
                continue
            keep_record, keep_row = sinks[event_type]
        keep_record(record)
        keep_row(row)

    malformed = [
        DeadLetter(stream.name, block.number + row, "malformed", lines[row].removesuffix(b"\r"))
        for row in bad_rows
        if lines[row].strip(_BLANK) or block.defect
    ]
    if block.defect == "cut" and not malformed:  # the break fell just behind a whole record
        malformed = [DeadLetter(stream.name, block.number + 1, "malformed", b"")]
    candidates = [_candidates(name, records, rows, block) for name, (records, rows) in groups.items()]
    events, dead = judged(admission, candidates, malformed, stream.name)
    admitted_or_dead = sum(map(len, candidates)) + len(malformed)
    return Admitted(events, dead, stream.name, admitted_or_dead, stream.take_consumed())


def _candidates(event_type: str, records: list[dict[str, Any]], rows: list[int], block: LineBlock) -> Candidates:
    positions = np.array(rows, dtype=np.uint64) + np.uint64(block.number)

    def raw_of(wanted: Sequence[int]) -> list[bytes]:
        return [block.lines[rows[index]].removesuffix(b"\r") for index in wanted]

    return from_records(event_type, records, positions, raw_of, is_json=True)


def read_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of one line by the letter of RFC 8259; None if there is none.

    Lone surrogates are kept in their strings and integers have all digits, up to 4 000 (a longer one becomes infinity).
    What orjson refused and is nested deeper than 500 is refused too.
    """
    try:
        text = line.decode()
        if _depth(line) > _MAX_DEPTH:
            return None
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _depth(line: bytes) -> int:
    """How deep brackets nest, those in strings left out."""
    brackets = _STRING.sub(b"", line).translate(None, _NO_BRACKETS)
    codes = np.frombuffer(brackets, np.uint8)
    steps = np.where((codes == ord("[")) | (codes == ord("{")), 1, -1)
    return int(steps.cumsum().max(initial=0))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse)
