"""What a process does before it is of use, each in a fresh one: `python -m benchmarks.fresh WHAT [URL]`.

Nothing is imported here that Python has not loaded anyway or that all of them need.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from benchmarks.peers.memory import peak_kib


def dependencies() -> None:
    import aiohttp  # noqa: F401
    import anyio  # noqa: F401
    import backoff  # noqa: F401
    import msgspec  # noqa: F401


def package() -> None:
    import limio_async  # noqa: F401


def client() -> None:
    """`import limio_async` alone loads next to nothing; this is what it takes to use it."""
    from limio_async import Limio  # noqa: F401


def first_of_ours(url: str) -> None:
    import asyncio

    from limio_async import ApiKey, Limio

    async def first() -> None:
        async with Limio(url, auth=ApiKey("k")) as limio:
            async for _ in limio.offers.list(page_size=200):
                return

    asyncio.run(first())


def first_by_hand(url: str) -> None:
    """A script without models: its items are dicts."""
    import asyncio

    import aiohttp
    import msgspec

    from benchmarks.peers.asked import KEY, OFFERS, query

    async def first() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/api{OFFERS}", params=query(200), headers=KEY) as answer,
        ):
            for _ in msgspec.json.decode(await answer.read())["items"]:
                return

    asyncio.run(first())


KNOWN: Mapping[str, Callable[..., None]] = {
    one.__name__: one for one in (dependencies, package, client, first_of_ours, first_by_hand)
}

if __name__ == "__main__":
    KNOWN[sys.argv[1]](*sys.argv[2:])
    print(time.process_time(), peak_kib())
