"""What only a server can do: be away, go away, forbid."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from limio_async.errors import SinkError, TargetAway, TargetBusy
from limio_async.sync_jobs.sink import Change, Written
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.sinks import postgres as sinks_postgres
from limio_async.sync_jobs.sinks.postgres import PostgresSink
from limio_async.sync_jobs.sinks.postgres_session import Session
from tests.sync_jobs.sinks.targets import (
    LATER,
    NOTES,
    OFFERS,
    POSTGRES,
    any_number,
    held,
    offer,
    opened,
    write,
)


@pytest.fixture
def admin(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        yield admin


def cut(admin: psycopg.Connection, url: str) -> None:
    """End the connections of the sink of this URL; returns when they have ended."""
    name = url.rpartition("=")[2]
    admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", (name,)
    )


def test_a_run_waits_a_moment_for_one_that_was_just_killed(postgres: str) -> None:
    killed, next_one = open_sink(postgres), open_sink(postgres)
    killed.open()
    timer = threading.Timer(0.2, killed.close)
    timer.start()
    next_one.open()
    timer.join()
    next_one.close()


def test_two_runs_refuse_each_other(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks_postgres, "_PATIENCE", 0.01)
    with opened(postgres, OFFERS):
        with pytest.raises(
            TargetBusy, match="another run is writing to this schema; wait for it, or stop it"
        ):
            open_sink(postgres).open()
        with opened(postgres.replace("&schema=", "&schema=other_")) as other:
            other._run(f'DROP SCHEMA "{other._schema}" CASCADE')  # type: ignore[attr-defined]
    with opened(postgres, OFFERS):
        pass


def test_a_connection_that_broke_between_two_writes_is_made_again(
    postgres: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_postgres, "_PATIENCE", 0.01)
    with opened(postgres, OFFERS) as sink:
        write(sink, [offer(1)])
        cut(admin, postgres)
        assert write(sink, [offer(1), offer(2)]) == Written(inserted=1, unchanged=1)
        with pytest.raises(TargetBusy):
            open_sink(postgres).open()


def test_a_connection_that_breaks_in_a_transaction_is_told_and_made_again(
    postgres: str, admin: psycopg.Connection
) -> None:
    told: list[Written] = []

    def cut_now(written: Sequence[Written]) -> list[Change]:
        told.extend(written)
        cut(admin, postgres)
        return []

    with opened(postgres, OFFERS) as sink:
        with pytest.raises(TargetAway, match="the connection broke; what was committed is there, run again"):
            sink.apply([Change(OFFERS, [offer(1)])], then=cut_now)
        assert told == [Written(inserted=1)], "told once: who counts must not count twice"
        assert write(sink, [offer(1)]) == Written(inserted=1)
        cut(admin, postgres)
        assert sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number).live == 1


def test_a_run_whose_connection_broke_gives_way_to_one_that_began_meanwhile(
    postgres: str, admin: psycopg.Connection
) -> None:
    with opened(postgres, OFFERS) as sink:
        write(sink, [offer(1)])
        cut(admin, postgres)
        with opened(postgres, OFFERS) as other:
            write(other, [offer(1, version="2"), offer(2)])
        for _ in range(2):  # the streams of a run, one after the other
            with pytest.raises(
                TargetBusy, match="the connection broke, and another run began meanwhile; run again"
            ) as caught:
                sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number)
            assert caught.value.final, "waiting does not help this run"
        sink.close()
        sink.open()
        sink.prepare([OFFERS])
        assert {row["id"]: row["hash"] for row in sink.rows(OFFERS) if row["deleted_at"] is None} == {
            "o-1": "2", "o-2": "1",
        }  # fmt: skip
        assert write(sink, [offer(3)]) == Written(inserted=1)


def test_a_server_that_is_away(postgres: str) -> None:
    with pytest.raises(
        TargetAway, match=r"^postgresql://127.0.0.1:1/shop\?schema=public: connection failed.*refused"
    ) as caught:
        open_sink("postgresql://me:secret@127.0.0.1:1/shop").open()
    assert "secret" not in repr((caught.value, caught.value.__cause__))
    assert "\n" not in str(caught.value)


def test_who_is_stopped_while_connecting_leaves_no_connection(
    postgres: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Session] = []
    connect = Session.connect

    def connected(*args: Any, **named: Any) -> Session:
        made.append(connect(*args, **named))
        return made[-1]

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "connect", connected)
    monkeypatch.setattr(psycopg.Connection, "execute", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_sink(postgres).open()
    assert [one.closed for one in made] == [True]


def test_a_name_that_is_no_host() -> None:
    with pytest.raises(TargetAway, match="no-such-host.invalid"):
        open_sink("postgresql://no-such-host.invalid/shop").open()


def test_a_database_that_is_not_there(postgres: str) -> None:
    with pytest.raises(SinkError, match='database "no_such" does not exist') as caught:
        open_sink(f"{POSTGRES.rpartition('/')[0]}/no_such").open()
    assert not isinstance(caught.value, TargetAway), "no matter of time"


def test_rights_that_are_missing(postgres: str, admin: psycopg.Connection) -> None:
    role = f"limio_test_{secrets.token_hex(6)}"
    admin.execute(f"CREATE ROLE {role} LOGIN".encode())
    url = (
        f"{POSTGRES.partition('://')[0]}://{role}@{POSTGRES.rpartition('@')[2]}?{postgres.partition('?')[2]}"
    )
    try:
        with pytest.raises(SinkError, match="permission denied for database .*grant the user"), opened(url):
            pass
        with opened(postgres, OFFERS) as sink:
            write(sink, [offer(1)])
        with (
            pytest.raises(SinkError, match="permission denied for schema .*or name another"),
            opened(url, OFFERS),
        ):
            pass
    finally:
        admin.execute(f"DROP ROLE {role}".encode())


def test_a_database_that_is_not_in_utf8(postgres: str, admin: psycopg.Connection) -> None:
    name = f"limio_test_{secrets.token_hex(6)}"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'".encode())
    try:
        with pytest.raises(SinkError, match="its encoding is LATIN1, a database with UTF8 is needed"):
            open_sink(f"{POSTGRES.rpartition('/')[0]}/{name}").open()
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_texts_are_utf_8_whatever_the_environment_says(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with opened(postgres, OFFERS) as sink:
        write(sink, [offer(1, name="\N{SNOWMAN} ü")])
        assert held(sink)["o-1"]["name"] == "\N{SNOWMAN} ü"


def test_a_schema_of_any_name(postgres: str) -> None:
    url = f"{postgres}_%22A b; 100%25s"
    with opened(url, OFFERS) as sink:
        assert isinstance(sink, PostgresSink)
        write(sink, [offer(1)])
        assert list(held(sink)) == ["o-1"]
        sink._run('DROP SCHEMA "' + sink._schema.replace('"', '""') + '" CASCADE')


def test_columns_have_the_types_of_postgresql(postgres: str, admin: psycopg.Connection) -> None:
    with opened(postgres, OFFERS, NOTES) as sink:
        write(sink, [offer(1, raw=b'{"b": 1, "a": [true]}')])
    schema = postgres.rpartition("=")[2]
    rows = admin.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s"
        " AND table_name <> '_limio_meta' ORDER BY table_name, ordinal_position",
        (schema,),
    )
    assert rows.fetchall() == [
        ("id", "text"),
        ("note", "text"),
        ("raw", "bytea"),
        ("id", "text"),
        ("name", "text"),
        ("price", "double precision"),
        ("count", "bigint"),
        ("order", "boolean"),
        ("updated", "timestamp with time zone"),
        ("deleted_at", "timestamp with time zone"),
        ("hash", "text"),
        ("raw", "jsonb"),
    ]
    admin.execute(f"SET search_path TO {schema}".encode())
    found = admin.execute("SELECT raw -> 'a' -> 0 FROM offers").fetchone()
    assert found == (True,)


@pytest.mark.parametrize("size", [1, 700])
def test_tables_may_change_while_statements_are_prepared(postgres: str, size: int) -> None:
    schema = postgres.rpartition("=")[2]
    with opened(postgres, OFFERS) as sink, psycopg.connect(POSTGRES, autocommit=True) as other:
        other.execute(f"SET search_path TO {schema}".encode())
        for turn, statement in enumerate(
            [
                "ALTER TABLE offers ADD COLUMN own text",
                "ALTER TABLE offers ALTER COLUMN hash TYPE varchar(40)",
                "ALTER TABLE offers ALTER COLUMN count TYPE numeric",
                "ALTER TABLE offers ALTER COLUMN id TYPE varchar(100)",
                "CREATE INDEX ON offers (name)",
                "CREATE TABLE more (LIKE offers INCLUDING ALL); DROP TABLE offers; ALTER TABLE more RENAME TO offers",
                "TRUNCATE offers",
            ]
        ):
            for version in range(8):
                write(sink, [offer(n, version=f"{turn} {version}") for n in range(size)])
            other.execute(statement.encode())
        assert write(sink, [offer(n, version="last") for n in range(size)]).inserted == size
        assert {row["hash"] for row in held(sink).values()} == {"last"}
