"""A user's own session on the real engine, in a process of its own: one JSON request a line, one answer a line.

python -m tests.partners.session FOLDER CONFIG
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """What the engine answered: text of the rows, or of its refusal."""

    is_refused: bool
    text: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        assert not self.is_refused, self.text
        return [json.loads(line) for line in self.text.splitlines()]


class Session:
    """The test's end."""

    def __init__(self, folder: Path, config: Path) -> None:
        command = [sys.executable, "-m", "tests.partners.session", str(folder), str(config)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, sql: str, form: str = "JSONEachRow") -> Said:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([sql, form]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the engine went away at {sql}"
        return Said(*json.loads(line))

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(30)


def main(folder: str, config: str) -> None:
    import chdb

    connection = chdb.connect(f"{folder}?config-file={config}")
    for line in sys.stdin:
        sql, form = json.loads(line)
        try:
            answer = [False, connection.query(sql, form).bytes().decode(errors="replace")]
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is to see it
            answer = [True, str(error)]
            connection.query("SELECT 1", "Null")  # what was written before an error stays in the engine's buffer
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
