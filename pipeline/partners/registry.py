"""The list of partners that have access: a table in a database of its own, ``<database>_partners``.

It lies outside crosscredit's database, so that its tables are what the migrations made and nothing else.
"""

from __future__ import annotations

import secrets
from typing import cast

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.partners.scope import Scope, registry_of
from pipeline.partners.sql import place, text

_COLUMNS = "name, brand_id, program_id, partner_id, time_zone, key, added_at, version, is_deleted"


def listed(warehouse: Warehouse, base: str) -> list[Scope]:
    """Everybody on the list, by program and partner; nobody where there is no list yet."""
    known = warehouse.query(
        "SELECT 1 FROM system.tables WHERE database = {d:String} AND name = 'partners'", {"d": registry_of(base)}
    )
    if not known:
        return []
    rows = warehouse.query(
        f"SELECT brand_id, program_id, partner_id, time_zone FROM {place(registry_of(base), 'partners')} FINAL "
        "ORDER BY program_id, partner_id"
    )
    return [Scope(base, *map(str, row)) for row in rows]


def enlist(warehouse: Warehouse, scope: Scope) -> None:
    """Put a partner on the list. One that is on it keeps its key: its customers' pseudonyms stay."""
    old = warehouse.query(
        f"SELECT key, toUnixTimestamp64Milli(added_at), version FROM {place(scope.registry, 'partners')} FINAL "
        "WHERE name = {n:String}",
        {"n": scope.name},
    )
    key, added, version = old[0] if old else (secrets.token_hex(32), None, _latest(warehouse, scope))
    at = "now64(3)" if added is None else f"fromUnixTimestamp64Milli({int(cast('int', added))}, 'UTC')"
    _write(warehouse, scope, str(key), at, int(cast("int", version)) + 1, is_deleted=0)


def strike(warehouse: Warehouse, scope: Scope) -> None:
    """Take a partner off the list, key and all."""
    _write(warehouse, scope, "", "now64(3)", _latest(warehouse, scope) + 1, is_deleted=1)


def _latest(warehouse: Warehouse, scope: Scope) -> int:
    [(latest,)] = warehouse.query(
        f"SELECT toInt64(max(version)) FROM {place(scope.registry, 'partners')} WHERE name = {{n:String}}",
        {"n": scope.name},
    )
    return int(cast("int", latest))


def _write(warehouse: Warehouse, scope: Scope, key: str, added_at: str, version: int, is_deleted: int) -> None:
    texts = (scope.name, scope.brand_id, scope.program_id, scope.partner_id, scope.time_zone, key)
    warehouse.execute(
        f"INSERT INTO {place(scope.registry, 'partners')} ({_COLUMNS}) SETTINGS async_insert = 0 "
        f"SELECT {', '.join(map(text, texts))}, {added_at}, {version}, {is_deleted}"
    )
