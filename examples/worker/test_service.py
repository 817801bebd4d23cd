"""The worker against an emulator in memory: what Limio got, and what the shop knows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from service import make_worker

from limio_async import Limio
from limio_async.emulator import Courier, World

Worked = Callable[[], Awaitable[None]]
PAIR = ("limio", "secret")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "shop.db")


@pytest.fixture
async def work(file: str, limio: Limio, limio_webhooks: Courier) -> AsyncIterator[Worked]:
    """Delivers, handles and sends until nothing is left to do."""
    inbox, outbox = make_worker(file)
    limio_webhooks.to(inbox.receiver(PAIR), types=["order_submitted", "error_reporting"], auth=PAIR)

    async def worked() -> None:
        while await limio_webhooks.deliver():
            await inbox.run(limio, until_idle=True)
            await outbox.run(limio, until_idle=True)

    async with inbox:
        yield worked


@pytest.fixture
async def leaver(work: Worked, limio: Limio, limio_world: World) -> str:
    subscription = next(limio_world.ids("subscriptions"))
    await limio.orders.submit({"order_type": "cancel_intent", "subscriptionId": subscription})
    return subscription


def cancellations(world: World) -> int:
    return sum(b'"cancel_subscription"' in (one.body or b"") for one in world.requests("submitOrder"))


def leavers(file: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT subscription, state FROM leavers").fetchall()


async def test_whoever_wants_to_cancel_is_let_go_once(
    leaver: str, file: str, work: Worked, limio: Limio, limio_world: World
) -> None:
    limio_world.webhooks.duplicate(1)
    await work()
    await limio.orders.submit({"order_type": "cancel_intent", "subscriptionId": leaver})
    await work()
    assert (cancellations(limio_world), leavers(file)) == (1, [(leaver, "accepted")])


async def test_other_orders_lead_to_none(work: Worked, file: str, limio: Limio, limio_world: World) -> None:
    subscription = next(limio_world.ids("subscriptions"))
    await limio.orders.submit({"order_type": "renew", "subscriptionId": subscription})
    await work()
    assert (limio_world.count("submitOrder"), leavers(file)) == (1, [])


async def test_the_shop_knows_of_an_order_that_fails_later(
    leaver: str, file: str, work: Worked, limio_world: World
) -> None:
    limio_world.faults.on("submitOrder").fail_later(30)
    await work()
    assert leavers(file) == [(leaver, "accepted")]
    limio_world.advance(30)
    await work()
    assert leavers(file) == [(leaver, "failed")]
