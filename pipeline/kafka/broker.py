"""A real Kafka of one node, from pip alone: for tests, and for ``crosscredit stack up``.

One process is broker and controller (KRaft). It listens on 127.0.0.1 only, keeps everything in one folder, and ends
with the Python process that started it unless it is ``detached``.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.kafka.errors import BrokerError
from pipeline.kafka.kafka_jars import (
    KAFKA_VERSION,
    archive_classes,
    archive_flags,
    class_path,
    java,
    say_on_stderr,
)

__all__ = ["BrokerError", "LocalBroker", "answers", "free_port", "listens"]

_HOST: Final = "127.0.0.1"
_START_S: Final = 60.0
_STOP_S: Final = 20.0
_ATTEMPTS: Final = 3  # another process may take a port between our finding it free and the broker's binding it
_LOG_TAIL_LINES: Final = 25

# A small heap, serial collection and no optimising compiler: a local broker shares its machine with the workers that
# are tested against it, and most runs are short.
_JVM: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

_PROPERTIES: Final = """\
# Written by crosscredit: one local Kafka node.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{also}
advertised.listeners=PLAINTEXT://{host}:{port}{also}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,\\
    SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
controller.listener.names=CONTROLLER
log.dirs={data}
# A topic that is missing is an error that is told, not a topic with the wrong number of partitions.
auto.create.topics.enable=false
# One node, few partitions: it starts fast.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
# After a kill the node waits until its own old session has ended: 3 s, not 9 s.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
# Groups form at once, and a worker that was killed is noticed within a second if it asks for that.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


class LocalBroker:
    """One Kafka node of its own: its folder, its ports, its process. Also a context manager, which starts and stops it.

    ``port`` None takes the port that the folder had last, or a free one. ``detached`` leaves the process running when
    this Python process ends. ``listeners`` are ports by security protocol (SSL, SASL_PLAINTEXT, SASL_SSL) on which it
    listens besides; ``properties`` are lines for ``server.properties``, with what those need. ``tell`` hears what takes
    long (the first download).
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        detached: bool = False,
        listeners: Mapping[str, int] | None = None,
        properties: Sequence[str] = (),
        tell: Callable[[str], None] = say_on_stderr,
    ) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "kafka.log"
        self._classes = self.folder / "classes.list"
        self._wanted_port = port
        self._port: int | None = port
        self._detached = detached
        self._listeners = dict(listeners or {})
        self._properties = properties
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; known once it was started."""
        if self._port is None:
            raise BrokerError("This Kafka was not started yet. Call start() first.")
        return self._port

    @property
    def bootstrap(self) -> str:
        """``127.0.0.1:port``, for ``bootstrap.servers``."""
        return f"{_HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        if self._process is None:
            raise BrokerError("This Kafka does not run. Call start() first.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process that this object started is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = _START_S) -> None:
        """Start and wait until it answers, on the last data and port. BrokerError shows the end of its log."""
        if self.running:
            return
        for attempt in range(1, _ATTEMPTS + 1):
            self._configure()
            self._launch()
            try:
                self._await(timeout_s)
                return
            except BrokerError as error:
                self.kill()
                if self._wanted_port is not None or attempt == _ATTEMPTS or "Address already in use" not in str(error):
                    raise
                self._port = None

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Let it end in order (SIGTERM); after ``timeout_s`` it is killed. Nothing happens if it does not run."""
        self._end(signal.SIGTERM, timeout_s)
        archive_classes(self._classes)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL, _STOP_S)

    def restart(self) -> None:
        """Stop, then start again on the same data and port."""
        port = self.port
        self.stop()
        self._port = port
        self.start()

    def release(self) -> None:
        """Let go of a detached process: from here on it is nobody's, and ends by its process id alone."""
        if self._process is not None:
            self._process.returncode = 0  # else it would be reported as forgotten
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configure(self) -> None:
        """Write the properties with ports that are free, and format the data folder if it is new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, data = self.folder / "server.properties", self.folder / "data"
        if self._port is None:
            self._port = _last_port(properties) or free_port()
        also = "".join(f",{protocol}://{_HOST}:{port}" for protocol, port in self._listeners.items())
        text = _PROPERTIES.format(host=_HOST, port=self._port, controller_port=free_port(), data=data, also=also)
        properties.write_text(text + "".join(f"{line}\n" for line in self._properties), encoding="utf-8")
        if (data / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that began with a dash would be read as an option.
        arguments = ["kafka.tools.StorageTool", "format", "-t", "x" + cluster[1:], "-c", str(properties)]
        self._note("format")
        with self.log.open("ab") as log:
            formatted = subprocess.run(self._command(arguments), stdout=log, stderr=log, check=False)  # noqa: S603  our own command
        if formatted.returncode:
            raise BrokerError(self._failed("Its data folder cannot be set up"))

    def _cluster(self) -> str:
        text = (self.folder / "data" / "meta.properties").read_text(encoding="utf-8")
        found = re.search(r"^cluster\.id=(.+)$", text, re.M)
        return found[1] if found else ""

    def _command(self, arguments: list[str]) -> list[str]:
        jars = os.pathsep.join(str(jar) for jar in class_path(self._tell))
        return [str(java()), *_JVM, *archive_flags(self._classes), "-cp", jars, *arguments]

    def _launch(self) -> None:
        command = self._command(["kafka.Kafka", str(self.folder / "server.properties")])
        self._note("start")
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal must not reach it before its clients are done.
            self._process = subprocess.Popen(  # noqa: S603  our own command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        if not self._detached:
            self._guard = _guard_of(self._process.pid)

    def _await(self, timeout_s: float) -> None:
        assert self._process is not None  # noqa: S101  launched just before
        cluster = self._cluster()  # another process may have taken the port, and may be a Kafka too
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise BrokerError(self._failed(f"It ended with status {self._process.returncode}"))
            if listens(self.port) and _cluster_at(self.bootstrap) == cluster:
                return
            time.sleep(0.02)
        raise BrokerError(self._failed(f"It did not answer on {self.bootstrap} within {timeout_s:.0f} s"))

    def _end(self, how: signal.Signals, timeout_s: float) -> None:
        process, guard = self._process, self._guard
        self._process = self._guard = None
        if guard is not None:  # first, so that it cannot signal a process id that is somebody else's by then
            guard.kill()
            guard.communicate()
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _failed(self, what: str) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        tail = "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])
        return (
            f"The local Kafka {KAFKA_VERSION} in {self.folder} did not start. {what}. The end of {self.log}:\n{tail}\n"
            f"See what the log names; a folder that is damaged can be removed (rm -r {self.folder}) and is made anew."
        )

    def _note(self, what: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"--- {what} of Kafka {KAFKA_VERSION} by process {os.getpid()}\n")


def answers(bootstrap: str, timeout_s: float = 2.0) -> bool:
    """Whether a broker at ``bootstrap`` (PLAINTEXT) answers and is ready to lead partitions."""
    return _cluster_at(bootstrap, timeout_s) is not None


def _cluster_at(bootstrap: str, timeout_s: float = 2.0) -> str | None:
    """The cluster id that is told at ``bootstrap``; None if nobody answers, or no partition has a leader yet."""
    quiet: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "log_level": 0,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100,
        "socket.connection.setup.timeout.ms": 1000,
    }
    try:
        told = AdminClient(quiet).list_topics(timeout=timeout_s)
    except KafkaException:
        return None
    led = all(part.leader >= 0 for topic in told.topics.values() for part in topic.partitions.values())
    return str(told.cluster_id) if told.brokers and led else None


def _guard_of(pid: int) -> subprocess.Popen[bytes]:
    """A shell that holds a pipe from this process and kills ``pid`` once the pipe closes, however this process ends.

    (PR_SET_PDEATHSIG would follow the thread that started the broker, and not all systems have it.)
    """
    return subprocess.Popen(  # noqa: S603  our own command
        ["/bin/sh", "-c", 'read -r _; kill -9 "$0" 2>/dev/null', str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _last_port(properties: Path) -> int | None:
    """The port in the properties of the last start, if it is still free."""
    if not properties.exists():
        return None
    found = re.search(r"^advertised\.listeners=PLAINTEXT://[^,]*:(\d+)", properties.read_text(encoding="utf-8"), re.M)
    if found is None or listens(int(found[1])):
        return None
    return int(found[1])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody listens on that port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((_HOST, port)) == 0
