"""Receivers beside a process that does nothing else for seconds, and servers that take over from one that was killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tests.judges.inbox_child import PAIR, How, Settings
from tests.judges.inbox_kills import Child, free_port
from tests.judges.inbox_places import Place, Places
from tests.judges.inbox_planted import BLOCKS, SERVERS
from tests.judges.inbox_sender import Delivery, Sender, drawn
from tests.judges.inbox_tenant import Tenant
from tests.judges.inbox_truth import Meant, judged

__all__ = ["BESIDE", "BESIDE_SHORT", "Beside", "beside"]

BESIDE: Mapping[str, How | None] = {
    "SQLite, a handler waits": "waits",
    "SQLite, a handler computes": "computes",
    "PostgreSQL, a handler waits": "waits",
    "PostgreSQL, a handler computes": "computes",
    "PostgreSQL, a handler holds the interpreter": "holds the interpreter",
    SERVERS: None,
}
"""How a handler blocks its process in each case; None where servers are killed.

On SQLite a handler that holds the interpreter may do so in the middle of a transaction, which others wait for.
"""
BESIDE_SHORT = ("SQLite, a handler waits", "PostgreSQL, a handler waits", SERVERS)
_BLOCK = 5.0
_RATE = 100
_WAITING = 200
_MOST_P99 = 0.1
_MOST_TIMES = 3
_CONTROL = 1
_MOST_TAKEOVER = 5.0
_SERVERS = 4
_BURST = 80
_GROUP = 8
_LONGEST = 60.0
_LONGEST_TAKEOVER = 20.0
_MOMENT = 0.02
_LOOK = 0.2


class Beside(NamedTuple):
    """What came of a case; times in seconds."""

    name: str
    sent: int
    p99: float
    """Of the answers 202, since the moment at which each had to be posted."""
    worst: float
    takeovers: Sequence[float]
    """From a kill to the next event that is handled."""
    faults: Sequence[str]


async def beside(name: str, places: Places, *, kills: int, fault: str = "") -> Beside:
    """Run a case of `BESIDE`, in a database of its own."""
    how = BESIDE[name]
    if how is None:
        return await _taken_over(name, places, kills, fault)
    return await _blocked(name, places, how, fault)


# --- a handler that blocks its process


async def _blocked(name: str, places: Places, how: How, fault: str) -> Beside:
    """Post at a steady rate to a receiver, while a handler in another process blocks that for five seconds.

    It does so amid events that have waited, while others are being noted as done.
    """
    place, chance, tenant = places.new(name), random.Random(name), Tenant()
    await tenant.start()
    common = Settings(place.url, tenant.url, str(place.directory), blocks=_BLOCK, how=how, fault=fault)
    receives, works = _receiver(common, free_port()), Child(common)
    port = receives.settings.port or 0
    sender, faults = Sender([port], PAIR, chance), list[str]()
    late: tuple[list[float], list[float]] = [], []
    try:
        await receives.start()
        await _until(lambda: receives.counted["ready"] > 0)
        waiting = [drawn(chance, f"waits {number}", number, 10**9) for number in range(_WAITING)]
        waiting[_WAITING // 2] = waiting[_WAITING // 2]._replace(name=BLOCKS)
        waiting[_WAITING // 2].body["data"]["external_id"] = BLOCKS
        sender.meant = {one.name: Meant() for one in waiting}
        await asyncio.gather(*map(sender.deliver, waiting))

        async def post(number: int, due: float) -> None:
            event = drawn(chance, f"event {number}", _WAITING + number, 10**9)
            sender.meant[event.name] = Meant()
            is_blocked = works.counted["blocks"] > works.counted["unblocked"]
            if not await sender.post(event, port):
                faults.append(f"{event.name} was not answered 202")
            late[is_blocked].append(time.monotonic() - due)

        async with asyncio.TaskGroup() as posting:
            starting = posting.create_task(works.start())
            due, number, left = time.monotonic(), 0, _RATE * _CONTROL
            while left and number < _RATE * _LONGEST:
                await asyncio.sleep(due - time.monotonic())
                posting.create_task(post(number, due))
                due, number, left = due + 1 / _RATE, number + 1, left - works.counted["unblocked"]
            await starting
        number += _WAITING
        await _until(lambda: len(place.effects()) >= number, every=_LOOK)
        for one in (works, receives):
            await one.end(signal.SIGTERM)
        gets = len(tenant.gets)
        faults += judged(sender.meant, sender.acknowledged, place.effects(), gets=gets, waste=0).faults
    finally:
        for one in (works, receives):
            if one.runs:
                await one.end(signal.SIGKILL)
        await tenant.stop()
    control, p99 = map(_p99, late)
    if len(late[True]) < _RATE * _BLOCK / 2:
        faults.append(f"the judge was too slow: {len(late[True])} events in {_BLOCK} s")
    if p99 > max(_MOST_P99, _MOST_TIMES * control):  # more than that is the machine's
        faults.append(f"p99 {p99:.3f} s, at most {_MOST_P99} s; {control:.3f} s without a block")
    return Beside(name, number, p99, max(late[True], default=0.0), (), faults)


def _receiver(settings: Settings, port: int) -> Child:
    return Child(Settings(settings.url, settings.host, settings.directory, port, works=False))


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[len(times) * 99 // 100] if times else 0.0


async def _handled(place: Place, number: int) -> None:
    await _until(lambda: len(place.effects()) >= number, _LONGEST_TAKEOVER)


async def _until(came: Callable[[], bool], longest: float = _LONGEST, every: float = _MOMENT) -> None:
    ends = time.monotonic() + longest
    while time.monotonic() < ends and not came():  # noqa: ASYNC110
        await asyncio.sleep(every)


# --- `uvicorn --workers`

_PLANTING = """
from tests.judges.inbox_planted import planted
from tests.judges.planted import plant

plant(planted({!r}).fault)
"""
_APP = """
import asyncio, os
from contextlib import suppress
from pathlib import Path
from limio_async import BearerToken, Limio
from limio_async.webhooks import Inbox

inbox = Inbox("sqlite:///inbox.db")
receiver = inbox.receiver(("limio", "secret"))


@inbox.on("*", refetch=False)
async def effect(event, item, tx):
    values = event.body["data"]["external_id"], os.getpid(), event.key, event.seq
    tx.execute("INSERT INTO effects (name, get, key, seq) VALUES (?, ?, ?, ?)", values)


async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        return await receiver(scope, receive, send)
    await receive()
    async with Limio("http://127.0.0.1:1", auth=BearerToken("t")) as limio, inbox:
        running = asyncio.create_task(inbox.run(limio))
        await send({"type": "lifespan.startup.complete"})
        Path(f"up.{os.getpid()}").touch()
        await receive()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    await send({"type": "lifespan.shutdown.complete"})
"""


async def _in_groups(sender: Sender, events: Sequence[Delivery]) -> None:
    async with asyncio.TaskGroup() as posting:
        for number, one in enumerate(events):  # so many at once that no server accepts them all
            posting.create_task(sender.deliver(one))
            if number % _GROUP == 0:
                await asyncio.sleep(_MOMENT)


def _up(directory: Path, killed: set[int]) -> int:
    """Return how many servers live; one that was killed may be known to the system for a while."""
    found = {int(one.suffix[1:]) for one in directory.glob("up.*")} - killed
    for one in list(found):
        try:
            os.kill(one, 0)
        except ProcessLookupError:  # uvicorn ends those that do not answer it
            found.remove(one)
    return len(found)


async def _taken_over(name: str, places: Places, kills: int, fault: str) -> Beside:
    """Kill the one of four processes that handles, again and again; each receives and has a worker in its lifespan."""
    place, chance, port = places.new(name), random.Random(name), free_port()
    (place.directory / "shop_hooks.py").write_text(_PLANTING.format(fault) * bool(fault) + _APP)
    sender = Sender([port], PAIR, chance)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "shop_hooks:app", "--workers", str(_SERVERS), "--port", str(port),
        "--log-level", "error", cwd=place.directory, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{place.directory}:{Path(__file__).parents[2]}"},
    )  # fmt: skip
    takeovers: list[float] = []
    killed: set[int] = set()
    try:
        for burst in range(kills + 1):
            events = [drawn(chance, f"event {burst}.{n}", burst * _BURST + n, 10**9) for n in range(_BURST)]
            sender.meant.update({one.name: Meant() for one in events})
            handled = len(place.effects())
            await _until(lambda: _up(place.directory, killed) == _SERVERS)  # uvicorn starts them again
            posting = asyncio.create_task(_in_groups(sender, events[1:]))
            if burst:
                await _handled(place, handled + chance.randrange(_BURST // 2))
                killed.add(last := place.effects()[-1].get)
                os.kill(last, signal.SIGKILL)
                at, handled = time.monotonic(), len(place.effects())
                if handled == len(sender.meant) - 1:  # nothing else may be left
                    await sender.deliver(events[0])
                await _handled(place, handled + 1)
                takeovers.append(time.monotonic() - at)
                if takeovers[-1] > _MOST_TAKEOVER:
                    posting.cancel()
                    break
            await asyncio.gather(posting, sender.deliver(events[0]))
            await _handled(place, len(sender.meant))
    finally:
        server.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait(), _LONGEST)
    effects = place.effects()
    faults = list(judged(sender.meant, sender.acknowledged, effects, gets=0, waste=0).faults)
    if (turns := len([*groupby(one.get for one in effects)])) != len(takeovers) + 1:
        faults.append(f"{len(takeovers)} kills, and {turns} times a process began to handle")
    faults += [f"taken over after {one:.1f} s" for one in takeovers if one > _MOST_TAKEOVER]
    return Beside(name, len(sender.meant), 0.0, 0.0, takeovers, faults)
