"""What came before: ids of items, pages, cursors. Pure."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

import msgspec

from limio_async.core.codec import decoder_for
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.wire import UNDECODABLE

__all__ = ["LoopGuard", "Seen", "last_id"]

_FINGERPRINT = 4096
_ROUNDS = 3


class _Identified(msgspec.Struct):
    id: str | int | None = None


def last_id(item: bytes | msgspec.Raw) -> str:
    """The id of a raw item; of one without id, a hash of its bytes."""
    try:
        found = decoder_for(_Identified).decode(item).id
    except UNDECODABLE:
        found = None
    return str(found) if found is not None else hashlib.sha256(item).hexdigest()[:16]


class Seen:
    """The ids that were handed out, as 8 bytes each; looked up only from when they have to be."""

    def __init__(self, *, looked_up: bool) -> None:
        self._kept = array("q")
        self._known: set[int] | None = set() if looked_up else None

    def look_up(self) -> None:
        """From now on, ids may come again."""
        if self._known is None:
            self._known = set(self._kept)

    def fresh(self, ids: Sequence[str]) -> list[int]:
        """The places of those *ids* that had not come before; now they have."""
        places = range(len(ids))
        hashes = [
            int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), signed=True) for one in ids
        ]
        if self._known is None:
            self._kept.extend(hashes)
            return list(places)
        fresh: list[int] = []
        for place, one in zip(places, hashes, strict=True):
            if one not in self._known:
                self._known.add(one)
                fresh.append(place)
        return fresh


class LoopGuard:
    """Tells when a server repeats itself.

    A key cursor must never come back. A scroll may repeat its cursor on every page, so there it is the pages
    that are compared: with an anchor that moves at doubling distances (Brent), so a loop of any length is
    found in constant memory; three repetitions are one.
    """

    def __init__(self, kind: str) -> None:
        self.repeated = 0
        """Items of pages that were the page before them once more."""
        self._by_cursor = kind == "key"
        self._cursors: set[int] = set()
        self._before = self._anchor = 0
        self._since = 0
        self._reach = 1
        self._rounds = 0
        self._empty_at: Cursor | None = None
        self._empties = 0

    def sees_a_loop(self, cursor: Cursor | None, items: bytes | memoryview, length: int) -> bool:
        """Whether this page shows that the walk goes round and round: its cursor, the beginning of its *length* items."""
        if self._by_cursor:
            return self._cursor_came_back(cursor)
        return self._page_came_back(items, length) if length else self._nothing_came_back(cursor)

    def _nothing_came_back(self, cursor: Cursor | None) -> bool:
        same = cursor is not None and cursor == self._empty_at
        self._empty_at = cursor
        self._empties = self._empties + 1 if same else 0
        return self._empties == _ROUNDS

    def _cursor_came_back(self, cursor: Cursor | None) -> bool:
        if cursor is None:
            return False
        before = len(self._cursors)
        self._cursors.add(hash(cursor))
        return len(self._cursors) == before

    def _page_came_back(self, items: bytes | memoryview, length: int) -> bool:
        fingerprint = hash((length, bytes(items[:_FINGERPRINT])))
        if fingerprint == self._before:
            self.repeated += length
        self._before = fingerprint
        if fingerprint == self._anchor:
            self._rounds += 1
            return self._rounds == _ROUNDS
        self._since += 1
        if self._since >= self._reach:
            self._anchor, self._since, self._reach, self._rounds = fingerprint, 0, self._reach * 2, 0
        return False
