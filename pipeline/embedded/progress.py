"""Progress of a run on a terminal: how far, how fast, how long still. Elsewhere it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    """Things counted a second, whatever the bar itself measures."""

    def render(self, task: Task) -> Text:
        count, unit = task.fields["count"], task.fields["unit"]
        elapsed = task.elapsed or 0.0
        rate = f" · {count / elapsed:,.0f}/s" if elapsed > 0 and count else ""
        return Text(f"{count:,} {unit}{rate}", style="progress.data.speed")


class TerminalWatcher:
    """A :class:`~pipeline.embedded.runner.Watcher` that draws a bar on ``console`` if that is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._count = 0

    @contextmanager
    def reading(self, total_bytes: int | None) -> Iterator[None]:
        """Draw the bar of the reading."""
        with self._bar("Reading", "events", total_bytes):
            yield

    def read(self, records: int, bytes_read: int) -> None:
        """Move it on."""
        self._advance(records, bytes_read)

    @contextmanager
    def deciding(self, customers: int) -> Iterator[None]:
        """Draw the bar of the deciding."""
        with self._bar("Deciding", "customers", customers):
            yield

    def decided(self, customers: int) -> None:
        """Move it on."""
        self._advance(customers, customers)

    @contextmanager
    def _bar(self, what: str, unit: str, total: int | None) -> Iterator[None]:
        columns = (
            SpinnerColumn(), TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            _Rate(), TimeRemainingColumn(),
        )  # fmt: skip
        self._count = 0
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            self._progress = progress
            progress.add_task(what, total=total, count=0, unit=unit)
            yield
        self._progress = None

    def _advance(self, count: int, amount: int) -> None:
        self._count += count
        if self._progress is not None and self._progress.tasks:
            self._progress.update(self._progress.tasks[0].id, advance=amount, count=self._count)
