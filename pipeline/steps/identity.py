"""IDENTITY, keyed by brand and visitor: keeps clicks, and forwards those of visitors that belong to a customer.

Nine events in ten are clicks of visitors who never buy. They end here, at the cost of one look-up and one append.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipeline.domain.events import canonical_json
from pipeline.state.absence import AbsenceFilter
from pipeline.state.keys import part
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.clicks import ClickCodec, KeptClick, encoded, standing_row, with_edition
from pipeline.steps.facts import sorted_keys

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another

# Of a packed click: its time, and with the fingerprint what differs where contents differ.
_AT, _AT_AND_PRINT = slice(5, 11), slice(5, 14)


class Truth(Protocol):
    """Where whole clicks are: state is only an index of it."""

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        """The present fields of the copy that counts so far; None if there is none."""


class Binding(NamedTuple):
    """A visitor that belongs to a customer; the parts are as keys hold them."""

    brand: bytes
    visitor: bytes
    customer: bytes


class ForwardedClick(NamedTuple):
    """A click on its way to a customer's story; the parts are as keys hold them."""

    brand: bytes
    customer: bytes
    visitor: bytes
    event: bytes
    click: KeptClick


@dataclass(frozen=True, slots=True)
class NewClicks:
    """What a batch of clicks came to."""

    added: pa.Table  # those that are new or replace an earlier copy, ascending by key
    editions: npt.NDArray[np.uint64]  # of their facts
    fresh: int  # how many of them state had no copy of
    repeats: int
    forwarded: list[ForwardedClick]


class IdentityStep:
    """The step over one store. It writes nothing itself: what it wants written is put into the caller's batch."""

    def __init__(self, store: Store, truth: Truth) -> None:
        self._store = store
        self._truth = truth
        self._codec = ClickCodec(store)
        # Visitors that belong to somebody, so that a batch of clicks is tested without asking the store for each.
        self._bound = AbsenceFilter()
        self._bound.add([key.rsplit(b"\x00", 1)[0] for key, _ in store.scan("bindings", b"")])

    def add_clicks(self, clicks: pa.Table, batch: WriteBatch) -> NewClicks:
        """Take admitted clicks; the batch's earlier writes must not concern clicks."""
        clicks = encoded(clicks)
        ids, order = sorted_keys(clicks, "brand_id", "visitor_id", "event_id")
        keys: list[bytes] = ids.to_pylist()
        values = self._codec.pack(clicks, order, batch)
        known = self._store.get_many("clicks", keys)
        new = dict(zip(keys, values, strict=True))
        editions = np.ones(len(keys), dtype=np.uint64)
        again = _met_before(ids, known)
        fresh = len(keys)
        if again:
            places = self._resolve(clicks, order, keys, values, known, new, again)
            left_out = sorted(set(again).difference(places))
            for place in places:
                editions[place] = int.from_bytes(new[keys[place]][:2], "big")
            fresh -= len(left_out) + sum(known[place] is not None for place in places)
            order, editions = np.delete(order, left_out), np.delete(editions, left_out)
        batch.table("clicks").update(new)
        forwarded = list(self._forward(new))
        added = clicks.take(order)
        return NewClicks(added, editions, fresh, len(keys) - len(added), forwarded)

    def known(self, clicks: pa.Table) -> npt.NDArray[np.bool_]:
        """Which of the clicks state has a copy of."""
        ids, order = sorted_keys(clicks, "brand_id", "visitor_id", "event_id")
        known = np.zeros(len(clicks), dtype=np.bool_)
        known[order] = [value is not None for value in self._store.get_many("clicks", ids.to_pylist())]
        return known

    def standing(self, clicks: pa.Table) -> tuple[pa.Table, npt.NDArray[np.uint64]]:
        """Of clicks that were taken before, what the truth must hold before they count as stored, with editions.

        That is the copies that count by now. Where that copy comes later, and may not be stored yet, whoever meets it
        with older state compares it with the truth: so the first of these has to be there, as edition 0.
        """
        clicks = encoded(clicks.filter(pa.array(self.known(clicks))))
        ids, order = sorted_keys(clicks, "brand_id", "visitor_id", "event_id")
        keys = ids.to_pylist()
        values = self._codec.pack(clicks, order, WriteBatch())  # every word of theirs is known
        editions: dict[int, int] = {}  # by place
        others: dict[bytes, list[int]] = {}
        for place, (value, kept) in enumerate(zip(values, self._store.get_many("clicks", keys), strict=True)):
            if kept is not None and kept[_AT_AND_PRINT] == value[_AT_AND_PRINT]:
                editions[place] = int.from_bytes(kept[:2], "big")
            else:
                others.setdefault(keys[place], []).append(place)
        for key in {keys[place] for place in editions}.intersection(others):
            del others[key]
        for copies in others.values():
            contents = {_content(standing_row(clicks, int(order[place]))): place for place in copies}
            first = min(contents)
            row = standing_row(clicks, int(order[contents[first]]))
            known = self._truth.click(str(row["brand_id"]), str(row["visitor_id"]), str(row["event_id"]))
            if known is None or first < _content(known):
                editions[contents[first]] = 0
        places = sorted(editions)
        return clicks.take(order[places]), np.array([editions[place] for place in places], dtype=np.uint64)

    def _resolve(
        self, clicks: pa.Table, rows: npt.NDArray[np.uint64], keys: Sequence[bytes], values: Sequence[bytes],
        known: Sequence[bytes | None], new: dict[bytes, bytes], again: Sequence[int],
    ) -> list[int]:  # fmt: skip
        """Reduce ``new`` to what is new or replaces another copy; returns which of the places ``again`` those are.

        A place is an index into ``keys``, which ascend, so that repeats within the batch are neighbours.
        """
        for place in again:
            new.pop(keys[place], None)
        place_of: dict[bytes, int] = {}
        for place in again:
            key, value = keys[place], values[place]
            standing = new.get(key, known[place])
            standing_in = place_of.get(key)
            if standing is None:
                new[key] = value
                place_of[key] = place
            elif self._replaces(
                clicks, int(rows[place]), value, standing, None if standing_in is None else int(rows[standing_in])
            ):
                new[key] = with_edition(value, int.from_bytes(standing[:2], "big") + 1)
                place_of[key] = place
        return list(place_of.values())

    def _replaces(self, clicks: pa.Table, row: int, value: bytes, standing: bytes, standing_in: int | None) -> bool:
        """Whether a row is to count instead of the copy of its event that counts so far.

        Of copies that differ, the smallest (occurred_at, canonical JSON) counts.
        """
        if standing[_AT_AND_PRINT] == value[_AT_AND_PRINT]:
            return False
        at, standing_at = value[_AT], standing[_AT]
        return at < standing_at or (at == standing_at and self._precedes(clicks, row, standing_in))

    def _precedes(self, clicks: pa.Table, row: int, standing_in: int | None) -> bool:
        """Whether a row's content precedes that of the copy that counts so far, at one occurred_at."""
        contender = standing_row(clicks, row)
        standing = (
            standing_row(clicks, standing_in)
            if standing_in is not None
            else self._truth.click(str(contender["brand_id"]), str(contender["visitor_id"]), str(contender["event_id"]))
        )
        if standing is None:
            raise LookupError(
                f"click {contender['event_id']} is in state, but not in the truth that state is an index of"
            )
        # Equal to the truth, but not to what state has: it was inserted just before a process ended, and now is kept.
        return canonical_json("click", contender).encode() <= canonical_json("click", standing).encode()

    def _forward(self, new: Mapping[bytes, bytes]) -> Iterable[ForwardedClick]:
        """Of the new clicks those whose visitor belongs to somebody, once for each customer."""
        found = []
        prefixes: dict[bytes, None] = {}  # in the order of the keys, which ascend: one iterator goes through them
        keys = list(new)
        for place in self._bound.maybe_present([key.rsplit(b"\x00", 1)[0] for key in keys]):
            brand_visitor, event = keys[place].rsplit(b"\x00", 1)
            found.append((brand_visitor, event, new[keys[place]]))
            prefixes[brand_visitor + b"\x00"] = None
        customers = {
            prefix: [key[len(prefix) :] for key, _ in bindings]
            for prefix, bindings in zip(prefixes, self._store.scan_each("bindings", list(prefixes)), strict=True)
        }
        for brand_visitor, event, value in found:
            brand, visitor = brand_visitor.split(b"\x00")
            click = self._codec.unpack(value)
            for customer in customers[brand_visitor + b"\x00"]:
                yield ForwardedClick(brand, customer, visitor, event, click)

    def bind(self, bindings: Iterable[Binding], batch: WriteBatch) -> list[ForwardedClick]:
        """Take bindings; those that are new forward every click known of their visitor."""
        wanted = {b"\x00".join(binding): binding for binding in sorted(set(bindings))}
        keys = list(wanted)
        known = self._store.get_many("bindings", keys)
        new = [wanted[key] for key, value in zip(keys, known, strict=True) if value is None]
        batch.table("bindings").update((b"\x00".join(binding), b"") for binding in new)
        prefixes = [b"%b\x00%b\x00" % (brand, visitor) for brand, visitor, _ in new]
        self._bound.add([prefix[:-1] for prefix in prefixes])
        forwarded = []
        for (brand, visitor, customer), clicks in zip(new, self._store.scan_each("clicks", prefixes), strict=True):
            start = len(brand) + len(visitor) + 2
            forwarded += [
                ForwardedClick(brand, customer, visitor, key[start:], self._codec.unpack(value))
                for key, value in clicks
            ]
        return forwarded

    def expire(self, before_ms: int, after: bytes, most: int, batch: WriteBatch) -> bytes:
        """Of up to ``most`` clicks beyond the key ``after``, remove those dated before ``before_ms``.

        Returns the last key looked at; b"" at the end of the table. No index by time is kept: a look at every click
        now and then costs less than an entry more for each.
        """
        edge = max(0, before_ms).to_bytes(6, "big")
        clicks = self._store.scan("clicks", b"", after + b"\x00" if after else b"")
        for looked_at, (key, value) in enumerate(clicks, start=1):
            if value[_AT] < edge:
                batch.delete("clicks", key)
            if looked_at >= most:
                return key
        return b""


def _content(click: Mapping[str, str | int]) -> tuple[int, bytes]:
    """By which of several copies the smallest counts."""
    return int(click["occurred_at"]), canonical_json("click", click).encode()


def _met_before(ids: Any, known: Sequence[bytes | None]) -> list[int]:
    """The places of keys that state holds, or that stand more than once in ``ids``, which ascend."""
    again = np.zeros(len(ids), dtype=bool)
    if len(ids) > 1:
        same = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        again[1:] |= same
        again[:-1] |= same
    if any(known):
        again[[place for place, value in enumerate(known) if value is not None]] = True
    return np.flatnonzero(again).tolist()


def binding(brand_id: str, visitor_id: str, customer_id: str) -> Binding:
    """A binding of plain ids."""
    return Binding(part(brand_id), part(visitor_id), part(customer_id))
