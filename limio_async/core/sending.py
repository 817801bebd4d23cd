"""The state of one request on its way."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from functools import lru_cache

import msgspec

from limio_async.core.outcome import is_unclear, left_open
from limio_async.core.wire import Attempt, Request, Response
from limio_async.errors import TransportError, Unreadable, request_id_of

__all__ = ["Sending"]

_log = logging.getLogger("limio_async")


class Sending:
    """One request on its way through the rungs: its deadline, what was tried, and whether any of it left."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.deadline = math.inf
        """Loop time."""
        self.attempts: list[Attempt] = []
        self._in_flight = self._left = self._unsent = False
        self._start = self._began = 0.0

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
        self._start, self._began = time.time(), asyncio.get_running_loop().time()
        return max(0.001, self.deadline - self._began)

    def came_to(self, outcome: Response | TransportError | Unreadable) -> None:
        """Note what came of the attempt."""
        self._in_flight = False
        if isinstance(outcome, Response):
            reason, left = _answered(outcome.status)
            attempt = self._ended(outcome.status, reason, request_id_of(outcome.headers))
        else:
            left = left_open(outcome)  # unreadable for its encoding or size, before anything was read
            status = outcome.status if isinstance(outcome, Unreadable) else None
            attempt = self._ended(status, type(outcome).__name__, outcome.request_id)
        self._left = self._left or left
        self.attempts.append(attempt)
        _log.debug("%s: %s %s", self.request.operation, self.request.method, attempt.reason)

    def waits(self, seconds: float) -> None:
        """Note that the last attempt is followed by a pause and another attempt."""
        last = self.attempts[-1] = msgspec.structs.replace(self.attempts[-1], waited=seconds)
        _log.info("%s: %s, sending again in %.2f s", self.request.operation, last.reason, seconds)

    def never_left(self) -> None:
        """Note that the attempt, which is being cancelled, has not left."""
        self._unsent = True

    def cut(self, reason: str) -> None:
        """Note that the call ended for *reason*, whatever it was waiting for."""
        if self._in_flight:
            self.attempts.append(self._ended(None, reason))

    def _ended(self, status: int | None, reason: str, request_id: str | None = None) -> Attempt:
        return Attempt(
            status=status,
            reason=reason,
            start=self._start,
            duration=asyncio.get_running_loop().time() - self._began,
            request_id=request_id,
        )


@lru_cache(maxsize=64)
def _answered(status: int) -> tuple[str, bool]:
    """Return the reason of an attempt with an answer, and whether it is left open."""
    return f"status {status}", is_unclear(status)
