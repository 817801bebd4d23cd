"""A program with an inbox, for the judge to kill: receives webhooks, handles them, or both.

`python -m tests.judges.inbox_child '{"url": …}'`, see `Settings`. It prints one line of JSON for each thing it knows.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from limio_async import ClientCredentials, Limio
from limio_async.webhooks import Event, Inbox, StoreAway
from tests.judges.inbox_planted import planted
from tests.judges.planted import plant

__all__ = ["PAIR", "WORKERS", "Settings"]

PAIR = ("limio", "secret")
WORKERS = 16
_TAKES = 0.008


class Settings(msgspec.Struct):
    """What one process is to do."""

    url: str
    host: str
    directory: str
    port: int | None = None
    """Where it receives."""
    works: bool = True
    until_idle: bool = False
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


def _handle(inbox: Inbox, settings: Settings) -> None:
    mark = "?" if settings.url.startswith("sqlite") else "%s"
    statement = f"INSERT INTO effects (name, get) VALUES ({mark}, {mark})"  # noqa: S608

    @inbox.on("*", name="effect")
    async def effect(event: Event, item: Any, tx: Any) -> None:
        with _alone(Path(settings.directory, f"{event.key}.lock")) as alone:
            if not alone:
                _say(overlap=event.key)
            _say(began=event.seq)
            data = item.data if isinstance(item.data, dict) else msgspec.to_builtins(item.data)
            got = int(data["external_id"].removeprefix("get-"))
            first = random.random() < 0.5
            if not first:
                await asyncio.sleep(random.uniform(0.0, _TAKES))
            await tx.execute(statement, (event.body["data"]["external_id"], got))
            if first:
                await asyncio.sleep(random.uniform(0.0, _TAKES))
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


async def _main(settings: Settings) -> None:
    if settings.fault:
        plant(planted(settings.fault).fault)
    inbox = Inbox(settings.url)
    _handle(inbox, settings)
    async with inbox:
        runner = None if settings.port is None else await _receive(inbox, settings.port)
        _say(ready=True)
        if settings.works:
            await _work(inbox, settings)
        else:
            await asyncio.Event().wait()
        if runner is not None:
            await runner.cleanup()
        if settings.until_idle:
            stats = await inbox.stats()
            _say(ended=dict(stats.states), repeats=stats.repeats)


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=Settings)))
