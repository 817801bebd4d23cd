"""The state of one request on its way, and of the client it belongs to."""

from __future__ import annotations

import asyncio
import logging
import math
from functools import lru_cache
from typing import Any

import msgspec

from limio_async.core.wire import Attempt, Request, Response
from limio_async.errors import (
    ClientClosed,
    DeadlineExceeded,
    LimioError,
    TransportError,
    UnknownOutcome,
    Unreadable,
)

__all__ = ["Life", "Sending", "unknown"]

_log = logging.getLogger("limio_async")


class Sending:
    """One request on its way through the rungs: its deadline, and what was tried."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.deadline = math.inf
        """Loop time."""
        self.attempts: list[Attempt] = []
        self._in_flight = False

    def has_time_until(self, moment: float) -> bool:
        """Whether *moment* (loop time) lies before the deadline: what cannot be in time is not begun."""
        return moment < self.deadline

    def time_left(self) -> float:
        """Seconds until the deadline."""
        return max(0.001, self.deadline - asyncio.get_running_loop().time())

    def begins(self) -> None:
        """The request leaves."""
        self._in_flight = True

    def came_to(self, outcome: Response | TransportError | Unreadable) -> None:
        """This is what came of it."""
        self._in_flight = False
        attempt = (
            _answered(outcome.status) if isinstance(outcome, Response) else _failed(type(outcome).__name__)
        )
        self.attempts.append(attempt)
        _log.debug("%s: %s %s", self.request.operation, self.request.method, attempt.reason)

    def waits(self, seconds: float) -> None:
        """The last attempt is followed by a pause and another attempt."""
        last = self.attempts[-1] = msgspec.structs.replace(self.attempts[-1], waited=seconds)
        _log.info("%s: %s, sending again in %.2f s", self.request.operation, last.reason, seconds)

    def ended_by_deadline(self, limit: float) -> LimioError:
        """The error of a call that its deadline ended: it matters whether the request had left."""
        message = f"not finished after {limit:g} s"
        if self._in_flight:
            self.attempts.append(Attempt(status=None, reason="cut by the deadline"))
            if self.request.retry == "once":
                return unknown(self.request, message)
        return DeadlineExceeded(message, operation=self.request.operation)


class Life:
    """Whether a client is open, in which loop, and which tasks it has to end."""

    def __init__(self) -> None:
        self._walks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def check(self) -> None:
        """Raise `ClientClosed` where the client cannot be used, or not in this loop."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosed("this client was closed; open a new one")
        if self._loop is loop:
            return
        if self._loop is not None:
            raise ClientClosed("this client belongs to another event loop; open one in this loop")
        self._loop = loop

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        self._walks.add(walk)
        walk.add_done_callback(self._walks.discard)

    async def end(self) -> None:
        """Close, and end the tasks of this loop; those of another ended with it."""
        self._closed = True
        walks = [walk for walk in self._walks if walk.get_loop() is asyncio.get_running_loop()]
        for walk in walks:
            walk.cancel()
        await asyncio.gather(*walks, return_exceptions=True)


@lru_cache(maxsize=64)
def _answered(status: int) -> Attempt:
    return Attempt(status=status, reason=f"status {status}")


@lru_cache(maxsize=64)
def _failed(reason: str) -> Attempt:
    return Attempt(status=None, reason=reason)


def unknown(request: Request, what: str) -> UnknownOutcome:
    """The error of a write that left and of which nobody knows what came."""
    return UnknownOutcome(
        f"{what}: it may have happened; look before sending it again", operation=request.operation
    )
