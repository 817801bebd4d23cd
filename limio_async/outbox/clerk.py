"""What a person asks of the tables: lists, figures, emptying what is kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec

from limio_async.errors import OutboxError, UnknownKey
from limio_async.outbox.decide import OPEN, Row, moved
from limio_async.outbox.outcome import Stats
from limio_async.outbox.schema import TABLE, meta
from limio_async.outbox.table import all_where, change
from limio_async.stores import Store

__all__ = ["erase", "listed", "purge", "stats"]

_SETTLED = "('accepted', 'refused', 'failed')"


def listed(store: Store, states: Collection[str], after: str | None, limit: int) -> list[Row]:
    """Return rows in the order of their intents; those in any of *states*, or all."""
    place = store.ask(f"SELECT place FROM {TABLE} WHERE key = ?", after) if after is not None else [(0,)]
    if not place:
        raise UnknownKey(f"nothing was ever intended under {after!r}")
    within = f" AND t.state IN ({', '.join('?' * len(states))})" if states else ""
    return all_where(store, f"t.place > ?{within}", place[0][0], *states, ending=f" LIMIT {int(limit)}")


def stats(store: Store) -> Stats:
    """Return how the outbox stands."""
    states: dict[str, int] = dict(
        store.ask(f"SELECT state, count(*) FROM {TABLE} GROUP BY state ORDER BY state")
    )
    ((doubled,),) = store.ask(f"SELECT count(*) FROM {TABLE} WHERE order_ids LIKE ?", "%,%")
    ((oldest,),) = store.ask(f"SELECT min(intended_at) FROM {TABLE} WHERE state NOT IN {_SETTLED}")
    known = {"states": states, "doubled": doubled, "oldest_waiting": oldest}
    return msgspec.convert(known | {name: meta(store, name) for name in ("paused", "tenant")}, Stats)


def purge(store: Store, before: datetime) -> int:
    """Empty what was settled before then."""
    emptied = f"UPDATE {TABLE} SET body = NULL, answers = '[]' WHERE (body IS NOT NULL OR answers <> '[]') AND state IN {_SETTLED}"
    return store.run(f"{emptied} AND changed_at < ?", before.isoformat(timespec="milliseconds"))


def erase(store: Store, column: str, value: str | None, *, cancel: bool) -> int:
    """Empty what may be about a person. Raises `OutboxError`, and erases nothing, where an order is still open."""
    rows = all_where(store, f"t.{column} = ?", value, ending=store.locking)
    if column == "key" and not rows:
        raise UnknownKey(f"nothing was ever intended under {value!r}")
    for row in rows:
        if row.state in {"sending", "doubt"}:
            raise OutboxError(f"{row.key!r} may be on its way: wait until it is settled, or resolve it")
        if row.state in OPEN and not cancel:
            raise OutboxError(f"{row.key!r} is {row.state}: with cancel it is never sent, and erased")
        ended = moved(row, "refused") if row.state in OPEN else {}
        change(store, row, ended | {"body": None, "answers": "[]", "error": None, "person": None})
    return len(rows)
