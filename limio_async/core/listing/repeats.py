"""What came before: ids of items, pages, cursors. Pure."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from limio_async.core.codec import decoder_for
from limio_async.core.listing.checkpoint import PAGES_KEPT, Cursor
from limio_async.core.listing.options import Options
from limio_async.core.splitter import member
from limio_async.core.tolerant import mended
from limio_async.core.torn import torn_id
from limio_async.core.wire import UNDECODABLE, Species

__all__ = [
    "LoopGuard",
    "PageBook",
    "Seen",
    "id_in",
    "id_of",
    "is_named",
    "key_of",
    "last_id",
    "page_print",
    "watched",
]

_PRINTED_FIRST = 4096
_PRINTED_LAST = 1024
_ROUNDS = 3
_JSON = "json:"
_NAMELESS = tuple(f"{_JSON}{first}" for first in "#tf[{")


class _Identified(msgspec.Struct):
    id: str | int | None = None


def id_of(item: bytes | msgspec.Raw) -> str | None:
    """Return the id of a raw item; None where it has none."""
    try:
        found = decoder_for(_Identified).decode(item).id
    except UNDECODABLE:
        return _odd_id(bytes(item))
    return None if found is None else str(found)


def _odd_id(item: bytes) -> str | None:
    """The id of an item that msgspec refuses; one with half surrogates is told from others by a hash."""
    if (raw := _id_in(item)) is None:
        return None
    text = mended(raw)
    try:
        value = decoder_for(str | int | None).decode(text)
    except UNDECODABLE:
        return None
    if text != raw:
        return f"{value}#{hashlib.sha256(raw).hexdigest()[:16]}"
    return None if value is None else str(value)


def _id_in(item: bytes) -> bytes | None:
    """Return the JSON of an item's id, also of one that is not quite JSON; None where none is certain."""
    found = member(item, "id")
    return torn_id(item) if found is None else item[slice(*found)]


def last_id(item: bytes | msgspec.Raw) -> str:
    """Return the id of a raw item; of one without id, a hash of its bytes."""
    found = id_of(item)
    return hashlib.sha256(item).hexdigest()[:16] if found is None else found


class _Keyed(msgspec.Struct):
    id: Any = None


def key_of(item: bytes | msgspec.Raw, found: object = None) -> str:
    """Return what tells a raw item from every other: its id where that is a text.

    Any other id is written as `json:` and its JSON, like a text that begins so. An item without id has a hash of its
    bytes behind `json:#`. *found* is the id, where it was decoded before.
    """
    if isinstance(found, str):
        return _named(found)
    told = b"null"
    if found is None:
        with suppress(*UNDECODABLE):
            found = decoder_for(_Keyed).decode(item).id
    if not isinstance(found, str):
        told = _id_in(bytes(item)) or told
        with suppress(*UNDECODABLE):
            found = msgspec.json.decode(told, type=str)
    if isinstance(found, str):
        return _named(found)
    if told != b"null" and told.isascii():
        return _JSON + told.decode()
    return f"{_JSON}#{hashlib.sha256(item if told == b'null' else told).hexdigest()[:16]}"


def _named(found: str) -> str:
    return _JSON + msgspec.json.encode(found).decode() if found.startswith(_JSON) else found


def id_in(key: str) -> str:
    """Return the id that `key_of` made a key of, as it stands in a path."""
    if not key.startswith(_JSON):
        return key
    told = key.removeprefix(_JSON)
    with suppress(*UNDECODABLE):
        return msgspec.json.decode(told, type=str)
    return key if told.startswith(("#", '"')) else told


def is_named(key: str) -> bool:
    """Return whether `key_of` made *key* of an id that tells its item: a text or a number."""
    return not key.startswith(_NAMELESS)


class Seen:
    """The ids that were handed out, as 8 bytes each; looked up only once they have to be.

    A *pass* is a walk from the top. An id that an earlier pass handed out is dropped, one that comes again
    within a pass came twice. Items without id are never dropped.
    """

    def __init__(self, *, looked_up: bool) -> None:
        self._kept = array("q")
        self._pass_of: dict[int, int] | None = {} if looked_up else None
        self._pass = 0
        self.nameless = False
        """Whether an item came that has no id, so that ids do not tell what was handed out."""
        self.owed = 0
        """How many ids of earlier passes have not come again in this one."""

    def begin_pass(self) -> None:
        """Begin at the top again: from now on, ids are looked up."""
        if self._pass_of is None:
            self._pass_of, self._kept = dict.fromkeys(self._kept, 0), array("q")
        self._pass += 1
        self.owed = len(self._pass_of)

    def fresh(self, items: Sequence[msgspec.Raw]) -> tuple[list[int], int]:
        """Return the places of the *items* to hand out, and how many came twice in this pass."""
        places: list[int] = []
        twice = 0
        for place, item in enumerate(items):
            found = key_of(item)
            if not is_named(found):
                self.nameless = True
                places.append(place)
                continue
            one = int.from_bytes(hashlib.blake2b(found.encode(), digest_size=8).digest(), signed=True)
            if self._pass_of is None:
                self._kept.append(one)
                places.append(place)
                continue
            before = self._pass_of.get(one)
            self._pass_of[one] = self._pass
            if before is None:
                places.append(place)
            elif before == self._pass:
                twice += 1
            else:
                self.owed -= 1
        return places, twice


def watched(options: Options) -> Seen | None:
    """Return the ids that are handed out, where *options* need them."""
    wanted = options.unique or options.on_snapshot_change == "restart"
    return Seen(looked_up=options.unique) if wanted else None


def page_print(length: int, items: memoryview) -> int:
    """Return the fingerprint of a page: how many items it has, and how their bytes begin and end."""
    found = hashlib.blake2b(b"%d " % length, digest_size=8)
    found.update(items[:_PRINTED_FIRST])
    if len(items) > _PRINTED_FIRST:
        found.update(items[-_PRINTED_LAST:])
    return int.from_bytes(found.digest(), signed=True)


class PageBook:
    """The pages of one pass, as 8 bytes each: tells when one comes again."""

    def __init__(self, pages: Iterable[int] = ()) -> None:
        self._last = deque(pages, maxlen=PAGES_KEPT)
        self._sorted = array("q", sorted(set(self._last)))

    def came_before(self, page: int, length: int) -> bool:
        """Return whether a page of *length* items came before; pages of one item count only as neighbours."""
        if length == 1:
            return bool(self._last) and self._last[-1] == page
        place = bisect_left(self._sorted, page)
        return place < len(self._sorted) and self._sorted[place] == page

    def add(self, page: int) -> None:
        """Take note of a page."""
        self._last.append(page)
        place = bisect_left(self._sorted, page)
        if place == len(self._sorted) or self._sorted[place] != page:
            self._sorted.insert(place, page)

    def last(self, *, but: int = 0) -> tuple[int, ...]:
        """Return the last pages, oldest first, without the newest *but*."""
        pages = tuple(self._last)
        return pages[: len(pages) - but] if but else pages


class LoopGuard:
    """Tells when a server sends the same for ever.

    A cursor that does not advance must never come back. One that advances may be the same on every page, so there it is the
    pages that are compared: with an anchor that moves at doubling distances (Brent), so a loop of any length
    is found in constant memory; three repetitions are one. Where pages may repeat honestly, the cursor has to repeat with them.
    """

    def __init__(self, species: Species, asked: Cursor | None) -> None:
        self._by_cursor = not species.advances
        self._pages_alone = species.never_repeats
        self._cursors: set[int] = set() if asked is None else {hash(asked)}
        self.came_back = False
        """Whether the last page is one that came before, with the same cursor if pages may repeat honestly."""
        self._anchor = self._rounds = self._since = 0
        self._reach = 1
        self._empty_at: Cursor | None = None
        self._empties = 0

    def sees_a_loop(self, cursor: Cursor | None, page: int, length: int) -> bool:
        """Return whether this page shows that the walk goes round and round: its cursor, its fingerprint."""
        if self._by_cursor:
            return self._cursor_came_back(cursor)
        if not length:
            return self._nothing_came_back(cursor)
        return self._page_came_back(page if self._pages_alone else hash((page, cursor)))

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

    def _page_came_back(self, page: int) -> bool:
        self.came_back = page == self._anchor and not self._pages_alone
        if page == self._anchor:
            self._rounds += 1
            return self._rounds == _ROUNDS
        self._since += 1
        if self._since >= self._reach:
            self._anchor, self._since, self._reach, self._rounds = page, 0, self._reach * 2, 0
        return False
