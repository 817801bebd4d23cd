"""What came of a request: the error of an answer, and whether a write may have happened. Pure.

The only maker of `UnknownOutcome`, and of errors made from an answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from limio_async import errors
from limio_async.core.retry import THROTTLED, retry_after
from limio_async.core.wire import Attempt, Endpoint, Request, Response, Retry
from limio_async.core.words import words_of

__all__ = [
    "error_for",
    "in_doubt",
    "is_unclear",
    "kept",
    "left_open",
    "note_answer",
    "refused",
    "refuses_token",
    "settled",
    "unreadable",
    "without_credentials",
]

E = TypeVar("E", bound=errors.LimioError)

_KEPT_BODY = 2048
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_IMPLEMENTED = 501
_EXPIRED = re.compile("token.*expired|expired.*token", re.IGNORECASE)  # as some gateways say 401
_NEVER_KEPT = frozenset({"createToken"})  # its answers are secrets
_KEPT_HEADERS = frozenset({
    "content-type", "date", "retry-after", "via", "x-amz-cf-id", "x-amzn-requestid", "x-request-id",
})  # fmt: skip
_OF_CREDENTIALS = (errors.Unauthorized, errors.TooManyRequests)
"""What an answer to the request for credentials may mean to the one that waits for them; the rest would be about that."""
_PASSING = (errors.TransportError, errors.UnknownOutcome, errors.Unreadable, errors.ApiError)
"""What may go wrong with credentials and is not the caller's to mend, as `ConfigurationError` is."""


def error_for(
    operation: str, response: Response, retry: Retry = "safe", *, hide: Collection[str] = ()
) -> errors.LimioError:
    """Return the error of an answer that is not a success; its text has nothing of what to *hide*."""
    status = response.status
    words = words_of(response.body, hide=hide, of_text=operation not in _NEVER_KEPT)
    if retry == "once" and is_unclear(status):
        said = f"{status} {words or 'without a reason'}"
        return _unknown(operation, said, status, _body(operation, response.body), "or the payload is wrong; ")
    if 300 <= status < 400:
        words = "redirects are not followed; is the host right?"
    return _error_type(status)(
        words,
        operation=operation,
        status=status,
        body=_body(operation, response.body),
        headers=kept(response.headers),
        retry_after=retry_after(response),
    )


def unreadable(operation: str, body: bytes, reason: str, at: str) -> errors.Unreadable:
    """Return the error of a body that msgspec refused for *reason*; *at* is where in the answer it was found."""
    said, _, spot = reason.partition(" - at `")
    spot = at + spot.rstrip("`").removeprefix("$")
    if body.lstrip()[:1] == b"<":
        said, spot = "expected JSON, got a page of HTML; is the host right?", at
    return errors.Unreadable(
        f"{said if said.startswith('JSON') else said[:1].lower() + said[1:]} - at {spot}".replace("`", ""),
        operation=operation,
        spot=spot,
        body=_body(operation, body),
    )


def refuses_token(response: Response) -> bool:
    """Return whether an answer says that the token is not, or no longer, good: then nothing was executed."""
    if response.status == _FORBIDDEN:
        return _EXPIRED.search(words_of(response.body)) is not None
    return response.status == _UNAUTHORIZED


def refused(
    operation: str,
    body: bytes,
    identity: tuple[str, ...],
    *,
    says: str = "",
    at: str = "$",
    status: int | None = None,
) -> errors.Unreadable:
    """Return the error of a success, or of an item *at* a spot of one, that has none of the fields in *identity*."""
    said = words_of(body, of_text=False) if operation not in _NEVER_KEPT else ""
    lacks = f"has no {' or '.join(identity)}" if identity else "tells of an error"
    lacks += f" with the word {says}" if says else ""
    return errors.Unreadable(
        f"the {'answer' if at == '$' else 'item'} {lacks}{said and f', it says: {said}'} - at {at}",
        operation=operation,
        spot=at,
        status=status,
        body=_body(operation, body),
    )


def note_answer(error: E, answer: Response, attempts: Sequence[Attempt], retry: Retry = "safe") -> E:
    """Note in *error*, raised by reading *answer* to a request of class *retry*, what was answered to which *attempts*."""
    attempts = tuple(attempts)
    for one in (error, error.__cause__):
        if isinstance(one, errors.Unreadable):
            one.status = answer.status
        if isinstance(one, errors.LimioError):
            one.attempts, one.headers = attempts, kept(answer.headers)
    before = [one.status or 500 for one in attempts[:-1] if one.reason != errors.NeverSent.__name__]
    errors.judge(error, retry, left=any(map(is_unclear, before)))
    return error


def left_open(error: errors.TransportError | errors.Unreadable) -> bool:
    """Whether an attempt that ended with *error* may have taken effect without a clear answer."""
    return not isinstance(error, errors.NeverSent)


def is_unclear(status: int) -> bool:
    """Whether an attempt that was answered with *status* may have taken effect nevertheless."""
    return status >= 500 and status != _NOT_IMPLEMENTED


def settled(error: errors.LimioError, request: Request | Endpoint[Any], *, left: bool) -> errors.LimioError:
    """Return what *error* means to the caller of *request*, of which an attempt *left* without a clear answer or not."""
    if not left:
        return error
    meant = error
    match request.retry, error:
        case "once", errors.Unreadable():
            meant = _unknown(request.operation, error.said, error.status, error.body)
        case "once", errors.TransportError():
            meant = _unknown(request.operation, error.said)
        case "idempotent", errors.NeverSent():
            said = f"{error.said}; an attempt before this one left and may have taken effect"
            meant = errors.AnswerLost(said, operation=request.operation)
        case _:
            pass
    meant.attempts, meant.headers, meant.retry_class = error.attempts, error.headers, request.retry
    return meant


def in_doubt(request: Request, why: str, attempts: Sequence[Attempt]) -> errors.LimioError | None:
    """Return what to say of *request*, which ends for *why* after one of *attempts* left; None where it writes nothing."""
    if request.retry not in {"once", "idempotent"} or request.operation in _NEVER_KEPT:
        return None
    said = f"{why} after it had left"
    lost: errors.LimioError = errors.AnswerLost(f"{said}: it may have happened", operation=request.operation)
    if request.retry == "once":
        lost = _unknown(request.operation, said)
    lost.attempts = tuple(attempts)
    errors.judge(lost, request.retry, left=True)
    return lost


def without_credentials(error: errors.LimioError, request: Request, *, again: bool) -> errors.LimioError:
    """Return what *error*, met while getting credentials, means to *request*, which waits to be sent, or sent *again*.

    It never tells what came of the request: a refusal is `Unauthorized`, and whatever else could be taken for the
    request's own (a 404 of the token endpoint for a missing object) `NeverSent`.
    """
    if not isinstance(error, _PASSING) or isinstance(error, _OF_CREDENTIALS):
        return error
    meant: errors.LimioError
    if isinstance(error, errors.Forbidden):
        meant = errors.Unauthorized(
            error.words, operation=error.operation, status=error.status, body=error.body
        )
        meant.retry_after = error.retry_after
    else:
        said = f"not sent{' again' if again else ''}, no credentials: {error}"
        meant = errors.NeverSent(said, operation=request.operation)
    meant.headers = error.headers
    return meant


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an answer that may be shown: an allow-list."""
    return {name: value for name, value in headers.items() if name in _KEPT_HEADERS}


def _unknown(
    operation: str, said: str, status: int | None = None, body: bytes = b"", why: str = ""
) -> errors.UnknownOutcome:
    joint = ", " if why else "; "
    return errors.UnknownOutcome(
        f"{said}: it may have happened{joint}{why}look before sending it again",
        operation=operation,
        status=status,
        body=body,
    )


def _body(operation: str, body: bytes) -> bytes:
    return b"" if operation in _NEVER_KEPT else body[:_KEPT_BODY]


def _error_type(status: int) -> type[errors.ApiError]:
    match status:
        case 400 | 422:
            return errors.BadRequest
        case 401:
            return errors.Unauthorized
        case 403:
            return errors.Forbidden
        case 404:
            return errors.NotFound
        case 409:
            return errors.Conflict
        case 423:
            return errors.Locked
        case _ if status in THROTTLED:
            return errors.TooManyRequests
        case 502:
            return errors.BadGateway
        case _:
            return errors.ServerError if status >= 500 else errors.ApiError
