"""Faults that are planted in an inbox on purpose: its judge has to find each, by name.

`python -m tests.judges.inbox --planted` runs each in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limio_async.webhooks.door import Answer
from tests.judges.planted import Planted

__all__ = ["PLANTED", "PlantedInbox", "planted"]


@dataclass(frozen=True)
class PlantedInbox:
    """A fault, in which case of the judge it is found, and as what."""

    fault: Planted
    case: Literal["SQLite", "PostgreSQL", "PostgreSQL, sessions end"]
    found_as: str


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
)


def planted(name: str) -> PlantedInbox:
    """Return the fault of this name."""
    return next(one for one in PLANTED if one.fault.name == name)
