"""How far a list was walked, and its pages on their way from there to the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint
from limio_async.core.wire import UNDECODABLE
from limio_async.sync_jobs.events import Tally
from limio_async.sync_jobs.packing import unpack
from limio_async.sync_jobs.rows import Item, child_key, summary_of

__all__ = ["Noted", "Page", "SavedWalk", "SpooledPage", "in_pages", "items_of", "walk_in"]


class SavedWalk(Tally, kw_only=True):
    """How far a stream's list was walked; saved with each page."""

    run: str
    started: datetime
    ended: bool = False
    """Whether the end was reached."""
    miscounted: str | None = None
    """Why the list is not whole though its end was reached; None where nothing tells so."""
    checkpoint: Checkpoint | None = None
    """Where the walk can be resumed; None where it has to begin at the top."""
    after: str = ""
    """The last object whose children were listed."""
    parents: int = 0
    """Objects whose children were asked for, each once."""
    parent_run: str = ""
    """The run whose objects these are children of; empty where it did not list all of them."""
    newest: datetime | None = None
    """The latest change that an item told of and that lies before the walk began."""

    def count_page(self, items: Sequence[bytes], *, pages: int = 1) -> None:
        """Count what came in a page, or in several."""
        self.pages += pages
        self.listed += len(items)
        self.received += sum(map(len, items))

    def begun(self) -> SavedWalk:
        """Return this walk as it was before its first page."""
        return SavedWalk(
            run=self.run, started=self.started, parent_run=self.parent_run, restarts=self.restarts
        )


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What came in one answer, or belongs to one parent."""

    items: Sequence[bytes]
    walk: SavedWalk
    """As it stands behind this page."""
    head: Mapping[str, Any] | None = None
    """What its answer said beside the items."""
    parent: str | None = None
    """The object that the items are children of."""
    refusal: str | None = None
    """Why the children of `parent` could not be had; None where they could."""
    since: datetime | None = None
    """What says itself that it has not changed since is only noted as seen."""

    @property
    def size(self) -> int:
        """Bytes of items."""
        return sum(map(len, self.items))


class SpooledPage(msgspec.Struct, frozen=True):
    """Items that wait for the target in the job's state."""

    seq: int
    packed: bytes
    head: Any
    parent: str | None
    refusal: str | None = None
    """Why the children of `parent` could not be had; None where they could."""
    walk: str | None = None
    """The walk behind this page, as JSON; None where an older release spooled it."""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a page, or of several, in the job's state."""

    seq: int
    """The number of the last page."""
    seen: int
    """Different items that the walk has seen until now."""
    walk: str
    """The walk behind the last page, as JSON."""
    fresh: Sequence[Item] = ()
    """The items that the target has to be told of."""
    spooled: int = 0
    """Bytes that now wait in the state for the target."""


def walk_in(told: object) -> SavedWalk | None:
    """Return the walk that a target or a state keeps as JSON; None where there is none that this release can read."""
    try:
        return msgspec.json.decode(told, type=SavedWalk) if isinstance(told, str | bytes) else None
    except UNDECODABLE:
        return None


def items_of(page: SpooledPage) -> Iterator[Item]:
    """Yield the items of a page."""
    for raw in unpack(page.packed):
        summary = summary_of(raw)
        yield Item(raw, child_key(summary.id, page.parent), page.head or {}, page.parent, summary.content)


def in_pages(batch: Sequence[SpooledPage], delivered: int) -> Iterator[tuple[Item, int]]:
    """Yield the items of a batch, each with the last page that ends with it or before it."""
    for page in batch:
        items = [*items_of(page)]
        yield from ((item, delivered) for item in items[:-1])
        delivered = page.seq
        yield from ((item, delivered) for item in items[-1:])
