"""One state of a catalog list in memory: its items, and what they are found by. Pure."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

import msgspec

from limio_async import envelope
from limio_async.core.listing import BadItem
from limio_async.core.tolerant import mended
from limio_async.core.wire import UNDECODABLE

__all__ = ["Catalog", "named"]

T = TypeVar("T")
_NULL = msgspec.Raw(b"null")


class _Row(msgspec.Struct, Generic[T], frozen=True, gc=False):
    digest: bytes
    item: T
    id: str | None
    path: str | None
    tags: tuple[str, ...]


class _Told(msgspec.Struct):
    """What an item is found by. Nothing else of it is looked at: it may be odd, and its type may lack it."""

    id: msgspec.Raw = _NULL
    path: msgspec.Raw = _NULL
    tags: msgspec.Raw = _NULL
    tags__limio: msgspec.Raw = _NULL
    data: msgspec.Raw = _NULL
    attributes: msgspec.Raw = _NULL


_TOLD = msgspec.json.Decoder(_Told)


class Catalog(Generic[T]):
    """All items, in the list's order. An item whose bytes were in the state before is the same object."""

    def __init__(self, before: Catalog[T] | None = None) -> None:
        self.items: list[T] = []
        self.by_id: dict[str, T] = {}
        self.by_path: dict[str, T] = {}
        self.by_tag: dict[str, list[T]] = {}
        self.skipped = self.doubles = 0
        """Items that cannot be decoded; those that have the id or path of one before."""
        self.bad = ""
        """What is wrong with the first that was skipped."""
        self._rows: dict[bytes, _Row[T]] = {}
        self._known: dict[bytes, _Row[T]] = before._rows if before else {}
        self._order, self._before = hashlib.blake2b(), before._order.digest() if before else b""

    def unknown(self, some: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the digests of those that have to be decoded."""
        return [digest for digest in some if digest not in self._known and digest not in self._rows]

    def add(self, digest: bytes, raw: bytes, item: T | BadItem | None) -> None:
        """Add the next item; *item* is what it was decoded to, None where it is known."""
        row = self._known.get(digest) or self._rows.get(digest)
        if row is None:
            if item is None or isinstance(item, BadItem):
                self.skipped += 1
                self.bad = self.bad or (item.reason if item else "null")
                return
            row = _row(digest, raw, item)
        self._rows[row.digest] = row
        self._order.update(digest)
        self.items.append(row.item)
        keys = [(found, key) for found, key in ((self.by_id, row.id), (self.by_path, row.path)) if key]
        self.doubles += any(key in found for found, key in keys)
        for found, key in keys:
            found.setdefault(key, row.item)
        for tag in row.tags:
            self.by_tag.setdefault(tag, []).append(row.item)

    def drop(self) -> dict[bytes, Any]:
        """Forget all, and return what holds the items, to be emptied step by step."""
        held = self._rows
        vars(self).update(vars(Catalog[T]()))
        return held

    def settle(self) -> tuple[bool, dict[bytes, Any]]:
        """Return whether items or their order are others than before, and what held those, to be emptied step by step."""
        held, self._known = self._known, {}
        return self._order.digest() != self._before, held


def named(some: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Return items as they came, each with the digest of its bytes."""
    return [(hashlib.blake2b(raw, digest_size=16).digest(), raw) for raw in some]


def _row(digest: bytes, raw: bytes, item: T) -> _Row[T]:
    told = _told(mended(raw))
    name, path = (envelope.told(told, key) for key in ("id", "path"))
    by_id, by_path = (
        str(name) if isinstance(name, str | int) else None,
        path if isinstance(path, str) else None,
    )
    return _Row(digest, item, by_id, by_path, tuple(map(sys.intern, envelope.tags_of(told))))


def _told(text: bytes) -> dict[str, Any]:
    """Return what an item is found by, where it stands, as far as that can be read."""
    found: dict[str, Any] = {}
    with suppress(*UNDECODABLE):
        for name, raw in msgspec.structs.asdict(_TOLD.decode(text)).items():
            with suppress(*UNDECODABLE):
                found[name] = (
                    _told(raw)
                    if name in {"data", "attributes"} and raw != b"null"
                    else msgspec.json.decode(raw)
                )
    return found
