"""The client of this repository, with everything switched on that is on by default."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.peers.by_hand import Slim
from benchmarks.peers.worker import Calls, run, timed
from limio_async import ApiKey, ClientCredentials, Limio
from limio_async.sync_jobs import hydrated


async def walk(url: str, page_size: int, how: str = "typed") -> int:
    came = 0
    async with Limio(url, auth=ApiKey("k")) as limio:
        listing: Any = limio.offers.list(page_size=page_size)
        if how == "slim":
            listing = listing.into(Slim)
        elif how == "raw":
            listing = listing.raw()
        async for _ in listing:
            came += 1
    return came


async def busy(url: str, page_size: int, seconds: float) -> int:
    """A walk whose consumer is busy for *seconds* with each page, as with a database."""
    came = 0
    async with Limio(url, auth=ApiKey("k")) as limio:
        async for page in limio.offers.list(page_size=page_size).pages():
            came += len(page.items)
            await asyncio.sleep(seconds)
    return came


async def calls(url: str, count: int, at_once: int) -> Calls:
    async with Limio(url, auth=ClientCredentials("a", "b"), max_concurrency=at_once) as limio:
        return await timed(lambda: limio.subscriptions.get("small"), count, at_once)


async def hydrate(url: str, objects: int, workers: int) -> int:
    came = 0
    async with Limio(url, auth=ClientCredentials("a", "b"), max_concurrency=workers) as limio:
        ids = [f"sub-{number:06d}" for number in range(objects)]
        async with hydrated(ids, limio.subscriptions.get, workers=workers) as results:
            async for one in results:
                came += one.full is not None and one.full.id == one.summary
    return came


if __name__ == "__main__":
    run(walk, busy, calls, hydrate)
