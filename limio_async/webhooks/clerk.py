"""What a person asks of an inbox: lists, figures, trying again, dropping, emptying what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from limio_async.errors import InboxError, UnknownEvent
from limio_async.stores import Store
from limio_async.webhooks.event import Row, Stats, event_of
from limio_async.webhooks.schema import EVENTS, KEYS
from limio_async.webhooks.table import rows_where
from limio_async.webhooks.types import Event, State

__all__ = ["drop", "erase", "listed", "one", "purge", "retry", "retry_since", "stats"]

_AT_ONCE = 500


def one(store: Store, seq: int) -> Event:
    """Return an event. Raises `UnknownEvent`."""
    row = _row(store, seq)
    errors = store.ask(f"SELECT error FROM {KEYS} WHERE key = ? AND event = ?", row.key, seq)
    return event_of(row, error=errors[0][0] if errors else None)


def listed(store: Store, state: State | None, type: str | None, after: int, limit: int) -> list[Event]:
    """Return events in the order in which they came."""
    where, values = "t.seq > ?", [after]
    chosen = {"state": state, "type": type}
    for name, value in chosen.items():
        if value is not None:
            where, values = f"{where} AND t.{name} = ?", [*values, value]  # type: ignore[list-item]
    return [event_of(row) for row in rows_where(store, where, *values, ending=f" LIMIT {int(limit)}")]


def stats(store: Store) -> Stats:
    """Return how the inbox stands."""
    states: dict[str, int] = dict(
        store.ask(f"SELECT state, count(*) FROM {EVENTS} GROUP BY state ORDER BY state")
    )
    ((repeats,),) = store.ask(f"SELECT coalesce(sum(seen - 1), 0) FROM {EVENTS}")
    ((oldest,),) = store.ask(f"SELECT min(received_at) FROM {EVENTS} WHERE state = 'open'")
    when = None if oldest is None else datetime.fromtimestamp(oldest, UTC)
    return Stats(states=states, repeats=int(repeats), oldest_open=when)


def retry(store: Store, seq: int) -> None:
    """Open a parked event again."""
    row = _held(store, seq)
    if row.state != "parked" or row.body is None:
        said = row.state if row.state != "parked" else "erased"
        raise InboxError(f"event {seq} is {said}: only what is parked is tried again")
    _reopen(store, row)


def retry_since(store: Store, since: float, after: int) -> list[int]:
    """Open some events again that were parked since then, behind the number *after*; return their numbers."""
    where = "t.state = 'parked' AND t.body IS NOT NULL AND t.changed_at >= ? AND t.seq > ?"
    rows = rows_where(store, where, since, after, ending=f" LIMIT {_AT_ONCE}")
    _lock(store, rows)
    still = {row.seq for row in rows_where(store, where, since, after, ending=f" LIMIT {_AT_ONCE}")}
    for row in rows:
        if row.seq in still:  # else others have decided about it by now
            _reopen(store, row)
    return [row.seq for row in rows]


def drop(store: Store, seq: int) -> None:
    """Note that an event is never to be handled."""
    row = _held(store, seq)
    if row.state not in {"open", "parked"}:
        raise InboxError(f"event {seq} is {row.state}: only what is open or parked is dropped")
    _drop(store, row)


def erase(store: Store, columns: Sequence[str], value: str, *, cancel: bool) -> int:
    """Empty what may be about a person. Raises `InboxError`, and erases nothing, where an event is still open."""
    where, values = " OR ".join(f"t.{column} = ?" for column in columns), [value] * len(columns)
    rows = rows_where(store, where, *values)
    _lock(store, rows)
    rows = rows_where(store, where, *values)
    for row in rows:
        _check_free(store, row)
        if row.state == "open" and not cancel:
            raise InboxError(f"event {row.seq} is open: with cancel it is never handled, and erased")
        if row.state in {"open", "parked"}:
            _drop(store, row)
        store.run(f"UPDATE {KEYS} SET error = NULL WHERE key = ? AND error IS NOT NULL", row.key)
        store.run(f"UPDATE {EVENTS} SET body = NULL, error = NULL, person = NULL WHERE seq = ?", row.seq)
    return len(rows)


def purge(store: Store, before: str) -> int:
    """Empty some bodies of what was done or dropped before then, an expression; return of how many events."""
    old = f"body IS NOT NULL AND state IN ('done', 'dropped') AND changed_at < {before}"
    seqs = store.ask(f"SELECT seq FROM {EVENTS} WHERE {old} ORDER BY changed_at LIMIT {_AT_ONCE}")
    for (seq,) in seqs:
        store.run(f"UPDATE {EVENTS} SET body = NULL, error = NULL WHERE seq = ?", seq)
    return len(seqs)


def _row(store: Store, seq: int) -> Row:
    rows = rows_where(store, "t.seq = ?", seq)
    if not rows:
        raise UnknownEvent(f"there is no event {seq}")
    return rows[0]


def _held(store: Store, seq: int) -> Row:
    row = _row(store, seq)
    _lock(store, [row])
    _check_free(store, row)
    return _row(store, seq)


def _lock(store: Store, rows: Sequence[Row]) -> None:
    for key in sorted({row.key for row in rows}):
        store.ask(f"SELECT claim FROM {KEYS} WHERE key = ?{store.locking}", key)


def _check_free(store: Store, row: Row) -> None:
    held: list[Any] = store.ask(
        f"SELECT 1 FROM {KEYS} WHERE key = ? AND event = ? AND owner IS NOT NULL", row.key, row.seq
    )
    if held:
        raise InboxError(f"event {row.seq} is with a handler: wait until that has ended")


def _reopen(store: Store, row: Row) -> None:
    store.run(
        f"UPDATE {EVENTS} SET state = 'open', error = NULL, changed_at = {store.epoch} WHERE seq = ?", row.seq
    )
    _settle(store, row)


def _drop(store: Store, row: Row) -> None:
    store.run(f"UPDATE {EVENTS} SET state = 'dropped', changed_at = {store.epoch} WHERE seq = ?", row.seq)
    _settle(store, row)


def _settle(store: Store, row: Row) -> None:
    """Let what is open of its key be taken, the oldest first, at once; unless another parked event holds it."""
    head = f"(SELECT min(seq) FROM {EVENTS} WHERE key = ? AND state = 'open')"
    freed = f"head = CASE WHEN held IN (0, ?) THEN {head} END, held = CASE WHEN held = ? THEN 0 ELSE held END"
    store.run(f"UPDATE {KEYS} SET due = 0, {freed} WHERE key = ?", row.seq, row.key, row.seq, row.key)
