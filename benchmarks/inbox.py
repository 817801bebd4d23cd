"""How fast webhooks are taken, whatever else the inbox does. `python -m benchmarks.inbox`

`limio inbox serve` receives, another process handles, both as installed; senders keep their connections open. Each figure
stands beside its goal; a goal that is missed is printed as such. Raw commits are those of one connection that inserts the
same bodies, in the same run. Takes about five minutes; `--short` two, with 100,000 rows instead of a million.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import psycopg

from benchmarks.inbox_filled import fill
from benchmarks.inbox_sender import Sender, body
from benchmarks.outbox import SLOW_MS, shim
from benchmarks.sync_stage import POSTGRES, NoPostgres, as_installed, schema
from benchmarks.tables import Table, printed
from limio_async import BearerToken, Limio
from limio_async.webhooks import Event, Inbox

RATE, SENDERS, WORKERS = 300, 16, 16
MOST_MS, PER_COMMIT, SLOW_RATE, STARTS, RSS_MIB, OLD = 20.0, 0.3, 1000.0, 1.0, 60.0, 0.7
WORSE = 1.5
"""How much slower an answer may be where the inbox is full, before it counts as changed."""


class Scale(msgspec.Struct, frozen=True):
    """How much is measured."""

    rows: int
    seconds: float
    handled: int


FULL, SHORT = Scale(1_000_000, 15.0, 6000), Scale(100_000, 5.0, 2000)
Rows = Iterator[Sequence[str]]


# --- the processes


@asynccontextmanager
async def serving(store: str, env: Mapping[str, str] = {}) -> AsyncGenerator[tuple[Sender, float, int]]:
    """Receive, in a process of its own: who sends to it, how long its start took, its process."""
    command = [sys.executable, "-m", "limio_async.cli", "--quiet", "inbox", "serve", "--port", "0", "--json"]
    known = as_installed({"LIMIO_INBOX": store, "LIMIO_WEBHOOK_CREDENTIALS": "user:word", **env})
    begun = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, env=known, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        took = perf_counter() - begun
        port = int(msgspec.json.decode(line)["listens"].rpartition(":")[2].partition("/")[0])
        async with Sender(port) as sender:
            yield sender, took, process.pid
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def working(store: str) -> AsyncGenerator[None]:
    """Handle events, in a process of its own, until the block ends."""
    command = [sys.executable, "-m", "benchmarks.inbox", "--child", store]
    process = await asyncio.create_subprocess_exec(*command, env=as_installed({}), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 30)
        yield
    finally:
        process.terminate()
        await process.wait()


async def work(store: str, *, until_idle: bool = False) -> float:
    """Handle events; those of the type `hold` keep `tx` open for a second. Returns how long it took."""
    inbox = Inbox(store)
    mark = "?" if store.startswith("sqlite") else "%s"

    @inbox.on("*", refetch=False, name="effect")
    async def effect(event: Event, _item: Any, tx: Any) -> None:
        await tx.execute(f"INSERT INTO {_effects(store)} VALUES ({mark})", (event.seq,))
        if event.type == "order_cancelled":
            await asyncio.sleep(1.0)

    async with Limio("https://tenant.invalid", auth=BearerToken("none")) as limio, inbox:
        if not until_idle:
            print("ready", flush=True)
        begun = perf_counter()
        await inbox.run(limio, workers=WORKERS, until_idle=until_idle)
    return perf_counter() - begun


def _effects(store: str) -> str:
    return "effects" if store.startswith("sqlite") else f"{store.rpartition('=')[2]}.effects"


def execute(store: str, statement: str) -> None:
    """Execute a statement in the store's database."""
    if store.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(store))) as db:
            db.execute(statement)
            db.commit()
        return
    with psycopg.connect(POSTGRES, autocommit=True) as pg:
        pg.execute(statement.encode())


def file_of(store: str) -> str:
    return store.removeprefix("sqlite:///")


# --- what is measured


def raw_commits(store: str, seconds: float) -> float:
    """Return how many commits a second one connection does, a body each."""
    text, count = body(0).decode(), 0
    execute(store, f"CREATE TABLE {_effects(store)}_raw (body text)")
    statement = f"INSERT INTO {_effects(store)}_raw VALUES ('{text}')"
    if store.startswith("sqlite"):
        db: Any = sqlite3.connect(file_of(store), isolation_level=None)
        db.execute("PRAGMA synchronous = FULL")
    else:
        db = psycopg.connect(POSTGRES, autocommit=True)
    with closing(db):
        ends = perf_counter() + seconds
        while perf_counter() < ends:
            db.execute(statement)
            count += 1
    return count / seconds


async def busy(store: str, scale: Scale) -> float:
    """Return the p99 in ms at the rate, while workers handle what comes and one of them always holds `tx`."""
    execute(store, f"CREATE TABLE {_effects(store)} (seq bigint)")
    async with serving(store) as (sender, _, _), working(store):
        await sender.at_rate(RATE, 1.0, holds=True)
        return await sender.at_rate(RATE, scale.seconds, holds=True)


async def quiet(store: str, scale: Scale) -> tuple[float, float, float]:
    """Return the p99 in ms at the rate with nothing else going on; the seconds of a start; the MiB of the receiver."""
    async with serving(store) as (sender, took, process):
        await sender.at_rate(RATE, 1.0)
        found = await sender.at_rate(RATE, scale.seconds)
        return found, took, resident(process)


async def most(store: str, scale: Scale, env: Mapping[str, str] = {}) -> float:
    """Return how many webhooks a second are taken from senders that wait for each answer."""
    async with serving(store, env) as (sender, _, _):
        await sender.at_once(SENDERS, 1.0)
        return await sender.at_once(SENDERS, scale.seconds / 2)


async def handled(store: str, scale: Scale) -> float:
    """Return how many events a second are taken and handled."""
    async with Inbox(store) as inbox:
        await asyncio.gather(*(inbox.receive("order_submitted", body(n)) for n in range(scale.handled)))
    return scale.handled / await work(store, until_idle=True)


@contextmanager
def old_transaction(store: str) -> Generator[None]:
    """A transaction of another program that has read, and does not end."""
    if store.startswith("sqlite"):
        db: Any = sqlite3.connect(file_of(store), isolation_level=None)
        begin = "BEGIN"
    else:
        db, begin = psycopg.connect(POSTGRES, autocommit=True), "BEGIN ISOLATION LEVEL REPEATABLE READ"
    with closing(db):
        db.execute(begin)
        db.execute(f"SELECT count(*) FROM {_effects(store)}").fetchall()
        yield


def resident(process: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return float("nan")


# --- the table


def row(what: str, figure: str, goal: str, *, met: bool) -> Sequence[str]:
    return [what, figure, goal, "yes" if met else "**missed**", f"{os.getloadavg()[0]:.1f}"]


def at_most(what: str, found: float, goal: float, unit: str) -> Sequence[str]:
    return row(what, f"{found:.1f} {unit}", f"{goal:.1f} {unit}", met=found <= goal)


def at_least(what: str, found: float, goal: float, unit: str, rates: str = "") -> Sequence[str]:
    return row(what, f"{found:,.2f} {unit}{rates}", f"{goal:,.1f} {unit}", met=found >= goal)


@contextmanager
def places(made: str, use: str) -> Generator[Mapping[str, str]]:
    """An empty store of each kind."""
    stores = {"SQLite": f"sqlite:///{made}/{use}.db"}
    try:
        with schema(f"limio_inbox_benchmark_{os.getpid()}_{use}") as name:
            yield {**stores, "PostgreSQL": f"{POSTGRES}?schema={name}"}
    except NoPostgres as reason:
        print(f"({reason}: left out)")
        yield stores


def rows(scale: Scale) -> Rows:
    with tempfile.TemporaryDirectory() as made:
        yield from rates(made, scale)
        with places(made, "busy") as stores:
            for name, store in stores.items():
                what = f"{name}: p99 at {RATE}/s, {WORKERS} workers, one holds tx for 1 s at a time"
                yield at_most(what, asyncio.run(busy(store, scale)), MOST_MS, "ms")
        yield from full(made, scale)
        yield from aging(made, scale)


def rates(made: str, scale: Scale) -> Rows:
    with places(made, "rates") as stores:
        for name, store in stores.items():
            commits = raw_commits(store, 2.0)
            taken = asyncio.run(most(store, scale))
            said = f" ({taken:,.0f}/s of {commits:,.0f}/s)"
            yield at_least(f"{name}: taken for each raw commit, {SENDERS} senders", taken / commits, PER_COMMIT, "", said)  # fmt: skip
    if slow := shim(made):
        taken = asyncio.run(most(f"sqlite:///{made}/slow.db", scale, slow))
        yield at_least(f"SQLite, fsync of {SLOW_MS} ms more: taken from {SENDERS} senders", taken, SLOW_RATE, "/s")  # fmt: skip


def full(made: str, scale: Scale) -> Rows:
    with places(made, "full") as stores:
        for name, store in stores.items():
            empty, _, _ = asyncio.run(quiet(store, scale))
            fill(store, scale.rows)
            found, took, size = asyncio.run(quiet(store, scale))
            what = f"{name}, {scale.rows:,} rows"
            yield at_most(f"{what}: p99 at {RATE}/s (empty: {empty:.1f} ms)", found, max(5.0, empty * WORSE), "ms")  # fmt: skip
            yield at_most(f"{what}: start", took, STARTS, "s")
            yield at_most(f"{what}: memory of the receiver", size, RSS_MIB, "MiB")


def aging(made: str, scale: Scale) -> Rows:
    with places(made, "aging") as stores:
        for name, store in stores.items():
            execute(store, f"CREATE TABLE {_effects(store)} (seq bigint)")
            asyncio.run(handled(store, msgspec.structs.replace(scale, handled=500)))
            before = asyncio.run(handled(store, scale))
            with old_transaction(store):
                asyncio.run(handled(store, scale))  # what it leaves behind is in the way of the next
                after = asyncio.run(handled(store, scale))
            said = f" ({after:,.0f}/s of {before:,.0f}/s)"
            yield at_least(f"{name}: rate of handling while an old transaction is open", after / before, OLD, "", said)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inbox")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        asyncio.run(work(args.child))
        return
    scale = SHORT if args.short else FULL
    title = f"Receiving webhooks; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before"
    printed(Table(title, ("what", "found", "goal", "met", "load after"), rows(scale)))


if __name__ == "__main__":
    main()
