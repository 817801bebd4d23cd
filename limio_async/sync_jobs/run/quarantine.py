"""What of a stream is in quarantine, and since when; all of it in the sink's thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from limio_async.sync_jobs.ledger import QUARANTINED, in_quarantine, quarantine_id
from limio_async.sync_jobs.run.progress import Progress
from limio_async.sync_jobs.sink import Condition

__all__ = ["held_back", "in_walk", "quarantined", "refused_before"]


def quarantined(progress: Progress) -> list[str]:
    """Return the ids of the items that this walk has put into quarantine to stay."""
    return [one for one in in_walk(progress) if one not in progress.well_again]


def refused_before(progress: Progress) -> dict[str, Mapping[str, Any]]:
    """Return what of a stream was in quarantine before this walk, by its ids."""
    return {row["item_id"]: row for row in held_back(progress) if progress.is_earlier(row)}


def in_walk(progress: Progress) -> Iterator[str]:
    """Yield the ids of a stream that this walk has put into quarantine."""
    rows = held_back(progress, Condition("run", "=", progress.report.run))
    return (row["item_id"] for row in rows if not progress.is_earlier(row))


def held_back(progress: Progress, *where: Condition) -> Iterator[Mapping[str, Any]]:
    """Yield what is in quarantine of a stream's table."""
    of_stream = Condition("stream", "=", progress.stream.name)
    rows = in_quarantine(progress.context.sink.rows(QUARANTINED, [of_stream, *where]))
    own = quarantine_id(progress.report, "")  # the end of one that is long is not kept
    return (row for row in rows if row["id"].startswith(own))
