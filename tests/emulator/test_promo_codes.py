"""Promo codes are created and deleted by name, and orders use them up."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from limio_async.core.wire import Response
from limio_async.emulator import World

from .clerk import Clerk
from .shopper import new
from .visitor import ids

CODES = "/api/objects/limio/promo_codes_v2"


@pytest.fixture
def clerk(world: World) -> Clerk:
    return Clerk(world)


def data(code: str = "SPRING", **more: Any) -> dict[str, Any]:
    return {
        "applicationLevel": "wholeBasket",
        "promoCode": code,
        "status": True,
        "productDetails": {"product": {"path": "/products/Discount"}, "ratePlan": {"path": "10% off"}},
        "discount": {"discountType": "DiscountPercentage", "percentageDiscount": 10},
        **more,
    }


def code(name: str = "SPRING", **more: Any) -> dict[str, Any]:
    return {"name": name, "id": f"promo_code_v2-{name}", "data": data(name), **more}


def create(clerk: Clerk, body: object, at: str = CODES) -> Response:
    return clerk.send("createObject", "POST", at, body)


def delete(clerk: Clerk, id: str, at: str = CODES) -> Response:
    return clerk.send("deleteObject", "DELETE", f"{at}/{quote(id, safe='')}")


def get(clerk: Clerk, id: str) -> dict[str, Any]:
    found: dict[str, Any] = clerk.do("getObject", "GET", f"{CODES}/{quote(id, safe='')}")
    return found


@pytest.mark.parametrize("name", ["SPRING", "50% off/é"])
def test_a_code_that_was_created_is_listed_and_got(clerk: Clerk, name: str) -> None:
    body = code(name)
    made = msgspec.json.decode(create(clerk, body).body)
    assert made == {**body, "status": "active", "record_type": "promo_code_v2", "service": "limio"}
    assert made.items() <= get(clerk, body["id"]).items()
    listed = ids(clerk.pages("promo_codes_v2", limit=5))
    assert (listed[-1], len(listed)) == (body["id"], 13)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {name: value for name, value in code().items() if name != "name"},
        {name: value for name, value in code().items() if name != "data"},
        code(id="SPRING"),
        code(id="promo_code_v2-SUMMER"),
        code(data="10%"),
        code(data={}),
        code(data=data(applicationLevel="everything")),
        code(data=data(applicationLevel="selectedItems")),
        code(data=data(status="on")),
        code(data=data(discount=10)),
    ],
)
def test_a_code_without_what_it_needs_is_refused_and_not_kept(clerk: Clerk, body: object) -> None:
    assert create(clerk, body).status == 400
    assert len(ids(clerk.pages("promo_codes_v2"))) == 12


def test_a_name_is_free_again_once_its_code_was_deleted(clerk: Clerk) -> None:
    assert create(clerk, code()).status == 200
    assert create(clerk, code()).status == 400
    gone = msgspec.json.decode(delete(clerk, "promo_code_v2-SPRING").body)
    assert gone["requestId"]
    assert gone | {"requestId": ""} == {
        "httpStatusCode": 200,
        "requestId": "",
        "attempts": 1,
        "totalRetryDelay": 0,
    }
    assert delete(clerk, "promo_code_v2-SPRING").status == 404
    assert clerk.ask_object("promo_codes_v2", "promo_code_v2-SPRING").status == 404
    assert create(clerk, code(status=False)).status == 200
    assert get(clerk, "promo_code_v2-SPRING")["status"] == "inactive"


def test_codes_that_were_there_from_the_start_can_be_deleted(clerk: Clerk) -> None:
    first, *others = ids(clerk.pages("promo_codes_v2"))
    assert create(clerk, code("SAVE0000")).status == 400
    assert delete(clerk, first).status == 200
    assert ids(clerk.pages("promo_codes_v2")) == others


def test_other_objects_are_neither_created_nor_deleted(clerk: Clerk) -> None:
    [order] = clerk.objects("orders", limit=1)["items"]
    assert create(clerk, code(), at="/api/objects/limio/orders").status == 400
    assert delete(clerk, order["id"], at="/api/objects/limio/orders").status == 400
    assert create(clerk, code(), at="/api/objects/zuora/promo_codes_v2").status == 400
    assert create(clerk, code(), at="/api/objects/limio/teapots").status == 404
    assert delete(clerk, order["id"]).status == 404
    assert clerk.ask_object("orders", order["id"]).status == 200


def test_each_order_with_a_code_leaves_one_less_of_it(clerk: Clerk) -> None:
    create(clerk, code(data=data(usage={"availableQuantity": 2})))
    create(clerk, code("FOREVER", data=data("FOREVER", usage={"availableQuantity": None})))
    published = clerk.published("offers", "offers2")
    offer = next(item for item in clerk.catalog("offers")["items"] if item["id"] in published)
    for name in ("SPRING", "FOREVER", "UNKNOWN", "SPRING"):
        clerk.do("submitOrder", "POST", "/api/order", {**new(offer), "orderDiscount": {"name": name}})
    clerk.do("submitOrder", "POST", "/api/order", new(offer))
    assert get(clerk, "promo_code_v2-SPRING")["data"]["usage"] == {"availableQuantity": 0}
    assert get(clerk, "promo_code_v2-FOREVER")["data"]["usage"] == {"availableQuantity": None}


def test_only_a_token_may_create_and_delete(clerk: Clerk) -> None:
    for who in ("key", "session", "nobody"):
        assert clerk.send("createObject", "POST", CODES, code(), who=who).status == 401
        assert clerk.send("deleteObject", "DELETE", f"{CODES}/promo_code_v2-SAVE0000", who=who).status == 401
