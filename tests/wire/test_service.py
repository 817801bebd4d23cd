"""FastAPI under uvicorn, whose browsers hang up and which is stopped while an order is on its way."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.wire.rawserver import RawServer, http, raw_server

ROOT = Path(__file__).resolve().parents[2]
PLACED = http(b'{"id":"order-1"}')

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("fastapi") is None,
    reason="fastapi or uvicorn is not installed",
)


class Tenant:
    """Takes orders and answers each when it may."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        self.taken.set()
        await self.may_answer.wait()
        writer.write(PLACED)
        await writer.drain()


class Service:
    def __init__(
        self, process: asyncio.subprocess.Process, port: int, upstream: RawServer, tenant: Tenant
    ) -> None:
        self.process, self.port, self.upstream, self.tenant = process, port, upstream, tenant

    async def place(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a browser's request; return when the order has left for the tenant."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        async with asyncio.timeout(20):
            await self.tenant.taken.wait()
        self.browser = writer
        return reader, writer

    async def told(self) -> dict[str, Any]:
        """What became of an order."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            return dict(json.loads(await self.process.stdout.readline()))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def end(self) -> str:
        """Return its log."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            log = (await self.process.stderr.read()).decode()
            await self.process.wait()
        self.browser.close()
        await asyncio.gather(self.browser.wait_closed(), return_exceptions=True)
        assert len(self.upstream.sent("/api/order")) == 1
        return log


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    tenant = Tenant()
    async with raw_server(tenant) as upstream:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.wire.service", upstream.url, cwd=ROOT, stdout=-1, stderr=-1
        )
        assert process.stdout is not None
        try:
            port = json.loads(await process.stdout.readline())["port"]
            yield Service(process, port, upstream, tenant)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def doubts(log: str) -> list[str]:
    return [
        line for line in log.splitlines() if "limio_async WARNING" in line and "it may have happened" in line
    ]


async def test_an_order_whose_browser_hangs_up_is_in_the_log() -> None:
    async with serving() as service:
        _, browser = await service.place("/plain")
        browser.close()
        assert await service.told() == {"trace": ["cancelled"]}
        service.stop()
        log = await service.end()
    assert len(doubts(log)) == 1
    assert "submitOrder" in doubts(log)[0]


async def test_an_order_that_is_on_its_way_when_the_server_is_stopped_is_in_the_log() -> None:
    async with serving() as service:
        await service.place("/plain")
        service.stop()
        assert {"trace": ["cancelled"]} in [await service.told(), await service.told()]
        log = await service.end()
    assert len(doubts(log)) == 1


async def test_an_order_that_is_to_be_finished_tells_its_outcome_though_the_browser_hung_up() -> None:
    async with serving() as service:
        _, browser = await service.place("/finish")
        browser.close()
        await asyncio.sleep(0.1)
        service.tenant.may_answer.set()
        assert await service.told() == {"outcome": "order-1"}
        service.stop()
        assert await service.told() == {"closed": True}
        log = await service.end()
    assert doubts(log) == []


async def test_a_server_that_is_stopped_waits_for_what_is_to_be_finished() -> None:
    async with serving() as service:
        answer, _ = await service.place("/finish")
        service.stop()
        await answer.read()  # to its end: uvicorn's patience is over, the handler is cancelled
        service.tenant.may_answer.set()
        assert await service.told() == {"outcome": "order-1"}
        assert await service.told() == {"closed": True}
        log = await service.end()
    assert doubts(log) == []
