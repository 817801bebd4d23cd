"""What each operation puts on the wire, written down by hand from Limio's documents."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import product
from typing import Any, NamedTuple, get_args

import aiohttp
import pytest
from aioresponses import aioresponses

from limio_async import ApiKey, BearerToken, Limio, SessionToken, models
from limio_async.api import Resources
from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.core.wire import Request, Response, Scheme
from limio_async.errors import MissingCredentials
from tests.conftest import ScriptedTransport
from tests.unit.test_item_paths import PATHS
from tests.wire.mocked import mocked_http
from tests.wire.rawserver import http, raw_server

NASTY = "50% off/$75 für A&B?#+"
ESCAPED = "50%25%20off%2F%2475%20f%C3%BCr%20A%26B%3F%23%2B"
NOON = datetime(2024, 3, 26, 12, tzinfo=UTC)
NOON_ESCAPED = "2024-03-26T12%3A00%3A00Z"
COOKIE = "limio_state=eyJi; lmo_uid=u-1"

CREDENTIALS: Mapping[str, tuple[Any, str]] = {
    "key": (ApiKey("public_5f3a"), "public_5f3a"),
    "bearer": (BearerToken("eyJhb.1"), "Bearer eyJhb.1"),
    "session": (SessionToken("eyJse.2"), "Bearer eyJse.2"),
}
EVERYTHING_NEEDED = Response(  # all that tells a success of any operation
    status=200,
    headers={"location": "https://shop.example.com"},
    body=b'{"items":[],"subscriptions":[],"journeys":[],"access_token":"t","id":"event-1","name":"n","message":"a success",'
    b'"success":true,"preview":{},"order":{},"item":{},"owner":"o"}',
)


class Row(NamedTuple):
    operation: str
    line: str
    """Method and path as the documents print them."""
    accepts: str
    """The credentials that the operation takes, the preferred one first."""
    call: Callable[[Limio], Awaitable[Any]]
    target: str
    """Path and query, to the letter."""
    body: Any = None
    """JSON as Python, or the bytes of a form; None where nothing is sent."""
    headers: Mapping[str, str] = {}
    """Those that not every request has."""


# An order, a basket and a subscription that several operations are called with.
OFFER = models.OfferPayload(id="8a51", version="4dd3")
ORDER = models.CreateSubscriptionOrder(
    order_items=[models.OrderItemInput(offer=OFFER, quantity=1)],
    customer_details=models.CustomerDetails(first_name="Zoë", email="zoe@example.com"),
    country="GB",
    external_id="EXT-1",
    process_immediately=False,
    spec_version="2",
)
ORDER_JSON = {
    "order_type": "new",
    "external_id": "EXT-1",
    "process_immediately": False,
    "__spec_version": "2",
    "orderItems": [{"offer": {"id": "8a51", "version": "4dd3"}, "quantity": 1}],
    "customerDetails": {"firstName": "Zoë", "email": "zoe@example.com"},
    "country": "GB",
}
SUBSCRIPTION_CHECKOUT = models.SubscriptionCheckoutRequest(
    order=models.SubscriptionCheckoutOrder(for_subscription=models.SubscriptionRef(id="sub-1"))
)
SUBSCRIPTION_CHECKOUT_JSON = {
    "order": {"order_type": "update_subscription", "forSubscription": {"id": "sub-1"}}
}
BASKET_CHANGE = models.SubscriptionCheckoutUpdate(
    order_item_actions=[
        models.OrderItemAction(
            order_item_action_type="add", type="offer", offer=models.OfferRef(id="8a51"), quantity=2
        )
    ]
)
BASKET_CHANGE_JSON = {
    "orderItemActions": [
        {"orderItemActionType": "add", "type": "offer", "offer": {"id": "8a51"}, "quantity": 2}
    ]
}
OUTSIDER = models.ExternalIdentityRequest(
    id_token=models.IdToken(iss="https://accounts.google.com", sub="123")
)
OUTSIDER_JSON = {"id_token": {"iss": "https://accounts.google.com", "sub": "123"}}

OPERATIONS = (
    # ---- auth
    Row(
        "createToken",
        "POST /oauth2/token",
        "",
        lambda limio: limio.oauth.create_token(
            models.OAuthTokenRequest(
                grant_type="client_credentials", client_id="id+1", client_secret="s&cret =%"
            )
        ),
        "/oauth2/token",
        b"grant_type=client_credentials&client_id=id%2B1&client_secret=s%26cret+%3D%25",
    ),
    Row(
        "authorize",
        "GET /oauth2/authorize",
        "",
        lambda limio: limio.oauth.authorize(
            client_id="id+1", redirect_uri="https://shop.example.com/back?a=1", state="x y", scope="openid"
        ),
        "/oauth2/authorize?response_type=code&client_id=id%2B1"
        "&redirect_uri=https%3A%2F%2Fshop.example.com%2Fback%3Fa%3D1&state=x%20y&scope=openid",
    ),
    # ---- orders
    Row(
        "submitOrder",
        "POST /api/order",
        "bearer session",
        lambda limio: limio.orders.submit(ORDER, mode="test", recaptcha="r-1"),
        "/api/order",
        ORDER_JSON,
        {"x-limio-mode": "test", "x-limio-recaptcha": "r-1"},
    ),
    Row(
        "previewOrder",
        "POST /api/order/preview",
        "bearer session",
        lambda limio: limio.orders.preview(
            models.UpdateSubscriptionOrder(
                for_subscription=models.SubscriptionRef(name="3V053CN9SFIG"),
                updates=[
                    models.SubscriptionUpdate(type="remove", record_type="add_on", id="subscription_add_on-1")
                ],
            ),
            mode="production",
            recaptcha="",
        ),
        "/api/order/preview",
        {
            "order_type": "update_subscription",
            "forSubscription": {"name": "3V053CN9SFIG"},
            "updates": [{"type": "remove", "record_type": "add_on", "id": "subscription_add_on-1"}],
        },
        {"x-limio-mode": "production", "x-limio-recaptcha": ""},
    ),
    Row(
        "submitOrderAsAdmin",
        "POST /api/admin/order",
        "bearer",
        lambda limio: limio.orders.submit_as_admin(ORDER),
        "/api/admin/order",
        ORDER_JSON,
    ),
    # ---- subscriptions and their timeline
    Row(
        "getSubscriptionsBySalesforceId",
        "GET /api/objects/salesforce/identities/{id}/subscriptions",
        "bearer",
        lambda limio: limio.subscriptions.list_by_salesforce_id(NASTY),
        f"/api/objects/salesforce/identities/{ESCAPED}/subscriptions",
    ),
    Row(
        "createTimelineEvent",
        "POST /api/timeline/subscription",
        "bearer",
        lambda limio: limio.timeline.create(
            models.TimelineEventRequest(
                for_subscription=models.SubscriptionRef(name="3V053CN9SFIG"),
                name="Order Received",
                type="order.event_received",
                fields=[models.TimelineField(label="Amount", type="currency", value=9.99)],
            )
        ),
        "/api/timeline/subscription",
        {
            "forSubscription": {"name": "3V053CN9SFIG"},
            "name": "Order Received",
            "type": "order.event_received",
            "fields": [{"label": "Amount", "type": "currency", "value": 9.99}],
        },
    ),
    Row(
        "getTimeline",
        "GET /api/timeline/{path_type}/{id}",
        "bearer",
        lambda limio: limio.timeline.get("customers", NASTY),
        f"/api/timeline/customers/{ESCAPED}",
    ),
    # ---- identities
    Row(
        "addExternalIdentity",
        "POST /api/objects/externalidentity",
        "bearer",
        lambda limio: limio.identities.add_external(
            OUTSIDER, cookie="lmo_uid=u-1", limio_host="shop.example.com"
        ),
        "/api/objects/externalidentity",
        OUTSIDER_JSON,
        {"cookie": "lmo_uid=u-1", "xlimiohost": "shop.example.com"},
    ),
    Row(
        "removeExternalIdentity",
        "DELETE /api/objects/externalidentity",
        "bearer",
        lambda limio: limio.identities.remove_external(OUTSIDER),
        "/api/objects/externalidentity",
        OUTSIDER_JSON,
    ),
    Row(
        "addExternalIdentityAsAdmin",
        "POST /api/objects/externalidentity/{owner}",
        "bearer",
        lambda limio: limio.identities.add_external_as_admin(NASTY, OUTSIDER),
        f"/api/objects/externalidentity/{ESCAPED}",
        OUTSIDER_JSON,
    ),
    Row(
        "transferOwnership",
        "POST /api/objects/owner_change",
        "bearer",
        lambda limio: limio.identities.transfer_ownership(
            models.TransferOwnershipRequest(source_id="id-1", destination_id="id-2", message="Moved")
        ),
        "/api/objects/owner_change",
        {"sourceId": "id-1", "destinationId": "id-2", "message": "Moved"},
    ),
    # ---- checkout and baskets
    Row(
        "listAbandonedBaskets",
        "GET /api/checkout/abandoned",
        "bearer",
        lambda limio: limio.baskets.list_abandoned(created_after=NOON, page_size=10),
        f"/api/checkout/abandoned?createdAfter={NOON_ESCAPED}&limit=10",
    ),
    Row(
        "initiateCheckout",
        "POST /api/checkout/initiate",
        "bearer session",
        lambda limio: limio.checkout.initiate(
            models.InitiateCheckoutRequest(
                order=models.CheckoutOrder(
                    order_items=[models.OrderItemInput(offer=OFFER, quantity=1)], order_type="new"
                ),
                campaign_url="/offers2/Winter",
            ),
            recaptcha="r-1",
        ),
        "/api/checkout/initiate",
        {
            "order": {
                "orderItems": [{"offer": {"id": "8a51", "version": "4dd3"}, "quantity": 1}],
                "order_type": "new",
            },
            "campaignUrl": "/offers2/Winter",
        },
        {"xlimiorecaptcha": "r-1"},
    ),
    Row(
        "getBasket",
        "GET /api/checkout/{basket_id}",
        "session",
        lambda limio: limio.baskets.get(NASTY),
        f"/api/checkout/{ESCAPED}",
    ),
    Row(
        "validateBasket",
        "POST /api/checkout/validate/{basket_id}",
        "session",
        lambda limio: limio.baskets.validate(NASTY),
        f"/api/checkout/validate/{ESCAPED}",
    ),
    Row(
        "updateBasket",
        "PUT /api/checkout/update",
        "bearer session",
        lambda limio: limio.baskets.update(BASKET_CHANGE, cookie=COOKIE),
        "/api/checkout/update",
        BASKET_CHANGE_JSON,
        {"cookie": COOKIE},
    ),
    Row(
        "recoverBasket",
        "GET /api/checkout/recover",
        "",
        lambda limio: limio.baskets.recover(basket="basket-1", recover="a+b/c="),
        "/api/checkout/recover?basket=basket-1&recover=a%2Bb%2Fc%3D",
    ),
    Row(
        "initiateSubscriptionCheckout",
        "POST /api/checkout/subscription",
        "bearer session",
        lambda limio: limio.checkout.initiate_subscription(SUBSCRIPTION_CHECKOUT, recaptcha="r-1"),
        "/api/checkout/subscription",
        SUBSCRIPTION_CHECKOUT_JSON,
        {"xlimiorecaptcha": "r-1"},
    ),
    Row(
        "getSubscriptionCheckout",
        "GET /api/checkout/subscription",
        "bearer session",
        lambda limio: limio.checkout.get_subscription(cookie=COOKIE),
        "/api/checkout/subscription",
        headers={"cookie": COOKIE},
    ),
    Row(
        "updateSubscriptionCheckout",
        "PUT /api/checkout/subscription",
        "bearer session",
        lambda limio: limio.checkout.update_subscription(BASKET_CHANGE, cookie=COOKIE),
        "/api/checkout/subscription",
        BASKET_CHANGE_JSON,
        {"cookie": COOKIE},
    ),
    # ---- the signed-in user
    Row(
        "getUserEntitlements",
        "GET /api/session/entitlements",
        "session",
        lambda limio: limio.session.entitlements(),
        "/api/session/entitlements",
    ),
    Row(
        "listMmaSubscriptions",
        "GET /api/mma/subscriptions",
        "session",
        lambda limio: limio.session.subscriptions(),
        "/api/mma/subscriptions",
    ),
    # ---- objects
    Row(
        "listObjects",
        "GET /api/objects/{service}/{path_type}",
        "bearer",
        lambda limio: limio.objects.list("gift_code", service="zuora", page_size=100),
        "/api/objects/zuora/gift_code?limit=100",
    ),
    Row(
        "createObject",
        "POST /api/objects/{service}/{path_type}",
        "bearer",
        lambda limio: limio.objects.create(
            "promo_codes_v2",
            models.CreateObjectRequest(
                name="abc123",
                id="promo_code_v2-abc123",
                data=models.PromoCodeData(
                    application_level="wholeBasket",
                    promo_code="abc123",
                    status=True,
                    product_details=models.DiscountProductDetails(
                        product=models.PathRef(path="/products/Discounts")
                    ),
                    usage=models.PromoCodeUsage(available_quantity=None),
                    discount=models.PromoCodeDiscount(
                        discount_type="DiscountPercentage", percentage_discount=12.5
                    ),
                ),
            ),
        ),
        "/api/objects/limio/promo_codes_v2",
        {
            "name": "abc123",
            "id": "promo_code_v2-abc123",
            "data": {
                "applicationLevel": "wholeBasket",
                "promoCode": "abc123",
                "status": True,
                "productDetails": {"product": {"path": "/products/Discounts"}},
                "usage": {"availableQuantity": None},
                "discount": {"discountType": "DiscountPercentage", "percentageDiscount": 12.5},
            },
        },
    ),
    Row(
        "getObject",
        "GET /api/objects/{service}/{path_type}/{id}",
        "bearer",
        lambda limio: limio.objects.get("a new/type", NASTY, service="salesforce"),
        f"/api/objects/salesforce/a%20new%2Ftype/{ESCAPED}",
    ),
    Row(
        "updateObject",
        "PUT /api/objects/{service}/{path_type}/{id}",
        "bearer",
        lambda limio: limio.objects.update(
            "subscriptions", NASTY, models.UpdateObjectRequest(data={"quantity": 2})
        ),
        f"/api/objects/limio/subscriptions/{ESCAPED}",
        {"data": {"quantity": 2}},
    ),
    Row(
        "deleteObject",
        "DELETE /api/objects/{service}/{path_type}/{id}",
        "bearer",
        lambda limio: limio.objects.delete("promo_codes_v2", NASTY),
        f"/api/objects/limio/promo_codes_v2/{ESCAPED}",
    ),
    Row(
        "listRelatedObjects",
        "GET /api/objects/{service}/{path_type}/{id}/related",
        "bearer",
        lambda limio: limio.objects.related("orders", NASTY),
        f"/api/objects/limio/orders/{ESCAPED}/related",
    ),
    Row(
        "listRelatedObjectsByRecordType",
        "GET /api/objects/{service}/{path_type}/{id}/related/{record_type}",
        "bearer",
        lambda limio: limio.objects.related_by_type("orders", NASTY, "payment_method"),
        f"/api/objects/limio/orders/{ESCAPED}/related/payment_method",
    ),
    Row(
        "addRelatedObject",
        "POST /api/objects/{service}/{path_type}/{id}/related/{record_type}",
        "bearer",
        lambda limio: limio.objects.add_related(
            "orders", NASTY, models.AddRelationshipRequest(id="identity-bcc1", service="limio")
        ),
        f"/api/objects/limio/orders/{ESCAPED}/related/identity",
        {"id": "identity-bcc1", "service": "limio"},
    ),
    Row(
        "listChildObjects",
        "GET /api/objects/{service}/{path_type}/{id}/objects",
        "bearer",
        lambda limio: limio.objects.children("subscriptions", NASTY),
        f"/api/objects/limio/subscriptions/{ESCAPED}/objects",
    ),
    Row(
        "listChildObjectsBySubtype",
        "GET /api/objects/{service}/{path_type}/{id}/objects/{subtype}",
        "bearer",
        lambda limio: limio.objects.children_by_subtype("subscriptions", NASTY, "schedule"),
        f"/api/objects/limio/subscriptions/{ESCAPED}/objects/schedule",
    ),
    Row(
        "listObjectEvents",
        "GET /api/objects/{service}/{path_type}/{id}/events",
        "bearer",
        lambda limio: limio.objects.events("orders", NASTY),
        f"/api/objects/limio/orders/{ESCAPED}/events",
    ),
    # ---- catalog
    Row(
        "listCampaigns",
        "GET /api/campaigns",
        "key bearer",
        lambda limio: limio.campaigns.list(
            path="/offers/2019 Winter Campaign",
            tags="/tags/uk-uk/default",
            reduced_data=True,
            modified_after="2020-12-01T16:00",
            page_size=25,
        ),
        "/api/campaigns?path=%2Foffers%2F2019%20Winter%20Campaign&tags=%2Ftags%2Fuk-uk%2Fdefault"
        "&reducedData=true&opt.modifiedAfter=2020-12-01T16%3A00&opt.all=true&opt.pageSize=25",
    ),
    Row(
        "listOffers",
        "GET /api/offers",
        "key bearer",
        lambda limio: limio.offers.list(
            tags="/tags/uk-uk/default",
            reduced_data=False,
            modified_after=NOON,
            attributes={"group__limio": "A & B", "term": "12"},
            page_size=100,
        ),
        f"/api/offers?tags=%2Ftags%2Fuk-uk%2Fdefault&reducedData=false&opt.modifiedAfter={NOON_ESCAPED}"
        "&attributes.group__limio=A%20%26%20B&attributes.term=12&opt.all=true&opt.pageSize=100",
    ),
    Row(
        "listOffersV2",
        "GET /api/offers/v2",
        "key bearer",
        lambda limio: limio.offers_v2.list(
            offers_source="catalog",
            path="/offers2/$75 + 5%",
            tags="/tags/t",
            reduced_data=True,
            modified_after="2020-12-01",
            attributes={"a": "1"},
        ),
        "/api/offers/v2?offersSource=catalog&path=%2Foffers2%2F%2475%20%2B%205%25&tags=%2Ftags%2Ft"
        "&reducedData=true&opt.modifiedAfter=2020-12-01&attributes.a=1&opt.all=true",
    ),
    Row(
        "listAssets",
        "GET /api/assets",
        "key bearer",
        lambda limio: limio.assets.list(
            path="/assets/image/MyImage", modified_after=NOON, attributes={"a": "1"}, page_size=7
        ),
        f"/api/assets?path=%2Fassets%2Fimage%2FMyImage&opt.modifiedAfter={NOON_ESCAPED}&attributes.a=1"
        "&opt.all=true&opt.pageSize=7",
    ),
    Row(
        "listProducts",
        "GET /api/products",
        "key bearer",
        lambda limio: limio.products.list(
            path="/products/Streaming", modified_after=NOON, attributes={"a": "1"}, page_size=7
        ),
        f"/api/products?path=%2Fproducts%2FStreaming&opt.modifiedAfter={NOON_ESCAPED}&attributes.a=1"
        "&opt.all=true&opt.pageSize=7",
    ),
    Row(
        "listSegments",
        "GET /api/segments",
        "key bearer",
        lambda limio: limio.segments.list(
            path="/segments/Interest", modified_after=NOON, attributes={"a": "1"}, page_size=7
        ),
        f"/api/segments?path=%2Fsegments%2FInterest&opt.modifiedAfter={NOON_ESCAPED}&attributes.a=1"
        "&opt.all=true&opt.pageSize=7",
    ),
    Row(
        "listJourneys",
        "GET /api/journeys",
        "key bearer",
        lambda limio: limio.journeys.list(),
        "/api/journeys",
    ),
    Row(
        "listPages",
        "GET /api/pages",
        "key bearer",
        lambda limio: limio.pages.list(
            path="/pages2/Über uns", tags="/tags/t", modified_after=NOON, attributes={"a": "1"}, page_size=7
        ),
        f"/api/pages?path=%2Fpages2%2F%C3%9Cber%20uns&tags=%2Ftags%2Ft&opt.modifiedAfter={NOON_ESCAPED}"
        "&attributes.a=1&opt.all=true&opt.pageSize=7",
    ),
    Row(
        "listAddOns",
        "GET /api/add_ons",
        "key bearer",
        lambda limio: limio.add_ons.list(
            path="/add_ons/Print", tags="/tags/t", modified_after=NOON, attributes={"a": "1"}, page_size=7
        ),
        f"/api/add_ons?path=%2Fadd_ons%2FPrint&tags=%2Ftags%2Ft&opt.modifiedAfter={NOON_ESCAPED}"
        "&attributes.a=1&opt.all=true&opt.pageSize=7",
    ),
    Row(
        "listCatalogItems",
        "GET /api/catalog_items",
        "bearer",
        lambda limio: limio.catalog_items.list(
            record_type="offers2",
            id="d89c.97d1",
            path="/offers2/A",
            tags="/tags/t",
            reduced_data=True,
            modified_after=NOON,
            attributes={"a": "1"},
            page_size=7,
        ),
        "/api/catalog_items?record_type=offers2&id=d89c.97d1&path=%2Foffers2%2FA&tags=%2Ftags%2Ft"
        f"&reducedData=true&opt.modifiedAfter={NOON_ESCAPED}&attributes.a=1&opt.all=true&opt.pageSize=7",
    ),
    Row(
        "listPublishedCatalogItems",
        "GET /api/published_catalog_items",
        "bearer",
        lambda limio: limio.published_catalog_items.list(
            record_type="add_on",
            id="d89c.97d1",
            path="/add_ons/A",
            tags="/tags/t",
            reduced_data=True,
            modified_after=NOON,
            attributes={"a": "1"},
        ),
        "/api/published_catalog_items?record_type=add_on&id=d89c.97d1&path=%2Fadd_ons%2FA&tags=%2Ftags%2Ft"
        f"&reducedData=true&opt.modifiedAfter={NOON_ESCAPED}&attributes.a=1&opt.all=true",
    ),
    Row(
        "bulkUpdateCatalogItems",
        "PUT /api/limio/catalogs/1/bulk-update",
        "bearer",
        lambda limio: limio.catalog.bulk_update(
            models.BulkUpdateRequest(
                diffs=[
                    models.CatalogDiff(
                        path="/offers2/A",
                        diff=models.CatalogDiffContent(attributes={"cta_text__limio": "Go"}),
                    )
                ]
            )
        ),
        "/api/limio/catalogs/1/bulk-update",
        {"diffs": [{"path": "/offers2/A", "diff": {"attributes": {"cta_text__limio": "Go"}}}]},
    ),
    # ---- journeys v2
    Row(
        "listJourneysV2",
        "GET /api/v2/journey",
        "key bearer",
        lambda limio: limio.journeys_v2.list(),
        "/api/v2/journey",
    ),
    Row(
        "createJourneyV2",
        "POST /api/v2/journey",
        "bearer",
        lambda limio: limio.journeys_v2.create(models.JourneyV2Input(name="Test")),
        "/api/v2/journey",
        {"name": "Test"},
    ),
    Row(
        "getJourneyV2",
        "GET /api/v2/journey/{name}",
        "bearer",
        lambda limio: limio.journeys_v2.get(NASTY),
        f"/api/v2/journey/{ESCAPED}",
    ),
    Row(
        "upsertJourneyV2",
        "PUT /api/v2/journey/{name}",
        "bearer",
        lambda limio: limio.journeys_v2.upsert(NASTY, models.JourneyV2Input(name="test001")),
        f"/api/v2/journey/{ESCAPED}",
        {"name": "test001"},
    ),
    Row(
        "deleteJourneyV2",
        "DELETE /api/v2/journey/{name}",
        "bearer",
        lambda limio: limio.journeys_v2.delete("Digital Journey"),
        "/api/v2/journey/Digital%20Journey",
    ),
    # ---- build and publish
    Row(
        "buildShop",
        "POST /api/shop/builds",
        "bearer",
        lambda limio: limio.builds.create(models.BuildRequest(items=["/offers/Limio Campaign"])),
        "/api/shop/builds",
        {"items": ["/offers/Limio Campaign"]},
    ),
    Row(
        "getComponentBuilds",
        "GET /api/component/builds",
        "bearer",
        lambda limio: limio.component_builds.get(commit_hash="608f72e"),
        "/api/component/builds?commitHash=608f72e",
    ),
    Row(
        "publishPages",
        "POST /api/publish",
        "bearer",
        lambda limio: limio.publications.create(
            models.PublishRequest(
                tags=["/tags/uk-uk/default"], build_id="build-acme-shop:b83e", name="Default"
            )
        ),
        "/api/publish",
        {"tags": ["/tags/uk-uk/default"], "buildId": "build-acme-shop:b83e", "name": "Default"},
    ),
    # ---- integrations
    Row(
        "syncZuoraSubscription",
        "POST /api/plugins/zuora/sync/subscription/{id}",
        "bearer",
        lambda limio: limio.zuora.sync_subscription("A-S00000271"),
        "/api/plugins/zuora/sync/subscription/A-S00000271",
    ),
    Row(
        "handleZuoraEvent",
        "POST /api/events/zuora",
        "",
        lambda limio: limio.zuora.handle_event(
            models.ZuoraEventRequest(
                subscription_id="A-S00012345", type="RenewSubscription", data={"renewalTerm": 12}
            )
        ),
        "/api/events/zuora",
        {"subscriptionID": "A-S00012345", "type": "RenewSubscription", "data": {"renewalTerm": 12}},
    ),
    # ---- partners
    Row(
        "listPartnerOrganisations",
        "GET /api/partner-organisations",
        "bearer",
        lambda limio: limio.partner_organisations.list(page_size=20),
        "/api/partner-organisations?limit=20",
    ),
    Row(
        "createPartnerOrganisation",
        "POST /api/partner-organisation",
        "bearer",
        lambda limio: limio.partner_organisations.create(
            models.PartnerOrganisationInput(
                name="Acme Resellers",
                zuora_account_id="2c92",
                is_zuora_invoice_owner=True,
                salesforce_account_id="001D",
            )
        ),
        "/api/partner-organisation",
        {
            "name": "Acme Resellers",
            "zuoraAccountId": "2c92",
            "isZuoraInvoiceOwner": True,
            "salesforceAccountId": "001D",
        },
    ),
    Row(
        "createPartnerUser",
        "POST /api/partner-organisation/{partner_organisation_id}",
        "bearer",
        lambda limio: limio.partner_organisations.create_user(
            NASTY, models.PartnerUserInput(email="user@example.com")
        ),
        f"/api/partner-organisation/{ESCAPED}",
        {"email": "user@example.com"},
    ),
    Row(
        "submitPartnerOrder",
        "POST /api/partner/order",
        "bearer",
        lambda limio: limio.partner_orders.submit(ORDER),
        "/api/partner/order",
        ORDER_JSON,
    ),
    Row(
        "previewPartnerOrder",
        "POST /api/partner/order/preview",
        "bearer",
        lambda limio: limio.partner_orders.preview(ORDER),
        "/api/partner/order/preview",
        ORDER_JSON,
    ),
    Row(
        "searchPartnerCustomers",
        "GET /api/partner/customer",
        "bearer",
        lambda limio: limio.partner_customers.search(filter="zoë@example.com", page_size=40),
        "/api/partner/customer?filter=zo%C3%AB%40example.com&limit=40",
    ),
    Row(
        "getPartnerSubscriptionCheckout",
        "GET /api/partner/checkout/subscription",
        "bearer",
        lambda limio: limio.partner_checkout.get_subscription(cookie=COOKIE),
        "/api/partner/checkout/subscription",
        headers={"cookie": COOKIE},
    ),
    Row(
        "initiatePartnerSubscriptionCheckout",
        "POST /api/partner/checkout/subscription",
        "bearer",
        lambda limio: limio.partner_checkout.initiate_subscription(SUBSCRIPTION_CHECKOUT, recaptcha="r-1"),
        "/api/partner/checkout/subscription",
        SUBSCRIPTION_CHECKOUT_JSON,
        {"xlimiorecaptcha": "r-1"},
    ),
    # ---- catalog administration, at the host's root
    Row(
        "createJob",
        "POST /limio/jobs",
        "bearer",
        lambda limio: limio.jobs.create(
            models.JobRequest(
                job_type="creation",
                update_path="/limio/catalogs/1/tree/offers2",
                item_data={"name": "$5 a month"},
            )
        ),
        "/limio/jobs",
        {
            "jobType": "creation",
            "updatePath": "/limio/catalogs/1/tree/offers2",
            "itemData": {"name": "$5 a month"},
        },
    ),
    Row(
        "getJob",
        "GET /limio/jobs/{job_id}",
        "bearer",
        lambda limio: limio.jobs.get(NASTY),
        f"/limio/jobs/{ESCAPED}",
    ),
    Row(
        "getCatalogItem",
        "GET /limio/catalogs/1/items/{path}",
        "bearer",
        lambda limio: limio.catalog_items.get("/offers2/$75 für 52 weeks"),
        "/limio/catalogs/1/items/offers2%2F%2475%20f%C3%BCr%2052%20weeks",
    ),
    Row(
        "deleteCatalogItem",
        "DELETE /limio/catalogs/1/items/{path}",
        "bearer",
        lambda limio: limio.catalog_items.delete("offers2/50% off"),
        "/limio/catalogs/1/items/offers2%2F50%25%20off",
    ),
)

# What may be left out, or is only there in some calls.
VARIANTS = (
    Row(
        "submitOrder",
        "POST /api/order",
        "bearer",
        lambda limio: limio.orders.submit(
            models.ChangeOfferOrder(
                order_type="change_offer",
                for_subscription=models.SubscriptionRef(id="sub-1"),
                offer=OFFER,
            )
        ),
        "/api/order",
        {
            "order_type": "change_offer",
            "forSubscription": {"id": "sub-1"},
            "offer": {"id": "8a51", "version": "4dd3"},
        },
    ),
    Row(
        "submitOrderAsAdmin",
        "POST /api/admin/order",
        "bearer",
        lambda limio: limio.orders.submit_as_admin({"order_type": "renew", "x": [1.0, None, "€"]}),
        "/api/admin/order",
        {"order_type": "renew", "x": [1.0, None, "€"]},
    ),
    Row(
        "createToken",
        "POST /oauth2/token",
        "",
        lambda limio: limio.oauth.create_token(
            models.OAuthTokenRequest(
                grant_type="authorization_code",
                client_id="id-1",
                code="c/1",
                redirect_uri="https://shop.example.com/back",
            )
        ),
        "/oauth2/token",
        b"grant_type=authorization_code&client_id=id-1&code=c%2F1"
        b"&redirect_uri=https%3A%2F%2Fshop.example.com%2Fback",
    ),
    Row(
        "authorize",
        "GET /oauth2/authorize",
        "",
        lambda limio: limio.oauth.authorize(client_id="id-1", redirect_uri="https://a.example"),
        "/oauth2/authorize?response_type=code&client_id=id-1&redirect_uri=https%3A%2F%2Fa.example",
    ),
    Row(
        "removeExternalIdentity",
        "DELETE /api/objects/externalidentity",
        "bearer",
        lambda limio: limio.identities.remove_external(
            OUTSIDER, cookie="lmo_uid=u-1", limio_host="shop.example.com"
        ),
        "/api/objects/externalidentity",
        OUTSIDER_JSON,
        {"cookie": "lmo_uid=u-1", "xlimiohost": "shop.example.com"},
    ),
    Row(
        "listAbandonedBaskets",
        "GET /api/checkout/abandoned",
        "bearer",
        lambda limio: limio.baskets.list_abandoned(created_after="2024-03-26"),
        "/api/checkout/abandoned?createdAfter=2024-03-26&limit=50",
    ),
    Row(
        "initiateCheckout",
        "POST /api/checkout/initiate",
        "bearer",
        lambda limio: limio.checkout.initiate({"order": {"orderItems": []}}),
        "/api/checkout/initiate",
        {"order": {"orderItems": []}},
    ),
    Row(
        "listObjects",
        "GET /api/objects/{service}/{path_type}",
        "bearer",
        lambda limio: limio.objects.list("subscriptions"),
        "/api/objects/limio/subscriptions",
    ),
    Row(
        "listOffers",
        "GET /api/offers",
        "key",
        lambda limio: limio.offers.list(),
        "/api/offers?opt.all=true",
    ),
    Row(
        "getComponentBuilds",
        "GET /api/component/builds",
        "bearer",
        lambda limio: limio.component_builds.get(),
        "/api/component/builds",
    ),
    Row(
        "searchPartnerCustomers",
        "GET /api/partner/customer",
        "bearer",
        lambda limio: limio.partner_customers.search(),
        "/api/partner/customer",
    ),
)

# Each kind of object, and what the documents call it in the path.
PATH_TYPES = {
    "orders": "orders",
    "subscriptions": "subscriptions",
    "customers": "customers",
    "identities": "identities",
    "addresses": "address",
    "schedules": "schedules",
    "payment_methods": "payment_methods",
    "subscription_offers": "subscription_offers",
    "user_entitlements": "user_entitlements",
    "gift_codes": "gift_code",
    "promo_codes": "promo_codes_v2",
    "events": "events",
    "processes": "process",
}
PARENTS = ("orders", "subscriptions", "customers", "identities")
UPDATE = {"data": {"quantity": 2}}
RELATE = {"id": "identity-1", "service": "limio"}


def of_kind(
    name: str,
    operation: str,
    line: str,
    call: Callable[[Any], Awaitable[Any]],
    target: str,
    body: Any = None,
    *,
    kinds: tuple[str, ...],
) -> list[tuple[str, str, Row]]:
    """The same operation on several kinds of object; *call* gets the resource of the kind."""

    def row(kind: str) -> Row:
        path_type = PATH_TYPES[kind]
        return Row(
            operation,
            line.replace("KIND", path_type),
            "bearer",
            lambda limio: call(getattr(limio, kind)),
            target.replace("KIND", path_type),
            body,
        )

    return [(kind, name, row(kind)) for kind in kinds]


BOUND = [
    *of_kind(
        "list",
        "listObjects",
        "GET /api/objects/{service}/KIND",
        lambda kind: kind.list(page_size=10),
        "/api/objects/limio/KIND?limit=10",
        kinds=tuple(PATH_TYPES),
    ),
    *of_kind(
        "get",
        "getObject",
        "GET /api/objects/{service}/KIND/{id}",
        lambda kind: kind.get(NASTY, service="zuora"),
        f"/api/objects/zuora/KIND/{ESCAPED}",
        kinds=tuple(PATH_TYPES),
    ),
    *of_kind(
        "update",
        "updateObject",
        "PUT /api/objects/{service}/KIND/{id}",
        lambda kind: kind.update(NASTY, UPDATE),
        f"/api/objects/limio/KIND/{ESCAPED}",
        UPDATE,
        kinds=("orders", "subscriptions", "customers", "promo_codes"),
    ),
    *of_kind(
        "related",
        "listRelatedObjects",
        "GET /api/objects/{service}/KIND/{id}/related",
        lambda kind: kind.related(NASTY),
        f"/api/objects/limio/KIND/{ESCAPED}/related",
        kinds=PARENTS,
    ),
    *of_kind(
        "related_by_type",
        "listRelatedObjectsByRecordType",
        "GET /api/objects/{service}/KIND/{id}/related/{record_type}",
        lambda kind: kind.related_by_type(NASTY, "address"),
        f"/api/objects/limio/KIND/{ESCAPED}/related/address",
        kinds=PARENTS,
    ),
    *of_kind(
        "add_related",
        "addRelatedObject",
        "POST /api/objects/{service}/KIND/{id}/related/{record_type}",
        lambda kind: kind.add_related(NASTY, RELATE),
        f"/api/objects/limio/KIND/{ESCAPED}/related/identity",
        RELATE,
        kinds=("orders", "subscriptions", "customers"),
    ),
    *of_kind(
        "children",
        "listChildObjects",
        "GET /api/objects/{service}/KIND/{id}/objects",
        lambda kind: kind.children(NASTY),
        f"/api/objects/limio/KIND/{ESCAPED}/objects",
        kinds=PARENTS,
    ),
    *of_kind(
        "children_by_subtype",
        "listChildObjectsBySubtype",
        "GET /api/objects/{service}/KIND/{id}/objects/{subtype}",
        lambda kind: kind.children_by_subtype(NASTY, "schedule"),
        f"/api/objects/limio/KIND/{ESCAPED}/objects/schedule",
        kinds=PARENTS,
    ),
    *of_kind(
        "events",
        "listObjectEvents",
        "GET /api/objects/{service}/KIND/{id}/events",
        lambda kind: kind.events(NASTY),
        f"/api/objects/limio/KIND/{ESCAPED}/events",
        kinds=("orders", "subscriptions", "customers"),
    ),
    *of_kind(
        "create",
        "createObject",
        "POST /api/objects/{service}/KIND",
        lambda kind: kind.create({"name": "C", "id": "promo_code_v2-C", "data": {}}),
        "/api/objects/limio/KIND",
        {"name": "C", "id": "promo_code_v2-C", "data": {}},
        kinds=("promo_codes",),
    ),
    *of_kind(
        "delete",
        "deleteObject",
        "DELETE /api/objects/{service}/KIND/{id}",
        lambda kind: kind.delete(NASTY),
        f"/api/objects/limio/KIND/{ESCAPED}",
        kinds=("promo_codes",),
    ),
]

ROWS = [*OPERATIONS, *VARIANTS, *(row for _, _, row in BOUND)]


def named(row: Row) -> str:
    return f"{row.operation} {row.target}"


async def sent_by(row: Row, auth: Any = None) -> list[Request]:
    transport = ScriptedTransport(EVERYTHING_NEEDED)
    async with Limio("limio.test", auth=auth, transport=transport) as limio:
        await row.call(limio)
    return transport.requests


def exactly(value: Any) -> str:
    """JSON in which 1, 1.0 and true are three things."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("row", ROWS, ids=named)
async def test_a_call_is_exactly_this_one_request(row: Row) -> None:
    method = row.line.split()[0]
    form = isinstance(row.body, bytes)
    expected = {"accept": "application/json", **row.headers}
    if row.body is not None:
        expected["content-type"] = "application/x-www-form-urlencoded" if form else "application/json"
    auth = None
    if row.accepts:
        auth, expected["authorization"] = CREDENTIALS[row.accepts.split()[0]]

    [request] = await sent_by(row, auth)

    assert (request.operation, request.method, request.target) == (row.operation, method, row.target)
    assert request.headers == expected
    if row.body is None or form:
        assert request.body == row.body
    else:
        assert request.body is not None
        assert exactly(json.loads(request.body)) == exactly(row.body)


@pytest.mark.parametrize(
    ("row", "scheme"),
    list(product(OPERATIONS, get_args(Scheme))),
    ids=lambda value: value.operation if isinstance(value, Row) else value,
)
async def test_an_operation_takes_the_credentials_it_documents_and_no_others(row: Row, scheme: str) -> None:
    auth, authorization = CREDENTIALS[scheme]
    if row.accepts and scheme not in row.accepts.split():
        with pytest.raises(MissingCredentials, match=f"^{row.operation}: takes "):
            await sent_by(row, auth)
        return
    [request] = await sent_by(row, auth)
    assert request.headers.get("authorization") == (authorization if row.accepts else None)


@pytest.mark.parametrize("row", [row for row in OPERATIONS if " " in row.accepts], ids=named)
async def test_of_several_credentials_the_client_s_first_is_used_but_the_key_for_campaigns(row: Row) -> None:
    first, second = (CREDENTIALS[scheme] for scheme in row.accepts.split())
    for mine, other in ((first, second), (second, first)):
        [request] = await sent_by(row, [mine[0], other[0]])
        expected = first if row.operation == "listCampaigns" else mine
        assert request.headers["authorization"] == expected[1]


def test_every_operation_is_in_the_table_once() -> None:
    assert sorted(row.operation for row in OPERATIONS) == sorted(ENDPOINTS)
    assert len(OPERATIONS) == 68


def test_every_view_is_in_the_table_once() -> None:
    assert sorted((kind, name) for kind, name, _ in BOUND) == sorted(
        (view.resource, view.name) for view in VIEWS
    )


BY_HAND = {("catalog", "commit_id")}
"""Methods that are no operation; what they send is tested where they are."""


def test_every_public_method_of_every_resource_is_in_the_table() -> None:
    limio = Limio("limio.test")
    methods = {
        (resource, name)
        for resource in Resources.__annotations__
        for name, _ in inspect.getmembers(getattr(limio, resource), inspect.ismethod)
        if not name.startswith("_") and (resource, name) not in BY_HAND
    }
    own = {(ENDPOINTS[row.operation].resource, ENDPOINTS[row.operation].name) for row in OPERATIONS}
    assert methods == own | {(kind, name) for kind, name, _ in BOUND}


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.operation)
def test_the_docstring_of_an_operation_names_method_and_path(row: Row) -> None:
    endpoint = ENDPOINTS[row.operation]
    assert f"`{row.line}`" in documented(endpoint.resource, endpoint.name)


@pytest.mark.parametrize(
    ("kind", "name", "row"), BOUND, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_docstring_of_a_view_names_method_and_path(kind: str, name: str, row: Row) -> None:
    assert f"`{row.line}`" in documented(kind, name)


def documented(resource: str, name: str) -> str:
    return inspect.getdoc(getattr(getattr(Limio("limio.test"), resource), name)) or ""


# ------------------------------------------------------------------ the next page

SCROLL = {"queryMore": {"from": "DnF1_-+/==", "alias": "catalog_acme.prod.limio.com"}}
SCROLL_QUERY = "opt.queryMoreFrom=DnF1_-%2B%2F%3D%3D&opt.queryMoreAlias=catalog_acme.prod.limio.com"
KEY = {"queryMore": "eyJj+/=="}
KEY_QUERY = "queryMore=eyJj%2B%2F%3D%3D"
CURSORS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "listCampaigns": (SCROLL, SCROLL_QUERY),
    "listOffers": (SCROLL, SCROLL_QUERY),
    "listOffersV2": (SCROLL, SCROLL_QUERY),
    "listAssets": (SCROLL, SCROLL_QUERY),
    "listProducts": (SCROLL, SCROLL_QUERY),
    "listSegments": (SCROLL, SCROLL_QUERY),
    "listPages": (SCROLL, SCROLL_QUERY),
    "listAddOns": (SCROLL, SCROLL_QUERY),
    "listCatalogItems": (SCROLL, SCROLL_QUERY),
    "listPublishedCatalogItems": (SCROLL, SCROLL_QUERY),
    "listObjects": (KEY, KEY_QUERY),
    "listAbandonedBaskets": (KEY, KEY_QUERY),
    "listPartnerOrganisations": (KEY, KEY_QUERY),
    "searchPartnerCustomers": (KEY, KEY_QUERY),
    "getSubscriptionsBySalesforceId": (KEY, KEY_QUERY),
}
WHOLE = {
    "listMmaSubscriptions",
    "listRelatedObjects",
    "listRelatedObjectsByRecordType",
    "listChildObjects",
    "listChildObjectsBySubtype",
    "listObjectEvents",
}


@pytest.mark.parametrize("row", [row for row in OPERATIONS if row.operation in CURSORS], ids=named)
async def test_the_next_page_is_asked_for_with_the_same_filters_and_the_cursor(row: Row) -> None:
    cursor, query = CURSORS[row.operation]
    first = {"items": [{"id": "1"}], "subscriptions": [{"id": "1"}], **cursor}
    transport = ScriptedTransport(
        Response(status=200, headers={}, body=json.dumps(first).encode()), EVERYTHING_NEEDED
    )
    async with Limio(
        "limio.test", auth=[auth for auth, _ in CREDENTIALS.values()], transport=transport
    ) as limio:
        listing: Any = row.call(limio)
        assert [item.id async for item in listing] == ["1"]
    glue = "&" if "?" in row.target else "?"
    assert [request.target for request in transport.requests] == [row.target, f"{row.target}{glue}{query}"]


def test_every_list_operation_has_its_cursor_in_the_table() -> None:
    listed = {endpoint.operation for endpoint in ENDPOINTS.values() if endpoint.paging is not None}
    assert listed == CURSORS.keys() | WHOLE


# ------------------------------------------------------------------ through aiohttp

HOST = "https://acme.prod.limio.com"
BY_METHOD = [
    next(row for row in OPERATIONS if row.operation == operation)
    for operation in (
        "listJourneysV2",
        "getObject",
        "createToken",
        "addExternalIdentity",
        "updateBasket",
        "removeExternalIdentity",
        "deleteCatalogItem",
        "listOffers",
    )
]


@pytest.mark.parametrize("row", BY_METHOD, ids=lambda row: row.operation)
async def test_this_is_what_aiohttp_is_told_to_send(row: Row) -> None:
    auth = CREDENTIALS[row.accepts.split()[0]] if row.accepts else (None, None)
    with mocked_http() as http:
        http.answers(row.line.split()[0], HOST + row.target, body=EVERYTHING_NEEDED.body)
        async with Limio("acme.prod.limio.com", auth=auth[0]) as limio:
            await row.call(limio)
        [(method, url, call)] = http.calls
    assert method == row.line.split()[0]
    assert url.startswith(HOST + row.target.partition("?")[0])
    headers = call.kwargs["headers"]
    assert headers.get("authorization") == auth[1]
    assert headers["user-agent"].startswith("limio_async/")
    assert {name: headers[name] for name in row.headers} == row.headers
    body = call.kwargs["data"]
    match row.body:
        case None:
            assert body is None
            assert "content-type" not in headers
        case bytes():
            assert body == row.body
            assert headers["content-type"] == "application/x-www-form-urlencoded"
        case _:
            assert exactly(json.loads(body)) == exactly(row.body)
            assert headers["content-type"] == "application/json"
    assert call.kwargs["allow_redirects"] is False
    assert call.kwargs["timeout"].connect == 10.0


async def test_a_list_is_walked_page_by_page_through_aiohttp() -> None:
    first = json.dumps({"hits": 2, "items": [{"id": "1"}, {"id": "2"}], "commitId": "c", **SCROLL})
    last = json.dumps({"hits": 2, "items": [], "commitId": "c"})
    with mocked_http() as http:
        http.answers("GET", f"{HOST}/api/offers?tags=%2Ftags%2Ft&opt.all=true", body=first.encode())
        http.answers(
            "GET", f"{HOST}/api/offers?tags=%2Ftags%2Ft&opt.all=true&{SCROLL_QUERY}", body=last.encode()
        )
        async with Limio("acme.prod.limio.com", auth=ApiKey("public_5f3a")) as limio:
            assert [offer.id async for offer in limio.offers.list(tags="/tags/t")] == ["1", "2"]
        assert len(http.calls) == 2


async def test_a_redirect_through_aiohttp_is_an_answer() -> None:
    with mocked_http() as http:
        target = "/api/checkout/recover?basket=basket-1&recover=abc"
        http.answers("GET", HOST + target, body=b"", status=302, location="https://shop.example.com/checkout")
        async with Limio("acme.prod.limio.com") as limio:
            redirect = await limio.baskets.recover(basket="basket-1", recover="abc")
        assert len(http.calls) == 1
    assert redirect.location == "https://shop.example.com/checkout"


async def test_aioresponses_still_needs_its_answers_mended() -> None:
    """When this fails, aioresponses works by itself: let tests/wire/mocked.py go."""
    with aioresponses() as http:
        http.get(HOST, body=b"{}")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match="stream_writer"):
                await session.get(HOST)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("path", "one", "several"), PATHS)
async def test_an_item_s_path_is_sent_to_the_letter(path: str, one: str, several: str, plain: bool) -> None:
    async with raw_server(http(b'{"item": {}}')) as server:
        async with Limio(server.url, auth=BearerToken("t"), plain_item_paths=plain) as limio:
            await limio.catalog_items.get(path)
        line = server.requests[0].partition(b"\r\n")[0].decode()
        assert line == f"GET /limio/catalogs/1/items/{several if plain else one} HTTP/1.1"
