"""An hour in which Limio fails in one way or another, in virtual time: nothing is lost, parked, asked or told too often."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from limio_async import BearerToken, ClientCredentials, Limio
from limio_async.core.wire import Request, Response
from limio_async.errors import AnswerLost, NeverSent
from limio_async.webhooks import Event
from tests.webhooks.conftest import deliver
from tests.webhooks.tenant import Tenant
from tests.webhooks.test_outage import Hours, hours, stopped

__all__ = ["hours"]  # a fixture

HOUR = 3600.0
MOST_LINES, MOST_REQUESTS = 20, 200
BEFORE, DURING, AFTER = 40, 40, 900.0
WAYS = ("refused", "lost", "never answered", "429", "502", "503", "401", "403")


class Failing(Tenant):
    """A tenant that fails in the way that *way* names, on the paths that *where* names; it counts all that is asked."""

    sent = 0
    way: Callable[[], str | None] = staticmethod(lambda: None)
    where = "everywhere"

    async def send(self, request: Request, *, timeout: float) -> Response:
        self.sent += 1
        is_token = request.operation == "createToken"
        way = self.way() if self.where == "everywhere" or (self.where == "tokens") == is_token else None
        if way == "refused":
            raise NeverSent("connection refused", operation=request.operation)
        if way == "lost":
            raise AnswerLost("the connection was closed", operation=request.operation)
        if way == "never answered":
            await asyncio.sleep(10 * HOUR)
        if way is not None:
            headers = {"content-type": "application/json", "retry-after": "30"}
            if way != "429":
                del headers["retry-after"]
            return Response(status=int(way), headers=headers, body=b'{"message":"not now"}')
        if is_token:
            granted = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 1800}
            return Response(
                status=200, headers={"content-type": "application/json"}, body=json.dumps(granted).encode()
            )
        return await super().send(request, timeout=timeout)


def mixed() -> Callable[[], str]:
    """Return what names ways at random, the same ones in each run."""
    chance = Random(20)
    return lambda: chance.choice(WAYS)


def always(way: str) -> Callable[[], str]:
    return lambda: way


@pytest.mark.parametrize(
    ("where", "way", "fetches"),
    [("everywhere", one, True) for one in (*WAYS, "mixed")]
    + [("tokens", one, True) for one in ("refused", "503", "401", "mixed")]
    + [("objects", one, True) for one in ("401", "mixed")]  # each is asked with a new token too
    + [("everywhere", "503", False), ("everywhere", "mixed", False), ("tokens", "503", False)],
)
def test_an_hour_without_limio(
    hours: Hours, caplog: pytest.LogCaptureFixture, where: str, way: str, fetches: bool
) -> None:
    tenant = Failing(now=lambda: hours.now)
    tenant.where = where
    auth = BearerToken("token") if where == "everywhere" else ClientCredentials("worker", "secret")

    async def work() -> None:
        done: list[str | None] = []
        last = asyncio.Event()
        async with (
            hours.inbox(give_up=timedelta(minutes=5)) as inbox,
            Limio(auth=auth, transport=tenant) as limio,
        ):

            @inbox.on("*", refetch=fetches)
            async def handler(event: Event, item: Any, tx: Any) -> None:
                if not fetches:
                    await limio.orders.get(str(event.id))
                done.append(event.id)
                if len(done) == BEFORE + DURING:
                    last.set()

            async def come(first: int, count: int, every: float) -> None:
                for n in range(first, first + count):
                    await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
                    await asyncio.sleep(every)

            await come(0, BEFORE, 0.0)
            tenant.way = mixed() if way == "mixed" else always(way)
            running = asyncio.create_task(inbox.run(limio))
            await come(BEFORE, DURING, HOUR / DURING)
            assert (dict((await inbox.stats()).states), done) == ({"open": BEFORE + DURING}, [])
            assert tenant.sent <= MOST_REQUESTS
            tenant.way = lambda: None
            async with asyncio.timeout(AFTER):
                await last.wait()
            await stopped(running)
            assert dict((await inbox.stats()).states) == {"done": BEFORE + DURING}
            assert sorted(map(str, done)) == sorted(f"order-{n}" for n in range(BEFORE + DURING))

    caplog.set_level(logging.WARNING)
    hours.run(work())
    lines = [one for one in caplog.records if one.name.startswith("limio_async")]
    assert 1 <= len(lines) <= MOST_LINES, [one.getMessage() for one in lines]


@pytest.mark.parametrize("answers", ["one in five", "every other one", "each other 10 s"])
def test_an_hour_in_which_limio_answers_now_and_then(
    hours: Hours, caplog: pytest.LogCaptureFixture, answers: str
) -> None:
    tenant, chance = Failing(now=lambda: hours.now), Random(20)
    share = {"one in five": 0.2, "every other one": 0.5}

    def way() -> str | None:
        works = chance.random() < share[answers] if answers in share else int(hours.now // 10) % 2 == 1
        return None if works else chance.choice(WAYS)

    async def work() -> None:
        done: list[str | None] = []
        async with hours.inbox() as inbox, Limio(auth=BearerToken("token"), transport=tenant) as limio:

            @inbox.on("*")
            async def handler(event: Event, item: Any, tx: Any) -> None:
                done.append(event.id)

            tenant.way = way
            running = asyncio.create_task(inbox.run(limio))
            for n in range(180):
                await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
                await asyncio.sleep(20)
            tenant.way = lambda: None
            await asyncio.sleep(AFTER)
            await stopped(running)
            assert dict((await inbox.stats()).states) == {"done": 180}
            assert sorted(map(str, done)) == sorted(f"order-{n}" for n in range(180))

    caplog.set_level(logging.WARNING)
    hours.run(work())
    lines = [one for one in caplog.records if one.name.startswith("limio_async")]
    assert 1 <= len(lines) <= MOST_LINES, [one.getMessage() for one in lines]
