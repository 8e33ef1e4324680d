"""What a page is made of. The templates draw these; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Stat:
    """One figure with its name, and a few words below it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bar list; ``share`` is the bar's length from 0 to 1, None for none."""

    label: str
    value: str
    share: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is: ``value`` such as "38 of 50", ``share`` from 0 to 1, ``state`` open, reached or revoked."""

    title: str
    value: str
    share: float | None
    state: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: its text, perhaps the page it leads to, perhaps the length of a bar below it."""

    text: str
    link: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table: ``caption`` for who cannot see it; ``numeric`` holds the columns that are aligned right."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    empty: str = "Nothing yet."


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart drawn twice, for wide and narrow screens, with the same figures as a table."""

    wide_svg: str
    narrow_svg: str
    label: str
    legend: Sequence[tuple[str, str]]  # (css class, name)
    table: Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence below it, and what it holds, in order."""

    id: str
    title: str
    lead: str = ""
    items: Sequence[Stat | Bar | Progress | Table | Chart] = ()
    is_wide: bool = False
    aside: str = ""  # a closing sentence


def without_gaps(sections: Sequence[Section]) -> list[Section]:
    """The sections, laid out in rows of two or one wide: whoever would stand alone in a row of two is made wide."""
    placed: list[Section] = []
    for section in sections:
        if section.is_wide and _is_row_open(placed):
            placed[-1] = replace(placed[-1], is_wide=True)
        placed.append(section)
    if _is_row_open(placed):
        placed[-1] = replace(placed[-1], is_wide=True)
    return placed


def _is_row_open(placed: Sequence[Section]) -> bool:
    """Whether the last row holds one narrow section."""
    narrow = 0
    for section in reversed(placed):
        if section.is_wide:
            break
        narrow += 1
    return narrow % 2 == 1


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    file_name: str
    title: str
    eyebrow: str
    lead: str
    as_of: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = ()  # the terms in plain words
    footnotes: Sequence[str] = ()
    back: tuple[str, str] | None = None  # (file name, words) of the page above
    refresh_s: int | None = None  # a browser loads it again after so many seconds
