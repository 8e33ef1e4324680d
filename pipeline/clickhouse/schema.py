"""Numbered SQL files, applied once each and remembered by their hash.

Called by :meth:`Warehouse.migrate` before anything is read or written. Every statement of a file may be run again
harmlessly (IF NOT EXISTS, OR REPLACE), so a crash between the file and its record in ``schema_migrations`` is repaired
by the next start; so are two programs that migrate at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from pipeline.clickhouse.errors import WarehouseError

CREATE_RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    sha256 String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""
READ_RECORD: Final = "SELECT number, name, sha256 FROM schema_migrations FINAL ORDER BY number"
WRITE_RECORD: Final = (
    "INSERT INTO schema_migrations (number, name, sha256) SETTINGS async_insert = 0 "
    "SELECT {number:UInt32}, {name:String}, {sha256:String}"
)

_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``: ``number`` gives the order, and is never used twice."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The hash that an applied migration is held to."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> tuple[str, ...]:
        """Its statements, without comments; each ends in the file with a semicolon at the end of a line."""
        code = "\n".join(line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        return tuple(part.strip() for part in re.split(r";[ \t]*(?:\n|$)", code) if part.strip())


def packaged_migrations() -> tuple[Migration, ...]:
    """The migrations that come with this version of the program, in order."""
    found: list[Migration] = []
    for file in resources.files("pipeline.clickhouse").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    return tuple(found)


def pending(known: Sequence[Migration], applied: Iterable[tuple[int, str, str]]) -> Iterator[Migration]:
    """The migrations yet to apply; ``applied`` holds (number, name, sha256) as the database remembers them.

    :raises WarehouseError: the database is newer than the program, or an applied file was changed.
    """
    expected: Mapping[int, Migration] = {migration.number: migration for migration in known}
    done: set[int] = set()
    for number, name, sha256 in applied:
        migration = expected.get(number)
        if migration is None:
            raise WarehouseError(
                f"The database has migration {name}, which this version of crosscredit does not know: it was "
                "written by a newer one. Upgrade crosscredit, or choose another database."
            )
        if migration.sha256 != sha256:
            raise WarehouseError(
                f"Migration {migration.name} differs from what was applied to this database. An applied migration must "
                "never change: restore the file, and write the change as a new one with the next number."
            )
        done.add(number)
    return (migration for migration in known if migration.number not in done)


def _as_written(statement: str) -> Sequence[str]:
    return (statement,)


def apply(
    known: Sequence[Migration],
    command: Callable[[str, Mapping[str, object]], None],
    query: Callable[[str], Sequence[tuple[int, str, str]]],
    form: Callable[[str], Sequence[str]] = _as_written,
    again: bool = False,
) -> list[str]:
    """Bring the current database to the newest schema, and return the names of what was applied.

    ``command`` runs one statement, ``query`` returns rows. ``form`` gives the statements to run instead of one. With
    ``again`` those that were applied are run once more.
    """
    for each in form(CREATE_RECORD.strip()):
        command(each, {})
    applied = []
    missing = pending(known, query(READ_RECORD))
    for migration in known if again else missing:
        for statement in migration.statements:
            for each in form(statement):
                command(each, {})
        command(WRITE_RECORD, {"number": migration.number, "name": migration.name, "sha256": migration.sha256})
        applied.append(migration.name)
    return applied
