"""Receivers and workers that are killed at any moment: what was answered 202 is handled, through `tx` once."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from limio_async.webhooks import Inbox
from tests.postgres_cluster import Cluster
from tests.webhooks.service import PAIR

EVENTS, OBJECTS, KILLS = 200, 50, 4
SIGNED = "Basic " + base64.b64encode(":".join(PAIR).encode()).decode()
MADE = "CREATE TABLE effects (seq bigint)"


class Service:
    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.webhooks.service", *self._arguments]
        self.process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self.process.stdout is not None
        assert await asyncio.wait_for(self.process.stdout.readline(), 20) == b"ready\n"

    async def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        os.kill(self.process.pid, how)
        return await asyncio.wait_for(self.process.wait(), 25)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def seqs(url: str) -> list[int]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            return [seq for (seq,) in db.execute("SELECT seq FROM effects")]
    async with await psycopg.AsyncConnection.connect(url.partition("?")[0]) as db2:
        return [seq for (seq,) in await (await db2.execute("SELECT seq FROM effects")).fetchall()]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_was_answered_202_is_handled_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/inbox.db"
        with closing(sqlite3.connect(tmp_path / "inbox.db")) as db:
            db.execute(MADE)
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = f"{cluster.url}?schema=kills_{uuid4().hex[:8]}"
        with psycopg.connect(cluster.url) as db2:
            db2.execute("DROP TABLE IF EXISTS effects")
            db2.execute(MADE)
    gets = 0

    async def get(request: web.Request) -> web.Response:
        nonlocal gets
        gets += 1
        await asyncio.sleep(0.002)
        return web.json_response({"id": request.match_info["id"], "record_type": "order", "service": "limio", "updated": "2027-01-01T00:00:00Z"})  # fmt: skip

    tenant = web.Application()
    tenant.router.add_get("/api/objects/{service}/{kind}/{id}", get)
    bodies = [{"id": f"order-{n % OBJECTS}", "record_type": "order", "subscriptionId": f"sub-{n % 50}", "updated": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"} for n in range(EVENTS)]  # fmt: skip
    waiting = bodies * 2
    random.Random(7).shuffle(waiting)
    port = free_port()
    server = TestServer(tenant)
    async with server, aiohttp.ClientSession(headers={"Authorization": SIGNED}) as client:
        services = [
            Service(url, str(port), str(server.make_url("")).rstrip("/"), str(tmp_path)) for _ in range(2)
        ]
        await asyncio.gather(*(one.start() for one in services))

        async def deliver() -> None:
            while waiting:
                body = waiting.pop()
                try:
                    answer = await client.post(f"http://127.0.0.1:{port}/hooks/order_submitted", json=body)
                    done = answer.status == 202
                    await answer.read()
                except aiohttp.ClientError:
                    done = False
                if not done:
                    waiting.append(body)
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.02)

        senders = [asyncio.create_task(deliver()) for _ in range(8)]
        for kill in range(KILLS):
            await asyncio.sleep(0.15)
            one = services[kill % 2]
            await one.end(signal.SIGKILL)
            await one.start()
        await asyncio.gather(*senders)
        async with Inbox(url) as inbox:
            async with asyncio.timeout(60):
                while (await inbox.stats()).states.get("open"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            stats = await inbox.stats()
        assert [await one.end(signal.SIGTERM) for one in services] == [0, 0]
    found: Any = await seqs(url)
    assert stats.states == {"done": EVENTS}
    assert (len(found), len(set(found))) == (EVENTS, EVENTS)
    assert stats.repeats >= EVENTS
    assert not list(tmp_path.glob("overlap-*"))  # noqa: ASYNC240
    assert gets <= EVENTS + KILLS * 16
