"""Objects: key cursors that resume, whole objects by id, one token for everybody."""

from __future__ import annotations

import asyncio

import pytest

from limio_async import ApiKey, ClientCredentials, Limio, errors
from limio_async.core.ports import Auth
from limio_async.emulator import InMemoryTransport, World
from limio_async.emulator.server import serve

KINDS = [
    "subscriptions", "customers", "orders", "identities", "addresses", "schedules", "payment_methods",
    "subscription_offers", "user_entitlements", "gift_codes", "promo_codes", "events", "processes",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_object_is_listed_whole_and_found_by_id(limio: Limio, kind: str) -> None:
    resource = getattr(limio, kind)
    listing = resource.list(page_size=7)
    seen = [item.id async for item in listing]
    assert len(set(seen)) == len(seen) > 0
    assert listing.report.complete
    assert (await resource.get(seen[0])).id == seen[0]


async def test_empty_pages_in_the_middle_lose_nothing(limio: Limio, world: World) -> None:
    pages = [page async for page in limio.subscriptions.list(page_size=10).pages()]
    assert any(not page.items for page in pages[:-1])
    assert sum(len(page.items) for page in pages) == world.subscriptions


async def test_a_walk_resumes_in_the_middle_in_another_client(limio: Limio, world: World) -> None:
    everything = [item.id async for item in limio.subscriptions.list(page_size=10)]
    listing = limio.subscriptions.list(page_size=10)
    before = [item.id for item in await listing.take(35)]
    asked = world.count("listObjects")
    auth = ClientCredentials(world.client_id, world.client_secret)
    async with Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world)) as other:
        resumed = other.subscriptions.list(page_size=10, resume=listing.checkpoint().to_json())
        after = [item.id async for item in resumed]
    assert before + after == everything
    assert world.count("listObjects") - asked < asked


async def test_a_lost_page_is_asked_for_again(limio: Limio, world: World) -> None:
    world.script("listObjects", None, "lost", None, "refused")
    listing = limio.subscriptions.list(page_size=30)
    assert len([item async for item in listing]) == world.subscriptions
    assert listing.report.requests == listing.report.pages + 2


async def test_a_checkpoint_of_another_listing_is_refused(limio: Limio) -> None:
    listing = limio.subscriptions.list()
    await listing.first()
    with pytest.raises(errors.ForeignCheckpoint):
        limio.customers.list(resume=listing.checkpoint())


async def test_a_malformed_cursor_is_the_callers_mistake_and_named(limio: Limio) -> None:
    saved = limio.subscriptions.list().checkpoint().to_json()
    broken = saved.replace('"items":0', '"items":0,"cursor":{"query":{"queryMore":"bm90IGEga2V5"}}')
    with pytest.raises(errors.BadRequest, match="listObjects: 400"):
        await limio.subscriptions.list(resume=broken).first()


async def test_fifty_cold_calls_make_one_token_request(limio: Limio, world: World) -> None:
    some = [item.id async for item in limio.subscriptions.list(page_size=50)][:50]
    world.revoke_tokens()
    before = world.tokens_issued
    found = await asyncio.gather(*(limio.subscriptions.get(str(one)) for one in some))
    assert [one.id for one in found] == some
    assert world.tokens_issued == before + 1


async def test_fifty_cold_calls_over_http_make_one_token_request(world: World) -> None:
    auth = ClientCredentials(world.client_id, world.client_secret)
    async with serve(world, port=0) as url, Limio(url, auth=auth) as limio:
        first = await limio.subscriptions.list(page_size=50)
        world.revoke_tokens()
        await asyncio.gather(*(limio.subscriptions.get(str(one.id)) for one in first.items))
    assert world.tokens_issued == 2


async def test_a_token_that_expires_during_a_walk_is_renewed_and_the_page_asked_for_again(
    limio: Limio, world: World
) -> None:
    listing = limio.subscriptions.list(page_size=30, read_ahead=0)
    seen = 0
    async for _ in listing:
        seen += 1
        if seen == 40:
            world.advance(world.token_lifetime + 1)
    assert seen == world.subscriptions
    assert world.tokens_issued == 2


async def test_campaigns_take_a_bearer_where_there_is_no_key_and_prefer_the_key(world: World) -> None:
    key, token = ApiKey(world.api_key), ClientCredentials(world.client_id, world.client_secret)
    mine: list[tuple[list[Auth], str]] = [
        ([token], "Bearer "),
        ([token, key], ""),
        ([key, token], ""),
        ([key], ""),
    ]
    for auth, scheme in mine:
        async with Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world)) as limio:
            assert (await limio.campaigns.list()).hits == world.campaigns
            shown = limio.explain(limio.campaigns.list).headers["authorization"]
        assert shown.startswith("Bearer ") == bool(scheme)
    assert world.tokens_issued == 1


async def test_a_wrong_key_and_a_wrong_secret_are_told_apart(world: World) -> None:
    for auth, said in (
        (ApiKey("public_wrong"), "listOffers: 401"),
        (ClientCredentials(world.client_id, "wrong"), "createToken: 401"),
    ):
        async with Limio("limio.emulated", auth=auth, transport=InMemoryTransport(world)) as limio:
            with pytest.raises(errors.Unauthorized, match=said):
                await limio.offers.list()


async def test_an_unknown_object_and_an_unknown_kind(limio: Limio) -> None:
    with pytest.raises(errors.NotFound, match="getObject: 404"):
        await limio.subscriptions.get("sub-unknown")
    with pytest.raises(errors.NotFound, match="listObjects: 404"):
        await limio.objects.list("no_such_things").first()
