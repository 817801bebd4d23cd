"""Calls that run to their end though their caller is cancelled, and handing over what they came to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

from limio_async.errors import ClientClosed, LimioError

__all__ = ["Finishing"]

T = TypeVar("T")
OnOutcome = Callable[[Any], object]

_log = logging.getLogger("limio_async")
_TO_HAND_OVER = 1.0


class Finishing:
    """The calls of one client that are to be finished."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._handing: set[asyncio.Task[Any]] = set()
        """Those of them that are an `on_outcome`."""

    async def run(self, call: Coroutine[Any, Any, T], on_outcome: OnOutcome | None) -> T:
        """Return what *call* comes to. It goes on where the caller is cancelled; then *on_outcome* gets that."""
        task = self._started(call)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            name = getattr(call, "__qualname__", "a call")
            if task.done():
                self._hand_over(name, on_outcome, task)
            else:
                task.add_done_callback(partial(self._hand_over, name, on_outcome))
            raise
        value, error = _outcome_of(task)
        if error is not None:
            raise error
        return cast("T", value)

    async def end(self, grace: float) -> None:
        """Wait at most *grace* seconds for them, then cancel those of this loop that still run.

        Each `on_outcome` has a second more: what it is given may have come by that alone.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        try:
            while True:
                if not (running := self._here()):
                    await asyncio.sleep(0)  # who waited for one that ended just now hands over what came
                    running = self._here()
                if not running or (left := until - loop.time()) <= 0:
                    break
                await asyncio.wait(running, timeout=left)
            if calls := [one for one in running if one not in self._handing]:
                for one in calls:
                    one.cancel()
                await asyncio.wait(calls)
            if handing := self._here():
                await asyncio.wait(handing, timeout=_TO_HAND_OVER)
        finally:  # also where nobody waits for this any more
            ending = self._here()
            for one in ending:
                one.cancel()
        while ending:
            await asyncio.wait(ending)
            ending = self._here()  # an on_outcome that has just begun
            for one in ending:
                one.cancel()

    def _here(self) -> list[asyncio.Task[Any]]:
        """Those of this loop, but for the one that asks; those of another loop ended with it."""
        loop, asking = asyncio.get_running_loop(), asyncio.current_task()
        return [one for one in self._running if one.get_loop() is loop and one is not asking]

    def _started(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(call)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _hand_over(self, name: str, on_outcome: OnOutcome | None, task: asyncio.Task[Any]) -> None:
        value, error = _outcome_of(task)
        if on_outcome is None:
            if error is not None:
                _log.warning("%s, whose caller was cancelled, failed: %s", name, error)
            return
        try:
            handed = on_outcome(value if error is None else error)
        except Exception:
            given = type(value if error is None else error).__name__
            _log.exception("%s: on_outcome, given %s, failed", name, given)
            return
        if asyncio.iscoroutine(handed):
            handing = self._started(handed)
            self._handing.add(handing)
            handing.add_done_callback(self._handing.discard)
            handing.add_done_callback(partial(_see_failure, name, type(value if error is None else error)))


def _outcome_of(task: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    try:
        return task.result(), None
    except asyncio.CancelledError as error:  # by the end of the client
        doubt = error.__cause__
        if isinstance(doubt, LimioError) and doubt.happened == "unknown":
            return None, doubt
        return None, ClientClosed("the client was closed before the call had ended")
    except Exception as error:
        return None, error


def _see_failure(name: str, given: type, task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        _log.error("%s: on_outcome, given %s, was cut off by the end of the client", name, given.__name__)
    elif (error := task.exception()) is not None:
        _log.error("%s: on_outcome, given %s, failed", name, given.__name__, exc_info=error)
