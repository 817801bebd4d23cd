"""The columns of table `orders` that lead to the subscription and back to the shop."""

from __future__ import annotations

import msgspec
import pytest

from limio_async import models
from limio_async.sync_jobs.rows import value_at
from limio_async.sync_jobs.streams import stream


@pytest.mark.parametrize(
    ("column", "item"),
    [
        ("subscription_id", {"data": {"forSubscription": {"id": "x-1"}}}),
        ("subscription_id", {"data": {"subscriptionId": "x-1"}}),
        ("subscription_id", {"data": {"forSubscription": "odd", "subscriptionId": "x-1"}}),
        ("subscription_id", {"forSubscription": {"id": "x-1"}}),
        ("subscription_id", {"subscriptionId": "x-1", "data": {}}),
        ("order_reference", {"data": {"order_reference": "x-1"}}),
        ("order_reference", {"order_reference": "x-1"}),
        ("external_id", {"data": {"external_id": "x-1"}}),
        ("external_id", {"external_id": "x-1", "data": {"external_id": None}}),
    ],
)
def test_an_order_tells_its_subscription_and_references_wherever_they_stand(
    column: str, item: dict[str, object]
) -> None:
    (spot,) = (spot for spot in stream("orders").spots if spot.name == column)
    assert value_at(item, spot) == "x-1"


def test_the_fields_of_a_stored_order_have_names() -> None:
    body = b'{"subscriptionId":"sub-1","isGift":true,"orderItems":[{"parentId":"p","addOns":[{"id":"a"}]}]}'
    data = msgspec.json.decode(body, type=models.OrderData)
    assert (data.subscription_id, data.is_gift) == ("sub-1", True)
    assert data.order_items is not None
    (item,) = data.order_items
    assert item is not None
    assert (item.parent_id, item.add_ons) == ("p", [{"id": "a"}])
