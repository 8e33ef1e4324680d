"""Two exports of one table, row by row: both are sorted by the table's key, so neither is ever in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.clickhouse.tables import Table

Kind = Literal["missing", "extra", "different"]
Row = dict[str, Any]

_SHOWN: Final = {"raw_hash": "raw"}  # what stands for that key column in an export


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not as it should be. ``expected`` was computed from the topics, ``found`` is ClickHouse's."""

    table: str
    kind: Kind
    key: Mapping[str, Any]
    expected: Row | None  # None: there should be no such row
    found: Row | None  # None: there is none

    def columns(self) -> list[str]:
        """Of a row that is different: in which columns."""
        if self.expected is None or self.found is None:
            return []
        return [name for name in self.expected if self.expected[name] != self.found.get(name)]

    def as_json(self) -> str:
        """One line, complete."""
        return json.dumps(
            {"table": self.table, "difference": self.kind, "key": dict(self.key), "columns": self.columns(),
             "expected": self.expected, "found": self.found}, ensure_ascii=False,
        )  # fmt: skip


def differences(
    table: Table, expected: Path, found: Path, is_compared: Callable[[Row], bool] = lambda _: True
) -> Iterator[Difference]:  # fmt: skip
    """What differs between two files of :mod:`pipeline.clickhouse.export`, in the order of the key.

    Rows of ``found`` that are not to be compared are passed over.
    """
    names = [_SHOWN.get(name, name) for name in table.key]
    with expected.open("rb") as ours, found.open("rb") as theirs:
        want, have = _Cursor(table, names, ours), _Cursor(table, names, theirs)
        while want.line or have.line:
            if want.line == have.line:
                want.advance()
                have.advance()
            elif not want.line or (have.line and have.key() < want.key()):
                if is_compared(have.row()):
                    yield Difference(table.name, "extra", have.named(), None, have.row())
                have.advance()
            elif not have.line or want.key() < have.key():
                yield Difference(table.name, "missing", want.named(), want.row(), None)
                want.advance()
            else:
                if want.row() != have.row():
                    yield Difference(table.name, "different", want.named(), want.row(), have.row())
                want.advance()
                have.advance()


class _Cursor:
    """One file, at one of its lines; b"" at its end. Lines are parsed only where they have to be."""

    def __init__(self, table: Table, names: list[str], file: Any) -> None:
        self._table = table
        self._names = names
        self._file = file
        self._row: Row | None = None
        self.line: bytes = file.readline()

    def advance(self) -> None:
        self.line = self._file.readline()
        self._row = None

    def row(self) -> Row:
        if self._row is None:
            self._row = {
                column.name: _plain(column.type, value)
                for column, value in _pairs(self._table, json.loads(self.line))
            }  # fmt: skip
        return self._row

    def key(self) -> tuple[str, ...]:
        row = self.row()
        return tuple(row[name] for name in self._names)  # texts, whose order is that of their UTF-8 bytes

    def named(self) -> Row:
        row = self.row()
        return {name: row[name] for name in self._names}


def _pairs(table: Table, row: Row) -> Iterator[tuple[Any, Any]]:
    for column in table.fields:
        yield column, row[column.name]


def _plain(type_name: str, value: Any) -> Any:
    """Servers may be set to write wide integers as text."""
    if value is None or type_name == "String" or "String" in type_name:
        return value
    return bool(value) if type_name == "Bool" else int(value)
