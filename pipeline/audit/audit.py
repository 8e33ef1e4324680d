"""The audit: the contract's answer over what stands in the topics, held against ClickHouse, row by row."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.agents.intake import LATE, Intake, source_of
from pipeline.agents.letters import Letter, read_letters
from pipeline.agents.log_reader import LogReader
from pipeline.agents.outcomes import Outcomes
from pipeline.agents.replayed import Origin
from pipeline.audit.differences import Difference, Row, differences
from pipeline.audit.settled import EVENTS, Ends, Settled
from pipeline.audit.sources import Reading, topic_sources
from pipeline.clickhouse.export import export_jsonl
from pipeline.clickhouse.tables import TABLES
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue
from pipeline.embedded.database import Database
from pipeline.embedded.runner import Watcher, run
from pipeline.steps.rows import COLUMNS, shown_raw
from pipeline.topology import TOPIC_OF
from pipeline.wire.admission import Admission
from pipeline.wire.kafka_events import InputDecoder

_LETTER: Final = (*COLUMNS["dead_letters"], "version", "is_deleted")
_LAST_VERSION: Final = 2**62
_LETTERS: Final = ("dead_letters", "late_events")

_PROGRAMS: Final = """
SELECT DISTINCT program_id FROM (
    SELECT program_id FROM current_referrals UNION ALL SELECT program_id FROM current_ledger_entries
    UNION ALL SELECT program_id FROM current_milestones UNION ALL SELECT program_id FROM current_clicks
) ORDER BY program_id
"""


class ForeignTermsError(Exception):
    """The tables hold programs whose terms were not given; the text names them and the remedy."""


@dataclass
class Audited:
    """What an audit came to."""

    records: Counter[str] = field(default_factory=Counter)  # read, by event type
    rows: dict[str, int] = field(default_factory=dict)  # there should be, by table
    differences: dict[str, Counter[str]] = field(default_factory=dict)  # by table, then missing, extra, different
    first: list[Difference] = field(default_factory=list)  # of each table
    replayed: int = 0  # late events and dead letters that were sent in again and count
    not_compared: int = 0  # dead letters of topics that only the steps write

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not any(self.differences.values())


class Audit:
    """One audit. ``log`` may be of any group; ``settled`` asks for all of them."""

    def __init__(
        self, catalogue: Catalogue, decoder: InputDecoder, outcomes: Outcomes, log: LogReader, settled: Settled,
        warehouse: Warehouse, *, partitions: int, max_future_ms: int,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._outcomes = outcomes
        self._log = log
        self._settled = settled
        self._warehouse = warehouse
        self._partitions = partitions
        self._intake = Intake(
            Admission(catalogue), decoder, partitions=partitions, max_future_ms=max_future_ms
        )  # fmt: skip

    def run(self, watcher: Watcher, tell: Callable[[Difference], object], show: int) -> Audited:
        """Compare everything. ``tell`` hears of every difference; the first ``show`` of each table are kept.

        Takes as much disk as the tables as JSON, twice, in the folder for temporary files.

        :raises LagError: the workers did not come through in time.
        :raises RecordsGoneError: the topics do not hold everything any more.
        :raises ForeignTermsError: the catalogue is not the one of the tables.
        :raises LogUnreadableError, WarehouseError, RegistryUnavailableError: who does not answer.
        """
        self._check_programs()
        with tempfile.TemporaryDirectory(prefix="crosscredit-audit-") as folder:
            expected, found = Path(folder) / "expected", Path(folder) / "found"
            ends = self._export_settled(found)
            reading = self._compute(ends, expected, watcher)
            return self._compare(reading, expected, found, tell, show)

    def _check_programs(self) -> None:
        known = self._catalogue.programs
        foreign = [str(program) for (program,) in self._warehouse.query(_PROGRAMS) if program not in known]
        if foreign:
            raise ForeignTermsError(
                f"The tables hold outcomes of {', '.join(foreign)}, whose terms were not given. Give with --program "
                "the terms that the workers run with, or name another database with --clickhouse-database."
            )

    def _export_settled(self, folder: Path) -> Ends:
        """ClickHouse's tables at a moment when they hold all that is in the topics; up to where that is."""
        while True:
            ends = self._settled.ends()
            self._settled.wait()
            export_jsonl(self._warehouse, folder)
            if self._settled.wait_for_quiet(ends):
                return ends

    def _compute(self, ends: Ends, folder: Path, watcher: Watcher) -> Reading:
        """The contract's answer, as `crosscredit run` comes to it, as files in ``folder``."""
        letters = read_letters(self._log, self._outcomes, "late_event", self._partitions)
        late = _late_offsets(letters)
        reading = Reading()
        sources = topic_sources(self._log, self._intake, ends, self._partitions, late, reading)
        with Database.open(None) as database:
            run(database, self._catalogue, sources, watcher)
            still_late = [
                (letter.source, str(letter.position), LATE, shown_raw(letter.raw), 1, 0)
                for letter in reading.late
                if Origin("late_event", letter.source, str(letter.position), LATE) not in reading.replayed
            ]
            database.warehouse.insert_rows("late_events", still_late, _LETTER)
            let_in = [
                (origin.source, origin.position, origin.reason, shown_raw(raw), _LAST_VERSION, 1)
                for origin, raw in reading.replayed.items()
                if origin.record == "dead_letter"
            ]
            database.warehouse.insert_rows("dead_letters", let_in, _LETTER)
            export_jsonl(database.warehouse, folder)
        return reading

    def _compare(
        self, reading: Reading, expected: Path, found: Path, tell: Callable[[Difference], object], show: int
    ) -> Audited:  # fmt: skip
        result = Audited(records=reading.records, replayed=len(reading.replayed))
        inputs = {source_of(TOPIC_OF[each], number) for each in EVENTS for number in range(self._partitions)}

        def is_compared(row: Row) -> bool:
            is_input = row["source"] in inputs
            result.not_compared += not is_input
            return is_input

        for table in TABLES.values():
            files = expected / f"{table.name}.jsonl", found / f"{table.name}.jsonl"
            with files[0].open("rb") as lines:
                result.rows[table.name] = sum(1 for _ in lines)
            counts = result.differences[table.name] = Counter()
            compared = differences(table, *files, is_compared) if table.name in _LETTERS else differences(table, *files)
            for each in compared:
                counts[each.kind] += 1
                if counts.total() <= show:
                    result.first.append(each)
                tell(each)
        return result


def _late_offsets(letters: Mapping[Letter, bool]) -> dict[str, frozenset[int]]:
    """The offsets of late events by source. Those that were let in since count at the place where that happened."""
    found: dict[str, set[int]] = {}
    for letter in letters:
        found.setdefault(letter.source, set()).add(letter.place[1])
    return {source: frozenset(offsets) for source, offsets in found.items()}
