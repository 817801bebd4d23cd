"""Many tenants in one process, each with connections of its own, or all with a pool's: open sockets, memory, time.

`python -m benchmarks.tenants` prints a table in less than 20 seconds. Each tenant has an address of its own on this machine
(127.0.0.x), all of them one server. Needs `/proc`, which Linux has.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from benchmarks.tables import Table, printed
from limio_async import AiohttpTransport, BearerToken, ConnectionPool, Limio

TENANTS, ROUNDS, AT_ONCE = 200, 2, 4
WAYS = {"each its own": None, "a pool of 200": 200, "a pool of 32": 32}


async def served() -> None:
    """Answer on every address of 127.0.0.0/8 until this process is ended; print the port."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0.002)
        return web.json_response({"id": "sub-1"})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", 0)  # noqa: S104  # all of 127.0.0.0/8
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def measured(port: int, limit: int | None) -> dict[str, float]:
    """Ask every tenant a few times, and return what that took of this process."""
    logging.getLogger("limio_async").setLevel(logging.ERROR)  # it warns of plain http
    before, loop = resident(), asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        pool = None if limit is None else await stack.enter_async_context(ConnectionPool(limit))
        clients = []
        for number in range(TENANTS):
            transport = AiohttpTransport(f"http://127.0.0.{number + 1}:{port}", pool=pool, plain_http=True)
            limio = Limio(auth=BearerToken("token"), transport=transport)
            clients.append(await stack.enter_async_context(limio))
        began, most, asking = loop.time(), 0, True

        async def look() -> None:
            nonlocal most
            while asking:
                most = max(most, sockets())
                await asyncio.sleep(0.01)

        looking = asyncio.create_task(look())
        for _ in range(ROUNDS):
            await asyncio.gather(*(one.subscriptions.get("sub-1") for one in clients for _ in range(AT_ONCE)))
        took, asking = loop.time() - began, False
        await looking
        return {"most": most, "kept": sockets(), "MiB": resident() - before, "calls/s": calls() / took}


def calls() -> int:
    """Return how many calls one way makes."""
    return TENANTS * ROUNDS * AT_ONCE


def sockets() -> int:
    """Return how many TCP sockets this process has open."""
    inodes = {line.split()[9] for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            continue
        count += target.startswith("socket:") and target[8:-1] in inodes
    return count


def resident() -> float:
    """Return the MiB that are resident of this process now."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def compared() -> None:
    """Print the table."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.tenants", "serve"), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None  # noqa: S101  # a pipe was asked for
    port = int(await server.stdout.readline())
    rows = []
    for name, limit in WAYS.items():
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.tenants", "ask", str(port), json.dumps(limit)),
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await child.communicate()
        figures = json.loads(told)
        rows.append([name, *(f"{figures[one]:,.0f}" for one in ("most", "kept", "MiB", "calls/s"))])
    server.terminate()
    await server.wait()
    heads = ["connections", "most sockets", "sockets kept", "MiB", "calls/s"]
    printed(Table(f"{TENANTS} tenants, {AT_ONCE} calls at once each, {ROUNDS} times", heads, rows))


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            asyncio.run(compared())
        case ["serve"]:
            asyncio.run(served())
        case ["ask", port, limit]:
            print(json.dumps(asyncio.run(measured(int(port), json.loads(limit)))))
        case _:
            sys.exit("usage: python -m benchmarks.tenants")
