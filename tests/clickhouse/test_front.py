"""The HTTP front: what a ClickHouse server answers, as its clients see it."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import quote

import clickhouse_connect
import lz4.frame
import pytest
from backports import zstd

from pipeline.clickhouse.front_engine import Statement
from pipeline.clickhouse.front_faults import Fault
from tests.clickhouse.fronts import FrontProcess

COUNT = "SELECT count(), sum(a) FROM t"


def target(query: str = "", **parameters: str) -> str:
    given = ({"query": query} if query else {}) | parameters
    return "/?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in given.items())


@pytest.fixture
def database(front: FrontProcess, request: pytest.FixtureRequest) -> str:
    name = f"front_{abs(hash(request.node.name))}"
    assert front.ask("POST", "/", f"CREATE DATABASE {name}".encode())[0] == 200
    made = "CREATE TABLE t (a UInt64, b String) ENGINE = ReplacingMergeTree ORDER BY a"
    assert front.ask("POST", target(database=name), made.encode())[0] == 200
    return name


def test_ping_and_a_query_each_way(front: FrontProcess) -> None:
    assert front.ask("GET", "/ping")[2] == b"Ok.\n"
    assert front.ask("GET", target("SELECT 1"))[2] == b"1\n"
    assert front.ask("POST", target("SELECT 1"))[2] == b"1\n"
    assert front.ask("POST", target("SELECT"), b"1")[2] == b"1\n"
    status, headers, body = front.ask("POST", target(default_format="JSONEachRow"), b"SELECT 1 AS x")
    assert (status, body, headers["X-ClickHouse-Format"]) == (200, b'{"x":1}\n', "JSONEachRow")
    assert front.ask("POST", "/", b"SELECT 1 AS x", X_ClickHouse_Format="CSV")[2] == b"1\n"
    assert json.loads(front.ask("POST", "/?wait_end_of_query=1", b"SELECT 1")[1]["X-ClickHouse-Summary"])
    assert front.ask("POST", target(query_id="mine"), b"SELECT 1")[1]["X-ClickHouse-Query-Id"] == "mine"


def test_errors_have_the_server_s_status_code_and_text(front: FrontProcess) -> None:
    for query, status, code in (
        ("SELEC 1", 400, "62"),
        ("SELECT * FROM no", 404, "60"),
        ("SELECT throwIf(1)", 500, "395"),
    ):
        got, headers, body = front.ask("POST", "/", query.encode())
        assert (got, headers["X-ClickHouse-Exception-Code"]) == (status, code)
        assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert front.ask("POST", "/")[1]["X-ClickHouse-Exception-Code"] == "62"
    assert front.ask("POST", target(no_such_setting="1"), b"SELECT 1")[1]["X-ClickHouse-Exception-Code"] == "115"
    assert front.ask("POST", target(session_id="x"), b"SELECT 1")[0] == 200
    assert front.ask("POST", target(database="nowhere"), b"SELECT 1")[0] == 404


def test_settings_and_parameters_are_one_request_s(front: FrontProcess) -> None:
    asked = b"SELECT getSetting('max_threads'), {word:String}"
    assert front.ask("POST", target(max_threads="7", param_word="it\\'s"), asked)[2] == b"7\tit\\'s\n"
    assert front.ask("POST", target(param_word="x"), asked)[2] != b"7\tx\n"
    assert front.ask("POST", target(param_word="x", **{"max_threads = 1, x": "1"}), asked)[0] == 404
    seen: list[bytes] = []

    def ask(number: int) -> None:
        for _ in range(5):
            answer = front.ask("POST", target(max_threads=str(number)), b"SELECT getSetting('max_threads')")[2]
            seen.append(b"ok" if answer == f"{number}\n".encode() else answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"ok"] * 40


def test_a_get_cannot_write(front: FrontProcess, database: str) -> None:
    status, headers, _ = front.ask("GET", target("INSERT INTO t VALUES (1, 'x')", database=database))
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "164")


@pytest.mark.parametrize(
    ("place", "encoding"),
    [*(("url", each) for each in ("identity", "gzip", "lz4", "zstd")), ("body", "identity"), ("split", "identity")],
)
def test_inserts_wherever_the_statement_is(front: FrontProcess, database: str, encoding: str, place: str) -> None:
    pack = {"identity": bytes, "gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstd.compress}[encoding]
    rows = front.ask("POST", "/", b"SELECT number AS a, 'FORMAT CSV' AS b FROM numbers(1000) FORMAT Native")[2]
    statement = "INSERT INTO t (a, b) FORMAT Native"
    query, body = {
        "url": (statement, rows),
        "body": ("", statement.encode() + b"\n" + rows),
        "split": ("INSERT INTO t (a, b)", b"SETTINGS async_insert = 0 FORMAT Native\n" + rows),
    }[place]
    address = target(query, database=database)
    status, headers, _ = front.ask("POST", address, pack(body), Content_Encoding=encoding)
    assert (status, json.loads(headers["X-ClickHouse-Summary"])["written_rows"]) == (200, "1000")
    assert front.ask("POST", target(database=database), COUNT.encode())[2] == b"1000\t499500\n"


def test_a_body_in_chunks(front: FrontProcess, database: str) -> None:
    parts = [b"INSERT INTO t FORMAT CSV\n", b"1,x\n2,", b"y\n"]
    assert front.ask("POST", target(database=database), iter(parts))[0] == 200
    assert front.ask("POST", target(database=database), COUNT.encode())[2] == b"2\t3\n"


def test_a_body_that_is_not_what_it_says(front: FrontProcess, database: str) -> None:
    for encoding, code in (("lz4", "271"), ("zstd", "271"), ("gzip", "271"), ("snappy", "89")):
        address = target("INSERT INTO t FORMAT Native", database=database)
        assert front.ask("POST", address, b"no", Content_Encoding=encoding)[1]["X-ClickHouse-Exception-Code"] == code
    assert front.ask("POST", target("INSERT INTO t FORMAT Native", database=database), b"no")[0] in (400, 500)
    assert front.ask("POST", target(database=database), COUNT.encode())[2] == b"0\t0\n"


def test_a_body_has_a_limit(fronts: list[FrontProcess]) -> None:
    front = FrontProcess("--max-body-mib", "1")
    fronts.append(front)
    assert front.ask("POST", "/", b"SELECT 1 -- " + b"x" * (2 << 20))[0] == 413
    bomb = zstd.compress(b"x" * (8 << 20))
    assert front.ask("POST", target("INSERT INTO t FORMAT CSV"), bomb, Content_Encoding="zstd")[0] == 500
    assert front.ask("GET", "/ping")[0] == 200


def test_a_browser_s_page_is_turned_away(front: FrontProcess) -> None:
    assert front.ask("POST", "/", b"SELECT 1", Origin="https://elsewhere.example")[0] == 403


def test_a_stream_that_fails_has_no_end(front: FrontProcess) -> None:
    asked = b"SELECT number, throwIf(number = 3000000) FROM numbers(5000000) SETTINGS max_threads = 1 FORMAT CSV"
    with pytest.raises(IncompleteRead):
        front.ask("POST", "/", asked)
    status, headers, body = front.ask("POST", "/?wait_end_of_query=1", asked)
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "395")
    assert body.startswith(b"Code: 395")


def test_clickhouse_connect_sees_a_server(front: FrontProcess, database: str) -> None:
    client = clickhouse_connect.get_client(dsn=front.url, compress=True, database=database, dedicated_pool=True)
    client.insert("t", [[number, f"{number}"] for number in range(10)], column_names=["a", "b"])
    assert client.query("SELECT max(a), min(b) FROM t WHERE a < {n:UInt8}", {"n": 5}).result_rows == [(4, "0")]
    assert client.query("SELECT * FROM t LIMIT 0").column_names == ("a", "b")
    assert client.query("SELECT count() FROM t", {"unused": "x" * 20_000}).result_rows == [(10,)]
    client.close()


def test_sigterm_ends_it_in_two_seconds_whatever_it_does(fronts: list[FrontProcess]) -> None:
    fronts.extend([FrontProcess(), FrontProcess(), FrontProcess()])
    idle, hanging, working = fronts
    hanging.fault("hang")
    connections: list[HTTPConnection] = []
    for front, query in (
        (hanging, b"SELECT 1"),
        (working, b"SELECT sum(cityHash64(number)) FROM numbers(100000000000)"),
    ):
        connection = HTTPConnection(front.url.removeprefix("http://"), timeout=10)
        connection.request("POST", "/", query)
        connections.append(connection)
    time.sleep(0.3)
    for front in (idle, hanging, working):
        start = time.monotonic()
        assert front.stop() == 0
        assert time.monotonic() - start < 2
        assert front.errors() == ""
    for connection in connections:
        connection.close()


def test_what_was_stored_is_there_after_a_kill_and_the_folder_is_free(
    fronts: list[FrontProcess], tmp_path: Path
) -> None:
    for number in range(3):
        front = FrontProcess("--path", str(tmp_path / "data"))
        fronts.append(front)
        if number == 0:
            front.ask("POST", "/", b"CREATE TABLE default.k (a UInt64) ENGINE = MergeTree ORDER BY a")
        assert front.ask("POST", "/", b"SELECT count() FROM default.k")[2] == f"{number}\n".encode()
        assert front.ask("POST", "/", b"INSERT INTO default.k VALUES (1)")[0] == 200
        second = subprocess.run(
            [sys.executable, "-m", "pipeline.clickhouse.front", "--path", str(tmp_path / "data")],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert second.returncode == 1
        assert "Another process uses" in second.stderr
        front.kill()


def test_a_temporary_folder_goes_and_a_taken_port_is_named(front: FrontProcess, tmp_path: Path) -> None:
    port = front.url.rsplit(":", 1)[1]
    before = set(Path(tempfile.gettempdir()).glob("crosscredit-*"))
    command = [sys.executable, "-m", "pipeline.clickhouse.front", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "Name another port" in done.stderr
    assert set(Path(tempfile.gettempdir()).glob("crosscredit-*")) <= before
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        pass


@pytest.mark.parametrize(
    ("query", "body", "sql", "data", "form"),
    [
        ("", b"SELECT 1 FORMAT JSON;", b"SELECT 1 FORMAT JSON;", None, "JSON"),
        ("", b"insert into t (`FORMAT x`) format CSV \r\n1", b"insert into t (`FORMAT x`) ", b"1", "CSV"),
        ("", b"INSERT INTO t VALUES ('a FORMAT b')", b"INSERT INTO t VALUES ('a FORMAT b')", None, "TabSeparated"),
        ("", b"INSERT INTO t SELECT 1 FORMAT CSV", b"INSERT INTO t SELECT 1 FORMAT CSV", None, "TabSeparated"),
        ("INSERT INTO t FORMAT Native", b"\n\x00", b"INSERT INTO t ", b"\n\x00", "Native"),
        ("INSERT INTO t", b"-- SELECT\n FORMAT Native\n\x00", b"INSERT INTO t\n-- SELECT\n ", b"\x00", "Native"),
    ],
)
def test_statements_are_told_from_data(query: str, body: bytes, sql: bytes, data: bytes | None, form: str) -> None:
    assert Statement.of(query, body, None) == Statement(sql, data, form)


@pytest.mark.parametrize(
    "asked", [[], {}, {"mode": "x"}, {"mode": "hang", "second": 1}, {"mode": "slow", "seconds": -1}]
)
def test_a_fault_that_is_none_is_refused(asked: object) -> None:
    with pytest.raises(ValueError, match=r"Send|seconds"):
        Fault.parse(asked)


def test_without_the_flag_there_are_no_faults() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from pipeline.clickhouse.front import Front;"
         "print([str(r.resource) for r in Front(None, None).application().router.routes() if 'faults' in str(r)])"],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert said.stdout == "[]\n", said.stderr
