"""What an outbox adds to the orders that it sends. `python -m benchmarks.outbox`

Orders are intended at once, then sent, 16 on the wire; by hand is the same client, the same order and as many on the wire,
without anything stored. The server answers at once, so that all that is measured is ours. With a slow fsync, each takes
5 ms more, as on a disk of a cloud: what waits together has to share commits. Takes about a minute; `--short` a third.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import msgspec

from benchmarks.server import serving
from benchmarks.sync_stage import POSTGRES, NoPostgres, schema
from benchmarks.tables import Table, printed
from limio_async import Limio
from limio_async.auth import ClientCredentials
from limio_async.outbox import Outbox

ORDERS, AT_ONCE, RUNS, SLOW_MS = 500, 16, 5, 5
SHIM = Path(__file__).with_name("slow_fsync.c")


class Took(msgspec.Struct):
    """Of all orders."""

    intend: float
    send: float
    cpu: float


def order(number: int) -> dict[str, Any]:
    """An order for a subscription of its own, so that none waits for another."""
    return {
        "order_type": "cancel_subscription",
        "subscriptionId": f"sub-{number:032x}",
        "process_immediately": True,
    }


async def by_hand(limio: Limio, count: int) -> Took:
    """Send them, and keep nothing."""
    wire = anyio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        async with wire:
            await limio.orders.submit({**order(number), "external_id": str(number)})

    begun, cpu = perf_counter(), os.times()
    await all_of(one, count)
    return Took(0.0, perf_counter() - begun, spent(cpu))


async def through(limio: Limio, store: str, count: int) -> Took:
    """Intend them all at once, then send them."""
    cpu = os.times()
    async with Outbox(store, at_once=AT_ONCE) as outbox:
        begun = perf_counter()
        await all_of(lambda number: outbox.intend(str(number), order(number)), count)
        intended = perf_counter()
        await outbox.run(limio, until_idle=True)
        sent, stats = perf_counter(), await outbox.stats()
        if stats.states.get("accepted") != count:
            raise SystemExit(f"not all were accepted: {stats}")
    return Took(intended - begun, sent - intended, spent(cpu))


async def all_of(what: Callable[[int], Coroutine[Any, Any, object]], count: int) -> None:
    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(what, number)


def spent(since: os.times_result) -> float:
    now = os.times()
    return now.user + now.system - since.user - since.system


async def measured(url: str, store: str, count: int) -> Took:
    async with Limio(url, auth=ClientCredentials("a", "b"), max_concurrency=AT_ONCE) as limio:
        await limio.orders.submit({**order(0), "external_id": "first"})
        return await (through(limio, store, count) if store else by_hand(limio, count))


def run(url: str, store: str, count: int, env: Mapping[str, str]) -> Took:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.outbox", "--child", url, store, str(count)]
    done = subprocess.run(command, env={**os.environ, **env}, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Took)


@contextmanager
def places(made: str, number: int) -> Generator[Mapping[str, str]]:
    """A store of each kind; no store is by hand."""
    stores = {"by hand": "", "SQLite": f"sqlite:///{made}/{number}.db"}
    try:
        with schema(f"limio_outbox_benchmark_{os.getpid()}_{number}") as name:
            yield {**stores, "PostgreSQL": f"{POSTGRES}?schema={name}"}
    except NoPostgres as reason:
        print(f"({reason}: left out)")
        yield stores


def shim(made: str) -> Mapping[str, str]:
    """What makes fsync slow; nothing where no compiler is."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    library = Path(made, "slow_fsync.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SHIM], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_FSYNC_MS": str(SLOW_MS)}


def rows(count: int, runs: int) -> Iterator[Sequence[str]]:
    found: dict[str, list[Took]] = {}
    with tempfile.TemporaryDirectory() as made, serving(0) as url:
        slow = shim(made)
        for number in range(runs):
            with places(made, number) as stores:
                for name, store in stores.items():
                    found.setdefault(name, []).append(run(url, store, count, {}))
            if slow:
                store = f"sqlite:///{made}/slow-{number}.db"
                found.setdefault(f"SQLite, fsync of {SLOW_MS} ms more", []).append(
                    run(url, store, count, slow)
                )
    hand = statistics.median(one.send for one in found["by hand"])
    for name, took in found.items():
        intend, send, cpu = (
            statistics.median(costs) / count * 1e3
            for costs in zip(*((one.intend, one.send, one.cpu) for one in took), strict=True)
        )
        yield [
            name,
            f"{intend:.2f}",
            f"{send:.2f}",
            f"{send - hand / count * 1e3:+.2f}",
            f"{cpu:.2f}",
            f"{1e3 / send:,.0f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outbox")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        url, store, count = args.child
        took = asyncio.run(measured(url, store, int(count)))
        sys.stdout.buffer.write(msgspec.json.encode(took))
        return
    heads = (
        "store",
        "intend, ms an order",
        "send, ms an order",
        "beyond by hand, ms",
        "CPU, ms an order",
        "orders/s",
    )
    title = f"{ORDERS} orders, {AT_ONCE} on the wire, a server that answers at once"
    printed(Table(title, heads, rows(ORDERS, 1 if args.short else RUNS)))


if __name__ == "__main__":
    main()
