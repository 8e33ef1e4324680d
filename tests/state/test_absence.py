"""The absence filter may doubt, but never says that a key is absent which is there."""

from __future__ import annotations

import random

import pytest

from pipeline.state import absence
from pipeline.state.absence import AbsenceFilter


def keys(first: int, end: int) -> list[bytes]:
    return [b"key-%d" % number for number in range(first, end)]


def test_an_empty_table_holds_nothing() -> None:
    assert AbsenceFilter().maybe_present(keys(0, 10)) == []


def test_nothing_noted_is_nothing_held() -> None:
    found = AbsenceFilter()
    found.add([])
    assert found.maybe_present(keys(0, 10)) == []
    found.add(keys(0, 1))
    found.add([])
    assert found.maybe_present(keys(0, 10)) == [0]


def test_keys_that_are_written_again_take_no_more_memory() -> None:
    found = AbsenceFilter()
    for number in range(300):
        found.add(keys(0, 1_000) if number % 10 == 0 else keys(number, number + 100))
    assert found.maybe_present(keys(0, 1_000)) == list(range(1_000))
    assert sum(map(len, found._runs)) <= 2_000  # of 57 000 that were noted


def test_no_question_no_answer() -> None:
    found = AbsenceFilter()
    found.add(keys(0, 5))
    assert found.maybe_present([]) == []


def test_every_key_that_was_noted_may_be_present() -> None:
    found = AbsenceFilter()
    chooser = random.Random(7)
    known = 0
    for _ in range(200):
        size = chooser.choice((1, 1, 2, 10, 500))
        found.add(keys(known, known + size))
        known += size
        asked = [chooser.randrange(known) for _ in range(20)]
        assert found.maybe_present([b"key-%d" % number for number in asked]) == list(range(20))
    assert found.maybe_present(keys(0, known)) == list(range(known))


def test_keys_that_were_not_noted_are_hardly_ever_doubted() -> None:
    found = AbsenceFilter()
    found.add(keys(0, 10_000))
    assert len(found.maybe_present(keys(10_000, 20_000))) < 5


def test_answers_are_the_indexes_of_the_question_ascending() -> None:
    found = AbsenceFilter()
    found.add([b"b", b"d"])
    assert found.maybe_present([b"e", b"d", b"c", b"b", b"d"]) == [1, 3, 4]


def test_keys_that_collide_are_doubted_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hash that knows only the first letter."""
    monkeypatch.setattr(absence, "hash", lambda key: key[0], raising=False)
    found = AbsenceFilter()
    found.add([b"apple", b"anise", b"beet"])
    assert found.maybe_present([b"almond", b"cress", b"beet"]) == [0, 2]


def test_runs_stay_few_however_many_keys_are_noted_one_by_one() -> None:
    found = AbsenceFilter()
    for key in keys(0, 3_000):
        found.add([key])
    assert len(found._runs) < 15
    assert sum(map(len, found._runs)) == 3_000
