"""What is seen of a store from outside: lists and reads that may be late, rows in another order or without content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from limio_async.emulator.data.store import Data, Place, Store
from limio_async.emulator.ids import fingerprint
from limio_async.emulator.settings import Settings

__all__ = ["ListManner", "Lists", "ReadManner", "Reads", "RowData", "RowOrder"]

_YEAR = 366 * 86_400

RowOrder = Literal["oldest-first", "newest-first", "mixed"]
"""Mixed: the rows of each page stand in no order; the pages follow each other, oldest first."""
RowData = Literal["summary", "absent", "null", "empty"]
"""What `data` is in the rows of a list."""
Lateness = Annotated[float, msgspec.Meta(ge=0, le=_YEAR)]
_BARE: dict[RowData, Data] = {"absent": {}, "null": {"data": None}, "empty": {"data": {}}}


class ListManner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How lists of objects are; what is not given is kind."""

    late: Lateness = 0.0
    """Seconds after it is made that an object appears in lists."""
    uneven: bool = False
    """Whether each object has a time of its own, from 0 to *late*, so that they do not appear in the order of `created`."""
    order: RowOrder = "oldest-first"
    data: RowData = "summary"


class ReadManner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How reads of single objects are; what is not given is kind."""

    late: Lateness = 0.0
    """Seconds after a write that its object is still read as before."""


class Lists:
    """The lists of objects. What a method says counts at once: until the block ends if it begins one, else until `clear`."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.manner = ListManner()

    def late(self, seconds: float, *, uneven: bool = False) -> AbstractContextManager[object]:
        """A new object appears only *seconds* after it was made; with *uneven* each after a time of its own, up to that.

        It is missing from lists of objects, related objects, child objects and events. Single reads have it.
        """
        return self._be(late=_seconds(seconds), uneven=uneven)

    def newest_first(self) -> AbstractContextManager[object]:
        """The newest row comes first; a cursor goes on with older ones."""
        return self._be(order="newest-first")

    def mixed(self) -> AbstractContextManager[object]:
        """The rows of a page do not stand in the order of `created`."""
        return self._be(order="mixed")

    def bare(self, data: Literal["absent", "null", "empty"] = "absent") -> AbstractContextManager[object]:
        """Rows have no content: `data` is absent, null or an empty object."""
        return self._be(data=data)

    def clear(self) -> None:
        """Be kind again."""
        self.manner = ListManner()

    def shows(self, record: Data) -> bool:
        """Whether an object appears in lists by now."""
        late = self.manner.late
        if late and self.manner.uneven:
            late *= int(fingerprint(self._settings.seed, "late", record["id"], length=8), 16) / 0xFFFFFFFF
        return not late or not self._store.past.is_new(record["id"], late)

    def start(self, record_type: str, service: str) -> Place:
        """The place before the first row."""
        return self._store.end(record_type, service) if self._fall else Place()

    def page(
        self, record_type: str, service: str, place: Place, limit: int
    ) -> tuple[list[Data], Place | None]:
        """The next rows, at most *limit*, and the place behind them; None if nothing is left."""
        found = list(islice(self._rows(record_type, service, place), limit + 1))
        rows = [self._dressed(row) for _, row in found[:limit]]
        if self.manner.order == "mixed":
            rows.sort(key=lambda row: fingerprint(self._settings.seed, "mixed", row["id"]))
        return rows, found[limit - 1][0] if len(found) > limit else None

    def is_end(self, record_type: str, service: str, place: Place) -> bool:
        """Whether nothing is left behind *place*."""
        return next(self._rows(record_type, service, place), None) is None

    def passed(self, record_type: str, service: str, place: Place) -> int:
        """How many rows of a list come before *place*."""
        return abs(place.number - self.start(record_type, service).number)

    def key_before(self, record_type: str, service: str, place: Place) -> tuple[str, str]:
        """When the last row before *place* was created, and its id."""
        return self._store.key_before(record_type, service, place, falling=self._fall)

    def place_behind(self, record_type: str, service: str, key: tuple[str, str]) -> Place | None:
        """The place behind the row with this key, whether or not it still stands there; None if it never did."""
        return self._store.place_behind(record_type, service, key, falling=self._fall)

    @property
    def _fall(self) -> bool:
        return self.manner.order == "newest-first"

    def _rows(self, record_type: str, service: str, place: Place) -> Iterator[tuple[Place, Data]]:
        for behind, row in self._store.rows(record_type, service, place, falling=self._fall):
            if self.shows(row):
                yield behind, row

    def _dressed(self, row: Data) -> Data:
        if self.manner.data == "summary":
            return row
        return {name: value for name, value in row.items() if name != "data"} | _BARE[self.manner.data]

    def _be(self, **manner: Any) -> AbstractContextManager[object]:
        before = {name: getattr(self.manner, name) for name in manner}
        self.manner = replace(self.manner, **manner)
        return _until_left(lambda: setattr(self, "manner", replace(self.manner, **before)))


class Reads:
    """The reads of single objects, likewise."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def manner(self) -> ReadManner:
        """How they are."""
        return ReadManner(late=self._store.past.reach)

    @manner.setter
    def manner(self, manner: ReadManner) -> None:
        self._store.past.reach = manner.late

    def late(self, seconds: float) -> AbstractContextManager[object]:
        """A new object is not found until *seconds* after it was made; one that changes from now on is read as before for so long."""
        before, self.manner = self.manner, ReadManner(late=_seconds(seconds))
        return _until_left(lambda: setattr(self, "manner", before))

    def clear(self) -> None:
        """Be kind again."""
        self.manner = ReadManner()

    def get(self, id: str) -> Data | None:
        """The object with this id, as a read finds it."""
        now, late = self._store.get(id), self.manner.late
        return self._store.past.was(id, now, late) if late else now


def _seconds(seconds: float) -> float:
    if not 0 <= seconds <= _YEAR:
        raise ValueError("seconds must be from 0 to those of a year")
    return seconds


def _until_left(undo: Callable[[], object]) -> AbstractContextManager[object]:
    """What *undo*es when its block is left; a block need not be entered."""
    block = ExitStack()
    block.callback(undo)
    return block
