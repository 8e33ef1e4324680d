"""Which milestones a worker counts as reached: each reaching once, whoever works on it, however often.

A row that says "reached" is written again by whoever takes a partition over, by state that is rebuilt, by an outbox
that is sent again. What happens once is the *commit* of the contributions that the reaching follows from: the group
takes it from one worker, and refuses it from one that lost the partition without noticing. So EARNINGS notes in its
state, after each fold, how often a milestone was reached by the contributions before an offset; and whoever commits
that offset counts. What lies before the group's offset when a partition is taken over was counted by whoever
committed it.

The k-th reaching of a milestone, in event order, counts once, when it is first known. One that a late event undoes
stays counted, and does not count again when it comes about after all.

A worker that ends between a commit and the next look at its ``/metrics`` takes its counts with it, as ever with
Prometheus: the table ``milestones`` is the truth, the counter is for alerts.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pipeline.domain.terms import Catalogue
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.earnings import Reached

_PREFIX: Final = b"reached\x00"

Key = tuple[str, str, str, str]
"""Program, milestone, scope key and period."""

Series = tuple[str, str, str, str]
"""``reached`` or ``revoked``; program, milestone, and the kind of scope: partner, group or program."""


class Note(msgspec.Struct, array_like=True, frozen=True):
    """By the contributions before ``offset``, of which those before ``known`` were looked at earlier."""

    known: int
    offset: int
    reachings: int
    revocations: int
    committed: int  # the group's offset when this was noted


_NOTHING: Final = Note(0, 0, 0, 0, 0)
_encode = msgspec.msgpack.Encoder().encode
_decode_notes = msgspec.msgpack.Decoder(list[Note]).decode
_decode_key = msgspec.msgpack.Decoder(Key).decode


@dataclass(slots=True)
class _Partition:
    committed: int = 0
    counted: dict[Key, Note] = field(default_factory=dict)  # the last note that is committed
    waiting: dict[Key, list[Note]] = field(default_factory=dict)  # beyond the group's offset, ascending


class Reachings:
    """The reachings of the EARNINGS partitions of one worker. Any thread may call it; none waits."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._scopes = scopes_of(catalogue)
        self._partitions: dict[int, _Partition] = {}
        self._counts: Counter[Series] = Counter()
        self._lock = threading.Lock()

    def assigned(self, number: int, committed: int) -> None:
        """A partition comes to this worker; the group's offset of its contributions is ``committed``."""
        with self._lock:
            self._partitions[number] = _Partition(committed)

    def load(self, number: int, store: Store) -> int:
        """Read what the partition's state noted; returns the group's offset."""
        found = {_decode_key(key[len(_PREFIX) :]): _decode_notes(value) for key, value in store.scan("meta", _PREFIX)}
        with self._lock:
            partition = self._partitions.setdefault(number, _Partition())
            partition.counted.clear()
            partition.waiting.clear()
            # A group that begins again at an older offset (it was reset, or it expired) repeats what was counted.
            begins_again = any(note.committed > partition.committed for notes in found.values() for note in notes)
            for key, notes in found.items():
                for note in notes:
                    # Where the group's offset lies within what one fold looked at, whoever committed that offset may
                    # have counted: once too few is better than once too often.
                    if begins_again or note.known < partition.committed or note.offset <= partition.committed:
                        partition.counted[key] = note
                    else:
                        partition.waiting.setdefault(key, []).append(note)
            return partition.committed

    def note(self, number: int, reached: Iterable[Reached], known: int, offset: int, batch: WriteBatch) -> None:
        """Note in ``batch``, which is about to be written, what the contributions before ``offset`` came to.

        Those before ``known`` were looked at before.
        """
        with self._lock:
            partition = self._partitions.setdefault(number, _Partition())
            for *names, reachings, revocations in reached:
                key: Key = (names[0], names[1], names[2], names[3])
                counted, waiting = partition.counted.get(key, _NOTHING), partition.waiting.get(key, [])
                if offset <= partition.committed:  # read again of what others committed, and counted as it stood then
                    if (reachings, revocations) == (counted.reachings, counted.revocations):
                        continue
                    note = Note(known, offset, reachings, revocations, partition.committed)
                    partition.counted[key] = note
                    notes = [note]
                else:
                    last = waiting[-1] if waiting else counted
                    if reachings <= last.reachings and revocations <= last.revocations:
                        continue
                    reachings, revocations = max(reachings, last.reachings), max(revocations, last.revocations)
                    note = Note(known, offset, reachings, revocations, partition.committed)
                    partition.waiting[key] = [*waiting, note]
                    notes = [*([counted] if counted.offset else []), *waiting, note]
                batch.put("meta", _PREFIX + _encode(key), _encode(notes))

    def committed(self, number: int, offset: int) -> None:
        """The group has taken this worker's commit of the contributions before ``offset``: what they came to counts."""
        with self._lock:
            partition = self._partitions.get(number)
            if partition is None or offset <= partition.committed:
                return
            partition.committed = offset
            for key, waiting in list(partition.waiting.items()):
                due = [note for note in waiting if note.offset <= offset]
                if due:
                    self._count(key, partition.counted.get(key, _NOTHING), due[-1])
                    partition.counted[key] = due[-1]
                    if len(due) < len(waiting):
                        partition.waiting[key] = waiting[len(due) :]
                    else:
                        del partition.waiting[key]

    def counts(self) -> Mapping[Series, int]:
        """What this process has counted so far."""
        with self._lock:
            return dict(self._counts)

    def _count(self, key: Key, before: Note, after: Note) -> None:
        program_id, milestone_id, *_ = key
        scope = self._scopes.get((program_id, milestone_id), "")
        for what, count in (
            ("reached", after.reachings - before.reachings), ("revoked", after.revocations - before.revocations)
        ):  # fmt: skip
            if count > 0:
                self._counts[what, program_id, milestone_id, scope] += count


def scopes_of(catalogue: Catalogue) -> dict[tuple[str, str], str]:
    """The kind of scope of every milestone, by program and milestone: the same in all versions of a program."""
    return {
        (program.id, milestone.id): milestone.scope
        for program in catalogue.programs.values() for terms in program.versions for milestone in terms.milestones
    }  # fmt: skip
