"""From when on a run asks, and where that leaves the watermark: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from limio_async.sync_jobs.events import Mode
from limio_async.sync_jobs.rows import Summary
from limio_async.sync_jobs.streams import Stream

__all__ = ["arguments", "asked_since", "earlier", "is_old", "newest", "now", "watermark"]

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return this moment, in UTC."""
    return datetime.now(UTC)


def asked_since(
    mode: Mode, reach: datetime | None, *, since: datetime | None, overlap: timedelta
) -> datetime | None:
    """The time before which changes are not asked for; a full run asks for everything.

    *reach* is the time until which all changes are known, *since* the one that the caller wants instead
    (without a zone, UTC).
    """
    if mode == "full":
        return None
    if since is not None:
        return since if since.tzinfo else since.replace(tzinfo=UTC)
    return earlier(reach, overlap) if reach is not None else None


def arguments(stream: Stream, since: datetime | None) -> dict[str, Any]:
    """The arguments of its list for what has changed since; `created_after` is one that must be given."""
    args = dict(stream.args)
    if stream.newer_than and since is not None:
        args[stream.newer_than] = since
    elif stream.newer_than == "created_after":
        args["created_after"] = _EARLIEST
    return args


def is_old(summary: Summary, since: datetime | None) -> bool:
    """Whether an item says itself that it has not changed since; one that tells nothing never does."""
    return since is not None and summary.last_change is not None and summary.last_change < since


def newest(known: datetime | None, time: datetime | None, *, until: datetime) -> datetime | None:
    """The later of the two; a *time* after *until* tells nothing: its clock is wrong, or the walk may have missed others."""
    if time is None or time > until or (known is not None and time <= known):
        return known
    return time


def watermark(
    began: datetime, newest: datetime | None, *, before: datetime | None, since: datetime | None
) -> datetime | None:
    """Before when all changes were seen: not after the walk began, lest one be missed that came meanwhile."""
    if before is not None and since is not None and since > before:
        return before  # nobody has asked for what lies between
    reached = min(began, newest) if newest else None
    return max((one for one in (reached, before) if one is not None), default=None)


def earlier(moment: datetime, duration: timedelta) -> datetime:
    """The moment that lies *duration* before *moment*, or the first that there is."""
    return moment - min(duration, moment - datetime.min.replace(tzinfo=UTC))
