"""Schema ids from a folder, and from a registry that is asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline.wire.own_schemas import MissingSchemasError, newest_version, record_names, schemas_folder
from pipeline.wire.schema_ids import (
    LocalSchemas,
    RegistrySchemas,
    RegistryUnavailableError,
    SchemaRefusedError,
    UnknownSchemaError,
    by_header,
    header,
    id_in,
)

FAST = {"max.retries": 0, "timeout": 2.0}


def test_a_value_is_framed() -> None:
    assert header(258) == b"\x00\x00\x00\x01\x02"
    assert id_in(header(2**32 - 1) + b"body") == 2**32 - 1
    for value in (b"", b"\x00\x00\x00\x01", b"\x01\x00\x00\x00\x01"):
        assert id_in(value) is None


def test_values_are_taken_apart_by_their_header() -> None:
    first, second = header(1), header(2)
    assert by_header([first + b"a", first, first + b"bc"]) == [(first, range(3), [b"a", b"", b"bc"])]
    assert by_header([first + b"a", None, second + b"b", b"\x00", b"", first + b"c"]) == [
        (first, [0, 5], [b"a", b"c"]),
        (b"", [1, 4], [b"", b""]),
        (second, [2], [b"b"]),
        (b"\x00", [3], [b""]),
    ]
    assert by_header([]) == []


def test_each_record_has_an_id_and_a_schema_without_a_registry() -> None:
    schemas = LocalSchemas()
    for record in record_names(schemas_folder()):
        assert schemas.schema_of(schemas.id_of(record))["name"] == record
    with pytest.raises(UnknownSchemaError, match="no schema has the id 9999"):
        schemas.schema_of(9999)


def test_the_newest_version_is_written_and_all_are_read(tmp_path: Path) -> None:
    ids = {}
    for number in (1, 2, 10):
        (tmp_path / f"click.v{number}.avsc").write_text(
            json.dumps({"type": "record", "name": "click", "doc": f"{number}"})
        )
        ids[f"click.v{number}"] = number
    (tmp_path / "ids.json").write_text(json.dumps(ids))

    assert newest_version("click", tmp_path) == "click.v10"
    schemas = LocalSchemas(tmp_path)
    assert schemas.id_of("click") == 10
    assert [schemas.schema_of(number)["doc"] for number in (1, 2, 10)] == ["1", "2", "10"]
    with pytest.raises(MissingSchemasError, match="no schema of a record order"):
        newest_version("order", tmp_path)


class Registry(ThreadingHTTPServer):
    """Speaks as much of Confluent's protocol as is asked of it; ``fault`` answers every request, if it is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.subjects: dict[str, str] = {}
        self.schemas: dict[int, dict[str, str]] = {}
        self.asked: list[str] = []
        self.fault: tuple[int, bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        schema_id = int(self.path.partition("?")[0].rpartition("/")[2])
        found = self.server.schemas.get(schema_id)
        self.reply(200, found) if found else self.reply(404, {"error_code": 40403, "message": "Schema not found"})

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = self.path.split("/")[2]
        self.server.subjects[subject] = body["schema"]
        schema_id = 1000 + len(self.server.subjects)
        self.server.schemas[schema_id] = {"schema": body["schema"]}
        self.reply(200, {"id": schema_id})

    def reply(self, status: int, body: Any) -> None:
        status, text = self.server.fault or (status, json.dumps(body).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_our_schema_is_registered_when_first_written(registry: Registry) -> None:
    schemas = RegistrySchemas(registry.url, FAST)
    first = schemas.id_of("click")

    assert first == schemas.id_of("click") == 1001
    assert list(registry.subjects) == ["referrals.click.v1-value"]
    assert json.loads(registry.subjects["referrals.click.v1-value"])["name"] == "click"
    assert len(registry.asked) == 1


def test_a_schema_is_asked_for_once(registry: Registry) -> None:
    registry.schemas[7] = {"schema": '{"type": "record", "name": "click", "fields": []}'}
    schemas = RegistrySchemas(registry.url, FAST)

    assert schemas.schema_of(7)["name"] == schemas.schema_of(7)["name"] == "click"
    assert len(registry.asked) == 1


def test_an_unknown_id_is_the_records_fault_and_is_asked_for_again_later(registry: Registry) -> None:
    now = [100.0]
    schemas = RegistrySchemas(registry.url, FAST, clock=lambda: now[0])
    for _ in range(3):
        with pytest.raises(UnknownSchemaError, match="knows no schema with the id 7"):
            schemas.schema_of(7)
    assert len(registry.asked) == 1

    registry.schemas[7] = {"schema": '{"type": "record", "name": "click", "fields": []}'}
    now[0] += 60
    assert schemas.schema_of(7)["name"] == "click"


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (500, b'{"error_code": 50001, "message": "store"}', "its own log"),
        (503, b"gateway", "its own log"),
        (404, b"<html>no such page</html>", "its address"),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}', "its address"),
        (401, b'{"error_code": 401, "message": "who?"}', "user and password"),
        (200, b"<html>a proxy</html>", "the address"),
    ],
)
def test_a_registry_that_cannot_say_is_never_taken_for_an_unknown_id(
    registry: Registry, status: int, body: bytes, remedy: str
) -> None:
    registry.fault = status, body
    schemas = RegistrySchemas(registry.url, FAST)
    with pytest.raises(RegistryUnavailableError, match=remedy):
        schemas.schema_of(7)
    with pytest.raises(RegistryUnavailableError, match=remedy):
        schemas.id_of("click")

    registry.fault = None
    assert schemas.schema_of(schemas.id_of("click"))["name"] == "click", "it answers when it is asked again"


def test_a_registry_that_is_not_there_is_unavailable_and_no_password_is_shown() -> None:
    with pytest.raises(RegistryUnavailableError, match="Check that it runs") as caught:
        RegistrySchemas("http://me:secret@127.0.0.1:9", FAST).schema_of(7)
    assert "secret" not in str(caught.value)
    assert "http://127.0.0.1:9" in str(caught.value)


def test_an_incompatible_schema_is_refused_for_good(registry: Registry) -> None:
    registry.fault = 409, b'{"error_code": 409, "message": "incompatible"}'
    with pytest.raises(
        SchemaRefusedError, match=r"does not take click\.v1\.avsc for the subject referrals\.click\.v1-value"
    ):
        RegistrySchemas(registry.url, FAST).id_of("click")
