"""Whether a walk is complete: what the server promised, which snapshots it sent, which pages came again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from limio_async.core.listing.checkpoint import VERSION, Checkpoint
from limio_async.core.listing.head import Head
from limio_async.core.listing.options import Options
from limio_async.core.listing.place import InHand, Place
from limio_async.core.listing.repeats import LoopGuard, PageBook, Seen
from limio_async.core.wire import Species
from limio_async.errors import CursorLoop, IncompleteListing, ListingError, SnapshotChanged

__all__ = ["Completeness"]

_log = logging.getLogger("limio_async")


class Completeness:
    """What the verdict over a walk needs.

    Snapshots, promises and repeated pages belong to the whole walk: neither a restart nor a resume forgets
    them. The book of pages and the count of items that came twice belong to a *pass*, which begins at the top.
    """

    def __init__(self, operation: str, species: Species, options: Options, at: Checkpoint) -> None:
        self._operation = operation
        self._species = species
        self._options = options
        self.commit_ids = [*at.commit_ids]
        """Snapshots of the pages that were in hand."""
        self.refused: str | None = None
        """The snapshot of a page that was not taken in hand."""
        self.repeated = at.repeated
        """Items of pages that had come before."""
        self.hits, self.exact = at.hits, at.exact
        self.twice = at.twice
        """Items that came twice in this pass, where ids are watched."""
        self.gone = at.gone
        """Items that did not come again where they had been handed out."""
        self._commit_id: str | None = None  # of this pass
        self._book = PageBook(at.pages)
        self._guard = LoopGuard(species, at.cursor)
        self._warned = False

    def begin_pass(self, at: Checkpoint) -> None:
        """Begin again at the top, or at the cursor of *at*: what came until now may come again."""
        self.twice = at.twice
        self._commit_id = None
        self._book = PageBook(at.pages)
        self._guard = LoopGuard(self._species, at.cursor)

    def check(
        self,
        head: Head,
        page: int,
        length: int,
        where: Callable[[], dict[str, Any]],
        *,
        number: int,
        firm: bool,
        by_id: bool,
    ) -> None:
        """Raise where page *number* of a pass repeats the list for ever, or is not of the snapshot that was walked.

        *firm*: items are passed over or were handed out before this pass, so another snapshot is never taken.
        *by_id*: they are told by their ids, so the pass may begin on another one, where the caller wants that.
        """
        if self._guard.sees_a_loop(head.cursor, page, length):
            raise CursorLoop(f"the server repeats itself after page {number - 1}", **where())
        walked = self._commit_id or (self.commit_ids[-1] if self.commit_ids else None)
        if head.commit_id is None or walked is None or head.commit_id == walked:
            return
        restarts = self._options.on_snapshot_change == "restart"
        if number == 1 and by_id and restarts:
            return
        self.refused = head.commit_id
        message = f"the catalog was rebuilt before page {number}: walk again from the top"
        error = SnapshotChanged(message, **where())
        if firm or restarts or self._options.verify == "raise":
            raise error
        if self._options.verify == "warn":
            _log.warning("%s", error)

    def came_again(self, page: int, length: int) -> bool:
        """Return whether a page came before in this pass."""
        return length > 0 and (self._guard.came_back or self._book.came_before(page, length))

    def take(self, head: Head, page: int, length: int, *, twice: int, again: bool, nameless: bool) -> None:
        """Take note of the page that is now in hand: whether it came *again*, and *nameless* where its items have no ids."""
        if head.odd_hits and not self._warned:
            self._warned = True
            _log.warning("%s: hits cannot be read, so a missing item may go unnoticed", self._operation)
        if head.told:
            _log.warning("%s: a page has items, but also says %s", self._operation, head.told)
        if head.commit_id is not None:
            if head.commit_id not in self.commit_ids:
                self.hits = self.hits if not self.commit_ids else None  # what was promised of another catalog
                self.commit_ids.append(head.commit_id)
            self._commit_id = head.commit_id
        if head.hits is not None and (self.hits is None or head.hits >= self.hits):
            self.exact = head.exact or (head.hits == self.hits and self.exact)
            self.hits = head.hits
        self.twice += twice
        if not length:
            return
        if again:
            if nameless and not self._species.never_repeats and not self._guard.came_back:
                _log.warning("%s: a page of items without ids came twice", self._operation)
            else:
                self.repeated += length
        self._book.add(page)

    def facts(self, begun: InHand[Any] | None, *, ended: bool) -> Checkpoint:
        """Return a checkpoint of only what the verdict needs, without the page that is *begun*."""
        in_the_middle = self._species.durable and not ended
        return Checkpoint(
            operation=self._operation,
            digest="",
            items=0,
            version=VERSION,
            twice=self.twice - (begun.twice if begun else 0) if in_the_middle or ended else 0,
            hits=self.hits,
            exact=self.exact,
            commit_ids=tuple(self.commit_ids),
            repeated=self.repeated,
            gone=self.gone,
            pages=self._book.last(but=1 if begun and begun.length else 0) if in_the_middle else (),
        )

    def gone_at(self, place: Place[Any], seen: Seen | None) -> int:
        """Return how many items that were handed out did not come again, as far as is known at a place."""
        return max(self.gone, place.gone(seen, twice=self.twice)) if place.at_end else self.gone

    def fault(self, sent: int, where: dict[str, Any]) -> ListingError | None:
        """Return what is wrong with a walk that has ended after *sent* items; None where nothing is."""
        if len(self.commit_ids) > 1:
            return SnapshotChanged(f"the items come from {len(self.commit_ids)} catalogs", **where)
        right = self.hits is None or (sent == self.hits if self.exact else sent >= self.hits)
        if self.repeated or not right:
            repeated = f", {self.repeated} of them twice" if self.repeated else ""
            promised = "" if self.hits is None else f", {self.hits} were promised"
            message = f"the walk ended after {sent} items{repeated}{promised}"
            return IncompleteListing(message, expected=self.hits, seen=sent, **where)
        if self.gone:
            message = f"the list has changed: {self.gone} items did not come again where they had been"
            return SnapshotChanged(message, **where)
        return None

    def settle(
        self,
        place: Place[Any],
        seen: Seen | None,
        where: Callable[[], dict[str, Any]],
        ends: Callable[..., None],
    ) -> None:
        """Raise or log what is wrong with a walk that has come to its end, as its list and its caller have it."""
        shorter = place.passing.left > 0
        if not shorter:
            self.gone = self.gone_at(place, seen)
        said = "the list is shorter than what was walked before"
        fault = SnapshotChanged(said, **where()) if shorter else self.fault(place.sent - self.twice, where())
        bad = self._species.never_repeats if self.repeated else self._species.promises
        if len(self.commit_ids) > 1:
            bad = self._options.on_snapshot_change == "raise"
        raises = shorter or (bad and self._options.verify == "raise")
        ends(fault, logged=raises or self._options.verify != "off")
        if fault is not None and raises:
            raise fault
