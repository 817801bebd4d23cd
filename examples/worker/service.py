"""Whoever wants to cancel is let go: a webhook comes in, one order goes out, and the shop knows how it stands.

    LIMIO_HOST=… LIMIO_CLIENT_ID=… LIMIO_CLIENT_SECRET=… LIMIO_WEBHOOK_CREDENTIALS=user:password python service.py

Events, orders and the table `leavers` are in one SQLite file, DATABASE (shop.db). It listens at HOST and PORT
(127.0.0.1 and 9000). SIGTERM ends it once what is under way is done, with exit code 0. If any part fails, all of it ends,
with exit code 1: whatever supervises it starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing

import msgspec
from aiohttp import web

from limio_async import Limio, models
from limio_async.outbox import Outbox, Outcome
from limio_async.outbox import Tx as OutboxTx
from limio_async.webhooks import Event, Inbox, Tx

log = logging.getLogger("leavers")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between machines."""

    user: str
    password: str
    file: str
    host: str
    port: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read them. Raises `KeyError` where there are no credentials."""
        user, _, password = environ["LIMIO_WEBHOOK_CREDENTIALS"].partition(":")
        return cls(
            user=user,
            password=password,
            file=environ.get("DATABASE", "shop.db"),
            host=environ.get("HOST", "127.0.0.1"),
            port=int(environ.get("PORT", "9000")),
        )


def make_worker(file: str) -> tuple[Inbox, Outbox]:
    """Return an inbox with all that is done for events, and the outbox that its orders go through."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS leavers (subscription TEXT PRIMARY KEY, state TEXT)")
    outbox = Outbox(f"sqlite:///{file}")
    inbox = Inbox(f"sqlite:///{file}", outbox=outbox)  # an order that fails at Limio later is noted as failed

    @inbox.on("order_submitted")
    async def let_go(event: Event, order: models.Order, tx: Tx) -> None:
        """Cancel the subscription that somebody wants to cancel: once, however often they say so."""
        if order.data is None or order.data.order_type != "cancel_intent":
            return
        subscription = event.key  # which the order names
        cancel = {
            "order_type": "cancel_subscription",
            "subscriptionId": subscription,
            "process_immediately": True,
        }
        await tx.execute("INSERT INTO leavers VALUES (?, 'asked') ON CONFLICT DO NOTHING", (subscription,))
        await outbox.intend(f"cancel-{subscription}", cancel, tx=tx)

    @outbox.on("accepted")
    @outbox.on("refused")
    @outbox.on("failed")
    async def note(outcome: Outcome, tx: OutboxTx) -> None:
        """Note how the order stands, for those who look at the table."""
        log.info("%s is %s", outcome.key, outcome.state)
        await tx.execute(
            "UPDATE leavers SET state = ? WHERE 'cancel-' || subscription = ?", (outcome.state, outcome.key)
        )

    return inbox, outbox


@asynccontextmanager
async def receiving(inbox: Inbox, settings: Settings) -> AsyncGenerator[None]:
    """Receive webhooks at /hooks/{type} within the block."""
    app = web.Application()
    app.add_routes(inbox.receiver((settings.user, settings.password)).routes("/hooks"))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        log.info("receiving at %s", runner.addresses)
        yield
    finally:
        await runner.cleanup()


async def main(settings: Settings) -> None:
    """Receive, handle and send, until SIGTERM."""
    inbox, outbox = make_worker(settings.file)
    async with Limio.from_env() as limio, inbox, receiving(inbox, settings), asyncio.TaskGroup() as tasks:
        sender = tasks.create_task(outbox.run(limio))
        await inbox.run(limio)  # hears SIGTERM, and gives handlers 20 seconds
        sender.cancel()  # waits for what is on the wire


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(Settings.from_env(os.environ)))
