"""What shares a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limio_async.stores import Plan, Store
from limio_async.stores.sqlite import SqliteStore
from limio_async.webhooks import schema
from limio_async.webhooks.batch import Batch

_DELIVERIES = 6


class _SlowDisk(SqliteStore):
    """Counts its commits, each of which takes longer than 5 ms."""

    commits = 0
    began: asyncio.Event | None = None

    async def do(self, work: Callable[[Store], Any], **how: Any) -> Any:
        self.commits += 1
        if self.began is not None:
            self.began.set()
        found = await super().do(work, **how)
        await asyncio.sleep(0.05)
        return found


def _nothing(_: Store) -> Plan[None]:
    yield "SELECT 1", ()


async def test_senders_that_wait_for_a_slow_disk_come_to_share_each_commit(tmp_path: Path) -> None:
    store = _SlowDisk(f"sqlite:///{tmp_path}/inbox.db", "inbox")
    await store.open()
    await store.do(schema.begin)
    batch, before, store.began = Batch(store), store.commits, asyncio.Event()

    async def sends(name: str) -> None:
        for _ in range(_DELIVERIES):
            await batch.do(name, _nothing, makes=True)

    async with asyncio.TaskGroup() as senders:
        for number in range(4):
            senders.create_task(sends(f"first-{number}"))
        await store.began.wait()
        for number in range(4):  # while the first commit is on its way
            senders.create_task(sends(f"second-{number}"))
    await store.close()
    assert store.commits - before <= _DELIVERIES + 2  # else the two groups take turns, which is twice as many
