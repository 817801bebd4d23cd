"""One visit of a client to each operation, in an order in which every one of them succeeds."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from limio_async import Limio, errors
from limio_async.api.checkout import Checkout
from limio_async.api.partner_checkout import PartnerCheckout
from limio_async.core.listing import Listing
from limio_async.core.wire import Request
from limio_async.emulator import World
from limio_async.emulator.faults.delivery import Delivery

__all__ = ["Kept", "call_every_operation"]


class Kept(World):
    """A world that remembers the cookie it gave last, as a browser does and a client on a server does not."""

    kept = ""

    def deliver(self, request: Request) -> Delivery:
        """As any world."""
        delivery = super().deliver(request)
        self.kept = delivery.answer.headers.get("set-cookie", self.kept).partition(";")[0]
        return delivery


async def call_every_operation(limio: Limio, world: Kept, *, shop: str) -> None:
    """Call all of them; raises what the client raises. *shop* is where browsers are sent to."""
    await _sign_in(limio, world, shop)
    await _read_the_catalog(limio)
    await _change_the_catalog(limio)
    await _read_objects(limio)
    await _order(limio, world)
    await _check_out(limio, world)
    await _link_identities(limio)
    await _integrate(limio)


async def _some(listing: Listing[Any]) -> list[Any]:
    return list(await listing.take(6))


async def _sign_in(limio: Limio, world: World, shop: str) -> None:
    with suppress(errors.NotFound):  # of who follows the redirect: there is no shop
        await limio.oauth.authorize(
            response_type="code", client_id=world.client_id, redirect_uri=f"{shop}/callback", state="s"
        )
    await limio.oauth.create_token(
        {
            "grant_type": "client_credentials",
            "client_id": world.client_id,
            "client_secret": world.client_secret,
        }
    )


async def _read_the_catalog(limio: Limio) -> None:
    for resource in (
        limio.offers, limio.offers_v2, limio.products, limio.campaigns, limio.add_ons, limio.segments,
        limio.assets, limio.pages,
    ):  # fmt: skip
        assert await resource.list(page_size=4).collect(limit=100)
    for catalog in (limio.catalog_items, limio.published_catalog_items):
        assert await _some(catalog.list(record_type="offers2", page_size=4))
    await limio.journeys.list()


async def _change_the_catalog(limio: Limio) -> None:
    offer = (await _some(limio.offers_v2.list()))[0]
    path = str(offer.path)
    await limio.catalog.bulk_update(
        {"diffs": [{"path": path, "diff": {"attributes": {"example_attribute": "text"}}}]}
    )
    await limio.catalog_items.get(path.lstrip("/"))
    await limio.catalog_items.delete(path.lstrip("/"))
    job = await limio.jobs.create({"jobType": "indexer", "indexerType": "published_items"})
    await limio.jobs.get(str(job.id))
    await limio.journeys_v2.create({"name": "Summer Journey"})
    await limio.journeys_v2.get("Summer Journey")
    await limio.journeys_v2.upsert("Summer Journey", {"name": "Summer Journey"})
    await limio.journeys_v2.list()
    await limio.journeys_v2.delete("Summer Journey")


async def _read_objects(limio: Limio) -> None:
    [order, *_] = await _some(limio.objects.list("orders"))
    await limio.objects.get("orders", order.id)
    await limio.objects.update("orders", order.id, {"data": {"quantity": 2}})
    await _some(limio.objects.related("orders", order.id))
    await _some(limio.objects.related_by_type("orders", order.id, "customer"))
    await _some(limio.objects.children("orders", order.id))
    await _some(limio.objects.children_by_subtype("orders", order.id, "order"))
    await _some(limio.objects.events("orders", order.id))
    [identity, *_] = await _some(limio.identities.list())
    await limio.orders.add_related(order.id, {"id": identity.id, "service": "limio"})


async def _order(limio: Limio, world: World) -> None:
    published = await _some(limio.offers_v2.list(offers_source="published"))
    offer = {"id": published[0].id, "version": published[0].version}
    new = {
        "order_type": "new",
        "external_id": "EXT-1",
        "process_immediately": True,
        "orderItems": [{"offer": offer, "quantity": 1}],
        "country": "GB",
        "customerDetails": {"email": "someone@shop.example", "firstName": "Some", "lastName": "One"},
    }
    await limio.orders.preview(new)
    await limio.orders.submit(new)
    await limio.orders.submit_as_admin({**new, "external_id": "EXT-2"})
    await limio.partner_orders.preview({**new, "external_id": "EXT-3"})
    await limio.partner_orders.submit({**new, "external_id": "EXT-3"})
    promo_code = {
        "name": "abc123",
        "id": "promo_code_v2-abc123",
        "data": {
            "applicationLevel": "wholeBasket", "promoCode": "abc123", "status": True,
            "promoStartDate": "2024-11-11", "promoExpiryDate": "2025-12-31",
            "productDetails": {"product": {"path": "/products/Discounts"}, "ratePlan": {"path": "30% Off"}},
            "usage": {"availableQuantity": 100},
            "discount": {"discountType": "DiscountPercentage", "percentageDiscount": 12},
        },
    }  # fmt: skip
    await limio.promo_codes.create(promo_code)
    await limio.promo_codes.delete("promo_code_v2-abc123")
    world.advance(60)


async def _check_out(limio: Limio, world: Kept) -> None:
    published = await _some(limio.offers_v2.list(offers_source="published"))
    offer = {"id": published[0].id, "version": published[0].version}
    basket = await limio.checkout.initiate(
        {"order": {"order_type": "new", "orderItems": [{"offer": offer, "quantity": 1}]}}
    )
    cookie = f"limio_state={basket.id}"
    await limio.baskets.get(str(basket.id))
    await limio.baskets.validate(str(basket.id))
    await limio.baskets.update({"orderItemActions": []}, cookie=cookie)
    since = "2024-01-01T00:00:00Z"
    for left in await _some(limio.baskets.list_abandoned(created_after=since)):
        query = dict(pair.split("=", 1) for pair in str(left.recovery_link).partition("?")[2].split("&"))
        with suppress(errors.NotFound):
            await limio.baskets.recover(basket=query["basket"], recover=query["recover"])
        break
    order = {"order_type": "update_subscription"}
    active_ones = [
        one for one in await limio.subscriptions.list().collect(limit=100) if one.status == "active"
    ]
    resources: tuple[Checkout | PartnerCheckout, ...] = (limio.checkout, limio.partner_checkout)
    for resource, one in zip(resources, active_ones, strict=False):
        await resource.initiate_subscription({"order": {**order, "forSubscription": {"id": one.id}}})
        cookie = world.kept
        await resource.get_subscription(cookie=cookie)
        if resource is limio.checkout:
            await limio.checkout.update_subscription({"orderItemActions": []}, cookie=cookie)
    await limio.session.entitlements()
    await _some(limio.session.subscriptions())


async def _link_identities(limio: Limio) -> None:
    token = {"id_token": {"iss": "https://accounts.example", "sub": "1234567890"}}
    await limio.identities.add_external(token, cookie="lmo_uid=visitor-1", limio_host="shop.example")
    await limio.identities.remove_external(token, cookie="lmo_uid=visitor-1", limio_host="shop.example")
    one, other, *_ = await _some(limio.identities.list())
    await limio.identities.add_external_as_admin(one.id, token)
    await limio.identities.transfer_ownership(
        {"sourceId": one.id, "destinationId": other.id, "message": "Transfer ownership"}
    )
    await _some(limio.subscriptions.list_by_salesforce_id(other.id))


async def _integrate(limio: Limio) -> None:
    [subscription, *_] = await _some(limio.subscriptions.list())
    await limio.timeline.create(
        {
            "forSubscription": {"name": subscription.name}, "name": "Order Received",
            "type": "order.event_received", "source": "webhook",
            "fields": [{"label": "Amount", "type": "currency", "value": 9.99, "additionalInfo": "GBP"}],
        }
    )  # fmt: skip
    await limio.timeline.get("subscriptions", subscription.id)
    await limio.zuora.sync_subscription(str(subscription.name))
    await limio.zuora.handle_event({"subscriptionID": subscription.name, "type": "RenewSubscription"})
    build = await limio.builds.create({"items": ["/offers/Limio Campaign", "/pages/Limio Page"]})
    await limio.component_builds.get()
    await limio.publications.create({"tags": ["/tags/uk/default"], "buildId": build.id, "name": "Default"})
    await _some(limio.partner_organisations.list())
    made = await limio.partner_organisations.create(
        {"name": "Partner", "zuoraAccountId": "A-1", "isZuoraInvoiceOwner": True}
    )
    await limio.partner_organisations.create_user(str(made.id), {"email": "someone@partner.example"})
    await _some(limio.partner_customers.search())
