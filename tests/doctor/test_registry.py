"""What the doctor says of a schema registry: one that is asked over HTTP, and judges schemas by Avro's own rules."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from pipeline.doctor.findings import Finding
from pipeline.doctor.registry import examine_registry
from pipeline.settings import Settings
from pipeline.wire.own_schemas import newest_version, record_names, schema_text, schemas_folder
from pipeline.wire.schema_ids import RegistrySchemas

RECORDS = record_names(schemas_folder())
LOGIN = "Basic " + base64.b64encode(b"worker:word").decode()


class Registry(ThreadingHTTPServer):
    """Schemas by subject; asks for a user and password if ``login`` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.schemas: dict[str, str] = {}
        self.login = ""
        self.written: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_POST(self) -> None:
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.server.login and self.headers.get("Authorization") != self.server.login:
            return self.reply(401, {"error_code": 40101, "message": "Unauthorized"})
        subject = parts[parts.index("subjects") + 1]
        stands = self.server.schemas.get(subject)
        if parts[-1] == "versions":
            self.server.written.append(subject)
        if stands is None:
            return self.reply(404, {"error_code": 40401, "message": "Subject not found"})
        if parts[0] == "compatibility":
            new, old = (avro.schema.parse(text) for text in (schema, stands))
            said = ReaderWriterCompatibilityChecker().get_compatibility(new, old).compatibility
            return self.reply(200, {"is_compatible": said is SchemaCompatibilityType.compatible})
        if json.loads(stands) != json.loads(schema):
            return self.reply(404, {"error_code": 40403, "message": "Schema not found"})
        return self.reply(200, {"subject": subject, "id": 1, "version": 1, "schema": stands})

    def reply(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
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
        for record in RECORDS:
            text = schema_text(newest_version(record, schemas_folder()), schemas_folder())
            server.schemas[f"referrals.{record}.v1-value"] = text
        yield server
        server.shutdown()
        thread.join()
        assert server.written == []  # the doctor registers nothing


def examined(registry: Registry | None, **settings: str) -> Finding:
    (found,) = examine_registry(Settings(registry=registry.url if registry else "", **settings))
    return found


def test_no_registry_is_no_fault() -> None:
    found = examined(None)
    assert (found.verdict, "No registry is set" in found.text) == ("ok", True)


def test_a_registry_that_has_all(registry: Registry) -> None:
    found = examined(registry)
    assert (found.verdict, found.text) == ("ok", f"The registry answers, and knows all {len(RECORDS)} schemas.")


def test_schemas_that_are_not_registered_yet_and_will_be(registry: Registry) -> None:
    del registry.schemas["referrals.order.v1-value"]
    older = json.loads(registry.schemas["referrals.click.v1-value"])
    older["fields"] = [field for field in older["fields"] if field["name"] != "country"]  # it has a default since
    registry.schemas["referrals.click.v1-value"] = json.dumps(older)
    found = examined(registry)
    assert found.verdict == "note"
    assert f"2 of {len(RECORDS)} schemas are not registered yet: click, order." in found.text


def test_a_schema_that_the_registry_would_refuse(registry: Registry) -> None:
    other = json.loads(registry.schemas["referrals.click.v1-value"])
    other["fields"] = [field for field in other["fields"] if field["name"] != "visitor_id"]  # required, no default
    registry.schemas["referrals.click.v1-value"] = json.dumps(other)
    found = examined(registry)
    assert found.verdict == "wrong"
    assert "would not take click.v1.avsc for the subject referrals.click.v1-value" in found.text
    assert "delete the subject if it is not ours" in found.remedy


def test_users_and_passwords(registry: Registry) -> None:
    registry.login = LOGIN
    right = {"registry_username": "worker", "registry_password": "word"}
    assert examined(registry, **right).verdict == "ok"
    for login in ({}, {"registry_username": "worker", "registry_password": "wrong"}):
        found = examined(registry, **login)
        assert found.verdict == "wrong"
        assert "Check the user and password." in found.remedy
        assert "wrong" not in found.text


def test_a_registry_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.wire.schema_ids._SETTINGS", {"timeout": 1.0, "max.retries": 0})
    (found,) = examine_registry(Settings(registry="http://127.0.0.1:9"))
    assert found.verdict == "wrong"
    assert "http://127.0.0.1:9 could not be asked" in found.text
    assert found.remedy == "Check that it runs, and the address."
    assert isinstance(RegistrySchemas("http://127.0.0.1:9"), RegistrySchemas)
