"""A session of the caller's: what of it does no harm, and what is refused."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from yarl import URL

from limio_async.errors import ClientClosed, ConfigurationError, NeverSent
from limio_async.transport.translation import has_left
from limio_async.transport.workarounds import clean, no_hidden_resend

__all__ = ["Lent", "checked", "usable"]

_OURS = frozenset({
    "authorization", "connection", "content-encoding", "content-length", "content-range", "expect", "host",
    "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive",
    "proxy-authorization", "proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade",
    "x-http-method", "x-http-method-override", "x-method-override",
})  # fmt: skip
"""Headers that say who asks, for what, or how it is framed: a session's would be wrong on each request."""


def checked(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Return *session*, or raise `ConfigurationError` for what it would do to every request."""
    if not isinstance(session, aiohttp.ClientSession):  # pyright: ignore[reportUnnecessaryIsInstance]  # such as a wrapper
        raise ConfigurationError("session= takes an aiohttp.ClientSession")
    if session.closed:
        raise ConfigurationError("the session is closed; open another one for this client")
    if not _is_proxy(getattr(session, "_default_proxy", None)):
        raise ConfigurationError("the session's proxy= is no URL such as http://proxy.internal:3128")
    if session.auth is not None:
        raise ConfigurationError(
            "the session has an auth=, which would go to Limio; leave it out, and use auth= of Limio"
        )
    if getattr(session, "_middlewares", ()):
        raise ConfigurationError(
            "the session has middlewares=, which may send a request twice; leave them out, and wrap the transport instead"
        )
    if wrong := sorted({name.lower() for name in session.headers} & _OURS):
        raise ConfigurationError(
            f"the session has headers={{{wrong[0]!r}: …}}, which each request sets itself; leave it out"
        )
    return session


def _is_proxy(given: object) -> bool:
    try:
        url = URL(str(given))
    except ValueError:  # whose text shows it, perhaps with a password
        return False
    return given is None or (url.scheme in {"http", "https"} and bool(url.host))


def usable(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Return *session*, or raise `ClientClosed` where it was closed or belongs to another event loop."""
    if session.closed:
        raise ClientClosed("the session of this client was closed; open a new one, and a client with it")
    loop: object = getattr(session, "_loop", None)
    if loop is not None and loop is not asyncio.get_running_loop():
        raise ClientClosed("the session of this client belongs to another event loop; open one in this loop")
    return session


class Lent:
    """Sends one request with *authorization* and no other, and knows whether it left.

    What the session's hooks raise, or are cancelled in, may stand in place of what the request came to.
    """

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization
        self._request: aiohttp.ClientRequest | None = None

    @property
    def left(self) -> bool:
        """Whether any of the request can have left."""
        return self._request is not None and has_left(self._request)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send it: a middleware of this one request."""
        if aiohttp.hdrs.AUTHORIZATION in request.headers:
            raise ConfigurationError(
                f"not sent: the session adds an Authorization of its own for {request.url.host}, such as from ~/.netrc, "
                "which trust_env=True reads; take the line out, or use a session without it"
            )
        if self._authorization is not None:
            request.headers[aiohttp.hdrs.AUTHORIZATION] = self._authorization
        request.__class__ = clean(type(request))
        self._request = request
        answer = await no_hidden_resend(request, handler)
        if not self.left:  # one that came while a hook was waited for
            answer.close()
            raise NeverSent("an answer came before it had left")
        return answer
