"""The values that a listing hands out: a page, a bad item, the report."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from limio_async.core.codec import decode_as
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.tolerant import mended, readable
from limio_async.core.torn import without_torn
from limio_async.core.wire import Attempt
from limio_async.errors import Unreadable

__all__ = ["BadItem", "Page", "Report", "Tally"]

T = TypeVar("T")
S = TypeVar("S")


class BadItem(msgspec.Struct, frozen=True, kw_only=True):
    """Stands for an item that could not be decoded, where the caller asked for it."""

    raw: bytes
    """The exact bytes."""
    reason: str
    """What is wrong, and where in the item."""


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a listing."""

    items: list[T]
    number: int
    """1 for the first."""
    hits: int | None
    """How many items the whole listing has, where the answer says so."""
    commit_id: str | None = None
    """The catalog's snapshot: a commit, or an epoch in milliseconds."""
    cursor: Cursor | None = None
    """Where the next page starts; None if the answer holds none."""
    body: bytes = b""
    """The exact answer."""
    attempts: tuple[Attempt, ...] = ()
    """What it took to get it, oldest first."""

    def read(self, kind: type[S]) -> S:
        """Return the whole answer as *kind*, for what it holds besides items.

        Half surrogates are U+FFFD, and an item that cannot be decoded is null.
        """
        try:
            return decode_as("page", self.body, kind)
        except Unreadable:
            text = readable(without_torn(mended(self.body)))
        try:
            return decode_as("page", text, kind)
        except Unreadable as error:
            error.status = self.attempts[-1].status if self.attempts else None
            raise


class Tally:
    """What a walk counts beside what its verdict needs."""

    pages = restarts = duplicates = undecodable = 0
    hits: int | None = None
    exact = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk has done so far."""

    operation: str
    pages: int
    items: int
    """Handed out by this walk and, where it was resumed, by the walk before."""
    hits: int | None
    """Items that the server promised; None where it does not say."""
    exact: bool
    """Whether `hits` is a count and not a lower bound."""
    sent: int
    """Items that the server sent since the walk last began at the top; with `unique=True`, different ones."""
    duplicates: int
    """Items dropped because their id had come before; counted with `unique=True` and after a restart."""
    repeated: int
    """Items of pages that came twice, at any time of the walk: as many others may be missing."""
    gone: int
    """Items that did not come again, on a restart or resume, where they had been handed out: the list has changed."""
    undecodable: int
    """Items that could not be decoded and were skipped or yielded as `BadItem`."""
    requests: int
    """Requests on the wire, resends included."""
    retries: int
    """Those of them that were resends."""
    restarts: int
    """How often the walk began again at the top."""
    ended: bool
    """Whether the walk came to the list's end."""
    commit_ids: tuple[str, ...]
    """Snapshots seen, restarts and the walk before included; more than one means the index was rebuilt."""

    @property
    def complete(self) -> bool:
        """Whether the end was reached, all on one snapshot, with as many items as promised and no page twice."""
        return self.ended and self.counted_right and not self.gone and len(self.commit_ids) <= 1

    @property
    def counted_right(self) -> bool:
        """Whether as many items came as `hits` promised, or at least as many where it is a lower bound."""
        if self.repeated:
            return False
        return self.hits is None or (self.sent == self.hits if self.exact else self.sent >= self.hits)
