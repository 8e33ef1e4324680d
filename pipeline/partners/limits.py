"""How much of the server a partner may use: settings that it cannot change, and a quota."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """One setting of the profile. Nothing but ``max_execution_time`` may be changed, and that only up to ``most``."""

    setting: str
    value: int | str
    most: int | None = None

    @property
    def is_changeable(self) -> bool:
        """Whether a query may bring a value of its own."""
        return self.most is not None


LIMITS: Final = (
    Limit("readonly", 1),
    # Grafana's plugin sends its time limit and 5 seconds more with each query (QUERY_TIMEOUT_S below).
    Limit("max_execution_time", 15, most=30),
    Limit("max_memory_usage", 2 << 30),
    Limit("max_threads", 2),
    Limit("max_concurrent_queries_for_user", 30),  # a dashboard asks for all its panels at once
    Limit("max_result_rows", 100_000),
    Limit("max_result_bytes", 64 << 20),
    Limit("max_query_size", 64 << 10),
    Limit("max_ast_elements", 20_000),
    Limit("allow_introspection_functions", 0),
    Limit("use_query_cache", 0),
    Limit("log_queries", 1),
    Limit("session_timezone", "UTC"),
)

QUERY_TIMEOUT_S: Final = 15
"""What the Grafana data source is told. Its driver then sends ``max_execution_time`` of at most 20."""

QUOTA_INTERVAL_S: Final = 3600
QUOTA: Final = (
    ("queries", 20_000),  # some ten viewers of a dashboard that renews itself twice a minute
    ("errors", 1_000),  # a dashboard makes none; who guesses by errors is slowed down
    ("result_rows", 50_000_000),
    ("execution_time", 3_600),
)
"""At most so many within :data:`QUOTA_INTERVAL_S`."""
