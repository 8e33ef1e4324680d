"""Whole clicks from ClickHouse, however long it is away: intake waits, as it does when too many rows wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.agents.outlet import StoppedError
from pipeline.clickhouse.errors import WarehouseUnavailableError
from pipeline.steps.identity import Truth

Patiently = Callable[[str, type[Exception], Callable[[], Any]], Any]
"""Tries something again as long as it raises the given error; None once the worker stops."""


class PatientTruth:
    """A :class:`~pipeline.steps.identity.Truth` that asks again while ClickHouse does not answer."""

    def __init__(self, truth: Truth, patiently: Patiently) -> None:
        self._truth = truth
        self._patiently = patiently

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        """The present fields of one click; None if there is none.

        :raises StoppedError: the worker stops before ClickHouse has answered.
        """
        answers = self._patiently(
            "clickhouse", WarehouseUnavailableError, lambda: [self._truth.click(brand_id, visitor_id, event_id)]
        )
        if answers is None:
            raise StoppedError("stopped while a click was asked for")
        found: Mapping[str, str | int] | None = answers[0]
        return found
