"""The catalog sync job: nothing lost, nothing doubled, and it says so when it cannot be helped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from limio_async import ApiKey, Limio, Listing, errors
from limio_async.emulator import InMemoryTransport, World, reply
from limio_async.emulator.server import serve

from .conftest import BOTH

CATALOG = ["offers", "offers_v2", "products", "campaigns", "add_ons", "segments", "assets", "pages"]


class Id(msgspec.Struct):
    id: str


async def ids(listing: Listing[Any]) -> list[str]:
    return [item.id async for item in listing.into(Id)]


@pytest.mark.parametrize("scroll_ids", ["same", "changing"])
@pytest.mark.parametrize("hits_form", ["total", "number"])
async def test_twenty_thousand_offers_come_once_each_and_in_order(scroll_ids: Any, hits_form: Any) -> None:
    world = World(offers=20_000, scroll_ids=scroll_ids, hits_form=hits_form)
    async with Limio(auth=ApiKey(world.api_key), transport=InMemoryTransport(world)) as limio:
        by_thousands = await ids(limio.offers.list(page_size=1000))
        listing = limio.offers.list(page_size=333).into(Id)
        by_other_pages = [offer.id async for offer in listing]
    assert len(set(by_thousands)) == len(by_thousands) == 20_000
    assert by_other_pages == by_thousands
    assert listing.report.complete
    assert listing.report.hits == 20_000


@pytest.mark.parametrize("resource", CATALOG)
@BOTH
async def test_every_catalog_list_streams_typed_and_complete(limio: Limio, resource: str) -> None:
    listing = getattr(limio, resource).list(page_size=7)
    seen = [item.id async for item in listing]
    assert len(set(seen)) == len(seen) == listing.report.hits > 7
    assert listing.report.complete


@BOTH
async def test_what_is_typed_is_what_is_in_the_bytes(limio: Limio) -> None:
    typed = [offer async for offer in limio.offers.list()]
    raw = [msgspec.json.decode(item) async for item in limio.offers.list().raw()]
    assert [(one.id, one.name, one.path, one.parent_path) for one in typed] == [
        (one["id"], one["name"], one["path"], one.get("parent_path")) for one in raw
    ]
    assert [one.data and one.data.attributes for one in typed] == [one["data"]["attributes"] for one in raw]


@BOTH
async def test_filters_travel_with_every_page(limio: Limio, world: World) -> None:
    tagged = await ids(limio.offers.list(tags="/tags/uk/default", page_size=10))
    assert 0 < len(tagged) < 250
    asked = world.requests("listOffers")
    assert {one.query["tags"] for one in asked} == {"/tags/uk/default"}
    assert {one.query["opt.all"] for one in asked} == {"true"}
    assert len(asked) > 2


async def test_a_scroll_that_expires_under_a_slow_consumer_says_so(limio: Limio, world: World) -> None:
    listing = limio.offers.list(page_size=20, read_ahead=0, restarts=0)
    seen: list[str | None] = []
    with pytest.raises(errors.CursorExpired) as caught:
        async for offer in listing:
            seen.append(offer.id)
            if len(seen) == 60:
                world.advance(world.scroll_keep_alive + 1)
    assert len(seen) == 60
    resumed = limio.offers.list(page_size=50, resume=caught.value.checkpoint.to_json())
    assert seen + [offer.id async for offer in resumed] == await ids(limio.offers.list())


async def test_a_page_lost_on_its_way_is_not_skipped_in_silence(limio: Limio, world: World) -> None:
    world.script("listOffers", None, "lost")
    listing = limio.offers.list(page_size=20)
    with pytest.raises(errors.IncompleteListing, match="page 2 was lost"):
        await ids(listing)
    assert world.count("listOffers") == 2


async def test_a_catalog_rebuilt_during_the_walk_is_noticed(limio: Limio, world: World) -> None:
    listing = limio.offers.list(page_size=20, read_ahead=0)
    async for _ in listing:
        if listing.report.items == 20:
            break
    saved = listing.checkpoint()
    world.rebuild_index()
    with pytest.raises(errors.SnapshotChanged):
        await ids(limio.offers.list(resume=saved))


async def test_a_scroll_that_expires_is_walked_again_by_itself(limio: Limio, world: World) -> None:
    listing = limio.offers.list(page_size=20, read_ahead=0)
    seen: list[str | None] = []
    async for offer in listing:
        seen.append(offer.id)
        if len(seen) in {60, 110}:
            world.advance(world.scroll_keep_alive + 1)
    assert seen == await ids(limio.offers.list())
    assert listing.report.restarts == 2
    assert listing.report.complete


async def test_a_page_over_six_megabytes_is_asked_for_in_smaller_ones(world: World) -> None:
    world.page_bytes_limit = 50_000
    async with Limio(auth=ApiKey(world.api_key), transport=InMemoryTransport(world), attempts=1) as limio:
        listing = limio.offers.list(page_size=40)
        assert len(await listing.collect(limit=250)) == 250
    assert world.requests("listOffers")[0].query["opt.pageSize"] == "40"
    assert listing.report.complete


async def test_a_truncated_catalog_is_never_passed_off_as_whole(limio: Limio, world: World) -> None:
    world.script(
        "listOffers", None, reply({"hits": 250, "items": [], "queryMore": {"from": "x", "alias": "y"}})
    )
    listing = limio.offers.list(page_size=20)
    with pytest.raises(errors.IncompleteListing, match="ended after 20 items, 250 were promised"):
        await ids(listing)


async def test_the_same_walk_over_http(world: World) -> None:
    async with (
        serve(world, port=0) as url,
        Limio(url, auth=ApiKey(world.api_key)) as limio,
    ):
        listing = limio.offers.list(page_size=60)
        seen = [offer.id async for offer in listing]
    assert len(set(seen)) == 250
    assert listing.report.complete


async def test_a_look_at_the_first_offers_opens_no_scroll(limio: Limio, world: World) -> None:
    listing = limio.offers.list()
    first = await listing.take(3)
    assert await limio.catalog.commit_id() == listing.report.commit_ids[-1]
    asked = [one.target for one in world.requests("listOffers")]
    assert len(asked) == 2
    assert not any("opt.all" in target for target in asked)
    rest = [offer.id async for offer in listing]
    assert [one.id for one in first] + rest == [offer.id async for offer in limio.offers.list()]
