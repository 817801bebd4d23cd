"""What `limio sync` shows: bars on a terminal, lines in a log, JSON for programs; and a report at the end of each run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
from rich import box
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from limio_async.cli.early import is_reported
from limio_async.cli.failures import Code, Failure, code_of, printable, said_of, tell
from limio_async.cli.output import console, to_stdout
from limio_async.sync_jobs.events import JobReport, StreamReport, SyncEvent
from limio_async.sync_jobs.status import length

__all__ = ["BAD", "Shown", "news", "runs_table", "table_of"]

BAD = "bold red"
_BETWEEN_LINES = 5.0
_WIDE = 135  # columns that the table of all figures takes
_STYLES = {"complete": "green", "running": ""}
Show = Callable[[SyncEvent], object]


class Shown:
    """What one command shows: news as they come, and at the end of each run a table, a report, or nothing."""

    def __init__(self, *, as_json: bool, quiet: bool, patience: timedelta = timedelta(minutes=10)) -> None:
        self._as_json = as_json
        self._patience = patience
        self._quiet = quiet
        self._reports: dict[str, StreamReport] = {}
        self._is_reported = False
        logger = logging.getLogger("limio_async")
        if logger.getEffectiveLevel() >= logging.WARNING:  # else it is asked what happened on the way
            for handler in logger.handlers:
                handler.addFilter(_is_no_verdict)
        if quiet:  # warnings of what went well in the end are news too
            logger.setLevel(max(logger.getEffectiveLevel(), logging.ERROR))

    @contextmanager
    def to_its_end(self) -> Generator[None]:
        """End in a report, with JSON, whatever the block raises."""
        try:
            yield
        except BaseException as error:
            self.give_up(error)
            raise

    @contextmanager
    def run(self) -> Generator[Show]:
        """Give what is to be called with each event of one run, which ends in one report."""
        self._reports, self._is_reported = {}, False
        with self.to_its_end(), self._view() as show:
            yield show

    @contextmanager
    def _view(self) -> Generator[Show]:
        if self._as_json:
            yield self._json_line
        elif self._quiet:
            yield lambda _: None
        elif sys.stderr.isatty():
            with _Bars(self._patience).shown() as show:
                yield show
        else:
            yield _Lines(self._patience, tell)

    def tell(self, news: str) -> None:
        """Write one line to stderr, unless only failures are wanted."""
        if not self._quiet:
            tell(news)

    def close(self, report: JobReport, code: Code) -> None:
        """Show the report of a run."""
        self._is_reported = True
        is_reported()
        bad = [_why(one) for one in report.streams if not one.complete]
        if self._as_json:
            ended = msgspec.json.decode(report.to_json(), type=dict[str, Any])
            said = {"error": "; ".join(bad) or None, "exit_code": code}
            to_stdout(msgspec.json.encode({"kind": "report", **ended, **said}) + b"\n")
            return
        if not self._quiet:
            news(runs_table(report.target, report.streams))
            if report.stale_files:
                names = ", ".join(report.stale_files)
                tell(f"of an earlier format, and no longer written: {names}; --clean removes them")
        else:
            for one in bad:
                tell(one)

    def give_up(self, error: BaseException) -> None:
        """Show a report that says why a run did not begin or go on; not where a run has its report already."""
        if self._is_reported or not self._as_json or isinstance(error, BrokenPipeError):
            return
        self._is_reported = True
        is_reported()
        ended = {
            "kind": "report",
            "complete": False,
            "streams": list(self._reports.values()),
            "error": printable(said_of(error)),
            "exit_code": code_of(error),
        }
        with suppress(OSError, Failure):  # the error itself may be that stdout takes nothing
            to_stdout(msgspec.json.encode(ended) + b"\n")

    def _json_line(self, event: SyncEvent) -> None:
        if event.report.run:  # else it is about the target
            self._reports[event.report.stream] = event.report
        if not self._quiet:
            to_stdout(msgspec.json.encode(event) + b"\n")


def _is_no_verdict(record: logging.LogRecord) -> bool:
    """Return False for a warning of how one walk of a list ended: the job judges its lists, and says so itself."""
    return getattr(record, "outcome", None) not in {"IncompleteListing", "SnapshotChanged", "CursorExpired"}


class _Bars:
    """A bar for each stream that is under way."""

    def __init__(self, patience: timedelta) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", justify="right", markup=False),
            TextColumn("{task.fields[speed]}", justify="right", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="yellow", markup=False),
            console=console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines = _Lines(patience, self._progress.console.print)

    @contextmanager
    def shown(self) -> Generator[Show]:
        """Show bars as long as the block runs."""
        with self._progress:
            yield self._show

    def _show(self, event: SyncEvent) -> None:
        report = event.report
        if not report.run:  # about the target, which has no bar
            self._lines(event)
            return
        if event.kind not in {"waiting", "restarted"}:
            self._lines.forget(event.report.stream)
            self._lines.over("target", event)
        task = self._tasks.get(report.stream)
        if task is None:
            task = self._tasks[report.stream] = self._progress.add_task(report.stream, total=None, count="", speed="", note="")  # fmt: skip
        notes = {"retries": report.retries, "restarts": report.restarts, "quarantined": report.quarantined}
        counts = ", ".join(f"{count:,} {name}" for name, count in notes.items() if count)
        self._progress.update(
            task,
            total=report.expected,
            completed=_done(report),
            count=_counted(report),
            speed=f"{_speed(event):,.0f} items/s",
            note=printable(self._lines.wait(event)) if event.kind == "waiting" else counts,
        )
        if event.kind == "ended":
            self._progress.remove_task(task)
            self._progress.console.print(_ended(report))


class _Lines:
    """A line when a stream begins, waits, resumes, restarts, ends, and now and then between."""

    def __init__(self, patience: timedelta, tell: Callable[[str], object]) -> None:
        self._patience = patience
        self._tell = tell
        self._told: dict[str, float] = {}
        self._waiting: dict[str, datetime] = {}

    def __call__(self, event: SyncEvent) -> None:
        report, clock = event.report, monotonic()
        name = report.stream
        if event.kind == "waiting":  # a line for each wait, not for each try
            is_new = name not in self._waiting
            said = self.wait(event)
            if is_new:
                self._tell(f"{name}: {said}")
            return
        if event.kind == "restarted" and name in self._waiting:  # a try, which may fail as well
            return
        self.over(name, event)
        self.over("target", event)
        match event.kind:
            case "started":
                self._tell(f"{name}: started" if not report.written else f"{name}: resuming at {report.written:,} items")  # fmt: skip
                self._told[name] = clock
            case "restarted":
                self._tell(f"{name}: restarting at the top: {event.message}")
            case "ended":
                self._tell(_ended(report))
            case _ if clock - self._told.get(name, 0.0) >= _BETWEEN_LINES:
                self._told[name] = clock
                self._tell(f"{name}: {_counted(report)}, {_speed(event):,.0f} items/s")
            case _:
                pass

    def forget(self, name: str) -> None:
        """Take note, without a word, that *name* waits no longer."""
        self._waiting.pop(name, None)

    def wait(self, event: SyncEvent) -> str:
        """Return what is waited for, for how long so far, and how long at most."""
        since = self._waiting.setdefault(event.report.stream, event.at)
        who, (reason, *_) = "tenant" if event.report.run else "target", event.message.split(";")
        return f"waiting for the {who} ({reason}), {length(event.at - since)} of at most {length(self._patience)}"

    def over(self, name: str, event: SyncEvent) -> None:
        """Tell that *name* waits no longer, if *event* says so."""
        since = self._waiting.get(name)
        if since is not None and (name == event.report.stream or event.kind in {"written", "ended"}):
            del self._waiting[name]
            if (name, event.kind) != (event.report.stream, "ended"):
                self._tell(f"{name}: resumed after {length(event.at - since)}")


def _why(report: StreamReport) -> str:
    return f"{report.stream}: {report.status}" + (f": {report.error}" if report.error else "")


def _done(report: StreamReport) -> int:
    return report.written + report.passed + report.quarantined


def _counted(report: StreamReport) -> str:
    of = f" of {report.expected:,}" if report.expected is not None else ""
    return f"{_done(report):,}{of}"


def _speed(event: SyncEvent) -> float:
    return _done(event.report) / max(event.report.seconds(event.at), 0.001)


def _ended(report: StreamReport) -> str:
    why = "".join(f": {reason}" for reason in (_listed_in_full(report), report.error) if reason)
    changes = {
        "inserted": report.inserted,
        "updated": report.updated,
        "deleted": report.deleted,
        "quarantined": report.quarantined,
    }
    told = ", ".join(f"{count:,} {name}" for name, count in changes.items() if count) or "nothing new"
    seconds = report.seconds(report.started)
    return f"{report.stream}: {report.seen:,} items, {told}, {report.status}, {seconds:.1f} s{why}"


def _listed_in_full(report: StreamReport) -> str | None:
    return report.unfiltered and f"listed in full: {report.unfiltered}"


def runs_table(title: str, reports: Sequence[StreamReport]) -> Table:
    """Return a table of what runs have done."""
    columns: dict[str, Sequence[str | Text]] = {
        "stream": [one.stream for one in reports],
        "expected": ["" if one.expected is None else f"{one.expected:,}" for one in reports],
        "seen": [f"{one.seen:,}" for one in reports],
        "inserted": [f"{one.inserted:,}" for one in reports],
        "updated": [f"{one.updated:,}" for one in reports],
        "unchanged": [f"{one.unchanged + one.passed:,}" for one in reports],
        "deleted": [f"{one.deleted:,}" for one in reports],
        "quarantined": [f"{one.quarantined:,}" for one in reports],
        "retries": [f"{one.retries:,}" for one in reports],
        "seconds": [f"{one.seconds(one.started):.1f}" for one in reports],
        "status": [Text(one.status, _STYLES.get(one.status, BAD)) for one in reports],
    }
    table = table_of(title, columns, texts={"stream", "status"}, wraps={"stream", "status"})
    reasons = [
        f"{one.stream}: {printable(reason)}"
        for one in reports
        for reason in (_listed_in_full(one), one.error)
        if reason
    ]
    if reasons:
        table.caption = "\n".join(reasons)
    table.caption_justify = "left"
    return table


def table_of(title: str, columns: Mapping[str, Sequence[str | Text]], *, texts: Collection[str], wraps: Collection[str]) -> Table:  # fmt: skip
    """Return a table; on a narrow terminal without columns that say nothing."""
    narrow = sys.stdout.isatty() and console().width < _WIDE
    if narrow:  # figures that are cut off say less than none
        columns = {heading: cells for heading, cells in columns.items() if {*map(str, cells)} - {"0", ""}}
    table = Table(
        title=printable(title), title_justify="left", box=box.SIMPLE_HEAD if narrow else box.HEAVY_HEAD
    )
    for heading in columns:
        table.add_column(heading, justify="left" if heading in texts else "right", no_wrap=heading not in wraps)  # fmt: skip
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*(printable(one) if isinstance(one, str) else one for one in cells))
    return table


def news(what: Table) -> None:
    """Print a table on stdout; a disk that is full, or a reader that is gone, ends nothing."""
    is_terminal = sys.stdout.isatty()
    try:
        console(soft_wrap=not is_terminal, width=None if is_terminal else 140).print(what)
        sys.stdout.flush()
    except OSError as error:
        tell(f"cannot write to stdout: {error.strerror or error}")
