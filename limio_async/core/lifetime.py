"""Whether a client can be used, and what ends with it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from limio_async.errors import ClientClosed

__all__ = ["Forks", "Lifetime"]


class Forks:
    """How many forks lie between this process and the first. Each call looks at it, and asks the system nothing."""

    count = 0

    @classmethod
    def one_more(cls) -> None:
        """Note that this process is a child."""
        cls.count += 1


if (call_after := getattr(os, "register_at_fork", None)) is not None:  # Windows has no forks
    call_after(after_in_child=Forks.one_more)


class Lifetime:
    """Whether a client is open, in which process and loop, and which tasks it has to end.

    *what* is how errors call it. It belongs to the process and the loop that use it first.
    """

    def __init__(self, what: str = "this client") -> None:
        self._what = what
        self._walks: set[asyncio.Task[Any]] = set()
        self._process: int | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def check(self) -> None:
        """Raise `ClientClosed` where the client cannot be used, or not in this process or loop."""
        loop = asyncio.get_running_loop()
        if self.closed:
            raise ClientClosed(f"{self._what} was closed; open a new one")
        if self._process is None:
            self.use()
        elif self._process != Forks.count:  # whose loop may be a copy of the parent's
            raise ClientClosed(f"{self._what} was made before a fork; make one in the child")
        if self.loop is loop:
            return
        if self.loop is not None:
            raise ClientClosed(f"{self._what} belongs to another event loop; open one in this loop")
        self.loop = loop

    def use(self) -> None:
        """Belong to this process from now on."""
        self._process = Forks.count

    @property
    def forked(self) -> bool:
        """Whether this is the child of a process that has used it: what is open is the parent's."""
        return self._process is not None and self._process != Forks.count

    def start(self, walk: asyncio.Task[Any]) -> None:
        """Take note of a task that fetches ahead, so that closing the client ends it."""
        self._walks.add(walk)
        walk.add_done_callback(self._walks.discard)

    async def end(self) -> None:
        """Close, and end the tasks of this loop; those of another ended with it, those of a parent are its own."""
        self.closed = True
        if self.forked:
            return
        walks = [walk for walk in self._walks if walk.get_loop() is asyncio.get_running_loop()]
        for walk in walks:
            walk.cancel()
        await asyncio.gather(*walks, return_exceptions=True)
