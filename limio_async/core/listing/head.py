"""What a page says besides its items: how many there are, which snapshot, where the next page starts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from limio_async.core import codec
from limio_async.core.codec import decode, decoder_for
from limio_async.core.identity import no_in, told_beside
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.outcome import unreadable
from limio_async.core.splitter import container, elements, is_doubtful, json_elements, member
from limio_async.core.tolerant import mended
from limio_async.core.torn import torn_page
from limio_async.core.wire import UNDECODABLE, Paging
from limio_async.errors import Unreadable

__all__ = [
    "Head",
    "cursor_of",
    "head_of",
    "page_query",
    "raw_items",
    "read_head",
]

_STUCK = "is an object, of which nothing is documented: no page after this one can be asked for"
_LONGEST_CURSOR = 16 * 1024
_MOST_HITS = 2**53
_DIGITS = re.compile(r"\s*[0-9]{1,15}\s*")
_NOTHING = (None, "")
_NO_ITEMS = re.compile(rb"null|\[\s*\]")


class Head(msgspec.Struct, frozen=True):
    """All of a page but its decoded items."""

    items: msgspec.Raw | None
    """The items as they came; None where they were decoded right away."""
    hits: int | None
    exact: bool
    """Whether `hits` is a count and not a lower bound."""
    cursor: Cursor | None
    commit_id: str | None
    stuck: str = ""
    """Why no page after this one can be asked for, although there may be one."""
    odd_hits: bool = False
    """Whether `hits` came and cannot be read."""
    parts: list[msgspec.Raw] | None = None
    """The items one by one, where that is how they were found."""
    told: str = ""
    """What it tells of errors beside its items."""
    alone: bool = False
    """Whether the items are known to be the page's only list, so that their bytes are easily found."""

    @property
    def goes_on(self) -> bool:
        """Whether there may be a page after this one."""
        return self.cursor is not None or bool(self.stuck)


_HEAD: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CURSOR: msgspec.json.Decoder[str | dict[str, Any] | None] = msgspec.json.Decoder(str | dict[str, Any] | None)
_NULL = msgspec.Raw(b"null")
_Parted = tuple[dict[str, msgspec.Raw], list[msgspec.Raw] | None]


def read_head(operation: str, paging: Paging, body: bytes) -> Head:
    """Find cursor, hits, snapshot and items of a page without decoding its items.

    Raises `Unreadable`, also for a page that has an error in the place of its items.
    """
    page, parts = _page(operation, paging, body)
    items = page.get(paging.items)
    if items is None:
        said, spot = f"the answer has no {paging.items}", "$"
        raise Unreadable(f"{said} - at {spot}", operation=operation, spot=spot, body=body[:2048])
    if _NO_ITEMS.fullmatch(items) and (error := no_in(page, some=bytes(items) != b"null")):
        said, spot = f"the answer tells of an error and has no {paging.items}", f"$.{error}"
        raise Unreadable(f"{said} - at {spot}", operation=operation, spot=spot, body=body[:2048])
    return msgspec.structs.replace(head_of(operation, paging, items, page), parts=parts)


def _page(operation: str, paging: Paging, body: bytes) -> _Parted:
    """Return the fields of a page, and its items one by one if msgspec refuses them."""
    try:
        return _HEAD.decode(body), None
    except UNDECODABLE as error:
        refused = unreadable(operation, body, str(error), "$")
    found = _with_halves(paging.items, body) or _matching(paging.items, body) or torn_page(body, paging.items)
    if found is None:
        raise refused
    return found


def _matching(name: str, body: bytes) -> _Parted | None:
    """Return the same of a page whose brackets match; None unless its quotes tell the same items."""
    parts: list[msgspec.Raw] | None
    try:
        if (found := _first_mentioned(name, body)) is not None:
            page, parts = found
        else:
            begin, end = member(body, name) or (0, 0)
            array = body[begin:end]
            page = {**_HEAD.decode(b"%bnull%b" % (body[:begin], body[end:])), name: msgspec.Raw(array)}
            spans = elements(array)
            parts = None if spans is None else [msgspec.Raw(array[first:last]) for first, last in spans]
    except UNDECODABLE:
        return None
    return None if is_doubtful(bytes(page[name]), [*map(bytes, parts or ())]) else (page, parts)


def _with_halves(name: str, body: bytes) -> _Parted | None:
    """Return the same of a page that is JSON but for halves of surrogate pairs, which leave no doubt."""
    text = mended(body)
    if text == body or (begin := _first_mention(name, body)) is None:
        return None
    try:
        end = begin + len(_HEAD.decode(text).get(name, b""))
        return _cut(name, body, begin, end, json_elements(text, begin, end))
    except UNDECODABLE:
        return None


def _first_mentioned(name: str, body: bytes) -> _Parted | None:
    """Return the same in one pass; None unless the items' key is first mentioned there."""
    if (begin := _first_mention(name, body)) is None or (found := container(body, begin)) is None:
        return None
    return _cut(name, body, begin, found[1], found[0])


def _first_mention(name: str, body: bytes) -> int | None:
    """Return where the items begin; None unless the first mention of their key is one of the outermost object."""
    key = b'"%b"' % name.encode()
    at = body.find(key)
    begin = body.find(b"[", at)
    if at < 0 or body[at + len(key) : begin].strip() != b":":
        return None
    try:
        _HEAD.decode(body[:at].rstrip().removesuffix(b",") + b"}")
    except UNDECODABLE:
        return None
    return begin


def _cut(name: str, body: bytes, begin: int, end: int, spans: list[tuple[int, int]]) -> _Parted | None:
    """Return the fields of a page and the items that stand at *spans*. Raises what msgspec does."""
    page = _HEAD.decode(b"%bnull%b" % (body[:begin], body[end:]))
    if bytes(page[name]) != b"null":
        return None  # it has the key twice: the last counts
    page[name] = msgspec.Raw(body[begin:end])
    return page, [msgspec.Raw(body[first:last]) for first, last in spans]


def head_of(
    operation: str,
    paging: Paging,
    items: msgspec.Raw | None,
    page: Mapping[str, msgspec.Raw],
) -> Head:
    """Return what the fields of a page say. Raises `Unreadable`."""
    raw = page.get(paging.hits or "", _NULL)
    hits, exact = _hits(raw)
    cursor, stuck = cursor_of(operation, paging, page.get(paging.cursor or "", _NULL))
    return Head(
        items=items,
        hits=hits,
        exact=exact,
        odd_hits=hits is None and bytes(raw) != b"null",
        told=told_beside(page),
        stuck=stuck,
        cursor=cursor,
        commit_id=_first_found(operation, paging.commit_id, page),
    )


def raw_items(operation: str, paging: Paging, items: msgspec.Raw) -> list[msgspec.Raw]:
    """Return the items of a page, split but not decoded. Raises `Unreadable` if they are no list."""
    try:
        return codec.raw_items(items)
    except UNDECODABLE as error:
        raise unreadable(operation, bytes(items), str(error), f"$.{paging.items}") from None


def page_query(paging: Paging, size: int | None, cursor: Cursor | None = None) -> dict[str, str]:
    """Return the query parameters that walking adds: what every page is asked with, its size, its cursor."""
    query = dict(paging.always)
    if paging.page_size and size:
        query[paging.page_size] = str(size)
    return query if cursor is None else {**query, **cursor.query}


def _hits(raw: msgspec.Raw) -> tuple[int | None, bool]:
    """Return how many items there are, and whether that is a count. Reads a number, text, or an object."""
    try:
        found: Any = decoder_for(Any).decode(raw)
    except UNDECODABLE:
        return None, False
    relation = "eq"
    if isinstance(found, dict):
        total = cast("dict[str, Any]", found)
        found, relation = total.get("value"), total.get("relation") or "eq"
    number = _whole(found)
    return number, number is not None and relation == "eq"


def _whole(found: object) -> int | None:
    match found:
        case bool():
            return None
        case int() if 0 <= found < _MOST_HITS:
            return found
        case float() if found.is_integer() and 0 <= found < _MOST_HITS:
            return int(found)
        case str() if _DIGITS.fullmatch(found):
            return int(found)
        case _:
            return None


def cursor_of(operation: str, paging: Paging, raw: msgspec.Raw) -> tuple[Cursor | None, str]:
    """Return the cursor of a page, and why no page after it can be asked for. Raises `Unreadable`."""
    if bytes(raw)[:1] == b"{" and not paging.species.durable and list(paging.sends) == [""]:
        return None, f"{paging.cursor} {_STUCK}"
    return _cursor(operation, paging, raw), ""


def _cursor(operation: str, paging: Paging, raw: msgspec.Raw) -> Cursor | None:
    place = f"$.{paging.cursor}"
    found = decode(operation, raw, _CURSOR, at=place)
    parts: dict[str, Any] = {"": found} if isinstance(found, str) else (found or {})
    query = {param: parts[part] for part, param in paging.sends.items() if parts.get(part) not in _NOTHING}
    if query:
        if next(iter(paging.sends.values())) not in query:
            return None  # without its first part, an alias is no cursor
    elif all(value in _NOTHING for value in parts.values()):
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
        if found is not None and found != "":
            return str(found)
    return None
