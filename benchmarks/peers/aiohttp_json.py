"""aiohttp and the standard library's json: what a script does without a client. Its items are dicts, not typed."""

from __future__ import annotations

import json

import aiohttp

from benchmarks.peers.asked import BEARER, KEY, OFFERS, SUBSCRIPTION, query
from benchmarks.peers.worker import Calls, run, timed


async def walk(url: str, page_size: int) -> int:
    cursor, came = None, 0
    async with aiohttp.ClientSession() as session:
        while True:
            params = query(page_size, cursor)
            async with session.get(f"{url}/api{OFFERS}", params=params, headers=KEY) as answer:
                page = json.loads(await answer.read())
            for _ in page["items"]:
                came += 1
            if not page["items"]:
                return came
            cursor = page["queryMore"]


async def calls(url: str, count: int, at_once: int) -> Calls:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def get() -> None:
            async with session.get(f"{url}/api{SUBSCRIPTION}", headers=BEARER) as answer:
                json.loads(await answer.read())

        return await timed(get, count, at_once)


if __name__ == "__main__":
    run(walk, calls)
