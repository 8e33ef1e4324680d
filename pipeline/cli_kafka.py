"""`crosscredit produce`, `topics` and `stack`: the commands around the live pipeline's Kafka."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators

from pipeline.cli_terminal import console, paths_of, say

if TYPE_CHECKING:
    from pipeline.kafka.clients import KafkaSettings

STACK_FOLDER = Path(".crosscredit")

Number = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def add_to(app: App) -> None:
    """Give the command line the commands."""
    app.command(produce_command, name="produce")
    topics = App(name="topics", help="The Kafka topics of the live pipeline.")
    topics.command(topics_create_command, name="create")
    topics.command(topics_list_command, name="list")
    app.command(topics)
    stack = App(name="stack", help="A local Kafka and ClickHouse, from pip alone: nothing else need be installed.")
    stack.command(stack_up_command, name="up")
    stack.command(stack_down_command, name="down")
    stack.command(stack_status_command, name="status")
    app.command(stack)


def produce_command(
    *,
    input: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    bootstrap: str | None = None,
    registry: str | None = None,
    resume: Path | None = None,
    rejected: Path | None = None,
) -> None:
    """Send files of events to the topics of the live pipeline; every record's delivery is confirmed.

    For example: crosscredit produce --input events/ --bootstrap 127.0.0.1:9092 --resume sent.json

    Records that are no events are counted and listed; they stop nothing.

    Parameters
    ----------
    input
        Events, as `crosscredit run` takes them: files, folders, or - for JSON Lines on standard input.
    bootstrap
        Kafka, as HOST:PORT. Also CROSSCREDIT_KAFKA_BOOTSTRAP; TLS and SASL come from CROSSCREDIT_KAFKA_… too.
    registry
        The address of a schema registry. Also CROSSCREDIT_REGISTRY. Without it, the schemas of this program.
    resume
        A file for how far it came: an interrupted run goes on there when it is run again.
    rejected
        A file for the records that are no events, as JSON Lines.
    """
    from pipeline.kafka.clients import confluent_config
    from pipeline.kafka.produce import produce
    from pipeline.kafka.produce_summary import print_produced
    from pipeline.opening import schemas_of
    from pipeline.settings import settings_of
    from pipeline.wire.files import open_sources

    config = confluent_config(_kafka_settings(bootstrap))
    schemas = schemas_of(settings_of(os.environ, registry=registry))
    sources = open_sources(paths_of(input))
    produced = produce(config, schemas, sources, resume=resume, rejected=rejected, tell=say)
    print_produced(console(), produced, rejected)


def topics_create_command(
    *, bootstrap: str | None = None, partitions: Number | None = None, replication: Number = 1
) -> None:
    """Create the topics that are missing, as schemas/topics declares them. What exists otherwise is refused.

    Parameters
    ----------
    bootstrap
        Kafka, as HOST:PORT. Also CROSSCREDIT_KAFKA_BOOTSTRAP.
    partitions
        Another number than is declared, the same for all topics. It cannot be changed later.
    replication
        How many brokers keep each record; 3 in production.
    """
    from pipeline.kafka.clients import confluent_config
    from pipeline.kafka.topics import create_topics, load_topics

    topics = load_topics()
    made = create_topics(confluent_config(_kafka_settings(bootstrap)), topics, partitions, replication)
    for name in made:
        print(f"created  {name}")
    print(f"{len(made)} topics created, {len(topics) - len(made)} were there.")


def topics_list_command() -> None:
    """Show the topics that schemas/topics declares: who writes and reads them, and how they are kept."""
    from rich.table import Table

    from pipeline.kafka.topics import load_topics

    table = Table("topic", "key", "partitions", "kept", "from", "to", box=None, padding=(0, 2, 0, 0))
    for topic in load_topics():
        kept = "last of each key" if topic.cleanup_policy == "compact" else "all"
        if topic.retention_ms != -1:
            kept += f", {topic.retention_ms} ms"
        key, writers, readers = (", ".join(each) for each in (topic.key, topic.producers, topic.consumers))
        table.add_row(topic.name, key, str(topic.partitions), kept, writers, readers)
    console().print(table)


def stack_up_command(*, folder: Path = STACK_FOLDER) -> None:
    """Start what does not run of a local Kafka and ClickHouse, and create the topics. The first time fetches 43 MB.

    Parameters
    ----------
    folder
        Where data, logs and process ids are kept.
    """
    from pipeline.kafka.stack import up

    running = up(folder, say)
    bootstrap, clickhouse = (f"127.0.0.1:{running[name].port}" for name in ("kafka", "clickhouse"))
    print(f"Kafka       {bootstrap}\nClickHouse  http://{clickhouse}\n")
    print(f"export CROSSCREDIT_KAFKA_BOOTSTRAP={bootstrap} CROSSCREDIT_CLICKHOUSE_URL=http://{clickhouse}")
    print("crosscredit produce --input EVENTS")
    print("crosscredit worker --program TERMS")
    print(f"crosscredit stack down --folder {folder}")


def stack_down_command(*, folder: Path = STACK_FOLDER) -> None:
    """End the local Kafka and ClickHouse, and wait for them. Their data stay.

    Parameters
    ----------
    folder
        The folder of `crosscredit stack up`.
    """
    from pipeline.kafka.stack import down

    ended = down(folder)
    print(f"Ended {' and '.join(ended)}. The data stay in {folder}." if ended else f"Nothing runs in {folder}.")


def stack_status_command(*, folder: Path = STACK_FOLDER) -> None:
    """Say what runs, where, and under which process id.

    Parameters
    ----------
    folder
        The folder of `crosscredit stack up`.
    """
    from pipeline.kafka.stack import status

    found = status(folder)
    for name, (part, word) in found.items():
        where = f"127.0.0.1:{part.port}  process {part.pid}" if word != "stopped" else ""
        print(f"{name:<12}{word:<18}{where}".rstrip())
    if not found:
        print(f"Nothing was started in {folder}. Start it with `crosscredit stack up`.")


def _kafka_settings(bootstrap: str | None) -> KafkaSettings:
    from pipeline.kafka.clients import KafkaSettings

    return KafkaSettings.from_environment(os.environ, bootstrap)
