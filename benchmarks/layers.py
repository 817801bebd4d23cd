"""What does each layer of the client add to a call, and where does the time of a walk go? `python -m benchmarks.layers`

The rungs of a small call that goes well, each repeated by itself, with a transport that answers at once; then the whole
of them, and what the network's transport adds to bare aiohttp. CPU microseconds in one process, the least of several
repetitions: what is left when nothing disturbs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import aiohttp
import msgspec

from benchmarks.peers import by_hand, ours
from benchmarks.peers.asked import BEARER, SUBSCRIPTION
from benchmarks.server import CLIENT_CORE, SMALL, TOKEN, Answers, pinned_to, serving
from benchmarks.stage import MICRO, PAGE
from benchmarks.tables import Table, printed
from limio_async import AiohttpTransport, ClientCredentials, Limio
from limio_async.api.subscriptions import GET_SUBSCRIPTION
from limio_async.core.codec import build_request, read_response
from limio_async.core.deadline import Deadlines
from limio_async.core.ladder import with_credential
from limio_async.core.lifetime import Lifetime
from limio_async.core.limiter import Limiter
from limio_async.core.retry import RetryQuota
from limio_async.core.sending import Sending
from limio_async.core.wire import Request, Response

__all__ = ["layers", "least", "page_layers"]

REPEATS, MANY, FEW = 9, 4_000, 500
PAGES = 50
REQUEST = build_request(GET_SUBSCRIPTION, {"id": "small"})
ANSWER = Response(status=200, headers={"content-type": "application/json"}, body=SMALL)
ISSUED = Response(status=200, headers={}, body=TOKEN)
Rung = Callable[[], Awaitable[object]]


class AtOnce:
    """A transport that answers before anybody has to wait."""

    origin = "https://limio.test"

    async def send(self, request: Request, *, timeout: float) -> Response:
        return ANSWER if request.accepts or request.operation == REQUEST.operation else ISSUED

    async def aclose(self) -> None:
        """Nothing to let go of."""


class Rungs:
    """Each does what one layer does for a call; `nothing` is what it costs to be asked."""

    def __init__(self) -> None:
        self._deadlines = Deadlines()
        self._limiter = Limiter(16)
        self._auth = ClientCredentials("a", "b")
        self._quota = RetryQuota()
        self._lifetime = Lifetime()

    async def nothing(self) -> None:
        """Let every rung be reduced by this."""

    async def build(self) -> None:
        build_request(GET_SUBSCRIPTION, {"id": "small"}, headers={})

    async def deadline(self) -> None:
        with self._deadlines.within(60.0):
            pass

    async def limiter(self) -> None:
        self._limiter.acquire_at_once("interactive")
        self._limiter.learn(ANSWER, None)
        self._limiter.release("interactive")

    async def credential(self) -> None:
        credential = await self._auth.credential(REQUEST.accepts, self._exchange)
        assert credential is not None  # noqa: S101
        with_credential(credential, REQUEST)

    async def _exchange(self, request: Request) -> Response:
        return ISSUED

    async def book_keeping(self) -> None:
        self._lifetime.check()
        sending = Sending(REQUEST)
        sending.has_time_until(self._limiter.opens_at)
        self._lifetime.check()
        sending.begins()
        sending.came_to(ANSWER)
        self._quota.repay(0)

    async def read(self) -> None:
        read_response(GET_SUBSCRIPTION, ANSWER)


async def least(rungs: Mapping[str, Rung], number: int) -> dict[str, float]:
    """CPU microseconds of doing each once; they take turns, so that the machine is the same to all."""
    best = dict.fromkeys(rungs, float("inf"))
    for _ in range(REPEATS):
        for name, rung in rungs.items():
            begun = time.process_time()
            for _ in range(number):
                await rung()
            best[name] = min(best[name], (time.process_time() - begun) / number * MICRO)
    return best


async def of_layers() -> Mapping[str, float]:
    """Without the network; the last is the whole call."""
    rungs = Rungs()
    async with Limio("limio.test", auth=ClientCredentials("a", "b"), transport=AtOnce()) as limio:
        costs = await least(
            {
                "nothing": rungs.nothing,
                "building the request": rungs.build,
                "the deadline": rungs.deadline,
                "the limiter": rungs.limiter,
                "the credential": rungs.credential,
                "keeping books for sending again": rungs.book_keeping,
                "reading the answer": rungs.read,
                "whole": lambda: limio.subscriptions.get("small"),
            },
            MANY,
        )
    nothing, whole = costs.pop("nothing"), costs.pop("whole")
    each = {name: cost - nothing for name, cost in costs.items()}
    return {**each, "from rung to rung": whole - sum(each.values()), "all layers": whole}


async def of_transport(url: str) -> Mapping[str, float]:
    """Over the network, one call after the other."""
    transport = AiohttpTransport(url)
    async with aiohttp.ClientSession() as session:

        async def bare() -> bytes:
            async with session.get(f"{url}/api{SUBSCRIPTION}", headers=BEARER) as answer:
                return await answer.read()

        costs = await least({"bare": bare, "ours": lambda: transport.send(REQUEST, timeout=60.0)}, FEW)
    await transport.aclose()
    return {
        "bare aiohttp": costs["bare"],
        "the transport, beyond bare aiohttp": costs["ours"] - costs["bare"],
    }


async def of_a_page(url: str) -> Mapping[str, float]:
    """Of a typed walk, by page."""
    page = msgspec.json.Decoder(by_hand.Typed)
    body = Answers(PAGE, zipped=False).page(0, PAGE).partition(b"\r\n\r\n")[2]

    async def decode() -> None:
        for _ in range(PAGES):
            page.decode(body)

    costs = await least(
        {
            "reading it with bare aiohttp": lambda: by_hand.read(url, PAGE, (PAGES - 1) * PAGE),
            "decoding it, time after time": decode,
            "both, by hand": lambda: by_hand.walk(url, PAGE),
            "ours": lambda: ours.walk(url, PAGE),
        },
        1,
    )
    apart = costs["reading it with bare aiohttp"] + costs["decoding it, time after time"]
    return {
        **costs,
        "what both cost more together, in memory that is not in the cache": costs["both, by hand"] - apart,
        "what the client adds": costs["ours"] - costs["both, by hand"],
    }


def page_rows() -> Iterator[Sequence[str]]:
    pinned_to(CLIENT_CORE)
    with serving(PAGES * PAGE) as url:
        costs = asyncio.run(of_a_page(url))
    for name, cost in costs.items():
        yield name, f"{cost / PAGES:,.0f}", f"{cost / costs['ours']:.0%}"


def page_layers() -> Table:
    """For a typed walk over HTTP."""
    return Table(f"Where the time of a page of {PAGE} offers goes", ("what", "CPU µs", "share"), page_rows())


def rows() -> Iterator[Sequence[str]]:
    pinned_to(CLIENT_CORE)
    with serving(0) as url:
        costs = {**asyncio.run(of_layers()), **asyncio.run(of_transport(url))}
    for name, cost in costs.items():
        yield name, f"{cost:.2f}"


def layers() -> Table:
    """For a small call, one at a time."""
    return Table("What each layer adds to a call", ("layer", "CPU µs"), rows())


if __name__ == "__main__":
    printed(layers())
    printed(page_layers())
