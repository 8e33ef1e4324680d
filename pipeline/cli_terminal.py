"""What the commands have in common at a terminal: standard input's name, where results and progress are printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console

_PIPED_WIDTH = 140

# The parser takes a lone "-" for an option without a name, so standard input travels through it under this name.
_STANDARD_INPUT = "standard-input:"


def for_the_parser(tokens: Iterable[str]) -> list[str]:
    """The command line as the parser can read it."""
    return [_STANDARD_INPUT if token == "-" else token for token in tokens]


def paths_of(given: Sequence[str]) -> list[str]:
    """What ``--input`` names, as it was typed."""
    return ["-" if each == _STANDARD_INPUT else each for each in given]


def console() -> Console:
    """Where results are printed; in a pipe or file as wide as they need."""
    found = Console()
    return found if found.is_terminal else Console(width=_PIPED_WIDTH)


def say(text: str) -> None:
    """Tell what takes long, apart from results."""
    print(text, file=sys.stderr, flush=True)
