"""Reading the answer of a list: in one pass where it is as it should be, item by item where it is not. Pure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar

import msgspec

from limio_async.core.codec import decode, decoder_for
from limio_async.core.identity import Judge
from limio_async.core.listing.beside import Beside
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.listing.head import Head, raw_items, read_head
from limio_async.core.listing.page import BadItem
from limio_async.core.listing.repeats import page_print
from limio_async.core.outcome import refused
from limio_async.core.tolerant import mended
from limio_async.core.wire import UNDECODABLE, ListEndpoint, Paging
from limio_async.errors import LimioError, Unreadable

__all__ = ["PageReader"]

T = TypeVar("T")

_NULL = msgspec.Raw(b"null")
_MOST_KEYS = 40
_NO_FIELD = re.compile(r'["\\\x00-\x1f]')  # in a name that msgspec takes for no field's
_LARGE = (
    768 * 1024
)  # bytes; a page beyond this is decoded in slices, which takes a pass more but never holds the loop
_SLICE = 64 * 1024  # about half a millisecond


class PageReader(Generic[T]):
    """Reads pages of one list operation to items of one kind.

    *kind* is what an item is decoded to, *finish* what is then made of all of a page, where that is anything.
    """

    def __init__(
        self, endpoint: ListEndpoint[Any], kind: Any, finish: Callable[[list[Any]], list[T]] | None = None
    ) -> None:
        self._operation = endpoint.operation
        self._paging = paging = endpoint.paging
        self._identity = endpoint.identity
        self._judge = Judge(kind, endpoint.identity)
        self._kind = kind
        self._finish = finish
        self._beside = Beside(endpoint.operation, paging)
        self._names = _others(paging)
        self._item = decoder_for(kind)

    def read(self, body: bytes) -> tuple[Head, list[T]] | None:
        """Return all of a page in one pass; None if something is not as it should be, or it is large."""
        if len(body) > _LARGE and self._kind is not msgspec.Raw:
            return None
        page = self._passed(self._kind, body)
        if page is None or not self._judge.all_say_yes(page[1], partial(self.items_as, page[0], body)):
            return None
        return page[0], self._finished(page[1])

    async def split_page(self, body: bytes) -> Head | None:
        """Return all of a page in one pass, items split but not decoded; None if something is odd."""
        if len(body) > _LARGE:
            await asyncio.sleep(0)
        page = self._passed(msgspec.Raw, body)
        return None if page is None else msgspec.structs.replace(page[0], parts=page[1])

    def _passed(self, kind: Any, body: bytes) -> tuple[Head, list[Any]] | None:
        items = self._paging.items
        try:
            try:
                page = _page_decoder(items, self._names, kind).decode(body)
            except msgspec.ValidationError:  # such as a key that no page had before
                if not self._learns_keys(body):
                    return None
                page = _page_decoder(items, self._names, kind).decode(body)
            head = self._beside.head(body, self._names, _others_of(page), page.items)
        except (*UNDECODABLE, LimioError):
            return None
        return None if head is None else (head, page.items or [])

    def cursor_in_tail(self, body: bytes) -> Cursor | None:
        """Return the cursor of a long page, found at its end without reading the page; None unless it is certain."""
        return self._beside.cursor_in_tail(body)

    def read_head(self, body: bytes) -> Head:
        """Return all of a page but its items. Raises `Unreadable`."""
        return read_head(self._operation, self._paging, body)

    def fingerprint(self, head: Head, body: bytes, length: int) -> int:
        """Return the fingerprint of a page that has *length* items: of nothing but its items' bytes."""
        if head.items is not None:
            return page_print(length, memoryview(head.items))
        if head.alone and (span := self._beside.span(body)) is not None:
            return page_print(length, span)
        return page_print(length, memoryview(_only_items(self._paging.items, msgspec.Raw).decode(body).items))

    def items_as(self, head: Head, body: bytes, kind: Any) -> list[Any]:
        """Return the items of a page decoded to another type. Raises what msgspec does."""
        if head.parts is not None and kind is msgspec.Raw:
            return list(head.parts)
        return _only_items(self._paging.items, list[kind] | None).decode(body).items or []

    def _learns_keys(self, body: bytes) -> bool:
        """Return whether the page has keys that were not known; now they are."""
        try:
            keys = decoder_for(dict[str, msgspec.Raw]).decode(body).keys()
        except UNDECODABLE:
            return False
        new = sorted(keys - {self._paging.items, *self._names})
        if not new or len(self._names) + len(new) > _MOST_KEYS or any(map(_NO_FIELD.search, new)):
            return False
        self._names = (*self._names, *new)
        return True

    def split(self, body: bytes) -> list[msgspec.Raw]:
        """Return the items of a page, each as its bytes. Raises `Unreadable`."""
        return self.raw_items(self.read_head(body))

    def raw_items(self, head: Head) -> list[msgspec.Raw]:
        """Return the items of a page, split but not decoded. Raises `Unreadable` if they are no list."""
        if head.parts is not None:
            return head.parts
        return raw_items(self._operation, self._paging, head.items if head.items is not None else _NULL)

    async def decoded(self, raw: list[msgspec.Raw], on_bad_item: str) -> tuple[list[T], int]:
        """Return the items of a page and how many are bad: each is a `BadItem`, or raises `Unreadable`.

        Others may run between the slices of a page that is large.
        """
        if self._kind is msgspec.Raw:
            return self._finished(raw), 0
        items: list[Any] = []
        bad, size = 0, sum(map(len, raw))
        if size < _LARGE:
            size = -_LARGE  # without a pause
        for item in raw:
            if size > _SLICE:
                size = 0
                await asyncio.sleep(0)
            size += len(item)
            try:
                value = self._item.decode(item)
                fine = self._judge.says_yes(value, item)
            except UNDECODABLE:
                fine, value = False, None
            if not fine:
                value = self._odd_one(item, len(items), on_bad_item)
                bad += isinstance(value, BadItem)
            items.append(value)
        return self._finished(items), bad

    def _odd_one(self, raw: msgspec.Raw, number: int, on_bad_item: str) -> Any:
        at = "$" if on_bad_item != "raise" else f"$.{self._paging.items}[{number}]"
        try:
            value = decode(self._operation, raw, self._item, at=at)
            text = msgspec.Raw(mended(bytes(raw)))
            if self._judge.says_yes(value, text):
                return value
            error = refused(self._operation, bytes(raw), self._identity, at=at)
        except Unreadable as unreadable:
            error = unreadable
        try:
            if on_bad_item == "raise":
                raise error
            return BadItem(raw=bytes(raw), reason=error.said)
        finally:
            del error  # which holds this frame, and by it a page and all who wait for it

    def _finished(self, items: list[Any]) -> list[T]:
        return items if self._finish is None else self._finish(items)


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


def _others_of(page: Any) -> tuple[msgspec.Raw, ...]:
    return msgspec.structs.astuple(page)[1:]


@lru_cache(maxsize=64)
def _only_items(items: str, kind: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder that finds the items of a page, as one value of a type."""
    field = msgspec.field(name=items)
    return msgspec.json.Decoder(msgspec.defstruct("Items", [("items", kind, field)]))


def _others(paging: Paging) -> tuple[str, ...]:
    """Return the keys of a page that are looked at beside its items."""
    tops = {place.partition(".")[0] for place in paging.commit_id}
    names = {name for name in (paging.hits, paging.cursor, *tops) if name}
    return tuple(sorted(names - {paging.items}))
