"""The embedded engine: the three steps over one store and one sink, driven by a run over files.

Facts come in first (:meth:`Engine.take`), then outcomes are derived once for every customer and program that they
concern (:meth:`Engine.settle`). Each hand-over is in the order that makes a kill at any point harmless: rows are
acknowledged before the facts that they show are written, destinations are remembered before rows are sent to them,
and what is still to be derived stays marked until its rows are acknowledged. An interrupted run is simply run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from pipeline.clickhouse.click_rows import click_columns
from pipeline.domain.terms import Catalogue
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.credit import CreditStep
from pipeline.steps.earnings import EarningsStep
from pipeline.steps.identity import IdentityStep
from pipeline.steps.rows import COLUMNS, Rows, shown_raw
from pipeline.wire.admission import Admitted, DeadLetter

CUSTOMERS_AT_ONCE = 10_000
"""How many customers are decided between two writes: some 20 MB of rows."""

_TERMS_KEY = b"terms"
_CLICKS_KEY = b"clicks"


class Sink(Protocol):
    """Where rows go, and where whole clicks are found again.

    A row is acknowledged when the call returns; a row sent twice is one row.
    """

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        """The present fields of one click that was inserted; None if there is none."""

    def insert(self, table: str, columns: pa.Table) -> None:
        """Insert columns; those that the table has besides take their defaults."""

    def insert_rows(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
        """Insert rows whose values stand in ``columns``."""


class TermsChangedError(Exception):
    """The database holds a program that this run was not given."""


class _KnownTerms(msgspec.Struct, array_like=True):
    fingerprint: str
    epoch: int
    programs: list[str]


@dataclass
class Counts:
    """What a run read; every record is in exactly one of ``applied``, ``repeats`` and ``dead`` (duplicates are
    applied).
    """

    clicks_known: int = 0  # in the whole database: counted here, for counting millions of rows takes seconds
    records: int = 0
    applied: Counter[str] = field(default_factory=Counter)  # by event type: new, or replacing another copy
    repeats: Counter[str] = field(default_factory=Counter)  # by event type
    dead: Counter[str] = field(default_factory=Counter)  # by reason


class Engine:
    """The pipeline over ``store`` and ``sink``, under one catalogue of terms, whose meaning has ``fingerprint``."""

    def __init__(self, store: Store, sink: Sink, catalogue: Catalogue, fingerprint: str) -> None:
        self._store = store
        self._sink = sink
        known = self._known_terms()
        missing = sorted(set(known.programs) - set(catalogue.programs)) if known else []
        if missing:
            raise TermsChangedError(
                f"The database holds outcomes of {', '.join(missing)}, whose terms were not given. Add the files with "
                f"--program, or name another --database."
            )
        changed = known is not None and known.fingerprint != fingerprint
        epoch = known.epoch + changed if known is not None else 0
        self.terms_changed = changed
        self._identity = IdentityStep(store, sink)
        self._credit = CreditStep(store, catalogue, epoch)
        self._earnings = EarningsStep(store, catalogue)
        self.counts = Counts(clicks_known=int(store.get("meta", _CLICKS_KEY) or 0))
        if known is None or changed:
            self._adopt(_KnownTerms(fingerprint, epoch, sorted(catalogue.programs)), changed)

    def _known_terms(self) -> _KnownTerms | None:
        stored = self._store.get("meta", _TERMS_KEY)
        return msgspec.msgpack.decode(stored, type=_KnownTerms) if stored is not None else None

    def _adopt(self, terms: _KnownTerms, changed: bool) -> None:
        """Note the terms; where they changed, everything is to be derived afresh under them."""
        batch = WriteBatch()
        if changed:
            for customer in self._credit.all_customers():
                batch.put("dirty", customer, b"")
                if len(batch) >= CUSTOMERS_AT_ONCE:
                    self._store.write(batch)
                    batch = WriteBatch()
            self._earnings.refold(batch)
        batch.put("meta", _TERMS_KEY, msgspec.msgpack.encode(terms))
        self._store.write(batch)

    def take(self, admitted: Admitted) -> None:
        """Take one chunk of a source. When it returns, its raw facts are in the sink and in state."""
        batch = WriteBatch()
        self.counts.records += admitted.records
        clicks = admitted.events.get("click")
        if clicks is not None:
            new = self._identity.add_clicks(clicks, batch)
            if len(new.added):
                self._sink.insert("clicks", click_columns(new.added, new.editions))
            self._credit.add_clicks(new.forwarded, batch)
            self._count("click", len(clicks), new.repeats)
            self.counts.clicks_known += new.fresh
            batch.put("meta", _CLICKS_KEY, str(self.counts.clicks_known).encode())
        for event_type in ("sign_up", "order", "refund"):
            events = admitted.events.get(event_type)
            if events is not None:
                new_rows = self._credit.add_events(event_type, admitted.source, events, batch)
                self._count(event_type, len(events), len(events) - len(new_rows))
        self._refuse(admitted.dead)
        self._store.write(batch)

    def _count(self, event_type: str, records: int, repeats: int) -> None:
        self.counts.applied[event_type] += records - repeats
        self.counts.repeats[event_type] += repeats

    def _refuse(self, dead: Sequence[DeadLetter]) -> None:
        if dead:
            rows = [(each.source, str(each.position), each.reason, shown_raw(each.raw), 1, 0) for each in dead]
            self._sink.insert_rows("dead_letters", rows, _columns("dead_letters"))
            self.counts.dead.update(each.reason for each in dead)

    def customers_to_decide(self) -> int:
        """How many customers have facts that no outcome has seen."""
        return self._credit.count_dirty()

    def settle(self, on_decided: Callable[[int], object] = int) -> None:
        """Derive everything that the facts taken so far imply, and send it; ``on_decided`` hears of each batch."""
        for customers in self._dirty():
            facts = self._credit.load(customers)
            batch = WriteBatch()
            bindings = [binding for each in facts for binding in each.bindings()]
            self._credit.add_clicks_to(facts, self._identity.bind(bindings, batch), batch)
            derived = self._credit.derive(facts, batch)
            self._store.write(batch)
            self._send(derived.rows)
            batch = WriteBatch()
            self._earnings.stage(derived.contributions, batch)
            self._credit.settled(customers, batch)
            self._store.write(batch)
            on_decided(len(customers))
        for settled in self._earnings.settle():
            self._store.write(settled.notes)
            self._send(settled.rows)
            self._store.write(settled.batch)

    def _dirty(self) -> Iterator[list[bytes]]:
        after = b""
        while customers := self._credit.dirty_customers(CUSTOMERS_AT_ONCE, after):
            yield customers
            after = customers[-1]

    def _send(self, rows: Rows) -> None:
        for table, found in rows.tables.items():
            self._sink.insert_rows(table, found, _columns(table))


def _columns(table: str) -> tuple[str, ...]:
    return (*COLUMNS[table], "version", "is_deleted")
