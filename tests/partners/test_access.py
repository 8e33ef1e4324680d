"""What a partner is given, as values and as SQL: every table decided on, nothing open on the way, no password seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.clickhouse.schema import packaged_migrations
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.partners import server, walls
from pipeline.partners.access import Schema, UndecidedError, access_of
from pipeline.partners.limits import LIMITS, QUERY_TIMEOUT_S
from pipeline.partners.scope import Scope
from pipeline.partners.server import PartnerError
from pipeline.partners.statements import (
    Secret,
    registry_statements,
    remove_statements,
    user_statements,
    view_statements,
)
from tests.partners.stage import FIRST, SECOND, Stage

MADE = re.compile(r"CREATE (?:OR REPLACE )?(TABLE|VIEW|MATERIALIZED VIEW|DICTIONARY) (?:IF NOT EXISTS )?(\w+)")


def tables_and_views() -> set[str]:
    """Everything that the migrations make and keep."""
    code = [statement for migration in packaged_migrations() for statement in migration.statements]
    made = {match[2] for statement in code if (match := MADE.match(statement))}
    gone = {match[1] for statement in code if (match := re.match(r"DROP \w+ (?:IF EXISTS )?(\w+)", statement))}
    return made - gone | {"schema_migrations"}


def test_somebody_decided_on_every_table_and_view() -> None:
    decided = [*walls.TABLES, *walls.HIDDEN, *walls.PARTNER_VIEWS, *walls.INNER_VIEWS]
    assert len(set(decided)) == len(decided)
    assert not tables_and_views() - set(decided), "decide in pipeline/partners/walls.py what partners may see of it"


def test_the_server_has_what_was_decided_on(stage: Stage) -> None:
    assert set(stage.schema.columns) == tables_and_views()
    for view in walls.PARTNER_VIEWS:
        assert not set(stage.schema.columns[view]) & (walls.PERSONAL | {"customer_id", "explanation", "order_id"})
        assert {"program_id", "partner_id"} <= set(stage.schema.columns[view]) or view == "current_progress"


def test_each_table_has_a_row_policy_for_both_users(stage: Stage) -> None:
    access = stage.access(FIRST)
    of_owner = {(policy.database, policy.table) for policy in access.owner.policies}
    assert {(grant.database, grant.table) for grant in access.owner.grants if grant.columns} == of_owner
    of_partner = {(policy.database, policy.table): policy.condition for policy in access.partner.policies}
    assert of_partner["crosscredit", ""] == of_partner["crosscredit_partners", ""] == "0"  # every table, later ones too
    assert {(FIRST.name, view) for view in walls.PARTNER_VIEWS} < set(of_partner)
    assert {(grant.database, grant.table) for grant in access.partner.grants} == {
        (FIRST.name, view) for view in walls.PARTNER_VIEWS
    }


def test_each_view_is_narrow_fenced_and_reads_as_its_owner(stage: Stage) -> None:
    access = stage.access(FIRST)
    made = [each.sql for each in view_statements(access) if "CREATE OR REPLACE VIEW" in each.sql]
    assert len(made) == len(walls.PARTNER_VIEWS)
    for view, sql in zip(access.views, made, strict=True):
        assert sql.endswith(" LIMIT 18446744073709551615")
        assert f"DEFINER = `{FIRST.owner}` SQL SECURITY DEFINER" in sql
        own = "WHERE shared.program_id = 'acme-friends' AND shared.partner_id IN ('bakery', '*') LIMIT"
        assert own in sql or "partner_id" not in view.columns, view.name
        assert "*" not in sql.replace("'*'", "")  # columns by name: one that is added is not let through


def test_nothing_is_open_on_the_way(stage: Stage) -> None:
    """After each statement the partner's user can read no more than at the end."""
    access = stage.access(FIRST)
    made = [each.sql for each in (*user_statements(access, Secret.of("x")), *view_statements(access))]
    user = f"`{FIRST.name}`"
    at = {name: index for index, sql in enumerate(made) for name in ("PROFILE IF", "USER IF", "POLICY", "GRANT", "VIEW")
          if name in sql}  # fmt: skip
    granted = [sql for sql in made if sql.startswith("GRANT") and f"TO {user} " in sql]
    assert granted == [made[-1]]  # last, after every policy and view
    assert made[-1].endswith("WITH REPLACE OPTION")
    created = next(index for index, sql in enumerate(made) if sql.startswith(f"CREATE USER IF NOT EXISTS {user} "))
    assert "CREATE SETTINGS PROFILE" in made[0]
    assert created > 0
    assert at["VIEW"] < len(made) - 1
    assert f"SETTINGS PROFILE '{FIRST.name}'" in made[created]
    assert not any("ROLE" in sql.replace("DEFAULT ROLE NONE", "") for sql in made)  # SET ROLE NONE would shed it
    assert not any(re.match(r"CREATE (USER|SETTINGS PROFILE) OR REPLACE", sql) for sql in made)


def test_the_engine_understood_every_statement_about_rights(stage: Stage) -> None:
    for scope in (FIRST, SECOND):
        access = stage.access(scope)
        expected = [each.sql for each in (*user_statements(access, None), *view_statements(access)) if each.is_access]
        for sql in expected:
            known = re.sub(r"BY '\w+' SALT '\w+'", "", sql)
            assert known in re.sub(r"BY '\w+' SALT '\w+'", "", stage.noted), sql
    removal = [each for each in remove_statements(FIRST, [(FIRST.name, "crosscredit", "")]) if each.is_access]
    assert all(each.sql in stage.noted or "IF EXISTS" in each.sql for each in removal)


def test_a_view_that_reads_what_nobody_decided_on_is_refused(stage: Stage) -> None:
    reads = {**stage.schema.reads, walls.PARTNER_VIEWS[0]: frozenset({"sign_ups"})}
    with pytest.raises(UndecidedError, match="sign_ups"):
        access_of(FIRST, Schema(stage.schema.columns, reads))


def test_names_are_distinct_and_plain() -> None:
    hard = ["a", "A", "a b", "a_b", "Bakery: Café/Kreis", "`; DROP", "ä" * 300, "'", "\\", "日本"]
    scopes = [Scope("crosscredit", "brand", program, partner) for program in hard for partner in hard]
    names = {scope.name for scope in scopes}
    assert len(names) == len(scopes)
    assert all(re.fullmatch(r"[a-z0-9_]{3,128}", f"{name}_views") for name in names)
    assert Scope("other", "brand", "a", "b").name not in names
    assert FIRST.name.startswith("crosscredit_acme_friends_bakery_")


def test_ids_are_text_wherever_they_stand() -> None:
    hostile = Scope("b`ase", "br'and", "x' OR 1 --", "\\' OR '1", "Europe/Berlin")
    columns = {each: ["program_id", "partner_id", "taken_at"] for each in (*walls.TABLES, *walls.PARTNER_VIEWS)}
    schema = Schema(columns, {walls.PARTNER_VIEWS[0]: frozenset(walls.TABLES)})
    access = access_of(hostile, schema)
    for condition in (*(p.condition for p in access.owner.policies), *(view.select for view in access.views)):
        bare = re.sub(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`", "", condition)
        assert " OR " not in bare
        assert "--" not in bare
    assert "`b\\`ase`" in access.views[0].select


def test_a_password_is_told_as_a_salted_hash(stage: Stage) -> None:
    first, second = Secret.of("hush-hush"), Secret.of("hush-hush")
    assert first.sql != second.sql
    statements = [*user_statements(stage.access(FIRST), first), *registry_statements("crosscredit")]
    assert not any("hush" in each.sql for each in statements)
    assert sum(first.sql in each.sql for each in statements) == 2  # a new user gets it, and one that exists
    kept = [each.sql for each in user_statements(stage.access(FIRST), None)]
    assert not any("IDENTIFIED" in sql for sql in kept)


def test_the_data_source_asks_within_the_limit() -> None:
    [time] = [limit for limit in LIMITS if limit.is_changeable]
    assert time.setting == "max_execution_time"
    assert time.most is not None
    assert time.most >= QUERY_TIMEOUT_S + 5  # the plugin's driver adds 5 seconds
    assert next(limit.value for limit in LIMITS if limit.setting == "readonly") == 1


class Stub(Warehouse):
    """A server that hides rows from users whom no policy names; the embedded engine cannot be told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def execute(self, sql: str) -> None:
        self.ran.append(sql)

    def query(self, sql: str, _: object = None) -> list[tuple[object, ...]]:
        assert "count()" in sql
        return [(0,)]


def test_a_server_on_which_policies_would_blind_the_workers_is_left_as_it_was() -> None:
    stub = Stub()
    with pytest.raises(PartnerError, match="users_without_row_policies_can_read_rows"):
        server._check_others(stub, FIRST)
    assert [sql.split(" ON ")[1] for sql in stub.ran] == ["`crosscredit`.*", "`crosscredit_partners`.*"]
    assert all(sql.startswith("DROP ROW POLICY IF EXISTS") for sql in stub.ran)


def test_the_page_names_every_view_and_every_limit() -> None:
    page = Path(__file__).parents[2] / "docs" / "partners.md"
    text = page.read_text(encoding="utf-8")
    for table in (*walls.PARTNER_VIEWS,):
        assert f"`{table}`" in text
    for limit in LIMITS:
        assert f"`{limit.setting}`" in text
