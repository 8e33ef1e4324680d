"""How IDENTITY keeps a click: fourteen bytes under a key of brand, visitor and event.

Nine events in ten are clicks that nobody will ask for again, so the value holds only what a credit needs, and a
fingerprint of everything else by which a copy with other content is noticed:

    edition 2 bytes | program, partner and link 3 bytes | occurred_at 6 bytes | fingerprint 3 bytes  (| link)

Program, partner and link are a number in the table ``words``. Once that holds a million, a link that it does not know
is spelled out at the end. Whole clicks are in the truth that state is an index of: the ``clicks`` table, or the
topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import xxhash

from pipeline.domain.events import EVENT_TYPES
from pipeline.state.store import Store, WriteBatch

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another

MOST_WORDS = 1 << 20

_SIZE = 14
_FIELDS = np.dtype([("edition", ">u2"), ("word_high", "u1"), ("word", ">u2"), ("at", "u1", 6), ("print", "u1", 3)])
_OWN_FIELDS = tuple(
    name
    for name in EVENT_TYPES["click"].field_names
    if name not in ("event_id", "brand_id", "visitor_id", "occurred_at")
)
_PRIME = np.uint64(0x9E3779B97F4A7C15)

Word = tuple[str, str, str | None]  # program, partner, link ("" for none; None: spelled out in the click)


class KeptClick(NamedTuple):
    """A click as state keeps it."""

    edition: int  # how many contents of the event have counted so far
    at: int
    program_id: str
    partner_id: str
    link_id: str
    fingerprint: int


class ClickCodec:
    """Packs clicks for one store, and unpacks them."""

    def __init__(self, store: Store, most_words: int = MOST_WORDS) -> None:
        self._most_words = most_words
        self._words: list[Word] = [_decode_word(value) for _, value in store.scan("words", b"")]
        self._numbers = {word: number for number, word in enumerate(self._words)}

    def pack(self, clicks: pa.Table, order: npt.NDArray[np.uint64], batch: WriteBatch) -> list[bytes]:
        """The value of each row, rows in the given order, as edition 1; new words go into ``batch``.

        ``clicks`` are :func:`encoded`.
        """
        count = len(clicks)
        packed = np.zeros(count, dtype=_FIELDS)
        packed["edition"] = 1
        columns = {name: _only_chunk(clicks.column(name)) for name in _OWN_FIELDS}
        numbers, spelled = self._number(columns, count, batch)
        packed["word_high"] = numbers >> 16
        packed["word"] = numbers & 0xFFFF
        at = clicks.column("occurred_at").to_numpy().astype(">u8")
        packed["at"] = at.view(np.uint8).reshape(count, 8)[:, 2:]
        packed["print"] = _fingerprints(columns, count)
        values: list[bytes] = packed[order].view(f"V{_SIZE}").tolist()
        if spelled:
            for place, row in enumerate(order.tolist()):
                values[place] += spelled.get(row, "").encode()
        return values

    def unpack(self, value: bytes) -> KeptClick:
        """The click of a value."""
        program_id, partner_id, link_id = self._words[int.from_bytes(value[2:5], "big")]
        return KeptClick(
            int.from_bytes(value[0:2], "big"), int.from_bytes(value[5:11], "big"), program_id, partner_id,
            value[_SIZE:].decode() if link_id is None else link_id, int.from_bytes(value[11:_SIZE], "big"),
        )  # fmt: skip

    def _number(
        self, columns: Mapping[str, Any], count: int, batch: WriteBatch
    ) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
        """The number of each row's word, and the links that are to be spelled out, by row."""
        codes = np.zeros(count, dtype=np.int64)
        dictionaries: list[list[str]] = []
        for name in ("program_id", "partner_id", "link_id"):
            encoded = columns[name]
            dictionaries.append([*encoded.dictionary.to_pylist(), ""])
            size = len(encoded.dictionary)
            codes = codes * (size + 1) + pc.fill_null(encoded.indices, size).to_numpy(zero_copy_only=False)
        distinct, inverse = _distinct(codes)
        programs, partners, links = dictionaries
        rest, link = np.divmod(distinct, len(links))
        program, partner = np.divmod(rest, len(partners))
        words: list[Word] = list(
            zip(
                map(programs.__getitem__, program.tolist()), map(partners.__getitem__, partner.tolist()),
                map(links.__getitem__, link.tolist()), strict=True,
            )
        )  # fmt: skip
        numbers = list(map(self._numbers.get, words))
        spelled: dict[int, str] = {}
        for index in [index for index, number in enumerate(numbers) if number is None]:
            word = words[index]
            number = self._numbers.get(word)  # a link that is absent makes the same word as one that is empty
            if number is None and word[2] and len(self._words) >= self._most_words:
                spelled.update((row, word[2]) for row in np.flatnonzero(inverse == index).tolist())
                word = (word[0], word[1], None)
                number = self._numbers.get(word)
            numbers[index] = self._add(word, batch) if number is None else number
        return np.array(numbers, dtype=np.int64)[inverse], spelled

    def _add(self, word: Word, batch: WriteBatch) -> int:
        number = len(self._words)
        self._words.append(word)
        self._numbers[word] = number
        batch.put("words", number.to_bytes(4, "big"), msgspec.msgpack.encode(word))
        return number


def _distinct(codes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """As np.unique with the inverse, but in order of appearance: few are distinct, and hashing beats sorting."""
    numbered: Any = pa.array(codes).dictionary_encode()
    return numbered.dictionary.to_numpy(), numbered.indices.to_numpy()


def with_edition(value: bytes, edition: int) -> bytes:
    """The value under another edition; editions beyond 65 535 stay there."""
    return min(edition, 0xFFFF).to_bytes(2, "big") + value[2:]


def _fingerprints(columns: Mapping[str, Any], count: int) -> npt.NDArray[np.uint8]:
    """Three bytes of a hash of each row's own fields; each distinct text is hashed once.

    They tell copies of one event, of one time, apart: two that differ pass for a repeat once in 16 million such pairs.
    """
    mixed = np.zeros(count, dtype=np.uint64)
    for encoded in columns.values():
        hashes = [xxhash.xxh3_64_intdigest(text) for text in encoded.dictionary.cast(pa.binary()).to_pylist()]
        table = np.array([*hashes, 1], dtype=np.uint64)
        codes = pc.fill_null(encoded.indices, len(hashes)).to_numpy(zero_copy_only=False)
        mixed = mixed * _PRIME + table[codes]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _PRIME
    return mixed.astype(">u8").view(np.uint8).reshape(count, 8)[:, :3]


def encoded(clicks: pa.Table) -> pa.Table:
    """The clicks with each of their own texts in a dictionary: what is done to texts is then done to each but once."""
    for index, name in enumerate(clicks.column_names):
        if name in _OWN_FIELDS:
            column = _only_chunk(clicks.column(name)).dictionary_encode()
            clicks = clicks.set_column(index, name, column)
    return clicks


def _only_chunk(column: Any) -> Any:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def standing_row(clicks: pa.Table, row: int) -> dict[str, str | int]:
    """The known, present fields of one row."""
    found: dict[str, str | int] = {}
    for name in EVENT_TYPES["click"].field_names:
        value = clicks.column(name)[row].as_py()
        if value is not None:
            found[name] = value
    return found


_decode_word = msgspec.msgpack.Decoder(Word).decode
