"""Every exception of this package, arranged by what the caller can do next.

LimioError
├── TransportError        no usable answer came
│   ├── NeverSent         not sent, or refused for its token: send again
│   ├── AnswerLost        it left, the answer did not arrive: it may have taken effect
│   └── DeadlineExceeded  the call's own deadline ended it
├── ApiError              the answer is no (`status`, `words`, `body`)
│   ├── BadRequest        400, 422: mend the request
│   ├── Unauthorized      401: sign in again
│   ├── Forbidden         403: these credentials may not do this
│   ├── NotFound          404
│   ├── Conflict          409: the name is taken
│   ├── Locked            423: a pending change blocks this
│   ├── TooManyRequests   408, 425, 429: wait (`retry_after`, seconds)
│   ├── BadGateway        502: an upstream fault, or the payload is wrong
│   └── ServerError       any other 5xx
├── UnknownOutcome        a write that may or may not have happened: look before sending it again
├── Unreadable            answered yes, but not as specified (`spot`, a JSON path)
├── ListingError          a walk cannot go on (`checkpoint`)
│   ├── CursorExpired     the server dropped the cursor: walk again
│   ├── CursorLoop        the server repeats itself
│   ├── SnapshotChanged   the list is not the one that the walk began with
│   └── IncompleteListing not as many items as promised, a page twice, or one that cannot be asked for again
├── JobError              a sync job cannot begin or go on; what it has saved stays saved
│   ├── SinkError         the target (a database, a directory) cannot be used
│   │   └── TargetAway    it does not answer: wait, then do the same again
│   └── TargetBusy        another run or program holds what is needed: wait, or stop it
├── OutboxError           an outbox cannot do what it was asked; nothing of it was stored
│   ├── KeyReused         another order is stored under the key (`paths`): take another key
│   ├── TooManyWaiting    more orders wait than the caller allows: try again later
│   └── UnknownKey        nothing was ever intended under the key
├── InboxError            an inbox cannot do what it was asked
│   └── UnknownEvent      it has no such event
├── StoreError            the database of an outbox or inbox cannot be used
│   └── StoreAway         it does not answer, or another program holds it: try again later
├── CatalogUnavailable    a cache holds no catalog, or one that is too old: try again later
├── ForeignCheckpoint     the checkpoint belongs to another listing, or cannot be resumed
├── InvalidArgument       raised before anything is sent: a value cannot be put on the wire
├── MissingCredentials    raised before anything is sent: the operation takes X, the client has Y
├── ConfigurationError    a setting (host, profile, environment) cannot be used
└── ClientClosed          the client was closed, or belongs to another event loop

Errors carry facts, never request objects, and what a call raises, `asyncio.CancelledError` included, has no frame from
below the call in its traceback: no token can reach a crash report through them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

__all__ = [
    "AnswerLost",
    "ApiError",
    "BadGateway",
    "BadRequest",
    "CatalogUnavailable",
    "ClientClosed",
    "ConfigurationError",
    "Conflict",
    "CursorExpired",
    "CursorLoop",
    "DeadlineExceeded",
    "Forbidden",
    "ForeignCheckpoint",
    "InboxError",
    "IncompleteListing",
    "InvalidArgument",
    "JobError",
    "KeyReused",
    "LimioError",
    "ListingError",
    "Locked",
    "MissingCredentials",
    "NeverSent",
    "NotFound",
    "OutboxError",
    "ServerError",
    "SinkError",
    "SnapshotChanged",
    "StoreAway",
    "StoreError",
    "TargetAway",
    "TargetBusy",
    "TooManyRequests",
    "TooManyWaiting",
    "TransportError",
    "Unauthorized",
    "UnknownEvent",
    "UnknownKey",
    "UnknownOutcome",
    "Unreadable",
]


Happened = Literal["no", "unknown"]
"""Whether a call took effect at Limio: it certainly did not, or nobody can know."""

Fate = tuple[Happened, bool]
"""`happened` and `retryable`."""

_NOT_IMPLEMENTED = 501
_NO: Fate = ("no", False)
_LATER: Fate = ("no", True)
_OPEN: Fate = ("unknown", False)
_REPEAT: Fate = ("unknown", True)


def _fates(*, safe: Fate, scroll: Fate, idempotent: Fate, once: Fate) -> Mapping[str, Fate]:
    return {"safe": safe, "scroll": scroll, "idempotent": idempotent, "once": once}


_REFUSED = _fates(safe=_NO, scroll=_NO, idempotent=_NO, once=_NO)
_UNTOUCHED = _fates(safe=_LATER, scroll=_LATER, idempotent=_LATER, once=_LATER)
_THROTTLED = _fates(safe=_LATER, scroll=_LATER, idempotent=_LATER, once=_OPEN)
_UNCLEAR = _fates(safe=_LATER, scroll=_OPEN, idempotent=_REPEAT, once=_OPEN)
_ANSWERED = _fates(safe=_NO, scroll=_OPEN, idempotent=_OPEN, once=_OPEN)
_DOUBTFUL = _fates(safe=_REPEAT, scroll=_REPEAT, idempotent=_REPEAT, once=_REPEAT)
_IN_DOUBT = _fates(safe=_OPEN, scroll=_OPEN, idempotent=_OPEN, once=_OPEN)


class LimioError(Exception):
    """Base of all errors raised by this package; `str()` names the operation and the spot."""

    def __reduce__(self) -> tuple[Any, ...]:  # across processes, without what reads back
        state = {name: value for name, value in vars(self).items() if name != "read_back"}
        return _restored, (type(self), self.args, state)

    attempts: Sequence[Any] = ()
    """What was tried before giving up, oldest first: `limio_async.core.wire.Attempt` values."""
    fates: ClassVar[Mapping[str, Fate]] = _REFUSED
    """What an error of this class says of a call, by the call's retry class."""
    fate: Fate | None = None
    """What it says of the call that raised it; None where none did."""
    retry_class: str | None = None
    """How that call may be repeated: `safe`, `scroll`, `idempotent` or `once`. None where no call raised it."""
    headers: Mapping[str, str] = {}
    """Those headers of the answer that help support: request ids, date, content type. Empty where none came."""

    def __init__(self, message: str, *, operation: str = "") -> None:
        super().__init__(f"{operation}: {message}" if operation else message)
        self.said = message
        """The message without the operation."""
        self.operation = operation
        """The operation's id in the API description, such as `getObject`."""

    @property
    def happened(self) -> Happened:
        """Whether the call took effect: `no`, or `unknown`: then look before you send a write again."""
        return (self.fate or self.fates["once"])[0]

    @property
    def retryable(self) -> bool:
        """Whether the same call may be made again later, does nothing twice then, and has a chance."""
        return (self.fate or self.fates["once"])[1]

    @property
    def request_id(self) -> str | None:
        """The answer's `x-request-id`, `x-amzn-requestid` or `x-amz-cf-id`, the first that it has."""
        return request_id_of(self.headers)

    @property
    def message(self) -> str:
        """The whole text, as `str()`: crash reporters show this attribute where an exception has it."""
        return str(self)


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return what support asks for: the first of the *headers* that name a request."""
    return headers.get("x-request-id") or headers.get("x-amzn-requestid") or headers.get("x-amz-cf-id")


def judge(error: LimioError, retry: str, *, left: bool, answered: bool = True) -> None:
    """Note in *error* whether its call, of class *retry*, happened and may be made again.

    *left*: an attempt before had left without a clear answer. An answer that is not the call's own (of the token
    endpoint, or none at all) says nothing of it: then it was not *answered*.
    """
    fates = error.fates
    if isinstance(error, DeadlineExceeded) and error.left:
        fates = AnswerLost.fates
    elif isinstance(error, ServerError) and error.status == _NOT_IMPLEMENTED:
        fates = LimioError.fates
    happened, again = fates[retry if answered else "safe"]
    if left and retry != "safe":
        happened, again = "unknown", again and retry == "idempotent"
    error.fate, error.retry_class = (happened, again), retry


def _restored(kind: type[LimioError], args: tuple[Any, ...], state: Mapping[str, Any]) -> LimioError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class TransportError(LimioError):
    """No usable answer came back."""

    fates = _UNCLEAR


class NeverSent(TransportError):
    """Nothing was done (name, connection, TLS or credentials failed): sending again is safe."""

    fates = _UNTOUCHED


class AnswerLost(TransportError):
    """The request left, its answer did not arrive whole: it may have taken effect."""


class DeadlineExceeded(TransportError):
    """The call's deadline ended it, whatever it was waiting for; a read can simply be repeated."""

    fates = _UNTOUCHED

    left: bool = False
    """Whether the request had left by then without a clear answer: a write may have taken effect."""


class ApiError(LimioError):
    """Limio answered, and the answer is no."""

    def __init__(
        self,
        words: str,
        *,
        operation: str,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {words}".rstrip(), operation=operation)
        self.status = status
        self.words = words
        """What the answer's body says, shortened to one line; empty if it says nothing."""
        self.body = body
        """The answer's body, at most its first 2 KiB."""
        self.headers = headers or {}
        self.retry_after = retry_after
        """Seconds the server asked to wait, where it said so."""


class BadRequest(ApiError):
    """400 or 422: the request itself must change."""


class Unauthorized(ApiError):
    """401: the credential is missing, wrong or expired; it was already renewed once if it could be."""


class Forbidden(ApiError):
    """403: these credentials may not do this."""


class NotFound(ApiError):
    """404: no such object, journey, build or unpublished offer."""


class Conflict(ApiError):
    """409: the name is taken."""


class Locked(ApiError):
    """423: the subscription has a pending change that blocks a checkout."""

    fates = _UNTOUCHED


class TooManyRequests(ApiError):
    """429, also 408 and 425: not now; `retry_after` tells how many seconds to wait, where the answer said so."""

    fates = _THROTTLED


class BadGateway(ApiError):
    """502: an upstream fault, or values in the payload that an upstream refused."""

    fates = _UNCLEAR


class ServerError(ApiError):
    """Any other 5xx."""

    fates = _UNCLEAR


class UnknownOutcome(LimioError):
    """A write that may or may not have happened. Look whether it did before sending it again."""

    fates = _IN_DOUBT

    read_back: Callable[[], Awaitable[Any]] | None = None

    def __init__(self, message: str, *, operation: str, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message, operation=operation)
        self.status = status
        """The status that was answered; None where none is known."""
        self.body = body
        """The answer's body, at most its first 2 KiB."""

    async def reconcile(self) -> Any:
        """Read back what the write makes: the object, or None if it is not found.

        Not found does not say that it did not happen: it may show up later. A journey is found by its name, a
        promo code by its id, an order by the id that an answer gave, else among the newest 50 orders of the
        subscription that its body names by id: the one of its `order_type` and `external_id`, or, without an
        `external_id`, the newest that says nothing else than it. Each request has as long as the call was given.
        Raises this error again where there is nothing to look by, and where looking fails: why is its `__cause__`.
        """
        if self.read_back is None:
            raise self
        try:
            return await self.read_back()
        except LimioError as error:
            raise self from error


class Unreadable(LimioError):
    """Limio answered yes, but not as the API description says; `spot` is a JSON path such as `$.items[2].sku`."""

    fates = _ANSWERED

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        spot: str = "$",
        status: int | None = None,
        body: bytes = b"",
        too_large: bool = False,
    ) -> None:
        super().__init__(message, operation=operation)
        self.too_large = too_large
        """Whether the answer was refused for its size."""
        self.spot = spot
        self.status = status
        """The status that was answered; None where it is not known."""
        self.body = body
        """The answer's body, at most its first 2 KiB."""


class ListingError(LimioError):
    """A walk cannot go on; `checkpoint` says where it stood."""

    def __init__(self, message: str, *, operation: str, checkpoint: Any = None) -> None:
        super().__init__(message, operation=operation)
        self.checkpoint = checkpoint


class CursorExpired(ListingError):
    """The server no longer knows the cursor; the walk must start from the top."""

    fates = _UNTOUCHED


class CursorLoop(ListingError):
    """The server sends what it already sent, without end."""


class SnapshotChanged(ListingError):
    """The list is not the one that was walked: `commitId` changed, or items did not come again."""

    fates = _UNTOUCHED


class IncompleteListing(ListingError):
    """The walk got fewer or more items than `hits` promised, a page came twice, or one was lost."""

    fates = _UNTOUCHED

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        checkpoint: Any = None,
        expected: int | None = None,
        seen: int | None = None,
    ) -> None:
        super().__init__(message, operation=operation, checkpoint=checkpoint)
        self.expected = expected
        self.seen = seen


class JobError(LimioError):
    """A sync job cannot begin or go on. What it has written and saved stays: the same job goes on from there."""


class SinkError(JobError):
    """The target of a sync job cannot be used: the message says why and what to do."""

    def __init__(self, message: str, *, operation: str = "", one_table: bool = False) -> None:
        super().__init__(message, operation=operation)
        self.one_table = one_table
        """Whether it concerns one table: streams of other tables go on."""


class TargetAway(SinkError):
    """The target does not answer: it restarts, or the connection was lost. Do the same again later.

    A transaction whose end was under way may have been committed; doing it twice changes nothing.
    """

    fates = _DOUBTFUL


class TargetBusy(JobError):
    """Another run or another program holds what is needed; nothing was changed."""

    fates = _UNTOUCHED

    def __init__(self, message: str, *, operation: str = "", final: bool = False) -> None:
        super().__init__(message, operation=operation)
        self.final = final
        """Whether waiting does not help this run: another one has taken its place."""


class OutboxError(LimioError):
    """An outbox cannot do what it was asked."""


class KeyReused(OutboxError):
    """Another order is stored under the key; that one stays as it is."""

    def __init__(self, message: str, *, operation: str = "", paths: Sequence[str] = ()) -> None:
        super().__init__(message, operation=operation)
        self.paths = tuple(paths)
        """Where the two orders differ, such as `$.orderItems[0].quantity`."""


class TooManyWaiting(OutboxError):
    """More orders wait than the caller allows; the order was not stored."""

    fates = _UNTOUCHED


class UnknownKey(OutboxError, LookupError):
    """Nothing was ever intended under the key."""


class InboxError(LimioError):
    """An inbox cannot do what it was asked."""


class UnknownEvent(InboxError, LookupError):
    """The inbox has no such event."""


class StoreError(LimioError):
    """The database of an outbox or inbox cannot be used: the message says why and what to do."""


class StoreAway(StoreError):
    """It does not answer, has no room left on its disk, or another program holds it: do the same again later.

    A transaction whose end was under way may have been committed; doing it twice changes nothing.
    """

    fates = _DOUBTFUL


class CatalogUnavailable(LimioError):
    """A cache has no catalog yet, or has been unable to refresh it for too long: try again later."""

    fates = _UNTOUCHED


class ForeignCheckpoint(LimioError):
    """The checkpoint belongs to another operation, other arguments or another host, or cannot be resumed."""


class InvalidArgument(LimioError, ValueError):
    """Nothing was sent: an argument cannot be put on the wire; the message names it."""


class MissingCredentials(LimioError):
    """Nothing was sent: the operation takes one credential, the client has others or none."""


class ConfigurationError(LimioError, ValueError):
    """A setting (host, environment variable, profile) cannot be used."""


class ClientClosed(LimioError):
    """The client was closed, is not open yet, or belongs to another event loop."""
