"""However one worker leaves a partition to another, the tables end as the reference says (scripts in ``handovers``)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.agents.handovers import SCRIPTS, play


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.replace("_", "-"))
def test_a_handover_ends_right(script: Callable[[], None]) -> None:
    play(script)
