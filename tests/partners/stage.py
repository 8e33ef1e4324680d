"""A ClickHouse with a small world in it and partners who may look at it, made by `crosscredit partner add`."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import status_of
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.pages.panels import PARAMETERS, PARTNER_PANELS
from pipeline.partners import registry, walls
from pipeline.partners.access import Access, Schema, access_of
from pipeline.partners.limits import LIMITS
from pipeline.partners.scope import Scope
from pipeline.partners.server import schema_of
from tests.clickhouse.fronts import FrontProcess
from tests.pages.world import DAY, NOW, START, World, make_world
from tests.partners.hostile import ANSWERED, PROBES, REFUSED
from tests.partners.session import Said, Session
from tests.partners.users_xml import config_xml, user_xml, users_xml

BASE = "crosscredit"
ZONE = "America/New_York"
FIRST = Scope(BASE, "acme", "acme-friends", "bakery", ZONE)
SECOND = Scope(BASE, "acme", "acme-friends", "roaster", ZONE)
SCOPES = (FIRST, SECOND)

TERMS = """
[program]
id = "acme-friends"
brand_id = "acme"
currency = "USD"
time_zone = "America/New_York"
version = 1
effective_from = 2026-01-01T00:00:00Z
[commission]
rate_bps = 1000
[[partner]]
id = "bakery"
name = "Bakery"
[[partner]]
id = "roaster"
name = "Roaster"
[[partner]]
id = "florist"
name = "Florist"
"""

VALUES = {
    "{zone:String}": f"'{ZONE}'",
    "{now_ms:Int64}": str(NOW),
    "{final_until_ms:Int64}": str(NOW - 20 * DAY),
}
assert set(VALUES) == set(PARAMETERS)

TOO_MANY_ROWS = "SELECT number FROM numbers(200001)"

TELLING = (
    *("event_id", "visitor_id", "customer_id", "conversion_id", "order_id", "link_id", "click_id", "entry_id"),
    *("cause_event_id", "ip", "user_agent", "email_sha256", "payment_fingerprint", "raw", "partner_id"),
)
"""Columns of the tables whose values name somebody or something of somebody."""

Row = dict[str, Any]


def panel_sql(sql: str) -> str:
    for parameter, value in VALUES.items():
        sql = sql.replace(parameter, value)
    return sql


def questions(scope: Scope) -> Iterator[str]:
    """All that the tests ask in a partner's own session, with its own database in use."""
    yield f"USE {scope.name}"
    yield from (f"SELECT * FROM {view}" for view in walls.PARTNER_VIEWS)
    yield from (panel_sql(panel.sql) for panel in PARTNER_PANELS)
    yield from (named(scope, sql) for sql in (*REFUSED, *ANSWERED))
    yield from (probe_sql(scope, view, probe) for view in walls.PARTNER_VIEWS[:-1] for probe in PROBES)
    yield from (f"SELECT toString(getSetting('{limit.setting}')) AS value" for limit in LIMITS)
    yield TOO_MANY_ROWS


def other_than(scope: Scope) -> Scope:
    return SECOND if scope == FIRST else FIRST


def named(scope: Scope, sql: str) -> str:
    """A hostile query with the names that it needs."""
    other = other_than(scope).name
    return sql.format(
        own=scope.name, base=BASE, other=other, misspelt=other[:-1], partner=scope.partner_id, program=scope.program_id
    )


def probe_sql(scope: Scope, view: str, probe: str) -> str:
    return named(scope, f"SELECT count() AS n FROM {view} WHERE {probe}")


@dataclass
class Stage:
    """What the tests look at. Everything in ``truth`` and ``panels`` was read by the operator, not by a partner."""

    folder: Path
    terms: Path
    secrets: Path
    accesses: tuple[Access, ...] = ()
    schema: Schema = field(default_factory=lambda: Schema({}, {}))
    tables: dict[str, Sequence[str]] = field(default_factory=dict)
    truth: dict[tuple[str, str], list[Row]] = field(default_factory=dict)  # (partner, view): its rows
    panels: dict[tuple[str, str], list[Row]] = field(default_factory=dict)  # (partner, panel): its rows
    telling: set[str] = field(default_factory=set)
    told: dict[str, tuple[int, str]] = field(default_factory=dict)  # command line: its status and what it printed
    noted: str = ""  # the statements about users and rights that the engine understood and could not store
    _interviews: dict[str, dict[str, Said]] = field(default_factory=dict)
    _sessions: dict[str, Session] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def access(self, scope: Scope) -> Access:
        return next(each for each in self.accesses if each.scope == scope)

    def said(self, scope: Scope, sql: str) -> Said:
        """What the engine said to the partner: everything that is asked is asked in one session, the first time."""
        if scope.name not in self._interviews:
            session = self.session(scope)
            self._interviews[scope.name] = {each: session.ask(each) for each in questions(scope)}
        return self._interviews[scope.name][sql]

    def session(self, scope: Scope, **changes: Any) -> Session:
        """The partner's own session; ``changes`` take walls down (see :func:`user_xml`)."""
        return self._open(f"{scope.name}{changes}", scope, self.access(scope).partner.name, changes)

    def owner_session(self, scope: Scope) -> Session:
        """As if somebody could log in as the owner of the partner's views."""
        return self._open(scope.owner, scope, scope.owner, {})

    def _open(self, key: str, scope: Scope, user: str, changes: Mapping[str, Any]) -> Session:
        if key not in self._sessions:
            access = self.access(scope)
            is_partner = user == access.partner.name
            played = access.partner if is_partner else access.owner
            default = user_xml(played, self.tables, scope.name if is_partner else "", "default", **changes)
            config = self.configuration(f"session{next(self._numbers)}", default)
            for each in self._sessions.values():  # the folder is one engine's at a time
                each.close()
            self._sessions = {key: Session(self.folder, config)}
        return self._sessions[key]

    def configuration(self, name: str, *default: str) -> Path:
        users = self.folder.parent / f"{name}.users.xml"
        users.write_text(users_xml(self.accesses, self.tables, *default), encoding="utf-8")
        config = self.folder.parent / f"{name}.xml"
        config.write_text(config_xml(users), encoding="utf-8")
        return config

    def close(self) -> None:
        for each in self._sessions.values():
            each.close()

    def foreign(self, scope: Scope) -> set[str]:
        """Every telling value that is in none of the rows that the partner may see."""
        own = {
            text for (partner, _), rows in self.truth.items() if partner == scope.partner_id for text in _texts(rows)
        }
        whole = "\n".join(own)
        return {each for each in self.telling if each not in whole}


def _texts(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        for value in row.values():
            yield str(value)


def make_stage(folder: Path) -> Stage:
    """Fill a database as its operator, add the partners by the command line, and leave it to the sessions."""
    stage = Stage(folder / "data", folder / "terms.toml", folder / "secrets")
    stage.terms.write_text(TERMS, encoding="utf-8")
    front = FrontProcess("--path", str(stage.folder))
    try:
        with front.open(BASE) as warehouse:
            warehouse.migrate()
            _fill(warehouse)
            _fill_plain(warehouse)
            _look(stage, warehouse)
    finally:
        front.close()
    stage.accesses = tuple(access_of(scope, stage.schema) for scope in SCOPES)
    notes = folder / "notes.sql"
    module = ("tests.partners.front_with_users", str(stage.configuration("operator")), str(notes))
    front = FrontProcess("--path", str(stage.folder), module=module)
    try:
        terms, secrets = ["--program", str(stage.terms)], ["--secrets", str(stage.secrets)]
        add = ["add", "acme-friends", "bakery", "roaster", *terms, *secrets]
        first = ["add", "acme-friends", "bakery", *terms]
        stage.told["add"] = crosscredit(front, *add)
        stage.told["again"] = crosscredit(front, *first)
        stage.told["list"] = crosscredit(front, "list", *terms)
        with front.open(BASE) as warehouse:
            _give_and_take(stage, front, warehouse)
        stage.told["renew to a file"] = crosscredit(front, *first, *secrets, "--new-password")
        stage.told["renew"] = crosscredit(front, *first, "--new-password")
    finally:
        front.close()
    stage.noted = notes.read_text(encoding="utf-8")
    return stage


def _give_and_take(stage: Stage, front: FrontProcess, warehouse: Warehouse) -> None:
    """Break what one partner has, and take everything away from a third, who has no user that the engine knows."""
    warehouse.execute(f"CREATE OR REPLACE VIEW {FIRST.name}.partner_ledger AS SELECT 1 AS x")
    warehouse.execute(f"DROP VIEW {FIRST.name}.partner_missed")
    warehouse.execute(f"CREATE VIEW {FIRST.name}.stray AS SELECT 1 AS x")
    stage.told["list of what is broken"] = crosscredit(front, "list")
    warehouse.execute(f"DROP VIEW {FIRST.name}.stray")
    third = Scope(BASE, "acme", "acme-friends", "florist", ZONE)
    registry.enlist(warehouse, third)
    warehouse.execute(f"CREATE DATABASE {third.name}")
    remove = ["remove", "acme-friends", "florist", "--secrets", str(stage.secrets)]
    stage.told["remove"] = crosscredit(front, *remove)
    stage.told["remove again"] = crosscredit(front, *remove)
    stage.told["list after removal"] = crosscredit(front, "list")
    found = warehouse.query(
        "SELECT name FROM system.databases WHERE name NOT IN ('default', 'system', 'INFORMATION_SCHEMA', "
        "'information_schema') ORDER BY name"
    )
    stage.told["databases"] = (0, "".join(f"{name}\n" for (name,) in found))


def crosscredit(front: FrontProcess, *arguments: str) -> tuple[int, str]:
    """`crosscredit partner …` against a front: exit status and all that it prints."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.setenv("CROSSCREDIT_CLICKHOUSE_URL", front.url)
        status = status_of(["partner", *arguments])
    return status, said.getvalue()


def _fill(warehouse: Warehouse) -> None:
    """The world of the pages' tests, and clicks that say in their links whose they are."""
    world: World = make_world()
    for number in range(400):
        partner = ("bakery", "roaster", "florist")[number % 3]
        world.add(
            "clicks", event_id=f"click-{partner}-{number}", occurred_at=START + number * 3_600_000, brand_id="acme",
            program_id="acme-friends", partner_id=partner, visitor_id=f"visitor-{partner}-{number}",
            link_id=f"link-{partner}-{number}", ip=f"198.51.100.{number % 250}", user_agent=f"agent-{number}",
        )  # fmt: skip
    world.store(warehouse)
    warehouse.insert_rows(
        "sign_ups",
        [("s-secret", START, "acme", "customer-secret-1@example.com", "e" * 64, "203.0.113.77", "agent-secret")],
        ("event_id", "occurred_at", "brand_id", "customer_id", "email_sha256", "ip", "user_agent"),
    )


def _fill_plain(warehouse: Warehouse) -> None:
    """A table whose rows two partners share, and two views of one partner's: open, and fenced."""
    warehouse.execute("CREATE DATABASE plain")
    warehouse.execute(
        "CREATE TABLE plain.shared (program_id LowCardinality(String), partner_id LowCardinality(String), word String) "
        "ENGINE = MergeTree ORDER BY (program_id, partner_id) SETTINGS index_granularity = 1024"
    )
    warehouse.execute(
        "INSERT INTO plain.shared SELECT 'acme-friends', if(number % 2 = 0, 'bakery', 'roaster'), "
        "if(number % 2 = 0, '1', concat('somebody-', toString(number))) FROM numbers(20000)"
    )
    own = "SELECT * FROM plain.shared WHERE program_id = 'acme-friends' AND partner_id IN ('bakery', '*')"
    warehouse.execute(f"CREATE VIEW plain.open AS {own}")
    warehouse.execute(f"CREATE VIEW plain.fenced AS {own} {walls.FENCE}")


def _look(stage: Stage, warehouse: Warehouse) -> None:
    """As the operator: what each partner may see, worked out here from the shared views."""
    stage.schema = schema_of(warehouse, BASE)
    stage.tables[BASE] = list(stage.schema.columns)
    stage.tables[f"{BASE}_partners"] = ["partners"]
    views = {view: _rows(warehouse, f"SELECT * FROM {view}") for view in walls.PARTNER_VIEWS}
    for scope in SCOPES:
        for view, rows in views.items():
            stage.truth[scope.partner_id, view] = [row for row in rows if _is_own(scope, row)]
        for panel in PARTNER_PANELS:
            sql = _narrowed(scope, panel_sql(panel.sql), stage.schema)
            stage.panels[scope.partner_id, panel.id] = _rows(warehouse, sql)
    for table, columns in stage.schema.columns.items():
        for column in set(columns) & set(TELLING):
            found = warehouse.query(f"SELECT DISTINCT toString({column}) FROM {table}")
            stage.telling |= {str(value) for (value,) in found if len(str(value)) > 4}
    plain = warehouse.query(
        "SELECT DISTINCT substring(lower(hex(SHA256(concat(brand_id, ' ', customer_id)))), 1, 12) FROM attributions"
    )
    stage.telling |= {str(value) for (value,) in plain}


def _is_own(scope: Scope, row: Row) -> bool:
    if "partner_id" not in row:
        return True
    return row["program_id"] == scope.program_id and row["partner_id"] in (scope.partner_id, "*")


def _rows(warehouse: Warehouse, sql: str) -> list[Row]:
    client = warehouse._session.client
    return [json.loads(line) for line in client.raw_query(sql, fmt="JSONEachRow").decode().splitlines()]


def _narrowed(scope: Scope, sql: str, schema: Schema) -> str:
    """As the offline pages narrow a panel, without any of the partner's own views."""
    named = [view for view in walls.PARTNER_VIEWS if re.search(rf"\b{view}\b", sql)]
    parts = []
    for view in named:
        own = f"WHERE program_id = '{scope.program_id}' AND partner_id IN ('{scope.partner_id}', '*')"
        where = own if "partner_id" in schema.columns[view] else ""
        parts.append(f"{view} AS (SELECT * FROM {BASE}.{view} {where})")
    return f"WITH {', '.join(parts)} {sql}"
