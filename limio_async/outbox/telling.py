"""Telling callbacks and observers what became of orders: callbacks at least once, what they write once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol

import anyio

from limio_async.errors import OutboxError
from limio_async.outbox import table
from limio_async.outbox.decide import Row, outcome_of
from limio_async.outbox.outcome import Event, Outcome
from limio_async.stores import Store
from limio_async.stores.recorded import Noted, refusal

__all__ = ["Handler", "Observer", "Teller", "Tx"]

Handler = Callable[[Outcome, Any], Awaitable[None]]
_log = logging.getLogger("limio_async")
_EVENTS: Sequence[Event] = ("doubt", "accepted", "doubled", "refused", "failed")
_MOST = 100
_LONGEST = 300.0
_FEW = 3


class Observer(Protocol):
    """Is told what this process wrote; synchronous, and must not raise."""

    def changed(self, outcome: Outcome) -> None:
        """An order came to another state, or something more is known of it."""


class Tx:
    """What a callback wants written, in the outbox's database: once, with the mark that it was told."""

    def __init__(self) -> None:
        self._statements: list[tuple[str, Any]] = []

    def execute(self, statement: str, parameters: Any = None) -> Awaitable[object]:
        """Note a statement, in the driver's own style; it is executed after the callback has returned. Awaiting it is optional.

        Raises `OutboxError` for one that would begin or end the transaction.
        """
        if words := refusal(statement):
            raise OutboxError(words)
        self._statements.append((statement, copy(parameters)))  # the callback may change its own
        return Noted()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._statements)

    def write(self, store: Store) -> None:
        """Execute all of them."""
        for one in self._statements:
            store.execute(*one)


class Teller:
    """Tells *handlers* what nobody was told yet, and *observers* what changes."""

    def __init__(
        self, store: Store, handlers: Mapping[Event, Sequence[Handler]], observers: Sequence[Observer]
    ) -> None:
        self._store, self._handlers, self._observers = store, handlers, observers
        self._failed: dict[str, tuple[int, float]] = {}

    def untold(self, store: Store) -> list[Row]:
        """Return rows of which a handler has to be told something."""
        events: list[Event] = [event for event in _EVENTS if self._handlers.get(event)]
        return table.untold(store, events, _MOST + len(self._failed)) if events else []

    def due(self, rows: Sequence[Row]) -> list[Row]:
        """Return those of *rows* whose handler did not fail just now."""
        now = anyio.current_time()
        return [row for row in rows if self._failed.get(row.key, (0, 0.0))[1] <= now]

    def waits(self, rows: Sequence[Row]) -> bool:
        """Return whether a handler of one of *rows* is called (again) before long: after a few failures it needs a person."""
        return any(self._failed.get(row.key, (0, 0.0))[0] < _FEW for row in rows)

    async def tell(self, rows: Sequence[Row]) -> None:
        """Tell the handlers of *rows*, one after another."""
        for row in rows:
            for event in _EVENTS:
                if f",{event}," in row.tell and self._handlers.get(event):
                    await self._tell_of(event, row)

    async def _tell_of(self, event: Event, row: Row) -> None:
        tx = Tx()

        def mark(store: Store) -> None:
            now = table.one(store, row.key)
            if f",{event}," in now.tell:  # else another process has told it
                tx.write(store)
                left = now.tell.replace(f",{event},", ",")
                table.change(store, now, {"tell": "" if left == "," else left})

        try:
            for handler in self._handlers[event]:
                await handler(outcome_of(row), tx)
            await self._store.do(mark, hurries=bool(tx))
            self._failed.pop(row.key, None)
        except Exception:
            fails = self._failed.get(row.key, (0, 0.0))[0] + 1
            self._failed[row.key] = fails, anyio.current_time() + min(_LONGEST, 2.0**fails)
            _log.exception("a callback for %s of %r failed; it is called again", event, row.key)

    def changed(self, rows: Sequence[Row]) -> None:
        """Tell the observers that *rows* changed."""
        for observer in self._observers:
            for row in rows:
                try:
                    observer.changed(outcome_of(row))
                except Exception:
                    _log.exception("the observer %s raised", type(observer).__name__)
