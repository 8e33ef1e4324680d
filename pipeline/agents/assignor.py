"""Faust's sticky assignor, kept over restarts.

A member tells the group which partitions it has, so that it keeps them. Faust's has forgotten them after a restart: the
group notices that it says something else than before, rebalances, and gives its partitions to others, who must rebuild
their state. Here both what was said last and the last assignment are in a file. A worker that comes back within the
session timeout says just what it said before, gets its partitions at once, and nobody else is disturbed (KIP-345); one
that was away for longer asks for the partitions whose state it has.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata  # type: ignore[import-untyped]  # it has no types
from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types.app import AppT


class _Kept(msgspec.Struct):
    said: bytes  # at the last join
    assigned: bytes  # what would be said now


class KeepingAssignor(PartitionAssignor):
    """Keeps what a restart needs in ``file``; None keeps nothing."""

    def __init__(self, app: AppT, file: Path | None, session_timeout_s: float) -> None:
        super().__init__(app)
        self._file = file
        self._said = b""
        self._say_again = b""  # at the first join
        if file is not None and file.exists():
            try:
                kept = msgspec.msgpack.decode(file.read_bytes(), type=_Kept)
                metadata = ClientMetadata.loads(kept.assigned)
            except Exception:  # noqa: BLE001  half a file, or another version's: as if there were none
                file.unlink(missing_ok=True)
            else:
                self._assignment, self._topic_groups = metadata.assignment, dict(metadata.topic_groups)
                if time.time() - file.stat().st_mtime < session_timeout_s:
                    self._say_again = kept.said

    @property
    def _metadata(self) -> ClientMetadata:
        # Without what only Faust's web views need: it names all other members' partitions, and changes with them.
        return ClientMetadata(
            assignment=self._assignment, url=str(self._url), changelog_distribution={}, external_topic_distribution={},
            topic_groups=self._topic_groups,
        )  # fmt: skip

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """What is told to the group: the same bytes for the same assignment."""
        self._said, self._say_again = self._say_again or self._metadata.dumps(), b""
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), self._said)

    def on_assignment(self, assignment: ConsumerProtocolMemberMetadata) -> None:
        """Take the assignment, and keep it."""
        super().on_assignment(assignment)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_bytes(msgspec.msgpack.encode(_Kept(self._said, self._metadata.dumps())))
            new.replace(self._file)

    def is_alive(self) -> None:
        """Note that the member is: how old the file is says for how long it was away."""
        if self._file is not None and self._file.exists():
            os.utime(self._file)
