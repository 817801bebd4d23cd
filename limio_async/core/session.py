"""One call, rung by rung: call → send → _send_retrying → _send_authorized → _transmit."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

import msgspec

from limio_async.core import retry
from limio_async.core.codec import build_request, checked_headers, decoder_for, read_response
from limio_async.core.deadline import Deadlines
from limio_async.core.explain import Explainer
from limio_async.core.limiter import Lane, Limiter
from limio_async.core.listing import Listing, ListOptions, Options
from limio_async.core.listing.reader import PageReader
from limio_async.core.ports import Auth, Transport
from limio_async.core.readback import read_back_args
from limio_async.core.sending import Life, Sending, unknown
from limio_async.core.wire import (
    SCHEMES,
    Attempt,
    Credential,
    Endpoint,
    ListEndpoint,
    Request,
    Response,
    Scheme,
)
from limio_async.errors import (
    AnswerLost,
    ApiError,
    DeadlineExceeded,
    InvalidArgument,
    LimioError,
    MissingCredentials,
    NeverSent,
    NotFound,
    TooManyRequests,
    TransportError,
    UnknownOutcome,
    Unreadable,
)

__all__ = ["CallOptions", "Resource", "Session"]

T = TypeVar("T")

_Attempts = list[Attempt]
_LONGEST_CLOSURE = 60.0
_LONGEST_EXCHANGE = 60.0  # the deadline of the call that needs it mostly ends it before
_TOKEN: tuple[Scheme, ...] = ("bearer",)


class CallOptions(TypedDict, total=False):
    """What every call takes besides its own arguments."""

    timeout: float | None
    """Seconds for the whole call: queueing, token renewal, all attempts and all waiting."""
    trace: list[Attempt] | None
    """A list of the caller's, to which every attempt is added when the call ends, well or badly."""


class Resource:
    """Endpoints that share a noun, hung on a session."""

    def __init__(self, session: Session) -> None:
        self._session = session


class Session:
    """Sends requests to one origin: credentials, resends, the deadline and the limiter.

    *timeout* is the deadline of a call in seconds, *attempts* how often a call is sent at most,
    *max_concurrency* how many requests are on the wire at once, *requests_per_second* how many leave.
    *endpoints* gives those by which lost writes are read back.
    """

    def __init__(
        self,
        transport: Transport,
        auth: Auth,
        *,
        timeout: float = 60.0,
        attempts: int = 3,
        max_concurrency: int = 16,
        requests_per_second: float | None = None,
        endpoints: Callable[[], Mapping[str, Endpoint[Any]]] = dict,
    ) -> None:
        self._transport = transport
        self._auth = auth
        self._endpoints = endpoints
        self._limiter = Limiter(max_concurrency, rate=requests_per_second)
        self._quota = retry.RetryQuota()
        self._life = Life()
        self._deadlines = Deadlines()
        self._page_sizes: dict[str, int] = {}
        self._timeout = timeout
        self._attempts = attempts
        self._headers: Mapping[str, str] = {}
        self._lane: Lane = "interactive"

    def with_options(
        self,
        *,
        timeout: float | None = None,
        attempts: int | None = None,
        headers: Mapping[str, str] | None = None,
        lane: Lane | None = None,
    ) -> Session:
        """The same session with other options for the calls that are made through it."""
        view = copy.copy(self)
        view._timeout = self._timeout if timeout is None else timeout
        view._attempts = self._attempts if attempts is None else attempts
        view._headers = {**self._headers, **checked_headers(headers or {})}
        view._lane = self._lane if lane is None else lane
        return view

    async def call(
        self,
        endpoint: Endpoint[T],
        args: Mapping[str, Any],
        body: object = None,
        *,
        timeout: float | None = None,
        trace: _Attempts | None = None,
    ) -> T:
        """Call an endpoint once and read its answer."""
        request = build_request(endpoint, args, body, headers=self._headers)
        response: Response | None = None
        attempts: Sequence[Attempt] = ()
        try:
            response, attempts = await self.send(request, timeout=timeout)
            return read_response(endpoint, response)
        except LimioError as error:
            attempts = error.attempts = attempts or error.attempts
            if isinstance(error, ApiError) and response is not None:
                error.retry_after = retry.retry_after(response)
            if isinstance(error, UnknownOutcome):
                error.read_back = self._reader(endpoint, args, body, error.body)
            if not isinstance(error, Unreadable) or endpoint.retry != "once":
                raise
            outcome = unknown(request, error.said)
            outcome.status, outcome.body, outcome.attempts = error.status, error.body, attempts
            outcome.read_back = self._reader(endpoint, args, body, error.body)
            raise outcome from error
        finally:
            if trace is not None:
                trace.extend(attempts)

    def _reader(
        self, endpoint: Endpoint[Any], args: Mapping[str, Any], body: object, answer: bytes
    ) -> Callable[[], Awaitable[Any]] | None:
        """What reads back a write that may have happened, where enough is known to find it."""
        how = endpoint.reads_back
        if how is None or (known := read_back_args(how, {**args, **endpoint.bound}, body, answer)) is None:
            return None
        reading, found = self._endpoints()[how.operation], known

        async def read() -> Any:
            try:
                return await self.call(reading, found)
            except NotFound:
                return None

        return read

    def list(
        self, endpoint: ListEndpoint[T], args: Mapping[str, Any], **options: Unpack[ListOptions]
    ) -> Listing[T]:
        """A walk over all pages of a list endpoint; nothing is sent before it is iterated or awaited."""
        return Listing[T](self, endpoint, args, Options(**options))

    def explainer(self) -> Explainer:
        """What explains calls of this session instead of making them."""
        return Explainer(self.origin, self._headers, self._auth.offers)

    async def warm_up(self) -> None:
        """Get a token, over a connection that stays open, and build the decoders."""
        self._life.check()
        for endpoint in self._endpoints().values():
            if isinstance(endpoint, ListEndpoint):
                PageReader(endpoint.operation, endpoint.paging, endpoint.returns)
            else:
                decoder_for(endpoint.returns)
        async with asyncio.timeout(self._timeout):
            await self._auth.credential(_TOKEN, self._exchange)

    def check(self) -> None:
        """Raise `ClientClosed` where the session cannot be used, or not in this loop."""
        self._life.check()

    @property
    def origin(self) -> str:
        """Scheme, host and port that all requests go to."""
        return self._transport.origin

    @property
    def schemes(self) -> Collection[Scheme]:
        """The kinds of credentials that there are."""
        return self._auth.offers

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that every request carries."""
        return self._headers

    @property
    def page_sizes(self) -> MutableMapping[str, int]:
        """By operation: the page size that worked where a larger one did not."""
        return self._page_sizes

    async def send(
        self, request: Request, *, timeout: float | None = None
    ) -> tuple[Response, tuple[Attempt, ...]]:
        """Send until an answer is final. Raises `TransportError` or `UnknownOutcome` where there is none."""
        self._life.check()
        limit = self._timeout if timeout is None else timeout
        if not limit > 0:
            raise InvalidArgument("timeout must be positive", operation=request.operation)
        scope = self._deadlines.within(limit)
        sending = Sending(request)
        try:
            with scope:
                sending.deadline = scope.when
                response = await self._send_retrying(sending)
        except TimeoutError:
            if not scope.expired:  # raised by a strategy of the caller's
                raise
            error: LimioError = sending.ended_by_deadline(limit)
        except AnswerLost as lost:
            if request.retry == "once":
                error = unknown(request, lost.said)
            else:
                error = sending.ended_by_deadline(limit) if scope.expired else lost
        except LimioError as failed:
            error = failed
        else:
            return response, tuple(sending.attempts)
        error.attempts = tuple(sending.attempts)
        raise error from None

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        self._life.start(walk)

    async def aclose(self) -> None:
        """End what is running and let go of connections; may be called more than once."""
        await self._life.end()
        self._deadlines.close()
        await self._transport.aclose()

    async def _send_retrying(self, sending: Sending) -> Response:
        resends = spent = 0
        while True:
            outcome: Response | TransportError
            try:
                outcome = await self._send_authorized(sending)
            except (NeverSent, AnswerLost) as error:
                if (
                    not sending.attempts
                ):  # failed before this request was tried, such as at the token endpoint
                    raise
                outcome = error
            if isinstance(outcome, Response) and outcome.status < 400:
                break
            resends += 1
            wait = self._wait_before_resend(sending, outcome, resends)
            if wait is None or not (cost := self._quota.spend(outcome)):
                break
            spent = cost
            sending.waits(wait)
            await asyncio.sleep(wait)
        if isinstance(outcome, TransportError):
            raise outcome
        if outcome.status < 500 and outcome.status != 429:
            self._quota.repay(spent)
        return outcome

    def _wait_before_resend(
        self, sending: Sending, outcome: Response | TransportError, resends: int
    ) -> float | None:
        """Seconds to wait before the next attempt; None if there is to be none."""
        if resends >= self._attempts or not retry.may_resend(outcome, sending.request.retry):
            return None
        wait = retry.wait_before_resend(resends, outcome)
        return wait if sending.has_time_until(asyncio.get_running_loop().time() + wait) else None

    async def _send_authorized(self, sending: Sending) -> Response:
        if not sending.request.accepts:
            return await self._transmit(sending, sending.request)
        credential = await self._auth.credential(sending.request.accepts, self._exchange)
        if credential is None:
            raise self._missing(sending.request)
        response = await self._transmit(sending, _with(credential, sending.request))
        if response.status == 401 and await self._auth.renew(credential, self._exchange):
            credential = await self._auth.credential(sending.request.accepts, self._exchange)
            if credential is None:
                raise self._missing(sending.request)
            response = await self._transmit(sending, _with(credential, sending.request))
        return response

    async def _transmit(self, sending: Sending, request: Request) -> Response:
        if not sending.has_time_until(self._limiter.opens_at):
            raise _closed_too_long(request, self._limiter.opens_at)
        if not self._limiter.acquire_at_once(self._lane):
            await self._limiter.acquire(self._lane)
        try:  # a slot is held on the wire only, never while waiting to send again
            self._life.check()
            sending.begins()
            outcome: Response | TransportError
            try:
                outcome = await self._transport.send(request, timeout=sending.time_left())
            except TransportError as error:
                outcome = error
            self._limiter.learn(outcome, _asked_to_wait(outcome))
        except Unreadable as error:  # too large to be read
            sending.came_to(error)
            raise
        except asyncio.CancelledError:
            if not sending.has_time_until(asyncio.get_running_loop().time()):
                self._limiter.learn(AnswerLost("cut by the deadline"), None)
            raise
        finally:
            self._limiter.release(self._lane)
        sending.came_to(outcome)
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    def _missing(self, request: Request) -> MissingCredentials:
        return MissingCredentials(
            f"takes {_listed(request.accepts)}, the client has {_listed(self._auth.offers)}",
            operation=request.operation,
        )

    async def _exchange(self, request: Request) -> Response:
        try:
            response, _ = await self.send(
                msgspec.structs.replace(request, accepts=()), timeout=max(self._timeout, _LONGEST_EXCHANGE)
            )
        except (AnswerLost, DeadlineExceeded, UnknownOutcome) as error:  # the call that needs it never left
            raise NeverSent(f"no credentials: {error}") from None
        return response


def _with(credential: Credential, request: Request) -> Request:
    headers = {**request.headers, "authorization": credential.authorization}
    return msgspec.structs.replace(request, headers=headers)


def _asked_to_wait(outcome: Response | TransportError) -> float | None:
    """How long the server wants to be left in peace, within reason."""
    if isinstance(outcome, Response) and outcome.status in {429, 503}:
        asked = retry.retry_after(outcome)
        return asked and min(asked, _LONGEST_CLOSURE)
    return None


def _closed_too_long(request: Request, opens_at: float) -> TooManyRequests:
    wait = opens_at - asyncio.get_running_loop().time()
    return TooManyRequests(
        f"not sent: the server asked for a pause of which {wait:.1f} s are left",
        operation=request.operation,
        status=429,
        retry_after=wait,
    )


def _listed(schemes: Collection[Scheme]) -> str:
    return " or ".join(SCHEMES[scheme] for scheme in sorted(schemes)) or "no credentials"
