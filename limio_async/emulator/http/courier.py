"""Sending the webhooks of a world over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp

from limio_async.emulator.webhooks import TIME_LIMIT, Sending, Sent
from limio_async.emulator.world import World

__all__ = ["LATE", "opened", "posted", "sending"]

LATE = f"no answer in {TIME_LIMIT:.0f} s"
_BETWEEN_LOOKS = 0.02


@asynccontextmanager
async def sending(world: World, tick: Callable[[], object]) -> AsyncGenerator[None]:
    """Send the webhooks of *world* over HTTP as long as the block runs, to each receiver one after another.

    *tick* lets the world's clock get to where it is.
    """
    async with opened() as session:
        task = asyncio.create_task(_keep_sending(world, session, tick))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):  # whatever else ended it is raised
                await task


async def _keep_sending(world: World, session: aiohttp.ClientSession, tick: Callable[[], object]) -> None:
    waiting: dict[str, asyncio.Queue[Sending]] = {}
    async with asyncio.TaskGroup() as tasks:
        while True:
            tick()
            for one in world.webhooks.take():
                if one.receiver not in waiting:
                    waiting[one.receiver] = asyncio.Queue()
                    tasks.create_task(_in_order(world, session, waiting[one.receiver]))
                waiting[one.receiver].put_nowait(one)
            await asyncio.sleep(_BETWEEN_LOOKS)


async def _in_order(world: World, session: aiohttp.ClientSession, waiting: asyncio.Queue[Sending]) -> None:
    while True:
        await posted(world, await waiting.get(), session)


def opened() -> aiohttp.ClientSession:
    """Return what posts webhooks: it keeps no cookies, and waits as long as Limio might."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIME_LIMIT),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=["user-agent"],
    )


async def posted(world: World, one: Sending, session: aiohttp.ClientSession) -> Sent:
    """Post one and note what came of it."""
    try:
        async with session.post(one.url, data=one.body, headers=one.headers, allow_redirects=False) as answer:
            return world.webhooks.answered(one, answer.status)
    except TimeoutError:
        return world.webhooks.answered(one, None, LATE)
    except (aiohttp.ClientError, OSError, ValueError):
        return world.webhooks.answered(one, None, "not reached")
