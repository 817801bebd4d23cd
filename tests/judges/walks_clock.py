"""An event loop whose clock runs fast, and who remembers which walk started which task.

The client waits up to a second before it sends something again, and nothing public shortens that. So all time of the
loop passes `SPEED` times as fast: waits, timeouts, the patience of sockets. Nothing of the client is patched.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import defaultdict
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

__all__ = ["SPEED", "WALK", "HurriedLoop"]

SPEED = 10.0
WALK: ContextVar[int | None] = ContextVar("WALK", default=None)
"""The seed of the walk in whose name a task runs; inherited by every task that it starts."""


class _HurriedSelector(selectors.DefaultSelector):
    """Waits a tenth of what it is asked to wait."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout / SPEED if timeout is not None and timeout > 0 else timeout)


class HurriedLoop(asyncio.SelectorEventLoop):
    """Its second is a tenth of a second."""

    def __init__(self) -> None:
        super().__init__(_HurriedSelector())
        self.started: defaultdict[int, WeakSet[asyncio.Task[Any]]] = defaultdict(WeakSet)
        self.complaints: list[tuple[int | None, str]] = []
        """What asyncio itself complained of, with the seed of the walk where that is known."""
        self.set_task_factory(self._start)
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return time.monotonic() * SPEED

    @staticmethod
    def _start(
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        assert isinstance(loop, HurriedLoop)
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        if (seed := WALK.get()) is not None:
            loop.started[seed].add(task)
        return task

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        seed = next((seed for seed, tasks in self.started.items() if task in tasks), WALK.get())
        self.complaints.append((seed, f"{context.get('message')}: {context.get('exception')!r}"))

    def left_over(self, seed: int) -> list[asyncio.Task[Any]]:
        """The tasks that were started in the name of this walk and still run; the walk is forgotten."""
        current = asyncio.current_task(self)
        return [task for task in self.started.pop(seed, ()) if not task.done() and task is not current]
