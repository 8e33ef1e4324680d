"""The notices of one partition on disk: which wait and when they are due, one after the other for each subject.

Every change goes into the caller's batch of writes. Notices may be added while others of the batch are not written
yet, until :meth:`Book.written`; everything else reads what was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from pipeline.state.keys import part, prefix, text
from pipeline.state.store import Store, WriteBatch
from pipeline.webhooks.notices import Notice

_NUMBER: Final = b"number"
_BYTES: Final = 8


class Place(NamedTuple):
    """Where a waiting notice is."""

    endpoint: str
    number: int  # grows with each notice of the partition

    @property
    def key(self) -> bytes:
        """Its key in ``notices``."""
        return prefix(self.endpoint) + self.number.to_bytes(_BYTES, "big")


class Waiting(msgspec.Struct, array_like=True):
    """A notice that waits."""

    notice: Notice
    queued_at: int  # since when it is tried; a notice that is sent again begins anew
    due_at: int


class Book:
    """The tables ``told``, ``notices``, ``chains`` and ``due`` of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        stored = store.get("meta", _NUMBER)
        self._number = int(stored) if stored is not None else 0
        self._begun: set[bytes] = set()  # chains that the batch begins
        self.counts: dict[str, int] = {}  # waiting, by endpoint
        for key, _ in store.scan("notices", b""):
            endpoint = text(key[: -_BYTES - 1])
            self.counts[endpoint] = self.counts.get(endpoint, 0) + 1

    def knows(self, endpoint: str, notice_id: str) -> bool:
        """Whether the endpoint was, or is to be, told."""
        return self._store.get("told", _told_key(endpoint, notice_id)) is not None

    def place_of(self, endpoint: str, notice_id: str) -> Place | None:
        """Where the notice waits; None if it does not."""
        found = self._store.get("told", _told_key(endpoint, notice_id))
        return Place(endpoint, int.from_bytes(found, "big")) if found else None

    def get(self, place: Place) -> Waiting | None:
        """A notice that waits."""
        found = self._store.get("notices", place.key)
        return _decode(found) if found is not None else None

    def add(self, notice: Notice, now_ms: int, batch: WriteBatch) -> Place:
        """Let a notice wait, behind those of its subject."""
        place = Place(notice.endpoint, self._number)
        self._number += 1
        batch.put("meta", _NUMBER, b"%d" % self._number)
        chain = _chain(notice)
        is_first = chain not in self._begun and next(self._store.scan("chains", chain), None) is None
        self._begun.add(chain)
        batch.put("chains", chain + _number_bytes(place), b"")
        waiting = Waiting(notice, now_ms, now_ms)
        batch.put("notices", place.key, _encode(waiting))
        batch.put("told", _told_key(notice.endpoint, notice.notice_id), _number_bytes(place))
        if is_first:
            batch.put("due", _due_key(place, now_ms), b"")
        self.counts[notice.endpoint] = self.counts.get(notice.endpoint, 0) + 1
        return place

    def written(self) -> None:
        """The batch that notices were added to is written."""
        self._begun.clear()

    def is_due(self, place: Place, waiting: Waiting) -> bool:
        """Whether it is the first of its subject."""
        return self._store.get("due", _due_key(place, waiting.due_at)) is not None

    def due(self, endpoint: str) -> Iterator[tuple[int, Place]]:
        """What is to be delivered to an endpoint, and when, the earliest first."""
        start = prefix(endpoint)
        for key, _ in self._store.scan("due", start):
            at = int.from_bytes(key[len(start) : len(start) + _BYTES], "big")
            yield at, Place(endpoint, int.from_bytes(key[-_BYTES:], "big"))

    def put_off(self, place: Place, waiting: Waiting, notice: Notice, due_at: int, batch: WriteBatch) -> None:
        """Try it again at ``due_at``."""
        batch.delete("due", _due_key(place, waiting.due_at))
        batch.put("due", _due_key(place, due_at), b"")
        batch.put("notices", place.key, _encode(Waiting(notice, waiting.queued_at, due_at)))

    def end(self, place: Place, waiting: Waiting, now_ms: int, batch: WriteBatch) -> None:
        """It waits no longer; the next of its subject is due, which others may have been before."""
        notice = waiting.notice
        chain = _chain(notice)
        batch.delete("due", _due_key(place, waiting.due_at))
        batch.delete("notices", place.key)
        batch.delete("chains", chain + _number_bytes(place))
        batch.put("told", _told_key(notice.endpoint, notice.notice_id), b"")
        self.counts[notice.endpoint] -= 1
        numbers = (int.from_bytes(key[-_BYTES:], "big") for key, _ in self._store.scan("chains", chain))
        following = [number for number in _first(numbers, 2) if number != place.number]
        if not following:
            return
        after = Place(place.endpoint, following[0])
        left = self.get(after)
        if left is not None and following[0] > place.number:
            batch.put("due", _due_key(after, now_ms), b"")
            batch.put("notices", after.key, _encode(Waiting(left.notice, now_ms, now_ms)))

    def note_told(self, endpoint: str, notice_id: str, batch: WriteBatch) -> None:
        """The endpoint was told, or given up, by whomever."""
        batch.put("told", _told_key(endpoint, notice_id), b"")

    def oldest(self, endpoint: str) -> int | None:
        """Since when the notice waits that has waited longest."""
        first = next(self._store.scan("notices", prefix(endpoint)), None)
        return _decode(first[1]).queued_at if first is not None else None


def _first(numbers: Iterator[int], most: int) -> Iterator[int]:
    for _, number in zip(range(most), numbers, strict=False):
        yield number


def _told_key(endpoint: str, notice_id: str) -> bytes:
    return prefix(endpoint) + part(notice_id)


def _chain(notice: Notice) -> bytes:
    return prefix(notice.endpoint, notice.subject)


def _number_bytes(place: Place) -> bytes:
    return place.number.to_bytes(_BYTES, "big")


def _due_key(place: Place, due_at: int) -> bytes:
    return prefix(place.endpoint) + due_at.to_bytes(_BYTES, "big") + _number_bytes(place)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Waiting).decode
