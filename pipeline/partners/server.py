"""Give, take away and look over partners' access on a ClickHouse server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.partners import registry, walls
from pipeline.partners.access import Schema, UndecidedError, access_of
from pipeline.partners.passwords import new_password
from pipeline.partners.scope import Scope
from pipeline.partners.sql import name, place
from pipeline.partners.statements import (
    Secret,
    Statement,
    registry_statements,
    remove_statements,
    user_statements,
    view_statements,
)

_NO_RIGHT: Final = "(ACCESS_DENIED)"
_NO_STORAGE: Final = ("(ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND)", "(ACCESS_STORAGE_READONLY)")


class PartnerError(Exception):
    """An access that cannot be given or taken as asked; the text names the remedy."""


@dataclass(frozen=True, slots=True)
class Added:
    """What came of :func:`add`. ``password`` is the new one; None: it has the one that it had."""

    scope: Scope
    password: str | None
    is_new: bool


def schema_of(warehouse: Warehouse, base: str) -> Schema:
    """The tables and views of crosscredit's database.

    :raises PartnerError: the views that partners need are not there, or the tables are spread over a cluster.
    """
    spread = warehouse.query(
        "SELECT name FROM system.tables WHERE database = {d:String} AND engine = 'Distributed'", {"d": base}
    )
    if spread:
        raise PartnerError(
            f"The tables of {base} are spread over several ClickHouse servers. Partners' users, row policies and views "
            "are made on one server alone: point --clickhouse-url at one that has all rows."
        )
    rows = warehouse.query(
        "SELECT table, name FROM system.columns WHERE database = {d:String} ORDER BY table, position", {"d": base}
    )
    columns: dict[str, list[str]] = {}
    for table, column in rows:
        columns.setdefault(str(table), []).append(str(column))
    missing = [view for view in walls.PARTNER_VIEWS if view not in columns]
    if missing:
        raise PartnerError(
            f"The database {base} has no view {missing[0]}. Start a worker of this version once, which brings the "
            "tables up to date, or name another database with --clickhouse-database."
        )
    views = warehouse.query(
        "SELECT name, as_select FROM system.tables WHERE database = {d:String} AND engine = 'View'", {"d": base}
    )
    named = re.compile(rf"(?<![\w.`])`?{re.escape(base)}`?\.`?(\w+)")
    reads = {str(view): frozenset(named.findall(str(select))) & set(columns) for view, select in views}
    return Schema(columns, reads)


def add(warehouse: Warehouse, scope: Scope, *, password: str | None = None, renew: bool = False) -> Added:
    """Give a partner its access, or mend it: to repeat it changes nothing.

    A new user gets ``password``, or a generated one. A user that exists keeps its own unless one is given with
    ``renew``, or ``renew`` alone asks for a generated one.

    :raises PartnerError: the server or the user that asks does not allow it.
    :raises WarehouseError: the server refused something else, or is not there.
    """
    try:
        access = access_of(scope, schema_of(warehouse, scope.base))
    except UndecidedError as error:
        raise PartnerError(f"{error} This version of crosscredit does not know that: upgrade it.") from error
    run(warehouse, registry_statements(scope.base))
    is_new = not has_user(warehouse, scope.name)
    given = (password or new_password()) if is_new or renew else None
    registry.enlist(warehouse, scope)
    run(warehouse, user_statements(access, Secret.of(given) if given else None))
    _check_others(warehouse, scope)
    run(warehouse, view_statements(access))
    return Added(scope, given, is_new)


def remove(warehouse: Warehouse, scope: Scope) -> bool:
    """Take everything away that :func:`add` gave; whether there was anything. To repeat it changes nothing."""
    there = has_user(warehouse, scope.name) or any(each.name == scope.name for each in listed(warehouse, scope.base))
    policies = warehouse.query(
        "SELECT short_name, database, table FROM system.row_policies WHERE short_name IN ({a:String}, {b:String})",
        {"a": scope.name, "b": scope.owner},
    )
    found = [(str(short_name), str(database), str(table)) for short_name, database, table in policies]
    run(warehouse, remove_statements(scope, found))
    if any(each.name == scope.name for each in listed(warehouse, scope.base)):
        registry.strike(warehouse, scope)
    return there


def listed(warehouse: Warehouse, base: str) -> list[Scope]:
    """Every partner that has, or should have, access."""
    return registry.listed(warehouse, base)


def has_user(warehouse: Warehouse, user: str) -> bool:
    """Whether the server knows the user."""
    with _explained():
        return bool(warehouse.query("SELECT 1 FROM system.users WHERE name = {n:String}", {"n": user}))


def run(warehouse: Warehouse, statements: Iterable[Statement]) -> None:
    """Run statements one after the other."""
    for statement in statements:
        with _explained():
            warehouse.execute(statement.sql)


def _check_others(warehouse: Warehouse, scope: Scope) -> None:
    """Row policies must not hide rows from those whom none names: the workers, and the owners of the views."""
    [(rows,)] = warehouse.query(f"SELECT count() FROM {place(scope.registry, 'partners')}")
    if rows:
        return
    with _explained():
        for database in (scope.base, scope.registry):
            warehouse.execute(f"DROP ROW POLICY IF EXISTS {name(scope.name)} ON {place(database, '')}")
    raise PartnerError(
        "This server hides every row of a table that has a row policy from users whom none names: workers would read "
        "nothing. Set <access_control_improvements><users_without_row_policies_can_read_rows>true in its configuration "
        "(the default), and run this again. The row policies that were just made are gone again."
    )


@contextmanager
def _explained() -> Iterator[None]:
    """What ClickHouse says about rights, in words that name the remedy."""
    try:
        yield
    except WarehouseError as error:
        said = str(error)
        if any(mark in said for mark in _NO_STORAGE):
            raise PartnerError(
                "This ClickHouse keeps no users of its own, so no partner can be added here. The one that `crosscredit "
                "stack` starts has neither users nor passwords: use a ClickHouse server. A server needs a writable "
                "<local_directory> or <replicated> in <user_directories> of its configuration."
            ) from error
        if _NO_RIGHT in said:
            raise PartnerError(
                "The ClickHouse user of this command may not manage users. Name one that may with "
                "CROSSCREDIT_CLICKHOUSE_USERNAME and CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE: it has "
                "<access_management>1</access_management> in users.xml, or was granted ALL WITH GRANT OPTION. (The "
                "ClickHouse that `crosscredit stack` starts has no users at all: partners need a server.) "
                f"ClickHouse says: {said}"
            ) from error
        raise
