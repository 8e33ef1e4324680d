"""Not one foreign row: two partners' sessions on the real engine, over every view, panel and hostile query."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.pages.panels import PARTNER_PANELS
from pipeline.partners import walls
from pipeline.partners.access import Grant
from pipeline.partners.limits import LIMITS
from pipeline.partners.scope import Scope
from tests.partners.hostile import ANSWERED, PROBES, REFUSED
from tests.partners.stage import (
    BASE,
    FIRST,
    SCOPES,
    SECOND,
    TOO_MANY_ROWS,
    ZONE,
    Row,
    Stage,
    named,
    other_than,
    panel_sql,
    probe_sql,
)

OPENED = (Grant("plain", ""), Grant(BASE, ""), Grant(f"{BASE}_partners", ""))
"""What somebody might grant a partner by mistake."""

PERSONAL = {"ip", "user_agent", "visitor_id", "email_sha256", "payment_fingerprint", "landing_url", "referrer_url"}

BOTH = pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.partner_id)


def plain(rows: list[Row]) -> list[str]:
    """Rows in an order, without the pseudonyms, which are a partner's own."""
    return sorted(str({name: value for name, value in row.items() if name not in walls.KEYED}) for row in rows)


def day_alone(row: Row) -> Row:
    """The row, and the local day alone if it is for everybody."""
    if row["partner_id"] != "*":
        return row
    at = datetime.fromisoformat(row["taken_at"]).replace(tzinfo=UTC).astimezone(ZoneInfo(ZONE))
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    return row | {"taken_at": f"{midnight:%Y-%m-%d %H:%M:%S}.000"}


@BOTH
def test_a_partner_sees_its_own_rows(stage: Stage, scope: Scope) -> None:
    for view in walls.PARTNER_VIEWS:
        expected = stage.truth[scope.partner_id, view]
        if view == "partner_bonus_slots":
            expected = [day_alone(row) for row in expected]
        assert plain(stage.said(scope, f"SELECT * FROM {view}").rows) == plain(expected), view
        assert expected or scope != FIRST or view == "current_progress"


@BOTH
def test_every_panel_says_what_it_says_to_the_operator(stage: Stage, scope: Scope) -> None:
    for panel in PARTNER_PANELS:
        rows = stage.said(scope, panel_sql(panel.sql)).rows
        assert plain(rows) == plain(stage.panels[scope.partner_id, panel.id]), panel.id
        assert rows or scope != FIRST, panel.id


@BOTH
@pytest.mark.parametrize("kind", ["refused", "answered", "views and panels", "probes"])
def test_nothing_that_is_said_tells_of_others(stage: Stage, scope: Scope, kind: str) -> None:
    asked = {
        "refused": [(sql, named(scope, sql)) for sql in REFUSED],
        "answered": [(sql, named(scope, sql)) for sql in ANSWERED],
        "views and panels": [("", f"SELECT * FROM {view}") for view in walls.PARTNER_VIEWS]
        + [("", panel_sql(panel.sql)) for panel in PARTNER_PANELS],
        "probes": [("", probe_sql(scope, view, probe)) for view in walls.PARTNER_VIEWS[:-1] for probe in PROBES],
    }[kind]
    other = other_than(scope).name
    foreign = stage.foreign(scope)
    assert len(foreign) > 1000  # else nothing would be found however much was told
    for template, sql in asked:
        said = stage.said(scope, sql)
        known = foreign if "{other}" in template else {*foreign, other}
        told = [each for each in known if each in said.text]
        assert not told, f"{sql} tells {told[:5]}: {said.text[:500]}"
        if kind == "refused":
            assert said.is_refused, f"{sql} was answered: {said.text[:300]}"


@BOTH
def test_a_probe_never_runs_over_a_foreign_row(stage: Stage, scope: Scope) -> None:
    for view in walls.PARTNER_VIEWS[:-1]:
        for probe in PROBES:
            rows = stage.said(scope, probe_sql(scope, view, probe)).rows
            assert int(rows[0]["n"]) == len(stage.truth[scope.partner_id, view]), (view, probe)


def test_customers_are_pseudonyms_that_nobody_can_try_out_or_compare(stage: Stage) -> None:
    for keyed in walls.KEYED:
        seen: dict[str, dict[str, set[object]]] = {}
        for scope in SCOPES:
            for view in walls.PARTNER_VIEWS:
                if keyed in stage.schema.columns[view]:
                    found = {row[keyed] for row in stage.said(scope, f"SELECT * FROM {view}").rows}
                    truth = {row[keyed] for row in stage.truth[scope.partner_id, view]}
                    assert len(found) == len(truth), view  # as many, each under one name
                    assert not found & truth, view
                    seen.setdefault(view, {})[scope.partner_id] = found
        of_first = set().union(*(each[FIRST.partner_id] for each in seen.values()))
        of_second = set().union(*(each[SECOND.partner_id] for each in seen.values()))
        assert not of_first & of_second
    both = {row["customer"] for row in stage.truth["bakery", "partner_missed"]}
    assert both & {row["customer"] for row in stage.truth["roaster", "partner_credits"]}  # customers that both know


def test_limits_hold(stage: Stage) -> None:
    """The quota is not among them: this engine keeps it (see test_cli_partner.py), and counts nothing against it."""
    for limit in LIMITS:
        [row] = stage.said(FIRST, f"SELECT toString(getSetting('{limit.setting}')) AS value").rows
        assert row["value"].replace("true", "1").replace("false", "0") == str(limit.value), limit.setting
    assert "TOO_MANY_ROWS_OR_BYTES" in stage.said(FIRST, TOO_MANY_ROWS).text


def test_a_condition_does_not_pass_the_fence(stage: Stage) -> None:
    """Why views end in a LIMIT: without it a condition runs over everybody's rows, and its error tells them."""
    session = stage.session(FIRST, more=OPENED)
    probe = "SELECT count() AS n FROM plain.{} WHERE toUInt64(word) = 1"
    leaked = session.ask(probe.format("open"))
    assert leaked.is_refused
    assert "somebody" in leaked.text
    assert session.ask(probe.format("fenced")).rows == [{"n": 10_000}]
    joined = "SELECT count() AS n FROM plain.{} AS a JOIN (SELECT 1 AS k) AS b ON toUInt64(a.word) = b.k"
    assert "somebody" in session.ask(joined.format("open")).text
    assert session.ask(joined.format("fenced")).rows == [{"n": 10_000}]
    read = session.ask("EXPLAIN indexes = 1 SELECT count() FROM plain.fenced WHERE toUInt64(word) = 1", "TSV").text
    assert "PrimaryKey" in read  # and the view's own condition still finds its rows by the primary key
    assert "Granules: 10/20" in read


def test_row_policies_close_what_a_mistaken_grant_opens(stage: Stage) -> None:
    session = stage.session(FIRST, more=OPENED)
    for table in stage.schema.columns:
        assert session.ask(f"SELECT count() AS n FROM {BASE}.{table}").rows == [{"n": 0}], table
    assert session.ask(f"SELECT count() AS n FROM {BASE}_partners.partners").rows == [{"n": 0}]


@BOTH
def test_the_owner_of_the_views_reads_no_further_than_it_must(stage: Stage, scope: Scope) -> None:
    session = stage.owner_session(scope)
    granted = {grant.table for grant in stage.access(scope).owner.grants}
    for table, reach in walls.TABLES.items():
        if table not in granted:
            assert (
                table not in stage.schema.columns
                or "ACCESS_DENIED" in session.ask(f"SELECT * FROM {BASE}.{table}").text
            )
            continue
        if reach == "everything":
            continue
        column = {"partner": "partner_id", "program": "program_id", "brand": "brand_id"}[reach]
        own = {"partner": scope.partner_id, "program": scope.program_id, "brand": scope.brand_id}[reach]
        found = {row[column] for row in session.ask(f"SELECT DISTINCT {column} FROM {BASE}.{table}").rows}
        assert found == {own}, table
        for personal in set(stage.schema.columns[table]) & PERSONAL:
            said = session.ask(f"SELECT {personal} FROM {BASE}.{table}")
            assert "ACCESS_DENIED" in said.text, (table, personal)
    for hidden in walls.HIDDEN & set(stage.schema.columns):
        assert "ACCESS_DENIED" in session.ask(f"SELECT * FROM {BASE}.{hidden}").text, hidden
    partners = session.ask(f"SELECT DISTINCT name FROM {BASE}_partners.partners").rows
    assert partners == [{"name": scope.name}]
