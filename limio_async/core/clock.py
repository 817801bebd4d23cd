"""The clock of another machine, as the `Date` of its answers tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import anyio

__all__ = ["Clock"]

_SECOND = 1_000_000
_ANSWERS = 16


class Clock:
    """Tells what time it is there; in microseconds since 1970, None before any answer told. Never asks the clock here.

    Several machines may answer: what they say is taken together.
    """

    def __init__(self) -> None:
        self._told: deque[tuple[float, float]] = deque(maxlen=_ANSWERS)
        """How far it is ahead of the loop's clock, at least and at most, as the last answers told."""

    def see(self, headers: Mapping[str, str], asked: float) -> None:
        """Learn from an answer to what was *asked* then, by the loop's clock."""
        try:
            date = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return
        self._told.append((date - anyio.current_time(), date + 1 - asked))  # Date has whole seconds

    def earliest(self) -> int | None:
        """Return what time it is there at least."""
        least = min((one for one, _ in self._told), default=None)
        return None if least is None else round((anyio.current_time() + least) * _SECOND)

    def latest(self) -> int | None:
        """Return what time it is there at most."""
        most = max((one for _, one in self._told), default=None)
        return None if most is None else round((anyio.current_time() + most) * _SECOND)
