"""On which line of a TOML text each key and table stands, which ``tomllib`` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Final

from pipeline.domain.terms_reader import key_name

_SPACE: Final = re.compile(r"(?:[ \t\n,]|#[^\n]*)*")
_KEY_PART: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*""")
_TEXT: Final = re.compile(
    r'''"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}|\'{3}(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\''''
)
_BARE_VALUE: Final = re.compile(r"[^,\]}\n#]*")


def toml_lines(text: str) -> dict[str, int]:
    """Each key path of a valid TOML text to its line, counted from 1.

    Paths are like ``commission.rate_bps``, ``tier[2].from`` and ``partner[1].coupon_codes[3]``: tables of an array and
    items of a list count from 1, and a key that is not bare is quoted. A table's path has the line of its first header.
    Meant for texts that ``tomllib`` accepts; of others it finds what it can.
    """
    locator = _Locator(text)
    locator.locate()
    return locator.lines


class _Locator:
    """A scan over the text that knows just enough of TOML to tell keys from values."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[str, int] = {}
        self._arrays: dict[str, int] = {}
        self._counted_to = 0
        self._line = 1

    def locate(self) -> None:
        table = ""
        while True:
            self._skip_space()
            if self.at >= len(self.text):
                return
            start = self.at
            if self.text.startswith("[[", self.at):
                table = self._header(2)
            elif self.text.startswith("[", self.at):
                table = self._header(1)
            else:
                self._key_and_value(table)
            if self.at == start:  # no TOML: a scan must end all the same
                self._skip_line()

    def _header(self, brackets: int) -> str:
        line = self._line_here()
        self.at += brackets
        parts = self._key()
        self._skip_line()
        path = ""
        for part in parts[:-1]:
            path = self._current(_join(path, part))
        path = _join(path, parts[-1]) if parts else path
        if brackets == 2:
            self.lines.setdefault(path, line)
            self._arrays[path] = self._arrays.get(path, 0) + 1
        path = self._current(path)
        self.lines.setdefault(path, line)
        return path

    def _current(self, path: str) -> str:
        """The last table so far, where ``path`` is an array of tables."""
        return f"{path}[{self._arrays[path]}]" if path in self._arrays else path

    def _key_and_value(self, table: str) -> None:
        line = self._line_here()
        path = table
        for part in self._key():
            path = _join(path, part)
            self.lines.setdefault(path, line)
        if self.text.startswith("=", self.at):
            self.at += 1
            self._value(path)

    def _value(self, path: str) -> None:
        while self.text.startswith((" ", "\t"), self.at):
            self.at += 1
        if self.text.startswith("[", self.at):
            self._items(path)
        elif self.text.startswith("{", self.at):
            self._inline_table(path)
        else:
            match = _TEXT.match(self.text, self.at) or _BARE_VALUE.match(self.text, self.at)
            self.at = match.end() if match is not None else self.at

    def _items(self, path: str) -> None:
        self.at += 1
        number = 0
        while not self._closed("]"):
            number += 1
            item = f"{path}[{number}]"
            self.lines.setdefault(item, self._line_here())
            start = self.at
            self._value(item)
            if self.at == start:
                return

    def _inline_table(self, path: str) -> None:
        self.at += 1
        while not self._closed("}"):
            start = self.at
            self._key_and_value(path)
            if self.at == start:
                return

    def _closed(self, bracket: str) -> bool:
        """Whether the list or table ends here; steps to its next item if not."""
        self._skip_space()
        if self.text.startswith(bracket, self.at):
            self.at += 1
            return True
        return self.at >= len(self.text)

    def _key(self) -> Sequence[str]:
        parts = []
        while (match := _KEY_PART.match(self.text, self.at)) is not None:
            parts.append(_plain_key(match[1]))
            self.at = match.end()
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
        return parts

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match is not None else self.at

    def _skip_line(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end + 1

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line


def _plain_key(written: str) -> str:
    if written[0] not in "\"'":
        return written
    try:
        return str(tomllib.loads(f"key = {written}")["key"])
    except tomllib.TOMLDecodeError:
        return written[1:-1]


def _join(table: str, key: str) -> str:
    return f"{table}.{key_name(key)}" if table else key_name(key)
