"""The rows of an outbox, and what is done with them in one transaction each.

Who may write a row is decided on the row as it is then, locked until the transaction ends, and by its attempt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import msgspec

from limio_async.core.same import differing
from limio_async.errors import KeyReused, OutboxError, TooManyWaiting, UnknownKey
from limio_async.outbox.decide import Changes, Row, doubtful, moved
from limio_async.outbox.order import Entry
from limio_async.outbox.outcome import Event
from limio_async.outbox.schema import CURSORS, FREE, META, SHARED, TABLE, WAITING, is_other, meta, told_of
from limio_async.stores import Plan, Store

__all__ = [
    "INSERTED", "all_where", "can_go_on", "change", "checkpoint_of", "give_back", "inserting", "intending",
    "of_keys", "of_this", "one", "save_cursor", "take", "take_over", "unsure", "untold",
]  # fmt: skip

_SHOWN = 5
_MAYBE = "it may have been sent before it was intended"
INSERTED = ("key", "digest", "body", "subscription", "reference", "basket", "person")
"""Columns of an intent."""
_COLUMNS = ", ".join(f"t.{name}" for name in Row.__struct_fields__)

# --- intents


def inserting(store: Store, marks: Sequence[str]) -> str:
    """Return the statement that intends an order, or fails where another has its key; *marks* stand for its values.

    It locks no row that is there already.
    """
    columns = ", ".join(f"column{number}" for number, _ in enumerate(INSERTED, 1))
    table = f"{store.prefix}{TABLE}"
    return (
        f"INSERT INTO {table} AS t ({', '.join(INSERTED)}) SELECT {columns} FROM (VALUES ({', '.join(marks)})) v"
        f" WHERE NOT EXISTS (SELECT 1 FROM {table} o WHERE o.key = column1 AND o.digest = column2)"
        f" ON CONFLICT (key) DO UPDATE SET {store.cast_error} WHERE t.digest <> excluded.digest"
    )


def intending(store: Store, entry: Entry, *, most: int | None, maybe_sent: bool) -> Plan[Row]:
    """Intend an order, unless it is known. Raises `KeyReused` or `TooManyWaiting`, and changes nothing then."""
    table, asked = f"{store.prefix}{TABLE}", f"SELECT {_COLUMNS} FROM {store.prefix}{TABLE} t WHERE t.key = ?"
    known = yield asked, (entry.key,)
    if not known:
        if most is not None:
            waiting = f"SELECT 1 FROM {table} WHERE {FREE} LIMIT ?"
            if len((yield waiting, (most,))) >= most:
                raise TooManyWaiting(
                    f"{most} orders wait already, so {entry.key!r} was not stored", operation="intend"
                )
        columns = (*INSERTED, "state", "attempt", "error", "tell")
        first = ("doubt", 1, _MAYBE, ",doubt,") if maybe_sent else ("intended", 0, None, "")
        values = (*(getattr(entry, name) for name in INSERTED), *first)
        yield (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            " ON CONFLICT (key) DO NOTHING",
            values,
        )
        known = yield asked, (entry.key,)
    row = _row(known[0])
    if row.digest != entry.digest:
        bodies = [msgspec.json.decode(body) for body in (row.body, entry.body) if body]
        paths = [*islice(differing(*bodies), _SHOWN)] if row.body else []
        where = f"they differ at {', '.join(paths)}" if paths else "its body was purged"
        raise KeyReused(
            f"another order is stored under {entry.key!r}; {where}", operation="intend", paths=paths
        )
    if maybe_sent and row.state == "intended":
        yield (
            f"UPDATE {table} SET state = 'doubt', attempt = attempt + 1, error = ?, tell = ?, changed_at = {store.now}"
            " WHERE key = ? AND state = 'intended'",
            (_MAYBE, moved(row, "doubt")["tell"], entry.key),
        )
        row = _row((yield asked, (entry.key,))[0])
    return row


def of_this(store: Store, id: str, plan: Plan[Row]) -> Plan[Row]:
    """Follow *plan* where the transaction is one of this outbox's database. Raises `ValueError` elsewhere."""
    there = yield store.has_table, (f"{store.prefix}{META}",)
    known = (yield f"SELECT value FROM {store.prefix}{META} WHERE name = 'id'", ()) if there else []
    if known != [(id,)]:
        raise ValueError(f"tx is a transaction of another database than {store.name}")
    return (yield from plan)


# --- rows


def one(store: Store, key: str, *, reads: bool = False) -> Row:
    """Return the row of a key, locked unless it is only to be *read*. Raises `UnknownKey`."""
    rows = all_where(store, "t.key = ?", key, ending="" if reads else store.locking)
    if not rows:
        raise UnknownKey(f"nothing was ever intended under {key!r}")
    return rows[0]


def all_where(store: Store, where: str, *values: Any, ending: str = "") -> list[Row]:
    """Return the rows of which *where* is true, in the order of their intents."""
    return [
        *map(
            _row,
            store.ask(f"SELECT {_COLUMNS} FROM {TABLE} t WHERE {where} ORDER BY t.place{ending}", *values),
        )
    ]


def of_keys(store: Store, keys: Sequence[str], *, ending: str = "") -> list[Row]:
    """Return the rows of those *keys* that are known."""
    return all_where(store, f"t.key IN ({', '.join('?' * len(keys))})", *keys, ending=ending)


def change(store: Store, row: Row, changes: Mapping[str, Any]) -> Row:
    """Write *changes* of a row that this transaction has read; nothing if another attempt has begun since."""
    if not changes:
        return row
    changes = {name: _storable(value) for name, value in changes.items()}
    columns = ", ".join(f"{name} = ?" for name in changes)
    where = "key = ? AND attempt = ?"
    written = f"UPDATE {TABLE} SET {columns}, changed_at = {store.now} WHERE {where}"
    if not store.run(written, *changes.values(), row.key, row.attempt):
        raise OutboxError(f"{row.key!r} changed meanwhile; do the same again")
    return msgspec.structs.replace(row, **changes)


def take(
    store: Store, owner: str, most: int, *, hold: bool, on_wire: Collection[str], sent: int | None
) -> list[Row]:
    """Return up to *most* rows that are `sending` by *owner* from now on; nothing of them has left."""
    _alone(store)
    keys = [] if meta(store, "paused") else _ready(store, hold=hold, most=most)
    give_back(store, owner, on_wire)
    if not keys or is_other(store, advance=True):
        return []
    cursor = store.ask(f"SELECT max(id) FROM {CURSORS}")[0][0]
    taken: list[Row] = []
    for row in of_keys(store, keys, ending=store.locking):
        if row.state in {"intended", "missing"}:  # else another connection has decided about it
            first = {"cursor": cursor, "sent": sent} if row.attempt == 0 else {}
            now: Changes = {"state": "sending", "attempt": row.attempt + 1, "owner": owner, **first}
            taken.append(change(store, row, now))
    return taken


def give_back(store: Store, owner: str, on_wire: Collection[str]) -> None:
    """Note that *owner* never sent what is not *on_wire*: it was taken, but the taker was not told."""
    if is_other(store):
        return
    for row in all_where(store, "t.state = 'sending' AND t.owner = ?", owner, ending=store.locking):
        if row.key not in on_wire:
            change(store, row, moved(row, "accepted" if row.ids else "intended") | {"owner": None})


def _ready(store: Store, *, hold: bool, most: int) -> list[str]:
    """Return keys that may be sent now: of one subscription or basket one at a time, in the order of their intents."""
    waits = ", 'doubt', 'parked'" if hold else ""
    others = " OR ".join(
        f"EXISTS (SELECT 1 FROM {TABLE} o WHERE o.{name} = t.{name} AND o.{WAITING} AND o.place <> t.place"
        f" AND (o.state = 'sending' OR o.place < t.place AND o.state IN ('intended', 'missing'{waits})))"
        for name in SHARED
    )
    ready = f"SELECT t.key FROM {TABLE} t WHERE t.{FREE} AND NOT ({others}) ORDER BY t.place LIMIT ?"
    return [key for (key,) in store.ask(ready, most)]


def can_go_on(store: Store, *, hold: bool) -> bool:
    """Return whether anything happens without a person: something is sent, looked for, or may be."""
    if store.ask(f"SELECT 1 FROM {TABLE} WHERE state IN ('sending', 'doubt') LIMIT 1"):
        return True
    return not meta(store, "paused") and bool(_ready(store, hold=hold, most=1))


def untold(store: Store, events: Sequence[Event], most: int) -> list[Row]:
    """Return rows of which nobody was told one of *events* yet."""
    found = (all_where(store, f"t.{told_of(event)}", ending=f" LIMIT {most}") for event in events)
    return [*{row.key: row for rows in found for row in rows}.values()]


def take_over(store: Store) -> list[Row]:
    """Put in doubt what a process was sending that is gone, its attempt one more; return those rows."""
    asked = f"SELECT DISTINCT owner FROM {TABLE} WHERE state = 'sending'"
    gone = [owner for (owner,) in store.ask(asked) if store.gone(owner)]
    taken: list[Row] = []
    for owner in gone:
        for row in all_where(store, "t.state = 'sending' AND t.owner = ?", owner, ending=store.locking):
            why = "the process that was sending it ended"
            taken.append(change(store, row, doubtful(row, why) | {"attempt": row.attempt + 1}))
    return taken


def unsure(store: Store, state: Literal["doubt", "parked"]) -> list[Row]:
    """Return what has to be looked for, oldest first, as much as one look is for."""
    return all_where(store, "t.state = ?", state, ending=" LIMIT 1000")


# --- cursors


def checkpoint_of(store: Store, rows: Sequence[Row]) -> str | None:
    """Return from where one walk finds whatever was made of *rows*: the oldest of their cursors; None is the top."""
    cursors = {row.cursor for row in rows}
    if None in cursors:
        return None
    oldest = min(cursor for cursor in cursors if cursor is not None)
    found = store.ask(f"SELECT checkpoint FROM {CURSORS} WHERE id = ?", oldest)
    return found[0][0] if found else None


def save_cursor(store: Store, checkpoint: str) -> None:
    """Move the shared cursor, and forget those that no order needs."""
    _alone(store)
    store.run(f"INSERT INTO {CURSORS} (checkpoint) VALUES (?)", checkpoint)
    store.run(
        f"DELETE FROM {CURSORS} WHERE id <> (SELECT max(id) FROM {CURSORS})"
        f" AND id NOT IN (SELECT cursor FROM {TABLE} WHERE cursor IS NOT NULL AND {WAITING})"
    )


def _alone(store: Store) -> None:
    """Wait until no other process takes orders, or moves the cursor, until the transaction ends."""
    store.ask(f"SELECT value FROM {META} WHERE name = 'id'{store.locking}")


def _storable(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value  # PostgreSQL takes no NUL


def _row(values: Sequence[Any]) -> Row:
    return Row(*values)
