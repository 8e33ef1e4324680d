"""The table of terms: it says what the latest catalogue says, and nothing that is not for partners."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Boost, Catalogue, Milestone, Partner, Program, Terms

FIRST = Terms(
    "friends", "acme", "JPY", 1, 0, time_zone="Asia/Tokyo", rate_bps=500,
    milestones=(
        Milestone("together", "qualified_referrals", 9, "month", "group", ("bakery", "roaster")),
        Milestone("alone", "qualified_referrals", 5, "month"),
    ),
    boosts=(Boost("lent", None, 1, 2, 15_000),),
    partners={
        "bakery": Partner("bakery", "Bakery", "food", coupon_codes=("SECRET",), customer_ids=frozenset({"secret-id"})),
        "roaster": Partner("roaster", "Roaster", email_sha256=frozenset({"secret-mail"})),
    },
)  # fmt: skip
SECOND = replace(FIRST, version=2, effective_from_ms=86_400_000, rate_bps=700)


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    with Warehouse.embedded(None) as warehouse:
        warehouse.migrate()
        yield warehouse


def catalogue(*versions: Terms) -> Catalogue:
    return Catalogue.of([Program(versions)])


def rates(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.query("SELECT terms_version, rate_bps FROM partner_tiers ORDER BY terms_version")


def stored(warehouse: Warehouse) -> object:
    return warehouse.query("SELECT count() FROM program_terms")[0][0]


def test_the_latest_catalogue_stands(warehouse: Warehouse) -> None:
    write_program_terms(warehouse, catalogue(FIRST, SECOND))
    assert rates(warehouse) == [(1, 500), (2, 700)]
    rows = stored(warehouse)
    write_program_terms(warehouse, catalogue(FIRST, SECOND))
    assert stored(warehouse) == rows, "nothing differs, nothing is written"
    write_program_terms(warehouse, catalogue(replace(FIRST, rate_bps=600)))  # a what-if: other content, a version less
    assert rates(warehouse) == [(1, 600)]
    write_program_terms(warehouse, catalogue(FIRST, SECOND))  # and back
    assert rates(warehouse) == [(1, 500), (2, 700)]
    limits = warehouse.query(
        "SELECT toUnixTimestamp64Milli(effective_from), toYear(effective_until) FROM partner_programs "
        "ORDER BY terms_version"
    )
    assert limits == [(0, 1970), (86_400_000, 2299)]


def test_it_says_what_panels_need_and_no_secret(warehouse: Warehouse) -> None:
    write_program_terms(warehouse, catalogue(FIRST))
    [(digits, content)] = warehouse.query("SELECT currency_digits, content FROM current_program_terms")
    assert digits == 0
    assert "secret" not in str(content).lower()
    keys = {each["id"]: each["scope_keys"] for each in json.loads(str(content))["milestones"]}
    assert keys == {"together": ["bakery+roaster"], "alone": ["bakery", "roaster"]}
    goals = "SELECT partner_id, scope_key FROM partner_goals ORDER BY scope_key, partner_id"
    assert warehouse.query(goals) == [
        ("bakery", "bakery"), ("bakery", "bakery+roaster"), ("roaster", "bakery+roaster"), ("roaster", "roaster"),
    ]  # fmt: skip
    assert warehouse.query("SELECT partner_id, boost_id FROM partner_boosts") == [("*", "lent")]
    assert warehouse.query("SELECT partner_id, name, segment FROM partner_names ORDER BY partner_id") == [
        ("bakery", "Bakery", "food"), ("roaster", "Roaster", ""),
    ]  # fmt: skip
