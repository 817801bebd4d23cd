"""What happens later on a world's clock: kept as data, so that it survives a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

from limio_async.emulator.settings import Settings

__all__ = ["Action", "Agenda"]

Action = Callable[..., object]
"""What an entry of the agenda does; its arguments are keywords that fit in JSON."""
_Entry = tuple[float, int, str, dict[str, Any]]  # when, which of those of one moment, what, with what


class Agenda:
    """The entries, and the actions that they name."""

    name = "agenda"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._actions: dict[str, Action] = {}
        self._entries: list[_Entry] = []
        self._asked = 0

    def on(self, action: str, does: Action) -> None:
        """Let entries that name *action* do this."""
        self._actions[action] = does

    def later(self, seconds: float, action: str, **arguments: Any) -> None:
        """Do *action* once *seconds* have passed; those of one moment happen in the order they were asked for."""
        if action not in self._actions:
            raise ValueError(f"no action is called {action}")
        self._asked += 1
        heappush(self._entries, (self._settings.now() + seconds, self._asked, action, arguments))

    def next_before(self, moment: float) -> float | None:
        """When the first entry is due, if that is not after *moment*."""
        return self._entries[0][0] if self._entries and self._entries[0][0] <= moment else None

    def do_next(self) -> None:
        """Do the first entry."""
        _, _, action, arguments = heappop(self._entries)
        self._actions[action](**arguments)

    def snapshot(self) -> dict[str, Any]:
        """The entries, fit for JSON."""
        return {
            "entries": [
                {"at": at, "action": action, "arguments": arguments}
                for at, _, action, arguments in sorted(self._entries, key=_turn)
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the entries of *state* and no others."""
        entries = enumerate(state["entries"], 1)
        self._entries = [(one["at"], n, one["action"], one["arguments"]) for n, one in entries]
        heapify(self._entries)
        self._asked = len(self._entries)


def _turn(entry: _Entry) -> tuple[float, int]:
    return entry[:2]
