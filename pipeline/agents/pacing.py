"""How often a worker fetches, derives and looks around: often, unless there is something to catch up with."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

FAR_BEHIND: Final = 50_000
"""Records that wait in Kafka: seconds of work, so more of them means that there is something to catch up with."""

SETTLE_AT_LEAST_EVERY_S: Final = 60.0
"""While far behind: outcomes derived then are soon derived again, but somebody may be waiting for them."""

REST_AFTER_SETTLING_S: Final = 2.0
"""At most: after long settling, as at the end of catching up, nobody need wait as long again."""

LOOK_BACK_EVERY_S: Final = 10.0


class FetchPace(NamedTuple):
    """How often an app fetches at most, in seconds: each fetch, and each batch that it brings, costs something."""

    usually: float = 0.1
    far_behind: float = 2.0


FETCH_PACES: Final = defaultdict(
    FetchPace,
    identity=FetchPace(0.25, 0.5),  # the bulk of all records; no order waits for a click to be visible
)
