"""What a check found, and the order in which checks are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["ok", "note", "wrong", "unknown"]

VERDICTS: Final[tuple[Verdict, ...]] = ("ok", "note", "wrong", "unknown")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    ``wrong`` keeps the pipeline from working, or from being right; ``note`` is worth knowing; ``unknown`` could not be
    looked at because of something else that is wrong. Both ``wrong`` and ``unknown`` make the exit status 1.
    """

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """It is as it must be."""
    return Finding(check, "ok", text)


def note(check: str, text: str, remedy: str = "") -> Finding:
    """It works, and somebody should know."""
    return Finding(check, "note", text, remedy)


def wrong(check: str, text: str, remedy: str) -> Finding:
    """It must be mended."""
    return Finding(check, "wrong", text, remedy)


def unknown(check: str, text: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, "unknown", text, "Mend what is wrong above, and run this again.")


Examination = Callable[[], Iterable[Finding]]


def findings(examinations: Sequence[Examination]) -> Iterator[Finding]:
    """What each examination finds, in order, as it is found."""
    for examine in examinations:
        yield from examine()


def is_well(found: Iterable[Finding]) -> bool:
    """Whether nothing is wrong, and everything could be looked at."""
    return all(each.verdict in ("ok", "note") for each in found)
