"""What catalog items look like, with all the oddities of live ones. `<<name>>` marks what differs by item.

The templates have the documented shape; `live` gives the one that tenants answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "ADD_ON",
    "ASSET",
    "CAMPAIGN",
    "OFFERS",
    "OFFER_FOLDERS",
    "PAGE",
    "PRODUCT",
    "SEGMENT",
    "bare",
    "live",
]

Template = Mapping[str, Any]

_CAMPAIGN_FOLDER = "/offers/2019 Winter Campaign"
OFFER_FOLDERS: Sequence[str] = (*("/offers2",) * 8, _CAMPAIGN_FOLDER, _CAMPAIGN_FOLDER)
"""Of ten offers two are legacy ones; `OFFERS` has the same order."""

_EXTERNAL = {"renewal_trigger": "EXTERNAL"}

_ENVELOPE: Template = {
    "id": "<<id>>",
    "name": "<<name>>",
    "path": "<<path>>",
    "parent_path": "<<folder>>",
    "type": "item",
    "created": "<<created>>",
    "modified": "<<modified>>",
    "version": "<<version>>",
    "version_date": "<<version_date>>",
    "status": "<<status>>",
    "service": "limio",
    "mode": "production",
    "user": "user@example.com",
}

_PRODUCT_DATA: Template = {
    "path": "<<product_path>>",
    "record_type": "product",
    "record_subtype": None,
    "baseTemplate": "/config/templates/products/default",
    "entitlements": [{"$ref": "/entitlements/Digital"}],
    "created": "2023-12-11T13:44:43+00:00",
    "modified": "2024-01-15T13:56:18+00:00",
    "lastSynced": "2024-03-12T16:00:35.232Z",
    "synced": True,
    "syncedFrom": "<<hash>>",
    "attributes": {
        "display_name__limio": "<<product>>",
        "has_delivery__limio": False,
        "product_code__limio": "LI.DIGITAL",
    },
}

_ATTRIBUTES: Template = {
    "display_name__limio": "<<name>>",
    "display_price__limio": "<p><strong><<currency>> <<amount>></strong> then <<later>></p>",
    "detailed_display_price__limio": "<p>Pay <<amount>> today. Cancel any time.</p>",
    "display_description__limio": "<<product>> for readers everywhere",
    "checkout_description__limio": '<p>Unlimited access to <em><<product>></em>. <a href="/terms">Terms</a></p>',
    "offer_features__limio": "<ul><li>Every article</li><li>Two devices</li><li>20% off events</li></ul>",
    "cta_text__limio": "buy",
    "allowed_countries__limio": ["<<country>>"],
    "label__limio": ["default", "<<country>>"],
    "group__limio": "digital",
    "payment_types__limio": ["zuora_card"],
    "sales_channel__limio": ["Online"],
    "checkout__limio": {"checkout_type": "standard"},
    "term__limio": {"renewal_type": "EVERGREEN", **_EXTERNAL},
    "initial_term__limio": {"renewal_type": "TERMED", "length": 52, "type": "weeks", **_EXTERNAL},
    "autoRenew__limio": True,
    "push_to_checkout__limio": True,
    "offer_type__limio": "standard",
    "default_quantity_options__limio": None,
    "supportBillingFrequencyChange__zuora": True,
}


def _charge(number: int, **differences: object) -> dict[str, object]:
    charge: dict[str, object] = {
        "name": f"charge_{number}",
        "label": f"Charge {number}",
        "type": "recurring",
        "value": "<<amount>>",
        "currencyCode": "<<currency>>",
        "trigger": "order_date",
        "repeat_interval": 1,
        "repeat_interval_type": "months",
        "repeat_count": 1,
        "delay_interval": None,
        "delay_interval_type": "months",
        "attributes": {},
    }
    return charge | differences


def _offer(
    *, attributes: Template, data: Template | None = None, envelope: Template | None = None
) -> Template:
    return {
        **_ENVELOPE,
        "record_type": "offer",
        "duplicatedFrom": "<<folder>>/Digital Monthly",
        "baseTemplate": "/config/templates/offers/default",
        "priceReference": "<<path>>",
        **(envelope or {}),
        "data": {
            "attributes": {**_ATTRIBUTES, **attributes},
            "price": [],
            "price__limio": [],
            "productBundles": [
                {"product_path": "<<product_path>>", "revenue_split": "100", "rate_plan": "Annual"}
            ],
            "products": [_PRODUCT_DATA],
            "segments": ["/segments/regions/<<country>>"],
            "tags": ["<<tags>>"],
            "record_type": "offer",
            **(data or {}),
        },
    }


_LIVE = _offer(
    attributes={
        "price__limio": [
            _charge(1, repeat_count=12),
            _charge(2, value="<<later>>", delay_interval=1, repeat_count=0, attributes=[]),
        ]
    }
)
_DUPLICATED = _offer(  # the inner name and path are still those of the original; the outer ones count
    attributes={"price__limio": [_charge(1, currency={"symbol": "$", "id": "<<currency>>", "label": "x"})]},
    data={
        "name": "Digital Monthly",
        "path": "<<folder>>/Digital Monthly",
        "id": "<<hash>>",
        "description": None,
    },
)
_PUBLISHED_BY_HAND = _offer(  # products are mere paths
    attributes={
        "price__limio": [_charge(1, delay_interval="2", delay_interval_type="weeks", attributes=[None])]
    },
    data={"products": ["<<product_path>>"], "price": [None], "price__limio": [None]},
)
_TIERED = _offer(
    attributes={
        "price__limio": [
            {
                "name": "seats",
                "label": "Seats",
                "type": "recurringVolume",
                "currencyCode": "<<currency>>",
                "trigger": "subscription_start",
                "subscription_start_day": "asap",
                "repeat_interval": 1,
                "repeat_interval_type": "years",
                "attributes": [],
                "tiers": [
                    {"price_format": "FlatFee", "starting_unit": 1, "ending_unit": 10, "price": "<<amount>>"},
                    {"price_format": "FlatFee", "starting_unit": 11, "price": "<<later>>"},
                ],
            }
        ],
        "default_quantity_options__limio": {"quantity": 1, "minimum_quantity": 1, "maximum_quantity": 50},
    }
)
_EXTERNAL_CHARGE: Template = {
    "name": "charge_1",
    "type": "onetime",
    "use_external_price": True,
    "attributes": {},
}
_PRICED_OUTSIDE = _offer(
    attributes={
        "price__limio": [_EXTERNAL_CHARGE],
        "default_quantity_options__limio": {},
        "checkout__limio": {"checkout_type": "external", "external_url": "/checkout"},
    },
    data={"productBundles": [{"product_path": None, "revenue_split": None, "rate_plan": None}]},
)
_DOCUMENTED = _offer(attributes={}, data={"price": [_charge(1, type="onetime", value="1.00")]})
_LEGACY = _offer(
    attributes={
        "price": [
            _charge(
                1,
                type="onetime",
                value="<<whole>>",
                trigger="subscription_start",
                repeat_count=12,
                delay_trigger=None,
                delay_interval=1,
            )
        ]
    },
    data={"products": [{"id": "prod_abc123", "name": "<<product>>"}]},
    envelope={"id": "<<id>>.<<version>>"},
)

OFFERS: Sequence[Template] = (
    _LIVE,
    _LIVE,
    _DUPLICATED,
    _PUBLISHED_BY_HAND,
    _LIVE,
    _TIERED,
    _PRICED_OUTSIDE,
    _DOCUMENTED,
    _LEGACY,
    _LEGACY,
)

ADD_ON: Template = {**_LIVE, "record_type": "add_on", "baseTemplate": "/config/templates/add_ons/default"}

PRODUCT: Template = {
    **_ENVELOPE,
    "record_type": "product",
    "data": {**_PRODUCT_DATA, "path": "<<path>>"},
}

SEGMENT: Template = {
    **_ENVELOPE,
    "data": {"attributes": {}, "baseTemplate": "/config/templates/segments"},
}

ASSET: Template = {
    **_ENVELOPE,
    "data": {"attributes": {}, "baseTemplate": "/config/templates/assets", "key": "<<hash>>.png"},
}

_ASSOCIATED_OFFER: Template = {
    "id": "<<version>>",
    "name": "Regular Subscription",
    "path": "<<path>>/Regular Subscription",
    "data": {"attributes": {}, "price": [], "products": [], "status": None, "validFrom": None},
}

CAMPAIGN: Template = {
    **_ENVELOPE,
    "attributes": {},
    "record_type": "campaign",
    "data": {
        "attributes": {},
        "description": "A campaign for new customers",
        "headline": "Look at the offers below!",
        "subline": "They are great!",
        "assets": [],
        "tags": ["<<tags>>"],
        "status": "draft",
        "validFrom": "20190226",
        "validTo": "20190305",
        "associatedOffers": [{"type": "cross-sell", "offer": _ASSOCIATED_OFFER}],
    },
}

PAGE: Template = {
    **_ENVELOPE,
    "record_type": "page",
    "data": {
        "record_type": "page",
        "baseTemplate": "/config/templates/pages/default",
        "path": "<<path>>",
        "name": "<<name>>",
        "tags": ["<<tags>>"],
        "isAuthenticated": False,
        "offers": [],
        "assets": [
            {
                "path": "/assets/components/hero",
                "id": "<<hash>>",
                "position": "header",
                "index": 0,
                "props": {"heading": "<h1>Read 100% more</h1>"},
            }
        ],
        "attributes": {},
    },
}

_BARE = ("id", "name", "type", "version")
_OLDER = ("parent_path",)
_SOLD = ("created", "version_date", "record_type", "baseTemplate", "duplicatedFrom", "priceReference")


def live(kind: str, template: Template) -> Sequence[Template]:
    """Return what stands for *template* on live tenants, in turns; they have a bare envelope.

    Of 24 published offers that were recorded, 7 had `modified`, and all had `version_date`; pages have `modified` only.
    Of other kinds only the documented samples are known: outside they have no times either, and inside only products
    have any.
    """
    match kind:
        case "offer" | "add_on" | "discount":
            older = _OLDER if "." in template["id"] else ()
            dated, undated = (bare(template, (*_SOLD, *more), older) for more in (("modified",), ()))
            return [dated if number * 7 % 24 < 7 else undated for number in range(24)]
        case "page":
            return [bare(template, ("created", "modified", "record_type", "user"))]
        case "product":
            return [bare(template, ("created", "modified"), _OLDER)]
        case _:
            return [bare(template, (), (*_OLDER, "attributes"))]


def bare(template: Template, inside: Sequence[str], outside: Sequence[str] = ()) -> dict[str, Any]:
    """*template*, or an item, with nothing outside but the bare envelope and *outside*; *inside* moves into `data`."""
    moved = {name: template[name] for name in inside if name in template}
    kept = {name: template[name] for name in (*_BARE, *outside) if name in template}
    return {"path": template["path"], "data": {**template["data"], **moved}, **kept}
