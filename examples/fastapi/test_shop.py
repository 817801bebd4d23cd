"""The shop against an emulator in memory: what its callers get, and what Limio got."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient
from shop import make_app

from limio_async import Limio
from limio_async.emulator import World

TAG = "/tags/uk/default"


@pytest.fixture
def away(limio_world: World) -> None:
    limio_world.faults.on("listOffers").never_sent()


@pytest.fixture
def odd(limio_world: World) -> None:
    odd = {"tags": [TAG], "attributes": {"price__limio": ["odd"]}}
    limio_world.faults.on("listOffers").bad_item(at=0, field="data", value=odd)


@pytest.fixture
def shop(limio: Limio) -> Iterator[TestClient]:
    with TestClient(make_app(lambda: limio)) as shop:
        yield shop


@pytest.fixture
def offers(shop: TestClient) -> list[dict[str, Any]]:
    while shop.get("/ready").status_code != 200:
        pass  # each request lets the catalog load on
    listed: list[dict[str, Any]] = shop.get("/offers", params={"tag": TAG}).json()
    return listed


@pytest.fixture
def order(offers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "orderItems": [{"offer": {"id": offers[0]["id"], "version": offers[0]["version"]}}],
        "customerDetails": {"firstName": "Ada", "email": "ada@example.com"},
        "country": "GB",
    }


def test_offers_of_a_tag_have_their_prices(offers: list[dict[str, Any]]) -> None:
    assert len(offers) == 30
    assert [Decimal(one["amount"]) for one in offers[0]["prices"]] == [Decimal("1.99")] * 2
    assert {one["currency"] for one in offers[0]["prices"]} == {"GBP"}


@pytest.mark.usefixtures("odd")
def test_an_offer_whose_price_cannot_be_read_is_not_shown(offers: list[dict[str, Any]]) -> None:
    assert offers
    assert "Digital Monthly 000000" not in {one["name"] for one in offers}


def test_an_offer_is_all_that_limio_says_of_it(shop: TestClient, offers: list[dict[str, Any]]) -> None:
    whole = shop.get(f"/offers/{offers[0]['id']}").json()
    assert TAG in whole["data"]["tags"]
    assert whole["data"]["attributes"]["payment_types__limio"] == ["zuora_card"]


def test_offers_cost_no_call_of_limio(
    shop: TestClient, offers: list[dict[str, Any]], limio_world: World
) -> None:
    before = limio_world.count()
    for one in offers:
        assert shop.get(f"/offers/{one['id']}").status_code == 200
    assert limio_world.count() == before


@pytest.mark.usefixtures("away")
def test_without_a_catalog_nobody_is_sent_here(shop: TestClient) -> None:
    refused = shop.get("/offers", params={"tag": TAG})
    assert (refused.status_code, refused.json()["retryable"]) == (503, True)
    assert shop.get("/ready").status_code == 503
    assert shop.get("/health").status_code == 200


def test_a_subscription_is_asked_for_each_time(shop: TestClient, limio_world: World) -> None:
    known = next(limio_world.ids("subscriptions"))
    assert shop.get(f"/subscriptions/{known}").json()["status"] == "active"
    limio_world.faults.on("getObject").status(404)
    gone = shop.get(f"/subscriptions/{known}")
    assert (gone.status_code, gone.json()["type"]) == (404, "not-found")


def test_what_the_service_itself_refuses_has_the_same_form(shop: TestClient) -> None:
    refused = shop.put("/orders")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.headers["content-type"] == "application/problem+json"


def test_credentials_of_the_shop_are_none_of_its_callers(shop: TestClient, limio_world: World) -> None:
    limio_world.faults.on("getObject").status(403)
    refused = shop.get("/subscriptions/sub-1")
    assert (refused.status_code, refused.json()["type"]) == (502, "service-credentials")


def test_what_an_order_costs_is_told_without_ordering(
    shop: TestClient, order: dict[str, Any], limio_world: World
) -> None:
    told = shop.post("/orders/preview", json=order).json()
    assert told["schedule"][0]["amount"] == "1.99"
    assert limio_world.count("submitOrder") == 0


def test_an_order_is_placed(shop: TestClient, order: dict[str, Any], limio_world: World) -> None:
    placed = shop.post("/orders", json=order)
    assert (placed.status_code, placed.json()["status"]) == (201, "pending")
    assert placed.json()["id"] in limio_world.ids("orders")


def test_an_order_whose_answer_is_lost_is_not_sent_twice(
    shop: TestClient, order: dict[str, Any], limio_world: World
) -> None:
    limio_world.faults.on("submitOrder").lose_answer()
    doubtful = shop.post("/orders", json=order)
    assert (doubtful.status_code, doubtful.json()["type"]) == (502, "unknown-outcome")
    assert "Retry-After" not in doubtful.headers
    assert limio_world.count("submitOrder") == 1


def test_an_order_that_is_none_is_not_sent(
    shop: TestClient, order: dict[str, Any], limio_world: World
) -> None:
    refused = shop.post("/orders", json={**order, "country": 44})
    assert (refused.status_code, "body.country" in refused.json()["detail"]) == (422, True)
    assert limio_world.count("submitOrder") == 0
