"""How events reach the pipeline: as product systems' exports, late, twice, newest first, interleaved and compressed."""

from __future__ import annotations

import gzip
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Final

import orjson

from pipeline.demo.cast import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, utc_ms
from pipeline.demo.story import Event

Sent = tuple[str, int, bytes]
"""The system that sends a record, when it happened (epoch milliseconds), and its line."""
Record = tuple[int, bytes]
"""When a record reached its export, and its line."""

SYSTEM_OF: Final = {"click": "edge", "sign_up": "accounts", "order": "checkout", "refund": "payments"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TWO_HOURS_EAST: Final = timezone(timedelta(hours=2))
_MONTHS: Final = ((2025, 10), (2025, 11), (2025, 12), (2026, 1), (2026, 2), (2026, 3), (2026, 4))
_MONTH_STARTS_MS: Final = [utc_ms(year, month, 1) for year, month in _MONTHS]
_COMPRESSED_MONTHS: Final = (10, 1, 4)
_AGAIN: Final = "redelivered.jsonl"


def sent(event: Event) -> Sent:
    """An event as its system writes it: epoch milliseconds, or RFC 3339 with an offset and digits to spare."""
    at_ms: int = event["occurred_at"]
    if event["type"] in ("sign_up", "refund"):
        moment = _EPOCH + timedelta(milliseconds=at_ms, microseconds=at_ms % 997)
        zone = _TWO_HOURS_EAST if event["type"] == "sign_up" else UTC
        event = event | {"occurred_at": moment.astimezone(zone).isoformat(timespec="microseconds")}
    return SYSTEM_OF[event["type"]], at_ms, orjson.dumps(event)


def deliver(rng: Random, once: Iterable[Sent], again: Iterable[Sent], folder: Path) -> tuple[int, int]:
    """Write every record to a file of the folder; how many records were written, and how many came over a day late.

    What is sent ``again`` comes later than it would have, one in three records in a file of its own.
    """
    files: defaultdict[str, list[Record]] = defaultdict(list)
    late = 0
    for system, at_ms, line in once:
        delay_ms = _delay_ms(rng)
        late += delay_ms > DAY_MS
        files[_file_name(system, at_ms + delay_ms)].append((at_ms + delay_ms, line))
    for number, (system, at_ms, line) in enumerate(again):
        at_ms += _delay_ms(rng) + SECOND_MS + int(rng.random() * 3 * DAY_MS)
        files[_AGAIN if number % 3 == 0 else _file_name(system, at_ms)].append((at_ms, line))
    folder.mkdir(parents=True, exist_ok=True)
    for name in _every_file_name() - files.keys():  # of a larger season that was here before
        (folder / name).unlink(missing_ok=True)
    for name, records in files.items():
        records.sort()
        _write(folder / name, _ORDERS[sum(name.encode()) % len(_ORDERS)](records))
    return sum(map(len, files.values())), late


def _delay_ms(rng: Random) -> int:
    """Mostly seconds; a phone in a tunnel minutes, a batch job hours, a restored backup days."""
    roll = rng.random()
    if roll < 0.8:
        return int(rng.random() * 30 * SECOND_MS)
    if roll < 0.95:
        return int(rng.random() * 40 * MINUTE_MS)
    return HOUR_MS + int(rng.random() * 19 * HOUR_MS) if roll < 0.99 else DAY_MS + int(rng.random() * 5 * DAY_MS)


def _file_name(system: str, at_ms: int) -> str:
    """Where a system's export of that day goes: checkout's files come before the clicks that they depend on."""
    year, month = _MONTHS[bisect(_MONTH_STARTS_MS, at_ms) - 1]
    if system == "edge":
        return f"edge-clicks-{year}-{month:02d}.jsonl" + (".gz" if month in _COMPRESSED_MONTHS else "")
    if system == "checkout":
        return f"checkout-orders-{year}.jsonl" + (".gz" if year == 2026 else "")
    return {"accounts": "accounts-sign-ups.jsonl", "payments": "payments-refunds.jsonl.gz"}[system]


def _every_file_name() -> set[str]:
    return {_AGAIN} | {_file_name(system, at_ms) for system in SYSTEM_OF.values() for at_ms in _MONTH_STARTS_MS}


def _oldest_first(records: list[Record]) -> list[Record]:
    return records


def _newest_first(records: list[Record]) -> list[Record]:
    return records[::-1]


def _two_shards(records: list[Record]) -> list[Record]:
    """One shard's export after the other's: time starts over half-way down the file."""
    return [*records[::2], *records[1::2]]


_ORDERS: Final[tuple[Callable[[list[Record]], list[Record]], ...]] = (_newest_first, _oldest_first, _two_shards)


def _write(path: Path, records: list[Record]) -> None:
    content = b"\n".join([line for _, line in records]) + b"\n\n"  # exports like to end in a blank line
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=1, mtime=0)
    path.write_bytes(content)
