"""The newest of what a walk handed out: its order, its ids, and where they begin. Pure.

A walk looks back from the newest `created` over its overlap. What lies there is known by id, so whoever
follows tells an item that appeared late from one that was handed out.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from limio_async.core.listing.checkpoint import Cursor, Trail
from limio_async.core.listing.rows import SECOND, Row, Rows, name_of

__all__ = ["MOST_KNOWN", "Window", "known_ids"]

MOST_KNOWN = 10_000
"""How many ids a checkpoint holds."""

_MOST_PINNED = 5_000
_ALWAYS = 2**62
_RECORD = struct.Struct("<qI")  # the hash of an id, and seconds from its creation to the newest
_NOT_TOLD = 2**32 - 1  # in place of the seconds


class _Part(NamedTuple):
    asked: Cursor | None
    rows: Rows


def known_ids(trail: Trail) -> list[Row]:
    """Return what a trail knows; ids as their hashes. Bytes that are no record count as none."""
    whole = len(trail.known) // _RECORD.size * _RECORD.size
    newest = trail.newest
    return [
        Row(name, None if newest is None or ago == _NOT_TOLD else newest - ago * SECOND)
        for name, ago in _RECORD.iter_unpack(trail.known[:whole])
    ]


class Window:
    """What was handed out within the overlap of the newest, page by page."""

    def __init__(self, trail: Trail, *, followed: Sequence[Row] | None = None, again: bool = False) -> None:
        """Begin with nothing, with what an interrupted walk knew (*again*), or with what is *followed*."""
        self._overlap = trail.overlap
        self._begin = trail.begin
        self._newest = trail.newest
        self.last = trail.last if again else None
        """When the item before was created."""
        self.rising, self.falling = trail.rising, trail.falling
        self._lost = trail.lost
        self._pinned = again
        self._carried = followed or ()
        known = known_ids(trail) if again else []
        self._parts = deque([_Part(trail.begin, Rows.of(known))] if known else [])
        self._kept = len(known)

    def copy(self) -> Window:
        """Return another that goes its own way."""
        other = object.__new__(Window)
        other.__dict__ |= {**self.__dict__, "_parts": self._parts.copy()}
        return other

    def add(self, asked: Cursor | None, rows: Rows) -> None:
        """Take note of items that were handed out, of the page that was *asked* for."""
        rises, falls = rows.steps(self.last)
        self.rising, self.falling = self.rising or rises, self.falling or falls
        if rows.newest is not None:
            self._newest = rows.newest if self._newest is None else max(rows.newest, self._newest)
            self.last = rows.final
        if self.rising and self.falling:
            self._parts.clear()
            self._kept = 0
        elif rows:
            self._parts.append(_Part(asked, rows))
            self._kept += len(rows)
            self._prune()

    def trail(self, also: Iterable[Row] = (), *, before: Iterable[Row] = ()) -> Trail:
        """Return it as a value that knows more items: *also* what comes again, and what was known *before*."""
        floor = self._floor
        rows = [row for part in self._parts for row in part.rows.listed]
        if self.falling and floor is not None:
            rows = [row for row in rows if row.created is None or row.created >= floor]
        reach = floor if self.falling else None
        if self.rising and self._parts:
            times = (row.created for row in self._parts[0].rows.listed if row.created is not None)
            reach = min(times, default=floor)
        older = [r for r in self._carried if r.created is None or reach is None or r.created >= reach]
        known = {name_of(row): row.created for row in (*older, *before, *rows, *also)}
        return Trail(
            overlap=self._overlap,
            newest=self._newest,
            last=self.last,
            rising=self.rising,
            falling=self.falling,
            begin=None if self.falling else self._parts[0].asked if self._parts else self._begin,
            known=b"".join(_RECORD.pack(name, self._ago(created)) for name, created in known.items()),
            lost=self._lost,
        )

    @property
    def _floor(self) -> int | None:
        return None if self._newest is None else self._newest - self._overlap

    def _prune(self) -> None:
        parts, floor = self._parts, self._floor
        self._pinned = self._pinned and self._kept <= _MOST_PINNED
        if floor is not None and self.falling:
            while parts and (newest := parts[-1].rows.newest) is not None and newest < floor:
                self._drop(parts.pop())
        elif floor is not None and self.rising and not self._pinned:
            while len(parts) > 1 and (newest := parts[0].rows.newest) is not None and newest < floor:
                self._drop(parts.popleft())
        while self._kept > MOST_KNOWN:
            part = parts.pop() if self.falling else parts.popleft()
            self._drop(part)
            self._lost = max(self._lost or 0, _ALWAYS if part.rows.newest is None else part.rows.newest)

    def _drop(self, part: _Part) -> None:
        self._kept -= len(part.rows)

    def _ago(self, created: int | None) -> int:
        """Return full seconds from an item to the newest: read again, it is no older than it was."""
        if created is None or self._newest is None:
            return _NOT_TOLD
        return min(max(0, (self._newest - created) // SECOND), _NOT_TOLD - 1)
