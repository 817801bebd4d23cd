"""One request, rung by rung: send → _retrying → _authorized → _transmit."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from limio_async.core import guard, retry
from limio_async.core.deadline import Deadlines
from limio_async.core.lifetime import Lifetime
from limio_async.core.limiter import Lane, Limiter
from limio_async.core.outcome import in_doubt, refuses_token, settled, without_credentials
from limio_async.core.ports import Auth, Transport, Watch, Watching
from limio_async.core.sending import Sending, facts, watched
from limio_async.core.wire import SCHEMES, Attempt, Credential, Endpoint, Request, Response, Scheme
from limio_async.errors import (
    AnswerLost,
    ApiError,
    DeadlineExceeded,
    InvalidArgument,
    LimioError,
    MissingCredentials,
    NeverSent,
    TooManyRequests,
    TransportError,
    Unreadable,
    judge,
)

__all__ = ["Ladder", "accepted", "with_credential"]

T = TypeVar("T")

_log = logging.getLogger("limio_async")
_LONGEST_CLOSURE = 60.0
_SHORTEST_SECRET = 6  # a shorter one may stand in any word
_LONGEST_EXCHANGE = 60.0  # the deadline of the call that needs it mostly ends it before
_TOKEN: tuple[Scheme, ...] = ("bearer",)


class Ladder:
    """Sends requests until their outcome is final: the deadline, resends, credentials and the limiter."""

    def __init__(
        self,
        transport: Transport,
        auth: Auth,
        limiter: Limiter,
        *,
        origin: str,
        timeout: float,
        attempts: int,
        watching: Watching | None,
    ) -> None:
        self._transport = transport
        self._origin = origin
        self.auth = auth
        self.lifetime = Lifetime()
        self.limiter = limiter
        self._watching = watching
        self.quota = retry.RetryQuota()
        self._deadlines = Deadlines()
        self._timeout = timeout
        self._attempts = attempts
        self.lane: Lane = "interactive"

    def with_options(self, *, timeout: float | None, attempts: int | None, lane: Lane | None) -> Ladder:
        """Return the same ladder with other options for what is sent through it."""
        view = copy.copy(self)
        view._timeout = self._timeout if timeout is None else timeout
        view._attempts = self._attempts if attempts is None else attempts
        view.lane = self.lane if lane is None else lane
        return view

    async def send(
        self,
        request: Request,
        *,
        timeout: float | None = None,
        trace: list[Attempt] | None = None,
        watch: Watch | None = None,
    ) -> tuple[Response, Sending]:
        """Send until an answer is final. Raises `TransportError` or `UnknownOutcome` where there is none.

        *trace* gets the attempts, however it ends, and *watch* is told on the way.
        """
        self.lifetime.check()
        guard.check(request.operation)
        limit = self._timeout if timeout is None else timeout
        if timeout is not None and not _is_time(timeout):
            said = f"timeout must be positive, a number above 0, not {timeout!r}"
            raise InvalidArgument(said, operation=request.operation)
        scope = self._deadlines.within(limit)
        sending = Sending(request, watch)
        failed: BaseException
        try:
            with scope:
                sending.deadline = scope.when
                response = await self._retrying(sending)
        except BaseException as error:
            failed = error
            if scope.expired and isinstance(error, TimeoutError | TransportError):
                sending.cut("cut by the deadline")
                failed = _past_deadline(request.operation, limit, left=sending.left)
        else:
            if trace is not None:
                trace += sending.attempts
            return response, sending
        if isinstance(failed, LimioError):
            failed = settled(failed, request, left=sending.left)
            failed.attempts = tuple(sending.attempts)
            judge(failed, request.retry, left=sending.left, answered=not isinstance(failed, ApiError))
        else:  # the caller is cancelled, or a strategy or a transport of the caller's fails
            why = "cancelled" if isinstance(failed, asyncio.CancelledError) else type(failed).__name__
            sending.cut(why)
            if sending.left and (doubt := in_doubt(request, why, sending.attempts)):
                extra = facts(request.operation, self.lane, sending.attempts, type(failed).__name__)
                _log.warning(
                    "%s", doubt, extra=extra
                )  # asyncio.timeout() and others hide what is raised here
                failed.add_note(str(doubt))
                failed.__cause__, doubt.__cause__ = doubt, failed.__cause__
        if trace is not None:
            trace += sending.attempts
        try:
            raise failed
        finally:
            del failed  # which holds this frame

    def watched(
        self, what: Endpoint[Any] | Request, args: Mapping[str, Any], page: int | None = None
    ) -> Watch | None:
        """Begin to watch a call, page number *page* of a walk or, for 0, the walk; None where nobody does."""
        return None if self._watching is None else self._watching(what, args, self.lane, page)

    async def warm_up(self) -> None:
        """Get a token, over a connection that stays open."""
        scope = self._deadlines.within(self._timeout)
        try:
            with scope:
                await self.auth.credential(_TOKEN, self._exchange)
        except TimeoutError:
            if not scope.expired:
                raise
            raise _past_deadline("createToken", self._timeout, left=False) from None
        except LimioError as error:
            judge(error, "safe", left=False)
            raise

    async def aclose(self) -> None:
        """End what is running and let go of connections; may be called more than once."""
        await self.lifetime.end()
        self._deadlines.close()
        await self._transport.aclose()

    async def _retrying(self, sending: Sending) -> Response:
        resends = spent = 0
        while True:
            outcome: Response | TransportError
            try:
                outcome = await self._authorized(sending)
            except (NeverSent, AnswerLost) as error:
                if error is not sending.lost:  # failed before it was tried: a pace, or the token endpoint
                    raise
                outcome = error
            if isinstance(outcome, Response) and outcome.status < 400:
                break
            resends += 1
            wait = self._wait_before_resend(sending, outcome, resends)
            if wait is None or not (cost := self.quota.spend(outcome)):
                break
            spent = cost
            sending.waits(wait, self.lane)
            await asyncio.sleep(wait)
        if isinstance(outcome, TransportError):
            try:
                raise outcome
            finally:
                del outcome
        if outcome.status < 500 and outcome.status not in retry.THROTTLED:
            self.quota.repay(spent)
        return outcome

    def _wait_before_resend(
        self, sending: Sending, outcome: Response | TransportError, resends: int
    ) -> float | None:
        """Seconds to wait before the next attempt; None if there is to be none."""
        if resends >= self._attempts or not retry.may_resend(outcome, sending.request.retry):
            return None
        wait = retry.wait_before_resend(resends, outcome)
        return wait if sending.has_time_until(asyncio.get_running_loop().time() + wait) else None

    async def _authorized(self, sending: Sending) -> Response:
        request = sending.request
        if not request.accepts:
            return await self._transmit(sending, request)
        watch = sending.watch
        getting = self._credential(sending)
        credential = await (getting if watch is None else _timed(getting, watch.token))
        response = await self._transmit(sending, with_credential(credential, request))
        if response.status < 400:
            return response
        if not refuses_token(response):
            return without_echo(credential, response)
        renewing = self._renewed(credential, sending)
        if await (renewing if watch is None else _timed(renewing, watch.token)):
            credential = await self._credential(sending)
            response = await self._transmit(sending, with_credential(credential, request))
        return response if response.status < 400 else without_echo(credential, response)

    async def _credential(self, sending: Sending) -> Credential:
        request = sending.request
        try:
            credential = await self.auth.credential(accepted(request, self.auth.offers), self._exchange)
        except LimioError as error:
            raise without_credentials(error, request, again=bool(sending.attempts)) from None
        if credential is None:
            raise MissingCredentials(
                f"takes {_listed(request.accepts)}, the client has {_listed(self.auth.offers)}",
                operation=request.operation,
            )
        if credential.origin is not None and credential.origin != self._origin:
            raise MissingCredentials(
                f"the sign-in is for {credential.origin}, not for {self._origin}; sign in: limio login",
                operation=request.operation,
            )
        return credential

    async def _renewed(self, refused: Credential, sending: Sending) -> bool:
        try:
            return await self.auth.renew(refused, self._exchange)
        except LimioError as error:
            raise without_credentials(error, sending.request, again=True) from None

    async def _transmit(self, sending: Sending, request: Request) -> Response:
        if not sending.has_time_until(self.limiter.opens_at):
            raise _closed_too_long(request, self.limiter.opens_at)
        if not self.limiter.acquire_at_once(self.lane):
            waiting, watch = self.limiter.acquire(self.lane, request.operation), sending.watch
            release = partial(self.limiter.release, self.lane)
            await (waiting if watch is None else _timed(waiting, watch.queued, release))
        try:  # a slot is held on the wire only, never while waiting to send again
            if self.lifetime.closed:  # meanwhile
                self.lifetime.check()
            if sending.watch is not None and (traced := sending.watch.sends(len(sending.attempts) + 1)):
                request = msgspec.structs.replace(request, headers={**request.headers, **traced})
            outcome: Response | TransportError
            try:
                outcome = await self._transport.send(request, timeout=sending.begins())
            except TransportError as error:
                outcome = error
            self.limiter.learn(outcome, _asked_to_wait(outcome))
        except Unreadable as error:  # too large to be read
            sending.came_to(error)
            raise
        except BaseException as error:
            said_no = (
                isinstance(error, LimioError) and error.happened == "no"
            )  # closed or refused on our side
            if said_no or isinstance(error.__cause__, NeverSent):
                sending.never_left()
            elif not sending.has_time_until(asyncio.get_running_loop().time()):
                self.limiter.learn(AnswerLost("cut by the deadline"), None)
            raise
        finally:
            self.limiter.release(self.lane)
        sending.came_to(outcome)
        if isinstance(outcome, TransportError):
            try:
                raise outcome
            finally:
                del outcome
        return outcome

    async def _exchange(self, request: Request) -> Response:
        """What a strategy sends by: a request of its own, whose errors are never those of the one that waits."""
        watch, bare = self.watched(request, {}), msgspec.structs.replace(request, accepts=())
        sent = self.send(bare, timeout=max(self._timeout, _LONGEST_EXCHANGE), watch=watch)
        response, _ = await (sent if watch is None else watched(sent, watch, request.operation))
        return response


async def _timed(
    waiting: Awaitable[T], tell: Callable[[float], None], undo: Callable[[], None] | None = None
) -> T:
    loop = asyncio.get_running_loop()
    begun, undone = loop.time(), None
    try:
        came_to = await waiting
        undone = undo
    finally:
        try:
            tell(loop.time() - begun)
        except BaseException:  # such as SystemExit, which nobody holds back
            if undone is not None:
                undone()
            raise
    return came_to


def accepted(request: Request, offers: Collection[Scheme]) -> Collection[Scheme]:
    """Return the credentials of which one goes with *request*: the one it prefers, if the client *offers* it."""
    if request.prefers is not None and request.prefers in offers:
        return (request.prefers,)
    return request.accepts


def with_credential(credential: Credential, request: Request) -> Request:
    """Return *request* as it is sent: with its `Authorization`."""
    headers = {**request.headers, "authorization": credential.authorization}
    return msgspec.structs.replace(request, headers=headers)


def _is_time(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and given > 0


def without_echo(credential: Credential, response: Response) -> Response:
    """Return a refusal without the credential that it may repeat: its words end in errors."""
    secret = credential.authorization.rpartition(" ")[2].encode()
    if len(secret) < _SHORTEST_SECRET or secret not in response.body:
        return response
    return msgspec.structs.replace(response, body=response.body.replace(secret, b"***"))


def _past_deadline(operation: str, limit: float, *, left: bool) -> DeadlineExceeded:
    error = DeadlineExceeded(f"not finished after {limit:g} s", operation=operation)
    error.left = left
    return error


def _asked_to_wait(outcome: Response | TransportError) -> float | None:
    """How long the server wants to be left in peace, within reason."""
    if isinstance(outcome, Response) and (outcome.status == 503 or outcome.status in retry.THROTTLED):
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
