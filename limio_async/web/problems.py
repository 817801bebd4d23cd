"""What each error is to the caller of a service: a table, and one rule above it. https://www.rfc-editor.org/rfc/rfc9457"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

import msgspec

from limio_async import errors

__all__ = ["PROBLEMS", "Problem", "Table", "Told", "told"]


class Problem(msgspec.Struct, frozen=True):
    """What the caller is told; *type* is a URI reference. *retry*: seconds to wait where a retryable error says none; None: never."""

    status: int
    type: str
    title: str
    retry: float | None = None
    detail: str | None = None


Table = Mapping[type[errors.LimioError], Problem]
PROBLEMS: Table = MappingProxyType({kind: problem for problem, kinds in {
    Problem(404, "not-found", "There is no such object"): (errors.NotFound, errors.UnknownKey, errors.UnknownEvent),
    Problem(409, "conflict", "The name is taken"): (errors.Conflict,),
    Problem(409, "key-reused", "Another order has this key"): (errors.KeyReused,),
    Problem(409, "locked", "A pending change blocks this", 30.0): (errors.Locked,),
    Problem(422, "invalid", "The request has values that are not accepted"): (errors.BadRequest, errors.InvalidArgument),
    Problem(422, "foreign-checkpoint", "This position in the list is not valid"): (errors.ForeignCheckpoint,),
    Problem(500, "internal", "The service failed"): (errors.LimioError, errors.ConfigurationError),
    Problem(502, "service-credentials", "The credentials of this service were refused"): (errors.Unauthorized, errors.Forbidden, errors.MissingCredentials),
    Problem(502, "refused", "Upstream refused the request"): (errors.ApiError,),
    Problem(502, "unreadable", "The answer of upstream cannot be used"): (errors.Unreadable, errors.ListingError),
    Problem(502, "upstream-failed", "Upstream failed", 1.0): (errors.TransportError, errors.BadGateway, errors.ServerError),
    Problem(502, "unknown-outcome", "It may have happened", None, "Check whether it did before you repeat it."): (errors.UnknownOutcome,),
    Problem(503, "unreachable", "Upstream cannot be reached", 5.0): (errors.NeverSent, errors.CatalogUnavailable),
    Problem(503, "pause", "Upstream asks for a pause", 5.0): (errors.TooManyRequests,),
    Problem(503, "list-changed", "The list changed while it was read", 1.0): (errors.CursorExpired, errors.SnapshotChanged, errors.IncompleteListing),
    Problem(503, "busy", "The service has too much to do", 30.0): (errors.TooManyWaiting, errors.TargetBusy),
    Problem(503, "database-away", "A database of the service cannot be reached"): (errors.StoreAway, errors.TargetAway),
    Problem(503, "closing", "The service is shutting down"): (errors.ClientClosed,),
    Problem(504, "deadline", "It took too long", 1.0): (errors.DeadlineExceeded,),
}.items() for kind in kinds})  # fmt: skip
"""The problem of an error is that of its class, or of the nearest base. `{**PROBLEMS, errors.Conflict: Problem(…)}` changes it."""


class Told(msgspec.Struct, frozen=True):
    """What is answered, whatever the framework. *doubt*: a write may have happened."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    type: str = ""
    retryable: bool = False
    doubt: bool = False


def told(error: errors.LimioError, table: Table = PROBLEMS, *, alone: bool = True) -> Told:
    """Return the problem that *error* is to the caller. Nothing that Limio said is in it; what *table* lacks, `PROBLEMS` has.

    A write that may have happened is the problem of `UnknownOutcome`, also one whose deadline struck after it had left.
    No *table* makes it retryable, nor what is not *alone*: a call that was cancelled beside it may have been a write.
    """
    doubt = error.happened == "unknown" and error.retry_class not in {"safe", "scroll"}  # a lost cursor
    its_own = not doubt or isinstance(error, errors.UnknownOutcome | errors.StoreError | errors.JobError)
    kinds = (type(error) if its_own else errors.UnknownOutcome).__mro__
    problem = next(one for kind in kinds if (one := table.get(kind) or PROBLEMS.get(kind)))
    wait = problem.retry if error.retryable and alone and not doubt else None
    asked: float | None = getattr(error, "retry_after", None)
    headers = {"Content-Type": "application/problem+json"}
    if wait is not None:
        headers["Retry-After"] = str(ceil(min(max(1.0, wait if asked is None else asked), 3600.0)))
    said = {"type": problem.type, "title": problem.title, "status": problem.status, "detail": problem.detail}
    said |= {"operation": error.operation or None, "retryable": wait is not None}
    body = msgspec.json.encode({name: value for name, value in said.items() if value is not None})
    return Told(problem.status, headers, body, problem.type, wait is not None, doubt)
