"""What the parts of a stream's run share: the report, how far the walk is, and what waits for the target."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from time import perf_counter
from typing import Any, TypeVar

import anyio

from limio_async.core.wire import Species
from limio_async.sync_jobs.context import Choices, JobContext
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.ledger import (
    RUNS,
    drift_row,
    report_of,
    run_id,
    run_row,
    stream_row,
)
from limio_async.sync_jobs.patience import Outage
from limio_async.sync_jobs.rows import Reader
from limio_async.sync_jobs.sink import Compares, Condition, Prepared, Row
from limio_async.sync_jobs.source import Source
from limio_async.sync_jobs.streams import Stream
from limio_async.sync_jobs.times import asked_since, now
from limio_async.sync_jobs.walk import Noted, Page, SavedWalk

__all__ = ["Begun", "Progress", "adopt"]

T = TypeVar("T")

BATCH_BYTES = 4 * 1024 * 1024

_OF_TARGET = (
    "inserted",
    "updated",
    "unchanged",
    "deleted",
    "quarantined",
    "decode_seconds",
    "write_seconds",
    "delivered",
)
"""What of a report changes only with the target."""
_ONLY_GROW = ("requests", "retries", "missing", "network_seconds", "waited_seconds")
_OF_TRAFFIC = ("requests", "retries", "restarts", "listed", "pages", "received", "network_seconds")


class Begun:
    """What a job knows of a stream before it runs.

    *before* is what the target remembers of its table. *reach* is the time until which all changes are known, earlier
    than the watermark where children of the stream are behind. *parent* is the report of the stream whose objects
    this one's items are children of. *is_parent* keeps what was seen for such streams.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        run: str,
        before: Mapping[str, Any],
        prepared: Prepared,
        watermark: datetime | None,
        reach: datetime | None,
        parent: StreamReport | None,
        is_parent: bool,
    ) -> None:
        self.stream = stream
        self.run = run
        self.before = before
        self.prepared = prepared
        self.watermark = watermark
        self.reach = reach
        self.parent = parent
        self.is_parent = is_parent


class Progress:
    """How far a stream is."""

    def __init__(self, context: JobContext, choices: Choices, begun: Begun) -> None:
        stream = begun.stream
        self.context = context
        self.choices = choices
        self.begun = begun
        self.stream = stream
        self.since = asked_since(choices.mode, begun.reach, since=choices.since, overlap=choices.overlap)
        self.reader = Reader(stream, choices.mode, salt=begun.prepared.salt)
        is_same = begun.before.get("drift") == self.reader.drift.digest
        all_is_old = begun.prepared.salt == (begun.before.get("salt") or "")
        self.drift_is_known = isinstance(context.sink, Compares) and is_same and all_is_old
        """Whether what the models do not know was looked for in all rows; else it is, in what has not changed too."""
        # a list that broke off goes on with other objects than these: then no run goes on with their children
        parent = begun.parent
        is_whole = parent is not None and parent.status in {"complete", "incomplete"}
        self.walk = SavedWalk(
            run=begun.run, started=now(), parent_run=parent.run if parent and is_whole else ""
        )
        self.report = StreamReport(
            run=begun.run,
            stream=stream.name,
            table_name=self.reader.table.name,
            origin=context.limio.origin,
            mode=choices.mode,
            started=self.walk.started,
        )
        self.outage: Outage = context.tenant.outage(lambda said: context.tell("waiting", self.report, said))
        self.source = Source(
            context.limio, stream, workers=choices.concurrency, ride=self.outage.ride, count=self.count
        )
        self.written_before = 0
        """Rows that a first try of this run has written, which come again."""
        self.well_again: set[str] = set()
        """Ids in quarantine that turned out well in this run though it did not see them change."""
        self.waited_before = 0.0
        """Seconds in pauses before the run was resumed."""
        self.position: str | None = None
        """The walk behind the last page that is in the target, as JSON."""
        self.waiting = 0
        """Bytes in the spool."""
        self.pages: deque[Page] = deque()
        """Pages that go straight to the target, before those in the spool."""
        self.held = 0
        """Bytes in these, and in those that are on their way."""
        self.over = False
        """Whether nothing more will be listed."""
        self.emptied = False
        """Whether all that was listed is in the target."""
        self.more = asyncio.Event()  # something came since the last look, or nothing more will
        self.less = asyncio.Event()  # the target has taken something

    @property
    def species(self) -> Species:
        """What the list's cursor promises."""
        return self.stream.endpoint.paging.species

    @property
    def hydrates(self) -> bool:
        """Whether objects are fetched whole."""
        return self.choices.hydrate and self.stream.hydrates is not None

    @property
    def compares(self) -> bool:
        """Whether pages may go straight to the target."""
        return isinstance(self.context.sink, Compares) and not self.hydrates

    def drift(self) -> list[Row]:
        """Return what the models do not know, as the target keeps it."""
        run, stream, table = self.report.run, self.stream.name, self.report.table_name
        return [drift_row(one, run, stream, table=table) for one in self.reader.drift.findings()]

    def remembered(self) -> Row:
        """Return what the target keeps of the stream."""
        report, before = self.report, self.begun.before
        knows = self.drift_is_known or (report.complete and self.choices.mode == "full")
        return stream_row(
            report,
            before,
            salt=self.begun.prepared.salt,
            drift=self.reader.drift.digest if knows else None,
        )

    @property
    def batch_bytes(self) -> int:
        """Bytes of items that the target is given at once, about."""
        sink = self.context.sink
        return sink.batch_bytes if isinstance(sink, Compares) else BATCH_BYTES

    def row(self, report: StreamReport) -> Row:
        """Return the report as the target keeps it, with where the walk can be gone on with."""
        ended = report.status in {"complete", "incomplete"}
        return run_row(report, None if ended else self.position)

    def count(self, requests: int, retries: int) -> None:
        """Count requests of this stream, whoever makes them."""
        self.walk.requests += requests
        self.walk.retries += retries
        self.note()

    def note(self) -> None:
        """Tell in the report how far the walk is."""
        self.walk.waited_seconds = self.waited_before + self.outage.seconds
        for name, value in self.walk.tally().items():
            setattr(self.report, name, value)

    def resume(self, walk: SavedWalk, left: StreamReport, seen: int) -> None:
        """Take up an earlier run: its walk, and the report that the target has of it."""
        for name in _ONLY_GROW:  # each of the two was saved at a moment of its own
            if name == "missing" and self.stream.parent:
                continue  # children are asked for again from where the walk stands
            setattr(walk, name, max(getattr(walk, name), getattr(left, name)))
        self.walk, self.waited_before, self.written_before = walk, walk.waited_seconds, 0
        for name in StreamReport.__struct_fields__:
            setattr(self.report, name, getattr(left, name))
        self.report.status, self.report.error, self.report.ended = "running", None, None
        self.report.seen = seen

    def add_to(self, first: StreamReport) -> None:
        """Begin at the top once more: what the *first* try of this run has done counts in it."""
        for name in _OF_TRAFFIC:
            setattr(self.walk, name, getattr(first, name))
        for name in (
            "inserted",
            "updated",
            "deleted",
            *(one for one in _OF_TARGET if one.endswith("_seconds")),
        ):
            setattr(self.report, name, getattr(first, name))
        self.written_before = first.inserted + first.updated
        self.waited_before = first.waited_seconds

    def is_earlier(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of the quarantine is older than this walk."""
        return bool(row["run"] != self.report.run or row["quarantined_at"] < self.walk.started)

    def adopt(self, report: StreamReport) -> None:
        """Take over what another report of this run says of the target."""
        adopt(self.report, report)

    async def in_spool(self, work: Callable[[], T]) -> T:
        """Run *work* on the spool, in a thread, one call at a time; its time counts."""

        def timed() -> T:
            begun = perf_counter()
            done = work()
            self.report.spool_seconds += perf_counter() - begun
            return done

        return await self.context.in_spool(timed)

    async def noted(self, pages: Sequence[Page], *, keeps: bool) -> Noted:
        """Note what came in *pages* in the job's state, which *keeps* them until the target has them, or does not."""
        noted = await self.in_spool(
            lambda: self.context.spool.note(
                self.stream.name,
                self.walk,
                pages,
                keeps=keeps,
                apart=self.hydrates,
                delivered=self.report.delivered,
                by_creation=self.stream.by_creation,
            )
        )
        self.waiting += noted.spooled
        self.report.seen = noted.seen
        return noted

    async def in_sink(self, work: Callable[[], T], *, is_done: Callable[[StreamReport], bool]) -> T | None:
        """Run *work* on the target; where it broke off, first look whether it took effect.

        The target's own report of the run tells *is_done*; then it is adopted, and None returned.
        """
        broke_off = False

        def once() -> T | None:
            nonlocal broke_off
            if broke_off and (stored := self.stored()) is not None and is_done(stored):
                self.adopt(stored)
                return None
            broke_off = True
            return work()

        return await self.context.in_sink(once)

    def stored(self) -> StreamReport | None:
        """Return what the target has of this run's report, in the sink's thread."""
        own = run_id(self.report.run, self.report.stream)
        rows = self.context.sink.rows(RUNS, [Condition("id", "=", own)])
        return next(map(report_of, rows), None)

    async def until_stopped(self, work: Awaitable[T]) -> T | None:
        """Return what *work* gives; None where the job shall end first: what was not saved is asked for again."""
        done: T | None = None
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_with_job, tasks.cancel_scope)
            try:
                done = await work
            except Exception as error:
                failed = error
            tasks.cancel_scope.cancel()
        if failed is not None:  # by itself, not in a group
            raise failed
        return done

    async def _end_with_job(self, asking: anyio.CancelScope) -> None:
        await self.context.stopping.wait()
        asking.cancel()


def adopt(report: StreamReport, told: StreamReport) -> None:
    """Let *report* say of the target what *told* does."""
    for name in _OF_TARGET:
        setattr(report, name, getattr(told, name))
