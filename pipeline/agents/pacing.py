"""How often a worker fetches, derives and looks around: often, unless there is something to catch up with."""

from __future__ import annotations

from typing import Final

FAR_BEHIND: Final = 50_000
"""Records that wait in Kafka: seconds of work, so more of them means that there is something to catch up with."""

SETTLE_AT_LEAST_EVERY_S: Final = 60.0
"""While far behind: outcomes derived then are soon derived again, but somebody may be waiting for them."""

REST_AFTER_SETTLING_S: Final = 2.0
"""At most: after long settling, as at the end of catching up, nobody need wait as long again."""

LOOK_BACK_EVERY_S: Final = 10.0

FETCH_USUALLY: Final = {"identity": 0.25, "credit": 0.1, "earnings": 0.1, "sink": 0.1, "notify": 0.1}
"""How often an app fetches at most, in seconds: each fetch, and each batch that it brings, costs something.

IDENTITY has the bulk of all records, and no order waits for a click to be visible.
"""

FETCH_FAR_BEHIND: Final = {"identity": 0.5, "credit": 2.0, "earnings": 2.0, "sink": 2.0, "notify": 2.0}
"""The same while there is something to catch up with."""
