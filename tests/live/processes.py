"""Child processes that never outlive this one, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
CROSSCREDIT = Path(sys.executable).with_name("crosscredit")


def environment() -> dict[str, str]:
    """This process's, without settings of crosscredit's and what only tests are told."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CROSSCREDIT_")}


class Child:
    """A process with a log; a shell that holds a pipe from here kills it once the pipe closes."""

    def __init__(self, command: Sequence[object], log: Path) -> None:
        settings = environment()
        settings["PYTHONFAULTHANDLER"] = "1"  # SIGABRT makes it tell what each thread is doing
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as written:
            self._process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=written, stderr=written, cwd=ROOT,
                env=settings, start_new_session=True,
            )  # fmt: skip
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -9 "$0" 2>/dev/null', str(self._process.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL, timeout_s: float = 60) -> int:
        """Signal it, if it still runs, and wait; what it ended with."""
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout_s)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._guard.kill()
            self._guard.communicate()
