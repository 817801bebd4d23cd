"""The token of somebody who signed in, from the store that keeps it."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime

from msgspec import structs

from limio_async._origin import origin_of
from limio_async.auth.tokens import StoredToken, TokenStore
from limio_async.core.ports import Auth, Exchange
from limio_async.core.wire import Credential, Scheme
from limio_async.errors import MissingCredentials, Unauthorized

__all__ = ["SignedIn"]

_AGAIN = "sign in again: limio login"


class SignedIn(Auth):
    """`Authorization: Bearer <token>` with the token in *store*, which `AuthorizationCode` or `limio login` put there.

    A token is sent to the origin that it was got from, and to no other: the calls of a client of another
    host raise `MissingCredentials`. *origin* says which one is expected. Limio gives no refresh tokens: when the token
    has expired or is refused, and the store holds no other, the call fails and says to sign in again. In a
    chain this comes last, because it never lets a later strategy try.

    It offers `bearer`, as client credentials do, because it comes from the same endpoint in the same answer.
    Limio does not say that it would do where a session token is asked for.
    """

    def __init__(self, store: TokenStore, *, origin: str | None = None) -> None:
        self._store = store
        self._origin = None if origin is None else _spelled(origin)
        self._held: StoredToken | None = None

    @property
    def offers(self) -> tuple[Scheme, ...]:
        """Bearer tokens only."""
        return ("bearer",)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The stored token, where one is accepted. Raises `MissingCredentials` if there is none that is good."""
        if "bearer" not in accepts:
            return None
        if self._held is None or _expired(self._held):
            self._held = await self._loaded()
        return _bearer(self._held)

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Whether somebody signed in again meanwhile. Raises `Unauthorized` that says what to do if not."""
        if self._held is None or _bearer(self._held) == refused:
            self._held = None
            found = await self._kept()
            if found is None or _expired(found) or _bearer(found) == refused:
                raise Unauthorized(f"the sign-in is not accepted; {_AGAIN}", operation="", status=401)
        return True

    def token_left(self, now: float) -> float | None:
        """Seconds until the token ends; None where none was asked for yet."""
        return None if self._held is None else self._held.expires_at - time.time()

    async def _kept(self) -> StoredToken | None:
        token = await self._store.load()
        return token and structs.replace(token, origin=_spelled(token.origin))

    async def _loaded(self) -> StoredToken:
        token = await self._kept()
        if token is None:
            raise MissingCredentials("nobody is signed in; sign in: limio login")
        if self._origin is not None and token.origin != self._origin:
            raise MissingCredentials(
                f"the sign-in is for {token.origin}, not for {self._origin}; sign in: limio login"
            )
        if _expired(token):
            ended = datetime.fromtimestamp(token.expires_at).astimezone().isoformat(" ", "minutes")
            raise MissingCredentials(f"the sign-in ended at {ended}; {_AGAIN}")
        return token

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"


def _spelled(origin: str) -> str:
    return origin_of(origin, plain_http=True)  # whether it may be plain is the transport's to say


def _expired(token: StoredToken) -> bool:
    return time.time() >= token.expires_at


def _bearer(token: StoredToken) -> Credential:
    return Credential(scheme="bearer", authorization=f"Bearer {token.access_token}", origin=token.origin)
