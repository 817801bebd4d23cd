"""Asking for pages: one at a time, one ahead, and none twice that may only be asked for once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

import msgspec

from limio_async.core.codec import build_request
from limio_async.core.limiter import Lane
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.listing.head import page_query
from limio_async.core.listing.page_size import PageSize
from limio_async.core.ports import Watch
from limio_async.core.sending import Answer, facts, watched
from limio_async.core.wire import BOM, Attempt, ListEndpoint, Request
from limio_async.errors import (
    AnswerLost,
    ClientClosed,
    DeadlineExceeded,
    LimioError,
    ListingError,
    NeverSent,
    Unreadable,
)

__all__ = ["Answer", "Fetcher", "Sender"]

_log = logging.getLogger("limio_async")


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

    @property
    def page_sizes(self) -> MutableMapping[str, int]:
        """By operation: the page size that worked where a larger one did not."""
        ...

    async def send(
        self, request: Request, *, timeout: float | None, trace: list[Attempt] | None, watch: Watch | None
    ) -> Answer:
        """Send until an answer is final."""
        ...

    def watched(self, endpoint: ListEndpoint[Any], args: Mapping[str, Any], page: int) -> Watch | None:
        """Begin to watch a page of a walk or, for 0, the walk; None where nobody does."""
        ...

    @property
    def lane(self) -> Lane:
        """Whose turn it is."""
        ...

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        ...


class Fetcher:
    """Gets the pages of one walk in order.

    A page stays here until it is `taken`, so that whoever is cancelled on the way to it loses nothing. Where
    the cursor moves on when it is read, a page that was asked for and did not arrive is `lost`: no other can
    be had without skipping it.
    """

    def __init__(
        self,
        sender: Sender,
        endpoint: ListEndpoint[Any],
        args: Mapping[str, Any],
        size: PageSize,
        *,
        timeout: float | None,
    ) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self._args = args
        self._timeout = timeout
        self._paging = endpoint.paging
        self._size = size
        self.requests = self.retries = 0
        self.lost = False
        """Whether a page that cannot be asked for twice is under way, or was lost there."""
        self.watch: Watch | None = None
        self._arrived: Answer | None = None
        self._ahead: asyncio.Task[Answer] | None = None  # the page after what has arrived, or was taken last

    async def get(self, cursor: Cursor | None, number: int) -> Answer:
        """Return the page after the one that was taken last, which *cursor* asks for."""
        if self._arrived is not None:
            return self._arrived
        ahead, self._ahead = self._ahead, None
        if ahead is None and self.lost:
            raise AnswerLost("cut short")
        try:
            self._arrived = await (ahead or self._ask(cursor, number))
        except asyncio.CancelledError:
            if ahead is not None and _succeeded(ahead):  # it came just as this was cancelled
                self._arrived = ahead.result()
            task = asyncio.current_task()
            if ahead is not None and task is not None and not task.cancelling():
                raise ClientClosed("the client was closed during a walk") from None
            raise
        return self._arrived

    async def get_ahead(self, cursor: Cursor | None, number: int) -> None:
        """Begin to ask for the page after the one that has arrived."""
        if self._ahead is not None or self.lost:  # a lost one will be told when its turn comes
            return
        self._ahead = asyncio.create_task(self._ask(cursor, number))
        self._sender.start(self._ahead)
        await asyncio.sleep(0)  # let it reach the wire before the items of this page are decoded

    def taken(self, items: int) -> None:
        """Take note that the page that has arrived is in hand."""
        self._arrived = None
        if self.watch is not None:
            self.watch.page(items)

    def restarts(self, error: LimioError) -> None:
        """Tell that the walk begins again at the top."""
        if self.watch is not None:
            self.watch.restarts(error)
        self._log(logging.INFO, "%s; starting again at the top", error)

    def ends(self, error: LimioError | None, *, logged: bool = True) -> None:
        """Tell that the walk is over; what its last answer said is in the log by then."""
        if self.watch is not None:
            self.watch.ended(error)
        if logged and isinstance(error, ListingError | Unreadable):
            self._log(logging.WARNING if isinstance(error, ListingError) else logging.DEBUG, "%s", error)

    async def stop_ahead(self) -> None:
        """End what is under way; keep an answer that is already here for the next iteration."""
        if self._ahead is not None and not _succeeded(self._ahead):
            await self._end_ahead()

    async def forget(self) -> None:
        """Forget the page that has arrived and the one after it."""
        self._arrived = None
        await self._end_ahead()

    async def _end_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _ask(self, cursor: Cursor | None, number: int) -> Answer:
        if self.watch is None:
            self.watch = self._sender.watched(self._endpoint, self._args, 0)
        watch = self._sender.watched(self._endpoint, self._args, number)
        asked = self._asked(cursor, watch)
        return await (asked if watch is None else watched(asked, watch, self._endpoint.operation))

    async def _asked(self, cursor: Cursor | None, watch: Watch | None) -> Answer:
        self.lost = self._paging.species.advances and cursor is not None
        trace: list[Attempt] = []
        try:
            response, attempts = await self._sender.send(
                self._request(cursor), timeout=self._timeout, trace=trace, watch=watch
            )
        except LimioError as error:
            left = (
                error.left
                if isinstance(error, DeadlineExceeded)
                else isinstance(error, AnswerLost | Unreadable)
            )
            self.lost = self.lost and left
            raise
        except BaseException:  # cancelled, or of a strategy or a transport of the caller's
            self.lost &= any(one.status is None and one.reason != NeverSent.__name__ for one in trace)
            raise
        finally:
            self.requests += len(trace)
            self.retries += max(0, len(trace) - 1)
        self.lost = False
        if response.body.startswith(BOM):
            response = msgspec.structs.replace(response, body=response.body.removeprefix(BOM))
        return response, attempts

    def _request(self, cursor: Cursor | None) -> Request:
        query = page_query(self._paging, self._size.now, cursor)
        retry = self._endpoint.retry if cursor is not None else "safe"
        return build_request(
            self._endpoint, self._args, query=query, retry=retry, headers=self._sender.headers
        )

    def _log(self, level: int, text: str, error: LimioError) -> None:
        extra = facts(self._endpoint.operation, self._sender.lane, error.attempts, type(error).__name__)
        _log.log(level, text, error, extra=extra)


def _succeeded(task: asyncio.Task[Answer]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
