"""What `limio sync` shows: bars on a terminal, lines in a log, JSON for programs; and the tables at the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from limio_async.cli.failures import printable, tell
from limio_async.cli.output import to_stdout
from limio_async.cli.reading import target
from limio_async.sync_jobs.events import JobReport, StreamReport, SyncEvent
from limio_async.sync_jobs.ledger import QUARANTINED, RUNS, STREAMS, in_quarantine, report_of

__all__ = ["closing_table", "show_status", "view"]

_BETWEEN_LINES = 5.0
_WIDE = 135  # columns that the table of all figures takes
_SHOWN_STATUS = {"complete": "[green]complete[/]", "running": "running"}
Show = Callable[[SyncEvent], object]


@contextmanager
def view(*, as_json: bool, quiet: bool) -> Generator[Show]:
    """What is to be called with each event as long as the block runs."""
    if as_json:
        yield _json_line
    elif quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _Bars().shown() as show:
            yield show
    else:
        yield _Lines()


def _json_line(event: SyncEvent) -> None:
    to_stdout(msgspec.json.encode(event) + b"\n")


class _Bars:
    """A bar for each stream that is under way."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", justify="right"),
            TextColumn("{task.fields[speed]}", justify="right"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="yellow"),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def shown(self) -> Generator[Show]:
        """Show bars as long as the block runs."""
        with self._progress:
            yield self._show

    def _show(self, event: SyncEvent) -> None:
        report = event.report
        task = self._tasks.get(report.stream)
        if task is None:
            task = self._tasks[report.stream] = self._progress.add_task(report.stream, total=None, count="", speed="", note="")  # fmt: skip
        notes = {"retries": report.retries, "restarts": report.restarts, "quarantined": report.quarantined}
        self._progress.update(
            task,
            total=report.expected,
            completed=_done(report),
            count=_counted(report),
            speed=f"{_speed(event):,.0f} items/s",
            note=", ".join(f"{count:,} {name}" for name, count in notes.items() if count),
        )
        if event.kind == "ended":
            self._progress.remove_task(task)
            self._progress.console.print(_ended(report), markup=False, highlight=False)


class _Lines:
    """A line when a stream begins, restarts, ends, and now and then between."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def __call__(self, event: SyncEvent) -> None:
        report, clock = event.report, monotonic()
        match event.kind:
            case "started":
                tell(f"{report.stream}: begins" if not report.written else f"{report.stream}: goes on at {report.written:,} items")  # fmt: skip
                self._told[report.stream] = clock
            case "restarted":
                tell(f"{report.stream}: begins again at the top: {event.message}")
            case "ended":
                tell(_ended(report))
            case _ if clock - self._told.get(report.stream, 0.0) >= _BETWEEN_LINES:
                self._told[report.stream] = clock
                tell(f"{report.stream}: {_counted(report)}, {_speed(event):,.0f} items/s")
            case _:
                pass


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


def closing_table(report: JobReport, *, as_json: bool) -> None:
    """The report of a run, on stdout."""
    if as_json:
        to_stdout(report.to_json() + b"\n")
        return
    _print(_runs_table(f"{report.target}", report.streams))


def show_status(url: str, *, as_json: bool) -> None:
    """The watermarks and last runs of a target, on stdout."""
    with target(url, option="--to") as sink:
        watermarks = {row["id"]: row for row in sink.rows(STREAMS)}
        quarantine = Counter(row["stream"] for row in in_quarantine(sink.rows(QUARANTINED)))
        last: dict[str, StreamReport] = {}
        for row in sink.rows(RUNS):
            report = report_of(row)
            if report.table_name not in last or last[report.table_name].started < report.started:
                last[report.table_name] = report
    if as_json:
        said = {
            "target": sink.name,
            "streams": list(watermarks.values()),
            "last_runs": list(last.values()),
            "quarantine": quarantine,
        }
        to_stdout(msgspec.json.encode(said) + b"\n")
        return
    _print(_runs_table(f"{sink.name}: last runs", sorted(last.values(), key=lambda one: one.stream)))
    table = Table(title="watermarks", title_justify="left")
    for heading in ("table", "watermark (UTC)", "last complete run (UTC)", "items"):
        table.add_column(heading, justify="right" if heading == "items" else "left")
    for name, row in sorted(watermarks.items()):
        table.add_row(name, _moment(row["watermark"]), _moment(row["ended"]), f"{row['seen'] or 0:,}")
    _print(table)
    if quarantine:
        held = ", ".join(f"{count:,} of {name}" for name, count in sorted(quarantine.items()))
        to_stdout(f"in quarantine: {held}\n".encode())


def _runs_table(title: str, reports: Sequence[StreamReport]) -> Table:
    columns = {
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
        "status": [_SHOWN_STATUS.get(one.status, f"[bold red]{one.status}[/]") for one in reports],
    }
    narrow = sys.stdout.isatty() and Console().width < _WIDE
    if narrow:  # figures that are cut off say less than none
        columns = {heading: cells for heading, cells in columns.items() if {*cells} - {"0", ""}}
    table = Table(
        title=printable(title), title_justify="left", box=box.SIMPLE_HEAD if narrow else box.HEAVY_HEAD
    )
    for heading in columns:
        is_text = heading in {"stream", "status"}
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
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


def _moment(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _print(what: Table) -> None:
    console = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 140)
    console.print(what)
