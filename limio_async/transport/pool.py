"""Connections: those of one client, and those that many clients share up to a limit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from limio_async.core.lifetime import Forks, Lifetime
from limio_async.errors import ClientClosed, ConfigurationError, NeverSent

__all__ = ["ConnectionPool", "Connector"]


class Connector(aiohttp.TCPConnector):
    """Keeps connections that were idle for *idle* seconds at most, without a limit of its own.

    A fork copies it. The copy lets go of nothing: its end would say goodbye to the server on the parent's connections,
    and take them out of the selector, which parent and child share.
    """

    def __init__(self, idle: float) -> None:
        self._process = Forks.count
        keeping: dict[str, Any] = {"keepalive_timeout": idle} if idle else {"force_close": True}
        super().__init__(limit=0, **keeping)  # pyright: ignore[reportUnknownMemberType]  # of a type of aiohttp's

    @property
    def closed(self) -> bool:
        """Whether it is closed, or the copy of a fork."""
        return self._closed or self._process != Forks.count

    def __del__(self, *how: Any) -> None:
        if self._process == Forks.count:
            super().__del__(*how)

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if self._process == Forks.count:
            super()._release(key, protocol, should_close=should_close)

    def _close(self, **how: Any) -> list[Awaitable[object]]:
        if self._process == Forks.count:
            return super()._close(**how)
        self._closed = True
        return []


class ConnectionPool:
    """Connections that the clients of many tenants share: `AiohttpTransport(host, pool=pool)`.

    *limit* is the most connections that are open at once, in use or kept, those of all clients together. A request
    that finds all of them in use waits for one as long as it may take to connect; then it is `NeverSent`. A kept
    connection of another tenant is closed where there is no room, that which was idle longest first.

    No connection carries requests to two origins, through two proxies, or by two certificates' stores. A client that is
    closed leaves its connections to the pool, which closes those that are idle for 15 to 30 s. Close the pool after its clients:
    it is an async context manager. It belongs to one event loop and one process.
    """

    def __init__(self, limit: int = 100) -> None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"limit must be positive, a whole number above 0, not {limit!r}")
        self._places = _Places(limit)
        self._connectors: dict[float, Connector] = {}
        self._lifetime = Lifetime("the pool of this client")

    @property
    def connections(self) -> int:
        """How many connections are open or opening."""
        return self._places.used + len(self._places.kept())

    def check(self) -> None:
        """Raise `ClientClosed` where it cannot be used, or not in this process or loop."""
        self._lifetime.check()

    def connector(self, idle: float) -> Connector:
        """Return what opens connections that are kept for *idle* seconds."""
        self.check()
        if idle not in self._connectors:
            self._connectors[idle] = _Shared(idle, self._places)
        return self._connectors[idle]

    async def aclose(self) -> None:
        """Close the connections; may be called more than once. Who waits for one gets `ClientClosed`."""
        self._lifetime.closed = True
        self._places.turn_away()
        while self._connectors:
            _, connector = self._connectors.popitem()
            await connector.close()

    async def __aenter__(self) -> Self:
        self.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        waiting = len(self._places.waiting)
        return f"<ConnectionPool {self.connections} of {self._places.limit} connections, {waiting} requests wait>"


class _Places:
    """As many as connections may be open; those that are kept give way."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._kept: dict[asyncio.Transport, None] = {}  # since when they are idle, in that order

    async def take(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
        """Wait for a place, and return what is left for connecting."""
        if self.used < self.limit and not self.waiting:
            self.used += 1
            return timeout
        loop = asyncio.get_running_loop()
        began, turn = loop.time(), loop.create_future()
        self.waiting.append(turn)
        try:
            async with asyncio.timeout(timeout.connect):
                await turn
        except BaseException as error:
            if turn in self.waiting:
                self.waiting.remove(turn)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back()  # it came just as this request was cancelled
            if isinstance(error, TimeoutError):
                said = f"could not connect in time: all {self.limit} connections of the pool are in use"
                raise NeverSent(said) from None
            raise
        left = None if timeout.connect is None else max(0.001, timeout.connect - (loop.time() - began))
        return aiohttp.ClientTimeout(total=None, connect=left)

    def give_back(self) -> None:
        """Let the next of those who wait have the place."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.used -= 1

    def turn_away(self) -> None:
        """End the wait of all who wait."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_exception(ClientClosed("the pool of this client was closed; open a new one"))

    def use(self, connection: Connection) -> None:
        """Take note of what has a place, until it is released."""
        if connection.transport is not None:
            self._kept.pop(connection.transport, None)
        connection.add_callback(partial(self._released, connection))

    async def make_room(self) -> None:
        """Close as many of those that are kept as one more needs, and return when their sockets are gone."""
        kept = self.kept()
        over = self.used + len(kept) - self.limit
        for transport in kept[: max(0, over)]:
            self._kept.pop(transport)
            transport.abort()
        if over >= 0:  # whoever comes in between finds them closed, but maybe not gone
            await asyncio.sleep(0)

    def kept(self) -> list[asyncio.Transport]:
        """Return the idle connections; what the server has closed is none."""
        for transport in [one for one in self._kept if one.is_closing()]:
            self._kept.pop(transport)
        return [*self._kept]

    def _released(self, connection: Connection) -> None:
        if connection.transport is not None:  # which closes at once where it is not kept
            self._kept[connection.transport] = None
        self.give_back()


class _Shared(Connector):
    """A pool's: each of its connections has a place."""

    def __init__(self, idle: float, places: _Places) -> None:
        super().__init__(idle)
        self._places = places

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Wait for a place, then connect."""
        left = await self._places.take(timeout)
        try:
            if self.closed:
                raise ClientClosed("the pool of this client was closed; open a new one")  # noqa: TRY301
            connection = await super().connect(req, traces, left)
        except BaseException:
            self._places.give_back()
            raise
        self._places.use(connection)
        return connection

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        await self._places.make_room()
        return await super()._create_connection(req, traces, timeout)
