"""Columns over time, drawn by Altair and vl-convert to SVG text that takes its colours from the page's style."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, Literal

import altair as alt
import vl_convert

from pipeline.pages import words
from pipeline.pages.parts import Cell, Chart, Table

Step = Literal["day", "week", "month"]

# Vega wants colours; the page wants to choose them by theme. Each placeholder becomes a variable of the style sheet.
_COLOURS: Final = {"#a0a001": "var(--c1)", "#a0a002": "var(--c2)", "#a0a003": "var(--c3)"}
_INK, _LINE, _ZERO = "#a0a010", "#a0a011", "#a0a012"
_THEMED: Final = {**_COLOURS, _INK: "var(--muted)", _LINE: "var(--line)", _ZERO: "var(--axis)"}
_WIDE, _NARROW = 480, 280
_HEIGHT = 190
_MARGINS: Final = {"left": 46, "right": 12, "top": 8, "bottom": 26}  # fixed, because measuring takes time


@dataclass(frozen=True, slots=True)
class Series:
    """What one colour shows: a value a day of the chart's rows. Positive values pile up, negative ones hang down."""

    name: str
    values: Sequence[float]


def columns_over_time(
    days: Sequence[date], series: Sequence[Series], label: str, unit: str, value_words: Callable[[float], str]
) -> Chart | None:
    """A chart of stacked columns, by day, week or month as fits the span; None without a day.

    ``value_words`` turns a value into text for the table below the chart; ``unit`` stands before the axis's figures.
    """
    if not days:
        return None
    step = _step(days)
    starts = _starts(_start(min(days), step), _start(max(days), step), step)
    totals = {(each.name, start): 0.0 for each in series for start in starts}
    for each in series:
        for at, value in zip(days, each.values, strict=True):
            totals[each.name, _start(at, step)] += value
    used = [each for each in series if any(totals[each.name, start] for start in starts)] or list(series[:1])
    points = [(start.isoformat(), each.name, totals[each.name, start]) for each in used for start in starts]
    names = tuple(each.name for each in series)
    rows = [
        [Cell(_title(start, step)), *(Cell(value_words(totals[each.name, start])) for each in used)]
        for start in starts
        if any(totals[each.name, start] for each in used)
    ]
    return Chart(
        _svg(points, names, unit, _WIDE, _labelled(starts, 6)),
        _svg(points, names, unit, _NARROW, _labelled(starts, 4)),
        f"{label}, by {step}",
        [(f"c{1 + names.index(each.name)}", each.name) for each in used],
        Table(
            f"{label}, by {step}",
            [step.capitalize(), *(each.name for each in used)],
            rows,
            frozenset(range(1, 1 + len(used))),
        ),
    )


def _svg(
    points: Sequence[tuple[str, str, float]], names: tuple[str, ...], unit: str, width: int, labels: Sequence[str]
) -> str:
    """Draw with fresh figures in a compiled chart: compiling is half of the work, and the same for every page."""
    spec = json.loads(_compiled(names, unit, width))
    (table,) = (each for each in spec["data"] if each["name"] == "points")
    table["values"] = [{"at": at, "name": name, "value": value} for at, name, value in points if value]
    for scale in spec["scales"]:
        if scale["name"] == "x":
            scale["domain"] = sorted({at for at, _, _ in points})
    for axis in spec["axes"]:
        if axis["scale"] == "x" and axis.get("labels", True):
            axis["values"] = labels
    svg = vl_convert.vega_to_svg(spec)
    for placeholder, variable in _THEMED.items():
        svg = svg.replace(placeholder, variable)
    return _responsive(svg)


@lru_cache(maxsize=64)
def _compiled(names: tuple[str, ...], unit: str, width: int) -> str:
    """The chart as Vega, with an empty table "points" of (at, name, value)."""
    minus_then_unit = f"(datum.value < 0 ? '\N{MINUS SIGN}' : '') + {json.dumps(unit)}"
    x_axis = alt.Axis(
        title=None, ticks=False, domainColor=_ZERO, labelAngle=0, labelPadding=8, labelFlush=False,
        labelExpr="utcFormat(toDate(datum.value), '%-d %b')",
    )  # fmt: skip
    y_axis = alt.Axis(
        title=None, ticks=False, domain=False, gridColor=_LINE, tickCount=4, labelPadding=8,
        labelExpr=f"{minus_then_unit} + format(abs(datum.value), '~s')",
    )  # fmt: skip
    chart = (
        alt.Chart(alt.NamedData("points"))
        .mark_bar(aria=False)
        .encode(
            x=alt.X("at:O", axis=x_axis, scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1)),
            y=alt.Y("value:Q", axis=y_axis, stack="zero"),
            color=alt.Color("name:N", legend=None, scale=alt.Scale(domain=list(names), range=list(_COLOURS))),
            order=alt.Order("name:N"),
        )
        .properties(width=width, height=_HEIGHT, background="transparent", autosize="none", padding=_MARGINS)
        .configure_view(strokeOpacity=0)
        .configure_axis(labelColor=_INK, labelFontSize=12, labelFont="system-ui, sans-serif")
    )
    return json.dumps(vl_convert.vegalite_to_vega(chart.to_dict(validate=False)))


def _responsive(svg: str) -> str:
    """Without a size of its own (the style sheet gives it one), and silent: the figure around it speaks."""
    head, _, rest = svg.partition(">")
    view_box = head[head.index("viewBox") :]
    return f'<svg aria-hidden="true" focusable="false" {view_box}>{rest}'


def _labelled(starts: Sequence[date], most: int) -> list[str]:
    """The columns that get a label: every so many."""
    return [start.isoformat() for start in starts[:: -(-len(starts) // most)]]


def _step(days: Sequence[date]) -> Step:
    length = (max(days) - min(days)).days
    return "day" if length < 32 else "week" if length < 250 else "month"


def _start(at: date, step: Step) -> date:
    if step == "day":
        return at
    return at - timedelta(days=at.weekday()) if step == "week" else at.replace(day=1)


def _starts(first: date, last: date, step: Step) -> list[date]:
    starts = [first]
    while starts[-1] < last:
        starts.append(_start(starts[-1] + timedelta(days={"day": 1, "week": 7, "month": 31}[step]), step))
    return starts


def _title(start: date, step: Step) -> str:
    return (
        words.period(f"{start:%Y-%m}")
        if step == "month"
        else f"{words.day(start, 'UTC')}{' on' if step == 'week' else ''}"
    )
