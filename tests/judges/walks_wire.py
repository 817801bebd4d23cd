"""A raw HTTP/1.1 server over asyncio streams: it reads requests, and answers well or in every wrong way.

Standard library only. What it says with which fault is somebody else's decision, a `Tenant`'s.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

__all__ = ["LOST", "ROTTEN", "Reply", "Request", "Tenant", "Wire"]

LOST = (
    "reset before", "reset within", "cut", "cut without length", "bad chunk", "bad gzip", "no http",
    "slow head", "slow body",
)  # fmt: skip
"""An answer that does not arrive whole."""
ROTTEN = ("html", "half of the json", "rubbish")
"""An answer that arrives whole and cannot be read."""
_HTML = b"<!doctype html><html><body><h1>Sign in</h1></body></html>"


@dataclass(frozen=True)
class Request:
    """A request that was received whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass
class Reply:
    """What is answered, and how."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    fault: str = ""
    """One of `LOST` or `ROTTEN`, or nothing."""
    style: str = "length"
    """How a good answer travels: `length`, `chunked`, `gzip`, `close`."""
    whole: bool | None = None
    """Whether it was sent whole; None as long as it was not sent."""


class Tenant(Protocol):
    """Who decides what is answered."""

    def accepts(self, connection: int) -> bool:
        """Whether a new connection is served, rather than reset at once."""
        ...

    def reads_body(self, request: Request) -> bool:
        """Whether the body of a request, of which the head was read, is read too, rather than reset."""
        ...

    def answer(self, request: Request) -> Reply:
        """What comes of a request that was received whole."""
        ...


class Wire:
    """Serves one tenant on a port of its own."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._open: dict[int, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self._server: asyncio.Server | None = None
        self._socket = socket.socket()
        self.url = ""

    async def start(self, *, away: bool = False) -> None:
        """Listen on a free port, or hold one on which nobody listens."""
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        if not away:
            self._server = await asyncio.start_server(self._connected, sock=self._socket, limit=1 << 20)

    async def connections_left(self, patience: float) -> int:
        """How many connections the client has still not closed after *patience* seconds."""
        for _ in range(20):
            if not self._open:
                break
            await asyncio.sleep(patience / 20)
        return len(self._open)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        for writer in list(self._open.values()):
            writer.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        number = self._accepted
        if not self._tenant.accepts(number):
            writer.transport.abort()
            return
        self._open[number] = writer
        task = asyncio.ensure_future(self._serve(number, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await self._read(number, reader)
                if request is None:
                    writer.transport.abort()
                    return
                if not await self._send(self._tenant.answer(request), reader, writer):
                    return
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            self._open.pop(number, None)
            writer.close()

    async def _read(self, number: int, reader: asyncio.StreamReader) -> Request | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.rstrip().split("\r\n")
        method, target, _ = line.split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (header.partition(":") for header in rest)
        }
        split = urlsplit(target)
        request = Request(method, split.path, dict(parse_qsl(split.query)), headers, b"", number)
        if not self._tenant.reads_body(request):
            return None
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, split.path, request.query, headers, body, number)

    async def _send(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send it, and tell whether the connection goes on."""
        reply.whole = False
        if reply.fault in LOST:
            await self._lose(reply, reader, writer)
            return False
        body = _rotten(reply)
        headers = {"Content-Type": "application/json", **reply.headers}
        if reply.fault == "html":
            headers["Content-Type"] = "text/html"
        match reply.style:
            case "gzip":
                body = gzip.compress(body, 1)
                headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
            case "chunked":
                headers["Transfer-Encoding"] = "chunked"
                middle = len(body) // 2
                body = _chunk(body[:middle]) + _chunk(body[middle:]) + b"0\r\n\r\n"
            case "close":
                headers["Connection"] = "close"
            case _:
                headers["Content-Length"] = str(len(body))
        writer.write(_head(reply.status, headers) + body)
        await writer.drain()
        reply.whole = reply.fault not in ROTTEN
        return reply.style != "close"

    async def _lose(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body, half = reply.body, reply.body[: len(reply.body) // 2]
        headers = {"Content-Type": "application/json", **reply.headers}
        length = {"Content-Length": str(len(body))}
        match reply.fault:
            case "reset within":
                writer.write(_head(reply.status, headers | length) + half)
                await writer.drain()
                await asyncio.sleep(0.01)
                writer.transport.abort()
            case "cut":
                writer.write(_head(reply.status, headers | length) + half)
            case "cut without length":
                writer.write(_head(reply.status, headers | {"Connection": "close"}) + half)
            case "bad chunk":
                writer.write(_head(reply.status, headers | {"Transfer-Encoding": "chunked"}))
                writer.write(_chunk(half) + b"zz\r\n" + body)
            case "bad gzip":
                squeezed = bytearray(gzip.compress(body, 1))
                squeezed[len(squeezed) // 2 :] = b"\xff" * (len(squeezed) - len(squeezed) // 2)
                length = {"Content-Length": str(len(squeezed)), "Content-Encoding": "gzip"}
                writer.write(_head(reply.status, headers | length) + bytes(squeezed))
            case "no http":
                writer.write(b"\x00\x01 this is no HTTP at all\r\n\r\n")
            case "slow head":
                await reader.read()  # silent until the client gives up
            case "slow body":
                writer.write(_head(reply.status, headers | length) + half)
                await reader.read()
            case _:
                writer.transport.abort()


def _rotten(reply: Reply) -> bytes:
    match reply.fault:
        case "html":
            return _HTML
        case "half of the json":
            return reply.body[: max(1, len(reply.body) // 2)]
        case "rubbish":
            return b'\xff\xfe{"' + reply.body[:20]
        case _:
            return reply.body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part) if part else b""
