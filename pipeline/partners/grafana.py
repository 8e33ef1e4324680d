"""A partner's organisation in Grafana, over its HTTP API: the organisation, its one data source, its dashboards.

Files cannot make organisations, and a provisioning file that names one that is not there keeps Grafana from starting
(decision 0017). Every call may be repeated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.partners.limits import QUERY_TIMEOUT_S
from pipeline.partners.scope import Scope

DATA_SOURCE_UID: Final = "crosscredit-clickhouse"
PLUGIN: Final = "grafana-clickhouse-datasource"
_HOST: Final = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_TIMEOUT: Final = urllib3.Timeout(connect=5, read=30)


class GrafanaError(Exception):
    """Grafana refused, or is not there; the text names the remedy."""


@dataclass(frozen=True, slots=True)
class GrafanaAddress:
    """Where Grafana is, and a server administrator of it. Shown without the password."""

    url: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClickHouseForGrafana:
    """ClickHouse's native interface as Grafana reaches it."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def parse(cls, text: str, *, is_tls: bool) -> ClickHouseForGrafana:
        """Of ``HOST:PORT``; the port is 9000, or 9440 with TLS, where none is given.

        :raises GrafanaError: it is no such address.
        """
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not _HOST.fullmatch(text):
            raise GrafanaError(f"{text!r} is no address of ClickHouse. Write HOST:9000, as Grafana reaches it.")
        return cls(host, port or (9440 if is_tls else 9000), is_tls)


def organisation_name(scope: Scope) -> str:
    """The organisation of a partner. It does not change with the partner's name in the terms."""
    return f"{scope.program_id} / {scope.partner_id}"


def data_source(scope: Scope, clickhouse: ClickHouseForGrafana, password: str | None) -> dict[str, Any]:
    """The data source as Grafana's API takes it, with the same uid everywhere. No password: it keeps the one it has."""
    return {
        "name": "crosscredit",
        "uid": DATA_SOURCE_UID,
        "type": PLUGIN,
        "access": "proxy",
        "isDefault": True,
        "jsonData": {
            "host": clickhouse.host,
            "port": clickhouse.port,
            "protocol": "native",
            "secure": clickhouse.is_tls,
            "username": scope.name,
            "defaultDatabase": scope.name,
            "queryTimeout": str(QUERY_TIMEOUT_S),
        },
    } | ({"secureJsonData": {"password": password}} if password else {})


class Grafana:
    """Grafana's HTTP API, as its administrator."""

    def __init__(self, address: GrafanaAddress) -> None:
        self._address = address
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._headers = {
            **urllib3.make_headers(basic_auth=f"{address.username}:{address.password}"),
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def provide(
        self,
        scope: Scope,
        clickhouse: ClickHouseForGrafana,
        password: str | None,
        dashboards: Sequence[Mapping[str, Any]],
    ) -> int:
        """Make or mend a partner's organisation with its data source and dashboards, the first of which is its home.

        Returns the organisation's id.

        :raises GrafanaError: Grafana refused, is not there, or has no password for the data source yet.
        """
        organisation = self._organisation(organisation_name(scope)) or self._make(organisation_name(scope))
        self._provide_source(organisation, data_source(scope, clickhouse, password), has_password=password is not None)
        for dashboard in dashboards:
            body = {"dashboard": {**dashboard, "id": None}, "overwrite": True, "message": "crosscredit partner add"}
            self._ask("POST", "/api/dashboards/db", body, organisation=organisation)
        if dashboards:
            home = {"homeDashboardUID": dashboards[0]["uid"]}
            self._ask("PATCH", "/api/org/preferences", home, organisation=organisation)
        return organisation

    def remove(self, scope: Scope) -> bool:
        """Remove a partner's organisation with all that is in it; whether there was one."""
        organisation = self._organisation(organisation_name(scope))
        if organisation is None:
            return False
        self._ask("DELETE", f"/api/orgs/{organisation}")
        return True

    def _organisation(self, name: str) -> int | None:
        found = self._ask("GET", f"/api/orgs/name/{quote(name, safe='')}", missing=(404,))
        return None if found is None else int(found["id"])

    def _make(self, name: str) -> int:
        return int(self._ask("POST", "/api/orgs", {"name": name})["orgId"])

    def _provide_source(self, organisation: int, source: Mapping[str, Any], *, has_password: bool) -> None:
        """Whoever makes an organisation is its administrator; one that somebody else made must let us in first."""
        member = {"loginOrEmail": self._address.username, "role": "Admin"}
        self._ask("POST", f"/api/orgs/{organisation}/users", member, missing=(409,))
        path = f"/api/datasources/uid/{DATA_SOURCE_UID}"
        if self._ask("GET", path, organisation=organisation, missing=(404,)) is not None:
            self._ask("PUT", path, source, organisation=organisation)
            return
        if not has_password:
            raise GrafanaError(
                "Grafana needs the password of the partner's ClickHouse user, which is not known any more. Run this "
                "again with --new-password."
            )
        self._ask("POST", "/api/datasources", source, organisation=organisation)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, organisation: int | None = None,
        missing: Sequence[int] = (),
    ) -> Any:  # fmt: skip
        """One request; None where the status is one of ``missing``."""
        headers = dict(self._headers)
        if organisation is not None:
            headers["X-Grafana-Org-Id"] = str(organisation)
        where = f"Grafana at {self._address.url}"
        try:
            sent = None if body is None else json.dumps(body).encode()
            answer = self._pool.request(
                method, self._address.url.rstrip("/") + path, body=sent, headers=headers, redirect=False
            )
        except HTTPError as error:
            raise GrafanaError(f"{where} does not answer. Is it up? Try again.") from error
        if answer.status in missing:
            return None
        if answer.status in (401, 403):
            raise GrafanaError(
                f"{where} does not take {self._address.username} for a server administrator ({answer.status}). Set "
                "CROSSCREDIT_GRAFANA_USERNAME and CROSSCREDIT_GRAFANA_PASSWORD_FILE."
            )
        if answer.status >= 300:
            raise GrafanaError(f"{where} refused {method} {path} ({answer.status}): {_message(answer.data)}")
        return _parsed(answer.data, where)


def _message(data: bytes) -> str:
    """Grafana's own words; never what was sent, which holds a password."""
    try:
        return str(json.loads(data).get("message", ""))[:300]
    except (ValueError, AttributeError):
        return "it gave no reason"


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(data)) if data else {}
    except ValueError as error:
        raise GrafanaError(f"{where} does not speak as Grafana does. Is the address right?") from error
