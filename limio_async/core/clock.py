"""The clock of another machine, as the `Date` of its answers tells."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import anyio

__all__ = ["Clock"]

_SECOND = 1_000_000


class Clock:
    """Tells what time it is there; in microseconds since 1970, None before any answer told. Never asks the clock here."""

    _least = _most = 0.0
    _known = False

    def see(self, headers: Mapping[str, str], asked: float) -> None:
        """Learn from an answer to what was *asked* then, by the loop's clock."""
        try:
            date = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return
        self._least, self._most = date - anyio.current_time(), date + 1 - asked  # Date has whole seconds
        self._known = True

    def earliest(self) -> int | None:
        """Return what time it is there at least."""
        return round((anyio.current_time() + self._least) * _SECOND) if self._known else None

    def latest(self) -> int | None:
        """Return what time it is there at most."""
        return round((anyio.current_time() + self._most) * _SECOND) if self._known else None
