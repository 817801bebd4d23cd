"""A port in front of a server's, at which the server is away now and then: connections are refused, or answered with 503."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

__all__ = ["Gate"]

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CHUNK = 2**16


class Gate:
    """Lets every connection through to *behind*, a URL, unless the server is `away`. An async context manager."""

    def __init__(self, behind: str) -> None:
        spot = urlsplit(behind)
        self._behind = (str(spot.hostname), int(spot.port or 80))
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_busy = False
        self._returning: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._returning is not None:
            self._returning.cancel()
        self._close()

    def away(self, how: Literal["refused", "503"], seconds: float) -> None:
        """Be away from now on, for so many seconds; connections that there are break off."""
        if self._returning is not None and not self._returning.done():
            return
        self._is_busy = how == "503"
        if how == "refused":
            self._close()
        self._break_off()
        self._returning = asyncio.create_task(self._return(seconds))

    async def _return(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._is_busy = False
        if self._server is None:
            await self._open()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._break_off()

    def _break_off(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        beyond: asyncio.StreamWriter | None = None
        try:
            if self._is_busy:
                with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(_BUSY)
                    await writer.drain()
                return
            answers, beyond = await asyncio.open_connection(*self._behind)
            await asyncio.gather(_pour(reader, beyond), _pour(answers, writer))
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            for one in (writer, beyond):
                if one is not None:
                    one.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.close()
