"""Late events, an audit that finds what was tampered with, and replays: on a real broker with a real worker."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from pipeline.agents.letters import read_letters
from pipeline.agents.log_reader import LogReader
from pipeline.agents.outcomes import Outcomes
from pipeline.cli import status_of
from pipeline.clickhouse.tables import TABLES
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.kafka.broker import free_port
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.replay.replay import Filter, Replay
from pipeline.topology import group_of
from pipeline.wire.admission import AnyTerms
from pipeline.wire.kafka_events import InputDecoder
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas
from tests.live.feeding import Feeder, feed_all
from tests.live.processes import CROSSCREDIT, environment
from tests.live.stack import LiveStack, until
from tests.live.streams import DAY_MS, PARTITIONS, Stream, hostile_stream
from tests.live.verdict import judge, late_places

LATE = 200
WORLDS = "w"  # what the brands of small worlds begin with: there is tampered, and from elsewhere events come late
FORGED = 1_000_000


def test_an_audit_finds_what_is_wrong_and_a_replay_admits_what_was_late(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    stream = hostile_stream(tmp_path / "stream", 5, workload=5_000, worlds=12, in_time=True)
    with LiveStack(tmp_path, stream.programs, lateness="30d") as stack:
        feeder = Feeder(stack.broker.bootstrap)
        feed_all(feeder, stream.records, stream.poison, stream.ghosts)
        stack.start_workers("w1")
        _late_events(stack, stream, feeder)
        _the_command_says_equal(stack, stream)  # it waits until the worker has come through
        late = late_places(stack)
        assert len(late) > LATE * 0.9  # a few are of partners that nobody knows
        _tampering_is_found(stack, stream, say)
        _what_cannot_be_compared_is_told(stack, stream)

        assert "would be sent" in _crosscredit(stack, "replay", "late", "--dry-run")
        assert late_places(stack) == late
        say(_crosscredit(stack, "replay", "late"))
        _audit_says_equal(stack, stream)
        verdict = judge(stack, stream)  # none may be late, and the tables are those of a run over all events
        assert not verdict.wrong, "\n".join(verdict.wrong)
        assert not late_places(stack)

        # Again, as if two people had replayed at once; and the disk is lost.
        _replay_everything_again(stack, len(late))
        stack.kill("w1", wipe=True, measure=False)
        say(_audit_says_equal(stack, stream))
        assert not late_places(stack)
        text = _crosscredit(stack, "replay", "dead-letters", "--program", *stream.programs, "--dry-run")
        assert "= 0 would be sent" in text
        assert "not_an_input" in text


def _late_events(stack: LiveStack, stream: Stream, feeder: Feeder) -> None:
    with Warehouse.server(stack.clickhouse) as warehouse:

        def watermark_ms() -> int:
            return int(
                str(warehouse.query("SELECT max(toUnixTimestamp64Milli(watermark)) FROM current_progress")[0][0])
            )

        until(lambda: _has_tables(warehouse) and watermark_ms() > 0, "there is a watermark")
        late = stream.late_comers(LATE, watermark_ms() - 31 * DAY_MS, not_of=WORLDS)
    feeder.send(late)
    stream.records.extend(late)


def _has_tables(warehouse: Warehouse) -> bool:
    sql = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'current_progress'"
    return warehouse.query(sql) == [(1,)]


def _audit_says_equal(stack: LiveStack, stream: Stream) -> str:
    status, text, found = _audit(stack, stream)
    assert status == 0, text
    assert not found
    return text


def _the_command_says_equal(stack: LiveStack, stream: Stream) -> None:
    """In a process of its own, as people run it; all other commands run in this one."""
    finished = subprocess.run(
        [CROSSCREDIT, "audit", *map(str, _audit_arguments(stack, stream))],
        capture_output=True, text=True, timeout=300, check=False, env=environment(),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Equal" in finished.stdout
    assert not _differences(stack).read_bytes()


def _tampering_is_found(stack: LiveStack, stream: Stream, say: Callable[[str], None]) -> None:
    with Warehouse.server(stack.clickhouse) as warehouse:
        ledger = _one(warehouse, "ledger_entries", f"startsWith(program_id, '{WORLDS}')")
        gone = _one(warehouse, "attributions", f"startsWith(brand_id, '{WORLDS}') AND partner_id != ''")
        forged = {**ledger, "amount_minor": ledger["amount_minor"] + 1}
        added = {**gone, "partner_id": "nobody"}
        _put(warehouse, "ledger_entries", forged, FORGED)
        _put(warehouse, "attributions", gone, FORGED, is_deleted=1)
        _put(warehouse, "attributions", added, FORGED)
        status, text, found = _audit(stack, stream)
        say(text)
        assert status == 1, text
        assert Counter((each["table"], each["difference"]) for each in found) == Counter(
            {("ledger_entries", "different"): 1, ("attributions", "missing"): 1, ("attributions", "extra"): 1}
        )
        by_kind = {each["difference"]: each for each in found}
        assert by_kind["different"]["columns"] == ["amount_minor"]
        assert by_kind["different"]["key"] == {"entry_id": ledger["entry_id"]}
        assert by_kind["different"]["expected"]["amount_minor"] == ledger["amount_minor"]
        assert by_kind["different"]["found"]["amount_minor"] == ledger["amount_minor"] + 1
        assert by_kind["missing"]["expected"] == gone
        assert by_kind["extra"]["found"] == added
        assert "nobody" in text
        _put(warehouse, "ledger_entries", ledger, FORGED + 1)
        _put(warehouse, "attributions", gone, FORGED + 1)
        _put(warehouse, "attributions", added, FORGED + 1, is_deleted=1)


def _what_cannot_be_compared_is_told(stack: LiveStack, stream: Stream) -> None:
    programs = [str(each) for each in stream.programs]
    for program, changes, status, word in (
        (programs, {"--clickhouse-database": "elsewhere"}, 2, "has no database elsewhere"),
        (programs, {"--clickhouse-url": f"http://127.0.0.1:{free_port()}"}, 2, "nobody answers there"),
        (programs[1:], {}, 2, "whose terms were not given"),
        (programs, {"--namespace": "others", "--patience": "0s"}, 3, "The tables lag behind the topics"),
    ):
        options = {"--bootstrap": stack.broker.bootstrap, "--clickhouse-url": stack.clickhouse, **changes}
        told, text = _said_by("audit", "--program", *program, *(each for pair in options.items() for each in pair))
        assert told == status
        assert word in text


def _one(warehouse: Warehouse, table: str, condition: str) -> dict[str, Any]:
    names = [column.name for column in TABLES[table].fields]
    columns = [
        f"toUnixTimestamp64Milli({column.name})" if column.is_time else column.name for column in TABLES[table].fields
    ]
    sql = f"SELECT {', '.join(columns)} FROM current_{table} WHERE {condition} ORDER BY 1, 2, 3, 4, 5 LIMIT 1"
    return dict(zip(names, warehouse.query(sql)[0], strict=True))


def _put(warehouse: Warehouse, table: str, row: dict[str, Any], version: int, is_deleted: int = 0) -> None:
    warehouse.insert_rows(table, [(*row.values(), version, is_deleted)], (*row, "version", "is_deleted"))


def _replay_everything_again(stack: LiveStack, late: int) -> None:
    config = confluent_config(KafkaSettings(stack.broker.bootstrap))
    log = LogReader(config, group_of("identity"))
    schemas = LocalSchemas()
    try:
        letters = read_letters(log, Outcomes(Messages(schemas)), "late_event", PARTITIONS)
    finally:
        log.close()
    assert not any(letters.values())
    assert len(letters) == late
    replay = Replay("late_event", AnyTerms(), InputDecoder(schemas), max_future_ms=0)
    assert replay.run(list(letters), Filter(), config).sent.total() == late


def _audit_arguments(stack: LiveStack, stream: Stream) -> list[object]:
    return [
        "--program", *stream.programs, "--bootstrap", stack.broker.bootstrap, "--clickhouse-url", stack.clickhouse,
        "--max-future", "3650d", "--output", _differences(stack),
    ]  # fmt: skip


def _differences(stack: LiveStack) -> Path:
    return stack.folder / "differences.jsonl"


def _audit(stack: LiveStack, stream: Stream) -> tuple[int, str, list[dict[str, Any]]]:
    status, text = _said_by("audit", *_audit_arguments(stack, stream))
    assert status in (0, 1), text
    return status, text, [json.loads(line) for line in _differences(stack).read_text(encoding="utf-8").splitlines()]


def _crosscredit(stack: LiveStack, *arguments: object) -> str:
    status, text = _said_by(*arguments, "--bootstrap", stack.broker.bootstrap)
    assert status == 0, text
    return text


def _said_by(*arguments: object) -> tuple[int, str]:
    """A command's status and what it said."""
    with redirect_stdout(StringIO()) as said, redirect_stderr(said):
        return status_of([str(each) for each in arguments]), said.getvalue()
