"""The yardstick: loops over bare aiohttp and msgspec, as one would write them by hand for one purpose and no failures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks.peers.asked import BEARER, KEY, OFFERS, SUBSCRIPTION, query
from benchmarks.peers.worker import Calls, pooled, run, timed
from limio_async import models


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
                params = query(page_size, cursor)
                async with session.get(f"{url}/api{OFFERS}", params=params, headers=KEY) as answer:
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
            params = query(page_size, {"from": str(start), "alias": "a"})
            async with session.get(f"{url}/api{OFFERS}", params=params, headers=KEY) as answer:
                came += len(await answer.read())
    return came


async def calls(url: str, count: int, at_once: int) -> Calls:
    decoder = msgspec.json.Decoder(models.Subscription)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def get() -> None:
            async with session.get(f"{url}/api{SUBSCRIPTION}", headers=BEARER) as answer:
                decoder.decode(await answer.read())

        return await timed(get, count, at_once)


async def hydrate(url: str, objects: int, workers: int) -> int:
    decoder = msgspec.json.Decoder(models.Subscription)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def get(wanted: str) -> models.Subscription:
            place = f"{url}/api/objects/limio/subscriptions/{wanted}"
            async with session.get(place, headers=BEARER) as answer:
                return decoder.decode(await answer.read())

        return await pooled(get, objects, workers)


if __name__ == "__main__":
    run(walk, read, calls, hydrate)
