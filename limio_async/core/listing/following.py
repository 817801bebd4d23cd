"""Following a list: what was created since a walk that was judged well. Pure.

Rising: from the page on where the overlap begins. Falling: from the top down to where it begins. Where no
direction is known yet: from the top. What the walk before has handed out is passed over, by id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from limio_async.core.listing.checkpoint import VERSION, Checkpoint, Cursor, Trail
from limio_async.core.listing.rows import Row, Rows, name_of, rows_of
from limio_async.core.listing.trail import Window, known_ids
from limio_async.core.wire import Species
from limio_async.errors import ForeignCheckpoint

__all__ = ["Track", "followed"]


def followed(at: Checkpoint, reach: float) -> Checkpoint:
    """Return where the walk begins that follows *at*, *reach* seconds back. Raises `ForeignCheckpoint` if it cannot be followed."""
    trail, overlap = at.trail, round(reach * 1_000_000)
    if not at.ended:
        reason = "the walk has not ended: resume= it first, to its end"
    elif not at.done:
        reason = "that walk was not judged well: walk again from the top"
    elif trail is None:
        reason = "the checkpoint does not say what is newest: walk again from the top"
    else:
        reason = _refusal(trail, overlap)
    if reason or trail is None:
        raise ForeignCheckpoint(f"cannot be followed: {reason}", operation=at.operation)
    trail = msgspec.structs.replace(trail, overlap=overlap)
    begin = trail.begin if trail.rising else None
    return Checkpoint(
        operation=at.operation, digest=at.digest, items=0, cursor=begin,
        trail=trail, follows=trail, version=VERSION,
    )  # fmt: skip


def _refusal(trail: Trail, overlap: int) -> str:
    if trail.rising and trail.falling:
        return "its list is not ordered by created, so new items may be anywhere: walk it from the top"
    if overlap > trail.overlap:
        return f"it was kept with an overlap of {trail.overlap / 1e6:g} seconds: take no longer one"
    if trail.lost is not None and (trail.newest is None or trail.lost >= trail.newest - overlap):
        return (
            "more items than a checkpoint can hold were created within its overlap: give a shorter overlap="
        )
    return ""


NOTHING = Rows((), (), None)


class Track:
    """What following needs of a walk, and what a walk that follows passes over."""

    def __init__(self, species: Species, reach: float, at: Checkpoint) -> None:
        self._overlap = round(reach * 1_000_000)
        self._durable = species.durable
        self.begin(at)

    def begin(self, at: Checkpoint) -> None:
        """Stand at a checkpoint."""
        base = self.follows = at.follows
        """What is followed."""
        top = at.cursor is None and not at.items and not at.ended
        trail = at.trail or (Trail(overlap=self._overlap) if top else None)
        self._window: Window | None = None
        self._page: tuple[Cursor | None, Rows, int] | None = None
        self._drop: frozenset[int] = frozenset()
        self._resumed: list[Row] = []  # what a walk that follows knew when it was stopped: it may lie ahead
        self._floor: int | None = None
        if not self._durable or trail is None:
            return
        carried = known_ids(base) if base else []
        self._window = Window(trail, followed=carried, again=at.trail is not None and trail != base)
        if base is not None:
            self._resumed = known_ids(trail)
            self._drop = frozenset(map(name_of, (*carried, *self._resumed)))
            if base.falling and base.newest is not None:
                self._floor = base.newest - base.overlap

    @property
    def watches(self) -> bool:
        """Whether it looks at items at all."""
        return self._window is not None

    def read(self, items: Sequence[Any], items_as: Callable[[Any], list[Any]]) -> Rows:
        """Return what the next page's items say of themselves; *items_as* decodes them to another type."""
        return rows_of(items, items_as, self._last) if self.watches else NOTHING

    def contradicts(self, rows: Rows) -> bool:
        """Return whether the next page is not in the order of the list that is followed."""
        if self.follows is None:
            return False
        rises, falls = rows.steps(self._last)
        return (self.follows.rising and falls) or (self.follows.falling and rises)

    def reaches_back(self, rows: Rows) -> bool:
        """Return whether the next page is the last that can hold anything new."""
        return self._floor is not None and any(self._is_old(row) for row in rows.listed)

    def new(self, rows: Rows, places: Sequence[int]) -> Sequence[int]:
        """Return those *places* of the next page where something new stands."""
        if self.follows is None:
            return places
        listed = rows.listed
        return [n for n in places if not self._is_old(listed[n]) and name_of(listed[n]) not in self._drop]

    def turn(self, asked: Cursor | None, rows: Rows, passed: int) -> None:
        """Take the next page in hand, of which *passed* items were handed out before."""
        if self._window is not None:
            self._window.add(*self._handed(None))
            self._page = asked, rows, passed

    def noted(self, at: Checkpoint, behind: int) -> Checkpoint:
        """Return *at* with what following needs, *behind* items of the page in hand handed out."""
        if self._window is None:
            return at
        replace, trail = msgspec.structs.replace, self._trail(self._window, behind, ended=at.ended)
        if self.follows is None:
            return replace(at, trail=trail)
        return replace(
            at, trail=trail, follows=None if at.ended else self.follows, skip=0, last=None
        )  # what was handed out is told by its id

    def _trail(self, of: Window, behind: int, *, ended: bool) -> Trail:
        window, last = of.copy(), of.last
        window.add(*self._handed(behind))
        if self._page is None or self.follows is None or ended:
            return window.trail()
        if behind >= len(self._page[1]):
            return window.trail(before=self._resumed)
        rows = self._page[1].listed  # of which all comes again
        again = (row for n, row in enumerate(rows) if n < behind or name_of(row) in self._drop)
        return msgspec.structs.replace(window.trail(again, before=self._resumed), last=last)

    @property
    def _last(self) -> int | None:
        if self._page is not None and self._page[1]:
            return self._page[1].final
        return self._window.last if self._window is not None else None

    def _handed(self, behind: int | None) -> tuple[Cursor | None, Rows]:
        if self._page is None:
            return None, NOTHING
        asked, rows, passed = self._page
        return asked, rows.cut(passed, behind)

    def _is_old(self, row: Row) -> bool:
        return self._floor is not None and row.created is not None and row.created < self._floor
