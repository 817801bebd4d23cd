"""Where a walk stands: the page in hand, what was handed out of it, what to pass over, what asks for the next page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.page import Page
from limio_async.core.listing.reader import PageReader
from limio_async.core.listing.repeats import Seen, last_id
from limio_async.core.wire import Species

__all__ = ["InHand", "Passing", "Place", "Rewound"]

T = TypeVar("T")


class InHand(Generic[T]):
    """The page that is being handed out, and how it came."""

    def __init__(
        self, page: Page[T], asked: Cursor | None, raw: Sequence[msgspec.Raw] | None, *,
        length: int, passed: int, places: Sequence[int], twice: int,
    ) -> None:  # fmt: skip
        self.page = page
        self.asked = asked
        """What it was asked with."""
        self.length = length
        """How many items it had when it came."""
        self.passed = passed
        """How many of them an earlier walk has handed out."""
        self.places = places
        """Where those stood that are handed out."""
        self.twice = twice
        """How many of them had come before in this pass."""
        self._raw = raw

    def id_before(self, place: int, reader: PageReader[T]) -> str | None:
        """Return the id of the item before a place; the page is split when this is first asked."""
        if not place:
            return None
        if self._raw is None:
            self._raw = reader.split(self.page.body)
        return last_id(self._raw[place - 1])


class Rewound(Exception):  # a way on, no error
    """What is to be handed out begins at a page that was passed over: walk from the beginning again."""


class Passing:
    """Passing over what was handed out: by count, and the last id tells whether the list is still the same."""

    def __init__(self, skip: int, last: str | None) -> None:
        self.left: int = skip
        """How many items are still to be passed over."""
        self.gone: int = 0
        """How many of those that should have come first did not."""
        self._skip = skip
        self._last = last
        self._passed: int = 0
        self._found: int = 0  # behind how many items the last one was seen

    def over(self, ids: Sequence[str], *, ends: bool, strict: bool) -> int:
        """Return how many items of the next page to pass over.

        Where the list has changed, *strict* gives -1. Otherwise the last id is looked for, as far again as it
        should have been; without it, all is handed out again, rather twice than never. Raises `Rewound` where
        that begins at an earlier page.
        """
        n = min(self.left, len(ids))
        if n == self.left and (self._last is None or ids[n - 1] == self._last):
            self.left = 0
            return n
        if strict and n == self.left:
            return -1
        if not strict:
            if self._last in ids:
                self._found = self._passed + ids.index(self._last) + 1
            far = not self._found and self._passed + len(ids) <= 2 * self._skip
            if ends or (n == self.left and not far):
                return self._resolved()
            n = len(ids)
        self.left = max(1, self.left - n)
        self._passed += n
        return n

    def _resolved(self) -> int:
        self.gone = 0 if self._found else self._skip
        if not self._passed or self._found > self._passed:
            self.left = 0
            return self._found - self._passed
        self.left, self._last, self._passed = self._found, None, 0
        raise Rewound


class Place(Generic[T]):
    """Where a walk stands."""

    def __init__(self, species: Species, reader: PageReader[T], at: Checkpoint) -> None:
        self._species = species
        self._reader = reader
        self.begin(at)

    def begin(self, at: Checkpoint, *, by_id: bool = False) -> None:
        """Stand at a checkpoint: at the top, at a page that can be asked for again, or at the end.

        *by_id*: what comes is told by its id, nothing is passed over by count.
        """
        self.saved = at
        """Where the walk stood when it began here."""
        self.before = at.items
        """Items handed out before the page in hand."""
        self.taken = 0
        """Items of the page in hand that were handed out."""
        self.number = 0
        """Of the page in hand, since here."""
        self.next = at.cursor
        """What the page after it is asked with."""
        self.ended = at.ended
        """Whether the page in hand is the last."""
        self.passing = Passing(0 if by_id else at.skip, at.last)
        self.in_hand: InHand[T] | None = None
        self.by_id = by_id
        self._sent = at.sent  # by the server, before the page in hand, since the top

    def turn(self, to: InHand[T], *, ends: bool) -> None:
        """Take the next page in hand."""
        self.before += self.taken
        self.taken = 0
        self._sent += self.in_hand.length if self.in_hand else 0
        self.number += 1
        self.in_hand, self.next, self.ended = to, to.page.cursor, ends

    def rewind(self) -> None:
        """Stand again where the walk began, with what is left to pass over."""
        passing = self.passing
        self.begin(self.saved)
        self.passing = passing

    @property
    def sent(self) -> int:
        """Items that the server sent since the top."""
        return self._sent + (self.in_hand.length if self.in_hand else 0)

    @property
    def items(self) -> int:
        """Items handed out."""
        return self.before + self.taken

    @property
    def used_up(self) -> bool:
        """Whether nothing is left of the page in hand."""
        return self.in_hand is None or self.taken >= len(self.in_hand.page.items)

    @property
    def at_end(self) -> bool:
        """Whether nothing is left of the list."""
        return self.ended and self.used_up

    def moved(self) -> bool:
        """Return whether anything was handed out since the walk began here, or the end was reached."""
        if self.in_hand is None or (self.at_end and self.passing.left):
            return False
        return self.at_end or self.items != self.saved.items

    def checkpoint(self, facts: Checkpoint) -> Checkpoint:
        """Return *facts*, completed by where this is in the list."""
        replace, page = msgspec.structs.replace, self.in_hand
        if self.at_end or page is None:
            return replace(facts, ended=True, sent=self.sent)
        if self.used_up and self._species.durable:
            return replace(facts, cursor=self.next, sent=self.sent)
        behind = self.behind
        last = page.id_before(behind, self._reader)
        if self._species.durable:
            return replace(facts, cursor=page.asked, sent=self._sent, skip=behind, last=last)
        return replace(facts, skip=self._sent + behind, last=last)

    def gone(self, seen: Seen | None, *, twice: int = 0) -> int:
        """Return how many items were handed out before a restart and are not known to lie before this place.

        At the end of a list that was walked from the top, also those beyond the ones that came, less *twice*.
        """
        if self.at_end and self.saved.cursor is None and not self._species.durable:
            return max(
                0, self.items - (self.sent - twice), seen.owed if seen is not None and self.by_id else 0
            )
        if seen is None or not self.by_id:
            return 0
        page = self.in_hand
        if page is None:
            return seen.owed
        return seen.owed + page.length - self.behind - (len(page.places) - self.taken)

    @property
    def behind(self) -> int:
        """How many items of the page in hand, as it came, lie before this place."""
        page = self.in_hand
        if page is None or self.used_up:
            return page.length if page else 0
        return page.places[self.taken - 1] + 1 if self.taken else page.passed
