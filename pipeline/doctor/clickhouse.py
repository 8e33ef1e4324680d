"""What the doctor asks of ClickHouse. Nothing is created there; what is missing, a worker or `migrate` would make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, cast

from pipeline.clickhouse import schema
from pipeline.clickhouse.cluster import EVERYWHERE
from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError
from pipeline.clickhouse.tables import STORED
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.doctor.findings import Finding, note, ok, unknown, wrong

CLOCKS_APART_S: Final = 5.0
FREE_AT_LEAST: Final = 0.10
"""Of a disk: merges need room for a copy of what they merge."""

GRANTS: Final = (
    "SELECT", "INSERT", "ALTER TABLE", "CREATE TABLE", "CREATE VIEW", "DROP VIEW",
)  # fmt: skip
"""What a worker's user needs on its database: it migrates, inserts, and looks clicks up."""

_LATER: Final = ("clickhouse tables", "clickhouse grants", "clickhouse clock", "clickhouse disk")
_MIGRATE: Final = "Run crosscredit migrate, or start a worker: it migrates when it starts."


class ClickHouseDoctor:
    """The checks of one database of a server. ``opened`` connects without creating anything."""

    def __init__(self, opened: Callable[[], Warehouse], database: str, cluster: str) -> None:
        self._opened = opened
        self._database = database
        self._cluster = cluster

    def examine(self) -> Iterator[Finding]:
        """Connection, tables, grants, clock, disk."""
        try:
            warehouse = self._opened()
        except WarehouseError as error:
            what, remedy = _told(error)
            yield wrong("clickhouse", what, remedy)
            yield from (unknown(check, "ClickHouse cannot be asked.") for check in _LATER)
            return
        with closing(warehouse):
            examinations = (self._version, self._tables, self._grants, self._clock, self._disk)
            for check, examine in zip(("clickhouse", *_LATER), examinations, strict=True):
                try:
                    yield from examine(warehouse)
                except WarehouseError as error:
                    yield wrong(check, *_told(error))

    def _version(self, warehouse: Warehouse) -> Iterator[Finding]:
        ((version, user),) = warehouse.query("SELECT version(), currentUser()")
        yield ok("clickhouse", f"ClickHouse {version} answers to {user}, and has the database {self._database}.")

    def _tables(self, warehouse: Warehouse) -> Iterator[Finding]:
        listed = "SELECT name, engine FROM system.tables WHERE database = {database:String}"
        engines = {str(name): str(engine) for name, engine in warehouse.query(listed, {"database": self._database})}
        if "schema_migrations" not in engines:
            yield wrong("clickhouse tables", f"The database {self._database} has no tables yet.", _MIGRATE)
            return
        applied = cast("list[tuple[int, str, str]]", warehouse.query(schema.READ_RECORD))
        missing = [each.name for each in schema.pending(schema.packaged_migrations(), applied)]
        if missing:
            yield wrong("clickhouse tables", f"Not applied yet: {', '.join(missing)}.", _MIGRATE)
            return
        gone = sorted(set(STORED) - engines.keys())
        if gone:
            remedy = (
                "Somebody dropped them. Restore a backup, or begin a new database and --namespace: all is derived anew."
            )
            yield wrong("clickhouse tables", f"The tables {', '.join(gone)} are gone.", remedy)
            return
        yield from self._engines(engines, len(applied))

    def _engines(self, engines: dict[str, str], migrations: int) -> Iterator[Finding]:
        """Tables are over a cluster if, and only if, this deployment is: else rows would go to one server alone."""
        spread = {name for name in STORED if engines[name] == "Distributed"}
        if self._cluster and spread != set(STORED):
            text = f"The tables are on one server, but the cluster {self._cluster} is set."
            yield wrong("clickhouse tables", text, "Unset CROSSCREDIT_CLICKHOUSE_CLUSTER, or migrate a new database.")
        elif spread and not self._cluster:
            text = "The tables are over a cluster, but none is set: the next migration would reach one server alone."
            yield wrong("clickhouse tables", text, "Set CROSSCREDIT_CLICKHOUSE_CLUSTER to its name.")
        else:
            held = {name if name in EVERYWHERE or not spread else f"{name}_local" for name in STORED}
            plain = sorted(name for name in held if "Replacing" not in engines.get(name, ""))
            if plain:
                text = f"{', '.join(plain)} replaces no older versions ({engines.get(plain[0], 'missing')})."
                yield wrong(
                    "clickhouse tables", text, "Only crosscredit migrate should make tables. Begin a new database."
                )
            else:
                yield ok("clickhouse tables", f"All {len(STORED)} tables are there, {migrations} migrations applied.")

    def _grants(self, warehouse: Warehouse) -> Iterator[Finding]:
        lacks = [grant for grant in GRANTS if not warehouse.has_grant(grant, self._database)]
        if lacks:
            text = f"The user lacks {', '.join(lacks)} on {self._database}."
            yield wrong("clickhouse grants", text, f"GRANT {', '.join(lacks)} ON {self._database}.* TO that user.")
        else:
            yield ok("clickhouse grants", f"The user may read, insert and migrate in {self._database}.")

    def _clock(self, warehouse: Warehouse) -> Iterator[Finding]:
        before = time.time()
        ((server_ms,),) = warehouse.query("SELECT toUnixTimestamp64Milli(now64(3))")
        after = time.time()
        apart = cast("int", server_ms) / 1000 - (before + after) / 2
        text = f"ClickHouse's clock is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this one."
        if abs(apart) - (after - before) / 2 > CLOCKS_APART_S:
            remedy = "Set the clocks by NTP. What is payable today, and what is late, depends on them."
            yield wrong("clickhouse clock", text, remedy)
        else:
            yield ok("clickhouse clock", text)

    def _disk(self, warehouse: Warehouse) -> Iterator[Finding]:
        disks = warehouse.query("SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0")
        for name, free, total in cast("list[tuple[str, int, int]]", disks):
            text = f"The disk {name} has {free >> 30} of {total >> 30} GiB free."
            if free < FREE_AT_LEAST * total:
                yield note("clickhouse disk", text, "Add space: merges need room, and inserts fail on a full disk.")
            else:
                yield ok("clickhouse disk", text)


def _told(error: WarehouseError) -> tuple[str, str]:
    """What was wrong, and the remedy."""
    text = str(error)
    if "has no database" in text:
        return text.partition(". ")[0] + ".", _MIGRATE
    if isinstance(error, WarehouseUnavailableError):
        return text.removesuffix(" Is it up? Try again."), (
            "Start it, or name yours with CROSSCREDIT_CLICKHOUSE_URL (workers wait for it)."
        )
    if "Check the user and the password." in text or "AUTHENTICATION_FAILED" in text:
        return text, "Check CROSSCREDIT_CLICKHOUSE_USERNAME and CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE."
    return text, "See what ClickHouse says, and its log."
