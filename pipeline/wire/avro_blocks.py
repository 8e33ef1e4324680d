"""The blocks of an Avro object container file, good and broken (Avro 1.12, "Object Container Files").

A block is broken if its frame makes no sense, its sync marker is not there, it cannot be unpacked, or its records do
not fill it exactly. Reading then goes on behind the next sync marker.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from backports import zstd

from pipeline.wire.streams import MAX_RAW_BYTES, ByteStream

_SYNC_BYTES: Final = 16
_MAX_VARINT: Final = 10
_MAX_UNPACKED: Final = 4 * MAX_RAW_BYTES
_DROP_BYTES: Final = 2**20


class BrokenBlockError(Exception):
    """A block whose bytes cannot be turned into its records."""


class Window:
    """A stream's bytes from where reading stands, as far ahead as was asked for."""

    def __init__(self, stream: ByteStream) -> None:
        self._pieces = stream.pieces()
        self._data = bytearray()
        self._at = 0

    @property
    def fetched(self) -> int:
        """How many bytes are there without reading on."""
        return len(self._data) - self._at

    def ensure(self, size: int) -> bool:
        """Whether at least ``size`` bytes are left; fetches them."""
        while self.fetched < size:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            if self._at > _DROP_BYTES:
                del self._data[: self._at]
                self._at = 0
            self._data += piece
        return True

    def peek(self, start: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``start`` bytes ahead, left there."""
        self.ensure(start + size)
        return bytes(self._data[self._at + start : self._at + start + size])

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        taken = self.peek(0, size)
        self._at += len(taken)
        return taken

    def read(self, size: int) -> bytes:
        """The same for who takes this for a file; bounded, since ``size`` may come from a damaged header."""
        return self.take(min(size, MAX_RAW_BYTES))

    def find(self, needle: bytes) -> int:
        """How far ahead ``needle`` stands within the bytes fetched; -1 if it does not."""
        found = self._data.find(needle, self._at)
        return found - self._at if found >= 0 else -1


@dataclass(frozen=True, slots=True)
class Block:
    """``count`` records. ``body`` is still compressed and empty where the frame is ``broken``; ``raw`` is all of it."""

    count: int
    body: bytes
    raw: bytes
    broken: bool = False


def blocks(window: Window, sync: bytes) -> Iterator[Block]:
    """All blocks from where the window stands to the end, each byte in exactly one of them."""
    while window.ensure(1):
        frame = _frame(window, 0)
        if frame is not None:
            count, start, end = frame
            whole = window.peek(end, _SYNC_BYTES) == sync
            if whole or (
                len(window.peek(end, _SYNC_BYTES)) == _SYNC_BYTES and _goes_on(window, end + _SYNC_BYTES, sync)
            ):
                raw = window.read(end + _SYNC_BYTES)
                yield Block(count, raw[start:end], raw, broken=not whole)
                continue
        yield Block(0, b"", _skip_to_sync(window, sync), broken=True)


def _frame(window: Window, at: int) -> tuple[int, int, int] | None:
    """Count of records, start and end of the body of a block that begins ``at`` bytes ahead; None if none can."""
    frame = window.peek(at, 2 * _MAX_VARINT)
    try:
        count, size_at = zigzag(frame, 0)
        size, body_at = zigzag(frame, size_at)
    except BrokenBlockError:
        return None
    if count < 0 or size < 0 or body_at + size + _SYNC_BYTES > MAX_RAW_BYTES:
        return None
    return count, at + body_at, at + body_at + size


def _goes_on(window: Window, at: int, sync: bytes) -> bool:
    """Whether the file ends or another whole block begins there: then only the marker before it is damaged."""
    if not window.ensure(at):
        return False
    if not window.ensure(at + 1):
        return True
    frame = _frame(window, at)
    return frame is not None and window.peek(frame[2], _SYNC_BYTES) == sync


def _skip_to_sync(window: Window, sync: bytes) -> bytes:
    """Take everything up to and with the next sync marker, or to the end; returned is no more than the longest raw."""
    kept = bytearray()
    while (found := window.find(sync)) < 0:
        kept += window.take(max(0, window.fetched - _SYNC_BYTES + 1))
        del kept[MAX_RAW_BYTES:]
        if not window.ensure(window.fetched + 1):
            kept += window.take(window.fetched)
            return bytes(kept[:MAX_RAW_BYTES])
    kept += window.take(found + _SYNC_BYTES)
    return bytes(kept[:MAX_RAW_BYTES])


def zigzag(data: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer at ``at`` and where it ends; BrokenBlockError if there is none of 64 bits."""
    value = shift = 0
    for index in range(at, at + _MAX_VARINT):
        if index >= len(data):
            break
        value |= (data[index] & 127) << shift
        if data[index] < 128:
            if value >> 64:
                break
            return (value >> 1) ^ -(value & 1), index + 1
        shift += 7
    raise BrokenBlockError("no integer")


def _bounded(decompressor: Any, body: bytes, *limit: int) -> bytes:
    unpacked: bytes = decompressor.decompress(body, *limit)
    if not decompressor.eof:
        raise BrokenBlockError("the block is cut short, or too large")
    return unpacked


def _unsnap(body: bytes) -> bytes:
    size = shift = 0
    for byte in body[:5]:  # Snappy's own length, in front
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if size > _MAX_UNPACKED:
        raise BrokenBlockError("the block is too large")
    unpacked = bytes(pa.Codec("snappy").decompress(body[:-4], size))
    if zlib.crc32(unpacked) != int.from_bytes(body[-4:], "big"):
        raise BrokenBlockError("the block's checksum is wrong")
    return unpacked


#: How to unpack a block's body, by the name of the codec in the file's header.
CODECS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "null": lambda body: body,
    "deflate": lambda body: _bounded(zlib.decompressobj(-15), body, _MAX_UNPACKED),
    "bzip2": lambda body: _bounded(bz2.BZ2Decompressor(), body, _MAX_UNPACKED),
    "xz": lambda body: _bounded(lzma.LZMADecompressor(), body, _MAX_UNPACKED),
    "zstandard": lambda body: _bounded(zstd.ZstdDecompressor(), body, _MAX_UNPACKED),
    "snappy": _unsnap,
}

_UNPACK_ERRORS: Final = (zlib.error, OSError, EOFError, lzma.LZMAError, zstd.ZstdError, pa.ArrowException)


def unpacked(block: Block, codec: str) -> bytes:
    """The block's records as bytes; BrokenBlockError if they cannot be had."""
    if block.broken:
        raise BrokenBlockError("the block's frame is damaged")
    try:
        return CODECS[codec](block.body)
    except _UNPACK_ERRORS as error:
        raise BrokenBlockError(str(error)) from error
