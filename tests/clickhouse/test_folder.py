"""The embedded warehouse's folder: kept, locked, guarded, upgraded. Each story runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipeline.clickhouse import schema
from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.schema import Migration

OPENING = """
import os, sys
from pathlib import Path
from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError
from pipeline.clickhouse.export import export_jsonl
from pipeline.clickhouse.warehouse import Warehouse
folder = Path(sys.argv[1])
ROW = [("b", "v", "e", 1_767_225_600_123)]
COLUMNS = ["brand_id", "visitor_id", "event_id", "occurred_at"]
"""


def run(folder: Path, story: str) -> list[str]:
    """The lines that a process prints which runs ``story``."""
    code = OPENING + textwrap.dedent(story)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_tables_last_and_the_folder_is_one_process_s(tmp_path: Path) -> None:
    said = run(
        tmp_path / "it's new" / "data",
        """
        import subprocess
        def other(code):
            opening = "import sys; from pathlib import Path; from pipeline.clickhouse.warehouse import Warehouse\\n"
            return subprocess.run([sys.executable, "-c", opening + code, str(folder)], capture_output=True, text=True)
        with Warehouse.embedded(folder) as first, Warehouse.embedded(folder) as same:
            first.migrate()
            first.insert_rows("clicks", ROW, COLUMNS)
            print(same.query("SELECT count() FROM current_clicks"))
            print(other("Warehouse.embedded(Path(sys.argv[1]))").stderr.splitlines()[-1])
            try:
                Warehouse.embedded(folder.parent / "second")
            except WarehouseError as error:
                print(error)
            first.close()
            first.close()
        with Warehouse.embedded(folder) as again:
            again.migrate()
            print(again.query("SELECT count() FROM current_clicks"))
            print(export_jsonl(again, folder.parent / "out")["clicks"])
        with Warehouse.embedded(None) as elsewhere:
            print(elsewhere.query("SHOW TABLES"))
        print(other("Warehouse.embedded(Path(sys.argv[1])).close(); print('free')").stdout.strip())
        """,
    )
    assert said[0] == "[(1,)]"
    assert "WarehouseUnavailableError: Another process uses the warehouse" in said[1]
    assert "one process can have one" in said[2]
    assert said[3:] == ["[(1,)]", "1", "[]", "free"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("mum")
    (tmp_path / "file").write_text("x")
    said = run(
        tmp_path,
        """
        for name in ("letters", "file"):
            try:
                Warehouse.embedded(folder / name)
            except WarehouseError as error:
                print(error)
        """,
    )
    assert "not a warehouse of crosscredit: nothing was touched. Name an empty or a new folder" in said[0]
    assert "Name a folder that you may write to" in said[1]
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["dear.txt"]


def test_a_temporary_warehouse_leaves_nothing_and_databases_are_apart(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
        import tempfile
        tempfile.tempdir = str(folder)
        with Warehouse.embedded(None) as one:
            with Warehouse.embedded(None) as two:
                one.migrate()
                two.migrate()
                one.insert_rows("clicks", ROW, COLUMNS)
                print(one.query("SELECT count() FROM clicks"), two.query("SELECT count() FROM clicks"))
            print(one.query("SELECT count() FROM system.databases WHERE name LIKE 'crosscredit%'"))
        print(os.listdir(folder))
        """,
    )
    assert said == ["[(1,)] [(0,)]", "[(1,)]", "[]"]


def test_a_newer_or_changed_schema_is_refused(tmp_path: Path) -> None:
    said = run(
        tmp_path / "data",
        """
        with Warehouse.embedded(folder) as warehouse:
            warehouse.migrate()
            warehouse.migrate()
            print(warehouse.query("SELECT count(), min(number), max(number) FROM schema_migrations"))
            for row in ("9999, '9999_future.sql', ''", "1, '0001_events.sql', 'other'"):
                warehouse._client.command(f"INSERT INTO schema_migrations (number, name, sha256) VALUES ({row})")
                try:
                    warehouse.migrate()
                except WarehouseError as error:
                    print(error)
                warehouse._client.command("DELETE FROM schema_migrations WHERE number = 9999")
        """,
    )
    assert said[0] == f"[({len(schema.packaged_migrations())}, 1, {len(schema.packaged_migrations())})]"
    assert "9999_future.sql" in said[1]
    assert "Upgrade crosscredit" in said[1]
    assert "0001_events.sql differs" in said[2]
    assert "restore the file" in said[2]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """An insert that cannot write says so, and may be repeated."""
    said = run(
        tmp_path / "data",
        """
        import errno
        with Warehouse.embedded(folder) as warehouse:
            warehouse.migrate()
            real = warehouse._client.insert_arrow
            def full(*args, **kwargs):
                raise OSError(errno.ENOSPC, "No space left on device")
            warehouse._client.insert_arrow = full
            try:
                warehouse.insert_rows("clicks", ROW, COLUMNS)
            except WarehouseUnavailableError as error:
                print(error)
            warehouse._client.insert_arrow = real
            warehouse.insert_rows("clicks", ROW, COLUMNS)
            print(warehouse.query("SELECT count() FROM clicks"))
        """,
    )
    assert said == [
        "ClickHouse could not insert into clicks: the disk is full. Free some space and try again.",
        "[(1,)]",
    ]


def test_statements_are_split_at_line_ends() -> None:
    migration = Migration(1, "0001_x.sql", "-- a; comment\nSELECT ';' AS x;\n\nSELECT 2\n  FROM y; \nSELECT 3")
    assert migration.statements == ("SELECT ';' AS x", "SELECT 2\n  FROM y", "SELECT 3")


def test_only_what_is_not_applied_yet_is_pending() -> None:
    one, two = Migration(1, "0001_a.sql", "SELECT 1;"), Migration(2, "0002_b.sql", "SELECT 2;")
    assert list(schema.pending([one, two], [(1, one.name, one.sha256)])) == [two]
    with pytest.raises(WarehouseError, match="differs"):
        schema.pending([one, two], [(1, one.name, two.sha256)])
    with pytest.raises(WarehouseError, match="newer"):
        schema.pending([one], [(2, two.name, two.sha256)])
