"""Walks for a caller that has no event loop: in a loop of their own, step by step, with one client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager
from typing import Any

from anyio import CancelScope
from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from limio_async.client import Limio

__all__ = ["Tenant", "stepped"]


class Tenant:
    """The loop and the client that the walks of a run share: made by the first of them, closed by the last."""

    def __init__(self, make: Callable[[], Limio]) -> None:
        self.portal = BlockingPortalProvider()
        self._make = make
        self._open: Limio | None = None
        self._users = 0

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Limio]:
        """The client, as long as the block runs."""
        found = self._open = self._open or self._make()
        self._users += 1
        try:
            yield found
        finally:
            self._users -= 1
            if not self._users:
                self._open = None
                await found.aclose()


def stepped(portal: BlockingPortal, rows: AsyncGenerator[Any]) -> Generator[Any]:
    """Yield what a walk in the portal's loop does; None while it is under way, so that others have their turn.

    dlt leaves its own loop without waiting for what is closed there. So the walk has another, and is closed when
    this generator is.
    """
    scope: CancelScope | None = None

    async def step() -> Any:
        nonlocal scope
        with CancelScope() as scope:
            return await anext(rows, None)

    def end() -> None:  # called in the loop: a step that was just asked for has begun by then
        if scope is not None:
            scope.cancel()

    coming: Future[Any] | None = None
    try:
        while True:
            coming = portal.start_task_soon(step)
            while not coming.done():
                yield None
            if (found := coming.result()) is None:
                return
            yield found
    finally:
        portal.call(end)
        if coming is not None:
            wait([coming])
        portal.call(rows.aclose)
