"""How many requests are on the wire at once, and when the next may leave: shared by all calls of a client."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Literal

from limio_async.core.retry import THROTTLED
from limio_async.core.wire import Response
from limio_async.errors import AnswerLost, TransportError

__all__ = ["Lane", "Limiter", "ceiling_for"]

Lane = Literal["interactive", "background"]
"""Whose turn it is first: somebody waits for an interactive call, nobody for a background one."""

_CALM = 1.0


def ceiling_for(background: int) -> int:
    """Return the least ceiling that lets so many background calls be on the wire at once."""
    return next(ceiling for ceiling in count(background) if _background_of(ceiling) >= background)


def _background_of(allowed: int) -> int:
    """How many of the slots background calls may have."""
    return max(1, allowed - (allowed + 3) // 4)


class Limiter:
    """A ceiling that gives way under load and grows back, and two lanes.

    *ceiling* is the most requests on the wire at once. A 429 (or 408, 425), a 503 or a lost answer halves what is allowed
    (at most once a second), each success adds a little. Background
    calls leave a quarter of the slots, at least one where there are several, to interactive ones, which also
    go first when both wait. After a `Retry-After` nothing leaves before its time. Who waits holds no slot.
    """

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._allowed = float(ceiling)
        self._opens_at = 0.0  # loop time
        self._shrunk_at = float("-inf")
        self._running = 0
        self._background = 0
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {
            "interactive": deque(),
            "background": deque(),
        }
        self._alarm: asyncio.Handle | None = None
        self._rings_at = 0.0  # kept here: not every loop's handle can tell

    @property
    def allowed(self) -> int:
        """How many requests may be on the wire at once just now."""
        return int(self._allowed)

    @property
    def running(self) -> int:
        """How many have a slot."""
        return self._running

    @property
    def waiting(self) -> dict[Lane, int]:
        """How many calls wait for a slot, by lane."""
        return {lane: len(turns) for lane, turns in self._waiting.items()}

    @property
    def opens_at(self) -> float:
        """The loop time before which nothing leaves."""
        return self._opens_at

    def acquire_at_once(self, lane: Lane) -> bool:
        """Take a slot if there is one, nobody waits for it, and a request may leave now."""
        if self._waiting["interactive"] or self._waiting[lane] or not self._may_run(lane):
            return False
        self._take(lane)
        return True

    async def acquire(self, lane: Lane, operation: str = "") -> None:
        """Wait for a slot and for the time at which a request of *operation* may leave."""
        if self.acquire_at_once(lane):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        self._wake()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # the slot came just as this call was cancelled
                self.release(lane)
            else:
                with suppress(ValueError):
                    self._waiting[lane].remove(turn)
            raise

    def release(self, lane: Lane) -> None:
        """Give a slot back."""
        self._running -= 1
        self._background -= lane == "background"
        if self._waiting["interactive"] or self._waiting["background"]:
            self._wake()

    def learn(self, outcome: Response | TransportError, asked_to_wait: float | None) -> None:
        """Take what came of a request as a sign of how much the server bears."""
        status = outcome.status if isinstance(outcome, Response) else None
        if asked_to_wait:
            self._opens_at = max(self._opens_at, asyncio.get_running_loop().time() + asked_to_wait)
        if status == 503 or status in THROTTLED or isinstance(outcome, AnswerLost):
            now = asyncio.get_running_loop().time()
            if now - self._shrunk_at >= _CALM:
                self._shrunk_at = now
                self._allowed = max(1.0, self._allowed / 2)
        elif status is not None and self._allowed < self._ceiling:
            self._allowed = min(float(self._ceiling), self._allowed + 1 / self._allowed)

    def _may_run(self, lane: Lane) -> bool:
        if self._opens_at and self._opens_at > asyncio.get_running_loop().time():
            return False
        return self._has_slot(lane)

    def _has_slot(self, lane: Lane) -> bool:
        allowed = int(self._allowed)
        if lane == "background" and self._background >= _background_of(allowed):
            return False
        return self._running < allowed

    def _take(self, lane: Lane) -> None:
        self._running += 1
        self._background += lane == "background"

    def _wake(self) -> None:
        """Let those run who may, interactive ones first; where only the time is wanting, come back then."""
        for lane, waiting in self._waiting.items():
            while waiting and self._has_slot(lane):
                if not self._may_run(lane):
                    self._wake_later()
                    return
                turn = waiting.popleft()
                if not turn.done():
                    self._take(lane)
                    turn.set_result(None)

    def _wake_later(self) -> None:
        if self._alarm is None or self._alarm.cancelled() or self._rings_at < self._opens_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._rings_at = self._opens_at
            self._alarm = asyncio.get_running_loop().call_at(self._opens_at, self._rung)

    def _rung(self) -> None:
        self._alarm = None
        self._wake()
