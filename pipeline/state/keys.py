"""How ids become keys: parts joined by a zero byte, in an order that is the order of the parts.

An id may hold any Unicode scalar value, so the two lowest bytes are escaped: 00 as 01 01, and 01 as 01 02. No encoded
part then holds a zero byte, a prefix of whole parts matches exactly those parts, and keys sort as tuples of UTF-8
bytes do.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.domain.story import Position


def part(text: str) -> bytes:
    """One id as a part of a key."""
    encoded = text.encode()
    if b"\x00" in encoded or b"\x01" in encoded:
        return encoded.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01")
    return encoded


def text(encoded: bytes) -> str:
    """The id that :func:`part` encoded."""
    if b"\x01" in encoded:
        encoded = encoded.replace(b"\x01\x01", b"\x00").replace(b"\x01\x02", b"\x01")
    return encoded.decode()


def parts_of(texts: Sequence[str]) -> list[bytes]:
    """Each id as a part of a key."""
    encoded = list(map(str.encode, texts))
    joined = b"".join(encoded)
    return list(map(part, texts)) if b"\x00" in joined or b"\x01" in joined else encoded


def texts_of(encoded: Sequence[bytes]) -> list[str]:
    """The id of each part of a key."""
    return list(map(text, encoded)) if b"\x01" in b"".join(encoded) else list(map(bytes.decode, encoded))


def key(*parts: str) -> bytes:
    """The parts joined; not a prefix of a key that has more parts (see :func:`prefix`)."""
    return b"\x00".join(map(part, parts))


def prefix(*parts: str) -> bytes:
    """The prefix of exactly the keys that go on after these parts."""
    return key(*parts) + b"\x00"


def parts(encoded: bytes) -> list[str]:
    """The ids of a key made by :func:`key`."""
    if b"\x01" in encoded:
        return [text(each) for each in encoded.split(b"\x00")]
    return encoded.decode().split("\x00")


_AT_BYTES = 6  # milliseconds up to the year 2199 and far beyond


def position_key(position: Position) -> bytes:
    """A position in event order as bytes that sort alike."""
    return b"%b%b\x00%c%b" % (
        position.at.to_bytes(_AT_BYTES, "big"),
        part(position.event_id),
        position.rank + 1,
        part(position.key),
    )
