"""From rows that are written again and again to what is told once: a milestone was reached, a referral reversed.

Rows are upserts: repeated, corrected, withdrawn. Of each subject (a milestone in a scope and period, or a referral) it
is kept what was told last, and to whom. A row then implies what is to be told so that those who were told know what
stands. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

TYPES: Final = ("milestone.reached", "milestone.revoked", "referral.qualified", "referral.reversed")
RECORDS: Final = ("milestone", "referral")

_UP: Final = {"milestone": "milestone.reached", "referral": "referral.qualified"}
_DOWN: Final = {"milestone": "milestone.revoked", "referral": "referral.reversed"}


class Outcome(NamedTuple):
    """What a row says of its subject. "Up" is reached or qualified, "down" is revoked or reversed."""

    record: str  # milestone or referral
    subject: tuple[str, ...]  # what identifies the row, the record's name first
    audience: str  # the referral's partner; the milestone's scope key
    up_at: int | None  # None: neither up nor down
    down_at: int | None
    version: int


class Transition(NamedTuple):
    """Something to be told."""

    type: str
    audience: str
    at: int  # when it happened; of a correction, when what it corrects had happened
    is_correction: bool  # it never was so: an event that came later in changed what was told
    occurrence: int  # how often the same was told before: corrected, and corrected back


class Memory(msgspec.Struct, array_like=True):
    """What is known of a subject, and what was told of it."""

    version: int = -1
    row: tuple[Any, ...] = ()  # the latest
    audience: str = ""  # who was told last; "": nobody
    is_up: bool = False  # what they were told
    at: int = 0
    told_version: int = -1  # of the row by which something was told last
    times: dict[str, int] = msgspec.field(default_factory=dict)  # how often each was told
    is_learned: bool = False  # from notices, of which some endpoint's may be missing


def outcome_of(record: str, row: Sequence[Any]) -> Outcome:
    """What a row of a topic says: columns in the order of its schema."""
    version, is_deleted = row[-2], row[-1]
    if record == "milestone":
        _, _, scope_key, _, status, _, _, reached_at, revoked_at, *_ = row
        subject, audience = (record, *row[:4]), scope_key
        up_at, down_at = reached_at if status in ("reached", "revoked") else None, revoked_at
    else:
        _, _, partner_id, status, _, _, qualified_at, reversed_at, *_ = row
        subject, audience = (record, *row[:2]), partner_id
        up_at, down_at = qualified_at if status in ("qualified", "reversed") else None, reversed_at
    if is_deleted:
        up_at = down_at = None
    return Outcome(record, subject, audience, up_at, down_at, version)


def transitions(memory: Memory, outcome: Outcome, final_through: int | None) -> tuple[list[Transition], int | None]:
    """What is to be told now, and the time that must become final before more is (None: nothing more follows).

    ``memory`` is changed as if it was told. With ``final_through`` only what is dated up to then is told, but for
    corrections of what was told before; None tells everything.
    """
    found: list[Transition] = []
    if outcome.version < memory.told_version:
        return found, None
    if memory.is_up and (outcome.audience != memory.audience or outcome.up_at is None):
        found.append(_told(memory, outcome, memory.audience, memory.at, is_up=False, is_correction=True))
    if outcome.up_at is None:
        return found, None
    if not memory.is_up:
        if outcome.audience == memory.audience and outcome.down_at is not None:
            return found, None  # they were told that it is not so
        if final_through is not None and outcome.up_at > final_through:
            return found, outcome.up_at
        found.append(_told(memory, outcome, outcome.audience, outcome.up_at, is_up=True))
    if outcome.down_at is not None:
        if final_through is not None and outcome.down_at > final_through:
            return found, outcome.down_at
        found.append(_told(memory, outcome, outcome.audience, outcome.down_at, is_up=False))
    return found, None


def learn(memory: Memory, notice_type: str, audience: str, at: int, occurrence: int, version: int) -> None:
    """Take over what another worker told, or this one before it lost its disk."""
    key = _key(notice_type, audience, at)
    memory.times[key] = max(memory.times.get(key, 0), occurrence + 1)
    if version >= memory.told_version:  # else something newer is known, of which there may be no notice
        memory.audience, memory.at, memory.told_version = audience, at, version
        memory.is_up = notice_type in _UP.values()
        memory.is_learned = True


def told_last(memory: Memory, outcome: Outcome) -> list[Transition]:
    """What was learned to be told of this very row: whoever told it may have ended before every endpoint's notice was
    sent.
    """
    if not memory.is_learned or outcome.version < memory.told_version:
        return []
    memory.is_learned = False
    if outcome.version > memory.told_version:
        return []
    notice_type = (_UP if memory.is_up else _DOWN)[outcome.record]
    is_correction = not memory.is_up and (outcome.audience, outcome.down_at) != (memory.audience, memory.at)
    occurrence = memory.times[_key(notice_type, memory.audience, memory.at)] - 1
    return [Transition(notice_type, memory.audience, memory.at, is_correction, occurrence)]


def _told(
    memory: Memory, outcome: Outcome, audience: str, at: int, *, is_up: bool, is_correction: bool = False
) -> Transition:  # fmt: skip
    notice_type = (_UP if is_up else _DOWN)[outcome.record]
    key = _key(notice_type, audience, at)
    occurrence = memory.times.get(key, 0)
    memory.times[key] = occurrence + 1
    memory.audience, memory.is_up, memory.at, memory.told_version = audience, is_up, at, outcome.version
    return Transition(notice_type, audience, at, is_correction, occurrence)


def _key(notice_type: str, audience: str, at: int) -> str:
    return f"{notice_type} {at} {audience}"
