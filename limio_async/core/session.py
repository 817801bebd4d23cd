"""One call and its answer; a walk over a list; views with other options."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any, TypedDict, TypeVar, Unpack, cast

from limio_async._frames import cut_below
from limio_async.core.codec import build_request, checked_headers, decoder_for, read_response
from limio_async.core.explain import Explainer
from limio_async.core.identity import told_beside
from limio_async.core.ladder import Ladder
from limio_async.core.limiter import Lane, Limiter
from limio_async.core.listing import Listing, ListOptions, Options
from limio_async.core.listing.reader import PageReader
from limio_async.core.outcome import note_answer, settled
from limio_async.core.ports import Auth, Transport, Watch, Watching
from limio_async.core.sending import Answer, Sending, facts
from limio_async.core.wire import Attempt, Endpoint, ListEndpoint, Request, Response, Scheme
from limio_async.errors import LimioError, UnknownOutcome

__all__ = ["CallOptions", "Resource", "Session"]

T = TypeVar("T")

_log = logging.getLogger("limio_async")
_DEBUG = logging.DEBUG
_Attempts = list[Attempt]


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
    """Calls the operations of one origin and walks its lists; `core.ladder` sends what that takes.

    *timeout* is the deadline of a call in seconds, *attempts* how often a call is sent at most,
    *max_concurrency* how many requests are on the wire at once, unless a *limiter* says when they leave.
    *plain_item_paths*: paths of catalog items are sent with their slashes as they are. *origin* is the transport's,
    in the spelling that is shown and kept.
    *endpoints* gives those by which *reader* makes what reads lost writes back.
    """

    def __init__(
        self,
        transport: Transport,
        auth: Auth,
        *,
        timeout: float = 60.0,
        attempts: int = 3,
        max_concurrency: int = 16,
        limiter: Limiter | None = None,
        watching: Watching | None = None,
        observed: bool = False,
        plain_item_paths: bool = False,
        origin: str | None = None,
        endpoints: Callable[[], Mapping[str, Endpoint[Any]]] = dict,
        reader: Callable[..., Callable[[], Awaitable[Any]] | None] | None = None,
    ) -> None:
        self._origin = transport.origin if origin is None else origin
        self._auth = auth
        self._endpoints = endpoints
        self._reader = reader
        self.ladder = Ladder(
            transport,
            auth,
            limiter or Limiter(max_concurrency),
            origin=self._origin,
            timeout=timeout,
            attempts=attempts,
            watching=watching,
        )
        self._observed = observed
        self.lane: Lane = "interactive"
        self.page_sizes: MutableMapping[str, int] = {}
        """By operation: the page size that worked where a larger one did not."""
        self.headers: Mapping[str, str] = {}
        """Headers that every request carries."""
        self._plain = plain_item_paths

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
        view.ladder = self.ladder.with_options(timeout=timeout, attempts=attempts, lane=lane)
        view.lane = view.ladder.lane
        view.headers = {**self.headers, **checked_headers(headers or {})}
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
        response: Response | None = None
        sending: Sending | None = None
        outcome: BaseException | None = None
        doubt: BaseException | None = None
        watch = None
        if self._observed or _log.isEnabledFor(_DEBUG):
            watch = self.ladder.watched(endpoint, args)
        try:
            request = build_request(endpoint, args, body, headers=self.headers, plain_item_paths=self._plain)
            response, sending = await self.ladder.send(request, timeout=timeout, trace=trace, watch=watch)
            answer = read_response(endpoint, response)
        except BaseException as error:
            cut_below(error)
            outcome = error
            if response is not None and sending is not None and isinstance(error, LimioError):
                note_answer(error, response, sending.attempts, endpoint.retry)
                outcome = settled(error, endpoint, left=True)
                response = None  # no variable of a traceback holds an answer
            doubt = outcome if isinstance(outcome, LimioError) else outcome.__cause__
            if isinstance(doubt, UnknownOutcome) and self._reader is not None:
                caller = self if timeout is None else self.with_options(timeout=timeout)
                doubt.read_back = self._reader(caller, self._endpoints, endpoint, args, body, doubt.body)
            if isinstance(outcome, LimioError) and endpoint.retry == "once" and outcome.happened == "unknown":
                tried = outcome.attempts
                took = time.time() - tried[0].start if tried else None
                extra = facts(endpoint.operation, self.lane, tried, type(outcome).__name__, took)
                _log.warning("%s", outcome, extra=extra)
            if outcome is error:
                raise
            raise outcome from error
        else:
            if told := told_beside(response.body):
                shown = (
                    told
                    if endpoint.body_format == "json"
                    else "something that is not shown, as a form has secrets"
                )
                _log.warning("%s: a success, but the answer also says %s", endpoint.operation, shown)
            return answer
        finally:
            if watch is not None:
                watch.ended(outcome)
            outcome = doubt = None  # an error holds this frame

    def list(
        self, endpoint: ListEndpoint[T], args: Mapping[str, Any], **options: Unpack[ListOptions]
    ) -> Listing[T]:
        """A walk over all pages of a list endpoint; nothing is sent before it is iterated or awaited."""
        return Listing[T](self, endpoint, args, Options(**options))

    def list_endpoint(self, operation: str) -> ListEndpoint[Any]:
        """Return the facts of a list operation, for methods that are no operation of their own."""
        return cast("ListEndpoint[Any]", self._endpoints()[operation])

    def explainer(self) -> Explainer:
        """What explains calls of this session instead of making them."""
        return Explainer(self.origin, self.headers, self._auth.offers, plain_item_paths=self._plain)

    async def warm_up(self) -> None:
        """Get a token, over a connection that stays open, and build the decoders."""
        self.check()
        for endpoint in self._endpoints().values():
            if isinstance(endpoint, ListEndpoint):
                PageReader(endpoint, endpoint.returns)
            else:
                decoder_for(endpoint.returns)
        try:
            await self.ladder.warm_up()
        except BaseException as error:
            cut_below(error)
            raise

    def check(self) -> None:
        """Raise `ClientClosed` where the session cannot be used, or not in this loop."""
        self.ladder.lifetime.check()

    @property
    def origin(self) -> str:
        """Scheme, host and port that all requests go to."""
        return self._origin

    @property
    def schemes(self) -> Collection[Scheme]:
        """The kinds of credentials that there are."""
        return self._auth.offers

    async def send(
        self,
        request: Request,
        *,
        timeout: float | None = None,
        trace: _Attempts | None = None,
        watch: Watch | None = None,
    ) -> Answer:
        """Send until an answer is final. Raises `TransportError` or `UnknownOutcome` where there is none."""
        try:
            response, sending = await self.ladder.send(request, timeout=timeout, trace=trace, watch=watch)
            return response, tuple(sending.attempts)
        except BaseException as error:
            cut_below(error)
            raise

    def watched(self, endpoint: ListEndpoint[Any], args: Mapping[str, Any], page: int) -> Watch | None:
        """Begin to watch a page of a walk or, for 0, the walk; None where nobody does."""
        return self.ladder.watched(endpoint, args, page)

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        self.ladder.lifetime.start(walk)

    async def aclose(self) -> None:
        """End what is running and let go of connections; may be called more than once."""
        await self.ladder.aclose()
