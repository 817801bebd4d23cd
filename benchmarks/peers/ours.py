"""The client of this repository, with everything switched on that is on by default."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.by_hand import Slim
from benchmarks.peers.worker import Calls, pooled, run, timed
from limio_async import ApiKey, ClientCredentials, Limio
from limio_async.api.offers import LIST_OFFERS
from limio_async.sync_jobs import hydrated
from limio_async.transport.body import BACKEND


async def walk(url: str, page_size: int, how: str = "typed") -> int:
    came = 0
    async with Limio(url, auth=ApiKey("k")) as limio:
        listing: Any = limio.offers.list(page_size=page_size)
        if how == "slim":
            listing = listing.into(Slim)
        elif how != "typed":
            listing = listing.raw()
        if how == "ndjson":
            with Path(os.devnull).open("wb") as file:  # noqa: ASYNC230
                async for item in listing:
                    file.write(item)
                    file.write(b"\n")
                    came += 1
            return came
        async for _ in listing:
            came += 1
    return came


async def busy(url: str, page_size: int, seconds: float) -> int:
    """A walk whose consumer keeps the loop from running for *seconds* in each page."""
    came = 0
    async with Limio(url, auth=ApiKey("k")) as limio:
        async for page in limio.offers.list(page_size=page_size).pages():
            came += len(page.items)
            time.sleep(seconds)  # noqa: ASYNC251
    return came


async def held(url: str, page_size: int) -> list[float]:
    """CPU seconds: the longest that a typed walk held the event loop, and what decoding one page of it whole takes.

    Without collecting garbage, which takes as long as there are objects in the process.
    """
    gc.disable()
    whole = msgspec.json.Decoder(
        msgspec.defstruct("Whole", [("items", list[LIST_OFFERS.returns])])  # type: ignore[name-defined]
    )
    gaps: list[float] = []

    async def look() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    async with Limio(url, auth=ApiKey("k")) as limio:
        looking = asyncio.create_task(look())
        listing = limio.offers.list(page_size=page_size)
        async for _ in listing:
            pass
        looking.cancel()
        bodies = [page.body async for page in limio.offers.list(page_size=page_size).pages() if page.items]
    costs: list[float] = []
    page: object = None
    for body in bodies:
        begun = time.thread_time()
        page = whole.decode(body)  # while the one before is still there, as in a walk
        costs.append(time.thread_time() - begun)
    gc.enable()
    del page
    return [max(gaps), statistics.median(costs)]


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


async def hydrate_by_hand(url: str, objects: int, workers: int) -> int:
    """The same without `hydrated`."""
    async with Limio(url, auth=ClientCredentials("a", "b"), max_concurrency=workers) as limio:
        return await pooled(limio.subscriptions.get, objects, workers)


async def inflates_with() -> str:
    """The name of the module that decompresses answers."""
    return str(BACKEND.__name__)


if __name__ == "__main__":
    run(walk, busy, held, calls, hydrate, hydrate_by_hand, inflates_with)
