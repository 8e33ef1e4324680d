"""Measure the live pipeline: one broker, one worker process, end to end into ClickHouse.

    make bench-live                                      2 000 000 events preloaded, then latency at half of that rate
    python -m benchmarks.live --events 300000            less
    python -m benchmarks.live --input FILE --terms DIR   a workload that is there already
    python -m benchmarks.live --growth                   1 and 10 million open clicks, throughput alone

Throughput: everything is in the topics before the worker starts; it ends when every group has committed all that the
topics hold, level by level. CPU-seconds are the worker's alone (user and system, start included), as /proc has them.
Kafka and ClickHouse (the HTTP front over the embedded engine) run beside it, on the same cores: wall time says little.

Latency: an open loop. Orders are sent at fixed times, whether or not the pipeline keeps up, among clicks at ``--load``
events a second; a latency is from the intended time of sending until the order's row can be read in ClickHouse.

Then the worker is ended, its state is deleted, and another rebuilds it from the topics. Beside all that: a plain Faust
loop and Quix Streams read the same clicks, and do no more than count them (``benchmarks/peer_loops.py``). Quix is
installed, pinned, into an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.local import (
    PARTITIONS,
    cpu_seconds,
    make_workload,
    process,
    resident_mib,
    services,
    tell,
    until,
    worker_command,
)
from pipeline.agents.finality import LEVELS
from pipeline.agents.log_reader import LogReader, LogUnreadableError
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.kafka.broker import free_port
from pipeline.kafka.produce import produce
from pipeline.state.rocks import RocksStore
from pipeline.topology import STEPS, TOPIC_OF, group_of
from pipeline.wire.files import open_sources
from pipeline.wire.messages import Messages
from pipeline.wire.schema_ids import LocalSchemas

_LOOK_EVERY_S = 0.05  # a look costs ClickHouse's core some milliseconds; a latency is at most this much too long


def have_committed(log: LogReader, record: str, ends: Mapping[int, int]) -> bool:
    try:
        return log.have_committed(record, ends)
    except LogUnreadableError:  # a new broker has no place for offsets until somebody commits some
        return False


def wait_until_through(config: dict[str, Any], timeout_s: float) -> None:
    logs = {name: LogReader(config, group_of(name)) for name in STEPS}
    for level in LEVELS:
        for step, record in level:
            ends = logs[step].ends(record, PARTITIONS)
            until(partial(have_committed, logs[step], record, ends), timeout_s)
    for each in logs.values():
        each.close()


def latency(config: dict[str, Any], warehouse: Warehouse, load: int, seconds: float) -> list[float]:
    """Latencies in seconds of one order a tenth of a second, among ``load`` clicks a second."""
    messages = Messages(LocalSchemas())
    sending = Producer({**config, "partitioner": "murmur2_random", "linger.ms": 5, "compression.type": "lz4"})
    now_ms = int(time.time() * 1000)
    fixed = {"brand_id": "oven", "program_id": "oven-friends", "partner_id": "partner-01", "occurred_at": now_ms}
    columns = {name: repeat(fixed.get(name)) for name in messages.fields("click")}
    order_names = messages.fields("order")
    intended: dict[str, float] = {}
    visible: dict[str, float] = {}
    began = time.time()
    sent = orders = 0
    while (passed := time.time() - began) < seconds + 5:
        due = int(min(passed, seconds) * load)
        visitors = [f"lat-{number % 50_000}" for number in range(sent, due)]
        columns |= {"event_id": [f"lat-{now_ms}-{number}" for number in range(sent, due)], "visitor_id": visitors}
        clicks = list(zip(*columns.values(), strict=False))  # most columns never end
        for visitor, value in zip(visitors, messages.encode("click", clicks), strict=True):
            sending.produce("referrals.click.v1", value, visitor.encode())
        sent = due
        while orders / 10 <= min(passed, seconds):
            number = f"lat-order-{now_ms}-{orders}"
            order = dict.fromkeys(order_names) | {
                "event_id": number, "occurred_at": now_ms, "brand_id": "oven", "order_id": number,
                "customer_id": f"customer-{orders}", "amount_minor": 1000, "currency": "USD",
            }  # fmt: skip
            (value,) = messages.encode("order", [tuple(order[name] for name in order_names)])
            sending.produce("referrals.order.v1", value, f"customer-{orders}".encode())
            intended[number] = began + orders / 10
            orders += 1
        sending.poll(0)
        found = warehouse.query(
            "SELECT conversion_id FROM attributions WHERE brand_id = 'oven' AND conversion_type = 'order' "
            f"AND conversion_id LIKE 'lat-order-{now_ms}-%'"
        )
        at = time.time()
        for (number,) in found:
            visible.setdefault(str(number), at)
        time.sleep(_LOOK_EVERY_S)
    sending.flush(10)
    return [visible.get(number, float("inf")) - at for number, at in intended.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--terms", type=Path)
    parser.add_argument("--load", type=int, help="clicks a second for latency (default: half of the rate)")
    parser.add_argument("--latency-seconds", type=float, default=30)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--no-peers", action="store_true", help="leave out Faust and Quix")
    arguments = parser.parse_args()
    if arguments.growth:
        costs = []
        for arguments.events in (1_064_000, 10_640_000):  # 94 % of them are clicks, none of which ever expires here
            with tempfile.TemporaryDirectory(prefix="crosscredit-bench-") as temporary:
                costs.append(measure(Path(temporary), arguments))
        print(f"CPU per event, 10 million open clicks to 1 million: {costs[1] / costs[0]:.2f} times")
        return
    with tempfile.TemporaryDirectory(prefix="crosscredit-bench-") as temporary:
        measure(Path(temporary), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> float:
    """Prints what was measured; returns the worker's CPU-seconds per event of the backlog."""
    events, terms = arguments.input, arguments.terms
    if events is None:
        events, terms = make_workload(folder, arguments.events)
    with services(folder) as around:
        config = around.config
        produced = produce(config, LocalSchemas(), open_sources([str(events)]))
        count, clicks = sum(produced.sent.values()), produced.sent["click"]
        print(f"{platform.machine()}, {os.cpu_count()} cores; {count:,} events in {PARTITIONS} partitions", flush=True)
        status_port = free_port()
        command = worker_command(folder, terms, around, status_port)
        with process(command, folder / "worker.log") as worker:
            began = time.monotonic()
            wait_until_through(config, 3_600)
            cpu_s, wall_s = cpu_seconds(worker.pid), time.monotonic() - began
            tell("events per CPU-second of the worker", f"{count / cpu_s:,.0f}", f"{cpu_s:.1f} CPU-seconds")
            tell("events per second, wall", f"{count / wall_s:,.0f}", f"{wall_s:.1f} s")
            tell("memory of the worker, MiB", f"{resident_mib(worker.pid):,}")
            if not arguments.growth:
                load = arguments.load or int(count / wall_s / 2)
                with Warehouse.server(around.clickhouse) as warehouse:
                    measured = sorted(latency(config, warehouse, load, arguments.latency_seconds))
                p50, p99 = statistics.median(measured), measured[int(len(measured) * 0.99)]
                tell(
                    "order to row, p50 and p99, s", f"{p50:.2f} {p99:.2f}", f"{len(measured)} orders, {load:,} clicks/s"
                )
        state = folder / "worker" / "state"
        kept = sum(each.stat().st_size for each in state.rglob("*") if each.is_file())
        tell("state on disk, MiB", f"{kept / 2**20:,.1f}")
        tell("bytes of each open click", f"{click_bytes(state) / clicks:,.1f}")
        if arguments.growth:
            return cpu_s / count
        shutil.rmtree(state)
        with process(command, folder / "rebuild.log") as worker:
            began = time.monotonic()
            until(lambda: partitions_ready(status_port) == 3 * PARTITIONS, 900)
            rebuilt_s, cpu_s = time.monotonic() - began, cpu_seconds(worker.pid)
            tell(
                "state rebuilt, s for a million clicks", f"{rebuilt_s / clicks * 1e6:,.1f}",
                f"{rebuilt_s:.1f} s and {cpu_s:.1f} CPU-seconds, start included",
            )  # fmt: skip
        if not arguments.no_peers:
            peers(folder, around.bootstrap)
    return cpu_s / count


def partitions_ready(status_port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{status_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("referral_partitions_ready{")))


def click_bytes(state: Path) -> int:
    """What the clicks take on disk in all partitions of IDENTITY; opening a store writes out what its log holds."""
    total = 0
    for partition in sorted(each for each in (state / "identity").iterdir() if each.is_dir()):
        with closing(RocksStore(partition)) as store:
            total += store.disk_bytes("clicks") + store.disk_bytes("words")
    return total


def peers(folder: Path, bootstrap: str) -> None:
    """Records for each CPU-second of a plain Faust loop, and of Quix Streams with one state write."""
    here = Path(__file__).parent
    python = folder / "peers" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "peers")], check=True)
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r",
         str(here / "peers.lock")], check=True,
    )  # fmt: skip
    for name, interpreter, records in (("faust", sys.executable, 100_000), ("quix", str(python), 300_000)):
        done = subprocess.run(
            [interpreter, str(here / "peer_loops.py"), name, bootstrap, TOPIC_OF["click"], str(records)],
            check=True, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        seen, seconds = done.stdout.split()[-2:]
        tell(f"{name}, one write for each record", f"{int(seen) / float(seconds):,.0f}", "records for a CPU-second")


if __name__ == "__main__":
    main()
