"""What the live benchmarks share: a workload, Kafka and ClickHouse on this machine, and processes that are watched."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.terms import write_terms
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.kafka.broker import LocalBroker, free_port
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.kafka.topics import create_topics, load_topics

PARTITIONS = 16
TICK = os.sysconf("SC_CLK_TCK")

logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # not a line for each look whether it is up


def make_workload(folder: Path, events: int) -> tuple[Path, Path]:
    """A file of events, and the folder with the terms that they are about."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.workload", "--events", str(events), "--out", str(folder),
         "--format", "parquet"], check=True,
    )  # fmt: skip
    write_terms(folder / "programs")
    return folder / "events.parquet", folder / "programs"


@dataclass(frozen=True)
class Services:
    """What a worker needs around it, and the config of clients of that Kafka."""

    bootstrap: str
    clickhouse: str
    config: dict[str, Any]


@contextmanager
def services(folder: Path) -> Iterator[Services]:
    """A broker with the topics, and a ClickHouse."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    front = [sys.executable, "-m", "pipeline.clickhouse.front", "--path", str(folder / "ch"), "--port", str(port)]
    with LocalBroker(folder / "kafka") as broker, process(front, folder / "front.log"):
        config = {**confluent_config(KafkaSettings(broker.bootstrap)), "log_level": 0}
        create_topics(config, load_topics(), partitions=PARTITIONS)
        until(lambda: answers(url), 60)
        yield Services(broker.bootstrap, url, config)


def worker_command(folder: Path, terms: Path, around: Services, status_port: int = 0) -> list[str]:
    return [
        sys.executable, "-c", "from pipeline.cli import main; main()", "worker", "--program", str(terms),
        "--folder", str(folder / "worker"), "--bootstrap", around.bootstrap, "--clickhouse-url", around.clickhouse,
        "--allowed-lateness", "3650d", "--idle-timeout", "5s", "--status-port", str(status_port),
    ]  # fmt: skip


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        running = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(40)
        except subprocess.TimeoutExpired:
            running.kill()


def until(what: Callable[[], bool], timeout_s: float, pause_s: float = 0.2) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("the pipeline did not get there in time")
        time.sleep(pause_s)


def answers(url: str) -> bool:
    try:
        with Warehouse.server(url):
            return True
    except Exception:  # noqa: BLE001 - whatever it is, it does not answer yet
        return False


def tell(what: str, figure: str, more: str = "") -> None:
    print(f"{what:<40}{figure:>12}" + (f"   ({more})" if more else ""), flush=True)
