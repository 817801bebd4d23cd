"""Which coroutine functions an event is for, and what they get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from limio_async.core.codec import decode_as
from limio_async.errors import Unreadable
from limio_async.webhooks.event import Row
from limio_async.webhooks.types import Event, id_of, kind_of

__all__ = ["Fetch", "Handler", "Target", "marked", "matching", "named", "target_of", "told"]

Handler_ = Callable[[Event, Any, Any], Awaitable[None]]
Fetch = Literal["object", "key"]
_BY_PREFIX = {"sub-": "subscriptions", "order-": "orders", "cus-": "customers"}


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """One registered function; *name* is how its marks call it."""

    name: str
    pattern: str
    call: Handler_
    fetch: Fetch = "object"
    refetch: bool = True


class Target(msgspec.Struct, frozen=True):
    """What is fetched for an event."""

    resource: str
    id: str


def named(pattern: str, function: Callable[..., object], name: str | None) -> str:
    """Return how marks call a handler: it has to be the same in every process, and after each restart."""
    return name or f"{pattern}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def matching(handlers: Sequence[Handler], type: str) -> list[Handler]:
    """Return the handlers that an event of this type is for."""
    return [one for one in handlers if fnmatchcase(type.lower(), one.pattern)]


def marked(marks: str, name: str) -> str:
    """Return *marks* with that of one more handler."""
    return f"{marks or chr(10)}{name}\n"


def target_of(row: Row, body: Any, fetch: Fetch) -> Target | None:
    """Return what is fetched: the object of the body, or what the key names; None where nothing can be."""
    if fetch == "key":
        resource = next((to for prefix, to in _BY_PREFIX.items() if row.key.startswith(prefix)), None)
        return None if resource is None else Target(resource, row.key)
    kind = kind_of(row.type, body)
    name = id_of(kind, body)
    return None if kind.resource is None or kind.inside or name is None else Target(kind.resource, name)


def told(row: Row, body: Any) -> Any:
    """Return the body as its model; as it is where that cannot be."""
    try:
        return decode_as("webhook", (row.body or "null").encode(), kind_of(row.type, body).model)
    except Unreadable:
        return body
