"""A World over HTTP, for any client in any language; what `limio emulate` runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

from aiohttp import web

from limio_async.core.wire import Request, Response
from limio_async.emulator.http.admission import is_loopback
from limio_async.emulator.http.control import CONTROL, Control
from limio_async.emulator.http.courier import sending
from limio_async.emulator.http.sending import send
from limio_async.emulator.http.window import PREFIX, Window
from limio_async.emulator.world import World

__all__ = ["run_server", "serve", "serve_answers"]

_LARGEST_BODY = 10 * 2**20


@asynccontextmanager
async def serve(
    world: World,
    host: str = "127.0.0.1",
    port: int = 8642,
    *,
    real_time: bool = False,
    window: bool = False,
    control: bool = False,
    webhooks: bool = False,
) -> AsyncGenerator[str]:
    """Answer for *world* as long as the block runs; gives the base URL. Port 0 takes any free one.

    With *real_time* the world's clock runs by itself; with *window* there is a page to look through at
    `/_emulator/`; with *control* programs may arm faults and the like at `/_emulator/control`: those of this
    machine, unless *host* is an address that others can reach. With *webhooks* those of the world are sent.
    """
    door = _Door(world, real_time=real_time, window=window, control=control, remote=not is_loopback(host))
    async with AsyncExitStack() as stack:
        if webhooks:
            await stack.enter_async_context(sending(world, door.tick))
        yield await stack.enter_async_context(_listening(door.answer, host, port))


@asynccontextmanager
async def serve_answers(
    answer: Callable[[Request], Awaitable[Response]], host: str, port: int
) -> AsyncGenerator[str]:
    """Answer with whatever *answer* gives as long as the block runs; gives the base URL."""

    async def handle(incoming: web.Request) -> web.StreamResponse:
        return _sent(await answer(await _request(incoming)))

    async with _listening(handle, host, port) as url:
        yield url


@asynccontextmanager
async def _listening(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], host: str, port: int
) -> AsyncGenerator[str]:
    async def quietly(incoming: web.Request) -> web.StreamResponse:
        try:
            return await handle(incoming)
        except ConnectionError:  # the client hung up within its request or the answer
            return web.Response(status=500)

    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_route("*", r"/{path:[\s\S]*}", quietly)  # a dot is no line break
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound: int = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()


async def run_server(
    world: World,
    *,
    host: str = "127.0.0.1",
    port: int = 8642,
    control: bool = False,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve *world* in real time until cancelled; calls *ready* with the base URL once it listens."""
    async with serve(
        world,
        host,
        port,
        real_time=True,
        window=True,
        control=control,
        webhooks=bool(world.webhooks.receivers),
    ) as url:
        if ready is not None:
            ready(url)
        await asyncio.Event().wait()


class _Door:
    """Lets requests in to the world and its answers out."""

    def __init__(self, world: World, *, real_time: bool, window: bool, control: bool, remote: bool) -> None:
        self._world = world
        self._control = Control(world, remote=remote) if control else None
        self._window = Window(world, running=real_time) if window else None
        self._real_time = real_time
        self._last = monotonic()

    def tick(self) -> None:
        """Let the clock get to where it is, if it runs by itself."""
        if self._real_time:
            before, self._last = self._last, monotonic()
            self._world.advance(self._last - before)

    async def answer(self, incoming: web.Request) -> web.StreamResponse:
        self.tick()
        request = await _request(incoming)
        if self._control is not None and incoming.path == CONTROL:
            return _sent(self._control.answer(request))
        if self._window is not None and incoming.path.startswith(PREFIX):
            return _sent(self._window.answer(request, peer=incoming.remote))
        return await send(incoming, self._world.deliver(request))


async def _request(incoming: web.Request) -> Request:
    return Request(
        operation="",  # the world finds it
        method=incoming.method,
        target=incoming.raw_path,
        headers={name.lower(): value for name, value in incoming.headers.items()},
        body=await incoming.read() if incoming.body_exists else None,
    )


def _sent(response: Response) -> web.Response:
    return web.Response(status=response.status, headers=response.headers, body=response.body)
