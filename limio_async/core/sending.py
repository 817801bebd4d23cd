"""The state of one request on its way."""

from __future__ import annotations

import asyncio
import logging
import math
from functools import lru_cache

import msgspec

from limio_async.core.outcome import is_unclear, left_open
from limio_async.core.wire import Attempt, Request, Response
from limio_async.errors import TransportError, Unreadable

__all__ = ["Sending"]

_log = logging.getLogger("limio_async")


class Sending:
    """One request on its way through the rungs: its deadline, what was tried, and whether any of it left."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.deadline = math.inf
        """Loop time."""
        self.attempts: list[Attempt] = []
        self._in_flight = False
        self._left = False

    @property
    def left(self) -> bool:
        """Whether an attempt left of which nobody knows what came: in flight, lost, unreadable, or a 5xx."""
        return self._left or self._in_flight

    def has_time_until(self, moment: float) -> bool:
        """Whether *moment* (loop time) lies before the deadline: what cannot be in time is not begun."""
        return moment < self.deadline

    def time_left(self) -> float:
        """Seconds until the deadline."""
        return max(0.001, self.deadline - asyncio.get_running_loop().time())

    def begins(self) -> None:
        """Note that the request leaves."""
        self._in_flight = True

    def came_to(self, outcome: Response | TransportError | Unreadable) -> None:
        """Note what came of the attempt."""
        self._in_flight = False
        if isinstance(outcome, Response):
            attempt, left = _answered(outcome.status)
        else:
            attempt, left = _failed(type(outcome).__name__), left_open(outcome)
            if isinstance(outcome, Unreadable):  # of its encoding or size, before anything was read
                attempt = msgspec.structs.replace(attempt, status=outcome.status)
        self._left = self._left or left
        self.attempts.append(attempt)
        _log.debug("%s: %s %s", self.request.operation, self.request.method, attempt.reason)

    def waits(self, seconds: float) -> None:
        """Note that the last attempt is followed by a pause and another attempt."""
        last = self.attempts[-1] = msgspec.structs.replace(self.attempts[-1], waited=seconds)
        _log.info("%s: %s, sending again in %.2f s", self.request.operation, last.reason, seconds)

    def cut(self) -> None:
        """Note that the deadline struck, whatever the call was waiting for."""
        if self._in_flight:
            self.attempts.append(Attempt(status=None, reason="cut by the deadline"))


@lru_cache(maxsize=64)
def _answered(status: int) -> tuple[Attempt, bool]:
    """Return what an attempt with an answer is in the list of them, and whether it is left open."""
    return Attempt(status=status, reason=f"status {status}"), is_unclear(status)


@lru_cache(maxsize=64)
def _failed(reason: str) -> Attempt:
    return Attempt(status=None, reason=reason)
