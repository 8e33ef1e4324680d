"""What settings name, opened: ClickHouse and the schemas. Every command that needs one of them opens it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.clickhouse.warehouse import Warehouse
    from pipeline.wire.schema_ids import Schemas


def schemas_of(settings: Settings) -> Schemas:
    """The registry's schemas, or where none is set, those that come with the program. Nothing is asked yet."""
    from pipeline.wire.schema_ids import open_schemas

    return open_schemas(
        settings.registry, settings.registry_username, settings.registry_password, settings.registry_ca_file
    )


def warehouse_of(settings: Settings, *, answer_timeout_s: float = 30.0, create: bool = True) -> Warehouse:
    """A connection to the ClickHouse server; errors and ``create`` as for :meth:`Warehouse.server`."""
    from pipeline.clickhouse.warehouse import Warehouse

    return Warehouse.server(
        settings.clickhouse_url, settings.clickhouse_database, username=settings.clickhouse_username,
        password=settings.clickhouse_password, ca_file=settings.clickhouse_ca_file or None,
        cluster=settings.clickhouse_cluster, answer_timeout_s=answer_timeout_s, create=create,
    )  # fmt: skip
