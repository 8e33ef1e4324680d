"""`crosscredit worker`: the command that runs the live pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

StepName = Literal["identity", "credit", "earnings", "sink", "notify"]


def add_to(app: App) -> None:
    """Give the command line the command."""
    app.command(worker_command, name="worker")


def worker_command(
    *,
    program: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    steps: Annotated[list[StepName] | None, Parameter(consume_multiple=True, negative=())] = None,
    folder: Path | None = None,
    bootstrap: str | None = None,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
    registry: str | None = None,
    namespace: str | None = None,
    instance: str | None = None,
    allowed_lateness: str | None = None,
    idle_timeout: str | None = None,
    max_future: str | None = None,
    settle_interval: str | None = None,
    insert_interval: str | None = None,
    session_timeout: str | None = None,
    status_host: str | None = None,
    status_port: str | None = None,
    log_format: Literal["text", "json"] | None = None,
    webhooks: Path | None = None,
) -> None:
    """Run steps of the live pipeline, from Kafka to ClickHouse, until SIGTERM or Ctrl-C.

    For example: crosscredit worker --program terms/ --bootstrap 127.0.0.1:9092 --clickhouse-url http://127.0.0.1:8123

    Start as many as you like, each with a folder of its own: they share the work. Each option but --program and --steps
    can be given as a variable too, such as CROSSCREDIT_ALLOWED_LATENESS. Passwords, TLS and SASL are told by variables
    alone: CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE and CROSSCREDIT_KAFKA_….

    Parameters
    ----------
    program
        Terms of the programs: TOML files, one a version, or folders of them; the same for every worker.
    steps
        Which steps to run; all by default, notify among them only where --webhooks is given.
    folder
        Where state is kept. It may be lost: it is rebuilt from the topics.
    bootstrap
        A Kafka broker, as host:port.
    clickhouse_url
        ClickHouse's HTTP interface.
    clickhouse_database
        The database in it.
    registry
        The address of a schema registry; without it the schemas that come with the program are used.
    namespace
        The beginning of the names of consumer groups.
    instance
        This worker's name, the same after a restart; by default the host's and the folder's.
    allowed_lateness
        How far an event's time may lie behind the watermark, such as 24h.
    idle_timeout
        After how long an input that is silent no longer holds the watermark back.
    max_future
        How far an event's time may lie after its receipt.
    settle_interval
        How long facts wait before outcomes are derived from them, at least.
    insert_interval
        How long rows wait for others before they are inserted, at most.
    session_timeout
        After how long a worker that is silent loses its partitions to the others.
    status_host
        Where /metrics, /healthz and /readyz are served; only this machine by default.
    status_port
        Their port; 0 takes a free one, which the log tells.
    log_format
        text for people, json for machines.
    webhooks
        A TOML file of partners' endpoints, which the step notify tells what was reached and qualified.
    """
    from pipeline.agents.running import run_worker
    from pipeline.kafka.clients import KafkaSettings
    from pipeline.settings import SettingsError, settings_of
    from pipeline.terms_files import load_catalogue
    from pipeline.topology import EVERY_STEP, STEPS

    catalogue = load_catalogue([Path(each) for each in program])
    settings = settings_of(
        os.environ, folder=folder, clickhouse_url=clickhouse_url, clickhouse_database=clickhouse_database,
        registry=registry, namespace=namespace, instance=instance, allowed_lateness=allowed_lateness,
        idle_timeout=idle_timeout, max_future=max_future, settle_interval=settle_interval,
        insert_interval=insert_interval, session_timeout=session_timeout, status_host=status_host,
        status_port=status_port, log_format=log_format, webhooks=webhooks,
    )  # fmt: skip
    kafka = KafkaSettings.from_environment(os.environ, bootstrap)
    if steps and "notify" in steps and settings.webhooks is None:
        raise SettingsError("The step notify has nobody to tell. Name the file of endpoints: --webhooks webhooks.toml")
    run_worker(settings, kafka, catalogue, list(steps or (EVERY_STEP if settings.webhooks else STEPS)))
