"""A World as the transport of a client in the same process."""

from __future__ import annotations

import asyncio

from limio_async.core.wire import Request, Response
from limio_async.emulator.world import World

__all__ = ["InMemoryTransport"]


class InMemoryTransport:
    """Carries requests to *world*; gives way to other tasks once for each, so that concurrency is real.

    The world acts when a request comes: one that is cancelled has happened.
    """

    def __init__(self, world: World, *, origin: str = "https://limio.emulated") -> None:
        self._world = world
        self._origin = origin
        self.closed = False

    @property
    def origin(self) -> str:
        """Where the client believes to send."""
        return self._origin

    async def send(self, request: Request, *, timeout: float) -> Response:
        """The world's answer. Raises what a client would meet where the world's faults say so."""
        delivery = self._world.deliver(request)
        await asyncio.sleep(delivery.delay)  # the world has acted by now, whoever is cancelled
        return delivery.received(request.operation)

    async def aclose(self) -> None:
        """Note that the client let go."""
        self.closed = True
