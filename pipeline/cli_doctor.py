"""`crosscredit doctor` and `migrate`: is a deployment as it must be, and bringing its tables to this version."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from pipeline.cli_terminal import console

WELL: Final = 0
SOMETHING_WRONG: Final = 1
_MIGRATION_S: Final = 200.0
"""On a cluster, a statement is answered when every server has run it, which ClickHouse waits three minutes for."""


def add_to(app: App) -> None:
    """Give the command line the commands."""
    app.command(doctor_command, name="doctor")
    app.command(migrate_command, name="migrate")


def doctor_command(
    *,
    program: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    folder: Path | None = None,
    bootstrap: str | None = None,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
    registry: str | None = None,
    namespace: str | None = None,
    max_lag: int = 1_000_000,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Check a deployment, with the same options and variables as its workers, and say how to mend what is wrong.

    For example: crosscredit doctor --program terms/ --bootstrap 127.0.0.1:9092

    Looked at are Kafka, codecs, topics, consumer groups and their lag, the schema registry, ClickHouse with its tables
    and grants, clocks, disks, terms, and the state on this machine. Nothing is changed anywhere. Exit status 0 if all
    is well, 1 if something is wrong, 2 for arguments or variables that cannot be used.

    Parameters
    ----------
    program
        Terms of the programs, as the workers have them: TOML files, one a version, or folders of them.
    folder
        Where a worker on this machine keeps its state. Also CROSSCREDIT_FOLDER.
    bootstrap
        A Kafka broker, as host:port. Also CROSSCREDIT_KAFKA_BOOTSTRAP; TLS and SASL come from CROSSCREDIT_KAFKA_… too.
    clickhouse_url
        ClickHouse's HTTP interface. Also CROSSCREDIT_CLICKHOUSE_URL.
    clickhouse_database
        The database in it. Also CROSSCREDIT_CLICKHOUSE_DATABASE.
    registry
        The address of a schema registry, if the workers use one. Also CROSSCREDIT_REGISTRY.
    namespace
        The beginning of the names of consumer groups. Also CROSSCREDIT_NAMESPACE.
    max_lag
        How many records may wait for a step.
    json
        One JSON object instead of text.
    """
    from pipeline.doctor.clickhouse import ClickHouseDoctor
    from pipeline.doctor.findings import findings, is_well
    from pipeline.doctor.kafka import KafkaDoctor
    from pipeline.doctor.registry import examine_registry
    from pipeline.doctor.state import StateDoctor
    from pipeline.doctor.summary import as_json, print_findings
    from pipeline.kafka.clients import KafkaSettings, confluent_config
    from pipeline.opening import warehouse_of
    from pipeline.settings import settings_of

    settings = settings_of(
        os.environ, folder=folder, clickhouse_url=clickhouse_url, clickhouse_database=clickhouse_database,
        registry=registry, namespace=namespace,
    )  # fmt: skip
    kafka = confluent_config(KafkaSettings.from_environment(os.environ, bootstrap))
    clickhouse = ClickHouseDoctor(
        lambda: warehouse_of(settings, answer_timeout_s=10.0, create=False), settings.clickhouse_database,
        settings.clickhouse_cluster,
    )  # fmt: skip
    found = findings(
        [
            StateDoctor(settings, program or []).examine,
            KafkaDoctor(kafka, settings.namespace, max_lag).examine,
            lambda: examine_registry(settings),
            clickhouse.examine,
        ]
    )
    if json:
        seen = list(found)
        print(as_json(seen))
    else:
        seen = print_findings(console(), found)
    return WELL if is_well(seen) else SOMETHING_WRONG


def migrate_command(
    *,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
    clickhouse_cluster: str | None = None,
    again: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Bring ClickHouse's tables to this version: create the database, tables and views that are missing.

    For example: crosscredit migrate --clickhouse-url http://127.0.0.1:8123

    Workers do the same when they start. Running it again changes nothing. The password is told by
    CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE.

    Parameters
    ----------
    clickhouse_url
        ClickHouse's HTTP interface. Also CROSSCREDIT_CLICKHOUSE_URL.
    clickhouse_database
        The database in it. Also CROSSCREDIT_CLICKHOUSE_DATABASE.
    clickhouse_cluster
        A cluster of the server's remote_servers, over which tables are replicated and sharded. Set it for workers too:
        CROSSCREDIT_CLICKHOUSE_CLUSTER.
    again
        Run all statements again, also those that were applied: a server that joined a cluster gets its tables so.
    """
    from pipeline.opening import warehouse_of
    from pipeline.settings import settings_of

    settings = settings_of(
        os.environ, clickhouse_url=clickhouse_url, clickhouse_database=clickhouse_database,
        clickhouse_cluster=clickhouse_cluster,
    )  # fmt: skip
    with warehouse_of(settings, answer_timeout_s=_MIGRATION_S) as warehouse:
        applied = warehouse.migrate(again=again)
    for name in applied:
        print(f"applied  {name}")
    print(f"{len(applied)} migrations applied; {settings.clickhouse_database} is at this version.")
