"""The bytes of one source: plain, gzip or Zstandard, in pieces of bounded size, and cut into lines.

A compressed stream that breaks (cut short, damaged) gives everything before the break, then ends with
:attr:`ByteStream.broken` set; readers turn that into one dead letter. A failing disk is an :class:`InputError`.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, Protocol

from backports.zstd import ZstdDecompressor, ZstdError

Compression = Literal["", "gz", "zst"]

#: A line, block or record that is longer is one malformed dead letter whose ``raw`` keeps this many bytes.
MAX_RAW_BYTES: Final = 64 * 2**20

# How a file of each compression begins; Zstandard's may also begin with a skippable frame.
_MAGIC: Final[Mapping[str, tuple[bytes, ...]]] = {
    "gz": (b"\x1f\x8b",),
    "zst": (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + low, 0x2A, 0x4D, 0x18)) for low in range(16))),
}
_BOM: Final = b"\xef\xbb\xbf"
_PIECE: Final = 2**18
_MAX_OUTPUT: Final = 2**20


class InputError(Exception):
    """An input cannot be used at all. The text names the file, what is wrong, and the remedy."""


class _Decompressor(Protocol):
    """What the decoders of the standard library's newer modules look like."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipDecompressor:
    """zlib's decoder for one gzip member, in that shape."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


class ByteStream:
    """Reads one source once, from its start. ``path`` None is standard input.

    ``broken`` says why a compressed stream ended early (None while it did not). ``take_consumed`` gives the number of
    stored bytes read since it was last asked, for progress.
    """

    def __init__(self, path: Path | None, name: str, compression: Compression = "") -> None:
        self.name = name
        self.path = path
        self.compression = compression
        self.broken: str | None = None
        self._consumed = 0

    def take_consumed(self) -> int:
        """Stored bytes read since the last call; over the whole source this adds up to its size."""
        consumed, self._consumed = self._consumed, 0
        return consumed

    def check(self) -> None:
        """InputError if the file cannot be opened, or does not begin as its compression must."""
        magic = _MAGIC.get(self.compression, ())
        try:
            with self._open() as raw:
                start = raw.read(4)
        except OSError as error:
            remedy = "Check its permissions."
            raise InputError(f"{self.name}: cannot be opened ({error.strerror}). {remedy}") from error
        if magic and not start.startswith(magic):
            what = {"gz": "gzip", "zst": "Zstandard"}[self.compression]
            raise InputError(f"{self.name}: is not a {what} file. Rename it, or compress it again.")

    def pieces(self) -> Iterator[bytes]:
        """The uncompressed bytes in order, no piece empty and none over about 1 MiB."""
        try:
            with self._open() as raw:
                if self.compression:
                    yield from self._decompressed(raw)
                else:
                    while piece := raw.read(_MAX_OUTPUT):
                        self._consumed += len(piece)
                        yield piece
        except OSError as error:
            raise InputError(
                f"{self.name}: reading failed ({error}). Check the disk or share, and run again."
            ) from error

    def _open(self) -> IO[bytes]:
        if self.path is None:
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        return self.path.open("rb", buffering=0)

    def _decompressed(self, raw: IO[bytes]) -> Iterator[bytes]:
        delivered = 0
        self._fed_before = 0
        try:
            for piece in self._decode(raw, careful_from=None):
                delivered += len(piece)
                yield piece
        except EOFError:
            self.broken = "the compressed file ends early"
        except (zlib.error, ZstdError) as error:
            self.broken = f"the compressed file is damaged: {error}"
            self._consumed += sum(map(len, iter(lambda: raw.read(_PIECE), b"")))
            raw.seek(0)
            yield from self._salvaged(raw, delivered)

    def _salvaged(self, raw: IO[bytes], delivered: int) -> Iterator[bytes]:
        """What stands between the bytes delivered and the damage: decode again, byte by byte where it broke."""
        consumed = self._consumed
        try:
            for piece in self._decode(raw, careful_from=self._fed_before):
                if delivered < len(piece):
                    yield piece[delivered:]
                delivered = max(0, delivered - len(piece))
        except (zlib.error, ZstdError, EOFError):
            pass
        finally:
            self._consumed = consumed

    def _decode(self, raw: IO[bytes], careful_from: int | None) -> Iterator[bytes]:
        """Decode member after member. EOFError if the input ends within one; from ``careful_from`` on byte by byte."""
        decoder: _Decompressor | None = None
        data = b""
        fed = 0
        while True:
            if not data and (decoder is None or decoder.needs_input):
                careful = careful_from is not None and fed >= careful_from
                data = raw.read(1 if careful else _PIECE)
                self._consumed += len(data)
                self._fed_before, fed = fed, fed + len(data)
                if not data:
                    if decoder is not None:
                        while output := decoder.decompress(b"", _MAX_OUTPUT):
                            yield output
                        raise EOFError
                    return
            if decoder is None:
                data = data.lstrip(b"\0") if self.compression == "gz" else data  # gzip allows padding
                if not data:
                    continue
                decoder = _GzipDecompressor() if self.compression == "gz" else ZstdDecompressor()
            output = decoder.decompress(data, _MAX_OUTPUT)
            data = b""
            if decoder.eof:
                data = decoder.unused_data
                decoder = None
            if output:
                yield output


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Consecutive lines without their ``\\n``; ``number`` is the first one's, from 1. ``size`` is about their bytes.

    ``defect`` "too_long" or "cut" (the compressed stream broke within it): then it is a single line, and incomplete.
    """

    number: int
    lines: list[bytes]
    size: int
    defect: Literal["", "too_long", "cut"] = ""


def line_blocks(stream: ByteStream) -> Iterator[LineBlock]:
    """Cut a stream at each ``\\n``. A byte order mark at its start is no part of the first line.

    Memory is bounded by the longest line, of which no more than :data:`MAX_RAW_BYTES` are kept. If the stream breaks,
    the last block is a "cut" one, with what there is of the line that broke (perhaps nothing).
    """
    number = 1
    tail: list[bytes] = []  # the pieces of a line whose end is still to come
    tail_bytes = 0
    for piece in stream.pieces():
        cut = piece.rfind(b"\n")
        if cut < 0:
            if tail_bytes <= MAX_RAW_BYTES + len(_BOM):
                tail.append(piece)
            tail_bytes += len(piece)
            continue
        first, rest = piece[:cut], piece[cut + 1 :]
        if tail_bytes > MAX_RAW_BYTES:
            end = first.find(b"\n")
            tail.append(first if end < 0 else first[:end])
            line = _without_bom(b"".join(tail), number)[:MAX_RAW_BYTES]
            yield LineBlock(number, [line], MAX_RAW_BYTES, "too_long")
            number += 1
            lines = [] if end < 0 else first[end + 1 :].split(b"\n")
        else:
            lines = b"".join((*tail, first)).split(b"\n")
            lines[0] = _without_bom(lines[0], number)
        if lines:
            yield LineBlock(number, lines, tail_bytes + len(first))
            number += len(lines)
        tail, tail_bytes = ([rest], len(rest)) if rest else ([], 0)
    last = _without_bom(b"".join(tail), number)
    if tail_bytes > MAX_RAW_BYTES:
        yield LineBlock(number, [last[:MAX_RAW_BYTES]], MAX_RAW_BYTES, "too_long")
        last, number = b"", number + 1
    if stream.broken is not None:
        yield LineBlock(number, [last], len(last), "cut")
    elif last:
        yield LineBlock(number, [last], len(last))


def _without_bom(line: bytes, number: int) -> bytes:
    return line.removeprefix(_BOM) if number == 1 else line
