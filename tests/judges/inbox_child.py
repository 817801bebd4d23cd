"""A program with an inbox, for the judge to kill: receives webhooks, handles them, or both, as `Settings` say.

It prints one line of JSON for each thing it knows.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import random
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import msgspec
from aiohttp import web

from limio_async import ClientCredentials, Limio
from limio_async.webhooks import Event, Inbox, StoreAway
from tests.judges.inbox_planted import BLOCKS, planted
from tests.judges.planted import plant

__all__ = ["PAIR", "WORKERS", "How", "Settings"]

PAIR = ("limio", "secret")
WORKERS = 16
How = Literal["waits", "computes", "holds the interpreter"]
_TAKES = 0.008
_MOMENT = 0.005


class Settings(msgspec.Struct):
    """What one process is to do."""

    url: str
    host: str
    directory: str
    port: int | None = None
    """Where it receives."""
    works: bool = True
    until_idle: bool = False
    blocks: float = 0.0
    """Seconds for which the handler of `BLOCKS` lets nothing else run in its event loop."""
    how: How = "waits"
    """What it does meanwhile."""
    fault: str = ""
    """What is planted in it."""


def _say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


@contextmanager
def _alone(path: Path) -> Generator[bool]:
    """Whether nobody else is in here with the same file: a process that is killed is out."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _block(settings: Settings) -> None:
    _say(blocks=True)
    ends = time.monotonic() + settings.blocks
    if settings.how == "waits":
        time.sleep(settings.blocks)
    elif settings.how == "computes":
        while time.monotonic() < ends:
            pass
    else:
        ctypes.PyDLL(None).usleep(int(settings.blocks * 1e6))
    _say(unblocked=True)


def _handle(inbox: Inbox, settings: Settings) -> None:
    mark = "?" if settings.url.startswith("sqlite") else "%s"
    marks = ", ".join([mark] * 4)
    statement = f"INSERT INTO effects (name, get, key, seq) VALUES ({marks})"  # noqa: S608

    @inbox.on("*", name="effect")
    async def effect(event: Event, item: Any, tx: Any) -> None:
        with _alone(Path(settings.directory, f"{event.key}.lock")) as alone:
            if not alone:
                _say(overlap=event.key)
            _say(began=event.seq)
            data = item.data if isinstance(item.data, dict) else msgspec.to_builtins(item.data)
            name, first = event.body["data"]["external_id"], random.random() < 0.5
            if not first:
                await asyncio.sleep(random.uniform(0.0, _TAKES))
            got = int(data["external_id"].removeprefix("get-"))
            await tx.execute(statement, (name, got, event.key, event.seq))
            if first:
                await asyncio.sleep(random.uniform(0.0, _TAKES))
            if name == BLOCKS:
                _block(settings)
        _say(left=event.seq)


async def _work(inbox: Inbox, settings: Settings) -> None:
    auth = ClientCredentials("judge", "secret")
    async with Limio(settings.host, auth=auth, plain_http=True, timeout=30.0) as limio:
        while True:
            try:
                await inbox.run(limio, workers=WORKERS, until_idle=settings.until_idle)
            except StoreAway:
                await asyncio.sleep(0.05)
            else:
                return


async def _receive(inbox: Inbox, port: int) -> web.AppRunner:
    app = web.Application()
    app.add_routes(inbox.receiver(PAIR).routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def _ready(settings: Settings) -> None:
    """Say that it may be told to end: before, SIGTERM would end it as it ends any program."""
    while settings.works and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # noqa: ASYNC110
        await asyncio.sleep(_MOMENT)
    _say(ready=True)


async def _main(settings: Settings) -> None:
    if settings.fault:
        plant(planted(settings.fault).fault)
    inbox = Inbox(settings.url)
    _handle(inbox, settings)
    async with inbox:
        runner = None if settings.port is None else await _receive(inbox, settings.port)
        telling = asyncio.create_task(_ready(settings))
        if settings.works:
            await _work(inbox, settings)
        else:
            await asyncio.Event().wait()
        telling.cancel()
        if runner is not None:
            await runner.cleanup()
        if settings.until_idle:
            stats = await inbox.stats()
            _say(ended=dict(stats.states), repeats=stats.repeats)


def run(settings: Settings, out: Connection, errors: Connection) -> None:
    """Be such a program, in a process of its own, with what it prints and its errors in two pipes."""
    os.dup2(out.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    out.close()
    errors.close()
    asyncio.run(_main(settings))
