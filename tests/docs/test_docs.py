"""The pages say what the program does: links resolve, tours run, and references name just what the code knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from pipeline.cli import app
from pipeline.clickhouse.schema import packaged_migrations
from pipeline.clickhouse.tables import TABLES
from pipeline.domain.attribution import Touchpoint
from pipeline.domain.events import EVENT_TYPES
from pipeline.domain.explanation import Explanation
from pipeline.domain.terms_rules import ARRAYS, KEYS
from pipeline.embedded.summary import REMEDIES
from pipeline.metrics import INVARIANTS, Metrics
from pipeline.wire.admission import REASONS
from tests.docs.tours import ROOT, blocks, outputs, tour

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name / "README.md" for name in ("benchmarks", "schemas")),
    ]
)

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_CELL = re.compile(r"^\| `([a-z0-9_]+)`", re.MULTILINE)
_MENTION = re.compile(r"(?:`|^|\| |\$ |bin/)crosscredit ([a-z][a-z-]*)", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    for _, content in blocks(text):
        text = text.replace(content, "\n")
    return text


def anchors(text: str) -> set[str]:
    """The fragments that a page's headings answer to."""
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for _, title in _HEADING.findall(prose(text))
    }


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Each heading with the text below it, up to the next heading of any level."""
    parts = _HEADING.split(text)
    yield from zip(parts[2::3], parts[3::3], strict=True)


def keys_below(page: str, heading: str) -> list[str]:
    """The first cells of the tables below a heading."""
    return next(_CELL.findall(body) for title, body in sections(text_of(page)) if title == heading)


def check_tour(page: str, folder: Path) -> None:
    steps = tour(text_of(page))
    assert sum(bool(step.shown) for step in steps) >= 4
    for step, printed in zip(steps, outputs(steps, folder), strict=True):
        assert printed == step.shown, f"{page}:\n{step.script}"


# The two tours take seconds each. One stands first and one last, so that two workers start with them at once.
def test_the_tour_of_the_readme_prints_what_it_shows(tmp_path: Path) -> None:
    check_tour("README.md", tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    for target in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name(page)} links to {target}"
        if fragment:
            assert fragment in anchors(linked.read_text(encoding="utf-8")), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command in _MENTION.findall(text):
        assert command in list(app), f"{name(page)} names `crosscredit {command}`"
    makefile = text_of("Makefile")
    for target in re.findall(r"(?:`|^ *)make ([a-z][a-z-]*)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name(page)} names `make {target}`"


def test_every_command_is_documented() -> None:
    mentioned = set(_MENTION.findall("".join(text_of(name(page)) for page in PAGES)))
    assert mentioned == {command for command in app if not command.startswith("-")}


def test_terms_has_the_keys_that_the_parser_knows() -> None:
    documented = {
        title.strip("[]"): _CELL.findall(body) for title, body in sections(text_of("docs/terms.md")) if title[0] == "["
    }
    assert documented == {table: list(keys) for table, keys in KEYS.items()}
    headings = {title for title, _ in sections(text_of("docs/terms.md")) if title[0] == "["}
    assert headings == {f"[[{table}]]" if table in ARRAYS else f"[{table}]" for table in KEYS}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_events_has_the_fields_of_each_type(event_type: str) -> None:
    body = next(body for title, body in sections(text_of("docs/events.md")) if title == event_type)
    documented = re.findall(r"^\| `([a-z0-9_]+)`(\*?)", body, re.MULTILINE)
    assert documented == [(field.name, "*" * field.required) for field in EVENT_TYPES[event_type].fields]


def test_events_has_every_reason_of_a_dead_letter() -> None:
    assert keys_below("docs/events.md", "Dead letters") == list(REASONS)
    assert set(REMEDIES) == set(REASONS)


@pytest.mark.parametrize("table", ["attributions", "referrals", "ledger_entries", "milestones"])
def test_tables_has_the_columns_of_each_outcome(table: str) -> None:
    assert keys_below("docs/tables.md", table) == [column.name for column in TABLES[table].fields]


def test_tables_has_the_keys_and_verdicts_of_an_explanation() -> None:
    source = text_of("pipeline/domain/attribution.py")
    verdicts = re.findall(
        r'^[A-Z_]+ = "(credited|outranked|expired|partner_inactive|[a-z]+_[a-z]+)"', source, re.MULTILINE
    )
    documented = keys_below("docs/tables.md", "Explanation")
    keys = [*Explanation.__struct_fields__, *Touchpoint.__struct_fields__]
    assert documented[: len(keys)] == keys
    assert {*documented[len(keys) :], "after_conversion"} == set(verdicts)


def test_metrics_has_every_metric_with_its_labels() -> None:
    kinds = {"counter": "_total", "gauge": "", "histogram": ""}
    declared = [
        (f"{each._name}{kinds[each._type]}", each._type, ", ".join(each._labelnames))
        for each in vars(Metrics(["credit"])).values() if isinstance(each, MetricWrapperBase)
    ]  # fmt: skip
    body = next(body for title, body in sections(text_of("docs/metrics.md")) if title == "All metrics")
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\| \S", body, re.MULTILINE)
    assert sorted(documented) == sorted(declared)
    assert keys_below("docs/metrics.md", "Running invariants") == list(INVARIANTS)


def test_views_named_exist() -> None:
    views = {view for each in packaged_migrations() for view in re.findall(r"VIEW (\w+)", each.sql)}
    named = set(re.findall(r"`((?:current|partner)_\w+)`", text_of("docs/tables.md"))) - {"partner_id"}
    assert {view for view in named if not view.endswith("_inactive")} == {
        view for view in views if view.startswith(("current_", "partner_"))
    }


def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    check_tour("docs/tutorial.md", tmp_path)
