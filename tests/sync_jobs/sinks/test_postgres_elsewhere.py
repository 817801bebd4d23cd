"""PostgreSQL as it is set up elsewhere: settings of a database or a role, rights, triggers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from time import sleep

import psycopg
import pytest

from limio_async.errors import JobError, SinkError, TargetAway, TargetBusy
from limio_async.sync_jobs.sink import Change
from limio_async.sync_jobs.sinks import postgres_session
from limio_async.sync_jobs.sinks.postgres import PostgresSink
from tests.postgres_cluster import Cluster
from tests.sync_jobs.sinks.targets import AT, LATER, NOTES, OFFERS, any_number, held, offer, write

SETTINGS = {
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "'iso_8601'",
    "TimeZone": "'Asia/Kathmandu'",
    "bytea_output": "'escape'",
    "client_encoding": "'LATIN1'",
    "extra_float_digits": "-10",
    "standard_conforming_strings": "off",
    "search_path": "pg_temp, nowhere",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "array_nulls": "off",
    "xmloption": "document",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "lock_timeout": "1",
    "statement_timeout": "200",
    "idle_in_transaction_session_timeout": "200",
    "idle_session_timeout": "300",
}
SECRET = "maria@example.org"


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with cluster.admin() as admin:
        yield admin


@pytest.fixture
def role(admin: psycopg.Connection) -> Iterator[str]:
    """A role that may make schemas."""
    role = f"role_{secrets.token_hex(4)}"
    admin.execute(f"CREATE ROLE {role} LOGIN".encode())
    admin.execute(f"GRANT CREATE ON DATABASE postgres TO {role}".encode())
    yield role
    admin.execute(f"DROP OWNED BY {role} CASCADE".encode())
    admin.execute(f"DROP ROLE {role}".encode())


@pytest.fixture
def sink(cluster: Cluster, role: str) -> Iterator[PostgresSink]:
    """A sink of this role."""
    sink = PostgresSink(cluster.url.replace("postgres@", f"{role}@"), schema=role)
    yield sink
    sink.close()


def rest(_: object) -> list[Change]:
    sleep(0.3)
    return []


def test_settings_of_a_role_change_nothing(admin: psycopg.Connection, role: str, sink: PostgresSink) -> None:
    for name, value in SETTINGS.items():
        admin.execute(f"ALTER ROLE {role} SET {name} TO {value}".encode())
    sink.open()
    sink.prepare([OFFERS, NOTES])
    row = list(offer(1, name="\N{SNOWMAN} ü \\' \n", raw=rb'{"a\\b": "\u00e9 \"", "n": 0.1}'))
    row[2] = 0.1 + 0.2
    assert write(sink, [tuple(row)]).inserted == 1
    write(sink, [("n", "note", bytes(range(256)))], NOTES)
    sink.apply([Change(OFFERS, [offer(2)])], then=rest)
    sleep(0.4)  # longer than a session or a transaction may be idle
    for _ in range(2):
        there = held(sink)["o-1"]
        assert (there["name"], there["price"], there["updated"]) == (row[1], row[2], AT)
        assert held(sink, NOTES)["n"]["raw"] == bytes(range(256))
        assert sink.mark_unseen(OFFERS, ["o-1"], deleted_at=LATER, allows=any_number).live >= 1
        assert held(sink)["o-2"]["deleted_at"] == LATER
        with sink._transaction():
            assert sink._ask("SELECT pg_sleep(0.3), 1")[0][1] == 1
        sink.close()
        sink.open()


def test_a_database_that_is_set_to_read_only_is_refused_in_words(
    admin: psycopg.Connection, role: str, sink: PostgresSink
) -> None:
    sink.open()
    sink.prepare([OFFERS])
    admin.execute(f"ALTER ROLE {role} SET default_transaction_read_only TO on".encode())
    with pytest.raises(
        SinkError, match=f'read only.*ALTER ROLE "{role}" SET default_transaction_read_only = off'
    ):
        sink.open()
    sink.open(to_read=True)
    assert held(sink) == {}


def test_a_role_that_may_make_no_temporary_tables_is_told_what_it_needs(
    admin: psycopg.Connection, role: str, sink: PostgresSink
) -> None:
    admin.execute("REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC")
    try:
        with pytest.raises(SinkError, match=f'GRANT TEMPORARY ON DATABASE "postgres" TO "{role}"'):
            sink.open()
        admin.execute(f"GRANT TEMPORARY ON DATABASE postgres TO {role}".encode())
        sink.open()
    finally:
        admin.execute("GRANT TEMPORARY ON DATABASE postgres TO PUBLIC")


@pytest.mark.parametrize("wait", [timedelta(days=24), timedelta(days=30), timedelta.max])
def test_a_lock_may_be_waited_for_longer_than_a_server_can_count(cluster: Cluster, wait: timedelta) -> None:
    sink = PostgresSink(cluster.url, schema="patient", lock_wait=wait.total_seconds())
    sink.open(to_read=True)
    ((milliseconds,),) = sink._ask("SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'")
    sink.close()
    assert milliseconds == min((wait.total_seconds() + 5) * 1000, 2**31 - 1)


def test_what_goes_wrong_while_connecting_is_no_row_s(
    sink: PostgresSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.open()
    sink.prepare([OFFERS])
    with monkeypatch.context() as patch:
        patch.setitem(postgres_session._SETTINGS, "DateStyle", "no style")  # 22023, as that of a value
        with pytest.raises(SinkError, match=r": InvalidParameterValue \(22023\)$") as while_reading:
            held(sink)  # over a connection of its own
        with pytest.raises(SinkError, match=r": InvalidParameterValue \(22023\)$") as at_the_start:
            sink.open()
    for caught in (while_reading, at_the_start):
        assert not caught.value.one_table
        assert "row was refused" not in str(caught.value)


@pytest.mark.parametrize("tag", ["CREATE SCHEMA", "CREATE TABLE"])
def test_a_database_that_lets_nobody_make_something_refuses_no_row(
    admin: psycopg.Connection, sink: PostgresSink, tag: str
) -> None:
    admin.execute(
        "CREATE FUNCTION public.forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    admin.execute(
        f"CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('{tag}') EXECUTE FUNCTION public.forbid()".encode()
    )
    try:
        with pytest.raises(SinkError, match=r": RaiseException \(P0001\)$") as caught:
            sink.open()
            sink.prepare([OFFERS])
    finally:
        admin.execute("DROP EVENT TRIGGER forbid")
        admin.execute("DROP FUNCTION public.forbid()")
    assert "row was refused" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("57014", TargetBusy),
        ("55P03", TargetBusy),
        ("57P01", TargetAway),
        ("53300", TargetAway),
        ("08006", TargetAway),
        ("53100", SinkError),
        ("XX000", SinkError),
    ],
)
def test_no_message_holds_what_a_trigger_says_of_a_row(
    sink: PostgresSink, state: str, kind: type[JobError]
) -> None:
    sink.open()
    sink.prepare([OFFERS])
    sink._run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no %', NEW.name USING ERRCODE = '{state}', HINT = NEW.name; END $$"
    )
    sink._run("CREATE TRIGGER refuse BEFORE INSERT ON offers FOR EACH ROW EXECUTE FUNCTION refuse()")
    with pytest.raises(JobError) as caught:
        write(sink, [offer(1, name=SECRET)])
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)
    if kind is SinkError:
        assert f"({state})" in str(caught.value)
    sink._run("DROP TRIGGER refuse ON offers")
    assert write(sink, [offer(1)]).inserted == 1, "the sink is of use afterwards"
