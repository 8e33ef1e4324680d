"""NOTIFY live: outcomes of one partition to notices for partners' endpoints, each told once, until it is taken.

What is to be told is derived when a row is taken, and is on disk and in the topic of notices before the row's offset
is. Delivering goes on beside: the courier gets what is due, and what came of it is noted at the next :meth:`settle`. A
notice is waiting until its endpoint has answered, so it is delivered at least once, always under the same id.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import structlog

from pipeline.agents.outcomes import Outcomes
from pipeline.agents.outlet import Outlet, Output
from pipeline.agents.partition import PartitionState
from pipeline.agents.reachings import scopes_of
from pipeline.domain.terms import Catalogue
from pipeline.state.keys import part, text
from pipeline.state.store import Store, WriteBatch
from pipeline.topology import NOTIFY, RECORD_OF
from pipeline.webhooks.book import Book, Place, Waiting
from pipeline.webhooks.courier import Answer, Job
from pipeline.webhooks.endpoints import Endpoint, Endpoints
from pipeline.webhooks.notices import Notice, body_of, notice_id, subject_text
from pipeline.webhooks.transitions import (
    RECORDS,
    Memory,
    Outcome,
    Transition,
    learn,
    outcome_of,
    told_last,
    transitions,
)
from pipeline.wire.batches import RecordBatch
from pipeline.wire.messages import row_key

log = structlog.get_logger()

AT_THE_COURIER: Final = 32
"""Notices of one partition and endpoint that may be handed over at once."""

_GONE: Final = 410
_TIME_BYTES: Final = 8
_OLDEST_EVERY_MS: Final = 1000


class Delivers(Protocol):
    """Who delivers: :class:`~pipeline.webhooks.courier.Courier`."""

    def offer(self, job: Job) -> None:
        """Deliver it, and say what came of it."""


class FinalMark(NamedTuple):
    """Outcomes dated up to ``final_ms`` are final, and everything they come to lies before ``ends``."""

    final_ms: int
    ends: Mapping[tuple[str, int], int]  # by record and partition


class Standing(NamedTuple):
    """What waits for one endpoint in one partition."""

    waiting: int
    since_ms: int | None  # of the oldest


class NotifyPartition:
    """One partition of the step. One thread uses it; the courier answers from another."""

    def __init__(
        self, number: int, store: Store, outlet: Outlet, *, endpoints: Endpoints, catalogue: Catalogue,
        outcomes: Outcomes, courier: Delivers, final_mark: Callable[[], FinalMark | None] = lambda: None,
        on_end: Callable[[str, str], object] = lambda *_: None,
        standing: dict[tuple[int, str], Standing] | None = None,
        clock_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:  # fmt: skip
        """``on_end`` hears endpoint and delivered or dead; ``standing`` is kept true by partition and endpoint."""
        self.number = number
        self._is_open = True
        self.state: PartitionState = _State(store, outlet, NOTIFY.reads_back, on_close=self._closed)
        self._store = store
        self._book = Book(store)
        self._endpoints = endpoints
        self._by_name = {each.name: each for each in endpoints.all}
        self._catalogue = catalogue
        self._scopes = scopes_of(catalogue)
        self._outcomes = outcomes
        self._courier = courier
        self._final_mark = final_mark
        self._final_ms: int | None = 0 if endpoints.waits_for_finality else None
        self._on_end = on_end
        self._standing = standing if standing is not None else {}
        self._clock_ms = clock_ms
        self._answers: deque[tuple[Place, Answer]] = deque()
        self._handed: dict[str, set[int]] = {name: set() for name in self._by_name}
        self._look_at: dict[str, int] = dict.fromkeys(self._by_name, 0)  # when the next may be due
        self._shown_at = 0

    def start(self) -> None:
        """Send what an earlier process could not."""
        self.state.send_waiting()

    def take(self, batch: RecordBatch) -> None:
        """Note what rows imply, or what operators want sent again."""
        record = RECORD_OF[batch.topic]
        new = batch.since(self.state.offset(record))
        if new is None:
            return
        rows, dead = self._outcomes.rows(record, new)
        changes = WriteBatch()
        outputs: list[Output] = []
        if record == "notice":  # what cannot be read elsewhere is the sink's dead letter
            outputs += self._outcomes.letters("dead_letter", dead, self.number)
            for row in rows:
                self._take_resend(Notice(*row))
            self.state.put_seen(record, new.next_offset, changes)
        else:
            memories: dict[tuple[str, ...], Memory] = {}
            for row in rows:
                outcome = outcome_of(record, row)
                memory = memories.get(outcome.subject) or self._memory(outcome.subject)
                if outcome.version >= memory.version:  # else somebody wrote it later than others knew more
                    memory.version, memory.row = outcome.version, row
                    outputs += self._tell(outcome, memory, changes)
                    memories[outcome.subject] = memory
        self._keep(changes, record, new.next_offset, outputs)
        self.state.send_waiting()

    def restore(self, batch: RecordBatch, late_offsets: set[int], *, is_ahead: bool) -> None:  # noqa: ARG002
        """Take rows whose notices were acknowledged, and tell nothing: the notices themselves say what was told."""
        record = RECORD_OF[batch.topic]
        new = batch.since(self.state.offset(record))
        if new is None:
            return
        if record == "notice":
            self.read_back(new, is_ahead=is_ahead)
            self.state.keep(WriteBatch(), record, new.next_offset)
            return
        for row in self._outcomes.rows(record, new)[0]:
            outcome = outcome_of(record, row)
            memory, changes = self._memory(outcome.subject), WriteBatch()
            if outcome.version >= memory.version:
                memory.version, memory.row = outcome.version, tuple(row)
                if self._final_ms is None:
                    transitions(memory, outcome, None)
                else:
                    for at in (outcome.up_at, outcome.down_at):
                        self._put_later(outcome, at, changes)
                changes.put("subjects", _subject_key(outcome.subject), _encode_memory(memory))
                self.state.write(changes)
        self.state.keep(WriteBatch(), record, new.next_offset)

    def read_back(self, batch: RecordBatch, *, is_ahead: bool) -> None:  # noqa: ARG002
        """Learn from the topic what was told, by whomever, and what of it still waits."""
        for row in self._outcomes.rows("notice", batch)[0]:
            notice, changes = Notice(*row), WriteBatch()
            place = self._book.place_of(notice.endpoint, notice.notice_id)
            waiting = self._book.get(place) if place is not None else None
            is_known = self._book.knows(notice.endpoint, notice.notice_id)
            if not is_known:
                subject = tuple(msgspec.json.decode(notice.subject, type=list[str]))
                memory = self._memory(subject)
                learn(memory, notice.type, notice.audience, notice.happened_at, notice.occurrence, notice.version)
                changes.put("subjects", _subject_key(subject), _encode_memory(memory))
            if notice.status in ("waiting", "resend"):
                if waiting is None and (notice.status == "resend" or not is_known):
                    self._book.add(notice._replace(status="waiting", attempts=0), self._clock_ms(), changes)
            elif place is not None and waiting is not None:
                self._book.end(place, waiting, self._clock_ms(), changes)
            else:
                self._book.note_told(notice.endpoint, notice.notice_id, changes)
            self.state.write(changes)
            self._book.written()
        changes = WriteBatch()
        self.state.put_seen("notice", max(batch.next_offset, self.state.seen("notice")), changes)
        self.state.write(changes)

    def settle(self) -> None:
        """Note what was answered, tell what has become final, and hand over what is due."""
        while self._answers:
            self._note(*self._answers.popleft())
        self._tell_final()
        self.state.send_waiting()
        now_ms = self._clock_ms()
        for name, endpoint in self._by_name.items():
            if self._look_at[name] <= now_ms and len(self._handed[name]) < AT_THE_COURIER:
                self._hand_over(endpoint, now_ms)
        self.state.send_waiting()
        if now_ms - self._shown_at >= _OLDEST_EVERY_MS:
            self._shown_at = now_ms
            for name in self._by_name:
                count = self._book.counts.get(name, 0)
                self._standing[self.number, name] = Standing(count, self._book.oldest(name) if count else None)

    def caught_up(self) -> None:
        """Nothing more: what was told cannot be withdrawn, only followed by what is true now."""

    def safe_offsets(self) -> dict[str, int]:
        """How far each input is taken: delivering goes on from the state."""
        return {record: self.state.offset(record) for record in NOTIFY.reads}

    # -- what is to be told

    def _tell(self, outcome: Outcome, memory: Memory, changes: WriteBatch) -> list[Output]:
        """Note in ``changes`` what is to be told; returns it for the topic."""
        again = told_last(memory, outcome)
        found, later = transitions(memory, outcome, self._final_ms)
        self._put_later(outcome, later, changes)
        changes.put("subjects", _subject_key(outcome.subject), _encode_memory(memory))
        outputs = []
        for told in (*again, *found):
            for notice in self._notices(outcome, told, memory.row):
                self._book.add(notice, notice.created_at, changes)
                self._look_at[notice.endpoint] = 0
                outputs.append(self._output(notice))
        return outputs

    def _tell_final(self) -> None:
        mark = self._final_mark()
        if self._final_ms is None or mark is None or mark.final_ms <= self._final_ms:
            return
        if any(self.state.offset(record) < mark.ends.get((record, self.number), 0) for record in RECORDS):
            return
        self._final_ms = mark.final_ms
        limit = (mark.final_ms + 1).to_bytes(_TIME_BYTES, "big")
        due = []
        for key, _ in self._store.scan("later", b""):
            if key >= limit:
                break
            due.append(key)
        for key in due:
            subject = tuple(msgspec.json.decode(text(key[_TIME_BYTES:]), type=list[str]))
            memory, changes = self._memory(subject), WriteBatch()
            changes.delete("later", key)
            outputs = self._tell(outcome_of(subject[0], memory.row), memory, changes)
            self._keep(changes, "notice", self.state.offset("notice"), outputs)

    def _put_later(self, outcome: Outcome, at: int | None, changes: WriteBatch) -> None:
        if at is not None:
            changes.put("later", at.to_bytes(_TIME_BYTES, "big") + _subject_key(outcome.subject), b"")

    def _notices(self, outcome: Outcome, told: Transition, row: tuple[Any, ...]) -> list[Notice]:
        program_id = outcome.subject[1]
        program = self._catalogue.programs.get(program_id)
        if program is None:
            return []
        partner_ids = [told.audience] if outcome.record == "referral" else told.audience.split("+")
        wanting = [each for each in self._endpoints.all if each.wants(told.type, program_id, partner_ids, told.at)]
        if not wanting:
            return []
        identity = notice_id(outcome.subject, told)
        body = body_of(
            told, row, brand_id=program.brand_id, scopes=self._scopes, is_final=self._endpoints.waits_for_finality
        )  # fmt: skip
        now_ms = self._clock_ms()
        found = []
        for each in wanting:
            if not self._book.knows(each.name, identity):
                notice = Notice(
                    each.name, identity, subject_text(outcome.subject), told.type, told.audience, told.at,
                    told.occurrence, outcome.version, "waiting", 0, now_ms, now_ms, "", body,
                )  # fmt: skip
                found.append(notice)
        return found

    def _take_resend(self, notice: Notice) -> None:
        if notice.status != "resend" or notice.endpoint not in self._by_name:
            return
        place = self._book.place_of(notice.endpoint, notice.notice_id)
        waiting = self._book.get(place) if place is not None else None
        changes, now_ms = WriteBatch(), self._clock_ms()
        if place is None or waiting is None:
            again = notice._replace(status="waiting", attempts=0, updated_at=now_ms, reason="")
            self._book.add(again, now_ms, changes)
            self._emit(again, changes)
        elif place.number not in self._handed[place.endpoint]:  # it waits for its next attempt: not any longer
            if self._book.is_due(place, waiting):
                self._book.put_off(place, waiting, waiting.notice, now_ms, changes)
            self._emit(waiting.notice, changes)
        self._look_at[notice.endpoint] = 0

    # -- delivering

    def _hand_over(self, endpoint: Endpoint, now_ms: int) -> None:
        handed = self._handed[endpoint.name]
        over: list[tuple[Place, Waiting]] = []
        look_at: int | None = None
        for due_at, place in self._book.due(endpoint.name):
            if place.number in handed:
                continue
            if due_at > now_ms:
                look_at = due_at
                break
            if len(handed) >= AT_THE_COURIER:
                look_at = now_ms
                break
            waiting = self._book.get(place)
            if waiting is None:
                continue
            if waiting.notice.attempts and now_ms - waiting.queued_at >= self._endpoints.give_up_after_ms:
                over.append((place, waiting))
                continue
            handed.add(place.number)
            notice = waiting.notice
            self._courier.offer(
                Job(endpoint.name, notice.notice_id, notice.body.encode(), self._answered(place), lambda: self._is_open)
            )  # fmt: skip
        self._look_at[endpoint.name] = look_at if look_at is not None else 2**62
        for place, waiting in over:
            self._end(place, waiting, waiting.notice._replace(status="dead", updated_at=now_ms))

    def _answered(self, place: Place) -> Callable[[Answer], None]:
        return lambda answer: self._answers.append((place, answer))

    def _note(self, place: Place, answer: Answer) -> None:
        self._handed[place.endpoint].discard(place.number)
        self._look_at[place.endpoint] = 0
        waiting = self._book.get(place)
        if waiting is None:
            return
        now_ms = self._clock_ms()
        notice = waiting.notice._replace(
            attempts=waiting.notice.attempts + 1, updated_at=now_ms, reason=answer.reason
        )  # fmt: skip
        if answer.is_taken:
            self._end(place, waiting, notice._replace(status="delivered"))
            return
        endpoints = self._endpoints
        asked_ms = min(answer.retry_after_s * 1000, endpoints.longest_retry_ms)
        pause_ms = max(endpoints.pause_ms(notice.attempts, random.random()), asked_ms)  # noqa: S311  jitter
        if answer.status == _GONE or now_ms + pause_ms - waiting.queued_at > endpoints.give_up_after_ms:
            self._end(place, waiting, notice._replace(status="dead"))
            return
        changes = WriteBatch()
        self._book.put_off(place, waiting, notice, now_ms + pause_ms, changes)
        self.state.write(changes)
        log.warning(
            "notice not taken", endpoint=place.endpoint, notice=notice.notice_id, attempts=notice.attempts,
            reason=answer.reason, again_in_s=round(pause_ms / 1000),
        )  # fmt: skip

    def _end(self, place: Place, waiting: Waiting, notice: Notice) -> None:
        changes = WriteBatch()
        self._book.end(place, waiting, notice.updated_at, changes)
        self._emit(notice, changes)
        self._on_end(notice.endpoint, notice.status)
        self._look_at[place.endpoint] = 0
        if notice.status == "dead":
            log.error(
                "notice given up", endpoint=notice.endpoint, notice=notice.notice_id, attempts=notice.attempts,
                reason=notice.reason, remedy="crosscredit webhooks resend",
            )  # fmt: skip

    # -- on disk

    def _emit(self, notice: Notice, changes: WriteBatch) -> None:
        """Write ``changes``; the notice as it is now goes to its topic with the next sending."""
        self._keep(changes, "notice", self.state.offset("notice"), [self._output(notice)])

    def _keep(self, changes: WriteBatch, record: str, next_offset: int, outputs: Sequence[Output] = ()) -> None:
        self.state.keep(changes, record, next_offset, outputs)
        self._book.written()

    def _output(self, notice: Notice) -> Output:
        (output,) = self._outcomes.outputs("notice", [notice], [row_key("notice", notice)], self.number)
        return output

    def _memory(self, subject: tuple[str, ...]) -> Memory:
        found = self._store.get("subjects", _subject_key(subject))
        return _decode_memory(found) if found is not None else Memory()

    def _closed(self) -> None:
        self._is_open = False
        for name in self._by_name:
            self._standing.pop((self.number, name), None)


class _State(PartitionState):
    """Tells when the partition is let go: what the courier still has of it is then no longer wanted."""

    def __init__(self, *arguments: Any, on_close: Callable[[], object]) -> None:
        super().__init__(*arguments)
        self._on_close = on_close

    def close(self) -> None:
        """Release the store."""
        self._on_close()
        super().close()


def _subject_key(subject: tuple[str, ...]) -> bytes:
    return part(subject_text(subject))


_encode_memory = msgspec.msgpack.Encoder().encode
_decode_memory = msgspec.msgpack.Decoder(Memory).decode
