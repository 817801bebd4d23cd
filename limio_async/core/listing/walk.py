"""Getting one page after another: read-ahead, lost answers, restarts, the honest end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.choice import Chooser
from limio_async.core.listing.completeness import Completeness
from limio_async.core.listing.fetch import Answer, Fetcher, Sender
from limio_async.core.listing.following import Track
from limio_async.core.listing.head import Head
from limio_async.core.listing.options import Options
from limio_async.core.listing.page import BadItem, Page, Tally
from limio_async.core.listing.page_size import TOO_LARGE, PageSize
from limio_async.core.listing.place import InHand, Place, Rewound
from limio_async.core.listing.reader import PageReader
from limio_async.core.listing.repeats import id_of, watched
from limio_async.core.outcome import error_for, note_answer
from limio_async.core.retry import THROTTLED
from limio_async.core.wire import ListEndpoint, Response
from limio_async.errors import (
    AnswerLost,
    CursorExpired,
    DeadlineExceeded,
    IncompleteListing,
    LimioError,
    ListingError,
    SnapshotChanged,
    Unreadable,
)

__all__ = ["TWO_WALKERS", "Walk"]

T = TypeVar("T")

TWO_WALKERS = "another iteration is walking this listing; give each a listing of its own"

_GONE = {400, 404, 410}
_NOT_EXECUTED = {401, 403} | THROTTLED


class Walk(Generic[T]):
    """One walk over a list, from page to page.

    A cursor that advances when it is read is never asked with twice: where its page did not arrive, the walk
    says so, or starts again at the top and passes over what was handed out. It never continues without the page.
    """

    def __init__(
        self,
        sender: Sender,
        endpoint: ListEndpoint[Any],
        args: Mapping[str, Any],
        options: Options,
        *,
        resume: Checkpoint,
        reader: PageReader[T],
    ) -> None:
        self._operation = endpoint.operation
        self._options = options
        self._paging = paging = endpoint.paging
        self._reader = reader
        self._size = PageSize(endpoint.operation, paging, options.page_size, sender.page_sizes)
        self.fetcher = Fetcher(sender, endpoint, args, self._size, timeout=options.timeout)
        self.place = Place(paging.species, reader, resume)
        self.completeness = Completeness(endpoint.operation, paging.species, options, resume)
        self.seen = watched(options)
        self.tally = Tally()
        self._chooser = Chooser(options, self.tally, strict=paging.species.advances)
        self._track = Track(paging.species, options.reach, resume)
        self._failed: LimioError | None = None  # no page can follow this
        self._walker: object = None
        self.turning = False

    def checkpoint(self) -> Checkpoint:
        """Return where it stands."""
        place, found = self.place, self.completeness
        if not place.moved():
            return place.saved  # nothing was handed out since
        facts = msgspec.structs.replace(
            found.facts(place.in_hand if not place.used_up else None, ended=place.at_end),
            digest=place.saved.digest,
            items=place.items,
            gone=found.gone_at(place, self.seen),
            scattered=not place.at_end and place.gone(self.seen) > 0,
        )
        at = self._track.noted(place.checkpoint(facts), place.behind)
        done = at.ended and found.fault(at.sent - at.twice, {"operation": self._operation}) is None
        return msgspec.structs.replace(at, done=done)

    def takes_over(self, before: Walk[T]) -> None:
        """Count on where *before* stopped, and fail where it can no longer continue."""
        self.tally, self._chooser, self._failed = before.tally, before._chooser, before._failed
        self.fetcher.requests, self.fetcher.retries = before.fetcher.requests, before.fetcher.retries
        self.fetcher.watch = before.fetcher.watch
        if self._failed is None and (spoiled := self.place.saved.spoiled):
            self._failed = SnapshotChanged(spoiled, **self._where())
        if self._failed is None and before.fetcher.lost:
            lost = self._lost("was lost (cut short)")
            self._failed = None if self._starts_again(lost) else lost

    async def in_hand(self) -> Page[T]:
        """Return the page in hand: the first at the beginning, an empty one if the walk had ended before."""
        if self.place.in_hand is not None:
            page = self.place.in_hand.page
        elif self.place.ended:
            page = Page[T](items=[], number=0, hits=self.completeness.hits)
        else:
            page = await self._turn(0)
        if self.place.at_end:
            self._settle()
        return page

    async def pages(self, read_ahead: int) -> AsyncGenerator[Page[T], None]:
        """Yield the page in hand unless it is used up, then those after it. Raises at a dishonest end."""
        walker = self._walker = object()
        place = self.place
        try:
            if place.in_hand is not None and not place.used_up:
                yield place.in_hand.page
            while not place.ended:
                page = await self._turn(read_ahead)
                if page.items or not place.ended:
                    yield page
            self._settle()
        finally:
            if self._walker is walker:  # another iteration may have taken over before this one was closed
                await self.fetcher.stop_ahead()

    async def _turn(self, read_ahead: int) -> Page[T]:
        """Get the next page in hand, by whatever way the caller allows."""
        if self.turning:
            raise RuntimeError(TWO_WALKERS)
        self.turning = True
        try:
            while True:
                if self._failed is not None:
                    raise self._failed
                try:
                    return await self._turned(read_ahead)
                except Rewound:
                    await self.fetcher.forget()
                    self.place.rewind()
                    self._track.begin(self.place.saved)
                    self.completeness.begin_pass(self.place.saved)
                    self.seen = watched(self._options)
                except LimioError as error:
                    again = not self._paging.species.advances or self.place.next is None
                    if not self._size.shrinks(error, again=again) and not self._starts_again(error):
                        self.fetcher.ends(error)
                        raise
        finally:
            self.turning = False

    async def _turned(self, read_ahead: int) -> Page[T]:
        """Get the next page in hand. Until it is, nothing of where the walk stands changes."""
        place, found, species = self.place, self.completeness, self._paging.species
        asked = place.next
        response, attempts = await self._answer(asked)
        try:
            self._see_status(response, asked)
            read_ahead = read_ahead if place.number else 0
            early = self._reader.cursor_in_tail(response.body) if read_ahead else None
            if early is not None:  # before anything is decoded
                await self.fetcher.get_ahead(early, place.number + 2)
            head, items, undecodable = await self._read(response.body, asked)
            rows = self._track.read(items, partial(self._reader.items_as, head, response.body))
            if self._track.contradicts(rows):
                raise ListingError(
                    "its items are no longer in the order of created: walk from the top", **self._where()
                )
            ends = not head.goes_on or (species.ends_empty and not items) or self._track.reaches_back(rows)
            if early is not None and early != head.cursor and not ends:
                raise self._lost("has two cursors")
            if read_ahead and early is None and head.cursor is not None and not ends:
                await self.fetcher.get_ahead(head.cursor, place.number + 2)
            page = self._reader.fingerprint(head, response.body, len(items)) if items else 0
            firm = place.passing.left > 0 or (place.number == 0 and place.saved.items > 0)
            number, by_id = place.number + 1, place.by_id
            found.check(head, page, len(items), self._where, number=number, firm=firm, by_id=by_id)
            again = found.came_again(page, len(items))
            raw = self._reader.split(response.body) if place.passing.left or self.seen or again else None
            passed, places, twice = self._chooser.choose(
                items, raw, rows, place, self.seen, self._track, ends=ends
            )
            if passed < 0:
                raise SnapshotChanged("the list is not the one that was walked before", **self._where())
        except LimioError as error:
            note_answer(error, response, attempts)
            await self.fetcher.forget()
            gone = species.advances and asked is not None and response.status not in _NOT_EXECUTED
            if gone or isinstance(error, ListingError):
                self._failed = error
            raise
        chosen = items if len(places) == len(items) else [items[one] for one in places]
        self.fetcher.taken(len(chosen))
        taken = Page(
            items=chosen,
            number=number,
            hits=head.hits,
            commit_id=head.commit_id,
            cursor=head.cursor,
            body=response.body,
            attempts=attempts,
        )
        nameless = again and all(id_of(one) is None for one in raw or ())
        found.take(head, page, len(items), twice=twice, again=again, nameless=nameless)
        found.gone = max(found.gone, place.passing.gone)
        in_hand = InHand(taken, asked, raw, length=len(items), passed=passed, places=places, twice=twice)
        place.turn(in_hand, ends=ends)
        self._track.turn(asked, rows, passed)
        if head.stuck:
            self._failed = note_answer(IncompleteListing(head.stuck, **self._where()), response, attempts)
        self.tally.pages += 1
        self.tally.hits, self.tally.exact = found.hits, found.exact
        self.tally.undecodable += undecodable and sum(isinstance(one, BadItem) for one in items[passed:])
        self._size.grow(ended=ends)
        return taken

    async def _answer(self, asked: Cursor | None) -> Answer:
        try:
            return await self.fetcher.get(asked, self.place.number + 1)
        except (AnswerLost, DeadlineExceeded, Unreadable) as error:
            given_up = isinstance(error, DeadlineExceeded) and self._options.on_ambiguous == "raise"
            if not self.fetcher.lost or given_up:
                raise
            self._failed = self._lost(f"was lost ({error.said})")
            self._failed.attempts, self._failed.headers = error.attempts, error.headers
            raise self._failed from error

    # --- what an answer means

    def _see_status(self, response: Response, asked: Cursor | None) -> None:
        """Raise the error that an answer means, unless it is a success."""
        if 200 <= response.status < 300:
            return
        error = error_for(self._operation, response)
        if self._paging.species.advances and asked is not None:
            if response.status in _GONE:
                raise CursorExpired(f"{error.said}: walk again from the top", **self._where()) from error
            if response.status >= 500 or response.status in TOO_LARGE:
                raise self._lost(f"was lost ({error.said})") from error
        raise error

    async def _read(self, body: bytes, asked: Cursor | None) -> tuple[Head, list[T], int]:
        """Return what a page says, its items, and how many of them are bad."""
        if (page := self._reader.read(body)) is not None:
            return *page, 0
        try:
            head = await self._reader.split_page(body) or self._reader.read_head(body)
        except Unreadable as unreadable:
            if self._paging.species.advances and asked is not None:
                raise self._lost(f"could not be read ({unreadable.said})") from unreadable
            raise
        return head, *await self._reader.decoded(self._reader.raw_items(head), self._options.on_bad_item)

    def _settle(self) -> None:
        """Raise or log what is wrong with a walk that has come to its end."""
        self.completeness.settle(self.place, self.seen, self._where, self.fetcher.ends)

    def _where(self) -> dict[str, Any]:
        return {"operation": self._operation, "checkpoint": self.checkpoint()}

    def _lost(self, reason: str) -> IncompleteListing:
        return IncompleteListing(
            f"page {self.place.number + 1} {reason}; a cursor that advances when read cannot be asked twice: walk again from the top",
            **self._where(),
        )

    def _starts_again(self, error: LimioError) -> bool:
        """Stand at the top again, to pass over what was handed out, if the caller allows it for this error."""
        allowed: dict[type[LimioError], bool] = {
            CursorExpired: True,
            SnapshotChanged: self._options.on_snapshot_change == "restart",
            IncompleteListing: self._options.on_ambiguous == "restart",
        }
        if not allowed.get(type(error)) or self.tally.restarts >= self._options.restarts:
            return False
        place, seen = self.place, self.seen
        by_id = seen is not None and not seen.nameless and not place.passing.left
        at = self.checkpoint()
        by_count = not isinstance(error, SnapshotChanged) and not at.scattered
        if not (self._paging.species.advances and (by_id or by_count)):
            return False
        self.fetcher.restarts(error)
        self.tally.restarts += 1
        self._failed, self.fetcher.lost = None, False
        place.begin(at, by_id=by_id)
        self.completeness.begin_pass(at)
        if seen is not None:
            seen.begin_pass()
        return True
