"""What the doctor looks at on this machine: the terms, and the folder of a worker's state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pipeline.doctor.findings import Finding, note, ok, unknown, wrong
from pipeline.domain.terms_reader import TermsError
from pipeline.settings import Settings
from pipeline.state.rocks import StateError, stored
from pipeline.terms_files import fingerprint, load_catalogue

FREE_AT_LEAST: Final = 0.10
FREE_BYTES_AT_LEAST: Final = 1 << 30


class StateDoctor:
    """Terms, and the state that was made with them. Running workers are not disturbed."""

    def __init__(self, settings: Settings, program: Sequence[str]) -> None:
        self._folder = settings.folder
        self._program = [Path(each) for each in program]
        self._terms: str | None = None

    def examine(self) -> Iterator[Finding]:
        """Terms, folder, disk."""
        yield from self._read_terms()
        yield from self._space()
        yield from self._state()

    def _read_terms(self) -> Iterator[Finding]:
        if not self._program:
            yield note("terms", "No terms were named, so none were looked at.", "Add --program TERMS.")
            return
        try:
            catalogue = load_catalogue(self._program)
        except TermsError as error:
            yield wrong("terms", str(error), "No worker starts with these terms: mend what is listed.")
            return
        self._terms = fingerprint(catalogue)
        programs = len(catalogue.programs)
        versions = sum(len(program.versions) for program in catalogue.programs.values())
        yield ok("terms", f"{programs} programs in {versions} versions can be used ({self._terms[:12]}).")

    def _space(self) -> Iterator[Finding]:
        there = next(each for each in (self._folder, *self._folder.resolve().parents) if each.exists())
        if self._folder.exists() and not os.access(self._folder, os.W_OK):
            yield wrong(
                "state", f"{self._folder} cannot be written to.", "Give the worker's user the right to write there."
            )
            return
        space = shutil.disk_usage(there)
        text = f"The disk of {self._folder} has {space.free >> 30} of {space.total >> 30} GiB free."
        if space.free < max(FREE_BYTES_AT_LEAST, FREE_AT_LEAST * space.total):
            yield note("state disk", text, "Add space: a worker stops when it cannot write its state.")
        else:
            yield ok("state disk", text)

    def _state(self) -> Iterator[Finding]:
        partitions = sorted(each for each in (self._folder / "state").glob("*/[0-9]*") if (each / "CURRENT").exists())
        if not partitions:
            yield ok("state", f"{self._folder} holds no state yet: the first start makes it from the topics.")
            return
        foreign, unread = [], []
        for each in partitions:
            try:
                terms = stored(each, "meta", b"terms")
            except StateError:
                unread.append(each)
                continue
            if terms is not None and self._terms is not None and terms.decode() != self._terms:
                foreign.append(each)
        if unread:
            yield unknown("state", f"{len(unread)} of {len(partitions)} partitions cannot be read, as {unread[0]}.")
        if foreign:
            text = f"{len(foreign)} of {len(partitions)} partitions were made with other terms, as {foreign[0]}."
            remedy = (
                "Name the terms that the workers run with; to go over to new ones, see Upgrading terms in "
                "docs/operations.md."
            )
            yield wrong("state", text, remedy)
        elif not unread:
            compared = " with these terms" if self._terms is not None else ""
            yield ok("state", f"{len(partitions)} partitions are kept in {self._folder}, made{compared}.")
