"""IDENTITY, keyed by brand and visitor: keeps clicks, and forwards those of visitors that belong to a customer.

Nine events in ten are clicks of visitors who never buy. They end here, at the cost of one look-up and one append.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from pipeline.state.keys import part
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.facts import decode, fact_values, key_columns, resolve


class Binding(NamedTuple):
    """A visitor that belongs to a customer; the parts are as keys hold them."""

    brand: bytes
    visitor: bytes
    customer: bytes


class ForwardedClick(NamedTuple):
    """A click on its way to a customer's story; the parts are as keys hold them, ``fact`` is the click's value in state."""

    brand: bytes
    customer: bytes
    visitor: bytes
    event: bytes
    fact: bytes


@dataclass(frozen=True, slots=True)
class NewClicks:
    """What a batch of clicks came to."""

    rows: list[int]  # of the batch, that are new or replace an earlier copy
    editions: list[int]  # of those rows' facts
    repeats: int
    forwarded: list[ForwardedClick]


class IdentityStep:
    """The step over one store. It writes nothing itself: what it wants written is put into the caller's batch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Visitors that belong to somebody, so that a batch of clicks is tested without asking the store for each.
        self._bound = {key.rsplit(b"\x00", 1)[0] for key, _ in store.scan("bindings", b"")}

    def add_clicks(self, clicks: pa.Table, batch: WriteBatch) -> NewClicks:
        """Take admitted clicks; the batch's earlier writes must not concern clicks."""
        brands, visitors, events = key_columns(clicks, "brand_id", "visitor_id", "event_id")
        keys = [
            f"{brand}\x00{visitor}\x00{event}".encode()
            for brand, visitor, event in zip(brands, visitors, events, strict=True)
        ]
        new, rows = resolve("click", keys, fact_values("click", clicks), self._store.get_many("clicks", keys))
        batch.table("clicks").update(new)
        forwarded: list[ForwardedClick] = []
        if self._bound:
            for key, fact in new.items():
                brand_visitor, event = key.rsplit(b"\x00", 1)
                if brand_visitor in self._bound:
                    brand, visitor = brand_visitor.split(b"\x00")
                    for customer in self._customers_of(brand_visitor):
                        forwarded.append(ForwardedClick(brand, customer, visitor, event, fact))
        # An edition is the second byte of a fact: a small MessagePack integer after the array's header.
        editions = [_edition(new[keys[row]]) for row in rows]
        return NewClicks(rows, editions, len(keys) - len(rows), forwarded)

    def bind(self, bindings: Iterable[Binding], batch: WriteBatch) -> list[ForwardedClick]:
        """Take bindings; those that are new forward every click known of their visitor."""
        wanted = {b"\x00".join(binding): binding for binding in sorted(set(bindings))}
        keys = list(wanted)
        known = self._store.get_many("bindings", keys)
        new = [wanted[key] for key, value in zip(keys, known, strict=True) if value is None]
        batch.table("bindings").update((b"\x00".join(binding), b"") for binding in new)
        prefixes = [b"%b\x00%b\x00" % (brand, visitor) for brand, visitor, _ in new]
        self._bound.update(prefix[:-1] for prefix in prefixes)
        forwarded = []
        for (brand, visitor, customer), clicks in zip(new, self._store.scan_each("clicks", prefixes), strict=True):
            start = len(brand) + len(visitor) + 2
            forwarded += [ForwardedClick(brand, customer, visitor, key[start:], fact) for key, fact in clicks]
        return forwarded

    def _customers_of(self, brand_visitor: bytes) -> Sequence[bytes]:
        prefix = brand_visitor + b"\x00"
        return [key[len(prefix) :] for key, _ in self._store.scan("bindings", prefix)]


def binding(brand_id: str, visitor_id: str, customer_id: str) -> Binding:
    """A binding of plain ids."""
    return Binding(part(brand_id), part(visitor_id), part(customer_id))


def _edition(fact: bytes) -> int:
    edition = fact[1]
    if edition < 0x80:
        return edition
    return int(decode(fact)[0])
