"""Where a run begins: at the top, or where an earlier run left off. What the target says counts, not the job's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from limio_async.drift.findings import carried
from limio_async.sync_jobs.events import StreamReport
from limio_async.sync_jobs.ledger import DRIFT, RUNS, STREAMS, report_of, run_id
from limio_async.sync_jobs.run.progress import Progress, adopt
from limio_async.sync_jobs.sink import Change, Column, Condition, Table
from limio_async.sync_jobs.times import arguments
from limio_async.sync_jobs.walk import SavedWalk, walk_in

__all__ = ["begin"]


async def begin(progress: Progress, *, left: Callable[[str], StreamReport | None]) -> None:
    """Resume the walk that was left, if the target knows it just as well; *left* finds the report of a run that it knows."""
    context, spool, name = progress.context, progress.context.spool, progress.stream.name
    bound, fresh = _bound(progress), progress.walk
    if (first := left(fresh.run)) is not None:
        progress.add_to(first)
    walk, seen, forgotten = await context.in_spool(lambda: spool.begin(name, bound, fresh))
    if walk is not fresh:
        report, position = left(walk.run), None
        if report is not None:
            position = await context.in_sink(lambda: _told(progress, report))
        last = await context.in_spool(spool.last_page)
        if report is None or not _can_resume(progress, report, forgotten, last):
            await context.in_spool(lambda: spool.drop(name))
            await context.in_spool(lambda: spool.begin(name, bound, fresh))
        else:
            progress.position = position
            await _resume(progress, walk, report, seen)
    if progress.choices.mode == "incremental":
        deleted = await context.in_sink(lambda: [*_deleted(progress)])
        await context.in_spool(lambda: spool.expect(name, deleted))
    await context.in_sink(lambda: _load_drift(progress))
    progress.waiting = await context.in_spool(lambda: spool.waiting(name, progress.report.delivered))
    progress.note()
    await context.in_sink(lambda: _remember(progress))


def _bound(progress: Progress) -> str:
    """What a walk must have been begun with to be gone on with."""
    args, begun, choices = arguments(progress.stream, progress.since), progress.begun, progress.choices
    chosen = (choices.mode, choices.hydrate, sorted(args.items()), progress.since)
    digest = progress.reader.drift.digest
    return repr((*chosen, digest, progress.stream.endpoint.path, *filter(None, [begun.prepared.salt])))


async def _resume(progress: Progress, walk: SavedWalk, report: StreamReport, seen: int) -> None:
    context, spool, name = progress.context, progress.context.spool, progress.stream.name
    position = walk_in(progress.position)
    rewound = await context.in_spool(lambda: spool.rewind(name, report.delivered, position))
    walk = rewound or walk
    if not (walk.ended or walk.checkpoint or progress.stream.parent):
        # from the top: what is gone since then must not count as seen
        await context.in_spool(lambda: spool.restart(name, walk))
        seen = 0
    progress.resume(walk, report, seen)


def _can_resume(progress: Progress, left: StreamReport, forgotten: int, last: int) -> bool:
    begun = progress.begun
    if left.complete and not begun.is_parent:
        return False  # it had ended, and nobody waits for its objects
    if left.written and left.run != begun.run and not begun.prepared.has_rows:
        return False  # what it wrote is gone; this job has looked before it wrote any
    return forgotten <= left.delivered <= last  # else one of them is older than the other


# --- in the sink's thread


def _told(progress: Progress, left: StreamReport) -> str | None:
    """Bring the report of a run up to what the target says of it, and return its walk behind the last page there."""
    own = run_id(left.run, progress.stream.name)
    for row in progress.context.sink.rows(RUNS, [Condition("id", "=", own)]):
        adopt(left, report_of(row))
        walk: str | None = row["walk"]
        return walk
    return None


def _load_drift(progress: Progress) -> None:
    found = progress.context.sink.rows(DRIFT, [Condition("stream", "=", progress.stream.name)])
    rows = [row for row in found if row["id"].startswith(f"{progress.report.table_name}/")]
    progress.reader.drift.load(carried(rows, run=progress.report.run, same=progress.drift_is_known))


def _deleted(progress: Progress) -> Iterator[str]:
    ids = Table(name=progress.report.table_name, columns=(Column("id"), Column("deleted_at", "time")))
    return (row["id"] for row in progress.context.sink.rows(ids, [Condition("deleted_at", "set")]))


def _remember(progress: Progress) -> None:
    report = progress.report
    changes = [Change(RUNS, [progress.row(report)]), Change(STREAMS, [progress.remembered()])]
    progress.context.sink.apply(changes)
