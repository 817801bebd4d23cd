"""What an index of the catalog knows about an item: when it changed, its tags and its status, as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from limio_async.envelope import CHANGED, at, changed_at, moment, tags_of, told

__all__ = ["facts_of", "time_of"]

_MODIFIED = tuple(place for place in CHANGED if place[-1] in {"updated", "modified"})


def facts_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Return what searches look at.

    `changed_at` is when an item says that it changed, `modified_at` the same if it has a field of that kind. Both are empty
    where it tells nothing.
    """
    changed = time_of(changed_at(item))
    return {
        "id": str(item.get("id", "")),
        "name": str(item.get("name", "")),
        "path": str(item.get("path", "")),
        "version": str(item.get("version", "")),
        "status": str(told(item, "status") or ""),
        "changed_at": changed,
        "modified_at": changed if any(moment(at(item, place)) for place in _MODIFIED) else "",
        "tags": ",".join(f'"{tag}"' for tag in tags_of(item)),
    }


def time_of(when: datetime | None) -> str:
    """Return a moment as text that sorts as moments do; empty for none."""
    return "" if when is None else when.astimezone(UTC).isoformat(timespec="microseconds")
