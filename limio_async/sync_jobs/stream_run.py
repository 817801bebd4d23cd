"""One run of one stream: list into the spool, deliver from it to the target, and come to an honest end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import chain
from time import perf_counter
from typing import Any, TypeVar

import anyio
import msgspec

from limio_async.core.codec import raw_items
from limio_async.core.listing import Page, Report
from limio_async.core.listing.repeats import id_in
from limio_async.core.wire import Attempt, Species
from limio_async.errors import (
    ApiError,
    CursorExpired,
    Forbidden,
    IncompleteListing,
    JobError,
    LimioError,
    ListingError,
    MissingCredentials,
    NotFound,
    SnapshotChanged,
    TooManyRequests,
    TransportError,
    Unauthorized,
)
from limio_async.sync_jobs.asking import Asking, asking, timeless
from limio_async.sync_jobs.context import Choices, JobContext, main_error
from limio_async.sync_jobs.events import Status, StreamReport
from limio_async.sync_jobs.hydrate import Hydrated, hydrated
from limio_async.sync_jobs.ledger import (
    DRIFT,
    QUARANTINE,
    QUARANTINED,
    RUNS,
    STREAMS,
    drift_row,
    in_quarantine,
    quarantine_row,
    run_row,
    stream_row,
)
from limio_async.sync_jobs.rows import Item, Reader, child_key, summary_of
from limio_async.sync_jobs.sink import Change, Row, Unseen, Written
from limio_async.sync_jobs.spool import SavedWalk, SpooledPage
from limio_async.sync_jobs.streams import Stream
from limio_async.sync_jobs.times import arguments, asked_since, now, watermark

__all__ = ["StreamRun"]

T = TypeVar("T")

_RESTARTS = 3
_BATCH_ITEMS = 5_000
_BATCH_BYTES = 4 * 1024 * 1024
_HYDRATED_AT_ONCE = 500
_SPOOLED_AT_MOST = 64 * 1024 * 1024
_PARENTS_AT_ONCE = 256
_HOPELESS = (Unauthorized, Forbidden, MissingCredentials)


class StreamRun:
    """One stream of a job, from where an earlier run of it left off, if it did.

    *watermark* is where the last complete run stood; *reach* is the time until which all changes are known, earlier
    than that where children of the stream are behind; *left* finds the report of a run that the target knows, by
    the run's name; *parent* is the report of the stream whose objects this one's items are children of.
    *is_parent* keeps what was seen for such streams.
    """

    def __init__(
        self,
        context: JobContext,
        stream: Stream,
        choices: Choices,
        *,
        run: str,
        watermark: datetime | None,
        reach: datetime | None,
        left: Callable[[str], StreamReport | None],
        parent: StreamReport | None,
        is_parent: bool,
    ) -> None:
        self._context = context
        self._stream = stream
        self._choices = choices
        self._watermark = watermark
        self._since = asked_since(choices.mode, reach, since=choices.since, overlap=choices.overlap)
        self._left = left
        self._is_parent = is_parent
        self._parent = parent
        self._reader = Reader(stream, choices.mode)
        self._args = arguments(stream, self._since)
        self._asking = Asking(args=self._args)
        # a list that broke off goes on with other objects than these: then no run goes on with their children
        is_whole = parent is not None and parent.status in {"complete", "incomplete"}
        self._walk = SavedWalk(run=run, started=now(), parent_run=parent.run if parent and is_whole else "")
        self.report = StreamReport(
            run=run,
            stream=stream.name,
            table_name=self._reader.table.name,
            origin=context.limio.origin,
            mode=choices.mode,
            started=self._walk.started,
        )
        self._emptied = False  # all that was spooled is in the target
        self._leads_nowhere = False  # going on with the walk would fail again
        self._waiting = 0  # bytes in the spool
        self._over = False  # nothing more will be spooled
        self._more = asyncio.Event()  # something was spooled since the last look, or nothing more will be
        self._less = asyncio.Event()  # the target has taken something

    async def run(self) -> None:
        """Do all of it. What goes wrong with the stream is told by `report`; a `JobError` ends the job."""
        try:
            await self._begin()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._list)
                tasks.start_soon(self._deliver)
        except LimioError as error:
            self._failed(error)
        except ExceptionGroup as group:
            self._failed(main_error(group))
        await self._conclude()

    # --- beginning

    async def _begin(self) -> None:
        """Take up the walk that was left, if the target knows it just as well."""
        spool, name = self._context.spool, self._stream.name
        bound = repr(
            (
                self._choices.mode,
                self._choices.hydrate,
                sorted(self._args.items()),
                self._since,
                self._stream.endpoint.path,
            )
        )
        walk, seen, forgotten = await self._context.in_spool(lambda: spool.begin(name, bound, self._walk))
        if walk is not self._walk:
            left = self._left(walk.run)
            last = await self._context.in_spool(spool.last_page)
            if left is None or not self._can_go_on(left, forgotten, last):
                await self._context.in_spool(lambda: spool.drop(name))
                await self._context.in_spool(lambda: spool.begin(name, bound, self._walk))
            else:
                self._walk = walk
                self.report = left
                self.report.status, self.report.error, self.report.ended = "running", None, None
                if not (walk.listed or walk.checkpoint or self._stream.parent):
                    # from the top: what is gone since then must not count as seen
                    await self._context.in_spool(lambda: spool.restart(name, walk))
                    seen = 0
                self.report.seen = seen
                await self._context.in_sink(self._load_drift)
        self._note()
        await self._context.in_sink(lambda: self._context.sink.apply([Change(RUNS, [run_row(self.report)])]))
        self._context.tell("started", self.report)

    def _can_go_on(self, left: StreamReport, forgotten: int, last: int) -> bool:
        if left.complete and not self._is_parent:
            return False  # it had ended, and nobody waits for its objects
        return forgotten <= left.delivered <= last  # else one of them is older than the other

    def _load_drift(self) -> None:
        rows = self._context.sink.rows(DRIFT)
        self._reader.drift.load(
            row for row in rows if row["run"] == self.report.run and row["stream"] == self.report.stream
        )

    # --- listing

    async def _list(self) -> None:
        try:
            if not self._walk.listed:
                await self._until_stopped(
                    self._list_children() if self._stream.parent else self._list_pages()
                )
        finally:
            self._over = True
            self._more.set()

    async def _until_stopped(self, work: Awaitable[T]) -> T | None:
        """What *work* gives. None where the job shall end first: what was not saved is asked for again."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_with_job, tasks.cancel_scope)
            done = await work
            tasks.cancel_scope.cancel()
            return done
        return None

    async def _end_with_job(self, asking: anyio.CancelScope) -> None:
        await self._context.stopping.wait()
        asking.cancel()

    async def _list_pages(self) -> None:
        while True:
            try:
                await self._ask()
                await self._walk_pages()
            except (CursorExpired, SnapshotChanged, IncompleteListing) as error:
                if self._walk.restarts < _RESTARTS:
                    await self._restart(error)
                    continue
                if not isinstance(error, IncompleteListing) or error.seen is None:
                    raise
                self._walk.miscounted = error.said  # it came to its end, and says that it is not all
                await self._save_end()
            return

    async def _ask(self) -> None:
        """Find out whether the list may be filtered; of a catalog that was rebuilt meanwhile, once more."""
        walk, begun = self._walk, perf_counter()

        def note(report: Report) -> None:
            walk.requests += report.requests
            walk.retries += report.retries
            self._note()

        try:
            self._asking = await asking(
                self._context.limio, self._stream, self._since, chosen=self._choices.since, note=note
            )
        finally:
            walk.network_seconds += perf_counter() - begun
        self.report.unfiltered = self._asking.unfiltered

    async def _restart(self, error: ListingError) -> None:
        self._walk.restarts += 1
        self._walk.checkpoint, self._walk.commit_id = None, None
        await self._context.in_spool(lambda: self._context.spool.restart(self._stream.name, self._walk))
        self.report.seen = 0
        self._note()
        self._context.tell("restarted", self.report, str(error))

    async def _walk_pages(self) -> None:
        walk = self._walk
        listing = self._context.limio.listing(
            self._stream.endpoint,
            self._asking.args,
            page_size=self._stream.page_size(self._choices.page_size),
            resume=walk.checkpoint,
        ).raw()
        requests, retries = walk.requests, walk.retries
        async with aclosing(listing.pages()) as pages:
            while not self._context.stopping.is_set():
                begun = perf_counter()
                try:
                    page = await anext(pages, None)
                finally:
                    report = listing.report
                    walk.network_seconds += perf_counter() - begun
                    walk.requests, walk.retries = requests + report.requests, retries + report.retries
                    self._note()
                if page is None:
                    await self._save_end()
                    return
                walk.expected = report.hits if report.exact else None
                walk.commit_id = page.commit_id or walk.commit_id
                if self._species.durable:
                    walk.checkpoint = listing.checkpoint()
                await self._add(page)
                await self._has_room()

    @property
    def _species(self) -> Species:
        return self._stream.endpoint.paging.species

    async def _add(self, page: Page[bytes]) -> None:
        walk = self._walk
        head = page.read(dict[str, Any]) if self._stream.heads else {}
        walk.pages += 1
        walk.items += len(page.items)
        walk.received += sum(map(len, page.items))
        kept = {name: head.get(name) for name in self._stream.heads}
        await self._spooled(page.items, head=kept, since=self._asking.passes)

    async def _spooled(
        self,
        items: Sequence[bytes],
        *,
        head: Any = None,
        parent: str | None = None,
        since: datetime | None = None,
    ) -> None:
        spool, name, walk = self._context.spool, self._stream.name, self._walk
        added = await self._in_spool(
            lambda: spool.add(
                name,
                walk,
                items,
                head=head,
                parent=parent,
                since=since,
                by_creation=self._stream.by_creation,
            )
        )
        self._waiting += added.spooled
        self.report.seen = added.seen
        self._note()
        self._more.set()
        self._context.tell("listed", self.report)

    async def _in_spool(self, work: Callable[[], T]) -> T:
        def timed() -> T:
            begun = perf_counter()
            done = work()
            self.report.spool_seconds += perf_counter() - begun
            return done

        return await self._context.in_spool(timed)

    async def _save_end(self) -> None:
        self._walk.listed = True
        await self._context.in_spool(lambda: self._context.spool.save(self._stream.name, self._walk))
        self._note()

    async def _has_room(self) -> None:
        """Let the target catch up, where waiting costs the list nothing: a scroll would expire."""
        if not self._species.held_by_server:
            while self._waiting > _SPOOLED_AT_MOST and not self._context.stopping.is_set():
                self._less.clear()
                await self._less.wait()

    async def _list_children(self) -> None:
        walk, parent = self._walk, self._stream.parent or ""
        changed = self._choices.mode != "full"
        while not self._context.stopping.is_set():
            ids = await self._context.in_spool(
                lambda: self._context.spool.objects(
                    parent, walk.after, changed=changed, most=_PARENTS_AT_ONCE
                )
            )
            if not ids:
                await self._save_end()
                return
            begun = perf_counter()
            async with hydrated(ids, self._children_of, workers=self._choices.concurrency) as results:
                async for result in results:
                    walk.network_seconds += perf_counter() - begun
                    await self._add_children(result)
                    begun = perf_counter()
            await self._has_room()

    async def _children_of(self, parent: str) -> tuple[list[bytes], LimioError | None]:
        """The children of an object, over all pages, and why there may be more."""
        listing = self._context.limio.listing(
            self._stream.endpoint, {**self._args, "id": id_in(parent)}
        ).raw()
        items: list[bytes] = []
        failed: LimioError | None = None
        try:
            async for page in listing.pages():
                items += page.items  # which are kept where a later page fails
        except LimioError as error:
            failed = error
        finally:
            self._walk.pages += listing.report.pages
            self._walk.requests += listing.report.requests
            self._walk.retries += listing.report.retries
        return items, failed

    async def _add_children(self, result: Hydrated[str, tuple[list[bytes], LimioError | None]]) -> None:
        walk = self._walk
        walk.after = result.summary
        items, error = result.full or ([], result.error)
        if isinstance(error, _HOPELESS):
            raise error
        if error is not None and (
            items or not isinstance(error, NotFound)
        ):  # an object that is gone has none
            walk.missing += 1
        walk.items += len(items)
        walk.received += sum(map(len, items))
        await self._spooled(items, parent=result.summary)

    # --- delivering

    async def _deliver(self) -> None:
        items = _HYDRATED_AT_ONCE if self._hydrates else _BATCH_ITEMS
        while True:
            self._more.clear()  # before the spool is asked: a last page may come meanwhile
            over = self._over
            batch = await self._in_spool(
                lambda: self._context.spool.next_batch(
                    self._stream.name, self.report.delivered, items=items, size=_BATCH_BYTES
                )
            )
            if batch:
                await self._deliver_batch(batch)
            elif over:
                self._emptied = True
                return
            else:
                await self._more.wait()
            if self._context.stopping.is_set():
                self._less.set()
                return

    @property
    def _hydrates(self) -> bool:
        return self._choices.hydrate and self._stream.hydrates is not None

    async def _deliver_batch(self, batch: list[SpooledPage]) -> None:
        items: Iterable[Item] = chain.from_iterable(map(_items, batch))  # split in the sink's thread
        lost: list[tuple[Item, LimioError]] = []
        if self._hydrates:
            fetched = await self._until_stopped(self._whole(items))
            if fetched is None:
                return
            items, lost = fetched
        name, last = self._stream.name, batch[-1].seq
        if gone := [item.id for item, error in lost if isinstance(error, NotFound)]:
            # before the batch is written: killed after that, nobody would ask for them again
            await self._in_spool(lambda: self._context.spool.unsee(name, gone))
        await self._context.in_sink(lambda: self._write(items, lost, last))
        await self._in_spool(lambda: self._context.spool.forget(name, last))
        self._waiting -= sum(len(page.items) for page in batch)
        self._less.set()
        self._context.tell("written", self.report)

    async def _whole(self, summaries: Iterable[Item]) -> tuple[list[Item], list[tuple[Item, LimioError]]]:
        """The objects that these are summaries of, and those that could not be had."""
        whole: list[Item] = []
        lost: list[tuple[Item, LimioError]] = []
        begun = perf_counter()
        async with hydrated(
            summaries, self._get_whole, workers=self._choices.concurrency, key=lambda item: item.id
        ) as results:
            async for result in results:
                if isinstance(result.error, _HOPELESS):
                    raise result.error
                if result.error is not None:
                    lost.append((result.summary, result.error))
                elif result.full is not None:
                    whole.append(msgspec.structs.replace(result.summary, raw=result.full))
        self._walk.network_seconds += perf_counter() - begun
        return whole, lost

    async def _get_whole(self, item: Item) -> bytes:
        assert self._stream.hydrates is not None  # noqa: S101  # `_hydrates` has looked
        endpoint = msgspec.structs.replace(self._stream.hydrates, returns=msgspec.Raw)
        args = {name: value for name, value in self._args.items() if name in {"service", "path_type"}}
        trace: list[Attempt] = []
        try:
            return bytes(
                await self._context.limio.request(endpoint, {**args, "id": id_in(item.id)}, trace=trace)
            )
        finally:
            self._walk.requests += len(trace)
            self._walk.retries += max(0, len(trace) - 1)

    def _write(self, items: Iterable[Item], lost: Sequence[tuple[Item, LimioError]], last: int) -> None:
        """Write a batch and what is remembered of it, in the sink's thread."""
        begun = perf_counter()
        at, sink, report, table = now(), self._context.sink, self.report, self._reader.table
        rows: list[Row] = []
        bad = [quarantine_row(report, item.id, str(error), bytes(item.raw), at) for item, error in lost]
        for item in items:
            row = self._reader.row(item)
            reason = row if isinstance(row, str) else sink.refusal(table, row)
            if isinstance(row, str) or reason:
                bad.append(quarantine_row(report, item.id, str(reason), bytes(item.raw), at))
            else:
                rows.append(row)
        decoded = perf_counter()

        def remembered(written: Sequence[Written]) -> list[Change]:
            report.inserted += written[0].inserted
            report.updated += written[0].updated
            report.unchanged += written[0].unchanged
            report.quarantined += len(bad)
            report.missing += sum(_may_come_later(error) for _, error in lost)
            report.decode_seconds += decoded - begun
            report.write_seconds += perf_counter() - decoded
            report.delivered = last
            self._note()
            return [Change(RUNS, [run_row(report)])]

        drift = [drift_row(one, report.run, report.stream) for one in self._reader.drift.findings()]
        sink.apply([Change(table, rows), Change(QUARANTINE, bad), Change(DRIFT, drift)], then=remembered)

    # --- the end

    def _failed(self, error: Exception) -> None:
        if isinstance(error, JobError) or not isinstance(error, LimioError):
            raise error
        self.report.status, self.report.error = "failed", str(error)
        self.report.refused = isinstance(error, Unauthorized | MissingCredentials)
        self._leads_nowhere = isinstance(error, ListingError)

    async def _conclude(self) -> None:
        """Say how it ended; where it is complete, mark what is gone and move the watermark."""
        report, name = self.report, self._stream.name
        report.seen = await self._context.in_spool(lambda: self._context.spool.seen(name))
        if report.status == "running":
            report.status, report.error = self._judged()
        if report.complete:
            report.unfiltered = report.unfiltered or timeless(
                self._stream,
                self._choices.mode,
                self._since,
                items=self._walk.items,
                latest=self._walk.newest,
            )
            await self._context.in_sink(self._settle)
        if report.complete:
            newest = self._parent.watermark if self._parent else self._walk.newest
            report.watermark = watermark(
                self._walk.started, newest, before=self._watermark, since=self._since
            )
        report.ended = now()
        changes = [Change(RUNS, [run_row(report)])]
        if report.complete:
            changes.append(Change(STREAMS, [stream_row(report, origin=self._context.limio.origin)]))
        await self._context.in_sink(lambda: self._context.sink.apply(changes))
        ended = report.status in {"complete", "incomplete"} and not self._is_parent
        if ended or self._leads_nowhere:
            await self._context.in_spool(lambda: self._context.spool.drop(name))
        self._context.tell("ended", report)

    def _judged(self) -> tuple[Status, str | None]:
        report = self.report
        if not (self._walk.listed and self._emptied):
            return "interrupted", None
        if report.missing:
            return (
                "incomplete",
                f"{report.missing:,} could not be had and are asked for again by the next run",
            )
        if self._walk.miscounted:
            return "incomplete", self._walk.miscounted
        if self._walk.expected not in {None, report.seen} and self._species.promises:
            return "incomplete", f"{report.seen:,} different items came, {report.expected:,} were promised"
        if self._parent and not self._parent.complete:
            report.refused = self._parent.refused
            return "incomplete", f"{self._stream.parent} is not complete"
        return "complete", None

    def _settle(self) -> None:
        """Mark what is gone, and let others see the table, in the sink's thread."""
        begun = perf_counter()
        if self._choices.mode == "full":
            self._mark_unseen()
        if self.report.complete:
            self._release()
            self._context.sink.publish(self._reader.table)
        self.report.write_seconds += perf_counter() - begun

    def _mark_unseen(self) -> None:
        report, most = self.report, self._choices.most_deleted

        def remembered(found: Unseen) -> list[Change]:
            report.deleted += found.deleted
            so_far = msgspec.structs.replace(report, status="running")  # nothing is published yet
            return [Change(RUNS, [run_row(so_far)])]

        seen = self._context.spool.seen_ids(report.stream)
        found = self._context.sink.mark_unseen(
            self._reader.table,
            seen,
            deleted_at=now(),
            allows=lambda live, gone: most is None or gone <= most * live,
            then=remembered,
        )
        if found.unseen > found.deleted and most is not None:
            report.status = "incomplete"
            report.error = (
                f"{found.unseen:,} of {found.live:,} rows were not seen, more than {most:.0%}:"
                " none was marked as deleted; allow it if so many are really gone"
            )

    def _release(self) -> None:
        """Take out of quarantine what earlier runs put there and this one has found well, or gone."""
        name, sink = self.report.stream, self._context.sink
        old = {
            row["item_id"]: row["id"]
            for row in in_quarantine(sink.rows(QUARANTINED))
            if row["stream"] == name and row["run"] != self.report.run
        }
        if old and self._choices.mode != "full":  # which has looked at every item there is
            found = self._context.spool.seen_ids(name, changed=True)
            old = {one: old[one] for one in found if one in old}
        if old:
            released = {*old.values()}
            kept = [row["id"] for row in sink.rows(QUARANTINED) if row["id"] not in released]
            sink.mark_unseen(QUARANTINE, kept, deleted_at=now(), allows=lambda live, gone: True)

    def _note(self) -> None:
        """Tell in the report how far the walk is."""
        walk, report = self._walk, self.report
        report.expected, report.listed, report.pages = walk.expected, walk.items, walk.pages
        report.received, report.requests, report.retries = walk.received, walk.requests, walk.retries
        report.restarts, report.commit_id = walk.restarts, walk.commit_id
        report.network_seconds, report.passed = walk.network_seconds, walk.passed
        if self._stream.parent:
            report.missing = walk.missing


def _items(page: SpooledPage) -> Iterator[Item]:
    for raw in raw_items(page.items):
        yield Item(raw, child_key(summary_of(raw).id, page.parent), page.head or {}, page.parent)


def _may_come_later(error: LimioError) -> bool:
    return isinstance(error, TransportError | TooManyRequests) or (
        isinstance(error, ApiError) and error.status >= 500
    )
