"""Baskets from the first offer to the order or the recovery link, and checkouts that change a subscription."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from limio_async.core.wire import Response
from limio_async.emulator import World

from .clerk import Clerk
from .shopper import new
from .visitor import ids

UUID = "ead1f544-5263-4e01-acb4-5128e2161678"
LONG_AGO = "2020-01-01"


@pytest.fixture
def clerk(world: World) -> Clerk:
    return Clerk(world)


def offers(clerk: Clerk) -> list[dict[str, Any]]:
    published = clerk.published("offers", "offers2")
    items = clerk.catalog("offers", pageSize=200)["items"]
    return [item for item in items if item["id"] in published]


def line(offer: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"offer": {"id": offer["id"], "version": offer["version"]}, "quantity": 1, **more}


def begin(clerk: Clerk, *lines: dict[str, Any], **order: Any) -> str:
    body = {"order": {"orderItems": list(lines), "order_type": "new", **order}}
    basket: str = clerk.do("initiateCheckout", "POST", "/api/checkout/initiate", body)["id"]
    return basket


def get(clerk: Clerk, basket: str) -> dict[str, Any]:
    found: dict[str, Any] = clerk.do("getBasket", "GET", f"/api/checkout/{basket}", who="session")
    return found


def change(clerk: Clerk, basket: str | None, *actions: dict[str, Any]) -> Response:
    body = {"orderItemActions": list(actions)}
    return clerk.send("updateBasket", "PUT", "/api/checkout/update", body, cookie=basket)


def act(kind: str, id: object, **more: Any) -> dict[str, Any]:
    return {"orderItemActionType": kind, "type": "offer", "offer": {"id": id}, **more}


def abandoned(clerk: Clerk, *, limit: int = 50, after: str = LONG_AGO, **more: object) -> dict[str, Any]:
    query = {"limit": limit, "createdAfter": after, **more}
    page: dict[str, Any] = clerk.do("listAbandonedBaskets", "GET", "/api/checkout/abandoned", query=query)
    return page


def recover(clerk: Clerk, link: str) -> Response:
    path, _, query = link.partition("?")
    return clerk.send("recoverBasket", "GET", path, query=dict(parse_qsl(query)), who="nobody")


def test_a_basket_holds_what_it_was_begun_with_under_a_fresh_id(clerk: Clerk) -> None:
    offer = offers(clerk)[0]
    first, second = (begin(clerk, line(offer), external_id="1234567890", country="GB") for _ in range(2))
    assert first != second
    basket = get(clerk, first)
    assert first.startswith("basket-")
    assert (basket["id"], basket["order"]["checkoutId"], basket["completed"]) == (first, first, False)
    assert basket["order"]["orderItems"][0]["offer"]["id"] == offer["id"]
    assert basket["order"]["external_id"] == "1234567890"


@pytest.mark.parametrize("order", [{"external_id": UUID}, {"checkoutId": f"basket-{UUID}"}])
def test_the_shop_may_choose_the_id_and_begin_the_same_basket_again(
    clerk: Clerk, order: dict[str, str]
) -> None:
    one, other = offers(clerk)[:2]
    assert begin(clerk, line(one), **order) == f"basket-{UUID}"
    created = get(clerk, f"basket-{UUID}")["created"]
    clerk.world.advance(5)
    assert begin(clerk, line(other), **order) == f"basket-{UUID}"
    again = get(clerk, f"basket-{UUID}")
    assert (again["created"], len(again["order"]["orderItems"])) == (created, 1)
    assert again["order"]["orderItems"][0]["offer"]["id"] == other["id"]


def test_the_answer_names_the_id_as_set_and_a_browser_keeps_it_in_a_cookie(
    clerk: Clerk, world: World
) -> None:
    world.checkout_answer = "basket_id"
    body = {"order": {"orderItems": []}, "locale": "GB", "path": "/", "basket": {"isGift": False}}
    answer = clerk.send("initiateCheckout", "POST", "/api/checkout/initiate", body, who="session")
    basket = msgspec.json.decode(answer.body)["basket_id"]
    assert answer.headers["set-cookie"].startswith(f"limio_state={basket};")
    assert get(clerk, basket)["locale"] == "GB"


def test_what_cannot_be_bought_shows_when_the_basket_is_validated(clerk: Clerk) -> None:
    def validated(*lines: dict[str, Any]) -> tuple[bool, int]:
        path = f"/api/checkout/validate/{begin(clerk, *lines)}"
        answer = clerk.do("validateBasket", "POST", path, who="session")
        return answer["valid"], len(answer["errors"])

    good = offers(clerk)[0]
    published = clerk.published("offers", "offers2")
    draft = next(item for item in clerk.catalog("offers")["items"] if item["id"] not in published)
    assert validated(line(good)) == (True, 0)
    assert validated() == (False, 1)
    assert validated(
        line(good), line(good | {"version": "f" * 40}), line(draft), line({"id": "x", "version": "y"})
    ) == (False, 3)


def test_lines_are_added_as_often_as_asked_changed_and_removed(clerk: Clerk) -> None:
    one, other = (offer["id"] for offer in offers(clerk)[:2])
    basket = begin(clerk)
    answer = change(clerk, basket, act("add", one), act("add", one), act("add", other, quantity=2))
    order = msgspec.json.decode(answer.body)["order"]
    assert [item["offer"]["id"] for item in order["orderItems"]] == [one, one, other]
    assert len({item["id"] for item in order["orderItems"]}) == 3
    change(clerk, basket, act("update", other, quantity=7), act("remove", order["orderItems"][0]["id"]))
    lines = get(clerk, basket)["order"]["orderItems"]
    assert [(item["offer"]["id"], item["quantity"]) for item in lines] == [(one, 1), (other, 7)]
    assert change(clerk, basket, act("remove", one)).status == 200
    assert change(clerk, basket, act("remove", one)).status == 502
    assert change(clerk, basket, act("swap", one)).status == 502
    assert change(clerk, basket, {"orderItemActionType": "add"}).status == 502


def test_a_basket_is_only_changed_by_whoever_has_its_cookie(clerk: Clerk) -> None:
    assert change(clerk, None).status == 401
    assert change(clerk, "basket-unknown").status == 401
    assert clerk.send("updateBasket", "PUT", "/api/checkout/update", {}, cookie=begin(clerk)).status == 502


def test_an_order_completes_its_basket_and_no_other(clerk: Clerk) -> None:
    offer = offers(clerk)[0]
    mine, other = begin(clerk, line(offer)), begin(clerk, line(offer))
    clerk.do("submitOrder", "POST", "/api/order", {**new(offer), "checkoutId": mine})
    assert (get(clerk, mine)["completed"], get(clerk, other)["completed"]) == (True, False)
    assert change(clerk, mine, act("add", offer["id"])).status == 502
    clerk.world.advance(clerk.world.basket_abandoned_after)
    assert other in ids(iter([abandoned(clerk)]))
    assert mine not in ids(iter([abandoned(clerk)]))


def test_a_basket_is_abandoned_an_hour_after_somebody_last_touched_it(clerk: Clerk, world: World) -> None:
    offer = offers(clerk)[0]
    basket = begin(
        clerk,
        line(offer),
        customerDetails={"email": "user@example.com", "phone": "1"},
        tracking={"tag": "/tags/a"},
    )
    world.advance(3000)
    change(clerk, basket, act("add", offer["id"]))
    world.advance(3500)
    assert basket not in ids(iter([abandoned(clerk)]))
    world.advance(100)
    [item] = [one for one in abandoned(clerk)["items"] if one["id"] == basket]
    assert item["customerDetails"] == {"email": "user@example.com"}
    assert item["tracking"] == {"tag": "/tags/a"}
    assert [one["path"] for one in item["orderItems"]] == [offer["path"]] * 2
    assert item["orderItems"][0]["products"]
    assert item["completed"] is False


def test_abandoned_baskets_are_walked_oldest_first_by_a_cursor_that_can_be_read(
    clerk: Clerk, world: World
) -> None:
    for _ in range(3):
        begin(clerk)
        world.advance(60)
    world.advance(3600)
    everything = ids(iter([abandoned(clerk)]))
    assert len(everything) == len(set(everything)) == 11
    walked, page = [], abandoned(clerk, limit=4)
    while True:
        walked += [item["id"] for item in page["items"]]
        if "queryMore" not in page:
            break
        last = page["items"][-1]
        assert msgspec.json.decode(b64decode(page["queryMore"])) == {
            "v": "1",
            "c": last["id"].removeprefix("basket-"),
            "r": last["created"],
        }
        page = abandoned(clerk, limit=4, queryMore=page["queryMore"])
    assert walked == everything
    created = [item["created"] for item in abandoned(clerk)["items"]]
    assert created == sorted(created)
    assert ids(iter([abandoned(clerk, after=created[6])])) == everything[7:]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"limit": 1},
        {"createdAfter": LONG_AGO},
        {"limit": 0, "createdAfter": LONG_AGO},
        {"limit": 1, "createdAfter": "soon"},
        {"limit": 1, "createdAfter": LONG_AGO, "queryMore": "x"},
        {"limit": 1, "createdAfter": LONG_AGO, "queryMore": b64encode(b"{}").decode()},
    ],
)
def test_abandoned_baskets_need_a_limit_a_date_and_a_genuine_cursor(
    clerk: Clerk, query: dict[str, object]
) -> None:
    assert clerk.send("listAbandonedBaskets", "GET", "/api/checkout/abandoned", query=query).status == 400


def test_a_recovery_link_leads_back_to_the_basket_once(clerk: Clerk) -> None:
    item = abandoned(clerk)["items"][2]
    assert item["orderItems"][0]["path"].startswith("/offers")
    answer = recover(clerk, item["recoveryLink"])
    assert answer.status == 302
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query)) == {"basket": item["id"]}
    assert answer.headers["set-cookie"].startswith(f"limio_state={item['id']};")
    assert recover(clerk, item["recoveryLink"]).status == 404
    assert recover(clerk, "/api/checkout/recover?basket=basket-1&recover=2").status == 404
    assert item["id"] not in ids(iter([abandoned(clerk)]))
    clerk.world.advance(clerk.world.basket_abandoned_after)
    [again] = [one for one in abandoned(clerk)["items"] if one["id"] == item["id"]]
    assert again["recoveryLink"] != item["recoveryLink"]
    assert recover(clerk, again["recoveryLink"]).status == 302


def test_baskets_survive_a_snapshot(clerk: Clerk, world: World) -> None:
    mine = begin(clerk, line(offers(clerk)[0]))
    recover(clerk, abandoned(clerk)["items"][0]["recoveryLink"])
    later = World(offers=230, subscriptions=120)
    later.restore(msgspec.json.decode(msgspec.json.encode(world.snapshot())))
    restored = Clerk(later)
    assert get(restored, mine) == get(clerk, mine)
    assert abandoned(restored) == abandoned(clerk)
    assert begin(restored) not in {mine, None}


@pytest.mark.parametrize("body", [None, [], {}, {"order": {}}, {"order": {"orderItems": [1]}}])
def test_a_body_that_makes_no_basket_is_a_bad_gateway_as_documented(clerk: Clerk, body: object) -> None:
    assert clerk.send("initiateCheckout", "POST", "/api/checkout/initiate", body).status == 502


def test_each_operation_of_the_shop_takes_its_own_credentials(clerk: Clerk) -> None:
    basket = begin(clerk)
    assert clerk.send("getBasket", "GET", f"/api/checkout/{basket}").status == 401
    assert clerk.send("validateBasket", "POST", f"/api/checkout/validate/{basket}").status == 401
    assert clerk.send("getBasket", "GET", "/api/checkout/basket-1", who="session").status == 404
    query = {"limit": 1, "createdAfter": LONG_AGO}
    assert (
        clerk.send(
            "listAbandonedBaskets", "GET", "/api/checkout/abandoned", query=query, who="session"
        ).status
        == 401
    )
    assert clerk.send("getUserEntitlements", "GET", "/api/session/entitlements").status == 401
    assert clerk.send("listMmaSubscriptions", "GET", "/api/mma/subscriptions").status == 401


# ── Checkouts that change a subscription ──


SHOP, PARTNER = "/api/checkout/subscription", "/api/partner/checkout/subscription"


def subscription(clerk: Clerk, status: str = "active") -> dict[str, Any]:
    return next(one for one in clerk.objects("subscriptions", limit=50)["items"] if one["status"] == status)


def begin_change(clerk: Clerk, pointer: dict[str, Any], *actions: dict[str, Any], at: str = SHOP) -> Response:
    operation = "initiateSubscriptionCheckout" if at == SHOP else "initiatePartnerSubscriptionCheckout"
    order = {"order_type": "update_subscription", "forSubscription": pointer, "orderItems": list(actions)}
    return clerk.send(operation, "POST", at, {"order": order})


def content(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    return found


@pytest.mark.parametrize("at", [SHOP, PARTNER])
@pytest.mark.parametrize("by", ["id", "name"])
def test_a_subscription_checkout_shows_what_the_subscription_can_become(
    clerk: Clerk, at: str, by: str
) -> None:
    found = subscription(clerk)
    begun = content(begin_change(clerk, {by: found[by]}, at=at))
    order = begun["order"]
    assert order["forSubscription"]["id"] == order["forSubscriptionOffer"]["related"] == found["id"]
    assert order["checkoutId"].removeprefix("basket-") == order["external_id"]
    assert begun["nextActions"]["upgrades"]
    assert begun["nextActions"]["crossSells"]
    assert len(begun["schedule"]) == 2
    operation = "getSubscriptionCheckout" if at == SHOP else "getPartnerSubscriptionCheckout"
    assert clerk.do(operation, "GET", at, cookie=order["checkoutId"]) == begun


def test_changes_of_a_subscription_are_collected(clerk: Clerk) -> None:
    found = subscription(clerk)
    begun = content(begin_change(clerk, {"id": found["id"]}))["order"]
    own, extra = begun["forSubscriptionOffer"]["id"], offers(clerk)[0]["id"]

    def put(*actions: dict[str, Any]) -> Response:
        return clerk.send(
            "updateSubscriptionCheckout",
            "PUT",
            SHOP,
            {"orderItemActions": list(actions)},
            cookie=begun["checkoutId"],
        )

    put(act("update", own, quantity=3), act("add", extra), act("add", extra))
    items = content(put(act("update", own, quantity=4)))["order"]["orderItems"]
    assert [(item["offer"]["id"], item.get("quantity")) for item in items] == [
        (extra, None),
        (extra, None),
        (own, 4),
    ]
    assert put(act("add", "0" * 40)).status == 404
    assert put(act("paint", own)).status == 502


def test_a_pending_change_locks_the_subscription(clerk: Clerk) -> None:
    assert begin_change(clerk, {"id": subscription(clerk, "pending")["id"]}).status == 423
    found = subscription(clerk)
    order = {"order_type": "cancel_subscription", "subscriptionId": found["id"]}
    clerk.do("submitOrder", "POST", "/api/order", order)
    assert begin_change(clerk, {"id": found["id"]}).status == 423
    assert begin_change(clerk, {"id": found["id"]}, at=PARTNER).status == 423
    clerk.world.advance(3599)
    assert begin_change(clerk, {"id": found["id"]}).status == 200


def test_unknown_subscriptions_and_checkouts_are_not_found(clerk: Clerk) -> None:
    assert (
        begin_change(clerk, {"id": "sub-1"}).status == begin_change(clerk, {"name": "NOBODY"}).status == 404
    )
    assert begin_change(clerk, {}).status == 502
    plain = begin(clerk)
    for cookie, status in ((None, 401), ("basket-1", 404), (plain, 404)):
        assert clerk.send("getSubscriptionCheckout", "GET", SHOP, cookie=cookie).status == status


# ── The signed-in user ──


def test_the_signed_in_user_has_entitlements_and_subscriptions_of_her_own(clerk: Clerk) -> None:
    entitled = clerk.do("getUserEntitlements", "GET", "/api/session/entitlements", who="session")
    assert [one["type"] for one in entitled["entitlements"]] == ["subscription"]
    items = clerk.do("listMmaSubscriptions", "GET", "/api/mma/subscriptions", who="session")["items"]
    assert len(items) == 2
    assert {item["owner"] for item in items} == {entitled["owner"]}
    for item in items:
        stored = clerk.json(clerk.ask_object("subscriptions", item["id"]))
        assert stored.items() <= item.items()
        assert {child["related"] for child in (*item["offers"], *item["schedule"])} == {item["id"]}


def test_a_world_without_subscriptions_has_a_user_without_any() -> None:
    clerk = Clerk(World(offers=0, subscriptions=0, abandoned_baskets=0))
    assert (
        clerk.do("getUserEntitlements", "GET", "/api/session/entitlements", who="session")["entitlements"]
        == []
    )
    assert clerk.do("listMmaSubscriptions", "GET", "/api/mma/subscriptions", who="session") == {"items": []}
    assert abandoned(clerk) == {"items": []}
