"""Runs a generated world through the real admission, steps and stores, into a sink that keeps what stands."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.domain.terms import Catalogue
from pipeline.domain.terms_versions import TermsDocument, catalogue_of
from pipeline.embedded.engine import Counts, Engine
from pipeline.state.memory import MemoryStore
from pipeline.state.store import Store
from pipeline.wire.admission import Admission, Admitted, judged
from pipeline.wire.columns import from_records

Row = dict[str, Any]
BOOKKEEPING = ("version", "is_deleted")
KEYS = {
    "attributions": ("brand_id", "conversion_type", "customer_id", "conversion_id", "partner_id"),
    "referrals": ("program_id", "customer_id"),
    "ledger_entries": ("entry_id",),
    "milestones": ("program_id", "milestone_id", "scope_key", "period"),
    "dead_letters": ("source", "position", "reason", "raw"),
    "clicks": ("brand_id", "visitor_id", "event_id"),
    "sign_ups": ("brand_id", "customer_id", "event_id"),
    "orders": ("brand_id", "customer_id", "event_id"),
    "refunds": ("brand_id", "customer_id", "event_id"),
}


class StandingSink:
    """What ReplacingMergeTree(version, is_deleted) shows with FINAL: of a key the highest version, or the last."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[tuple[Any, ...], Row]] = {table: {} for table in KEYS}

    def insert(self, table: str, columns: pa.Table) -> None:
        for row in columns.to_pylist():
            self._put(table, row)

    def insert_rows(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
        for row in rows:
            self._put(table, dict(zip(columns, row, strict=True)))

    def _put(self, table: str, row: Row) -> None:
        key = tuple(row[name] for name in KEYS[table])
        standing = self._rows[table].get(key)
        if standing is None or row["version"] >= standing["version"]:
            self._rows[table][key] = row

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Row | None:
        row = self._rows["clicks"].get((brand_id, visitor_id, event_id))
        if row is None:
            return None
        return {name: value for name, value in row.items() if value is not None and name not in BOOKKEEPING}

    def standing(self, table: str) -> list[Row]:
        rows = (row for row in self._rows[table].values() if not row["is_deleted"])
        return [{name: value for name, value in row.items() if name not in BOOKKEEPING} for row in rows]


def catalogue_from(programs: Iterable[dict[str, Any]]) -> Catalogue:
    return catalogue_of(TermsDocument(file=f"{index}.toml", content=content) for index, content in enumerate(programs))


def _picker(raws: Sequence[bytes]) -> Any:
    return lambda rows: [raws[row] for row in rows]


def admit(
    catalogue: Catalogue,
    events: Sequence[dict[str, Any]],
    source: str,
    first: int = 0,
    places: Sequence[int] | None = None,
) -> Admitted:
    """One chunk with the events at positions ``first`` onwards, or at ``places``."""
    admission = Admission(catalogue)
    places = range(first, first + len(events)) if places is None else places
    groups = []
    for event_type in ("click", "sign_up", "order", "refund"):
        rows = [index for index, event in enumerate(events) if event["type"] == event_type]
        if rows:
            positions = np.array([places[index] for index in rows], dtype=np.uint64)
            raws = [json.dumps(events[index], sort_keys=True).encode() for index in rows]
            records = [events[index] for index in rows]
            groups.append(from_records(event_type, records, positions, _picker(raws), is_json=True))
    tables, dead = judged(admission, groups, [], source)
    return Admitted(tables, dead, source, len(events), 0)


class Pipeline:
    """The life of one database: engines come and go over one store and one sink."""

    def __init__(self, programs: Sequence[dict[str, Any]], store: Store | None = None, sink: Any = None) -> None:
        self.store = store if store is not None else MemoryStore()
        self.sink = sink if sink is not None else StandingSink()
        self.change_terms(programs)

    def change_terms(self, programs: Sequence[dict[str, Any]]) -> None:
        """The runs from now on are given these terms."""
        self.catalogue = catalogue_from(programs)
        self._fingerprint = hashlib.sha256(repr(programs).encode()).hexdigest()

    def run(self, chunks: Iterable[Sequence[tuple[int, dict[str, Any]]]], source: str = "events.jsonl") -> Counts:
        """One run of a new engine, over chunks of events that are told with their positions."""
        engine = Engine(self.store, self.sink, self.catalogue, self._fingerprint)
        for chunk in chunks:
            places, events = [place for place, _ in chunk], [copy.deepcopy(event) for _, event in chunk]
            engine.take(admit(self.catalogue, events, source, places=places))
        engine.settle()
        return engine.counts


def run(
    programs: Sequence[dict[str, Any]],
    runs: Sequence[Sequence[Sequence[dict[str, Any]]]],
    store: Store | None = None,
    sink: Any = None,
    between: Any = lambda store: store,
) -> Any:
    """Several runs, each several chunks of events, over one store; returns the sink."""
    pipeline = Pipeline(programs, store, sink)
    first = 0
    for number, chunks in enumerate(runs):
        placed = []
        for chunk in chunks:
            placed.append(list(enumerate(chunk, first)))
            first += len(chunk)
        pipeline.run(placed)
        if number + 1 < len(runs):
            pipeline.store = between(pipeline.store)
    return pipeline.sink


def answer(sink: StandingSink) -> dict[str, list[Row]]:
    """The sink's outcome tables in the shape and order of the reference."""
    found: dict[str, list[Row]] = {}
    for table in ("attributions", "referrals", "ledger_entries", "milestones"):
        rows = []
        for row in sink.standing(table):
            shown = {name: value for name, value in row.items() if name != "entry_id"}
            if table == "attributions":
                shown["explanation"] = json.loads(shown["explanation"])["touchpoints"]
            rows.append(shown)
        found[table] = canonical(rows)
    dead = [{"index": int(row["position"]), "reason": row["reason"]} for row in sink.standing("dead_letters")]
    found["dead_letters"] = canonical(dead)
    for table, name in (("clicks", "click"), ("sign_ups", "sign_up"), ("orders", "order"), ("refunds", "refund")):
        rows = []
        for row in sink.standing(table):
            shown = {field: value for field, value in row.items() if value is not None}
            if table == "refunds":
                shown["matched"] = bool(shown["matched"])
            rows.append({"type": name, **shown})
        found[table] = canonical(rows)
    return found


def canonical(rows: Iterable[Row]) -> list[Row]:
    """Rows in an order that depends on their content alone."""
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def differences(got: dict[str, list[Row]], expected: dict[str, list[Row]], leave_out: Sequence[str] = ()) -> list[str]:
    """Rows that only one of two answers has; of the tables in ``leave_out`` nothing is said."""
    found = []
    for table in expected:
        if table not in leave_out and canonical(got[table]) != canonical(expected[table]):
            ours, theirs = ([json.dumps(row, sort_keys=True) for row in each[table]] for each in (got, expected))
            found += [f"{table}, only the pipeline: {row}" for row in ours if row not in theirs]
            found += [f"{table}, only the reference: {row}" for row in theirs if row not in ours]
            found += [f"{table}: {len(ours)} rows, and {len(theirs)} in the reference"]
    return found
