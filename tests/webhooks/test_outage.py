"""Hours pass at once: an outage, reads that lag, handlers that take long, clocks that are set back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from limio_async import BearerToken, Limio
from limio_async.webhooks import Event, Inbox
from tests.outbox.processes import Inline
from tests.webhooks.conftest import deliver
from tests.webhooks.tenant import Tenant


class Hours:
    """A loop whose waits take no time, and a SQLite inbox whose clock goes with it."""

    def __init__(self, directory: Path) -> None:
        self.file, self.now, self.off = directory / "inbox.db", 0.0, 0.0

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.SelectorEventLoop()
        loop.time = lambda: self.now  # type: ignore[method-assign]
        select = loop._selector.select  # type: ignore[attr-defined]

        def passing(timeout: float | None) -> Any:
            ready = select(0)
            if not ready:
                self.now += timeout or 0.0
            return ready

        loop._selector.select = passing  # type: ignore[attr-defined]
        try:
            loop.run_until_complete(work)
        finally:
            loop.close()

    def inbox(self, **options: Any) -> Inbox:
        box = Inbox(f"sqlite:///{self.file}", **options)
        store: Any = box._store
        store._thread.shutdown(wait=False)
        store._thread = cast("ThreadPoolExecutor", Inline())
        store.epoch = "hours()"
        opened = store._open

        def opens() -> None:
            opened()
            store._db.create_function("hours", 0, lambda: 1e9 + self.now + self.off)

        store._open = opens
        return box


@pytest.fixture
def hours(tmp_path: Path) -> Hours:
    return Hours(tmp_path)


@pytest.fixture
def tenant(hours: Hours) -> Tenant:
    return Tenant(now=lambda: hours.now)


def client(tenant: Tenant) -> Limio:
    return Limio(auth=BearerToken("token"), transport=tenant)


async def stopped(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait([running])


def test_an_outage_of_an_hour_parks_nothing_and_asks_seldom(
    hours: Hours, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        seen: list[str | None] = []
        async with hours.inbox(give_up=timedelta(minutes=5)) as inbox, client(tenant) as limio:

            @inbox.on("*")
            async def handler(event: Event, item: Any, tx: Any) -> None:
                seen.append(event.id)

            for n in range(200):
                await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
            tenant.down = True
            running = asyncio.create_task(inbox.run(limio))
            await asyncio.sleep(3600)
            stats = await inbox.stats()
            assert (dict(stats.states), seen) == ({"open": 200}, [])
            assert len(tenant.gets) <= 200
            asked = len(tenant.gets)
            tenant.down = False
            await asyncio.sleep(900)
            await stopped(running)
            assert dict((await inbox.stats()).states) == {"done": 200}
            assert len(tenant.gets) == asked + 200

    caplog.set_level(logging.WARNING)  # the client's own resends are told below that
    hours.run(work())
    assert len(caplog.records) == 3


def test_a_disk_that_is_full_is_waited_for(
    hours: Hours, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        calls = 0
        async with hours.inbox(attempts=1) as inbox, client(tenant) as limio:

            @inbox.on("*", refetch=False)
            async def handler(event: Event, item: Any, tx: Any) -> None:
                nonlocal calls
                calls += 1
                tx.execute("INSERT INTO effects VALUES (?)", ("x" * 200_000,))

            await inbox._store.do(lambda store: store.run("CREATE TABLE effects (text)"))
            await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
            await inbox._store.do_after(lambda store: store.ask("PRAGMA max_page_count = 40"))
            running = asyncio.create_task(inbox.run(limio))
            await asyncio.sleep(50)
            assert dict((await inbox.stats()).states) == {"open": 1}
            assert calls <= 8  # what it does elsewhere is done each time
            await inbox._store.do_after(lambda store: store.ask("PRAGMA max_page_count = 4000"))
            await asyncio.sleep(16)
            assert dict((await inbox.stats()).states) == {"done": 1}
            await stopped(running)
            assert await inbox._store.do(lambda store: store.ask("SELECT count(*) FROM effects")) == [(1,)]

    hours.run(work())
    (line,) = caplog.records
    assert "disk is full" in line.message


def test_a_read_that_lags_is_no_attempt(hours: Hours, tenant: Tenant) -> None:
    async def work() -> None:
        seen: list[tuple[str, bool]] = []
        async with hours.inbox(attempts=1) as inbox, client(tenant) as limio:

            @inbox.on("*")
            async def handler(event: Event, item: Any, tx: Any) -> None:
                seen.append((item.status, event.stale))

            for n in range(40):
                tenant.put(f"sub-{n}", updated="2026-01-01T00:00:00Z", status="old")
                late = tenant.put(f"sub-{n}", updated="2026-01-02T00:00:00Z", status="new", lag=5.0)
                await deliver(inbox, "customer_updated", late)
            await inbox.run(limio, until_idle=True)
            assert seen == [("new", False)] * 40
            assert hours.now < 20
            await deliver(
                inbox, "order_submitted", {"id": "order-none", "record_type": "order", "status": "gone"}
            )
            began = hours.now
            await inbox.run(limio, until_idle=True)
            assert seen[40:] == [("gone", True)]
            assert 120 <= hours.now - began <= 125

    hours.run(work())


def test_a_handler_of_an_hour_is_called_once(hours: Hours, tenant: Tenant) -> None:
    async def work() -> None:
        calls = 0
        async with hours.inbox() as inbox, client(tenant) as limio:

            @inbox.on("*", refetch=False)
            async def handler(event: Event, item: Any, tx: Any) -> None:
                nonlocal calls
                calls += 1
                await asyncio.sleep(3600)

            await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
            await inbox.run(limio, until_idle=True)
        assert calls == 1

    hours.run(work())


def test_a_clock_that_is_set_back_makes_no_event_wait(hours: Hours, tenant: Tenant) -> None:
    async def work() -> None:
        calls = 0
        async with hours.inbox() as inbox, client(tenant) as limio:

            @inbox.on("*", refetch=False)
            async def handler(event: Event, item: Any, tx: Any) -> None:
                nonlocal calls
                calls += 1
                if calls == 1:
                    hours.off -= 7200.0  # as the next attempt is due
                    raise ValueError

            await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
            began = hours.now
            running = asyncio.create_task(inbox.run(limio, until_idle=True))
            await asyncio.sleep(0.5)
            hours.off -= 7200.0
            await running
            assert (calls, hours.now - began < 5) == (2, True)

    hours.run(work())


def test_what_fails_is_tried_with_growing_waits(hours: Hours, tenant: Tenant) -> None:
    async def work() -> None:
        moments: list[float] = []
        async with hours.inbox() as inbox, client(tenant) as limio:

            @inbox.on("*", refetch=False)
            async def handler(event: Event, item: Any, tx: Any) -> None:
                moments.append(hours.now)
                raise ValueError

            await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
            await inbox.run(limio, until_idle=True)
            assert dict((await inbox.stats()).states) == {"parked": 1}
        waits = [round(later - earlier) for earlier, later in pairwise(moments)]
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256]

    hours.run(work())


def test_bodies_are_emptied_while_it_runs(hours: Hours, tenant: Tenant) -> None:
    async def work() -> None:
        async with hours.inbox() as inbox, client(tenant) as limio:

            @inbox.on("*", refetch=False)
            async def handler(event: Event, item: Any, tx: Any) -> None:
                """Nothing to do."""

            body = {"id": "order-1", "record_type": "order", "updated": "2026-01-01T00:00:00Z"}
            await deliver(inbox, "order_submitted", body)
            await inbox.run(limio, until_idle=True)
            hours.now += timedelta(days=29).total_seconds()
            await inbox.run(limio, until_idle=True)
            assert [event.body for event in await inbox.list()] == [body]
            hours.now += timedelta(days=2).total_seconds()
            await inbox.run(limio, until_idle=True)
            assert [event.body for event in await inbox.list()] == [None]
            assert not await deliver(inbox, "order_submitted", body)

    hours.run(work())
