"""A loop whose waits take no time."""

from __future__ import annotations

import math
from typing import Any


class VirtualTime:
    """The running loop's clock: jumps to the next timer instead of waiting for it.

    It begins at a whole second, so waits that are sums of powers of two are exact however long the machine has been up.
    """

    def __init__(self, loop: Any) -> None:
        self.elapsed = 0.0
        self.loop = loop
        self._begun = float(math.ceil(loop.time()))
        self._select = loop._selector.select

    def time(self) -> float:
        return self._begun + self.elapsed

    def select(self, timeout: float | None) -> Any:
        ready = self._select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that cannot happen"
            self.elapsed += timeout
        return ready
