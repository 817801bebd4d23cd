"""Ways to do one thing, which is done in the first of them: `python -m benchmarks.ways`

CPU microseconds in one process, the least of several repetitions taken in turns.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import anyio
import backoff
import msgspec
from isal import isal_zlib

from benchmarks.layers import least
from benchmarks.server import CLIENT_CORE, Answers, pinned_to
from benchmarks.tables import Table, printed
from limio_async.api.offers import LIST_OFFERS
from limio_async.core.deadline import Deadlines
from limio_async.core.listing.reader import PageReader
from limio_async.sync_jobs import hydrated

__all__ = ["ways"]

PAGE, OBJECTS, WORKERS = 200, 2_000, 64
Way = Callable[[], Awaitable[object]]


class Raws(msgspec.Struct):
    items: list[msgspec.Raw]


async def pause(_: object = None) -> None:
    """What stands for a request."""
    await asyncio.sleep(0)


# --- a deadline


async def by_our_deadline(deadlines: Deadlines) -> None:
    with deadlines.within(60):
        await pause()


async def by_timeout() -> None:
    async with asyncio.timeout(60):
        await pause()


async def by_fail_after() -> None:
    with anyio.fail_after(60):
        await pause()


async def by_wait_for() -> None:
    await asyncio.wait_for(pause(), 60)


@backoff.on_exception(backoff.expo, OSError, max_tries=3)
async def decorated() -> None:
    await pause()


# --- an item


async def one_by_one() -> AsyncIterator[int]:
    for number in range(PAGE):
        yield number


async def by_generator() -> None:
    async for _ in one_by_one():
        pass


async def by_stream() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)

    async def give() -> None:
        async with send:
            for number in range(PAGE):
                await send.send(number)

    async with anyio.create_task_group() as group:
        group.start_soon(give)
        async with receive:
            async for _ in receive:
                pass


# --- many objects


async def by_hydrated() -> None:
    async with hydrated(range(OBJECTS), pause, workers=WORKERS) as results:
        async for _ in results:
            pass


async def by_queue() -> None:
    waiting: asyncio.Queue[int] = asyncio.Queue()
    for number in range(OBJECTS):
        waiting.put_nowait(number)

    async def work() -> None:
        while not waiting.empty():
            await pause(waiting.get_nowait())

    await asyncio.gather(*(work() for _ in range(WORKERS)))


async def by_semaphore() -> None:
    slots = asyncio.Semaphore(WORKERS)

    async def one() -> None:
        async with slots:
            await pause()

    await asyncio.gather(*(one() for _ in range(OBJECTS)))


async def by_capacity_limiter() -> None:
    slots = anyio.CapacityLimiter(WORKERS)

    async def one() -> None:
        async with slots:
            await pause()

    async with anyio.create_task_group() as group:
        for _ in range(OBJECTS):
            group.start_soon(one)


# --- what is compared


def waiting(work: Callable[[], object]) -> Way:
    """*work*, which waits for nothing."""

    async def run() -> None:
        work()

    return run


def inflated(module: Any, body: bytes) -> bytes:
    whole: bytes = module.decompressobj(wbits=31).decompress(body, 2**30)
    return whole


def split_then_decoded(page: bytes, decoder: Any, splitter: Any) -> list[Any]:
    return [decoder.decode(item) for item in splitter.decode(page).items]


def known() -> Mapping[str, tuple[int, Mapping[str, Way]]]:
    """By what is done: how often it is repeated, and the ways to do it."""
    page = Answers(PAGE, zipped=False).page(0, PAGE).partition(b"\r\n\r\n")[2]
    zipped = gzip.compress(page, 6)
    typed: PageReader[Any] = PageReader(LIST_OFFERS, LIST_OFFERS.returns)
    decoder, splitter = msgspec.json.Decoder(LIST_OFFERS.returns), msgspec.json.Decoder(Raws)
    deadlines = Deadlines()
    return {
        "a deadline around a call": (
            4_000,
            {
                "one timer for all": lambda: by_our_deadline(deadlines),
                "asyncio.timeout": by_timeout,
                "anyio.fail_after": by_fail_after,
                "asyncio.wait_for": by_wait_for,
            },
        ),
        "a call that may be sent again": (
            4_000,
            {"a loop (bare here)": pause, "a decorator of backoff": decorated},
        ),
        f"reading a page of {PAGE} offers": (
            20,
            {
                "to models in one pass": waiting(lambda: typed.read(page)),
                "split, then each item decoded": waiting(lambda: split_then_decoded(page, decoder, splitter)),
                "json.loads": waiting(lambda: json.loads(page)),
                "split only": waiting(lambda: splitter.decode(page)),
            },
        ),
        "decompressing the same page": (
            20,
            {
                "isal": waiting(lambda: inflated(isal_zlib, zipped)),
                "zlib": waiting(lambda: inflated(zlib, zipped)),
            },
        ),
        f"handing out {PAGE} items": (
            50,
            {"an async generator": by_generator, "a stream of anyio": by_stream},
        ),
        f"{OBJECTS:,} fetches, {WORKERS} at once": (
            5,
            {
                "`hydrated()`, results in order": by_hydrated,
                "workers over a queue, no results": by_queue,
                "gather with a semaphore": by_semaphore,
                "a task group with a capacity limiter": by_capacity_limiter,
            },
        ),
    }


def rows() -> Iterator[Sequence[str]]:
    pinned_to(CLIENT_CORE)
    for what, (number, these) in known().items():
        costs = asyncio.run(least(these, number))
        first = next(iter(costs.values()))
        for way, cost in costs.items():
            yield what, way, f"{cost:,.1f}", f"{cost / first:.2f}"


def ways() -> Table:
    """What else was tried."""
    return Table("Ways to do one thing", ("what", "way", "CPU µs", "to the first"), rows())


if __name__ == "__main__":
    printed(ways())
