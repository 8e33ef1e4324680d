"""The real command as a child process, and a season of events for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.demo.season import write_season

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("crosscredit")
PATIENCE_S = 120.0


def crosscredit(*arguments: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=PATIENCE_S, check=False)


def a_season(folder: Path, events: int = 20_000) -> Path:
    """Exports and terms of a season; the same in every process."""
    if not folder.exists():
        write_season(folder, seed=5, events=events)
    return folder


def run_arguments(season: Path, database: Path, *inputs: Path) -> list[object]:
    """`run` over the whole season, or some of its files."""
    return [
        "run",
        "--program",
        season / "programs",
        "--input",
        *(inputs or (season / "events",)),
        "--database",
        database,
    ]


def parts(database: Path, table: str) -> int:
    """How many parts ClickHouse has of a table: it grows when rows arrive."""
    folder = database / "warehouse" / "data" / "crosscredit" / table
    try:
        return sum(1 for path in folder.iterdir() if path.name.startswith("all_"))
    except OSError:
        return 0


def interrupted(
    arguments: list[object], database: Path, table: str, delay_s: float, how: signal.Signals
) -> tuple[int, str]:
    """Run the command and signal it so long after the first rows of a table arrived: its status, and its errors.

    It ends by itself, with status 0, where no such rows come, or too late.
    """
    known = parts(database, table)
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and parts(database, table) <= known:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay_s)
    process.send_signal(how)
    _, said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def killed_after(arguments: list[object], seconds: float) -> None:
    """Run the command and kill it so much later, if it still runs."""
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(seconds)
    process.kill()
    process.wait()


def files(folder: Path) -> dict[str, bytes]:
    """The contents of an output folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
