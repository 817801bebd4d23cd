"""What handlers get, in which order, how often, and what becomes of an event when something fails."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest

from limio_async import BearerToken, Limio
from limio_async.errors import InboxError, InvalidArgument, StoreAway, StoreError, UnknownEvent
from limio_async.outbox import KeyReused, Outbox
from limio_async.stores import Store, store
from limio_async.stores.postgres import PostgresStore
from limio_async.webhooks import Event, Inbox, handling, schema, table, working
from tests.postgres_cluster import Cluster, own_cluster
from tests.webhooks.conftest import deliver
from tests.webhooks.tenant import Tenant

Make = Callable[..., Awaitable[Inbox]]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits after failures are short."""
    monkeypatch.setattr(handling, "wait_after", lambda failures, longest=600.0: min(longest, 0.01 * failures))


@pytest.fixture
async def make(url: str) -> AsyncIterator[Make]:
    made: list[Inbox] = []

    async def one(**options: Any) -> Inbox:
        made.append(await Inbox(url, **options).__aenter__())
        return made[-1]

    yield one
    for inbox in made:
        await inbox.__aexit__(None, None, None)


def seen_by(inbox: Inbox, pattern: str = "*", **options: Any) -> list[tuple[Event, Any]]:
    """Return what a handler gets."""
    seen: list[tuple[Event, Any]] = []

    @inbox.on(pattern, name=f"seen by {pattern} {len(inbox._handlers)}", **options)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        seen.append((event, item))
        await asyncio.sleep(0)

    return seen


async def states(inbox: Inbox) -> dict[str, int]:
    return dict((await inbox.stats()).states)


def test_an_inbox_is_opened_again_in_another_event_loop(url: str, tenant: Tenant) -> None:
    inbox = Inbox(url)
    seen = seen_by(inbox, refetch=False)

    async def once(n: int) -> None:
        async with Limio(auth=BearerToken("t"), transport=tenant) as limio, inbox:
            running = asyncio.create_task(inbox.run(limio))
            await asyncio.sleep(0.05)  # it waits by now
            await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
            async with asyncio.timeout(10):
                while len(seen) <= n:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.wait([running])

    for n in range(3):
        asyncio.run(once(n))
    assert [event.id for event, _ in seen] == ["order-0", "order-1", "order-2"]


async def test_an_inbox_is_opened_when_the_database_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(store: Store) -> None:
        raise StoreAway("it is away")

    inbox = Inbox(f"sqlite:///{tmp_path}/inbox.db")
    with monkeypatch.context() as one:
        one.setattr(schema, "begin", away)
        with pytest.raises(StoreAway):
            await inbox.__aenter__()
    async with inbox:
        assert await states(inbox) == {}
    with pytest.raises(StoreError, match="is closed"):
        await inbox.stats()


# --- fresh


async def test_a_handler_gets_the_object_as_it_is_now(inbox: Inbox, tenant: Tenant, limio: Limio) -> None:
    seen = seen_by(inbox)
    body = tenant.put("sub-1", updated="2026-01-01T00:00:00Z")
    tenant.put("sub-1", updated="2026-01-02T00:00:00Z", status="cancelled")
    await deliver(inbox, "subscription_created", body)
    await inbox.run(limio, until_idle=True)
    ((event, item),) = seen
    assert (event.type, event.id, event.key, event.stale) == ("subscription_created", "sub-1", "sub-1", False)
    assert item.status == "cancelled"
    assert event.body == body
    assert await states(inbox) == {"done": 1}


async def test_one_get_serves_what_came_before_it(inbox: Inbox, tenant: Tenant, limio: Limio) -> None:
    seen = seen_by(inbox)
    for n in range(20):
        await deliver(inbox, "order_submitted", tenant.put("order-1", updated=f"2026-01-01T00:00:{n:02}Z"))
    await inbox.run(limio, until_idle=True)
    assert [event.updated.second for event, _ in seen if event.updated] == list(range(20))
    assert tenant.gets == ["order-1"]


async def test_what_comes_after_a_get_has_one_of_its_own(inbox: Inbox, tenant: Tenant, limio: Limio) -> None:
    got: list[str] = []

    @inbox.on("*")
    async def handler(event: Event, item: Any, tx: Any) -> None:
        got.append(item.status)
        if len(got) == 1:
            await deliver(inbox, "order_submitted", tenant.put("order-1", status="later"))

    await deliver(inbox, "order_submitted", tenant.put("order-1"))
    await inbox.run(limio, until_idle=True)
    assert got == ["active", "later"]


async def test_the_key_can_be_fetched_instead(inbox: Inbox, tenant: Tenant, limio: Limio) -> None:
    seen, own = seen_by(inbox, "order_*", fetch="key"), seen_by(inbox, "order_*")
    tenant.put("sub-1")
    await deliver(inbox, "order_submitted", tenant.put("order-1", data={"subscriptionId": "sub-1"}))
    await deliver(inbox, "order_submitted", tenant.put("order-2"))
    await inbox.run(limio, until_idle=True)
    assert sorted((event.key, item.id) for event, item in seen) == [
        ("order-2", "order-2"),
        ("sub-1", "sub-1"),
    ]
    assert sorted(item.id for _, item in own) == ["order-1", "order-2"]


async def test_a_read_that_lags_is_waited_for_and_is_no_attempt(
    make: Make, tenant: Tenant, limio: Limio
) -> None:
    inbox = await make(attempts=1)
    seen = seen_by(inbox)
    tenant.put("sub-1", updated="2026-01-01T00:00:00Z", status="old")
    late = tenant.put("sub-1", updated="2026-01-01T01:00:00+00:30", status="new", lag=0.3)
    await deliver(inbox, "customer_updated", late)
    await deliver(inbox, "customer_created", tenant.put("cus-1", lag=0.3))
    await inbox.run(limio, until_idle=True)
    assert {(item.id, item.status, event.stale) for event, item in seen} == {("sub-1", "new", False), ("cus-1", "active", False)}  # fmt: skip


async def test_in_the_end_the_handler_gets_what_there_is(make: Make, tenant: Tenant, limio: Limio) -> None:
    inbox = await make(grace=timedelta(seconds=0.1))
    seen = seen_by(inbox)
    tenant.put("sub-1", updated="2026-01-01T00:00:00Z", status="old")
    await deliver(inbox, "customer_updated", {"id": "sub-1", "record_type": "subscription", "updated": "2026-02-01T00:00:00Z", "status": "new"})  # fmt: skip
    for n in range(5):
        await deliver(inbox, "order_submitted", {"id": "order-9", "record_type": "order", "status": f"{n}"})
    await inbox.run(limio, until_idle=True)
    assert [(item.status, event.stale) for event, item in seen if event.id == "order-9"] == [(f"{n}", True) for n in range(5)]  # fmt: skip
    assert [(item.status, event.stale) for event, item in seen if event.id == "sub-1"] == [("old", True)]
    assert await states(inbox) == {"done": 6}


async def test_without_a_get_what_is_older_than_the_last_handled_is_skipped(
    inbox: Inbox, tenant: Tenant, limio: Limio
) -> None:
    seen = seen_by(inbox, refetch=False)
    for moment in (
        "2026-01-02T00:00:00Z",
        "2026-01-01T00:00:00Z",
        "2026-01-02T01:00:00+00:00",
        "2026-01-02T02:00:00+02:00",
    ):
        await deliver(inbox, "order_submitted", tenant.put("order-1", updated=moment))
    await inbox.run(limio, until_idle=True)
    assert [item.updated for _, item in seen] == ["2026-01-02T00:00:00Z", "2026-01-02T01:00:00+00:00"]
    assert tenant.gets == []
    assert await states(inbox) == {"done": 4}


# --- order


async def test_events_of_a_key_are_handled_one_at_a_time_in_order(
    url: str, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    busy: set[str] = set()
    got: dict[str, list[int]] = {}
    overlaps: list[str] = []

    async def handler(event: Event, item: Any, tx: Any) -> None:
        if event.key in busy:
            overlaps.append(event.key)
        busy.add(event.key)
        await asyncio.sleep(0.001)
        busy.discard(event.key)
        got.setdefault(event.key, []).append(event.body["n"])

    several = not url.startswith("sqlite")
    async with Inbox(url) as one, Inbox(url) as two:
        for box in (one, two):
            box.on("*", refetch=False, name="h")(handler)
        for n in range(200):
            body = {
                "id": f"order-{n}",
                "record_type": "order",
                "data": {"subscriptionId": f"sub-{n % 5}"},
                "n": n,
            }
            await deliver(one, "order_submitted", body)
        await asyncio.gather(*(box.run(limio, until_idle=True) for box in (one, two)[: 1 + several]))
        assert await states(one) == {"done": 200}
    assert overlaps == []
    assert caplog.records == []  # no event was taken from a worker that had it
    assert got == {f"sub-{k}": list(range(k, 200, 5)) for k in range(5)}


@pytest.mark.parametrize("after", ["go_on", "hold"])
async def test_what_fails_holds_back_its_key_until_it_is_parked(
    make: Make, limio: Limio, caplog: pytest.LogCaptureFixture, after: Any
) -> None:
    inbox = await make(attempts=3, after_park=after)
    got: list[str] = []
    fails = True

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        got.append(item.status)
        if item.status == "bad" and fails:
            raise ValueError("cannot")

    for status, key in (("bad", "1"), ("good", "1"), ("other", "2")):
        await deliver(inbox, "order_submitted", {"id": f"order-{status}", "record_type": "order", "status": status, "subscriptionId": key})  # fmt: skip
    await inbox.run(limio, until_idle=True)
    assert [one for one in got if one != "other"] == ["bad"] * 3 + ["good"] * (after == "go_on")
    (parked,) = await inbox.list("parked")
    assert (await inbox.show(parked.seq)).error == "failed 3 times; ValueError: cannot"
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 3
    fails = False
    got.clear()
    if after == "hold":
        await inbox.drop(parked.seq)
    else:
        assert await inbox.retry(all_since=datetime.now(UTC) - timedelta(hours=1)) == 1
    await inbox.run(limio, until_idle=True)
    assert got == (["good"] if after == "hold" else ["bad"])


async def test_each_handler_that_matches_has_a_mark_of_its_own(make: Make, limio: Limio) -> None:
    inbox = await make(attempts=3)
    first, last = seen_by(inbox, "order_*", refetch=False), seen_by(inbox, "*", refetch=False)
    tries = 0

    @inbox.on("order_submitted", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise ValueError(tries)

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    assert (len(first), len(last), tries) == (1, 1, 3)
    assert await states(inbox) == {"parked": 1}
    await inbox.retry((await inbox.list())[0].seq)
    await inbox.run(limio, until_idle=True)
    assert (len(first), len(last), tries) == (1, 1, 5)
    assert await states(inbox) == {"done": 1}


async def test_what_no_handler_is_for_is_parked(inbox: Inbox, limio: Limio) -> None:
    seen = seen_by(inbox, "order_*", refetch=False)
    await deliver(inbox, "customer_updated", {"id": "cus-1", "record_type": "customer"})
    await inbox.run(limio, until_idle=True)
    assert [event.error for event in await inbox.list("parked")] == ["no handler is registered for its type"]
    assert seen == []


def test_two_handlers_of_one_name_are_refused(tmp_path: Any) -> None:
    inbox = Inbox(f"sqlite:///{tmp_path}/x.db")
    seen_by(inbox)
    with pytest.raises(InvalidArgument, match="name="):
        inbox.on("*", name="seen by * 0")(None)  # type: ignore[arg-type]


# --- failures


async def test_what_limio_causes_is_no_attempt(make: Make, tenant: Tenant, limio: Limio) -> None:
    inbox = await make(attempts=1)
    seen = seen_by(inbox)
    tenant.failing = {"order-1"}
    for n in (1, 2):
        await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
    running = asyncio.create_task(inbox.run(limio, until_idle=True))
    while tenant.gets.count("order-1") < 5:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert [event.id for event, _ in seen] == ["order-2"]
    tenant.failing = set()
    await running
    assert await states(inbox) == {"done": 2}


async def test_what_a_handler_hears_from_limio_is_no_attempt_either(
    make: Make, tenant: Tenant, limio: Limio
) -> None:
    inbox, calls = await make(attempts=1), 0

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        nonlocal calls
        calls += 1
        tenant.down = calls < 4
        try:
            await limio.orders.get("order-1")
        except Exception as error:
            raise RuntimeError("wrapped") from error

    await deliver(inbox, "order_submitted", tenant.put("order-1"))
    await inbox.run(limio, until_idle=True)
    assert calls == 4
    assert await states(inbox) == {"done": 1}


async def test_what_limio_fails_alone_for_too_long_is_parked(
    make: Make, tenant: Tenant, limio: Limio
) -> None:
    inbox = await make(give_up=timedelta(seconds=0.2))
    seen_by(inbox)
    tenant.failing = {"order-1"}
    await deliver(inbox, "order_submitted", tenant.put("order-1"))
    await inbox.run(limio, until_idle=True)
    (event,) = await inbox.list("parked")
    assert event.error is not None
    assert event.error.startswith("Limio failed it for too long; ServerError")


async def test_an_outage_pauses_the_worker_and_parks_nothing(
    make: Make, tenant: Tenant, limio: Limio, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await make(give_up=timedelta(0), attempts=1)
    seen = seen_by(inbox)
    for n in range(40):
        await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
    tenant.down = True
    running = asyncio.create_task(inbox.run(limio, until_idle=True))
    await asyncio.sleep(1.5)
    assert len(tenant.gets) <= 16 + 2
    tenant.down = False
    await running
    assert (len(seen), await states(inbox)) == (40, {"done": 40})
    assert [one.message.partition(":")[0] for one in caplog.records] == [
        "the inbox waits", "Limio fails one object after another, and the inbox pauses", "Limio answers again",
    ]  # fmt: skip


async def test_a_handler_that_cancels_itself_has_failed(make: Make, limio: Limio) -> None:
    inbox = await make(attempts=2)

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        raise asyncio.CancelledError

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    assert await states(inbox) == {"parked": 1}


async def test_stopping_takes_nothing_new_and_waits_for_handlers(inbox: Inbox, limio: Limio) -> None:
    goes_on, began, done = asyncio.Event(), asyncio.Event(), []

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        began.set()
        await goes_on.wait()
        done.append(event.id)

    for n in range(3):
        await deliver(inbox, "order_submitted", {"id": f"order-{n}", "record_type": "order", "subscriptionId": "sub-1"})  # fmt: skip
    running = asyncio.create_task(inbox.run(limio, workers=1))
    await began.wait()
    running.cancel()
    await asyncio.sleep(0.05)
    assert not running.done()
    goes_on.set()
    with suppress(asyncio.CancelledError):
        await running
    assert done == ["order-0"]
    assert await states(inbox) == {"done": 1, "open": 2}


async def test_a_handler_that_takes_too_long_is_cancelled_and_comes_again(
    inbox: Inbox, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "_ENDING", 0.05)
    began, seen = asyncio.Event(), []

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        seen.append(event.id)
        if len(seen) == 1:
            began.set()
            await asyncio.sleep(60)

    await deliver(inbox, "order_submitted", {"id": "order-0", "record_type": "order"})
    running = asyncio.create_task(inbox.run(limio))
    await began.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await inbox.run(limio, until_idle=True)
    assert seen == ["order-0", "order-0"]
    assert await states(inbox) == {"done": 1}


async def test_an_inbox_runs_once(inbox: Inbox, limio: Limio) -> None:
    running = asyncio.create_task(inbox.run(limio))
    await asyncio.sleep(0.05)
    with pytest.raises(InboxError, match="runs already"):
        await inbox.run(limio)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


# --- once


def count(url: str, of: str) -> int:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            return int(db.execute(f"SELECT count(*) FROM {of}").fetchone()[0])  # noqa: S608
    with psycopg.connect(url.partition("?")[0]) as db2:
        row = db2.execute(f"SELECT count(*) FROM {of}".encode()).fetchone()  # noqa: S608
        return int(row[0]) if row else 0


@pytest.fixture
def effects(url: str) -> str:
    """A table of the user's, empty."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db, db:
            db.execute("CREATE TABLE effects (id text UNIQUE)")
        return "effects"
    name = "effects_" + url.rpartition("_")[2]
    with psycopg.connect(url.partition("?")[0]) as db2:
        db2.execute(f"CREATE TABLE {name} (id text UNIQUE)".encode())
    return name


def into(url: str, of: str) -> str:
    return f"INSERT INTO {of} (id) VALUES ({'?' if url.startswith('sqlite') else '%s'})"  # noqa: S608


async def test_what_is_written_through_tx_is_written_once_with_the_mark(
    make: Make, url: str, effects: str, limio: Limio
) -> None:
    inbox = await make()
    tries = 0

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        nonlocal tries
        tries = mine = tries + 1
        await tx.execute(into(url, effects), (item.id,))
        if mine % 3 == 0:
            raise ValueError("after the write")

    for n in range(30):
        await deliver(inbox, "order_submitted", {"id": f"order-{n}", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    assert await states(inbox) == {"done": 30}
    assert count(url, effects) == 30
    assert tries > 30


async def test_a_statement_that_fails_fails_the_event(
    make: Make, url: str, effects: str, limio: Limio
) -> None:
    inbox = await make(attempts=2)

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        await tx.execute(into(url, effects), (item.id,))
        with suppress(psycopg.Error):
            await tx.execute(into(url, effects), (item.id,))

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    (event,) = await inbox.list("parked")
    assert "UNIQUE" in (event.error or "") or "a statement through tx failed (UniqueViolation)" in (
        event.error or ""
    )
    assert count(url, effects) == 0


@pytest.mark.parametrize("words", ["COMMIT", "-- x\nrollback", "/* */ BEGIN", "savepoint x"])
async def test_nobody_else_ends_the_transaction(make: Make, limio: Limio, words: str) -> None:
    inbox = await make(attempts=1)

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        await tx.execute(words)

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    (event,) = await inbox.list("parked")
    assert "tx is committed when the handler returns" in (event.error or "")


async def test_reading_through_tx(make: Make, url: str, effects: str, limio: Limio) -> None:
    inbox = await make(attempts=1)
    rows: list[Any] = []

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        rows.extend(await tx.execute("WITH x AS (SELECT 1) SELECT * FROM x"))

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    if url.startswith("sqlite"):
        (event,) = await inbox.list("parked")
        assert "read through a connection of your own" in (event.error or "")
    else:
        assert rows == [(1,)]


async def test_limio_is_not_called_inside_of_an_open_tx(
    make: Make, url: str, effects: str, limio: Limio, tenant: Tenant
) -> None:
    inbox = await make(attempts=1)
    tenant.put("sub-1")
    errors: list[str] = []

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        await limio.subscriptions.get("sub-1")
        await tx.execute(into(url, effects), (item.id,))
        try:
            await asyncio.gather(limio.subscriptions.get("sub-1"))
        except InboxError as error:
            errors.append(str(error))
            raise

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    assert (await limio.subscriptions.get("sub-1")).id == "sub-1"
    if url.startswith("sqlite"):
        assert (await states(inbox), count(url, effects)) == ({"done": 1}, 1)
    else:
        assert (await states(inbox), count(url, effects)) == ({"parked": 1}, 0)
        assert errors == ["getObject: tx is open, and nothing may wait for Limio in it: call Limio before tx is used first"]  # fmt: skip


async def test_a_statement_that_is_not_awaited_fails_the_event(
    make: Make, url: str, effects: str, limio: Limio
) -> None:
    inbox = await make(attempts=1)

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        forgotten = tx.execute(into(url, effects), (item.id,))
        getattr(forgotten, "close", str)()

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    on_sqlite = url.startswith("sqlite")  # there it was noted all the same
    assert (await states(inbox), count(url, effects)) == (
        ({"done": 1}, 1) if on_sqlite else ({"parked": 1}, 0)
    )


async def test_what_fails_at_commit_fails_the_event(cluster: Any, limio: Limio) -> None:
    url = f"{cluster.url}?schema=deferred"
    with psycopg.connect(cluster.url) as db:
        db.execute("CREATE TABLE late (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    async with Inbox(url, attempts=2) as inbox:

        @inbox.on("*", refetch=False)
        async def handler(event: Event, item: Any, tx: Any) -> None:
            await asyncio.gather(*(tx.execute("INSERT INTO late VALUES (1)") for _ in range(2)))

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        assert await states(inbox) == {"parked": 1}
    with psycopg.connect(cluster.url) as db:
        assert db.execute("SELECT count(*) FROM late").fetchall() == [(0,)]


async def test_a_tx_ends_with_its_handler(inbox: Inbox, limio: Limio) -> None:
    kept: list[Any] = []

    @inbox.on("*", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        kept.append(tx)

    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    with pytest.raises(InboxError, match="its tx is over"):
        await kept[0].execute("DELETE FROM x")


async def test_many_parked_events_are_opened_again(make: Make, limio: Limio) -> None:
    inbox = await make()
    for n in range(1100):
        await deliver(inbox, "nothing_known", {"n": n})
    assert await inbox.retry(all_since=datetime.now(UTC) - timedelta(hours=1)) == 1100
    assert await states(inbox) == {"open": 1100}


async def test_orders_go_through_the_outbox_with_the_mark(make: Make, url: str, limio: Limio) -> None:
    inbox = await make(attempts=2)
    fails = True
    async with Outbox(url) as outbox:

        @inbox.on("*", refetch=False)
        async def handler(event: Event, item: Any, tx: Any) -> None:
            outcome = await outbox.intend(
                f"for-{item.id}", {"order_type": "renew", "n": event.body.get("n")}, tx=tx
            )
            assert outcome.state == "intended"
            if fails:
                raise ValueError("after the intent")

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order", "n": 1})
        await inbox.run(limio, until_idle=True)
        assert (await states(inbox), await outbox.list()) == ({"parked": 1}, [])
        fails = False
        await inbox.retry((await inbox.list())[0].seq)
        await inbox.run(limio, until_idle=True)
        assert [one.key for one in await outbox.list()] == ["for-order-1"]
        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order", "n": 2})
        await inbox.run(limio, until_idle=True)
        (parked,) = await inbox.list("parked")
        assert KeyReused.__name__ in (parked.error or "")


async def test_an_order_of_another_database_is_refused(
    make: Make, url: str, limio: Limio, tmp_path: Any
) -> None:
    inbox = await make(attempts=1)
    async with Outbox(f"sqlite:///{tmp_path}/other.db") as outbox:

        @inbox.on("*", refetch=False)
        async def handler(event: Event, item: Any, tx: Any) -> None:
            await outbox.intend("k", {"order_type": "renew"}, tx=tx)

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        (parked,) = await inbox.list("parked")
        assert "tx is a transaction of another database" in (parked.error or "")
        assert await outbox.list() == []


async def test_error_reporting_ends_in_the_outbox(make: Make, url: str, limio: Limio) -> None:
    async with Outbox(url) as outbox:
        inbox = await make(outbox=outbox)
        await outbox.intend("k", {"order_type": "renew"})
        for key in ("k", "not ours"):
            order = {
                "id": f"order-{key}",
                "record_type": "order",
                "external_id": key,
                "subscriptionId": "sub-1",
            }
            body = {"eventId": f"event-{key}", "event": {"message": "no", "event": order}}
            assert await deliver(inbox, "error_reporting", body)
            assert not await deliver(inbox, "error_reporting", body)
        assert [event.key for event in await inbox.list()] == ["sub-1", "sub-1"]
        await inbox.run(limio, until_idle=True)
        assert await states(inbox) == {"done": 2}
        assert (await outbox.outcome("k")).state == "failed"


async def test_an_inbox_opens_its_outbox_and_leaves_one_open_that_was(url: str, limio: Limio) -> None:
    outbox = Outbox(url)
    async with Inbox(url, attempts=1) as without:  # it does not know of the outbox

        @without.on("*", refetch=False)
        async def early(event: Event, item: Any, tx: Any) -> None:
            await outbox.intend("early", {"order_type": "renew"}, tx=tx)

        await deliver(without, "order_submitted", {"id": "order-0", "record_type": "order"})
        await without.run(limio, until_idle=True)
        (parked,) = await without.list("parked")
        assert "it is closed; use it inside of `async with`" in (parked.error or "")
    async with outbox:
        async with Inbox(url, outbox=outbox):
            pass
        await outbox.intend("k", {"order_type": "renew"})
    inbox = Inbox(url, outbox=outbox)

    @inbox.on("order_submitted", refetch=False)
    async def handler(event: Event, item: Any, tx: Any) -> None:
        await outbox.intend(f"for-{item.id}", {"order_type": "renew"}, tx=tx)

    async with inbox:
        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        order = {"id": "order-k", "record_type": "order", "external_id": "k"}
        await deliver(inbox, "error_reporting", {"event": {"message": "no", "event": order}})
        await inbox.run(limio, until_idle=True)
        assert [(one.key, one.state) for one in await outbox.list()] == [
            ("k", "failed"),
            ("for-order-1", "intended"),
        ]


def test_a_modules_inbox_is_opened_again_by_each_test(url: str) -> None:
    outbox = Outbox(url)
    inbox = Inbox(url, outbox=outbox)
    done = seen_by(inbox, refetch=False)

    async def one(n: int) -> None:
        async with Limio(auth=BearerToken("token"), transport=Tenant()) as limio, inbox:
            running = asyncio.create_task(inbox.run(limio))
            await asyncio.sleep(0.05)  # until it waits for events
            await deliver(inbox, "order_submitted", {"id": f"order-{n}", "record_type": "order"})
            while len(done) < n:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await outbox.intend(f"k-{n}", {"order_type": "renew"})
            running.cancel()
            await asyncio.wait([running])

    for n in (1, 2):
        asyncio.run(asyncio.wait_for(one(n), 20))


# --- several workers


async def test_one_process_handles_a_file_and_the_next_takes_over(tmp_path: Any, limio: Limio) -> None:
    url = f"sqlite:///{tmp_path}/inbox.db"
    async with Inbox(url) as one, Inbox(url) as two:
        first, second = seen_by(one, refetch=False), seen_by(two, refetch=False)
        running = asyncio.create_task(one.run(limio))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(two.run(limio))
        await deliver(two, "order_submitted", {"id": "order-1", "record_type": "order"})
        while not first:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await deliver(two, "order_submitted", {"id": "order-2", "record_type": "order"})
        while not second:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert [event.id for event, _ in (*first, *second)] == ["order-1", "order-2"]


async def test_a_worker_whose_session_ends_writes_nothing_more(
    cluster: Any, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Everybody(frozenset[str]):
        def __contains__(self, one: object) -> bool:
            return True

    give_back = table.give_back  # at once, though the first one is back soon
    monkeypatch.setattr(
        table,
        "give_back",
        lambda store, owner, hand, _=(), *, hold: give_back(store, owner, hand, Everybody(), hold=hold),
    )
    url = f"{cluster.url}?schema=fence"
    goes_on, began = asyncio.Event(), asyncio.Event()
    async with Inbox(url) as one, Inbox(url) as two:

        @one.on("*", refetch=False, name="h")
        async def slow(event: Event, item: Any, tx: Any) -> None:
            await tx.execute("CREATE TABLE fenced (x int)")
            began.set()
            await goes_on.wait()

        @two.on("*", refetch=False, name="h")
        async def quick(event: Event, item: Any, tx: Any) -> None:
            await tx.execute("CREATE TABLE quick (x int)")

        await deliver(one, "order_submitted", {"id": "order-1", "record_type": "order"})
        running = asyncio.create_task(one.run(limio, until_idle=True))
        await began.wait()
        with psycopg.connect(cluster.url, autocommit=True) as admin:
            held = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            assert admin.execute(held.encode()).fetchall() == [(True,)]
            await two.run(limio, until_idle=True)
            goes_on.set()
            await running
            known = admin.execute(
                "SELECT to_regclass('fenced') IS NULL, to_regclass('quick') IS NULL"
            ).fetchall()
        assert known == [(True, False)]
        assert await states(two) == {"done": 1}


async def test_nobody_waits_in_a_circle(cluster: Any, limio: Limio) -> None:
    url = f"{cluster.url}?schema=circle"
    asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"
    async with Inbox(url) as one, Inbox(url) as two:
        for box in (one, two):
            seen_by(box, refetch=False)
        with psycopg.connect(cluster.url, autocommit=True) as admin:
            before = admin.execute(asked).fetchall()
        running = [asyncio.create_task(box.run(limio)) for box in (one, two)]
        for n in range(20):
            keys = [f"sub-{(n * 7 + k * 3) % 20}" for k in range(20)]
            bodies = [
                {"id": f"order-{n}-{key}", "record_type": "order", "subscriptionId": key} for key in keys
            ]
            await asyncio.gather(
                *(deliver([one, two][k % 2], "order_submitted", body) for k, body in enumerate(bodies))
            )
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await one.run(limio, until_idle=True)
        assert await states(one) == {"done": 400}
        await asyncio.sleep(1.0)  # until the server has counted
        with psycopg.connect(cluster.url, autocommit=True) as admin:
            assert admin.execute(asked).fetchall() == before


async def test_what_killed_its_process_three_times_is_parked(url: str, limio: Limio) -> None:
    crashes: list[list[str]] = []

    def killed(store: Any) -> None:
        """A process takes what it gets, and ends."""
        owner = str(len(crashes) + 1)
        store.own(owner)
        table.give_back(store, owner, (), [str(len(crashes))])
        crashes.append([one.row.thing for one in table.take(store, owner, 16, suspects=True)])
        store.own(None)

    async with Inbox(url) as inbox:
        seen = seen_by(inbox, refetch=False)
        for n in range(4):
            await deliver(inbox, "order_submitted", {"id": f"order-{n}", "record_type": "order"})
            await inbox._store.do(killed)
        assert crashes == [
            ["order-0"],
            ["order-0", "order-1"],
            ["order-1", "order-2"],
            ["order-2", "order-3"],
        ]
        await inbox.run(limio, until_idle=True)
        assert sorted(event.id or "" for event, _ in seen) == ["order-0", "order-1", "order-2", "order-3"]
        await deliver(inbox, "order_submitted", {"id": "order-9", "record_type": "order"})
        for _ in range(3):
            await inbox._store.do(killed)
        await inbox.run(limio, until_idle=True)
        (parked,) = await inbox.list("parked")
        assert (parked.id, parked.error) == ("order-9", "the process that handled it ended, 3 times")


async def test_a_tenant_is_not_mixed_with_another(make: Make, tenant: Tenant, limio: Limio) -> None:
    inbox = await make()
    await inbox.run(limio, until_idle=True)
    other = Tenant(origin="https://other.test")
    async with Limio(auth=BearerToken("token"), transport=other) as client:
        with pytest.raises(Exception, match="one inbox a tenant"):
            await inbox.run(client, until_idle=True)


# --- by hand


async def test_only_what_can_be_is_tried_again_or_dropped(inbox: Inbox, limio: Limio) -> None:
    seen_by(inbox, refetch=False)
    await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
    (event,) = await inbox.list()
    with pytest.raises(InboxError, match="is open: only what is parked"):
        await inbox.retry(event.seq)
    with pytest.raises(UnknownEvent):
        await inbox.retry(event.seq + 1)
    await inbox.drop(event.seq)
    await inbox.run(limio, until_idle=True)
    assert await states(inbox) == {"dropped": 1}
    with pytest.raises(InboxError, match="is dropped"):
        await inbox.drop(event.seq)


async def test_bodies_are_emptied_and_digests_are_not(make: Make, limio: Limio) -> None:
    inbox = await make(keep=timedelta(0))
    seen_by(inbox, refetch=False)
    body = {"id": "order-1", "record_type": "order", "owner": "id-1"}
    await deliver(inbox, "order_submitted", body)
    await deliver(inbox, "order_submitted", [])
    await inbox.run(limio, until_idle=True)
    assert await inbox.purge(before=datetime.now(UTC) + timedelta(hours=1)) == 1
    assert [event.body for event in await inbox.list()] == [None, []]
    assert not await deliver(inbox, "order_submitted", body)


async def test_a_person_is_erased(inbox: Inbox, limio: Limio, url: str, tmp_path: Any) -> None:
    seen_by(inbox, refetch=False)
    for n in range(3):
        await deliver(inbox, "customer_updated", {"id": f"cus-{n}", "record_type": "customer", "owner": "id-1", "email": f"jo{n}@example.com", "pad": "x" * 5000})  # fmt: skip
    with pytest.raises(InboxError, match="with cancel it is never handled"):
        await inbox.erase(owner="id-1")
    assert await inbox.erase(id="cus-0", cancel=True) == 1
    await inbox.run(limio, until_idle=True)
    assert await inbox.erase(owner="id-1") == 2
    assert await states(inbox) == {"done": 2, "dropped": 1}
    if url.startswith("sqlite"):
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"@example.com" not in kept


async def test_a_table_whose_name_says_locked_is_no_locked_file(inbox: Inbox, limio: Limio) -> None:
    @inbox.on("*", refetch=False)
    async def writes(event: Event, item: Any, tx: Any) -> None:
        await tx.execute("INSERT INTO blocked_users VALUES (1)")

    await deliver(inbox, "order_submitted", {"id": "order-1"})
    inbox._rules = msgspec.structs.replace(inbox._rules, attempts=1)
    async with asyncio.timeout(10):
        await inbox.run(limio, until_idle=True)
    (event,) = await inbox.list("parked")
    assert "blocked_users" in (event.error or "")


# --- a transaction is over when its handler has returned


async def test_tx_is_over_when_the_handler_has_returned(make: Make, limio: Limio) -> None:
    inbox, late = await make(attempts=1), list[asyncio.Task[Any]]()

    @inbox.on("*", refetch=False)
    async def leaves(event: Event, item: Any, tx: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(0.05)
            await tx.execute("INSERT INTO anything VALUES (1)")

        late.append(asyncio.create_task(later()))

    await deliver(inbox, "order_submitted", {"id": "order-1"})
    await inbox.run(limio, until_idle=True)
    with pytest.raises(InboxError, match="is over"):
        await late[0]


async def test_a_statement_that_still_waits_when_the_handler_returns_fails_it(
    cluster: Cluster, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    lend = PostgresStore.lend

    async def slowly(store: PostgresStore) -> Any:
        await asyncio.sleep(0.2)
        return await lend(store)

    monkeypatch.setattr(PostgresStore, "lend", slowly)
    async with Inbox(f"{cluster.url}?schema=late_{uuid4().hex[:8]}", attempts=1) as inbox:
        late: list[asyncio.Task[Any]] = []

        @inbox.on("*", refetch=False)
        async def leaves(event: Event, item: Any, tx: Any) -> None:
            late.append(asyncio.create_task(tx.execute("SELECT 1")))
            await asyncio.sleep(0.05)

        await deliver(inbox, "order_submitted", {"id": "order-1"})
        await inbox.run(limio, until_idle=True)
        with pytest.raises(InboxError, match="is over"):
            await late[0]
        (event,) = await inbox.list("parked")
        assert "not awaited" in (event.error or "")


async def test_what_a_handler_sets_is_not_set_for_the_next(cluster: Cluster, limio: Limio) -> None:
    seen: list[Any] = []
    async with Inbox(f"{cluster.url}?schema=sets_{uuid4().hex[:8]}") as inbox:

        @inbox.on("*", refetch=False)
        async def sets(event: Event, item: Any, tx: Any) -> None:
            held = "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND pid = pg_backend_pid())"
            asked = f"SELECT pg_backend_pid(), current_setting('search_path'), current_setting('statement_timeout'), {held}, current_user"
            seen.extend(await tx.execute(asked))
            for said in ("SET search_path TO other", "SET statement_timeout = '7s'", "SELECT pg_advisory_lock(77)", "CREATE TEMP TABLE one (x int)"):  # fmt: skip
                await tx.execute(said)

        for n in range(3):
            await deliver(inbox, "order_submitted", {"id": f"order-{n}"})
        await inbox.run(limio, until_idle=True, workers=1)
    assert len(seen) == 3
    assert len(set(seen)) == 1


async def test_a_statement_that_holds_another_is_refused(cluster: Cluster, limio: Limio) -> None:
    schema = f"several_{uuid4().hex[:8]}"
    async with Inbox(f"{cluster.url}?schema={schema}", attempts=1) as inbox:
        with psycopg.connect(cluster.url, autocommit=True) as db:
            db.execute(f"CREATE TABLE {schema}.effects (n int)".encode())

        @inbox.on("*", refetch=False)
        async def commits(event: Event, item: Any, tx: Any) -> None:
            await tx.execute(f"INSERT INTO {schema}.effects VALUES (1); COMMIT;")  # noqa: S608

        await deliver(inbox, "order_submitted", {"id": "order-1"})
        await inbox.run(limio, until_idle=True)
        assert await states(inbox) == {"parked": 1}
        with psycopg.connect(cluster.url) as db:
            assert db.execute(f"SELECT n FROM {schema}.effects".encode()).fetchall() == []  # noqa: S608


async def test_what_is_raised_and_is_no_exception_counts_as_an_attempt(make: Make, limio: Limio) -> None:
    inbox = await make(attempts=2)

    @inbox.on("*", refetch=False)
    async def fails(event: Event, item: Any, tx: Any) -> None:
        raise BaseExceptionGroup("odd", [SystemExit()])

    await deliver(inbox, "order_submitted", {"id": "order-1"})
    async with asyncio.timeout(10):
        await inbox.run(limio, until_idle=True)
    (event,) = await inbox.list("parked")
    assert "failed 2 times; BaseExceptionGroup" in (event.error or "")


@pytest.mark.parametrize("is_asked", [True, False])
async def test_a_worker_ends_though_its_database_answers_no_more(
    is_asked: bool, limio: Limio, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((working, "_ENDING"), (working, "_CANCELLED"), (store, "_CLOSES_WITHIN")):
        monkeypatch.setattr(module, name, 0.5)
    with own_cluster() as cluster:
        box, begun = Inbox(f"{cluster.url}?schema=frozen"), asyncio.Event()

        @box.on("order_*")
        async def ordered(event: Event, item: Any, tx: Any) -> None:
            await tx.execute("SELECT 1")
            begun.set()
            await asyncio.sleep(0.2)
            await tx.execute("SELECT 2")

        async with box:
            for n in range(3):
                await deliver(
                    box, "order_submitted", tenant.put(f"order-{n}", updated=f"2026-01-01T00:00:0{n}Z")
                )
            running = asyncio.create_task(box.run(limio))
            await begun.wait()
            with cluster.frozen():
                await asyncio.sleep(0.5)
                if is_asked:
                    os.kill(os.getpid(), signal.SIGTERM)
                else:
                    running.cancel()
                done, _ = await asyncio.wait([running], timeout=5)
                assert done == {running}
                assert not [one for one in asyncio.all_tasks() if "Worker" in repr(one)]
