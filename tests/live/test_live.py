"""Three workers on a real broker come to the tables of `crosscredit run`, whatever order events arrive in."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.metrics import INVARIANTS
from pipeline.topology import STEPS, TABLE_OF, TOPIC_OF
from tests.live.feeding import Feeder, feed_all
from tests.live.stack import LiveStack, until
from tests.live.streams import DAY_MS, EVENT_TYPES, PARTITIONS, Record, hostile_stream, identity_of
from tests.live.verdict import judge, late_places, newest_everywhere

LATENESS_D = 30
OUTCOMES = ("applied", "repeated", "late", "dead_letter", "misplaced")


def test_200_000_events_in_hostile_order(tmp_path: Path, say: Callable[[str], None]) -> None:
    stream = hostile_stream(tmp_path / "stream", 11, workload=148_000, season=42_000, worlds=140, in_time=True)
    assert len(stream.records) >= 200_000
    with LiveStack(tmp_path, stream.programs, lateness=f"{LATENESS_D}d") as stack:
        feeder = Feeder(stack.broker.bootstrap)
        # All before the workers start: then no input is silent while events wait in it, and what may be late is known.
        feed_all(feeder, stream.records, stream.poison, stream.ghosts)
        began = time.monotonic()
        stack.start_workers("w1", "w2", "w3")
        stack.wait_until_done()
        first_s = time.monotonic() - began
        first = late_places(stack)
        assert len(first) > 100

        # The watermark has come at least that far: new events of long before are late now, and copies are not.
        through_ms, late = newest_everywhere(stack, stream, first)
        before_ms = through_ms - (LATENESS_D + 20) * DAY_MS
        old = [each for each in stream.records if _is_admitted(each, before_ms, late)][:50]
        new = stream.late_comers(50, before_ms)
        assert len(old) == 50
        feeder.send([*old, *new])
        stream.records.extend([*old, *new])
        stack.wait_until_done()
        verdict = judge(stack, stream, lateness_ms=LATENESS_D * DAY_MS)
        assert not verdict.wrong, "\n".join(verdict.wrong)
        came_late = [verdict.late[place] for place in verdict.late.keys() - first]
        assert Counter(map(identity_of, came_late)) == Counter(
            identity_of(record.event) for record in new if record.event is not None
        )
        assert not stack.died()
        _metrics_account(stack)
        _metrics_tell_the_truth(stack)
        say(f"{len(stream.records)} events, 3 workers, 16 partitions, {first_s:.0f} s\n{verdict}")


def _is_admitted(record: Record, before_ms: int, are_late: set[tuple[str, str, str, str]]) -> bool:
    event = record.event
    if event is None or record.reason or record.partition >= 0 or event["occurred_at"] >= before_ms:
        return False
    if event["event_id"].startswith("bad-"):
        return False
    return event["brand_id"] == "oven" and event["type"] == "sign_up" and identity_of(event) not in are_late


def _metrics_account(stack: LiveStack) -> None:
    """Each worker counts each record that it reads in exactly one outcome."""
    for name in stack.workers:
        samples = stack.metrics(name)
        for each in EVENT_TYPES:
            outcomes = sum(samples["referral_events_total", outcome, each] for outcome in OUTCOMES)
            assert samples["referral_events_consumed_total", each] == outcomes
    for each in EVENT_TYPES:
        assert sum(stack.metrics(name)["referral_events_consumed_total", each] for name in stack.workers)


def _metrics_tell_the_truth(stack: LiveStack) -> None:
    """Everything is settled and stored, nobody has broken a rule, and what was reached was counted."""
    until(lambda: all(_is_settled(stack.metrics(name)) for name in stack.workers), "no lag is shown")
    found = {name: stack.metrics(name) for name in stack.workers}
    lags = [key[1:] for samples in found.values() for key in samples if key[0] == "referral_consumer_lag_messages"]
    read = {TOPIC_OF[each] for step in STEPS.values() for each in step.reads}
    # Each partition of each topic is at one worker alone.
    assert sorted(lags) == sorted((str(number), topic) for topic in read for number in range(PARTITIONS))
    for name, samples in found.items():
        assert {samples["referral_invariant_violations_total", each] for each in INVARIANTS} == {0.0}
        for path in ("healthz", "readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{stack.workers[name].port}/{path}", timeout=5) as answer:
                assert answer.status == 200
    stored = {key[1] for samples in found.values() for key, count in samples.items()
              if key[0] == "referral_event_lag_seconds_count" and count}  # fmt: skip
    assert stored >= {"clicks", *TABLE_OF.values()}
    reached: Counter[tuple[str, ...]] = Counter()
    for samples in found.values():
        for (metric, *names), count in samples.items():
            if metric == "referral_milestones_reached_total":
                reached[names[1], names[0]] += int(count)
    with Warehouse.server(stack.clickhouse) as warehouse:
        rows = warehouse.query(
            "SELECT program_id, milestone_id, toInt64(count(reached_at)) FROM current_milestones GROUP BY ALL"
        )
    assert rows
    for program_id, milestone_id, count in rows:
        # Events came in hostile order, and some reachings that were known for a while turned out to be none.
        assert reached[str(program_id), str(milestone_id)] >= int(str(count)), (program_id, milestone_id)


def _is_settled(samples: dict[tuple[str, ...], float]) -> bool:
    lags = [value for key, value in samples.items() if key[0].startswith("referral_consumer_lag")]
    return len(lags) > len(STEPS) and not any(lags)
