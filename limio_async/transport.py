"""The only aiohttp of the client side: one origin, one send, our own errors.

What aiohttp would do by itself and must not: resend a GET, PUT or DELETE whose connection broke (a scroll
would lose a page in silence), follow redirects (they carry credentials to other hosts), keep cookies, read
proxies and passwords from the environment, inflate a body without limit.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.connector import Connection
from yarl import URL

from limio_async.core.body import Body, BrokenOff, TooLarge
from limio_async.core.codec import UNDECODABLE
from limio_async.core.wire import Request, Response, Retry
from limio_async.errors import (
    AnswerLost,
    ClientClosed,
    ConfigurationError,
    NeverSent,
    TransportError,
    Unreadable,
)
from limio_async.version import __version__

__all__ = ["AiohttpTransport", "origin_of"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_CONNECT = 10.0
_PATIENT = aiohttp.ClientTimeout(total=None, connect=_LONGEST_CONNECT)
_LARGEST_BODY = 32 * 1024 * 1024
_CHUNK = 256 * 1024
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_READ_AT_ONCE = 1024 * 1024
_MOMENT = 0.1
_GZIP = frozenset({"gzip", "x-gzip"})
_READ = _GZIP | {"", "identity"}
"""The encodings of bodies that are understood."""
_LONGEST_IDLE: Mapping[Retry, float] = {"safe": 15.0, "idempotent": 15.0, "scroll": 2.0, "once": 0.0}
"""Seconds that a connection may have been idle to carry a request. A server may close an idle one just as the
request leaves; then nobody knows whether it was read, which costs a scroll its page and an order its answer."""
_SKIM: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


def origin_of(host: str, *, plain_http: bool = False) -> str:
    """The origin meant by a tenant's host name or a base URL; a trailing `/api` is taken as said twice.

    Raises `ConfigurationError` for anything else, and without *plain_http* for `http://` to another machine
    than this one: credentials travel only over TLS.
    """
    try:
        url = urlsplit(host if "://" in host else f"https://{host}")
        port = url.port
    except ValueError as error:  # a port that is no number, half an IPv6 address
        raise ConfigurationError(f"the host cannot be read: {error}") from None
    name = url.hostname or ""
    if not (_HOST.fullmatch(name) or ":" in name) or port == 0 or not host.isprintable():
        raise ConfigurationError(f"host {host!r} is neither a host name nor a URL")
    if (
        url.username
        or url.password
        or url.query
        or url.fragment
        or url.path not in {"", "/", "/api", "/api/"}
    ):
        raise ConfigurationError(f"host {name!r}: give the host name only, such as acme.prod.limio.com")
    if url.scheme == "http" and name not in _LOOPBACK and not plain_http:
        raise ConfigurationError(f"host {name!r}: plain http is for this machine only; use https")
    if url.scheme not in {"http", "https"}:
        raise ConfigurationError(f"host {name!r}: https, not {url.scheme}")
    literal = f"[{name}]" if ":" in name else name
    return f"{url.scheme}://{literal}:{port}" if port else f"{url.scheme}://{literal}"


class AiohttpTransport:
    """Sends requests to one origin over connections that are kept and shared, but those of a `once` request.

    *largest_body* limits the bytes of an answer, after decompression. Connections open with the first
    request, in the loop that sends it. A *session* of the caller's is used for everything and never closed;
    its cookies, its proxies and how long it keeps connections are the caller's business then.
    """

    def __init__(
        self,
        origin: str,
        *,
        user_agent: str = f"limio_async/{__version__}",
        largest_body: int = _LARGEST_BODY,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._origin = origin
        self._user_agent = user_agent
        self._largest_body = largest_body
        self._borrowed = session
        self._sessions: dict[float, aiohttp.ClientSession] = {}  # by how long their connections may be idle
        self._closed = False

    @property
    def origin(self) -> str:
        """Scheme, host and port that requests go to."""
        return self._origin

    async def send(self, request: Request, *, timeout: float) -> Response:
        """Send once and read the whole answer; half of *timeout* at most, and 10 s, is for connecting."""
        try:
            async with self._opened(request.retry).request(
                request.method,
                URL(self._origin + request.target, encoded=True),
                headers={"user-agent": self._user_agent, "accept-encoding": "gzip", **request.headers},
                data=_data(request.body),
                allow_redirects=False,
                timeout=_connecting_within(timeout),
                middlewares=(_no_hidden_resend,),
            ) as answer:
                body = await self._body(answer, request.operation)
                headers = {name.lower(): value for name, value in answer.headers.items()}
        except (aiohttp.ClientError, TimeoutError, BrokenOff) as error:
            ours = _translated(error, request.operation)
        except TransportError as error:  # from the middleware, which does not know the operation
            ours = type(error)(error.said, operation=request.operation)
        else:
            response = Response(status=answer.status, headers=headers, body=body)
            if not _is_cut_short(response):
                return response
            ours = AnswerLost("the answer's body broke off", operation=request.operation)
        raise ours  # outside the handlers: aiohttp's errors show the Authorization header in their repr

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def _body(self, answer: aiohttp.ClientResponse, operation: str) -> bytes:
        encoding = answer.headers.get("content-encoding", "").lower()
        if self._borrowed is not None and self._borrowed.auto_decompress:
            encoding = ""  # by now
        body = Body(self._largest_body, zipped=encoding in _GZIP)
        try:
            if answer.content.is_eof():  # all of it came with its head
                body.add(answer.content.read_nowait())
            else:
                with _ends_with_its_connection(answer):
                    async for chunk in answer.content.iter_any():
                        body.add(chunk)
        except TooLarge:
            said = f"the answer is larger than {self._largest_body:,} bytes; ask for smaller pages"
            raise Unreadable(said, operation=operation, status=answer.status, too_large=True) from None
        whole = body.whole()
        if encoding not in _READ and whole:
            if answer.status < 400:
                said = f"the answer is in {encoding}; gzip was asked for"
                raise Unreadable(said, operation=operation, status=answer.status)
            return b""  # the status says enough
        return whole

    def _opened(self, retry: Retry) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosed("this client was closed; open a new one")
        if self._borrowed is not None:
            return self._borrowed
        idle = _LONGEST_IDLE[retry]
        if idle not in self._sessions:
            self._sessions[idle] = aiohttp.ClientSession(
                connector=_connector(idle),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=_OnCleanConnections,
                trust_env=False,
                read_bufsize=_READ_AT_ONCE,
            )
        return self._sessions[idle]


def _data(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body as aiohttp wants it: in pieces, so that others are not kept waiting."""
    return io.BytesIO(body) if body is not None and len(body) > _CHUNK else body


def _connector(idle: float) -> aiohttp.TCPConnector:
    """Without a limit of its own: the session above holds the concurrency ceiling."""
    if not idle:
        return aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=idle)


def _is_cut_short(response: Response) -> bool:
    """Whether JSON ends too early in an answer whose end is only told by the end of the connection."""
    headers = response.headers
    told = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
    if told or not 200 <= response.status < 300 or response.status == 204:
        return False
    try:
        _SKIM.decode(response.body)
    except UNDECODABLE as error:
        return "truncated" in str(error) or str(error).endswith(f"(byte {len(response.body)})")
    return False


@contextmanager
def _ends_with_its_connection(answer: aiohttp.ClientResponse) -> Generator[None]:
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


def _connecting_within(timeout: float) -> aiohttp.ClientTimeout:
    """Half of the time for connecting, so that a failure to connect is known as one: nothing was sent."""
    if timeout >= 2 * _LONGEST_CONNECT:
        return _PATIENT
    return aiohttp.ClientTimeout(total=None, connect=timeout / 2)


class _Unclean(aiohttp.ClientConnectionError):
    """Not used: something had come on a kept connection that nobody asked for."""


class _OnCleanConnections(aiohttp.ClientRequest):
    """Does not take what an idle connection has received for its answer: https://github.com/aio-libs/aiohttp/issues/13656."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if conn.protocol is None or conn.protocol.should_close:
            raise _Unclean
        return await super().send(conn)


async def _no_hidden_resend(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a broken connection into our error before aiohttp sees it and sends again by itself."""
    try:
        return await handler(request)
    except (aiohttp.ClientError, TimeoutError) as error:
        ours = _translated(error, "")
    raise ours


def _translated(error: aiohttp.ClientError | TimeoutError | BrokenOff, operation: str) -> TransportError:
    """Our error for one of aiohttp's; only what is certain never to have left counts as never sent."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.InvalidURL():
            return NeverSent(f"could not connect: {_reason(error)}", operation=operation)
        case _Unclean():
            return NeverSent("a kept connection could not be used", operation=operation)
        case aiohttp.ServerDisconnectedError():
            return AnswerLost("the server hung up without an answer", operation=operation)
        case aiohttp.ClientPayloadError() | BrokenOff():
            return AnswerLost("the answer's body broke off", operation=operation)
        case aiohttp.ClientResponseError():
            return AnswerLost("the answer is not HTTP", operation=operation)
        case TimeoutError():
            return AnswerLost("the answer did not come in time", operation=operation)
        case _:
            return AnswerLost(f"the connection broke: {_reason(error)}", operation=operation)


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
