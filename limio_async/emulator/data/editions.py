"""What was changed, added and deleted in the catalog. An edition is one build of the index; old ones stay readable."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from limio_async.emulator.data.indexed import facts_of
from limio_async.emulator.data.seed import Shelf
from limio_async.emulator.payload import Data

__all__ = ["EditedShelf"]


class _Copy(msgspec.Struct, frozen=True):
    """An item as it is since an edition; nothing since the edition that it was deleted in."""

    since: int
    item: bytes | None
    facts: Mapping[str, str]


class _Remaining(Sequence[int]):
    """The numbers below *size* without some, at the price of those that are left out."""

    def __init__(self, size: int, without: Sequence[int]) -> None:
        self._length = size - len(without)
        self._holes = [hole - before for before, hole in enumerate(without)]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self._number(place) for place in range(*key.indices(self._length))]
        return self._number(range(self._length)[operator.index(key)])

    def _number(self, place: int) -> int:
        return place + bisect_right(self._holes, place)


class EditedShelf:
    """A shelf, and above what is made on demand its editions. Takes memory for what changed."""

    def __init__(self, made: Shelf) -> None:
        self._made = made
        self._first_size = len(made)
        self._clear()

    def size(self, edition: int) -> int:
        """How many numbers there are, those of deleted items included."""
        return self._sizes[bisect_right(self._sizes, edition, key=_since) - 1][1]

    def numbers(self, edition: int) -> Sequence[int]:
        """Those of all items, in the order of lists."""
        size = self.size(edition)
        without = sorted(
            number
            for number in self._deleted
            if number < size and (copy := self._copy(number, edition)) is not None and copy.item is None
        )
        return _Remaining(size, without) if without else range(size)

    def item(self, number: int, edition: int) -> bytes:
        """The item as JSON."""
        copy = self._copy(number, edition)
        return self._made.item(number) if copy is None else copy.item or b"null"

    def facts(self, number: int, edition: int) -> Mapping[str, str] | None:
        """What searches look at; None if there is no such item."""
        copy = self._copy(number, edition)
        if copy is None:
            return self._made.facts(number) if 0 <= number < self.size(edition) else None
        return None if copy.item is None else copy.facts

    def with_id(self, wanted: str, edition: int) -> Sequence[int]:
        """The positions of the items with this id; of the two parts of old ids the first is enough."""
        first = _first_part(wanted)
        candidates = {*self._by_id.get(first, ()), *self._made.with_id(first)}
        return self._those(candidates, lambda facts: _first_part(facts["id"]) == first, edition)

    def with_path(self, wanted: str, edition: int) -> Sequence[int]:
        """The positions of the items with this path."""
        candidates = {*self._by_path.get(wanted, ()), *self._made.with_path(wanted)}
        return self._those(candidates, lambda facts: facts["path"] == wanted, edition)

    def put(self, number: int | None, item: Mapping[str, Any], edition: int, status: str = "") -> int:
        """Let the item of this number, or a new one, be this since *edition*; its number.

        *status* counts where the item tells none; without, it stays what it was.
        """
        facts = facts_of(item)
        if number is None:
            number = self._size()
            self.grow(1, edition)
        elif not status:
            status = (self.facts(number, edition) or {}).get("status", "")
        facts["status"] = facts["status"] or status
        _append(self._by_id, _first_part(facts["id"]), number)
        _append(self._by_path, facts["path"], number)
        self._add(number, _Copy(edition, msgspec.json.encode(item), facts))
        return number

    def remove(self, number: int, edition: int) -> None:
        """Let there be no item of this number since *edition*."""
        self._deleted.add(number)
        self._add(number, _Copy(edition, None, {}))

    def grow(self, count: int, edition: int) -> None:
        """Let *count* more items be made at the end since *edition*."""
        self._made.grow(count)
        self._sizes.append((edition, self._size() + count))

    def snapshot(self, edition: int) -> Data:
        """What differs from the first edition; older ones are left out."""
        latest = {number: self._copy(number, edition) for number in sorted(self._copies)}
        copies = [
            [n, copy.item and msgspec.json.decode(copy.item), copy.facts.get("status", "")]
            for n, copy in latest.items()
            if copy
        ]
        return {"size": self.size(edition), "copies": copies}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be, since the first edition, as the shelf was that gave *state*."""
        self._made.grow(self._first_size - len(self._made))
        self._clear()
        self.grow(state["size"] - self._first_size, 0)
        for number, item, *status in state["copies"]:
            if item is None:
                self.remove(number, 0)
            else:
                self.put(number, item, 0, *status)

    def _clear(self) -> None:
        self._sizes: list[tuple[int, int]] = [(0, self._first_size)]
        self._copies: dict[int, list[_Copy]] = {}
        self._deleted: set[int] = set()  # in some edition
        self._by_id: dict[str, list[int]] = {}
        self._by_path: dict[str, list[int]] = {}

    def _size(self) -> int:
        return self._sizes[-1][1]

    def _copy(self, number: int, edition: int) -> _Copy | None:
        if number not in self._copies:
            return None
        return next((copy for copy in reversed(self._copies[number]) if copy.since <= edition), None)

    def _add(self, number: int, copy: _Copy) -> None:
        copies = self._copies.setdefault(number, [])
        if copies and copies[-1].since == copy.since:
            copies.pop()
        copies.append(copy)

    def _those(
        self, candidates: Iterable[int], agree: Callable[[Mapping[str, str]], bool], edition: int
    ) -> Sequence[int]:
        """Those of *candidates* that are there and agree, in the order of lists."""
        return [
            number
            for number in sorted(candidates)
            if (facts := self.facts(number, edition)) is not None and agree(facts)
        ]


def _since(entry: tuple[int, int]) -> int:
    return entry[0]


def _first_part(id: str) -> str:
    return id.partition(".")[0]


def _append(index: dict[str, list[int]], key: str, number: int) -> None:
    numbers = index.setdefault(key, [])
    if number not in numbers:
        numbers.append(number)
