"""Not one foreign row: two partners' sessions on the real engine, over every view, panel and hostile query.

Each test is one partner's whole session, because a session is an engine that has to start.
"""

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
from tests.partners.session import Said, Session
from tests.partners.stage import BASE, FIRST, SCOPES, SECOND, ZONE, Row, Stage, panel_sql

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


class Watch:
    """Looks at everything that a session says."""

    def __init__(self, stage: Stage, scope: Scope) -> None:
        self.session: Session = stage.session(scope)
        other = SECOND if scope == FIRST else FIRST
        self.foreign = {*stage.foreign(scope), other.name, "/bin/sh"}
        self.names = {
            "own": scope.name, "base": BASE, "other": other.name, "misspelt": other.name[:-1],
            "partner": scope.partner_id, "program": scope.program_id,
        }  # fmt: skip

    def ask(self, sql: str) -> Said:
        said = self.session.ask(sql.format(**self.names))
        named = {self.names["other"]} if "{other}" in sql else set()
        found = {each for each in self.foreign - named if each in said.text}
        assert not found, f"{sql} tells {found}: {said.text[:500]}"
        return said


@BOTH
def test_a_partner_sees_its_own_rows_and_nothing_else(stage: Stage, scope: Scope) -> None:
    foreign = stage.foreign(scope)
    assert len(foreign) > 1000  # else the search below would find nothing however much was told
    session = stage.session(scope)
    for view in walls.PARTNER_VIEWS:
        said = session.ask(f"SELECT * FROM {scope.name}.{view}")
        expected = stage.truth[scope.partner_id, view]
        if view == "partner_bonus_slots":
            expected = [day_alone(row) for row in expected]
        assert plain(said.rows) == plain(expected), view
        assert expected or view == "current_progress"
        assert not {each for each in foreign if each in said.text}, view
    watch = Watch(stage, scope)
    for sql in REFUSED:
        said = watch.ask(sql)
        assert said.is_refused, f"{sql} was answered: {said.text[:300]}"
    for sql in ANSWERED:
        watch.ask(sql)
    for view in walls.PARTNER_VIEWS[:-1]:
        for probe in PROBES:
            asked = f"SELECT count() AS n FROM {{own}}.{view} WHERE {probe}"
            assert int(watch.ask(asked).rows[0]["n"]) == len(stage.truth[scope.partner_id, view]), asked


@BOTH
def test_every_panel_says_what_it_says_to_the_operator(stage: Stage, scope: Scope) -> None:
    session = stage.session(scope)
    session.ask(f"USE {scope.name}")
    for panel in PARTNER_PANELS:
        rows = session.ask(panel_sql(panel.sql)).rows
        assert plain(rows) == plain(stage.panels[scope.partner_id, panel.id]), panel.id
        assert rows or scope != FIRST, panel.id


def test_customers_are_pseudonyms_that_nobody_can_try_out_or_compare(stage: Stage) -> None:
    seen: dict[str, set[str]] = {}
    for scope in SCOPES:
        session = stage.session(scope)
        credits = session.ask(f"SELECT DISTINCT customer FROM {scope.name}.partner_credits").rows
        referrals = session.ask(f"SELECT DISTINCT customer FROM {scope.name}.partner_referrals").rows
        truth = {row["customer"] for row in stage.truth[scope.partner_id, "partner_credits"]}
        seen[scope.partner_id] = {row["customer"] for row in credits}
        assert len(seen[scope.partner_id]) == len(truth)  # as many customers, each with one name
        assert seen[scope.partner_id] <= {row["customer"] for row in referrals}  # the same in every view
        assert not seen[scope.partner_id] & stage.telling
    missed = {row["customer"] for row in stage.truth["bakery", "partner_missed"]}
    shared = missed & {row["customer"] for row in stage.truth["roaster", "partner_credits"]}
    assert shared  # customers that both know, under names of their own
    assert not seen["bakery"] & seen["roaster"]


def test_a_condition_does_not_pass_the_fence(stage: Stage) -> None:
    """Why views end in a LIMIT: without it a condition runs over everybody's rows, and its error tells them."""
    session = stage.session(FIRST, more=(Grant("plain", ""),))
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
    session = stage.session(FIRST, more=(Grant("plain", ""), Grant(BASE, ""), Grant(f"{BASE}_partners", "")))
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
        column = {"partner": "partner_id", "program": "program_id", "brand": "brand_id"}.get(reach, "name")
        own = {"partner": scope.partner_id, "program": scope.program_id, "brand": scope.brand_id}.get(reach)
        found = {row[column] for row in session.ask(f"SELECT DISTINCT {column} FROM {BASE}.{table}").rows}
        assert found == ({own} if own else set()), table
        for personal in set(stage.schema.columns[table]) & walls.PERSONAL:
            said = session.ask(f"SELECT {personal} FROM {BASE}.{table}")
            assert "ACCESS_DENIED" in said.text, (table, personal)
    for hidden in walls.HIDDEN & set(stage.schema.columns):
        assert "ACCESS_DENIED" in session.ask(f"SELECT * FROM {BASE}.{hidden}").text, hidden
    partners = session.ask(f"SELECT DISTINCT name FROM {BASE}_partners.partners").rows
    assert partners == [{"name": scope.name}]


def test_limits_hold(stage: Stage) -> None:
    """The quota is not among them: this engine keeps it (see test_cli_partner.py), and counts nothing against it."""
    session = stage.session(FIRST)
    assert "TOO_MANY_ROWS_OR_BYTES" in session.ask("SELECT number FROM numbers(200001)").text
    for limit in LIMITS:
        [row] = session.ask(f"SELECT toString(getSetting('{limit.setting}')) AS value").rows
        assert row["value"].replace("true", "1").replace("false", "0") == str(limit.value), limit.setting
