"""Whether a partner's access is whole: what the server has, against what :mod:`pipeline.partners.access` says.

It asks system tables alone, as whoever may manage users; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.partners.access import Access, Schema, User, access_of
from pipeline.partners.limits import LIMITS, QUOTA, Limit
from pipeline.partners.scope import Scope


def flaws(warehouse: Warehouse, scope: Scope, schema: Schema) -> list[str]:
    """What is missing, differs or is too much, in words; nothing where the access is whole. ``add`` mends all of it."""
    access = access_of(scope, schema)
    return [
        *_users(warehouse, access),
        *_limits(warehouse, scope),
        *_views(warehouse, access),
        *_grants(warehouse, access.partner, "the partner"),
        *_grants(warehouse, access.owner, "the views' owner"),
        *_policies(warehouse, access.partner, "the partner"),
        *_policies(warehouse, access.owner, "the views' owner"),
    ]


def _users(warehouse: Warehouse, access: Access) -> Iterator[str]:
    names = {"a": access.partner.name, "b": access.owner.name}
    rows = warehouse.query("SELECT name FROM system.users WHERE name IN ({a:String}, {b:String})", names)
    known = {str(user) for (user,) in rows}
    for user in (access.partner, access.owner):
        if user.name not in known:
            yield f"no user {user.name}"
    roles = warehouse.query(
        "SELECT user_name, granted_role_name FROM system.role_grants WHERE user_name IN ({a:String}, {b:String})", names
    )
    for user_name, role in roles:
        yield f"{user_name} has the role {role}"


def _limits(warehouse: Warehouse, scope: Scope) -> Iterator[str]:
    rows = warehouse.query(
        "SELECT setting_name, value, max, toString(writability) FROM system.settings_profile_elements "
        "WHERE profile_name = {n:String} AND setting_name IS NOT NULL",
        {"n": scope.name},
    )
    found = {str(setting): (str(value), most, writability) for setting, value, most, writability in rows}
    for limit in LIMITS:
        if found.pop(limit.setting, None) != _expected(limit):
            yield f"the limit {limit.setting}"
    for setting in sorted(found):
        yield f"the limit {setting}, which is not ours"
    profiles = warehouse.query(
        "SELECT inherit_profile FROM system.settings_profile_elements WHERE user_name = {n:String}", {"n": scope.name}
    )
    if profiles != [(scope.name,)]:
        yield f"the profile of {scope.name}"
    [(quotas,)] = warehouse.query(
        "SELECT count() FROM system.quotas WHERE name = {n:String} AND has(apply_to_list, {n:String})",
        {"n": scope.name},
    )
    columns = ", ".join(f"toString(max_{what})" for what, _ in QUOTA)
    most = warehouse.query(
        f"SELECT {columns} FROM system.quota_limits WHERE quota_name = {{n:String}}", {"n": scope.name}
    )
    if quotas != 1 or [[float(str(each)) for each in row] for row in most] != [[most for _, most in QUOTA]]:
        yield f"the quota {scope.name}"


def _expected(limit: Limit) -> tuple[str, str | None, str]:
    value = str(limit.value)
    return (value, str(limit.most), "CHANGEABLE_IN_READONLY") if limit.is_changeable else (value, None, "CONST")


def _views(warehouse: Warehouse, access: Access) -> Iterator[str]:
    scope = access.scope
    rows = warehouse.query(
        "SELECT name, as_select, create_table_query FROM system.tables WHERE database = {d:String}", {"d": scope.name}
    )
    found = {str(name): (str(select), str(created)) for name, select, created in rows}
    for view in access.views:
        if view.name not in found:
            yield f"no view {view.name}"
            continue
        select, created = found.pop(view.name)
        if select != _formatted(warehouse, view.select):
            yield f"the view {view.name} is not what it should be"
        if f" DEFINER = {scope.owner} SQL SECURITY DEFINER " not in created:
            yield f"the view {view.name} does not read as {scope.owner}"
    for extra in sorted(found):
        yield f"{extra} in the partner's database is not of this version"


def _grants(warehouse: Warehouse, user: User, who: str) -> Iterator[str]:
    rows = warehouse.query(
        "SELECT toString(access_type), ifNull(database, ''), ifNull(table, ''), ifNull(column, ''), grant_option "
        "FROM system.grants WHERE user_name = {n:String} AND NOT is_partial_revoke",
        {"n": user.name},
    )
    expected = {
        ("SELECT", grant.database, grant.table, column, 0) for grant in user.grants for column in grant.columns or ("",)
    }
    if missing := expected - set(rows):
        yield f"{who} lacks {len(missing)} grants, such as SELECT on {_place(sorted(missing)[0])}"
    if extra := set(rows) - expected:
        first = sorted(extra, key=str)[0]
        yield f"{who} has {len(extra)} grants too many, such as {first[0]} on {_place(first)}"


def _policies(warehouse: Warehouse, user: User, who: str) -> Iterator[str]:
    rows = warehouse.query(
        "SELECT database, table, ifNull(select_filter, ''), is_restrictive FROM system.row_policies "
        "WHERE short_name = {n:String} AND apply_to_list = [{n:String}]",
        {"n": user.name},
    )
    found = {(str(database), str(table)): (str(condition), strict) for database, table, condition, strict in rows}
    wrong: dict[str, list[str]] = {}
    for policy in user.policies:
        condition, is_restrictive = found.get((policy.database, policy.table), ("", False))
        where = f"{policy.database}.{policy.table or '*'}"
        if not condition:
            wrong.setdefault("has no row policy on", []).append(where)
        elif _condition(warehouse, condition) != _condition(warehouse, policy.condition):
            wrong.setdefault("has another row policy on", []).append(where)
        elif not is_restrictive:
            wrong.setdefault("has a row policy that is not restrictive on", []).append(where)
    for what, places in wrong.items():
        yield f"{who} {what} {', '.join(places)}"


def _condition(warehouse: Warehouse, condition: str) -> str:
    return _formatted(warehouse, f"SELECT {condition}")


def _formatted(warehouse: Warehouse, select: str) -> str:
    """As the server writes it."""
    [(formatted,)] = warehouse.query("SELECT formatQuerySingleLine({q:String})", {"q": select})
    return cast("str", formatted)


def _place(row: tuple[object, ...]) -> str:
    return f"{row[1]}.{row[2]}" + (f" ({row[3]})" if row[3] else "")
