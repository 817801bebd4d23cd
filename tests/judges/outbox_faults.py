"""Faults that are planted in the outbox on purpose: a judge that misses one is no judge. See `outbox_planted`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec.structs import replace

from limio_async.core.listing import BadItem
from limio_async.errors import ApiError, UnknownOutcome
from limio_async.outbox.decide import Answer
from limio_async.outbox.order import fields_of
from limio_async.outbox.schema import CURSORS, TABLE

__all__ = ["FAULTS", "Fault", "named", "plant", "planted"]


class Fault(NamedTuple):
    """Each of *patches* takes what stands at a place (`module:Class.function`) and gives what replaces it."""

    name: str
    patches: Sequence[tuple[str, Callable[[Any], Any]]]


def named(name: str) -> Fault:
    """Return the fault of that name."""
    return next(fault for fault in FAULTS if fault.name == name)


def plant(name: str) -> None:
    """Plant the fault of that name, for as long as this process lives; nothing without a name."""
    if name:
        for where, patch in named(name).patches:
            owner, last, known = _place(where)
            setattr(owner, last, patch(known))


@contextmanager
def planted(name: str) -> Generator[None]:
    """Plant it until the block ends."""
    places = [_place(where) for where, _ in named(name).patches]
    try:
        plant(name)
        yield
    finally:
        for owner, last, known in places:
            setattr(owner, last, known)


def _place(where: str) -> tuple[Any, str, Any]:
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, last = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, last, inspect.getattr_static(owner, last)


# --- the faults


class _LongAgo:
    """A doubt that was always seen long ago."""

    def __init__(self, at: float, since: int | None) -> None:
        self.since, self.looks = since, 0

    @property
    def at(self) -> float:
        return -1e9

    @at.setter
    def at(self, _: float) -> None:
        pass


def _long_ago(_: Any) -> Any:
    return _LongAgo


def _nine_skipped(sift: Any) -> Any:
    async def patched(self: Any, items: Sequence[Any]) -> None:
        await sift(self, items[:-9])

    return patched


def _bare_are_strangers(sift: Any) -> Any:
    async def patched(self: Any, items: Sequence[Any]) -> None:
        await sift(self, [one for one in items if isinstance(one, BadItem) or fields_of(one)])

    return patched


def _newest_cursor(_: Any) -> Any:
    def patched(store: Any, rows: Any) -> str | None:
        found = store.ask(f"SELECT checkpoint FROM {CURSORS} ORDER BY id DESC LIMIT 1")  # noqa: S608
        return found[0][0] if found else None

    return patched


def _taken_in_memory(take: Any) -> Any:
    def patched(store: Any, owner: str, most: int, *, on_wire: Any, **options: Any) -> Any:
        taken = take(store, owner, most + len(on_wire), on_wire=on_wire, **options)
        for row in taken:
            undone = (
                f"UPDATE {TABLE} SET state = 'intended', attempt = attempt - 1, owner = NULL WHERE key = ?"  # noqa: S608
            )
            store.run(undone, row.key)
        return [row for row in taken if row.key not in on_wire][:most]

    return patched


def _written_with_the_answer(answered: Any) -> Any:
    def patched(row: Any, attempt: int, answer: Answer) -> Any:
        if row.state != "intended":
            return answered(row, attempt, answer)
        return {
            "attempt": attempt,
            **answered(replace(row, state="sending", attempt=attempt), attempt, answer),
        }

    return patched


def _sent_again(_: Any) -> Any:
    return lambda row, error: {"state": "intended", "owner": None}


def _any_attempt(answered: Any) -> Any:
    return lambda row, attempt, answer: answered(row, row.attempt, answer)


def _any_state(answered: Any) -> Any:
    return lambda row, attempt, answer: answered(replace(row, state="sending"), row.attempt, answer)


def _same_history(generation: Any) -> Any:
    return lambda self, known, table, **options: (generation(self, known, table, **options)[0], False)


def _bad_gateway_is_no(answer_of: Any) -> Any:
    def patched(result: Any, key: str = "") -> Answer:
        is_502 = isinstance(result, ApiError | UnknownOutcome) and result.status == 502
        return Answer(kind="refused", error=str(result)) if is_502 else answer_of(result, key)

    return patched


def _lost_is_unsent(answer_of: Any) -> Any:
    def patched(result: Any, key: str = "") -> Answer:
        lost = isinstance(result, UnknownOutcome)
        return Answer(kind="unsent", error=str(result)) if lost else answer_of(result, key)

    return patched


def _all_at_once(_: Any) -> Any:
    def patched(store: Any, *, hold: bool, most: int) -> list[str]:
        free = f"SELECT key FROM {TABLE} WHERE state IN ('intended', 'missing') ORDER BY place LIMIT ?"  # noqa: S608
        return [key for (key,) in store.ask(free, most)]

    return patched


_OUTBOX, _STORES = "limio_async.outbox", "limio_async.stores"

FAULTS: Sequence[Fault] = (
    Fault("settle is ignored", [(f"{_OUTBOX}.sending:Seen", _long_ago)]),
    Fault("the last 9 rows of a page are skipped", [(f"{_OUTBOX}.looking:Looker._sift", _nine_skipped)]),
    Fault("bare rows are not fetched", [(f"{_OUTBOX}.looking:Looker._sift", _bare_are_strangers)]),
    Fault("a walk begins at the newest cursor", [(f"{_OUTBOX}.table:checkpoint_of", _newest_cursor)]),
    Fault(
        "sending is written with the answer only",
        [
            (f"{_OUTBOX}.table:take", _taken_in_memory),
            (f"{_OUTBOX}.sending:answered", _written_with_the_answer),
        ],
    ),
    Fault("a found sending is sent again", [(f"{_OUTBOX}.table:doubtful", _sent_again)]),
    Fault("an answer counts for any attempt", [(f"{_OUTBOX}.sending:answered", _any_attempt)]),
    Fault("a late answer overwrites a later state", [(f"{_OUTBOX}.sending:answered", _any_state)]),
    Fault(
        "another generation goes unnoticed",
        [
            (f"{_STORES}.{name}", _same_history)
            for name in ("sqlite:SqliteStore.generation", "postgres:PostgresStore.generation")
        ],
    ),
    Fault("502 refuses", [(f"{_OUTBOX}.sending:answer_of", _bad_gateway_is_no)]),
    Fault("a lost answer means not sent", [(f"{_OUTBOX}.sending:answer_of", _lost_is_unsent)]),
    Fault("orders of a subscription go at once", [(f"{_OUTBOX}.table:_ready", _all_at_once)]),
)
