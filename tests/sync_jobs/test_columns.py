"""Which value of an item a column holds, by items written out."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from limio_async import models
from limio_async.sync_jobs.columns import value_at
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


ITEMS: dict[str, list[tuple[str, bytes, dict[str, object]]]] = {
    "offers": [
        ("price", b'{"data":{"attributes":{"price__limio":[{"value":"9.50","currencyCode":"GBP","repeat_interval":1,'
         b'"repeat_interval_type":"months"}],"term__limio":{"renewal_type":"AUTO","length":"12","type":"months"}}}}',
         {"price_amount": 9.5, "price_currency": "GBP", "repeat_interval": 1, "repeat_interval_type": "months",
          "renewal_type": "AUTO", "term_length": 12, "term_type": "months"}),
        ("initial term", b'{"data":{"attributes":{"initial_term__limio":{"length":3,"type":"years"},'
         b'"term__limio":{"length":12,"type":"months"}},"price":[{"value":4,"currency":{"id":"EUR"}}]}}',
         {"price_amount": 4.0, "price_currency": "EUR", "term_length": 3, "term_type": "years"}),
    ],
    "products": [("", b'{"data":{"attributes":{"product_code__limio":"P-1"}}}', {"product_code": "P-1"})],
    "campaigns": [
        ("", b'{"data":{"validFrom":"2026-01-01","validTo":"2026-02-01"}}',
         {"valid_from": "2026-01-01", "valid_to": "2026-02-01"}),
    ],
    "subscriptions": [
        ("", b'{"data":{"offer":{"name":"Gold","path":"/offers/gold"},"price":{"amount":"12.5","currency":"GBP"},'
         b'"quantity":2,"startDate":"2026-01-01","termStartDate":"2026-01-02","termEndDate":"2026-12-31"}}',
         {"offer_name": "Gold", "offer_path": "/offers/gold", "price_amount": 12.5, "price_currency": "GBP",
          "quantity": 2.0, "start_date": "2026-01-01", "term_start_date": "2026-01-02", "term_end_date": "2026-12-31"}),
        ("start", b'{"start":"2026-03-01","data":{}}', {"start_date": "2026-03-01"}),
    ],
    "orders": [
        ("", b'{"data":{"order_type":"new","external_id":"E-1","source":"shop","country":"GB",'
         b'"total":{"amount":"3.00","currency":"GBP"},"orderDate":"2026-01-02T03:04:05Z"}}',
         {"order_type": "new", "external_id": "E-1", "source": "shop", "country": "GB", "total_amount": 3.0,
          "total_currency": "GBP", "order_date": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}),
    ],
    "schedules": [
        ("", b'{"data":{"schedule_date":"2026-01-02T00:00:00.000","amount":"1.50","currency":"GBP","type":"payment"}}',
         {"schedule_date": datetime(2026, 1, 2, tzinfo=UTC), "amount": 1.5, "currency": "GBP", "type": "payment"}),
        ("date", b'{"data":{"date":"2026-01-03T00:00:00.000"}}', {"schedule_date": datetime(2026, 1, 3, tzinfo=UTC)}),
    ],
    "events": [("", b'{"data":{"type":"cancel","message":"gone"}}', {"type": "cancel", "message": "gone"})],
    "promo_codes": [
        ("", b'{"data":{"promoCode":"TEN","applicationLevel":"order"}}',
         {"promo_code": "TEN", "application_level": "order"}),
    ],
    "gift_codes": [("", b'{"data":{"code":"G-1"}}', {"code": "G-1"})],
    "payment_methods": [("", b'{"data":{"type":"zuora"}}', {"type": "zuora"})],
    "addresses": [("", b'{"data":{"country":"GB","postalCode":"N1"}}', {"country": "GB", "postal_code": "N1"})],
    "abandoned_baskets": [
        ("", b'{"entry":"web","completed":false,"recoveryLink":"https://shop.example/r","tracking":{"campaign":"/c"}}',
         {"entry": "web", "completed": False, "recovery_link": "https://shop.example/r", "campaign": "/c"}),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "item", "columns"),
    [(name, item, columns) for name, items in ITEMS.items() for _, item, columns in items],
    ids=[f"{name} {title}".strip() for name, items in ITEMS.items() for title, _, _ in items],
)
def test_columns_hold_what_stands_in_an_item(name: str, item: bytes, columns: dict[str, object]) -> None:
    whole = msgspec.json.decode(item)
    found = {spot.name: value_at(whole, spot) for spot in stream(name).spots}
    assert {column: value for column, value in found.items() if value is not None} == columns


def test_the_fields_of_a_stored_order_have_names() -> None:
    body = b'{"subscriptionId":"sub-1","isGift":true,"orderItems":[{"parentId":"p","addOns":[{"id":"a"}]}]}'
    data = msgspec.json.decode(body, type=models.OrderData)
    assert (data.subscription_id, data.is_gift) == ("sub-1", True)
    assert data.order_items is not None
    (item,) = data.order_items
    assert item is not None
    assert (item.parent_id, item.add_ons) == ("p", [{"id": "a"}])
