from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import msgspec
import pytest

from limio_async.emulator import World
from limio_async.emulator.data import records

from .visitor import Visitor, ids

PATH_TYPES = sorted(set(records.PATH_TYPES))


@pytest.mark.parametrize("path_type", PATH_TYPES)
def test_a_walk_gives_every_object_once_oldest_first_and_each_can_be_got(
    visitor: Visitor, path_type: str
) -> None:
    items = [item for page in visitor.pages(path_type, limit=9) for item in page["items"]]
    assert items
    assert len({item["id"] for item in items}) == len(items)
    assert items == sorted(items, key=lambda item: item["created"])
    for summary in items[::11]:
        whole = visitor.json(visitor.ask_object(path_type, summary["id"]))
        assert whole.keys() == summary.keys()
        assert whole["data"].keys() >= summary["data"].keys()


def test_some_pages_before_the_last_are_empty_and_still_have_a_cursor(visitor: Visitor) -> None:
    pages = list(visitor.pages("subscriptions", limit=5))
    empty = [page for page in pages if not page["items"]]
    assert len(empty) == 3
    assert all("queryMore" in page for page in empty)
    assert len({page.get("queryMore") for page in pages}) == len(pages) == 27
    assert pages[-1]["items"]


@pytest.mark.parametrize(("every", "empty"), [(0, 0), (1, 11), (2, 6)])
def test_how_often_pages_are_empty_can_be_set(world: World, visitor: Visitor, every: int, empty: int) -> None:
    world.empty_page_every = every
    pages = list(visitor.pages("subscriptions", limit=10))
    assert sum(not page["items"] for page in pages) == empty
    assert len(ids(iter(pages))) == 120


def test_the_same_key_is_answered_with_the_same_page_however_often_and_after_a_restart(
    visitor: Visitor,
) -> None:
    cursor = visitor.objects("orders", limit=7)["queryMore"]
    page = visitor.objects("orders", limit=7, queryMore=cursor)
    visitor.world.advance(1_000_000)
    visitor.token()
    assert visitor.objects("orders", limit=7, queryMore=cursor) == page
    restarted = Visitor(World(offers=230, subscriptions=120))
    assert restarted.objects("orders", limit=7, queryMore=cursor) == page


def test_the_cursor_is_the_key_of_the_last_row(visitor: Visitor) -> None:
    page = visitor.objects("subscriptions", limit=3)
    last = page["items"][-1]
    assert msgspec.json.decode(b64decode(page["queryMore"])) == {
        "created": last["created"],
        "sort_key": "object/subscription",
        "hash": f"acme/production/limio/{last['id']}",
        "record_type": "acme/production/limio/subscription",
    }


def test_a_cursor_that_the_list_did_not_give_out_is_a_bad_request(visitor: Visitor) -> None:
    cursor = visitor.objects("orders")["queryMore"]
    key: dict[str, Any] = msgspec.json.decode(b64decode(cursor))
    moved = b64encode(msgspec.json.encode(key | {"created": "2024-01-01T00:00:00.000Z"})).decode()
    longer = b64encode(msgspec.json.encode(key | {"more": 1})).decode()
    for wrong in ("", "{}", "e30=", "é", moved, longer, cursor[:-4]):
        assert visitor.ask_objects("orders", queryMore=wrong).status == 400
    assert visitor.ask_objects("subscriptions", queryMore=cursor).status == 400


@pytest.mark.parametrize(
    "query", [{"email": "user@example.com"}, {"limit": 0}, {"limit": "all"}, {"limit": "²"}]
)
def test_unknown_filters_and_bad_limits_are_bad_requests(visitor: Visitor, query: dict[str, Any]) -> None:
    assert visitor.ask_objects("customers", **query).status == 400


def test_the_default_page_holds_fifty(visitor: Visitor) -> None:
    assert len(visitor.objects("subscriptions")["items"]) == 50


def test_singular_path_types_name_the_same_lists(visitor: Visitor) -> None:
    assert visitor.objects("subscription") == visitor.objects("subscriptions")
    assert visitor.objects("customer") == visitor.objects("customers")


def test_unknown_path_types_services_and_ids_are_not_found(visitor: Visitor) -> None:
    [order] = visitor.objects("orders", limit=1)["items"]
    assert visitor.ask_objects("invoices").status == 404
    assert visitor.ask("/api/objects/nobody/orders", authorization=visitor.bearer).status == 404
    for path_type, wrong in [
        ("orders", "order-1"),
        ("subscriptions", order["id"]),
        ("orders", order["id"] + "0"),
    ]:
        assert visitor.ask_object(path_type, wrong).status == 404


def test_what_a_subscription_points_to_is_there(visitor: Visitor) -> None:
    for summary in visitor.objects("subscriptions")["items"][::7]:
        subscription = visitor.json(visitor.ask_object("subscriptions", summary["id"]))
        customer = visitor.json(visitor.ask_object("customers", subscription["customer"]))
        identity = visitor.json(visitor.ask_object("identities", subscription["owner"]))
        order_id, _, item_id = subscription["ref"].partition("/")
        order = visitor.json(visitor.ask_object("orders", order_id))
        assert customer["owner"] == identity["id"] == order["owner"]
        assert order["data"]["orderItems"][0]["id"] == item_id == subscription["data"]["id"]
        assert order["data"]["customerDetails"]["email"] == customer["data"]["email"]
        offer = subscription["data"]["offer"]
        found = visitor.catalog("offers", path=offer["path"])["items"][0]
        assert found["data"] == offer["data"]


def test_children_point_to_their_subscription(visitor: Visitor) -> None:
    for path_type in ("subscription_offers", "schedules"):
        for child in visitor.objects(path_type)["items"][::7]:
            assert visitor.ask_object("subscriptions", child["related"]).status == 200


def test_summaries_are_cut_down(visitor: Visitor) -> None:
    [summary] = visitor.objects("subscriptions", limit=1)["items"]
    whole = visitor.ask_object("subscriptions", summary["id"])
    assert len(msgspec.json.encode(summary)) < len(whole.body) / 2
    assert summary["data"]["offer"]["data"]["version"] is None


def test_no_e_mail_address_could_belong_to_somebody(visitor: Visitor) -> None:
    [customer] = visitor.objects("customers", limit=1)["items"]
    assert customer["data"]["email"].endswith("@example.com")
