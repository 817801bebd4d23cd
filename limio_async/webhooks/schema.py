"""The tables of an inbox: events, and one row for each key, which says who handles it."""

from __future__ import annotations

from collections.abc import Sequence

from limio_async.errors import StoreError
from limio_async.stores import Store

__all__ = ["EVENTS", "KEYS", "META", "begin", "tenant"]

EVENTS, KEYS, META = "_limio_inbox", "_limio_inbox_keys", "_limio_inbox_meta"
_VERSION = "1"


def _tables(store: Store) -> Sequence[str]:
    return (
        f"CREATE TABLE {META} (name text PRIMARY KEY, value text NOT NULL)",
        f"CREATE TABLE {KEYS} (key text PRIMARY KEY, claim bigint NOT NULL DEFAULT 0, owner text, event bigint,"
        " head bigint, held bigint NOT NULL DEFAULT 0, due double precision NOT NULL DEFAULT 0,"
        " tries integer NOT NULL DEFAULT 0, waits integer NOT NULL DEFAULT 0, crashes integer NOT NULL DEFAULT 0,"
        " since double precision, error text)",
        f"CREATE TABLE {EVENTS} (seq {store.keyed}, type text NOT NULL, thing text NOT NULL, came bigint NOT NULL,"
        " about text, object text, key text NOT NULL, digest text NOT NULL, updated bigint, person text, body text,"
        " state text NOT NULL, error text, marks text NOT NULL DEFAULT '', seen integer NOT NULL DEFAULT 1,"
        f" received_at double precision NOT NULL DEFAULT ({store.epoch}),"
        f" seen_at double precision NOT NULL DEFAULT ({store.epoch}),"
        f" changed_at double precision NOT NULL DEFAULT ({store.epoch}))",
        f"CREATE INDEX {KEYS}_free ON {KEYS} (head) WHERE owner IS NULL AND head IS NOT NULL",
        f"CREATE INDEX {KEYS}_suspect ON {KEYS} (crashes, head) WHERE crashes > 0",
        f"CREATE INDEX {KEYS}_owner ON {KEYS} (owner) WHERE owner IS NOT NULL",
        f"CREATE INDEX {EVENTS}_came ON {EVENTS} (thing, came, digest)",
        f"CREATE INDEX {EVENTS}_same ON {EVENTS} (thing, digest, came)",
        f"CREATE INDEX {EVENTS}_open ON {EVENTS} (key, seq) WHERE state = 'open'",
        f"CREATE INDEX {EVENTS}_parked ON {EVENTS} (key, seq) WHERE state = 'parked'",
        f"CREATE INDEX {EVENTS}_kept ON {EVENTS} (changed_at) WHERE body IS NOT NULL AND state IN ('done', 'dropped')",
        f"CREATE INDEX {EVENTS}_about ON {EVENTS} (about) WHERE about IS NOT NULL",
        f"CREATE INDEX {EVENTS}_person ON {EVENTS} (person) WHERE person IS NOT NULL",
    )


def begin(store: Store) -> None:
    """Make the tables unless they are there. Raises `StoreError` where they are of another version."""
    if not store.has(META):
        store.make_room()
        for statement in _tables(store):
            store.run(statement)
        store.run(f"INSERT INTO {META} (name, value) VALUES ('version', ?)", _VERSION)
    if (version := _meta(store, "version")) != _VERSION:
        raise StoreError(
            f"{store.name}: its inbox is of version {version}, this release reads {_VERSION}: upgrade"
        )


def tenant(store: Store, origin: str) -> None:
    """Note whose events these are. Raises `StoreError` if they are another's."""
    store.run(f"INSERT INTO {META} (name, value) VALUES ('tenant', ?) ON CONFLICT (name) DO NOTHING", origin)
    if (known := _meta(store, "tenant")) != origin:
        raise StoreError(
            f"{store.name}: this inbox has events of {known}, the client is of {origin}: one inbox a tenant"
        )


def _meta(store: Store, name: str) -> str | None:
    rows = store.ask(f"SELECT value FROM {META} WHERE name = ?", name)
    return rows[0][0] if rows else None
