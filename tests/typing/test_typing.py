"""Never run: what type checkers must see. `make types` fails where one of these is not so."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, Unpack, assert_type

import msgspec

from limio_async import (
    ApiKey,
    Attempt,
    BadItem,
    CallOptions,
    CatalogCache,
    ChainedAuth,
    Checkpoint,
    ClientCredentials,
    ClientOptions,
    Credential,
    Exchange,
    Explanation,
    Lane,
    Limio,
    Listing,
    ListOptions,
    NoAuth,
    Page,
    Scheme,
    SignedIn,
    models,
)
from limio_async.api.offers import LIST_OFFERS
from limio_async.api.orders import GET_ORDER
from limio_async.auth import BearerToken, MemoryTokenStore, SessionToken


class Slim(msgspec.Struct):
    id: str


async def what_a_cache_holds(limio: Limio) -> None:
    offers = CatalogCache(limio, limio.offers.list)
    assert_type(offers, CatalogCache[models.Offer])
    assert_type(offers.get("offer-1"), models.Offer | None)
    async with CatalogCache(limio, partial(limio.offers.list, tags="/tags/uk"), every=30, into=Slim) as slim:
        assert_type(slim, CatalogCache[Slim])
        assert_type(slim.tagged("/tags/uk"), list[Slim])
        assert_type(list(slim), list[Slim])
    assert_type(CatalogCache(limio, partial(limio.products.list, page_size=9)), CatalogCache[models.Product])


async def what_a_caller_sees(limio: Limio) -> None:
    async for offer in limio.offers.list(tags="/tags/uk", page_size=200):
        assert_type(offer, models.Offer)
    async for item in limio.offers.list().raw():
        assert_type(item, bytes)
    async for slim in limio.offers.list().into(Slim):
        assert_type(slim, Slim)
    async for page in limio.subscriptions.list().pages():
        assert_type(page, Page[models.Subscription])
    assert_type(await limio.products.list(), Page[models.Product])
    assert_type(await limio.segments.list().first(), models.Segment | None)
    assert_type(await limio.assets.list().take(3), list[models.Asset])
    assert_type(limio.offers.list().checkpoint(), Checkpoint)
    assert_type(await limio.subscriptions.get("sub-1"), models.Subscription)
    assert_type(await limio.objects.get("orders", "order-1"), models.LimioObject)
    assert_type(await limio.orders.submit({"order_type": "new"}), models.OrderResponse)
    assert_type(await limio.baskets.validate("basket-1"), dict[str, Any])
    assert_type(limio.listing(LIST_OFFERS, {}), Listing[models.Offer])
    limio.listing(GET_ORDER, {"object_id": "order-1"})  # type: ignore[arg-type]  # it is no list


def what_a_list_of_strategies_is() -> None:
    auth = [ApiKey("key"), ClientCredentials("id", "secret")]
    Limio("acme.prod.limio.com", auth=auth)
    assert_type(ChainedAuth(*auth), ChainedAuth)
    every = [
        NoAuth(),
        BearerToken("token"),
        SessionToken("token"),
        ChainedAuth(),
        SignedIn(MemoryTokenStore()),
    ]
    Limio("acme.prod.limio.com", auth=every)


class OfTheUser:
    """A strategy that derives from nothing of ours."""

    offers: tuple[Scheme, ...] = ("bearer",)

    async def credential(self, accepts: Collection[Scheme], exchange: Exchange) -> Credential | None:
        return Credential(scheme="bearer", authorization="Bearer token") if "bearer" in accepts else None

    async def renew(self, refused: Credential, exchange: Exchange) -> bool:
        return False


def what_a_strategy_of_the_user_may_be() -> None:
    Limio("acme.prod.limio.com", auth=OfTheUser())
    Limio("acme.prod.limio.com", auth=[ApiKey("key"), OfTheUser()])
    ChainedAuth(ApiKey("key"), OfTheUser())


async def what_a_wrapper_hands_on(limio: Limio, lane: Lane, **options: Unpack[CallOptions]) -> list[Attempt]:
    trace: list[Attempt] = []
    await limio.with_options(lane=lane).subscriptions.get("sub-1", **options)
    await limio.subscriptions.get("sub-1", trace=trace)
    assert_type(limio.explain(limio.subscriptions.get, "sub-1"), Explanation)
    return trace


async def what_a_wrapper_of_a_list_hands_on(limio: Limio, **options: Unpack[ListOptions]) -> list[BadItem]:
    walk: Listing[Any] = limio.offers.list(**options)
    return [one async for one in walk if isinstance(one, BadItem)]


def made(**options: Unpack[ClientOptions]) -> Limio:
    return Limio.from_env(**options)
