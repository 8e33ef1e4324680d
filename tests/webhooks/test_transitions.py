"""What is told of rows that are repeated, late, corrected and withdrawn: each change once, to whom it concerns."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pipeline.webhooks.notices import notice_id
from pipeline.webhooks.transitions import Memory, Transition, learn, outcome_of, transitions

DAY = 86_400_000


def milestone(status: str, version: int, reached: int | None = None, revoked: int | None = None) -> tuple[Any, ...]:
    deleted = int(status == "deleted")
    return ("p", "m", "a+b", "all", status, version, 3, reached, revoked, 1, version, version, deleted)


def referral(
    status: str, version: int, partner: str = "a", qualified: int | None = None, reverse: int | None = None
) -> tuple[Any, ...]:
    deleted = int(status == "deleted")
    return ("p", "c", partner, status, "", 1, qualified, reverse, 1, version, version, deleted)


def told(rows: list[tuple[Any, ...]], memory: Memory | None = None, final: int | None = None) -> list[Transition]:
    """As NOTIFY does it: rows that others have overtaken are passed over."""
    memory = memory or Memory()
    found: list[Transition] = []
    for row in rows:
        outcome = outcome_of("milestone" if len(row) == 13 else "referral", row)
        if outcome.version >= memory.version:
            memory.version = outcome.version
            found += transitions(memory, outcome, final)[0]
    return found


def brief(rows: list[tuple[Any, ...]], **options: Any) -> list[str]:
    return [
        f"{each.type.split('.')[1]} {each.audience} {each.at}{' correction' * each.is_correction}"
        for each in told(rows, **options)
    ]


EXAMPLES: dict[str, tuple[list[tuple[Any, ...]], list[str]]] = {
    "open, reached, and counted further": (
        [milestone("open", 1), milestone("reached", 2, 20), milestone("reached", 3, 20)], ["reached a+b 20"],
    ),
    "written again and again, by those who know less too": (
        [milestone("reached", 2, 20), milestone("reached", 2, 20), milestone("open", 1), milestone("reached", 2, 20)],
        ["reached a+b 20"],
    ),
    "revoked, and reached again": (
        [milestone("reached", 2, 20), milestone("revoked", 3, 20, 30), milestone("revoked", 4, 20, 30),
         milestone("reached", 5, 50)],
        ["reached a+b 20", "revoked a+b 30", "reached a+b 50"],
    ),
    "reached and revoked between two looks": ([milestone("revoked", 3, 20, 30)], ["reached a+b 20", "revoked a+b 30"]),
    "a late event shows that it never was": (
        [milestone("reached", 2, 20), milestone("open", 3), milestone("reached", 4, 20)],
        ["reached a+b 20", "revoked a+b 20 correction", "reached a+b 20"],
    ),
    "another time of reaching is no other reaching": (
        [milestone("reached", 2, 20), milestone("reached", 3, 18)], ["reached a+b 20"],
    ),
    "withdrawn": (
        [milestone("reached", 2, 20), milestone("deleted", 3)], ["reached a+b 20", "revoked a+b 20 correction"],
    ),
    "pending, qualified, refunded, ordered again": (
        [referral("pending", 1), referral("qualified", 2, qualified=20), referral("reversed", 3, "a", 20, 30),
         referral("qualified", 4, qualified=40)],
        ["qualified a 20", "reversed a 30", "qualified a 40"],
    ),
    "another partner has the credit after all": (
        [referral("qualified", 2, "a", 20), referral("qualified", 3, "b", 20)],
        ["qualified a 20", "reversed a 20 correction", "qualified b 20"],
    ),
    "and then the first again": (
        [referral("qualified", 2, "a", 20), referral("pending", 3, "b"), referral("qualified", 4, "a", 20)],
        ["qualified a 20", "reversed a 20 correction", "qualified a 20"],
    ),
    "rejected after all": (
        [referral("qualified", 2, "a", 20), referral("rejected", 3, "a")],
        ["qualified a 20", "reversed a 20 correction"],
    ),
    "never qualified": ([referral("pending", 1), referral("rejected", 2), referral("deleted", 3)], []),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    rows, expected = EXAMPLES[name]
    assert brief(rows) == expected


def test_what_is_told_twice_has_two_ids_and_the_same_has_one() -> None:
    rows, _ = EXAMPLES["and then the first again"]
    ids = [notice_id(("referral", "p", "c"), each) for each in told(rows)]
    assert len(set(ids)) == 3
    assert ids == [notice_id(("referral", "p", "c"), each) for each in told(rows)]
    assert ids[0] != notice_id(("referral", "p", "d"), told(rows)[0])


def test_what_is_not_final_waits() -> None:
    memory = Memory()
    row = referral("reversed", 3, "a", 20, 30)
    outcome = outcome_of("referral", row)
    assert transitions(memory, outcome, 10) == ([], 20)
    (first,), waits = transitions(memory, outcome, 25)
    assert (first.type, first.at, waits) == ("referral.qualified", 20, 30)
    (second,), waits = transitions(memory, outcome, 30)
    assert (second.type, second.at, waits) == ("referral.reversed", 30, None)
    # What was told is corrected at once, however final it was: a replay admits what was late.
    assert brief([referral("qualified", 4, "a", 40), referral("pending", 5, "a")], memory=memory, final=35) == []
    assert brief([referral("qualified", 6, "b", 20)], memory=memory, final=35) == ["qualified b 20"]
    assert brief([referral("pending", 7, "b")], memory=memory, final=35) == ["reversed b 20 correction"]


def worlds() -> list[list[tuple[Any, ...]]]:
    found = []
    for seed in range(300):
        chooser, rows = Random(seed), []
        for version in range(1, chooser.randint(2, 12)):
            at = chooser.randint(1, 50)
            status = chooser.choice(("pending", "qualified", "qualified", "reversed", "rejected", "deleted"))
            after = at + 5 if status == "reversed" else None
            rows.append(
                referral(status, version, chooser.choice("aab"), at if after or status[0] == "q" else None, after)
            )
        found.append(rows)
    return found


def test_everybody_hears_ups_and_downs_in_turn_and_knows_in_the_end_what_stands() -> None:
    for rows in worlds():
        heard: dict[str, str] = {}
        for each in told(rows):
            kind = each.type.split(".")[1]
            assert kind != heard.get(each.audience, "reversed"), rows
            heard[each.audience] = kind
        *_, last = rows
        stands = {last[2]} if last[3] == "qualified" else set()
        assert {partner for partner, kind in heard.items() if kind == "qualified"} == stands, rows


def test_repeats_and_stale_rows_tell_nothing() -> None:
    for seed, rows in enumerate(worlds()):
        chooser, again = Random(seed), list[tuple[Any, ...]]()
        for number, row in enumerate(rows):
            again += [row, *chooser.choices(rows[: number + 1], k=chooser.randint(0, 3))]
        assert told(again) == told(rows), rows


def test_whoever_takes_over_learns_what_was_told_and_goes_on() -> None:
    """The rows before the commit in silence, what was told from the notices, then the rows anew: nothing twice."""
    for seed, rows in enumerate(worlds()):
        everything = told(rows)
        committed = Random(seed).randint(0, len(rows))
        known = Random(seed + 1).randint(committed, len(rows))  # rows that the other had looked at
        memory = Memory()
        told(rows[:committed], memory)
        was = Memory()
        for row in rows[:known]:
            for each in told([row], was):
                learn(memory, each.type, each.audience, each.at, each.occurrence, row[-2])
        before = len(told(rows[:known]))
        assert told(rows[committed:], memory) == everything[before:], rows
