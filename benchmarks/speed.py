"""How much does the client add to the wire and the decoder? `python -m benchmarks.speed`

Ratios of CPU time, ours and a loop written by hand side by side in one process, in turns; medians. The server is another
process that answers pre-built bytes: pages of offers of about 2.7 kB, one small object. Where there are two cores, each
has its own. Absolute times say something about the machine only.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import aiohttp
import msgspec

from limio_async import ApiKey, ClientCredentials, Limio, models
from limio_async.emulator import World

PAGE = 200
OFFERS = 20_000
CALLS = 5_120
PACKAGES = ("aiohttp", "msgspec", "anyio", "backoff")
RUNS = 7
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
TOKEN = b'{"access_token":"t","expires_in":3600,"token_type":"Bearer"}'
SMALL = b'{"id":"sub-1","status":"active","data":{"quantity":1,"price":{"amount":75,"currency":"GBP"}}}'


class Slim(msgspec.Struct):
    id: str
    name: str
    modified: str | None = None


class ByHand(msgspec.Struct):
    items: list[models.Offer]
    queryMore: dict[str, str] | None = None  # noqa: N815  # as it is on the wire


# --- the server


def pages() -> list[bytes]:
    """All pages of a scroll, the empty last one included, as answers."""
    shelf = World(offers=OFFERS)._catalog.shelves["offers"]
    answers: list[bytes] = []
    for number in range(OFFERS // PAGE + 1):
        items = b",".join(shelf.item(one) for one in range(number * PAGE, min(OFFERS, (number + 1) * PAGE)))
        body = b'{"items":[%b],"hits":%d,"queryMore":{"from":"p%d","alias":"a"}}' % (
            items,
            OFFERS,
            number + 1,
        )
        answers.append(HEAD % len(body) + body)
    return answers


class Server(asyncio.Protocol):
    """Answers each request with bytes that are there already."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            self._received = rest[int(length[1]) if length else 0 :]
            self._transport.write(self._answer(head.partition(b"\r\n")[0]))

    def _answer(self, line: bytes) -> bytes:
        if b"/offers" in line:
            asked = re.search(rb"queryMoreFrom=p(\d+)", line)
            return self._answers[int(asked[1]) if asked else 0]
        body = TOKEN if b"/oauth2" in line else SMALL
        return HEAD % len(body) + body


async def serve() -> None:
    answers = pages()
    server = await asyncio.get_running_loop().create_server(lambda: Server(answers), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- what is compared


async def walk(url: str, how: str) -> None:
    async with Limio(url, auth=ApiKey("k")) as limio:
        listing: Any = limio.offers.list(page_size=PAGE)
        listing = {"typed": lambda: listing, "slim": lambda: listing.into(Slim), "raw": listing.raw}[how]()
        came = 0
        async for _ in listing:
            came += 1
    if came != OFFERS:
        sys.exit(f"{came} of {OFFERS} offers came")


async def walk_by_hand(url: str) -> None:
    decoder, cursor, came = msgspec.json.Decoder(ByHand), None, 0
    async with aiohttp.ClientSession() as session:
        while True:
            query = {"opt.all": "true", "opt.pageSize": str(PAGE)}
            if cursor:
                query |= {"opt.queryMoreFrom": cursor["from"], "opt.queryMoreAlias": cursor["alias"]}
            async with session.get(
                f"{url}/api/offers", params=query, headers={"Authorization": "k"}
            ) as answer:
                page = decoder.decode(await answer.read())
            for _ in page.items:
                came += 1
            if not page.items:
                break
            cursor = page.queryMore
    if came != OFFERS:
        sys.exit(f"{came} of {OFFERS} offers came by hand")


async def read_pages(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(OFFERS // PAGE + 1):
            query = {"opt.all": "true", "opt.queryMoreFrom": f"p{number}", "opt.queryMoreAlias": "a"}
            async with session.get(
                f"{url}/api/offers", params=query, headers={"Authorization": "k"}
            ) as answer:
                await answer.read()


async def calls(url: str, at_once: int) -> None:
    async with Limio(url, auth=ClientCredentials("a", "b"), max_concurrency=at_once) as limio:

        async def some() -> None:
            for _ in range(CALLS // at_once):
                await limio.subscriptions.get("sub-1")

        await asyncio.gather(*(some() for _ in range(at_once)))


async def calls_by_hand(url: str, at_once: int) -> None:
    decoder = msgspec.json.Decoder(models.Subscription)
    place = f"{url}/api/objects/limio/subscriptions/sub-1"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def some() -> None:
            for _ in range(CALLS // at_once):
                async with session.get(place, headers={"Authorization": "Bearer t"}) as answer:
                    decoder.decode(await answer.read())

        await asyncio.gather(*(some() for _ in range(at_once)))


# --- measuring


def cpu(work: Callable[[], Awaitable[None]]) -> float:
    """Seconds of this process's CPU."""

    async def run() -> None:
        await work()

    gc.collect()
    begun = time.process_time()
    asyncio.run(run())
    return time.process_time() - begun


def compare(
    what: str,
    ours: Callable[[], Awaitable[None]],
    other: Callable[[], Awaitable[None]],
    *,
    per: int,
    goal: float,
) -> None:
    """Print a row: microseconds each, the median ratio of pairs, the goal."""
    cpu(ours), cpu(other)
    pairs = [(cpu(ours), cpu(other)) for _ in range(RUNS)]
    mine, theirs = (statistics.median(times) / per * 1e6 for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    met = "yes" if ratio <= goal else "no"
    print(f"| {what} | {mine:.1f} | {theirs:.1f} | {ratio:.2f} | {goal:.2f} | {met} |", flush=True)


def pinned_to(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def measure(url: str) -> None:
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"walks of {OFFERS:,} offers in pages of {PAGE}; {CALLS:,} calls; {RUNS} pairs each\n")
    print("| CPU µs per item or call | ours | other | ratio | goal | met |")
    print("|---|---:|---:|---:|---:|---|")
    compare(
        "typed walk / by hand", lambda: walk(url, "typed"), lambda: walk_by_hand(url), per=OFFERS, goal=1.10
    )
    compare(
        "into(slim) / typed", lambda: walk(url, "slim"), lambda: walk(url, "typed"), per=OFFERS, goal=0.60
    )
    compare(
        "raw() / reading the pages", lambda: walk(url, "raw"), lambda: read_pages(url), per=OFFERS, goal=1.50
    )
    for at_once in (1, 16, 64, 256):

        def ours(at_once: int = at_once) -> Awaitable[None]:
            return calls(url, at_once)

        def other(at_once: int = at_once) -> Awaitable[None]:
            return calls_by_hand(url, at_once)

        compare(f"call / by hand, {at_once} at once", ours, other, per=CALLS, goal=1.25)


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        pinned_to(1)
        asyncio.run(serve())
        return
    pinned_to(0)
    command = [sys.executable, "-m", "benchmarks.speed", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            measure(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
