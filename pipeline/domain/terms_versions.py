"""Terms of many files to a :class:`Catalogue`: contract.md, section 3, about versions, programs and brands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pipeline.domain.terms import Bonus, Catalogue, Milestone, Program, Terms
from pipeline.domain.terms_reader import LineOf, Problem, TermsError, line_at, no_line, show
from pipeline.domain.terms_rules import check_terms


@dataclass(frozen=True)
class TermsDocument:
    """The content of one terms file, as ``tomllib`` returns it, with the name and the lines that problems give it."""

    file: str
    content: Mapping[str, object]
    line_of: LineOf = no_line


@dataclass(frozen=True)
class _Version:
    terms: Terms
    document: TermsDocument

    @property
    def name(self) -> str:
        """How problems of other files call it."""
        return f"version {self.terms.version} ({self.document.file})"

    def problem(self, path: str, what: str, remedy: str) -> Problem:
        return Problem(self.document.file, path, line_at(self.document.line_of, path), what, remedy)


def check_catalogue(documents: Iterable[TermsDocument]) -> tuple[Catalogue | None, tuple[Problem, ...]]:
    """The catalogue of all programs that the documents describe, or None and everything that is wrong.

    The order of the documents does not matter. A document that is wrong by itself is not compared with others.
    """
    problems: list[Problem] = []
    versions: list[_Version] = []
    for document in documents:
        terms, found = check_terms(document.content, document.file, document.line_of)
        problems.extend(found)
        if terms is not None:
            versions.append(_Version(terms, document))
    versions.sort(key=lambda each: (each.terms.version, each.terms.effective_from_ms, each.document.file))
    by_program: dict[str, list[_Version]] = {}
    for version in versions:
        by_program.setdefault(version.terms.program_id, []).append(version)
    for _, line in sorted(by_program.items()):
        problems.extend(_program_problems(line))
    problems.extend(_brand_problems([line[0] for _, line in sorted(by_program.items())]))
    if problems:
        return None, tuple(sorted(problems, key=lambda each: (each.file, each.line or 0)))
    return Catalogue.of(Program(tuple(each.terms for each in line)) for line in by_program.values()), ()


def catalogue_of(documents: Iterable[TermsDocument]) -> Catalogue:
    """As :func:`check_catalogue`; TermsError with everything that is wrong."""
    catalogue, problems = check_catalogue(documents)
    if catalogue is None:
        raise TermsError(problems)
    return catalogue


_KEPT: Final[tuple[tuple[str, Callable[[Terms], str]], ...]] = (
    ("program.currency", lambda terms: terms.currency),
    ("program.time_zone", lambda terms: terms.time_zone),
    ("attribution.credit", lambda terms: terms.credit),
)
"""What the versions of a program have in common, beside the brand."""


def _program_problems(versions: Sequence[_Version]) -> list[Problem]:
    """What the versions of one program, in ascending order, have against each other."""
    problems = []
    first = versions[0]
    same_brand = [each for each in versions if each.terms.brand_id == first.terms.brand_id]
    for other in versions:
        if other.terms.brand_id != first.terms.brand_id:
            what = (
                f"[program] brand_id is {show(other.terms.brand_id)}, but program {show(first.terms.program_id)} "
                f"belongs to brand {show(first.terms.brand_id)} in {first.name}"
            )
            remedy = (
                f"Write brand_id = {show(first.terms.brand_id)} if this is a version of that program, or give this "
                "program an id of its own."
            )
            problems.append(other.problem("program.brand_id", what, remedy))
    for other in same_brand[1:]:
        problems.extend(_kept_problems(first, other))
    for earlier, later in pairwise(same_brand):
        problems.extend(_growth_problems(earlier, later))
    problems.extend(_promise_problems(same_brand))
    return problems


def _kept_problems(first: _Version, other: _Version) -> list[Problem]:
    problems = []
    for path, value_of in _KEPT:
        table, key = path.split(".")
        if value_of(other.terms) != value_of(first.terms):
            what = (
                f"[{table}] {key} is {show(value_of(other.terms))}, but {show(value_of(first.terms))} in {first.name}"
            )
            remedy = f"Write {key} = {show(value_of(first.terms))}, or start a program with another id."
            problems.append(other.problem(path, what, remedy))
    return problems


def _growth_problems(earlier: _Version, later: _Version) -> list[Problem]:
    if earlier.terms.version == later.terms.version:
        what = f"[program] version is {later.terms.version}, like that of {earlier.document.file}"
        remedy = (
            "Give each version of a program a number of its own, higher for the later one, or pass the file only once."
        )
        return [later.problem("program.version", what, remedy)]
    if earlier.terms.effective_from_ms >= later.terms.effective_from_ms:
        what = f"[program] effective_from is not later than that of {earlier.name}, which has the lower number"
        remedy = "Let version and effective_from grow together: correct one of them in one of the files."
        return [later.problem("program.effective_from", what, remedy)]
    return []


def _promise_problems(versions: Sequence[_Version]) -> list[Problem]:
    """Bonuses and milestones, which count across versions, that a later one gives another scope, period or metric."""
    problems = []
    first_of: dict[tuple[str, str], tuple[_Version, Mapping[str, str]]] = {}
    for version in versions:
        tables: tuple[tuple[str, Sequence[Bonus | Milestone]], ...] = (
            ("bonus", version.terms.bonuses),
            ("milestone", version.terms.milestones),
        )
        for table, rows in tables:
            for number, row in enumerate(rows, 1):
                now = _counted_by(row)
                first, before = first_of.setdefault((table, row.id), (version, now))
                for key in now:
                    if now[key] != before[key]:
                        what = (
                            f"[[{table}]] no. {number} {key} is {show(now[key])}, but {table} {show(row.id)} has "
                            f"{show(before[key])} in {first.name}"
                        )
                        remedy = f"Write {key} = {show(before[key])}, or give the {table} a new id."
                        problems.append(version.problem(f"{table}[{number}].{key}", what, remedy))
    return problems


def _counted_by(row: Bonus | Milestone) -> Mapping[str, str]:
    counted: dict[str, str] = {"scope": row.scope, "period": row.period}
    if isinstance(row, Milestone):
        counted["metric"] = row.metric
    return counted


def _brand_problems(programs: Sequence[_Version]) -> list[Problem]:
    """Programs, each by its first version, that disagree with another program of their brand about the currency."""
    problems = []
    first_of: dict[str, _Version] = {}
    for program in programs:
        terms = program.terms
        first = first_of.setdefault(terms.brand_id, program)
        if first.terms.currency != terms.currency:
            what = (
                f"[program] currency is {show(terms.currency)}, but {show(first.terms.currency)} in program "
                f"{show(first.terms.program_id)} of the same brand ({first.document.file})"
            )
            remedy = f"Write currency = {show(first.terms.currency)} in all programs of brand {show(terms.brand_id)}."
            problems.append(program.problem("program.currency", what, remedy))
    return problems
