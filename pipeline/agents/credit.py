"""CREDIT live: one partition's customers, their facts kept as they come in, decided a moment later.

Taking a batch only keeps facts, and marks their customers dirty; :meth:`CreditPartition.settle` derives what they imply
and sends it. An input offset is safe once the customers of all records before it are settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Any, Final

import msgspec
import pyarrow as pa

from pipeline.agents.identity import count
from pipeline.agents.intake import Intake, Lateness, source_of
from pipeline.agents.invariants import check_attributions
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import BY_KEY, Outlet, Output
from pipeline.agents.partition import PartitionState
from pipeline.agents.watermarks import Watermarks
from pipeline.domain.contribution import Contribution
from pipeline.domain.terms import Catalogue
from pipeline.state.keys import key, parts_of
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.clicks import KeptClick
from pipeline.steps.credit import CreditStep
from pipeline.steps.identity import ForwardedClick
from pipeline.topology import RECORD_OF, STEPS
from pipeline.wire.admission import DeadLetter
from pipeline.wire.batches import RecordBatch

CUSTOMERS_AT_ONCE: Final = 2_000
"""How many customers are decided between two writes: some 4 MB of rows."""


class CreditPartition:
    """One partition of the step. One thread uses it."""

    def __init__(
        self, number: int, store: Store, outlet: Outlet, *, catalogue: Catalogue, terms_epoch: int, intake: Intake,
        outcomes: Outcomes, watermarks: Watermarks, allowed_lateness_ms: int, counts: Counter[tuple[str, str]],
    ) -> None:  # fmt: skip
        self.number = number
        self.state = PartitionState(store, outlet, STEPS["credit"].reads_back)
        self._step = CreditStep(store, catalogue, terms_epoch)
        self._intake = intake
        self._outcomes = outcomes
        self._watermarks = watermarks
        self._allowed_lateness_ms = allowed_lateness_ms
        self._counts = counts
        self._watermarks.raise_to(self.state.watermark_ms())

    def start(self) -> None:
        """Send what an earlier process could not."""
        self.state.send_waiting()

    def take(self, batch: RecordBatch) -> None:
        """Keep the facts of a batch of sign-ups, orders, refunds or touchpoints."""
        record = RECORD_OF[batch.topic]
        new = batch.since(self.state.offset(record))
        if new is None:
            return
        if record == "touchpoint":
            facts = WriteBatch()
            forwarded, dead = self._forwarded(new)
            self._step.add_clicks(forwarded, facts)
            self.state.commit(
                facts, record, new.next_offset, self._outcomes.letters("dead_letter", dead, self.number)
            )  # fmt: skip
            return
        watermark = self._watermarks.current()
        taken = self._intake.take(
            new, Lateness(watermark, self._allowed_lateness_ms), lambda events: self._step.known(record, events)
        )
        facts = WriteBatch()
        outputs = [*taken.misplaced, *self._outcomes.refused(taken, self.number)]
        repeats = 0
        if len(taken.events):
            rows = self._step.add_events(record, source_of(new.topic, self.number), taken.events, facts)
            repeats = len(taken.events) - len(rows)
            outputs += self._bindings(taken.events, rows)
        self.state.commit(facts, record, new.next_offset, outputs, watermark)
        self._watermarks.observe(new.topic, self.number, taken.newest_ms)
        count(self._counts, record, taken, repeats)

    def restore(self, batch: RecordBatch, late_offsets: set[int], *, is_ahead: bool) -> None:
        """Keep the facts of a batch whose outputs are known to have been acknowledged.

        If state ``is_ahead`` of the group in another input, what both imply together was not sent.
        """
        record = RECORD_OF[batch.topic]
        new = batch.since(self.state.offset(record))
        if new is None:
            return
        facts = WriteBatch()
        if record == "touchpoint":
            self._step.add_clicks(self._forwarded(new)[0], facts)
        else:
            taken = self._intake.take(
                new,
                Lateness(None, self._allowed_lateness_ms, late_offsets),
                lambda events: self._step.known(record, events),
            )
            if len(taken.events):
                self._step.add_events(record, source_of(new.topic, self.number), taken.events, facts)
            self._watermarks.observe(new.topic, self.number, taken.newest_ms)
        if not is_ahead:
            facts.puts.pop("dirty", None)  # what they imply was sent
        self.state.keep(facts, record, new.next_offset)

    def read_back(self, batch: RecordBatch, *, is_ahead: bool) -> None:
        """Learn from an outcome topic's own partition what was emitted, by whomever.

        What stands there of customers whose facts are all known is right; the others are decided again anyway. Unless
        this state ``is_ahead`` of the group: then others have emitted what they knew less for.
        """
        record = RECORD_OF[batch.topic]
        rows, _ = self._outcomes.rows(record, batch)
        facts = WriteBatch()
        destinations: list[tuple[bytes, str, Any]] = []
        if record == "attribution":
            destinations = [(key(row[0], row[2]), "attributions", (row[1], row[3], row[4])) for row in rows]
        elif record == "referral":
            brand_of = self._step.brand_of
            destinations = [(key(brand_of(row[0]), row[1]), "programs", row[0]) for row in rows]
        self._step.remember(destinations, facts, decide_again=is_ahead)
        self.state.put_seen(record, batch.next_offset, facts)
        self.state.write(facts)

    def settle(self) -> None:
        """Derive and send what all facts taken so far imply."""
        after = b""
        while customers := self._step.dirty_customers(CUSTOMERS_AT_ONCE, after):
            after = customers[-1]
            notes = WriteBatch()
            derived = self._step.derive(self._step.load(customers), notes)
            check_attributions(self._counts, derived.rows.tables.get("attributions", ()))
            self.state.write(notes)
            outputs = self._outcomes.of_tables(derived.rows, self.number)
            outputs += self._contributions(derived.contributions)
            done = WriteBatch()
            self.state.send(outputs, done)
            self._step.settled(customers, done)
            self.state.write(done)

    def safe_offsets(self) -> dict[str, int]:
        """After :meth:`settle`: how far each input is safe."""
        return {record: self.state.offset(record) for record in STEPS["credit"].reads}

    def caught_up(self) -> None:
        """Nothing is left to do: customers whose facts were not all known were decided again."""

    def _forwarded(self, batch: RecordBatch) -> tuple[list[ForwardedClick], list[DeadLetter]]:
        rows, dead = self._outcomes.rows("touchpoint", batch)
        if not rows:
            return [], dead
        brands, customers, visitors, events, *clicks = zip(*rows, strict=True)
        kept = starmap(KeptClick, zip(*clicks, [0] * len(rows), strict=True))  # what was forwarded has no fingerprint
        ids = map(parts_of, (brands, customers, visitors, events))
        return list(starmap(ForwardedClick, zip(*ids, kept, strict=True))), dead

    def _bindings(self, events: pa.Table, rows: Sequence[int]) -> list[Output]:
        """What the new ones among sign-ups and orders bind."""
        if "visitor_id" not in events.column_names:
            return []
        named = events.select(["brand_id", "visitor_id", "customer_id"]).take(pa.array(rows, pa.int64()))
        found = list(zip(*(column.to_pylist() for column in named.columns), strict=True))
        bound = list(dict.fromkeys(each for each in found if each[1]))
        return self._outcomes.outputs("binding", bound, [visitor.encode() for _, visitor, _ in bound], BY_KEY)

    def _contributions(self, contributions: Iterable[Contribution]) -> list[Output]:
        rows = [
            (each.program_id, each.customer_id, each.version, msgspec.msgpack.encode(each)) for each in contributions
        ]
        return self._outcomes.outputs("contribution", rows, [row[0].encode() for row in rows], BY_KEY)
