"""Never run: what type checkers must see. `make types` fails where one of these is not so."""

from __future__ import annotations

from typing import Any, assert_type

import msgspec

from limio_async import Checkpoint, Limio, Listing, Page, models
from limio_async.api.offers import LIST_OFFERS
from limio_async.api.orders import GET_ORDER


class Slim(msgspec.Struct):
    id: str


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
