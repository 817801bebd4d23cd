"""What editors do to the catalog shows everywhere at once, but not in walks that began before."""

from __future__ import annotations

import tracemalloc
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from limio_async.emulator import World

from .clerk import Clerk
from .visitor import ids

BULK = "/api/limio/catalogs/1/bulk-update"
TREE = "/limio/catalogs/1/tree"


@pytest.fixture
def clerk(world: World) -> Clerk:
    return Clerk(world)


def item_path(path: str) -> str:
    return f"/limio/catalogs/1/items/{quote(path.removeprefix('/'), safe='')}"


def diff(path: object, **attributes: object) -> dict[str, Any]:
    return {"path": path, "diff": {"attributes": attributes}}


def update(clerk: Clerk, *diffs: dict[str, Any], at: str = BULK) -> Any:
    return clerk.do("bulkUpdateCatalogItems", "PUT", at, {"diffs": list(diffs)})


def queue(clerk: Clerk, **job: Any) -> str:
    number: str = clerk.do("createJob", "POST", "/limio/jobs", job)["id"]
    return number


def state(clerk: Clerk, number: str) -> dict[str, Any]:
    found: dict[str, Any] = clerk.do("getJob", "GET", f"/limio/jobs/{number}")
    return found


def run(clerk: Clerk, **job: Any) -> dict[str, Any]:
    number = queue(clerk, **job)
    assert state(clerk, number)["state"] == "active"
    clerk.world.advance(clerk.world.job_seconds)
    return state(clerk, number)


def create(clerk: Clerk, parent: str, name: str, **data: Any) -> dict[str, Any]:
    item = {"name": name, **data}
    return run(clerk, jobType="creation", updatePath=f"{TREE}/{parent}", itemData=item)


@pytest.mark.parametrize("at", [BULK, BULK.removeprefix("/api")])
def test_a_bulk_update_changes_the_named_attributes_of_the_named_items_only(clerk: Clerk, at: str) -> None:
    before = clerk.catalog("offers", pageSize=1000)["items"]
    answer = update(clerk, diff(before[7]["path"], cta_text__limio="join", new=[1]), at=at)
    assert answer == {"success": "true", "failed": []}
    after = clerk.catalog("offers", pageSize=1000)["items"]
    changed = after[7]
    assert changed["data"]["attributes"] == before[7]["data"]["attributes"] | {
        "cta_text__limio": "join",
        "new": [1],
    }
    assert changed["id"] == before[7]["id"]
    assert changed["version"] != before[7]["version"]
    assert changed["data"]["modified"] > before[7]["data"]["modified"]
    assert changed["data"]["version_date"] > before[7]["data"]["version_date"]
    assert after[:7] + after[8:] == before[:7] + before[8:]


def test_a_bulk_update_is_one_build_of_the_index_and_says_what_it_did_not_find(clerk: Clerk) -> None:
    paths = [item["path"] for item in clerk.catalog("offers", pageSize=3)["items"]]
    before = clerk.catalog("offers")["commitId"]
    answer = update(
        clerk, *(diff(path, n=1) for path in paths), diff("/offers2/nothing"), diff(paths[0], n=2)
    )
    assert [one["path"] for one in answer["failed"]] == ["/offers2/nothing"]
    assert clerk.catalog("offers")["commitId"] != before
    assert [one["data"]["attributes"]["n"] for one in clerk.catalog("offers", pageSize=3)["items"]] == [
        2,
        1,
        1,
    ]


def test_a_bulk_update_of_nothing_that_exists_is_not_found_and_changes_nothing(clerk: Clerk) -> None:
    before = clerk.catalog("offers")
    answer = clerk.send(
        "bulkUpdateCatalogItems", "PUT", BULK, {"diffs": [diff("/offers2/nothing", a=1), diff(None)]}
    )
    assert answer.status == 404
    assert msgspec.json.decode(answer.body) == {"error": {"message": "Not found", "code": "NOTFOUND"}}
    assert update(clerk) == {"success": "true", "failed": []}
    assert clerk.catalog("offers") == before


def test_an_open_scroll_keeps_the_catalog_that_it_was_opened_over(clerk: Clerk) -> None:
    whole = [item["id"] for item in clerk.catalog("offers", pageSize=1000)["items"]]
    first = clerk.catalog("offers", all=True, pageSize=50)
    paths = [item["path"] for item in clerk.catalog("offers", pageSize=1000)["items"]]
    update(clerk, diff(paths[60], mark="changed"))
    clerk.do("deleteCatalogItem", "DELETE", item_path(paths[70]))
    new = clerk.world.add_offers(5)
    walked, page = first["items"], first
    while page["items"]:
        page = clerk.next("offers", page)
        assert page["hits"]["value"] == 230
        walked += page["items"]
    assert [item["id"] for item in walked] == whole
    assert "mark" not in walked[60]["data"]["attributes"]
    assert page["commitId"] != first["commitId"]
    assert ids(clerk.walk("offers", pageSize=50)) == whole[:70] + whole[71:] + new


def test_a_change_is_found_by_every_filter(clerk: Clerk, world: World) -> None:
    [item] = clerk.catalog("offers", pageSize=1)["items"]
    world.advance(5)
    update(clerk, diff(item["path"], colour="teal"))
    for query in ({"attributes.colour": "teal"}, {"modifiedAfter": "2025-01-15T09:00:01Z"}):
        assert [one["id"] for one in clerk.catalog("offers", **query)["items"]] == [item["id"]]
    for query in ({"id": item["id"]}, {"path": item["path"]}):
        [found] = clerk.catalog("offers", **query)["items"]
        assert found["data"]["attributes"]["colour"] == "teal"
    [tag] = item["data"]["tags"][:1]
    assert item["id"] in ids(clerk.walk("offers", tags=tag))


def test_new_offers_come_last_can_be_found_and_have_ids_of_their_own(clerk: Clerk, world: World) -> None:
    before = list(world.ids("offers"))
    assert before == ids(clerk.walk("offers", pageSize=100))
    new = world.add_offers(250)
    assert len(set(before + new)) == 480
    assert list(world.ids("offers")) == before + new == ids(clerk.walk("offers", pageSize=100))
    [found] = clerk.catalog("offers", id=new[-1])["items"]
    assert clerk.catalog("offers", path=found["path"])["items"] == [found]
    assert world.add_offers(0) == []


def test_ids_are_told_for_every_kind_and_for_objects(clerk: Clerk, world: World) -> None:
    assert list(world.ids("products")) == ids(clerk.walk("products"))
    assert (
        list(world.ids("subscriptions"))
        == list(world.ids("subscription"))
        == ids(clerk.pages("subscriptions"))
    )


def test_one_item_is_got_by_its_path_and_gone_when_deleted(clerk: Clerk) -> None:
    for kind in ("offers", "products", "add_ons", "segments", "assets", "pages", "campaigns"):
        item = clerk.catalog(kind, pageSize=3)["items"][-1]
        got = clerk.do("getCatalogItem", "GET", item_path(item["path"]))
        assert got["item"]["data"] == item["data"]
        assert {name: got["item"][name] for name in ("id", "path", "name", "version")} == {
            name: item[name] for name in ("id", "path", "name", "version")
        }
        assert got["item"]["parent_path"] == item["path"].rpartition("/")[0]
        assert got["header"] == {"commitId": clerk.catalog("pages")["commitId"]}
        hits = clerk.catalog(kind)["hits"]["value"]
        clerk.do("deleteCatalogItem", "DELETE", item_path(item["path"]))
        assert clerk.catalog(kind)["hits"]["value"] == hits - 1
        assert (
            clerk.catalog(kind, path=item["path"])["items"]
            == clerk.catalog(kind, id=item["id"])["items"]
            == []
        )
        for operation, method in (("getCatalogItem", "GET"), ("deleteCatalogItem", "DELETE")):
            answer = clerk.send(operation, method, item_path(item["path"]))
            assert answer.status == 404
            assert msgspec.json.decode(answer.body) == {"error": {"message": "Not found", "code": "NOTFOUND"}}


def test_a_creation_adds_a_draft_once_its_job_has_run(clerk: Clerk) -> None:
    number = queue(
        clerk,
        jobType="creation",
        updatePath=f"{TREE}/offers2",
        itemData={"name": "A%", "data": {"tags": ["/tags/x"]}},
    )
    assert clerk.catalog("offers")["hits"]["value"] == 230
    clerk.world.advance(clerk.world.job_seconds)
    assert state(clerk, number) == {"id": number, "state": "completed"}
    [made] = clerk.catalog("offers", tags="/tags/x")["items"]
    assert (made["path"], made["data"]["record_type"]) == ("/offers2/A%", "offer")
    assert made.keys() == {"path", "data", "name", "id", "type", "version"}
    assert made["id"] not in clerk.published("offers2")
    assert clerk.do("getCatalogItem", "GET", item_path("/offers2/A%"))["item"]["id"] == made["id"]
    assert clerk.catalog("offers/v2", tags="/tags/x", offersSource="published")["items"] == []
    assert list(clerk.world.ids("offers"))[-1] == made["id"]


@pytest.mark.parametrize(
    ("parent", "kind", "record_type"),
    [
        ("products", "products", "product"),
        ("add_ons", "add_ons", "add_on"),
        ("pages2", "pages", "page"),
        ("segments/new", "segments", "segment"),
    ],
)
def test_each_folder_has_its_own_kind(clerk: Clerk, parent: str, kind: str, record_type: str) -> None:
    assert create(clerk, parent, "One")["state"] == "completed"
    assert clerk.catalog(kind, path=f"/{parent}/One")["items"][0]["data"]["record_type"] == record_type


@pytest.mark.parametrize(
    "job",
    [
        {"jobType": "demolition"},
        {"jobType": "creation"},
        {"jobType": "creation", "updatePath": "/elsewhere", "itemData": {"name": "a"}},
        {"jobType": "creation", "updatePath": f"{TREE}/nowhere", "itemData": {"name": "a"}},
        {"jobType": "creation", "updatePath": f"{TREE}/offers2", "itemData": {}},
        {"jobType": "creation", "updatePath": f"{TREE}/offers2", "itemData": {"name": "a", "data": []}},
        {
            "jobType": "creation",
            "updatePath": f"{TREE}/offers2",
            "itemData": {"name": "a", "data": {"price": 1}},
        },
        {
            "jobType": "creation",
            "updatePath": f"{TREE}/offers2",
            "itemData": {"name": "Digital Monthly 000000"},
        },
        {"jobType": "indexer", "indexerType": "clay tablets"},
    ],
)
def test_a_job_that_cannot_be_done_fails_with_a_reason(clerk: Clerk, job: dict[str, Any]) -> None:
    before = clerk.catalog("offers")
    done = run(clerk, **job)
    assert done["state"] == "failed"
    assert done["failedReason"]
    assert clerk.catalog("offers") == before


def test_an_indexer_job_builds_the_index_anew_and_unknown_jobs_are_not_found(clerk: Clerk) -> None:
    before = clerk.catalog("offers")["commitId"]
    assert run(clerk, jobType="indexer", indexerType="published_items")["state"] == "completed"
    assert clerk.catalog("offers")["commitId"] != before
    assert clerk.send("getJob", "GET", "/limio/jobs/1").status == 404


def test_changes_survive_a_snapshot(clerk: Clerk, world: World) -> None:
    path = clerk.catalog("offers", pageSize=9)["items"][8]["path"]
    update(clerk, diff(path, colour="teal"))
    clerk.do(
        "deleteCatalogItem", "DELETE", item_path(clerk.catalog("offers", pageSize=1)["items"][0]["path"])
    )
    world.add_offers(3)
    assert create(clerk, "offers2", "Mine")["state"] == "completed"
    waiting = queue(clerk, jobType="indexer", indexerType="published_items")
    saved = msgspec.json.decode(msgspec.json.encode(world.snapshot()))
    later = World(offers=230, subscriptions=120)
    later.restore(saved)
    restored = Clerk(later)
    assert (
        next(restored.walk("offers", pageSize=70))["items"] == clerk.catalog("offers", pageSize=70)["items"]
    )
    assert list(later.ids("offers")) == list(world.ids("offers"))
    assert restored.catalog("offers")["commitId"] == clerk.catalog("offers")["commitId"]
    later.advance(later.job_seconds)
    assert state(restored, waiting)["state"] == "completed"


def test_memory_grows_with_changes_not_with_the_catalog() -> None:
    clerk = Clerk(World(offers=2_000_000))
    paths = [item["path"] for item in clerk.catalog("offers", pageSize=20)["items"]]
    tracemalloc.start()
    for path in paths:
        clerk.do("deleteCatalogItem", "DELETE", item_path(path))
        assert clerk.catalog("offers", pageSize=3, all=True)["items"]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 2_000_000
    assert clerk.catalog("offers", pageSize=1)["hits"]["value"] == 1_999_980


@pytest.mark.parametrize(
    "record_type", ["add_on", "offers", "offers2", "discount", "product", "page", "campaign", "segment"]
)
def test_catalog_items_are_found_by_id_for_every_record_type(clerk: Clerk, record_type: str) -> None:
    def items(operation: str, path: str, **query: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = clerk.do(
            operation, "GET", path, query={"record_type": record_type, **query}
        )["items"]
        return found

    kinds = {"offers2": "offers", "product": "products", "page": "pages", "segment": "segments"}
    kind = kinds.get(record_type, record_type if record_type == "offers" else f"{record_type}s")
    drafts = set(list(clerk.world.ids(kind))[8::9])
    for wanted in items("listCatalogItems", "/api/catalog_items")[::9]:
        assert items("listCatalogItems", "/api/catalog_items", id=wanted["id"]) == [wanted]
        published = items("listPublishedCatalogItems", "/api/published_catalog_items", id=wanted["id"])
        assert published == ([] if wanted["id"] in drafts else [wanted])


def test_only_a_token_may_change_the_catalog(clerk: Clerk) -> None:
    for who in ("key", "session", "nobody"):
        assert clerk.send("bulkUpdateCatalogItems", "PUT", BULK, {"diffs": []}, who=who).status == 401
        assert clerk.send("createJob", "POST", "/limio/jobs", {"jobType": "indexer"}, who=who).status == 401
        assert clerk.send("getCatalogItem", "GET", item_path("/offers2/a"), who=who).status == 401
