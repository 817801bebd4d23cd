"""What the items of a page say of themselves: id and `created`. Pure.

A page whose times are all written alike and in order is looked at as a whole; its items one by one only where
they are to be known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard, cast

import msgspec

from limio_async.core.codec import decoder_for
from limio_async.core.listing.repeats import last_id
from limio_async.core.wire import UNDECODABLE
from limio_async.envelope import zoned

__all__ = ["SECOND", "Row", "Rows", "instant", "name_of", "rows_of"]

SECOND = 1_000_000


class Row(NamedTuple):
    """An item, as far as following looks at it."""

    name: str | int
    """Its id, or a hash of its bytes; as a number, the hash of either."""
    created: int | None
    """When it was created, or the one before it; in microseconds since 1970. None where neither says."""


class Rows:
    """The items of a page, in their order."""

    def __init__(self, names: Sequence[str], texts: Sequence[str | None], before: int | None) -> None:
        self._names = names
        self._texts = texts
        self._before = before
        self._listed: list[Row] | None = None
        self.newest: int | None = None
        """The newest `created`."""
        self._first: int | None = None
        self.final: int | None = None
        """The `created` of the last."""
        self._rises = self._falls = False
        if not self._looked_at_as_a_whole():
            self._look_at_each()

    @classmethod
    def of(cls, listed: Sequence[Row]) -> Rows:
        """Return those that are listed."""
        rows = cls((), (), None)
        rows._listed = list(listed)
        rows._look_at_each()
        return rows

    def __len__(self) -> int:
        return len(self._names) if self._listed is None else len(self._listed)

    @property
    def listed(self) -> list[Row]:
        """The items one by one."""
        if self._listed is None:
            self._listed, before = [], self._before
            for name, text in zip(self._names, self._texts, strict=True):
                created = instant(text)
                before = before if created is None else created
                self._listed.append(Row(name, before))
        return self._listed

    def cut(self, begin: int, end: int | None) -> Rows:
        """Return those from one place to another."""
        whole = begin == 0 and (end is None or end >= len(self))
        return self if whole else Rows.of(self.listed[begin:end])

    def steps(self, before: int | None) -> tuple[bool, bool]:
        """Return whether `created` rises anywhere, and whether it falls; *before* is the item before."""
        if before is None or self._first is None:
            return self._rises, self._falls
        return self._rises or self._first > before, self._falls or self._first < before

    def _looked_at_as_a_whole(self) -> bool:
        texts = self._texts
        if not texts or not _alike(texts):
            return False
        first, final = instant(texts[0]), instant(texts[-1])
        if first is None or final is None:
            return False
        ordered = sorted(texts)
        if texts != ordered and texts[::-1] != ordered:
            return False
        self._first, self.final = first, final
        self._rises, self._falls = first < final, first > final
        self.newest = max(first, final)
        return True

    def _look_at_each(self) -> None:
        before: int | None = None
        for _, created in self.listed:
            if created is None:
                continue
            if before is None:
                self._first = self.newest = created
            else:
                self._rises |= created > before
                self._falls |= created < before
            before = created
            self.newest = max(created, self.newest or created)
        self.final = before


def instant(text: str | None) -> int | None:
    """Return a time in microseconds since 1970, UTC where it names no zone; None where it cannot be read."""
    found = None if text is None else zoned(text)
    return None if found is None else round(found.timestamp() * SECOND)


def rows_of(items: Sequence[Any], items_as: Callable[[Any], list[Any]], before: int | None) -> Rows:
    """Return what a page's *items* say of themselves, or the same items decoded to another type.

    *before* is when the item before them was created.
    """
    if all(map(_tells, set(map(type, items)))):
        names, texts = [one.id for one in items], [one.created for one in items]
        if set(map(type, names)) <= {str} and set(map(type, texts)) <= {str, type(None)}:
            return Rows(names, texts, before)
    try:
        told = items_as(_Told)
        if all(one.id is not None for one in told):
            return Rows([str(one.id) for one in told], [one.created for one in told], before)
    except UNDECODABLE:
        pass
    raw = items_as(msgspec.Raw)
    return Rows([last_id(one) for one in raw], [_created(one) for one in raw], before)


def name_of(row: Row) -> int:
    """Return the hash by which an item is known."""
    if isinstance(row.name, int):
        return row.name
    found = hashlib.blake2b(row.name.encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(found.digest(), "little", signed=True)


class _Told(msgspec.Struct):
    id: str | int | None = None
    created: str | None = None


class _Created(msgspec.Struct):
    created: str | None = None


@lru_cache(maxsize=256)
def _tells(kind: type) -> bool:
    """Return whether a type has id and `created` as they came."""
    if not issubclass(kind, msgspec.Struct) or hasattr(kind, "__post_init__"):
        return False
    sent = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    return sent.get("id") == "id" and sent.get("created") == "created"


def _alike(given: Sequence[str | None]) -> TypeGuard[Sequence[str]]:
    """Return whether times are written alike and in UTC, so that their texts are in the order of the times."""
    if set(map(type, given)) != {str}:
        return False
    texts = cast("Sequence[str]", given)
    whole, length, count = "".join(texts), len(texts[0]), len(texts)
    if length <= 10 or set(map(len, texts)) != {length}:
        return False
    return whole[10::length] == "T" * count and whole[length - 1 :: length] == "Z" * count


def _created(item: msgspec.Raw) -> str | None:
    try:
        found: str | None = decoder_for(_Created).decode(item).created
    except UNDECODABLE:
        return None
    return found
