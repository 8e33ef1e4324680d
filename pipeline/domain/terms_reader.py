"""Typed reading of a terms file's tables; what is wrong becomes a :class:`Problem`, and reading goes on.

Every reading method returns a value of the right type even when it noted a problem; callers throw the result away if
there is any problem at all, so that a file's problems are all shown at once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeVar

from pipeline.domain.calendar import END_MS, FIRST_MS

MAX_INTEGER: Final = 2**63 - 1
MAX_DURATION_DAYS: Final = 365_000
MAX_DURATION_MS: Final = MAX_DURATION_DAYS * 86_400_000

LineOf = Callable[[str], int | None]
"""The line of a key path such as ``commission.rate_bps`` or ``tier[2].from`` (tables count from 1), where known."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"([0-9]+)([smhdw])")
_PERCENT: Final = re.compile(r"\s*([0-9]{1,9})(?:\.([0-9]{1,2}))?\s*%\s*")
_LAST_SEGMENT: Final = re.compile(r'(?:^|\.)(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+)$|\[[0-9]+\]$')
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

_LEAST_PREFIX: Final = 3

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the terms: where it is, what it is, and what to do about it."""

    file: str
    path: str
    line: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.what}. {self.remedy}" if place else f"{self.what}. {self.remedy}"


class TermsError(Exception):
    """The terms cannot be used; nothing runs. ``problems`` holds everything that was found, at least one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "The program terms have a problem" if count == 1 else f"The program terms have {count} problems"
        return "\n".join([f"{head}; nothing was run.", *(str(problem) for problem in self.problems)])


def no_line(_path: str) -> int | None:
    """Tell no line: the :data:`LineOf` of terms that come from no file."""
    return None


def key_name(key: str) -> str:
    """A key as TOML writes it: bare where it can be, else quoted."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` may be a slip of."""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if not found and len(word) >= _LEAST_PREFIX:
        found = [each for each in by_lower if each.startswith(word.lower())]
    return by_lower[found[0]] if len(found) == 1 else None


def line_at(line_of: LineOf, path: str) -> int | None:
    """The line of ``path``, or of the nearest key or table that holds it."""
    while path:
        line = line_of(path)
        if line is not None:
            return line
        whole, path = path, _LAST_SEGMENT.sub("", path)
        if path == whole:
            break
    return None


class Findings:
    """The problems of one file, as they are found."""

    def __init__(self, file: str, line_of: LineOf) -> None:
        self.file = file
        self.line_of = line_of
        self.problems: list[Problem] = []

    def add(self, path: str, what: str, remedy: str) -> None:
        """Note a problem; ``what`` and ``remedy`` are sentences, the first without its full stop."""
        self.problems.append(Problem(self.file, path, line_at(self.line_of, path), what, remedy))


class Table:
    """One table of a terms file. A key without a default is required."""

    def __init__(self, content: Mapping[str, object], path: str, title: str, findings: Findings) -> None:
        self.content = content
        self.path = path
        self.title = title
        self._findings = findings
        self._faulty: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether the table has the key, sound or not."""
        return key in self.content

    def sound(self, *keys: str) -> bool:
        """Whether no problem was noted for any of the keys, so that rules about their values make sense."""
        return self._faulty.isdisjoint(keys)

    def problem(self, key: str, what: str, remedy: str) -> None:
        """Note what is wrong with a key; ``what`` goes on from the key's name."""
        self._faulty.add(key.split("[")[0])
        self._findings.add(f"{self.path}.{key}", f"{self.title} {key} {what}", remedy)

    def check_keys(self, known: Sequence[str], home: Mapping[str, str]) -> None:
        """Note keys that are not known here; ``home`` tells which table a key of elsewhere belongs to."""
        for key in self.content:
            if key in known:
                continue
            guess = nearest(key, known)
            if key in home:
                remedy = f"Move it to {home[key]}, or remove it."
            elif guess is not None:
                remedy = f"Did you mean {guess}?"
            else:
                remedy = f"Remove it; the keys of {self.title.split(' no. ')[0]} are {', '.join(known)}."
            path = f"{self.path}.{key_name(key)}"
            self._findings.add(path, f"{self.title} has an unknown key {key_name(key)}", remedy)

    def text(self, key: str, default: str | None = None, *, may_be_empty: bool = False) -> str:
        """A text, not empty unless it may be."""
        value = self._value(key, default is None, f'Add {key} = "..." to {self.title}.')
        if value is None:
            return default or ""
        if not isinstance(value, str):
            self._wrong_type(key, value, "a text in quotes", f"Write {key} = {_quoted(value)}.")
            return ""
        if not value and not may_be_empty:
            remedy = "Write the text between the quotes." if default is None else "Write the text, or remove the key."
            self.problem(key, "is empty", remedy)
        return value

    def word(self, key: str, allowed: Sequence[Word], default: Word | None = None) -> Word:
        """One of the allowed words."""
        choices = _either(f'"{each}"' for each in allowed)
        value = self._value(key, default is None, f"Add {key} = {choices} to {self.title}.")
        if value is None:
            return default or allowed[0]
        for each in allowed:
            if value == each:
                return each
        guess = nearest(value, allowed) if isinstance(value, str) else None
        remedy = f"Write {key} = {choices}." if guess is None else f'Did you mean {key} = "{guess}"?'
        if isinstance(value, str):
            self.problem(key, f"is {show(value)}, but must be {choices}", remedy)
        else:
            self._wrong_type(key, value, choices, remedy)
        return allowed[0]

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._value(key, False, "")
        if value is None:
            return default
        if not isinstance(value, bool):
            remedy = f"Write {key} = true, or {key} = false, without quotes."
            self._wrong_type(key, value, "true or false", remedy)
            return default
        return value

    def integer(
        self, key: str, example: int, default: int | None = None, *, at_least: int | None = 0, used: bool = True
    ) -> int:
        """A whole number. ``example`` is for remedies; one that is not ``used`` is ignored, as long as it is one."""
        value = self._value(key, default is None, f"Add {key} = {example}{_meaning(key, example)} to {self.title}.")
        if value is None:
            return default or 0
        if isinstance(value, bool) or not isinstance(value, int):
            unit = _UNIT_OF_KEY.get(key.rpartition("_")[2], "")
            self._wrong_type(key, value, f"a whole number{unit}", _integer_remedy(key, value, example))
            return default or example
        if not used:
            return default or 0
        if at_least is not None and value < at_least:
            self.problem(key, f"is {show(value)}, but must be {at_least} or more", f"Write {key} = {at_least} or more.")
        elif not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            self.problem(key, "is too large a number", f"Write a number up to {MAX_INTEGER}.")
        return value

    def duration_ms(
        self, key: str, default_ms: int, *, positive: bool = False, used: bool = True, max_days: int = MAX_DURATION_DAYS
    ) -> int:
        """A duration such as "30d". One that is not ``used`` must be a duration, of whatever length, and is ignored."""
        value = self._value(key, False, "")
        if value is None:
            return default_ms
        example = f'Write {key} = "30d" for 30 days; the units are s, m, h, d and w.'
        if not isinstance(value, str):
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                example = f'Write {key} = "{value}d" for {value} days; the units are s, m, h, d and w.'
            self._wrong_type(key, value, "a duration in quotes", example)
            return default_ms
        match = _DURATION.fullmatch(value)
        if match is None:
            self.problem(key, f"is {show(value)}, which is not a duration", example)
            return default_ms
        if not used:
            return default_ms
        digits = match[1].lstrip("0") or "0"
        length_ms = int(digits) * _UNIT_MS[match[2]] if len(digits) < 16 else MAX_DURATION_MS + 1
        if positive and length_ms == 0:
            self.problem(key, f"is {show(value)}, but must be longer than nothing", example)
        elif length_ms > max_days * 86_400_000:
            remedy = f'Write {key} = "{max_days}d" ({max_days // 365} years) or less.'
            self.problem(key, f"is {show(value)}, which is too long", remedy)
        return length_ms

    def time_ms(self, key: str, *, required: bool) -> int | None:
        """An offset date-time in 1970-2199 as epoch milliseconds, digits past the millisecond cut; None if left out."""
        example = "2026-01-01T00:00:00Z"
        value = self._value(key, required, f"Add {key} = {example} to {self.title}.")
        if value is None:
            return FIRST_MS if required else None
        if not isinstance(value, datetime) or value.utcoffset() is None:
            self._wrong_type(key, value, "a time with Z or an offset", _time_remedy(key, value, example))
            return FIRST_MS
        at_ms = (value - _EPOCH) // _MILLISECOND
        if not FIRST_MS <= at_ms < END_MS:
            self.problem(key, f"is {show(value)}, but must lie in the years 1970 to 2199", "Correct the year.")
        return at_ms

    def texts(self, key: str, *, distinct: bool = False) -> tuple[str, ...]:
        """A list of texts that are not empty; repeats are dropped, or a problem where they must be ``distinct``."""
        value = self._value(key, False, "")
        if value is None:
            return ()
        example = f'Write {key} = ["one", "two"].'
        if not isinstance(value, list):
            if isinstance(value, str):
                example = f"Write {key} = [{json.dumps(value, ensure_ascii=False)}]."
            self._wrong_type(key, value, "a list of texts", example)
            return ()
        found: dict[str, int] = {}
        for number, item in enumerate(value, 1):
            if not isinstance(item, str):
                remedy = f"Write {_quoted(item)} instead."
                self.problem(
                    f"{key}[{number}]", f"is {show(item)}, {_kind(item)}, but must be a text in quotes", remedy
                )
            elif not item:
                self.problem(f"{key}[{number}]", "is empty", "Remove it from the list, or write the text.")
            elif item in found and distinct:
                self.problem(f"{key}[{number}]", f"is {show(item)}, which is in the list already", "Remove it.")
            else:
                found.setdefault(item, number)
        return tuple(found)

    def _value(self, key: str, required: bool, remedy: str) -> object:
        value = self.content.get(key)
        if value is None and required:
            self._faulty.add(key)
            self._findings.add(f"{self.path}.{key}", f"{self.title} has no {key}, which is required", remedy)
        return value

    def _wrong_type(self, key: str, value: object, wanted: str, remedy: str) -> None:
        self.problem(key, f"is {show(value)}, {_kind(value)}, but must be {wanted}", remedy)


_UNIT_OF_KEY: Final = {"bps": " of basis points", "minor": " of the currency's smallest unit, such as cents"}


def show(value: object) -> str:
    """A value as the file has it, cut to a readable length."""
    if isinstance(value, dict):
        text = "{...}"
    elif isinstance(value, list):
        text = "[...]" if value else "[]"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, datetime):
        text = value.isoformat().replace("+00:00", "Z")
    else:
        text = _digits(value) if isinstance(value, int) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**60 else "a number of more than 60 digits"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a yes or no"
    if isinstance(value, datetime):
        return "a time without Z or an offset" if value.utcoffset() is None else "a time"
    kinds: tuple[tuple[type, str], ...] = (
        (str, "a text"),
        (int, "a number"),
        (float, "a number with a decimal point"),
        (date, "a date without a time of day"),
        (time, "a time of day without a date"),
        (list, "a list"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a table")


def _quoted(value: object) -> str:
    plain = isinstance(value, int | float | date | time) and not isinstance(value, bool)
    return f'"{show(value)}"' if plain else '"..."'


def _either(choices: Iterable[str]) -> str:
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last


def _meaning(key: str, number: int) -> str:
    if key.endswith("multiplier_bps"):
        return f" for {number / 10_000:g} times as much"
    if key.endswith("_bps"):
        return f" for {number / 100:g} %"
    return ""


def _integer_remedy(key: str, value: object, example: int) -> str:
    number = example
    if isinstance(value, float) and value.is_integer() and 0 <= value <= 2**53 and not key.endswith("_bps"):
        number = int(value)
    if isinstance(value, str):
        percent = _PERCENT.fullmatch(value) if key.endswith("_bps") else None
        if percent is not None:
            number = int(percent[1]) * 100 + int((percent[2] or "").ljust(2, "0"))
        elif re.fullmatch(r"[0-9]{1,18}", value):
            number = int(value)
    bare = ", without quotes" if isinstance(value, str) and "%" not in value else ""
    return f"Write {key} = {number}{_meaning(key, number)}{bare}."


def _time_remedy(key: str, value: object, example: str) -> str:
    if isinstance(value, datetime):
        return f"Add Z or an offset: {key} = {value.isoformat()}Z."
    if isinstance(value, date):
        return f"Add a time of day, and Z or an offset: {key} = {value.isoformat()}T00:00:00Z."
    bare = ", without quotes" if isinstance(value, str) else ""
    return f"Write {key} = {example}{bare}, with Z or an offset."
