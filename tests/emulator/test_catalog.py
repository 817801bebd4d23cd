from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest

from limio_async.emulator import World
from limio_async.envelope import changed_at, moment, tags_of

from .visitor import Visitor, ids, message

Envelope = Literal["live", "documented"]


def test_a_walk_gives_every_offer_once_and_ends_with_an_empty_page_that_has_a_cursor(
    visitor: Visitor,
) -> None:
    pages = list(visitor.walk("offers", pageSize=50))
    assert [len(page["items"]) for page in pages] == [50, 50, 50, 50, 30, 0]
    assert len(set(ids(iter(pages)))) == 230
    assert pages[-1]["queryMore"]["from"]
    assert {page["hits"]["value"] for page in pages} == {230}


def test_without_opt_all_there_is_a_first_page_no_cursor_and_the_whole_number_of_hits(
    visitor: Visitor,
) -> None:
    page = visitor.catalog("offers")
    assert len(page["items"]) == 50
    assert "queryMore" not in page
    assert page["hits"] == {"value": 230, "relation": "eq"}


def test_a_scroll_advances_when_it_is_read_so_a_page_that_was_lost_is_gone(visitor: Visitor) -> None:
    first = visitor.catalog("offers", all=True, pageSize=100)
    lost = visitor.next("offers", first)
    after = visitor.next("offers", first)
    assert len(lost["items"]) == 100
    assert len(after["items"]) == 30


def test_scrolls_do_not_disturb_each_other(visitor: Visitor) -> None:
    one, other = (visitor.catalog("offers", all=True, pageSize=100) for _ in range(2))
    assert one["queryMore"] != other["queryMore"]
    visitor.next("offers", one)
    assert len(visitor.next("offers", other)["items"]) == 100


@pytest.mark.parametrize(("setting", "values"), [("same", 1), ("changing", 4)])
def test_cursor_values_stay_or_change_as_set(
    world: World, visitor: Visitor, setting: str, values: int
) -> None:
    world.scroll_ids = "same" if setting == "same" else "changing"
    pages = list(visitor.walk("offers", pageSize=100))
    assert len(ids(iter(pages))) == 230
    assert len({page["queryMore"]["from"] for page in pages}) == values


def test_a_scroll_that_nobody_reads_for_its_keep_alive_is_forgotten(world: World, visitor: Visitor) -> None:
    page = visitor.catalog("offers", all=True, pageSize=50)
    world.advance(299)
    page = visitor.next("offers", page)
    world.advance(299)
    visitor.next("offers", page)
    world.advance(300)
    answer = visitor.ask_next("offers", page)
    assert (answer.status, message(answer)) == (404, "No search context found for id")


@pytest.mark.parametrize("cursor", ["", "nonsense", "DnF1ZXJ5VGhlbkZldGNoBQAA", "é", "A" * 228, "_" * 228])
def test_a_malformed_scroll_id_is_a_bad_request(world: World, visitor: Visitor, cursor: str) -> None:
    query = {"opt.queryMoreFrom": cursor, "opt.queryMoreAlias": "catalog_acme"}
    assert visitor.ask("/api/offers", query, authorization=world.api_key).status == 400


@pytest.mark.parametrize(
    "query", [{"opt.pageSize": "0"}, {"opt.pageSize": "many"}, {"opt.modifiedAfter": "soon"}]
)
def test_bad_options_are_bad_requests(world: World, visitor: Visitor, query: dict[str, str]) -> None:
    assert visitor.ask("/api/offers", query, authorization=world.api_key).status == 400


def test_hits_are_a_bare_number_where_set(visitor: Visitor, world: World) -> None:
    world.hits_form = "number"
    assert visitor.catalog("offers")["hits"] == 230


def test_commit_id_sits_at_the_top_but_for_campaigns_and_changes_with_the_index(
    world: World, visitor: Visitor
) -> None:
    before = visitor.catalog("pages")["commitId"]
    campaigns = visitor.catalog("campaigns")
    assert campaigns["header"] == {"commitId": before}
    assert "commitId" not in campaigns
    offers = visitor.catalog("offers")["commitId"]
    world.rebuild_index()
    assert visitor.catalog("pages")["commitId"] != before
    assert visitor.catalog("offers")["commitId"] != offers


def test_indexes_are_named_as_those_of_the_tenant_that_was_recorded(visitor: Visitor) -> None:
    pages, offers = visitor.catalog("pages", all=True), visitor.catalog("offers", all=True)
    alias = pages["queryMore"]["alias"]
    assert re.fullmatch("[0-9a-f]{40}", pages["commitId"])
    assert re.fullmatch("[0-9]{13}", pages["buildId"])
    assert pages["indexName"] == f"{alias}_{pages['commitId']}_{pages['buildId']}"
    assert alias.startswith("catalog_")
    assert re.fullmatch("[0-9]{13}", offers["commitId"])
    assert offers["indexName"] == f"{offers['queryMore']['alias']}_{offers['commitId']}"
    assert offers["indexName"].startswith("published_items_")
    assert "buildId" not in offers
    assert visitor.catalog("offers/v2", offersSource="catalog")["commitId"] == pages["commitId"]


BARE = {"path", "data", "name", "id", "type", "version"}


def test_offers_and_pages_have_a_bare_envelope_with_times_and_tags_in_their_data(visitor: Visitor) -> None:
    offers = visitor.catalog("offers/v2", pageSize=1000)["items"]
    assert {frozenset(item) for item in offers} == {frozenset(BARE)}
    assert all("version_date" in item["data"] and "created" in item["data"] for item in offers)
    assert sum("modified" not in item["data"] for item in offers) == pytest.approx(
        len(offers) * 17 / 24, 0.05
    )
    legacy = [item for item in visitor.catalog("offers", pageSize=1000)["items"] if "." in item["id"]]
    assert {frozenset(item) for item in legacy} == {frozenset(BARE | {"parent_path"})}
    for item in visitor.catalog("pages", pageSize=1000)["items"]:
        assert item.keys() == BARE
        assert "modified" in item["data"]
        assert "version_date" not in item["data"]


@pytest.mark.parametrize("kind", ["segments", "assets", "campaigns"])
def test_kinds_of_which_only_documented_samples_are_known_tell_no_time(visitor: Visitor, kind: str) -> None:
    items = visitor.catalog(kind, pageSize=1000)["items"]
    assert {changed_at(item) for item in items} == {None}
    assert visitor.catalog(kind, pageSize=1000, modifiedAfter="2099-01-01")["items"] == items


def test_the_documented_envelope_has_times_and_more_outside() -> None:
    visitor = Visitor(World(offers=50, envelope="documented"))
    for kind in ("offers", "pages", "segments"):
        for item in visitor.catalog(kind)["items"]:
            assert item.keys() > BARE | {"created", "modified", "version_date", "status", "parent_path"}
    assert visitor.catalog("offers")["commitId"] == visitor.catalog("pages")["commitId"]


def test_an_answer_over_the_limit_is_a_502_and_a_smaller_page_works(world: World, visitor: Visitor) -> None:
    world.page_bytes_limit = 100_000
    query = {"opt.pageSize": 100}
    assert visitor.ask("/api/offers", query, authorization=world.api_key).status == 502
    assert len(visitor.catalog("offers", pageSize=20)["items"]) == 20


def test_path_and_id_find_one_item(visitor: Visitor) -> None:
    for wanted in visitor.catalog("offers", pageSize=200)["items"][::13]:
        assert visitor.catalog("offers", path=wanted["path"])["items"] == [wanted]
        assert visitor.catalog("offers", id=wanted["id"])["items"] == [wanted]


@pytest.mark.parametrize(
    "value", ["", "0", "zzzz", "deadbeefdeadbeef", "/offers2/Digital Monthly 999999", "²"]
)
def test_what_is_not_there_is_not_found(visitor: Visitor, value: str) -> None:
    assert visitor.catalog("offers", id=value)["items"] == []
    assert visitor.catalog("offers", path=value)["hits"]["value"] == 0


@pytest.mark.parametrize("envelope", ["live", "documented"])
def test_tags_attributes_and_modified_after_narrow_a_list(envelope: Envelope) -> None:
    visitor = Visitor(World(offers=230, envelope=envelope))
    everything = visitor.catalog("offers", pageSize=1000)["items"]
    tagged = [item for item in everything if "/tags/uk/default" in tags_of(item)]
    assert 0 < len(tagged) < 230
    assert visitor.catalog("offers", tags="/tags/uk/default", pageSize=1000)["items"] == tagged
    found = visitor.catalog("offers", **{"attributes.allowed_countries__limio": "GB"})
    assert found["hits"]["value"] == sum(
        item["data"]["attributes"]["allowed_countries__limio"] == ["GB"] for item in everything
    )
    since = visitor.catalog("offers", modifiedAfter="2024-06-01T12:00:00+02:00", pageSize=1000)["items"]
    noon = moment("2024-06-01T10:00:00Z")
    assert noon
    assert since == [item for item in everything if (when := changed_at(item)) and when > noon]
    assert 0 < len(since) < 230


@pytest.mark.parametrize("envelope", ["live", "documented"])
@pytest.mark.parametrize(
    "kind", ["offers", "products", "add_ons", "segments", "assets", "pages", "campaigns"]
)
def test_an_index_knows_of_every_item_when_it_changed_by_its_own_account(
    envelope: Envelope, kind: str
) -> None:
    world = World(offers=230, envelope=envelope)
    visitor = Visitor(world)
    items = visitor.catalog(kind, pageSize=1000)["items"]
    for seen, told in (("every", changed_at), ("only-modified", modified_of)):
        world.modified_filter = "every" if seen == "every" else "only-modified"
        for item in items[::7]:
            when = told(item)
            if when is None:
                found = [visitor.catalog(kind, id=item["id"], modifiedAfter="1970-01-01")["items"]]
                assert found == [[item] if seen == "every" else []]
                continue
            before, after = (f"{when + timedelta(microseconds=by):%Y-%m-%dT%H:%M:%S.%fZ}" for by in (-1, 0))
            assert visitor.catalog(kind, id=item["id"], modifiedAfter=before)["items"] == [item]
            assert visitor.catalog(kind, id=item["id"], modifiedAfter=after)["items"] == []


def test_an_index_may_leave_out_what_has_no_modified(world: World, visitor: Visitor) -> None:
    items = visitor.catalog("offers", pageSize=1000)["items"]
    ever = {"pageSize": 1000, "modifiedAfter": "1970-01-01T00:00:00Z"}
    assert visitor.catalog("offers", **ever)["items"] == items
    world.modified_filter = "only-modified"
    assert visitor.catalog("offers", **ever)["items"] == [one for one in items if "modified" in one["data"]]
    assert visitor.catalog("offers", pageSize=1000)["items"] == items


def modified_of(item: dict[str, Any]) -> datetime | None:
    """When it says that it was changed in a field called so."""
    return moment(item.get("modified")) or moment(item["data"].get("modified"))


def test_filters_hold_for_the_whole_walk(visitor: Visitor) -> None:
    walked = ids(visitor.walk("offers", pageSize=7, tags="/tags/uk/default"))
    assert walked == [item["id"] for item in visitor.catalog("offers", tags="/tags/uk/default")["items"]]


def test_v2_leaves_out_legacy_offers_and_its_published_source_drafts(visitor: Visitor) -> None:
    items = visitor.catalog("offers/v2", pageSize=1000)["items"]
    assert len(items) == 184
    assert {item["path"].split("/")[1] for item in items} == {"offers2"}
    published = visitor.catalog("offers/v2", pageSize=1000, offersSource="published")["items"]
    whole = Visitor(World(offers=230, envelope="documented")).catalog("offers/v2", pageSize=1000)["items"]
    drafts = {item["id"] for item in whole if item["status"] == "draft"}
    assert published == [item for item in items if item["id"] not in drafts]
    assert len(published) < 184


@pytest.mark.parametrize(
    ("record_type", "size"),
    [("offers", 46), ("offers2", 184), ("product", 40), ("add_on", 60), ("page", 30), ("discount", 0)],
)
def test_catalog_items_are_listed_by_record_type(visitor: Visitor, record_type: str, size: int) -> None:
    query = {"record_type": record_type}
    answer = visitor.ask("/api/catalog_items", query, authorization=visitor.token())
    assert visitor.json(answer)["hits"]["value"] == size
    answer = visitor.ask("/api/published_catalog_items", query, authorization=visitor.bearer)
    assert visitor.json(answer)["hits"]["value"] <= size
    assert visitor.ask("/api/catalog_items", authorization=visitor.bearer).status == 400


@pytest.mark.parametrize(
    ("name", "size"),
    [("products", 40), ("campaigns", 25), ("add_ons", 60), ("segments", 12), ("assets", 80), ("pages", 30)],
)
def test_other_kinds_are_there_with_ids_of_their_own(visitor: Visitor, name: str, size: int) -> None:
    assert len(set(ids(visitor.walk(name, pageSize=20)))) == size


def test_reduced_data_has_fewer_attributes(visitor: Visitor) -> None:
    [whole] = visitor.catalog("offers", pageSize=1)["items"]
    [reduced] = visitor.catalog("offers", pageSize=1, reducedData="true")["items"]
    assert reduced["data"]["attributes"].items() < whole["data"]["attributes"].items()


def test_offers_show_the_oddities_of_live_ones(visitor: Visitor) -> None:
    items = visitor.catalog("offers", pageSize=100)["items"]
    charges = [charge for item in items for charge in item["data"]["attributes"].get("price__limio", [])]
    legacy = [charge for item in items for charge in item["data"]["attributes"].get("price", [])]
    delays = {repr(charge.get("delay_interval")) for charge in charges + legacy}
    assert delays == {"None", "'2'", "1"}
    assert {repr(charge["attributes"]) for charge in charges} == {"{}", "[]", "[None]"}
    assert {type(product) for item in items for product in item["data"]["products"]} == {dict, str}
    names = "".join(item["name"] for item in items)
    assert all(sign in names for sign in " $%é/")
    assert all(1_500 < len(msgspec.json.encode(item)) < 4_096 for item in items)


def test_journeys_are_answered_alike_by_both_versions(visitor: Visitor) -> None:
    assert visitor.catalog("journeys")["journeys"] == visitor.catalog("v2/journey")["journeys"]


def test_the_number_of_offers_costs_nothing_until_they_are_read() -> None:
    page = Visitor(World(offers=2_000_000_000)).catalog("offers", pageSize=2, all=True)
    assert page["hits"]["value"] == 2_000_000_000
