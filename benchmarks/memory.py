"""Does a walk's memory grow with the number of offers? `python -m benchmarks.memory`

Each row is a process of its own that walks an emulator's offers, typed, over HTTP; the emulator runs in a
third process. The growth is that of the walking process's peak resident memory from the end of a walk over 200
offers, which is what importing, connecting and one page cost.
"""

from __future__ import annotations

import asyncio
import json
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version

import msgspec

from limio_async import ApiKey, Limio
from limio_async.emulator import World
from limio_async.emulator.server import serve

PAGE = 200
SIZES = (2_000, 20_000, 200_000)
PACKAGES = ("aiohttp", "msgspec", "anyio", "backoff")


class Walked(msgspec.Struct):
    seconds: float
    warm_kib: int
    peak_kib: int
    distinct: int
    complete: bool


def peak_kib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


async def walk(url: str, key: str) -> Walked:
    async with Limio(url, auth=ApiKey(key)) as limio:
        await limio.offers.list(page_size=PAGE).take(PAGE)
        warm, begun = peak_kib(), time.perf_counter()
        listing = limio.offers.list(page_size=PAGE)
        last, distinct = None, 0
        async for offer in listing:  # ids are not kept: that would be memory of the benchmark's own
            distinct += offer.id != last
            last = offer.id
        seconds = time.perf_counter() - begun
    return Walked(
        seconds=seconds,
        warm_kib=warm,
        peak_kib=peak_kib(),
        distinct=distinct,
        complete=listing.report.complete,
    )


async def served(offers: int) -> Walked:
    world = World(offers=offers)
    async with serve(world, port=0) as url:
        walker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.memory", url, world.api_key, stdout=subprocess.PIPE
        )
        printed, _ = await walker.communicate()
    return msgspec.json.decode(printed, type=Walked)


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(msgspec.to_builtins(asyncio.run(walk(*sys.argv[1:])))))
        return
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"typed walk over HTTP, pages of {PAGE} offers of about 2.7 kB\n")
    print("| offers | items/s | peak memory, MiB | growth over one page, MiB | complete |")
    print("|---:|---:|---:|---:|---|")
    for offers in SIZES:
        done = asyncio.run(served(offers))
        growth = (done.peak_kib - done.warm_kib) / 1024
        rate = offers / done.seconds
        print(f"| {offers:,} | {rate:,.0f} | {done.peak_kib / 1024:.1f} | {growth:.1f} | {done.complete} |")
        if done.distinct != offers or not done.complete:
            sys.exit(f"{done.distinct} of {offers} offers came")


if __name__ == "__main__":
    main()
