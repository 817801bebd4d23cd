"""What the session asks of the outside: who carries requests, knows credentials, watches, and sets the pace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec

from limio_async.core.limiter import Lane
from limio_async.core.wire import Attempt, Credential, Endpoint, Request, Response, Retry, Scheme

__all__ = ["Auth", "Called", "Exchange", "Observer", "Pace", "Transport", "Watch", "Watching"]

Exchange = Callable[[Request], Awaitable[Response]]
"""Send one request without credentials and get its answer: all that a strategy may do with the network."""


class Transport(Protocol):
    """Carries one request to the client's origin and brings back the whole answer."""

    @property
    def origin(self) -> str:
        """Scheme, host and port that requests go to, such as `https://acme.prod.limio.com`."""
        ...

    async def send(self, request: Request, *, timeout: float) -> Response:
        """Send once. Raises `NeverSent` if nothing left, `AnswerLost` if no whole answer came back. Never
        sends twice, never follows a redirect.

        After *timeout* seconds the caller cancels this: what has to be known by then, such as that there is
        no connection, has to be found out before. Where it is cancelled and nothing left yet, a `NeverSent` as
        the `__cause__` of the `CancelledError` says so; else the request counts as one that left.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections; may be called more than once."""
        ...


class Auth(Protocol):
    """A strategy for credentials; yours works as well as ours."""

    @property
    def offers(self) -> Collection[Scheme]:
        """The schemes this strategy can provide, first the one it gives where several are accepted."""
        ...

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """A credential of one of the schemes in *accepts*, or None if this strategy has none of them."""
        ...

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Replace a refused value; False when there is nothing newer to offer."""
        ...


class Pace(Protocol):
    """Says when one more request may leave, for all who share it; `limio_async.Rate` is the one of a process."""

    async def take(self, lane: Lane) -> None:
        """Wait until a request may leave. Whatever this raises, nothing was sent."""
        ...


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched: a call, a walk, or a page of one. Nothing in it is the caller's but the kind of object."""

    operation: str
    resource: str
    """`auth` for what a credential strategy sends."""
    method: str
    path: str
    """The template, such as `/api/objects/{service}/subscriptions/{id}`."""
    path_type: str | None
    """The kind of object, where it is a documented one."""
    retry: Retry
    lane: Lane
    origin: str
    page: int | None
    """1 is the first since the walk last began at the top."""


class Watch(Protocol):
    """Is told what becomes of a call, in its task. Override what is of interest: each does nothing here."""

    def queued(self, seconds: float) -> None:
        """It waited for a slot and for the pace."""
        return

    def token(self, seconds: float) -> None:
        """It waited for its credential, or for a new one; a request for that is a call of its own."""
        return

    def sends(self, attempt: int) -> Mapping[str, str] | None:
        """An attempt leaves, 1 is the first. Return headers of trace context to add; no others are sent."""
        return None

    def came_to(self, attempt: Attempt, size: int) -> None:
        """The attempt is over, with *size* bytes of body."""
        return

    def waits(self, seconds: float, why: str) -> None:
        """It waits before it is sent again."""
        return

    def page(self, items: int) -> None:
        """A page of the walk came into hand."""
        return

    def restarts(self, why: Exception) -> None:
        """The walk begins again at the top."""
        return

    def ended(self, error: BaseException | None) -> None:
        """It is over. A walk is complete where *error* is None, and one that its caller leaves never ends."""
        return


class Observer(Protocol):
    """Watches a client: synchronous, and told only the end of what it has begun once it raised."""

    def call(self, call: Called) -> Watch | None:
        """A call begins, or a page is fetched."""
        return None

    def walk(self, walk: Called) -> Watch | None:
        """A walk begins, or is resumed."""
        return None


Watching = Callable[[Endpoint[Any] | Request, Mapping[str, Any], Lane, int | None], Watch | None]
"""Begin to watch a call, a page of a walk (by its number), or a walk (0); None where nobody does."""
