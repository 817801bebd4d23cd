"""What of an item gets a column: where its values stand, list by list, and how they are read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from limio_async.core.wire import ListEndpoint
from limio_async.envelope import CURRENCIES, PRICES, moment, places
from limio_async.sync_jobs.sink import Kind

__all__ = ["Columns", "Spot", "spots_of", "text_of", "value_at"]

_LARGEST = 2**63 - 1


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
_CHARGES = tuple(".".join((*place, "0")) for place in PRICES)
"""Where the first charge of an offer's price may stand."""
_PRICE = (
    _at("price_amount", *(f"{charge}.value" for charge in _CHARGES), kind="number"),
    _at(
        "price_currency",
        *(f"{charge}.{'.'.join(place)}" for place in CURRENCIES for charge in _CHARGES),
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


def value_at(item: Mapping[str, Any], spot: Spot) -> Any:
    """The value of a column; None where there is none of its kind."""
    for path in spot.paths:
        found: Any = item
        for part in path:
            if (found := _inside(found, part)) is None:
                break
        value = None if found is None else _CONVERTERS[spot.kind](found)
        if value is not None:
            return value
    return None


def _inside(holder: Any, part: str | int) -> Any:
    """What *holder* has at a key or a position; None where it is of another kind, or shorter."""
    if isinstance(holder, dict):
        return holder.get(part)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    try:
        return holder[part]
    except (LookupError, TypeError):
        return None


def text_of(value: Any) -> str | None:
    """A text, a number or a truth value as a text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _integer(value: Any) -> int | None:
    number = value if isinstance(value, int) and not isinstance(value, bool) else _number(value)
    return int(number) if number is not None and abs(number) <= _LARGEST and number == int(number) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_CONVERTERS: Mapping[Kind, Any] = {
    "text": text_of,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "time": moment,
}

_NOTHING: dict[str, Any] = {}
_PLAIN: Mapping[Kind, type] = {"text": str, "boolean": bool}
"""What a column holds as it came."""


class Columns:
    """Reads all columns of an item at once: for each of *spots* what `value_at` gives, what holds several being looked up once."""

    def __init__(self, spots: Iterable[Spot]) -> None:
        self._steps: list[tuple[int, str | int]] = []
        self._numbers: dict[tuple[str | int, ...], int] = {(): 0}
        self._spots = [
            (
                _PLAIN.get(spot.kind),
                _CONVERTERS[spot.kind],
                [(self._holder(path[:-1]), path[-1]) for path in spot.paths],
            )
            for spot in spots
        ]

    def _holder(self, path: tuple[str | int, ...]) -> int:
        if path not in self._numbers:
            self._steps.append((self._holder(path[:-1]), path[-1]))
            self._numbers[path] = len(self._steps)
        return self._numbers[path]

    def of(self, item: dict[str, Any]) -> list[Any]:
        """The values of an item's columns."""
        holders: list[Any] = [item]
        for above, part in self._steps:
            holder = holders[above]
            found = holder.get(part) if holder.__class__ is dict else _inside(holder, part)
            holders.append(_NOTHING if found is None else found)
        values: list[Any] = []
        for plain, convert, spots in self._spots:
            for above, part in spots:
                holder = holders[above]
                value = holder.get(part) if holder.__class__ is dict else _inside(holder, part)
                if value.__class__ is plain or (value is not None and (value := convert(value)) is not None):
                    values.append(value)
                    break
            else:
                values.append(None)
        return values
