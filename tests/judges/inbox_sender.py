"""Limio's side of webhooks: each is told twice and out of order, until it is answered 202. Standard library only."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.judges.inbox_tenant import body_of
from tests.judges.inbox_truth import Meant

__all__ = ["Delivery", "Sender", "drawn"]

_SENDERS = 8
_LATER = 0.03
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class Delivery(NamedTuple):
    """What is posted; *name* is which change it tells of."""

    name: str
    type: str
    body: dict[str, Any]


def drawn(chance: random.Random, name: str, number: int, objects: int, *, dated: bool = True) -> Delivery:
    """Return what tells of one change of one of so many *objects*, two of which share a subscription, mostly."""
    which = number % objects
    kind = "customer" if which % 3 == 0 else "order"
    named = f"{'cus' if kind == 'customer' else 'order'}-{which:032x}"
    updated = (_FIRST + timedelta(seconds=number)).isoformat() if dated else None
    types = ("order_submitted", "order_update_subscription") if kind == "order" else ("customer_updated",)
    body = body_of(named, f"sub-{which // 2:032x}", name, updated)
    return Delivery(name, chance.choice(types), body)


class Sender:
    """Posts deliveries to receivers that come and go."""

    def __init__(self, ports: Sequence[int], pair: tuple[str, str], chance: random.Random) -> None:
        self.meant: dict[str, Meant] = {}
        self.acknowledged: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        """Requests that left and were not answered 202: they may have been stored."""
        self.released = 0
        """How many of `waiting` may be posted by now."""
        self.waiting: list[Delivery] = []
        self._next = 0
        self._ports, self._chance = ports, chance
        self._signed = "Basic " + base64.b64encode(":".join(pair).encode()).decode()

    async def run(self) -> None:
        """Post all that is released, until all is posted."""

        async def one() -> None:
            while self._next < len(self.waiting):
                if self._next >= self.released:
                    await asyncio.sleep(_LATER)
                    continue
                self._next += 1
                await self.deliver(self.waiting[self._next - 1])

        await asyncio.gather(*(one() for _ in range(_SENDERS)))

    async def deliver(self, delivery: Delivery) -> None:
        """Post it again and again, until it is answered 202."""
        done = False
        while not done:
            done = await self.post(delivery, self._chance.choice(self._ports))
            await asyncio.sleep(0 if done else _LATER)

    async def there_and_back(self, delivery: Delivery, other: Delivery) -> None:
        """Post A, B and A again, each when the one before was answered; none says when it was true."""
        for one in (delivery, other, delivery):
            await self.deliver(one)
            await asyncio.sleep(self._chance.uniform(0.0, _LATER))
        for one, least in ((delivery, 2), (other, 1)):
            self.meant[one.name] = Meant(least, least + self.unanswered[one.name])

    async def post(
        self, delivery: Delivery, port: int, answered: Callable[[], object] = lambda: None
    ) -> bool:
        """Post it once; return whether it was answered 202. *answered* is called at that very moment."""
        text = json.dumps(delivery.body).encode()
        head = (
            f"POST /hooks/{delivery.type} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {self._signed}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        try:
            writer.write(head.encode() + text)
            async with asyncio.timeout(10):
                done = (await reader.readuntil(b"\r\n")).split(b" ")[1] == b"202"
        except (OSError, EOFError, TimeoutError):
            done = False
        finally:
            writer.close()
        if done:
            answered()
            self.acknowledged[delivery.name] += 1
        else:
            self.unanswered[delivery.name] += 1
        return done
