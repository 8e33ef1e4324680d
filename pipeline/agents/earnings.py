"""EARNINGS live: the programs of one partition, their contributions kept as they come in, folded a moment later."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any, Final

import msgspec

from pipeline.agents.intake import source_of
from pipeline.agents.invariants import violated
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import Outlet
from pipeline.agents.partition import PartitionState
from pipeline.agents.reachings import Reachings
from pipeline.domain.contribution import Contribution
from pipeline.domain.terms import Catalogue
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.earnings import EarningsStep, Settled
from pipeline.steps.rows import Rows
from pipeline.topology import RECORD_OF, STEPS
from pipeline.wire.admission import DeadLetter
from pipeline.wire.batches import RecordBatch

Row = tuple[Any, ...]

CHECKED_OF: Final = 100
"""One referral of so many has its balance checked; of what is settled at once, one at least."""


class EarningsPartition:
    """One partition of the step. One thread uses it."""

    def __init__(
        self, number: int, store: Store, outlet: Outlet, *, catalogue: Catalogue, outcomes: Outcomes,
        reachings: Reachings, counts: Counter[tuple[str, str]],
    ) -> None:  # fmt: skip
        self.number = number
        self.state = PartitionState(store, outlet, STEPS["earnings"].reads_back)
        self._step = EarningsStep(store, catalogue)
        self._outcomes = outcomes
        self._emitted: dict[str, dict[Row, Row]] = {"ledger_entry": {}, "milestone": {}}  # read back, by identity
        self._reachings = reachings
        self._counts = counts
        self._to_check: list[tuple[str, str]] = []  # program and customer
        self._settled_to = reachings.load(number, store)  # offsets before it are folded, or were by others
        self._read_back: dict[str, int] = {}  # up to which offset; noted once it was acted upon

    def start(self) -> None:
        """Send what an earlier process could not.

        And fold what it had not: so that of reachings is known whether they lie before the group's offset.
        """
        self.state.send_waiting()
        self.settle()

    def take(self, batch: RecordBatch) -> None:
        """Keep a batch of contributions."""
        new = batch.since(self.state.offset("contribution"))
        if new is None:
            return
        facts = WriteBatch()
        contributions, dead = self._contributions(new)
        self._step.stage(contributions, facts)
        self._to_check += [(each.program_id, each.customer_id) for each in contributions[::CHECKED_OF]]
        outputs = self._outcomes.letters("dead_letter", dead, self.number)
        self.state.commit(facts, "contribution", new.next_offset, outputs)

    def restore(self, batch: RecordBatch, late_offsets: set[int], *, is_ahead: bool) -> None:  # noqa: ARG002  all steps are told
        """Keep contributions whose outcomes are known to have been acknowledged, and fold them in silence."""
        new = batch.since(self.state.offset("contribution"))
        if new is None:
            return
        facts = WriteBatch()
        self._step.stage(self._contributions(new)[0], facts)
        self.state.keep(facts, "contribution", new.next_offset)
        for settled in self._step.settle():
            self.state.write(settled.notes)
            self._note(settled)
            self.state.write(settled.batch)
        self._settled_to = self.state.offset("contribution")

    def read_back(self, batch: RecordBatch, *, is_ahead: bool) -> None:  # noqa: ARG002  all steps are told
        """Learn from an outcome topic's own partition what was emitted, by whomever."""
        record = RECORD_OF[batch.topic]
        width = 1 if record == "ledger_entry" else 4
        emitted = self._emitted[record]
        for row in self._outcomes.rows(record, batch)[0]:
            known = emitted.get(row[:width])
            if known is None or row[-2] >= known[-2]:
                emitted[row[:width]] = row
        self._read_back[record] = batch.next_offset

    def settle(self) -> None:
        """Fold what was taken, and send the rows that it changes."""
        for settled in self._step.settle():
            self.state.write(settled.notes)
            self.state.send(self._outcomes.of_tables(settled.rows, self.number), settled.batch)
            self._note(settled)
            self.state.write(settled.batch)
        self._settled_to = self.state.offset("contribution")
        self._check_balances()

    def caught_up(self) -> None:
        """Withdraw or correct what was read back and does not stand, now that everything in the topic is folded.

        What somebody wrote who knew more waits until as much is known here: a correction would be passed over.
        """
        if not self._read_back:
            return
        version_of = self._step.version_of
        rows = Rows()
        due: dict[tuple[str, Row], tuple[Row, str]] = {}
        for record, table, width in (("ledger_entry", "ledger_entries", 1), ("milestone", "milestones", 4)):
            for identity, row in self._emitted[record].items():
                program_id = row[2] if width == 1 else row[0]
                if row[-2] <= version_of(program_id):
                    due[table, identity] = row, program_id
            for of_table, identity in due:
                if of_table == table:
                    del self._emitted[record][identity]
        standing = self._step.standing_rows() if due else {}
        for (table, identity), (row, program_id) in due.items():
            *columns, _, was_deleted = row
            holds = standing.get((table, identity))
            if holds is None and not was_deleted:
                rows.add(table, columns, version_of(program_id), deleted=True)
            elif holds is not None and (was_deleted or tuple(columns) != holds):
                rows.add(table, holds, version_of(program_id))
        done = WriteBatch()
        if not any(self._emitted.values()):
            for record, offset in self._read_back.items():
                self.state.put_seen(record, max(offset, self.state.seen(record)), done)
            self._read_back.clear()
        self.state.send(self._outcomes.of_tables(rows, self.number), done)
        self.state.write(done)

    def safe_offsets(self) -> dict[str, int]:
        """After :meth:`settle`: how far the input is safe."""
        return {"contribution": self.state.offset("contribution")}

    def _check_balances(self) -> None:
        for program_id, customer_id in dict.fromkeys(self._to_check):
            for what, partner_id, order_id, standing, entered in self._step.imbalances(program_id, customer_id):
                violated(
                    self._counts, "balance_equals_entries", program=program_id, partner=partner_id, what=what,
                    order=order_id, standing_minor=standing, entered_minor=entered,
                )  # fmt: skip
        self._to_check.clear()

    def _note(self, settled: Settled) -> None:
        offset = self.state.offset("contribution")
        self._reachings.note(self.number, settled.reached, min(self._settled_to, offset), offset, settled.batch)

    def _contributions(self, batch: RecordBatch) -> tuple[list[Contribution], list[DeadLetter]]:
        rows, dead = self._outcomes.rows("contribution", batch)
        try:
            return [_decode(payload) for _, _, _, payload in rows], dead
        except msgspec.MsgspecError:
            return self._one_by_one(batch)

    def _one_by_one(self, batch: RecordBatch) -> tuple[list[Contribution], list[DeadLetter]]:
        """The same where a payload is damaged: it alone is a dead letter."""
        found, dead = [], []
        for at, offset in enumerate(batch.offsets):
            for _, _, _, payload in self._outcomes.decoded("contribution", batch.values[at : at + 1]):
                with contextlib.suppress(msgspec.MsgspecError):
                    found.append(_decode(payload))
                    break
            else:
                source = source_of(batch.topic, batch.partition)
                dead.append(DeadLetter(source, offset, "malformed", batch.values[at] or b""))
        return found, dead


_decode = msgspec.msgpack.Decoder(Contribution).decode
