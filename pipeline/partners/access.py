"""Everything that one partner is given, as values; :mod:`pipeline.partners.statements` writes them as SQL.

Four walls, each of which would do if the others fell:

1. the partner's user may SELECT from the views of its own database, and from nothing else;
2. those views read in the name of an owner, narrow to the partner's rows, and end in a fence that no condition passes;
3. the owner is narrowed by row policies on the tables, and may not read personal columns;
4. row policies close crosscredit's database to the partner's user, should somebody grant it more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.partners import walls
from pipeline.partners.scope import Scope
from pipeline.partners.sql import name, place, text


class UndecidedError(Exception):
    """A view for partners reads something of which :mod:`pipeline.partners.walls` does not say what they may see."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables and views of crosscredit's database: their columns in order, and what each view reads."""

    columns: Mapping[str, Sequence[str]]
    reads: Mapping[str, frozenset[str]]

    def behind(self, views: Sequence[str]) -> list[str]:
        """All tables and views that the given ones read, directly or not, by name."""
        found: set[str] = set()
        waiting = list(views)
        while waiting:
            new = self.reads.get(waiting.pop(), frozenset()) - found
            found |= new
            waiting += new
        return sorted(found)


_NOBODY: Final = "0"
_ANYBODY: Final = "1"


@dataclass(frozen=True, slots=True)
class Grant:
    """SELECT on a table or view; of some columns, or of all where none is named."""

    database: str
    table: str
    columns: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """As it stands in a GRANT statement."""
        columns = f"({', '.join(map(name, self.columns))})" if self.columns else ""
        return f"SELECT{columns} ON {place(self.database, self.table)}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A restrictive row policy: of the table only rows for which ``condition`` holds. No table: of every table."""

    database: str
    table: str
    condition: str


@dataclass(frozen=True, slots=True)
class User:
    """A user, the views' owner or the partner's own."""

    name: str
    grants: tuple[Grant, ...]
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A view of the partner's database, under the name of the view that it narrows."""

    name: str
    columns: tuple[str, ...]
    select: str


@dataclass(frozen=True, slots=True)
class Access:
    """All of it."""

    scope: Scope
    partner: User
    owner: User
    views: tuple[View, ...]


def access_of(scope: Scope, schema: Schema) -> Access:
    """What a partner is to be given, over the tables and views of :attr:`Scope.base` as they are.

    :raises UndecidedError: its views would read what nobody decided on.
    """
    views = tuple(_view(scope, view, schema.columns[view]) for view in walls.PARTNER_VIEWS)
    return Access(scope, _partner(scope, views), _owner(scope, schema), views)


def _view(scope: Scope, view: str, columns: Sequence[str]) -> View:
    head, where = "", ""
    if set(columns) & set(walls.KEYED):
        key = f"SELECT any(key) FROM {place(scope.registry, 'partners')} FINAL WHERE name = {text(scope.name)}"
        head = f"WITH ({key}) AS pseudonym_key "
    if _is_partners(columns):
        where = f" WHERE {_own(scope, shared=True, of='shared.')}"
    source = f"{place(scope.base, view)} AS shared"
    listed = ", ".join(_column(scope, view, column) for column in columns)
    return View(view, tuple(columns), f"{head}SELECT {listed} FROM {source}{where} {walls.FENCE}")


def _column(scope: Scope, view: str, column: str) -> str:
    quoted = name(column)
    if (view, column) in walls.DAY_ALONE:
        day = f"toDateTime64(toStartOfDay(shared.{quoted}, {text(scope.time_zone)}), 3, 'UTC')"
        return f"if(shared.partner_id = {text(walls.EVERYONE)}, {day}, shared.{quoted}) AS {quoted}"
    if column in walls.KEYED:
        return f"{walls.KEYED[column].format(key='pseudonym_key', column=f'shared.{quoted}')} AS {quoted}"
    return f"shared.{quoted} AS {quoted}"


def _partner(scope: Scope, views: Sequence[View]) -> User:
    own = tuple(
        Policy(scope.name, view.name, _own(scope, shared=True) if _is_partners(view.columns) else _ANYBODY)
        for view in views
    )
    closed = (Policy(scope.base, "", _NOBODY), Policy(scope.registry, "", _NOBODY))
    return User(scope.name, tuple(Grant(scope.name, view.name) for view in views), (*closed, *own))


def _owner(scope: Scope, schema: Schema) -> User:
    behind = schema.behind(walls.PARTNER_VIEWS)
    tables = [each for each in behind if each in walls.TABLES]
    inner = {*behind, *walls.PARTNER_VIEWS} - set(tables)
    undecided = inner - {*walls.PARTNER_VIEWS, *walls.INNER_VIEWS}
    if undecided:
        raise UndecidedError(f"The views for partners read {', '.join(sorted(undecided))}.")
    grants = (
        *(Grant(scope.base, table, tuple(_readable(schema.columns[table]))) for table in tables),
        *(Grant(scope.base, view) for view in sorted(inner)),
        Grant(scope.registry, "partners", ("name", "key", "version", "is_deleted")),
    )
    policies = (
        *(Policy(scope.base, table, _reach(scope, walls.TABLES[table])) for table in tables),
        Policy(scope.registry, "partners", f"name = {text(scope.name)}"),
    )
    return User(scope.owner, grants, policies)


def _readable(columns: Sequence[str]) -> Sequence[str]:
    return [column for column in columns if column not in walls.PERSONAL]


def _is_partners(columns: Sequence[str]) -> bool:
    return {"program_id", "partner_id"} <= set(columns)


def _own(scope: Scope, *, shared: bool, of: str = "") -> str:
    """The partner's rows; with ``shared`` also those for every partner of its program."""
    ids = [scope.partner_id, walls.EVERYONE] if shared else [scope.partner_id]
    partners = ", ".join(map(text, ids))
    return f"{of}program_id = {text(scope.program_id)} AND {of}partner_id IN ({partners})"


def _reach(scope: Scope, reach: walls.Reach) -> str:
    if reach == "partner":
        return _own(scope, shared=False)
    if reach == "program":
        return f"program_id = {text(scope.program_id)}"
    return f"brand_id = {text(scope.brand_id)}" if reach == "brand" else _ANYBODY
