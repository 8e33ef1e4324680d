"""The HTTP front over an engine that knows users from a file, for `crosscredit partner` to speak to.

The engine parses and checks each statement about users and rights, and then has nowhere to store it: that refusal, and
no other, is answered as if it had been stored, and noted. What the statement would have made is in the file of users
already. Statements about databases, tables and views are the engine's own business.

    python -m tests.partners.front_with_users CONFIG NOTES --path DIR --port 0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pipeline.clickhouse import front, front_engine
from pipeline.clickhouse.front_engine import Answer, Engine, EngineError, Request

ACCESS = re.compile(rb"\s*(CREATE|ALTER|DROP) (USER|ROW POLICY|QUOTA|SETTINGS PROFILE)|\s*GRANT", re.IGNORECASE)
NOWHERE_TO_STORE = (495, 514)
NOT_IN_THIS_ENGINE = "CHANGEABLE_IN_READONLY for max_execution_time is not allowed"


def main(config: Path, notes: Path, arguments: list[str]) -> int:
    run = Engine.run

    def noting(self: Engine, request: Request) -> Answer:
        try:
            return run(self, request)
        except EngineError as error:
            is_understood = error.code in NOWHERE_TO_STORE or NOT_IN_THIS_ENGINE in str(error)
            if not (ACCESS.match(request.statement.sql) and is_understood):
                raise
            with notes.open("a", encoding="utf-8") as file:
                file.write(f"{request.statement.sql.decode()}\n")
            return Answer(iter([b""]))

    front_engine._config = lambda: config.read_text(encoding="utf-8")
    Engine.run = noting  # type: ignore[method-assign]
    return front.main(arguments)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
