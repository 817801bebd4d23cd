"""The tables of an outbox: made once, of one version, one tenant, and one history that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from limio_async.errors import StoreError
from limio_async.outbox.decide import OPEN
from limio_async.outbox.outcome import Event
from limio_async.stores import Store

__all__ = [
    "CURSORS",
    "FREE",
    "META",
    "SHARED",
    "TABLE",
    "WAITING",
    "begin",
    "doubt_unsent",
    "is_other",
    "known",
    "meta",
    "set_meta",
    "tenant",
    "told_of",
]

TABLE, META, CURSORS = "_limio_outbox", "_limio_outbox_meta", "_limio_outbox_cursors"
SHARED = ("subscription", "reference", "basket")
"""Columns: orders that have the same in one of them go one at a time."""
WAITING = f"state IN {tuple(OPEN)}"
"""Which rows may keep others waiting, as their index says it."""
FREE = "state IN ('intended', 'missing')"
"""Which rows are to be sent, likewise."""
_VERSION = "1"


def _tables(store: Store) -> Sequence[str]:
    return (
        f"CREATE TABLE {META} (name text PRIMARY KEY, value text NOT NULL)",
        f"CREATE TABLE {CURSORS} (id {store.keyed}, checkpoint text NOT NULL, saved_at {store.time} NOT NULL DEFAULT ({store.now}))",
        f"CREATE TABLE {TABLE} (place {store.keyed}, key text NOT NULL UNIQUE, digest text NOT NULL, body text,"
        " state text NOT NULL DEFAULT 'intended', attempt integer NOT NULL DEFAULT 0, owner text, subscription text,"
        " reference text, basket text, person text, cursor bigint, sent bigint, resent integer NOT NULL DEFAULT 0,"
        " order_ids text NOT NULL DEFAULT '[]', status text, error text, answers text NOT NULL DEFAULT '[]',"
        f" tell text NOT NULL DEFAULT '', resolved text, generation text DEFAULT {store.born(TABLE)},"
        f" intended_at {store.time} NOT NULL DEFAULT ({store.now}), changed_at {store.time} NOT NULL DEFAULT ({store.now}))",
        f"CREATE INDEX {TABLE}_state ON {TABLE} (state, place)",
        f"CREATE INDEX {TABLE}_free ON {TABLE} (place) WHERE {FREE}",
        f"CREATE INDEX {TABLE}_person ON {TABLE} (person, place) WHERE person IS NOT NULL",
        *(f"CREATE INDEX {TABLE}_{name} ON {TABLE} ({name}, place) WHERE {WAITING}" for name in SHARED),
        *(
            f"CREATE INDEX {TABLE}_{event} ON {TABLE} (place) WHERE {told_of(event)}"
            for event in get_args(Event)
        ),
        *([store.guard.format(TABLE)] if store.guard else []),
    )


def told_of(event: Event) -> str:
    """Return of which rows somebody has to be told of *event*, as their index says it."""
    return f"tell LIKE '%,{event},%'"


def begin(store: Store, *, fresh: str) -> str:
    """Make the tables unless they are there; return the name of this outbox, *fresh* if it is new."""
    if not store.has(META):
        store.make_room()
        for statement in _tables(store):
            store.run(statement)
        set_meta(store, "version", _VERSION)
        set_meta(store, "id", fresh)
    _check(store)
    is_other(store)
    return meta(store, "id") or ""


def known(store: Store) -> str | None:
    """Return the name of this outbox if nothing has to be written before it is used."""
    if not store.has(META):
        return None
    _check(store)
    return meta(store, "id") if store.goes_on(meta(store, "generation"), TABLE) else None


def _check(store: Store) -> None:
    if (version := meta(store, "version")) != _VERSION:
        raise StoreError(
            f"{store.name}: its outbox is of version {version}, this release reads {_VERSION}: upgrade"
        )


def meta(store: Store, name: str) -> str | None:
    """Return one of the facts about the outbox."""
    rows = store.ask(f"SELECT value FROM {META} WHERE name = ?", name)
    return rows[0][0] if rows else None


def set_meta(store: Store, name: str, value: str | None) -> None:
    """Note one of the facts about the outbox; with None, forget it."""
    if value is None:
        store.run(f"DELETE FROM {META} WHERE name = ?", name)
    else:
        upsert = "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        store.run(f"INSERT INTO {META} (name, value) VALUES (?, ?) {upsert}", name, value)


def tenant(store: Store, origin: str) -> None:
    """Note whom the outbox sends to. Raises `StoreError` if that is another."""
    if (known := meta(store, "tenant")) is None:
        set_meta(store, "tenant", origin)
    elif known != origin:
        raise StoreError(
            f"{store.name}: this outbox sends to {known}, the client to {origin}: one outbox a tenant"
        )


def is_other(store: Store, *, advance: bool = False) -> bool:
    """Put in doubt what a lost history may have sent, where the database is not the one it was.

    What is being sent too, and what is in doubt: the attempt that it knows may be an earlier one than the last.
    """
    known = meta(store, "generation")
    now, other = store.generation(known, TABLE, advance=advance)
    if other:
        doubt_unsent(
            store, "the database was restored, or a standby took over", but=now, also=("sending", "doubt")
        )
    if now != known:
        set_meta(store, "generation", now)
    return other


def doubt_unsent(
    store: Store, why: str, *, but: str = "-", before: datetime | None = None, also: Sequence[str] = ()
) -> int:
    """Put in doubt what waits to be sent, unless it was intended in the generation *but*: it could have been sent.

    Its walk begins at the shared cursor as it was, or was *before* a moment: no later than at the sending that was lost.
    """
    cursor = f"SELECT max(id) FROM {CURSORS}" + (" WHERE saved_at < ?" if before else "")
    moment = () if before is None else (before.isoformat(timespec="milliseconds"),)
    return store.run(
        f"UPDATE {TABLE} SET state = 'doubt', attempt = attempt + 1, owner = NULL, sent = NULL, error = ?,"
        f" cursor = CASE WHEN attempt = 0 THEN ({cursor}) ELSE cursor END, changed_at = {store.now},"
        " tell = CASE WHEN tell LIKE ? THEN tell WHEN tell = '' THEN ',doubt,' ELSE tell || 'doubt,' END"
        f" WHERE state IN ('intended', 'missing'{', ?' * len(also)}) AND coalesce(generation, '') <> ?",
        why,
        *moment,
        "%,doubt,%",
        *also,
        but,
    )
