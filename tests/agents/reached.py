"""How often milestones were reached, by the contributions in the log alone: what all workers together count.

A late event may undo a reaching that was known for a while. So there are two figures: how often milestones were reached
by all that is known in the end, and how often that figure grew, record by record. In most runs they are equal.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from pipeline.domain.contribution import Contribution
from pipeline.domain.earnings import MilestoneState
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps.earnings import EarningsStep
from pipeline.topology import TOPIC_OF
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas
from tests.agents.simulation import Simulation

_MESSAGES = Messages(LocalSchemas())
Series = tuple[str, str, str]  # reached or revoked, program, milestone
Figure = tuple[str, ...]  # reached or revoked, program, milestone, scope key, period


def miscounted(simulation: Simulation) -> list[str]:
    """Where what all processes counted together, the killed ones too, is not how often milestones were reached."""
    least: Counter[Series] = Counter()
    most: Counter[Series] = Counter()
    for number in range(simulation.options.partitions):
        grown, last = _folded(simulation, number)
        least += last
        most += grown
    counted: Counter[Series] = Counter()
    for each in simulation.reachings:
        for (what, program_id, milestone_id, _), count in each.counts().items():
            counted[what, program_id, milestone_id] += count
    if simulation.options.redelivery:
        # The group forgets what was committed, and a worker without state of its own cannot know that it was counted.
        most = Counter({series: count + len(simulation.schedule) for series, count in most.items()})
    return [
        f"{series} counted {counted[series]} times, not {least[series]} to {most[series]}"
        for series in sorted({*most, *counted}) if not least[series] <= counted[series] <= most[series]
    ]  # fmt: skip


def _folded(simulation: Simulation, number: int) -> tuple[Counter[Series], Counter[Series]]:
    """How often the figures grew, and what they are in the end."""
    store = MemoryStore()
    step = EarningsStep(store, simulation.catalogue)
    known: Counter[Figure] = Counter()
    grown: Counter[Series] = Counter()
    for entry in simulation.log.entries(TOPIC_OF["contribution"], number):
        rows, _ = _MESSAGES.decode("contribution", [entry.value])
        batch = WriteBatch()
        step.stage([msgspec.msgpack.decode(payload, type=Contribution) for *_, payload in rows], batch)
        store.write(batch)
        for settled in step.settle():
            store.write(settled.notes)
            store.write(settled.batch)
        now = _figures(step)
        grown += _by_milestone(now - known)
        known = now
    return grown, _by_milestone(known)


def _figures(step: EarningsStep) -> Counter[Figure]:
    return Counter({
        (what, program_id, *counter[1:]): count
        for program_id, ledger in step._ledgers.items()
        for counter, state in ledger.counters.items() if isinstance(state, MilestoneState)
        for what, count in (("reached", state.reachings), ("revoked", state.revocations))
    })  # fmt: skip


def _by_milestone(figures: Counter[Figure]) -> Counter[Series]:
    found: Counter[Series] = Counter()
    for (what, program_id, milestone_id, *_), count in figures.items():
        found[what, program_id, milestone_id] += count
    return found
