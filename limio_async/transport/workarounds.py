"""What aiohttp does by itself and must not.

It resends a GET, PUT or DELETE whose connection broke (a scroll would lose a page in silence), takes what an idle
connection received for the next answer, waits for a body whose connection is gone, and takes JSON that ends with its
connection for whole. What a setting of its session switches off (redirects, cookies, the environment's proxies,
inflating without limit) is switched off in `transport.aiohttp`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.connector import Connection

from limio_async.core.splitter import container
from limio_async.core.tolerant import mended
from limio_async.core.wire import BOM, UNDECODABLE, Response
from limio_async.errors import NeverSent, TransportError
from limio_async.transport.translation import Unclean, has_left, translated

__all__ = [
    "OnCleanConnections",
    "because",
    "clean",
    "ends_with_its_connection",
    "is_cut_short",
    "no_hidden_resend",
]

_MOMENT = 0.1
_SKIM: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


async def no_hidden_resend(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a broken connection into our error before aiohttp sees it and sends again by itself."""
    ours: TransportError
    try:
        return await handler(request)
    except asyncio.CancelledError as error:
        if has_left(request):
            raise
        task = asyncio.current_task()
        if task is None or task.cancelling():
            error.__cause__ = NeverSent("cancelled before it left")
            raise
        ours = NeverSent("the session was closed")  # which cancels whoever waits for a connection
    except (aiohttp.ClientError, OSError) as error:
        ours = translated(error, "", request)
    except Exception as error:  # such as of a resolver of the caller's
        if not has_left(request):
            raise error from because(NeverSent("failed before it left"), error.__cause__)
        raise
    try:
        raise ours
    finally:
        del ours  # which holds this frame


def because(error: TransportError, cause: BaseException | None) -> TransportError:
    """Return *error* with *cause*."""
    error.__cause__ = cause
    return error


class OnCleanConnections(aiohttp.ClientRequest):
    """Does not take what an idle connection has received for its answer: https://github.com/aio-libs/aiohttp/issues/13656.

    And it knows whether anything was written, which a task does later if it has a body: head and body go together.
    """

    _writer_of_body: AbstractStreamWriter | None = None
    _could_write = False

    @property
    def was_written(self) -> bool:
        """Whether any of it can have been written, once it was sent."""
        writer = self._writer_of_body
        return writer is None or (self._could_write and writer.output_size > 0)

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Raise `Unclean` where something has come already."""
        if conn.protocol is None or conn.protocol.should_close:
            raise Unclean
        return await super().send(conn)

    def write_bytes(  # pyright: ignore[reportIncompatibleMethodOverride]  # what an async def returns is one
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> Coroutine[Any, Any, None]:
        """Note that there is something to write, before the task that does it has begun."""
        self._writer_of_body = writer
        return self._write_bytes(writer, conn, content_length)

    async def _write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None
    ) -> None:
        transport = conn.transport  # None, or closing, where the session was closed meanwhile
        self._could_write = transport is not None and not transport.is_closing()
        await super().write_bytes(writer, conn, content_length)


_CLEAN: dict[type[aiohttp.ClientRequest], type[aiohttp.ClientRequest]] = {
    aiohttp.ClientRequest: OnCleanConnections
}


def clean(theirs: type[aiohttp.ClientRequest]) -> type[aiohttp.ClientRequest]:
    """Return what is like *theirs*, a session's `request_class`, and one of `OnCleanConnections`."""
    if theirs not in _CLEAN:
        _CLEAN[theirs] = type(theirs.__name__, (OnCleanConnections, theirs), {})
    return _CLEAN[theirs]


@contextmanager
def ends_with_its_connection(answer: aiohttp.ClientResponse) -> Generator[None]:
    """Let nobody wait for a body whose connection is gone: aiohttp 3.14 does, after a chunk that is malformed."""
    connection, content = answer.connection, answer.content
    if connection is None or connection.protocol is None:  # all of it is here
        yield
        return
    loop = asyncio.get_running_loop()
    checks: list[asyncio.TimerHandle] = []

    def check_soon(_: object = None) -> None:
        checks[:] = [loop.call_later(_MOMENT, check, content.total_bytes)]

    def check(before: int) -> None:
        if content.is_eof() or content.exception() is not None:
            return
        if content.total_bytes > before:  # what was received is still being decompressed
            check_soon()
        else:
            content.set_exception(aiohttp.ClientPayloadError())

    closed = connection.protocol.closed
    if closed is None:
        check_soon()
    else:
        closed.remove_done_callback(_noticed)  # one for all answers of a connection
        closed.add_done_callback(_noticed)
        closed.add_done_callback(check_soon)
    try:
        yield
    finally:
        if closed is not None:
            closed.remove_done_callback(check_soon)
        for one in checks:
            one.cancel()


def _noticed(closed: asyncio.Future[None]) -> None:
    """Look at its error, lest asyncio complain that nobody did."""
    if not closed.cancelled():
        closed.exception()


def is_cut_short(response: Response) -> bool:
    """Whether JSON ends too early in an answer whose end is only told by the end of the connection."""
    headers = response.headers
    told = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
    if told or not 200 <= response.status < 300 or response.status == 204:
        return False
    body = response.body.removeprefix(BOM)
    try:
        _SKIM.decode(mended(body))
    except UNDECODABLE as error:
        if "truncated" in str(error) or str(error).endswith(f"(byte {len(body)})"):
            return True
        if isinstance(error, RecursionError):
            return False
        text = body.lstrip()  # what msgspec refuses may stand before the end that is missing
        return text[:1] in {b"{", b"["} and container(text, 0) is None
    return False
