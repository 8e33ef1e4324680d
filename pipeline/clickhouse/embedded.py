"""The ClickHouse engine inside this process (chDB): its folder, its lock, its settings.

chDB holds one folder a process, and a folder belongs to one process. Whoever asks for the folder that is open shares
the engine; several temporary warehouses share one temporary engine, each with a database of its own. The engine stops,
and a temporary folder goes, with the last one that is closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError
from pipeline.clickhouse.refusals import first_line

TABLE_SETTINGS: Final[Mapping[str, int]] = {
    # One file a part instead of two a column. And parts are merged while they are small, which is what a live stream of
    # small inserts needs, while a bulk load stays as it was written: FINAL merges it as it is read. Merging costs more
    # CPU than inserting: a click takes a third of what it takes with the defaults.
    "min_bytes_for_wide_part": 1 << 40,
    "max_bytes_to_merge_at_max_space_in_pool": 4 << 20,
    "parts_to_delay_insert": 10_000,
    "parts_to_throw_insert": 30_000,
}
"""Given to every table of an embedded warehouse; a server keeps its own."""

SESSION_SETTINGS: Final[Mapping[str, int | str]] = {
    "session_timezone": "UTC",
    "max_block_size": 8192,  # FINAL reads a block of every part at once: a third less memory over 100 parts
    "output_format_json_escape_forward_slashes": 0,
    "output_format_arrow_string_as_string": 1,
}

_MARK: Final = "crosscredit.lock"
_MARK_TEXT: Final = "The warehouse of crosscredit. While a process uses this folder it holds a lock on this file.\n"

_guard = threading.Lock()
_engine: _Engine | None = None
_numbers = itertools.count(1)


class _Engine:
    """The engine of this process and how many warehouses use it."""

    def __init__(self, folder: Path, is_temporary: bool, lock: IO[str]) -> None:
        self.folder = folder
        self.is_temporary = is_temporary
        self.users = 0
        self._lock = lock

    def stop(self) -> None:
        self._lock.close()
        if self.is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


class EmbeddedSession:
    """One user of the embedded engine: a client that speaks to one database."""

    name: Final = "ClickHouse"

    def __init__(self, engine: _Engine, client: Client, database: str) -> None:
        self.client = client
        self.database = database
        self._engine = engine

    def tune(self, tables: Sequence[str]) -> None:
        """Give the tables the settings that suit a process of its own, where they do not have them yet."""
        wanted = [f"{name} = {value}" for name, value in TABLE_SETTINGS.items()]
        rows = self.client.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()")
        tuned = {name for name, engine in rows.result_rows if all(setting in engine for setting in wanted)}
        for table in tables:
            if table not in tuned:
                self.client.command(f"ALTER TABLE {table} MODIFY SETTING {', '.join(wanted)}")

    def close(self) -> None:
        """Let go of the engine. Called once."""
        with _guard:
            if self._engine.is_temporary and self._engine.users > 1:
                with contextlib.suppress(ClickHouseError):
                    self.client.command(f"DROP DATABASE `{self.database}` SYNC", use_database=False)
            self.client.close()
            _release(self._engine)


def open_embedded(folder: Path | None, database: str | None) -> EmbeddedSession:
    """Open (and where needed create) the warehouse in ``folder``; None: a temporary one, removed when it is closed.

    :raises WarehouseError: another folder is open in this process, or the folder holds something else.
    :raises WarehouseUnavailableError: another process uses the folder, or the disk refuses it.
    """
    with _guard:
        engine = _acquire(folder)
        name = database or (f"crosscredit_{next(_numbers)}" if engine.is_temporary else "crosscredit")
        try:
            client = clickhouse_connect.get_client(dsn=f"chdb://{engine.folder}", settings=dict(SESSION_SETTINGS))
            try:
                client.command(f"CREATE DATABASE IF NOT EXISTS `{name}`")
                client.database = name
            except BaseException:
                client.close()
                raise
        except ImportError as error:
            _release(engine)
            raise WarehouseError(
                "The embedded ClickHouse is not installed here (the package chdb). Use the image of the target `whole`,"
                " or install crosscredit with all it needs: pip install --require-hashes -r requirements.lock"
            ) from error
        except ClickHouseError as error:
            _release(engine)
            raise WarehouseUnavailableError(
                f"The embedded ClickHouse did not open {engine.folder}. Is the disk full or read-only, or the folder "
                "from another ClickHouse version? Free some space, or name another folder. "
                f"ClickHouse says: {first_line(error)}"
            ) from error
        except BaseException:
            _release(engine)
            raise
        return EmbeddedSession(engine, client, name)


@contextlib.contextmanager
def held_folder(folder: Path | None) -> Iterator[Path]:
    """The engine's folder, made and locked for this process until the block ends, without a client.

    For whoever speaks to chDB itself (``front.py``). None: a temporary folder, removed at the end.

    :raises WarehouseError: as :func:`open_embedded`.
    """
    with _guard:
        engine = _acquire(folder)
    try:
        yield engine.folder
    finally:
        with _guard:
            _release(engine)


def _acquire(folder: Path | None) -> _Engine:
    """The engine for ``folder`` with one more user."""
    global _engine
    wanted = None if folder is None else Path(os.path.realpath(folder))
    if _engine is not None:
        if not (_engine.is_temporary if wanted is None else _engine.folder == wanted):
            raise WarehouseError(
                f"This process already has the embedded warehouse {_engine.folder} open, and one process can have one. "
                "Close it first, or use another process."
            )
    elif wanted is None:
        temporary = Path(tempfile.mkdtemp(prefix="crosscredit-"))
        _engine = _Engine(temporary, is_temporary=True, lock=_lock(temporary))
    else:
        _engine = _Engine(wanted, is_temporary=False, lock=_lock(wanted))
    _engine.users += 1
    return _engine


def _release(engine: _Engine) -> None:
    global _engine
    engine.users -= 1
    if engine.users == 0:
        _engine = None
        engine.stop()


def _lock(folder: Path) -> IO[str]:
    """Make the folder where needed, and hold its mark as this process's own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / _MARK
        if not mark.exists() and any(folder.iterdir()):
            raise WarehouseError(
                f"{folder} has files in it but is not a warehouse of crosscredit: nothing was touched. "
                "Name an empty or a new folder."
            )
        file = mark.open("a", encoding="utf-8")
    except OSError as error:
        raise WarehouseError(
            f"The warehouse folder {folder} cannot be used ({error.strerror or error}). "
            "Name a folder that you may write to."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.tell() == 0:
            file.write(_MARK_TEXT)
            file.flush()
    except BlockingIOError as error:
        file.close()
        raise WarehouseUnavailableError(
            f"Another process uses the warehouse {folder}. Wait until it ends, stop it, or name another folder."
        ) from error
    except OSError as error:
        file.close()
        raise WarehouseUnavailableError(
            f"The warehouse folder {folder} cannot be locked ({error.strerror or error}). "
            "Free some space, or name another folder."
        ) from error
    return file
