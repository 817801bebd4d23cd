"""What stands beside the items of pages. Most of it is the same on each page of a list, and is read once. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from limio_async.core.identity import no_in
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.listing.head import Head, cursor_of, head_of
from limio_async.core.wire import UNDECODABLE, Paging
from limio_async.errors import LimioError

__all__ = ["Beside"]

_NULL = msgspec.Raw(b"null")
_LONG = 16 * 1024
_TAIL = 32 * 1024
_BLANK = b" \t\r\n"
_NONE: Mapping[str, msgspec.Raw] = {}
_FIELDS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Beside:
    """Reads what one list operation's pages say beside their items, and remembers what the last one said."""

    def __init__(self, operation: str, paging: Paging) -> None:
        self._operation = operation
        self._paging = paging
        self._items = b'"%b"' % paging.items.encode()
        self._cursor = paging.cursor or ""
        self._said: tuple[bytes, ...] | None = None  # all but the cursor, and what that means:
        self._head: Head | None = None
        self._asks = b"null"  # the cursor, and what that means:
        self._next: tuple[Cursor | None, str] = (None, "")
        self._body = b""  # the page whose end was looked at: where its last list ends, the fields after that
        self._tail: tuple[int, Mapping[str, msgspec.Raw]] | None = None

    def head(
        self, body: bytes, names: tuple[str, ...], fields: tuple[msgspec.Raw, ...], items: list[object] | None
    ) -> Head | None:
        """Return what *fields*, named *names*, say; None if they tell of an error in the place of items.

        Raises `Unreadable`, or what msgspec does.
        """
        said = [*map(bytes, fields)]
        asks = said.pop(names.index(self._cursor)) if self._cursor else b"null"
        if self._head is None or tuple(said) != self._said:
            others = {name: raw for name, raw in zip(names, fields, strict=True) if name != self._cursor}
            head = head_of(self._operation, self._paging, None, others)
            alone = not any(self._may_be_items(raw) for raw in said)
            self._head, self._said = msgspec.structs.replace(head, alone=alone), tuple(said)
        if not items and no_in(dict(zip(names, fields, strict=True)), some=items is not None):
            return None
        cursor, stuck = self._read(asks)
        alone = self._head.alone and len(body) >= _LONG and not self._may_be_items(asks)
        return msgspec.structs.replace(self._head, cursor=cursor, stuck=stuck, alone=alone)

    def cursor_in_tail(self, body: bytes) -> Cursor | None:
        """Return the cursor of a long page, found at its end without reading the page; None unless it is certain.

        What follows the last list, or the last mention of the cursor's key, has to be the rest of an object that ends where
        the page ends. Then the key is one of the outermost object, and of equal keys in JSON the last counts.
        """
        if not self._cursor or len(body) < _LONG:
            return None
        tail = self._tail_of(body)
        try:
            raw = (tail[1] if tail else _NONE).get(self._cursor) or self._last_mentioned(body)
            return self._read(bytes(raw))[0]
        except (*UNDECODABLE, LimioError):
            return None

    def span(self, body: bytes) -> memoryview | None:
        """Return the bytes of items that are alone, without reading the page; None if it is written oddly."""
        begin = body.find(b"[", body.find(self._items))
        tail = self._tail_of(body)
        return None if tail is None or not 0 <= begin < tail[0] else memoryview(body)[begin : tail[0]]

    def _read(self, raw: bytes) -> tuple[Cursor | None, str]:
        if raw != self._asks:
            self._next, self._asks = cursor_of(self._operation, self._paging, msgspec.Raw(raw)), raw
        return self._next

    def _may_be_items(self, raw: bytes) -> bool:
        """Return whether a field is a list, or mentions the items' key."""
        return raw[:1] == b"[" or self._items in raw

    def _last_mentioned(self, body: bytes) -> msgspec.Raw:
        at = body.rfind(b'"%b"' % self._cursor.encode(), max(0, len(body) - _TAIL))
        if at < 1 or body[max(0, at - 64) : at].rstrip(_BLANK)[-1:] not in {b",", b"{"}:
            return _NULL
        return _FIELDS.decode(b"{" + body[at:]).get(self._cursor, _NULL)

    def _tail_of(self, body: bytes) -> tuple[int, Mapping[str, msgspec.Raw]] | None:
        """Return where the last list of a page ends, and the fields that follow; None where that is not certain."""
        if body is not self._body:
            self._tail, self._body = _tail(body), body
        return self._tail


def _tail(body: bytes) -> tuple[int, Mapping[str, msgspec.Raw]] | None:
    end = body.rfind(b"]") + 1
    rest = body[end:].strip(_BLANK) if end and len(body) - end <= _TAIL else b""
    if rest == b"}":
        return end, _NONE
    try:
        return (end, _FIELDS.decode(b"{" + rest[1:])) if rest[:1] == b"," else None
    except UNDECODABLE:
        return None
