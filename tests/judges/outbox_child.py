"""A program that uses an outbox, for the judge to kill: intends what is not intended yet, and sends.

`python -m tests.judges.outbox_child '{"url": …}'`, see `Settings`. It prints one line of JSON for each thing it knows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec

from limio_async import ClientCredentials, Limio
from limio_async.outbox import Outbox, Outcome, StoreAway
from limio_async.outbox.outcome import Event
from tests.judges.outbox_faults import plant

__all__ = ["Settings", "order_of", "subscription_of"]

_OFFER = hashlib.sha1(b"offer", usedforsecurity=False).hexdigest()


class Settings(msgspec.Struct):
    """What one process is to do."""

    url: str
    host: str
    when_missing: Literal["park", "resend"]
    settle: float
    first: int
    """The first key that is not known to be intended."""
    count: int
    until_idle: bool = False
    timeout: float = 30.0
    plant: str = ""
    """The name of a fault that is planted."""


def subscription_of(number: int) -> str | None:
    """Of eight orders two name a subscription: the same one, and one right after the other."""
    return f"sub-{(number + 1) // 8:032x}" if (number + 1) % 8 < 2 else None


def order_of(number: int) -> dict[str, Any]:
    order: dict[str, Any] = {"process_immediately": True, "owner": f"id-{number:032x}"}
    if subscription := subscription_of(number):
        return order | {"order_type": "cancel_subscription", "subscriptionId": subscription}
    item = {"offer": {"id": _OFFER, "version": "1"}, "quantity": 1 + number % 3}
    return order | {"order_type": "new", "checkoutId": f"basket-{number}", "orderItems": [item]}


def _say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


async def _intend(outbox: Outbox, settings: Settings) -> None:
    """Intend what is not known to be, and some that is: not the last of it, which has to be there nevertheless."""
    step, again = 16, settings.first - 32
    for begin in [*([again] if again >= 0 else []), *range(settings.first, settings.count, step)]:
        numbers = range(begin, min(begin + step, settings.count))
        await asyncio.gather(*(outbox.intend(f"key-{number}", order_of(number)) for number in numbers))
        _say(intended=numbers.stop)


def _tell(outbox: Outbox) -> None:
    """Print whatever is told."""
    events: Sequence[Event] = ("accepted", "refused", "failed", "doubt", "doubled")
    for event in events:

        async def told(outcome: Outcome, _: object, event: str = event) -> None:
            _say(told=event, of=outcome.key)

        outbox.on(event)(told)


class _Parked:
    """Prints what is parked, if only for a while."""

    def changed(self, outcome: Outcome) -> None:
        if outcome.state == "parked":
            _say(told="parked", of=outcome.key)


async def _run(outbox: Outbox, limio: Limio, *, until_idle: bool) -> None:
    while True:
        try:
            await outbox.run(limio, until_idle=until_idle)
        except StoreAway:
            await asyncio.sleep(0.05)
        else:
            return


async def _main(settings: Settings) -> None:
    plant(settings.plant)
    outbox = Outbox(
        settings.url,
        when_missing=settings.when_missing,
        settle=timedelta(seconds=settings.settle),
        observers=[_Parked()],
    )
    _tell(outbox)
    auth = ClientCredentials("judge", "secret")
    limio = Limio(settings.host, auth=auth, plain_http=True, timeout=settings.timeout)
    async with outbox, limio:
        if settings.until_idle:
            await _intend(outbox, settings)
            await _run(outbox, limio, until_idle=True)
            after: str | None = None
            while rows := await outbox.list(after=after):
                for row in rows:
                    _say(
                        key=row.key, state=row.state, ids=row.order_ids, subscription=row.subscription,
                        error=row.error, attempt=row.attempt,
                    )  # fmt: skip
                after = rows[-1].key
            _say(ended=True)
        else:
            await asyncio.gather(_intend(outbox, settings), _run(outbox, limio, until_idle=False))


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=Settings)))
