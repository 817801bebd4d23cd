"""An order as it is stored: its JSON, whether two are equal, what it names, and what at Limio came of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import filterfalse
from typing import Any, TypeGuard, cast

import msgspec

from limio_async.api.orders import SUBMIT_ORDER
from limio_async.core.bodies import payload_of
from limio_async.core.same import canonical, digest
from limio_async.errors import InvalidArgument

__all__ = ["Entry", "came_of", "entry_of", "fields_of", "is_key"]

_LONGEST_KEY = 255
_BARE: Mapping[str, Any] = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An order, ready to be stored."""

    key: str
    digest: str
    body: str
    subscription: str | None
    """By its id, `sub-…`."""
    reference: str | None
    """By whatever else the order calls it."""
    basket: str | None
    person: str | None

    def __repr__(self) -> str:  # crash reports show it
        return f"<Entry {len(self.body)} characters>"


def entry_of(key: str, order: Mapping[str, Any] | msgspec.Struct) -> Entry:
    """Return what is stored of *order*. Raises `InvalidArgument` where it cannot be sent, or is another key's."""
    if not is_key(key):
        raise InvalidArgument(
            f"a key is 1 to {_LONGEST_KEY} printable characters, none of the outer ones blank",
            operation="intend",
        )
    payload = payload_of(SUBMIT_ORDER, order)
    try:
        body = msgspec.json.decode(payload or b"")
        text = canonical({**body, "external_id": key})
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(
            f"the order of {key!r} cannot be encoded: {error}", operation="intend"
        ) from None
    if body.get("external_id") not in (None, key):
        said = "has another external_id: leave it out, or take it as the key"
        raise InvalidArgument(f"the order of {key!r} {said}", operation="intend")
    if not _text(body.get("order_type")):
        raise InvalidArgument(f"the order of {key!r} has no order_type", operation="intend")
    named = _subscriptions(body)
    return Entry(
        key=key,
        digest=digest(text),
        body=text.decode(),
        subscription=max(filter(_is_id, named), default=None),
        reference=max(filterfalse(_is_id, named), default=None),
        basket=_text(body.get("checkoutId")),
        person=_text(body.get("owner")),
    )


def is_key(value: object) -> TypeGuard[str]:
    """Return whether an order can be stored under that key: else no order that has it is ours."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_KEY
        and value.isprintable()
        and value == value.strip()
    )


def fields_of(item: object) -> Mapping[str, Any]:
    """Return what a stored order holds of the request that made it; empty where it is bare."""
    data = cast("Mapping[str, Any]", item).get("data") if isinstance(item, Mapping) else None
    return _mapping(data)


def came_of(body: str | None, item: Mapping[str, Any]) -> bool | None:
    """Return whether *item*, whose `external_id` is the order's key, is what came of it; None where it does not say.

    Its operation has to be the same, and the subscription or the offers that the order names.
    """
    if body is None:  # purged: long since settled
        return True
    sent: Mapping[str, Any] = msgspec.json.decode(body)
    stored = fields_of(item)
    if stored.get("order_type") != sent["order_type"]:
        return None if stored.get("order_type") is None else False
    if not (theirs := _subscriptions(sent)) and not _offers(sent):
        return True
    mine = _subscriptions(stored) or {text for text in (_text(item.get("ref")),) if text}
    if theirs and mine:
        alike = {*map(_is_id, theirs | mine)}
        return True if theirs & mine else False if len(alike) == 1 else None
    offers = _offers(stored)
    return None if not offers or not _offers(sent) else offers == _offers(sent)


def _text(value: object) -> str | None:
    return (
        value.replace("\0", "\ufffd") if isinstance(value, str) and value else None
    )  # PostgreSQL takes no NUL


def _subscriptions(fields: Mapping[str, Any]) -> set[str]:
    named = fields.get("forSubscription")
    ids = _mapping(named)
    found: list[Any] = [
        fields.get("subscriptionId"),
        ids.get("id"),
        fields.get("subscriptionRef"),
        ids.get("name"),
        named,
    ]
    return {one for one in map(_text, found) if one}


def _is_id(name: str) -> bool:
    return name.startswith("sub-")


def _offers(fields: Mapping[str, Any]) -> set[str]:
    several: list[Any] = [fields.get("orderItems"), fields.get("updates"), [{"offer": fields.get("offer")}]]
    items = [_mapping(one) for each in several if isinstance(each, list) for one in cast("list[Any]", each)]  # type: ignore[redundant-cast]
    ids = (_mapping(one.get("offer") or one).get("id") for one in items)
    return {one for one in map(_text, ids) if one}


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else _BARE
