"""A restart of a member is none to its group: it says what it said before, or asks for the partitions it had."""

from __future__ import annotations

import os
import time
from pathlib import Path

import faust
import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata

from pipeline.agents.assignor import KeepingAssignor

TOPICS = {"clicks", "bindings"}
SESSION_S = 10.0


@pytest.fixture
def app() -> faust.App:
    return faust.App("test", autodiscover=False, store="memory://")


def assigned(member: KeepingAssignor, partitions: list[int]) -> None:
    """As the group's leader does."""
    assignment = ClientAssignment(actives=dict.fromkeys(sorted(TOPICS), partitions), standbys={})
    told = ClientMetadata(assignment=assignment, url=str(member._url), changelog_distribution={})
    member.on_assignment(
        ConsumerProtocolMemberAssignment(0, list(assignment.actives.items()), member._compress(told.dumps()))
    )


def test_back_within_the_session_it_says_what_it_said_before(app: faust.App, tmp_path: Path) -> None:
    first = KeepingAssignor(app, tmp_path / "kept", SESSION_S)
    said = first.metadata(TOPICS).encode()
    assigned(first, [3, 5])
    again = KeepingAssignor(app, tmp_path / "kept", SESSION_S)
    assert again.metadata(TOPICS).encode() == said
    # The group rebalances all the same: then it asks for what it has.
    assert again.metadata(TOPICS).encode() == first.metadata(TOPICS).encode() != said


def test_back_after_the_session_it_asks_for_the_partitions_that_it_had(app: faust.App, tmp_path: Path) -> None:
    first = KeepingAssignor(app, tmp_path / "kept", SESSION_S)
    first.metadata(TOPICS)
    assigned(first, [3, 5])
    long_ago = time.time() - SESSION_S
    os.utime(tmp_path / "kept", (long_ago, long_ago))
    again = KeepingAssignor(app, tmp_path / "kept", SESSION_S)
    assert again.metadata(TOPICS).encode() == first.metadata(TOPICS).encode()
    assert again._assignment.actives == {"bindings": [3, 5], "clicks": [3, 5]}


def test_a_living_member_notes_that_it_is(app: faust.App, tmp_path: Path) -> None:
    member = KeepingAssignor(app, tmp_path / "kept", SESSION_S)
    member.is_alive()
    member.metadata(TOPICS)
    assigned(member, [1])
    os.utime(tmp_path / "kept", (0, 0))
    member.is_alive()
    assert time.time() - (tmp_path / "kept").stat().st_mtime < SESSION_S


@pytest.mark.parametrize("content", [b"", b"\x00", b"{}"])
def test_a_file_that_cannot_be_read_is_none(app: faust.App, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kept").write_bytes(content)
    fresh = KeepingAssignor(app, None, SESSION_S)
    assert (
        KeepingAssignor(app, tmp_path / "kept", SESSION_S).metadata(TOPICS).encode() == fresh.metadata(TOPICS).encode()
    )
