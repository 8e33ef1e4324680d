"""What a replayed record says of itself: admit me however late I am, and which late event or dead letter I stand for.

`crosscredit replay` sends a record's bytes again under its key, with two headers. Intake admits it by the first;
whoever admits it withdraws, by the second, the row that said it was not (docs/decisions/0012-replays.md).
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from pipeline.wire.batches import Headers

ADMIT_HEADER: Final = "crosscredit-admit"
"""A record with this header is admitted however late it is: a replay sets it."""

REPLAY_HEADER: Final = "crosscredit-replays"
"""Names the row that a record was sent again for: the JSON array of an :class:`Origin`."""

REPLAYABLE: Final = ("late_event", "dead_letter")


class Origin(NamedTuple):
    """The row of a late event or dead letter; with the record's bytes that is its whole key."""

    record: str  # one of REPLAYABLE
    source: str  # topic/partition
    position: str  # the offset, in decimal digits
    reason: str


def replay_headers(origin: Origin) -> list[tuple[str, bytes]]:
    """The headers of a record that is sent again for ``origin``."""
    named = json.dumps(origin, ensure_ascii=False, separators=(",", ":")).encode()
    return [(ADMIT_HEADER, b"1"), (REPLAY_HEADER, named)]


def origin_in(headers: Headers) -> Origin | None:
    """What a record was sent again for; None if it says nothing of it, or nothing that can be read."""
    for name, content in headers:
        if name == REPLAY_HEADER:
            try:
                found = json.loads(content)
            except ValueError:
                return None
            is_one = isinstance(found, list) and len(found) == 4 and all(isinstance(each, str) for each in found)
            return Origin(*found) if is_one and found[0] in REPLAYABLE else None
    return None
