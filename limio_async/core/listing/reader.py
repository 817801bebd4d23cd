"""Reading the answer of a list: in one pass where it is as it should be, item by item where it is not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from limio_async.core.codec import decode, decoder_for, items_decoder
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.listing.head import ERROR_KEYS, Head, error_beside, head_of, raw_items, read_head
from limio_async.core.listing.page import BadItem
from limio_async.core.listing.repeats import page_print
from limio_async.core.wire import UNDECODABLE, Paging
from limio_async.errors import LimioError, Unreadable

__all__ = ["PageReader", "cursor_in_tail"]

T = TypeVar("T")

_NULL = msgspec.Raw(b"null")
_LONG = 16 * 1024
_TAIL = 32 * 1024
_MOST_KEYS = 40
_BLANK = b" \t\r\n"


class PageReader(Generic[T]):
    """Reads pages of one list operation to items of one kind.

    *kind* is what an item is decoded to, *finish* what is then made of all of a page, where that is anything.
    """

    def __init__(
        self, operation: str, paging: Paging, kind: Any, finish: Callable[[list[Any]], list[T]] | None = None
    ) -> None:
        self._operation = operation
        self._paging = paging
        self._kind = kind
        self._finish = finish
        self._key = b'"%b"' % paging.items.encode()
        self._names = _others(paging)
        self._page = _page_decoder(paging.items, self._names, kind)

    def read(self, body: bytes) -> tuple[Head, list[T]] | None:
        """Return all of a page in one pass; None if something of it is not as it should be."""
        try:
            try:
                page = self._page.decode(body)
            except msgspec.ValidationError:  # such as a key that no page had before
                if not self._learns_keys(body):
                    return None
                page = self._page.decode(body)
            others = {name: getattr(page, f"other_{number}") for number, name in enumerate(self._names)}
            if not page.items and error_beside(others, some=page.items is not None):
                return None
            alone = self._alone(body, others)
            head = head_of(self._operation, self._paging, None, others, alone=alone)
            return head, self._finished(page.items or [])
        except (*UNDECODABLE, LimioError):
            return None

    def read_head(self, body: bytes) -> Head:
        """Return all of a page but its items. Raises `Unreadable`."""
        return read_head(self._operation, self._paging, body)

    def fingerprint(self, head: Head, body: bytes, length: int) -> int:
        """Return the fingerprint of a page that has *length* items: of nothing but its items' bytes."""
        if head.items is not None:
            return page_print(length, memoryview(head.items))
        if head.alone and (span := self._span(body)) is not None:
            return page_print(length, span)
        return page_print(length, memoryview(_only_items(self._paging.items, msgspec.Raw).decode(body).items))

    def items_as(self, head: Head, body: bytes, kind: Any) -> list[Any]:
        """Return the items of a page decoded to another type. Raises what msgspec does."""
        if head.items is not None:
            return items_decoder(kind).decode(head.items) or []
        return _only_items(self._paging.items, list[kind] | None).decode(body).items or []

    def _learns_keys(self, body: bytes) -> bool:
        """Return whether the page has keys that were not known; now they are."""
        try:
            keys = decoder_for(dict[str, msgspec.Raw]).decode(body).keys()
        except UNDECODABLE:
            return False
        new = sorted(keys - {self._paging.items, *self._names})
        if not new or len(self._names) + len(new) > _MOST_KEYS:
            return False
        self._names = (*self._names, *new)
        self._page = _page_decoder(self._paging.items, self._names, self._kind)
        return True

    def _alone(self, body: bytes, others: Mapping[str, msgspec.Raw]) -> bool:
        """Return whether a long page has no other list and no earlier mention of its items' key."""
        if len(body) < _LONG:
            return False
        return not any(raw[:1] == b"[" or self._key in raw for raw in map(bytes, others.values()))

    def _span(self, body: bytes) -> memoryview | None:
        """Return the bytes of items that are alone, without reading the page; None if it is written oddly."""
        key, end = body.find(self._key), body.rfind(b"]") + 1
        begin = body.find(b"[", key)
        rest = body[end:].strip(_BLANK)
        if key < 0 or end <= begin or len(rest) > _TAIL:
            return None
        try:
            if rest[:1] == b",":
                decoder_for(dict[str, msgspec.Raw]).decode(b"{" + rest[1:])
            elif rest != b"}":
                return None
        except UNDECODABLE:
            return None
        return memoryview(body)[begin:end]

    def items(self, head: Head) -> list[T]:
        """Return the items of a page. Raises `Unreadable` naming the spot."""
        raw = head.items if head.items is not None else _NULL
        at = f"$.{self._paging.items}"
        items = decode(self._operation, raw, cast("Any", items_decoder(self._kind)), at=at)
        return self._finished(items or [])

    def careful_items(self, head: Head, on_bad_item: str) -> tuple[list[T], int]:
        """Return the items of a page and how many are bad: each is a `BadItem`, or raises `Unreadable`."""
        if on_bad_item == "raise":
            return self.items(head), 0
        items = [self._one(raw) for raw in self.raw_items(head)]
        return cast("list[T]", items), sum(isinstance(item, BadItem) for item in items)

    def split(self, body: bytes) -> list[msgspec.Raw]:
        """Return the items of a page, each as its bytes. Raises `Unreadable`."""
        return self.raw_items(self.read_head(body))

    def raw_items(self, head: Head) -> list[msgspec.Raw]:
        """Return the items of a page, split but not decoded. Raises `Unreadable` if they are no list."""
        return raw_items(self._operation, self._paging, head.items if head.items is not None else _NULL)

    def _one(self, raw: msgspec.Raw) -> T | BadItem:
        try:
            return self.items(
                Head(msgspec.Raw(b"[%b]" % bytes(raw)), None, exact=False, cursor=None, commit_id=None)
            )[0]
        except Unreadable as error:
            return BadItem(raw=bytes(raw), reason=error.said.replace(f"$.{self._paging.items}[0]", "$"))

    def _finished(self, items: list[Any]) -> list[T]:
        return items if self._finish is None else self._finish(items)


def cursor_in_tail(operation: str, paging: Paging, body: bytes) -> Cursor | None:
    """Return the cursor of a long page, found at its end without reading the page; None unless it is certain.

    What follows the last mention of the cursor's key has to be the rest of an object that ends where the page
    ends. Then the key is one of the outermost object, and of equal keys in JSON the last counts.
    """
    if paging.cursor is None or len(body) < _LONG:
        return None
    at = body.rfind(b'"%b"' % paging.cursor.encode(), len(body) - _TAIL if len(body) > _TAIL else 0)
    if at < 1 or body[max(0, at - 64) : at].rstrip(_BLANK)[-1:] not in {b",", b"{"}:
        return None
    try:
        rest = decoder_for(dict[str, msgspec.Raw]).decode(b"{" + body[at:])
        return head_of(operation, paging, None, {paging.cursor: rest.get(paging.cursor, _NULL)}).cursor
    except (*UNDECODABLE, LimioError):
        return None


@lru_cache(maxsize=256)
def _page_decoder(items: str, others: tuple[str, ...], kind: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder of pages with these keys only: items to a list of *kind*, of *others* what came."""
    fields = [
        ("items", list[kind] | None, msgspec.field(name=items)),
        *(
            (f"other_{number}", msgspec.Raw, msgspec.field(name=name, default=_NULL))
            for number, name in enumerate(others)
        ),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Page", fields, forbid_unknown_fields=True))


@lru_cache(maxsize=64)
def _only_items(items: str, kind: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder that finds the items of a page, as one value of a type."""
    field = msgspec.field(name=items, default=_NULL)
    return msgspec.json.Decoder(msgspec.defstruct("Items", [("items", kind, field)]))


def _others(paging: Paging) -> tuple[str, ...]:
    """Return the keys of a page that are looked at beside its items."""
    tops = {place.partition(".")[0] for place in paging.commit_id}
    names = {name for name in (paging.hits, paging.cursor, *tops, *ERROR_KEYS) if name}
    return tuple(sorted(names - {paging.items}))
