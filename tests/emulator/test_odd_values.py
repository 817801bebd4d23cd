"""Whatever is sent, the answer is one that the specification knows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from limio_async.emulator import World

from .shopper import Shopper, new, reference

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, 1e308, "", "x", "é\x00", "9" * 5000, "NaN", "9999-12-31T23:59:59-23:59",
    "0001-01-01", [], [None], ["x"], [{}], {}, {"id": []}, {"type": {}}, {"data": None}, {"name": 1},
]  # fmt: skip


def bodies(shopper: Shopper, subscription: dict[str, Any]) -> list[tuple[str, str, str, Any]]:
    """A good call of each operation that takes a body."""
    at, owner = {"forSubscription": {"id": subscription["id"]}}, subscription["owner"]
    offer = reference(shopper.offers[0])
    update = {**offer, "type": "add", "record_type": "offer", "quantity": 1, "effective_date": "2025-01-01"}
    address = {"country": "GB", "postalCode": "EX1 1EX"}
    orders: list[dict[str, Any]] = [
        new(shopper.offers[0])
        | {
            "tracking": {"contactId": "003"},
            "orderDiscount": {"discountOverrides": {"percentageDiscount": 10}},
        },
        {"order_type": "change_offer", "offer": offer, "effectiveDate": "2025-01-01", **at},
        {"order_type": "update_subscription", "updates": [update], **at},
        {"order_type": "change_address", "type": "billing", "address": address, **at},
        {"order_type": "change_payment", "payment": {"type": "invoice"}, "billingDetails": address, **at},
        {"order_type": "update_customer_details", "customerDetails": {"email": "user@example.com"}, **at},
        {"order_type": "pay_invoice", "invoice": {"items": {"id": "1", "amount": 1}}, **at},
        {
            "order_type": "cancel_subscription",
            "cancelDate": "2025-01-01",
            "data": {"reason": {"id": "1"}},
            **at,
        },
        {"order_type": "renew", **at},
        {"order_type": "add_charge", "offer": offer, "quantity": 2, **at},
        {"order_type": "gift_refund", **at},
    ]
    told = {"name": "Called", "type": "call", "fields": [{"label": "A", "type": "json"}], **at}
    token = {"id_token": {"iss": "https://accounts.example.com", "sub": "1"}}
    partner = {"name": "Reseller", "zuoraAccountId": "1", "isZuoraInvoiceOwner": True}
    data = {"quantity": 1, "price": {"amount": 1}, "offer": subscription["data"]["offer"], "addOns": []}
    terms = {"termStartDate": "2025-01-01", "termEndDate": "2025-02-01", "tracking": {"contactId": "1"}}
    news = {"subscriptionID": subscription["name"], "type": "RenewSubscription", "data": {"renewalTerm": 1}}
    path = f"/objects/limio/subscriptions/{subscription['id']}"
    return [
        *(("submitOrder", "POST", "/order", body | {"process_immediately": True}) for body in orders),
        *(("previewOrder", "POST", "/order/preview", body) for body in orders),
        ("updateObject", "PUT", path, {"name": subscription["name"], "data": data | terms}),
        ("addRelatedObject", "POST", f"{path}/related/identity", {"id": "id-1", "service": "zuora"}),
        ("createTimelineEvent", "POST", "/timeline/subscription", told),
        ("transferOwnership", "POST", "/objects/owner_change", {"sourceId": owner, "destinationId": owner}),
        ("addExternalIdentityAsAdmin", "POST", f"/objects/externalidentity/{owner}", token),
        ("removeExternalIdentity", "DELETE", "/objects/externalidentity", token),
        ("handleZuoraEvent", "POST", "/events/zuora", news),
        ("createPartnerOrganisation", "POST", "/partner-organisation", partner),
    ]


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from spots(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], odd)
    return changed


READS = [
    ("getObject", "subscriptions/{}"),
    ("listRelatedObjects", "subscriptions/{}/related"),
    ("listChildObjects", "subscriptions/{}/objects"),
    ("listObjectEvents", "subscriptions/{}/events"),
    ("listObjects", "subscriptions?limit=1000"),
]


@pytest.mark.parametrize("seed", range(4))
def test_odd_values_come_to_documented_answers_and_what_they_leave_can_be_read(seed: int) -> None:
    shopper = Shopper(World(seed=seed + 1, offers=230, subscriptions=20))
    rng = random.Random(seed)
    subscription = shopper.subscribe()
    calls = bodies(shopper, subscription)
    for _ in range(250):
        operation, method, path, body = rng.choice(calls)
        odd = replaced(body, rng.choice(list(spots(body))), rng.choice(ODD))
        shopper.send(operation, method, path, odd)
        shopper.send(operation, method, path, body)
        if rng.random() < 0.1:
            shopper.world.advance(86_400 * rng.randint(0, 40))
            shopper.token()
    for operation, path in READS:
        shopper.do(operation, "GET", f"/objects/limio/{path.format(subscription['id'])}")
    shopper.world.restore(shopper.world.snapshot())
