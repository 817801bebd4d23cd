"""How far a listing is: a bar on a terminal's stderr while it runs, one line when it ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from limio_async.cli.output import console
from limio_async.core.listing import Report

__all__ = ["Bar", "bar", "summary"]


class Bar:
    """A progress bar, or nothing where nobody looks."""

    def __init__(self, progress: Progress | None, task: Any) -> None:
        self._progress = progress
        self._task = task

    @contextlib.contextmanager
    def hidden(self) -> Generator[None]:
        """Out of the way of what the block prints to the same terminal."""
        if self._progress is None or not sys.stdout.isatty():
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()

    def moved(self, items: int, of: int | None, pages: int) -> None:
        """Show that *items* of the *of* that there are have come."""
        if self._progress is not None:
            self._progress.update(self._task, completed=items, total=of, pages=pages)


@contextlib.contextmanager
def bar(operation: str, *, shown: bool) -> Generator[Bar]:
    """A bar on stderr as long as the block runs, if *shown* and stderr is a terminal."""
    if not shown or not sys.stderr.isatty():
        yield Bar(None, None)
        return
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Column(lambda task: _of(int(task.completed), None if task.total is None else int(task.total))),
        _Column(lambda task: f"{task.speed:,.0f} items/s" if task.speed else ""),
        _Column(lambda task: f"{task.fields['pages']:,} pages"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with progress:
        yield Bar(progress, progress.add_task(operation, total=None, pages=0))


class _Column(ProgressColumn):
    def __init__(self, text: Callable[[Task], str]) -> None:
        super().__init__()
        self._text = text

    def render(self, task: Task) -> Text:
        return Text(self._text(task))


def summary(report: Report, items: int, *, seconds: float, stopped: bool) -> str:
    """One line about a listing of which *items* were handed on."""
    ended = "stopped at the limit" if stopped else "complete" if report.complete else "INCOMPLETE"
    pages = "1 page" if report.pages == 1 else f"{report.pages:,} pages"
    counts = {"retries": report.retries, "restarts": report.restarts, "duplicates dropped": report.duplicates}
    notes = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
    return f"{report.operation}: {_of(items, report.hits)} in {pages}{notes}, {ended}, {seconds:.1f} s"


def _of(items: int, hits: int | None) -> str:
    return ("1 item" if items == 1 else f"{items:,} items") + ("" if hits is None else f" of {hits:,}")
