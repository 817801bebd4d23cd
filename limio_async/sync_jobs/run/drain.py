"""To the target: delivers what came and what waits in the spool, batch by batch, objects fetched whole on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from time import perf_counter
from typing import Any

import msgspec

from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.ledger import (
    DRIFT,
    QUARANTINE,
    RUNS,
    quarantine_row,
    run_row,
)
from limio_async.sync_jobs.refusals import concerns
from limio_async.sync_jobs.rows import Item, child_key
from limio_async.sync_jobs.run.fill import MOST_ASKED_AGAIN
from limio_async.sync_jobs.run.progress import Progress
from limio_async.sync_jobs.run.quarantine import in_walk, refused_before
from limio_async.sync_jobs.run.whole import Lost, Whole, writing
from limio_async.sync_jobs.sink import Change, Column, Compares, Condition, Row, Sink, Table, Written
from limio_async.sync_jobs.times import now
from limio_async.sync_jobs.walk import Page, SpooledPage, in_pages, items_of

__all__ = ["BATCH_ITEMS", "HYDRATED_AT_ONCE", "Drain"]

BATCH_ITEMS = 5_000
HYDRATED_AT_ONCE = 2_000

_COUNTS = ("inserted", "updated", "unchanged", "quarantined", "delivered")


class Drain:
    """Delivers until all is in the target, or until the job shall stop."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._taken = progress.report.delivered  # the last page that was taken from the spool
        self._later: dict[str, Item] = {}  # what could not be had just then
        self._refused: set[str] = set()  # before the run was resumed, or asked for again
        self._before: Mapping[str, Mapping[str, Any]] = {}  # this walk, in quarantine and asked for again
        self._attempted = progress.report  # as it is once the last write has taken effect
        self._odd: set[str] = set()  # what that write has put into quarantine

    async def run(self) -> None:
        """Do it."""
        progress, stopping = self._progress, self._progress.context.stopping
        if progress.hydrates:
            if progress.report.quarantined:
                self._refused = {*await progress.context.in_sink(lambda: [*in_walk(progress)])}
            async with writing(progress, self._write_whole, page=self._taken) as whole:
                is_over = await self._deliver_all(whole)
        else:
            is_over = await self._deliver_all()
        if is_over:
            await self._ask_again()
            progress.emptied = not stopping.is_set()
        progress.less.set()

    async def _deliver_all(self, whole: Whole | None = None) -> bool:
        """Deliver what comes, *whole* where objects are fetched; return whether nothing more will come."""
        progress, stopping = self._progress, self._progress.context.stopping
        while not stopping.is_set():
            progress.more.clear()  # before the spool is asked: a last page may come meanwhile
            over = progress.over
            if progress.pages:
                await self._deliver_pages()
            elif batch := await self._next_batch():
                await self._deliver(batch, whole)
            elif over:
                return True
            else:
                await progress.more.wait()
        return False

    async def _deliver_pages(self) -> None:
        """Deliver pages that came since; their items are noted first, so that none counts as gone that is in the target."""
        progress, pages = self._progress, self._next_pages()
        noted = await progress.noted(pages, keeps=False)
        await self._write(noted.fresh, [], _refused_in(pages), noted.seq, noted.walk)
        progress.held -= sum(page.size for page in pages)
        progress.less.set()

    def _next_pages(self) -> list[Page]:
        waiting, items, size = self._progress.pages, BATCH_ITEMS, self._progress.batch_bytes
        pages: list[Page] = []
        while waiting and (not pages or (items >= len(waiting[0].items) and size >= waiting[0].size)):
            pages.append(waiting.popleft())
            items, size = items - len(pages[-1].items), size - pages[-1].size
        return pages

    async def _next_batch(self) -> list[SpooledPage]:
        progress = self._progress
        if not progress.waiting:
            return []
        items = HYDRATED_AT_ONCE if progress.hydrates else BATCH_ITEMS
        name, after = progress.stream.name, self._taken
        return await progress.in_spool(
            lambda: progress.context.spool.next_batch(name, after, items=items, size=progress.batch_bytes)
        )

    async def _deliver(self, batch: list[SpooledPage], whole: Whole | None) -> None:
        """Write what waits in the spool, or fetch the objects that are written then."""
        progress, name = self._progress, self._progress.stream.name
        before, self._taken = self._taken, batch[-1].seq
        if whole is not None:
            await whole.fetch(in_pages(batch, before))
        else:
            items: Iterable[Item] = chain.from_iterable(map(items_of, batch))  # split in the sink's thread
            await self._write(items, [], _refused_in(batch), self._taken, batch[-1].walk)
        await progress.in_spool(lambda: progress.context.spool.forget(name, progress.report.delivered))
        progress.waiting -= sum(len(page.packed) for page in batch)
        progress.less.set()

    async def _write_whole(self, whole: Sequence[Item], lost: Sequence[Lost], page: int) -> None:
        await self._write(whole, lost, {}, page, self._progress.position)

    async def _ask_again(self) -> None:
        """Fetch once more what could not be had just then, and what earlier runs could not have; at most 1,000 objects."""
        progress, spool, name = self._progress, self._progress.context.spool, self._progress.stream.name
        if not progress.hydrates:
            return
        later, self._later = self._later, {}
        items = [*later.values()]
        if progress.choices.mode != "full":  # which has asked for all of them
            before = await progress.context.in_sink(lambda: refused_before(progress))
            seen = await progress.in_spool(lambda: spool.known(name, [*before], changed=True))
            self._before = {one: row for one, row in before.items() if one not in seen and one not in later}
            items += [Item(b"null", one) for one in self._before]

        async def write(objects: Sequence[Item], _lost: Sequence[Lost], page: int) -> None:
            had = {one.id for one in objects}
            progress.walk.missing -= sum(one in had for one in later)
            self._refused |= had
            await self._write(objects, [], {}, page, progress.position)

        delivered = progress.report.delivered
        again = ((item, delivered) for item in items[:MOST_ASKED_AGAIN])
        async with writing(progress, write, page=delivered, again=True) as whole:
            await whole.fetch(again)

    async def _write(
        self,
        items: Iterable[Item],
        lost: Sequence[Lost],
        parents: Mapping[str, str],
        last: int,
        walk: str | None,
    ) -> None:
        """Write a batch and what is remembered of it: its *last* page, and the *walk* behind that."""
        progress = self._progress
        for item, error in lost:
            if concerns(error) == "later":
                progress.walk.missing += 1
                if len(self._later) < MOST_ASKED_AGAIN:
                    self._later[item.id] = item
        progress.note()
        made: list[_Rows] = []

        def work() -> None:
            if not made:  # once, although a target that was away is asked again
                made.append(self._read(items, lost, parents))
            self._apply(made[0], last, walk)

        before = _counts(progress.report)
        await progress.in_sink(
            work, is_done=lambda stored: before != _counts(stored) == _counts(self._attempted)
        )
        progress.well_again = (progress.well_again | made[0].again) - (self._refused & self._odd)
        progress.position = walk
        progress.context.tell("written", progress.report)

    # --- in the sink's thread

    def _read(self, items: Iterable[Item], lost: Sequence[Lost], parents: Mapping[str, str]) -> _Rows:
        begun, at = perf_counter(), now()
        progress, sink, reader = self._progress, self._progress.context.sink, self._progress.reader
        rows: list[Row] = []
        stale: list[str] = [item.id for item, _ in lost]
        bad = [self._bad(item.id, str(error), item.raw, at) for item, error in lost]
        came = [*items]
        ids = {item.id for item in came} if parents else set[str]()
        for parent, said in parents.items():
            bad.append(self._bad(child_key("", parent), said, b"", at))
            stale += (one for one in children_ids(sink, reader.table, [parent]) if one not in ids)
        changed, same = self._sorted(came)
        for item in changed:
            row = reader.row(item)
            reason = row if isinstance(row, str) else sink.refusal(reader.table, row)
            if isinstance(row, str) or reason:
                bad.append(self._bad(item.id, str(reason), item.raw, at))
                stale.append(item.id)
            else:
                rows.append(row)
        if not progress.drift_is_known:
            for item in same:
                reader.look(item)
        drift = progress.drift() if changed or not progress.drift_is_known else []
        again = {item.id for item in came if item.id in self._refused} if self._refused else set[str]()
        return _Rows(rows, bad, stale, drift, again, len(same), at, perf_counter() - begun)

    def _sorted(self, items: list[Item]) -> tuple[list[Item], list[Item]]:
        """Return those items that the target has not as they are, and the others; of one that came twice, the last counts."""
        sink, reader = self._progress.context.sink, self._progress.reader
        if not (items and isinstance(sink, Compares)):
            return items, []
        held = sink.held(reader.table, [item.id for item in items])
        spots = [(item.id, reader.hash(item)) for item in items]
        if reader.table.keeps:
            last = dict(zip(spots, items, strict=True))
        else:
            places = {key: place for place, (key, _) in enumerate(spots)}
            last = {spots[place]: items[place] for place in places.values()}
        changed = [item for spot, item in last.items() if spot not in held]
        return changed, [item for spot, item in last.items() if spot in held]

    def _apply(self, made: _Rows, last: int, walk: str | None) -> None:
        progress, table, begun = self._progress, self._progress.reader.table, perf_counter()
        after = progress.report

        def remembered(written: Sequence[Written]) -> list[Change]:
            nonlocal after
            refused = [
                self._bad(row[0], one.reason, row[table.at("raw")], made.at)
                for one in written[0].refused
                for row in (one.row,)
            ]
            after = msgspec.structs.replace(
                progress.report,
                inserted=progress.report.inserted + written[0].inserted,
                updated=progress.report.updated + written[0].updated,
                unchanged=progress.report.unchanged + written[0].unchanged + made.unchanged,
                quarantined=progress.report.quarantined + len(made.bad) + len(refused),
                decode_seconds=progress.report.decode_seconds + made.seconds,
                write_seconds=progress.report.write_seconds + perf_counter() - begun,
                delivered=last,
                **progress.walk.tally(),
            )
            self._attempted, self._odd = after, {_item_id(row) for row in (*made.bad, *refused)}
            stale = [] if table.keeps else [row[0] for row in (one.row for one in written[0].refused)]
            return [
                Change(table, [], stale=stale, at=made.at),
                Change(QUARANTINE, refused),
                Change(RUNS, [run_row(after, walk)]),
            ]

        stale = [] if table.keeps else made.stale
        progress.context.sink.apply(
            [
                Change(table, made.rows, stale=stale, at=made.at),
                Change(QUARANTINE, made.bad),
                Change(DRIFT, made.drift),
            ],
            then=remembered,
        )
        progress.adopt(after)

    def _bad(self, item_id: str, reason: str, raw: Any, at: datetime) -> Row:
        report, before = self._progress.report, self._before.get(item_id)
        if before:  # what is odd again is not odd anew
            report, at = msgspec.structs.replace(report, run=before["run"]), before["quarantined_at"]
        return quarantine_row(report, item_id, reason, bytes(raw), at)


class _Rows(msgspec.Struct, frozen=True):
    """A batch, read."""

    rows: list[Row]
    bad: list[Row]
    stale: list[str]
    drift: list[Row]
    again: set[str]
    """Ids of items that came and were refused before."""
    unchanged: int
    """Items that the target has as they are."""
    at: datetime
    seconds: float


def children_ids(sink: Sink, table: Table, parents: Collection[str]) -> Iterator[str]:
    """Yield the ids of the rows that a table of children has of these parents."""
    ids = Table(name=table.name, columns=(Column("id"), Column("parent_id")))
    for row in sink.rows(ids, [Condition("parent_id", "in", [*parents])]) if parents else ():
        yield row["id"]


def _item_id(row: Row) -> str:
    return str(row[QUARANTINE.at("item_id")])


def _refused_in(pages: Iterable[Page | SpooledPage]) -> Mapping[str, str]:
    """The parents whose children could not be had, and why."""
    return {one.parent: one.refusal for one in pages if one.refusal and one.parent is not None}


def _counts(report: StreamReport) -> list[int]:
    return [getattr(report, name) for name in _COUNTS]
