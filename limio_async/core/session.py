"""One call, rung by rung: call → send → _send_retrying → _send_authorized → _transmit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar

import anyio
import msgspec

from limio_async.core import retry
from limio_async.core.codec import build_request, read_response
from limio_async.core.listing import Checkpoint, Listing, Verify
from limio_async.core.ports import Auth, Transport
from limio_async.core.wire import Attempt, Credential, Endpoint, Request, Response
from limio_async.errors import (
    AnswerLost,
    ApiError,
    ClientClosed,
    DeadlineExceeded,
    LimioError,
    MissingCredentials,
    NeverSent,
    TransportError,
    UnknownOutcome,
)

__all__ = ["CallOptions", "ListOptions", "Resource", "Session"]

T = TypeVar("T")

_log = logging.getLogger("limio_async")
_Attempts = list[Attempt]
_IN_FLIGHT = Attempt(status=None, reason="no answer yet")


class CallOptions(TypedDict, total=False):
    """What every call takes besides its own arguments."""

    timeout: float | None
    """Seconds for the whole call: queueing, token renewal, all attempts and all waiting."""


class ListOptions(TypedDict, total=False):
    """What every listing takes besides its own arguments."""

    page_size: int | None
    """Items per page, whatever the wire calls it; an answer must stay under 6 MB."""
    read_ahead: int
    """Pages fetched while the caller works on one: 1 (the default, from the second page on) or 0."""
    resume: Checkpoint | str | bytes | None
    """Where an earlier walk with the same arguments stood."""
    verify: Verify
    """What a walk does that ends short of `hits` or sees the catalog change: `raise` (default), `warn`, `off`."""
    timeout: float | None
    """Seconds for each page."""


class Resource:
    """Endpoints that share a noun, hung on a session."""

    def __init__(self, session: Session) -> None:
        self._session = session


class Session:
    """Sends requests to one origin: credentials, resends, the deadline and the concurrency ceiling.

    *timeout* is the deadline of a call in seconds, *attempts* how often a call is sent at most,
    *max_concurrency* how many requests are on the wire at once.
    """

    def __init__(
        self,
        transport: Transport,
        auth: Auth,
        *,
        timeout: float = 60.0,
        attempts: int = 3,
        max_concurrency: int = 16,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._transport = transport
        self._auth = auth
        self._timeout = timeout
        self._attempts = attempts
        self._headers = dict(headers or {})
        self._slots = anyio.Semaphore(max_concurrency, fast_acquire=True)
        self._walks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def call(
        self,
        endpoint: Endpoint[T],
        args: Mapping[str, Any],
        body: object = None,
        *,
        timeout: float | None = None,
    ) -> T:
        """Call an endpoint once and read its answer."""
        request = build_request(endpoint, args, body, headers=self._headers)
        response, attempts = await self.send(request, timeout=timeout)
        try:
            return read_response(endpoint, response)
        except LimioError as error:
            error.attempts = attempts
            if isinstance(error, ApiError):
                error.retry_after = retry.retry_after(response)
            raise

    def list(
        self,
        endpoint: Endpoint[T],
        args: Mapping[str, Any],
        *,
        page_size: int | None = None,
        read_ahead: int = 1,
        resume: Checkpoint | str | bytes | None = None,
        verify: Verify = "raise",
        timeout: float | None = None,
    ) -> Listing[T]:
        """A walk over all pages of a list endpoint; nothing is sent before it is iterated or awaited."""
        return Listing[T](
            self,
            endpoint,
            args,
            page_size=page_size,
            read_ahead=read_ahead,
            resume=resume,
            verify=verify,
            timeout=timeout,
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port that all requests go to."""
        return self._transport.origin

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that every request carries."""
        return self._headers

    async def send(
        self,
        request: Request,
        *,
        timeout: float | None = None,
    ) -> tuple[Response, tuple[Attempt, ...]]:
        """Send until an answer is final. Raises `TransportError` or `UnknownOutcome` where there is none."""
        self._check_usable()
        attempts: _Attempts = []
        limit = self._timeout if timeout is None else timeout
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                response = await self._send_retrying(request, attempts, deadline.when())
        except TimeoutError:
            if not deadline.expired():  # raised by a strategy of the caller's
                raise
            error: LimioError = _ended_by_deadline(request, attempts, limit)
        except AnswerLost as lost:
            error = _unknown(request, lost.said) if request.retry == "once" else lost
        except LimioError as failed:
            error = failed
        else:
            return response, tuple(attempts)
        error.attempts = tuple(attempts)
        raise error from None

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        self._walks.add(walk)
        walk.add_done_callback(self._walks.discard)

    async def aclose(self) -> None:
        """End what is running and let go of connections; may be called more than once."""
        self._closed = True
        walks = [walk for walk in self._walks if walk.get_loop() is asyncio.get_running_loop()]
        for walk in walks:
            walk.cancel()
        await asyncio.gather(*walks, return_exceptions=True)
        await self._transport.aclose()

    async def _send_retrying(self, request: Request, attempts: _Attempts, deadline: float | None) -> Response:
        resends = 0
        while True:
            outcome = await self._outcome(request, attempts)
            resends += 1
            if resends == self._attempts or not retry.may_resend(outcome, request.retry):
                break
            wait = retry.wait_before_resend(resends, outcome)
            if deadline is not None and asyncio.get_running_loop().time() + wait >= deadline:
                break  # a resend that cannot be in time is not begun
            attempts[-1] = msgspec.structs.replace(attempts[-1], waited=wait)
            _log.info("%s: %s, sending again in %.2f s", request.operation, attempts[-1].reason, wait)
            await asyncio.sleep(wait)
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    async def _outcome(self, request: Request, attempts: _Attempts) -> Response | TransportError:
        try:
            return await self._send_authorized(request, attempts)
        except (NeverSent, AnswerLost) as error:
            if not attempts:  # failed before this request was tried, such as at the token endpoint
                raise
            return error

    async def _send_authorized(self, request: Request, attempts: _Attempts) -> Response:
        if not request.accepts:
            return await self._transmit(request, attempts)
        credential = await self._credential(request)
        response = await self._transmit(_with(credential, request), attempts)
        if response.status == 401 and await self._auth.renew(credential, self._exchange):
            credential = await self._credential(request)
            response = await self._transmit(_with(credential, request), attempts)
        return response

    async def _transmit(self, request: Request, attempts: _Attempts) -> Response:
        async with self._slots:  # held on the wire only, never while waiting to resend
            self._check_usable()
            attempts.append(_IN_FLIGHT)
            try:
                response = await self._transport.send(request, timeout=self._timeout)
            except TransportError as error:
                attempts[-1] = Attempt(status=None, reason=type(error).__name__)
                raise
        attempts[-1] = Attempt(status=response.status, reason=f"status {response.status}")
        _log.debug("%s: %s %s", request.operation, request.method, attempts[-1].reason)
        return response

    async def _credential(self, request: Request) -> Credential:
        credential = await self._auth.credential(request.accepts, self._exchange)
        if credential is None:
            raise MissingCredentials(
                f"takes {_listed(request.accepts)}, the client has {_listed(self._auth.offers)}",
                operation=request.operation,
            )
        return credential

    async def _exchange(self, request: Request) -> Response:
        try:
            return await self._send_retrying(msgspec.structs.replace(request, accepts=()), [], None)
        except AnswerLost as error:  # lost for the strategy; the call that needs the credential never left
            raise NeverSent(f"no credentials: {error}") from None

    def _check_usable(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosed("this client was closed; open a new one")
        if self._loop not in {None, loop}:
            raise ClientClosed("this client belongs to another event loop; open one in this loop")
        self._loop = loop


def _with(credential: Credential, request: Request) -> Request:
    headers = {**request.headers, "authorization": credential.authorization}
    return msgspec.structs.replace(request, headers=headers)


def _ended_by_deadline(request: Request, attempts: _Attempts, limit: float) -> LimioError:
    message = f"not finished after {limit:g} s"
    if attempts and attempts[-1] is _IN_FLIGHT:
        attempts[-1] = Attempt(status=None, reason="cut by the deadline")
        if request.retry == "once":
            return _unknown(request, message)
    return DeadlineExceeded(message, operation=request.operation)


def _unknown(request: Request, what: str) -> UnknownOutcome:
    return UnknownOutcome(
        f"{what}: it may have happened; look before sending it again", operation=request.operation
    )


_NAMES = {"key": "an API key", "bearer": "a bearer token", "session": "a session token"}


def _listed(schemes: Any) -> str:
    return " or ".join(_NAMES[scheme] for scheme in sorted(schemes)) or "no credentials"
