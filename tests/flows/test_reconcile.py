"""An order of which no answer came is looked for among the orders of its subscription."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from limio_async import BearerToken, Limio, errors, models
from limio_async.core.wire import Request, Response
from limio_async.emulator import World
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer

LOST = errors.AnswerLost("hung up")


# ------------------------------------------------------------------ through the emulator


def cancelling(id: str, **facts: Any) -> Any:
    return models.CancelSubscriptionOrder(subscription_id=id, **facts)


def intending(id: str, **facts: Any) -> Any:
    return models.CancelIntentOrder(for_subscription=models.SubscriptionRef(id=id), **facts)


def moving(id: str, **facts: Any) -> Any:
    address = models.Address(city="Leeds", country="GB")
    return models.ChangeAddressOrder(
        for_subscription=models.SubscriptionRef(id=id), type="billing", address=address, **facts
    )


def as_data(id: str, **facts: Any) -> Any:
    return {"order_type": "cancel_intent", "forSubscription": {"id": id}, **facts}


def as_bytes(id: str, **facts: Any) -> Any:
    return msgspec.Raw(json.dumps({"order_type": "cancel_intent", "subscriptionId": id, **facts}).encode())


ORDERS: list[Callable[..., Any]] = [cancelling, intending, moving, as_data, as_bytes]


async def lost(limio: Limio, world: World, order: Any) -> errors.UnknownOutcome:
    world.faults.on("submitOrder", call=1).lose_answer()
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.orders.submit(order)
    return caught.value


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("facts", [{}, {"external_id": "mine"}], ids=["unnamed", "named"])
async def test_an_order_that_happened_is_found(
    order: Callable[..., Any], facts: Any, limio: Limio, world: World
) -> None:
    subscription = next(iter(world.ids("subscriptions")))
    await limio.orders.submit(intending(subscription, external_id="another"))
    error = await lost(limio, world, order(subscription, **facts))
    found = await error.reconcile()
    assert found is not None
    assert found.data.get("external_id") == facts.get("external_id")
    assert found.id.startswith("order-")


@pytest.mark.parametrize("order", ORDERS)
async def test_an_order_that_is_not_found_is_none(
    order: Callable[..., Any], limio: Limio, world: World
) -> None:
    subscription = next(iter(world.ids("subscriptions")))
    await limio.orders.submit(order(subscription, external_id="another"))
    world.faults.on("submitOrder", call=1).status(502)
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.orders.submit(order(subscription, external_id="mine"))
    assert await caught.value.reconcile() is None


# ------------------------------------------------------------------ against a tenant of odd habits


class Tenant:
    """Answers no order, and has the orders that it is given: rows of a list, and what each is whole."""

    def __init__(self, *orders: dict[str, Any], bare: bool = False) -> None:
        self.orders = {one["id"]: one for one in orders}
        self.bare = bare
        self.fetched: list[str] = []

    def __call__(self, request: Request) -> Response:
        path = request.target.partition("?")[0]
        if path.endswith("/related/order"):
            items = [
                {name: value for name, value in one.items() if not self.bare or name != "data"}
                for one in self.orders.values()
            ]
            return answer({"items": items})
        if "/orders/" in path:
            self.fetched.append(path.rpartition("/")[2])
            one = self.orders.get(self.fetched[-1])
            return answer({}, 404) if one is None or one.get("gone") else answer(one)
        raise LOST


def stored(id: str, day: int, **data: Any) -> dict[str, Any]:
    return {
        "id": id,
        "created": f"2026-11-{day:02}T10:00:00.000Z",
        "data": {"order_type": "cancel_intent", **data},
    }


def client(tenant: Tenant) -> Limio:
    return Limio("https://limio.test", auth=BearerToken("t"), transport=ScriptedTransport(tenant))


async def in_doubt(tenant: Tenant, order: Any, method: str = "submit") -> errors.UnknownOutcome:
    with pytest.raises(errors.UnknownOutcome) as caught:
        await getattr(client(tenant).orders, method)(order)
    return caught.value


MINE = as_data("sub-1", external_id="mine")


@pytest.mark.parametrize("bare", [False, True])
async def test_each_is_fetched_newest_first_until_it_is_found(bare: bool) -> None:
    tenant = Tenant(
        stored("order-1", 1, external_id="mine"),
        stored("order-3", 3, external_id="other"),
        stored("order-2", 2, external_id="mine"),
        stored("order-4", 4),
        bare=bare,
    )
    found = await (await in_doubt(tenant, MINE)).reconcile()
    assert found.id == "order-2"
    assert tenant.fetched == ["order-4", "order-3", "order-2"]


async def test_fifty_at_most_are_fetched() -> None:
    rows = [{**stored(f"order-{n}", 1), "created": f"2026-11-01T10:00:{n:02}.000Z"} for n in range(60)]
    tenant = Tenant(*rows, {**stored("order-old", 1, external_id="mine"), "created": "2026-10-01T00:00:00Z"})
    assert await (await in_doubt(tenant, MINE)).reconcile() is None
    assert tenant.fetched == [f"order-{n}" for n in range(59, 9, -1)]


@pytest.mark.parametrize(
    "data",
    [
        {"order_type": "cancel_subscription", "external_id": "mine"},
        {"external_id": None},
        {"external_id": "MINE"},
        {},
    ],
    ids=str,
)
async def test_another_order_is_not_taken_for_it(data: Any) -> None:
    tenant = Tenant({"id": "order-1", "data": {"order_type": "cancel_intent", **data}})
    assert await (await in_doubt(tenant, MINE)).reconcile() is None
    assert tenant.fetched == ["order-1"]


@pytest.mark.parametrize(
    ("data", "is_it"),
    [
        ({"reason": "price", "more": [1, 2]}, True),
        ({"reason": "price"}, True),
        ({"reason": "other"}, False),
        ({"reason": "price", "external_id": "another's"}, False),
    ],
    ids=str,
)
async def test_without_a_name_it_is_the_one_that_says_nothing_else(data: Any, is_it: bool) -> None:
    tenant = Tenant(stored("order-1", 1, subscriptionId="sub-1", **data))
    order = {"order_type": "cancel_intent", "subscriptionId": "sub-1", "reason": "price"}
    found = await (await in_doubt(tenant, order)).reconcile()
    assert (found is not None) == is_it


async def test_one_that_is_gone_meanwhile_is_passed_over() -> None:
    tenant = Tenant(
        {**stored("order-2", 2, external_id="mine"), "gone": True}, stored("order-1", 1, external_id="mine")
    )
    found = await (await in_doubt(tenant, MINE)).reconcile()
    assert found.id == "order-1"


async def test_rows_without_data_or_time_do_no_harm() -> None:
    tenant = Tenant(
        {"id": "order-1"}, {"id": "order-2", "data": None}, {"id": "order-3", "data": {"external_id": "mine"}}
    )
    assert await (await in_doubt(tenant, MINE)).reconcile() is None


@pytest.mark.parametrize("method", ["submit", "submit_as_admin"])
async def test_every_way_to_submit_can_be_read_back(method: str) -> None:
    tenant = Tenant(stored("order-1", 1, external_id="mine"))
    assert (await (await in_doubt(tenant, MINE, method)).reconcile()).id == "order-1"


@pytest.mark.parametrize(
    "order",
    [
        {"order_type": "new", "external_id": "mine"},
        {"order_type": "renew", "forSubscription": {"name": "2TJ25TK632EG"}},
        {"order_type": "renew", "forSubscription": "sub-1"},
        {"order_type": "renew", "forSubscription": None, "subscriptionId": ""},
        {"order_type": "renew", "subscriptionId": 7},
    ],
    ids=str,
)
async def test_without_a_subscription_it_raises_itself_again(order: Any) -> None:
    tenant = Tenant(stored("order-1", 1, external_id="mine"))
    error = await in_doubt(tenant, order)
    with pytest.raises(errors.UnknownOutcome) as again:
        await error.reconcile()
    assert again.value is error
    assert tenant.fetched == []


async def test_an_order_whose_caller_was_cancelled_can_be_looked_for(limio: Limio, world: World) -> None:
    subscription = next(iter(world.ids("subscriptions")))
    world.faults.on("submitOrder", call=1).delay(0.5)
    task = asyncio.create_task(limio.orders.submit(intending(subscription, external_id="mine")))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, errors.UnknownOutcome)
    found = await caught.value.__cause__.reconcile()
    assert found is None or found.data["external_id"] == "mine"


async def test_a_look_that_fails_says_so() -> None:
    def tenant(request: Request) -> Response:
        if request.method == "GET":
            return answer({}, 403)
        raise LOST

    limio = Limio("https://limio.test", auth=BearerToken("t"), transport=ScriptedTransport(tenant))
    with pytest.raises(errors.UnknownOutcome) as caught:
        await limio.orders.submit(MINE)
    with pytest.raises(errors.UnknownOutcome) as again:
        await caught.value.reconcile()
    assert again.value is caught.value
    assert isinstance(again.value.__cause__, errors.Forbidden)
