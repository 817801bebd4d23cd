"""One state of a catalog list in memory: its items, and what they are found by. Pure."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from limio_async import envelope
from limio_async.core.listing import BadItem
from limio_async.core.tolerant import mended

__all__ = ["Catalog", "named"]

T = TypeVar("T")

_FEW = 500


class _Row(msgspec.Struct, Generic[T], frozen=True, gc=False):
    digest: bytes
    item: T
    keys: tuple[str | None, str | None]
    tags: tuple[str, ...]


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
        self._before = before
        self._known: Mapping[bytes, _Row[T]] = before._rows if before else {}
        self._gone: list[object] = []

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
        self.items.append(row.item)
        for found, key in zip((self.by_id, self.by_path), row.keys, strict=True):
            self.doubles += key is not None and found.setdefault(key, row.item) is not row.item
        for tag in row.tags:
            self.by_tag.setdefault(tag, []).append(row.item)

    def compared(self) -> Iterator[None]:
        """Look for what was there before and is gone, with a pause after every few."""
        for number, (digest, row) in enumerate(self._known.items()):
            if digest not in self._rows:
                self._gone.append(row)
            if number % _FEW == 0:
                yield

    def parts(self) -> tuple[bool, list[object]]:
        """Return whether the items are others than before, and forget the state before: its parts, to free from the end."""
        before, gone = self._before, self._gone
        changed = bool(gone) or len(self._known) != len(self._rows)
        self._before, self._known, self._gone = None, {}, []
        return changed, [*gone, *vars(before).values()] if before else gone


def named(some: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Return items as they came, each with the digest of its bytes."""
    return [(hashlib.blake2b(raw, digest_size=16).digest(), raw) for raw in some]


def _row(digest: bytes, raw: bytes, item: T) -> _Row[T]:
    told = msgspec.json.decode(mended(raw))
    name, path = (envelope.told(told, key) for key in ("id", "path"))
    keys = str(name) if isinstance(name, str | int) else None, path if isinstance(path, str) else None
    return _Row(digest, item, keys, tuple(map(sys.intern, envelope.tags_of(told))))
