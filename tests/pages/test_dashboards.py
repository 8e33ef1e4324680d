"""The Grafana dashboards: structure, as the data source's own tests check theirs, and the figures of every panel.

Each panel's SQL runs on the real engine as Grafana would send it, macros and variable filled in, in a database whose
views are narrowed as a partner's are; the clock alone is the world's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.metrics import Metrics
from pipeline.pages.boards import boards, written
from pipeline.pages.panels import VIEWS
from pipeline.topology import STEPS
from tests.pages.expected import EXPECTED, PROGRAM, instant
from tests.pages.world import DAY, NOW, START, World

FOLDER = Path(__file__).parents[2] / "dashboards"
FILES = sorted(path.name for path in FOLDER.glob("*.json"))
BOARDS: dict[str, Any] = {name: json.loads((FOLDER / name).read_text(encoding="utf-8")) for name in FILES}
SOURCES = {
    "crosscredit-clickhouse": "grafana-clickhouse-datasource",
    "crosscredit-prometheus": "prometheus",
}
PARTNERS = ("bakery", "roaster", "florist", "idle")


@pytest.mark.parametrize("name", FILES)
def test_the_committed_files_are_what_the_definitions_make(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == written(name), "run: make dashboards"


def test_there_is_a_file_for_every_dashboard_and_no_other() -> None:
    assert set(FILES) == set(boards())
    uids = [board["uid"] for board in BOARDS.values()]
    assert sorted(uids) == ["crosscredit-health", "crosscredit-partner", "crosscredit-program"]  # links keep these


@pytest.mark.parametrize("name", FILES)
def test_structure(name: str) -> None:
    board = BOARDS[name]
    assert (board["id"], board["schemaVersion"]) == (None, 42)
    assert board["title"]
    assert board["description"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert SOURCES[source["uid"]] == source["type"]
        ref_ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ref_ids)) == len(ref_ids)
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations((panel["gridPos"] for panel in board["panels"]), 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y


def test_the_partner_dashboard_has_nothing_that_a_reader_could_change() -> None:
    """Publicly shared dashboards know no variables, and annotations of theirs could not be queried."""
    board = BOARDS["partner.json"]
    assert board["templating"] == {"list": []}
    assert board["annotations"] == {"list": []}
    for panel in board["panels"]:
        assert "libraryPanel" not in panel
        for target in panel["targets"]:
            assert set(re.findall(r"\$\w*", target["rawSql"])) <= {"$__timeFilter"}


@pytest.mark.parametrize("name", ["partner.json", "program.json"])
def test_money_is_shown_in_its_currency(name: str) -> None:
    for panel in BOARDS[name]["panels"]:
        money = re.findall(r"_minor / pow\(10, .*\) AS `([^`]+)`", panel["targets"][0]["rawSql"])
        assert not re.search(r"_minor AS `", panel["targets"][0]["rawSql"])
        rules = [rule["options"] for rule in panel.get("transformations", [])]
        assert len(rules) == bool(money)
        for rule in rules:
            assert rule["configRefId"] == "currency"
            pattern = rule["applyTo"]["options"].strip("/")
            assert [label for label in money if re.fullmatch(pattern, label)] == money


def test_every_metric_of_the_health_dashboard_exists_with_its_labels() -> None:
    metrics = Metrics(list(STEPS))
    declared = _declared(metrics)
    for panel in BOARDS["pipeline-health.json"]["panels"]:
        for target in panel["targets"]:
            used = re.findall(r"\breferral_\w+", target["expr"])
            assert used
            assert set(used) <= set(declared), panel["title"]
            labels = set(re.findall(r"by \(([\w, ]+)\)", target["expr"]))
            wanted = {label.strip() for group in labels for label in group.split(",")} - {"le"}
            for name in used:
                assert wanted <= declared[name]
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= wanted


def _declared(metrics: Metrics) -> dict[str, set[str]]:
    """Names as they are written in PromQL, with labels."""
    found = {}
    for each in vars(metrics).values():
        if hasattr(each, "_labelnames"):
            suffix = {"counter": "_total", "histogram": "_bucket"}.get(each._type, "")
            found[each._name + suffix] = set(each._labelnames)
    return found


@pytest.fixture(scope="module", params=PARTNERS)
def partner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def narrowed(warehouse: Warehouse, partner: str) -> Iterator[Warehouse]:
    """A partner's database: views of the same names, each narrowed to it."""
    [(whole,)] = warehouse.query("SELECT currentDatabase()")
    with Warehouse.embedded(None) as own:
        for view in VIEWS:
            if view.startswith("partner_"):
                own.execute(
                    f"CREATE VIEW {view} AS SELECT * FROM {whole}.{view} "
                    f"WHERE program_id = '{PROGRAM}' AND partner_id IN ('{partner}', '*')"
                )
        yield own


@pytest.mark.parametrize("title", [panel["title"] for panel in BOARDS["partner.json"]["panels"]])
def test_figures_of_a_partner(narrowed: Warehouse, world: World, partner: str, title: str) -> None:
    [panel] = [each for each in BOARDS["partner.json"]["panels"] if each["title"] == title]
    check(narrowed, panel, EXPECTED[title](world, partner))


@pytest.mark.parametrize("title", [panel["title"] for panel in BOARDS["program.json"]["panels"]])
def test_figures_of_a_program(warehouse: Warehouse, world: World, title: str) -> None:
    [panel] = [each for each in BOARDS["program.json"]["panels"] if each["title"] == title]
    check(warehouse, panel, EXPECTED[title](world, ""))


def test_the_variable_lists_the_programs(warehouse: Warehouse) -> None:
    [variable] = BOARDS["program.json"]["templating"]["list"]
    assert warehouse.query(variable["query"]) == [("Bakery: Café/Kreis",), (PROGRAM,)]


def check(warehouse: Warehouse, panel: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    figures, *currency = panel["targets"]
    rows = warehouse.query_arrow(as_grafana_sends(figures["rawSql"])).to_pylist()
    found = [{name: plain(name, value) for name, value in row.items()} for row in rows]
    assert found == [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in expected
    ]
    for each in currency:
        assert warehouse.query(as_grafana_sends(each["rawSql"])) == [("suffix:USD", 2)]


def plain(name: str, value: Any) -> Any:
    """Instants as epoch seconds, whichever way the engine gives them."""
    return instant(value) if isinstance(value, datetime) else value


def as_grafana_sends(sql: str) -> str:
    """The macros as the data source expands them, the variable as Grafana does, and the world's clock."""
    first, last = (START - DAY) // 1000, NOW // 1000
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({first}) AND \1 <= toDateTime({last})", sql).replace(
        "${program:singlequote}", f"'{PROGRAM}'"
    )
    assert "$" not in sql
    return sql.replace("now64(3)", f"fromUnixTimestamp64Milli(toInt64({NOW}), 'UTC')")
