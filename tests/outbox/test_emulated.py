"""The outbox with the emulator: Limio's own manners, over the client as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from limio_async import ClientCredentials, Limio
from limio_async.emulator import InMemoryTransport, World
from limio_async.outbox import Outbox

SUBSCRIPTION_ORDER: dict[str, Any] = {
    "order_type": "change_address",
    "type": "billing",
    "address": {"country": "GB"},
}


@pytest.fixture
def world() -> World:
    return World(subscriptions=30)


@pytest.fixture
async def emulated(world: World) -> AsyncIterator[Limio]:
    auth = ClientCredentials(world.client_id, world.client_secret)
    async with Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world)) as limio:
        yield limio


@pytest.fixture
async def outbox(url: str) -> AsyncIterator[Outbox]:
    async with Outbox(url, settle=timedelta(seconds=0.02)) as one:
        yield one


async def change(limio: Limio) -> dict[str, Any]:
    subscription = await limio.subscriptions.list().first()
    assert subscription is not None
    return {**SUBSCRIPTION_ORDER, "forSubscription": {"id": subscription.id}}


async def bought(limio: Limio) -> dict[str, Any]:
    [offer] = await limio.published_catalog_items.list(record_type="offers").take(1)
    return {
        "order_type": "new", "country": "GB", "checkoutId": "basket-1", "process_immediately": True,
        "orderItems": [{"offer": {"id": offer.id, "version": offer.version}, "quantity": 1}],
        "customerDetails": {"firstName": "First", "lastName": "Last", "email": "first.last@example.com"},
    }  # fmt: skip


async def orders_of(limio: Limio, key: str) -> list[str]:
    return [one.id async for one in limio.orders.list() if one.data and one.data.external_id == key]


UNKIND: dict[str, Callable[[World], object]] = {
    "kind": lambda world: None,
    "newest first": lambda world: world.lists.newest_first(),
    "mixed": lambda world: world.lists.mixed(),
    "bare": lambda world: world.lists.bare(),
    "bare, null": lambda world: world.lists.bare("null"),
}


@pytest.mark.parametrize("what", UNKIND)
@pytest.mark.parametrize("make", [change, bought])
async def test_an_order_whose_answer_was_lost_is_found(
    outbox: Outbox, emulated: Limio, world: World, what: str, make: Any
) -> None:
    order = await make(emulated)
    world.faults.on("submitOrder", call=1).lose_answer()
    UNKIND[what](world)
    await outbox.intend("k", order)
    await outbox.run(emulated, until_idle=True)
    world.be_kind()
    outcome = await outbox.outcome("k")
    assert outcome.state == "accepted"
    assert [*outcome.order_ids] == await orders_of(emulated, "k")
    assert len(outcome.order_ids) == 1


async def test_an_order_that_fails_later_was_accepted(outbox: Outbox, emulated: Limio, world: World) -> None:
    world.faults.on("submitOrder").fail_later(30, plugin="zuora", message="Card declined")
    await outbox.intend("k", await bought(emulated))
    await outbox.run(emulated, until_idle=True)
    assert (await outbox.outcome("k")).state == "accepted"
    outcome = await outbox.failed("k", {"pluginErrorOutput": [{"name": "zuora", "message": "Card declined"}]})
    assert (outcome.state, len(outcome.order_ids)) == ("failed", 1)


async def test_what_the_emulator_refuses_is_refused(outbox: Outbox, emulated: Limio) -> None:
    await outbox.intend("k", {"order_type": "new"})
    await outbox.run(emulated, until_idle=True)
    assert (await outbox.outcome("k")).state == "refused"


async def test_a_token_that_is_refused_leaves_it_intended(outbox: Outbox, world: World) -> None:
    auth = ClientCredentials(world.client_id, "expired")
    async with Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world)) as limio:
        await outbox.intend("k", {**SUBSCRIPTION_ORDER, "subscriptionId": "sub-1"})
        await outbox.run(limio, until_idle=True)
    assert (await outbox.outcome("k")).state == "intended"
