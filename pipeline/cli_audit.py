"""`crosscredit audit`: everything computed again from the topics, and compared with ClickHouse."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter
from rich.console import Console

from pipeline.cli_terminal import console, say

if TYPE_CHECKING:
    from pipeline.audit.audit import Audited
    from pipeline.audit.differences import Difference
    from pipeline.domain.terms import Catalogue
    from pipeline.kafka.clients import KafkaSettings
    from pipeline.settings import Settings

EQUAL: Final = 0
DIFFERENT: Final = 1
NOT_COMPARED: Final = 2
LAGS: Final = 3


def add_to(app: App) -> None:
    """Give the command line the command."""
    app.command(audit_command, name="audit")


def audit_command(
    *,
    program: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    bootstrap: str | None = None,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
    registry: str | None = None,
    namespace: str | None = None,
    max_future: str | None = None,
    patience: str = "1m",
    show: int = 5,
    output: Path | None = None,
) -> int:
    """Compute everything again from the topics, as `crosscredit run` does, and compare it with ClickHouse row by row.

    For example: crosscredit audit --program terms/ --clickhouse-url http://127.0.0.1:8123 --output differences.jsonl

    Exit status 0 if all is equal, 1 if something differs, 2 if it could not be compared, 3 if the workers lag. Nothing
    is changed anywhere. Run it when no events come in: what comes in meanwhile is waited for.

    Parameters
    ----------
    program
        Terms of the programs, the same that the workers run with: TOML files, one a version, or folders of them.
    bootstrap
        A Kafka broker, as host:port. Also CROSSCREDIT_KAFKA_BOOTSTRAP; TLS and SASL come from CROSSCREDIT_KAFKA_… too.
    clickhouse_url
        ClickHouse's HTTP interface. Also CROSSCREDIT_CLICKHOUSE_URL.
    clickhouse_database
        The database in it. Also CROSSCREDIT_CLICKHOUSE_DATABASE.
    registry
        The address of a schema registry, if the workers use one. Also CROSSCREDIT_REGISTRY.
    namespace
        The beginning of the names of the workers' consumer groups. Also CROSSCREDIT_NAMESPACE.
    max_future
        As the workers have it: how far an event's time may lie after its receipt. Also CROSSCREDIT_MAX_FUTURE.
    patience
        How long to wait for workers that lag behind the topics, such as 90s or 10m.
    show
        How many differences of each table are printed.
    output
        A file for all differences, one JSON object a line with key, the columns that differ, and both rows.
    """
    from pipeline.agents.log_reader import LogUnreadableError
    from pipeline.audit.audit import ForeignTermsError
    from pipeline.audit.settled import LagError, RecordsGoneError
    from pipeline.audit.summary import print_audited
    from pipeline.clickhouse.errors import WarehouseError
    from pipeline.kafka.clients import KafkaSettings
    from pipeline.kafka.errors import TopicsError, UnreachableError
    from pipeline.settings import duration_ms, settings_of
    from pipeline.terms_files import load_catalogue
    from pipeline.wire.schema_ids import RegistryUnavailableError

    catalogue = load_catalogue([Path(each) for each in program])
    settings = settings_of(
        os.environ, clickhouse_url=clickhouse_url, clickhouse_database=clickhouse_database, registry=registry,
        namespace=namespace, max_future=max_future,
    )  # fmt: skip
    kafka = KafkaSettings.from_environment(os.environ, bootstrap)
    patience_s = duration_ms("--patience", patience) / 1000
    try:
        audited = _audit(catalogue, settings, kafka, patience_s, show, output)
    except LagError as error:
        print(error, file=sys.stderr)
        return LAGS
    except (
        UnreachableError, TopicsError, LogUnreadableError, WarehouseError, RegistryUnavailableError, ForeignTermsError,
        RecordsGoneError,
    ) as error:  # fmt: skip
        print(error, file=sys.stderr)
        return NOT_COMPARED
    print_audited(console(), audited, output)
    return EQUAL if audited.is_equal else DIFFERENT


def _audit(
    catalogue: Catalogue, settings: Settings, kafka: KafkaSettings, patience_s: float, show: int, output: Path | None
) -> Audited:  # fmt: skip
    from pipeline.agents.log_reader import LogReader
    from pipeline.agents.outcomes import Outcomes
    from pipeline.audit.audit import Audit
    from pipeline.audit.settled import Settled
    from pipeline.embedded.progress import TerminalWatcher
    from pipeline.kafka.clients import confluent_config
    from pipeline.kafka.topics import verify_all_topics
    from pipeline.opening import schemas_of, warehouse_of
    from pipeline.topology import group_of
    from pipeline.wire.kafka_events import InputDecoder
    from pipeline.wire.messages import Messages

    config = confluent_config(kafka)
    partitions = verify_all_topics(config)
    schemas = schemas_of(settings)

    def log_of(step: str) -> LogReader:
        return LogReader(config, group_of(step, settings.namespace))

    with ExitStack() as stack:
        written = stack.enter_context(_opened(output)) if output is not None else None
        warehouse = stack.enter_context(warehouse_of(settings, answer_timeout_s=600.0, create=False))
        log = stack.enter_context(closing(log_of("identity")))
        settled = stack.enter_context(closing(Settled(log_of, partitions, patience_s, say)))
        audit = Audit(
            catalogue, InputDecoder(schemas), Outcomes(Messages(schemas)), log, settled, warehouse,
            partitions=partitions, max_future_ms=settings.max_future_ms,
        )  # fmt: skip

        def tell(difference: Difference) -> None:
            if written is not None:
                written.write(difference.as_json() + "\n")

        return audit.run(TerminalWatcher(Console(stderr=True)), tell, show)


def _opened(output: Path) -> Any:
    from pipeline.settings import SettingsError

    try:
        return output.open("w", encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"--output {output} cannot be written ({error.strerror}). Name a file in a folder that you may write to."
        ) from error
