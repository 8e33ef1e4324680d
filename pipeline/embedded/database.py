"""A database folder of the embedded edition: the steps' state beside the ClickHouse tables."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Self

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.state.rocks import RocksStore

_STATE, _WAREHOUSE = "state", "warehouse"


class DatabaseError(Exception):
    """The folder cannot be used as a database; the text says why and what to do."""


class Database:
    """State and tables together. Close it, or use it as a context manager."""

    def __init__(self, folder: Path, is_temporary: bool = False) -> None:
        self.folder = folder
        self._is_temporary = is_temporary
        self.store = RocksStore(folder / _STATE)
        try:
            self.warehouse = Warehouse.embedded(folder / _WAREHOUSE, copies=False)
            try:
                self.warehouse.migrate()
            except BaseException:
                self.warehouse.close()
                raise
        except BaseException:
            self.store.close()
            raise

    @classmethod
    def open(cls, folder: Path | None) -> Self:
        """The database in ``folder``, made where there is none; None: a temporary one, removed when it is closed.

        :raises DatabaseError: the folder holds something else.
        :raises StateError, WarehouseError: it is in use or cannot be opened.
        """
        if folder is None:
            return cls(Path(tempfile.mkdtemp(prefix="crosscredit-")), is_temporary=True)
        if folder.is_file():
            raise DatabaseError(f"--database {folder} is a file. Name a folder, new or made by an earlier run.")
        if folder.is_dir() and any(folder.iterdir()) and not exists(folder):
            raise DatabaseError(
                f"--database {folder} has files in it, but is no database of crosscredit: nothing was touched. "
                f"Name a new or an empty folder."
            )
        return cls(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder; a temporary one is removed."""
        self.warehouse.close()
        self.store.close()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def exists(folder: Path) -> bool:
    """Whether ``folder`` holds a database of crosscredit."""
    return (folder / _STATE).is_dir()
