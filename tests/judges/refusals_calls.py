"""One call of each operation through the client's public names, and whether it may be sent twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limio_async import Limio

__all__ = ["CALLS", "LISTS", "VIEWS", "Call", "Listed"]


@dataclass(frozen=True)
class Call:
    """How one operation is called."""

    ask: Callable[[Limio], Awaitable[Any]]
    once: bool = False
    """Whether it writes something that a second request would write again."""


@dataclass(frozen=True)
class Listed:
    """How one list is walked, and what its pages look like."""

    walk: Callable[..., Any]
    """Takes the client and the options of a listing."""
    cursor: Any = None
    """What a page says of the next one; None where a list is one answer."""
    items: str = "items"


_OFFER = {
    "id": "8a512ee55befaea0f7fa962cea9982d0e84f0098",
    "version": "4dd34671f26fdbbf240560b78f7f2f54654cde72",
}
_ORDER = {"order_type": "new", "external_id": "EXT-1", "orderItems": [{"offer": _OFFER, "quantity": 1}]}
_CHANGE = {"order": {"order_type": "update_subscription", "forSubscription": {"id": "sub-1"}}}
_TOKEN = {"id_token": {"iss": "https://accounts.example", "sub": "1234567890"}}
_COOKIE = "limio_state=basket-1"
_PROMO = {
    "name": "ABC",
    "id": "promo_code_v2-ABC",
    "status": True,
    "data": {
        "applicationLevel": "wholeBasket",
        "promoCode": "ABC",
        "status": True,
        "productDetails": {"product": {"path": "/products/Discounts"}, "ratePlan": {"path": "30% Off"}},
        "discount": {"discountType": "DiscountPercentage", "percentageDiscount": 12},
    },
}
_DIFF = {"diffs": [{"path": "/offers2/One", "diff": {"attributes": {"colour": "red"}}}]}
_FORM = {"grant_type": "client_credentials", "client_id": "id", "client_secret": "secret"}

CALLS: Mapping[str, Call] = {
    "authorize": Call(
        lambda limio: limio.oauth.authorize(client_id="id", redirect_uri="https://shop.example/callback")
    ),
    "createToken": Call(lambda limio: limio.oauth.create_token(_FORM)),
    "submitOrder": Call(lambda limio: limio.orders.submit(_ORDER), once=True),
    "submitOrderAsAdmin": Call(lambda limio: limio.orders.submit_as_admin(_ORDER), once=True),
    "submitPartnerOrder": Call(lambda limio: limio.partner_orders.submit(_ORDER), once=True),
    "previewOrder": Call(lambda limio: limio.orders.preview(_ORDER)),
    "previewPartnerOrder": Call(lambda limio: limio.partner_orders.preview(_ORDER)),
    "createTimelineEvent": Call(
        lambda limio: limio.timeline.create(
            {"forSubscription": {"name": "A-1"}, "name": "Paid", "type": "order.event_received", "fields": []}
        ),
        once=True,
    ),
    "getTimeline": Call(lambda limio: limio.timeline.get("subscriptions", "sub-1")),
    "addExternalIdentity": Call(
        lambda limio: limio.identities.add_external(
            _TOKEN, cookie="lmo_uid=visitor-1", limio_host="shop.example"
        ),
        once=True,
    ),
    "addExternalIdentityAsAdmin": Call(
        lambda limio: limio.identities.add_external_as_admin("id-1", _TOKEN), once=True
    ),
    "removeExternalIdentity": Call(lambda limio: limio.identities.remove_external(_TOKEN)),
    "transferOwnership": Call(
        lambda limio: limio.identities.transfer_ownership(
            {"sourceId": "id-1", "destinationId": "id-2", "message": "moved"}
        ),
        once=True,
    ),
    "initiateCheckout": Call(lambda limio: limio.checkout.initiate({"order": _ORDER}), once=True),
    "getBasket": Call(lambda limio: limio.baskets.get("basket-1")),
    "validateBasket": Call(lambda limio: limio.baskets.validate("basket-1")),
    "updateBasket": Call(
        lambda limio: limio.baskets.update({"orderItemActions": []}, cookie=_COOKIE), once=True
    ),
    "recoverBasket": Call(lambda limio: limio.baskets.recover(basket="basket-1", recover="r"), once=True),
    "initiateSubscriptionCheckout": Call(
        lambda limio: limio.checkout.initiate_subscription(_CHANGE), once=True
    ),
    "getSubscriptionCheckout": Call(lambda limio: limio.checkout.get_subscription(cookie=_COOKIE)),
    "updateSubscriptionCheckout": Call(
        lambda limio: limio.checkout.update_subscription({"orderItemActions": []}, cookie=_COOKIE), once=True
    ),
    "initiatePartnerSubscriptionCheckout": Call(
        lambda limio: limio.partner_checkout.initiate_subscription(_CHANGE), once=True
    ),
    "getPartnerSubscriptionCheckout": Call(
        lambda limio: limio.partner_checkout.get_subscription(cookie=_COOKIE)
    ),
    "getUserEntitlements": Call(lambda limio: limio.session.entitlements()),
    "createObject": Call(lambda limio: limio.objects.create("promo_codes_v2", _PROMO), once=True),
    "getObject": Call(lambda limio: limio.objects.get("subscriptions", "sub-1")),
    "updateObject": Call(
        lambda limio: limio.objects.update("subscriptions", "sub-1", {"data": {"quantity": 2}})
    ),
    "deleteObject": Call(lambda limio: limio.objects.delete("promo_codes_v2", "promo_code_v2-ABC")),
    "addRelatedObject": Call(
        lambda limio: limio.objects.add_related("orders", "order-1", {"id": "id-1", "service": "limio"}),
        once=True,
    ),
    "bulkUpdateCatalogItems": Call(lambda limio: limio.catalog.bulk_update(_DIFF)),
    "listJourneys": Call(lambda limio: limio.journeys.list()),
    "listJourneysV2": Call(lambda limio: limio.journeys_v2.list()),
    "createJourneyV2": Call(lambda limio: limio.journeys_v2.create({"name": "Test"}), once=True),
    "getJourneyV2": Call(lambda limio: limio.journeys_v2.get("Test")),
    "upsertJourneyV2": Call(lambda limio: limio.journeys_v2.upsert("Test", {"name": "Test"})),
    "deleteJourneyV2": Call(lambda limio: limio.journeys_v2.delete("Test")),
    "buildShop": Call(lambda limio: limio.builds.create({"items": ["/pages/Limio Page"]}), once=True),
    "getComponentBuilds": Call(lambda limio: limio.component_builds.get()),
    "publishPages": Call(
        lambda limio: limio.publications.create({"tags": ["/tags/uk"], "buildId": "build-1", "name": "One"}),
        once=True,
    ),
    "syncZuoraSubscription": Call(lambda limio: limio.zuora.sync_subscription("A-S00000271")),
    "handleZuoraEvent": Call(
        lambda limio: limio.zuora.handle_event({"subscriptionID": "A-1", "type": "RenewSubscription"}),
        once=True,
    ),
    "createPartnerOrganisation": Call(
        lambda limio: limio.partner_organisations.create(
            {"name": "Partner", "zuoraAccountId": "A-1", "isZuoraInvoiceOwner": True}
        ),
        once=True,
    ),
    "createPartnerUser": Call(
        lambda limio: limio.partner_organisations.create_user("org-1", {"email": "one@partner.example"}),
        once=True,
    ),
    "createJob": Call(
        lambda limio: limio.jobs.create({"jobType": "indexer", "indexerType": "published_items"}), once=True
    ),
    "getJob": Call(lambda limio: limio.jobs.get("7")),
    "getCatalogItem": Call(lambda limio: limio.catalog_items.get("offers2/One")),
    "deleteCatalogItem": Call(lambda limio: limio.catalog_items.delete("offers2/One")),
}
"""All but the lists."""

_READ = (
    "addresses", "customers", "events", "gift_codes", "identities", "orders", "payment_methods", "processes",
    "promo_codes", "schedules", "subscription_offers", "subscriptions", "user_entitlements",
)  # fmt: skip
_WRITTEN = ("customers", "orders", "promo_codes", "subscriptions")
_LINKED = ("customers", "orders", "subscriptions")


def _get(name: str) -> Call:
    return Call(lambda limio: getattr(limio, name).get("x-1"))


def _update(name: str) -> Call:
    return Call(lambda limio: getattr(limio, name).update("x-1", {"data": {"quantity": 2}}))


def _link(name: str) -> Call:
    body = {"id": "id-1", "service": "limio"}
    return Call(lambda limio: getattr(limio, name).add_related("x-1", body), once=True)


VIEWS: Sequence[tuple[str, str, Call]] = (
    *(("getObject", f"{name}.get", _get(name)) for name in _READ),
    *(("updateObject", f"{name}.update", _update(name)) for name in _WRITTEN),
    *(("addRelatedObject", f"{name}.add_related", _link(name)) for name in _LINKED),
    ("createObject", "promo_codes.create", Call(lambda limio: limio.promo_codes.create(_PROMO), once=True)),
    (
        "deleteObject",
        "promo_codes.delete",
        Call(lambda limio: limio.promo_codes.delete("promo_code_v2-ABC")),
    ),
)
"""The same operations under other names, each with its types."""

_SCROLL = {"from": "DnF1ZXJ5VGhlbkZldGNoBQ==", "alias": "catalog_test"}

LISTS: Mapping[str, Listed] = {
    "listCampaigns": Listed(lambda limio, **o: limio.campaigns.list(**o), _SCROLL),
    "listOffers": Listed(lambda limio, **o: limio.offers.list(**o), _SCROLL),
    "listOffersV2": Listed(lambda limio, **o: limio.offers_v2.list(**o), _SCROLL),
    "listAssets": Listed(lambda limio, **o: limio.assets.list(**o), _SCROLL),
    "listProducts": Listed(lambda limio, **o: limio.products.list(**o), _SCROLL),
    "listSegments": Listed(lambda limio, **o: limio.segments.list(**o), _SCROLL),
    "listPages": Listed(lambda limio, **o: limio.pages.list(**o), _SCROLL),
    "listAddOns": Listed(lambda limio, **o: limio.add_ons.list(**o), _SCROLL),
    "listCatalogItems": Listed(
        lambda limio, **o: limio.catalog_items.list(record_type="offers2", **o), _SCROLL
    ),
    "listPublishedCatalogItems": Listed(
        lambda limio, **o: limio.published_catalog_items.list(record_type="offers2", **o), _SCROLL
    ),
    "listObjects": Listed(lambda limio, **o: limio.objects.list("subscriptions", **o), "a2V5"),
    "listRelatedObjects": Listed(lambda limio, **o: limio.objects.related("orders", "order-1", **o)),
    "listRelatedObjectsByRecordType": Listed(
        lambda limio, **o: limio.objects.related_by_type("orders", "order-1", "subscription", **o)
    ),
    "listChildObjects": Listed(lambda limio, **o: limio.objects.children("orders", "order-1", **o)),
    "listChildObjectsBySubtype": Listed(
        lambda limio, **o: limio.objects.children_by_subtype("orders", "order-1", "subscription", **o)
    ),
    "listObjectEvents": Listed(lambda limio, **o: limio.objects.events("orders", "order-1", **o)),
    "listMmaSubscriptions": Listed(lambda limio, **o: limio.session.subscriptions(**o)),
    "listAbandonedBaskets": Listed(
        lambda limio, **o: limio.baskets.list_abandoned(created_after="2024-01-01T00:00:00Z", **o), "opaque"
    ),
    "getSubscriptionsBySalesforceId": Listed(
        lambda limio, **o: limio.subscriptions.list_by_salesforce_id("003", **o), "opaque", "subscriptions"
    ),
    "listPartnerOrganisations": Listed(lambda limio, **o: limio.partner_organisations.list(**o), "opaque"),
    "searchPartnerCustomers": Listed(lambda limio, **o: limio.partner_customers.search(**o), "opaque"),
}
