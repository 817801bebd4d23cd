"""A World as the transport of a client in the same process."""

from __future__ import annotations

import asyncio

from limio_async.core.wire import Request, Response
from limio_async.emulator.world import World

__all__ = ["InMemoryTransport"]


class InMemoryTransport:
    """Carries requests to *world*; gives way to other tasks once for each, so that concurrency is real."""

    def __init__(self, world: World, *, origin: str = "https://limio.emulated") -> None:
        self._world = world
        self._origin = origin
        self.closed = False

    @property
    def origin(self) -> str:
        """Where the client believes to send."""
        return self._origin

    async def send(self, request: Request, *, timeout: float | None) -> Response:
        """The world's answer. Raises `NeverSent` and `AnswerLost` where the world's script says so."""
        del timeout  # the world's clock does not run while it answers
        await asyncio.sleep(0)
        return self._world.answer(request)

    async def aclose(self) -> None:
        """Note that the client let go."""
        self.closed = True
