"""The process that a contender runs in: takes a measure's name, does it, tells what it cost. Only the standard library.

Lines of JSON on stdin, `{"measure": "walk", "args": {…}}`, each answered by one on stdout. Every contender can tell the
`versions` of `packages`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, NamedTuple

from benchmarks.peers.memory import peak_kib

__all__ = ["Calls", "pooled", "run", "timed"]

CORE = 0


class Calls(NamedTuple):
    """How long calls took, in seconds."""

    number: int
    p50: float
    p99: float

    @classmethod
    def of(cls, took: list[float]) -> Calls:
        took.sort()
        return cls(len(took), took[len(took) // 2], took[len(took) * 99 // 100])


async def timed(call: Callable[[], Awaitable[object]], count: int, at_once: int) -> Calls:
    """Do *call* *count* times by *at_once* tasks, each one call after the other."""
    took: list[float] = []

    async def some() -> None:
        for _ in range(count // at_once):
            begun = time.perf_counter()
            await call()
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(some() for _ in range(at_once)))
    return Calls.of(took)


async def pooled(fetch: Callable[[str], Awaitable[Any]], objects: int, workers: int) -> int:
    """A fixed pool of workers over a queue, the fastest way that we know; gives how many got the object they wanted."""
    waiting: asyncio.Queue[str] = asyncio.Queue()
    for number in range(objects):
        waiting.put_nowait(f"sub-{number:06d}")
    came = 0

    async def work() -> None:
        nonlocal came
        while not waiting.empty():
            wanted = waiting.get_nowait()
            found = await fetch(wanted)
            came += found.id == wanted

    await asyncio.gather(*(work() for _ in range(workers)))
    return came


async def versions(packages: list[str]) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}


def run(
    *measures: Callable[..., Awaitable[Any]], loop: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> None:
    """Do what is asked for until stdin ends, each in a *loop* of its own."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {CORE})
    known = {measure.__name__: measure for measure in (versions, *measures)}
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(once(known[asked["measure"]], asked["args"], loop)), flush=True)


def once(
    measure: Callable[..., Awaitable[Any]],
    args: dict[str, Any],
    loop: Callable[[], asyncio.AbstractEventLoop] | None,
) -> dict[str, Any]:
    """Do it. Seconds are of the whole, the loop and the connections included."""

    async def work() -> Any:
        return await measure(**args)

    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    with asyncio.Runner(loop_factory=loop) as runner:
        came = runner.run(work())
    return {
        "came": came,
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak_kib": peak_kib(),
    }
