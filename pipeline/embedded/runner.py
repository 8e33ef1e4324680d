"""One run over files: sources in, outcomes settled, with progress for whoever watches."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pipeline.clickhouse.program_terms import write_program_terms
from pipeline.domain.terms import Catalogue
from pipeline.embedded.allocation import keep_freed_memory
from pipeline.embedded.database import Database
from pipeline.embedded.dead_letters import DeadLetterBook
from pipeline.embedded.engine import Counts, Engine
from pipeline.embedded.tables import Tables
from pipeline.state.store import WriteBatch
from pipeline.terms_files import fingerprint, packed, unpacked
from pipeline.wire.admission import Admitted


class Watcher(Protocol):
    """Who is told how far a run has come."""

    def reading(self, total_bytes: int | None) -> AbstractContextManager[None]:
        """Reading begins; the context ends with it."""

    def read(self, records: int, bytes_read: int) -> None:
        """So much more was read."""

    def deciding(self, customers: int) -> AbstractContextManager[None]:
        """Deriving outcomes begins, for so many customers."""

    def decided(self, customers: int) -> None:
        """So many more customers are done."""


class Readable(Protocol):
    """What a run reads: a :class:`~pipeline.wire.files.Source`, or a partition of a topic."""

    @property
    def name(self) -> str:
        """What dead letters call it."""

    @property
    def size_bytes(self) -> int | None:
        """For progress; None where it is not known."""

    def chunks(self, catalogue: Catalogue, /) -> Iterator[Admitted]:
        """Everything in it, judged."""


def run(database: Database, catalogue: Catalogue, sources: Sequence[Readable], watcher: Watcher) -> Counts:
    """Take every source and settle what it implies; the counts are of this run alone.

    Killed or interrupted at any point, it is simply run again with the same arguments.

    :raises TermsChangedError: the database holds a program that the catalogue lacks.
    :raises InputError: a source failed in the middle.
    """
    keep_freed_memory()
    with _without_cycle_collection():
        return _run(database, catalogue, sources, watcher)


def _run(database: Database, catalogue: Catalogue, sources: Sequence[Readable], watcher: Watcher) -> Counts:
    keep_terms(database, catalogue)
    write_program_terms(database.warehouse, catalogue)
    engine = Engine(database.store, Tables(database.warehouse), catalogue, fingerprint(catalogue))
    sizes = [source.size_bytes for source in sources]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    letters = DeadLetterBook(database.warehouse)
    with watcher.reading(total):
        for source in sources:
            was_read = letters.knows(source.name)
            for admitted in source.chunks(catalogue):
                engine.take(admitted)
                if was_read:
                    letters.reconcile(admitted)
                watcher.read(admitted.records, admitted.bytes_read)
    with watcher.deciding(engine.customers_to_decide()):
        engine.settle(watcher.decided)
    return engine.counts


_CATALOGUE_KEY = b"catalogue"


def keep_terms(database: Database, catalogue: Catalogue) -> None:
    """Keep the terms beside what they imply, so that `crosscredit explain` needs no files."""
    batch = WriteBatch()
    batch.put("meta", _CATALOGUE_KEY, packed(catalogue))
    database.store.write(batch)


def kept_terms(database: Database) -> Catalogue:
    """The terms of the latest run; an empty catalogue before the first."""
    content = database.store.get("meta", _CATALOGUE_KEY)
    return unpacked(content) if content is not None else Catalogue.of([])


@contextmanager
def _without_cycle_collection() -> Iterator[None]:
    """Python's search for reference cycles walks every live row again and again, and finds none: it took a third of a
    run.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
