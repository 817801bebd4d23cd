"""What becomes of a delivery, and of an event whose handling went wrong. Pure."""

from __future__ import annotations

from typing import cast

import msgspec

from limio_async import errors

__all__ = [
    "CRASHES", "LONGEST_WAIT", "Earlier", "Outage", "Seldom", "is_behind", "is_limios", "is_repeat", "said_of", "wait_after",
]  # fmt: skip

CRASHES = 3
_IN_A_ROW = 5
_LONGEST_PAUSE = 180.0
_GAP, _LONGEST_GAP = 60.0, 1800.0
LONGEST_WAIT = 600.0
"""Seconds that an event waits at most until it is handled again."""
_CUT = 500
_PROOF = 3600.0
_AWAY = (
    errors.TransportError, errors.ServerError, errors.BadGateway, errors.TooManyRequests, errors.Unauthorized,
    errors.Forbidden, errors.Locked, errors.Unreadable, errors.UnknownOutcome, errors.StoreAway,
    errors.MissingCredentials, errors.ClientClosed,
)  # fmt: skip


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """The latest event with the same type, object and digest as a delivery."""

    interrupted: bool
    """Whether another body of the object came since it was delivered last, or at the same time."""
    held: bool
    """Whether it is with a handler."""
    dropped: bool
    """Whether a person has dropped it, and its body is there still."""
    age: float
    """Seconds since it was delivered last."""


def is_repeat(earlier: Earlier | None, *, dated: bool, within: float | None = None) -> bool:
    """Return whether a delivery is a repeat of an *earlier* one.

    *dated*: its body says which change it tells of. *within*: for how many seconds after the last one an equal body may be
    a repeat, where its type says so.
    """
    if earlier is None or (within is not None and earlier.age > within):
        return False
    return dated or not (earlier.interrupted or earlier.held or earlier.dropped)


def is_behind(told: int | None, found: int | None) -> bool:
    """Return whether what was *found* is older than what the body *told*; both in microseconds."""
    return told is not None and found is not None and found < told


def is_limios(error: BaseException) -> bool:
    """Return whether it is Limio or the store that failed, and not the handler: then the attempt does not count."""
    seen, cause = set[int](), error
    while id(cause) not in seen:  # a cause may have itself as its cause
        seen.add(id(cause))
        if isinstance(cause, BaseExceptionGroup):
            return all(map(is_limios, cast("BaseExceptionGroup[BaseException]", cause).exceptions))
        if isinstance(cause, _AWAY):
            return True
        cause = cause.__cause__ or cause
    return False


def said_of(error: BaseException) -> str:
    """Return what is stored about an error: text that every database takes, whatever the error says of itself."""
    try:
        words = str(error)
    except Exception:  # its own fault
        words = "it cannot say what it is"
    told = f"{type(error).__name__}: {words}"[:_CUT]
    return told.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def wait_after(failures: int, longest: float = LONGEST_WAIT) -> float:
    """Return how many seconds to wait after so many failures."""
    return min(longest, 2.0 ** min(failures - 1, 20))


class Seldom:
    """When to say again what comes back: after a minute, then two, at most half an hour. Times are the caller's.

    What stayed away for half an hour is said at once.
    """

    def __init__(self) -> None:
        self._gap = self._until = 0.0

    def may(self, now: float) -> bool:
        """Return whether to say it now."""
        if now < self._until:
            return False
        came_back = bool(self._gap) and now < self._until + _LONGEST_GAP
        self._gap = min(2 * self._gap, _LONGEST_GAP) if came_back else _GAP
        self._until = now + self._gap
        return True


class Outage:
    """Whether Limio fails one object, or all of them. Times are the caller's."""

    def __init__(self) -> None:
        self._seldom, self._told = Seldom(), False
        self._failing: set[str] = set()
        self._first: dict[str, float] = {}
        """Since when objects fail, as far as this process knows."""
        self._alone: dict[str, float] = {}
        """Since when it is known that others work."""
        self._pauses = 0
        self.until = 0.0
        """When to try again."""

    @property
    def paused(self) -> bool:
        """Whether nothing is taken but one event at a time, to see whether Limio is back."""
        return self._pauses > 0

    def is_alone(self, thing: str, now: float, give_up: float) -> bool:
        """Whether Limio fails this object and not all of them, for some time in which this process has looked."""
        if self.paused:
            return False
        if thing in self._alone and now >= self._alone[thing] + min(give_up, _PROOF):
            return True
        return self._failing <= {thing} and now >= self._first.get(thing, now) + give_up

    def failed(self, thing: str, now: float, asked: float | None = None) -> bool:
        """Note a failure; return whether to say that there is a pause. *asked*: how long Limio wants to be left alone."""
        self._failing.add(thing)
        self._first.setdefault(thing, now)
        if now >= self.until and (self.paused or len(self._failing) >= _IN_A_ROW):
            self._pauses += 1
            self.until = now + max(min(asked or 0.0, LONGEST_WAIT), wait_after(self._pauses, _LONGEST_PAUSE))
            self._told &= self._pauses > 1
            if not self._told:
                self._told = self._seldom.may(now)
                return self._told
        return False

    def worked(self, thing: str, now: float) -> bool:
        """Note that Limio answered; return whether to say that a pause ends with it."""
        ended = self.paused and self._told
        for one in self._failing:
            self._alone.setdefault(one, now)
        self._alone.pop(thing, None)
        self._first.pop(thing, None)
        self._failing.clear()
        self._pauses, self.until = 0, 0.0
        return ended
