"""`limio outbox run`: sends until it is stopped, or says what it would do first."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import timedelta
from typing import Literal

import msgspec

from limio_async.cli.failures import Code, Failure, tell
from limio_async.cli.loop import in_loop, until_stopped
from limio_async.cli.outbox_open import in_outbox, pages
from limio_async.cli.outbox_view import News, counted, counted_orders, discreet, show_rows, steps
from limio_async.cli.output import TableOfItems
from limio_async.cli.settings import Flags, open_client
from limio_async.outbox import Outbox
from limio_async.outbox.decide import OPEN

__all__ = ["explain", "send"]

_INTERRUPTED = "outbox run: interrupted; the same command resumes"
_REFUSED = re.compile(r"createToken: 4\d\d\b|\w+: 401\b")
"""How the error of an order begins that was not sent since nobody may sign in like that."""


def send(flags: Flags, url: str, *, as_json: bool, until_idle: bool, when_missing: Literal["park", "resend"],
         settle: timedelta, hold: bool, at_once: int) -> int:  # fmt: skip
    """Send and look until stopped, or, with *until_idle*, until only a person can go on; return the exit code."""
    client = open_client(flags, concurrency=max(16, 2 * at_once))
    news = News(as_json=as_json, quiet=flags.quiet)
    outbox = Outbox(
        url, when_missing=when_missing, settle=settle, hold=hold, at_once=at_once, observers=[news]
    )

    for handler in logging.getLogger("limio_async").handlers:
        handler.addFilter(discreet)

    async def work() -> int:
        async with client, outbox:
            stats = await outbox.stats()
            if stats.paused:
                tell(f"paused: {stats.paused}; nothing is sent until limio outbox resume")
            await until_stopped(
                outbox.run(client, until_idle=until_idle), "what is on the wire", _INTERRUPTED
            )
            return await _ended(outbox, quiet=flags.quiet)

    try:
        return in_loop(work(), on_uvloop=flags.uvloop)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Failure(_INTERRUPTED, Code.INTERRUPTED) from None


async def _ended(outbox: Outbox, *, quiet: bool) -> Code:
    stats = await outbox.stats()
    if not quiet:
        tell(counted(stats))
    if stats.paused:
        tell(f"paused: {stats.paused}; limio outbox resume sends again")
    if left := sum(stats.states.get(state, 0) for state in OPEN):
        hint = ": limio outbox list --state parked shows what waits for you" * ("parked" in stats.states)
        tell(f"not settled: {counted_orders(left)}{hint}")
    waiting = await outbox.list("intended", limit=1)
    if not stats.paused and waiting and _REFUSED.match(waiting[0].error or ""):
        return Code.CREDENTIALS
    return Code.INCOMPLETE if left or stats.paused else Code.OK


def explain(flags: Flags, url: str, *, hold: bool, as_json: bool) -> int:
    """Show what a run would do first, in the order in which it would; send and change nothing."""
    to = open_client(flags).origin

    async def work(outbox: Outbox) -> int:
        stats = await outbox.stats()
        if stats.tenant not in {None, to}:
            raise Failure(
                f"this outbox sends to {stats.tenant}, the client to {to}: one outbox a tenant", Code.API
            )
        found = steps([row async for page in pages(outbox, *OPEN) for row in page], hold=hold)
        table = None if as_json else TableOfItems("key", "state", "next", "behind")
        show_rows([msgspec.structs.asdict(step) for step in found], table)
        ready = sum(step.next == "send" for step in found)
        paused = (
            f"; paused ({stats.paused}): none would be, until limio outbox resume" if stats.paused else ""
        )
        tell(f"nothing was sent; {ready:,} of {counted_orders(len(found))} would be, to {to}{paused}")
        return Code.OK

    return in_outbox(flags, url, work)
