"""How long ago objects were made and changed, and what they were before: for lists and reads that are late."""

from __future__ import annotations

from collections import deque

import msgspec

from limio_async.emulator.payload import Data
from limio_async.emulator.settings import Settings

__all__ = ["Past"]


class Past:
    """When objects were made, and as far back as anybody asks for, what they were."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.reach = 0.0
        """Seconds that an earlier state is kept."""
        self._made: dict[str, float] = {}
        self._states: dict[str, deque[tuple[float, bytes]]] = {}  # until when, and what
        self._ends: deque[tuple[float, str]] = deque()  # of all states, in the order of time

    def note_made(self, id: str) -> None:
        """The object with this id is made now."""
        self._made[id] = self._settings.now()

    def note_changed(self, id: str, before: Data | None) -> None:
        """The object with this id changes now, and was *before*; None if there was none."""
        now = self._settings.now()
        while self._ends and not self._within(self._ends[0][0], self.reach):
            _, over = self._ends.popleft()
            self._states[over].popleft()
            if not self._states[over]:
                del self._states[over]
        self._states.setdefault(id, deque()).append((now, msgspec.json.encode(before)))
        self._ends.append((now, id))

    def is_new(self, id: str, seconds: float) -> bool:
        """Whether the object with this id was made less than *seconds* ago."""
        return id in self._made and self._within(self._made[id], seconds)

    def was(self, id: str, now: Data | None, seconds: float) -> Data | None:
        """What the object with this id, which is *now*, was *seconds* ago."""
        for until, state in self._states.get(id, ()):
            if self._within(until, seconds):
                found: Data | None = msgspec.json.decode(state)
                return found
        return None if self.is_new(id, seconds) else now

    def forget(self) -> None:
        """Let everything have been as it is for ever."""
        for remembered in (self._made, self._states, self._ends):
            remembered.clear()

    def _within(self, moment: float, seconds: float) -> bool:
        """Whether *moment* is less than *seconds* ago, to the millisecond, as objects tell times."""
        return round((self._settings.now() - moment) * 1000) < round(seconds * 1000)
