"""What a run asks a list for: only what has changed where the tenant's filter hides nothing, else everything.

What `opt.modifiedAfter` filters on is not documented, and a search index leaves out documents that lack the field it
filters on. So a run that would filter first asks for one item twice, with and without a filter that every item passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from limio_async.client import Limio
from limio_async.core.listing import Report
from limio_async.errors import ApiError, TooManyRequests, Unauthorized, Unreadable
from limio_async.sync_jobs.events import Mode
from limio_async.sync_jobs.streams import Stream
from limio_async.sync_jobs.times import arguments

__all__ = ["Asking", "asking", "timeless"]

_EVERY_ITEM = "1970-01-01T00:00:00Z"
_REBUILT = "the catalog was rebuilt while the tenant was asked"

Note = Callable[[Report], object]


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks a list for, and what of the answer it leaves alone."""

    args: Mapping[str, Any]
    """The arguments of the list."""
    passes: datetime | None = None
    """What says itself that it has not changed since is left alone; None: nothing is."""
    unfiltered: str | None = None
    """Why the list is asked for everything though it has a filter; None where it is not."""


class _Told(msgspec.Struct, frozen=True):
    """What a tenant tells of how long a list is."""

    hits: int | None
    """None where it does not tell exactly."""
    snapshot: tuple[str | None, str | None]
    """Commit and index; None what it does not tell."""


async def asking(
    limio: Limio, stream: Stream, since: datetime | None, *, chosen: datetime | None, note: Note
) -> Asking:
    """Find out what to ask for to get what has changed since. Raises what a list raises.

    *since* is None where everything is asked for. *chosen* is the time that the caller named, if any: where the filter
    cannot be used, items that say themselves that they are older are left alone. *note* is told the reports of
    the requests that this takes.
    """
    if since is None or stream.by_creation:
        return Asking(args=arguments(stream, since))
    if stream.newer_than is None:
        return Asking(args=arguments(stream, None), passes=since)
    hidden = await _hidden(limio, stream, note)
    if hidden is None:
        return Asking(args=arguments(stream, since))
    return Asking(args=arguments(stream, None), passes=since if chosen else None, unfiltered=hidden)


def timeless(
    stream: Stream, mode: Mode, since: datetime | None, *, items: int, latest: datetime | None
) -> str | None:
    """Why a list that has a filter was asked for everything and will be the next time, where that is for its items.

    *latest* is the latest change that one of *items* items told of.
    """
    can_filter = mode != "full" and stream.newer_than == "modified_after"
    none_tells = since is None and items and latest is None
    return "no item tells when it was changed" if can_filter and none_tells else None


async def _hidden(limio: Limio, stream: Stream, note: Note) -> str | None:
    """Why the filter of a list cannot be trusted; None where it hides no item."""
    for _ in range(2):
        everything = await _asked(limio, stream, {}, note)
        try:
            filtered = await _asked(limio, stream, {stream.newer_than or "": _EVERY_ITEM}, note)
        except (ApiError, Unreadable) as error:
            if isinstance(error, Unauthorized | TooManyRequests):
                raise
            return f"the tenant refuses the filter ({error})"
        if not _rebuilt(everything, filtered):
            return _verdict(everything.hits, filtered.hits)
    return _REBUILT


def _rebuilt(before: _Told, after: _Told) -> bool:
    """Whether two answers are not about one catalog."""
    grown = before.hits is not None and after.hits is not None and after.hits > before.hits
    return grown or any(
        None not in {one, other} and one != other
        for one, other in zip(before.snapshot, after.snapshot, strict=True)
    )


def _verdict(everything: int | None, filtered: int | None) -> str | None:
    if everything is None or filtered is None:
        return "the tenant does not tell how many items there are"
    if everything == filtered:
        return None
    return f"the filter hides {everything - filtered:,} of {everything:,} items"


async def _asked(limio: Limio, stream: Stream, filters: Mapping[str, Any], note: Note) -> _Told:
    """Ask for one page of one item, by which no scroll is opened."""
    endpoint = stream.endpoint
    page = msgspec.structs.replace(endpoint, paging=msgspec.structs.replace(endpoint.paging, always={}))
    listing = limio.listing(
        page, {**stream.args, **filters}, page_size=stream.page_size(1), verify="off"
    ).raw()
    try:
        first = await listing
    finally:
        note(listing.report)
    index = first.read(dict[str, Any]).get("indexName")
    return _Told(
        first.hits if listing.report.exact else None,
        (first.commit_id, index if isinstance(index, str) else None),
    )
