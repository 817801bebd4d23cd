"""What the caller of a listing may choose, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, TypedDict

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint
from limio_async.core.wire import ListEndpoint
from limio_async.errors import InvalidArgument

__all__ = ["ListOptions", "Options", "Verify", "checked"]

_LONGEST = 2.0**32  # seconds

Verify = Literal["raise", "warn", "off"]
"""What a walk does about missing items or a changed catalog."""


class ListOptions(TypedDict, total=False):
    """What every listing takes besides its own arguments."""

    page_size: int | None
    """Items per page, whatever the wire calls it; an answer must stay under 6 MB."""
    read_ahead: int
    """Pages fetched while the caller works on one: 1 (the default, from the second page on) or 0."""
    resume: Checkpoint | str | bytes | None
    """Where an earlier walk with the same arguments stood."""
    follow: Checkpoint | str | bytes | None
    """A walk that came well to its end: what was created since. Only lists of objects can be followed."""
    overlap: float | timedelta
    """How late an item may appear and still be found by whoever follows: seconds or a timedelta, 5 minutes by default."""
    verify: Verify
    """What a walk does that ends short of `hits` or sees the catalog change: `raise` (default), `warn`, `off`."""
    timeout: float | None
    """Seconds for each page."""
    unique: bool
    """Drop items whose id came before, and count them; some 100 bytes of memory and a look-up for each item."""
    on_bad_item: Literal["raise", "skip", "yield"]
    """An item that cannot be decoded: `raise` (default), `skip` and count it, `yield` a `BadItem` in its place."""
    on_ambiguous: Literal["raise", "restart"]
    """A page of a scroll that was lost on its way: `raise` (default), or walk again from the top and pass over
    what was handed out."""
    on_snapshot_change: Literal["raise", "restart"]
    """A catalog that is rebuilt meanwhile: `raise` (default), or walk again and pass over what was handed out,
    by id; 8 bytes of memory for each item. Such a walk holds items of two catalogs and is never complete."""
    restarts: int
    """How often a walk may begin again at the top (default 2); after an expired scroll it does so by itself."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`ListOptions`, with their defaults."""

    page_size: int | None = None
    read_ahead: int = 1
    resume: Checkpoint | str | bytes | None = None
    follow: Checkpoint | str | bytes | None = None
    overlap: float | timedelta = 300.0
    verify: Verify = "raise"
    timeout: float | None = None
    unique: bool = False
    on_bad_item: Literal["raise", "skip", "yield"] = "raise"
    on_ambiguous: Literal["raise", "restart"] = "raise"
    on_snapshot_change: Literal["raise", "restart"] = "raise"
    restarts: int = 2

    @property
    def reach(self) -> float:
        """The overlap in seconds."""
        return self.overlap.total_seconds() if isinstance(self.overlap, timedelta) else self.overlap


def checked(options: Options, endpoint: ListEndpoint[Any]) -> Options:
    """Return *options* if *endpoint* can keep them. Raises `InvalidArgument`."""
    wrong = ""
    summary, can_follow = endpoint.paging.species.summary, endpoint.paging.species.durable
    if options.read_ahead not in {0, 1}:
        wrong = "read_ahead is 0 or 1"
    elif options.restarts < 0:
        wrong = "restarts is at least 0"
    elif options.page_size is not None and options.page_size < 1:
        wrong = "page_size is at least 1"
    elif options.page_size is not None and endpoint.paging.page_size is None:
        wrong = "answers in one page, it takes no page_size"
    elif options.follow is not None and not can_follow:
        wrong = f"is {summary} and cannot be followed: only lists of objects can"
    elif options.follow is not None and options.resume is not None:
        wrong = "takes either resume or follow"
    elif not 0 <= options.reach < _LONGEST:
        wrong = "overlap is at least 0 seconds"
    if wrong:
        raise InvalidArgument(wrong, operation=endpoint.operation)
    return options
