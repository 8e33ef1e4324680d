"""The warehouse: typed inserts and queries over clickhouse-connect, whichever engine is behind it.

Callers: the embedded runner and the sink insert; the pages, the export and ``explain`` query. Every call blocks until
the engine has answered. Inserts are upserts (see ``migrations/``), so repeating one is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from decimal import Decimal
from io import RawIOBase
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeAlias, cast

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from pipeline.clickhouse import schema
from pipeline.clickhouse.cluster import on_cluster
from pipeline.clickhouse.embedded import open_embedded
from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.refusals import refused
from pipeline.clickhouse.server import ServerAddress, open_server
from pipeline.clickhouse.tables import COPIES, STORED, Column, Table

INSERT_SETTINGS: Final[Mapping[str, int | str]] = {
    # Pinned, because ClickHouse 26.2 changed defaults.
    "async_insert": 0,  # acknowledged means stored
    "deduplicate_insert": "disable",  # rows are upserts; a remembered block must never swallow one
    "optimize_on_insert": 0,  # FINAL collapses repeats; doing it in the insert as well costs 1.9 us a row
    "input_format_null_as_default": 1,
}

Chunks: TypeAlias = "pa.ChunkedArray[Any]"


class Session(Protocol):
    """What differs from engine to engine: :class:`EmbeddedSession`, :class:`ServerSession`."""

    @property
    def client(self) -> Client:
        """A client that speaks to the session's database."""

    @property
    def name(self) -> str:
        """Who refuses, in an error's message."""

    def tune(self, tables: Sequence[str]) -> None:
        """After a migration: give the tables the settings that suit the engine."""

    def close(self) -> None:
        """Let go of the engine. Called once."""


class Warehouse:
    """Tables, views and queries of one database. Close it, or use it as a context manager."""

    def __init__(self, session: Session, cluster: str = "", *, copies: bool = True) -> None:
        """Of an open session whose database exists; see :meth:`embedded` for the usual way."""
        self._session = session
        self._cluster = cluster
        self._copies = copies
        self._client = session.client
        self._is_open = True

    @classmethod
    def embedded(cls, path: Path | None, database: str | None = None, *, copies: bool = True) -> Self:
        """The engine in this process, in the folder ``path``; None: in a temporary folder, removed on close.

        One folder a process at a time; temporary warehouses may be many, each with a database of its own.
        ``database`` defaults to ``crosscredit``. Call :meth:`migrate` before use. Without ``copies`` what
        panels read are views of the tables themselves: for bulk loads, of which the copies take a twentieth.

        :raises WarehouseError: the folder holds something else, or this process has another one open.
        :raises WarehouseUnavailableError: another process uses the folder, or the disk refuses it.
        """
        return cls(open_embedded(path, database), copies=copies)

    @classmethod
    def server(
        cls,
        url: str,
        database: str = "crosscredit",
        *,
        username: str | None = None,
        password: str | None = None,
        connect_timeout_s: float = 5.0,
        answer_timeout_s: float = 30.0,
        compression: str = "none",
        verify: bool = True,
        ca_file: str | None = None,
        create: bool = True,
        cluster: str = "",
    ) -> Self:
        """A ClickHouse server's HTTP interface, ``http(s)://HOST:PORT``; creates the database where it is missing.

        A call waits at most ``connect_timeout_s`` for a connection and ``answer_timeout_s`` for each part of an answer.
        Several threads may share it. ``compression`` of inserts and answers is none, lz4 or zstd: none costs the client
        least; choose lz4 where the network is paid for. Call :meth:`migrate` before use. Without ``create``, for
        whoever only reads, a database that is missing is a WarehouseError. ``cluster`` names one of the server's
        ``remote_servers``, over whose servers the tables are spread.

        :raises WarehouseError: no such address, wrong password, or the user may not create the database.
        :raises WarehouseUnavailableError: nobody answers there, or not in time.
        """
        return cls(
            open_server(
                ServerAddress.parse(url, username, password),
                database,
                connect_timeout_s=connect_timeout_s,
                answer_timeout_s=answer_timeout_s,
                compression=compression,
                verify=verify,
                ca_file=ca_file,
                create=create,
                cluster=cluster,
            ),
            cluster,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def migrate(self, *, again: bool = False) -> list[str]:
        """Create or upgrade the tables and views; returns the names of the migrations that were applied.

        ``again`` applies all of them, which changes nothing but where something is missing.

        :raises WarehouseError: the database is newer than the program, or an applied migration was changed.
        """
        with self._refused("create its tables"):
            known = schema.packaged_migrations()
            if self._cluster:
                applied = schema.apply(known, self._command, self._records, self._on_cluster, again)
            else:
                applied = schema.apply(known, self._command, self._records, again=again)
            if self._copies:
                self._session.tune([*STORED, *COPIES])
            else:
                self._session.tune(list(STORED))
                self._replace_copies()
        return applied

    def insert(self, table: str, columns: pa.Table) -> None:
        """Upsert rows; stored when it returns. Harmless to repeat after an error.

        Any subset of the table's columns that holds its key; the others take their defaults ("" , 0, empty; version 1).
        Times are integer epoch milliseconds or timestamps; a null string is empty. About 100 000 rows a call are
        cheapest: 1.2 us of CPU a row, and memory stays within some 300 MB.

        :raises WarehouseError: a column or value that the table cannot hold. Nothing was inserted.
        :raises WarehouseUnavailableError: the disk is full, out of memory and the like. Part of the rows may be stored.
        """
        if columns.num_rows:
            ready = _typed(_table(table), columns)
            with self._refused(f"insert into {table}"):
                self._client.insert_arrow(table, ready, settings=dict(INSERT_SETTINGS))

    def insert_rows(self, table: str, rows: Sequence[Sequence[object]], columns: Sequence[str]) -> None:
        """Upsert rows given as tuples in the order of ``columns``; otherwise as :meth:`insert`."""
        if rows:
            self.insert(table, _arrow_rows(_table(table), rows, columns))

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[object, ...]]:
        """Rows of a SELECT; ``{name:Type}`` in it takes the parameter of that name.

        Times come as naive UTC datetimes; ask for ``toUnixTimestamp64Milli(...)`` to get integers.
        """
        with self._refused("answer a query"):
            rows = self._client.query(sql, parameters=dict(parameters or {})).result_rows
        return cast("list[tuple[object, ...]]", list(rows))

    def query_arrow(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The same as an Arrow table, with strings as strings."""
        with self._refused("answer a query"):
            return self._client.query_arrow(sql, parameters=dict(parameters or {}), use_strings=None)

    def execute(self, sql: str) -> None:
        """Run one statement that returns nothing: a table made or dropped."""
        with self._refused("run a statement"):
            self._client.command(sql)

    def has_grant(self, grant: str, database: str) -> bool:
        """Whether this user was granted that, such as INSERT, on every table of a database."""
        with self._refused("tell a user's grants"):
            return str(self._client.command(f"CHECK GRANT {grant} ON `{database}`.*")).strip() == "1"

    def write_json(self, sql: str, path: Path) -> int:
        """Write the rows of a SELECT to ``path`` as JSON Lines, in bounded memory; returns how many.

        What was there is overwritten; after an error the file is incomplete. (The engine's own INTO OUTFILE takes a
        quarter less CPU, but says nothing when the disk is full.)
        """
        rows = 0
        query = f"{sql} SETTINGS max_threads = 1"
        with (
            self._refused("write a file"),
            path.open("wb") as file,
            closing(cast("RawIOBase", self._client.raw_stream(query, fmt="JSONEachRow"))) as stream,
        ):
            while chunk := stream.read(1 << 18):
                file.write(chunk)
                rows += chunk.count(b"\n")
        return rows

    def settle(self, tables: Sequence[str] = tuple(STORED)) -> None:
        """Merge each table into one part, so that many reads with FINAL after it are cheap. Needs free disk space."""
        for table in tables:
            with self._refused(f"merge {table}"):
                self._client.command(
                    f"OPTIMIZE TABLE {_table(table).name} FINAL SETTINGS optimize_skip_merged_partitions = 1"
                )

    def close(self) -> None:
        """Let go of the engine. Further calls of close do nothing."""
        if self._is_open:
            self._is_open = False
            self._session.close()

    def _refused(self, what: str) -> AbstractContextManager[None]:
        return refused(what, self._session.name)

    def _on_cluster(self, statement: str) -> list[str]:
        return on_cluster(statement, self._cluster, self._client.database or "default")

    def _replace_copies(self) -> None:
        """In the place of each copy for reading, a view that says the same of the table as it stands."""
        rows = self.query(
            "SELECT name, as_select FROM system.tables WHERE database = currentDatabase() AND name LIKE '%_feed'"
        )
        for feed, select in rows:
            copy = str(feed).removesuffix("_feed")
            sources = "|".join(STORED)
            standing = re.sub(rf"\bFROM ((\S+\.)?({sources}))\b", r"FROM \1 FINAL", str(select), count=1)
            for statement in (f"DROP VIEW {feed}", f"DROP TABLE {copy}", f"CREATE VIEW {copy} AS {standing}"):
                self._command(statement, {})

    def _command(self, sql: str, parameters: Mapping[str, object]) -> None:
        self._client.command(sql, parameters=dict(parameters))

    def _records(self, sql: str) -> list[tuple[int, str, str]]:
        return cast("list[tuple[int, str, str]]", list(self._client.query(sql).result_rows))


def _table(name: str) -> Table:
    try:
        return STORED[name]
    except KeyError:
        raise WarehouseError(f"There is no table {name!r}. The tables are {', '.join(STORED)}.") from None


def _column(table: Table, name: str) -> Column:
    try:
        return table.columns[name]
    except KeyError:
        raise WarehouseError(
            f"The table {table.name} has no column {name!r}. Its columns are {', '.join(table.columns)}."
        ) from None


def _typed(table: Table, columns: pa.Table) -> pa.Table:
    """The columns with exactly the types that the engine is told; conversions are checked, and most cost nothing."""
    missing = [name for name in table.key if name in table.columns and name not in columns.column_names]
    if missing:
        raise WarehouseError(f"Rows for {table.name} need {', '.join(missing)}: its key is {', '.join(table.key)}.")
    arrays = [_typed_column(table, _column(table, name), columns.column(name)) for name in columns.column_names]
    return pa.table(arrays, names=columns.column_names)


def _typed_column(table: Table, column: Column, array: Chunks) -> Chunks:
    if array.null_count and not (column.is_text or column.is_optional):
        raise WarehouseError(
            f"{table.name}.{column.name} has {array.null_count} nulls, and must have a value in every row."
        )
    if column.is_text and (pa.types.is_dictionary(array.type) or pa.types.is_large_string(array.type)):
        return array
    if array.type == column.arrow_type:
        return array
    try:
        if column.is_time and pa.types.is_integer(array.type):
            return array.cast(pa.int64()).cast(column.arrow_type)
        return array.cast(column.arrow_type)
    except pa.ArrowInvalid as error:
        raise WarehouseError(f"{table.name}.{column.name} must hold {column.type}: {error}") from error


def _arrow_rows(table: Table, rows: Sequence[Sequence[object]], names: Sequence[str]) -> pa.Table:
    arrays: list[pa.Array[Any]] = []
    try:
        transposed = list(zip(*rows, strict=True))
        for name, values in zip(names, transposed, strict=True):
            arrays.append(_arrow_values(_column(table, name), values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError) as error:
        raise WarehouseError(
            f"A row for {table.name} ({', '.join(names)}) has a value that does not fit: {error}"
        ) from error
    return pa.table(arrays, names=list(names))


def _arrow_values(column: Column, values: Sequence[object]) -> pa.Array[Any]:
    """Types are inferred first and then cast, because a cast refuses what building would cut (1.5 to 1)."""
    if column.type == "Int128":
        return pa.array([None if value is None else Decimal(cast(int, value)) for value in values], column.arrow_type)
    array: pa.Array[Any] = pa.array(cast("Sequence[Any]", values))
    return (array.cast(pa.int64()) if column.is_time else array).cast(column.arrow_type)
