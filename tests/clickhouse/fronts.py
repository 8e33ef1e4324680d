"""The HTTP front in a process of its own, for any test that needs a ClickHouse server."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from email.message import Message
from http.client import HTTPConnection

from pipeline.clickhouse.warehouse import Warehouse


class FrontProcess:
    """The HTTP front in a process of its own."""

    def __init__(self, *arguments: str, module: Sequence[str] = ("pipeline.clickhouse.front",)) -> None:
        command = [sys.executable, "-m", *module, "--port", "0", "--faults", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("Ready: "), said + self.errors()
        self.url = said.removeprefix("Ready: ").strip()
        self._numbers = itertools.count(1)

    def open(self, database: str | None = None, **options: object) -> Warehouse:
        """A warehouse on it, with a fresh database where none is named."""
        return Warehouse.server(self.url, database or f"fresh_{next(self._numbers)}", **options)

    def fault(self, mode: str, **more: object) -> None:
        status, _, said = self.ask("POST", "/faults", json.dumps({"mode": mode, **more}).encode())
        assert status == 200, said

    def ask(
        self, method: str, target: str, body: bytes | Iterable[bytes] = b"", **headers: str
    ) -> tuple[int, Message, bytes]:
        """One HTTP request as it is written here: status, headers and body of the answer."""
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        try:
            connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def empty(self) -> None:
        """Drop every database that a test made: an engine with hundreds of tables is slow."""
        told = self.ask(
            "POST", "/", b"SELECT name FROM system.databases WHERE engine = 'Atomic' AND name != 'default'"
        )[2]
        for name in told.decode().split():
            self.ask("POST", "/", f"DROP DATABASE IF EXISTS {name} SYNC".encode())

    def errors(self) -> str:
        self.stop()
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(5)

    def close(self) -> None:
        self.stop()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
