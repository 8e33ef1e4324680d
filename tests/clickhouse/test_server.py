"""A warehouse on a server that is down, slow, cut off or half done; and several clients at once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clickhouse import schema
from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError
from pipeline.clickhouse.export import export_jsonl
from pipeline.clickhouse.server import ServerAddress
from pipeline.clickhouse.tables import STORED
from pipeline.clickhouse.warehouse import INSERT_SETTINGS, Warehouse
from tests.clickhouse.fronts import FrontProcess

AT = 1_767_225_600_123
COLUMNS = ["brand_id", "visitor_id", "event_id", "occurred_at"]
ROWS = [("b", f"v{number % 7}", f"e{number}", AT + number) for number in range(1000)]
STANDING = (
    "SELECT count(), uniqExact(event_id), sum(toUnixTimestamp64Milli(occurred_at) - 1767225600123) FROM current_clicks"
)
ALL = [(1000, 1000, 499_500)]


def refusal(call: Callable[[], object], within_s: float) -> WarehouseError:
    """What ``call`` is refused with, in bounded time."""
    start = time.monotonic()
    with pytest.raises(WarehouseError) as caught:
        call()
    assert time.monotonic() - start < within_s
    return caught.value


@pytest.mark.parametrize(
    ("mode", "kind", "said", "stored"),
    [
        ("refuse", WarehouseUnavailableError, "no thread free", 0),
        ("drop", WarehouseUnavailableError, "the connection was cut", 0),
        ("hang", WarehouseUnavailableError, "no answer within the time allowed", 0),
        ("slow", WarehouseUnavailableError, "no answer within the time allowed", None),
        ("deny", WarehouseError, "Check the user and the password", 0),
        ("cut_after_commit", WarehouseUnavailableError, "the connection was cut", 1000),
        ("fail_half_way", WarehouseUnavailableError, "ran out of memory", 500),
    ],
)
def test_each_fault_is_named_in_time_and_a_repeat_mends_it(
    front: FrontProcess, mode: str, kind: type[WarehouseError], said: str, stored: int | None
) -> None:
    with front.open(answer_timeout_s=0.8) as warehouse:
        warehouse.migrate()
        front.fault(mode, seconds=1.5)
        error = refusal(lambda: warehouse.insert_rows("clicks", ROWS, COLUMNS), within_s=3)
        assert type(error) is kind
        assert said in str(error)
        assert front.url in str(error)
        assert "clicks" in str(error)
        front.fault("none")
        if stored is not None:
            assert warehouse.query("SELECT count() FROM clicks") == [(stored,)]
        warehouse.insert_rows("clicks", ROWS, COLUMNS)
        assert warehouse.query(STANDING) == ALL
        if mode == "slow":
            time.sleep(1.2)  # the first insert is carried out all the same, after its repeat
            assert warehouse.query(STANDING) == ALL


@pytest.mark.parametrize("mode", ["refuse", "drop", "hang", "slow"])
def test_queries_meet_them_too(front: FrontProcess, mode: str, tmp_path: Path) -> None:
    with front.open(answer_timeout_s=1.0) as warehouse:
        warehouse.migrate()
        front.fault(mode, seconds=1.5)
        for call in (
            lambda: warehouse.query("SELECT 1"),
            lambda: warehouse.query_arrow("SELECT 1"),
            lambda: warehouse.execute("SELECT 1"),
            lambda: warehouse.write_json("SELECT 1", tmp_path / "x"),
            warehouse.migrate,
        ):
            assert type(refusal(call, within_s=3)) is WarehouseUnavailableError
        front.fault("none")
        assert warehouse.query("SELECT 1") == [(1,)]


def test_fifty_cut_inserts_leave_each_row_once(front: FrontProcess) -> None:
    met = json.loads(front.ask("GET", "/faults")[2])["met"]
    with front.open() as warehouse:
        warehouse.migrate()
        for start in range(0, 1000, 20):
            front.fault("cut_after_commit" if start % 40 else "fail_half_way", count=1)
            while True:
                try:
                    warehouse.insert_rows("clicks", ROWS[start : start + 20], COLUMNS)
                    break
                except WarehouseUnavailableError:
                    continue
        assert warehouse.query(STANDING) == ALL
    assert json.loads(front.ask("GET", "/faults")[2])["met"] - met == 50


def test_a_server_that_dies_and_comes_back(fronts: list[FrontProcess], tmp_path: Path) -> None:
    first = FrontProcess("--path", str(tmp_path))
    fronts.append(first)
    with first.open("d") as warehouse:
        warehouse.migrate()
        warehouse.insert_rows("clicks", ROWS[:600], COLUMNS)
        first.kill()
        error = refusal(lambda: warehouse.insert_rows("clicks", ROWS[500:], COLUMNS), within_s=3)
        assert type(error) is WarehouseUnavailableError
        assert "nobody answers there. Is it up? Try again." in str(error)
        fronts.append(FrontProcess("--path", str(tmp_path), "--port", first.url.rsplit(":", 1)[1]))
        warehouse.insert_rows("clicks", ROWS[500:], COLUMNS)
        assert warehouse.query(STANDING) == ALL


def test_nobody_there_or_nobody_who_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = refusal(lambda: Warehouse.server(url, answer_timeout_s=0.5), within_s=3)
        assert type(error) is WarehouseUnavailableError
        assert "no answer within the time allowed" in str(error)
    error = refusal(lambda: Warehouse.server(url), within_s=2)
    assert type(error) is WarehouseUnavailableError
    assert "nobody answers there" in str(error)
    assert "nobody answers" in str(refusal(lambda: Warehouse.server("http://no.such.host.invalid:1"), within_s=10))


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8123", "ftp://h:1", "http://", "http://h:x", "http://h:99999", "http://h/path", "http://h?a=1"],
)
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(WarehouseError, match="http://HOST:8123"):
        ServerAddress.parse(url, None, None)
    with pytest.raises(WarehouseError) as caught:
        ServerAddress.parse("http://me:hush@h:x", None, None)
    assert "hush" not in str(caught.value) + repr(caught.value.__cause__)


def test_passwords_are_in_no_message(front: FrontProcess) -> None:
    address = ServerAddress.parse(front.url.replace("://", "://me:hu%2Fsh@"), None, None)
    assert (address.username, address.password) == ("me", "hu/sh")
    assert "sh" not in repr(address).replace("username", "") + str(address)
    secret = "-".join(("hush", "hush"))
    with Warehouse.server(front.url, "secret", username="me", password=secret, answer_timeout_s=1.0) as warehouse:
        for mode in ("deny", "refuse", "drop", "hang"):
            front.fault(mode)
            chain: BaseException | None = refusal(lambda: warehouse.query("SELECT 1"), within_s=3)
            while chain is not None:
                assert "hush" not in str(chain) + repr(chain)
                chain = chain.__cause__ or chain.__context__
            front.fault("none")


def test_rejected_rows_are_no_outage(front: FrontProcess) -> None:
    with front.open() as warehouse:
        error = refusal(lambda: warehouse.insert_rows("clicks", ROWS, COLUMNS), within_s=3)
        assert type(error) is WarehouseError
        assert "Migrate it" in str(error)
        warehouse.migrate()
        warehouse.execute("ALTER TABLE clicks DROP COLUMN country")
        rows, columns = [(*row, "DE") for row in ROWS], [*COLUMNS, "country"]
        error = refusal(lambda: warehouse.insert_rows("clicks", rows, columns), within_s=3)
        assert type(error) is WarehouseError
        assert warehouse.query("SELECT count() FROM clicks") == [(0,)]


def test_insert_settings_go_with_each_insert(front: FrontProcess) -> None:
    query = "SELECT " + ", ".join(f"toString(getSetting('{name}'))" for name in INSERT_SETTINGS)
    with front.open() as warehouse:
        client = warehouse._client
        told = client.query(query, settings=dict(INSERT_SETTINGS)).result_rows
        assert [str(value).lower() for value in told[0]] == [
            {0: "false", 1: "true"}.get(value, str(value)) if isinstance(value, int) else value
            for value in INSERT_SETTINGS.values()
        ] or [str(value) for value in told[0]] == [str(value) for value in INSERT_SETTINGS.values()]
        assert "session_id" not in client.params
        assert client._backend.send_progress is False


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_compression_changes_nothing(front: FrontProcess, compression: str, tmp_path: Path) -> None:
    with front.open(compression=compression) as warehouse:
        warehouse.migrate()
        warehouse.insert_rows("clicks", ROWS, COLUMNS)
        assert warehouse.query(STANDING) == ALL
        assert warehouse.query_arrow("SELECT event_id FROM current_clicks").num_rows == 1000
        assert export_jsonl(warehouse, tmp_path)["clicks"] == 1000
    with pytest.raises(WarehouseError, match="choose none, lz4, zstd"):
        front.open(compression="rar")


def test_an_export_cut_off_half_way_is_no_export(front: FrontProcess, tmp_path: Path) -> None:
    with front.open() as warehouse:
        error = refusal(
            lambda: warehouse.write_json(
                "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)", tmp_path / "x.jsonl"
            ),
            within_s=20,
        )
        assert type(error) is WarehouseUnavailableError
        assert "the connection was cut" in str(error)


def test_writer_and_readers_at_once(front: FrontProcess) -> None:
    failures: list[Exception] = []
    with front.open() as warehouse:
        warehouse.migrate()

        def read() -> None:
            try:
                for _ in range(20):
                    [(rows,)] = warehouse.query("SELECT count() FROM current_clicks")
                    assert isinstance(rows, int)
                    assert rows % 50 == 0
            except (WarehouseError, AssertionError) as error:
                failures.append(error)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for start in range(0, 1000, 50):
            warehouse.insert_rows("clicks", ROWS[start : start + 50], COLUMNS)
        for reader in readers:
            reader.join()
        assert failures == []
        assert warehouse.query(STANDING) == ALL


def test_threads_that_migrate_at_once(front: FrontProcess) -> None:
    failures: list[Exception] = []
    gate = threading.Barrier(4)

    def migrate() -> None:
        try:
            gate.wait()
            with front.open("racing") as warehouse:
                warehouse.migrate()
        except WarehouseError as error:
            failures.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=migrate) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        with front.open("racing") as warehouse:
            done = warehouse.query("SELECT number, sha256 FROM schema_migrations FINAL ORDER BY number")
            assert done == [(each.number, each.sha256) for each in schema.packaged_migrations()]
            for table in STORED.values():
                assert warehouse.query(f"SELECT count() FROM {table.current}") == [(0,)]
            warehouse.execute("DROP DATABASE racing SYNC")


def test_processes_that_migrate_at_once(front: FrontProcess) -> None:
    story = (
        "import sys; from pipeline.clickhouse.warehouse import Warehouse\n"
        "with Warehouse.server(sys.argv[1], 'racers') as w:\n"
        "    print('ready', flush=True); sys.stdin.readline(); w.migrate(); w.migrate()\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", story, front.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    assert [racer.stdout.readline() for racer in racers if racer.stdout is not None] == ["ready\n"] * 4
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=60)[1] for racer in racers]
    assert said == ["", "", "", ""]
    with front.open("racers") as warehouse:
        assert warehouse.query("SELECT uniqExact(number) FROM schema_migrations") == [
            (len(schema.packaged_migrations()),)
        ]


def test_the_table_settings_of_the_local_stack(front: FrontProcess) -> None:
    """The server session leaves tables alone; the front gives them what suits an embedded engine."""
    with front.open() as warehouse:
        warehouse.migrate()
        [(engine,)] = warehouse.query(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'clicks'"
        )
        assert "parts_to_throw_insert" not in str(engine)
        assert warehouse.query("SELECT value FROM system.merge_tree_settings WHERE name = 'parts_to_throw_insert'") == [
            ("30000",)
        ]
        _, headers, _ = front.ask("POST", "/", b"SELECT 1")
        assert json.loads(headers.get("X-ClickHouse-Summary", "{}")) == {}
