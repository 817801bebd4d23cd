"""Riding out an outage: what counts as one, how long to pause, and when to give up."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from limio_async.core.retry import LATE, THROTTLED
from limio_async.errors import (
    ApiError,
    IncompleteListing,
    LimioError,
    TargetAway,
    TransportError,
)

__all__ = ["Outage", "Patience", "is_outage", "is_stumble"]

T = TypeVar("T")

_WELL_AFTER = 60.0  # seconds without a failure after which the next one is another outage
_TIMES_IN_ALL = 3
_FIRST, _LONGEST = 1.0, 30.0
_STUMBLE = 60.0  # seconds for a list that answers 500: the server is there, and the list may stay like that
_ALONE = 4  # failures of one request while the server is well
_AWAY = LATE | THROTTLED | {502, 503}


def is_outage(error: BaseException | None) -> bool:
    """Return whether *error* says nothing about a request but that its server is away or busy just now."""
    match error:
        case ApiError(status=status):
            return status in _AWAY
        case IncompleteListing(seen=None):
            return is_outage(error.__cause__)
        case TransportError() | TargetAway():
            return True
        case _:
            return False


def is_stumble(error: BaseException | None) -> bool:
    """Return whether *error* says that the server is there and failed: it may have been that list's, or a bad moment."""
    if isinstance(error, IncompleteListing) and error.seen is None:
        error = error.__cause__
    return isinstance(error, ApiError) and error.status == 500


class Patience:
    """How long the streams of a run wait for a tenant or a target.

    *longest* is in seconds, for each outage; all outages of a run together may take three times as long.
    """

    def __init__(
        self, longest: float, *, stopping: anyio.Event, works: Callable[[], bool] = lambda: False
    ) -> None:
        self.longest = longest
        self.answered = False
        """Whether it has answered before, in this run or an earlier one, or *works* says so: else nothing is waited for."""
        self.is_used_up = False
        """Whether an outage has outlasted it, and nothing has answered since: whoever comes new asks once."""
        self.clock = anyio.current_time
        self._stopping = stopping
        self._works = works
        self._failing: set[Outage] = set()
        self._since = 0.0
        self._total = 0.0

    def outage(self, tell: Callable[[str], object]) -> Outage:
        """Return what one stream waits by; *tell* is called with what it waits for."""
        return Outage(self, tell)

    @property
    def has_answered(self) -> bool:
        """Whether there is anything to wait for."""
        self.answered = self.answered or self._works()
        return self.answered

    @property
    def spent(self) -> float:
        """Seconds of outages in this run; those of streams that wait at the same time count once."""
        return self._total + (self.clock() - self._since if self._failing else 0.0)

    @property
    def left(self) -> float:
        """Seconds that all further outages of the run may take."""
        return _TIMES_IN_ALL * self.longest - self.spent

    def failing(self, outage: Outage) -> None:
        """Take note that *outage* has begun or goes on."""
        if not self._failing:
            self._since = self.clock()
        self._failing.add(outage)

    def well(self, outage: Outage) -> None:
        """Take note that *outage* is over."""
        if outage in self._failing:
            self._total, self._since = self.spent, self.clock()
            self._failing.discard(outage)

    async def pause(self, seconds: float) -> bool:
        """Sleep, and return whether the job goes on: False as soon as it shall stop."""
        with anyio.move_on_after(seconds):
            await self._stopping.wait()
            return False
        return True


class Outage:
    """What one stream has waited for its server: counted from zero again after a minute without a failure."""

    def __init__(self, patience: Patience, tell: Callable[[str], object]) -> None:
        self._patience = patience
        self._tell = tell
        self._failures = 0  # since the server was last well
        self._spent = 0.0
        self._marked = 0.0  # until when `_spent` is counted
        self._is_away = False
        self._until = 0.0
        self.seconds = 0.0
        """Spent in pauses, in all."""

    def well(self) -> None:
        """Take note of an answer."""
        self._patience.answered, self._patience.is_used_up = True, False
        if self._is_away:
            now = self._patience.clock()
            self._spent += now - self._marked
            self._is_away, self._marked = False, now
            self._patience.well(self)

    async def ride(
        self, ask: Callable[[], Awaitable[T]], probe: Callable[[], Awaitable[object]] | None = None
    ) -> T:
        """Return what *ask* does, asked again after a pause as long as there is an outage and patience for it.

        *probe* makes a request that has succeeded before. Where it does so now, the server is well, and *ask* is
        given up after its fourth failure.
        """
        alone = 0
        while True:
            try:
                found = await ask()
            except LimioError as error:
                if not is_outage(error) or not self._patience.longest:
                    raise
                if probe is not None and await self._is_well(probe):
                    alone += 1
                    if alone >= _ALONE or not await self._patience.pause(_FIRST * 2.0 ** (alone - 1)):
                        raise
                elif not await self.wait(error):
                    raise
            else:
                self.well()
                return found

    async def _is_well(self, probe: Callable[[], Awaitable[object]]) -> bool:
        try:
            await probe()
        except LimioError:
            return False
        self.well()
        return True

    async def wait(self, error: LimioError) -> bool:
        """Pause after *error*; return False at once where there is no patience left, or the job shall stop."""
        patience = self._patience
        left = self._left(_STUMBLE if is_stumble(error) else patience.longest)
        if not patience.has_answered or left <= 0:
            patience.is_used_up = patience.is_used_up or (patience.has_answered and is_outage(error))
            return False
        now = patience.clock()
        if now < self._until:  # others of the stream have begun the pause
            return await patience.pause(self._until - now)
        self._failures += 1
        ceiling = min(_FIRST * 2.0 ** min(self._failures - 1, 10), _LONGEST)
        asked = getattr(error, "retry_after", None) or 0.0
        wanted = max(ceiling * random.uniform(0.75, 1.0), asked)  # noqa: S311  # no secret
        self._until = now + min(wanted, left)
        self._tell(f"{error}; pausing for {self._until - now:.0f} s, {left:.0f} s of patience left")
        try:
            return await patience.pause(self._until - now)
        finally:
            self.seconds += patience.clock() - now

    def over(self) -> None:
        """Take note that the stream no longer waits, whatever came of it."""
        self._patience.well(self)

    def _left(self, longest: float) -> float:
        patience, now = self._patience, self._patience.clock()
        if self._is_away:
            self._spent += now - self._marked
        elif now - self._marked > _WELL_AFTER:
            self._spent, self._failures = 0.0, 0
        self._is_away, self._marked = True, now
        patience.failing(self)
        if patience.is_used_up and not self._failures:
            return 0.0
        return min(min(longest, patience.longest) - self._spent, patience.left)
