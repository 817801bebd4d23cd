"""Tokens for a client id and secret, from `POST /oauth2/token` (one hour, no refresh token)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from urllib.parse import urlencode

import anyio
import msgspec

from limio_async.core.codec import decode, error_for
from limio_async.core.ports import Exchange
from limio_async.core.wire import Credential, Request, Scheme
from limio_async.errors import ConfigurationError, LimioError

__all__ = ["ClientCredentials"]

_DEFAULT_LIFETIME = 3600.0
_EARLY = 60.0


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


_decoder = msgspec.json.Decoder(_Token)


class ClientCredentials:
    """Gets a token when one is first needed and a new one a minute before it expires, or when it is refused.

    However many calls wait for a token, one request is made for all of them; if it fails, it fails for all
    that were waiting. The secret travels in the form body only.
    """

    offers: tuple[Scheme, ...] = ("bearer",)

    def __init__(self, client_id: str, client_secret: str) -> None:
        if not client_id.strip() or not client_secret.strip():
            raise ConfigurationError("a client id and a client secret are needed")
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id.strip(),
            "client_secret": client_secret.strip(),
        }
        self._lock = anyio.Lock()
        self._credential: Credential | None = None
        self._renew_at = 0.0
        self._rounds = 0
        self._failure: LimioError | None = None

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        """The current token, where one is accepted; gets one if there is none that lasts."""
        if "bearer" not in accepts:
            return None
        credential = self._credential
        if credential is None or asyncio.get_running_loop().time() >= self._renew_at:
            credential = await self._replaced(credential, exchange)
        return credential

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        """Get a new token unless somebody already did since *refused* was handed out."""
        return await self._replaced(refused, exchange) != refused

    async def _replaced(self, old: Credential | None, exchange: Exchange) -> Credential:
        round_seen = self._rounds
        async with self._lock:
            if self._credential is not None and self._credential != old:
                return self._credential
            if self._rounds != round_seen and self._failure is not None:
                raise self._failure  # somebody has just tried for all who waited
            self._failure = None
            try:
                self._credential = await self._fetched(exchange)
            except LimioError as error:
                self._failure = error
                raise
            finally:
                self._rounds += 1
            return self._credential

    async def _fetched(self, exchange: Exchange) -> Credential:
        asked_at = asyncio.get_running_loop().time()
        response = await exchange(_token_request(self._form))
        if response.status != 200:
            raise error_for("createToken", response)
        token = decode("createToken", response.body, _decoder)
        lifetime = _DEFAULT_LIFETIME if token.expires_in is None else token.expires_in
        self._renew_at = asked_at + max(lifetime - _EARLY, lifetime / 2)
        return Credential(scheme="bearer", authorization=f"Bearer {token.access_token}")

    def __repr__(self) -> str:
        return f"ClientCredentials({self._form['client_id']!r}, '***')"


def _token_request(form: dict[str, str]) -> Request:
    return Request(
        operation="createToken",
        method="POST",
        target="/oauth2/token",
        headers={"accept": "application/json", "content-type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )
