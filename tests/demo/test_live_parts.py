"""The season as `make live` sends it: in the order of its events' times, whatever form each file writes them in."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.demo.live import SLICES, parts_in_order
from pipeline.demo.season import write_season


def time_of(line: str) -> float | None:
    """The time in seconds that a line says; None where it says none."""
    try:
        said: Any = json.loads(line)["occurred_at"]
        return said / 1000 if isinstance(said, int) else datetime.fromisoformat(said).timestamp()
    except (ValueError, KeyError, TypeError):
        return None


def test_the_season_is_sent_in_the_order_of_its_times(tmp_path: Path) -> None:
    write_season(tmp_path, 7, 6_000)
    parts = list(parts_in_order(tmp_path))
    assert len(parts) == SLICES
    lines = [line for part in parts for line in part.read_text(encoding="utf-8", errors="replace").splitlines()]
    assert len(lines) == 6_000
    kinds: dict[str, int] = {}
    texts = 0
    for line in lines:
        if time_of(line) is not None:
            record = json.loads(line)
            kinds[record["type"]] = kinds.get(record["type"], 0) + 1
            texts += isinstance(record["occurred_at"], str)
    assert set(kinds) == {"click", "sign_up", "order", "refund"}
    assert texts > 50, "some files write their times as text"
    times = [at for at in map(time_of, lines) if at is not None]
    assert all(later >= earlier - 0.001 for earlier, later in pairwise(times))
