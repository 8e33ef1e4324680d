"""Panels as Grafana draws them: Classic dashboard JSON, schema version 42, from the definitions that pages use.

Only how a panel looks is decided here. Its SQL is the definition's own, within a SELECT that names the columns, turns
minor units into major ones, and asks for the time range of the dashboard where the panel is over time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.pages.panel import PARAMETERS, Panel
from pipeline.pages.panels import VIEWS

Json = dict[str, Any]

CLICKHOUSE: Final[Json] = {"type": "grafana-clickhouse-datasource", "uid": "crosscredit-clickhouse"}
PROMETHEUS: Final[Json] = {"type": "prometheus", "uid": "crosscredit-prometheus"}
_TIME_SERIES, _TABLE = 0, 1  # the ClickHouse data source's formats
_WIDTH: Final = 24

_DIGITS: Final = "(SELECT any(currency_digits) FROM partner_programs)"
_CURRENCY: Final = (
    "SELECT concat('suffix:', any(currency)) AS unit, any(currency_digits) AS decimals FROM partner_programs"
)
_TYPES: Final = {
    "stat": "stat", "time_series": "timeseries", "bar": "bargauge", "progress": "table", "table": "table",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel's place on a dashboard: its columns as (name in the panel's SQL, label), width of 24 and height."""

    panel: Panel
    columns: tuple[tuple[str, str], ...]
    width: int
    height: int
    title: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A panel over Prometheus: (PromQL, legend) of each line."""

    title: str
    description: str
    lines: tuple[tuple[str, str], ...]
    unit: str
    width: int
    height: int
    type: str = "timeseries"
    alarms_from: float | None = None  # a value from here on is red


def dashboard(
    uid: str, title: str, description: str, shown: Sequence[Shown | Metric], since: str, program_variable: bool = False
) -> Json:
    """A dashboard of the panels in order, from left to right, as wide as they are."""
    panels = [
        {"id": number, "gridPos": place, **_drawn(each, program_variable)}
        for number, (each, place) in enumerate(zip(shown, _places(shown), strict=True), start=1)
    ]  # fmt: skip
    return {
        "annotations": {"list": []},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": panels,
        "refresh": "1m",
        "schemaVersion": 42,
        "tags": ["crosscredit"],
        "templating": {"list": [_PROGRAM_VARIABLE] if program_variable else []},
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }


def _drawn(each: Shown | Metric, program_variable: bool) -> Json:
    return _metric(each) if isinstance(each, Metric) else _panel(each, program_variable)


def raw_sql(shown: Shown, program_variable: bool) -> str:
    """What Grafana sends: the panel's SQL with its parameters filled in, within a SELECT of the columns shown."""
    inner = shown.panel.sql.strip()
    for parameter, value in PARAMETERS.items():
        inner = inner.replace(parameter, value)
    columns = ",\n    ".join(f"{_value(name)} AS `{label}`" for name, label in shown.columns)
    within = "\nWHERE $__timeFilter(time)" if shown.panel.visual == "time_series" else ""
    ordered = "\nORDER BY time" if shown.panel.visual == "time_series" else ""
    return _narrowed(f"SELECT\n    {columns}\nFROM\n(\n{inner}\n){within}{ordered}", program_variable)


def _narrowed(sql: str, program_variable: bool) -> str:
    """With the partner views cut to the program that the reader chose: convenience, not a boundary."""
    if not program_variable:
        return sql
    read = [view for view in VIEWS if view.startswith("partner_") and re.search(rf"\b{view}\b", sql)]
    parts = ",\n    ".join(
        f"{view} AS (SELECT * FROM {view} WHERE program_id = ${{program:singlequote}})" for view in read
    )
    return f"WITH\n    {parts}\n{sql}" if parts else sql


def _value(column: str) -> str:
    if column.endswith("_minor"):
        return f"{column} / pow(10, {_DIGITS})"
    if column.endswith("_bps"):
        return f"{column} / 10000"
    if column.endswith("_through"):
        return f"toUnixTimestamp64Milli({column})"  # a figure: "stat" leaves fields of times out
    return column


def _panel(shown: Shown, program_variable: bool) -> Json:
    panel = shown.panel
    is_over_programs = not any(view.startswith("partner_") for view in _views(panel.sql)) or panel.id == "give_and_take"
    narrows = program_variable and not is_over_programs
    money = [label for name, label in shown.columns if name.endswith("_minor")]
    is_series = panel.visual == "time_series"
    targets = [_target("A", raw_sql(shown, narrows), _TIME_SERIES if is_series else _TABLE)]
    drawn: Json = {
        "datasource": CLICKHOUSE,
        "description": shown.description or panel.description,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(shown))},
        "options": _options(panel),
        "targets": targets,
        "title": shown.title or panel.title,
        "type": _TYPES[panel.visual],
    }
    if money:
        targets.append(_target("currency", _narrowed(_CURRENCY, narrows), _TABLE))
        drawn["transformations"] = [_money_units(money)]
    return drawn


def _views(sql: str) -> list[str]:
    return [view for view in VIEWS if re.search(rf"\b{view}\b", sql)]


def _target(ref_id: str, sql: str, shape: int) -> Json:
    return {
        "datasource": CLICKHOUSE,
        "editorType": "sql",
        "format": shape,
        "queryType": "timeseries" if shape == _TIME_SERIES else "table",
        "rawSql": sql,
        "refId": ref_id,
    }


def _money_units(labels: Sequence[str]) -> Json:
    """Grafana's "Config from query results": unit and decimals of the money fields are those of the program."""
    names = "|".join(re.escape(label) for label in labels)
    return {
        "id": "configFromData",
        "options": {
            "applyTo": {"id": "byRegexp", "options": f"/^({names})$/"},
            "configRefId": "currency",
            "mappings": [
                {"fieldName": "unit", "handlerKey": "unit"},
                {"fieldName": "decimals", "handlerKey": "decimals"},
            ],
        },
    }


def _defaults(panel: Panel) -> Json:
    custom: Json = {}
    if panel.visual == "time_series":
        custom = {
            "axisPlacement": "auto", "drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0,
            "stacking": {"group": "A", "mode": "normal"},
        }  # fmt: skip
    elif _TYPES[panel.visual] == "table":
        custom = {"align": "auto", "filterable": False}
    return {"color": {"mode": _COLOURS[panel.visual]}, "custom": custom, "noValue": "–", "unit": "locale"}


_COLOURS: Final = {
    "stat": "fixed", "time_series": "palette-classic", "bar": "fixed", "progress": "fixed", "table": "fixed",
}  # fmt: skip


def _overrides(shown: Shown) -> Iterator[Json]:
    """Units of the columns that are neither counts nor money; a bar in the cell for how far something is."""
    for name, label in shown.columns:
        properties: list[Json] = []
        if name.endswith(("_share", "_bps")):
            properties = [{"id": "unit", "value": "percentunit"}, {"id": "decimals", "value": 1}]
            if shown.panel.visual == "progress":
                properties += [
                    {"id": "custom.cellOptions", "value": {"mode": "basic", "type": "gauge"}},
                    {"id": "min", "value": 0},
                    {"id": "max", "value": 1},
                ]
        elif name.endswith(("_at", "_through", "time")) and shown.panel.visual != "time_series":
            properties = [{"id": "unit", "value": "dateTimeAsIso"}]
        elif name == "reason":
            properties = [{"id": "custom.width", "value": 620}]
        if properties:
            yield {"matcher": {"id": "byName", "options": label}, "properties": properties}


def _options(panel: Panel) -> Json:
    rows = {"calcs": ["lastNotNull"], "fields": "", "values": True}
    match panel.visual:
        case "stat":
            return {
                "colorMode": "none", "graphMode": "none", "justifyMode": "center", "orientation": "vertical",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "textMode": "value_and_name",
            }  # fmt: skip
        case "bar":
            return {"displayMode": "basic", "orientation": "horizontal", "reduceOptions": rows, "showUnfilled": True}
        case "time_series":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "none"},
            }
        case _:
            return {"cellHeight": "sm", "footer": {"show": False}, "showHeader": True}


def _metric(metric: Metric) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if metric.alarms_from is not None:
        steps.append({"color": "red", "value": metric.alarms_from})
    defaults = {
        "color": {"mode": "thresholds" if metric.alarms_from is not None else "palette-classic"},
        "custom": {"fillOpacity": 10, "lineWidth": 1} if metric.type == "timeseries" else {},
        "noValue": "–",
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": metric.unit,
    }
    options: Json = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if metric.type == "stat":
        options = {
            "colorMode": "value", "graphMode": "none", "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "auto",
        }  # fmt: skip
    return {
        "datasource": PROMETHEUS,
        "description": metric.description,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "datasource": PROMETHEUS, "editorMode": "code", "expr": expression, "legendFormat": legend,
                "instant": metric.type == "stat", "range": metric.type != "stat", "refId": chr(ord("A") + number),
            }
            for number, (expression, legend) in enumerate(metric.lines)
        ],
        "title": metric.title,
        "type": metric.type,
    }  # fmt: skip


def _places(shown: Sequence[Shown | Metric]) -> Iterator[Json]:
    """From left to right; a row is as high as its highest panel."""
    x = y = height = 0
    for each in shown:
        if x + each.width > _WIDTH:
            x, y, height = 0, y + height, 0
        yield {"h": each.height, "w": each.width, "x": x, "y": y}
        x, height = x + each.width, max(height, each.height)


_PROGRAM_VARIABLE: Final[Json] = {
    "current": {},
    "datasource": CLICKHOUSE,
    "definition": "SELECT DISTINCT program_id FROM program_brands ORDER BY program_id",
    "hide": 0,
    "includeAll": False,
    "label": "Program",
    "multi": False,
    "name": "program",
    "options": [],
    "query": "SELECT DISTINCT program_id FROM program_brands ORDER BY program_id",
    "refresh": 1,
    "sort": 0,
    "type": "query",
}
