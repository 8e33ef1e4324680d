"""One worker's memory under an even load: an hour's events of a busy program in ten minutes.

    python -m benchmarks.memory                  6 000 events a second for 600 s
    python -m benchmarks.memory --seconds 60 --load 2000

Prints what the worker has resident every ten seconds, and by how much the second half of the line rises.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.local import make_workload, process, resident_mib, services, tell, worker_command
from pipeline.kafka.produce import produce
from pipeline.wire.files import open_sources
from pipeline.wire.schema_ids import LocalSchemas

EVERY_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--load", type=int, default=6_000, help="events a second")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crosscredit-memory-") as temporary:
        measure(Path(temporary), arguments.seconds, arguments.load)


def measure(folder: Path, seconds: int, load: int) -> None:
    _, terms = make_workload(folder, seconds * load)
    with services(folder) as around:
        command = worker_command(folder, terms, around)
        with process(command, folder / "worker.log") as worker:
            line = fed(folder, around.config, worker.pid, load)
        half = line[len(line) // 2 :]
        slope = statistics.linear_regression(range(len(half)), half).slope
        tell("resident, MiB: at first, at last, most", f"{line[0]} {line[-1]} {max(line)}")
        tell("second half, MiB a minute", f"{slope * 60 / EVERY_S:+.1f}", f"mean {statistics.fmean(half):.0f} MiB")


def fed(folder: Path, config: dict[str, Any], worker: int, load: int) -> list[int]:
    """Send the workload second by second; what the worker had resident every ten seconds."""
    line: list[int] = []
    began = time.monotonic()
    part = folder / "part.parquet"
    for second, batch in enumerate(pq.ParquetFile(folder / "events.parquet").iter_batches(load)):
        with pq.ParquetWriter(part, batch.schema) as writer:
            writer.write_batch(batch)
        produce(config, LocalSchemas(), open_sources([str(part)]))
        if time.monotonic() - began >= EVERY_S * (len(line) + 1):
            line.append(resident_mib(worker))
            print(f"{time.monotonic() - began:6.0f} s  {line[-1]:6,} MiB", flush=True)
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
    return line


if __name__ == "__main__":
    main()
