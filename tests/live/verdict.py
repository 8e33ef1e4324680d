"""What must hold at the end: the tables are those of `crosscredit run` over the same events, and every record is
accounted for.

Everything is judged by what stands in the topics. Events that are listed as late are left out of the run, after a check
that each was behind: in its own partition there stood, before it, an event newer by more than the allowed lateness.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.clickhouse.export import export_jsonl
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.topology import TOPIC_OF
from tests.live.processes import CROSSCREDIT
from tests.live.stack import LiveStack, Stored, read_log
from tests.live.streams import EVENT_TYPES, KEY_OF, Event, Stream, identity_of, line_of, partition_of

TABLES = (
    "clicks", "sign_ups", "orders", "refunds", "attributions", "referrals", "ledger_entries", "milestones",
)  # fmt: skip
TABLE_OF = {"click": "clicks", "sign_up": "sign_ups", "order": "orders", "refund": "refunds"}

Place = tuple[str, int]
"""Source and position, as tables show them."""


@dataclass
class Account:
    """What became of the records of one type. Their sum is what was consumed."""

    consumed: int = 0
    applied: int = 0
    repeated: int = 0
    late: int = 0
    dead_lettered: int = 0
    misplaced: int = 0

    @property
    def sum(self) -> int:
        return self.applied + self.repeated + self.late + self.dead_lettered + self.misplaced

    def __str__(self) -> str:
        return (
            f"{self.consumed} consumed = {self.applied} applied + {self.repeated} repeated + {self.late} late"
            f" + {self.dead_lettered} dead-lettered + {self.misplaced} misplaced"
        )


@dataclass
class Verdict:
    """Everything that does not hold; and what a person may want to see."""

    wrong: list[str] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    late: dict[Place, Event] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = ", ".join(f"{count} {table}" for table, count in self.rows.items())
        return "\n".join([*(f"  {name}: {account}" for name, account in self.accounts.items()), f"  equal: {rows}"])


def judge(stack: LiveStack, stream: Stream, *, lateness_ms: int | None = None) -> Verdict:
    """Compare everything. ``lateness_ms`` None: no event may be late."""
    return _Judge(stack, stream, lateness_ms).verdict()


class _Judge:
    def __init__(self, stack: LiveStack, stream: Stream, lateness_ms: int | None) -> None:
        self._stack = stack
        self._stream = stream
        self._lateness_ms = lateness_ms
        self._result = Verdict()
        self._logs = {each: read_log(stack.broker.bootstrap, TOPIC_OF[each]) for each in EVENT_TYPES}
        self._live = stack.folder / "live-tables"
        with Warehouse.server(stack.clickhouse) as warehouse:
            export_jsonl(warehouse, self._live)
        self._dead = {_place(row): row for row in _rows(self._live, "dead_letters")}
        self._late = {_place(row): row for row in _rows(self._live, "late_events")}

    def verdict(self) -> Verdict:
        self._everything_was_produced()
        self._places_hold_what_is_said()
        self._late_events_were_late()
        run, places = self._run()
        self._equal_tables(run)
        self._equal_dead_letters(run, places)
        for each in EVENT_TYPES:
            self._account(each)
        return self._result

    def _wrong(self, text: str) -> None:
        self._result.wrong.append(text)

    def _event(self, record: str, stored: Stored) -> Event | None:
        return self._stream.event_of.get((record, stored.value or b""))

    def _is_at_home(self, record: str, stored: Stored, event: Event) -> bool:
        key = event[KEY_OF[record]].encode()
        return stored.key == key and stored.partition == partition_of(key)

    def _is_dead(self, record: str, stored: Stored) -> bool:
        row = self._dead.get(_place_of(record, stored))
        return row is not None and row["reason"] != "duplicate_order"

    def _is_late(self, record: str, stored: Stored) -> bool:
        return _place_of(record, stored) in self._late

    def _everything_was_produced(self) -> None:
        """What was produced stands in the topics, and what strayed stands there once more, where it belongs."""
        for record, log in self._logs.items():
            produced = Counter(each.value or b"" for each in self._stream.records if each.record == record)
            found = Counter(stored.value or b"" for stored in log)
            missing = produced - found
            if missing:
                self._wrong(f"{record}: {missing.total()} produced records are not in the topic")
            strayed: Counter[bytes] = Counter()
            at_home: Counter[bytes] = Counter()
            for stored in log:
                event = self._event(record, stored)
                if event is None or self._is_dead(record, stored):
                    continue
                (at_home if self._is_at_home(record, stored, event) else strayed)[stored.value or b""] += 1
            lost = strayed.keys() - at_home.keys()
            if lost:
                self._wrong(f"{record}: {len(lost)} misplaced records were not sent on")
            unknown = found.keys() - produced.keys()
            if unknown:
                self._wrong(f"{record}: {len(unknown)} values that nobody produced, such as {next(iter(unknown))!r}")

    def _places_hold_what_is_said(self) -> None:
        """A dead letter or late event is the record that stands at its position."""
        stored_at = {_place_of(record, stored): stored for record, log in self._logs.items() for stored in log}
        sources = {source for source, _ in stored_at}
        for rows in (self._dead, self._late):
            for place, row in rows.items():
                if place[0] not in sources:
                    continue
                stored = stored_at.get(place)
                if stored is None or _shown(stored.value) != row["raw"]:
                    self._wrong(f"{row['reason']} at {place}: another record stands there")
                    continue
                event = self._event(place[0].split(".")[1], stored)
                if row["reason"] == "late" and event is not None:
                    self._result.late[place] = event

    def _late_events_were_late(self) -> None:
        if self._lateness_ms is None:
            if self._late:
                self._wrong(f"{len(self._late)} events are late, and none can be")
            return
        both = self._dead.keys() & self._late.keys()
        if both:
            self._wrong(f"{len(both)} records are late and dead letters, such as {next(iter(both))}")
        for record, log in self._logs.items():
            newest: dict[int, int] = defaultdict(int)
            known: set[tuple[str, ...]] = set()
            for stored in log:
                event = self._event(record, stored)
                if event is None or self._is_dead(record, stored):
                    continue
                if self._is_late(record, stored):
                    if newest[stored.partition] <= event["occurred_at"] + self._lateness_ms:
                        self._wrong(f"{record} at {stored.partition}/{stored.offset} was not behind")
                    if identity_of(event) in known:
                        self._wrong(f"{record} at {stored.partition}/{stored.offset} repeats an admitted event")
                elif self._is_at_home(record, stored, event):
                    newest[stored.partition] = max(newest[stored.partition], event["occurred_at"])
                    known.add(identity_of(event))

    def _run(self) -> tuple[Path, list[tuple[str, Stored]]]:
        """`crosscredit run` over the events in the topics; its tables, and the record of each line."""
        places: list[tuple[str, Stored]] = []
        events, output = self._stack.folder / "events.jsonl", self._stack.folder / "run-tables"
        with events.open("wb") as lines:
            for record, log in self._logs.items():
                for stored in log:
                    event = self._event(record, stored)
                    if event is None or self._is_late(record, stored):
                        continue
                    if self._is_at_home(record, stored, event) or self._is_dead(record, stored):
                        lines.write(line_of(event))
                        places.append((record, stored))
        finished = subprocess.run(
            [CROSSCREDIT, "run", "--program", *self._stream.programs, "--input", events, "--output", output],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
        return output, places

    def _equal_tables(self, run: Path) -> None:
        for table in TABLES:
            got, expected = (
                Counter((folder / f"{table}.jsonl").read_bytes().splitlines()) for folder in (self._live, run)
            )
            self._result.rows[table] = expected.total()
            if got != expected:
                missing, extra = list((expected - got).elements()), list((got - expected).elements())
                self._wrong(
                    f"{table}: {len(missing)} rows of {expected.total()} missing, {len(extra)} too many"
                    + "".join(f"\n    - {row.decode()[:600]}" for row in sorted(missing)[:2])
                    + "".join(f"\n    + {row.decode()[:600]}" for row in sorted(extra)[:2])
                )

    def _equal_dead_letters(self, run: Path, places: list[tuple[str, Stored]]) -> None:
        """By reason and raw bytes; of duplicate orders, by which order."""
        expected: Counter[tuple[Any, ...]] = Counter()
        for row in _rows(run, "dead_letters"):
            record, stored = places[int(row["position"]) - 1]
            event = self._event(record, stored)
            assert event is not None
            expected[_letter(row["reason"], _shown(stored.value), event)] += 1
        for each in (*self._stream.records, *self._stream.poison):
            if each.reason and each.record != "watermark":
                expected[each.reason, _shown(each.value)] += 1
        event_of_raw = {_shown(value): event for (_, value), event in self._stream.event_of.items()}
        got = Counter(
            _letter(row["reason"], row["raw"], event_of_raw.get(row["raw"])) for row in self._dead.values()
        )  # fmt: skip
        self._result.rows["dead_letters"] = expected.total()
        if got != expected:
            missing, extra = list((expected - got).elements()), list((got - expected).elements())
            self._wrong(
                f"dead_letters: {len(missing)} of {expected.total()} missing, such as {missing[:3]}, "
                f"{len(extra)} more than there should be, such as {extra[:3]}"
            )

    def _account(self, record: str) -> None:
        account = self._result.accounts[record] = Account(consumed=len(self._logs[record]))
        identities: Counter[tuple[str, ...]] = Counter()
        for stored in self._logs[record]:
            event = self._event(record, stored)
            if self._is_dead(record, stored):
                account.dead_lettered += 1
            elif self._is_late(record, stored):
                account.late += 1
            elif event is None:
                self._wrong(f"{record} at {stored.partition}/{stored.offset} is no event, and no dead letter")
            elif self._is_at_home(record, stored, event):
                identities[identity_of(event)] += 1
            else:
                account.misplaced += 1
        account.repeated = identities.total() - len(identities)
        with (self._live / f"{TABLE_OF[record]}.jsonl").open("rb") as rows:
            account.applied = sum(1 for _ in rows)
        if record == "order":  # an order under a second id is applied too: it has its row among the dead letters
            account.applied += sum(row["reason"] == "duplicate_order" for row in self._dead.values())
        if account.sum != account.consumed:
            self._wrong(f"{record}: the sum is {account.sum}: {account}")


def _rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{table}.jsonl").read_bytes().splitlines()]


def _place(row: dict[str, Any]) -> Place:
    return row["source"], int(row["position"])


def _place_of(record: str, stored: Stored) -> Place:
    return f"{TOPIC_OF[record]}/{stored.partition}", stored.offset


def _letter(reason: str, raw: str, event: Event | None) -> tuple[Any, ...]:
    if reason == "duplicate_order" and event is not None:
        return reason, *identity_of(event)
    return reason, raw


def _shown(value: bytes | None) -> str:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value or b"").decode()


def late_places(stack: LiveStack) -> set[Place]:
    """Where the events stand that are listed as late."""
    with Warehouse.server(stack.clickhouse) as warehouse:
        return {
            (source, int(position))
            for source, position in warehouse.query("SELECT source, position FROM current_late_events")
        }


def newest_everywhere(
    stack: LiveStack, stream: Stream, late: set[Place]
) -> tuple[int, set[tuple[str, str, str, str]]]:  # fmt: skip
    """The least of what the inputs' newest admitted events say: the pipeline's watermark has come that far.

    Also the identities of what was late.
    """
    least: list[int] = []
    identities = set()
    for record in EVENT_TYPES:
        newest: dict[int, int] = {}
        for stored in read_log(stack.broker.bootstrap, TOPIC_OF[record]):
            event = stream.event_of.get((record, stored.value or b""))
            if event is None:
                continue
            if _place_of(record, stored) in late:
                identities.add(identity_of(event))
            else:
                newest[stored.partition] = max(newest.get(stored.partition, 0), event["occurred_at"])
        least += newest.values()
    return min(least), identities
