"""Locks that others hold in PostgreSQL: they are waited for, named, and given up."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import msgspec
import psycopg
import pytest

from limio_async.errors import SinkError, TargetAway, TargetBusy
from limio_async.sync_jobs.sink import Column
from limio_async.sync_jobs.sinks import postgres_session
from limio_async.sync_jobs.sinks.postgres import PostgresSink
from tests.postgres_cluster import Cluster
from tests.sync_jobs.sinks.targets import LATER, OFFERS, any_number, held, offer, write

MORE = msgspec.structs.replace(OFFERS, columns=(*OFFERS.columns, Column("more")))
ROW = "SELECT FROM offers FOR UPDATE"
TABLE = "LOCK TABLE offers"
META = "LOCK TABLE _limio_meta"
BLOCKED: list[tuple[str, str, Callable[[PostgresSink], Any]]] = [
    ("a row", ROW, lambda sink: write(sink, [offer(1, version="2")])),
    ("a table", TABLE, lambda sink: write(sink, [offer(1, version="2")])),
    ("a row to mark", ROW, lambda sink: sink.mark_unseen(OFFERS, [], deleted_at=LATER, allows=any_number)),
    ("a table to change", "SELECT FROM offers", lambda sink: sink.prepare([MORE])),
    ("a table to read", TABLE, held),
    ("a table of ours", META, lambda sink: sink.prepare([OFFERS])),
]


@contextmanager
def sink_of(cluster: Cluster, *, lock_wait: float = 0.5, url: str | None = None) -> Generator[PostgresSink]:
    """A sink with one row in a new schema."""
    schema = f"locks_{secrets.token_hex(4)}"
    sink = PostgresSink(url or cluster.url, schema=schema, lock_wait=lock_wait)
    try:
        sink.open()
        sink.prepare([OFFERS])
        write(sink, [offer(1)])
        yield sink
    finally:
        sink.close()


@pytest.fixture
def other(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """A connection of another program."""
    with psycopg.connect(cluster.url, application_name="psql") as other:
        yield other
        if not other.closed:
            other.rollback()


def hold(other: psycopg.Connection, sink: PostgresSink, statement: str) -> None:
    other.execute(f'SET search_path TO "{sink._schema}"'.encode())
    other.execute(statement.encode())


@pytest.mark.parametrize(("name", "statement", "call"), BLOCKED, ids=[one for one, _, _ in BLOCKED])
def test_who_holds_a_lock_is_named_and_the_same_call_can_be_made_again(
    cluster: Cluster,
    other: psycopg.Connection,
    name: str,
    statement: str,
    call: Callable[[PostgresSink], Any],
) -> None:
    with sink_of(cluster) as sink:
        hold(other, sink, statement)
        began = monotonic()
        with pytest.raises(TargetBusy) as caught:
            call(sink)
        assert monotonic() - began < 5
        pid = other.info.backend_pid
        assert f"held by process {pid} (user postgres, application psql, idle in transaction)" in str(
            caught.value
        )
        assert not caught.value.final
        other.rollback()
        call(sink)
        assert held(sink).keys() == {"o-1"}


def test_another_run_is_named_as_such_however_short_locks_are_waited_for(cluster: Cluster) -> None:
    with sink_of(cluster) as sink:
        second = PostgresSink(cluster.url, schema=sink._schema, lock_wait=0.2)
        with pytest.raises(TargetBusy) as caught:
            second.open()
        said = f"another run is writing to this schema; wait for it, or stop it: it is process {sink._db.pid} (user postgres"
        assert said in str(caught.value)


def test_a_lock_of_a_prepared_transaction_is_named(cluster: Cluster, other: psycopg.Connection) -> None:
    with sink_of(cluster) as sink:
        hold(other, sink, "UPDATE offers SET name = 'x'")
        other.execute("PREPARE TRANSACTION 'left'")
        other.commit()
        try:
            with pytest.raises(TargetBusy, match=r"held by a prepared transaction \(pg_prepared_xacts\)"):
                write(sink, [offer(1, version="2")])
        finally:
            with cluster.admin() as admin:
                admin.execute("ROLLBACK PREPARED 'left'")


def test_without_a_second_connection_the_server_ends_the_wait(
    cluster: Cluster, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "_BEFORE_LOCKS", 0.1)
    with cluster.admin() as admin:
        admin.execute("DROP ROLE IF EXISTS lonely")
        admin.execute("CREATE ROLE lonely SUPERUSER LOGIN CONNECTION LIMIT 1")  # superusers are not counted
        admin.execute("GRANT CREATE ON DATABASE postgres TO lonely")
        admin.execute("ALTER ROLE lonely NOSUPERUSER")
    url = cluster.url.replace("postgres@", "lonely@")
    with sink_of(cluster, url=url) as sink:
        hold(other, sink, ROW)
        with pytest.raises(TargetBusy, match="waited too long for a lock; who holds it could not be asked"):
            write(sink, [offer(1, version="2")])
        with pytest.raises(
            TargetAway, match=r"too many connections for role .*limio needs two connections at once"
        ):
            held(sink)


def test_a_long_wait_ends_soon_when_the_job_is_asked_to_stop(
    cluster: Cluster, other: psycopg.Connection
) -> None:
    with sink_of(cluster, lock_wait=30) as sink:
        hold(other, sink, ROW)
        threading.Timer(0.2, sink.cancel, kwargs={"only_blocked": True}).start()
        began = monotonic()
        with pytest.raises(TargetBusy, match="application psql"):
            write(sink, [offer(1, version="2")])
        assert monotonic() - began < 3
        other.rollback()
        assert write(sink, [offer(1, version="2")]).updated == 1, "what waits for nobody goes on"
        with sink._transaction():
            assert sink._ask("SELECT pg_sleep(1.5), 1")[0][1] == 1


def test_a_statement_that_takes_its_time_is_not_taken_for_one_that_waits(
    cluster: Cluster, other: psycopg.Connection
) -> None:
    with sink_of(cluster) as sink:
        with sink._transaction():
            assert sink._ask("SELECT pg_sleep(1.2), 1")[0][1] == 1
        hold(other, sink, ROW)
        threading.Timer(0.3, other.rollback).start()
        assert write(sink, [offer(1, version="2")]).updated == 1, "a lock that is let go in time"


def test_a_sink_that_is_cancelled_ends_its_statement_and_begins_nothing_until_it_is_opened(
    cluster: Cluster, other: psycopg.Connection
) -> None:
    with sink_of(cluster, lock_wait=30) as sink:
        hold(other, sink, ROW)
        for work in (lambda: write(sink, [offer(1, version="2")]), lambda: sink._ask("SELECT pg_sleep(30)")):
            timer = threading.Timer(0.2, sink.cancel)
            timer.start()
            began = monotonic()
            with pytest.raises(SinkError, match="cancelled$"), sink._watch.over(sink._db):
                work()
            assert monotonic() - began < 2
            timer.join()
            with pytest.raises(SinkError, match="cancelled$"):
                write(sink, [offer(2)])
            sink.open()
            sink.prepare([OFFERS])
        other.rollback()
        assert write(sink, [offer(1)]).unchanged == 1
