"""The yardstick: loops over bare aiohttp and msgspec, as one would write them by hand for one purpose and no failures."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks.peers.worker import Calls, run
from limio_async import models

KEY = {"Authorization": "k"}
BEARER = {"Authorization": "Bearer t"}


class Slim(msgspec.Struct):
    id: str
    name: str
    modified: str | None = None


class Typed(msgspec.Struct):
    items: list[models.Offer]
    queryMore: dict[str, str] | None = None  # noqa: N815  # as it is on the wire


class Slims(msgspec.Struct):
    items: list[Slim]
    queryMore: dict[str, str] | None = None  # noqa: N815


class Raws(msgspec.Struct):
    items: list[msgspec.Raw]
    queryMore: dict[str, str] | None = None  # noqa: N815


async def walk(url: str, page_size: int, how: str = "typed") -> int:
    decoder: Any = msgspec.json.Decoder({"typed": Typed, "slim": Slims, "ndjson": Raws}[how])
    cursor, came = None, 0
    async with aiohttp.ClientSession() as session:
        with Path(os.devnull).open("wb") as file:  # noqa: ASYNC230
            while True:
                query = {"opt.all": "true", "opt.pageSize": str(page_size)}
                if cursor:
                    query |= {"opt.queryMoreFrom": cursor["from"], "opt.queryMoreAlias": cursor["alias"]}
                async with session.get(f"{url}/api/offers", params=query, headers=KEY) as answer:
                    page = decoder.decode(await answer.read())
                for item in page.items:
                    if how == "ndjson":
                        file.write(item)
                        file.write(b"\n")
                    came += 1
                if not page.items:
                    return came
                cursor = page.queryMore


async def read(url: str, page_size: int, offers: int) -> int:
    """The same bytes, not looked at: where the next page begins is known beforehand."""
    came = 0
    async with aiohttp.ClientSession() as session:
        for start in range(0, offers + page_size, page_size):
            query = {
                "opt.all": "true",
                "opt.pageSize": str(page_size),
                "opt.queryMoreFrom": str(start),
                "opt.queryMoreAlias": "a",
            }
            async with session.get(f"{url}/api/offers", params=query, headers=KEY) as answer:
                came += len(await answer.read())
    return came


async def calls(url: str, count: int, at_once: int) -> Calls:
    decoder = msgspec.json.Decoder(models.Subscription)
    took: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def some() -> None:
            for _ in range(count // at_once):
                begun = time.perf_counter()
                async with session.get(
                    f"{url}/api/objects/limio/subscriptions/small", headers=BEARER
                ) as answer:
                    decoder.decode(await answer.read())
                took.append(time.perf_counter() - begun)

        await asyncio.gather(*(some() for _ in range(at_once)))
    return Calls.of(took)


async def hydrate(url: str, objects: int, workers: int) -> int:
    """A fixed pool of workers over a queue: the fastest of the ways that we know."""
    decoder = msgspec.json.Decoder(models.Subscription)
    came = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        waiting: asyncio.Queue[str] = asyncio.Queue()
        for number in range(objects):
            waiting.put_nowait(f"sub-{number:06d}")

        async def work() -> None:
            nonlocal came
            while not waiting.empty():
                one = waiting.get_nowait()
                async with session.get(
                    f"{url}/api/objects/limio/subscriptions/{one}", headers=BEARER
                ) as answer:
                    full = decoder.decode(await answer.read())
                came += full.id == one

        await asyncio.gather(*(work() for _ in range(workers)))
    return came


if __name__ == "__main__":
    run(walk, read, calls, hydrate)
