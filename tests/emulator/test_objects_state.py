from __future__ import annotations

from typing import Any

import msgspec
import pytest

from limio_async.emulator import World
from limio_async.emulator.data import records

from .judge import judge
from .shopper import Shopper, new
from .visitor import Visitor, ids


@pytest.fixture
def shopper(world: World) -> Shopper:
    return Shopper(world)


def made(world: World, name: str, **fields: Any) -> dict[str, Any]:
    return world.store.create("promo_code_v2", id=f"promo_code_v2-{name}", name=name, data={}, **fields)


def test_an_update_keeps_what_is_absent_and_replaces_what_is_there_whole(
    shopper: Shopper, visitor: Visitor
) -> None:
    [summary] = visitor.objects("subscriptions", limit=1)["items"]
    path = f"/objects/limio/subscriptions/{summary['id']}"
    before = shopper.get("subscriptions", summary["id"])
    answer = shopper.do("updateObject", "PUT", path, {"data": {"quantity": 9, "attributes": {"gift": True}}})
    assert answer["id"] == summary["id"]
    assert answer["sort_key"] == "object/subscription"
    assert answer["data"]["quantity"] == 9
    after = shopper.get("subscriptions", summary["id"])
    assert after["data"] == before["data"] | {"quantity": 9, "attributes": {"gift": True}}
    assert after["updated"] > before["updated"]
    assert after["created"] == before["created"]
    assert visitor.objects("subscriptions", limit=1)["items"][0]["data"]["quantity"] == 9


def test_a_new_name_is_found_and_the_old_one_is_not(shopper: Shopper, world: World) -> None:
    subscription = shopper.subscribe()
    path = f"/objects/limio/subscriptions/{subscription['id']}"
    shopper.do("updateObject", "PUT", path, {"name": "RENAMED", "data": {}})
    found = world.store.named("subscription", "RENAMED")
    assert found
    assert found["id"] == subscription["id"]


@pytest.mark.parametrize(
    ("body", "status"), [({}, 400), ({"data": 1}, 400), ({"name": 1, "data": {}}, 400), ([], 400)]
)
def test_an_update_without_data_is_a_bad_request(shopper: Shopper, body: object, status: int) -> None:
    subscription = shopper.subscribe()
    path = f"/objects/limio/subscriptions/{subscription['id']}"
    assert shopper.send("updateObject", "PUT", path, body).status == status
    assert shopper.send("updateObject", "PUT", "/objects/limio/orders/order-1", {"data": {}}).status == 404


@pytest.mark.parametrize("path_type", sorted(records.PATH_TYPES))
def test_relations_children_and_events_of_generated_objects_are_as_documented(
    shopper: Shopper, visitor: Visitor, path_type: str
) -> None:
    for summary in visitor.objects(path_type, limit=2)["items"]:
        path = f"/objects/limio/{path_type}/{summary['id']}"
        for operation, end in {
            "listRelatedObjects": "related",
            "listChildObjects": "objects",
            "listObjectEvents": "events",
        }.items():
            assert isinstance(shopper.do(operation, "GET", f"{path}/{end}")["items"], list)


def test_a_generated_subscription_knows_its_order_customer_owner_and_children(
    shopper: Shopper, visitor: Visitor
) -> None:
    for summary in visitor.objects("subscriptions")["items"][::17]:
        path = f"/objects/limio/subscriptions/{summary['id']}/related"
        related = shopper.do("listRelatedObjects", "GET", path)["items"]
        kinds = {one["record_type"] for one in related}
        assert kinds >= {"order", "customer", "identity", "address", "payment_method", "event"}
        for one in related:
            ends = one["data"]["data"]
            assert {ends["from"]["id"], ends["to"]["id"]} == {one["id"], summary["id"]}
            assert one["relationship_id"].startswith("rel-")
        [owner] = shopper.related(summary["id"], "identity")
        assert owner["id"] == summary["owner"]
        assert len(shopper.children(summary["id"], "schedule")) == 2
        assert len(shopper.children(summary["id"], "subscription_offers")) == 1
        assert shopper.events(summary["id"]) == ["order.new"]


def test_events_come_with_the_rows_that_relate_them(shopper: Shopper, visitor: Visitor) -> None:
    [order] = visitor.objects("orders", limit=1)["items"]
    answer = shopper.do("listObjectEvents", "GET", f"/objects/limio/orders/{order['id']}/events")
    [event], [row] = answer["items"], answer["unpackedItems"]
    assert event["related"] == order["id"]
    assert row["id"] == f"limio/{event['relationship_id']}"
    assert row["sort_key"] == f"rel/object/order/limio/{order['id']}/event/limio/{event['id']}"
    assert row["header"]["to"]["id"] == f"limio/{order['id']}"


def test_unknown_objects_and_wrong_types_have_empty_relations(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    for path in ("subscriptions/sub-1", f"events/{subscription['id']}", "invoices/1"):
        answer = shopper.do("listObjectEvents", "GET", f"/objects/limio/{path}/events")
        assert answer == {"items": [], "unpackedItems": []}
        assert shopper.do("listRelatedObjects", "GET", f"/objects/limio/{path}/related") == {"items": []}


def test_an_identity_can_be_related_and_nothing_else(shopper: Shopper) -> None:
    subscription = shopper.subscribe()
    path = f"/objects/limio/subscriptions/{subscription['id']}/related"
    body = {"id": "identity-1", "service": "salesforce"}
    assert shopper.do("addRelatedObject", "POST", f"{path}/identity", body) is None
    assert "identity-1" in {one["id"] for one in shopper.related(subscription["id"], "identity")}
    [known] = [one for one in shopper.related(subscription["id"], "identity") if one["id"] == "identity-1"]
    assert known["service"] == "salesforce"
    for wrong_path, wrong in [("order", body), ("identity", {}), ("identity", {"id": "1", "service": "x"})]:
        assert shopper.send("addRelatedObject", "POST", f"{path}/{wrong_path}", wrong).status == 502
    missing = "/objects/limio/subscriptions/sub-1/related/identity"
    assert shopper.send("addRelatedObject", "POST", missing, body).status == 502


def test_a_walk_stays_whole_while_objects_are_added_and_removed(shopper: Shopper, world: World) -> None:
    before = ids(shopper.pages("promo_codes_v2"))
    page = shopper.objects("promo_codes_v2", limit=5)
    seen = [item["id"] for item in page["items"]]
    made(world, "NEW1")
    world.store.remove(seen[-1])  # the row that the cursor names
    world.store.remove(before[7])
    while "queryMore" in page:
        page = shopper.objects("promo_codes_v2", limit=5, queryMore=page["queryMore"])
        seen += [item["id"] for item in page["items"]]
        if len(seen) == 10:
            made(world, "NEW2")
    assert seen == [*before[:7], *before[8:], "promo_code_v2-NEW1", "promo_code_v2-NEW2"]
    assert ids(shopper.pages("promo_codes_v2", limit=3)) == [*before[:4], *seen[5:]]


def test_a_cursor_of_an_added_row_outlives_the_row(shopper: Shopper, world: World) -> None:
    for number in range(6):
        made(world, f"NEW{number}")
    page = shopper.objects("promo_codes_v2", limit=14)
    assert page["items"][-1]["name"] == "NEW1"
    world.store.remove("promo_code_v2-NEW1")
    rest = shopper.objects("promo_codes_v2", limit=14, queryMore=page["queryMore"])["items"]
    assert [item["name"] for item in rest] == ["NEW2", "NEW3", "NEW4", "NEW5"]
    made(world, "NEW1")
    rest = shopper.objects("promo_codes_v2", limit=14, queryMore=page["queryMore"])["items"]
    assert [item["name"] for item in rest] == ["NEW2", "NEW3", "NEW4", "NEW5", "NEW1"]


def test_objects_of_any_age_stand_where_they_were_created(shopper: Shopper, world: World) -> None:
    known = shopper.objects("promo_codes_v2")["items"]
    between = f"{known[3]['created'][:-5]}.999Z"
    made(world, "OLD", created=between)
    assert [item["name"] for item in shopper.objects("promo_codes_v2")["items"]][4] == "OLD"
    assert ids(shopper.pages("promo_codes_v2", limit=1)) == [
        *[item["id"] for item in known[:4]],
        "promo_code_v2-OLD",
        *[item["id"] for item in known[4:]],
    ]


def test_a_removed_object_is_nowhere(shopper: Shopper, world: World) -> None:
    [first, *_] = ids(shopper.pages("promo_codes_v2"))
    assert world.store.remove(first)
    assert not world.store.remove(first)
    assert shopper.ask_object("promo_codes_v2", first).status == 404
    assert first not in ids(shopper.pages("promo_codes_v2"))
    assert world.store.count("promo_code_v2") == 11


def test_every_added_object_is_listed_once_and_found_under_its_names(shopper: Shopper, world: World) -> None:
    for _ in range(5):
        shopper.subscribe()
    for path_type, record_type in records.PATH_TYPES.items():
        items = [item for page in shopper.pages(path_type, limit=40) for item in page["items"]]
        assert len({item["id"] for item in items}) == len(items) == world.store.count(record_type)
        assert items == sorted(items, key=lambda item: item["created"])
        for item in items[-3:]:
            whole = judge("getObject", shopper.ask_object(path_type, item["id"]))
            assert whole["created"] == item["created"]
            if path_type != "promo_codes_v2" and path_type not in {"events", "process"}:
                found = world.store.named(record_type, item["reference"])
                assert found
                assert found["id"] == item["id"]


def test_a_snapshot_is_json_and_another_world_goes_on_from_it(shopper: Shopper, world: World) -> None:
    subscription = shopper.subscribe()
    waiting = shopper.do("submitOrder", "POST", "/order", new(shopper.offers[1]))
    [first, *_] = ids(shopper.pages("promo_codes_v2"))
    world.store.remove(first)
    made(world, "ADDED")
    world.advance(5)
    kept = msgspec.json.decode(msgspec.json.encode(world.snapshot()))

    other = World(offers=230, subscriptions=120)
    other.restore(kept)
    assert other.snapshot() == world.snapshot()
    later = Shopper(other)
    assert later.get("subscriptions", subscription["id"]) == subscription
    assert ids(later.pages("promo_codes_v2")) == ids(shopper.pages("promo_codes_v2"))
    for each, one in ((world, shopper), (other, later)):
        each.advance(60)
        assert one.get("orders", waiting["id"])["status"] == "complete"
    assert later.subscribe() == shopper.subscribe()
    assert other.snapshot() == world.snapshot()


def test_a_snapshot_of_a_world_of_other_sizes_is_refused() -> None:
    kept = World(subscriptions=120).snapshot()
    with pytest.raises(ValueError, match="the snapshot is of a world"):
        World(subscriptions=121).restore(kept)


def test_what_was_there_before_a_snapshot_is_restored_is_gone(shopper: Shopper, world: World) -> None:
    empty = world.snapshot()
    subscription = shopper.subscribe()
    world.restore(empty)
    assert shopper.ask_object("subscriptions", subscription["id"]).status == 404
    assert world.snapshot() == empty
