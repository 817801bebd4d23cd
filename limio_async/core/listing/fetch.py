"""Asking for pages: one at a time, one ahead, and none twice that may only be asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

import msgspec

from limio_async.core.codec import build_request
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.listing.head import page_query
from limio_async.core.listing.page_size import PageSize
from limio_async.core.wire import BOM, Attempt, ListEndpoint, Request, Response
from limio_async.errors import AnswerLost, ClientClosed, DeadlineExceeded, LimioError, Unreadable

__all__ = ["Answer", "Fetcher", "Sender"]

Answer = tuple[Response, tuple[Attempt, ...]]
"""An answer, and what it took to get it."""


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

    async def send(self, request: Request, *, timeout: float | None, trace: list[Attempt] | None) -> Answer:
        """Send until an answer is final."""
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
        self._arrived: Answer | None = None
        self._ahead: asyncio.Task[Answer] | None = None  # the page after what has arrived, or was taken last

    async def get(self, cursor: Cursor | None) -> Answer:
        """Return the page after the one that was taken last, which *cursor* asks for."""
        if self._arrived is not None:
            return self._arrived
        ahead, self._ahead = self._ahead, None
        if ahead is None and self.lost:
            raise AnswerLost("cut short")
        try:
            self._arrived = await (ahead or self._ask(cursor))
        except asyncio.CancelledError:
            if ahead is not None and _succeeded(ahead):  # it came just as this was cancelled
                self._arrived = ahead.result()
            task = asyncio.current_task()
            if ahead is not None and task is not None and not task.cancelling():
                raise ClientClosed("the client was closed during a walk") from None
            raise
        return self._arrived

    async def get_ahead(self, cursor: Cursor | None) -> None:
        """Begin to ask for the page after the one that has arrived."""
        if self._ahead is not None or self.lost:  # a lost one will be told when its turn comes
            return
        self._ahead = asyncio.create_task(self._ask(cursor))
        self._sender.start(self._ahead)
        await asyncio.sleep(0)  # let it reach the wire before the items of this page are decoded

    def taken(self) -> None:
        """Take note that the page that has arrived is in hand."""
        self._arrived = None

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

    async def _ask(self, cursor: Cursor | None) -> Answer:
        self.lost = self._paging.species.advances and cursor is not None
        trace: list[Attempt] = []
        try:
            response, attempts = await self._sender.send(
                self._request(cursor), timeout=self._timeout, trace=trace
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
            self.lost = self.lost and bool(trace) and trace[-1].status is None
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


def _succeeded(task: asyncio.Task[Answer]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
