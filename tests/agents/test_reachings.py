"""Milestones are counted with the commit of what they follow from: examples, and mistakes that must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.agents.reachings import Reachings, scopes_of
from pipeline.domain.terms import Catalogue, Milestone, Program, Terms
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps.earnings import Reached
from tests.agents.options import options_of
from tests.agents.reached import miscounted
from tests.agents.simulation import Simulation

TERMS = Terms(
    "acme-friends", "acme", "USD", 1, 0,
    milestones=(Milestone("hundred", "qualified_referrals", 100, "all_time", "group", ("bakery", "roaster")),),
)  # fmt: skip
CATALOGUE = Catalogue.of([Program((TERMS,))])
REACHED = ("reached", "acme-friends", "hundred", "group")
REVOKED = ("revoked", "acme-friends", "hundred", "group")


class Life:
    """A worker's life with the partition; its disk outlives it."""

    def __init__(self, disk: MemoryStore, committed: int) -> None:
        self.disk = disk
        self.reachings = Reachings(CATALOGUE)
        self.reachings.assigned(0, committed)
        self.settled = self.reachings.load(0, disk)

    def settle(self, offset: int, reachings: int, revocations: int = 0) -> None:
        reached = [Reached("acme-friends", "hundred", "bakery+roaster", "all", reachings, revocations)]
        batch = WriteBatch()
        self.reachings.note(0, reached, self.settled, offset, batch)
        self.disk.write(batch)
        self.settled = offset

    def commit(self, offset: int) -> None:
        self.reachings.committed(0, offset)

    def counts(self) -> dict[tuple[str, ...], int]:
        return dict(self.reachings.counts())


def test_scopes_are_kinds_and_no_ids() -> None:
    assert scopes_of(CATALOGUE) == {("acme-friends", "hundred"): "group"}


def test_it_counts_with_the_commit_and_once() -> None:
    life = Life(MemoryStore(), 0)
    life.settle(5, 1)
    assert life.counts() == {}
    life.commit(4)
    assert life.counts() == {}
    life.commit(5)
    life.commit(5)
    life.settle(7, 1)  # the row is written again, with another count
    life.commit(7)
    assert life.counts() == {REACHED: 1}


def test_revoked_and_truly_reached_again_is_a_second_reaching_also_within_one_fold() -> None:
    life = Life(MemoryStore(), 0)
    life.settle(5, 1)
    life.settle(6, 1, 1)
    life.settle(9, 3, 2)
    life.commit(9)
    assert life.counts() == {REACHED: 3, REVOKED: 2}


def test_what_a_late_event_undoes_does_not_count_again_when_it_comes_about_after_all() -> None:
    life = Life(MemoryStore(), 0)
    for offset, reachings in ((5, 1), (6, 0), (7, 1)):
        life.settle(offset, reachings)
        life.commit(offset)
    assert life.counts() == {REACHED: 1}


def test_killed_before_the_commit_it_counts_in_the_next_life() -> None:
    disk = MemoryStore()
    Life(disk, 0).settle(5, 1)
    again = Life(disk, 0)
    again.settle(6, 1)
    again.commit(6)
    assert again.counts() == {REACHED: 1}


def test_killed_after_the_commit_it_does_not_count_in_the_next_life() -> None:
    disk = MemoryStore()
    life = Life(disk, 0)
    life.settle(5, 1)
    life.settle(8, 2, 1)
    life.commit(5)
    again = Life(disk, 5)
    again.commit(8)
    assert life.counts() == {REACHED: 1}
    assert again.counts() == {REACHED: 1, REVOKED: 1}


def test_whoever_rebuilds_its_state_counts_nothing_that_others_committed() -> None:
    new = Life(MemoryStore(), 8)
    new.settle(3, 1)  # read again, from the log
    new.settle(8, 2, 1)
    new.commit(8)
    assert new.counts() == {}
    new.settle(9, 3, 2)
    new.commit(9)
    assert new.counts() == {REACHED: 1, REVOKED: 1}


def test_a_worker_whose_commit_is_refused_counts_nothing() -> None:
    """It lost the partition without noticing: another has read the same, and commits."""
    paused, other = Life(MemoryStore(), 0), Life(MemoryStore(), 0)
    paused.settle(5, 1)
    other.settle(5, 1)
    other.commit(5)
    assert paused.counts() == {}
    assert other.counts() == {REACHED: 1}


def test_where_another_committed_within_what_one_fold_looked_at_it_may_have_counted() -> None:
    disk = MemoryStore()
    Life(disk, 2).settle(9, 1)
    again = Life(disk, 5)
    again.commit(9)
    assert again.counts() == {}


def test_a_group_that_begins_again_does_not_make_it_count_again() -> None:
    disk = MemoryStore()
    life = Life(disk, 0)
    life.commit(4)
    life.settle(5, 1)
    life.commit(5)
    again = Life(disk, 0)  # its offsets were reset, or have expired
    again.settle(6, 1)
    again.commit(6)
    assert again.counts() == {}


def _counts_at_once(self: Reachings, number: int, reached: Any, known: int, offset: int, batch: WriteBatch) -> None:
    _note(self, number, reached, known, offset, batch)
    _committed(self, number, offset)


def _trusts_its_disk(self: Reachings, number: int, committed: int) -> None:
    _assigned(self, number, 0 if committed else committed)


def _notes_nothing(self: Reachings, number: int, reached: Any, known: int, offset: int, batch: WriteBatch) -> None:
    _note(self, number, reached, known, offset, WriteBatch())


_note, _committed, _assigned = Reachings.note, Reachings.committed, Reachings.assigned


@pytest.mark.parametrize(
    ("name", "defect"),
    [("note", _counts_at_once), ("assigned", _trusts_its_disk), ("note", _notes_nothing)],
    ids=["counts before the commit", "does not ask the group", "keeps no notes"],
)
def test_mistakes_are_noticed(name: str, defect: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"zombies": False, "redelivery": False, "kills": True, "moves": True, "violence": 2}
    with monkeypatch.context() as patched:
        patched.setattr(Reachings, name, defect)
        for seed in range(60):
            simulation = Simulation(options_of(seed, **options))
            simulation.run()
            if miscounted(simulation):
                break
        else:
            pytest.fail("nobody noticed")
    simulation = Simulation(options_of(seed, **options))
    simulation.run()
    assert not miscounted(simulation)
