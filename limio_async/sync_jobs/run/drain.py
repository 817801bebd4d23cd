"""Spool → target: delivers what waits, batch by batch, objects fetched whole on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from time import perf_counter
from typing import Any

import msgspec

from limio_async.errors import LimioError
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.ledger import (
    DRIFT,
    QUARANTINE,
    RUNS,
    drift_row,
    quarantine_row,
    run_row,
)
from limio_async.sync_jobs.packing import unpack
from limio_async.sync_jobs.refusals import concerns
from limio_async.sync_jobs.rows import Item, child_key, summary_of
from limio_async.sync_jobs.run.fill import MOST_ASKED_AGAIN
from limio_async.sync_jobs.run.progress import Progress, in_walk, refused_before
from limio_async.sync_jobs.sink import Change, Column, Condition, Row, Sink, Table, Written
from limio_async.sync_jobs.spool import SpooledPage
from limio_async.sync_jobs.times import now

__all__ = ["BATCH_BYTES", "BATCH_ITEMS", "HYDRATED_AT_ONCE", "Drain"]

BATCH_ITEMS = 5_000
BATCH_BYTES = 4 * 1024 * 1024
HYDRATED_AT_ONCE = 500

_Lost = tuple[Item, LimioError]
_COUNTS = ("inserted", "updated", "unchanged", "quarantined", "delivered")


class _Fetched(msgspec.Struct, frozen=True):
    """What came of fetching objects whole."""

    whole: list[Item]
    lost: list[_Lost]
    decided: int
    """How many of them need no other look; all, unless it was stopped."""
    failed: LimioError | None = None
    """What stopped it."""


class Drain:
    """Delivers until all is in the target, or until the job shall stop."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._later: dict[str, Item] = {}  # what could not be had just then
        self._refused: set[str] = set()  # before the run was resumed
        self._attempted = progress.report  # as it is once the last write has taken effect

    async def run(self) -> None:
        """Do it."""
        progress, stopping = self._progress, self._progress.context.stopping
        if progress.hydrates and progress.report.quarantined:
            self._refused = {*await progress.context.in_sink(lambda: [*in_walk(progress)])}
        while not stopping.is_set():
            progress.more.clear()  # before the spool is asked: a last page may come meanwhile
            over = progress.over
            batch = await self._next_batch()
            if batch:
                await self._deliver(batch)
            elif over:
                await self._ask_again()
                progress.emptied = not stopping.is_set()
                break
            else:
                await progress.more.wait()
        progress.less.set()

    async def _next_batch(self) -> list[SpooledPage]:
        progress = self._progress
        items = HYDRATED_AT_ONCE if progress.hydrates else BATCH_ITEMS
        name, after = progress.stream.name, progress.report.delivered
        return await progress.in_spool(
            lambda: progress.context.spool.next_batch(name, after, items=items, size=BATCH_BYTES)
        )

    async def _deliver(self, batch: list[SpooledPage]) -> None:
        """Write a batch. Where fetching its objects is stopped, write what is known, keep the rest, and raise why."""
        progress, spool, name = self._progress, self._progress.context.spool, self._progress.stream.name
        lost: list[_Lost] = []
        items: Iterable[Item] = chain.from_iterable(map(_items, batch))  # split in the sink's thread
        rest: Sequence[msgspec.Raw] = ()
        failed: LimioError | None = None
        if progress.hydrates:
            fetched = await progress.until_stopped(self._whole(items))
            if fetched is None:
                return
            items, lost, failed = fetched.whole, fetched.lost, fetched.failed
            batch, rest = _split(batch, fetched) if failed else (batch, rest)
        parents = {page.parent: page.refusal for page in batch if page.refusal and page.parent is not None}
        last = batch[-1].seq if batch else progress.report.delivered
        await self._write(items, lost, parents, last)
        await progress.in_spool(lambda: spool.forget(name, last, rest=rest))
        progress.waiting -= sum(len(page.packed) for page in batch)
        progress.less.set()
        progress.context.tell("written", progress.report)
        if failed is not None:
            raise failed

    async def _whole(self, summaries: Iterable[Item]) -> _Fetched:
        """Return the objects that these are summaries of, and those that could not be had."""
        walk, whole, lost, begun = self._progress.walk, list[Item](), list[_Lost](), perf_counter()
        since: list[_Lost] = []  # the last success
        decided = 0
        failed: LimioError | None = None
        try:
            async with self._progress.source.whole(summaries) as results:
                async for result in results:
                    if result.error is not None:
                        since.append((result.summary, result.error))
                    elif result.full is not None:
                        decided += len(since) + 1
                        lost += since
                        since = []
                        whole.append(msgspec.structs.replace(result.summary, raw=result.full))
        except LimioError as error:
            failed = error  # what was refused since is asked for again
            since = [one for one in since if concerns(one[1]) != "later"]
        walk.network_seconds += perf_counter() - begun
        return _Fetched(whole, lost + since, decided, failed)

    async def _ask_again(self) -> None:
        """Fetch once more what could not be had just then, and what earlier runs could not have; at most 1,000 objects."""
        progress, spool, name = self._progress, self._progress.context.spool, self._progress.stream.name
        if not progress.hydrates:
            return
        later, self._later = self._later, {}
        items = [*later.values()]
        if progress.choices.mode != "full":  # which has asked for all of them
            ids = await progress.context.in_sink(lambda: [*refused_before(progress)])
            seen = await progress.in_spool(lambda: spool.known(name, ids, changed=True))
            items += [Item(b"null", one) for one in ids if one not in seen and one not in later]
        items = items[:MOST_ASKED_AGAIN]
        fetched = await progress.until_stopped(self._whole(items)) if items else None
        if fetched is None:
            return
        had = {one.id for one in fetched.whole}
        progress.walk.missing -= sum(one in had for one in later)
        await self._write(fetched.whole, [], {}, progress.report.delivered)
        progress.well_again |= had
        if fetched.failed is not None:
            raise fetched.failed

    async def _write(
        self,
        items: Iterable[Item],
        lost: Sequence[_Lost],
        parents: Mapping[str, str],
        last: int,
    ) -> None:
        """Write a batch and what is remembered of it."""
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
            self._apply(made[0], last)

        before = _counts(progress.report)
        await progress.in_sink(
            work, is_done=lambda stored: before != _counts(stored) == _counts(self._attempted)
        )

    # --- in the sink's thread

    def _read(self, items: Iterable[Item], lost: Sequence[_Lost], parents: Mapping[str, str]) -> _Rows:
        begun, at = perf_counter(), now()
        progress, sink, reader = self._progress, self._progress.context.sink, self._progress.reader
        rows: list[Row] = []
        stale: list[str] = [item.id for item, _ in lost]
        bad = [self._bad(item.id, str(error), item.raw, at) for item, error in lost]
        for parent, said in parents.items():
            bad.append(self._bad(child_key("", parent), said, b"", at))
            stale += children_ids(sink, reader.table, [parent])
        for item in items:
            row = reader.row(item)
            reason = row if isinstance(row, str) else sink.refusal(reader.table, row)
            if isinstance(row, str) or reason:
                bad.append(self._bad(item.id, str(reason), item.raw, at))
                stale.append(item.id)
            else:
                rows.append(row)
                if item.id in self._refused:
                    progress.well_again.add(item.id)
        drift = [
            drift_row(one, progress.report.run, progress.report.stream) for one in reader.drift.findings()
        ]
        return _Rows(rows, bad, stale, drift, at, perf_counter() - begun)

    def _apply(self, made: _Rows, last: int) -> None:
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
                unchanged=progress.report.unchanged + written[0].unchanged,
                quarantined=progress.report.quarantined + len(made.bad) + len(refused),
                decode_seconds=progress.report.decode_seconds + made.seconds,
                write_seconds=progress.report.write_seconds + perf_counter() - begun,
                delivered=last,
                **progress.walk.tally(),
            )
            self._attempted = after
            stale = [] if table.keeps else [row[0] for row in (one.row for one in written[0].refused)]
            return [
                Change(table, [], stale=stale, at=made.at),
                Change(QUARANTINE, refused),
                Change(RUNS, [run_row(after)]),
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
        return quarantine_row(self._progress.report, item_id, reason, bytes(raw), at)


class _Rows(msgspec.Struct, frozen=True):
    """A batch, read."""

    rows: list[Row]
    bad: list[Row]
    stale: list[str]
    drift: list[Row]
    at: datetime
    seconds: float


def children_ids(sink: Sink, table: Table, parents: Collection[str]) -> Iterator[str]:
    """Yield the ids of the rows that a table of children has of these parents."""
    ids = Table(name=table.name, columns=(Column("id"), Column("parent_id")))
    for row in sink.rows(ids, [Condition("parent_id", "in", [*parents])]) if parents else ():
        yield row["id"]


def _counts(report: StreamReport) -> list[int]:
    return [getattr(report, name) for name in _COUNTS]


def _split(batch: Sequence[SpooledPage], fetched: _Fetched) -> tuple[list[SpooledPage], list[msgspec.Raw]]:
    """Return the pages of which every item is decided, and the items of the next one that are not, if others are."""
    left = fetched.decided
    for at, page in enumerate(batch):
        items = unpack(page.packed)
        if len(items) > left:
            return [*batch[:at]], items[left:] if left else []
        left -= len(items)
    return [*batch], []


def _items(page: SpooledPage) -> Iterator[Item]:
    for raw in unpack(page.packed):
        yield Item(raw, child_key(summary_of(raw).id, page.parent), page.head or {}, page.parent)
