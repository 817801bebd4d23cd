"""Getting one page after another: cursors, read-ahead, lost answers, restarts, the honest end."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.fetch import Answer, Fetcher, Sender
from limio_async.core.listing.head import Head
from limio_async.core.listing.page import BadItem, Options, Page, Report
from limio_async.core.listing.reader import PageReader, cursor_in_tail
from limio_async.core.listing.repeats import LoopGuard, Seen, last_id
from limio_async.core.outcome import error_for
from limio_async.core.wire import Attempt, Endpoint, Paging, Response
from limio_async.errors import (
    AnswerLost,
    ApiError,
    CursorExpired,
    CursorLoop,
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

_log = logging.getLogger("limio_async")
_GONE = {400, 404, 410}
_NOT_EXECUTED = {401, 403, 429}
_TOO_LARGE = {413, 502, 504}
_SERVERS_PAGE_SIZE = 50
_GROWS_AFTER = 3


class Walk(Generic[T]):
    """One walk over a list: the page in hand, what was handed out of it, and how to get the next.

    A scroll (and an undocumented cursor, to be safe) moves on when it is read: a page that was asked for and
    did not arrive cannot be asked for again. Then the walk says so, or starts again at the top and passes
    over what was handed out, but never goes on without the page.
    """

    def __init__(
        self,
        sender: Sender,
        endpoint: Endpoint[Any],
        args: Mapping[str, Any],
        options: Options,
        *,
        resume: Checkpoint,
        reader: PageReader[T],
    ) -> None:
        assert endpoint.paging is not None  # noqa: S101  # a Listing has seen to it
        self._sender = sender
        self._endpoint = endpoint
        self._options = options
        self._paging: Paging = endpoint.paging
        self._fetcher = Fetcher(sender, endpoint, args, timeout=options.timeout)
        self._reader = reader
        tracks = options.unique or options.on_snapshot_change == "restart"
        self._seen = Seen(looked_up=options.unique) if tracks else None

        self.taken = 0
        """How many items of the page in hand were handed out."""
        self._before = resume.items  # items handed out before the page in hand
        self._resumed = resume
        self._begin(resume)
        self._ended = resume.done

        self._wanted_size = options.page_size or self._paging.default_page_size
        self._fetcher.size = self._size_to_begin_with()
        self._good_pages = 0

        self._pages = self._restarts = 0
        self._duplicates = self._undecodable = 0
        self._mixed = False
        self._failed: LimioError | None = None  # no page can follow this
        self._walker: object = None
        self._turning = False

    def _begin(self, at: Checkpoint) -> None:
        """Stand at a checkpoint: at the top, or at the page of a cursor that can be asked again."""
        self._page: Page[T] | None = None
        self._asked: Cursor | None = None  # what the page in hand was asked with
        self._next = at.cursor  # what the page after it is asked with
        self._number = 0  # of the page in hand, since here
        self._sent = 0  # items that the server sent before the page in hand, since here
        self._places: Sequence[int] = ()  # where on the page in hand its items stood when they came
        self._passed = 0  # items of the page in hand that an earlier walk has handed out
        self._length = 0  # items of the page in hand as it came
        self._raw_in_hand: Sequence[msgspec.Raw] = ()  # split when a checkpoint first asks for it
        self._to_skip = at.skip
        self._commit_ids = [at.commit_id] if at.commit_id and at.skip else []
        self._hits: int | None = None
        self._exact = False
        self._guard = LoopGuard(self._paging.kind)
        self._from_top = at.cursor is None

    @property
    def report(self) -> Report:
        """What was done so far."""
        return Report(
            operation=self._endpoint.operation,
            pages=self._pages,
            items=self._before + self.taken,
            hits=self._hits if self._from_top else None,
            exact=self._exact,
            sent=self._counted,
            duplicates=self._duplicates,
            repeated=0 if self._options.unique else self._guard.repeated,
            undecodable=self._undecodable,
            requests=self._fetcher.requests,
            retries=self._fetcher.retries,
            restarts=self._restarts,
            ended=self._at_end,
            commit_ids=tuple(self._commit_ids),
        )

    def checkpoint(self) -> Checkpoint:
        """Where it stands."""
        items = self._before + self.taken
        if self._page is None or (items == self._resumed.items and not self._at_end):
            return self._resumed  # nothing was handed out since
        saved = Checkpoint(
            operation=self._endpoint.operation,
            digest=self._resumed.digest,
            items=items,
            commit_id=self._commit_ids[-1] if self._commit_ids else None,
            mixed=self._mixed,
            done=self._at_end,
        )
        if self._at_end:
            return saved
        replace = msgspec.structs.replace
        scroll = (
            self._paging.kind == "scroll"
        )  # held by the server, gone when it matters: the top is all there is
        if self._used_up and not scroll:
            return replace(saved, cursor=self._next)
        place = (
            self._length
            if self._used_up
            else self._places[self.taken - 1] + 1
            if self.taken
            else self._passed
        )
        last = self._id_before(place, self._page)
        if scroll:
            return replace(saved, skip=self._sent + place, last=last)
        return replace(saved, cursor=self._asked, skip=place, last=last)

    @property
    def _counted(self) -> int:
        """Items that the server sent since the top, not counting what certainly came twice."""
        twice = self._duplicates if self._options.unique and not self._restarts else 0
        return self._sent + self._length - twice

    @property
    def _used_up(self) -> bool:
        return self._page is None or self.taken >= len(self._page.items)

    @property
    def _at_end(self) -> bool:
        return self._ended and self._used_up

    def _id_before(self, place: int, page: Page[T]) -> str | None:
        if not place:
            return None
        if not self._raw_in_hand:
            self._raw_in_hand = self._raw(page.body)
        return last_id(self._raw_in_hand[place - 1])

    def _raw(self, body: bytes) -> list[msgspec.Raw]:
        return self._reader.raw_items(self._reader.read_head(body))

    async def in_hand(self) -> Page[T]:
        """The page in hand; at the beginning, the first."""
        page = self._page or await self._turn(0)
        if self._at_end:
            self._verify_end()
        return page

    async def pages(self, read_ahead: int) -> AsyncGenerator[Page[T], None]:
        """The page in hand unless it is used up, then the pages after it; raises at a dishonest end."""
        walker = self._walker = object()
        try:
            if self._page is not None and not self._used_up:
                yield self._page
            while not self._ended:
                page = await self._turn(read_ahead)
                if page.items or not self._ended:
                    yield page
            self._verify_end()
        finally:
            if self._walker is walker:  # another iteration may have taken over before this one was closed
                await self._fetcher.stop_ahead()

    async def _turn(self, read_ahead: int) -> Page[T]:
        """Get the next page in hand, by whatever way the caller allows."""
        if self._turning:
            raise RuntimeError(TWO_WALKERS)
        self._turning = True
        try:
            while True:
                if self._failed is not None:
                    raise self._failed
                try:
                    return await self._turned(read_ahead)
                except LimioError as error:
                    if not self._asks_for_less(error) and not self._starts_again(error):
                        raise
        finally:
            self._turning = False

    async def _turned(self, read_ahead: int) -> Page[T]:
        """Get the next page in hand. Until it is, nothing of where the walk stands changes."""
        asked = self._next
        response, attempts = await self._answer(asked)
        try:
            self._see_status(response, attempts, asked)
            read_ahead = read_ahead if self._number else 0
            early = self._cursor_early(response.body) if read_ahead else None
            if early is not None:  # before anything is decoded
                await self._fetcher.get_ahead(early)
            head, items, undecodable = self._read(response.body, asked)
            ends = head.cursor is None or (self._paging.kind == "scroll" and not items)
            if early is not None and early != head.cursor and not ends:
                raise self._lost("has two cursors")
            if read_ahead and early is None and not ends:
                await self._fetcher.get_ahead(head.cursor)
            self._check(head, response.body, len(items))
            passed = self._passed_over(response.body, len(items))
            places = self._kept(response.body, items, passed)
        except LimioError as error:
            await self._fetcher.forget()
            gone = self._fetcher.advances and asked is not None and response.status not in _NOT_EXECUTED
            if gone or isinstance(error, ListingError):
                self._failed = error
            raise
        self._fetcher.taken()
        self._before += self.taken
        self._sent += self._length
        self.taken, self._passed, self._places, self._length = 0, passed, places, len(items)
        self._raw_in_hand = ()
        self._number += 1
        self._pages += 1
        self._undecodable += undecodable
        self._asked, self._next, self._ended = asked, head.cursor, ends
        self._page = page = Page(
            items=items if len(places) == len(items) else [items[place] for place in places],
            number=self._number,
            hits=head.hits,
            commit_id=head.commit_id,
            cursor=head.cursor,
            body=response.body,
            attempts=attempts,
        )
        self._grow()
        return page

    async def _answer(self, asked: Cursor | None) -> Answer:
        try:
            return await self._fetcher.get(asked)
        except (AnswerLost, DeadlineExceeded, Unreadable) as error:
            given_up = isinstance(error, DeadlineExceeded) and self._options.on_ambiguous == "raise"
            if not self._fetcher.lost or given_up:
                raise
            self._failed = self._lost(f"was lost ({error.said})")
            raise self._failed from error

    # --- what an answer means

    def _see_status(self, response: Response, attempts: tuple[Attempt, ...], asked: Cursor | None) -> None:
        """Raise what an answer means that is not a success."""
        if 200 <= response.status < 300:
            return
        error = error_for(self._endpoint.operation, response)
        error.attempts = attempts
        if self._fetcher.advances and asked is not None:
            if response.status in _GONE:
                raise CursorExpired(f"{error.said}: walk again from the top", **self._where()) from error
            if response.status >= 500 or response.status in _TOO_LARGE:
                raise self._lost(f"was lost ({error.said})") from error
        raise error

    def _cursor_early(self, body: bytes) -> Cursor | None:
        return cursor_in_tail(self._endpoint.operation, self._paging, body)

    def _read(self, body: bytes, asked: Cursor | None) -> tuple[Head, list[T], int]:
        """What a page says, its items, and how many of them are bad."""
        if (page := self._reader.read(body)) is not None:
            return *page, 0
        try:
            head = self._reader.read_head(body)
        except Unreadable as unreadable:
            if self._fetcher.advances and asked is not None:
                raise self._lost(f"could not be read ({unreadable.said})") from unreadable
            raise
        if self._options.on_bad_item == "raise":
            return head, self._reader.items(head), 0
        items, bad = self._reader.items_one_by_one(head)
        return head, cast("list[T]", items), bad

    def _check(self, head: Head, body: bytes, length: int) -> None:
        begin = max(0, body.find(b'"%b"' % self._paging.items.encode()))
        if self._guard.sees_a_loop(head.cursor, memoryview(body)[begin:], length):
            raise CursorLoop(f"the server repeats itself after page {self._number}", **self._where())
        if head.hits is not None:
            self._hits, self._exact = head.hits, head.exact
        if head.commit_id is None or head.commit_id in self._commit_ids[-1:]:
            return
        self._commit_ids.append(head.commit_id)
        if len(self._commit_ids) > 1:
            message = f"the catalog was rebuilt before page {self._number + 1}: walk again from the top"
            must = self._to_skip > 0 or self._options.on_snapshot_change == "restart"
            self._complain(SnapshotChanged(message, **self._where()), always=must)

    def _passed_over(self, body: bytes, length: int) -> int:
        """How many items of this page an earlier walk has handed out."""
        if not self._to_skip:
            return 0
        ids = [last_id(item) for item in self._raw(body)]
        last = self._resumed.last
        passed = min(self._to_skip, length)
        if self._paging.kind != "scroll":  # one page is concerned; if it has changed, rather twice than never
            self._to_skip = 0
            same = passed and ids[passed - 1] == last
            return passed if same else ids.index(last) + 1 if last in ids else 0
        if passed == self._to_skip and last is not None and ids[passed - 1] != last:
            raise SnapshotChanged("the catalog is not the one that was walked before", **self._where())
        self._to_skip -= passed
        return passed

    def _kept(self, body: bytes, items: Sequence[T], passed: int) -> Sequence[int]:
        """Where on a page the items stand that are handed out."""
        places: Sequence[int] = range(passed, len(items))
        if self._options.on_bad_item == "skip":
            places = [place for place in places if not isinstance(items[place], BadItem)]
        if self._seen is None:
            return places
        raw = self._raw(body)
        self._seen.fresh([last_id(item) for item in raw[:passed]])
        fresh = self._seen.fresh([last_id(raw[place]) for place in places])
        self._duplicates += len(places) - len(fresh)
        return [places[one] for one in fresh]

    def _verify_end(self) -> None:
        if self._to_skip:
            raise SnapshotChanged("the list is shorter than what was walked before", **self._where())
        if self.report.counted_right:
            return
        twice = f", {self.report.repeated} of them twice" if self.report.repeated else ""
        message = f"the walk ended after {self._counted} items{twice}, {self._hits} were promised"
        if self._paging.kind == "scroll":
            self._complain(
                IncompleteListing(message, expected=self._hits, seen=self._counted, **self._where())
            )
        elif self._options.verify != "off":  # nobody documents what these hits count
            _log.warning("%s: %s", self._endpoint.operation, message)

    def _complain(self, error: ListingError, *, always: bool = False) -> None:
        if self._options.verify == "raise" or always:
            raise error
        if self._options.verify == "warn":
            _log.warning("%s", error)

    def _lost(self, reason: str) -> IncompleteListing:
        return IncompleteListing(
            f"page {self._number + 1} {reason}; a cursor that advances when read cannot be asked twice: "
            "walk again from the top",
            **self._where(),
        )

    def _where(self) -> dict[str, Any]:
        return {"operation": self._endpoint.operation, "checkpoint": self.checkpoint()}

    # --- other ways on

    def _starts_again(self, error: LimioError) -> bool:
        """Stand at the top again, to pass over what was handed out, if the caller allows it for this error."""
        allowed: dict[type[LimioError], bool] = {
            CursorExpired: True,
            SnapshotChanged: self._options.on_snapshot_change == "restart",
            IncompleteListing: self._options.on_ambiguous == "restart",
        }
        known = self._seen if not self._to_skip else None  # until all is passed over, not all ids are known
        if self._paging.kind == "scroll":
            possible = known is not None or not isinstance(error, SnapshotChanged)
        else:
            possible = self._fetcher.advances and known is not None and self._options.resume is None
        if not allowed.get(type(error)) or not possible or self._restarts >= self._options.restarts:
            return False
        _log.info("%s; starting again at the top", error)
        self._resumed = at = self.checkpoint()
        self._restarts += 1
        self._fetcher.lost = False
        self._before, self.taken, self._failed = at.items, 0, None
        if known is not None:  # what comes is compared by id: its order may be another
            known.look_up()
            self._mixed = self._mixed or isinstance(error, SnapshotChanged)
            at = msgspec.structs.replace(at, skip=0)
        self._begin(msgspec.structs.replace(at, cursor=None))
        return True

    def _asks_for_less(self, error: LimioError) -> bool:
        """Make pages smaller where one may have been too large and can be asked for again."""
        too_large = isinstance(error, Unreadable) and error.too_large
        if isinstance(error, ApiError):
            too_large = error.status in _TOO_LARGE
        size = self._fetcher.size or _SERVERS_PAGE_SIZE
        again = not self._fetcher.advances or self._next is None
        if not (too_large and again and self._paging.page_size and size > 1):
            return False
        self._wanted_size = self._wanted_size or size
        self._fetcher.size = self._sender.page_sizes[self._endpoint.operation] = size // 2
        self._good_pages = 0
        _log.info("%s; asking for pages of %d", error, self._fetcher.size)
        return True

    def _grow(self) -> None:
        """Try larger pages again after some that were no problem; a scroll keeps its size, the next may be larger."""
        self._good_pages += 1
        size, wanted = self._fetcher.size, self._wanted_size
        if not size or not wanted or size >= wanted:
            return
        if self._good_pages < _GROWS_AFTER and not self._ended:
            return
        self._good_pages = 0
        larger = min(wanted, size * 2)
        if not self._fetcher.advances:
            self._fetcher.size = larger
        if larger < wanted:
            self._sender.page_sizes[self._endpoint.operation] = larger
        else:
            self._sender.page_sizes.pop(self._endpoint.operation, None)

    def _size_to_begin_with(self) -> int | None:
        worked = self._sender.page_sizes.get(self._endpoint.operation)
        if worked is None:
            return self._wanted_size
        self._wanted_size = self._wanted_size or _SERVERS_PAGE_SIZE
        return min(worked, self._wanted_size)
