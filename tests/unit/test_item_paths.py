"""Paths of catalog items are one segment, or go with plain slashes where a tenant wants that."""

from __future__ import annotations

from typing import Any

import pytest

from limio_async import ApiKey, BearerToken, ClientCredentials, Limio, errors
from limio_async.core.ports import Auth
from limio_async.emulator import InMemoryTransport, World
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer

PATHS = [
    ("/offers2/Digital offer", "offers2%2FDigital%20offer", "offers2/Digital%20offer"),
    (
        "offers2/$75 für 52 weeks",
        "offers2%2F%2475%20f%C3%BCr%2052%20weeks",
        "offers2/%2475%20f%C3%BCr%2052%20weeks",
    ),
    ("/offers/a?b#c%2F", "offers%2Fa%3Fb%23c%252F", "offers/a%3Fb%23c%252F"),
    ("/pages2/x//y", "pages2%2Fx%2F%2Fy", "pages2/x//y"),
]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("path", "one", "several"), PATHS)
async def test_slashes_of_an_item_s_path_are_escaped_or_plain(
    path: str, one: str, several: str, plain: bool
) -> None:
    transport = ScriptedTransport(answer({"item": {}}))
    limio = Limio(auth=BearerToken("t"), transport=transport, plain_item_paths=plain)
    await limio.catalog_items.get(path)
    target = f"/limio/catalogs/1/items/{several if plain else one}"
    assert transport.requests[0].target == target
    assert limio.explain(limio.catalog_items.get, path).url.endswith(target)
    view = limio.with_options(timeout=5)
    await view.catalog_items.get(path)
    assert transport.requests[1].target == target


@pytest.mark.parametrize("path", ["../secrets", "/a/../b", "/", "", "a\nb", ".."])
async def test_a_plain_path_climbs_nowhere(path: str) -> None:
    transport = ScriptedTransport(answer({"item": {}}))
    limio = Limio(auth=BearerToken("t"), transport=transport, plain_item_paths=True)
    with pytest.raises(errors.InvalidArgument):
        await limio.catalog_items.get(path)
    assert transport.requests == []


async def test_other_arguments_keep_their_slashes_escaped() -> None:
    transport = ScriptedTransport(answer({"id": "a/b"}))
    limio = Limio(auth=BearerToken("t"), transport=transport, plain_item_paths=True)
    await limio.objects.get("subscriptions", "a/b")
    assert transport.requests[0].target == "/api/objects/limio/subscriptions/a%2Fb"


@pytest.mark.parametrize("plain", [False, True])
async def test_the_emulator_takes_both(plain: bool) -> None:
    world = World(offers=5)
    auth: list[Auth] = [ApiKey(world.api_key), ClientCredentials(world.client_id, world.client_secret)]
    async with Limio(auth=auth, transport=InMemoryTransport(world), plain_item_paths=plain) as limio:
        offer: Any = await limio.offers.list().first()
        found: Any = await limio.catalog_items.get(offer.path)
        assert found.item.path == offer.path
