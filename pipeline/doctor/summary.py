"""The findings, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.text import Text

from pipeline.doctor.findings import VERDICTS, Finding, Verdict, is_well

_MARKS: Final[dict[Verdict, tuple[str, str]]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "wrong": ("WRONG", "bold red"),
    "unknown": ("unknown", "magenta"),
}
_INDENT: Final = 29


def print_findings(console: Console, found: Iterable[Finding]) -> list[Finding]:
    """Print each finding as it comes, with its remedy on the next line, and a count at the end; returns them."""
    seen = []
    for each in found:
        seen.append(each)
        mark, style = _MARKS[each.verdict]
        first, *more = each.text.splitlines()
        console.print(Text(f"{mark:<9}", style).append(f"{each.check:<20}", "default").append(first), soft_wrap=True)
        for line in more:
            console.print(Text(f"{'':{_INDENT}}{line}"), soft_wrap=True)
        if each.remedy:
            console.print(Text(f"{'':{_INDENT}}-> {each.remedy}", "dim"), soft_wrap=True)
    counts = Counter(each.verdict for each in seen)
    told = ", ".join(f"{counts[verdict]} {_MARKS[verdict][0].lower()}" for verdict in VERDICTS if counts[verdict])
    console.print(Text(f"All is well: {told}." if is_well(seen) else f"Something is wrong: {told}."), soft_wrap=True)
    return seen


def as_json(found: Iterable[Finding]) -> str:
    """One object: ``well``, and ``findings`` with check, verdict, text and remedy."""
    seen = list(found)
    return json.dumps({"well": is_well(seen), "findings": [asdict(each) for each in seen]}, indent=1)
