"""Every documented answer can be had from a world: it is loaded, asked for, and comes back field for field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from limio_async.api.endpoints import ENDPOINTS
from limio_async.core.wire import Request
from limio_async.emulator import World

from .clerk import Clerk
from .visitor import ids

SAMPLES = Path(__file__).parents[1] / "samples"
ANSWERS = {
    path.stem: msgspec.json.decode(path.read_bytes())
    for path in SAMPLES.glob("*.json")
    if "_request" not in path.stem
}

OPERATIONS = {
    "addObjectRelationship": "addRelatedObject",
    "createPromoCode": "createObject",
    "getObjectChildren": "listChildObjects",
    "getObjectChildrenBySubtype": "listChildObjectsBySubtype",
    "getObjectEvents": "listObjectEvents",
    "getObjectRelated": "listRelatedObjects",
    "getObjectRelatedByRecordType": "listRelatedObjectsByRecordType",
    "initiateCheckout_storefront": "initiateCheckout",
    "listCampaigns_minimal": "listCampaigns",
    "oauthToken": "createToken",
}
"""Samples that are not called like their operation."""
REFUSALS = {"error401"}
PATH = {
    "service": "limio",
    "path_type": "subscriptions",
    "id": "sub-1",
    "record_type": "order",
    "subtype": "order",
}


@pytest.fixture
def clerk() -> Clerk:
    return Clerk(
        World(offers=0, subscriptions=0, campaigns=0, products=0, segments=0, assets=0, hits_form="number")
    )


def path_of(operation: str, sample: Any) -> dict[str, str]:
    """Path parameters that find the sample."""
    names = [part[1:-1] for part in ENDPOINTS[operation].path.split("/") if part.startswith("{")]
    known = {**PATH, "name": "Digital Journey", "partner_organisation_id": "org-1", "owner": "id-1"}
    if operation in {"getObject", "updateObject"}:
        known["id"] = sample["id"]
    if operation == "listObjects":
        known["path_type"] = "orders"
    return {name: known[name] for name in names}


def asked(clerk: Clerk, operation: str, path: dict[str, str]) -> Any:
    endpoint = ENDPOINTS[operation]
    who = "key" if endpoint.auth == ("key",) else "session" if endpoint.auth == ("session",) else "bearer"
    query: dict[str, object] = {}
    if operation == "listAbandonedBaskets":
        query = {"limit": 50, "createdAfter": "2020-01-01"}
    elif "opt.all" in (endpoint.paging.always if endpoint.paging else {}):
        query = {"opt.all": "true"}
    target = endpoint.path.format(**path)
    body: object = {} if endpoint.method in {"POST", "PUT"} else None
    return clerk.do(operation, endpoint.method, target, body, who=who, query=query)


@pytest.mark.parametrize("sample", sorted(ANSWERS.keys() - REFUSALS))
def test_a_documented_answer_comes_back_field_for_field(clerk: Clerk, sample: str) -> None:
    operation = OPERATIONS.get(sample, sample)
    path = path_of(operation, ANSWERS[sample])
    clerk.world.load(operation, ANSWERS[sample], **path)
    assert asked(clerk, operation, path) == ANSWERS[sample]
    assert asked(clerk, operation, path) == ANSWERS[sample]


def test_the_documented_refusal_is_what_a_world_says() -> None:
    answer = World().answer(Request(operation="test", method="GET", target="/api/offers", headers={}))
    assert (answer.status, msgspec.json.decode(answer.body)) == (401, ANSWERS["error401"])


def test_loaded_items_are_in_the_catalog_for_every_filter_and_change(clerk: Clerk) -> None:
    clerk.world.load("listOffers", ANSWERS["listOffers"])
    first, second = ANSWERS["listOffers"]["items"]
    assert clerk.catalog("offers", path=second["path"])["items"] == [second]
    assert clerk.catalog("offers", id=first["id"].partition(".")[0])["items"] == [first]
    assert clerk.catalog("offers", modifiedAfter="2024-03-01")["items"] == [
        first,
        second,
    ]  # one tells no time
    assert clerk.catalog("offers", modifiedAfter="2025-01-01")["items"] == [first]
    clerk.world.modified_filter = "only-modified"
    assert clerk.catalog("offers", modifiedAfter="2024-03-01")["items"] == [second]
    page = clerk.catalog("offers", all=True)
    assert page == ANSWERS["listOffers"]
    assert clerk.next("offers", page)["items"] == []
    diffs = [{"path": second["path"], "diff": {"attributes": {"new": 1}}}]
    clerk.do("bulkUpdateCatalogItems", "PUT", "/api/limio/catalogs/1/bulk-update", {"diffs": diffs})
    changed = clerk.catalog("offers", all=True, pageSize=1)
    assert changed["hits"] == 2
    assert clerk.next("offers", changed)["items"][0]["data"]["attributes"]["new"] == 1
    assert changed["commitId"] != page["commitId"]


def test_items_alone_are_added_to_what_is_there(world: World) -> None:
    clerk = Clerk(world)
    [one] = clerk.catalog("offers", pageSize=1)["items"]
    changed = {**one, "data": {"attributes": {}}}
    items = [changed, *({"id": f"{n:040x}", "path": f"/offers2/own {n}"} for n in range(100))]
    world.load("listOffers", {"items": items})
    walked = list(clerk.walk("offers", pageSize=60))
    assert len(ids(iter(walked))) == 330
    assert walked[0]["items"][0] == changed


def test_a_loaded_object_can_be_changed(clerk: Clerk) -> None:
    clerk.world.load("getObject", ANSWERS["getObject"])
    target = f"/api/objects/limio/subscriptions/{ANSWERS['getObject']['id']}"
    clerk.do("updateObject", "PUT", target, {"data": {"quantity": 5}})
    changed = clerk.do("getObject", "GET", target)
    assert changed["data"] == ANSWERS["getObject"]["data"] | {"quantity": 5}
    assert ids(clerk.pages("subscriptions")) == [changed["id"]]


def test_a_list_is_answered_as_it_came_only_until_the_world_changes(clerk: Clerk) -> None:
    clerk.world.load("listObjects", ANSWERS["listObjects"], service="limio", path_type="orders")
    assert clerk.objects("orders") == ANSWERS["listObjects"]
    assert clerk.objects("orders", queryMore=ANSWERS["listObjects"]["queryMore"]) == {"items": []}
    clerk.do("createJourneyV2", "POST", "/api/v2/journey", {"name": "a"})
    assert "queryMore" not in clerk.objects("orders")
    assert len(clerk.objects("orders")["items"]) == 1


def test_what_was_loaded_survives_a_snapshot_and_needs_an_operation_that_exists(clerk: Clerk) -> None:
    clerk.world.load("submitOrder", ANSWERS["submitOrder"])
    later = World(offers=0, subscriptions=0, campaigns=0, products=0, segments=0, assets=0)
    later.restore(msgspec.json.decode(msgspec.json.encode(clerk.world.snapshot())))
    assert asked(Clerk(later), "submitOrder", {}) == ANSWERS["submitOrder"]
    with pytest.raises(ValueError, match="no operation is called submitOrders"):
        later.load("submitOrders", {})
