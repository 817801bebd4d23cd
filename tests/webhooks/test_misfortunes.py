"""What may befall a worker: errors that nobody can tell of, lost sessions, outages, objects that Limio fails for good."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from limio_async import Limio
from limio_async.errors import InboxError, ServerError, StoreAway
from limio_async.stores import Store
from limio_async.stores.postgres import PostgresStore
from limio_async.webhooks import Event, Inbox, batch, clerk, decide, handling, table, working
from limio_async.webhooks.decide import Outage, is_limios, said_of
from limio_async.webhooks.event import Row, entry_of, event_of
from tests.postgres_cluster import Cluster
from tests.webhooks.conftest import deliver
from tests.webhooks.tenant import Tenant


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits after failures are short."""
    monkeypatch.setattr(handling, "wait_after", lambda failures, longest=600.0: min(longest, 0.01 * failures))


@pytest.fixture
def schema_url(cluster: Cluster) -> str:
    return f"{cluster.url}?schema=misfortunes_{uuid4().hex[:8]}"


async def states(inbox: Inbox) -> dict[str, int]:
    return dict((await inbox.stats()).states)


def of(url: str) -> str:
    """What stands before the name of a table there."""
    return "" if url.startswith("sqlite") else f"{url.partition('schema=')[2]}."


# --- errors


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def circular() -> Exception:
    error = ValueError("its own cause")
    error.__cause__ = error
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "its own cause": circular,
    "without words": Unspeakable,
    "half a surrogate": lambda: ValueError("a\ud800"),
    "a zero": lambda: ValueError("a\0b"),
    "the end of a generator": GeneratorExit,
    "the end of an iterator": StopIteration,
    "cancelled": asyncio.CancelledError,
    "the end of the process": SystemExit,
}


@pytest.mark.parametrize("name", ERRORS)
async def test_whatever_a_function_raises_is_an_attempt(
    name: str, url: str, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling._log, "disabled", True)  # what pytest-xdist sends has to be UTF-8
    calls = 0
    async with Inbox(url, attempts=2) as inbox:

        @inbox.on("*", refetch=False)
        async def fails(event: Event, item: Any, tx: Any) -> None:
            nonlocal calls
            calls += 1
            raise ERRORS[name]()

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        (event,) = await inbox.list("parked")
        assert calls == 2
        assert event.error is not None
        assert event.error.startswith("failed 2 times; ")


def test_an_error_is_told_in_text_that_a_database_takes() -> None:
    assert said_of(ValueError("a\ud800\0")) == "ValueError: a?\N{REPLACEMENT CHARACTER}"
    assert said_of(Unspeakable()) == "Unspeakable: it cannot say what it is"
    assert len(said_of(ValueError("x" * 10_000))) == 500


def test_causes_that_go_in_circles_are_the_functions_own() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert not is_limios(one)
    other.__cause__ = ServerError("later", operation="getObject", status=503)
    assert is_limios(one)


async def test_a_function_that_is_done_is_not_called_again_when_another_was_parked(
    url: str, limio: Limio
) -> None:
    calls: list[str] = []
    async with Inbox(url, attempts=1) as inbox:

        @inbox.on("*", refetch=False, name="first")
        async def works(event: Event, item: Any, tx: Any) -> None:
            calls.append("first")

        @inbox.on("*", refetch=False, name="second")
        async def fails(event: Event, item: Any, tx: Any) -> None:
            calls.append("second")
            if len(calls) == 2:
                raise ValueError

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        (event,) = await inbox.list("parked")
        await inbox.retry(event.seq)
        await inbox.run(limio, until_idle=True)
        assert (calls, await states(inbox)) == (["first", "second", "second"], {"done": 1})


# --- tx


class Odd:
    """A parameter that no driver takes."""


@pytest.mark.parametrize("parameter", [Odd(), "a\ud800"])
async def test_a_statement_that_failed_before_it_was_sent_fails_the_event(
    parameter: Any, url: str, limio: Limio
) -> None:
    async with Inbox(url, attempts=1) as inbox:

        @inbox.on("*", refetch=False)
        async def goes_on(event: Event, item: Any, tx: Any) -> None:
            mark = "?" if url.startswith("sqlite") else "%s"
            with suppress(Exception):
                await tx.execute(f"DELETE FROM {of(url)}_limio_inbox_meta WHERE name = {mark}", (parameter,))  # noqa: S608

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        assert await states(inbox) == {"parked": 1}


async def test_an_event_waits_while_no_connection_is_to_be_had(
    schema_url: str, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, lend = 0, PostgresStore.lend

    async def full(store: PostgresStore) -> Any:
        if calls == 1:
            raise StoreAway("too many clients")
        return await lend(store)

    monkeypatch.setattr(PostgresStore, "lend", full)
    async with Inbox(schema_url, attempts=1) as inbox:

        @inbox.on("*", refetch=False)
        async def goes_on(event: Event, item: Any, tx: Any) -> None:
            nonlocal calls
            calls += 1
            with suppress(StoreAway):
                await tx.execute("SELECT 1")

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        (event,) = await inbox.list("parked")
        assert event.error is not None
        assert "a statement through tx failed (StoreAway)" in event.error


@pytest.mark.parametrize(
    "statement", ["commit\tand chain", "; COMMIT", "/* x */rollback;", "-- x\nEnd", "(commit"]
)
async def test_no_statement_ends_a_tx(statement: str, url: str, limio: Limio) -> None:
    said: list[str] = []
    async with Inbox(url, attempts=1) as inbox:

        @inbox.on("*", refetch=False)
        async def ends(event: Event, item: Any, tx: Any) -> None:
            try:
                await tx.execute(statement)
            except InboxError as error:
                said.append(str(error))

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        assert await states(inbox) == {"parked": 1}
    assert said
    assert said[0].startswith("tx is committed when the handler returns: ")


async def test_parameters_are_those_of_the_call(url: str, limio: Limio) -> None:
    async with Inbox(url) as inbox:

        @inbox.on("*", refetch=False)
        async def notes(event: Event, item: Any, tx: Any) -> None:
            values = [""]
            mark = "?" if url.startswith("sqlite") else "%s"
            for n in range(3):
                values[0] = f"note {n}"
                await tx.execute(f"INSERT INTO {of(url)}_limio_inbox_meta VALUES ({mark}, 'x')", values)  # noqa: S608

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        asked = "SELECT name FROM _limio_inbox_meta WHERE value = 'x' ORDER BY name"
        found = await inbox._store.do(lambda store: store.ask(asked))
        assert found == [("note 0",), ("note 1",), ("note 2",)]


# --- sessions


async def test_a_worker_that_has_a_session_again_keeps_its_events(schema_url: str, limio: Limio) -> None:
    began, goes_on, calls = asyncio.Event(), asyncio.Event(), list[str]()
    async with Inbox(schema_url) as one, Inbox(schema_url) as two:
        for name, box in (("one", one), ("two", two)):

            @box.on("*", refetch=False, name="h")
            async def slow(event: Event, item: Any, tx: Any, name: str = name) -> None:
                calls.append(name)
                began.set()
                await goes_on.wait()

        await deliver(one, "order_submitted", {"id": "order-1", "record_type": "order"})
        running = [asyncio.create_task(one.run(limio))]
        await began.wait()
        running.append(asyncio.create_task(two.run(limio)))
        await asyncio.sleep(0.3)
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        with psycopg.connect(schema_url.partition("?")[0], autocommit=True) as admin:
            admin.execute(ended.encode())
        await asyncio.sleep(4.5)
        goes_on.set()
        async with asyncio.timeout(5):
            while await states(one) != {"done": 1}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    assert calls == ["one"]


async def test_a_worker_cancels_what_another_has_taken_over(
    schema_url: str, limio: Limio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(working, "_SURELY", -1.0)
    ended: list[str] = []
    began, taken = asyncio.Event(), asyncio.Event()
    async with Inbox(schema_url) as one, Inbox(schema_url) as two:

        @one.on("*", refetch=False, name="h")
        async def endless(event: Event, item: Any, tx: Any) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        @two.on("*", refetch=False, name="h")
        async def quick(event: Event, item: Any, tx: Any) -> None:
            taken.set()
            await asyncio.sleep(2)
            ended.append("done")

        await deliver(one, "order_submitted", {"id": "order-1", "record_type": "order"})
        running = asyncio.create_task(one.run(limio))
        await began.wait()
        # another process takes it, that cannot see the first one's session
        monkeypatch.setattr(PostgresStore, "gone", lambda store, owner: owner != store._owner and store._owner is not None)  # fmt: skip
        other = asyncio.create_task(two.run(limio))
        await taken.wait()
        await asyncio.wait([other], timeout=2.5)
        for task in (running, other):
            task.cancel()
        await asyncio.wait([running, other])
        assert ended[:1] == ["cancelled"]
    assert "was taken over by another worker, and its functions were cancelled" in caplog.text
    assert "attempt" not in caplog.text


async def test_who_makes_a_key_holds_up_that_key_only(
    schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_LONGEST", 0.5)
    body = {"id": "order-1", "record_type": "order"}
    async with Inbox(schema_url) as inbox:
        with psycopg.connect(schema_url.partition("?")[0]) as frozen:  # another receiver, in its transaction
            made = "SELECT pg_advisory_xact_lock(hashtextextended('order-1', 0))"
            frozen.execute(made.encode())
            frozen.execute(f"INSERT INTO {of(schema_url)}_limio_inbox_keys (key) VALUES ('order-1')".encode())  # noqa: S608
            held = asyncio.create_task(deliver(inbox, "order_submitted", body))
            begun = time.monotonic()
            for n in range(2, 12):
                assert await deliver(inbox, "order_submitted", {**body, "id": f"order-{n}"})
            assert time.monotonic() - begun < 0.5
            with pytest.raises(StoreAway, match="held the key for too long"):
                await held
        assert await deliver(inbox, "order_submitted", body)


# --- Limio


async def test_each_call_of_a_function_gets_an_object_of_its_own(
    url: str, limio: Limio, tenant: Tenant
) -> None:
    seen: list[Any] = []
    body = tenant.put("cus-1", data={"a": 1})
    async with Inbox(url) as inbox:
        for name in ("first", "second"):

            @inbox.on("*", name=name)
            async def changes(event: Event, item: Any, tx: Any) -> None:
                seen.append(item.data["a"])
                item.data["a"] = 2

        await deliver(inbox, "customer_updated", body)
        await inbox.run(limio, until_idle=True)
    assert seen == [1, 1]


async def test_a_clock_that_was_set_back_holds_nothing_up(url: str, limio: Limio) -> None:
    async with Inbox(url) as inbox:

        @inbox.on("*", refetch=False)
        async def works(event: Event, item: Any, tx: Any) -> None:
            await asyncio.sleep(0)

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        later = f"UPDATE _limio_inbox_keys SET due = {inbox._store.epoch} + 1800"  # noqa: S608
        await inbox._store.do(lambda store: store.run(later))
        async with asyncio.timeout(5):
            await inbox.run(limio, until_idle=True)


async def test_what_limio_fails_for_good_stops_nothing_else(
    url: str, limio: Limio, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "wait_after", lambda failures, longest=600.0: 0.05)
    tenant.failing = {f"order-{n}" for n in range(6)}
    seen: list[str | None] = []
    async with Inbox(url, give_up=timedelta(seconds=1)) as inbox:

        @inbox.on("*")
        async def works(event: Event, item: Any, tx: Any) -> None:
            seen.append(event.id)

        for n in range(6):
            await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
        running, n = asyncio.create_task(inbox.run(limio)), 6
        async with asyncio.timeout(20):
            while (await states(inbox)).get("parked") != 6:  # others come all the time
                await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
                await asyncio.sleep(0.05)
                n += 1
            while (await states(inbox)).get("open"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait([running])
        assert seen == [f"order-{k}" for k in range(6, n)]


async def test_each_attempt_gets_the_object_as_it_is_then(url: str, limio: Limio, tenant: Tenant) -> None:
    seen: list[str] = []
    async with Inbox(url, attempts=3) as inbox:

        @inbox.on("*")
        async def fails(event: Event, item: Any, tx: Any) -> None:
            seen.append(item.status)
            tenant.put("order-1", status=f"changed {len(seen)}")
            if len(seen) < 3:
                raise ValueError

        await deliver(inbox, "order_submitted", tenant.put("order-1", status="new"))
        await inbox.run(limio, until_idle=True)
    assert seen == ["new", "changed 1", "changed 2"]


@pytest.mark.parametrize("status", [400, 422])
async def test_an_object_that_limio_turns_down_is_no_outage(
    status: int, url: str, limio: Limio, tenant: Tenant
) -> None:
    tenant.failing, tenant.status = {f"order-{n}" for n in range(6)}, status
    seen: list[str | None] = []
    async with Inbox(url, attempts=2) as inbox:

        @inbox.on("*")
        async def works(event: Event, item: Any, tx: Any) -> None:
            seen.append(event.id)

        for n in range(8):
            await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
        await deliver(inbox, "order_submitted", {"id": "..", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        assert sorted(map(str, seen)) == ["order-6", "order-7"]
        assert await states(inbox) == {"done": 2, "parked": 7}


async def test_what_was_with_a_worker_that_died_comes_in_its_turn(url: str, limio: Limio) -> None:
    def killed(store: Store) -> None:
        store.own("1")
        table.take(store, "1", 1, suspects=True)
        store.own(None)

    seen: list[str | None] = []
    async with Inbox(url) as inbox:

        @inbox.on("*", refetch=False)
        async def works(event: Event, item: Any, tx: Any) -> None:
            seen.append(event.id)

        for n in range(40):
            await deliver(inbox, "order_submitted", {"id": f"order-{n}", "record_type": "order"})
            if not n:
                await inbox._store.do(killed)
        if not url.startswith("sqlite"):  # where it takes two seconds to be sure
            await inbox._store.do(lambda store: [store.own("2"), table.give_back(store, "2", (), ["1"]), store.own(None)])  # fmt: skip
        await inbox.run(limio, workers=2, until_idle=True)
    assert seen.index("order-0") < 4


async def test_starts_in_an_outage_park_nothing(url: str, limio: Limio, tenant: Tenant) -> None:
    tenant.down = True
    for start in range(4):
        async with Inbox(url, give_up=timedelta(seconds=0.2)) as inbox:

            @inbox.on("*")
            async def works(event: Event, item: Any, tx: Any) -> None:
                await asyncio.sleep(0)

            if not start:
                for n in range(20):
                    await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
            running = asyncio.create_task(inbox.run(limio))
            await asyncio.sleep(0.4)
            running.cancel()
            await asyncio.wait([running])
            assert await states(inbox) == {"open": 20}


def test_an_object_is_given_up_where_others_work_or_alone_for_long() -> None:
    outage = Outage()
    outage.failed("a", 0.0)
    assert not outage.is_alone("a", 99.0, 100.0)
    assert outage.is_alone("a", 100.0, 100.0)
    outage.failed("b", 100.0)
    assert not outage.is_alone("a", 200.0, 100.0)
    outage.worked("b", 200.0)
    outage.failed("a", 201.0)
    outage.failed("b", 201.0)
    assert not outage.is_alone("a", 299.0, 100.0)
    assert outage.is_alone("a", 300.0, 100.0)  # others worked since 200
    assert not outage.is_alone("b", 300.0, 100.0)
    outage.worked("a", 301.0)
    outage.failed("a", 302.0)
    assert not outage.is_alone("a", 400.0, 100.0)


def test_a_pause_ends_though_limio_wants_to_be_left_alone_for_a_day() -> None:
    outage = Outage()
    for n in range(5):
        outage.failed(f"order-{n}", 0.0, asked=86_400.0)
    assert outage.paused
    assert outage.until == 600.0


def test_pauses_that_come_back_are_told_ever_more_rarely_and_a_long_one_in_the_end() -> None:
    outage, told = Outage(), list[float]()
    for moment in range(0, 3600, 10):  # it answers for a moment, again and again
        if sum(outage.failed(f"order-{n}", float(moment)) for n in range(5)):
            told.append(moment)
        outage.worked("order-9", moment + 5.0)
    assert told == [0, 60, 180, 420, 900, 1860]
    long = [moment for moment in range(3600, 7200, 10) if sum(outage.failed(f"order-{n}", float(moment)) for n in range(5))]  # fmt: skip
    assert len(long) == 1
    assert 3660 <= long[0] <= 3660 + 180
    assert outage.worked("order-9", 7200.0)
    assert sum(outage.failed(f"order-{n}", 12000.0) for n in range(5))


async def test_a_function_that_does_not_ask_limio_tells_nothing_of_it(
    url: str, limio: Limio, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    tenant.down = True
    async with Inbox(url) as inbox:

        @inbox.on("order_*")
        async def ordered(event: Event, item: Any, tx: Any) -> None:
            await asyncio.sleep(0)

        @inbox.on("customer_*", refetch=False)
        async def changed(event: Event, item: Any, tx: Any) -> None:
            if event.id == "cus-99":
                await limio.customers.get("cus-99")

        for n in range(8):
            await deliver(inbox, "order_submitted", tenant.put(f"order-{n}"))
        running = asyncio.create_task(inbox.run(limio))
        for n in range(20):
            await deliver(inbox, "customer_updated", {"id": f"cus-{n}", "record_type": "customer"})
            await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while (await states(inbox)).get("done") != 20:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "Limio answers again" not in caplog.text
        tenant.down = False
        await deliver(inbox, "customer_updated", tenant.put("cus-99"))
        async with asyncio.timeout(20):
            while (await states(inbox)).get("open"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait([running])
    assert caplog.text.count("Limio answers again") == 1


# --- by hand


async def test_a_held_key_is_let_go_by_a_decision_about_what_holds_it(url: str, limio: Limio) -> None:
    seen: list[int] = []
    async with Inbox(url, attempts=1, after_park="hold") as inbox:

        @inbox.on("*", refetch=False)
        async def fails(event: Event, item: Any, tx: Any) -> None:
            seen.append(event.seq)
            if event.seq == 1:
                raise ValueError

        for n in range(3):
            await deliver(inbox, "order_submitted", {"id": f"order-{n}", "record_type": "order", "subscriptionId": "sub-1"})  # fmt: skip
        await inbox.run(limio, until_idle=True)
        await inbox.drop(2)
        await inbox.run(limio, until_idle=True)
        assert (seen, await states(inbox)) == ([1], {"dropped": 1, "open": 1, "parked": 1})
        await inbox.drop(1)
        await inbox.run(limio, until_idle=True)
        assert (seen, await states(inbox)) == ([1, 3], {"done": 1, "dropped": 2})


REPORT = {
    "eventId": "event-1", "processEventId": "process_event-1",
    "event": {"message": "m", "type": "order.new", "event": {"id": "order-7", "record_type": "order", "subscriptionId": "sub-7", "data": {"email": "jo@example.com"}}},
}  # fmt: skip


async def test_reports_about_an_order_are_erased_with_it(inbox: Inbox, limio: Limio) -> None:
    @inbox.on("*", refetch=False)
    async def works(event: Event, item: Any, tx: Any) -> None:
        await asyncio.sleep(0)

    await deliver(inbox, "error_reporting", REPORT)
    await deliver(inbox, "order_submitted", {"id": "order-7", "record_type": "order"})
    await deliver(inbox, "order_submitted", {"id": "order-8", "record_type": "order"})
    await inbox.run(limio, until_idle=True)
    assert await inbox.erase(id="order-7") == 2
    assert [event.body is None for event in await inbox.list()] == [True, True, False]
    assert not await deliver(inbox, "error_reporting", REPORT)


async def test_what_was_erased_and_comes_again_is_a_repeat(inbox: Inbox) -> None:
    body = {"id": "cus-1", "record_type": "customer", "owner": "id-1"}
    await deliver(inbox, "customer_updated", body)
    assert await inbox.erase(owner="id-1", cancel=True) == 1
    assert not await deliver(inbox, "customer_updated", body)
    assert await states(inbox) == {"dropped": 1}


async def test_nothing_that_was_dropped_meanwhile_is_opened_again(
    schema_url: str, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Inbox(schema_url, attempts=1) as inbox, Inbox(schema_url) as other:

        @inbox.on("*", refetch=False)
        async def fails(event: Event, item: Any, tx: Any) -> None:
            raise ValueError

        await deliver(inbox, "order_submitted", {"id": "order-1", "record_type": "order"})
        await inbox.run(limio, until_idle=True)
        loop, lock = asyncio.get_running_loop(), clerk._lock

        def late(store: Store, rows: Any) -> None:
            monkeypatch.setattr(clerk, "_lock", lock)
            asyncio.run_coroutine_threadsafe(other.drop(1), loop).result(5)
            lock(store, rows)

        monkeypatch.setattr(clerk, "_lock", late)
        await inbox.retry(all_since=datetime(2020, 1, 1, tzinfo=UTC))
        assert await states(inbox) == {"dropped": 1}


def test_the_last_instant_is_an_instant() -> None:
    body = b'{"id": "order-1", "updated": "9999-12-31T23:59:59.9999999Z"}'
    updated = entry_of("order_submitted", body).updated
    assert updated is not None
    row = Row(1, "order_submitted", "order-1", "order", "order-1", "x", updated, None, None, "open", None, "", 1, 0.0, 0.0)  # fmt: skip
    assert event_of(row).updated == datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_a_report_is_about_the_order_inside() -> None:
    assert (
        entry_of("error_reporting", b'{"eventId": "event-1", "event": {"event": {"id": "order-7"}}}').about
        == "order-7"
    )


# --- ends


async def test_who_stands_by_says_so_once(
    tmp_path: Path, limio: Limio, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "POLL", 0.05)
    monkeypatch.setattr(handling, "_ONE_LINE", 0.0)
    caplog.set_level(logging.INFO)
    url = f"sqlite:///{tmp_path}/inbox.db"
    async with Inbox(url) as one, Inbox(url) as two:
        running = [asyncio.create_task(box.run(limio)) for box in (one, two)]
        await asyncio.sleep(0.5)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    said = [record.levelname for record in caplog.records if "stands by" in record.getMessage()]
    assert said == ["INFO"]
    assert "waits" not in caplog.text


async def test_what_goes_on_though_it_was_cancelled_stays_its_own(
    tmp_path: Path, limio: Limio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("_ENDING", "_CANCELLED"):
        monkeypatch.setattr(working, name, 0.1)
    url, begun, ends = f"sqlite:///{tmp_path}/inbox.db", list[str](), asyncio.Event()
    async with Inbox(url) as one, Inbox(url) as two:
        for name, box in (("one", one), ("two", two)):

            @box.on("*", refetch=False, name="h")
            async def stubborn(event: Event, item: Any, tx: Any, name: str = name) -> None:
                begun.append(name)
                while not ends.is_set():
                    with suppress(asyncio.CancelledError):
                        await ends.wait()

        await deliver(one, "order_submitted", {"id": "order-1", "record_type": "order"})
        running = asyncio.create_task(one.run(limio))
        async with asyncio.timeout(5):
            while not begun:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        other = asyncio.create_task(two.run(limio))
        await asyncio.sleep(1.5)
        assert begun == ["one"]
        ends.set()
        await asyncio.sleep(0.1)
        other.cancel()
        await asyncio.wait([other])
    assert "a function of it goes on though it was cancelled" in caplog.text
