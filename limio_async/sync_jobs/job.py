"""`Job`: streams into a sink. Opens both, runs the streams side by side, and reports."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec

from limio_async.client import Limio
from limio_async.errors import ConfigurationError, JobError
from limio_async.sync_jobs.context import Choices, JobContext, main_error
from limio_async.sync_jobs.events import JobReport, Mode, StreamReport, SyncEvent
from limio_async.sync_jobs.ledger import (
    LEDGER,
    RUNS,
    STREAMS,
    check,
    forget_runs,
    has_answered,
    report_of,
    run_id,
)
from limio_async.sync_jobs.rows import table_of
from limio_async.sync_jobs.run.over import end_all, put_right, waited
from limio_async.sync_jobs.run.progress import Begun
from limio_async.sync_jobs.run.stream_run import StreamRun
from limio_async.sync_jobs.sink import Condition, KeepsFiles, Prepared, Sink, Table
from limio_async.sync_jobs.sinks import is_server, open_sink, state_file
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.streams import Stream, streams_for, with_parents
from limio_async.sync_jobs.times import earlier, now

__all__ = ["Job"]

_WORTH_RESUMING = timedelta(days=2)  # longer than the spool keeps a walk


class Job:
    """Keeps lists of a tenant in a target: a database or a directory of files.

    *to* is a URL (`sqlite:///limio.db`, `postgresql://…`, `duckdb:///…`, `parquet:DIR`, `ndjson:DIR`, `csv:DIR`) or a
    custom `Sink`; then *state* is the file of the job's own state. *streams* are names (`limio sync --help`
    lists them); none means the whole tenant, less what the client's credentials cannot ask for (`left_out`).

    *mode* `full` walks everything, writes what has changed, and soft-deletes rows that a complete walk has not seen.
    It deletes none where they are more than 10 and more than *most_deleted* of all (None: any share; for the streams
    *allow_mass_delete_of* too). `incremental` asks for what has changed since the last complete run, less *overlap*, or
    since *since* (without a zone, UTC), and deletes nothing. Where the tenant's filter hides items it asks for
    everything, and its report says why (`unfiltered`). `append` keeps every version of an item in a table of its own.
    With *hydrate*, objects are fetched whole, *concurrency* at once. *rewrite* writes all rows again.

    An outage is ridden out for *patience*, once the tenant, or the target, has answered in this or an earlier run; all
    outages together may take three times as long. Streams that failed are tried once more at the end. Somebody's lock
    in the target is waited for during *lock_wait*; then its stream fails. Reports of runs are kept for *keep_runs*.
    *clean* removes files that an earlier run of another format left in the directory.

    Raises `ConfigurationError` for a stream or a target that does not exist, `JobError` for arguments that do not go
    together, `MissingCredentials` where no list can be asked for.

    Kill it at any time: the same job, run again, resumes and ends with the same target. `run()` may be called once.
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
        allow_mass_delete_of: Collection[str] = (),
        rewrite: bool = False,
        clean: bool = False,
        patience: timedelta = timedelta(minutes=10),
        lock_wait: timedelta = timedelta(seconds=30),
        keep_runs: timedelta = timedelta(days=90),
        state: Path | None = None,
        on_event: Callable[[SyncEvent], object] | None = None,
    ) -> None:
        if isinstance(to, str):
            self._sink, file = open_sink(to, lock_wait=lock_wait), state or state_file(to)
        elif state is None:
            raise JobError("a custom sink needs state=, a file for what is not in it yet")
        else:
            self._sink, file = to, state
        if since is not None and mode == "full":
            raise JobError("a full run has no beginning in time; since= goes with incremental and append")
        if min(concurrency, streams_at_once) < 1:
            raise ConfigurationError("concurrency and streams_at_once are at least 1")
        if min(patience, lock_wait, keep_runs) < timedelta(0):
            raise ConfigurationError("patience, lock_wait and keep_runs are not negative")
        self._limio = limio
        wanted, self.left_out = streams_for(streams, limio.schemes)
        self._streams = with_parents(wanted)
        if unknown := {*allow_mass_delete_of} - {one.name for one in self._streams}:
            raise ConfigurationError(f"allow_mass_delete_of: {', '.join(sorted(unknown))} is not synced here")
        self._spool = Spool(file, stays=isinstance(to, str) and is_server(to))
        self._choices = Choices(
            mode=mode,
            hydrate=hydrate,
            since=since,
            overlap=overlap,
            concurrency=concurrency,
            page_size=page_size,
            most_deleted=most_deleted,
            mass_delete=frozenset(allow_mass_delete_of),
        )
        self._context = JobContext(
            limio,
            self._sink,
            self._spool,
            on_event,
            patience=patience.total_seconds(),
            lock_wait=lock_wait.total_seconds(),
        )
        self._rewrite, self._clean, self._keep_runs = rewrite, clean, keep_runs
        self._at_once = anyio.Semaphore(streams_at_once)
        self._reports: dict[str, StreamReport] = {}
        self._runs: dict[str, Mapping[str, Any]] = {}
        self._remembered: dict[str, Mapping[str, Any]] = {}
        self._prepared: Mapping[str, Prepared] = {}
        self._stale_files: tuple[str, ...] = ()
        self._is_over = False
        self._name = ""
        self._again: set[str] = set()  # what is run a second time just now

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
        """Come to an end soon: finish what is being written, save, report. The next run resumes from there."""
        self._context.stopping.set()
        self._sink.cancel(only_blocked=True)

    async def run(self) -> JobReport:
        """Do it. What goes wrong with one stream is in its report and ends no other.

        Raises `JobError` where the job cannot begin or go on: `TargetBusy`, `SinkError`.
        """
        try:
            async with anyio.create_task_group() as tasks:  # which waits for threads, whoever cancels it
                tasks.start_soon(self._interrupt)
                tasks.start_soon(self._run, tasks.cancel_scope)
        except ExceptionGroup as group:
            error = main_error(group)
            if not waited(error, stopping=self._context.stopping.is_set()):
                raise error from error.__cause__
            mode = self._choices.mode  # told to stop while it waited for the target
            for one in self._streams:
                fresh = StreamReport(run=self._name, stream=one.name, table_name="", mode=mode, started=now())
                self._reports.setdefault(one.name, msgspec.structs.replace(fresh, status="interrupted"))
        return JobReport(
            target=self.target,
            streams=tuple(self._reports.values()),
            left_out=self.left_out,
            stale_files=self._stale_files,
        )

    async def _interrupt(self) -> None:
        """End what the target's thread does where the job is cancelled: a thread hears nothing of that."""
        try:
            await anyio.sleep_forever()
        finally:
            if not self._is_over:
                self._sink.cancel()

    async def _run(self, all_of_it: anyio.CancelScope) -> None:
        context = self._context
        self._name = f"{now():%Y%m%dT%H%M%S}Z-{secrets.token_hex(3)}"
        context.target.answered = self._spool.is_there
        try:
            await context.in_sink(self._sink.open)
            await context.in_spool(self._spool.lock)
            context.target.answered = context.is_open = True
            await context.in_sink(self._look)
            await context.in_spool(self._take_up)
            for again in (False, True):
                for parents in (True, False):
                    some = self._worth_another_try() if again else self._streams
                    await self._run_all([one for one in some if (one.parent is None) is parents])
            for name in [one.name for one in self._streams if self._is_done_with(one)]:
                await context.in_spool(lambda name=name: self._spool.drop(name))  # type: ignore[misc]
            await context.in_sink(self._tidy)
        except Exception as error:
            await end_all(context, [*self._reports.values()], self._remembered, error)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await context.in_sink(self._close)
            self._is_over = True
        all_of_it.cancel()

    def _worth_another_try(self) -> list[Stream]:
        """Return what failed and may do better, and what waits for it."""
        tenant, stopping = self._context.tenant, self._context.stopping.is_set()
        if stopping or not tenant.longest or not tenant.has_answered:
            return []
        failed = {name for name, one in self._reports.items() if one.status == "failed" and not one.refused}
        return [
            one
            for one in self._streams
            if one.name in failed or (one.parent in self._again and not self._reports[one.name].complete)
        ]

    def _children_of(self, stream: Stream) -> list[Stream]:
        return [one for one in self._streams if one.parent == stream.name]

    def _is_done_with(self, stream: Stream) -> bool:
        """Whether it is a parent, and the next run resumes neither it nor its children."""
        children = {self._reports[one.name].status for one in self._children_of(stream)}
        own = self._reports[stream.name].status
        return bool(children) and "interrupted" not in children and own not in {"interrupted", "failed"}

    async def _run_all(self, streams: Sequence[Stream]) -> None:
        self._again = {one.name for one in streams if one.name in self._reports}
        async with anyio.create_task_group() as tasks:
            for one in streams:
                tasks.start_soon(self._run_one, one)

    async def _run_one(self, stream: Stream) -> None:
        async with self._at_once:
            table = self._table(stream).name
            begun = Begun(
                stream,
                run=self._name,
                before={**self._remembered.get(table, {}), "watermark": self._watermark(stream)},
                prepared=self._prepared.get(table, Prepared()),
                watermark=self._watermark(stream),
                reach=self._reach(stream),
                parent=self._reports[stream.parent] if stream.parent else None,
                is_parent=bool(self._children_of(stream)),
            )
            left = partial(self._left, stream.name, self._reports.get(stream.name))
            run = StreamRun(self._context, self._choices, begun, left=left)
            self._reports[stream.name] = run.report
            if self._context.stopping.is_set():
                run.report.status = "interrupted"
                return
            await run.run()

    def _table(self, stream: Stream) -> Table:
        return table_of(stream, self._choices.mode)

    def _watermark(self, stream: Stream) -> datetime | None:
        """What the table remembers; nothing where it was made again or emptied since, or all its rows are to be written."""
        table = self._table(stream).name
        prepared, before = self._prepared.get(table, Prepared()), self._remembered.get(table, {})
        remembers = prepared.has_rows and prepared.salt == (before.get("salt") or "")
        return before.get("watermark") if remembers else None

    def _reach(self, stream: Stream) -> datetime | None:
        """Until when all changes are known, of the stream and of those whose objects it lists."""
        marks = [self._watermark(one) for one in (stream, *self._children_of(stream))]
        known = [one for one in marks if one is not None]
        return min(known) if len(known) == len(marks) else None

    def _left(self, stream: str, before: StreamReport | None, run: str) -> StreamReport | None:
        """The report of a run that the target knows, unless the table was written by another one since."""
        if before is not None and before.run == run:
            return before
        row = self._runs.get(run_id(run, stream))
        if row is None or any(
            one["table_name"] == row["table_name"] and one["started"] > row["started"]
            for one in self._runs.values()
        ):
            return None
        return report_of(row)

    def _look(self) -> None:
        """See what the target is and holds, and make its tables."""
        moment = now()
        self._remembered = {row["id"]: row for row in self._sink.rows(STREAMS)}
        recent = [Condition("started", ">=", earlier(moment, _WORTH_RESUMING))]
        self._runs = {row["id"]: row for row in self._sink.rows(RUNS, recent)}
        names = {self._table(one).name: one.name for one in self._streams}
        remembered, runs = [*self._remembered.values()], [*self._runs.values()]
        check(remembered, runs, origin=self._limio.origin, tables=names, now=moment)
        self._context.tenant.answered = has_answered(remembered, runs, origin=self._limio.origin)
        tables = [self._table(one) for one in self._streams]
        rewrite = [one.name for one in tables] if self._rewrite else []
        self._prepared = self._sink.prepare([*LEDGER, *tables], rewrite=rewrite) or {}
        put_right(self._sink, self._runs, self._remembered)

    def _take_up(self) -> None:
        self._spool.open(target=self._sink.target_id, origin=self._limio.origin)

    def _tidy(self) -> None:
        """Forget old reports, and tell or remove files that nobody updates."""
        forget_runs(self._sink, before=earlier(now(), self._keep_runs))
        if isinstance(self._sink, KeepsFiles):
            if self._clean:
                self._sink.remove_stale_files()
            self._stale_files = tuple(self._sink.stale_files())

    def _close(self) -> None:
        with closing(self._sink):
            self._spool.close()
