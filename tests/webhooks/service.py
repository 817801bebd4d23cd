"""A service that receives webhooks and handles them, to be killed: URL OF THE STORE, PORT, TENANT'S ORIGIN, DIRECTORY."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from limio_async import BearerToken, Limio
from limio_async.webhooks import Event, Inbox

PAIR = ("limio", "secret")


async def main(url: str, port: int, origin: str, directory: Path) -> None:
    inbox = Inbox(url)
    mark = "?" if url.startswith("sqlite") else "%s"

    @inbox.on("*", name="effect")
    async def effect(event: Event, item: Any, tx: Any) -> None:
        with (directory / f"lock-{event.key}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                (directory / f"overlap-{event.seq}").touch()
            await tx.execute(f"INSERT INTO effects (seq) VALUES ({mark})", (event.seq,))  # noqa: S608
            await asyncio.sleep(0.002)

    app = web.Application()
    app.add_routes(inbox.receiver(PAIR).routes())
    async with Limio(origin, auth=BearerToken("token")) as limio, inbox:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
        print("ready", flush=True)  # noqa: T201
        await inbox.run(limio)
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
