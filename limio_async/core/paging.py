"""What a page says about the walk: cursors, ends, loops, checkpoints. Pure."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

from limio_async.core.codec import UNDECODABLE, decode, decoder_for, items_decoder
from limio_async.core.wire import Endpoint, Paging
from limio_async.errors import ForeignCheckpoint, Unreadable

__all__ = [
    "Checkpoint",
    "Cursor",
    "Head",
    "LoopGuard",
    "Seen",
    "digest",
    "head_of",
    "last_id",
    "page_query",
    "raw_items",
    "read_head",
]

_LONGEST_CURSOR = 16 * 1024
_FINGERPRINT = 4096
_ROUNDS = 3


class Cursor(msgspec.Struct, frozen=True):
    """Where the next page starts: opaque, and only good for the listing that it came from."""

    query: dict[str, str]
    """The query parameters that ask for the page."""

    def __repr__(self) -> str:
        return "Cursor(…)"

    def __hash__(self) -> int:
        return hash(tuple(self.query.items()))


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a walk stood: everything before it was handed out, nothing after it. Small JSON.

    Bound to its operation, arguments and host. The checkpoint of a key cursor resumes in the middle, even
    next week; one of a scroll cursor walks again from the top and passes over what was handed out, as long
    as the catalog is the same (`commit_id`).
    """

    operation: str
    digest: str
    items: Annotated[int, msgspec.Meta(ge=0)]
    """How many items were handed out."""
    cursor: Cursor | None = None
    """The page to go on with; None where the walk goes on from the top."""
    skip: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many items to pass over from there."""
    last: str | None = None
    """The id of the last of those, to see whether the page is still the same."""
    commit_id: str | None = None
    mixed: bool = False
    """Whether the items come from more than one snapshot: such a walk cannot be resumed."""
    done: bool = False
    version: int = 1

    @property
    def resumes_in_the_middle(self) -> bool:
        """Whether resuming asks for what is left only, not for all pages again."""
        return self.done or self.cursor is not None

    def to_json(self) -> str:
        """Text that `resume=` takes, now or later."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, saved: Checkpoint | str | bytes | None, *, operation: str, digest: str) -> Checkpoint:
        """The checkpoint in *saved*; without one, the top of the list.

        Raises `ForeignCheckpoint` if it is not one of this listing.
        """
        if saved is None:
            return cls(operation=operation, digest=digest, items=0)
        if not isinstance(saved, Checkpoint):
            try:
                saved = msgspec.json.decode(saved, type=cls)
            except UNDECODABLE as error:
                raise ForeignCheckpoint(f"not a checkpoint: {error}", operation=operation) from None
        if saved.version != 1:
            raise ForeignCheckpoint(
                f"the checkpoint has version {saved.version}; this release reads 1", operation=operation
            )
        if saved.operation != operation:
            raise ForeignCheckpoint(f"the checkpoint belongs to {saved.operation}", operation=operation)
        if saved.digest != digest:
            raise ForeignCheckpoint(
                "the checkpoint belongs to other arguments or another host", operation=operation
            )
        if saved.mixed and not saved.done:
            raise ForeignCheckpoint(
                "the catalog was rebuilt during that walk: walk again from the top", operation=operation
            )
        return saved

    def check_cursor(self, paging: Paging) -> None:
        """Raise `ForeignCheckpoint` if the cursor asks with parameters that are not the cursor's."""
        if self.cursor and not set(self.cursor.query) <= set(paging.sends.values()):
            raise ForeignCheckpoint("its cursor is not one of this listing", operation=self.operation)


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


def digest(endpoint: Endpoint[Any], args: Mapping[str, Any], origin: str) -> str:
    """What a checkpoint is bound to, in 16 hex digits: operation, arguments, host."""
    given = sorted((name, str(value)) for name, value in args.items() if value is not None)
    bound = [endpoint.operation, origin, dict(endpoint.bound), given]
    return hashlib.sha256(repr(bound).encode(errors="backslashreplace")).hexdigest()[:16]


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
