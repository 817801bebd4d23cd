"""Faults that are planted in the client on purpose, one function each: a judge that misses one is no judge.

`python -m tests.judges.walks --planted` plants each in a process of its own, and walks until its first find.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from limio_async.core.listing.repeats import page_print
from limio_async.core.tolerant import mended

__all__ = ["PLANTED", "Planted", "plant"]


@dataclass(frozen=True)
class Planted:
    """A fault: *patch* takes what stands at *where* (`module:Class.function`) and gives what replaces it."""

    name: str
    where: str
    patch: Callable[[Any], Any]


def plant(fault: Planted) -> None:
    """Replace the function, for as long as this process lives."""
    module, _, path = fault.where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, fault.patch(inspect.getattr_static(owner, name)))


def _done_unjudged(checkpoint: Any) -> Any:
    def patched(self: Any) -> Any:
        at = checkpoint(self)
        if not at.ended:
            return at
        return replace(at, done=True, hits=None, repeated=0, gone=0, commit_ids=at.commit_ids[-1:])

    return patched


def _restart_forgets_commit_ids(begin_pass: Any) -> Any:
    def patched(self: Any, at: Any) -> None:
        begin_pass(self, at)
        self.commit_ids.clear()

    return patched


def _page_check_reads_the_cursor(_: Any) -> Any:
    def patched(self: Any, head: Any, body: bytes, length: int) -> int:
        return page_print(length, memoryview(body)[max(0, body.find(self._key)) :])

    return patched


def _unique_needs_no_page_check(came_again: Any) -> Any:
    def patched(self: Any, page: int, length: int) -> bool:
        return not self._options.unique and bool(came_again(self, page, length))

    return patched


def _passing_stops_at_the_first_page(_: Any) -> Any:
    def patched(self: Any, ids: Sequence[str], *, ends: bool, strict: bool) -> int:
        passed: int = min(self.left, len(ids))
        self.left = 0
        last = str(self._last)
        if passed and ids[passed - 1] == last:
            return passed
        return ids.index(last) + 1 if last in ids else 0

    return patched


def _opaque_cursors_are_durable(species: Any) -> Any:
    def patched(self: Any) -> Any:
        found = species.fget(self)
        return replace(found, durable=True) if self.kind == "opaque" else found

    return property(patched)


def _odd_hits_are_none(hits: Any) -> Any:
    def patched(raw: Any) -> Any:
        return (None, False) if b'"' in bytes(raw).replace(b'"value"', b"") else hits(raw)

    return patched


def _token_errors_are_the_requests(settled: Any) -> Any:
    def patched(error: Any, request: Any, *, left: bool) -> Any:
        return settled(error, request, left=True)

    return patched


def _an_error_is_an_end(_: Any) -> Any:
    return lambda page, *, some: ""


def _known_ids_are_forgotten(new: Any) -> Any:
    def patched(self: Any, rows: Any, places: Any) -> Any:
        if self.follows is None:
            return places
        self._drop = frozenset()
        return new(self, rows, places)

    return patched


def _the_overlap_is_ignored(followed: Any) -> Any:
    return lambda at, reach: followed(at, 0.0)


def _a_neighbour_is_dropped(decoded: Any) -> Any:
    def patched(self: Any, raw: Any, on_bad_item: str) -> Any:
        return decoded(self, raw[:-1] if len(raw) > 1 else raw, on_bad_item)

    return patched


def _raw_bytes_are_mended(finished: Any) -> Any:
    def patched(self: Any, items: Any) -> Any:
        return [mended(one) if isinstance(one, bytes) else one for one in finished(self, items)]

    return patched


def _anything_is_a_success(_: Any) -> Any:
    return lambda identity, value, **options: True


def _any_item_is_one(_: Any) -> Any:
    return lambda *_: True


_LISTING = "limio_async.core.listing"

PLANTED: Sequence[Planted] = (
    Planted("done is saved before the verdict", f"{_LISTING}.walk:Walk.checkpoint", _done_unjudged),
    Planted(
        "a restart forgets commit ids",
        f"{_LISTING}.completeness:Completeness.begin_pass",
        _restart_forgets_commit_ids,
    ),
    Planted(
        "the page check reads the cursor's text",
        f"{_LISTING}.reader:PageReader.fingerprint",
        _page_check_reads_the_cursor,
    ),
    Planted(
        "unique switches the page check off",
        f"{_LISTING}.completeness:Completeness.came_again",
        _unique_needs_no_page_check,
    ),
    Planted(
        "passing over stops at the first page",
        f"{_LISTING}.place:Passing.over",
        _passing_stops_at_the_first_page,
    ),
    Planted(
        "opaque cursors are resumed without caution",
        "limio_async.core.wire:Paging.species",
        _opaque_cursors_are_durable,
    ),
    Planted("unreadable hits are taken for none", f"{_LISTING}.head:_hits", _odd_hits_are_none),
    Planted(
        "an error of the token is taken for the order's",
        "limio_async.core.ladder:settled",
        _token_errors_are_the_requests,
    ),
    Planted("items: null beside an error is the end", f"{_LISTING}.head:no_in", _an_error_is_an_end),
    Planted("known ids are forgotten", f"{_LISTING}.following:Track.new", _known_ids_are_forgotten),
    Planted("the overlap is ignored", f"{_LISTING}.listing:followed", _the_overlap_is_ignored),
    Planted(
        "a neighbour of a bad item is dropped",
        f"{_LISTING}.reader:PageReader.decoded",
        _a_neighbour_is_dropped,
    ),
    Planted("raw() changes bytes", f"{_LISTING}.reader:PageReader._finished", _raw_bytes_are_mended),
    Planted(
        "an answer without identity is taken for a success",
        "limio_async.core.codec:says_yes",
        _anything_is_a_success,
    ),
    Planted(
        "an item without identity is handed out",
        "limio_async.core.identity:Judge.all_say_yes",
        _any_item_is_one,
    ),
)
"""Each is found within 5,000 walks, or the judge fails."""
