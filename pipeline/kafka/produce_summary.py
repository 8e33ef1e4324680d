"""What ``crosscredit produce`` came to, in some lines of text."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pipeline.kafka.produce import Produced
from pipeline.wire.own_schemas import topic_of


def print_produced(console: Console, produced: Produced, rejected: Path | None) -> None:
    """Counts that add up, records by topic, and what is no event by its reason, with where the first one stands."""
    sent, not_sent = produced.sent.total(), produced.rejected.total()
    skipped = f" + {_count(produced.skipped)} confirmed before" if produced.skipped else ""
    came = f"{_count(sent)} sent and confirmed + {_count(not_sent)} not accepted{skipped}"
    lines = [f"{_count(produced.records)} records = {came}"]
    lines += [f"  {_count(count):>12}  {topic_of(name)}" for name, count in produced.sent.items() if count]
    for reason, count in sorted(produced.rejected.items()):
        lines.append(f"  {_count(count):>12}  {reason}, the first is {produced.examples[reason]}")
    if not_sent and rejected is None:
        lines.append("Add --rejected FILE to get the records that were not accepted.")
    elif not_sent:
        lines.append(f"The records that were not accepted are in {rejected}.")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
