"""What `limio inbox` shows: of an event only what says nothing about a person, unless somebody asks for all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from limio_async.cli.masking import masked
from limio_async.webhooks import Event

__all__ = ["COLUMNS", "shown"]

COLUMNS = ("seq", "type", "id", "key", "state", "seen", "received", "error")
_SENT = ("type", "object", "id", "key")
"""What somebody else chose, and may have put an address in."""
_HIDDEN = "***"
_PLAIN = frozenset({
    "cancelDate", "checkoutId", "country", "created", "effectiveDate", "eventId", "external_id", "id", "mode", "order_type",
    "process_immediately", "processEventId", "quantity", "record_subtype", "record_type", "service", "source", "status",
    "subscriptionId", "termStartDate", "termEndDate", "type", "updated", "version",
})  # fmt: skip
"""Fields whose plain values are no personal data."""
_WITHIN = frozenset({"data", "event", "forSubscription", "offer", "orderItems", "updates"})
"""Fields that hold such fields; whatever another field holds is hidden as a whole."""


def shown(event: Event, *, personal: bool, body: bool = False) -> dict[str, Any]:
    """Return what is shown of an event, its *body* only if asked; all of it if *personal*."""
    found = msgspec.structs.asdict(event)
    if not body:
        del found["body"]
    if not personal:
        found |= {name: masked(found[name]) for name in _SENT}
        if body:
            found["body"] = _value("data", event.body)
        if event.error is not None and not event.error.startswith("unreadable: "):
            found["error"] = masked(event.error.partition(": ")[0])  # what follows are the words of an error
    return found


def _value(name: str, value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case str() | int() | float() if name in _PLAIN:
            return masked(value)
        case dict() if name in _WITHIN:
            fields = cast("Mapping[str, Any]", value)
            return {str(masked(one)): _value(one, held) for one, held in fields.items()}
        case list() if name in _WITHIN:
            return [_value(name, one) for one in cast("list[object]", value)]
        case _:
            return _HIDDEN
