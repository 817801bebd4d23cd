"""What a webhook's body is, what it is keyed by, when it was true, and whether two are equal. Pure.

A body is any JSON value: Limio signs nothing, and no document says that it is an object. Nothing here raises.
The table of the documented types is `limio_async.api.webhooks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal, cast

import msgspec

from limio_async.api.models.objects import LimioObject
from limio_async.api.webhooks import OBJECT, OTHERS, WEBHOOKS
from limio_async.core.same import canonical, digest
from limio_async.core.wire import UNDECODABLE, Webhook
from limio_async.envelope import at, moment

__all__ = [
    "Event",
    "State",
    "digest_as",
    "digest_of",
    "id_of",
    "instant_of",
    "key_of",
    "kind_of",
    "object_of",
]

_LONGEST = 255
_NOTHING: Mapping[str, Any] = {}


State = Literal["open", "done", "parked", "dropped"]
"""Where an event stands: `open`: to be handled. `done`. `parked`: a person decides. `dropped`: a person did."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was stored."""

    seq: int
    """Its number in the inbox."""
    type: str
    """A documented slug, such as `order_submitted`, or the last part of the URL as it came."""
    object: str | None
    """What the object is, such as `order`; None where nothing tells."""
    id: str | None
    """The object's id."""
    updated: datetime | None
    """When the object was as the body has it, in UTC; None where the body does not say."""
    received: datetime
    """When it came first, in UTC."""
    digest: str
    """Equal for two bodies of the same JSON value."""
    body: Any
    """The JSON value that came; of Error Reporting the report, which has the order inside."""
    seen: int = 1
    """How often it came."""
    key: str = ""
    """What it concerns, mostly a subscription: events of one key are handled one at a time."""
    stale: bool = False
    """Whether what was fetched is older than the body, or is not there."""
    state: State = "open"
    error: str | None = None
    """Why it is parked, or what its last attempt failed of. May hold personal data; emptied by `erase`."""

    def __repr__(self) -> str:  # crash reports show it: no personal data
        return f"<Event {self.seq} {self.type} {self.id or 'without id'}>"


def kind_of(slug: str, body: object) -> Webhook:
    """Return what a body is that came to `/hooks/{slug}`. Case and a slash at the end do not matter.

    Of a type that is not documented the slug stays as it is, and the body's `record_type` tells the rest.
    """
    if (known := WEBHOOKS.get(slug.strip("/").lower())) is not None:
        return known
    record_type = _text(_mapping(body).get("record_type"))
    found = OTHERS.get(record_type or "") or Webhook(
        model=LimioObject, record_type=record_type, keyed_by=OBJECT
    )
    return msgspec.structs.replace(found, slug=slug)


def key_of(kind: Webhook, body: object) -> str | None:
    """Return what the events of one subscription or object have in common; None where each is a key of its own.

    The key is the subscription that the object names by id, else the object itself. A `forSubscription` with a
    name only gives none: the same subscription may be named by its id elsewhere, and a name is no id. Nor does
    `related` count, which may be an order.

    An entitlement without an id is keyed by its owner, who stands beside the entitlements in the documented sample:
    by `code` alone the entitlements of all customers would wait for each other. The code counts where there is no
    owner either.

    Of Error Reporting it is the key of the order inside, so that the report waits for its order's other events.
    """
    found = object_of(kind, body)
    texts = (_text(at(found, place)) for place in map(_place, kind.keyed_by))
    return next((text for text in texts if text is not None), None)


def object_of(kind: Webhook, body: object) -> Mapping[str, Any]:
    """Return the object that a body tells of; empty where there is none."""
    return _mapping(at(_mapping(body), _place(kind.inside)) if kind.inside else body)


def id_of(kind: Webhook, body: object) -> str | None:
    """Return the id of the object that a body tells of."""
    return _text(object_of(kind, body).get("id"))


def instant_of(kind: Webhook, body: object) -> datetime | None:
    """Return when the object was as the body has it, in UTC. Compare these, never the texts: their forms differ."""
    return moment(object_of(kind, body).get("updated"))


def digest_of(body: bytes) -> str:
    """Return what stands for the JSON value of a body: the order of keys and the spelling of numbers do not count.

    Of what cannot be read the bytes themselves count: JSON that is too deep, numbers out of range, half a surrogate
    pair, or no JSON at all.
    """
    try:
        value = msgspec.json.decode(body)
    except UNDECODABLE:
        return digest(body)
    return digest_as(value, body)


def digest_as(value: object, body: bytes) -> str:
    """Return the same of a body whose *value* is decoded."""
    try:
        return digest(canonical(value))
    except UNDECODABLE:
        return digest(body)


@cache
def _place(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.split("."))


def _text(value: object) -> str | None:
    """Return a name that can be an id; None for anything else."""
    fits = isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
    return cast("str", value) if fits else None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else _NOTHING
