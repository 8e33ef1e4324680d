"""What the versions of a program and the programs of a brand have in common (contract.md, section 3)."""

from __future__ import annotations

import tomllib

import pytest

from pipeline.domain.terms_reader import Problem, TermsError
from pipeline.domain.terms_versions import TermsDocument, catalogue_of, check_catalogue
from pipeline.toml_lines import toml_lines
from tests.domain.terms_texts import BONUS, MILESTONE, RATE, text_of


def document(name: str, extra: str = "", **program: str | None) -> TermsDocument:
    text = text_of(extra, RATE, **program)
    return TermsDocument(name, tomllib.loads(text), toml_lines(text).get)


def second(extra: str = "", **program: str | None) -> TermsDocument:
    return document("2.toml", extra, **{"version": "2", "effective_from": "2026-02-01T00:00:00Z", **program})


def problem_of(*documents: TermsDocument) -> Problem:
    for order in (documents, documents[::-1]):
        catalogue, problems = check_catalogue(order)
        assert catalogue is None
        assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


def test_versions_stand_side_by_side_whatever_their_order() -> None:
    documents = [document("1.toml"), second(), document("3.toml", id='"q"', brand_id='"c"', currency='"EUR"')]
    catalogue = catalogue_of(documents)
    assert catalogue == catalogue_of(documents[::-1])
    assert [each.version for each in catalogue.programs["p"].versions] == [1, 2]
    assert list(catalogue.programs) == ["p", "q"]
    assert catalogue.currency_of == {"b": "USD", "c": "EUR"}


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("program", "currency", "EUR"), ("program", "time_zone", "Europe/Paris"), ("attribution", "credit", "order")],
)
def test_what_versions_have_in_common(table: str, key: str, value: str) -> None:
    other = second(f'[attribution]\ncredit = "{value}"\n') if table == "attribution" else second(**{key: f'"{value}"'})
    found = problem_of(document("1.toml"), other)
    assert (found.file, found.path) == ("2.toml", f"{table}.{key}")
    assert found.line is not None
    assert f'is "{value}", but ' in found.what
    assert "in version 1 (1.toml)" in found.what
    assert f"Write {key} = " in found.remedy


def test_a_default_is_no_difference() -> None:
    assert catalogue_of([document("1.toml"), second('[attribution]\ncredit = "sign_up"\n', time_zone='"UTC"')])


def test_a_program_has_one_brand() -> None:
    found = problem_of(document("1.toml"), second(brand_id='"c"', currency='"EUR"'))
    assert (found.file, found.path, found.line) == ("2.toml", "program.brand_id", 3)
    assert 'belongs to brand "b" in version 1 (1.toml)' in found.what
    assert "an id of its own" in found.remedy


def test_version_and_effective_from_grow_together() -> None:
    assert catalogue_of([document("1.toml"), second(effective_from="2026-01-01T00:00:00.001Z", version="7")])
    same = problem_of(document("1.toml"), second(version="1"))
    assert (same.path, same.line) == ("program.version", 5)
    assert same.what == "[program] version is 1, like that of 1.toml"
    for time in ("2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z"):
        found = problem_of(document("1.toml"), second(effective_from=time))
        assert (found.file, found.path, found.line) == ("2.toml", "program.effective_from", 6)
        assert "grow together" in found.remedy


@pytest.mark.parametrize(
    ("table", "key", "old", "new"),
    [
        (BONUS, "period", "quarter", "month"),
        (BONUS, "scope", "program", "partner"),
        (MILESTONE, "period", "all_time", "month"),
        (MILESTONE, "metric", "qualified_referrals", "sign_ups"),
        (MILESTONE + 'scope = "partner"\n', "scope", "partner", "program"),
    ],
)
def test_bonuses_and_milestones_keep_what_they_count(table: str, key: str, old: str, new: str) -> None:
    name = table[2 : table.index("]")]
    changed = table.replace(f'"{old}"', f'"{new}"')
    third = document("3.toml", changed, version="3", effective_from="2026-03-01T00:00:00Z")
    found = problem_of(document("1.toml", table), second(), third)
    assert (found.file, found.path) == ("3.toml", f"{name}[1].{key}")
    assert found.line == text_of(changed).split("\n").index(f'{key} = "{new}"') + 1
    assert f'is "{new}", but {name}' in found.what
    assert f'has "{old}" in version 1 (1.toml)' in found.what
    assert "give the" in found.remedy
    assert catalogue_of([document("1.toml", table), second(changed.replace('id = "', 'id = "new-'))])


def test_bonuses_and_milestones_may_change_otherwise() -> None:
    changed = BONUS.replace("50", "60") + MILESTONE.replace("100", "200") + "award_minor = 5\nrevocable = false\n"
    assert catalogue_of([document("1.toml", BONUS + MILESTONE), second(changed)])


def test_a_brand_has_one_currency() -> None:
    assert catalogue_of([document("1.toml"), document("2.toml", id='"q"')])
    found = problem_of(document("1.toml"), document("2.toml", id='"q"', currency='"EUR"'))
    assert (found.file, found.path, found.line) == ("2.toml", "program.currency", 4)
    assert 'but "USD" in program "p" of the same brand (1.toml)' in found.what


def test_problems_of_all_files_are_shown_at_once() -> None:
    with pytest.raises(TermsError) as caught:
        catalogue_of([document("2.toml", version="-1"), document("1.toml", currency='"X"')])
    assert [each.file for each in caught.value.problems] == ["1.toml", "2.toml"]
