"""What a page says besides its items: how many there are, which snapshot, where the next page starts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from limio_async.core.codec import decode, decoder_for, items_decoder
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.wire import Paging
from limio_async.errors import Unreadable

__all__ = ["Head", "head_of", "page_query", "raw_items", "read_head"]

_LONGEST_CURSOR = 16 * 1024


class Head(msgspec.Struct, frozen=True):
    """All of a page but its decoded items."""

    items: msgspec.Raw | None
    """The items as they came; None where they were decoded right away."""
    hits: int | None
    exact: bool
    """Whether `hits` is a count and not a lower bound."""
    cursor: Cursor | None
    commit_id: str | None

    @property
    def empty(self) -> bool:
        """Whether the page holds no items."""
        return self.items is None or (
            len(self.items) < 16 and bytes(self.items).translate(None, b" \t\r\n") in {b"[]", b"null"}
        )


class _Total(msgspec.Struct):
    value: int | None = None
    relation: str | None = None


_HEAD: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")


def read_head(operation: str, paging: Paging, body: bytes) -> Head:
    """Find cursor, hits, snapshot and items of a page without decoding its items. Raises `Unreadable`."""
    page = decode(operation, body, _HEAD)
    if paging.items not in page:
        raise Unreadable(
            f"the answer has no {paging.items} - at $", operation=operation, spot="$", body=body[:2048]
        )
    return head_of(operation, paging, page[paging.items], page)


def head_of(
    operation: str, paging: Paging, items: msgspec.Raw | None, page: Mapping[str, msgspec.Raw]
) -> Head:
    """What the fields of a page say. Raises `Unreadable`."""
    hits, exact = _hits(operation, page.get(paging.hits or "", _NULL))
    return Head(
        items=items,
        hits=hits,
        exact=exact,
        cursor=_cursor(operation, paging, page.get(paging.cursor or "", _NULL)),
        commit_id=_first_found(operation, paging.commit_id, page),
    )


def raw_items(operation: str, paging: Paging, items: msgspec.Raw) -> list[msgspec.Raw]:
    """The items of a page, split but not decoded. Raises `Unreadable` if they are no list."""
    return decode(operation, items, items_decoder(msgspec.Raw), at=f"$.{paging.items}") or []


def page_query(paging: Paging, size: int | None, cursor: Cursor | None = None) -> dict[str, str]:
    """The query parameters that walking adds: what every page is asked with, its size, its cursor."""
    query = dict(paging.always)
    if paging.page_size and size:
        query[paging.page_size] = str(size)
    return query if cursor is None else {**query, **cursor.query}


def _hits(operation: str, raw: msgspec.Raw) -> tuple[int | None, bool]:
    try:
        found = decode(operation, raw, decoder_for(int | float | _Total | None))
    except Unreadable:  # a hint that cannot be read is no hint
        return None, False
    if isinstance(found, _Total):
        return found.value, found.value is not None and found.relation in {None, "eq"}
    return (None, False) if found is None else (int(found), True)


def _cursor(operation: str, paging: Paging, raw: msgspec.Raw) -> Cursor | None:
    place = f"$.{paging.cursor}"
    found = decode(operation, raw, decoder_for(str | dict[str, Any] | None), at=place)
    parts: dict[str, Any] = {"": found} if isinstance(found, str) else (found or {})
    query = {param: value for part, param in paging.sends.items() if (value := parts.get(part))}
    if not any(parts.values()):
        return None
    if not query or not all(isinstance(value, str) for value in query.values()):
        raise Unreadable(f"a cursor of unknown shape - at {place}", operation=operation, spot=place)
    if sum(map(len, query.values())) > _LONGEST_CURSOR:
        raise Unreadable(f"a cursor of over 16 KiB - at {place}", operation=operation, spot=place)
    return Cursor(query)


def _first_found(operation: str, places: tuple[str, ...], page: Mapping[str, msgspec.Raw]) -> str | None:
    for place in places:
        top, *inner = place.split(".")
        found = decode(operation, page.get(top, _NULL), decoder_for(Any), at=f"$.{top}")
        for key in inner:
            found = cast("dict[str, Any]", found).get(key) if isinstance(found, dict) else None
        if found is not None:
            return str(found)
    return None
