"""A server that says exactly the bytes it is told to, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Behaviour = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(
    body: bytes, status: str = "200 OK", *headers: str, length: int | None = None, close: bool = False
) -> bytes:
    """One HTTP/1.1 answer; *length* overrides what Content-Length says."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", *headers]
    lines.append(
        "connection: close" if close else f"content-length: {len(body) if length is None else length}"
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection with a TCP reset."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def silence(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def broken(
    *parts: bytes, end: Callable[[asyncio.StreamWriter], Awaitable[None]] = hang_up, pause: float = 0
) -> Behaviour:
    """Say *parts* with a *pause* after each, then *end* the connection."""

    async def say(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        await end(writer)

    return say


def slow(*parts: bytes, pause: float) -> Behaviour:
    """Say *parts* with a *pause* before each."""

    async def say(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            await asyncio.sleep(pause)
            writer.write(part)
            await writer.drain()

    return say


class RawServer:
    """Answers requests from a script, in order; the last behaviour repeats."""

    def __init__(self, *script: Behaviour) -> None:
        self.script = list(script)
        self.tokens: list[Behaviour] = []
        """What whoever asks for a token is answered, in order; the script answers where this is empty."""
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        """Connections that neither side has closed."""
        self.url = ""
        self.stop: Callable[[], None] = lambda: None
        """Take no connection more; those that are open stay."""

    def sent(self, target: str) -> list[bytes]:
        """The requests whose path and query contain *target*."""
        return [request for request in self.requests if target.encode() in request.partition(b"\r\n")[0]]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := await self._request(reader):
                self.requests.append(head)
                asks_for_token = b"/oauth2/token" in head.partition(b"\r\n")[0]
                steps = self.tokens if asks_for_token and self.tokens else self.script
                step = steps.pop(0) if len(steps) > 1 else steps[0]
                if not isinstance(step, bytes):
                    await step(writer)
                    break
                writer.write(step)
                await writer.drain()
                if b"connection: close" in step:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                head += await reader.readexactly(int(line.partition(b":")[2]))
        return head


@asynccontextmanager
async def raw_server(*script: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    served = RawServer(*script)
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await served.handle(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        if tls is not None:  # a client that is gone says no goodbye
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    served.stop = server.close
    served.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
