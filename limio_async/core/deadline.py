"""Deadlines that cost next to nothing: all of a client share one timer, which rings when the earliest is due.

`asyncio.timeout` sets up and takes down a timer for each block, the dearest part of a call that goes well.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

__all__ = ["Deadline", "Deadlines"]


class Deadlines:
    """The deadlines that run in one event loop."""

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._alarm: asyncio.Handle | None = None
        self._rings_at = 0.0  # kept here: not every loop's handle can tell

    def within(self, seconds: float) -> Deadline:
        """A block that is to end within *seconds*: `with deadlines.within(5) as deadline:`."""
        loop = asyncio.get_running_loop()
        return Deadline(self, loop, loop.time() + seconds)

    def close(self) -> None:
        """Let go of the timer, unless something still runs: that ends when it is due."""
        if self._alarm is not None and not self._running:
            self._alarm.cancel()
            self._alarm = None

    def add(self, one: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a deadline."""
        alarm = self._alarm
        if alarm is None or one.when < self._rings_at:
            if alarm is not None:
                alarm.cancel()
            self._rings_at = one.when
            self._alarm = loop.call_at(one.when, self._ring, loop)
        self._running.add(one)

    def remove(self, one: Deadline) -> None:
        """Watch it no more. The timer stays: the next deadline is probably later."""
        self._running.discard(one)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        rung_at = loop.time()
        for one in [one for one in self._running if one.when <= rung_at]:
            self._running.discard(one)
            one.expire()
        if self._running:
            self._rings_at = min(one.when for one in self._running)
            self._alarm = loop.call_at(self._rings_at, self._ring, loop)


class Deadline:
    """A block of one task that ends with `TimeoutError` when it is due, as `asyncio.timeout` does."""

    __slots__ = ("_before", "_deadlines", "_loop", "_task", "expired", "when")

    def __init__(self, deadlines: Deadlines, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._deadlines = deadlines
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._before = 0
        self.when = when
        """Loop time."""
        self.expired = False
        """Whether it was due before the block ended."""

    def expire(self) -> None:
        """It is due: cancel what the block is doing."""
        self.expired = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline is for a task")
        self._task = task
        self._before = task.cancelling()
        self._deadlines.add(self, self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.remove(self)
        task, self._task = self._task, None
        if not self.expired or task is None:
            return
        if task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error
