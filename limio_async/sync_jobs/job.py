"""`Job`: streams into a sink. Opens both, lets the streams run side by side, and reports."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from limio_async.client import Limio
from limio_async.errors import ConfigurationError, JobError
from limio_async.sync_jobs.context import Choices, JobContext, main_error
from limio_async.sync_jobs.events import JobReport, Mode, StreamReport, SyncEvent
from limio_async.sync_jobs.ledger import LEDGER, RUNS, STREAMS, other_tenant, report_of, run_id
from limio_async.sync_jobs.rows import table_of
from limio_async.sync_jobs.sink import Sink
from limio_async.sync_jobs.sinks import open_sink, state_file
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.stream_run import StreamRun
from limio_async.sync_jobs.streams import Stream, streams_for, with_parents
from limio_async.sync_jobs.times import now

__all__ = ["Job"]

_CLOCKS_DIFFER = timedelta(minutes=5)
_WORTH_GOING_ON_WITH = timedelta(days=2)  # longer than the spool keeps a walk


class Job:
    """Keeps lists of a tenant in a target: a database or a directory of files.

    *to* is a URL (`sqlite:///limio.db`, `postgresql://…`, `duckdb:///…`, `parquet:DIR`, `ndjson:DIR`, `csv:DIR`) or a
    `Sink` of yours; then *state* is the file of the job's own state. *streams* are names (`limio sync --help`
    lists them); none means the whole tenant, less what the client's credentials cannot ask for (`left_out`).

    *mode* `full` walks everything, writes what has changed, and marks rows as deleted that a complete walk has
    not seen, unless they are more than *most_deleted* of all (None: however many). `incremental` asks for what has
    changed since the last complete run, less *overlap*, or since *since* (without a zone, UTC), and deletes nothing; where
    the tenant's filter hides items it asks for everything, and its report says why (`unfiltered`).
    `append` keeps every version of an item that it sees, in a table of its own. With *hydrate*, objects are fetched
    whole, *concurrency* at once; lists hold summaries.

    Raises `ConfigurationError` for a stream or a target that there is not, `JobError` for arguments that do not go
    together, `MissingCredentials` where no list can be asked for.

    A job may be killed at any instant: run again with the same arguments, it goes on and ends with the same
    target. `run()` may be called once.
    """

    def __init__(
        self,
        limio: Limio,
        *,
        to: str | Sink,
        streams: Sequence[str] = (),
        mode: Mode = "full",
        hydrate: bool = False,
        since: datetime | None = None,
        overlap: timedelta = timedelta(hours=1),
        concurrency: int = 8,
        streams_at_once: int = 4,
        page_size: int | None = None,
        most_deleted: float | None = 0.2,
        state: Path | None = None,
        on_event: Callable[[SyncEvent], object] | None = None,
    ) -> None:
        if isinstance(to, str):
            self._sink, file = open_sink(to), state or state_file(to)
        elif state is None:
            raise JobError("a sink of your own needs state=, a file for what is not in it yet")
        else:
            self._sink, file = to, state
        if since is not None and mode == "full":
            raise JobError("a full run has no beginning in time; since= goes with incremental and append")
        if min(concurrency, streams_at_once) < 1:
            raise ConfigurationError("concurrency and streams_at_once are at least 1")
        self._limio = limio
        wanted, self.left_out = streams_for(streams, limio.schemes)
        self._streams = with_parents(wanted)
        self._spool = Spool(file)
        self._choices = Choices(
            mode=mode,
            hydrate=hydrate,
            since=since,
            overlap=overlap,
            concurrency=concurrency,
            page_size=page_size,
            most_deleted=most_deleted,
        )
        self._context = JobContext(limio, self._sink, self._spool, on_event)
        self._at_once = anyio.Semaphore(streams_at_once)
        self._reports: dict[str, StreamReport] = {}
        self._runs: dict[str, Mapping[str, Any]] = {}
        self._watermarks: dict[str, datetime | None] = {}

    @property
    def target(self) -> str:
        """The target as it may be shown."""
        return self._sink.name

    @property
    def streams(self) -> Sequence[Stream]:
        """What will be synced; a stream whose objects another one needs is among them."""
        return self._streams

    left_out: Mapping[str, str]
    """Streams of the whole tenant that cannot be asked for, and why."""

    def stop(self) -> None:
        """Come to an end soon: finish what is being written, save, report. The next run goes on from there."""
        self._context.stopping.set()

    async def run(self) -> JobReport:
        """Do it. What goes wrong with one stream is in its report and ends no other.

        Raises `JobError` where the job cannot begin or go on: `TargetBusy`, `SinkError`.
        """
        try:
            async with anyio.create_task_group() as tasks:  # which waits for threads, whoever cancels it
                tasks.start_soon(self._run)
        except ExceptionGroup as group:
            error = main_error(group)
            raise error from error.__cause__
        return JobReport(target=self.target, streams=tuple(self._reports.values()), left_out=self.left_out)

    async def _run(self) -> None:
        try:
            await self._context.in_sink(self._open)
            await self._run_all(one for one in self._streams if one.parent is None)
            await self._run_all(one for one in self._streams if one.parent is not None)
            for name in [one.name for one in self._streams if self._is_done_with(one)]:
                await self._context.in_spool(lambda name=name: self._spool.drop(name))  # type: ignore[misc]
        finally:
            with anyio.CancelScope(shield=True):
                await self._context.in_sink(self._close)

    def _children_of(self, stream: Stream) -> list[Stream]:
        return [one for one in self._streams if one.parent == stream.name]

    def _is_done_with(self, stream: Stream) -> bool:
        """Whether it is a parent, and the next run goes on neither with it nor with its children."""
        children = [self._reports[one.name].status for one in self._children_of(stream)]
        return (
            bool(children)
            and "interrupted" not in children
            and self._reports[stream.name].status not in {"interrupted", "failed"}
        )

    async def _run_all(self, streams: Iterable[Stream]) -> None:
        name = f"{now():%Y%m%dT%H%M%S}Z-{secrets.token_hex(3)}"
        async with anyio.create_task_group() as tasks:
            for one in streams:
                tasks.start_soon(self._run_one, one, name)

    async def _run_one(self, stream: Stream, name: str) -> None:
        async with self._at_once:
            run = StreamRun(
                self._context,
                stream,
                self._choices,
                run=name,
                watermark=self._watermark(stream),
                reach=self._reach(stream),
                left=lambda left: self._left(left, stream.name),
                parent=self._reports[stream.parent] if stream.parent else None,
                is_parent=bool(self._children_of(stream)),
            )
            self._reports[stream.name] = run.report
            if self._context.stopping.is_set():
                run.report.status = "interrupted"
                return
            await run.run()
            self._reports[stream.name] = run.report

    def _watermark(self, stream: Stream) -> datetime | None:
        return self._watermarks.get(table_of(stream, self._choices.mode).name)

    def _reach(self, stream: Stream) -> datetime | None:
        """Until when all changes are known, of the stream and of those whose objects it lists."""
        marks = [self._watermark(one) for one in (stream, *self._children_of(stream))]
        known = [one for one in marks if one is not None]
        return min(known) if len(known) == len(marks) else None

    def _left(self, run: str, stream: str) -> StreamReport | None:
        """The report of a run that the target knows, unless the table was written by another one since."""
        row = self._runs.get(run_id(run, stream))
        if row is None or any(
            one["table_name"] == row["table_name"] and one["started"] > row["started"]
            for one in self._runs.values()
        ):
            return None
        return report_of(row)

    # --- in the sink's thread

    def _open(self) -> None:
        self._sink.open()
        self._spool.lock()
        for row in self._sink.rows(STREAMS):
            self._check_tenant(row["origin"])
            self._watermarks[row["id"]] = row["watermark"]
        moment = now()
        tables = {table_of(one, self._choices.mode).name: one.name for one in self._streams}
        for row in self._sink.rows(RUNS):
            if row["delivered"]:  # of a run that has written nothing, tenant and stream do not matter
                self._check_tenant(row["origin"])
                if (name := tables.get(row["table_name"], row["stream"])) != row["stream"]:
                    raise JobError(
                        f"the table {row['table_name']} holds {row['stream']}: sync {name} to another target"
                    )
            if max(row["started"], row["ended"] or row["started"]) > moment + _CLOCKS_DIFFER:
                raise JobError(
                    f"the clock stands at {moment:%Y-%m-%d %H:%M} UTC, but a run of {row['stream']} is noted at"
                    f" {row['started']:%Y-%m-%d %H:%M} UTC: set the clock right; nothing was done"
                )
            if row["started"] > moment - _WORTH_GOING_ON_WITH:
                self._runs[row["id"]] = row
        self._sink.prepare([*LEDGER, *(table_of(one, self._choices.mode) for one in self._streams)])
        self._spool.open(target=self._sink.target_id, origin=self._limio.origin)

    def _check_tenant(self, origin: str | None) -> None:
        """That *origin*, which the target has something of, is the client's; runs of older releases do not tell it."""
        if origin and origin != self._limio.origin:
            raise JobError(other_tenant(origin, self._limio.origin))

    def _close(self) -> None:
        try:
            self._spool.close()
        finally:
            self._sink.close()
