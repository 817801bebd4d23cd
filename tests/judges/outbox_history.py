"""What befalls a program with an outbox besides kills: it stands still, loses its session, its database forgets.

`python -m tests.judges.outbox_history` tries each on every store it concerns, in both modes, and prints a line each.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from limio_async.outbox import Outbox
from limio_async.sync_jobs.sinks.urls import file_of
from tests.judges.outbox import Child
from tests.judges.outbox_child import Settings, order_of
from tests.judges.outbox_late import Gated, answers_late, hours_pass
from tests.judges.outbox_server import Manner
from tests.judges.outbox_truth import Verdict, judged, misled
from tests.postgres_cluster import Cluster, own_cluster, own_standby

__all__ = ["HISTORIES", "MODES", "Came", "History", "judge"]

COUNT = 160
SETTLE = 1.2
LONGEST = 300.0
MANNER = Manner(
    lag=0.6 * SETTLE, each=True, lost=0.05, dropped=0.02, made_502=0.02, bare=0.1, takes=0.15, skew=437.0
)
Mode = Literal["park", "resend"]
MODES: Sequence[Mode] = ("park", "resend")


class History:
    """An outbox of which all orders are intended, and the tenant that makes them."""

    def __init__(
        self, url: str, mode: Mode, tenant: Gated, cluster: Cluster | None, seed: int, stack: ExitStack, plant: str,
    ) -> None:  # fmt: skip
        self.tenant = tenant
        self.mode = mode
        self.chance = random.Random(seed)
        self.events = 0
        """What befell, how often."""
        self.on_wire = 0
        """Orders that were on the wire then."""
        self.stack = stack
        """Ends after the verdict."""
        self.children: list[Child] = []
        self.told: set[tuple[str, str]] = set()
        self.faults: list[str] = []
        self._cluster = cluster
        self._settings = Settings(url, tenant.url, mode, SETTLE, first=0, count=COUNT, plant=plant)

    @property
    def on_server(self) -> bool:
        """Whether it is on a server, where several may send."""
        return self._cluster is not None

    @property
    def cluster(self) -> Cluster:
        """The server that the outbox is on."""
        assert self._cluster is not None
        return self._cluster

    @property
    def file(self) -> Path:
        """The file that the outbox is."""
        return file_of(self._settings.url, "sqlite")[0]

    def moved(self, cluster: Cluster) -> None:
        """The outbox is on another server now."""
        self._cluster = cluster
        self._settings = msgspec.structs.replace(self._settings, url=cluster.url)

    async def start(self, **changes: Any) -> Child:
        """Start a process that sends."""
        child = Child(msgspec.structs.replace(self._settings, **changes))
        await child.start()
        self.children.append(child)
        return child

    async def intend(self) -> None:
        """Intend all, before anything is sent."""
        async with Outbox(self._settings.url) as box:
            await asyncio.gather(*(box.intend(f"key-{number}", order_of(number)) for number in range(COUNT)))
        self._settings = msgspec.structs.replace(self._settings, first=COUNT)

    async def sending(self, more: int) -> None:
        """Wait until so many more orders have come, and some are on the wire; not where all were sent."""
        goal = self.tenant.received["order"] + more
        with suppress(TimeoutError):
            async with asyncio.timeout(4.0 if len(self.tenant.keys()) > 0.9 * COUNT else 20.0):
                while self.tenant.received["order"] < goal or not self.tenant.wire:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        self.befell()

    async def settled(self, times: int) -> None:
        """Wait for so many times `settle`."""
        await asyncio.sleep(times * SETTLE)

    def befell(self) -> None:
        """Note that something befalls now."""
        self.events += 1
        self.on_wire += self.tenant.wire

    async def kill_all(self) -> None:
        """Kill every process. Raises what one wrote that had ended by itself."""
        for child in self.children:
            alive = child.runs
            errors = await child.kill()
            self.told |= child.told
            if not alive:
                raise AssertionError(f"it ended by itself: {errors[-1500:]}")
        self.children.clear()

    async def verdict(self) -> Verdict:
        """Kill all that run, let one go on to the end, and judge."""
        await self.kill_all()
        last = await self.start(until_idle=True)
        try:
            errors = await last.wait(LONGEST)
        except TimeoutError:
            errors = f"it does not end in {LONGEST:.0f} seconds: {await last.kill()}"
        self.children.clear()
        if not last.ended:
            self.faults.append(f"the last one: {errors[-1500:]}")
        await asyncio.sleep(4 * MANNER.takes)
        meant = [f"key-{number}" for number in range(COUNT)]
        self.faults += misled(self.told | last.told, self.tenant.made, last.said)
        return judged(meant, self.tenant.made, last.said, parked_is_unmade=True)


async def stands_still(history: History) -> None:
    """It is stopped for longer than `settle`, orders on the wire; on PostgreSQL another goes on meanwhile."""
    one = await history.start()
    if history.on_server:
        await history.start()
    for _ in range(3):
        await history.sending(8)
        one.signal(signal.SIGSTOP)
        await asyncio.sleep(2.0 * SETTLE)
        one.signal(signal.SIGCONT)


async def loses_its_session(history: History) -> None:
    """The server ends every session while orders of two processes are on the wire, again and again."""
    for _ in range(2):
        await history.start()
    for _ in range(6):
        await history.sending(8)
        history.cluster.terminate()


async def is_taken_over(history: History) -> None:
    """It is stopped, its session is ended: the other takes over what it goes on with later."""
    one = await history.start()
    await history.start()
    for _ in range(3):
        await history.sending(8)
        one.signal(signal.SIGSTOP)
        history.cluster.terminate()
        await asyncio.sleep(history.chance.choice((0.3, 2.0 * SETTLE)))
        one.signal(signal.SIGCONT)


async def is_one_of_three(history: History) -> None:
    """Three processes send, and one of them is killed and started again, eight times."""
    some = [await history.start() for _ in range(3)]
    for number in range(8):
        await history.sending(5)
        await some[number % 3].kill()
        history.told |= some[number % 3].told
        history.children.remove(some[number % 3])
        some[number % 3] = await history.start()


async def crashes(history: History) -> None:
    """The server crashes and comes back, three times."""
    await history.start()
    for _ in range(3):
        await history.sending(8)
        await asyncio.to_thread(history.cluster.restart, away=0.3)


async def yesterday(history: History) -> None:
    """The file is put back as it was, twice; what was sent since looks as if it were not."""
    for _ in range(2):
        await history.kill_all()
        copy = history.file.with_suffix(".yesterday")
        with closing(sqlite3.connect(history.file)) as db, closing(sqlite3.connect(copy)) as to:
            db.backup(to)
        await history.start()
        await history.sending(30)
        await history.kill_all()
        for end in ("-wal", "-shm"):
            history.file.with_name(f"{history.file.name}{end}").unlink(missing_ok=True)
        shutil.copyfile(copy, history.file)


async def fails_over(history: History) -> None:
    """An asynchronous standby is promoted that had heard nothing for a while; the primary is gone."""
    standby = history.stack.enter_context(own_standby(history.cluster))
    await history.start()
    await history.sending(10)
    with standby.admin() as admin:
        admin.execute("ALTER SYSTEM SET primary_conninfo = ''")
        admin.execute("SELECT pg_reload_conf()")
    while _follows(standby):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await history.sending(30)
    history.cluster.stop()
    await history.kill_all()
    with standby.admin() as admin:
        admin.execute("SELECT pg_promote()")
    history.moved(standby)
    await history.start()
    await history.sending(10)


def _follows(standby: Cluster) -> bool:
    with standby.admin() as admin:
        return bool(admin.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchall())


HISTORIES: Mapping[str, tuple[Callable[[History], Awaitable[None]], Sequence[str]]] = {
    "stands still": (stands_still, ("SQLite", "PostgreSQL")),
    "loses its session": (loses_its_session, ("PostgreSQL",)),
    "is taken over": (is_taken_over, ("PostgreSQL",)),
    "is one of three": (is_one_of_three, ("PostgreSQL",)),
    "server crashes": (crashes, ("PostgreSQL",)),
    "yesterday's file": (yesterday, ("SQLite",)),
    "standby is promoted": (fails_over, ("PostgreSQL",)),
    "answers come late": (answers_late, ("PostgreSQL",)),
    "hours pass": (hours_pass, ("SQLite", "PostgreSQL")),
}


class Came(msgspec.Struct, frozen=True):
    """What came of one."""

    events: int
    on_wire: int
    verdict: Verdict
    faults: Sequence[str]
    seconds: float


async def judge(name: str, store: str, mode: Mode, *, seed: int, plant: str = "") -> Came:
    """Let it befall an outbox of its own, in which the fault *plant* may be planted."""
    befalls, _ = HISTORIES[name]
    began, tenant = time.monotonic(), Gated(MANNER, seed)
    with ExitStack() as stack:
        if store == "SQLite":
            cluster = None
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="limio-history-"))
            url = f"sqlite:///{directory}/orders.db"
        else:
            cluster = stack.enter_context(own_cluster())
            url = cluster.url
        await tenant.start()
        history = History(url, mode, tenant, cluster, seed, stack, plant)
        try:
            await history.intend()
            await befalls(history)
            verdict = await history.verdict()
        finally:
            for child in history.children:
                child.signal(signal.SIGKILL)
            await tenant.stop()
    faults = [
        *verdict.faults,
        *history.faults,
        *(f"no request of a client's: {what}" for what in tenant.broken),
    ]
    if not history.on_wire:
        faults.append("nothing was on the wire when it befell")
    return Came(history.events, history.on_wire, verdict, faults, time.monotonic() - began)


def say(*lines: str) -> None:
    """Print lines at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=19)
    given, bad = parser.parse_args(), 0
    say(
        "| what | store | mode | times | on the wire then | meant | made | parked | held | twice | missing | s |"
    )
    say("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, (_, stores) in HISTORIES.items():
        for store in stores:
            for mode in MODES:
                if given.only in f"{name}, {store}, {mode}":
                    came = asyncio.run(judge(name, store, mode, seed=given.seed))
                    one = came.verdict
                    row = (name, store, mode, came.events, came.on_wire, one.meant, one.made, one.parked, one.held,
                           one.twice, one.missing, round(came.seconds))  # fmt: skip
                    say(f"| {' | '.join(map(str, row))} |", *came.faults)
                    bad += bool(came.faults)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
