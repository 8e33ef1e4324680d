"""A click that ClickHouse is asked for is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pipeline.agents.outlet import StoppedError
from pipeline.agents.patient_truth import PatientTruth
from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError


class Flaky:
    """Fails with each of the errors in turn, then answers."""

    def __init__(self, *errors: Exception, answer: Mapping[str, str | int] | None) -> None:
        self.errors = list(errors)
        self.answer = answer

    def click(self, brand_id: str, visitor_id: str, event_id: str) -> Mapping[str, str | int] | None:
        assert (brand_id, visitor_id, event_id) == ("acme", "v1", "k1")
        if self.errors:
            raise self.errors.pop(0)
        return self.answer


def again(_: str, absent: type[Exception], reach: Callable[[], Any]) -> Any:
    while True:
        try:
            return reach()
        except absent:
            pass


@pytest.mark.parametrize("answer", [{"event_id": "k1"}, None])
def test_it_asks_until_clickhouse_answers(answer: Mapping[str, str | int] | None) -> None:
    truth = Flaky(WarehouseUnavailableError("away"), WarehouseUnavailableError("away"), answer=answer)
    assert PatientTruth(truth, again).click("acme", "v1", "k1") == answer
    assert not truth.errors


def test_what_is_refused_for_good_is_not_asked_again() -> None:
    with pytest.raises(WarehouseError, match="no such column"):
        PatientTruth(Flaky(WarehouseError("no such column"), answer=None), again).click("acme", "v1", "k1")


def test_whoever_stops_meanwhile_does_not_take_the_click_for_unknown() -> None:
    with pytest.raises(StoppedError):
        PatientTruth(Flaky(answer=None), lambda *_: None).click("acme", "v1", "k1")
