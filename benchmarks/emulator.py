"""How fast is the emulator, and does it stay small? `python -m benchmarks.emulator`

Calls and walks are those of the client, typed, so that the figures are what a test-suite or a demo sees. Each row
is a process of its own; over HTTP the emulator is another one, and the peak is that of the emulator. The last table
is that of an old emulator: `benchmarks.aged`.
"""

from __future__ import annotations

import asyncio
import json
import platform
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks import aged
from benchmarks.peers.memory import peak_kib
from limio_async import ApiKey, Limio
from limio_async.emulator import InMemoryTransport, World
from limio_async.emulator.server import serve

CALLS = 10_000
OFFERS = 200_000
PAGE = 500
PACKAGES = ("aiohttp", "msgspec", "anyio", "backoff")
LONGEST_START = 1.0


class Row(msgspec.Struct):
    what: str
    number: int
    seconds: float
    peak_mib: float


@asynccontextmanager
async def in_memory(world: World) -> AsyncGenerator[Limio]:
    async with Limio(
        "limio.emulated", auth=ApiKey(world.api_key), transport=InMemoryTransport(world)
    ) as limio:
        yield limio


async def calls(limio: Limio, number: int) -> float:
    begun = time.perf_counter()
    for _ in range(number):
        await limio.journeys.list()
    return time.perf_counter() - begun


async def walk(limio: Limio) -> float:
    begun = time.perf_counter()
    listing = limio.offers.list(page_size=PAGE)
    number = 0
    async for _ in listing:
        number += 1
    if number != OFFERS or not listing.report.complete:
        sys.exit(f"{number} of {OFFERS} offers came")
    return time.perf_counter() - begun


async def row(what: str) -> Row:
    world = World(offers=OFFERS)
    number = CALLS if what.startswith("calls") else OFFERS
    if what.endswith("in memory"):
        async with in_memory(world) as limio:
            seconds = await (calls(limio, CALLS) if number == CALLS else walk(limio))
    else:
        async with serve(world, port=0) as url:
            client = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.emulator", what, url, world.api_key, stdout=subprocess.PIPE
            )
            printed, _ = await client.communicate()
            seconds = float(printed)
    return Row(what, number, seconds, peak_kib() / 1024)


async def client_of(what: str, url: str, key: str) -> float:
    async with Limio(url, auth=ApiKey(key)) as limio:
        return await (calls(limio, CALLS) if what.startswith("calls") else walk(limio))


def start_to_first_answer() -> float:
    """Seconds from starting `limio emulate` to its first page of offers, out of 200,000."""
    begun = time.perf_counter()
    command = [
        str(Path(sys.executable).with_name("limio")),
        "emulate",
        "--port",
        "0",
        "--offers",
        str(OFFERS),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as emulator:
        told: dict[str, str] = {}
        while "LIMIO_CLIENT_SECRET" not in told:
            line = emulator.stderr.readline() if emulator.stderr else ""
            if not line:
                sys.exit("limio emulate ended")
            name, _, value = line.strip().removeprefix("export ").partition("=")
            told[name] = value
        asyncio.run(first_page(told["LIMIO_HOST"], told["LIMIO_API_KEY"]))
        seconds = time.perf_counter() - begun
        emulator.terminate()
    return seconds


async def first_page(url: str, key: str) -> None:
    async with Limio(url, auth=ApiKey(key)) as limio:
        await limio.offers.list(page_size=50).take(50)


def main() -> None:
    match sys.argv[1:]:
        case [what]:
            print(json.dumps(msgspec.to_builtins(asyncio.run(row(what)))))
            return
        case [what, url, key]:
            print(asyncio.run(client_of(what, url, key)))
            return
        case _:
            pass
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"one call after the other; walks in pages of {PAGE} offers of about 2.7 kB\n")
    print("| what | number | seconds | per second | peak memory, MiB |")
    print("|---|---:|---:|---:|---:|")
    for what in ("calls in memory", "calls over HTTP", "offers walked in memory", "offers walked over HTTP"):
        printed = subprocess.run(
            [sys.executable, "-m", "benchmarks.emulator", what], stdout=subprocess.PIPE, check=True
        ).stdout
        one = msgspec.json.decode(printed, type=Row)
        rate = one.number / one.seconds
        print(f"| {what} | {one.number:,} | {one.seconds:.1f} | {rate:,.0f} | {one.peak_mib:.0f} |")
    seconds = min(start_to_first_answer() for _ in range(3))
    print(f"\n`limio emulate --offers {OFFERS}`, start to first page: {seconds:.2f} s")
    if seconds > LONGEST_START:
        sys.exit(f"longer than {LONGEST_START:.0f} s")
    if not aged.main():
        sys.exit(f"more than {aged.CPU} x the CPU or {aged.MEMORY} x the memory of a young emulator")


if __name__ == "__main__":
    main()
