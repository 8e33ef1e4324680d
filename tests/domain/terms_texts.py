"""Pieces of terms files that the tests put together, and short ways to check them."""

from __future__ import annotations

import tomllib

from pipeline.domain.terms import Terms
from pipeline.domain.terms_reader import Problem
from pipeline.domain.terms_rules import check_terms, parse_terms
from pipeline.toml_lines import toml_lines

DAY_MS = 86_400_000
RATE = "rate_bps = 1000"
PROGRAM = {
    "id": '"p"',
    "brand_id": '"b"',
    "currency": '"USD"',
    "version": "1",
    "effective_from": "2026-01-01T00:00:00Z",
}
TWO_PARTNERS = '[[partner]]\nid = "bakery"\nname = "Bakery"\n[[partner]]\nid = "roaster"\nname = "Roaster"\n'
TIER = '[[tier]]\nfrom = 10\nperiod = "quarter"\nrate_bps = 1500\n'
BONUS = '[[bonus]]\nid = "kickoff"\nfirst = 50\nperiod = "quarter"\nscope = "program"\namount_minor = 2500\n'
MILESTONE = '[[milestone]]\nid = "m"\nmetric = "qualified_referrals"\nthreshold = 100\nperiod = "all_time"\n'
BOOST = '[[boost]]\nid = "january"\nfrom = 2026-01-01T00:00:00Z\nuntil = 2026-02-01T00:00:00Z\nmultiplier_bps = 20000\n'
BY_ORDER = '[attribution]\ncredit = "order"\n'


def text_of(extra: str = "", commission: str = RATE, **program: str | None) -> str:
    lines = [f"{key} = {value}" for key, value in (PROGRAM | program).items() if value is not None]
    return "\n".join(["[program]", *lines, "[commission]", commission, extra, ""])


def check(text: str, file: str = "terms/acme.toml") -> tuple[Terms | None, tuple[Problem, ...]]:
    return check_terms(tomllib.loads(text), file, toml_lines(text).get)


def terms(extra: str = "", commission: str = RATE, **program: str | None) -> Terms:
    return parse_terms(tomllib.loads(text_of(extra, commission, **program)), "terms/acme.toml")


def problem(extra: str = "", commission: str = RATE, **program: str | None) -> Problem:
    """The one problem that the terms have."""
    found, problems = check(text_of(extra, commission, **program))
    assert found is None
    assert len(problems) == 1, "\n".join(map(str, problems))
    assert problems[0].remedy.endswith((".", "?"))
    return problems[0]
