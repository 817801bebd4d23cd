"""Faults that are planted in an inbox on purpose: its judge has to find each, by name.

`python -m tests.judges.inbox --planted` runs each in a process of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limio_async.errors import StoreAway
from limio_async.webhooks.door import Answer
from tests.judges.planted import Planted

__all__ = ["BLOCKS", "PLANTED", "SERVERS", "PlantedInbox", "planted"]


@dataclass(frozen=True)
class PlantedInbox:
    """A fault, in which case of the judge it is found, and as what."""

    fault: Planted
    case: str
    found_as: str


BLOCKS = "blocks"
"""The change whose handler blocks its process."""
SERVERS = "SQLite, uvicorn --workers 4"
"""The case in which servers are killed."""
_MOMENT = 0.02


def _marked_afterwards_in_a_file(commit: Any) -> Any:
    async def patched(self: Any, mark: Any, do: Any) -> None:
        await commit(self, lambda: iter(()), do)
        await asyncio.sleep(_MOMENT)
        await do(lambda store: store.follow(mark()))

    return patched


def _marked_afterwards_in_a_server(commit: Any) -> Any:
    async def patched(self: Any, mark: Any, do: Any) -> None:
        def nothing() -> Any:
            yield "SELECT 1", ()

        await commit(self, nothing, do)
        await asyncio.sleep(_MOMENT)
        await do(lambda store: store.follow(mark()))

    return patched


def _anybody_may_write(_: Any) -> Any:
    def patched(store: Any, taken: Any) -> Any:
        yield "SELECT 1", ()

    return patched


def _no_lock(_: Any) -> Any:
    return ""


def _equal_is_a_repeat(_: Any) -> Any:
    return lambda earlier, **_: earlier is not None


def _nothing_is_a_repeat(_: Any) -> Any:
    return lambda earlier, **_: False


def _answered_at_once(stored: Any) -> Any:
    kept: set[Any] = set()

    async def patched(self: Any, type: str, text: bytes) -> Any:
        task = asyncio.create_task(stored(self, type, text))
        kept.add(task)
        task.add_done_callback(kept.discard)
        await asyncio.sleep(0)
        return Answer(202)

    return patched


def _not_counted(receive: Any) -> Any:
    class Deaf:
        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        def run(self, statement: str, *values: Any) -> Any:
            return None if "seen + 1" in statement else self._store.run(statement, *values)

    return lambda store, entry, within: receive(Deaf(store), entry, within)


def _latest_first(ended: Any) -> Any:
    def patched(*args: Any, **more: Any) -> Any:
        for statement, values in ended(*args, **more):
            yield statement.replace("min(seq)", "max(seq)"), values

    return patched


def _start_locks(begin: Any) -> Any:
    def patched(store: Any) -> None:
        begin(store)
        store.run("LOCK TABLE _limio_inbox IN ACCESS EXCLUSIVE MODE")

    return patched


def _locks_at_once(recorded: Any) -> Any:
    class Patched(recorded):  # type: ignore[misc]
        _db: sqlite3.Connection | None = None

        def execute(self, statement: str, parameters: Any = None) -> Any:
            if parameters[0] == BLOCKS:
                self._db = sqlite3.connect(self._store.name.removeprefix("sqlite:///"), isolation_level=None)
                self._db.execute("BEGIN IMMEDIATE")
            return super().execute(statement, parameters)

        async def commit(self, mark: Any, do: Any) -> None:
            if self._db is not None:
                self._db.close()
            await super().commit(mark, do)

    return Patched


def _lock_stays(own: Any) -> Any:
    def patched(self: Any, owner: str | None) -> None:
        if owner is not None:
            try:
                self._neighbour("owned").touch(exist_ok=False)
            except FileExistsError:
                raise StoreAway("another process handles its events") from None
        own(self, owner)

    return patched


def _anybody_handles(_: Any) -> Any:
    def patched(self: Any, owner: str | None) -> None:
        self._owner = owner

    return patched


_RECORDED = "limio_async.stores.recorded:Recorded.commit"
_LAZY = "limio_async.stores.postgres_tx:Lazy.commit"
_FENCED = "limio_async.webhooks.table:_fenced"
_SKIPPING = "limio_async.stores.postgres:PostgresStore.skipping"
_REPEAT = "limio_async.webhooks.table:is_repeat"

PLANTED: Sequence[PlantedInbox] = (
    PlantedInbox(
        Planted("the mark is a transaction of its own, SQLite", _RECORDED, _marked_afterwards_in_a_file),
        "SQLite",
        "twice",
    ),
    PlantedInbox(
        Planted("the mark is a transaction of its own, PostgreSQL", _LAZY, _marked_afterwards_in_a_server),
        "PostgreSQL",
        "twice",
    ),
    PlantedInbox(
        Planted("the claim is not checked", _FENCED, _anybody_may_write), "PostgreSQL, sessions end", "twice"
    ),
    PlantedInbox(Planted("keys are not locked", _SKIPPING, _no_lock), "PostgreSQL", "overlap"),
    PlantedInbox(
        Planted("an equal digest is a repeat", _REPEAT, _equal_is_a_repeat), "SQLite", "lost: A→B→A"
    ),
    PlantedInbox(Planted("nothing is a repeat", _REPEAT, _nothing_is_a_repeat), "PostgreSQL", "twice"),
    PlantedInbox(
        Planted("202 comes before the commit", "limio_async.webhooks.door:Door._stored", _answered_at_once),
        "SQLite",
        "lost",
    ),
    PlantedInbox(
        Planted("repeats are not counted", "limio_async.webhooks.table:receive", _not_counted),
        "SQLite",
        "counted",
    ),
    PlantedInbox(
        Planted("the latest comes first", "limio_async.webhooks.table:_ended", _latest_first),
        "SQLite",
        "order",
    ),
    PlantedInbox(
        Planted("a start locks the table", "limio_async.webhooks.schema:begin", _start_locks),
        "PostgreSQL",
        "ended by itself",
    ),
    PlantedInbox(
        Planted("a handler locks the file", "limio_async.stores.sqlite:Recorded", _locks_at_once),
        "SQLite, a handler waits",
        "p99",
    ),
    PlantedInbox(
        Planted("a lock outlives its process", "limio_async.stores.sqlite:SqliteStore.own", _lock_stays),
        SERVERS,
        "taken over after",
    ),
    PlantedInbox(
        Planted("several handle one file", "limio_async.stores.sqlite:SqliteStore.own", _anybody_handles),
        SERVERS,
        "3 kills",
    ),
)


def planted(name: str) -> PlantedInbox:
    """Return the fault of this name."""
    return next(one for one in PLANTED if one.fault.name == name)
