"""`Limio`: opens a transport, makes the session, hangs the resources on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from limio_async.api import Resources
from limio_async.auth import ApiKey, BearerToken, ChainedAuth, ClientCredentials, NoAuth, SessionToken
from limio_async.core.listing import Listing
from limio_async.core.ports import Auth, Transport
from limio_async.core.session import CallOptions, ListOptions, Session
from limio_async.core.wire import Endpoint
from limio_async.errors import ConfigurationError
from limio_async.transport import AiohttpTransport, origin_of
from limio_async.version import __version__

__all__ = ["Limio", "auth_from"]

T = TypeVar("T")


class Limio(Resources):
    """A client of one Limio tenant; one for a whole process, shared by all its tasks.

    *host* is the tenant's host name or a base URL (plain `http://` for this machine only). *auth* is a
    strategy of `limio_async.auth`, or several, of which each operation gets the first that it accepts.
    *timeout* is the deadline of a call in seconds, all its attempts and waits included; *attempts* how often
    a request is sent at most; *max_concurrency* how many are on the wire at once. *transport* replaces the
    network, such as by an emulator.

    Making one does no I/O. Connections open with the first call and close with `aclose()` or the end of
    `async with`.
    """

    def __init__(
        self,
        host: str,
        *,
        auth: Auth | Sequence[Auth] | None = None,
        timeout: float = 60.0,
        attempts: int = 3,
        max_concurrency: int = 16,
        transport: Transport | None = None,
    ) -> None:
        if timeout <= 0 or attempts < 1 or max_concurrency < 1:
            raise ConfigurationError("timeout, attempts and max_concurrency must be positive")
        self._transport = transport or AiohttpTransport(
            origin_of(host), user_agent=f"limio_async/{__version__}"
        )
        self._session = Session(
            self._transport,
            _one(auth),
            timeout=timeout,
            attempts=attempts,
            max_concurrency=max_concurrency,
        )
        super().__init__(self._session)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: float = 60.0,
        attempts: int = 3,
        max_concurrency: int = 16,
    ) -> Self:
        """A client from `LIMIO_HOST` and the credentials in the environment.

        Those are `LIMIO_API_KEY`, `LIMIO_CLIENT_ID` with `LIMIO_CLIENT_SECRET`, `LIMIO_TOKEN` and
        `LIMIO_SESSION_TOKEN`; several may be given. Raises `ConfigurationError` naming what is missing.
        """
        settings = os.environ if environ is None else environ
        host = settings.get("LIMIO_HOST", "").strip()
        if not host:
            raise ConfigurationError(
                "LIMIO_HOST is not set; it names the tenant, such as acme.prod.limio.com"
            )
        auth = auth_from(settings)
        return cls(host, auth=auth, timeout=timeout, attempts=attempts, max_concurrency=max_concurrency)

    async def request(
        self,
        endpoint: Endpoint[T],
        args: Mapping[str, Any],
        body: object = None,
        **options: Unpack[CallOptions],
    ) -> T:
        """Call any endpoint, also one of your own; *args* by the names of its parameters."""
        return await self._session.call(endpoint, args, body, **options)

    def listing(
        self, endpoint: Endpoint[T], args: Mapping[str, Any], **options: Unpack[ListOptions]
    ) -> Listing[T]:
        """Walk any list endpoint, also one of your own; *args* by the names of its parameters."""
        return self._session.list(endpoint, args, **options)

    @property
    def origin(self) -> str:
        """Scheme, host and port that all requests go to."""
        return self._session.origin

    async def aclose(self) -> None:
        """End read-ahead and close the connections; may be called more than once."""
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Limio {self._session.origin}>"


def auth_from(settings: Mapping[str, str]) -> Auth:
    """The strategies for the credentials in *settings*, which has the names of environment variables."""
    found: list[Auth] = []
    given = {name: value for name, value in settings.items() if value.strip()}
    if key := given.get("LIMIO_API_KEY"):
        found.append(ApiKey(key))
    client_id, secret = given.get("LIMIO_CLIENT_ID"), given.get("LIMIO_CLIENT_SECRET")
    if client_id and secret:
        found.append(ClientCredentials(client_id, secret))
    elif client_id or secret:
        missing = "LIMIO_CLIENT_SECRET" if client_id else "LIMIO_CLIENT_ID"
        raise ConfigurationError(f"{missing} is not set; a client id and its secret go together")
    if token := given.get("LIMIO_TOKEN"):
        found.append(BearerToken(token))
    if session := given.get("LIMIO_SESSION_TOKEN"):
        found.append(SessionToken(session))
    return _one(found)


def _one(auth: Auth | Sequence[Auth] | None) -> Auth:
    if auth is None:
        return NoAuth()
    if not isinstance(auth, Sequence):
        return auth
    return auth[0] if len(auth) == 1 else ChainedAuth(*auth)
