"""CSV with a header line: ``type`` and any known columns; a record's position is the number of its first line, from 1.

Fields are separated by commas and may be quoted as RFC 4180 has it, also over several lines. All values are text, so an
amount is digits without sign or leading zero, a time such digits (milliseconds) or RFC 3339. A record with more or
fewer fields than the header, or with text behind a closing quote, is malformed. When a quote is opened that does not
close within the record (which may go on for 64 KiB of further lines), only the line it stands on is lost: reading goes
on at the next one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from pipeline.domain.events import EVENT_TYPES
from pipeline.wire.admission import Admission, Admitted, DeadLetter, judged
from pipeline.wire.columns import Candidates, Column, digit_column, utf8_column
from pipeline.wire.streams import ByteStream, InputError, line_blocks

_BLANK: Final = b" \t\r"
_QUOTED: Final = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)"')
_PART_RECORDS: Final = 32_768
_PART_BYTES: Final = 4 * 2**20
_MAX_LINES_AHEAD_BYTES: Final = 2**16

Defect = Literal["", "too_long", "cut"]


def check_csv(stream: ByteStream) -> None:
    """InputError if there is no header line that names ``type``."""
    _header(stream, _Lines(stream))


def read_csv(stream: ByteStream, admission: Admission, part_records: int) -> Iterator[Admitted]:
    """Read and judge all records, at most ``part_records`` at a time."""
    lines = _Lines(stream)
    header = _header(stream, lines)
    limit = min(part_records, _PART_RECORDS)
    while lines.more():
        part = _Part(stream.name, header)
        while part.records < limit and part.size < _PART_BYTES and lines.more():
            part.take(lines)
        yield part.judged(admission, stream.take_consumed())


class _Lines:
    """The lines still to be read, with a look ahead: a quoted field may go on for lines."""

    def __init__(self, stream: ByteStream) -> None:
        self._blocks = line_blocks(stream)
        self._waiting: deque[tuple[bytes, Defect]] = deque()
        self.number = 0

    def more(self) -> bool:
        """Whether there is another line."""
        return bool(self._waiting) or self._fill()

    def take(self) -> tuple[bytes, Defect]:
        """The next line and its defect, as :class:`~pipeline.wire.streams.LineBlock` has it; ``number`` is its own."""
        self.number += 1
        return self._waiting.popleft()

    def ahead(self, index: int) -> bytes | None:
        """The line ``index`` places after the next one, left there; None past the end or where one has a defect."""
        while index >= len(self._waiting):
            if not self._fill():
                return None
        line, defect = self._waiting[index]
        return None if defect else line

    def _fill(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self._waiting.extend((line, block.defect) for line in block.lines)
        return True


@dataclass(frozen=True, slots=True)
class _Header:
    """How many columns there are, and where the type and the known fields stand."""

    width: int
    type_at: int
    field_at: dict[str, int]


def _header(stream: ByteStream, lines: _Lines) -> _Header:
    problem = f"{stream.name}: has no CSV header. Start it with a line that names the columns, `type` among them"
    while lines.more():
        line, defect = lines.take()
        if not line.strip(_BLANK) and not defect:
            continue
        cells = [] if defect else split_record(line.removesuffix(b"\r"))
        if not cells:
            raise InputError(f"{problem}; its first line is damaged.")
        names = [cell.strip().decode(errors="replace") for cell in cells]
        if "type" not in names:
            raise InputError(f"{problem} (click, sign_up, order or refund); its first line has no such column.")
        known = {name for event_type in EVENT_TYPES.values() for name in event_type.field_names}
        for name in sorted(known | {"type"}):
            if names.count(name) > 1:
                raise InputError(f"{stream.name}: the CSV header names the column `{name}` twice. Rename one of them.")
        return _Header(len(names), names.index("type"), {name: names.index(name) for name in names if name in known})
    raise InputError(f"{problem}; it is empty.")


def split_record(text: bytes) -> list[bytes] | None:
    """The fields of one record without its line end; none if it is malformed; None if it ends within quotes.

    A quote inside an unquoted field is text; so says no standard, but so write many programs.
    """
    fields: list[bytes] = []
    at = 0
    while True:
        if text[at : at + 1] == b'"':
            match = _QUOTED.match(text, at)
            if match is None or text[match.end() : match.end() + 1] == b'"':
                return None
            end = match.end()
            fields.append(match[1].replace(b'""', b'"'))
        else:
            end = text.find(b",", at)
            end = len(text) if end < 0 else end
            fields.append(text[at:end])
        if end == len(text):
            return fields
        if text[end : end + 1] != b",":
            return []
        at = end + 1


@dataclass(slots=True)
class _Rows:
    """The records of one type in a part."""

    fields: list[list[bytes]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)


class _Part:
    """Some records, sorted by type as they are read."""

    def __init__(self, source: str, header: _Header) -> None:
        self.records = 0
        self.size = 0
        self._source = source
        self._header = header
        self._malformed: list[DeadLetter] = []
        self._rows = {name.encode(): _Rows() for name in EVENT_TYPES}

    def take(self, lines: _Lines) -> None:
        """Read one record, or skip one blank line."""
        line, defect = lines.take()
        number = lines.number
        if defect:
            fields: list[bytes] = []
        elif b'"' in line:
            fields, line = self._quoted(line, lines)
        else:
            line = line.removesuffix(b"\r")
            fields = line.split(b",")
        rows = self._rows.get(fields[self._header.type_at]) if len(fields) == self._header.width else None
        if rows is not None:
            rows.fields.append(fields)
            rows.numbers.append(number)
            rows.raw.append(line)
        elif line.strip(_BLANK) or defect:
            self._malformed.append(DeadLetter(self._source, number, "malformed", line))
        else:
            return
        self.records += 1
        self.size += len(line)

    def _quoted(self, line: bytes, lines: _Lines) -> tuple[list[bytes], bytes]:
        """The fields and text of a record with quotes that begins with ``line``; takes the lines it goes on for."""
        text = line
        ahead = ahead_bytes = 0
        fields = split_record(text.removesuffix(b"\r"))
        while fields is None:
            more: list[bytes] = []
            while not more or b'"' not in more[-1]:
                following = lines.ahead(ahead)
                if following is None or ahead_bytes + len(following) > _MAX_LINES_AHEAD_BYTES:
                    return [], line.removesuffix(b"\r")
                more.append(following)
                ahead += 1
                ahead_bytes += len(following) + 1
            text = b"\n".join((text, *more))
            fields = split_record(text.removesuffix(b"\r"))
        if ahead and len(fields) != self._header.width:
            return [], line.removesuffix(b"\r")
        for _ in range(ahead):
            lines.take()
        return fields, text.removesuffix(b"\r")

    def judged(self, admission: Admission, bytes_read: int) -> Admitted:
        """All records so far, judged."""
        candidates = [self._candidates(name.decode(), rows) for name, rows in self._rows.items()]
        events, dead = judged(admission, candidates, self._malformed, self._source)
        return Admitted(events, dead, self._source, self.records, bytes_read)

    def _candidates(self, event_type: str, rows: _Rows) -> Candidates:
        ill_typed = np.zeros(len(rows.numbers), dtype=np.bool_)
        columns: dict[str, Column] = {}
        for each in EVENT_TYPES[event_type].fields:
            index = self._header.field_at.get(each.name)
            if index is None:
                continue
            values = [fields[index] for fields in rows.fields]
            if each.is_text:
                columns[each.name] = utf8_column(values, ill_typed)
            else:
                columns[each.name] = digit_column(values, ill_typed, text_times_too=each.kind == "time")
        positions = np.array(rows.numbers, dtype=np.uint64)
        return Candidates(event_type, columns, ill_typed, positions, lambda wanted: [rows.raw[row] for row in wanted])
