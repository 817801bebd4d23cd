"""The end of a stream's run: the verdict, deletions, what leaves the quarantine, and the watermark."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import chain
from time import perf_counter

import msgspec

from limio_async.core.listing.repeats import is_named
from limio_async.core.splitter import is_json
from limio_async.sync_jobs.asking import timeless
from limio_async.sync_jobs.events import Status, StreamReport
from limio_async.sync_jobs.ledger import (
    DRIFT,
    QUARANTINE,
    QUARANTINED,
    RUNS,
    STREAMS,
    in_quarantine,
)
from limio_async.sync_jobs.rows import parent_of
from limio_async.sync_jobs.run.drain import children_ids
from limio_async.sync_jobs.run.progress import Progress
from limio_async.sync_jobs.run.quarantine import held_back, in_walk
from limio_async.sync_jobs.sink import Change, Condition, Unseen
from limio_async.sync_jobs.times import now, watermark

__all__ = ["Settle", "allowance", "judged"]

FEW = 10
MOST_QUARANTINED = 0.2
_PARENTS_AT_ONCE = 500


def allowance(most: float | None, *, seen: int) -> Callable[[int, int], bool]:
    """Return what decides whether so many of the live rows may be soft-deleted: called with live and unseen.

    *most* is a share; 10 rows are always few, except where the list came empty.
    """

    def allows(live: int, unseen: int) -> bool:
        return most is None or unseen <= max(most * live, FEW if seen else 0)

    return allows


def judged(progress: Progress, odd: Collection[str]) -> tuple[Status, str | None]:
    """Return how a run ended whose parts have all come to their end, and why it is not complete.

    *odd* are the ids that it has put into quarantine to stay.
    """
    report, walk, parent = progress.report, progress.walk, progress.begun.parent
    if not (walk.ended and progress.emptied):
        return "interrupted", None
    if report.missing:
        return "incomplete", f"{report.missing:,} could not be had; the next run asks for them again"
    if walk.miscounted:
        return "incomplete", walk.miscounted
    if walk.expected not in {None, report.seen} and progress.species.promises:
        return "incomplete", f"{report.seen:,} different items came, {report.expected:,} were promised"
    refused = sum(parent_of(one) is not None for one in odd) if parent else 0
    for kind, count, well in (
        ("items", len(odd) - refused, report.written + report.passed),
        (progress.stream.parent, refused, max(0, walk.parents - refused)),
    ):
        if too_many_odd(count, well, asked_for_all=progress.since is None):
            of = f"{count:,} of {count + well:,} {kind}"
            return "incomplete", f"{of} are in quarantine, more than {MOST_QUARANTINED:.0%}"
    if parent and not parent.complete:
        return "incomplete", f"{progress.stream.parent} is not complete"
    return "complete", None


def too_many_odd(odd: int, well: int, *, asked_for_all: bool) -> bool:
    """Return whether so many items in quarantine say more of the list than of the items.

    10 are always few, except where all of a whole list are odd: of a few changes, all may be.
    """
    return odd > (max(MOST_QUARANTINED * (odd + well), FEW) if well or not asked_for_all else 0)


class Settle:
    """Ends a run, in the sink's thread; every part may be called again where the target broke off."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._broke_off = False

    def end(self) -> None:
        """Soft-delete what is gone and publish the table, where the list was walked to its end; remember the run."""
        progress, report = self._progress, self._progress.report
        if self._broke_off and (stored := progress.stored()) is not None:
            progress.adopt(stored)  # rows may have been soft-deleted though the answer was lost
        self._broke_off, begun = True, perf_counter()
        deletions_withheld = False
        if report.complete and progress.choices.mode == "full":
            deletions_withheld = not self._delete_unseen()
        if report.complete:
            self._release()
        if report.complete or deletions_withheld:
            progress.context.sink.publish(progress.reader.table)
        report.write_seconds += perf_counter() - begun
        self._remember()

    def _delete_unseen(self) -> bool:
        progress, report = self._progress, self._progress.report
        most = None if report.stream in progress.choices.mass_delete else progress.choices.most_deleted
        after = report

        def remembered(found: Unseen) -> list[Change]:
            nonlocal after
            deleted = report.deleted + found.deleted
            after = msgspec.structs.replace(report, deleted=deleted, status="running")  # not published yet
            return [Change(RUNS, [progress.row(after)])]

        odd, parent = {*in_walk(progress)} - progress.well_again, progress.begun.parent
        if parent is None:
            unnamed = len(self._torn(report, odd))
        else:
            unnamed = len(self._torn(parent, self._odd_parents(parent)))
        found = progress.context.sink.mark_unseen(
            progress.reader.table,
            chain(progress.context.spool.seen_ids(report.stream), [*self._kept_for_refusals(odd)]),
            deleted_at=now(),
            allows=allowance(most, seen=report.seen) if not unnamed else lambda live, unseen: False,
            then=remembered,
        )
        progress.adopt(after)
        if found.kept:
            report.status = "incomplete"
            report.error = f"{found.kept:,} rows that are gone could not be marked: a trigger or a rule of the target kept them"
            return False
        if found.unseen == found.deleted:
            return True
        if unnamed:  # any of them may be what was not seen
            report.error = (
                f"{found.unseen:,} rows were not seen: none was soft-deleted, as the id of what is in quarantine of"
                f" {progress.stream.parent or report.stream} cannot be read ({unnamed:,})"
            )
            return True
        report.status = "incomplete"
        report.error = (
            f"{found.unseen:,} of {found.live:,} rows were not seen, more than {most or 0:.0%}: none was soft-deleted;"
            f" allow it with --allow-mass-delete-of {report.stream} if so many are really gone"
        )
        return False

    def _torn(self, of: StreamReport, keys: Collection[str]) -> set[str]:
        """Return those of *keys* in quarantine that are no JSON and have no id that can be read: any row may be theirs.

        What is JSON and has no id is no row's.
        """
        unnamed = {key for key in keys if not is_named(key.rpartition("/")[2] or key)}
        own = [Condition("stream", "=", of.stream), Condition("run", "=", of.run)]
        rows = self._progress.context.sink.rows(QUARANTINE, own) if unnamed else iter(())
        return {row["item_id"] for row in rows if row["item_id"] in unnamed and not is_json(row["raw"])}

    def _odd_parents(self, parent: StreamReport) -> set[str]:
        """Return the keys of the objects that are in quarantine since their list was walked before this one."""
        sink = self._progress.context.sink
        own = [Condition("stream", "=", parent.stream), Condition("run", "=", parent.run)]
        rows = in_quarantine(sink.rows(QUARANTINED, own))
        return {row["item_id"] for row in rows if row["quarantined_at"] >= parent.started}

    def _kept_for_refusals(self, odd: Collection[str]) -> Iterator[str]:
        """Yield the rows of the parents whose children could not be had in this run, or not by their id."""
        progress, sink = self._progress, self._progress.context.sink
        if progress.stream.parent is None:
            return
        torn = self._torn(progress.report, odd)
        told = (key.partition("/") for key in odd)
        doubtful = {f"{parent}/" for parent, _, child in told if not child or f"{parent}/{child}" in torn}
        refused = [one for one in map(parent_of, doubtful) if one is not None]
        for at in range(0, len(refused), _PARENTS_AT_ONCE):
            yield from children_ids(sink, progress.reader.table, refused[at : at + _PARENTS_AT_ONCE])

    def _release(self) -> None:
        """Take out of quarantine what this run has found well, or gone."""
        progress, sink, name = self._progress, self._progress.context.sink, self._progress.stream.name
        rows = [*held_back(progress)]
        old = {row["item_id"] for row in rows if progress.is_earlier(row)}
        if old and progress.choices.mode != "full":  # which has looked at every item there is
            old = {one for one in progress.context.spool.seen_ids(name, changed=True) if one in old}
        gone = {
            row["id"]
            for row in rows
            if row["item_id"] in progress.well_again or (row["item_id"] in old and progress.is_earlier(row))
        }
        if gone:
            kept = [row["id"] for row in sink.rows(QUARANTINED) if row["id"] not in gone]
            sink.mark_unseen(QUARANTINE, kept, deleted_at=now(), allows=lambda live, unseen: True)

    def _remember(self) -> None:
        progress, report, walk = self._progress, self._progress.report, self._progress.walk
        if report.complete:
            parent = progress.begun.parent
            newest = parent.watermark if parent else walk.newest
            report.watermark = watermark(
                walk.started, newest, before=progress.begun.watermark, since=progress.since
            )
            report.unfiltered = report.unfiltered or timeless(
                progress.stream,
                progress.choices.mode,
                progress.since,
                items=walk.listed,
                latest=walk.newest,
            )
        report.ended = now()
        progress.context.sink.apply(
            [
                Change(RUNS, [progress.row(report)]),
                Change(STREAMS, [progress.remembered()]),
                Change(DRIFT, progress.drift()),
            ]
        )
