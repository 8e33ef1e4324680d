"""Whatever is killed, stopped, cut off or wiped while events flow: the tables end as those of `crosscredit run`.

Each test feeds its stream over the time in which its faults happen. Events come by every codec, in transactions and
outside, some in transactions that are aborted; every topic gets values that are no records.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.live.faults import Fault, play, schedule
from tests.live.feeding import Feeder, Feeding
from tests.live.stack import LiveStack, until
from tests.live.streams import Stream, hostile_stream
from tests.live.verdict import judge

WORKERS = ["w1", "w2", "w3"]
SHORT_SESSION_S = 6.0  # the least that a broker allows: who is to outlive it waits no longer than must be
Say = Callable[[str], None]


def the_tables_are_equal(stack: LiveStack, stream: Stream, say: Say, what: str) -> None:
    """After everything settled."""
    settled_s = stack.wait_until_done()
    verdict = judge(stack, stream)
    assert not verdict.wrong, "\n".join(verdict.wrong)
    say(f"{what}; settled {settled_s:.0f} s after the last event; ended unasked: {stack.died() or 'none'}\n{verdict}")


def test_kill_9_of_workers_over_and_over_and_of_all_at_once_and_wiped_disks(tmp_path: Path, say: Say) -> None:
    """Also: how soon a killed worker is back at its first event."""
    stream = hostile_stream(tmp_path / "stream", 21, workload=12_000, season=3_000, worlds=20)
    faults = schedule(21, {"kill": 4, "kill at work": 5, "wipe": 2}, 14, WORKERS)
    faults[5:5] = faults[11:11] = [Fault(2.0, "kill all")]
    faults[8:8] = faults[14:14] = [Fault(1.5, "wipe", "w2")]
    with LiveStack(tmp_path, stream.programs) as stack:
        stack.start_workers(*WORKERS)
        feeder = Feeder(stack.broker.bootstrap)
        stack.wait_until_ready()
        with Feeding(feeder, stream.records, stream.poison, stream.ghosts, seconds=60):
            play(stack, faults)
        the_tables_are_equal(
            stack, stream, say,
            f"{len(faults) + 4} kills, {stack.killed_at_work} of them at work: {', '.join(map(str, faults))}; "
            f"{len(stack.restarts)} came to an event "
            f"before the next kill, in {_shown(sorted(stack.restarts))} s",
        )  # fmt: skip
        assert not stack.died()
        assert stack.killed_at_work >= 3
        # By its own count of events consumed. A machine that is busy is allowed more.
        assert min(stack.restarts) <= 10 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_zombies_and_workers_that_come_and_go(tmp_path: Path, say: Say) -> None:
    stream = hostile_stream(tmp_path / "stream", 23, workload=10_000, season=3_000, worlds=20)
    with LiveStack(tmp_path, stream.programs, session_s=SHORT_SESSION_S) as stack:
        stack.start_workers("w1", "w2")
        feeder = Feeder(stack.broker.bootstrap)
        stack.wait_until_ready()
        with Feeding(feeder, stream.records, stream.poison, stream.ghosts, seconds=32):
            stack.start_workers("w3")
            play(stack, [Fault(3.0, "freeze", "w1", SHORT_SESSION_S + 3)])
            stops_s = [stack.leave("w2")]
            play(stack, [Fault(1.0, "freeze", "w3", SHORT_SESSION_S + 3)])
            stack.start_workers("w2", "w4")
            until(lambda: stack.metrics("w4"), "w4 has started")
            time.sleep(2)
            stops_s.append(stack.leave("w4"))
        the_tables_are_equal(stack, stream, say, f"two zombies, two joins, two leaves (stops took {_shown(stops_s)} s)")
        assert max(stops_s) < 20


def test_broker_killed_and_clickhouse_in_every_kind_of_trouble(tmp_path: Path, say: Say) -> None:
    stream = hostile_stream(tmp_path / "stream", 24, workload=12_000, season=3_000, worlds=20)
    with LiveStack(tmp_path, stream.programs) as stack:
        stack.start_workers("w1", "w2")
        feeder = Feeder(stack.broker.bootstrap, transactions=False)  # a transaction does not outlive its coordinator
        stack.wait_until_ready()
        with Feeding(feeder, stream.records, stream.poison, [], seconds=60):
            time.sleep(1)
            stack.clickhouse_fault("hang", count=1, only_inserts=True)  # whoever meets it waits half a minute
            play(stack, [Fault(2.0, "kill broker"), Fault(4.0, "fail half way"), Fault(1.0, "cut after commit")])
            met = stack.faults_met()
            play(
                stack,
                [Fault(0.5, "front down", seconds=60.0), Fault(2.0, "cut after commit"), Fault(1.0, "fail half way")],
            )
            play(stack, [Fault(1.0, "refuse", seconds=3.0), Fault(1.0, "drop", seconds=2.0)])
            met += stack.faults_met()
        the_tables_are_equal(stack, stream, say, f"broker killed, ClickHouse killed, {met} requests failed")
        assert met >= 7


def _shown(seconds: list[float]) -> str:
    return ", ".join(f"{each:.1f}" for each in seconds)
