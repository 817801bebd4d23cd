"""Whether a client can be used, and what ends with it."""

from __future__ import annotations

import asyncio
from typing import Any

from limio_async.errors import ClientClosed

__all__ = ["Lifetime"]


class Lifetime:
    """Whether a client is open, in which loop, and which tasks it has to end."""

    def __init__(self) -> None:
        self._walks: set[asyncio.Task[Any]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def check(self) -> None:
        """Raise `ClientClosed` where the client cannot be used, or not in this loop."""
        loop = asyncio.get_running_loop()
        if self.closed:
            raise ClientClosed("this client was closed; open a new one")
        if self.loop is loop:
            return
        if self.loop is not None:
            raise ClientClosed("this client belongs to another event loop; open one in this loop")
        self.loop = loop

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        self._walks.add(walk)
        walk.add_done_callback(self._walks.discard)

    async def end(self) -> None:
        """Close, and end the tasks of this loop; those of another ended with it."""
        self.closed = True
        walks = [walk for walk in self._walks if walk.get_loop() is asyncio.get_running_loop()]
        for walk in walks:
            walk.cancel()
        await asyncio.gather(*walks, return_exceptions=True)
