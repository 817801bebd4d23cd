"""A token that somebody else looks after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from limio_async.auth.fixed import header_value
from limio_async.core.ports import Exchange
from limio_async.core.wire import Credential, Scheme

__all__ = ["BearerToken"]


class BearerToken:
    """`Authorization: Bearer <token>`; *token* is the token, or an async callable that gives the current one.

    The callable is asked for every request, so let it answer from memory. After a 401 it is asked again, and
    the request is sent again if the answer is another token.
    """

    offers: tuple[Scheme, ...] = ("bearer",)

    def __init__(self, token: str | Callable[[], Awaitable[str]]) -> None:
        self._token = header_value(token, "the token") if isinstance(token, str) else token

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The current token, where one is accepted."""
        return await self._current() if "bearer" in accepts else None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Whether the callable has another token than the refused one."""
        return not isinstance(self._token, str) and await self._current() != refused

    async def _current(self) -> Credential:
        token = (
            self._token if isinstance(self._token, str) else header_value(await self._token(), "the token")
        )
        return Credential(scheme="bearer", authorization=f"Bearer {token}")

    def __repr__(self) -> str:
        return "BearerToken('***')"
