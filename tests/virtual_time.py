"""A loop whose waits take no time."""

from __future__ import annotations

from typing import Any


class VirtualTime:
    """The running loop's clock: jumps to the next timer instead of waiting for it."""

    def __init__(self, loop: Any) -> None:
        self.elapsed = 0.0
        self.loop = loop
        self._begun: float = loop.time()
        self._select = loop._selector.select

    def time(self) -> float:
        return self._begun + self.elapsed

    def select(self, timeout: float | None) -> Any:
        ready = self._select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that cannot happen"
            self.elapsed += timeout
        return ready
