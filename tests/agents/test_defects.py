"""Tests of the tests: each of these mistakes, made in the real code, is noticed by the simulation within 150 schedules.

A defect is a passage of the code and what it is replaced by. A schedule that notices one passes without it.
``CROSSCREDIT_DEFECTS`` is how many schedules are tried at most. ``docs/faults.md`` lists what is noticed by what.
"""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from pipeline.agents import partition, runtime, watermarks
from pipeline.agents.credit import CreditPartition
from pipeline.agents.earnings import EarningsPartition
from pipeline.agents.identity import IdentityPartition
from pipeline.agents.intake import Intake
from pipeline.agents.outcomes import Outcomes
from pipeline.steps import identity
from pipeline.steps.credit import CreditStep
from pipeline.steps.earnings import EarningsStep
from tests.agents.handovers import SCRIPTS, play
from tests.agents.options import Options, options_of
from tests.agents.simulation import ScheduleError, Simulation
from tests.reference.examples import HOUR

MOST = int(os.environ.get("CROSSCREDIT_DEFECTS", 150))
ROUGH: dict[str, Any] = {"zombies": False, "kills": True, "turns": 180, "violence": 2, "most_events": 12}
HERE = {**ROUGH, "moves": False, "wipes": False, "redelivery": False}
MOVING = {**ROUGH, "moves": True, "workers": 2, "partitions": 1, "copies": 15, "violence": 4}
LOSING = {**MOVING, "wipes": True}
COPIES = {**MOVING, "copies": 50}
LATE: dict[str, Any] = {
    **ROUGH, "lateness_ms": HOUR, "workers": 1, "moves": False, "wipes": False, "redelivery": False, "copies": 50,
    "partitions": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Defect:
    """``old`` is replaced by ``new`` in the source of ``owner.name``."""

    what: str
    owner: Any
    name: str
    old: str
    new: str
    options: dict[str, Any] = field(default_factory=lambda: HERE)
    first: int = 0  # the schedule to begin with: one that is known to notice it


DEFECTS = [
    Defect("a click that comes again is a new one", identity, "_met_before", "np.zeros(len(ids), dtype=bool)",
           "np.zeros(0, dtype=bool)\n    return []", COPIES),
    Defect("the offset is on disk before the facts", partition.PartitionState, "keep", "        if outputs:",
           "        before = WriteBatch()\n"
           '        before.put("meta", _OFFSET + record.encode(), b"%d" % next_offset)\n'
           "        self.write(before)\n        if outputs:"),
    Defect("the outbox is forgotten at a restart", partition.PartitionState, "__init__",
           'list(store.scan("outbox", b""))', "[]", first=22),
    Defect("the outbox is emptied before it is acknowledged", partition.PartitionState, "keep",
           '            batch.put("outbox", key, _encode(outputs))', "            pass", first=22),
    Defect("bindings in the outbox are not sent again", partition.PartitionState, "__init__",
           "for key, value in waiting}", 'for key, value in waiting if b"binding" not in value}', first=58),
    Defect("emitted destinations are not remembered", CreditStep, "derive", "if old is not None", "if False"),
    Defect("destinations are noted only after the rows are sent", CreditPartition, "settle",
           "            self.state.write(notes)\n", "", LOSING),
    Defect("CREDIT does not read back after a lost disk", CreditPartition, "read_back",
           "        record = RECORD_OF[batch.topic]", "        return\n        record = RECORD_OF[batch.topic]",
           LOSING),
    Defect("EARNINGS does not read back after a lost disk", EarningsPartition, "read_back",
           "        record = RECORD_OF[batch.topic]", "        return\n        record = RECORD_OF[batch.topic]",
           LOSING),
    Defect("what EARNINGS read back counts as known at once", EarningsPartition, "read_back",
           "        self._read_back[record] = batch.next_offset",
           "        facts = WriteBatch()\n        self.state.put_seen(record, batch.next_offset, facts)\n"
           "        self.state.write(facts)", MOVING),
    Defect("a stale contribution is accepted", EarningsStep, "_stage",
           "contribution.version < known.version or contribution == known", "contribution == known",
           {**MOVING, "zombies": True}),
    Defect("a stale edition of a click is accepted", CreditStep, "add_clicks",
           "decode(known)[0] < decode(fact)[0]", "True", COPIES),
    Defect("of two editions in a batch the last counts", CreditStep, "add_clicks",
           "click.edition >= editions.get(key, 0)", "True", COPIES),
    Defect("customers are clean before their rows are acknowledged", CreditPartition, "settle",
           "            self.state.write(notes)", "            self._step.settled(customers, notes)\n"
           "            self.state.write(notes)", first=58),
    Defect("EARNINGS sends rows without noting them", EarningsPartition, "settle",
           "            self.state.write(settled.notes)\n", "", MOVING),
    Defect("an offset is safe before its customers are settled", runtime.StepRuntime, "_take",
           "            partition.take(batch)", "            partition.take(batch)\n"
           "            for record, offset in partition.safe_offsets().items():\n"
           "                self._on_safe(TOPIC_OF[record], batch.partition, offset)", LOSING),
    Defect("clicks are safe before they are stored", IdentityPartition, "safe_offsets",
           '{"binding": self.state.offset("binding")}',
           '{"binding": self.state.offset("binding"), "click": self.state.offset("click")}'),
    Defect("clicks that were taken before are not stored again", IdentityPartition, "_store_again",
           "if len(clicks):", "if len(clicks):\n            clicks = clicks.slice(0, 0)\n        if False:"),
    Defect("nothing is restored", runtime, "catch_up", "            partition.restore(",
           "            (lambda *_, **__: None)(", LOSING),
    Defect("what IDENTITY restores ahead of the group is not forwarded", IdentityPartition, "restore",
           '"binding", new.next_offset, self._touchpoints(forwarded) if is_ahead else ()', '"binding", new.next_offset',
           MOVING),
    Defect("what CREDIT restores ahead of the group is not decided", CreditPartition, "restore",
           "if not is_ahead:", "if True:", MOVING),
    Defect("what others emitted behind this state is not decided again", CreditPartition, "read_back",
           "decide_again=is_ahead", "decide_again=False", MOVING),
    Defect("what others emit meanwhile is not looked at", runtime.StepRuntime, "_look_back",
           "if end > start:", "if False:"),
    Defect("what EARNINGS hears of others is not compared", EarningsPartition, "caught_up",
           "if not self._read_back:", "if True:"),
    Defect("a copy that others compare with is not stored", identity.IdentityStep, "standing",
           "                editions[contents[first]] = 0", "                pass"),
    Defect("a batch of an earlier assignment is taken", runtime.StepRuntime, "_take",
           " and self._mark_of[batch.partition] is mark", "", {**MOVING, "strays": True}),
    Defect("misplaced records are dropped", Intake, "_set_misplaced_aside", "taken.misplaced.append(",
           "(lambda _: None)(",
           {**ROUGH, "misplaced": True}),
    Defect("misplaced records are taken where they are", Intake, "_set_misplaced_aside", "if right.all():", "if True:",
           {**ROUGH, "misplaced": True}),
    Defect("dead letters are lost", Outcomes, "refused", '*self.letters("dead_letter", taken.dead, partition), ', ""),
    Defect("a duplicate order's dead letter stands at its last copy", CreditStep, "_remember_first_copies",
           "if old is None:", "if True:", {**ROUGH, "copies": 50}),
    Defect("what was late is judged again when state is rebuilt", runtime, "catch_up",
           "_late_offsets(step, number, log, outcomes) if total else {}", "{}", {**LATE, "wipes": True}, first=57),
    Defect("a copy of an admitted event is late", Intake, "_set_late_aside",
           "if lateness.late_offsets is None:\n            places", "if False:\n            places", LATE),
    Defect("late events vanish", Outcomes, "refused", ', *self.letters("late_event", taken.late, partition)', "", LATE),
    Defect("what was replayed stays late", Outcomes, "refused", "out + self._withdrawn(taken, partition)", "out",
           {**LATE, "replays": True}),
    Defect("a replayed event may be late again", Intake, "_set_late_aside", "if not _is_waved_through(", "if True or (",
           {**LATE, "replays": True}),
    Defect("the watermark goes back", watermarks.Watermarks, "_advance", "max(self._current, least)", "least", LATE),
    Defect("a restart forgets the watermark", watermarks.Watermarks, "raise_to", "if watermark_ms is not None:",
           "if False:", LATE),
]  # fmt: skip


def broken(defect: Defect) -> Any:
    """The function with the defect in it."""
    whole = getattr(defect.owner, defect.name)
    source = inspect.getsource(whole)
    assert source.count(defect.old) == 1, f"{defect.what}: what it replaces is not there (any more), or not once"
    source = textwrap.dedent(source.replace(defect.old, defect.new))
    names: dict[str, Any] = {}
    exec("from __future__ import annotations\n" + source, whole.__globals__, names)  # noqa: S102  a defect is code
    return names[defect.name]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.what.replace(" ", "-"))
def test_a_defect_is_noticed(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    by = _noticed_by(defect, monkeypatch)
    if by is None:
        pytest.fail(f"{defect.what}: the scripts and {MOST} schedules pass all the same")
    sys.stdout.write(f"{defect.what}: {by}\n")  # pytest -rP shows it


def _noticed_by(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The first script, or else the first schedule, that fails with the defect and passes without."""
    mistaken = broken(defect)
    ways: list[tuple[str, Callable[[], object]]] = [(script.__name__, partial(play, script)) for script in SCRIPTS]
    seeds = range(defect.first, defect.first + MOST)
    ways += [(f"schedule {seed}", partial(_run, options_of(seed, **defect.options))) for seed in seeds]
    for name, way in ways:
        with monkeypatch.context() as changing:
            changing.setattr(defect.owner, defect.name, mistaken)
            is_noticed = _fails(way)
        if is_noticed and not _fails(way):
            return name
    return None


def _run(options: Options) -> None:
    Simulation(options).run()


def _fails(way: Callable[[], object]) -> bool:
    try:
        way()
    except (ScheduleError, LookupError):
        return True
    return False
