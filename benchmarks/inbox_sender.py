"""Sending webhooks on connections that stay open, with as little work as can be, so that the receiver is what is measured."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from time import perf_counter
from types import TracebackType
from typing import Self

__all__ = ["Sender", "body"]

_SIGNED = base64.b64encode(b"user:word").decode()
_CONNECTIONS = 64
_HELD = 0.9  # seconds between two events that a handler holds for one
_COUNT = itertools.count(1)


def body(number: int, key: str | None = None) -> bytes:
    """A webhook of about 600 bytes, of a key of its own."""
    name = f"{number:012d}{next(_COUNT):012d}"
    said = {"id": f"order-{name}", "record_type": "order", "service": "limio", "status": "active", "subscriptionId": key or f"sub-{name}",
            "updated": "2026-01-01T00:00:00.000Z", "data": {"order_type": "new", "comment": "x" * 400}}  # fmt: skip
    return json.dumps(said).encode()


class Sender:
    """Sends to a receiver on 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        for _ in range(_CONNECTIONS):
            self._idle.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._idle.empty():
            self._idle.get_nowait()[1].close()
        await asyncio.sleep(0)

    async def at_rate(self, rate: int, seconds: float, *, holds: bool = False) -> float:
        """Send so many a second whatever becomes of them; return the p99 in ms, each counted from when it was due."""
        begun, found = perf_counter(), list[float]()

        async def one(due: float, text: bytes, type: str) -> None:
            await self._send(type, text)
            found.append(perf_counter() - due)

        async with asyncio.TaskGroup() as group:
            held = 0.0
            for number in range(int(rate * seconds)):
                due = begun + number / rate
                if (wait := due - perf_counter()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(one(due, body(number), "order_submitted"))
                if holds and due - begun >= held:
                    held += _HELD
                    group.create_task(one(due, body(number, "sub-held"), "order_cancelled"))
        return sorted(found)[int(len(found) * 0.99)] * 1e3

    async def at_once(self, senders: int, seconds: float) -> float:
        """Send, each as soon as it has an answer; return how many a second were taken."""
        begun, taken = perf_counter(), 0

        async def one(number: int) -> None:
            nonlocal taken
            while perf_counter() < begun + seconds:
                await self._send("order_submitted", body(number))
                taken += 1

        async with asyncio.TaskGroup() as group:
            for number in range(senders):
                group.create_task(one(number))
        return taken / (perf_counter() - begun)

    async def _send(self, type: str, text: bytes) -> None:
        head = f"POST /hooks/{type} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {_SIGNED}\r\nContent-Length: {len(text)}\r\n\r\n"
        reader, writer = await self._idle.get()
        writer.write(head.encode() + text)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202"):
            raise SystemExit(f"not taken: {answer.decode()}")
        self._idle.put_nowait((reader, writer))
