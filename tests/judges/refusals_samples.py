"""What each operation answers where it says yes: the sample, and what of it a no could not have.

Written from the samples in `tests/samples` and the notes on them alone. Where there is no sample, *source* says what is
known, and *shape* holds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ANSWERS",
    "ITEMS",
    "PAGES",
    "SAMPLES",
    "Answer",
    "Verdict",
    "unused",
    "verdict",
]

SAMPLES = Path(__file__).parents[1] / "samples"

Verdict = str
"""`no`, or `either` where the samples cannot tell."""


@dataclass(frozen=True)
class Answer:
    """A yes of one operation."""

    fields: Sequence[str] = ("id",)
    """One of these is in every yes, and not null. None are where a yes may be anything."""
    sample: str = ""
    """The file that holds it."""
    shape: Any = None
    """What it looks like where there is no sample."""
    source: str = "sample"
    redirect: bool = False

    @property
    def good(self) -> Any:
        """A yes as JSON."""
        return json.loads((SAMPLES / f"{self.sample}.json").read_bytes()) if self.sample else self.shape


_ORDER = {"id": "order-1", "order_reference": "8HK92PL401QW", "status": "complete"}
_CHECKOUT = {"order": {"checkoutId": "basket-1", "orderItems": []}, "nextActions": {}, "completed": False}

ANSWERS: Mapping[str, Answer] = {
    "authorize": Answer((), redirect=True, source="answers 302"),
    "recoverBasket": Answer((), redirect=True, source="answers 302"),
    "createToken": Answer(("access_token",), "oauthToken"),
    "submitOrder": Answer(("id", "order_reference"), "submitOrder"),
    "submitOrderAsAdmin": Answer(("id", "order_reference"), shape=_ORDER, source="as submitOrder"),
    "submitPartnerOrder": Answer(("id", "order_reference"), shape=_ORDER, source="as submitOrder"),
    "previewOrder": Answer(("preview",), "previewOrder"),
    "previewPartnerOrder": Answer(
        ("preview",), shape={"preview": {"success": True}, "schedule": []}, source="as previewOrder"
    ),
    "createTimelineEvent": Answer(("id",), "createTimelineEvent"),
    "getTimeline": Answer((), shape={"items": []}, source="unknown"),
    "addExternalIdentity": Answer(("id",), "addExternalIdentity"),
    "addExternalIdentityAsAdmin": Answer(
        ("id",), shape={"id": "123", "record_type": "identity"}, source="as addExternalIdentity"
    ),
    "removeExternalIdentity": Answer((), "removeExternalIdentity"),
    "transferOwnership": Answer(("success",), "transferOwnership"),
    "initiateCheckout": Answer(("id", "basket_id"), "initiateCheckout"),
    "getBasket": Answer((), shape={"id": "basket-1", "order": {}}, source="unknown"),
    "validateBasket": Answer((), shape={"valid": True}, source="unknown"),
    "updateBasket": Answer(("id",), shape={"id": "basket-1", "order": {}}, source="{id, order} of the docs"),
    "initiateSubscriptionCheckout": Answer(
        ("order",), shape=_CHECKOUT, source="{order, nextActions, completed} of the docs"
    ),
    "getSubscriptionCheckout": Answer(("order",), shape=_CHECKOUT, source="as initiateSubscriptionCheckout"),
    "updateSubscriptionCheckout": Answer(
        ("order",), shape=_CHECKOUT, source="as initiateSubscriptionCheckout"
    ),
    "initiatePartnerSubscriptionCheckout": Answer(
        ("order",), shape=_CHECKOUT, source="as initiateSubscriptionCheckout"
    ),
    "getPartnerSubscriptionCheckout": Answer(
        ("order",), shape=_CHECKOUT, source="as initiateSubscriptionCheckout"
    ),
    "getUserEntitlements": Answer(("owner", "entitlements"), "getUserEntitlements"),
    "createObject": Answer(("id",), "createPromoCode"),
    "getObject": Answer(("id",), "getObject"),
    "updateObject": Answer(("id",), "updateObject"),
    "deleteObject": Answer((), "deleteObject", source="metadata of the store"),
    "addRelatedObject": Answer((), "addObjectRelationship"),
    "bulkUpdateCatalogItems": Answer(("success",), "bulkUpdateCatalogItems"),
    "listJourneys": Answer(("journeys",), "listJourneys"),
    "listJourneysV2": Answer(("journeys",), "listJourneysV2"),
    "createJourneyV2": Answer(("message",), "createJourneyV2"),
    "getJourneyV2": Answer(("id",), "getJourneyV2"),
    "upsertJourneyV2": Answer(("name",), "upsertJourneyV2"),
    "deleteJourneyV2": Answer(("message",), "deleteJourneyV2"),
    "buildShop": Answer(("id",), "buildShop"),
    "getComponentBuilds": Answer(("id",), "getComponentBuilds"),
    "publishPages": Answer(("success",), "publishPages"),
    "syncZuoraSubscription": Answer(("id",), "syncZuoraSubscription"),
    "handleZuoraEvent": Answer((), shape={}, source="unknown"),
    "createPartnerOrganisation": Answer(("id",), "createPartnerOrganisation"),
    "createPartnerUser": Answer(("id",), "createPartnerUser"),
    "createJob": Answer(("id", "jobId"), shape={"id": "7"}, source="{id} of vendor scripts"),
    "getJob": Answer(
        ("id", "jobId"), shape={"jobId": "7", "state": "completed"}, source="{id or jobId, state}"
    ),
    "getCatalogItem": Answer(
        ("item",),
        shape={"header": {"commitId": "c"}, "item": {"id": "i", "path": "/offers2/One", "data": {}}},
        source="{header, item}, recorded",
    ),
    "deleteCatalogItem": Answer((), shape={}, source="unknown"),
}
"""All but the lists."""

_BARE = {"id": "i-1", "path": "/offers2/One", "name": "One", "type": "item", "version": "v", "data": {}}
_OBJECT = {"id": "sub-1", "name": "A-1", "record_type": "subscription", "data": {}}

ITEMS: Mapping[str, tuple[str, Any]] = {
    "listCampaigns": ("listCampaigns", None),
    "listOffers": ("listOffers", None),
    "listOffersV2": ("", _BARE),
    "listAssets": ("listAssets", None),
    "listProducts": ("listProducts", None),
    "listSegments": ("listSegments", None),
    "listPages": ("", _BARE | {"path": "/pages/One"}),
    "listAddOns": ("", _BARE | {"path": "/add_ons/One"}),
    "listCatalogItems": ("", _BARE),
    "listPublishedCatalogItems": ("", _BARE),
    "listObjects": ("listObjects", None),
    "listRelatedObjects": ("getObjectRelated", None),
    "listRelatedObjectsByRecordType": ("getObjectRelatedByRecordType", None),
    "listChildObjects": ("getObjectChildren", None),
    "listChildObjectsBySubtype": ("getObjectChildrenBySubtype", None),
    "listObjectEvents": ("getObjectEvents", None),
    "listMmaSubscriptions": ("", _OBJECT),
    "listAbandonedBaskets": ("listAbandonedBaskets", None),
    "getSubscriptionsBySalesforceId": ("getSubscriptionsBySalesforceId", None),
    "listPartnerOrganisations": ("listPartnerOrganisations", None),
    "searchPartnerCustomers": ("", {"id": "cus-1", "record_type": "customer", "data": {}}),
}
"""The sample that holds items of each list, or an item where there is none.

Every item of a catalog has its id or path in all samples and recorded answers, every object of the store its id.
"""

PAGES: Mapping[str, Sequence[str]] = {
    **{operation: (name,) for operation, (name, _) in ITEMS.items() if name},
    "listCampaigns": ("listCampaigns", "listCampaigns_minimal"),
    "listOffersV2": ("listOffersV2",),
}
"""The samples of pages. Some say in `hits` that there is more than they show."""


def unused() -> set[str]:
    """The samples of answers that nothing here holds."""
    used = {answer.sample for answer in ANSWERS.values()} | {
        name for names in PAGES.values() for name in names
    }
    used |= {"initiateCheckout_storefront", "error401"}
    return {path.stem for path in SAMPLES.glob("*.json") if "_request" not in path.stem} - used


def verdict(operation: str, body: Any) -> Verdict:
    """Whether a 200 with this *body*, which is one of the forms of a no, has to be called a no."""
    answer = ANSWERS[operation]
    if isinstance(body, dict) and body.keys() & {"error", "errors", "errorMessage"}:
        return "no"
    if answer.fields:
        tells = isinstance(body, dict) and any(body.get(name) is not None for name in answer.fields)
        return "either" if tells else "no"
    if answer.sample and body:  # the sample is null, {} or what the store says of a request
        return "no"
    return "either"
