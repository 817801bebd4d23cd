"""Carrying requests to one origin over aiohttp: one send, the whole answer, our own errors.

What aiohttp would do if its session were not told otherwise: follow redirects (they carry credentials to other
hosts), keep cookies, read proxies and passwords from the environment, inflate a body without limit.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from functools import lru_cache
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp import ClientSession
from aiohttp.client_middlewares import ClientMiddlewareType
from yarl import URL

from limio_async._origin import is_this_machine, origin_of
from limio_async.core.lifetime import Lifetime
from limio_async.core.outcome import kept
from limio_async.core.wire import Request, Response, Retry
from limio_async.errors import (
    AnswerLost,
    ConfigurationError,
    LimioError,
    NeverSent,
    TransportError,
    Unreadable,
)
from limio_async.transport.body import Body, BrokenOff, NotGzip, TooLarge
from limio_async.transport.borrowed import Lent, checked, usable
from limio_async.transport.pool import ConnectionPool, Connector
from limio_async.transport.translation import LINE, LINES, NO_CONNECTION, too_large, translated
from limio_async.transport.way import proxy_header, unread_proxy, way_out
from limio_async.transport.workarounds import (
    OnCleanConnections,
    because,
    ends_with_its_connection,
    is_cut_short,
    no_hidden_resend,
)
from limio_async.version import __version__

__all__ = ["AiohttpTransport", "ClientSession"]

_log = logging.getLogger("limio_async")

_LONGEST_CONNECT = 10.0
_PATIENT = aiohttp.ClientTimeout(total=None, connect=_LONGEST_CONNECT)
_LARGEST_BODY = 32 * 1024 * 1024
_CHUNK = 256 * 1024
_READ_AT_ONCE = 1024 * 1024
_GZIP = frozenset({"gzip", "x-gzip"})
_PLAIN = frozenset({"", "identity", "none", "binary", "8bit", "7bit", "utf-8", "utf8", "ascii", "us-ascii"})
"""What stands where the encoding should, on bodies that have none."""
_LONGEST_LINE = 64 * 1024
_MOST_LINES = 512
_LARGEST_HEAD = 256 * 1024
_LONGEST_LINE_SEEN = _LARGEST_HEAD  # beyond what is read, so that a status that says enough is known
_MOST_LINES_SEEN = 2 * _MOST_LINES
_LOOKED_AT = 8 * 1024  # characters of values, of which each is at most four bytes: fewer are never too many
_READS: Mapping[str, Any] = {
    "auto_decompress": False,
    "raise_for_status": False,
    "max_line_size": _LONGEST_LINE_SEEN,
    "max_field_size": _LONGEST_LINE_SEEN,
    "max_headers": _MOST_LINES_SEEN,
}
"""How an answer is read: said to a session of ours once, to a borrowed one with each request."""
_SENT_ONCE: tuple[ClientMiddlewareType, ...] = (no_hidden_resend,)
_WAITS = frozenset({"retry-after", "retry-after-ms"})
_LONGEST_IDLE: Mapping[Retry, float] = {"safe": 15.0, "idempotent": 15.0, "scroll": 2.0, "once": 0.0}
"""Seconds that a connection may have been idle to carry a request. A server may close an idle one just as the
request leaves; then nobody knows whether it was read, which costs a scroll its page and an order its answer."""


class AiohttpTransport:
    """Sends requests to one origin over connections that are kept and shared, but those of a `once` request.

    *origin* is a host name or a base URL, checked as that of `Limio` is: `http://` to another machine only with
    *plain_http*. *largest_body* limits the bytes of an answer, after decompression. Connections open with the first
    request, in the loop that sends it. A *session* of the caller's is used for everything and never closed;
    its cookies and how long it keeps connections are the caller's business then. What of it would change each
    request (`auth=`, `middlewares=`, some headers) is `ConfigurationError`.
    *proxy*, such as `http://user:password@proxy.internal:3128`, is asked for every connection; *ssl* says
    which certificates are trusted, such as `ssl.create_default_context(cafile="ca.pem")`.
    Nothing of this is read from the environment. A *pool* has connections that many clients share; it
    is closed by whoever made it, and goes with *proxy* and *ssl*, not with *session*.
    """

    def __init__(
        self,
        origin: str,
        *,
        user_agent: str = f"limio_async/{__version__}",
        largest_body: int = _LARGEST_BODY,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        plain_http: bool = False,
        pool: ConnectionPool | None = None,
    ) -> None:
        if pool is not None and not isinstance(pool, ConnectionPool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("pool= takes a ConnectionPool(…)")
        if pool is not None and session is not None:
            raise ConfigurationError("pool= goes without session=, which has connections of its own")
        self._origin = origin_of(origin, plain_http=plain_http)
        self._way = way_out(self._origin, proxy, ssl, plain_http=plain_http)
        if self._origin.startswith("http://") and not is_this_machine(self._origin):
            _log.warning("%s is plain http: anyone on the way can read the credentials", self._origin)
        self._headers = {"user-agent": user_agent, "accept-encoding": "gzip"}
        self._headers.update(proxy_header(self._way, self._origin))
        self._largest_body = largest_body
        self._borrowed = None if session is None else checked(session)
        self._said: Mapping[str, Any] = self._way if session is None else {**_READS, **self._way}
        self._sessions: dict[float, aiohttp.ClientSession] = {}  # by how long their connections may be idle
        self._pool = pool
        self._lifetime = Lifetime()
        if session is not None:
            self._lifetime.use()  # a session has a loop and a process from its beginning

    @property
    def origin(self) -> str:
        """Scheme, host and port that requests go to."""
        return self._origin

    async def send(self, request: Request, *, timeout: float) -> Response:
        """Send once and read the whole answer; half of *timeout* at most, and 10 s, is for connecting."""
        head: Mapping[str, str] = {}
        lent: Lent | None = None
        try:
            session, headers, middlewares = self._opened(request.retry), request.headers, _SENT_ONCE
            if self._borrowed is not None:
                headers = {**self._headers, **headers}
                lent = Lent(headers.pop("authorization", None))
                middlewares = (lent,)
            answer = await session.request(
                request.method,
                URL(self._origin + request.target, encoded=True),
                headers=headers,
                data=_data(request.body),
                allow_redirects=False,
                timeout=_connecting_within(timeout),
                middlewares=middlewares,
                **self._said,
            )
            try:
                lines = answer.headers
                head = headers = {name.lower(): value for name, value in lines.items()}
                body = await self._body(answer, request.operation)
                beyond = None
                if answer.status >= 400:
                    for name in _WAITS & headers.keys():
                        headers[name] = ", ".join(answer.headers.getall(name))
                elif not len(lines) == len(headers) <= _MOST_LINES or (
                    len("".join(headers.values())) > _LOOKED_AT
                ):
                    beyond = _beyond(answer)
            finally:
                if answer.connection is not None:  # else all came, and it may carry others by now
                    answer.release()
                    await answer.wait_for_close()
        except (aiohttp.ClientError, OSError, BrokenOff) as error:
            ours: LimioError
            if lent is not None and not lent.left:  # of a hook, which got hold of it instead
                ours = NeverSent(
                    f"failed before it left: {type(error).__name__}", operation=request.operation
                )
            else:
                ours = translated(error, request.operation)
        except (TransportError, ConfigurationError) as error:  # of a middleware, which knows no operation
            ours = type(error)(error.said, operation=request.operation)
        except Unreadable as error:
            error.headers = kept(head)
            raise
        except BaseException as error:
            if lent is not None and not lent.left and not isinstance(error.__cause__, NeverSent):
                raise error from because(NeverSent("failed before it left"), error.__cause__)
            raise
        else:
            response = Response(status=answer.status, headers=headers, body=body)
            if beyond is None and not is_cut_short(response):
                return response
            ours = AnswerLost(beyond or "the answer's body broke off", operation=request.operation)
        if ours.said.startswith(NO_CONNECTION) and "proxy" not in self._way and self._borrowed is None:
            ours = NeverSent(ours.said + unread_proxy(), operation=request.operation)
        ours.headers = kept(head)
        try:
            raise ours  # outside the handlers: aiohttp's errors show the Authorization header in their repr
        finally:
            del ours

    async def aclose(self) -> None:
        """Close the connections, but those of a session or a pool, and leave alone those of a parent process."""
        self._lifetime.closed = True
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def _body(self, answer: aiohttp.ClientResponse, operation: str) -> bytes:
        given = answer.headers.getall("content-encoding", ())
        encoding = _encoding(*given) if given else ""
        body = Body(self._largest_body, zipped=encoding in _GZIP)
        try:
            if answer.content.is_eof():  # all of it came with its head
                body.add(answer.content.read_nowait())
            else:
                with ends_with_its_connection(answer):
                    async for chunk in answer.content.iter_any():
                        body.add(chunk)
            whole = body.whole()
        except TooLarge:
            said = f"the answer is larger than {self._largest_body:,} bytes; ask for smaller pages"
            raise Unreadable(said, operation=operation, status=answer.status, too_large=True) from None
        except NotGzip:
            if answer.status < 400:
                raise
            return b""
        if encoding and encoding not in _GZIP and whole:
            if answer.status < 400:
                said = f"the answer is in {encoding}; gzip was asked for"
                raise Unreadable(said, operation=operation, status=answer.status)
            return b""  # the status says enough
        return whole

    def _opened(self, retry: Retry) -> aiohttp.ClientSession:
        if self._borrowed is not None and not (self._lifetime.closed or self._lifetime.forked):
            usable(self._borrowed)
        self._lifetime.check()
        if self._borrowed is not None:
            return self._borrowed
        if self._pool is not None:
            self._pool.check()
        idle = _LONGEST_IDLE[retry]
        if idle not in self._sessions:
            self._sessions[idle] = aiohttp.ClientSession(
                headers=self._headers,
                connector=Connector(idle) if self._pool is None else self._pool.connector(idle),
                connector_owner=self._pool is None,
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=OnCleanConnections,
                trust_env=False,
                **_READS,
                read_bufsize=_READ_AT_ONCE,
            )
        return self._sessions[idle]


def _beyond(answer: aiohttp.ClientResponse) -> str | None:
    """Return what is wrong with a head that is larger than is read; None if it is not."""
    sizes = [len(name) + len(value) for name, value in answer.raw_headers]
    if max(sizes) > _LONGEST_LINE:
        return too_large(LINE)
    if len(sizes) > _MOST_LINES:
        return too_large(LINES)
    return too_large("more than 256 KiB") if sum(sizes) > _LARGEST_HEAD else None


@lru_cache(maxsize=64)
def _encoding(*given: str) -> str:
    """Return the encoding that `Content-Encoding` means; empty for a body as it is."""
    named = (one.strip().lower() for one in ",".join(given).split(","))
    return ", ".join(one for one in named if one not in _PLAIN)


def _data(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body as aiohttp wants it: in pieces, so that others are not kept waiting."""
    return io.BytesIO(body) if body is not None and len(body) > _CHUNK else body


def _connecting_within(timeout: float) -> aiohttp.ClientTimeout:
    """Half of the time for connecting, so that a failure to connect is known as one: nothing was sent."""
    if timeout >= 2 * _LONGEST_CONNECT:
        return _PATIENT
    return aiohttp.ClientTimeout(total=None, connect=timeout / 2)
