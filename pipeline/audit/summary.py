"""What ``crosscredit audit`` came to, in a page of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.audit.audit import Audited
from pipeline.audit.differences import Difference

_LONGEST = 120  # characters of a value that are shown


def print_audited(console: Console, audited: Audited, output: Path | None) -> None:
    """Rows and differences of each table, the first differences with both values, and what to do next."""
    records = ", ".join(f"{_count(number)} {name}s" for name, number in audited.records.items())
    console.print(f"Computed again from the topics: {records}.", markup=False, highlight=False, soft_wrap=True)
    table = Table("table", "rows", "missing", "extra", "different", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rows in audited.rows.items():
        counts = audited.differences[name]
        table.add_row(name, _count(rows), *(_count(counts[kind]) for kind in ("missing", "extra", "different")))
    console.print(table)
    lines = [line for each in audited.first for line in _lines(each)]
    if audited.replayed:
        lines.append(f"{_count(audited.replayed)} late events and dead letters were sent in again, and count.")
    if audited.not_compared:
        lines.append(f"{_count(audited.not_compared)} dead letters of topics between the steps were not compared.")
    if audited.is_equal:
        lines.append("Equal: ClickHouse shows what the topics imply.")
    else:
        total = sum(counts.total() for counts in audited.differences.values())
        lines.append(f"{_count(total)} rows differ. Were the workers given the same terms, registry and --max-future?")
        lines.append(f"All of them are in {output}." if output is not None else "Add --output FILE to get all of them.")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _lines(difference: Difference) -> list[str]:
    key = ", ".join(f"{name}={value}" for name, value in difference.key.items() if name != "raw")
    head = f"{difference.table}: {_WORDS[difference.kind]} {key}"
    if difference.expected is None or difference.found is None:
        row = difference.expected or difference.found or {}
        rest = {name: value for name, value in row.items() if name not in difference.key and value not in ("", None)}
        return [head, f"    {_shown(rest)}"]
    found, expected = difference.found, difference.expected
    return [head, *(f"    {name}: {_shown(found[name])}, and should be {_shown(expected[name])}"
                    for name in difference.columns())]  # fmt: skip


_WORDS = {"missing": "a row is missing,", "extra": "a row should not be there,", "different": "a row is different,"}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
