"""A tenant whose objects are read, over raw asyncio streams: it numbers what it answers, and knows what is true.

Standard library only, no code of the client and none of the emulator.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Tenant", "body_of"]

Json = dict[str, Any]
_NOW = "2027-01-01T00:00:00.000Z"
_TAKES = 0.006


def body_of(id: str, subscription: str, name: str, updated: str | None) -> Json:
    """Return what Limio tells of an object; *name* is which change it tells of."""
    record_type = "order" if id.startswith("order-") else "customer"
    body: Json = {"id": id, "record_type": record_type, "service": "limio", "status": "active"}
    body["data"] = {"external_id": name, "subscriptionId": subscription}
    return body if updated is None else body | {"updated": updated}


class Tenant:
    """A tenant on a port of its own, until `stop`."""

    def __init__(self, seed: int = 0) -> None:
        self.url = ""
        self.gets: list[str] = []
        """The object of each GET that was answered; its place is the number in the answer."""
        self.wire = 0
        self.broken: list[str] = []
        """Requests that no client may send."""
        self.came = asyncio.Event()
        """Set at each GET."""
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, method: str, target: str) -> tuple[int, Json]:
        match method, [unquote(part) for part in urlsplit(target).path.strip("/").split("/")]:
            case "POST", ["oauth2", "token"]:
                return 200, {"access_token": "e30.e30.e30", "token_type": "Bearer", "expires_in": 3600}
            case "GET", ["api", "objects", "limio", "orders" | "customers", id]:
                number = len(self.gets)
                self.gets.append(id)
                self.wire += 1
                self.came.set()
                self.came = asyncio.Event()
                try:
                    await asyncio.sleep(self._random.uniform(0.0, _TAKES))
                finally:
                    self.wire -= 1
                return 200, body_of(id, "sub-0", f"get-{number}", _NOW)
            case _:
                self.broken.append(f"{method} {target}")
                return 404, {"message": "no such path"}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # cancelled by `stop`: a task of a stream that ends so writes a traceback
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                    method, target, _ = head[0].split(" ", 2)
                    named = (line.partition(":") for line in head[1:])
                    headers = {name.lower(): value.strip() for name, _, value in named}
                    await reader.readexactly(int(headers.get("content-length", "0")))
                    status, content = await self._answer(method, target)  # though the client may be gone
                    text = json.dumps(content).encode()
                    writer.write(
                        f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {len(text)}\r\n\r\n".encode()
                        + text
                    )
                    await writer.drain()
        finally:
            writer.close()
