"""What of an item gets a column: where its values stand, list by list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from limio_async.core.wire import ListEndpoint
from limio_async.envelope import places
from limio_async.sync_jobs.sink import Kind

__all__ = ["Spot", "spots_of"]


class Spot(msgspec.Struct, frozen=True):
    """A column, and where in an item its value stands: the first of *paths* that leads to one."""

    name: str
    paths: tuple[tuple[str | int, ...], ...]
    kind: Kind = "text"


def _at(name: str, *paths: str, kind: Kind = "text") -> Spot:
    """The column *name*; a path is dotted, a number in it is a position in a list."""
    split = (
        tuple(int(part) if part.isdigit() else part for part in path.split(".")) for path in paths or (name,)
    )
    return Spot(name, tuple(split), kind)


def spots_of(name: str, endpoint: ListEndpoint[Any]) -> tuple[Spot, ...]:
    """Return the columns of a list's items, less those that every table has."""
    own = _OWN.get(name, ())
    if endpoint.paging.commit_id:
        return (*_CATALOG, *own)
    return (*own, _CREATED) if name == "abandoned_baskets" else (*_OBJECT, *own)


def _told(name: str, kind: Kind = "text") -> Spot:
    """The column of a field that catalog items may have outside or in `data`."""
    return Spot(name, places(name), kind)


_CREATED = _at("created", kind="time")
_CATALOG = (
    *(_told(name) for name in ("name", "path", "parent_path", "record_type", "record_subtype")),
    *(_told(name) for name in ("status", "service", "mode", "version")),
    _told("created", "time"),
)
_OBJECT = (
    *(_at(name) for name in ("name", "reference", "record_type", "record_subtype", "service", "status")),
    *(_at(name) for name in ("mode", "owner", "customer", "related")),
    _CREATED,
)
_CHARGES = ("data.attributes.price__limio.0", "data.price.0", "data.attributes.price.0")
"""Where the first charge of an offer's price may stand, as `OfferData` says."""
_PRICE = (
    _at("price_amount", *(f"{charge}.value" for charge in _CHARGES), kind="number"),
    _at(
        "price_currency",
        *(f"{charge}.currencyCode" for charge in _CHARGES),
        *(f"{charge}.currency.id" for charge in _CHARGES),
    ),
    _at("repeat_interval", *(f"{charge}.repeat_interval" for charge in _CHARGES), kind="integer"),
    _at("repeat_interval_type", *(f"{charge}.repeat_interval_type" for charge in _CHARGES)),
    _at("renewal_type", "data.attributes.term__limio.renewal_type"),
    _at(
        "term_length",
        "data.attributes.initial_term__limio.length",
        "data.attributes.term__limio.length",
        kind="integer",
    ),
    _at("term_type", "data.attributes.initial_term__limio.type", "data.attributes.term__limio.type"),
)
_AMOUNT = (
    _at("price_amount", "data.price.amount", kind="number"),
    _at("price_currency", "data.price.currency"),
)
_OWN: Mapping[str, tuple[Spot, ...]] = {
    "offers": _PRICE,
    "offers_v2": _PRICE,
    "add_ons": _PRICE,
    "products": (_at("product_code", "data.attributes.product_code__limio"),),
    "campaigns": (_at("valid_from", "data.validFrom"), _at("valid_to", "data.validTo")),
    "subscriptions": (
        _at("offer_name", "data.offer.name"),
        _at("offer_path", "data.offer.path"),
        *_AMOUNT,
        _at("quantity", "data.quantity", kind="number"),
        _at("start_date", "data.startDate", "start"),
        _at("term_start_date", "data.termStartDate"),
        _at("term_end_date", "data.termEndDate"),
    ),
    "orders": (
        _at("order_type", "data.order_type"),
        _at("external_id", "data.external_id", "external_id"),
        _at("source", "data.source"),
        _at("country", "data.country"),
        _at("total_amount", "data.total.amount", kind="number"),
        _at("total_currency", "data.total.currency"),
        _at("order_date", "data.orderDate", kind="time"),
        _at(
            "subscription_id",
            "data.forSubscription.id",
            "data.subscriptionId",
            "forSubscription.id",
            "subscriptionId",
        ),
        _at("order_reference", "data.order_reference", "order_reference"),
    ),
    "schedules": (
        _at("schedule_date", "data.schedule_date", "data.date", kind="time"),
        _at("amount", "data.amount", kind="number"),
        _at("currency", "data.currency"),
        _at("type", "data.type"),
    ),
    "events": (_at("type", "data.type"), _at("message", "data.message")),
    "promo_codes": (_at("promo_code", "data.promoCode"), _at("application_level", "data.applicationLevel")),
    "gift_codes": (_at("code", "data.code"),),
    "payment_methods": (_at("type", "data.type"),),
    "addresses": (_at("country", "data.country"), _at("postal_code", "data.postalCode")),
    "abandoned_baskets": (
        _at("entry"),
        _at("completed", kind="boolean"),
        _at("recovery_link", "recoveryLink"),
        _at("campaign", "tracking.campaign"),
    ),
}
