"""Where an item says when it changed, which tags it has, and what stands outside or inside its `data`. Pure.

Live tenants answer catalog items with a bare envelope (`path`, `data`, `name`, `id`, `type`, `version`): times, tags
and `record_type` then stand in `data`. Older answers and objects have them outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

__all__ = ["CHANGED", "TAGS", "at", "changed_at", "last_change", "moment", "places", "tags_of", "told"]

CHANGED = (
    ("updated",),
    ("modified",),
    ("data", "modified"),
    ("version_date",),
    ("data", "version_date"),
)
"""Where an item may say when it was changed; the first that is a time counts.

`created` is not among them: it says when an item came, never when it changed.
"""

TAGS = (("tags",), ("data", "tags"), ("data", "attributes", "tags__limio"))
"""Where an item may have its tags; all of them count."""


def changed_at(item: Mapping[str, Any]) -> datetime | None:
    """Return when an item was changed last by its own account, in UTC; None where it tells nothing."""
    return next((found for place in CHANGED if (found := moment(at(item, place))) is not None), None)


def last_change(item: Mapping[str, Any]) -> datetime | None:
    """Return the latest time of change that an item tells, in UTC; None where it tells nothing.

    An item that was published again may keep an older `modified` beside its `version_date`: whether it has stayed
    as it was, only the latest can tell.
    """
    times = (moment(at(item, place)) for place in CHANGED)
    return max((one for one in times if one is not None), default=None)


def tags_of(item: Mapping[str, Any]) -> list[str]:
    """Return the tag paths of an item, wherever they stand; empty where it tells of none."""
    found: dict[str, None] = {}
    for place in TAGS:
        held = at(item, place)
        for tag in cast("list[object]", held) if isinstance(held, list) else [held]:
            if isinstance(tag, str) and tag:
                found[tag] = None
    return list(found)


def places(name: str) -> tuple[tuple[str, ...], ...]:
    """Return where an item may have the field *name*: outside, else in `data`."""
    return (name,), ("data", name)


def told(item: Mapping[str, Any], name: str) -> Any:
    """Return what an item has under *name*: outside, else in `data`; None where neither has it."""
    return next((found for place in places(name) if (found := at(item, place)) is not None), None)


def at(item: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    """Return what stands at *place* in an item; None where nothing does."""
    found: Any = item
    for key in place:
        if not isinstance(found, (dict, Mapping)):  # a dict is told from others much sooner
            return None
        found = cast("Mapping[str, Any]", found).get(key)
    return found


def moment(value: object) -> datetime | None:
    """Return a date or a date and time (ISO 8601; without a zone, UTC) in UTC; None for anything else."""
    if not isinstance(value, str) or len(value) < 10:
        return None
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is UTC:
            return found
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
