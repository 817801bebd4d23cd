"""Getting one page after another: cursors, read-ahead, lost answers, the honest end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from limio_async.core.codec import build_request, decode_as, error_for
from limio_async.core.paging import Checkpoint, Cursor, Head, LoopGuard, last_id, read_head
from limio_async.core.wire import Attempt, Endpoint, Paging, Request, Response
from limio_async.errors import (
    AnswerLost,
    ClientClosed,
    CursorExpired,
    CursorLoop,
    DeadlineExceeded,
    IncompleteListing,
    LimioError,
    ListingError,
    SnapshotChanged,
)

__all__ = ["RAW_ITEMS", "Page", "Report", "Sender", "Verify", "Walk"]

T = TypeVar("T")
S = TypeVar("S")

Verify = Literal["raise", "warn", "off"]
"""What a walk does about missing items or a changed catalog."""

RAW_ITEMS: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
"""Splits the items of a page without decoding them."""

_Answer = tuple[Response, tuple[Attempt, ...]]
_log = logging.getLogger("limio_async")
_GONE = {400, 404, 410}
_NOT_EXECUTED = {401, 403, 429}


class Sender(Protocol):
    """What a listing asks of a session."""

    @property
    def origin(self) -> str:
        """Where requests go to."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that every request carries."""
        ...

    async def send(self, request: Request, *, timeout: float | None) -> _Answer:
        """Send until an answer is final."""
        ...

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        ...


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a listing."""

    items: list[T]
    number: int
    """1 for the first."""
    hits: int | None
    """How many items the whole listing has, where the answer says so."""
    commit_id: str | None
    """The catalog's snapshot: a commit, or an epoch in milliseconds."""
    cursor: Cursor | None
    """Where the next page starts; None if the answer holds none."""
    body: bytes
    """The exact answer."""

    def read(self, kind: type[S]) -> S:
        """The whole answer as a type of the caller's, for what it holds besides items."""
        return decode_as("page", self.body, kind)


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
    requests: int
    """Requests on the wire, resends included."""
    ended: bool
    """Whether the walk came to the list's end."""
    commit_ids: tuple[str, ...]
    """Snapshots seen; more than one means the index was rebuilt on the way."""

    @property
    def complete(self) -> bool:
        """Whether the end was reached, on one snapshot, with as many items as promised."""
        counted = self.hits == self.items if self.exact else True
        return self.ended and counted and len(self.commit_ids) <= 1


class Walk(Generic[T]):
    """One walk over a list: the page in hand, what was handed out of it, and how to get the next.

    A scroll (and an undocumented cursor, to be safe) moves on when it is read: a page that was asked for and
    did not arrive cannot be asked for again, and then this walk says so instead of going on without it.
    """

    def __init__(
        self,
        sender: Sender,
        endpoint: Endpoint[Any],
        args: Mapping[str, Any],
        *,
        page_size: int | None,
        resume: Checkpoint,
        verify: Verify,
        timeout: float | None,
        decode_items: Callable[[msgspec.Raw], list[T]],
    ) -> None:
        assert endpoint.paging is not None  # noqa: S101  # a Listing has seen to it
        self._sender = sender
        self._endpoint = endpoint
        self._args = args
        self._paging: Paging = endpoint.paging
        self._advances = self._paging.kind in {"scroll", "opaque"}
        self._page_size = page_size or self._paging.default_page_size
        self._verify: Verify = verify
        self._timeout = timeout
        self._decode_items = decode_items

        self.taken = 0
        """How many items of the page in hand were handed out."""
        self._page: Page[T] | None = None
        self._asked: Cursor | None = None  # what the page in hand was asked with
        self._next = resume.cursor  # what the page after it is asked with
        self._before = resume.items - resume.skip  # items of the pages before it
        self._resumed = resume
        self._to_skip = resume.skip
        self._ended = resume.done

        self._pages = 0
        self._requests = 0
        self._hits: int | None = None
        self._exact = False
        self._commit_ids = [resume.commit_id] if resume.commit_id and resume.skip else []
        self._guard = LoopGuard(self._paging.kind)

        self._ahead: asyncio.Task[_Answer] | None = None
        self._in_flight = False  # a page that cannot be asked for twice is under way, or was lost there
        self._failed: LimioError | None = None  # no page can follow this
        self._walker: object = None

    @property
    def report(self) -> Report:
        """What was done so far."""
        return Report(
            operation=self._endpoint.operation,
            pages=self._pages,
            items=self._before + self.taken,
            hits=self._hits,
            exact=self._exact,
            requests=self._requests,
            ended=self._at_end,
            commit_ids=tuple(self._commit_ids),
        )

    def checkpoint(self) -> Checkpoint:
        """Where it stands."""
        if self._page is None or self._to_skip:  # nothing was handed out since
            return self._resumed
        items = self._before + self.taken
        saved = Checkpoint(
            operation=self._endpoint.operation,
            digest=self._resumed.digest,
            items=items,
            commit_id=self._commit_ids[-1] if self._commit_ids else None,
            done=self._at_end,
        )
        if self._at_end:
            return saved
        replace = msgspec.structs.replace
        if self._paging.kind == "scroll":  # held by the server, gone when it matters: the top is all there is
            return replace(saved, skip=items, last=self._last_handed_out(self._page))
        if self._used_up:
            return replace(saved, cursor=self._next)
        last = self._last_handed_out(self._page)
        return replace(saved, cursor=self._asked, skip=self.taken, last=last)

    @property
    def _used_up(self) -> bool:
        return self._page is None or self.taken >= len(self._page.items)

    @property
    def _at_end(self) -> bool:
        return self._ended and self._used_up

    def _last_handed_out(self, page: Page[T]) -> str | None:
        if self.taken == 0:
            return None
        head = read_head(self._endpoint.operation, self._paging, page.body)
        return last_id(RAW_ITEMS.decode(head.items)[self.taken - 1])

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
                await self._stop_ahead()

    async def _turn(self, read_ahead: int) -> Page[T]:
        """Get the next page in hand. Until it is, nothing of where the walk stands changes."""
        if self._failed is not None:
            raise self._failed
        asked = self._next
        response, attempts = await self._answer()
        try:
            head = self._read(response, attempts, asked)
            ends = _ends(self._paging, head)
            if read_ahead and self._pages and not ends:
                await self._start_ahead(head.cursor)
            page = self._decoded(head, response.body)
            self._check(head)
            passed = self._passed_over(head)
        except LimioError as error:
            await self._stop_ahead(keep=False)
            gone = self._advances and asked is not None and response.status not in _NOT_EXECUTED
            if gone or isinstance(error, ListingError):
                self._failed = error
            raise
        self._before += self.taken
        self._page, self._asked, self._next, self._ended = page, asked, head.cursor, ends
        self._pages = page.number
        self.taken = passed
        return page

    async def _answer(self) -> _Answer:
        ahead, self._ahead = self._ahead, None
        if ahead is None and self._in_flight:
            raise self._lost("was cut short")
        try:
            return await (ahead or self._ask(self._next))
        except AnswerLost as error:
            if self._in_flight:
                raise self._lost(f"was lost ({error.said})") from error
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if ahead is not None and task is not None and not task.cancelling():
                raise ClientClosed("the client was closed during a walk") from None
            raise

    async def _ask(self, cursor: Cursor | None) -> _Answer:
        self._in_flight = self._advances and cursor is not None
        try:
            answer = await self._sender.send(self._request(cursor), timeout=self._timeout)
        except LimioError as error:
            self._requests += len(error.attempts)
            self._in_flight = self._in_flight and isinstance(error, AnswerLost | DeadlineExceeded)
            raise
        self._requests += len(answer[1])
        self._in_flight = False
        return answer

    async def _start_ahead(self, cursor: Cursor | None) -> None:
        self._ahead = asyncio.create_task(self._ask(cursor))
        self._sender.start(self._ahead)
        await asyncio.sleep(0)  # let it reach the wire before the items of this page are decoded

    async def _stop_ahead(self, *, keep: bool = True) -> None:
        """End the read-ahead; with *keep*, an answer that is already here waits for whoever iterates next."""
        ahead = self._ahead
        if ahead is None or (keep and ahead.done() and not ahead.cancelled() and not ahead.exception()):
            return
        self._ahead = None
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)

    def _request(self, cursor: Cursor | None) -> Request:
        paging = self._paging
        query = dict(paging.always)
        if paging.page_size and self._page_size:
            query[paging.page_size] = str(self._page_size)
        if cursor is not None:
            query.update(cursor.query)
        retry = self._endpoint.retry if cursor is not None else "safe"
        headers = self._sender.headers
        return build_request(self._endpoint, self._args, query=query, retry=retry, headers=headers)

    def _read(self, response: Response, attempts: tuple[Attempt, ...], asked: Cursor | None) -> Head:
        if 200 <= response.status < 300:
            return read_head(self._endpoint.operation, self._paging, response.body)
        error = error_for(self._endpoint.operation, response)
        error.attempts = attempts
        if self._advances and asked is not None:
            if response.status in _GONE:
                raise CursorExpired(f"{error.said}: walk again from the top", **self._where()) from error
            if response.status >= 500:
                raise self._lost(error.said) from error
        raise error

    def _check(self, head: Head) -> None:
        if self._guard.sees_a_loop(head):
            raise CursorLoop(f"the server repeats itself after page {self._pages}", **self._where())
        if head.hits is not None:
            self._hits, self._exact = head.hits, head.exact
        if head.commit_id is None or head.commit_id in self._commit_ids[-1:]:
            return
        self._commit_ids.append(head.commit_id)
        if len(self._commit_ids) > 1:
            message = f"the catalog was rebuilt before page {self._pages + 1}: walk again from the top"
            self._complain(SnapshotChanged(message, **self._where()), always=self._to_skip > 0)

    def _decoded(self, head: Head, body: bytes) -> Page[T]:
        return Page(
            items=self._decode_items(head.items),
            number=self._pages + 1,
            hits=head.hits,
            commit_id=head.commit_id,
            cursor=head.cursor,
            body=body,
        )

    def _passed_over(self, head: Head) -> int:
        """How many items of this page an earlier walk has handed out."""
        if not self._to_skip:
            return 0
        ids = [last_id(item) for item in RAW_ITEMS.decode(head.items) or ()]
        last = self._resumed.last
        passed = min(self._to_skip, len(ids))
        if self._paging.kind != "scroll":  # one page is concerned; if it has changed, rather twice than never
            self._to_skip = 0
            same = passed and ids[passed - 1] == last
            return passed if same else ids.index(last) + 1 if last in ids else 0
        if passed == self._to_skip and last is not None and ids[passed - 1] != last:
            raise SnapshotChanged("the catalog is not the one that was walked before", **self._where())
        self._to_skip -= passed
        return passed

    def _verify_end(self) -> None:
        if self._to_skip:
            raise SnapshotChanged("the list is shorter than what was walked before", **self._where())
        seen = self._before + self.taken
        if self._paging.kind == "scroll" and self._exact and seen != self._hits:
            message = f"the walk ended after {seen} items, {self._hits} were promised"
            self._complain(IncompleteListing(message, expected=self._hits, seen=seen, **self._where()))

    def _complain(self, error: ListingError, *, always: bool = False) -> None:
        if self._verify == "raise" or always:
            raise error
        if self._verify == "warn":
            _log.warning("%s", error)

    def _lost(self, reason: str) -> IncompleteListing:
        return IncompleteListing(
            f"page {self._pages + 1} {reason}; a cursor that advances when read cannot be asked twice: "
            "walk again from the top",
            **self._where(),
        )

    def _where(self) -> dict[str, Any]:
        return {"operation": self._endpoint.operation, "checkpoint": self.checkpoint()}


def _ends(paging: Paging, head: Head) -> bool:
    """Whether no page follows. A scroll ends with an empty page; a key may have empty pages in between."""
    return head.cursor is None or (paging.kind == "scroll" and head.empty)
