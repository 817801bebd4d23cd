"""When the next request may leave: a pace for the clients of one event loop, and a limiter that waits for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from math import inf

from limio_async.core.limiter import Lane, Limiter
from limio_async.core.ports import Pace
from limio_async.core.sending import facts
from limio_async.errors import ConfigurationError, NeverSent

__all__ = ["PacedLimiter", "Rate"]

_log = logging.getLogger("limio_async")


class Rate:
    """A `Pace`: at most *per_second* requests leave, evenly, interactive ones first. Clients of one event loop may share it."""

    def __init__(self, per_second: float) -> None:
        if not isinstance(per_second, int | float) or per_second is True or not 0 < per_second < inf:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"a rate is finite, a number above 0, not {per_second!r}")
        self._line = _Line(1 / per_second, 0.0)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self, lane: Lane) -> None:
        """Wait until one more request may leave. Raises `ConfigurationError` while others wait in another event loop."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._moves_to(loop)
        line = self._line
        await line.acquire(lane)
        line.release(lane)

    def _moves_to(self, loop: asyncio.AbstractEventLoop) -> None:
        line = self._line
        if self._loop is not None and not self._loop.is_closed() and any(line.waiting.values()):
            raise ConfigurationError(
                "calls of another event loop wait for this Rate; make a Rate for each event loop"
            )
        opens_at = min(line.opens_at, loop.time() + line.interval)  # their clocks may differ
        self._loop, self._line = loop, _Line(line.interval, opens_at)


class _Line(Limiter):
    """A limiter whose one slot is given back at once: only the time counts."""

    def __init__(self, interval: float, opens_at: float) -> None:
        super().__init__(1)
        self.interval = interval
        self._opens_at = opens_at

    def _take(self, lane: Lane) -> None:
        super()._take(lane)
        self._opens_at = max(self._opens_at, asyncio.get_running_loop().time()) + self.interval


class PacedLimiter(Limiter):
    """A limiter whose slots are had when all *paces* let a request leave too: what they let go leaves at once."""

    def __init__(self, ceiling: int, paces: Sequence[Pace]) -> None:
        super().__init__(ceiling)
        self._paces = paces

    def acquire_at_once(self, lane: Lane) -> bool:
        """Take none: a pace has to be waited for."""
        return False

    async def acquire(self, lane: Lane, operation: str = "") -> None:
        """Wait for a slot, and with it for the paces. Raises `NeverSent` where one raises."""
        paces = self._paces
        while True:
            await super().acquire(lane)
            try:
                for pace in paces:
                    await _taken(pace, lane, operation)
            except BaseException:
                self.release(lane)
                raise
            if self.opens_at <= asyncio.get_running_loop().time():
                return
            self.release(lane)  # the server asked for a pause meanwhile
            paces = [one for one in paces if isinstance(one, Rate)]  # a turn is paid once; a Rate spaces anew


async def _taken(pace: Pace, lane: Lane, operation: str) -> None:
    try:
        await pace.take(lane)
    except (NeverSent, ConfigurationError):
        raise
    except (Exception, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            raise
        kind = type(error).__name__
        _log.warning(
            "%s: not sent, the pace raised %s",
            operation,
            kind,
            exc_info=True,
            extra=facts(operation, lane, (), kind),
        )
    else:
        return
    said = f"not sent: the pace raised {kind}; the log has its traceback"
    raise NeverSent(said, operation=operation)
