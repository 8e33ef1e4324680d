"""The hand-computed examples ask the reference and the pipeline alike: each test that computes an answer runs twice."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest

from tests.properties.harness import answer, run

from . import examples, oracle
from .admission import event_order

EXAMPLES = ("test_oracle", "test_oracle_earnings", "test_oracle_milestones")


def pipeline_answer(programs: list[dict[str, Any]], events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What the pipeline's tables hold, in the reference's shape and order."""
    found = answer(run(programs, [[events]]))
    for name, rows in found.items():
        if name in oracle.IDENTITY:
            rows.sort(key=itemgetter(*oracle.IDENTITY[name]))
        elif name == "dead_letters":
            rows.sort(key=itemgetter("index", "reason"))
        else:
            rows.sort(key=event_order)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each example twice."""
    if metafunc.module.__name__.rpartition(".")[2] in EXAMPLES:
        metafunc.parametrize("asked", ["reference", "pipeline"], indirect=True)


@pytest.fixture(autouse=True)
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who answers the example's questions."""
    who = getattr(request, "param", "reference")
    if who == "pipeline":
        monkeypatch.setattr(examples, "compute", pipeline_answer)
        monkeypatch.setattr(request.module, "compute", pipeline_answer, raising=False)
    return str(who)
