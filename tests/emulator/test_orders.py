from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from limio_async.emulator import World

from .shopper import Shopper, new, reference

DAY = 86_400.0


@pytest.fixture
def shopper(world: World) -> Shopper:
    return Shopper(world)


def pointer(subscription: dict[str, Any]) -> dict[str, Any]:
    return {"forSubscription": {"id": subscription["id"]}}


def test_a_new_order_makes_everything_that_belongs_to_a_subscription(shopper: Shopper) -> None:
    body = new(shopper.offers[0], shopper.offers[1], quantity=2)
    answer = shopper.submit(**body)
    order = shopper.get("orders", answer["id"])
    assert answer["status"] == order["status"] == "complete"
    assert answer["order_reference"] == order["reference"]
    assert answer["external_id"] == "EXT-1"
    [child] = shopper.do("listChildObjects", "GET", f"/objects/limio/orders/{order['id']}/objects")["items"]
    subscription = shopper.get("subscriptions", child["id"])
    assert subscription["reference"] == answer["subscriptionReference"]
    assert subscription["owner"] == answer["owner"]
    assert subscription["status"] == "active"
    assert subscription["ref"].partition("/")[0] == order["id"]
    assert subscription["data"]["offer"]["id"] == shopper.offers[0]["id"]
    assert shopper.get("customers", subscription["customer"])["data"]["email"] == "first.last@example.com"
    assert shopper.get("identities", subscription["owner"])["name"] == "first.last@example.com"
    offers = shopper.children(subscription["id"], "subscription_offer")
    assert [one["data"]["offer"]["id"] for one in offers] == [one["id"] for one in shopper.offers[:2]]
    assert [one["data"]["quantity"] for one in offers] == [2, 2]
    assert shopper.children(subscription["id"], "schedule")
    addresses = shopper.related(subscription["id"], "address")
    assert [one["relationship_type"] for one in addresses] == ["billing", "delivery"]
    [method] = shopper.related(subscription["id"], "payment_method")
    assert shopper.get("payment_methods", method["id"])["data"]["zuora"]["refId"] == "ref-1"
    assert shopper.events(order["id"], "orders") == ["order.new"]
    assert shopper.events(subscription["id"]) == ["order.new"]


def test_everything_a_new_order_made_is_listed_once(shopper: Shopper, world: World) -> None:
    kinds = ("subscription", "order", "customer", "identity", "subscription_offer", "payment_method", "event")
    before = {kind: world.store.count(kind) for kind in kinds}
    shopper.subscribe()
    assert {kind: world.store.count(kind) for kind in kinds} == {
        kind: count + 1 for kind, count in before.items()
    }


def test_one_external_id_makes_two_orders(shopper: Shopper) -> None:
    first, second = (shopper.submit(**new(shopper.offers[0])) for _ in range(2))
    assert first["external_id"] == second["external_id"]
    assert first["id"] != second["id"]
    assert first["subscriptionReference"] != second["subscriptionReference"]


def test_an_owner_who_is_known_gets_another_subscription(shopper: Shopper) -> None:
    first = shopper.subscribe()
    second = shopper.subscribe(owner=first["owner"])
    assert second["id"] != first["id"]
    assert second["customer"] == first["customer"]
    assert shopper.refused(**new(shopper.offers[0]), owner="id-unknown") == 404


def test_who_is_signed_in_owns_what_is_ordered(shopper: Shopper, world: World) -> None:
    shopper.bearer = f"Bearer {world.session_token}"
    answer = shopper.submit(**new(shopper.offers[0]))
    mine = shopper.do("listMmaSubscriptions", "GET", "/mma/subscriptions")
    shopper.token()
    [subscription] = [one for one in world.store.linked(answer["id"]) if one["record_type"] == "subscription"]
    assert subscription["owner"] == answer["owner"] == world.store.records.id("identity", 0)
    assert subscription["id"] in str(mine)


def test_an_order_in_the_queue_has_its_effects_when_the_clock_advances(
    shopper: Shopper, world: World
) -> None:
    before = world.store.count("subscription")
    answer = shopper.do("submitOrder", "POST", "/order", new(shopper.offers[0]))
    assert answer["status"] == "pending"
    assert "subscriptionReference" not in answer
    assert world.store.count("subscription") == before
    assert shopper.events(answer["id"], "orders") == ["order.new"]
    world.advance(world.order_delay - 1)
    assert shopper.get("orders", answer["id"])["status"] == "pending"
    world.advance(1)
    assert shopper.get("orders", answer["id"])["status"] == "complete"
    assert world.store.count("subscription") == before + 1


def test_an_order_fails_in_the_queue_when_its_offer_is_no_longer_there(
    shopper: Shopper, world: World
) -> None:
    subscription = shopper.subscribe()
    change = {"order_type": "change_offer", "offer": reference(shopper.offers[3]), **pointer(subscription)}
    waiting = [
        shopper.do("submitOrder", "POST", "/order", body)
        for body in (new(shopper.offers[3]), change | {"effectiveDate": "2025-01-01"})
    ]
    path = quote(shopper.offers[3]["path"][1:], safe="")
    answer = shopper.ask(f"/limio/catalogs/1/items/{path}", method="DELETE", authorization=shopper.bearer)
    assert answer.status == 200
    world.advance(world.order_delay)
    assert [shopper.get("orders", one["id"])["status"] for one in waiting] == ["failed", "failed"]
    assert shopper.get("subscriptions", subscription["id"])["data"]["offer"]["id"] == shopper.offers[0]["id"]


def test_orders_leave_the_queue_each_at_its_own_time(shopper: Shopper, world: World) -> None:
    answers = []
    for _ in range(3):
        answers.append(shopper.do("submitOrder", "POST", "/order", new(shopper.offers[0])))
        world.advance(10)
    world.advance(1000)
    updated = [shopper.get("orders", answer["id"])["updated"] for answer in answers]
    assert updated == [f"2025-01-15T09:01:{second}.000Z" for second in ("00", "10", "20")]


@pytest.mark.parametrize("path", ["/order", "/admin/order", "/partner/order"])
def test_admins_and_partners_submit_as_shops_do(shopper: Shopper, path: str) -> None:
    operation = {
        "/order": "submitOrder",
        "/admin/order": "submitOrderAsAdmin",
        "/partner/order": "submitPartnerOrder",
    }[path]
    answer = shopper.do(operation, "POST", path, {**new(shopper.offers[0]), "process_immediately": True})
    assert answer["status"] == "complete"
    unknown = {**new(shopper.offers[0]), "forPartner": {"id": "partner_org-1"}}
    assert shopper.send(operation, "POST", path, unknown).status == 400


def test_a_changed_offer_counts_at_its_date_and_by_default_at_the_end_of_the_term(
    shopper: Shopper, world: World
) -> None:
    subscription, other = shopper.subscribe(), shopper.subscribe()
    change = {"order_type": "change_offer", "offer": reference(shopper.offers[3])}
    shopper.submit(**change, **pointer(subscription), effectiveDate="2025-02-01")
    shopper.submit(**change, **pointer(other))
    pending = shopper.get("subscriptions", subscription["id"])["data"]["pendingChange"]
    assert (pending["order_type"], pending["effectiveDate"]) == ("change_offer", "2025-02-01")

    def offer(id: str) -> str:
        data = shopper.get("subscriptions", id)["data"]
        return str(data["offer"]["id"])

    assert offer(subscription["id"]) == shopper.offers[0]["id"]
    world.advance(20 * DAY)
    shopper.token()
    assert offer(subscription["id"]) == shopper.offers[3]["id"]
    assert offer(other["id"]) == shopper.offers[0]["id"]
    assert "pendingChange" not in shopper.get("subscriptions", subscription["id"])["data"]
    old, now = shopper.children(subscription["id"], "subscription_offer")
    assert (old["status"], now["status"]) == ("cancelled", "active")
    world.advance(365 * DAY)
    shopper.token()
    assert offer(other["id"]) == shopper.offers[3]["id"]


@pytest.mark.parametrize("order_type", ["add_offer", "add_charge"])
def test_an_offer_or_a_charge_is_added(shopper: Shopper, order_type: str) -> None:
    subscription = shopper.subscribe()
    paid = len(shopper.children(subscription["id"], "schedule"))
    shopper.submit(order_type=order_type, offer=reference(shopper.offers[1]), **pointer(subscription))
    expected = 2 if order_type == "add_offer" else 1
    assert len(shopper.children(subscription["id"], "subscription_offer")) == expected
    assert len(shopper.children(subscription["id"], "schedule")) > paid


def test_updates_add_and_remove_offers_and_add_ons_each_at_its_date(shopper: Shopper, world: World) -> None:
    subscription = shopper.subscribe()
    [old] = shopper.children(subscription["id"], "subscription_offer")
    add_on = {**reference(shopper.add_ons[0]), "type": "add", "record_type": "add_on", "quantity": 3}
    updates = [
        {**reference(shopper.offers[2]), "type": "add", "record_type": "offer", "quantity": "2"},
        {"id": old["id"], "type": "remove", "record_type": "offer", "effective_date": "2025-01-20"},
        add_on,
    ]
    shopper.submit(
        order_type="update_subscription", forSubscription={"name": subscription["name"]}, updates=updates
    )
    assert [one["status"] for one in shopper.children(subscription["id"], "subscription_offer")] == [
        "active",
        "active",
    ]
    [added] = shopper.children(subscription["id"], "subscription_add_on")
    assert added["data"]["quantity"] == 3
    [entry] = shopper.get("subscriptions", subscription["id"])["data"]["addOns"]
    assert entry["add_on"]["id"] == shopper.add_ons[0]["id"]
    world.advance(10 * DAY)
    shopper.token()
    assert [one["status"] for one in shopper.children(subscription["id"], "subscription_offer")] == [
        "cancelled",
        "active",
    ]
    remove = {"id": added["id"], "type": "remove", "record_type": "add_on"}
    shopper.submit(order_type="update_subscription", updates=[remove], **pointer(subscription))
    assert shopper.get("subscriptions", subscription["id"])["data"]["addOns"] == []


def test_a_subscription_is_cancelled_now_or_at_the_date_that_is_named(shopper: Shopper, world: World) -> None:
    now, later = shopper.subscribe(), shopper.subscribe()
    reason = {"reason": {"id": "too_expensive"}}
    shopper.submit(order_type="cancel_subscription", subscriptionId=now["id"], data=reason)
    shopper.submit(order_type="cancel_subscription", subscriptionRef=later["name"], cancelDate="2025-03-01")
    assert shopper.get("subscriptions", now["id"])["status"] == "cancelled"
    assert shopper.events(now["id"])[-1] == "subscription_cancelled"
    assert "pending" not in {one["status"] for one in shopper.children(now["id"], "schedule")}
    assert shopper.get("subscriptions", later["id"])["status"] == "active"
    world.advance(60 * DAY)
    shopper.token()
    cancelled = shopper.get("subscriptions", later["id"])
    assert (cancelled["status"], cancelled["data"]["endDate"]) == ("cancelled", "2025-03-01")


def test_generated_subscriptions_can_be_changed_as_well(shopper: Shopper) -> None:
    summary = shopper.objects("subscriptions")["items"][5]
    shopper.submit(order_type="cancel_subscription", subscriptionId=summary["id"])
    assert shopper.objects("subscriptions")["items"][5]["status"] == "cancelled"
    assert {one["status"] for one in shopper.children(summary["id"], "subscription_offer")} == {"cancelled"}
    assert shopper.events(summary["id"]) == [
        "order.new",
        "order.cancel_subscription",
        "subscription_cancelled",
    ]


@pytest.mark.parametrize("kind", ["billing", "delivery"])
def test_an_address_is_replaced_whole(shopper: Shopper, kind: str) -> None:
    subscription = shopper.subscribe()
    address = {"address1": "3 Example Street", "country": "US"}
    shopper.submit(order_type="change_address", type=kind, address=address, **pointer(subscription))
    addresses = {one["relationship_type"]: one for one in shopper.related(subscription["id"], "address")}
    assert len(addresses) == 2
    assert shopper.get("address", addresses[kind]["id"])["data"] == address


@pytest.mark.parametrize("order_type", ["change_payment", "change_external_payment"])
def test_a_new_payment_method_counts_from_now_on(shopper: Shopper, order_type: str) -> None:
    subscription = shopper.subscribe()
    payment = {"type": "invoice", "invoicePref": "Email"}
    shopper.submit(order_type=order_type, customerId=subscription["customer"], payment=payment)
    found = [
        shopper.get("payment_methods", one["id"])
        for one in shopper.related(subscription["id"], "payment_method")
    ]
    assert [(one["status"], one["data"]["type"]) for one in found] == [
        ("inactive", "zuora"),
        ("active", "invoice"),
    ]
    shopper.submit(order_type="delete_payment_method", **pointer(subscription))
    assert shopper.get("payment_methods", found[1]["id"])["status"] == "inactive"


def test_a_payment_by_redirect_waits_for_the_person(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    answer = shopper.submit(order_type="change_payment", **pointer(subscription))
    assert answer["status"] == "pending-payment"


def test_customer_details_are_merged(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    details = {"company_name": "Example Ltd", "email": "other@example.com"}
    shopper.submit(order_type="update_customer_details", customerDetails=details, **pointer(subscription))
    data = shopper.get("customers", subscription["customer"])["data"]
    assert (data["company_name"], data["email"], data["firstName"]) == (
        "Example Ltd",
        "other@example.com",
        "First",
    )


@pytest.mark.parametrize("items", [{"id": "1", "amount": 17.5}, [{"amount": "10"}, {"amount": 7.5}]])
def test_a_paid_invoice_is_in_the_schedule(shopper: Shopper, items: object) -> None:
    subscription = shopper.subscribe()
    invoice = {"id": "INV00000001", "items": items}
    shopper.submit(order_type="pay_invoice", subscriptionId=subscription["id"], invoice=invoice)
    paid = shopper.children(subscription["id"], "schedule")[-1]
    assert (paid["data"]["amount"], paid["data"]["type"]) == ("17.50", "payment")


def test_a_gift_has_a_code_that_is_spent_once_and_can_be_refunded(shopper: Shopper) -> None:
    gift = shopper.subscribe(isGift=True)
    assert gift["data"]["attributes"]["gift"] is True
    code = shopper.related(gift["id"], "gift_code")[0]["id"]
    found = shopper.get("gift_code", code)
    assert found["data"]["redeemed"] is False
    shopper.subscribe(redeemCode=found["data"]["code"])
    assert shopper.get("gift_code", code)["data"]["redeemed"] is True
    assert shopper.refused(**new(shopper.offers[0]), redeemCode="nothing") == 404
    shopper.submit(order_type="gift_refund", subscriptionId=gift["id"])
    assert shopper.get("subscriptions", gift["id"])["status"] == "cancelled"
    assert shopper.children(gift["id"], "schedule")[-1]["data"]["type"] == "refund"


def test_a_renewal_begins_the_next_term(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    shopper.submit(order_type="renew", **pointer(subscription))
    data = shopper.get("subscriptions", subscription["id"])["data"]
    assert data["termStartDate"] == subscription["data"]["termEndDate"]
    assert data["termEndDate"] > data["termStartDate"]


@pytest.mark.parametrize("order_type", ["cancel_intent", "renew", "add_charge"])
def test_every_order_for_a_subscription_is_among_its_events(shopper: Shopper, order_type: str) -> None:
    subscription = shopper.subscribe()
    offer = {"offer": reference(shopper.offers[0])} if order_type == "add_charge" else {}
    answer = shopper.submit(order_type=order_type, **offer, **pointer(subscription))
    assert answer["subscriptionReference"] == subscription["reference"]
    assert shopper.events(subscription["id"]) == ["order.new", f"order.{order_type}"]


def test_data_are_captured_without_a_subscription(shopper: Shopper) -> None:
    answer = shopper.submit(order_type="data_capture", data={"email": "user@example.com"})
    assert "subscriptionReference" not in answer
    assert shopper.get("orders", answer["id"])["data"]["data"] == {"email": "user@example.com"}


def test_a_preview_tells_what_is_due_and_changes_nothing(shopper: Shopper, world: World) -> None:
    subscription = shopper.subscribe()
    before = world.store.snapshot(), world.agenda.snapshot()
    schedule = shopper.preview(**new(shopper.offers[0], quantity=2))
    first = schedule[0]
    assert first["date"] == first["schedule_date"] == "2025-01-15T00:00:00.000"
    charge = shopper.offers[0]["data"]["attributes"]["price__limio"][0]
    assert Decimal(first["amount"]) == 2 * Decimal(charge["value"])
    assert Decimal(first["unit_amount"]) == Decimal(charge["value"])
    assert (first["taxAmount"], first["type"], first["currency"]) == (0, "payment", charge["currencyCode"])
    assert [item["chargeName"] for item in first["lineItems"]] == ["Charge 1"]
    assert [item["date"] for item in schedule] == sorted(item["date"] for item in schedule)
    for order_type in ("change_offer", "add_offer", "add_charge"):
        assert shopper.preview(
            order_type=order_type, offer=reference(shopper.offers[1]), **pointer(subscription)
        )
    update = {**reference(shopper.add_ons[0]), "type": "add", "record_type": "add_on"}
    assert shopper.preview(order_type="update_subscription", updates=[update], **pointer(subscription))
    [refund] = shopper.preview(order_type="gift_refund", subscriptionId=subscription["id"])
    assert refund["type"] == "refund"
    assert Decimal(refund["amount"]) == -Decimal(str(subscription["data"]["price"]["amount"]))
    [partly] = shopper.preview(order_type="cancel_subscription", subscriptionId=subscription["id"])
    assert Decimal(refund["amount"]) <= Decimal(partly["amount"]) < 0
    assert (world.store.snapshot(), world.agenda.snapshot()) == before


def test_a_preview_agrees_with_what_is_then_scheduled(shopper: Shopper) -> None:
    for offer in shopper.offers[:20]:
        planned = shopper.preview(**new(offer))[:2]
        order = shopper.submit(**new(offer))
        [child] = shopper.do("listChildObjects", "GET", f"/objects/limio/orders/{order['id']}/objects")[
            "items"
        ]
        assert [one["data"] for one in shopper.children(child["id"], "schedule")] == planned


def test_a_discount_is_taken_off_for_as_long_as_it_lasts(shopper: Shopper) -> None:
    overrides = {
        "discountType": "DiscountPercentage",
        "percentageDiscount": 50,
        "durationLength": 1,
        "durationType": "Months",
    }
    full = shopper.preview(**new(shopper.offers[0], quantity=2))
    cut = shopper.preview(
        **new(shopper.offers[0], quantity=2), orderDiscount={"discountOverrides": overrides}
    )
    assert Decimal(cut[0]["amount"]) * 2 == Decimal(full[0]["amount"])
    assert cut[1]["amount"] == full[1]["amount"]


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


def test_orders_that_are_not_whole_are_bad_requests(shopper: Shopper) -> None:
    body = new(shopper.offers[0])
    for name in ("order_type", "orderItems", "customerDetails", "country"):
        assert shopper.refused(**without(body, name)) == 400
    assert shopper.refused(**body | {"order_type": "dance"}) == 400
    assert shopper.refused(**body | {"orderItems": []}) == 400
    assert shopper.refused(**body | {"orderItems": [{"offer": {"id": shopper.offers[0]["id"]}}]}) == 400
    subscription = pointer(shopper.subscribe())
    for order_type in ("change_offer", "add_offer", "change_address", "pay_invoice", "data_capture"):
        assert shopper.refused(order_type=order_type, **subscription) == 400
    for order_type in ("cancel_subscription", "update_subscription", "renew", "change_payment"):
        assert shopper.refused(order_type=order_type) == 400
    assert shopper.send("submitOrder", "POST", "/order", [1]).status == 400
    assert shopper.send("submitOrder", "POST", "/order").status == 400


def test_orders_for_what_is_unknown_or_not_published_are_not_found(shopper: Shopper) -> None:
    known = reference(shopper.offers[0])
    published = shopper.published("offers", "offers2")
    draft = next(one for one in shopper.catalog("offers", pageSize=20)["items"] if one["id"] not in published)
    for offer in (known | {"version": "0" * 40}, known | {"id": "0" * 40}, reference(draft)):
        body = new(shopper.offers[0]) | {"orderItems": [{"offer": offer}]}
        assert shopper.refused(**body) == 404
        assert shopper.send("previewOrder", "POST", "/order/preview", body).status == 404
    for wrong in ({"subscriptionId": "sub-1"}, {"forSubscription": {"name": "NOTHING"}}):
        assert shopper.refused(order_type="cancel_subscription", **wrong) == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"orderItems": "all"},
        {"orderItems": ["one"]},
        {"orderItems": [{"offer": "one"}]},
        {"customerDetails": "somebody"},
        {"payment": {"type": "shells"}},
        {"payment": "cash"},
        {"billingDetails": []},
        {"updates": {}},
    ],
)
def test_values_that_break_further_in_come_as_a_502_without_effect(
    shopper: Shopper, world: World, wrong: dict[str, Any]
) -> None:
    before = world.store.snapshot(), world.agenda.snapshot()
    assert shopper.refused(**new(shopper.offers[0]) | wrong) == 502
    assert (world.store.snapshot(), world.agenda.snapshot()) == before


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "many", True])
def test_odd_quantities_and_dates_come_as_a_502(shopper: Shopper, quantity: object) -> None:
    subscription = pointer(shopper.subscribe())
    item = {"offer": reference(shopper.offers[0]), "quantity": quantity}
    assert shopper.refused(**new(shopper.offers[0]) | {"orderItems": [item]}) == 502
    assert shopper.refused(order_type="cancel_subscription", cancelDate="soon", **subscription) == 502


def test_a_preview_answers_every_bad_payload_with_502(shopper: Shopper) -> None:
    body = new(shopper.offers[0])
    subscription = pointer(shopper.subscribe())
    payloads: list[object] = [
        without(body, "country"),
        body | {"order_type": "dance"},
        {"order_type": "data_capture", "data": {}},
        {"order_type": "change_address", "type": "billing", "address": {}, **subscription},
        {"order_type": "cancel_subscription"},
        [],
    ]
    for wrong in payloads:
        assert shopper.send("previewOrder", "POST", "/order/preview", wrong).status == 502
