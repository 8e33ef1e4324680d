"""The local stack: Kafka and ClickHouse's HTTP front as processes of their own, behind ``crosscredit stack``.

All is in one folder: data, logs, and ``stack.json`` with the process ids and ports. A process is signalled only if its
command line shows that it is the one that was started here: ids are used again.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pipeline.kafka.broker import LocalBroker, answers, free_port, listens
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.kafka.errors import BrokerError
from pipeline.kafka.kafka_jars import say_on_stderr
from pipeline.kafka.topics import create_topics, load_topics

DEFAULT_FOLDER: Final = Path(".crosscredit")
_START_S: Final = 60.0
_STOP_S: Final = 20.0
_HOST: Final = "127.0.0.1"
_LOG_TAIL_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Running:
    """A process of the stack. ``mark`` is a part of its command line that no other process has."""

    pid: int
    port: int
    mark: str

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, and is the one that was started."""
        _reap(self.pid)
        try:
            command = Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return False
        return self.mark in command


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack: how it is started, and whether it answers. More parts can be put into :data:`PARTS`.

    ``start`` gets the stack's folder, the port the part had last (None: never) and who hears of progress; it returns
    once the part answers. ``answers`` gets the port.
    """

    start: Callable[[Path, int | None, Callable[[str], None]], Running]
    answers: Callable[[int], bool]


def up(folder: Path = DEFAULT_FOLDER, tell: Callable[[str], None] = say_on_stderr) -> dict[str, Running]:
    """Start what does not run, create the topics, and return all parts by name.

    BrokerError shows a log's end; TopicsError if topics are there, but not as declared.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        known = _read(folder)
        for name, part in PARTS.items():
            was = known.get(name)
            if was is not None and was.is_alive and part.answers(was.port):
                continue
            if was is not None:
                _end(was)
            tell(f"Starting {name} …")
            known[name] = part.start(folder, was.port if was is not None else None, tell)
            _write(folder, known)
        settings = KafkaSettings(f"{_HOST}:{known['kafka'].port}")
        made = create_topics(confluent_config(settings), load_topics())
        if made:
            tell(f"Created {len(made)} topics.")
    return known


def adopt(folder: Path, name: str, running: Running) -> None:
    """Let the stack end one more process, before its own parts."""
    folder = folder.absolute()
    with _alone(folder):
        known = _read(folder)
        was = known.get(name)
        if was is not None and was != running:
            _end(was)
        _write(folder, {**known, name: running})


def down(folder: Path = DEFAULT_FOLDER) -> list[str]:
    """End what runs, wait for it, and return its names. Data stay; the ports are taken again by the next :func:`up`."""
    folder = folder.absolute()
    if not (folder / "stack.json").exists():
        return []
    with _alone(folder):
        known = _read(folder)
        order = [*(name for name in known if name not in PARTS), *reversed(PARTS)]
        ended = [name for name in order if name in known and known[name].is_alive]
        for name in ended:
            _end(known[name])
    return ended


def status(folder: Path = DEFAULT_FOLDER) -> dict[str, tuple[Running, str]]:
    """Each part that was ever started, with "runs", "does not answer" or "stopped"."""
    found = {}
    for name, was in _read(folder.absolute()).items():
        alive = was.is_alive
        answers_there = PARTS[name].answers if name in PARTS else listens
        word = "runs" if alive and answers_there(was.port) else "does not answer" if alive else "stopped"
        found[name] = (was, word)
    return found


def _start_kafka(folder: Path, port: int | None, tell: Callable[[str], None]) -> Running:
    free = port if port and not listens(port) else None
    broker = LocalBroker(folder / "kafka", free, detached=True, tell=tell)
    broker.start()
    running = Running(broker.pid, broker.port, str(broker.folder / "server.properties"))
    broker.release()
    return running


def _start_clickhouse(folder: Path, port: int | None, _tell: Callable[[str], None]) -> Running:
    data, log = folder / "clickhouse", folder / "clickhouse.log"
    port = port if port and not listens(port) else free_port()
    command = [sys.executable, "-m", "pipeline.clickhouse.front", "--path", str(data), "--port", str(port)]
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603  our own command
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    until = time.monotonic() + _START_S
    while not _clickhouse_answers(port):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            process.wait()
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])
            raise BrokerError(f"The local ClickHouse did not start. The end of {log}:\n{tail}\nSee what the log names.")
        time.sleep(0.05)
    running = Running(process.pid, port, f"pipeline.clickhouse.front --path {data} ")
    process.returncode = 0  # it outlives this process: nobody is to wait for it
    return running


def _kafka_answers(port: int) -> bool:
    return answers(f"{_HOST}:{port}")


def _clickhouse_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_HOST}:{port}/ping", timeout=2) as answer:
            return bool(answer.read().startswith(b"Ok."))
    except OSError:
        return False


#: The processes of the stack, in the order in which they start; they end in the reverse order. A worker goes last.
PARTS: Final[dict[str, Part]] = {
    "kafka": Part(_start_kafka, _kafka_answers),
    "clickhouse": Part(_start_clickhouse, _clickhouse_answers),
}


def _end(running: Running) -> None:
    if not running.is_alive:
        return
    os.kill(running.pid, signal.SIGTERM)
    until = time.monotonic() + _STOP_S
    while running.is_alive:
        if time.monotonic() > until:
            os.kill(running.pid, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.05)


def _reap(pid: int) -> None:
    """A child of this process that has ended stays in the list of processes until somebody asks for it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _read(folder: Path) -> dict[str, Running]:
    file = folder / "stack.json"
    if not file.exists():
        return {}
    try:
        return {str(name): Running(**entry) for name, entry in json.loads(file.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BrokerError(f"{file} is damaged ({error}). End its processes by hand and remove it.") from error


def _write(folder: Path, known: Mapping[str, Running]) -> None:
    new = folder / "stack.json.new"
    text = json.dumps({name: asdict(running) for name, running in known.items()}, indent=1)
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(folder / "stack.json")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two commands at once would start everything twice."""
    with (folder / "stack.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
