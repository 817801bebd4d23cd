"""Fixtures for the tests of whoever uses `limio_async`; pytest finds them by itself, `-p no:limio_async` turns them off.

`limio_world` is an emulator, `limio` a client of it in the same process, `limio_server` the URL it is served at,
`limio_webhooks` takes its webhooks to an application.
All are made anew for each test and work in tests of any kind: plain, pytest-asyncio's, anyio's (on asyncio).
`@pytest.mark.limio_world(envelope="documented")` sets what the world of a test is like.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # pytest loads this module everywhere: what is heavy waits until a test asks for it
    from limio_async import Limio
    from limio_async.emulator import World
    from limio_async.emulator.http.apps import Courier

__all__ = ["limio", "limio_server", "limio_webhooks", "limio_world", "served"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "limio_world(**settings): settings of the test's limio_world")


@pytest.fixture
def limio_world(request: pytest.FixtureRequest) -> World:
    """A Limio of this test's own, with 200 offers and 100 subscriptions; override it to have another."""
    from limio_async.emulator import World

    marks = reversed(list(request.node.iter_markers("limio_world")))
    settings: dict[str, Any] = {"offers": 200, "subscriptions": 100}
    for mark in marks:
        settings |= mark.kwargs
    return World(**settings)


@pytest.fixture
def limio(limio_world: World) -> Limio:
    """A client of `limio_world` in this process, with all credentials. It holds nothing that must be closed."""
    from limio_async import Limio
    from limio_async.client import auth_from
    from limio_async.emulator import InMemoryTransport

    transport = InMemoryTransport(limio_world)
    return Limio(transport.origin, auth=auth_from(limio_world.environ(transport.origin)), transport=transport)


@pytest.fixture
def limio_server(limio_world: World) -> Generator[str]:
    """The URL of `limio_world` over HTTP, for code that is given a host, in this process or another."""
    with served(limio_world) as url:
        yield url


@pytest.fixture
def limio_webhooks(limio_world: World) -> Courier:
    """Takes the webhooks of `limio_world` to an ASGI application, an aiohttp handler or a URL."""
    from limio_async.emulator.http.apps import Courier

    return Courier(limio_world)


@contextmanager
def served(world: World) -> Generator[str]:
    """Serve *world* from a thread of its own, on any free port of this machine; gives the base URL."""
    from limio_async.emulator.server import serve

    loop = asyncio.new_event_loop()
    listening = threading.Event()
    ended = asyncio.Event()
    url = ""

    async def run() -> None:
        nonlocal url
        try:
            async with serve(world, port=0) as url:
                listening.set()
                await ended.wait()
        finally:
            listening.set()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=work, name="limio_server", daemon=True)
    thread.start()
    listening.wait()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
