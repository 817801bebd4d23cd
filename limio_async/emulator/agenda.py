"""What happens later on a world's clock: kept as data, so that it survives a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from limio_async.emulator.settings import Settings

__all__ = ["Action", "Agenda"]

Action = Callable[..., object]
"""What an entry of the agenda does; its arguments are keywords that fit in JSON."""


class Agenda:
    """The entries, and the actions that they name."""

    name = "agenda"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._actions: dict[str, Action] = {}
        self._entries: list[dict[str, Any]] = []

    def on(self, action: str, does: Action) -> None:
        """Let entries that name *action* do this."""
        self._actions[action] = does

    def later(self, seconds: float, action: str, **arguments: Any) -> None:
        """Do *action* once *seconds* have passed; those of one moment happen in the order they were asked for."""
        if action not in self._actions:
            raise ValueError(f"no action is called {action}")
        at = self._settings.now() + seconds
        self._entries.append({"at": at, "action": action, "arguments": arguments})
        self._entries.sort(key=lambda entry: entry["at"])

    def next_before(self, moment: float) -> float | None:
        """When the first entry is due, if that is not after *moment*."""
        return self._entries[0]["at"] if self._entries and self._entries[0]["at"] <= moment else None

    def do_next(self) -> None:
        """Do the first entry."""
        entry = self._entries.pop(0)
        self._actions[entry["action"]](**entry["arguments"])

    def snapshot(self) -> dict[str, Any]:
        """The entries, fit for JSON."""
        return {"entries": [dict(entry) for entry in self._entries]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the entries of *state* and no others."""
        self._entries = [dict(entry) for entry in state["entries"]]
