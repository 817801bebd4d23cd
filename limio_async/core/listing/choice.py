"""Which items of a page are handed out, and which are passed over. Nothing of a walk changes but its counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from limio_async.core.listing.following import Track
from limio_async.core.listing.options import Options
from limio_async.core.listing.page import BadItem, Tally
from limio_async.core.listing.place import Place
from limio_async.core.listing.repeats import Seen, last_id
from limio_async.core.listing.rows import Rows

__all__ = ["Choice", "Chooser"]


class Choice(NamedTuple):
    """What becomes of a page."""

    passed: int
    """How many items an earlier walk has handed out; -1 if the list is another."""
    places: Sequence[int]
    """Where those stand that are handed out."""
    twice: int = 0
    """How many had come before in this pass."""


class Chooser:
    """Chooses for one walk; *strict* where a list that has changed cannot be walked on."""

    def __init__(self, options: Options, tally: Tally, *, strict: bool) -> None:
        self._skips = options.on_bad_item == "skip"
        self._tally = tally
        self._strict = strict

    def choose(
        self,
        items: Sequence[Any],
        raw: Sequence[msgspec.Raw] | None,
        rows: Rows,
        place: Place[Any],
        seen: Seen | None,
        track: Track,
        *,
        ends: bool,
    ) -> Choice:
        """Return what becomes of the next page's *items*."""
        passed = 0
        if place.passing.left and raw is not None:
            passed = place.passing.over([last_id(one) for one in raw], ends=ends, strict=self._strict)
            if passed < 0:
                return Choice(passed, ())
        places: Sequence[int] = track.new(rows, range(passed, len(items)))
        if self._skips:
            places = [one for one in places if not isinstance(items[one], BadItem)]
        if seen is None or raw is None:
            return Choice(passed, places)
        _, twice_passed = seen.fresh(raw[:passed])
        fresh, twice = seen.fresh([raw[one] for one in places])
        self._tally.duplicates += len(places) - len(fresh)
        return Choice(passed, [places[one] for one in fresh], twice_passed + twice)
