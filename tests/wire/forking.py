"""A program that forks: `python -m tests.wire.forking WAY URL [CA]` prints a line for whatever it tries, parent and child.

Its child mostly ends as children of servers do, by the end of the interpreter, which ends what was copied. That of a copied
loop breaks what wakes the parent's from a thread, which is asyncio's own: where that matters, the child leaves at once.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sqlite3
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from limio_async import AiohttpTransport, BearerToken, ClientCredentials, ConnectionPool, Limio
from limio_async.core.wire import Request
from limio_async.outbox import Outbox
from limio_async.webhooks import Inbox

GET = Request(operation="getObject", method="GET", target="/api/objects/ent-1", headers={})


def tell(*said: object) -> None:
    print(*said, flush=True)  # noqa: T201


async def tried(name: str, call: Callable[[], Awaitable[Any]]) -> None:
    try:
        await asyncio.wait_for(call(), 5)
    except BaseException as error:
        tell(name, type(error).__name__, error)
    else:
        tell(name, "ok")


def made(url: str, ca: str | None = None, **more: Any) -> Limio:
    trusted = None if ca is None else ssl.create_default_context(cafile=ca)
    more.setdefault("auth", BearerToken("token"))
    return Limio(url, ssl=trusted, **more)


async def used(limio: Limio) -> None:
    """Use all that a client has, then close it: what is open is another process's."""

    async def enter() -> None:
        async with limio:
            raise AssertionError

    async def walk() -> None:
        async for _ in limio.offers.list(page_size=1):
            raise AssertionError

    tell("child state", limio.state().open)
    await tried("child get", lambda: limio.subscriptions.get("sub-1"))
    await tried("child view", lambda: limio.with_options(timeout=1).subscriptions.get("sub-1"))
    await tried("child finish", lambda: limio.finish(limio.subscriptions.get, "sub-1"))
    await tried("child warmup", limio.warmup)
    await tried("child enter", enter)
    await tried("child walk", walk)
    await tried("child close", limio.aclose)
    await tried("child closed", lambda: limio.subscriptions.get("sub-1"))


def forked(child: Callable[[], None], *, leaves: bool = False) -> None:
    """Run *child* in one, and wait for its end; only the parent returns."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        tell("child ended", os.waitstatus_to_exitcode(status))
        return
    child()
    if leaves:
        os._exit(0)
    sys.exit()


def unused(url: str) -> None:
    """A server that imports the application before it forks its workers: nothing was used so far."""
    auth = ClientCredentials("id", "secret")
    limio = made(url, auth=auth)

    async def serve() -> None:
        async with limio:
            await tried("worker get", lambda: limio.subscriptions.get("sub-1"))

    for _ in range(2):
        forked(lambda: asyncio.run(serve()))


def same_loop(url: str, ca: str | None = None) -> None:
    """The child goes on with the parent's loop, and ends by the end of the interpreter."""
    limio, loop = made(url, ca), asyncio.new_event_loop()
    loop.run_until_complete(tried("parent get", lambda: limio.subscriptions.get("sub-1")))
    forked(lambda: loop.run_until_complete(used(limio)))
    loop.run_until_complete(tried("parent get", lambda: limio.subscriptions.get("sub-1")))
    loop.run_until_complete(limio.aclose())
    loop.close()


def new_loop(url: str, ca: str | None = None) -> None:
    """The child has a loop of its own."""
    limio, loop = made(url, ca), asyncio.new_event_loop()
    loop.run_until_complete(tried("parent get", lambda: limio.subscriptions.get("sub-1")))
    forked(lambda: asyncio.run(used(limio)))
    loop.run_until_complete(tried("parent get", lambda: limio.subscriptions.get("sub-1")))
    loop.run_until_complete(limio.aclose())
    loop.close()


def untouched(url: str, ca: str | None = None) -> None:
    """The child does nothing at all with the client but end."""
    held, loop = [made(url, ca)], asyncio.new_event_loop()
    loop.run_until_complete(tried("parent get", lambda: held[0].subscriptions.get("sub-1")))

    def child() -> None:
        held.clear()
        gc.collect()

    forked(child)
    loop.run_until_complete(tried("parent get", lambda: held[0].subscriptions.get("sub-1")))
    loop.run_until_complete(held[0].aclose())
    loop.close()


def finishing(url: str) -> None:
    """Forked while calls are to be finished, and a walk reads ahead: the child ends neither, and waits for neither."""
    limio, loop = made(url), asyncio.new_event_loop()

    async def begin() -> list[asyncio.Task[Any]]:
        ahead = asyncio.create_task(asyncio.sleep(60))
        limio._session.start(ahead)
        call = asyncio.create_task(limio.finish(limio.subscriptions.get, "slow"))
        await asyncio.sleep(0.05)
        return [call, ahead]

    async def child() -> None:
        before = asyncio.all_tasks() - {asyncio.current_task()}
        await limio.aclose()
        tell("child left", sum(not one.cancelling() and not one.done() for one in before))

    call, _ = loop.run_until_complete(begin())
    forked(lambda: loop.run_until_complete(child()), leaves=True)
    loop.run_until_complete(tried("parent slow", lambda: call))
    loop.run_until_complete(limio.aclose())
    loop.close()


def token(url: str) -> None:
    """Forked while the parent waits for a token: nobody in the child does, who has the credentials and the loop."""
    auth, loop = ClientCredentials("id", "secret"), asyncio.new_event_loop()
    limio = made(url, auth=auth)

    async def begin() -> list[asyncio.Task[Any]]:
        task = asyncio.create_task(limio.subscriptions.get("sub-1"))
        await asyncio.sleep(0.05)
        return [task]

    async def child() -> None:
        async with made(url, auth=auth) as own:
            await tried("child get", lambda: own.subscriptions.get("sub-1"))

    (call,) = loop.run_until_complete(begin())
    forked(lambda: loop.run_until_complete(child()), leaves=True)
    loop.run_until_complete(tried("parent get", lambda: call))
    loop.run_until_complete(limio.aclose())
    loop.close()


def inside(url: str) -> None:
    """Forked while the loop runs and an answer is on its way, which the parent gets."""

    async def work() -> None:
        async with made(url) as limio:
            await tried("parent get", lambda: limio.subscriptions.get("sub-1"))
            on_its_way = asyncio.create_task(limio.subscriptions.get("slow"))
            await asyncio.sleep(0.05)
            pid = os.fork()
            if not pid:
                with suppress(BaseException):
                    asyncio.run(used(limio))
                gc.collect()
                os._exit(0)
            await asyncio.to_thread(os.waitpid, pid, 0)
            await tried("parent slow", lambda: on_its_way)
            await tried("parent get", lambda: limio.subscriptions.get("sub-1"))

    asyncio.run(work())


def by_multiprocessing(url: str) -> None:
    """A process that multiprocessing forks."""

    async def work() -> None:
        async with made(url) as limio:
            await tried("parent get", lambda: limio.subscriptions.get("sub-1"))
            child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(used(limio)))
            child.start()
            await asyncio.to_thread(child.join)
            tell("child ended", child.exitcode)
            await tried("parent get", lambda: limio.subscriptions.get("sub-1"))

    asyncio.run(work())


def transport(url: str) -> None:
    """A transport alone, a session of the caller's, and a pool."""
    loop = asyncio.new_event_loop()

    async def make() -> dict[str, Any]:
        pool = ConnectionPool()
        session = aiohttp.ClientSession()
        return {
            "alone": AiohttpTransport(url),
            "pool": AiohttpTransport(url, pool=pool),
            "session": AiohttpTransport(url, session=session),
            "unused session": AiohttpTransport(url, session=session),
            "it": (pool, session),
        }

    parts = loop.run_until_complete(make())
    pool, session = parts.pop("it")

    async def get(who: str, names: tuple[str, ...] = ("alone", "pool", "session")) -> None:
        for name in names:
            await tried(f"{who} {name}", partial(parts[name].send, GET, timeout=5))

    async def child() -> None:
        await get("child", ("alone", "pool", "session", "unused session"))
        for one in (*parts.values(), pool):
            await one.aclose()

    loop.run_until_complete(get("parent"))
    forked(lambda: loop.run_until_complete(child()), leaves=True)
    loop.run_until_complete(get("parent"))

    async def end() -> None:
        for one in (*parts.values(), pool):
            await one.aclose()
        await session.close()

    loop.run_until_complete(end())
    loop.close()


def stores(_: str) -> None:
    """Outbox and inbox that are open; closed ones work in a child."""
    outbox, inbox = Outbox("sqlite:///box.db"), Inbox("sqlite:///in.db")

    async def use(who: str) -> None:
        await tried(f"{who} outbox", outbox.stats)
        await tried(f"{who} inbox", inbox.stats)

    async def entered() -> None:
        async with outbox, inbox:
            await use("worker")

    async def child() -> None:
        await use("child")
        await tried("child closes outbox", lambda: outbox.__aexit__(None, None, None))
        await tried("child closes inbox", lambda: inbox.__aexit__(None, None, None))
        await tried("child opens", outbox.__aenter__)

    forked(lambda: asyncio.run(entered()))
    asyncio.run(entered())
    forked(lambda: asyncio.run(entered()))
    loop = asyncio.new_event_loop()

    async def opened() -> None:
        await outbox.__aenter__()
        await inbox.__aenter__()
        await use("parent")

    loop.run_until_complete(opened())
    forked(lambda: asyncio.run(child()), leaves=True)

    async def end() -> None:
        await use("parent")
        await outbox.__aexit__(None, None, None)
        await inbox.__aexit__(None, None, None)

    loop.run_until_complete(end())
    loop.close()
    for name in ("box.db", "in.db"):
        (sound,) = sqlite3.connect(Path(name)).execute("PRAGMA integrity_check").fetchone()
        tell(name, sound)


WAYS: dict[str, Callable[..., None]] = {
    one.__name__: one
    for one in (
        unused,
        same_loop,
        new_loop,
        untouched,
        finishing,
        token,
        inside,
        by_multiprocessing,
        transport,
        stores,
    )
}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
