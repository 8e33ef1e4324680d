"""What the HTTP front runs: one request, one handle of the embedded engine, so that nothing of a request outlives it.

A handle costs half a millisecond, and settings, parameters and temporary tables are its own: several clients at once
cannot see each other's. chDB runs the handles side by side and lets go of Python's lock while it works.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import chdb

from pipeline.clickhouse.embedded import SESSION_SETTINGS, TABLE_SETTINGS, held_folder

STREAMED: Final = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
"""Formats whose blocks may be sent one after the other; the others have a head and a foot, and are sent as a whole."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CODE: Final = re.compile(r"Code: (\d+)")
_SKIPPED: Final = rb"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/"""
_INSERT: Final = re.compile(rb"\s*INSERT\s+INTO\b", re.IGNORECASE)
_DATA: Final = re.compile(
    _SKIPPED + rb"|\b(?:(?P<own>SELECT|VALUES|WATCH|INFILE)\b|FORMAT\s+(?P<format>\w+)[ \t]*;?[ \t]*(?:\r?\n)?)",
    re.IGNORECASE | re.DOTALL,
)
_TARGET: Final = re.compile(r"\s*INSERT\s+INTO\s+(?:TABLE\s+)?((?:`[^`]+`|\w|\.)+)\s*(\([^)]*\))?", re.IGNORECASE)
_LAST_FORMAT: Final = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_ANSWERING: Final = re.compile(
    rb"[\s(]*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|FROM|CHECK(?!\s+GRANT))\b", re.IGNORECASE
)


class EngineError(Exception):
    """The engine refused: ``code`` is ClickHouse's own."""

    def __init__(self, text: str, code: int | None = None) -> None:
        at = max(text.find("Code: "), 0)
        found = _CODE.match(text, at)
        self.code = code or (int(found[1]) if found else 1002)
        super().__init__(text[at:] if found else f"Code: {self.code}. DB::Exception: {text}")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; an insert that brings its rows along has them in ``data``."""

    sql: bytes
    data: bytes | None
    format: str  # of the data, or of the answer

    @classmethod
    def of(cls, query: str, body: bytes, default_format: str | None) -> Statement:
        """Of the URL's query and the body, which an insert may be split over anywhere."""
        whole = query.encode() + (b"\n" if query and body else b"") + body
        if not _INSERT.match(whole):
            last = _LAST_FORMAT.search(whole[-200:])
            return cls(whole, None, last[1].decode() if last else default_format or "TabSeparated")
        for match in _DATA.finditer(whole):
            if match["own"]:
                return cls(whole, None, default_format or "TabSeparated")
            if match["format"]:
                if query and match.end() <= len(query.encode()) + 1:
                    return cls(whole[: match.start()], body, match["format"].decode())
                return cls(whole[: match.start()], whole[match.end() :], match["format"].decode())
        return cls(query.encode(), body, default_format or "Values")

    @property
    def is_answering(self) -> bool:
        """Whether it returns rows."""
        return self.data is None and _ANSWERING.match(self.sql) is not None


@dataclass(frozen=True, slots=True)
class Request:
    """A statement and what holds for it alone."""

    statement: Statement
    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    is_read_only: bool = False
    is_streamed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """``parts`` holds the whole answer in one part, unless the request asked for a stream."""

    parts: Iterator[bytes]
    is_streamed: bool = False
    summary: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary_json(self) -> str:
        """For the header ``X-ClickHouse-Summary``."""
        return json.dumps(dict(self.summary))


class Engine:
    """The embedded engine, open for as long as this process serves it."""

    def __init__(self, folder: Path | None) -> None:
        """Lock and open the folder; None: a temporary one.

        :raises WarehouseError: as :meth:`Warehouse.embedded`.
        """
        self._is_temporary = folder is None
        self._held = contextlib.ExitStack()
        self._path = str(self._held.enter_context(held_folder(folder)))
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".xml") as config:
                config.write(_config())
                config.flush()
                keeper = f"{self._path}?config-file={config.name}"
                self._keeper = chdb.connect(keeper)  # type: ignore[no-untyped-call]  # chDB has no types
        except BaseException:
            self._held.close()
            raise
        self._held.callback(self._keeper.close)

    def close(self) -> None:
        """Stop the engine. No request may be under way."""
        self._held.close()

    def abandon(self) -> None:
        """Before the process ends without closing the engine: remove a temporary folder, and leave the rest."""
        if self._is_temporary:
            shutil.rmtree(self._path, ignore_errors=True)

    def run(self, request: Request) -> Answer:
        """Run one request. Blocks; safe from several threads.

        :raises EngineError: the engine refused it. Of an insert, nothing was stored.
        """
        handle = self._handle(request)
        try:
            statement = request.statement
            if statement.data is not None:
                return Answer(iter([b""]), summary=_insert(handle, statement.sql.decode(), statement))
            if request.is_streamed and statement.is_answering and statement.format in STREAMED:
                parts = _stream(handle, request)
                first = next(parts, b"")  # so that an error at the start is answered as one
                handle = None
                return Answer(_chained(first, parts), is_streamed=True)
            with _own_errors():
                result = handle.query(statement.sql, statement.format, params=dict(request.parameters))
                rows, size, taken = result.rows_read(), result.bytes_read(), result.elapsed()
            summary = {"read_rows": rows, "read_bytes": size, "elapsed_ns": int(taken * 1e9)}
            return Answer(iter([result.bytes() or b""]), summary={name: str(value) for name, value in summary.items()})
        finally:
            if handle is not None:
                handle.close()

    def insert_half(self, request: Request) -> None:
        """Store the first half of an insert's rows: what a server leaves that dies in the middle."""
        statement = request.statement
        found = _TARGET.match(statement.sql.decode())
        if found is None or statement.data is None:
            raise EngineError("There is no insert to fail half-way.", 48)
        table, columns = found[1], (found[2] or "(*)").strip("()")
        names = f" ({columns})" if found[2] else ""
        handle = self._handle(request)
        try:
            with _own_errors():
                handle.query(f"CREATE TEMPORARY TABLE front_rows AS SELECT {columns} FROM {table} LIMIT 0")
            rows = int(_insert(handle, f"INSERT INTO front_rows{names}", statement)["written_rows"])
            with _own_errors():
                handle.query(f"INSERT INTO {table}{names} SELECT {columns} FROM front_rows LIMIT {rows // 2}")
        finally:
            handle.close()

    def _handle(self, request: Request) -> Any:
        """A fresh handle with the request's database and settings."""
        settings = {name: str(value) for name, value in SESSION_SETTINGS.items()} | dict(request.settings)
        unfit = [name for name in settings if not _NAME.fullmatch(name)]
        if unfit:
            raise EngineError(f"Setting {unfit[0]!r} is neither a parameter nor a name of a setting.", 115)
        handle = chdb.connect(self._path)  # type: ignore[no-untyped-call]  # chDB has no types
        try:
            with _own_errors():
                if request.database != "default":
                    handle.query(f"USE {_quoted(request.database, '`')}")
                handle.query("SET " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items()))
                if request.is_read_only:
                    handle.query("SET readonly = 2")
        except BaseException:
            handle.close()
            raise
        return handle


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except (chdb.ChdbError, RuntimeError) as error:
        raise EngineError(str(error)) from error


def _insert(handle: Any, sql: str, statement: Statement) -> dict[str, str]:
    with _own_errors(), handle.send_insert(sql, statement.format) as inserter:
        inserter.append(statement.data)
        result = inserter.finish()
    return {"written_rows": str(result.rows_written), "written_bytes": str(result.bytes_written)}


def _stream(handle: Any, request: Request) -> Iterator[bytes]:
    """The answer, block by block; closes the handle."""
    try:
        with _own_errors():
            statement = request.statement
            with handle.send_query(statement.sql.decode(), statement.format, params=dict(request.parameters)) as blocks:
                for block in blocks:
                    yield block.bytes()
    finally:
        handle.close()


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def _config() -> str:
    """Every table gets the settings that suit an embedded engine; a client leaves a server's tables alone."""
    settings = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in TABLE_SETTINGS.items())
    return (
        f"<clickhouse><merge_tree>{settings}</merge_tree><profiles><default/></profiles><users><default>"
        "<password></password><profile>default</profile><networks><ip>::/0</ip></networks></default></users></clickhouse>"
    )
