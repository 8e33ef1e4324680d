from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.partners.stage import Stage, make_stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Tests only look. A session of one partner ends when another's begins: keep a partner's tests together."""
    made = make_stage(tmp_path_factory.mktemp("partners"))
    yield made
    made.close()
