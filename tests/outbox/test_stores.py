"""Both stores, with real threads and servers: several senders, lost sessions, late answers, failover, bad databases."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from limio_async import BearerToken, Limio
from limio_async.outbox import Outbox, OutboxError, Outcome, StoreAway, StoreError, table, telling
from limio_async.stores import Store
from limio_async.stores.sqlite import SqliteStore
from tests.outbox.tenant import GOOD, LOST, Fate, Tenant
from tests.postgres_cluster import Cluster, program

SOON = timedelta(seconds=0.05)


def order(n: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "order_type": "renew",
        "orderItems": [{"offer": {"id": f"offer-{n}"}}],
        "process_immediately": True,
        **more,
    }


@pytest.fixture
def server(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    return f"{cluster.url}?schema=s_{abs(hash(request.node.name))}"


async def until(box: Outbox, key: str, *states: str) -> Outcome:
    async with asyncio.timeout(20):
        while (outcome := await box.outcome(key)).state not in states:  # noqa: ASYNC110  # as whoever polls does
            await asyncio.sleep(0.01)
    return outcome


async def stopped(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_all_are_sent_once(box: Outbox, limio: Limio, tenant: Tenant) -> None:
    tenant.fates = [[GOOD, LOST][n % 10 == 3] for n in range(60)]
    await asyncio.gather(*(box.intend(f"k{n}", order(n)) for n in range(60)))
    await box.run(limio, until_idle=True)
    assert (await box.stats()).states == {"accepted": 60}
    assert sorted(tenant.sent) == sorted(f"k{n}" for n in range(60))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "a\0b"}),
        (418, {"message": "a\0b \ud800"}),
        (200, {"id": "order-1\0", "status": "odd\0 \ud800", "order_reference": "\0"}),
    ],
)
async def test_characters_that_a_database_refuses_hold_up_nothing(
    box: Outbox, limio: Limio, tenant: Tenant, status: int, body: Any
) -> None:
    tenant.fates = [Fate(answer=status, body=json.dumps(body).encode())]
    await box.intend("k", order())
    async with asyncio.timeout(10):
        await box.run(limio, until_idle=True)
    assert (await box.outcome("k")).state == {400: "refused", 418: "parked", 200: "accepted"}[status]


def test_what_a_callback_notes_is_what_it_gave_and_ends_no_transaction() -> None:
    tx, values, done = telling.Tx(), ["one"], list[Any]()
    tx.execute("INSERT INTO sales VALUES (?)", values)
    values[0] = "two"
    with pytest.raises(OutboxError, match="tx is committed when the handler returns: COMMIT is not for it"):
        tx.execute("/* so */ COMMIT;")
    tx.write(SimpleNamespace(execute=lambda *one: done.append(one)))  # type: ignore[arg-type]
    assert done == [("INSERT INTO sales VALUES (?)", ["one"])]


async def test_a_callback_whose_row_is_locked_holds_up_nobody(server: str, limio: Limio) -> None:
    async with (
        Outbox(server, settle=SOON) as box,
        await psycopg.AsyncConnection.connect(server.partition("?")[0]) as other,
    ):
        await other.execute(
            "CREATE TABLE IF NOT EXISTS sales (id int); TRUNCATE sales; INSERT INTO sales VALUES (1)"
        )
        await other.commit()

        @box.on("accepted")
        async def accepted(outcome: Outcome, tx: Any) -> None:
            tx.execute("UPDATE public.sales SET id = id + 1")

        await other.execute("UPDATE sales SET id = id")
        await box.intend("k", order())
        running = asyncio.create_task(box.run(limio))
        await until(box, "k", "accepted")
        for n in range(8):
            async with asyncio.timeout(5):
                await box.intend(f"later {n}", order(n))
            await asyncio.sleep(0.05)
        await other.rollback()
        async with asyncio.timeout(20):
            while (await (await other.execute("SELECT id FROM sales")).fetchall())[0][0] < 10:
                await other.rollback()
                await asyncio.sleep(0.05)
        await stopped(running)


async def test_a_transaction_of_others_holds_up_its_own_key_only(
    server: str, limio: Limio, tenant: Tenant
) -> None:
    async with (
        Outbox(server, settle=SOON) as box,
        await psycopg.AsyncConnection.connect(server.partition("?")[0]) as other,
    ):
        tenant.fates = [Fate(after=1.0)]
        await box.intend("k", order())
        running = asyncio.create_task(box.run(limio))
        await until(box, "k", "sending")
        await other.execute(*box.statement("k", order(), "format"))
        await until(box, "k", "accepted")

        await other.execute(*box.statement("uncommitted", order(1), "format"))
        waits = asyncio.create_task(box.intend("uncommitted", order(1)))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(15):
            for n in range(4):
                await asyncio.gather(*(box.intend(f"later {n} {m}", order(n)) for m in range(5)))
        with pytest.raises(StoreAway):
            await waits
        await other.commit()
        await until(box, "uncommitted", "accepted")
        await stopped(running)


def run(name: str, *arguments: str) -> None:
    subprocess.run([program(name), *arguments], check=True, stdout=subprocess.DEVNULL)


async def test_a_dump_that_was_put_back_makes_nothing_twice(
    server: str, cluster: Cluster, limio: Limio, tenant: Tenant, tmp_path: Path
) -> None:
    schema = server.partition("schema=")[2]
    async with Outbox(server, settle=SOON) as box:
        for n in range(3):
            await box.intend(f"k{n}", order(n))
        dump = tmp_path / "dump"
        await asyncio.to_thread(run, "pg_dump", "-n", schema, "-f", str(dump), cluster.url)
        await box.run(limio, until_idle=True)
    with psycopg.connect(cluster.url) as db:
        db.execute(f"DROP SCHEMA {schema} CASCADE")
    await asyncio.to_thread(run, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), cluster.url)
    async with Outbox(server, settle=SOON) as box:
        await box.intend("after that", order(9))
        await box.run(limio, until_idle=True)
        assert [(await box.outcome(f"k{n}")).state for n in range(3)] == ["accepted"] * 3
    assert sorted(tenant.sent) == ["after that", "k0", "k1", "k2"]


MANY = """
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20500)
    INSERT INTO _limio_outbox (key, digest, state, subscription, reference, basket)
    SELECT 'k' || n, '', CASE WHEN n <= 20000 THEN 'accepted' ELSE 'intended' END, 'sub-' || n, 'r' || n, 'b' || n FROM n
"""


async def test_orders_to_be_sent_are_found_without_reading_what_is_settled(box: Outbox, url: str) -> None:
    explain = "EXPLAIN QUERY PLAN" if url.startswith("sqlite") else "EXPLAIN"

    def plan(store: Store) -> str:
        store.run(MANY)
        store.run("ANALYZE _limio_outbox")
        ask = store.ask
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                store, "ask", lambda asked, *values: [row[-1:] for row in ask(f"{explain} {asked}", *values)]
            )
            return "\n".join(table._ready(store, hold=True, most=4))

    assert "_limio_outbox_free" in await box._store.do(plan)


async def test_opening_a_file_that_another_sends_from_is_no_restore(
    tmp_path: Path, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, loop = f"sqlite:///{tmp_path}/orders.db", asyncio.get_running_loop()
    beside, opens = SqliteStore._beside, threading.Event()

    async def meanwhile() -> None:
        await box.run(limio, until_idle=True)
        await box.intend("waits", order(2))

    def late(store: SqliteStore) -> str:  # its transaction has begun to read
        if store is not box._store and not opens.is_set():
            opens.set()
            asyncio.run_coroutine_threadsafe(meanwhile(), loop).result()
        return beside(store)

    async with Outbox(url) as box:
        await box.intend("goes", order(1))
        monkeypatch.setattr(SqliteStore, "_beside", late)
        async with Outbox(url) as other:
            assert (await other.outcome("waits")).state == "intended"
    assert opens.is_set()


async def test_a_file_that_is_opened_by_another_name_is_no_restored_one(tmp_path: Path) -> None:
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        await box.intend("k", order())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "orders.db")
    for name in ("elsewhere/link.db", "orders.db"):
        async with Outbox(f"sqlite:///{tmp_path}/{name}") as box:
            assert (await box.outcome("k")).state == "intended"


async def test_odd_rows_of_lists_hold_up_nothing(box: Outbox, limio: Limio, tenant: Tenant) -> None:
    tenant.fates = [LOST]
    item = tenant._item

    def odd(one: Any, **how: Any) -> dict[str, Any]:
        found = item(one, **how)
        names = {"reference": {"a": 1}, "status": ["odd\0"], "order_reference": [1]}
        return found | names | {"data": found["data"] | {"order_reference": {}}}

    tenant._item = odd  # type: ignore[method-assign]
    await box.intend("k", order())
    async with asyncio.timeout(10):
        await box.run(limio, until_idle=True)
    assert (await box.outcome("k")).order_ids == tuple(tenant.made("k"))


async def test_what_is_intended_while_it_runs_is_sent_at_once(
    box: Outbox, limio: Limio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limio_async.outbox.sending._POLL", 600.0)
    running = asyncio.create_task(box.run(limio))
    await asyncio.sleep(0.3)  # idle by now
    await box.intend("k", order())
    await until(box, "k", "accepted")
    await stopped(running)


async def test_one_outbox_runs_once(box: Outbox, limio: Limio) -> None:
    running = asyncio.create_task(box.run(limio))
    await asyncio.sleep(0.05)
    with pytest.raises(OutboxError, match="runs already"):
        await box.run(limio)
    await box.intend("k", order())
    await until(box, "k", "accepted")
    await stopped(running)


# --- several senders


async def test_two_senders_make_each_order_once_and_keep_the_order(
    server: str, limio: Limio, tenant: Tenant
) -> None:
    tenant.fates = [Fate(after=0.002)] * 80
    async with Outbox(server) as one, Outbox(server) as two:
        await asyncio.gather(
            *(one.intend(f"k{n:02}", order(n, subscriptionId=f"sub-{n % 4}")) for n in range(80))
        )
        intended = [(outcome.key, outcome.subscription) for outcome in await one.list()]
        await asyncio.gather(one.run(limio, until_idle=True), two.run(limio, until_idle=True))
        assert (await one.stats()).states == {"accepted": 80}
    assert len(tenant.sent) == 80
    for subscription in {name for _, name in intended}:
        mine = [key for key, name in intended if name == subscription]
        assert [key for key in tenant.sent if key in mine] == mine
    assert tenant.most_on_wire <= 4  # four subscriptions


async def test_an_earlier_order_that_commits_later_does_not_overtake_one_on_the_wire(server: str) -> None:
    from limio_async.outbox import table

    about, goes_on, taken = {"subscriptionId": "sub-1"}, threading.Event(), threading.Event()

    def take(store: Any) -> list[str]:
        rows = table.take(store, "1", 9, hold=True, on_wire=(), sent=None)
        return [row.key for row in rows]

    def slowly(store: Any) -> list[str]:
        keys = take(store)
        taken.set()
        goes_on.wait(10)
        return keys

    async with Outbox(server) as one, Outbox(server) as two:
        async with await psycopg.AsyncConnection.connect(server.partition("?")[0]) as tx:
            await one.intend("earlier", order(1, **about), tx=tx)
            await one.intend("later", order(2, **about))
            first = asyncio.create_task(one._store.do(slowly))
            await asyncio.to_thread(taken.wait, 10)
            await tx.commit()
        second = asyncio.create_task(two._store.do(take))
        await asyncio.sleep(0.3)
        goes_on.set()
        assert (await first, await second) == (["later"], [])


async def test_a_second_sender_leaves_a_live_send_alone(server: str, limio: Limio, tenant: Tenant) -> None:
    tenant.fates = [Fate(after=1.5)]
    async with Outbox(server, settle=SOON) as one, Outbox(server, settle=SOON) as two:
        await one.intend("k", order())
        first = asyncio.create_task(one.run(limio))
        await until(one, "k", "sending")
        second = asyncio.create_task(two.run(limio))
        outcome = await until(one, "k", "accepted", "doubt")
        assert (outcome.state, outcome.attempt) == ("accepted", 1)
        await stopped(first, second)
    assert len(tenant.orders) == 1


async def test_one_process_sends_from_a_file(tmp_path: Path, limio: Limio) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    async with Outbox(url) as one, Outbox(url) as two:
        running = asyncio.create_task(one.run(limio))
        await asyncio.sleep(0.1)
        with pytest.raises(StoreAway, match="another process is sending from this file"):
            await two.run(limio)
        await two.intend("k", order())
        await until(one, "k", "accepted")
        await stopped(running)
        await two.run(limio, until_idle=True)


# --- a session that is gone is no sender that is dead


@pytest.mark.parametrize("late", [200, 400])
async def test_a_late_answer_settles_the_doubt_and_overwrites_nothing(
    server: str, limio: Limio, tenant: Tenant, cluster: Cluster, late: int
) -> None:
    tenant.fates = [Fate(makes=late == 200, answer=late, after=1.0, lag=9.0)]
    async with (
        Outbox(server, settle=timedelta(seconds=30)) as one,
        Outbox(server, settle=timedelta(seconds=30)) as two,
    ):
        await one.intend("k", order())
        first = asyncio.create_task(one.run(limio))
        await until(two, "k", "sending")
        session = one._store._db.info.backend_pid  # type: ignore[attr-defined]
        with cluster.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (session,))
        second = asyncio.create_task(two.run(limio))
        outcome = await until(two, "k", "doubt", "accepted")
        assert (outcome.state, outcome.attempt) == ("doubt", 2)
        if late == 200:
            assert (await until(two, "k", "accepted")).attempt == 2
        else:
            await asyncio.sleep(1.5)
            assert (await two.outcome("k")).state == "doubt"
        await stopped(first, second)
    assert len(tenant.sent) == 1


async def test_a_late_yes_beside_a_later_attempt_is_doubled(
    server: str, limio: Limio, tenant: Tenant
) -> None:
    from limio_async.outbox import table
    from limio_async.outbox.decide import Answer, answered

    async with Outbox(server) as box:
        await box.intend("k", order())
        row = await box._store.do(lambda store: table.one(store, "k"))
        again = {"state": "sending", "attempt": 2, "owner": "1"}
        row = await box._store.do(lambda store: table.change(store, row, again))
        for attempt, name, state in ((1, "order-a", "sending"), (2, "order-b", "accepted")):
            yes = Answer(kind="accepted", order_id=name, names=(name,))

            def work(store: Any, attempt: int = attempt, yes: Answer = yes) -> None:
                now = table.one(store, "k")
                table.change(store, now, answered(now, attempt, yes))

            await box._store.do(work)
            assert (await box.outcome("k")).state == state
        outcome = await box.outcome("k")
        assert (outcome.doubled, outcome.order_ids) == (True, ("order-a", "order-b"))


def test_an_outbox_is_opened_again_in_another_event_loop(tmp_path: Path, tenant: Tenant) -> None:
    box = Outbox(f"sqlite:///{tmp_path}/box.db", settle=SOON)

    async def once(key: str) -> None:
        async with Limio(auth=BearerToken("t"), transport=tenant) as limio, box:
            running = asyncio.create_task(box.run(limio))
            await asyncio.sleep(0.05)  # it waits by now
            await box.intend(key, order())
            await until(box, key, "accepted")
            await stopped(running)

    for n in range(3):
        asyncio.run(once(f"k{n}"))
    assert tenant.sent == ["k0", "k1", "k2"]


async def test_the_sender_goes_on_after_restarts_of_the_server(
    tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.postgres_cluster import own_cluster

    tenant.fates = [Fate(after=0.02)] * 100
    with own_cluster() as own:
        async with (
            Limio(auth=BearerToken("t"), transport=tenant) as limio,
            Outbox(own.url, settle=SOON) as box,
        ):
            await asyncio.gather(*(box.intend(f"k{n}", order(n)) for n in range(100)))
            running = asyncio.create_task(box.run(limio))
            for _ in range(2):
                await asyncio.sleep(0.15)
                await asyncio.to_thread(own.restart, away=0.3)
            async with asyncio.timeout(30):
                while True:
                    with suppress(StoreAway):
                        if (await box.stats()).states == {"accepted": 100}:
                            break
                    await asyncio.sleep(0.1)
            await stopped(running)
    assert sorted(tenant.sent) == sorted(f"k{n}" for n in range(100))
    assert len([one for one in caplog.records if one.name == "limio_async"]) <= 10


async def rolled_back(url: str, **columns: Any) -> None:
    """Make of the database what an asynchronous standby has when it took over: another timeline, and older rows."""
    schema, set_to = url.partition("=")[2], ", ".join(f"{name} = %s" for name in columns)
    async with await psycopg.AsyncConnection.connect(url.partition("?")[0], autocommit=True) as admin:
        await admin.execute(f"UPDATE {schema}._limio_outbox SET generation = '1/00000000'".encode())  # noqa: S608
        await admin.execute(f"UPDATE {schema}._limio_outbox SET {set_to}".encode(), [*columns.values()])  # noqa: S608
        before = f"UPDATE {schema}._limio_outbox_meta SET value = '1/00000000' WHERE name = 'generation'"  # noqa: S608
        await admin.execute(before.encode())


async def test_a_standby_that_took_over_puts_in_doubt_what_it_may_not_know(
    server: str, limio: Limio, tenant: Tenant
) -> None:
    """The row came back as intended after it was sent: the timeline is another one."""
    async with Outbox(server, settle=SOON) as box:
        await box.intend("k", order())
        tenant.another(key="k", data=order())
        await rolled_back(server, state="intended")
        await box.intend("since then", order(1))
        await box.run(limio, until_idle=True)
        assert tenant.sent == ["since then"]
        assert (await box.outcome("k")).order_ids == tuple(tenant.made("k"))


@pytest.mark.parametrize("known", [{"state": "intended", "attempt": 0}, {"state": "sending", "attempt": 5}])
async def test_a_standby_that_takes_over_mid_send_makes_nothing_twice(
    server: str, limio: Limio, tenant: Tenant, known: Any
) -> None:
    tenant.fates = [Fate(after=0.5)]
    async with Outbox(server, settle=timedelta(seconds=30)) as box:
        await box.intend("k", order())
        running = asyncio.create_task(box.run(limio))
        await until(box, "k", "sending")
        await rolled_back(server, **known)
        await box.intend("since then", order(1))
        await until(box, "since then", "accepted")
        assert (await box.outcome("k")).state == "doubt"
        await until(box, "k", "accepted")
        await stopped(running)
    assert sorted(tenant.sent) == ["k", "since then"]


async def test_a_standby_that_took_over_begins_the_doubts_anew(
    server: str, limio: Limio, tenant: Tenant
) -> None:
    """What was sent again since then is not in view yet, whatever this process has seen before."""
    tenant.fates = [LOST]
    async with Outbox(server, settle=timedelta(seconds=30)) as box:
        await box.intend("k", order())
        running = asyncio.create_task(box.run(limio))
        before = await until(box, "k", "doubt")
        await rolled_back(server, state="doubt")
        async with asyncio.timeout(20):
            while (outcome := await box.outcome("k")).attempt == before.attempt:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert outcome.state == "doubt"
        await stopped(running)


async def test_an_answer_to_an_order_that_the_standby_never_got_is_logged(
    server: str, limio: Limio, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    tenant.fates = [Fate(after=0.3)]
    async with Outbox(server, settle=SOON) as box:
        await box.intend("k", order())
        running = asyncio.create_task(box.run(limio))
        await until(box, "k", "sending")
        await box._store.do(lambda store: store.run("DELETE FROM _limio_outbox"))
        await asyncio.sleep(0.5)
        await box.intend("l", order(1))
        await until(box, "l", "accepted")
        await stopped(running)
    (said,) = (one.getMessage() for one in caplog.records if "'k'" in one.getMessage())
    assert tenant.made("k")[0] in said


async def test_commits_are_for_good(server: str, cluster: Cluster) -> None:
    name = server.partition("=")[2]
    with cluster.admin() as admin:
        admin.execute("ALTER DATABASE postgres SET synchronous_commit TO off")
    try:
        async with Outbox(server) as box:
            (firm,) = await box._store.do(lambda store: store.ask("SHOW synchronous_commit"))
            assert firm == ("on",)

            def fails(store: Any) -> None:
                store.run(f"UPDATE {name}._limio_outbox_meta SET value = 'x' WHERE name = 'id'")  # noqa: S608
                with suppress(psycopg.Error):
                    store.run("SELECT 1/0")

            with pytest.raises(
                StoreError, match="not committed for good"
            ):  # the answer to COMMIT is ROLLBACK
                await box._store.do(fails)
            assert await box.list() == []
    finally:
        with cluster.admin() as admin:
            admin.execute("ALTER DATABASE postgres RESET synchronous_commit")


async def test_sqlite_commits_are_for_good(tmp_path: Path) -> None:
    async with Outbox(f"sqlite:///{tmp_path}/orders.db") as box:
        for pragma, value in (("synchronous", 2), ("secure_delete", 1)):
            assert await box._store.do_after(lambda store, p=pragma: store.ask(f"PRAGMA {p}")) == [(value,)]  # type: ignore[misc]


# --- databases that cannot be used


async def test_text_that_a_database_takes_not_ends_nothing(box: Outbox, limio: Limio, tenant: Tenant) -> None:
    """PostgreSQL has no character 0; Limio's JSON may."""
    odd = b'{"id": "order-\\u0000x", "status": "com\\u0000plete", "order_reference": "A\\u0000"}'
    tenant.fates = [Fate(body=odd), Fate(makes=False, answer=400, body=b'{"message": "a\\u0000b"}'), LOST]
    tenant.another(key="a\0b")
    for key in ("k0", "k1", "k2"):
        await box.intend(key, {**order(), "forSubscription": {"id": "sub\0"}, "owner": "id\0"})
        await box.run(limio, until_idle=True)
    outcomes = [await box.outcome(key) for key in ("k0", "k1", "k2")]
    assert [one.state for one in outcomes] == ["accepted", "refused", "accepted"]
    assert outcomes[0].status == "com\ufffdplete"


async def test_many_may_open_an_empty_database_at_once(url: str, limio: Limio, tenant: Tenant) -> None:
    boxes = [Outbox(url) for _ in range(8)]
    await asyncio.gather(*(one.__aenter__() for one in boxes))
    await asyncio.gather(*(one.intend(f"k{n}", order(n)) for n, one in enumerate(boxes)))
    for one in boxes:
        await one.__aexit__(None, None, None)
    async with Outbox(url) as box:
        assert (await box.stats()).states == {"intended": 8}
        await box.run(limio, until_idle=True)
        assert (await box.stats()).states == {"accepted": 8}


async def test_what_was_taken_as_the_sender_was_stopped_is_given_back(
    box: Outbox, limio: Limio, tenant: Tenant
) -> None:
    taken = asyncio.Event()
    do = box._store.do

    async def slow(work: Any, **how: Any) -> Any:
        result = await do(work, **how)
        if getattr(result, "taken", None):
            taken.set()
            await asyncio.sleep(3600)
        return result

    await box.intend("k", order())
    box._store.do = slow  # type: ignore[method-assign]
    running = asyncio.create_task(box.run(limio))
    await taken.wait()
    await stopped(running)
    assert (await box.outcome("k")).state == "intended"
    assert tenant.sent == []
