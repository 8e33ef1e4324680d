"""How tests use Hypothesis: the same examples on every machine, however slow, so that what passes goes on passing."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

DRAWN = settings(
    max_examples=int(os.environ.get("CROSSCREDIT_EXAMPLES", "200")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
