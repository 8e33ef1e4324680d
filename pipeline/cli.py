"""The command line, and the composition root: where files, state, tables and steps are put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import App, Parameter
from rich.console import Console

from pipeline import cli_audit, cli_doctor, cli_kafka, cli_partner, cli_replay, cli_webhooks, cli_worker
from pipeline.cli_terminal import console, for_the_parser, paths_of

DEMO_FOLDER = Path("crosscredit-demo")
LIVE_FOLDER = Path(".crosscredit")

EXIT_FAILED = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130

app = App(
    name="crosscredit",
    help="Referral detection that both sides can trust: exact, explained credit between brands.",
    help_format="plaintext",
    version=lambda: metadata.version("crosscredit"),
    suppress_keyboard_interrupt=False,  # status_of says what to do next
)

cli_kafka.add_to(app)
cli_worker.add_to(app)
cli_audit.add_to(app)
cli_replay.add_to(app)
cli_partner.add_to(app)
cli_doctor.add_to(app)
cli_webhooks.add_to(app)


class UnusableError(Exception):
    """Arguments, terms or files that cannot be used; the text names the remedy."""


@app.command(name="run")
def run_command(
    *,
    program: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    input: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    output: Path | None = None,
    database: Path | None = None,
) -> None:
    """Turn files of events into attributions, referrals, ledger entries and milestones.

    For example: crosscredit run --program terms/ --input events.jsonl orders.csv.gz --database season.db --output out

    Bad records are kept, counted and listed; they stop nothing. An interrupted run is simply run again.

    Parameters
    ----------
    program
        Terms of the programs: TOML files, one a version, or folders of them.
    input
        Events: .jsonl, .csv, .parquet or .avro files (also .gz and .zst), folders of them, or - for JSON Lines on
        standard input.
    output
        A folder for the outcomes as JSON Lines, one file a table.
    database
        A folder in which state and ClickHouse tables last from run to run. The same input again changes nothing, more
        input continues. Without it they are gone when the run ends.
    """
    from pipeline.clickhouse.export import export_jsonl
    from pipeline.embedded.database import Database
    from pipeline.embedded.progress import TerminalWatcher
    from pipeline.embedded.runner import run
    from pipeline.embedded.summary import example_conversion, print_summary
    from pipeline.terms_files import load_catalogue
    from pipeline.wire.files import open_sources

    catalogue = load_catalogue([Path(each) for each in program])
    sources = open_sources(paths_of(input))
    _check_output(output)
    with Database.open(database) as opened:
        counts = run(opened, catalogue, sources, TerminalWatcher(Console(stderr=True)))
        if output is not None:
            export_jsonl(opened.warehouse, output)
        print_summary(
            console(),
            opened.warehouse,
            catalogue,
            counts,
            _hints(database, output, example_conversion(opened.warehouse)),
        )


@app.command(name="explain")
def explain_command(id: str, /, *, database: Path = DEMO_FOLDER / "database") -> None:
    """Show why a conversion was, or was not, credited: who, by which rule, under which terms, and why not the others.

    For example: crosscredit explain O-1042 --database season.db

    Parameters
    ----------
    id
        An order_id, or the event_id of a sign-up or order.
    database
        The folder that `crosscredit run --database` or `crosscredit demo` made.
    """
    from pipeline.embedded.database import Database, exists
    from pipeline.embedded.explain import explain

    if not exists(database):
        raise UnusableError(f"There is no database in {database}. Name the folder that a run with --database made.")
    with Database.open(database) as opened:
        lines = explain(opened, id)
    if not lines:
        raise UnusableError(
            f"{id} is not known in {database}. Ask for an order_id, or the event_id of a sign-up or order."
        )
    print("\n".join(lines))


@app.command(name="demo")
def demo_command(*, folder: Path = DEMO_FOLDER, seed: int = 2026, events: int = 250_000) -> None:
    """Run a season of cross-promotion between brands, check it against what its generator knows, and write the pages.

    For example: crosscredit demo --folder season --seed 7

    Parameters
    ----------
    folder
        Where the season's events and terms, the database and the pages go.
    seed
        Another seed makes another season.
    events
        How many records; at least 200 000 make a lively season.
    """
    from pipeline.demo.command import run_demo

    run_demo(folder, seed, events, console())


@app.command(name="live")
def live_command(
    *, folder: Path = LIVE_FOLDER, seed: int = 2026, events: int = 60_000, seconds: float = 60.0
) -> None:  # fmt: skip
    """Run the live pipeline on this machine: a local Kafka, ClickHouse and a worker, and pages that change.

    For example: crosscredit live --seconds 120

    Parameters
    ----------
    folder
        Where data, logs, process ids and pages go.
    seed
        Another seed makes another season.
    events
        How many records the season has.
    seconds
        Within how many seconds it passes.
    """
    from pipeline.demo.live import run_live

    run_live(folder, seed, events, seconds, console())


def _hints(database: Path | None, output: Path | None, conversion_id: str) -> list[str]:
    hints = []
    if database is None:
        hints.append("Add --database FOLDER to keep state and tables, so that more input continues.")
    elif conversion_id:
        hints.append(f"crosscredit explain {conversion_id} --database {database}")
    if output is not None:
        hints.append(f"The outcomes are in {output}, one JSON Lines file a table.")
    elif database is None:
        hints.append("Add --output FOLDER to get the outcomes as JSON Lines.")
    return hints


def _check_output(output: Path | None) -> None:
    if output is None:
        return
    if output.exists() and not output.is_dir():
        raise UnusableError(f"--output {output} is a file. Name a folder; it is made if there is none.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableError(
            f"--output {output} cannot be made ({error.strerror}). Name a folder that you may write to."
        ) from error
    if not os.access(output, os.W_OK):
        raise UnusableError(f"--output {output} cannot be written to. Name a folder that you may write to.")


def _unusable() -> tuple[type[Exception], ...]:
    from pipeline.clickhouse.errors import WarehouseError
    from pipeline.domain.terms_rules import TermsError
    from pipeline.embedded.database import DatabaseError
    from pipeline.embedded.engine import TermsChangedError
    from pipeline.kafka.errors import KafkaSettingsError
    from pipeline.settings import SettingsError
    from pipeline.state.rocks import StateError
    from pipeline.wire.files import InputError
    from pipeline.wire.own_schemas import MissingSchemasError

    found: tuple[type[Exception], ...] = (
        UnusableError, TermsError, InputError, DatabaseError, StateError, TermsChangedError, WarehouseError,
        SettingsError, KafkaSettingsError, MissingSchemasError,
    )  # fmt: skip
    if "pipeline.wire.schema_ids" in sys.modules:
        from pipeline.wire.schema_ids import SchemaRefusedError

        found = (*found, SchemaRefusedError)
    if "pipeline.partners.server" in sys.modules:
        from pipeline.partners.grafana import GrafanaError
        from pipeline.partners.passwords import PasswordFileError
        from pipeline.partners.server import PartnerError

        found = (*found, PartnerError, PasswordFileError, GrafanaError)
    return found


def _failed() -> tuple[type[Exception], ...]:
    """What goes wrong with good arguments, and may go right when it is tried again."""
    from pipeline.kafka.errors import BrokerError, DeliveryError, TopicsError, UnreachableError

    found: list[type[Exception]] = [UnreachableError, TopicsError, DeliveryError, BrokerError]
    if "pipeline.agents.worker" in sys.modules:
        from pipeline.agents.worker import WorkerFailedError

        found.append(WorkerFailedError)
    if "pipeline.agents.log_reader" in sys.modules:
        from pipeline.agents.log_reader import LogUnreadableError

        found.append(LogUnreadableError)
    if "pipeline.wire.schema_ids" in sys.modules:
        from pipeline.wire.schema_ids import RegistryUnavailableError

        found.append(RegistryUnavailableError)
    return tuple(found)


class _WithoutPandas(MetaPathFinder):
    """Arrow loads pandas at its first conversion, and chDB brings pandas along: a third of a second for nothing."""

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("crosscredit does without pandas", name=fullname)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.meta_path.insert(0, _WithoutPandas())
    sys.exit(status_of(arguments))


def status_of(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its status.

    0 when it ran, 1 for a service that failed, 2 for unusable arguments, terms or files, 130 when interrupted; or what
    the command says of itself.
    """
    try:
        tokens = sys.argv[1:] if arguments is None else arguments
        status = app(
            for_the_parser(tokens),
            exit_on_error=False,
            print_error=True,
            result_action="return_value",
        )
    except cyclopts.CycloptsError:
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing is lost: run the same command again.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    except Exception as error:
        if not isinstance(error, _unusable() + _failed()):
            raise
        print(error, file=sys.stderr)
        return EXIT_FAILED if isinstance(error, _failed()) else EXIT_UNUSABLE
    return status if isinstance(status, int) else 0
