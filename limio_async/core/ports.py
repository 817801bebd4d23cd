"""What the session asks of the outside: somebody who carries requests, and somebody who knows credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from limio_async.core.wire import Credential, Request, Response, Scheme

__all__ = ["Auth", "Exchange", "Transport"]

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
