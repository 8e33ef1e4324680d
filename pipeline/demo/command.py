"""`crosscredit demo`: a season through the very path that real files take, checked against what its generator knows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.demo.season import write_season
from pipeline.demo.truth import check_season
from pipeline.embedded.database import Database
from pipeline.embedded.progress import TerminalWatcher
from pipeline.embedded.runner import run
from pipeline.embedded.summary import print_summary
from pipeline.pages.writer import write_pages
from pipeline.terms_files import load_catalogue
from pipeline.wire.files import open_sources


class DemoDiffersError(Exception):
    """The tables do not say what the generator knows: a bug, not a wrong argument."""


_END = """
SELECT max(at) FROM (
    SELECT toUnixTimestamp64Milli(max(occurred_at)) AS at FROM current_clicks
    UNION ALL SELECT toUnixTimestamp64Milli(max(occurred_at)) FROM current_sign_ups
    UNION ALL SELECT toUnixTimestamp64Milli(max(occurred_at)) FROM current_orders
    UNION ALL SELECT toUnixTimestamp64Milli(max(occurred_at)) FROM current_refunds
)
"""


def end_of_data(warehouse: Warehouse) -> int:
    """The time of the latest event: the moment that the pages speak of."""
    rows: list[Any] = warehouse.query(_END)
    return int(rows[0][0])


def run_demo(folder: Path, seed: int, events: int, console: Console) -> None:
    """Write the season into ``folder``, run it, compare, and write a page a partner.

    :raises DemoDiffersError: the tables and the generator disagree; the text names the figures.
    """
    console.print(f"Writing a season of {events:,} events (seed {seed}) into {folder} ...")
    truth = write_season(folder / "season", seed, events)
    catalogue = load_catalogue([folder / "season" / "programs"])
    sources = open_sources([str(folder / "season" / "events")])
    began = time.perf_counter()
    with Database.open(folder / "database") as database:
        counts = run(database, catalogue, sources, TerminalWatcher(Console(stderr=True)))
        took = time.perf_counter() - began
        console.print(f"Ran it in {took:.1f} s ({counts.records / took:,.0f} events a second).\n")
        differences = check_season(truth, database.warehouse.query)
        pages = write_pages(database.warehouse, catalogue, folder / "pages", end_of_data(database.warehouse))
        hints = [f"open {pages[0]} in a browser: a page for each partner and program"]
        hints += [
            f"crosscredit explain {conversion} --database {folder / 'database'}   # {story}"
            for story, conversion in truth.showcases.items()
        ]
        print_summary(console, database.warehouse, catalogue, counts, hints)
    if differences:
        raise DemoDiffersError("The tables differ from what the generator knows:\n" + "\n".join(differences))
    console.print(f"\nAll {truth.number_of_figures} figures agree with what the generator knows.")
