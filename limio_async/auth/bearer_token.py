"""A token that somebody else looks after."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from typing import Self

from limio_async.auth.fixed import FixedCredential, header_value
from limio_async.auth.secret_file import SecretFile
from limio_async.core.ports import Auth, Exchange
from limio_async.core.wire import Credential, Scheme

__all__ = ["BearerToken"]


class BearerToken(Auth):
    """`Authorization: Bearer <token>`; *token* is the token, or an async callable that gives the current one.

    The callable is asked for every request, so let it answer from memory. After a 401 it is asked again, and
    the request is sent again if the answer is another token.
    """

    def __init__(self, token: str | Callable[[], Awaitable[str]]) -> None:
        self._token = _fixed(token) if isinstance(token, str) else token

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """The token in the file *path*, which is read now and again after a 401; so a token can be rotated."""
        made = cls.__new__(cls)
        made._token = _fixed(SecretFile(path))
        return made

    @property
    def offers(self) -> tuple[Scheme, ...]:
        """Bearer tokens only."""
        return ("bearer",)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The current token, where one is accepted."""
        if isinstance(self._token, FixedCredential):
            return await self._token.credential(accepts, exchange)
        return await self._current(self._token) if "bearer" in accepts else None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Whether the callable or the file has another token than the refused one."""
        if isinstance(self._token, FixedCredential):
            return await self._token.renew(refused, exchange)
        return await self._current(self._token) != refused

    async def _current(self, token: Callable[[], Awaitable[str]]) -> Credential:
        value = header_value(await token(), "the token")
        return Credential(scheme="bearer", authorization=f"Bearer {value}")

    def __repr__(self) -> str:
        return "BearerToken('***')"


def _fixed(token: str | SecretFile) -> FixedCredential:
    return FixedCredential("bearer", token, "the token", before="Bearer ")
