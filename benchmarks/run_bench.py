"""Measure `crosscredit run` as a whole process: events per CPU-second, wall time, memory, and state on disk.

    make bench                                                  1 000 000 events, three formats, five runs each
    python benchmarks/run_bench.py --formats parquet --runs 3   less
    python benchmarks/run_bench.py --growth --runs 1            1 000 000 against 10 000 000 events
    python benchmarks/run_bench.py --profile                    where the time goes, by function

CPU-seconds are user and system time of the finished child and its own children, start of the interpreter included, as
the kernel counted them (os.wait4). This file imports nothing large: a child is charged with the memory of its parent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pstats
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Path(sys.executable).with_name("crosscredit")
FORMATS = ("parquet", "jsonl", "avro")
PACKAGES = ("crosscredit", "pyarrow", "rocksdict", "chdb-core", "orjson", "fastavro", "numpy")
MIB = 2**20


@dataclass(frozen=True)
class Load:
    """A workload on disk."""

    folder: Path
    input: Path
    events: int
    clicks: int


@dataclass(frozen=True)
class Run:
    """One finished run: CPU and wall in seconds, memory and state in bytes."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    state_bytes: int
    click_bytes: int
    database_bytes: int


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="records in the stream (default 1 000 000)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--runs", type=int, default=5, help="runs of each format (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--growth", action="store_true", help="Parquet only: --events against ten times as many")
    parser.add_argument("--profile", action="store_true", help="one run of each format under cProfile, not measured")
    parser.add_argument("--folder", type=Path, help="where workloads are kept for the next time (default: nowhere)")
    options = parser.parse_args()
    if not COMMAND.exists():
        sys.exit(f"{COMMAND} is not there. Run `make setup` first, and start this with {ROOT / '.venv/bin/python'}.")
    print(machine())
    with _folder(options.folder) as folder:
        if options.growth:
            growth(folder, options.events, options.seed, options.runs)
            return
        for name in options.formats:
            load = prepared(folder, options.events, options.seed, name)
            if options.profile:
                profile(load, name)
            else:
                report(name, load, [measured(load, folder) for _ in range(options.runs)])
    print(f"\nTo repeat: {shlex.join([sys.executable, *sys.argv])}")


def machine() -> str:
    """What the figures were measured on, and with."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = models[0] if models else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    now, load = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), os.getloadavg()[0]
    return (
        f"{now} · {os.cpu_count()} cores of {model} · {memory:.0f} GiB · load {load:.1f} before it began\n"
        f"{platform.system()} {platform.release()} · Python {platform.python_version()} · {versions}"
    )


def prepared(folder: Path, events: int, seed: int, name: str) -> Load:
    """The workload in one format: made by a process of its own, or kept from before."""
    into = folder / f"{events}-{seed}-{name}"
    if not (into / "facts.json").exists():
        command = [sys.executable, str(ROOT / "benchmarks/workload.py"), "--events", str(events), "--seed", str(seed)]
        made = subprocess.run(
            [*command, "--format", name, "--out", str(into)], check=True, cwd=ROOT, capture_output=True, text=True
        )
        print(f"\n{made.stdout.strip()}")
    facts = json.loads((into / "facts.json").read_text(encoding="utf-8"))
    source = into / ("avro" if name == "avro" else f"events.{name}")
    for path in source.rglob("*") if source.is_dir() else [source]:  # every run finds it in the page cache
        with path.open("rb") as file:
            while file.read(2**22):
                pass
    return Load(into, source, facts["records"], facts["clicks"])


def run_command(load: Load, database: Path | str) -> list[str]:
    """The command that is measured."""
    inputs = ["--program", str(load.folder / "programs"), "--input", str(load.input)]
    return [str(COMMAND), "run", *inputs, "--database", str(database)]


def measured(load: Load, folder: Path) -> Run:
    """One run into a database of its own, which is then removed."""
    database = Path(tempfile.mkdtemp(prefix="database-", dir=folder))
    try:
        with tempfile.TemporaryFile() as log:
            started = time.perf_counter()
            child = subprocess.Popen(run_command(load, database), stdout=log, stderr=log)
            _, status, usage = os.wait4(child.pid, 0)
            wall_s = time.perf_counter() - started
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                log.seek(0)
                sys.exit(f"crosscredit ended with {child.returncode}:\n{log.read().decode(errors='replace')[-4000:]}")
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        sizes = _size(database / "state"), _click_bytes(database), _size(database)
        if not all(sizes):
            sys.exit("crosscredit left nothing in its database, so there is nothing to measure.")
        return Run(usage.ru_utime + usage.ru_stime, wall_s, peak_bytes, *sizes)
    finally:
        shutil.rmtree(database)


def _click_bytes(database: Path) -> int:
    """What the clicks of the state take on disk. Asked of a child, for this process stays small: see the README."""
    script = (
        "import sys; from pathlib import Path; from pipeline.state.rocks import RocksStore; "
        "store = RocksStore(Path(sys.argv[1])); print(store.disk_bytes('clicks') + store.disk_bytes('words'))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", script, str(database / "state")], check=True, cwd=ROOT, capture_output=True, text=True
    )
    return int(asked.stdout)


def report(name: str, load: Load, runs: list[Run]) -> None:
    """Median, least and most of what was measured."""
    print(f"\n{name}: {load.events:,} events, {len(runs)} runs of  {shlex.join(run_command(load, '$(mktemp -d)'))}")
    print(f"  {'':<28}{'median':>12}{'least':>12}{'most':>12}")
    _row("events per CPU-second", [load.events / run.cpu_s for run in runs], ",.0f")
    _row("events per second, wall", [load.events / run.wall_s for run in runs], ",.0f")
    _row("CPU-seconds", [run.cpu_s for run in runs], ",.2f")
    _row("wall seconds", [run.wall_s for run in runs], ",.2f")
    _row("peak memory, MiB", [run.peak_bytes / MIB for run in runs], ",.0f")
    _row("state on disk, MiB", [run.state_bytes / MIB for run in runs], ",.1f")
    _row("bytes of each kept click", [run.click_bytes / load.clicks for run in runs], ",.1f")
    _row("all state, bytes per click", [run.state_bytes / load.clicks for run in runs], ",.1f")
    _row("whole database, MiB", [run.database_bytes / MIB for run in runs], ",.1f")
    print(f"  (all {load.clicks:,} clicks are kept open: in a run over files no event is ever too late)")


def growth(folder: Path, events: int, seed: int, count: int) -> None:
    """What ten times as many events cost, each and together."""
    runs: dict[int, list[Run]] = {}
    for size in (events, 10 * events):
        load = prepared(folder, size, seed, "parquet")
        runs[size] = [measured(load, folder) for _ in range(count)]
        report("parquet", load, runs[size])
    cost = {size: statistics.median(run.cpu_s for run in of_size) / size for size, of_size in runs.items()}
    peak = {size: statistics.median(run.peak_bytes for run in of_size) for size, of_size in runs.items()}
    print(f"\n{10 * events:,} against {events:,} events:")
    print(f"  CPU per event   {cost[10 * events] / cost[events]:.2f} times ({cost[10 * events] * 1e6:.2f} µs,")
    print(f"                  before {cost[events] * 1e6:.2f} µs; 1 is growth in proportion)")
    print(f"  peak memory     {peak[10 * events] / peak[events]:.2f} times")
    print(f"\nTo repeat: {shlex.join([sys.executable, *sys.argv])}")


def profile(load: Load, name: str) -> None:
    """One run under cProfile: the functions that take longest. Its times are longer than those of a plain run."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "profile"
        command = run_command(load, Path(scratch) / "database")
        subprocess.run([sys.executable, "-m", "cProfile", "-o", str(result), *command], check=True, cwd=ROOT)
        print(f"\n{name}: {load.events:,} events, by a function's own time")
        pstats.Stats(str(result)).sort_stats("tottime").print_stats(30)


def _row(label: str, values: list[float], form: str) -> None:
    figures = (statistics.median(values), min(values), max(values))
    print(f"  {label:<28}" + "".join(f"{figure:>12{form}}" for figure in figures))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """The folder for workloads and databases: one to keep, or one for this time."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="crosscredit-bench-") as scratch:
        yield Path(scratch)


if __name__ == "__main__":
    main()
