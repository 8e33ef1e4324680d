"""In which order the tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

LIVE = Path(__file__).parent / "live"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Live tests first: they take minutes one after the other, and leave time for the rest to run beside them."""
    items.sort(key=lambda item: LIVE not in item.path.parents)
