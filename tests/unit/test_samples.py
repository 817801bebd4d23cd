"""Every documented payload is understood, and so is what live tenants were seen to make of it."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect as types

from limio_async import errors, models
from limio_async.api.endpoints import ENDPOINTS, VIEWS
from limio_async.core.codec import read_response
from limio_async.core.listing.head import Head, read_head
from limio_async.core.listing.reader import PageReader
from limio_async.core.wire import Endpoint, ListEndpoint, Redirect, Response

SAMPLES = Path(__file__).parent.parent / "samples"

# What answers with each sample: an operation, or a view of one.
ANSWERS = (
    ("addExternalIdentity", "addExternalIdentity"),
    ("addObjectRelationship", "addRelatedObject"),
    ("buildShop", "buildShop"),
    ("bulkUpdateCatalogItems", "bulkUpdateCatalogItems"),
    ("createJourneyV2", "createJourneyV2"),
    ("createPartnerOrganisation", "createPartnerOrganisation"),
    ("createPartnerUser", "createPartnerUser"),
    ("createPromoCode", "createObject"),
    ("createPromoCode", "promo_codes.create"),
    ("createTimelineEvent", "createTimelineEvent"),
    ("deleteJourneyV2", "deleteJourneyV2"),
    ("deleteObject", "deleteObject"),
    ("deleteObject", "promo_codes.delete"),
    ("getComponentBuilds", "getComponentBuilds"),
    ("getJourneyV2", "getJourneyV2"),
    ("getObject", "getObject"),
    ("getObject", "subscriptions.get"),
    ("getObjectChildren", "listChildObjects"),
    ("getObjectChildren", "orders.children"),
    ("getObjectChildrenBySubtype", "listChildObjectsBySubtype"),
    ("getObjectChildrenBySubtype", "orders.children_by_subtype"),
    ("getObjectEvents", "listObjectEvents"),
    ("getObjectEvents", "orders.events"),
    ("getObjectRelated", "listRelatedObjects"),
    ("getObjectRelated", "orders.related"),
    ("getObjectRelatedByRecordType", "listRelatedObjectsByRecordType"),
    ("getObjectRelatedByRecordType", "orders.related_by_type"),
    ("getSubscriptionsBySalesforceId", "getSubscriptionsBySalesforceId"),
    ("getUserEntitlements", "getUserEntitlements"),
    ("initiateCheckout", "initiateCheckout"),
    ("initiateCheckout_storefront", "initiateCheckout"),
    ("listAbandonedBaskets", "listAbandonedBaskets"),
    ("listAssets", "listAssets"),
    ("listCampaigns", "listCampaigns"),
    ("listCampaigns_minimal", "listCampaigns"),
    ("listJourneys", "listJourneys"),
    ("listJourneysV2", "listJourneysV2"),
    ("listObjects", "listObjects"),
    ("listObjects", "orders.list"),
    ("listOffers", "listOffers"),
    ("listOffers", "listOffersV2"),
    ("listOffers", "listAddOns"),
    ("listOffers", "listCatalogItems"),
    ("listOffers", "listPublishedCatalogItems"),
    ("listOffersV2", "listOffersV2"),
    ("listPartnerOrganisations", "listPartnerOrganisations"),
    ("listProducts", "listProducts"),
    ("listSegments", "listSegments"),
    ("oauthToken", "createToken"),
    ("previewOrder", "previewOrder"),
    ("previewOrder", "previewPartnerOrder"),
    ("publishPages", "publishPages"),
    ("removeExternalIdentity", "removeExternalIdentity"),
    ("submitOrder", "submitOrder"),
    ("submitOrder", "submitOrderAsAdmin"),
    ("submitOrder", "submitPartnerOrder"),
    ("syncZuoraSubscription", "syncZuoraSubscription"),
    ("transferOwnership", "transferOwnership"),
    ("updateObject", "updateObject"),
    ("updateObject", "subscriptions.update"),
    ("upsertJourneyV2", "upsertJourneyV2"),
)

# What each sample of a body is sent as; None: the model of its order_type.
BODIES: Mapping[str, type[msgspec.Struct] | None] = {
    "addExternalIdentity_request": models.ExternalIdentityRequest,
    "addObjectRelationship_request": models.AddRelationshipRequest,
    "buildShop_request": models.BuildRequest,
    "bulkUpdateCatalogItems_request": models.BulkUpdateRequest,
    "createPromoCode_request": models.CreateObjectRequest,
    "createPromoCode_request_selectedItems": models.CreateObjectRequest,
    "createTimelineEvent_request": models.TimelineEventRequest,
    "handleZuoraEvent_request": models.ZuoraEventRequest,
    "initiateCheckout_request": models.InitiateCheckoutRequest,
    "initiateCheckout_request_storefront": models.InitiateCheckoutRequest,
    "initiateSubscriptionCheckout_request": models.SubscriptionCheckoutRequest,
    "initiateSubscriptionCheckout_request_items": models.SubscriptionCheckoutRequest,
    "previewOrder_request_update_subscription": None,
    "publishPages_request": models.PublishRequest,
    "submitOrder_request_add_offer": None,
    "submitOrder_request_cancel_intent": None,
    "submitOrder_request_cancel_subscription": None,
    "submitOrder_request_change_address": None,
    "submitOrder_request_change_offer": None,
    "submitOrder_request_change_payment": None,
    "submitOrder_request_change_payment_redirect": None,
    "submitOrder_request_data_capture": None,
    "submitOrder_request_gift_refund": None,
    "submitOrder_request_new": None,
    "submitOrder_request_pay_invoice": None,
    "submitOrder_request_update_customer_details": None,
    "submitOrder_request_update_subscription": None,
    "transferOwnership_request": models.TransferOwnershipRequest,
    "updateObject_request": models.UpdateObjectRequest,
}

ERRORS = {"error401"}

# What an answer, of a list each item, is nothing without: of these at least one, by what the samples always show.
# Whatever is not named here is an object of the store, which has an id.
INDISPENSABLE: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        ("listAddOns", "listAssets", "listCampaigns", "listCatalogItems", "listOffers", "listOffersV2", "listPages",
         "listProducts", "listPublishedCatalogItems", "listSegments"),
        frozenset({"id", "path"}),
    ),
    **dict.fromkeys(
        ("submitOrder", "submitOrderAsAdmin", "submitPartnerOrder"), frozenset({"id", "order_reference"})
    ),
    **dict.fromkeys(("previewOrder", "previewPartnerOrder"), frozenset({"preview"})),
    **dict.fromkeys(("bulkUpdateCatalogItems", "publishPages", "transferOwnership"), frozenset({"success"})),
    **dict.fromkeys(("createJourneyV2", "deleteJourneyV2"), frozenset({"message"})),
    **dict.fromkeys(("listJourneys", "listJourneysV2"), frozenset({"journeys", "starting_point"})),
    **dict.fromkeys(
        ("getPartnerSubscriptionCheckout", "getSubscriptionCheckout", "initiatePartnerSubscriptionCheckout",
         "initiateSubscriptionCheckout", "updateSubscriptionCheckout"),
        frozenset({"order"}),
    ),
    **dict.fromkeys(
        ("addRelatedObject", "deleteCatalogItem", "deleteObject", "getBasket", "getTimeline", "handleZuoraEvent",
         "removeExternalIdentity", "validateBasket"),
        frozenset[str](),
    ),
    "createToken": frozenset({"access_token"}),
    "getCatalogItem": frozenset({"item"}),
    "getJob": frozenset({"id", "state"}),
    "getUserEntitlements": frozenset({"owner", "entitlements"}),
    "initiateCheckout": frozenset({"id", "basket_id"}),
    "updateBasket": frozenset({"id", "order"}),
    "upsertJourneyV2": frozenset({"name"}),
}  # fmt: skip

_ENDPOINTS: Mapping[str, Endpoint[Any]] = {
    **ENDPOINTS,
    **{f"{view.resource}.{view.name}": view for view in VIEWS},
}


ONE_OF_EACH_TYPE = {
    getattr(one.returns, "__name__", str(one.returns)): name
    for name, one in _ENDPOINTS.items()
    if one.returns is not Redirect
}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def read(operation: str, body: bytes | Any) -> Any:
    """What a call of the operation gives for this answer; of a list, its items."""
    endpoint = _ENDPOINTS[operation]
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    if not isinstance(endpoint, ListEndpoint):
        return read_response(endpoint, Response(status=200, headers={}, body=raw))
    reader = PageReader[Any](endpoint, endpoint.returns)
    if (page := reader.read(raw)) is not None:
        return page[1]
    return asyncio.run(reader.decoded(reader.raw_items(reader.read_head(raw)), "raise"))[0]


def head(operation: str, body: bytes | Any) -> Head:
    paging = _ENDPOINTS[operation].paging
    assert paging is not None
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_head(operation, paging, raw)


def test_every_sample_is_used() -> None:
    found = {path.stem for path in SAMPLES.glob("*.json")}
    assert found == {name for name, _ in ANSWERS} | BODIES.keys() | ERRORS


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_documented_body_passes_through_its_model_field_for_field(name: str) -> None:
    documented = json.loads(sample(name))
    kind = BODIES[name] or models.ORDER_REQUEST_BY_TYPE[documented["order_type"]]
    body = msgspec.json.decode(sample(name), type=kind)
    assert exactly(json.loads(msgspec.json.encode(body))) == exactly(documented)


def test_every_order_type_has_a_sample_or_is_known_to_have_none() -> None:
    sampled = {json.loads(sample(name))["order_type"] for name, kind in BODIES.items() if kind is None}
    undocumented = {"add_charge", "change_external_payment", "refund", "renew"}
    assert sampled | undocumented == models.ORDER_REQUEST_BY_TYPE.keys()


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize(("name", "operation"), ANSWERS)
def test_of_a_documented_answer_nothing_is_lost(name: str, operation: str) -> None:
    documented = json.loads(sample(name))
    paging = _ENDPOINTS[operation].paging
    if paging is not None:
        documented = documented[paging.items]
    understood = msgspec.to_builtins(read(operation, sample(name)))
    assert exactly(without_nulls(understood)) == exactly(without_nulls(documented))


def test_a_subscription() -> None:
    subscription: models.Subscription = read("subscriptions.get", sample("getObject"))
    assert (subscription.name, subscription.start) == ("3V053CN9SFIG", "2024-03-22")
    data = subscription.data
    assert data is not None
    assert data.tracking is not None
    assert data.tracking.purchase_country_code == "GB"
    assert data.offer is not None
    assert data.offer.data is not None
    [bundle] = data.offer.data.product_bundles or []
    assert bundle is not None
    assert (bundle.product_path, bundle.revenue_split) == ("/products/Digital", "100")
    assert data.offer.data.price__limio == [None]


def test_offers_of_both_generations() -> None:
    legacy, modern = read("listOffers", sample("listOffers"))
    assert legacy.parent_path == "/offers/2019 Winter Campaign"
    charge = msgspec.convert(legacy.data.attributes["price"][0], models.Charge)
    assert (charge.value, charge.currency_code, charge.delay_trigger) == ("75", "GBP", None)
    assert legacy.data.products[0] == models.ProductData(id="prod_abc123", name="Digital")
    assert modern.record_type == "offer"
    assert modern.duplicated_from == "/offers2/Delivery offer"


def test_a_campaign_holds_its_assets_and_offers() -> None:
    [campaign] = read("listCampaigns", sample("listCampaigns"))
    assert campaign.data.headline == "Look at the Limio offers below!"
    assert campaign.data.assets[0].data.key == "1e1f1dd8-7609-4bb5-8ec0-7e0ec83abadd.png"
    assert campaign.data.associated_offers[0].offer.name == "Limio Regular Subscription"


def test_a_stored_order() -> None:
    [order] = read("orders.list", sample("listObjects"))
    assert order.name == "2JTPIUPFQCQ0"
    assert order.authority.permissions == ["order:*"]
    assert (order.data.spec_version, order.data.source) == ("2", "salesforce")
    assert order.data.billing_details.building_number == 1


def test_an_order_s_answer() -> None:
    answered = read("submitOrder", sample("submitOrder"))
    assert answered.id == "order-4dd195c3eee4297e33aecb5436cf8092"
    assert (answered.order_reference, answered.subscription_reference) == ("8HK92PL401QW", "2TJ25TK632EG")


def test_a_preview_keeps_amounts_as_they_were_written() -> None:
    preview = read("previewOrder", sample("previewOrder"))
    [due] = preview.schedule
    assert preview.preview.success is True
    assert (due.amount, due.tax_amount, due.line_items[0].tax_amount) == ("470.40", 0, "0.00")
    assert (due.schedule_date, due.line_items[0].charge_name) == (
        "2023-11-30T00:00:00.000",
        "Annual Subscription",
    )


def test_published_and_omitted_pages() -> None:
    answered = read("publishPages", sample("publishPages"))
    [live] = answered.published_data.pages["/uk-uk/default/"]
    assert (live.path, live.is_default) == ("/offers/Limio Campaign", True)
    [omitted] = answered.ommited_with_error.pages["/uk-uk/standard/"]
    assert (omitted.path, omitted.path_prefix) == ("/offers/Limio Switch", "")


def test_an_abandoned_basket() -> None:
    [basket] = read("listAbandonedBaskets", sample("listAbandonedBaskets"))
    assert basket.customer_details.email == "user@limio.com"
    assert basket.order_items[0].products[0].product_code == "SKU-00000001"
    assert basket.recovery_link.startswith("/api/checkout/recover?basket=basket-")


def test_a_journey_leads_to_destinations() -> None:
    listed = read("listJourneys", sample("listJourneys"))
    [journey] = listed.journeys
    assert (listed.starting_point, journey.conditions[0].value) == ("/cancel-now/", "/segments/123abc")
    assert (journey.actions[0].values[0].tag, journey.actions[0].values[0].split) == (
        "/tags/cancel-discount",
        "100",
    )


def test_an_error_s_message_is_found() -> None:
    with pytest.raises(errors.Unauthorized, match="^listOffers: 401 Unauthorized$"):
        read_response(ENDPOINTS["listOffers"], Response(status=401, headers={}, body=sample("error401")))


COMMIT = "e44d0795e9d0aa78ddea15c3e925cfd581adfb04"
SCROLL_ID = "DnF1ZXJ5VGhlbkZldGNo"
PAGES: tuple[tuple[str, str, int | None, str | None, tuple[str, ...]], ...] = (
    # sample, operation, hits, commitId, parameters of the cursor
    ("listAssets", "listAssets", 1, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listCampaigns", "listCampaigns", 1, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listCampaigns_minimal", "listCampaigns", 1, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listOffers", "listOffers", 2, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listOffersV2", "listOffersV2", 1, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listProducts", "listProducts", 1, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listSegments", "listSegments", 1, COMMIT, ("opt.queryMoreFrom", "opt.queryMoreAlias")),
    ("listObjects", "listObjects", None, None, ("queryMore",)),
    ("listObjects", "orders.list", None, None, ("queryMore",)),
    ("listAbandonedBaskets", "listAbandonedBaskets", None, None, ("queryMore",)),
    ("listPartnerOrganisations", "listPartnerOrganisations", None, None, ("queryMore",)),
    ("getSubscriptionsBySalesforceId", "getSubscriptionsBySalesforceId", None, None, ("queryMore",)),
    ("getObjectChildren", "listChildObjects", None, None, ()),
    ("getObjectChildrenBySubtype", "listChildObjectsBySubtype", None, None, ()),
    ("getObjectEvents", "listObjectEvents", None, None, ()),
    ("getObjectRelated", "listRelatedObjects", None, None, ()),
    ("getObjectRelatedByRecordType", "listRelatedObjectsByRecordType", None, None, ()),
)


@pytest.mark.parametrize(("name", "operation", "hits", "commit_id", "cursor"), PAGES)
def test_a_page_tells_hits_snapshot_and_cursor(
    name: str, operation: str, hits: int | None, commit_id: str | None, cursor: tuple[str, ...]
) -> None:
    page = head(operation, sample(name))
    assert (page.hits, page.commit_id) == (hits, commit_id)
    assert page.items is not None
    assert isinstance(json.loads(bytes(page.items)), list)
    documented = json.loads(sample(name)).get("queryMore")
    parts = documented.values() if isinstance(documented, dict) else [documented] if documented else []
    assert (page.cursor.query if page.cursor else {}) == dict(zip(cursor, parts, strict=cursor != ()))


# ------------------------------------------------------------------ what else may come


@pytest.mark.parametrize(("name", "operation"), ANSWERS)
def test_any_value_of_an_answer_may_be_null_but_what_tells_a_success(name: str, operation: str) -> None:
    documented = json.loads(sample(name))
    assert refused(operation, changed(documented, to_null, keys(documented))) == []


@pytest.mark.parametrize(("name", "operation"), ANSWERS)
def test_any_element_of_a_list_in_an_answer_may_be_null(name: str, operation: str) -> None:
    documented = json.loads(sample(name))
    assert refused(operation, changed(documented, to_null, elements(documented, operation))) == []


@pytest.mark.parametrize(("name", "operation"), ANSWERS)
def test_any_key_of_an_answer_may_be_missing_but_what_tells_a_success(name: str, operation: str) -> None:
    documented = json.loads(sample(name))
    own_items = items_of(operation)
    places = (place for place in keys(documented) if place != own_items)
    assert refused(operation, changed(documented, gone, places)) == []


@pytest.mark.parametrize(("name", "operation"), ANSWERS)
def test_an_answer_may_hold_keys_that_nobody_knows(name: str, operation: str) -> None:
    def one_more(value: Any) -> Any:
        if isinstance(value, dict):
            return {"brandNew": {"x": [1, None]}, **{key: one_more(one) for key, one in value.items()}}
        return [one_more(one) for one in value] if isinstance(value, list) else value

    read(operation, one_more(json.loads(sample(name))))


@pytest.mark.parametrize(("name", "operation"), ANSWERS)
def test_any_text_of_an_answer_may_say_something_new(name: str, operation: str) -> None:
    def anew(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: anew(one) for key, one in value.items()}
        if isinstance(value, list):
            return [anew(one) for one in value]
        return "brand new success" if isinstance(value, str) else value

    paging = _ENDPOINTS[operation].paging
    answer = anew(json.loads(sample(name)))
    understood = msgspec.to_builtins(read(operation, answer))
    expected = answer if paging is None else answer[paging.items]
    assert exactly(without_nulls(understood)) == exactly(without_nulls(expected))


@pytest.mark.parametrize("operation", list(ONE_OF_EACH_TYPE.values()), ids=list(ONE_OF_EACH_TYPE))
def test_no_type_of_answer_needs_any_of_its_values_but_what_tells_a_success(operation: str) -> None:
    """Also where no sample is documented: an answer is made up from the type."""
    endpoint = _ENDPOINTS[operation]
    whole = made_up(types.type_info(endpoint.returns))
    if endpoint.paging is not None:
        whole = {endpoint.paging.items: [whole]}
    read(operation, whole)
    missing = (place for place in keys(whole) if place != items_of(operation))
    assert refused(operation, changed(whole, gone, missing)) == []
    assert refused(operation, changed(whole, to_null, keys(whole))) == []
    assert refused(operation, changed(whole, to_null, elements(whole, operation))) == []


@pytest.mark.parametrize("items", [[None], [{"id": "1"}, None]])
def test_an_item_that_is_null_is_reported_with_its_spot(items: list[Any]) -> None:
    spot = rf"\$\.items\[{len(items) - 1}\]"
    with pytest.raises(errors.Unreadable, match=rf"^listOffers: expected object, got null - at {spot}$"):
        read("listOffers", {"items": items})


@pytest.mark.parametrize("operation", sorted(name for name, one in _ENDPOINTS.items() if one.paging))
def test_a_list_without_its_items_is_not_taken_for_an_empty_one(operation: str) -> None:
    with pytest.raises(errors.Unreadable, match=f"has no {items_of(operation)[0]}"):
        head(operation, {"hits": 0})
    assert bytes(head(operation, {items_of(operation)[0]: None}).items or b"") == b"null"


def offer(**data: Any) -> Any:
    return {"items": [{"id": "1", "data": data}]}


def charge(**facts: Any) -> Any:
    return offer(price=[{"name": "charge_1", **facts}])


def first_charge(items: list[models.Offer]) -> models.Charge:
    data = items[0].data
    assert data is not None
    assert data.price is not None
    assert data.price[0] is not None
    return data.price[0]


def order(**data: Any) -> Any:
    return {"items": [{"id": "order-1", "data": data}]}


PREVIEW = "previewOrder"
VARIANCES: tuple[tuple[str, str, Any, Callable[[Any], Any], Any], ...] = (
    # what varies, operation, answer, where it is read, what is read
    ("delay_interval", "listOffers", charge(delay_interval=None), lambda o: first_charge(o).delay_interval, None),
    ("delay_interval", "listOffers", charge(delay_interval="2"), lambda o: first_charge(o).delay_interval, "2"),
    ("delay_interval", "listOffers", charge(delay_interval=1), lambda o: first_charge(o).delay_interval, 1),
    ("charge attributes", "listOffers", charge(attributes={}), lambda o: first_charge(o).attributes, {}),
    ("charge attributes", "listOffers", charge(attributes=[]), lambda o: first_charge(o).attributes, []),
    ("charge attributes", "listOffers", charge(attributes=[None]), lambda o: first_charge(o).attributes, [None]),
    ("charge value", "listOffers", charge(value="17.50"), lambda o: first_charge(o).value, "17.50"),
    ("charge value", "listOffers", charge(value=17.5), lambda o: first_charge(o).value, 17.5),
    ("charge value", "listOffers", charge(value=75), lambda o: first_charge(o).value, 75),
    ("charge value", "listOffers", charge(use_external_price=True), lambda o: first_charge(o).value, None),
    ("repeat_count", "listOffers", charge(repeat_count=0), lambda o: first_charge(o).repeat_count, 0),
    ("start day", "listOffers", charge(subscription_start_day="asap"),
     lambda o: first_charge(o).subscription_start_day, "asap"),
    ("currency", "listOffers", charge(currencyCode="GBP", currency={"symbol": "£", "id": "GBP", "label": "GBP"}),
     lambda o: first_charge(o).currency, models.CurrencyRef(symbol="£", id="GBP", label="GBP")),
    ("tiers", "listOffers",
     charge(type="recurringVolume", tiers=[{"price_format": "FlatFee", "starting_unit": 1, "price": "5"}]),
     lambda o: first_charge(o).tiers, [models.PriceTier(price_format="FlatFee", starting_unit=1, price="5")]),
    ("products", "listOffers", offer(products=[{"path": "/products/Digital"}]),
     lambda o: o[0].data.products, [models.ProductData(path="/products/Digital")]),
    ("products", "listOffers", offer(products=["/products/Digital"]),
     lambda o: o[0].data.products, ["/products/Digital"]),
    ("products", "listOffers", offer(products=[{"id": "prod_abc123", "name": "Digital"}]),
     lambda o: o[0].data.products, [models.ProductData(id="prod_abc123", name="Digital")]),
    ("products", "listOffers", offer(products=[None]), lambda o: o[0].data.products, [None]),
    ("products", "listOffers", offer(products=None), lambda o: o[0].data.products, None),
    ("bundle", "listOffers", offer(productBundles=[{"product_path": None, "revenue_split": None, "rate_plan": None}]),
     lambda o: o[0].data.product_bundles, [models.ProductBundle()]),
    ("entitlement", "listProducts", offer(entitlements=[{"$ref": None}]),
     lambda o: o[0].data.entitlements, [models.EntitlementRef()]),
    ("building", "orders.list", order(billingDetails={"buildingNumber": 1}),
     lambda o: o[0].data.billing_details.building_number, 1),
    ("building", "orders.list", order(billingDetails={"buildingNumber": "1a"}),
     lambda o: o[0].data.billing_details.building_number, "1a"),
    ("total", "orders.list", order(total={"amount": 9.99, "currency": "GBP"}),
     lambda o: o[0].data.total, models.SubscriptionPrice(amount=9.99, currency="GBP")),
    ("total", "orders.list", order(total={"amount": "9.99", "currency": "GBP"}),
     lambda o: o[0].data.total, models.SubscriptionPrice(amount="9.99", currency="GBP")),
    ("tax", PREVIEW, {"preview": {}, "schedule": [{"taxAmount": 0}]}, lambda p: p.schedule[0].tax_amount, 0),
    ("tax", PREVIEW, {"preview": {}, "schedule": [{"taxAmount": "0.00"}]}, lambda p: p.schedule[0].tax_amount, "0.00"),
    ("tax", PREVIEW, {"preview": {}, "schedule": [{"taxAmount": 1.5}]}, lambda p: p.schedule[0].tax_amount, 1.5),
    ("amount", PREVIEW, {"preview": {}, "schedule": [{"amount": 470.4}]}, lambda p: p.schedule[0].amount, 470.4),
    ("basket id", "initiateCheckout", {"id": "basket-1"}, lambda b: (b.id, b.basket_id), ("basket-1", None)),
    ("basket id", "initiateCheckout", {"basket_id": "basket-1"}, lambda b: (b.id, b.basket_id), (None, "basket-1")),
    ("builds", "getComponentBuilds", {"id": "b", "buildNumber": "25"}, lambda b: b.build_number, "25"),
    ("builds", "getComponentBuilds", [{"id": "b", "buildNumber": 25}], lambda b: b[0].build_number, 25),
    ("builds", "getComponentBuilds", [], lambda b: b, []),
    ("nothing", "addRelatedObject", None, lambda answer: answer, None),
    ("nothing", "subscriptions.add_related", None, lambda answer: answer, None),
    ("nothing", "removeExternalIdentity", {}, lambda answer: answer, {}),
    ("the store's note", "deleteObject", {"httpStatusCode": 200, "attempts": 1, "totalRetryDelay": 0.5},
     lambda note: note, models.DeleteObjectResponse(http_status_code=200, attempts=1, total_retry_delay=0.5)),
    ("a bare note", "deleteObject", {"$metadata": {"httpStatusCode": 200}},
     lambda note: note, models.DeleteObjectResponse()),
    ("success", "bulkUpdateCatalogItems", {"success": True, "failed": []}, lambda b: b.success, True),
    ("success", "bulkUpdateCatalogItems", {"success": "text", "failed": [{}]}, lambda b: b.success, "text"),
    ("job id", "createJob", {"id": 17}, lambda job: job.id, 17),
    ("job id", "createJob", {"id": "17"}, lambda job: job.id, "17"),
    ("status", "createObject", {"id": "p", "status": "active"}, lambda created: created.status, "active"),
    ("split", "listJourneys", {"journeys": [{"actions": [{"values": [{"split": 50}]}]}]},
     lambda listed: listed.journeys[0].actions[0].values[0].split, 50),
)  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "answer", "where", "expected"),
    [row[1:] for row in VARIANCES],
    ids=[f"{row[0]} {json.dumps(row[4], default=str)}" for row in VARIANCES],
)
def test_known_variances_are_read_as_they_came(
    operation: str, answer: Any, where: Callable[[Any], Any], expected: Any
) -> None:
    found = where(read(operation, answer))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("sent", "hits", "exact"),
    [
        (2, 2, True),
        (2.0, 2, True),
        ({"value": 2, "relation": "eq"}, 2, True),
        ({"value": 10_000, "relation": "gte"}, 10_000, False),
        ({"value": 2}, 2, True),
        ({"value": None, "relation": "eq"}, None, False),
        ({}, None, False),
        (None, None, False),
    ],
)
def test_hits_are_a_number_or_an_object(sent: Any, hits: int | None, exact: bool) -> None:
    page = head("listOffers", {"hits": sent, "items": []})
    assert (page.hits, page.exact) == (hits, exact)


@pytest.mark.parametrize(
    ("answer", "commit_id"),
    [
        ({"commitId": COMMIT}, COMMIT),
        ({"commitId": "1711455734554"}, "1711455734554"),
        ({"commitId": 1711455734554}, "1711455734554"),
        ({"header": {"commitId": COMMIT}}, COMMIT),
        ({"header": {"commitId": COMMIT}, "commitId": None}, COMMIT),
        ({"header": None, "commitId": None}, None),
        ({"header": {}}, None),
        ({}, None),
    ],
)
def test_the_snapshot_s_id_is_found_wherever_and_however_it_is_written(
    answer: dict[str, Any], commit_id: str | None
) -> None:
    assert head("listCampaigns", {"items": [], **answer}).commit_id == commit_id


@pytest.mark.parametrize(
    ("operation", "sent", "query"),
    [
        ("listAbandonedBaskets", "eyJ2IjoiMSJ9", {"queryMore": "eyJ2IjoiMSJ9"}),
        ("listAbandonedBaskets", {}, None),
        ("listAbandonedBaskets", "", None),
        ("listObjects", None, None),
        ("listOffers", {"from": SCROLL_ID, "alias": "a"}, {"opt.queryMoreFrom": SCROLL_ID, "opt.queryMoreAlias": "a"}),
        ("listOffers", {"from": None, "alias": None}, None),
        (
            "listOffers",
            {"from": SCROLL_ID, "alias": "a", "size": 50, "sort": [None]},
            {"opt.queryMoreFrom": SCROLL_ID, "opt.queryMoreAlias": "a"},
        ),
        ("listOffers", {}, None),
    ],
)  # fmt: skip
def test_a_cursor_is_text_or_two_parts_or_nothing(
    operation: str, sent: Any, query: dict[str, str] | None
) -> None:
    cursor = head(operation, {"items": [], "queryMore": sent}).cursor
    assert (cursor.query if cursor else None) == query


@pytest.mark.parametrize(
    "moment",
    [
        "2024-03-26T15:44:54.975Z",
        "2024-02-28T15:22:14+00:00",
        "2024-03-22",
        "2024-05-30T00:00:00.000",
        "20190226",
        "",
        None,
    ],
)
def test_a_date_is_kept_in_whatever_form_it_came(moment: str | None) -> None:
    subscription = read(
        "subscriptions.get",
        {
            "id": "sub-1",
            "start": moment,
            "created": moment,
            "data": {"termStartDate": moment, "termEndDate": moment},
        },
    )
    assert (subscription.start, subscription.created) == (moment, moment)
    assert (subscription.data.term_start_date, subscription.data.term_end_date) == (moment, moment)
    assert read("listOffers", {"items": [{"id": "o", "modified": moment}]})[0].modified == moment
    assert read(PREVIEW, {"preview": {}, "schedule": [{"date": moment}]}).schedule[0].date == moment


@pytest.mark.parametrize("sent", [5, True, ["a"], {"from": 5, "alias": "a"}, {"next": "a"}])
def test_a_cursor_of_another_shape_is_reported_and_not_taken_for_the_end(sent: Any) -> None:
    with pytest.raises(errors.Unreadable, match=r"^listOffers: .* - at \$\.queryMore"):
        head("listOffers", {"items": [], "queryMore": sent})


# ------------------------------------------------------------------ how samples are changed

Place = tuple[str | int, ...]


def keys(value: Any) -> Iterator[Place]:
    """The place of every value that has a name."""
    return (place for place in places(value) if isinstance(place[-1], str))


def elements(value: Any, operation: str) -> Iterator[Place]:
    """The place of every element of a list, but a list operation's own items."""
    own = items_of(operation)
    return (place for place in places(value) if isinstance(place[-1], int) and (not own or place[:-1] != own))


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    inner: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, one in inner:
        yield (*at, key)
        yield from places(one, (*at, key))


def items_of(operation: str) -> tuple[str, ...]:
    paging = _ENDPOINTS[operation].paging
    return (paging.items,) if paging else ()


def to_null(parent: Any, key: Any) -> None:
    parent[key] = None


def gone(parent: Any, key: Any) -> None:
    del parent[key]


def changed(
    value: Any, change: Callable[[Any, Any], None], at: Iterator[Place]
) -> Iterator[tuple[Place, Any]]:
    for place in list(at):
        altered = copy.deepcopy(value)
        parent = altered
        for key in place[:-1]:
            parent = parent[key]
        change(parent, place[-1])
        yield place, altered


def refused(operation: str, answers: Iterator[tuple[Place, Any]]) -> list[str]:
    """Why which of the answers cannot be read; what no longer has what tells a success must be among them."""
    reasons: list[str] = []
    for _, answer in answers:
        if not tells_a_success(operation, answer):
            with pytest.raises(errors.Unreadable):
                read(operation, answer)
            continue
        try:
            read(operation, answer)
        except errors.Unreadable as error:
            reasons.append(str(error))
    return reasons


def tells_a_success(operation: str, answer: Any) -> bool:
    one = _ENDPOINTS[operation]
    has = INDISPENSABLE.get(one.operation, frozenset({"id"}))
    if one.paging is not None:
        answer = answer[one.paging.items]
    judged = [it for it in answer if it is not None] if isinstance(answer, list) else [answer]
    return not has or all(
        any(it.get(name) is not None for name in has) for it in judged if isinstance(it, dict)
    )


def made_up(kind: types.Type) -> Any:
    """JSON that the type accepts, with all of its fields; of several shapes the deepest."""
    match kind:
        case types.StructType(fields=fields):
            return {one.encode_name: made_up(one.type) for one in fields}
        case types.ListType(item_type=item):
            return [made_up(item)]
        case types.DictType(value_type=value):
            return {"key": made_up(value)}
        case types.UnionType(types=members):
            return max((made_up(member) for member in members), key=lambda one: len(json.dumps(one)))
        case types.StrType():
            return "a success"
        case types.BoolType():
            return True
        case types.IntType() | types.FloatType():
            return 1
        case types.NoneType():
            return None
        case types.AnyType():
            return {"any": [None]}
        case _:
            raise AssertionError(kind)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def exactly(value: Any) -> str:
    """JSON in which 1, 1.0 and true are three things."""
    return json.dumps(value, sort_keys=True)
