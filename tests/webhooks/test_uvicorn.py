"""`uvicorn --workers` with a worker in each lifespan, on one file: one process handles, and another when that is killed."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import aiohttp

from tests.webhooks.test_kills import free_port

APP = """
import asyncio, os
from contextlib import asynccontextmanager, suppress
from limio_async import BearerToken, Limio
from limio_async.webhooks import Inbox

inbox = Inbox("sqlite:///inbox.db")
receiver = inbox.receiver(("limio", "secret"))

@inbox.on("*", refetch=False)
async def effect(event, item, tx):
    tx.execute("INSERT INTO effects VALUES (?, ?)", (event.id, os.getpid()))

class App:
    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            return await receiver(scope, receive, send)
        await receive()
        async with Limio("http://127.0.0.1:1", auth=BearerToken("t")) as limio, inbox:
            running = asyncio.create_task(inbox.run(limio))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        await send({"type": "lifespan.shutdown.complete"})

app = App()
"""
SIGNED = {"Authorization": "Basic " + base64.b64encode(b"limio:secret").decode()}


def effects(file: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT id, pid FROM effects").fetchall()


async def test_each_event_is_handled_once_and_another_process_takes_over(tmp_path: Path) -> None:
    (tmp_path / "shop_hooks.py").write_text(APP)
    file, port = tmp_path / "inbox.db", free_port()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE effects (id text, pid int)")
    command = [sys.executable, "-m", "uvicorn", "shop_hooks:app", "--workers", "3", "--port", str(port)]
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        async with aiohttp.ClientSession(headers=SIGNED) as client:

            async def deliver(n: int) -> None:
                body = {"id": f"order-{n}", "record_type": "order"}
                async with asyncio.timeout(60):
                    while True:
                        try:
                            async with client.post(
                                f"http://127.0.0.1:{port}/hooks/order_submitted", json=body
                            ) as answer:
                                if answer.status == 202:
                                    return
                        except aiohttp.ClientError:
                            pass
                        await asyncio.sleep(0.1)

            async def handled(count: int, within: float) -> list[tuple[str, int]]:
                async with asyncio.timeout(within):
                    while len(found := effects(file)) < count:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                return found

            await asyncio.gather(*(deliver(n) for n in range(30)))
            found = await handled(30, 30)
            (pid,) = {pid for _, pid in found}
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            await asyncio.gather(*(deliver(n) for n in range(30, 60)))
            found = await handled(60, max(0.1, killed + 15 - time.monotonic()))
            assert len({name for name, _ in found}) == len(found) == 60
            assert len({pid for _, pid in found}) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) is not None
