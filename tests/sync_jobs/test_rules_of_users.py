"""Triggers, constraints and locks that somebody put into a target: what they keep out is told, and no report stays `running`."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest

from limio_async import Limio
from limio_async.errors import JobError, TargetBusy
from limio_async.sync_jobs import Job, JobReport, StreamReport

from .conftest import client_of
from .raw_lists import RawLists, offer, raw_lists
from .sinks.targets import POSTGRES, schema_of_postgres

RULE = "CREATE TRIGGER t BEFORE {} WHEN {} BEGIN SELECT RAISE({}); END"


@pytest.fixture
async def tenant() -> AsyncIterator[RawLists]:
    async with raw_lists() as lists:
        lists.lists["offers"] = [offer(one) for one in range(10)]
        lists.lists["products"] = [{**offer(one), "id": f"p{one}"} for one in range(5)]
        yield lists


@pytest.fixture
async def limio(tenant: RawLists) -> AsyncIterator[Limio]:
    async with client_of(tenant) as client:
        yield client


class Target:
    """A SQLite file to sync to, and what somebody does to it."""

    def __init__(self, limio: Limio, file: Path) -> None:
        self._limio, self._file = limio, file

    async def sync(self, *streams: str, **options: Any) -> JobReport:
        return await Job(self._limio, to=f"sqlite:///{self._file}", streams=streams, **options).run()

    def do(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._file, isolation_level=None)) as db:
            return db.execute(statement).fetchall()

    def statuses(self) -> list[tuple[str, str]]:
        return sorted(self.do("SELECT stream, status FROM _limio_runs ORDER BY started"))


@pytest.fixture
def target(limio: Limio, tmp_path: Path) -> Target:
    return Target(limio, tmp_path / "a.db")


def by_name(report: JobReport) -> dict[str, StreamReport]:
    return {one.stream: one for one in report.streams}


async def test_a_row_that_a_trigger_ignores_is_in_quarantine(tenant: RawLists, target: Target) -> None:
    await target.sync("offers")
    target.do(RULE.format("UPDATE ON offers", "NEW.id = 'o3' AND NEW.name = 'again'", "IGNORE"))
    tenant.lists["offers"] = [offer(one, name="again") for one in range(10)]
    report = by_name(await target.sync("offers"))["offers"]
    assert (report.status, report.updated, report.quarantined) == ("complete", 9, 1)
    ((item, reason),) = target.do("SELECT item_id, reason FROM _limio_quarantine")
    assert (item, reason[:43]) == ("o3", "offers: the database did not store the row:")
    assert target.do("SELECT id, stale_since IS NULL FROM offers WHERE name <> 'again'") == [("o3", 0)]


async def test_a_row_that_is_gone_and_may_not_be_marked_makes_a_run_incomplete(
    tenant: RawLists, target: Target
) -> None:
    await target.sync("offers")
    target.do(RULE.format("UPDATE OF deleted_at ON offers", "NEW.id = 'o9'", "IGNORE"))
    tenant.lists["offers"] = [offer(one) for one in range(8)]
    report = by_name(await target.sync("offers"))["offers"]
    assert (report.status, report.deleted) == ("incomplete", 1)
    assert (
        report.error
        == "1 rows that are gone could not be marked: a trigger or a rule of the target kept them"
    )


@pytest.mark.parametrize("how", ["IGNORE", "ABORT, 'no'"])
async def test_a_quarantine_that_takes_nothing_fails_the_stream_that_needs_it(
    tenant: RawLists, target: Target, how: str
) -> None:
    await target.sync("offers", "products")
    target.do(RULE.format("INSERT ON _limio_quarantine", "true", how))
    tenant.lists["offers"].append({"name": "no id"})
    streams = by_name(await target.sync("offers", "products"))
    assert streams["products"].status == "complete"
    assert streams["offers"].status == "failed"
    assert "a row was refused" in (streams["offers"].error or "")
    assert ("offers", "failed") in target.statuses()
    assert not target.do("SELECT * FROM _limio_runs WHERE status = 'running'")


def refuse_reports(target: Target, when: str) -> None:
    for event in ("INSERT", "UPDATE"):
        rule = RULE.format(f"{event} ON _limio_runs", when, "ABORT, 'no'")
        target.do(rule.replace("TRIGGER t", f"TRIGGER t_{event}"))


@pytest.mark.parametrize("status", ["running", "complete"])
async def test_a_report_that_is_refused_fails_its_stream(
    tenant: RawLists, target: Target, status: str
) -> None:
    await target.sync("offers")
    refuse_reports(target, f"NEW.status = '{status}' AND NEW.stream = 'offers'")
    streams = by_name(await target.sync("offers", "products"))
    assert {name: one.status for name, one in streams.items()} == {"offers": "failed", "products": "complete"}
    assert "a row was refused" in (streams["offers"].error or "")
    assert target.statuses()[1:] == [("offers", "failed"), ("products", "complete")]


async def test_where_no_report_is_taken_the_job_ends_and_the_next_run_puts_it_right(
    tenant: RawLists, target: Target
) -> None:
    await target.sync("offers")
    refuse_reports(target, "NEW.status <> 'running'")
    with pytest.raises(JobError, match="a row was refused"):
        await target.sync("offers", "products")
    assert "running" in dict(target.statuses()).values(), "nothing else could be noted"
    target.do("DROP TRIGGER t_INSERT")
    target.do("DROP TRIGGER t_UPDATE")
    report = by_name(await target.sync("offers", "products"))
    assert {one.status for one in report.values()} == {"complete"}
    assert "running" not in dict(target.statuses()).values()


async def test_a_run_that_was_killed_is_interrupted_once_the_next_one_runs(target: Target) -> None:
    await target.sync("offers")
    target.do(
        "UPDATE _limio_runs SET status = 'running', ended = NULL, started = '2020-01-01T00:00:00.000000Z'"
    )
    await target.sync("products")
    assert target.statuses() == [("offers", "interrupted"), ("products", "complete")]


# --- locks


def statuses(schema: str) -> set[str]:
    with psycopg.connect(POSTGRES) as db:
        rows = db.execute(f"SELECT DISTINCT status FROM {schema}._limio_runs".encode()).fetchall()  # noqa: S608
    return {status for (status,) in rows}


@pytest.fixture
def postgres() -> Iterator[str]:
    with schema_of_postgres(f"limio_rules_{secrets.token_hex(6)}") as url:
        yield url


@pytest.mark.parametrize("table", ["runs", "streams", "quarantine", "meta", "drift"])
async def test_a_lock_on_a_table_of_limio_names_its_holder_and_leaves_nothing_running(
    tenant: RawLists, limio: Limio, postgres: str, table: str
) -> None:
    async def sync(**options: Any) -> JobReport:
        return await Job(limio, to=postgres, streams=["offers", "products"], **options).run()

    await sync()
    schema = postgres.rpartition("=")[2]
    tenant.lists["offers"] = [offer(one, name="again") for one in range(10)]
    tenant.lists["offers"].append({"name": "no id"})
    with psycopg.connect(POSTGRES, application_name="somebody") as other:
        other.execute(f"LOCK TABLE {schema}._limio_{table} IN ACCESS EXCLUSIVE MODE".encode())
        began = monotonic()
        with pytest.raises(TargetBusy, match="held by process .*application somebody"):
            await sync(lock_wait=timedelta(seconds=1))
        assert monotonic() - began < 10
    await sync()
    assert "running" not in statuses(schema)


@pytest.mark.parametrize("table", ["runs", "streams", "quarantine"])
async def test_a_lock_that_begins_in_the_middle_does_so_too(
    tenant: RawLists, limio: Limio, postgres: str, table: str
) -> None:
    async def sync(**options: Any) -> JobReport:
        return await Job(limio, to=postgres, streams=["offers"], **options).run()

    await sync()
    schema = postgres.rpartition("=")[2]
    tenant.lists["offers"] = [offer(one, name="again") for one in range(10)]
    tenant.lists["offers"].append({"name": "no id"})
    with psycopg.connect(POSTGRES, application_name="somebody") as other:

        async def hook(path: str, request: Any) -> None:
            if path == "offers":
                other.execute(f"LOCK TABLE {schema}._limio_{table} IN ACCESS EXCLUSIVE MODE".encode())

        tenant.hook = hook
        began, said = monotonic(), ""
        try:
            report = by_name(await sync(lock_wait=timedelta(seconds=1)))["offers"]
            said, status = report.error or "", report.status
            assert status == "failed"
        except TargetBusy as busy:
            said = str(busy)
        assert "application somebody" in said
        assert monotonic() - began < 10
        tenant.hook = None
        other.rollback()
        if table == "quarantine":
            assert "running" not in statuses(schema), "what could be noted was noted"
    await sync()
    assert "running" not in statuses(schema)
