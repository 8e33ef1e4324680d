"""`crosscredit live`: the same season as in the demo, sent to a local Kafka bit by bit, with pages that change."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.demo.season import write_season
from pipeline.domain.events import rfc3339_ms
from pipeline.domain.terms import Catalogue
from pipeline.kafka.broker import free_port
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.kafka.errors import BrokerError
from pipeline.kafka.produce import produce
from pipeline.kafka.stack import Running, adopt, up
from pipeline.pages.writer import write_pages
from pipeline.terms_files import load_catalogue
from pipeline.wire.files import open_sources
from pipeline.wire.schema_ids import LocalSchemas

SLICES: Final = 60
REFRESH_S: Final = 5
FEW_PAGES: Final = 4
"""The overview, and the first of the programs with two of its partners."""
_READY_S: Final = 60.0
_QUIET_S: Final = 3.0

_STATE: Final = """
SELECT
    (SELECT count() FROM clicks), (SELECT uniqExact(conversion_id) FROM current_attributions WHERE partner_id != ''),
    (SELECT count() FROM current_referrals WHERE status = 'qualified'),
    (SELECT count() FROM current_milestones WHERE status = 'reached'),
    (SELECT toUnixTimestamp64Milli(max(watermark)) FROM current_progress),
    (SELECT toUnixTimestamp64Milli(max(final_through)) FROM current_progress)
"""


def run_live(folder: Path, seed: int, events: int, seconds: float, console: Console) -> None:
    """Start what is needed, let the season pass within about ``seconds``, and keep the pages up to date.

    What was started goes on: ``crosscredit stack down`` ends it.

    :raises BrokerError: Kafka, ClickHouse or the worker did not start; the text shows the end of its log.
    """
    console.print(f"Writing a season of {events:,} events (seed {seed}) into {folder / 'season'} ...")
    write_season(folder / "season", seed, events)
    slices = list(parts_in_order(folder / "season"))
    running = up(folder, console.print)
    bootstrap, clickhouse = f"127.0.0.1:{running['kafka'].port}", f"http://127.0.0.1:{running['clickhouse'].port}"
    programs = folder / "season" / "programs"
    console.print("Starting a worker ...")
    _start_worker(folder, programs, bootstrap, clickhouse)
    catalogue = load_catalogue([programs])
    pages = folder / "pages"
    config, schemas = confluent_config(KafkaSettings(bootstrap)), LocalSchemas()
    console.print(f"The season begins. Open {pages / 'index.html'} in a browser: it changes while events flow.")
    began = time.monotonic()
    written_at = -float(REFRESH_S)
    with Warehouse.server(clickhouse) as warehouse:
        for index, path in enumerate(slices):
            produce(config, schemas, open_sources([str(path)]))
            if time.monotonic() - written_at >= REFRESH_S:
                most = FEW_PAGES if index else None  # the others wait for the end: this machine has more to do
                _show(warehouse, catalogue, pages, console, f"{index + 1} of {SLICES} parts sent", most)
                written_at = time.monotonic()
            time.sleep(max(0.0, began + seconds * (index + 1) / SLICES - time.monotonic()))
        before: tuple[Any, ...] = ()
        while (state := _show(warehouse, catalogue, pages, console, "all sent", FEW_PAGES)) != before:
            before = state
            time.sleep(_QUIET_S)
        _show(warehouse, catalogue, pages, console, "all pages written", None)
    console.print(
        f"\nNothing is on its way any more. Kafka {bootstrap}, ClickHouse {clickhouse} and the worker go on. Send\n"
        f"more with `crosscredit produce --bootstrap {bootstrap} --input EVENTS`, and end them with\n"
        f"  crosscredit stack down --folder {folder}"
    )


def parts_in_order(season: Path) -> Iterator[Path]:
    """The season's records in order of their time, in files of equal length; what has no time comes last."""
    records: list[tuple[int, bytes]] = []
    for file in sorted((season / "events").iterdir()):
        content = file.read_bytes()
        lines = gzip.decompress(content) if file.suffix == ".gz" else content
        records += [(_time_of(line), line) for line in lines.splitlines() if line.strip()]
    records.sort(key=lambda record: record[0])
    folder = season / "parts"
    folder.mkdir(exist_ok=True)
    length = -(-len(records) // SLICES)
    for index in range(SLICES):
        path = folder / f"{index:03d}.jsonl"
        path.write_bytes(b"\n".join(line for _, line in records[index * length : (index + 1) * length]) + b"\n")
        yield path


def _time_of(line: bytes) -> int:
    try:
        at = json.loads(line)["occurred_at"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return sys.maxsize
    at_ms = rfc3339_ms(at) if isinstance(at, str) else at
    return at_ms if isinstance(at_ms, int) else sys.maxsize


def _start_worker(folder: Path, programs: Path, bootstrap: str, clickhouse: str) -> None:
    state = (folder / "worker").absolute()
    state.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = state / "worker.log"
    # A second is some three days of the season, and ten of silence a month: lateness must allow for more.
    command = [
        sys.executable, "-c", "from pipeline.cli import main; main()", "worker", "--folder", str(state),
        "--program", str(programs.absolute()), "--bootstrap", bootstrap, "--clickhouse-url", clickhouse,
        "--status-port", str(port), "--idle-timeout", "10s", "--allowed-lateness", "60d",
    ]  # fmt: skip
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603  our own command
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    adopt(folder, "worker", Running(process.pid, port, f"worker --folder {state} "))
    until = time.monotonic() + _READY_S
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > until:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise BrokerError(f"The worker did not start. The end of {log}:\n{tail}")
        time.sleep(0.2)
    process.returncode = 0  # it outlives this process: nobody is to wait for it


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _show(
    warehouse: Warehouse, catalogue: Catalogue, pages: Path, console: Console, what: str, most: int | None
) -> tuple[Any, ...]:  # fmt: skip
    """Write pages afresh and say how far it is; returns what there is."""
    clicks, credited, qualified, reached, watermark, final = state = warehouse.query(_STATE)[0]
    now_ms = int(str(watermark)) if watermark else _newest(warehouse)
    write_pages(warehouse, catalogue, pages, now_ms, int(str(final)) if final else 0, refresh_s=REFRESH_S, most=most)
    console.print(
        f"{what}: {clicks:,} clicks, {credited:,} conversions credited, {qualified:,} referrals qualified, "
        f"{reached} milestones reached"
    )
    return state


def _newest(warehouse: Warehouse) -> int:
    rows: list[Any] = warehouse.query("SELECT toUnixTimestamp64Milli(max(occurred_at)) FROM clicks")
    return int(rows[0][0])
