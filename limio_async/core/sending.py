"""The state of one request on its way."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import TypeVar

import msgspec

from limio_async._frames import cut_below
from limio_async.core.limiter import Lane
from limio_async.core.outcome import error_for, is_unclear, left_open
from limio_async.core.ports import Watch
from limio_async.core.wire import Attempt, Request, Response
from limio_async.errors import NeverSent, TransportError, Unreadable, request_id_of

__all__ = ["Answer", "Sending", "facts", "watched"]

Answer = tuple[Response, tuple[Attempt, ...]]
"""An answer, and what it took to get it."""

_log = logging.getLogger("limio_async")


T = TypeVar("T")


class Sending:
    """One request on its way through the rungs: its deadline, what was tried, and whether any of it left."""

    _in_flight = _left = _unsent = False
    _began = 0.0
    lost: TransportError | Unreadable | None = None
    """What the last attempt without an answer came to."""
    _good: Response | None = None  # whose attempt is made where somebody looks: few do

    def __init__(self, request: Request, watch: Watch | None = None) -> None:
        self.request = request
        self.watch = watch
        self.deadline = math.inf
        """Loop time."""
        self._tried: list[Attempt] = []

    @property
    def attempts(self) -> list[Attempt]:
        """What was tried so far."""
        if self._good is not None:
            good, self._good = self._good, None
            self._tried.append(
                self._ended(good.status, _answered(good.status)[0], request_id_of(good.headers))
            )
        return self._tried

    @property
    def left(self) -> bool:
        """Whether an attempt left of which nobody knows what came: in flight, lost, unreadable, or a 5xx."""
        return self._left or (self._in_flight and not self._unsent)

    def has_time_until(self, moment: float) -> bool:
        """Whether *moment* (loop time) lies before the deadline: what cannot be in time is not begun."""
        return moment < self.deadline

    def begins(self) -> float:
        """Note that the request leaves; return the seconds until the deadline."""
        self._in_flight = True
        self._began = asyncio.get_running_loop().time()
        return max(0.001, self.deadline - self._began)

    def came_to(self, outcome: Response | TransportError | Unreadable) -> None:
        """Note what came of the attempt."""
        self._in_flight = False
        if self.watch is None and isinstance(outcome, Response) and outcome.status < 400:  # the last
            self._good = outcome
            return
        if isinstance(outcome, Response):
            reason, left = _answered(outcome.status)
            attempt = self._ended(outcome.status, reason, request_id_of(outcome.headers))
        else:
            self.lost = outcome
            left = left_open(outcome)  # unreadable for its encoding or size, before anything was read
            status = outcome.status if isinstance(outcome, Unreadable) else None
            attempt = self._ended(status, type(outcome).__name__, outcome.request_id)
        self._left = self._left or left
        self._tried.append(attempt)
        if self.watch is not None:
            self.watch.came_to(attempt, len(outcome.body) if isinstance(outcome, Response) else 0)

    def waits(self, seconds: float, lane: Lane) -> None:
        """Note that the last attempt is followed by a pause and another attempt."""
        last = self._tried[-1] = msgspec.structs.replace(self._tried[-1], waited=seconds)
        operation = self.request.operation
        extra = facts(operation, lane, self._tried, last.reason, last.duration)
        _log.info("%s: %s, sending again in %.2f s", operation, last.reason, seconds, extra=extra)
        if self.watch is not None:
            self.watch.waits(seconds, last.reason)

    def never_left(self) -> None:
        """Note that the attempt, which is being cut, has not left."""
        self._unsent = True

    def cut(self, reason: str) -> None:
        """Note that the call ended for *reason*, whatever it was waiting for."""
        if self._in_flight:
            self._tried.append(self._ended(None, NeverSent.__name__ if self._unsent else reason))
            if self.watch is not None:
                self.watch.came_to(self._tried[-1], 0)

    def _ended(self, status: int | None, reason: str, request_id: str | None = None) -> Attempt:
        took = asyncio.get_running_loop().time() - self._began
        return Attempt(
            status=status, reason=reason, start=time.time() - took, duration=took, request_id=request_id
        )


@lru_cache(maxsize=64)
def _answered(status: int) -> tuple[str, bool]:
    """Return the reason of an attempt with an answer, and whether it is left open."""
    return f"status {status}", is_unclear(status)


def facts(
    operation: str, lane: Lane, attempts: Sequence[Attempt], outcome: str, duration: float | None = None
) -> dict[str, object]:
    """Return the fields of a record in the log."""
    last = attempts[-1] if attempts else None
    of_last = {"status": last and last.status, "request_id": last and last.request_id}
    return {
        "operation": operation, "lane": lane, "attempt": len(attempts), **of_last, "outcome": outcome, "duration": duration,
    }  # fmt: skip


async def watched(sent: Awaitable[tuple[Response, T]], watch: Watch, operation: str) -> tuple[Response, T]:
    """Return an answer that nobody has read yet; what it means is told to *watch*."""
    try:
        response, tried = await sent
    except BaseException as error:
        cut_below(error)
        watch.ended(error)
        raise
    watch.ended(None if 200 <= response.status < 300 else error_for(operation, response))
    return response, tried
