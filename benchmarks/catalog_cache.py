"""`CatalogCache` in a web service: memory, look-ups, the service's answers during a reload, polls that open a scroll.

`python -m benchmarks.catalog_cache` prints the table, `--short` one of fewer reloads in 30 seconds. Three processes: a tenant that shares no
code with the client, a service with a cache, and this one, which asks the service all the time. It fails where a goal is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from benchmarks.tables import Table, printed

__all__ = ["main"]

OFFERS = 20_000
EVERY = 0.002  # seconds between two questions to the service
GOALS = {"typed": 180.0, "slim": 25.0}  # MiB for 20,000 offers
GROWTH, LOOK_UP, P99 = 1.1, 1_000.0, 10.0  # times, ns, ms
SLIM_GROWTH = 1.25
"""What a slim cache is held to: beside so little, the room for a second index, 2.5 MiB, which a reload needs, is a sixth."""
HOUR = 3600.0
POLLS = 20


class Slim(msgspec.Struct):
    """What a service shows of an offer."""

    id: str
    path: str
    name: str


# --- the tenant


def tenant(offers: int) -> web.Application:
    from benchmarks.server import templates  # the client is not imported

    halves = templates()
    state = {"commit": 1, "changed": 0, "polls": 0, "scrolls": 0}

    @functools.lru_cache(maxsize=1_000)
    def items(begin: int, end: int, upto: int, commit: int) -> bytes:
        parts = []
        for number in range(begin, end):
            before, after = halves[number % len(halves)]
            version = b'{"benchmark":%d,' % (commit if number < upto else 0)
            parts.append(
                version
                + (b"%b%040d%b" % (before, number, after))[1:].replace(
                    b'"path":"/', b'"path":"/%d/' % number, 1
                )
            )
        return b",".join(parts)

    async def listed(request: web.Request) -> web.Response:
        query = request.query
        size = int(query.get("opt.pageSize", "50"))
        begin = int(query.get("opt.queryMoreFrom", "0"))
        whole = "opt.all" in query
        state["polls"] += not whole
        state["scrolls"] += whole and "opt.queryMoreFrom" not in query
        end = min(begin + size, offers)
        more = b',"queryMore":{"from":"%d","alias":"a"}' % end if whole else b""
        body = b'{"hits":{"value":%d,"relation":"eq"},"commitId":"%d","items":[%b]%b}' % (
            offers, state["commit"], items(begin, end, state["changed"], state["commit"]), more
        )  # fmt: skip
        return web.Response(body=body, content_type="application/json")

    async def changed(request: web.Request) -> web.Response:
        state["changed"] = int(request.query["upto"])
        state["commit"] += 1
        return web.json_response(state)

    async def counts(_: web.Request) -> web.Response:
        return web.json_response(state)

    app = web.Application()
    app.add_routes([web.get("/counts", counts), web.get("/api/offers", listed), web.get("/changed", changed)])
    return app


# --- the service


def service(url: str, how: str) -> web.Application:
    from limio_async import ApiKey, CatalogCache, Limio

    pauses: list[float] = []
    begun = 0.0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal begun
        if phase == "start":
            begun = time.perf_counter()
        else:
            pauses.append((time.perf_counter() - begun) * 1e3)

    def rss() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    app = web.Application()
    caches: list[CatalogCache[Any]] = []

    async def running(_: web.Application) -> AsyncIterator[None]:
        async with Limio(url, auth=ApiKey("k")) as limio:
            if how == "typed":
                cache: CatalogCache[Any] = CatalogCache(limio, limio.offers.list, every=HOUR)
            else:
                cache = CatalogCache(limio, limio.offers.list, into=Slim, every=HOUR)
            caches.append(cache)
            yield
            if cache.age is not None:
                await cache.__aexit__(None, None, None)

    async def load(_: web.Request) -> web.Response:
        before = rss()
        begun = time.perf_counter()
        await caches[0].__aenter__()
        await caches[0].loaded(timeout=300)
        return web.json_response(
            {"before": before, "after": rss(), "took": time.perf_counter() - begun, "items": len(caches[0])}
        )

    async def reload(_: web.Request) -> web.Response:
        pauses.clear()
        begun = time.perf_counter()
        await caches[0].refresh()
        return web.json_response(
            {"rss": rss(), "took": time.perf_counter() - begun, "pause": max(pauses, default=0)}
        )

    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="pong")

    async def look_up(_: web.Request) -> web.Response:
        cache, name = caches[0], f"{17:040d}"
        assert cache.get(name) is not None  # noqa: S101
        found = []
        for _n in range(5):
            begun = time.process_time_ns()
            for _m in range(100_000):
                cache.get(name)
            found.append((time.process_time_ns() - begun) / 100_000)
        return web.json_response({"ns": min(found)})

    gc.callbacks.append(watch)
    app.cleanup_ctx.append(running)
    app.add_routes(
        [
            web.get("/load", load),
            web.get("/reload", reload),
            web.get("/ping", ping),
            web.get("/look_up", look_up),
        ]
    )
    return app


async def serve(app: web.Application) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


# --- who asks


@contextmanager
def started(*args: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.catalog_cache", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}" if process.stdout else ""
        finally:
            process.kill()


async def asked(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as response:
        response.raise_for_status()
        return await response.json(content_type=None)


async def pinged(session: aiohttp.ClientSession, url: str, until: asyncio.Task[Any]) -> list[float]:
    """Milliseconds that answers took, asked for at fixed times: who waits behind a pause counts as often as it was asked."""
    took: list[float] = []

    async def one() -> None:
        begun = time.perf_counter()
        async with session.get(f"{url}/ping") as response:
            await response.read()
        took.append((time.perf_counter() - begun) * 1e3)

    asking: set[asyncio.Task[None]] = set()
    while not until.done():
        task = asyncio.create_task(one())
        asking.add(task)
        task.add_done_callback(asking.discard)
        await asyncio.sleep(EVERY)
    await asyncio.gather(*asking)
    return took


def p99(took: Sequence[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


async def reloaded(session: aiohttp.ClientSession, tenant_url: str, url: str, upto: int) -> dict[str, float]:
    await asked(session, f"{tenant_url}/changed?upto={upto}")
    reloading = asyncio.create_task(asked(session, f"{url}/reload"))
    took = await pinged(session, url, reloading)
    return {"p99": p99(took), **reloading.result()}


class Found(msgspec.Struct, kw_only=True):
    """What was measured of one cache."""

    mib: float
    later: float
    load: float
    look_up: float
    idle: float
    reload: dict[str, float]
    every: dict[str, float] | None
    polls: int
    scrolls: int


async def measured(tenant_url: str, url: str, offers: int, reloads: int, *, whole: bool) -> Found:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
        ask = functools.partial(asked, session)
        idle = p99(
            await pinged(session, url, asyncio.create_task(asyncio.sleep(1)))
        )  # its connections are there before memory is looked at
        loaded = await ask(f"{url}/load")
        if loaded["items"] != offers:
            raise RuntimeError(f"{loaded['items']} of {offers} offers came")
        look_up = (await ask(f"{url}/look_up"))["ns"]
        reload = [
            await reloaded(session, tenant_url, url, offers // 100 + number % 2) for number in range(reloads)
        ]
        later = reload[-1]["rss"] - loaded["before"]
        every = await reloaded(session, tenant_url, url, offers) if whole else None
        before = await ask(f"{tenant_url}/counts")
        for _ in range(POLLS):
            await ask(f"{url}/reload")  # nothing has changed
        after = await ask(f"{tenant_url}/counts")
        return Found(
            mib=loaded["after"] - loaded["before"],
            later=later,
            load=loaded["took"],
            look_up=look_up,
            idle=idle,
            reload=sorted(reload, key=lambda one: one["p99"])[len(reload) // 2],  # the median
            every=every,
            polls=after["polls"] - before["polls"],
            scrolls=after["scrolls"] - before["scrolls"],
        )


def rows(offers: int, reloads: int, broken: list[str], *, whole: bool) -> Iterator[Sequence[str]]:
    for how, most in GOALS.items():
        with started("--tenant", str(offers)) as tenant_url, started("--service", tenant_url, how) as url:
            found = asyncio.run(measured(tenant_url, url, offers, reloads, whole=whole))
        yield how, "first load", f"{found.load:.1f} s", "-", ""
        for what, value, bound, unit in (
            ("memory", found.mib, most, "MiB"),
            (f"memory after {reloads} reloads / before", found.later / found.mib, GROWTH, ""),
            ("look-up", found.look_up, LOOK_UP, "ns of CPU"),
            (
                "p99 of another endpoint during a reload - without",
                found.reload["p99"] - found.idle,
                P99,
                "ms",
            ),
            (f"scrolls opened by {POLLS} polls", float(found.scrolls), 0.0, ""),
            ("requests of a poll", found.polls / POLLS, 1.0, ""),
        ):
            if value > (held := SLIM_GROWTH if (how, bound) == ("slim", GROWTH) else bound):
                broken.append(f"{how}, {what}: held to {held:.4g}")
            yield (
                how,
                what,
                f"{value:.3g} {unit}".strip(),
                f"{bound:.4g}",
                "missed" if value > bound else "met",
            )
        yield how, "p99 of another endpoint without a reload", f"{found.idle:.3g} ms", "-", ""
        for name, one in (("1 %", found.reload), ("all", found.every)):
            if one is not None:
                told = f"{one['took']:.1f} s; p99 {one['p99']:.3g} ms; {one['pause']:.3g} ms"
                yield (
                    how,
                    f"{name} changed: reload; another endpoint; longest garbage collection",
                    told,
                    "-",
                    "",
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a goal, or what is held to instead, is broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--tenant", type=int)
    parser.add_argument("--service", nargs=2)
    given = parser.parse_args(argv)
    if given.tenant:
        asyncio.run(serve(tenant(given.tenant)))
    if given.service:
        asyncio.run(serve(service(*given.service)))
    reloads = 3 if given.short else 100
    broken: list[str] = []
    heads = ("cache", f"{OFFERS:,} offers", "measured", "goal", "")
    printed(
        Table("`CatalogCache` in a web service", heads, rows(OFFERS, reloads, broken, whole=not given.short))
    )
    print(*(f"broken: {one}" for one in broken), sep="\n")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
