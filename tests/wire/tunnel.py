"""What stands between a client and a tenant: a proxy that tunnels or passes on, and a TLS server of a private CA."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

from tests.wire.rawserver import RawServer, http, raw_server


class Proxy:
    """Takes CONNECT and absolute targets, whichever host they name, to one server; keeps what it could read."""

    def __init__(self, url: str, behind: str) -> None:
        self.url = url
        self.behind = urlsplit(behind)
        self.heads: list[bytes] = []
        self.read = b""
        """All that came from clients."""

    @property
    def address(self) -> str:
        """Host and port, as the authority of a URL."""
        return urlsplit(self.url).netloc

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.read += head
        there, back = await asyncio.open_connection(self.behind.hostname, self.behind.port)
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            back.write(head)
        await asyncio.gather(self._pipe(reader, back, kept=True), self._pipe(there, writer, kept=False))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, kept: bool) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    if kept:
                        self.read += data
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def proxy_to(behind: str) -> AsyncIterator[Proxy]:
    """A proxy to the server at *behind*."""
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            await proxy.serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    proxy = Proxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", behind)
    try:
        yield proxy
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def tls_server(
    context: ssl.SSLContext, body: bytes = b'{"id":"sub-1"}'
) -> AbstractAsyncContextManager[RawServer]:
    """A server that speaks TLS by *context* and answers every request with *body*."""
    return raw_server(http(body), tls=context)
