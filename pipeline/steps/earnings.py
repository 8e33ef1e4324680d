"""EARNINGS, keyed by program: folds the program's timeline into ledger entries and milestones, incrementally.

The timeline holds every customer's elements in event order. Before the *frontier* each record carries what came of
its element: the counters it changed with their values before it, its ledger rows, and its memo. The counters in state
are those just before the frontier. A late element moves the frontier back to its place (the counters are restored
from the records passed), and only what follows is folded again; rows that come out as before are not written again.

Rows that are on their way when the process ends may have arrived, and by the time they are derived again new facts may
imply others. So a segment's rows are noted in its records before they are sent. Until they are acknowledged they are
*in doubt*: the next fold sends what is noted again, or withdraws it, whether it changed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from pipeline.domain.balance import entered_balance, standing_balance
from pipeline.domain.contribution import Contribution, Element
from pipeline.domain.earnings import Advance, CounterKey, Memo, MilestoneState, Plan, advance, milestone_row
from pipeline.domain.rows import LedgerRow, MilestoneRow
from pipeline.domain.story import Position
from pipeline.domain.terms import Catalogue
from pipeline.state.keys import part, position_key
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.rows import Rows

SEGMENT = 20_000
"""Elements folded before their rows are handed over and the frontier moves on durably."""

_REMEMBERED_MEMOS = 200_000
_REMEMBERED_READS = 1_000

Counter = int | MilestoneState | None


class Record(msgspec.Struct, array_like=True):
    """One place of the timeline. ``element`` is None where it was withdrawn but its rows are still to be."""

    element: Element | None
    memo: Memo | None = None
    undo: tuple[tuple[CounterKey, Counter], ...] = ()
    entries: tuple[LedgerRow, ...] = ()


class Progress(msgspec.Struct, array_like=True):
    """How far a program's fold has come."""

    frontier: bytes | None = None  # position key of the first element not folded; None: all are
    facts: int = 0  # the version of everything emitted: the sum of the contributions' versions
    touched: set[CounterKey] = set()  # milestones whose row is to be written when the fold is complete
    in_doubt: bytes | None = None  # position key of the last element whose noted rows may or may not have arrived


_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode
_decode_contribution = msgspec.msgpack.Decoder(Contribution).decode
_decode_counter: Any = msgspec.msgpack.Decoder(Counter).decode
_decode_key = msgspec.msgpack.Decoder(CounterKey).decode


class Reached(NamedTuple):
    """How often a milestone was reached and revoked, in event order, by all that is known."""

    program_id: str
    milestone_id: str
    scope_key: str
    period: str
    reachings: int
    revocations: int


@dataclass(slots=True)
class Settled:
    """Rows to send, what to write before that, and what to write once they are acknowledged."""

    rows: Rows = field(default_factory=Rows)
    notes: WriteBatch = field(default_factory=WriteBatch)
    batch: WriteBatch = field(default_factory=WriteBatch)
    reached: list[Reached] = field(default_factory=list)  # of the milestones whose rows are sent


@dataclass(slots=True)
class _Ledger:
    """One program's fold as it is held in memory between batches."""

    plan: Plan
    prefix: bytes
    progress: Progress
    counters: dict[CounterKey, Counter]
    memos: dict[bytes, Memo] = field(default_factory=dict)


class EarningsStep:
    """The step over one store.

    Use: :meth:`stage` contributions and write the batch; then, for each result of :meth:`settle`, write its notes, send
    its rows and, once they are acknowledged, write its batch before asking for the next.
    """

    def __init__(self, store: Store, catalogue: Catalogue, segment: int = SEGMENT) -> None:
        self._store = store
        self._catalogue = catalogue
        self._segment = segment
        self._ledgers: dict[str, _Ledger] = {}

    def stage(self, contributions: Iterable[Contribution], batch: WriteBatch) -> None:
        """Take contributions; one with a version lower than the known one is stale, and ignored."""
        by_program: dict[str, dict[str, Contribution]] = {}
        for contribution in contributions:
            by_customer = by_program.setdefault(contribution.program_id, {})
            known = by_customer.get(contribution.customer_id)
            if known is None or contribution.version >= known.version:
                by_customer[contribution.customer_id] = contribution
        for program_id, by_customer in by_program.items():
            if program_id in self._catalogue.programs:
                self._stage(self._ledger(program_id), list(by_customer.values()), batch)

    def unsettled(self) -> list[str]:
        """The programs whose timeline is not folded to its end."""
        return [
            program_id for program_id in self._catalogue.programs
            if self._ledger(program_id).progress.frontier is not None or self._ledger(program_id).progress.touched
        ]  # fmt: skip

    def settle(self) -> Iterator[Settled]:
        """Fold every program to the end of its timeline, a segment at a time."""
        for program_id in self.unsettled():
            yield from self._settle(self._ledger(program_id))

    def standing_rows(self) -> dict[tuple[str, tuple[Any, ...]], tuple[Any, ...]]:
        """Every row that stands, by table and identity, once all is folded. Reads the whole of state."""
        rows: dict[tuple[str, tuple[Any, ...]], tuple[Any, ...]] = {}
        for program_id in self._catalogue.programs:
            ledger = self._ledger(program_id)
            for _, value in self._store.scan("timeline", ledger.prefix):
                rows.update(
                    (("ledger_entries", (entry.entry_id,)), tuple(entry)) for entry in _decode_record(value).entries
                )
            for counter, state in ledger.counters.items():
                if isinstance(state, MilestoneState):
                    row = milestone_row(program_id, counter, state)
                    rows["milestones", row[:4]] = tuple(row)
        return rows

    def version_of(self, program_id: str) -> int:
        """The version of whatever a program emits now; 0 for a program that is not known."""
        return self._ledger(program_id).progress.facts if program_id in self._catalogue.programs else 0

    def imbalances(self, program_id: str, customer_id: str) -> list[tuple[str, str, str, int, int]]:
        """Where a referral's ledger entries do not sum to what it comes to by how it stands, once all is folded.

        For each such sum: what it is for (commission, bonus or reward), partner, order, minor units as it stands, and
        as entered.
        """
        ledger = self._ledger(program_id)
        stored = self._store.get("contributions", ledger.prefix + part(customer_id))
        if stored is None or ledger.progress.frontier is not None:
            return []
        elements = _decode_contribution(stored).elements
        keys = [ledger.prefix + position_key(element.position) for element in elements]
        found = [value for value in self._store.get_many("timeline", keys) if value is not None]
        entered = entered_balance(entry for value in found for entry in _decode_record(value).entries)
        standing = (
            standing_balance(ledger.plan.program, elements, self._recall(ledger)) if elements else entered_balance(())
        )
        return [
            (*key, standing[key], entered[key])
            for key in sorted({*standing, *entered}) if standing[key] != entered[key]
        ]  # fmt: skip

    def refold(self, batch: WriteBatch) -> None:
        """Have every program folded from its beginning (the terms changed)."""
        for program_id in self._catalogue.programs:
            ledger = self._ledger(program_id)
            self._rewind(ledger, b"", batch)
            self._save(ledger, batch)

    def _ledger(self, program_id: str) -> _Ledger:
        ledger = self._ledgers.get(program_id)
        if ledger is None:
            prefix = part(program_id) + b"\x00"
            stored = self._store.get("meta", b"earnings\x00" + prefix)
            progress = _decode_progress(stored) if stored is not None else Progress(None, 0, set())
            counters: dict[CounterKey, Counter] = {
                _decode_key(key[len(prefix) :]): _decode_counter(value)
                for key, value in self._store.scan("counters", prefix)
            }
            ledger = _Ledger(Plan(self._catalogue.programs[program_id]), prefix, progress, counters)
            self._ledgers[program_id] = ledger
        return ledger

    def _save(self, ledger: _Ledger, batch: WriteBatch) -> None:
        batch.put("meta", b"earnings\x00" + ledger.prefix, _encode(ledger.progress))

    def _stage(self, ledger: _Ledger, contributions: Sequence[Contribution], batch: WriteBatch) -> None:
        keys = [ledger.prefix + part(each.customer_id) for each in contributions]
        added: dict[bytes, Element] = {}  # by position key; nothing stands there yet
        changed: dict[bytes, Element | None] = {}  # something stood there
        for key, contribution, stored in zip(
            keys, contributions, self._store.get_many("contributions", keys), strict=True
        ):
            if stored is None:
                # One without elements counts too: others may have emitted rows for earlier ones, under its version.
                known_version = 0
                added.update((position_key(each.position), each) for each in contribution.elements)
            else:
                known = _decode_contribution(stored)
                if contribution.version < known.version or contribution == known:
                    continue
                known_version = known.version
                before = {position_key(each.position): each for each in known.elements}
                after = {position_key(each.position): each for each in contribution.elements}
                changed.update((place, None) for place in before if place not in after)
                changed.update((place, each) for place, each in after.items() if before.get(place) != each)
            ledger.progress.facts += contribution.version - known_version
            batch.put("contributions", key, _encode(contribution))
        if added or changed:
            self._rewind(ledger, min([*added, *changed]), batch)
            self._place(ledger, added, changed, batch)
        self._save(ledger, batch)

    def _place(
        self, ledger: _Ledger, added: dict[bytes, Element], changed: dict[bytes, Element | None], batch: WriteBatch
    ) -> None:
        """Put elements in their places; rows already written there stay noted, so that the fold can withdraw them."""
        timeline = batch.table("timeline")
        for place, element in added.items():
            timeline[ledger.prefix + place] = _encode(Record(element))
        keys = [ledger.prefix + place for place in changed]
        places = zip(keys, changed.values(), self._store.get_many("timeline", keys), strict=True)
        for key, replacement, stored in places:
            entries = _decode_record(stored).entries if stored is not None else ()
            if replacement is None and not entries:
                batch.delete("timeline", key)
            else:
                batch.put("timeline", key, _encode(Record(replacement, None, (), entries)))

    def _rewind(self, ledger: _Ledger, place: bytes, batch: WriteBatch) -> None:
        """Move the frontier back to ``place``: the counters become those just before it."""
        frontier = ledger.progress.frontier
        if frontier is not None and place >= frontier:
            return
        end = ledger.prefix + frontier if frontier is not None else None
        restored: dict[CounterKey, Counter] = {}
        for key, value in self._store.scan("timeline", ledger.prefix, ledger.prefix + place):
            if end is not None and key >= end:
                break
            for counter, before in _decode_record(value).undo:
                restored.setdefault(counter, before)
        ledger.progress.frontier = place
        ledger.progress.touched.update(counter for counter in restored if counter[0] == "milestone")
        ledger.memos.clear()
        ledger.counters.update(restored)
        self._write_counters(ledger, restored, batch)

    def _write_counters(self, ledger: _Ledger, changed: Iterable[CounterKey], batch: WriteBatch) -> None:
        for counter in changed:
            key, value = ledger.prefix + _encode(counter), ledger.counters[counter]
            if value is None:
                del ledger.counters[counter]
                batch.delete("counters", key)
            else:
                batch.put("counters", key, _encode(value))

    def _settle(self, ledger: _Ledger) -> Iterator[Settled]:
        while ledger.progress.frontier is not None:
            yield self._fold_segment(ledger, ledger.progress.frontier)
        if ledger.progress.touched:
            settled = Settled()
            for counter in sorted(ledger.progress.touched):
                self._emit_milestone(ledger, counter, settled)
            ledger.progress.touched = set()
            self._save(ledger, settled.batch)
            yield settled

    def _fold_segment(self, ledger: _Ledger, frontier: bytes) -> Settled:
        settled = Settled()
        rows, batch = settled.rows, settled.batch
        doubtful = ledger.progress.in_doubt or b""
        changed: set[CounterKey] = set()
        folded = 0
        last, reached = frontier, None
        recall = self._recall(ledger)
        for key, value in self._store.scan("timeline", ledger.prefix, ledger.prefix + frontier):
            place = key[len(ledger.prefix) :]
            if folded >= self._segment:
                reached = place
                break
            folded += 1
            last = place
            record = _decode_record(value)
            if record.element is None:
                self._emit_entries(ledger, record.entries, (), rows, in_doubt=place <= doubtful)
                batch.delete("timeline", key)
                continue
            result = advance(ledger.plan, record.element, ledger.counters.get, recall)
            undo = tuple((counter, ledger.counters.get(counter)) for counter in result.changes)
            ledger.counters.update(result.changes)
            changed.update(result.changes)
            gone = self._emit_entries(ledger, record.entries, result.entries, rows, in_doubt=place <= doubtful)
            self._remember(ledger, place, result)
            noted = _encode(Record(record.element, result.memo, undo, (*result.entries, *gone)))
            if noted != value:
                settled.notes.put("timeline", key, noted)
            if gone:
                batch.put("timeline", key, _encode(Record(record.element, result.memo, undo, tuple(result.entries))))
        ledger.progress.in_doubt = max(last, doubtful)
        self._save(ledger, settled.notes)
        ledger.progress.frontier = reached
        ledger.progress.in_doubt = doubtful if reached is not None and doubtful > last else None
        ledger.progress.touched.update(counter for counter in changed if counter[0] == "milestone")
        self._write_counters(ledger, changed, batch)
        self._save(ledger, batch)
        return settled

    def _remember(self, ledger: _Ledger, place: bytes, result: Advance) -> None:
        if len(ledger.memos) >= _REMEMBERED_MEMOS:
            # Those of the segment being folded are not in the store yet: keep the younger half.
            for old in list(ledger.memos)[: _REMEMBERED_MEMOS // 2]:
                del ledger.memos[old]
        ledger.memos[place] = result.memo

    def _recall(self, ledger: _Ledger) -> Any:
        """How one segment's elements look up what came of earlier ones."""
        read: dict[bytes, Memo] = {}  # a refund asks for its order's rates, and for the slots that the order took

        def recall(at: int, event_id: str, rank: int, customer_id: str) -> Memo:
            place = position_key(Position(at, event_id, rank, customer_id))
            memo = ledger.memos.get(place) or read.get(place)
            if memo is not None:
                return memo
            stored = self._store.get("timeline", ledger.prefix + place)
            memo = _decode_record(stored).memo if stored is not None else None
            if memo is None:
                raise LookupError(f"the timeline of {ledger.plan.program.id} lacks what came of event {event_id!r}")
            if len(read) >= _REMEMBERED_READS:
                read.clear()
            read[place] = memo
            return memo

        return recall

    def _emit_entries(
        self, ledger: _Ledger, before: Sequence[LedgerRow], after: Sequence[LedgerRow], rows: Rows, *, in_doubt: bool
    ) -> list[LedgerRow]:
        """Send entries that are new, changed or in doubt; withdraw, and return, those that no longer hold."""
        version = ledger.progress.facts
        standing = {entry.entry_id: entry for entry in before}
        for entry in after:
            if standing.pop(entry.entry_id, None) != entry or in_doubt:
                rows.add("ledger_entries", entry, version)
        for entry in standing.values():
            rows.add("ledger_entries", entry, version, deleted=True)
        return list(standing.values())

    def _emit_milestone(self, ledger: _Ledger, counter: CounterKey, settled: Settled) -> None:
        program_id, version = ledger.plan.program.id, ledger.progress.facts
        rows = settled.rows
        state = ledger.counters.get(counter)
        _, milestone_id, scope_key, period = counter
        if isinstance(state, MilestoneState):
            rows.add("milestones", milestone_row(program_id, counter, state), version)
            counts = state.reachings, state.revocations
        else:
            counts = 0, 0
            gone = MilestoneRow(program_id, milestone_id, scope_key, period, "", 0, 0, None, None, 0, 0)
            rows.add("milestones", gone, version, deleted=True)
        settled.reached.append(Reached(program_id, milestone_id, scope_key, period, *counts))
