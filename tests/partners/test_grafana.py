"""What is asked of Grafana, in order, against a server that answers as its documentation says and notes every request.

Grafana itself cannot be had where these tests run: that it takes these requests is what its reference says
(organization, data source, dashboard and preferences HTTP API, v13), and was not seen here.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.partners.grafana import (
    DATA_SOURCE_UID,
    ClickHouseForGrafana,
    Grafana,
    GrafanaAddress,
    GrafanaError,
)
from tests.partners.session import Session
from tests.partners.stage import FIRST, SECOND
from tests.partners.users_xml import config_xml

PROVISIONING = Path(__file__).parents[2] / "deploy" / "grafana" / "provisioning"
ADMIN = ("admin", "hush-admin")
CLICKHOUSE = ClickHouseForGrafana("clickhouse", 9000, is_tls=False)
BOARD = {"uid": "crosscredit-partner", "id": 7, "title": "Partner", "panels": []}


class Documented:
    """Organisations, data sources and dashboards, as the HTTP API keeps them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, int]] = []  # method, path, body, organisation
        self.organisations: dict[int, str] = {1: "Main Org."}
        self.members: set[int] = {1}
        self.sources: dict[int, Any] = {}
        self.boards: dict[tuple[int, str], Any] = {}
        self.homes: dict[int, str] = {}
        self.status: int | None = None

    def answer(self, method: str, path: str, body: Any, organisation: int) -> tuple[int, Any]:
        self.asked.append((method, path, body, organisation))
        if self.status is not None:
            return self.status, {"message": "told to"}
        if path.startswith("/api/orgs/name/"):
            found = [key for key, name in self.organisations.items() if path.endswith(f"/{quoted(name)}")]
            return (200, {"id": found[0]}) if found else (404, {"message": "Organization not found"})
        if (method, path) == ("POST", "/api/orgs"):
            key = max(self.organisations) + 1
            self.organisations[key] = body["name"]
            self.members.add(key)  # whoever makes it is its administrator
            return 200, {"orgId": key, "message": "Organization created"}
        if match := re.fullmatch(r"/api/orgs/(\d+)/users", path):
            key = int(match[1])
            is_member = key in self.members
            self.members.add(key)
            return (409, {"message": "User is already member"}) if is_member else (200, {})
        if match := re.fullmatch(r"/api/orgs/(\d+)", path):
            del self.organisations[int(match[1])]
            return 200, {}
        if organisation not in self.members:
            return 403, {"message": "no access to organization"}
        if path == f"/api/datasources/uid/{DATA_SOURCE_UID}":
            if organisation not in self.sources:
                return 404, {"message": "Data source not found"}
            if method == "PUT":
                kept = self.sources[organisation].get("secureJsonData")
                self.sources[organisation] = {"secureJsonData": kept} | body
            return 200, {}
        if (method, path) == ("POST", "/api/datasources"):
            self.sources[organisation] = body
            return 200, {}
        if (method, path) == ("POST", "/api/dashboards/db"):
            assert body["overwrite"] is True
            assert body["dashboard"]["id"] is None
            self.boards[organisation, body["dashboard"]["uid"]] = body["dashboard"]
            return 200, {}
        if (method, path) == ("PATCH", "/api/org/preferences"):
            self.homes[organisation] = body["homeDashboardUID"]
            return 200, {}
        return 404, {"message": f"no such thing {method} {path}"}


def quoted(name: str) -> str:
    return name.replace(" ", "%20").replace("/", "%2F")


@pytest.fixture
def served() -> Iterator[tuple[Documented, str]]:
    documented = Documented()
    login = "Basic " + base64.b64encode(":".join(ADMIN).encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers["Authorization"] != login:
                status, said = 401, {"message": "Invalid username or password"}
            else:
                organisation = int(self.headers.get("X-Grafana-Org-Id") or 1)
                parsed = json.loads(body) if body else None
                status, said = documented.answer(self.command, self.path, parsed, organisation)
            told = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield documented, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def grafana(url: str, password: str = ADMIN[1]) -> Grafana:
    return Grafana(GrafanaAddress(url, ADMIN[0], password))


def test_each_partner_has_an_organisation_with_one_data_source_under_the_same_uid(
    served: tuple[Documented, str],
) -> None:
    documented, url = served
    first = grafana(url).provide(FIRST, CLICKHOUSE, "secret-1", [BOARD])
    second = grafana(url).provide(SECOND, CLICKHOUSE, "secret-2", [BOARD])
    assert documented.organisations == {
        1: "Main Org.", first: "acme-friends / bakery", second: "acme-friends / roaster",
    }  # fmt: skip
    assert set(documented.sources) == {first, second}  # nothing in the operators' organisation
    for organisation, scope, password in ((first, FIRST, "secret-1"), (second, SECOND, "secret-2")):
        source = documented.sources[organisation]
        assert source["uid"] == "crosscredit-clickhouse"
        assert source["type"] == "grafana-clickhouse-datasource"
        assert source["jsonData"] | {"username": scope.name, "defaultDatabase": scope.name} == source["jsonData"]
        assert source["jsonData"]["queryTimeout"] == "15"
        assert source["secureJsonData"] == {"password": password}
        assert password not in json.dumps(source["jsonData"])
        assert documented.boards[organisation, "crosscredit-partner"]["title"] == "Partner"
        assert documented.homes[organisation] == "crosscredit-partner"


def test_to_repeat_it_changes_nothing_and_keeps_the_password(served: tuple[Documented, str]) -> None:
    documented, url = served
    made = grafana(url).provide(FIRST, CLICKHOUSE, "secret-1", [BOARD])
    assert grafana(url).provide(FIRST, CLICKHOUSE, None, [BOARD]) == made
    assert len(documented.organisations) == 2
    assert documented.sources[made]["secureJsonData"] == {"password": "secret-1"}
    grafana(url).provide(FIRST, CLICKHOUSE, "secret-3", [])
    assert documented.sources[made]["secureJsonData"] == {"password": "secret-3"}


def test_an_organisation_that_somebody_else_made_is_joined(served: tuple[Documented, str]) -> None:
    documented, url = served
    documented.organisations[9] = "acme-friends / bakery"
    assert grafana(url).provide(FIRST, CLICKHOUSE, "secret-1", []) == 9
    assert 9 in documented.members


def test_it_is_removed_with_all_that_is_in_it(served: tuple[Documented, str]) -> None:
    documented, url = served
    grafana(url).provide(FIRST, CLICKHOUSE, "secret-1", [])
    assert grafana(url).remove(FIRST) is True
    assert grafana(url).remove(FIRST) is False
    assert documented.organisations == {1: "Main Org."}


def test_refusals_name_the_remedy_and_no_password(served: tuple[Documented, str]) -> None:
    documented, url = served
    with pytest.raises(GrafanaError, match="--new-password"):
        grafana(url).provide(FIRST, CLICKHOUSE, None, [])
    with pytest.raises(GrafanaError, match="CROSSCREDIT_GRAFANA_PASSWORD_FILE"):
        grafana(url, "wrong").provide(FIRST, CLICKHOUSE, "secret-1", [])
    with pytest.raises(GrafanaError, match="Is it up"):
        grafana("http://127.0.0.1:9").provide(FIRST, CLICKHOUSE, "secret-1", [])
    documented.status = 500
    with pytest.raises(GrafanaError, match=r"refused GET .*500.*told to") as caught:
        grafana(url).provide(FIRST, CLICKHOUSE, "secret-1", [])
    assert "secret-1" not in str(caught.value)
    assert "hush" not in repr(GrafanaAddress(url, *ADMIN))


@pytest.mark.parametrize("text", ["", "a b", "http://clickhouse:9000", "u:p@clickhouse", "clickhouse:x", "a/b"])
def test_what_is_no_address_of_clickhouse_is_refused(text: str) -> None:
    with pytest.raises(GrafanaError, match="HOST:9000"):
        ClickHouseForGrafana.parse(text, is_tls=False)


def test_addresses_of_clickhouse() -> None:
    assert ClickHouseForGrafana.parse("clickhouse", is_tls=False).port == 9000
    assert ClickHouseForGrafana.parse("clickhouse", is_tls=True).port == 9440
    assert ClickHouseForGrafana.parse("ch.example:19000", is_tls=True) == ClickHouseForGrafana(
        "ch.example", 19000, True
    )


def files() -> list[Path]:
    return sorted(PROVISIONING.rglob("*.yaml"))


def test_what_is_provisioned_by_file_is_the_operators_organisation_alone() -> None:
    assert len(files()) == 2
    [sources] = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files() if "datasources" in str(path)]
    assert {each["uid"] for each in sources["datasources"]} == {"crosscredit-clickhouse", "crosscredit-prometheus"}
    [boards] = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files() if "dashboards" in str(path)]
    for each in (*sources["datasources"], *boards["providers"]):
        assert each["orgId"] == 1  # any other might not exist yet, and Grafana would not start
    assert sources["apiVersion"] == boards["apiVersion"] == 1
    assert all(provider["type"] == "file" for provider in boards["providers"])


def test_secrets_come_by_file_and_dollars_are_meant() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        for dollar in re.finditer(r"\$+.", text):
            assert text[dollar.start() :].startswith(("$__file{/run/secrets/", "$${", "$$"))
        for line in text.splitlines():
            if re.match(r"\s*password:", line):
                assert "$__file{" in line


def test_the_operators_user_reads_and_nothing_more(tmp_path: Path) -> None:
    """The file of ClickHouse's configuration, on the engine, but for the one attribute that it does not know."""
    text = (PROVISIONING.parents[1] / "clickhouse" / "users.d" / "crosscredit-grafana.xml").read_text(encoding="utf-8")
    assert "<max_execution_time><min>1</min><max>60</max><changeable_in_readonly/></max_execution_time>" in text
    played = text.replace("<changeable_in_readonly/>", "").replace("crosscredit_grafana>", "default>")
    played = played.replace("<default>", "<default><password></password>")
    users = tmp_path / "users.xml"
    whole = played.replace("</users>", "</users><quotas><default/></quotas>").replace(
        "<profiles>", "<profiles><default/>"
    )
    users.write_text(whole, encoding="utf-8")
    config = tmp_path / "config.xml"
    config.write_text(config_xml(users), encoding="utf-8")
    session = Session(tmp_path / "data", config)
    try:
        assert "GRANT SELECT ON crosscredit.* TO default" in session.ask("SHOW GRANTS", "TSV").text
        assert session.ask("CREATE DATABASE crosscredit").is_refused
        assert "READONLY" in session.ask("SET readonly = 0").text
        assert session.ask("SELECT * FROM file('/etc/passwd', 'LineAsString')").is_refused
    finally:
        session.close()
