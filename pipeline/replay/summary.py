"""What ``crosscredit replay`` came to, in some lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Console

from pipeline.replay.replay import NOT_AN_INPUT, Replayed
from pipeline.wire.own_schemas import topic_of

_WHY: Final[Mapping[str, str]] = {
    "malformed": "cannot be read as an event: name the registry that knows its schema with --registry",
    "invalid_field": "a field is missing, has a wrong type or is out of range: the sender has to send it right",
    "in_future": "dated too far ahead still",
    "unknown_brand": "no program of this brand is given with --program",
    "unknown_program": "the brand has no such program among those of --program",
    "unknown_partner": "no version of the program names this partner",
    "currency_mismatch": "not the currency of the brand's programs",
    "duplicate_order": "it was admitted; another event of the same order counts",
    NOT_AN_INPUT: "it stands in a topic that only the steps write, and was never an event",
}


def print_replayed(console: Console, replayed: Replayed, what: str, *, is_dry: bool) -> None:
    """Counts that add up, records by topic, and why the others stay where they are."""
    sent, refused = replayed.sent.total(), replayed.refused.total()
    verb = "would be sent" if is_dry else "sent and confirmed"
    lines = [
        f"{_count(replayed.standing)} {what} = {_count(sent)} {verb} + {_count(replayed.left_out)} left out by the "
        f"filter + {_count(refused)} that cannot be admitted"
    ]
    lines += [f"  {_count(count):>12}  {topic_of(name)}" for name, count in replayed.sent.items() if count]
    for reason, count in sorted(replayed.refused.items()):
        why, first = _WHY.get(reason, ""), replayed.examples[reason]
        lines.append(f"  {_count(count):>12}  {reason}: {why}, the first is {first}")
    if sent and not is_dry:
        lines.append(f"They count, and leave the {what}, as soon as the workers have read them.")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
