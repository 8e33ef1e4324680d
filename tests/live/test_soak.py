"""Faults at random for as long as one likes: `make soak`. A round is a stream and a schedule, both out of one seed.

CROSSCREDIT_SOAK is for how many seconds new rounds begin, CROSSCREDIT_SEED the seed of the first, the next ones follow.
A round that failed is played again with its seed and CROSSCREDIT_SOAK=1.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.live.faults import KINDS, play, schedule
from tests.live.feeding import Feeder, Feeding
from tests.live.stack import LiveStack
from tests.live.streams import hostile_stream
from tests.live.verdict import judge

SECONDS = float(os.environ.get("CROSSCREDIT_SOAK", "0"))
FIRST_SEED = int(os.environ.get("CROSSCREDIT_SEED", "1"))
WORKERS = ["w1", "w2", "w3"]
OFTEN = {"kill": 6, "wipe": 3, "freeze": 2, "leave": 2}


@pytest.mark.skipif(not SECONDS, reason="for `make soak`")
def test_rounds_of_random_faults(tmp_path: Path, say: Callable[[str], None]) -> None:
    began, seed = time.monotonic(), FIRST_SEED
    while seed == FIRST_SEED or time.monotonic() - began < SECONDS:
        one_round(tmp_path / f"round-{seed}", seed, say)
        seed += 1


def one_round(folder: Path, seed: int, say: Callable[[str], None]) -> None:
    faults = schedule(seed, {kind: OFTEN.get(kind, 1) for kind in KINDS}, 14, WORKERS)
    say(f"seed {seed}: {', '.join(map(str, faults))}")
    chooser = Random(seed)
    stream = hostile_stream(
        folder / "stream", seed, workload=chooser.randrange(5_000, 30_000), season=chooser.randrange(3_000, 10_000),
        worlds=chooser.randrange(0, 60),
    )  # fmt: skip
    with LiveStack(folder, stream.programs) as stack:
        stack.start_workers(*WORKERS)
        # A transaction does not outlive its coordinator.
        feeder = Feeder(stack.broker.bootstrap, transactions=not any(fault.kind == "kill broker" for fault in faults))
        stack.wait_until_ready()
        with Feeding(feeder, stream.records, stream.poison, stream.ghosts, seconds=50):
            play(stack, faults)
        settled_s = stack.wait_until_done()
        verdict = judge(stack, stream)
        say(f"seed {seed}: settled in {settled_s:.0f} s, ended unasked: {stack.died() or 'none'}\n{verdict}")
        assert not verdict.wrong, f"seed {seed} (its files: {folder})\n" + "\n".join(verdict.wrong)
