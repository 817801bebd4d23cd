"""A row that a database drops without a word is refused like any other; errors of triggers are about their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from limio_async.errors import SinkError, TargetBusy
from limio_async.sync_jobs.sink import Change, Row, Table
from limio_async.sync_jobs.sinks.sql import SqlSink
from tests.sync_jobs.sinks.targets import AT, NOTES, OFFERS, any_number, held, offer, opened, write
from tests.sync_jobs.sinks.test_refused_rows import apply

SECRET = "ann@example.com"
FUNCTION = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$"
PASSES = "IF NEW.name = 'ann@example.com' THEN RETURN {}; END IF;"
TRIGGER = "CREATE TRIGGER t BEFORE {} ON offers FOR EACH ROW EXECUTE FUNCTION no()"
SIZES = [50, 700]  # with and without a temporary table


def pair(size: int) -> list[str]:
    return [f"o-{number}" for number in (3, size - 10)]


def rows(size: int) -> list[tuple[object, ...]]:
    odd = {3, size - 10}
    return [offer(n, name=SECRET if n in odd else str(n)) for n in range(size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("returned", "event"), [("NULL", "INSERT"), ("NULL", "INSERT OR UPDATE"), ("OLD", "UPDATE")]
)
def test_what_a_trigger_of_postgresql_drops_is_refused(
    postgres: str, returned: str, event: str, size: int
) -> None:
    with opened(postgres, OFFERS, NOTES) as sink:
        there = size if event == "UPDATE" else 0
        write(sink, [offer(n, version="0") for n in range(there)])
        sink._run(FUNCTION.format(PASSES.format(returned)))
        sink._run(TRIGGER.format(event))
        written, noted = apply(sink, rows(size))
        assert (written.inserted, written.updated) == ((0, size - 2) if there else (size - 2, 0))
        assert sorted(one for one, _ in noted) == sorted(pair(size))
        assert all("offers: the database did not store the row" in reason for _, reason in noted)
        found = held(sink)
        assert {one for one, row in found.items() if row["hash"] == "1"} == {
            f"o-{n}" for n in range(size)
        } - {*pair(size)}
        again, _ = apply(sink, rows(size))
        assert (again.unchanged, len(again.refused)) == (size - 2, 2)


def test_a_trigger_that_sends_rows_elsewhere_below_the_table_drops_none(postgres: str) -> None:
    with opened(postgres, OFFERS, NOTES) as sink:
        sink._run("CREATE TABLE below () INHERITS (offers)")
        sink._run(FUNCTION.format("INSERT INTO below SELECT NEW.*; RETURN NULL;"))
        sink._run(TRIGGER.format("INSERT"))
        written, noted = apply(sink, [offer(1), offer(2)])
        assert (written.inserted, noted) == (2, [])


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_what_a_trigger_of_sqlite_ignores_is_refused(tmp_path: Path, event: str) -> None:
    with opened(f"sqlite:///{tmp_path}/a.db", OFFERS, NOTES) as sink:
        write(sink, [offer(n, version="0") for n in range(50 if event == "UPDATE" else 0)])
        sink._run(
            f"CREATE TRIGGER t BEFORE {event} ON offers WHEN NEW.name = '{SECRET}' BEGIN SELECT RAISE(IGNORE); END"
        )
        written, noted = apply(sink, rows(50))
        assert written.inserted + written.updated == 48
        assert sorted(one for one, _ in noted) == sorted(pair(50))
        assert {one for one, row in held(sink).items() if row["hash"] == "1"} == {
            f"o-{n}" for n in range(50)
        } - {*pair(50)}


def test_a_row_that_row_level_security_keeps_out_is_refused(postgres: str) -> None:
    with opened(postgres, OFFERS, NOTES) as sink:
        role = postgres.rpartition("=")[2] + "_user"
        sink._run("ALTER TABLE offers ENABLE ROW LEVEL SECURITY")
        sink._run(f"CREATE POLICY p ON offers USING (name <> '{SECRET}')")
        sink._run(f"CREATE ROLE {role}")
        try:
            sink._run(f"GRANT ALL ON SCHEMA {role[:-5]} TO {role}")
            sink._run(f"GRANT ALL ON ALL TABLES IN SCHEMA {role[:-5]} TO {role}")
            sink._run(f"SET ROLE {role}")
            (written,) = sink.apply([Change(OFFERS, rows(50))])
            assert written.inserted == 48
            assert sorted(one.row[0] for one in written.refused) == sorted(pair(50))
        finally:
            sink._run("RESET ROLE")
            sink._run(f"DROP OWNED BY {role}")
            sink._run(f"DROP ROLE {role}")


ERRORS = {
    "raise": "RAISE EXCEPTION 'no %', NEW.name;",
    "serialization": "RAISE EXCEPTION 'no %', NEW.name USING HINT = NEW.name, ERRCODE = '40001';",
    "deadlock": "RAISE EXCEPTION 'no %', NEW.name USING HINT = NEW.name, ERRCODE = '40P01';",
    "limit": "RAISE EXCEPTION 'no %', NEW.name USING HINT = NEW.name, ERRCODE = '54000';",
    "column": "PERFORM nothing FROM names;",
    "table": "PERFORM 1 FROM nowhere;",
    "right": "RAISE EXCEPTION 'no %', NEW.name USING HINT = NEW.name, ERRCODE = '42501';",
    "feature": "RAISE EXCEPTION 'no %', NEW.name USING HINT = NEW.name, ERRCODE = '0A000';",
}


@pytest.mark.parametrize("error", ERRORS)
def test_what_a_trigger_raises_for_a_row_is_about_the_row(postgres: str, error: str) -> None:
    with opened(postgres, OFFERS, NOTES) as sink:
        sink._run("CREATE TABLE names (name text)")
        sink._run(FUNCTION.format(f"IF NEW.name = '{SECRET}' THEN {ERRORS[error]} END IF;"))
        sink._run(TRIGGER.format("INSERT"))
        written, noted = apply(sink, rows(50))
        assert written.inserted == 48
        assert sorted(one for one, _ in noted) == sorted(pair(50))
        assert SECRET not in str(noted)


def test_what_must_be_done_again_is_done_again_before_a_row_is_blamed(postgres: str) -> None:
    with opened(postgres, OFFERS, NOTES) as sink:
        sink._run("CREATE SEQUENCE tries")  # which no rollback resets
        sink._run(
            FUNCTION.format(
                "IF nextval('tries') < 3 THEN RAISE EXCEPTION 'no %', NEW.name USING HINT = NEW.name, ERRCODE = '40001'; END IF;"
            )
        )
        sink._run(TRIGGER.format("INSERT"))
        written, noted = apply(sink, [offer(1)])
        assert (written.inserted, noted) == (1, [])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_ledger_that_drops_a_row_is_an_error(url: str, kind: str) -> None:
    with opened(url, OFFERS, NOTES) as sink:
        drop(sink, kind, "_notes", "INSERT")
        with pytest.raises(SinkError, match="_notes: the database did not store the row"):
            sink.apply([Change(OFFERS, [offer(1)]), Change(NOTES, [("a", "b", None)])])
        assert not held(sink), "nothing of it is there"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_only_rows_that_are_marked_count_as_deleted(url: str, kind: str) -> None:
    with opened(url, OFFERS) as sink:
        write(sink, [offer(n) for n in range(5)])
        drop(sink, kind, "offers", "UPDATE", "OLD.id = 'o-1'")
        found = sink.mark_unseen(OFFERS, [], deleted_at=AT, allows=any_number)
        assert (found.unseen, found.deleted, found.kept) == (5, 4, 1)


def drop(sink: SqlSink, kind: str, table: str, event: str, when: str = "true") -> None:
    if kind == "sqlite":
        sink._run(f"CREATE TRIGGER t BEFORE {event} ON {table} WHEN {when} BEGIN SELECT RAISE(IGNORE); END")
        return
    sink._run("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    sink._run(f"CREATE TRIGGER t BEFORE {event} ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION no()")


def test_a_lock_is_no_fault_of_a_row(postgres: str) -> None:
    with opened(postgres, OFFERS, NOTES) as sink, psycopg.connect(postgres.partition("?")[0]) as other:
        write(sink, [offer(1)])
        sink._run(FUNCTION.format("PERFORM 1 FROM offers FOR UPDATE NOWAIT;"))
        sink._run(TRIGGER.format("INSERT"))
        schema = postgres.rpartition("=")[2]
        other.execute(f"SELECT FROM {schema}.offers FOR UPDATE".encode())
        with pytest.raises(TargetBusy):
            apply(sink, [offer(2)])


@pytest.mark.parametrize(
    ("rule", "bad", "reason"),
    [
        ("ALTER TABLE offers ALTER name TYPE INTEGER", SECRET, "ConversionException, column name"),
        ("ALTER TABLE offers ALTER name SET NOT NULL", None, "NOT NULL constraint failed: offers.name"),
        ("ALTER TABLE offers ALTER price TYPE TINYINT", SECRET, "ConversionException, column price"),
        ("", SECRET, "CHECK constraint failed: offers"),
    ],
)
def test_rows_that_duckdb_refuses_are_found_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, bad: str | None, reason: str
) -> None:
    with opened(f"duckdb:///{tmp_path}/a.duckdb", OFFERS, NOTES) as sink:
        if rule:
            sink._run(rule)
        else:
            ((made,),) = sink._ask("SELECT sql FROM duckdb_tables() WHERE table_name = 'offers'")
            sink._run("DROP TABLE offers")
            sink._run(made.replace("id VARCHAR", f"id VARCHAR, CHECK (name <> '{SECRET}')"))
        tries, tried = 0, sink._tried

        def counted(table: Table, some: Sequence[Row]) -> str | None:
            nonlocal tries
            tries += 1
            return tried(table, some)

        monkeypatch.setattr(sink, "_tried", counted)
        many = [offer(n * 1000, name=bad) for n in range(1, 200)]
        written, noted = apply(sink, [offer(1, name="17"), *many, offer(2, name=None if bad else "5")])
        assert (written.inserted, len(noted)) == (2, 199)
        assert {reason in said for _, said in noted} == {True}
        assert SECRET not in str(noted)
        assert tries < 10
