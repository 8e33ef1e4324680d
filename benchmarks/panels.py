"""How long every panel takes to answer, over 10 million clicks and 500 000 outcomes in the real engine.

    python -m benchmarks.panels                      the whole of it
    python -m benchmarks.panels --clicks 1000000 --folder panels-db/   less, kept for the next time

The engine is chDB with two threads, the block size and merges of a server. Each panel is asked as Grafana would ask it:
its SQL as it stands, over views of the same names that are narrowed to a partner, to a program, or not at all.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.panel_fill import NOW, PARTNER, PROGRAM, catalogue, statements
from pipeline.clickhouse.embedded import TABLE_SETTINGS
from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.clickhouse.tables import STORED
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.pages import panels
from pipeline.pages.panels import VIEWS, Panel

SETTINGS = "max_threads = 2, max_block_size = 65409"
TARGET_MS = 200.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=10_000_000)
    parser.add_argument("--outcomes", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the tables are, or are kept for the next time")
    parser.add_argument("--only", default="", help="panels whose id holds this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crosscredit-panels-") as temporary:
        folder = arguments.folder or Path(temporary)
        with Warehouse.embedded(folder) as warehouse:
            if not (folder / "filled").exists():
                filled(warehouse, arguments.clicks, arguments.outcomes)
                (folder / "filled").touch()
            began = time.perf_counter()
            warehouse.migrate()
            print(f"migrated in {time.perf_counter() - began:.1f} s")
            write_program_terms(warehouse, catalogue())
            settle(warehouse)
            measure(warehouse, arguments.runs, arguments.only)


def filled(warehouse: Warehouse, clicks: int, outcomes: int) -> None:
    warehouse.migrate()
    reset = ", ".join(TABLE_SETTINGS)
    for table in STORED:
        warehouse.execute(f"ALTER TABLE {table} RESET SETTING {reset}")
    began = time.perf_counter()
    spent: dict[str, float] = {}
    for what, sql in statements(clicks, outcomes):
        at = time.perf_counter()
        warehouse.execute(f"{sql} SETTINGS {SETTINGS}")
        spent[what] = spent.get(what, 0.0) + time.perf_counter() - at
    print(f"filled in {time.perf_counter() - began:.0f} s:", ", ".join(f"{what} {s:.1f}" for what, s in spent.items()))


def settle(warehouse: Warehouse) -> None:
    """Merge the weeks that are over, as a server does by itself half an hour after their last click.

    The present week, and all other tables, stay in the parts that inserts and ordinary merges left.
    """
    parts = "FROM system.parts WHERE active AND database = currentDatabase() AND table = 'clicks_by_partner'"
    weeks = warehouse.query(f"SELECT partition, max(modification_time) {parts} GROUP BY partition")
    [(present,)] = warehouse.query("SELECT toString(toRelativeWeekNum(max(occurred_at)) % 60) FROM clicks_by_partner")
    for week, _ in weeks:
        if week != present:
            warehouse.execute(f"OPTIMIZE TABLE clicks_by_partner PARTITION {week} FINAL")
    counted = warehouse.query(f"SELECT count(), countIf(partition = '{present}') {parts}")
    print(f"clicks_by_partner: {counted[0][0]} parts of {len(weeks)} weeks, {counted[0][1]} of them of the present one")


def measure(warehouse: Warehouse, runs: int, only: str) -> None:
    for name, condition in (
        ("narrow_partner", f"program_id = '{PROGRAM}' AND partner_id IN ('{PARTNER}', '*')"),
        ("narrow_program", f"program_id = '{PROGRAM}'"),
    ):
        warehouse.execute(f"DROP DATABASE IF EXISTS {name}")
        warehouse.execute(f"CREATE DATABASE {name}")
        for view in VIEWS:
            where = f" WHERE {condition}" if view.startswith("partner_") else ""
            warehouse.execute(f"CREATE VIEW {name}.{view} AS SELECT * FROM crosscredit.{view}{where}")
    scopes = (
        ("narrow_partner", panels.PARTNER_PANELS),
        ("narrow_program", panels.PROGRAM_PANELS),
        ("crosscredit", panels.ALL_PROGRAMS_PANELS),
    )
    slow = 0
    for database, shown in scopes:
        warehouse.execute(f"USE {database}")
        for panel in shown:
            if only in panel.id:
                slow += told(warehouse, database, panel, runs) > TARGET_MS
    warehouse.execute("USE crosscredit")
    print(f"{slow} over {TARGET_MS:.0f} ms")


def told(warehouse: Warehouse, database: str, panel: Panel, runs: int) -> float:
    sql = panel.sql
    for parameter, value in panels.PARAMETERS.items():
        sql = sql.replace(parameter, value.replace("now64(3)", f"toDateTime64('{NOW}', 3, 'UTC')"))
    took, cpu = [], []
    rows = 0
    for _ in range(runs):
        began, began_cpu = time.perf_counter(), time.process_time()
        rows = len(warehouse.query(f"{sql} SETTINGS {SETTINGS}"))
        took.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - began_cpu) * 1000)
    median = statistics.median(took)
    print(
        f"  {database:<15} {panel.id:<20} {median:8.1f} ms (least {min(took):.1f}, most {max(took):.1f}), CPU "
        f"{min(cpu):.0f} ms, "
        f"{rows} rows", flush=True,
    )  # fmt: skip
    return median


if __name__ == "__main__":
    main()
