"""The receiver: an ASGI app, and a handler for aiohttp. Any number of processes may have one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any

from limio_async.webhooks.door import Answer, Credentials, Door, Gone, Knock
from limio_async.webhooks.event import Entry

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Receiver"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_LINGERING, _LINGER = 2**20, 1.0
"""How many bytes, and seconds, are thrown away so that who is still sending reads the answer and not of a reset."""

_DIGITS = 20  # of a length that anybody may mean


class Receiver:
    """Stores webhooks, and answers when they are on the disk: 202; 401, 413, 415, or 400 for what is no JSON; 503 for later.

    An ASGI app at `/hooks/{type}`: mounted (`app.mount("/hooks", receiver)`) in an application that opens the inbox, or
    alone, where it opens the inbox itself. For aiohttp: `app.add_routes(receiver.routes())`.
    """

    def __init__(
        self,
        inbox: AbstractAsyncContextManager[Any],
        read: Callable[[str, bytes], Awaitable[Entry]],
        store: Callable[[Entry], Awaitable[object]],
        credentials: Sequence[Credentials],
        *,
        allow_anonymous: bool,
    ) -> None:
        self._inbox = inbox
        self._door = Door(read, store, credentials, allow_anonymous=allow_anonymous)

    async def __call__(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Answer as an ASGI app."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        length = b"".join(_named(headers, b"content-length"))
        knock = Knock(
            method=scope["method"],
            type=_type_of(scope["path"], scope.get("root_path", "")),
            authorization=_named(headers, b"authorization"),
            encoding=b", ".join(_named(headers, b"content-encoding")).decode("latin-1").strip(),
            length=int(length) if length.isdigit() and len(length) < _DIGITS else None,
        )
        try:
            answer = await self._door.answer(knock, _chunks(receive))
        except Gone:
            return
        said = answer.words.encode()
        shown = (
            {"content-type": "text/plain; charset=utf-8", "content-length": str(len(said))} if said else {}
        )
        if not said and answer.status != 204:
            shown = {"content-length": "0"}
        named = [
            (name.lower().encode(), value.encode()) for name, value in {**answer.headers, **shown}.items()
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": named})
        await send({"type": "http.response.body", "body": said})

    async def _live(self, receive: _Receive, send: _Send) -> None:
        await receive()
        try:
            await self._inbox.__aenter__()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._inbox.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    # --- aiohttp

    def routes(self, prefix: str = "/hooks") -> Sequence[web.RouteDef]:
        """Return the routes of an aiohttp application that opens the inbox."""
        from aiohttp import web

        return [
            web.route("*", prefix + end, self.aiohttp, expect_handler=self._expected)
            for end in ("/{type}", "/{type}/")
        ]

    def every_path(self) -> web.RouteDef:
        """Return a route that answers every path, as the ASGI app does, for a server that has no other."""
        from aiohttp import web

        return web.route("*", "/{path:.*}", self.aiohttp, expect_handler=self._expected)

    async def aiohttp(self, request: web.Request) -> web.StreamResponse:
        """Answer as a handler of aiohttp; the route has a part `{type}`, or else the last part of the path counts.

        What is packed is unpacked here where the server does not (`auto_decompress=False`), and no further than it may
        be large.
        """
        knock = _knock(request)
        try:
            answer = await self._door.answer(knock, _contents(request))
        except Gone:
            words = "the body did not come whole, or is not encoded as it says"
            answer = Answer(400, words, {"Connection": "close"})
        return await _said(request, answer)

    async def _expected(self, request: web.Request) -> web.StreamResponse | None:
        """Ask for the body that a client holds back, once it is let in."""
        if (refused := self._door.before(_knock(request))) is not None:
            return await _said(request, refused)
        if request.headers.get("Expect", "").lower() != "100-continue":
            return await _said(request, Answer(417))
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None


def _knock(request: web.Request) -> Knock:
    encoding = ", ".join(request.headers.getall("Content-Encoding", ())).strip()
    name = request.match_info.get("type")
    unpacked = getattr(request.content, "total_compressed_bytes", 0) is not None  # by the server
    return Knock(
        method=request.method,
        type=_type_of(request.path, "") if name is None else _last(name),
        authorization=[value for name, value in request.raw_headers if name.lower() == b"authorization"],
        encoding="" if unpacked and request.body_exists else encoding,
        length=request.content_length,
    )


async def _said(request: web.Request, answer: Answer) -> web.StreamResponse:
    from aiohttp import web
    from aiohttp.http_exceptions import HttpProcessingError

    response = web.Response(status=answer.status, text=answer.words or None, headers=answer.headers)
    if request.content.is_eof():
        return response
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    left = _LINGERING  # aiohttp by itself takes whatever comes within ten seconds
    with suppress(TimeoutError, web.RequestPayloadError, HttpProcessingError):
        async with asyncio.timeout(_LINGER):
            while left > 0 and (chunk := await request.content.readany()):
                left -= len(chunk)
    request.protocol.force_close()
    return response


def _type_of(path: str, root: str) -> str | None:
    if not root and path.rstrip("/") == "/hooks":
        return None
    rest = path.removeprefix(root) if root and path.startswith(root) else path
    return _last(rest.removeprefix("/hooks") if rest.startswith("/hooks/") else rest)


def _last(rest: str) -> str | None:
    name = rest.strip("/")
    return name if name and "/" not in name else None


def _named(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for one, value in headers if one.lower() == name]


async def _chunks(receive: _Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _contents(request: web.Request) -> AsyncIterator[bytes]:
    from aiohttp import web
    from aiohttp.http_exceptions import HttpProcessingError

    if request.body_exists and not request.can_read_body:  # a middleware has read it
        if not (text := await request.read()) and request.content.total_bytes:
            raise RuntimeError("a middleware has read the body of a webhook: let it call request.read()")
        yield text
        return
    try:
        async for chunk in request.content.iter_any():
            yield chunk
    except (web.RequestPayloadError, HttpProcessingError):
        raise Gone from None
