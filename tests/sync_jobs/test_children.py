"""Children on several pages: a cursor in their answer is followed, and what did not come is not gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import pytest

from limio_async import BearerToken, Limio, errors
from limio_async.sync_jobs import Job, StreamReport
from limio_async.sync_jobs.dlt import limio as source
from limio_async.sync_jobs.events import Mode
from tests.sync_jobs.memory_sink import MemorySink
from tests.sync_jobs.raw_tenant import RawObjects, raw_tenant

SUBSCRIPTIONS = [[b'{"id":"a"}', b'{"id":"b"}', b'{"id":"c"}']]
PAGES = [[b'{"id":"1"}', b'{"id":"2"}'], [], [b'{"id":"3"}']]
PATHS = {"events": "events", "related": "related", "children": "objects"}
MANY = [b'{"id":"%d"}' % number for number in range(20)]  # so that one that is gone would be marked
ALL = {"a/1", "a/2", "a/3", *(f"b/{number}" for number in range(20))}


@pytest.fixture
def tenant() -> Iterator[RawObjects]:
    """One whose object `a` has children on three pages, `b` on one, and `c` none."""
    lists: dict[str, list[list[bytes]]] = {"subscriptions": SUBSCRIPTIONS}
    for kind in PATHS.values():
        lists |= {f"subscriptions/a/{kind}": PAGES, f"subscriptions/b/{kind}": [MANY]}
        lists |= {f"subscriptions/c/{kind}": [[]]}
    with raw_tenant(RawObjects(lists)) as found:
        yield found


@pytest.fixture
def make(tenant: RawObjects) -> Any:
    return lambda: Limio(tenant.url, auth=BearerToken("token"), attempts=1)


async def sync(make: Any, sink: MemorySink, state: Path, stream: str) -> StreamReport:
    async with make() as limio:
        job = Job(limio, to=sink, state=state / "state", streams=[f"subscriptions.{stream}"])
        return (await job.run()).streams[-1]


@pytest.mark.parametrize(("stream", "path"), [*PATHS.items()])
async def test_a_job_follows_it(
    make: Any, tenant: RawObjects, tmp_path: Path, stream: str, path: str
) -> None:
    sink = MemorySink()
    report = await sync(make, sink, tmp_path, stream)
    assert report.complete
    assert sink.live(f"subscriptions_{stream}").keys() == ALL
    asked = [one for one in tenant.asked if one.endswith(path) or "?" in one]
    assert sorted(asked) == [
        f"subscriptions/a/{path}",
        f"subscriptions/a/{path}?1",
        f"subscriptions/a/{path}?2",
        f"subscriptions/b/{path}",
        f"subscriptions/c/{path}",
    ]
    assert (report.requests, report.pages) == (5, 5)


@pytest.mark.parametrize("status", [404, 500, 503, 400, 401])
async def test_what_a_page_that_failed_would_have_told_is_not_gone(
    make: Any, tenant: RawObjects, sink: MemorySink, tmp_path: Path, status: int
) -> None:
    await sync(make, sink, tmp_path, "events")
    tenant.refuses["subscriptions/a/events?2"] = status
    tenant.lists["subscriptions/a/events"] = [
        [b'{"id":"1","status":"new"}', b'{"id":"2"}'],
        [],
        [b'{"id":"3"}'],
    ]
    report = await sync(make, sink, tmp_path, "events")
    is_verdict = status < 500  # of this object's children; else nobody knows, and the next run asks again
    assert (report.status, report.quarantined) == ("complete" if is_verdict else "incomplete", 1)
    assert report.deleted == 0
    assert sink.live("subscriptions_events").keys() == ALL
    if status != 503:  # an outage is asked again from the first page
        assert b"new" in sink.live("subscriptions_events")["a/1"]
    tenant.refuses.clear()
    again = await sync(make, sink, tmp_path, "events")
    assert again.complete
    assert sink.live("subscriptions_events").keys() == ALL


@pytest.mark.parametrize("status", [401, 403])
async def test_later_pages_that_are_refused_for_every_object_stop_it(
    make: Any, tenant: RawObjects, sink: MemorySink, tmp_path: Path, status: int
) -> None:
    names = [f"s{number:02}" for number in range(60)]
    tenant.lists["subscriptions"] = [[b'{"id":"%b"}' % one.encode() for one in names]]
    for one in names:
        tenant.lists[f"subscriptions/{one}/events"] = [[b'{"id":"1"}'], [b'{"id":"2"}']]
        tenant.refuses[f"subscriptions/{one}/events?1"] = status
    report = await sync(make, sink, tmp_path, "events")
    assert report.status == "failed"
    assert report.refused == (status == 401)
    tenant.lists["subscriptions/s00/events"] = [[b'{"id":"1"}']]  # which can be fetched, and fetched again
    report = await sync(make, sink, tmp_path, "events")
    assert report.status == "failed"
    assert "20 objects in a row" in (report.error or "")


async def test_credentials_that_expire_between_two_pages_are_refused_for_all(
    make: Any, tenant: RawObjects, sink: MemorySink, tmp_path: Path
) -> None:
    tenant.lists["subscriptions/b/events"] = [MANY[:10], MANY[10:]]
    await sync(make, sink, tmp_path, "events")
    for one in "abc":
        tenant.refuses |= {f"subscriptions/{one}/events{page}": 401 for page in ("?1", "?2")}
    tenant.lists["subscriptions/c/events"] = [[b'{"id":"4"}'], [b'{"id":"5"}']]
    report = await sync(make, sink, tmp_path, "events")
    assert (report.status, report.refused, report.deleted) == ("failed", True, 0)
    assert sink.live("subscriptions_events").keys() == ALL


@pytest.mark.parametrize("mode", ["full", "incremental"])
async def test_children_that_come_are_not_stale_though_a_later_page_is_refused_for_good(
    make: Any, tenant: RawObjects, tmp_path: Path, mode: Mode
) -> None:
    target = tmp_path / "tenant.db"

    async def night() -> StreamReport:
        async with make() as limio:
            job = Job(limio, to=f"sqlite:///{target}", streams=["subscriptions.events"], mode=mode)
            return (await job.run()).streams[-1]

    await night()
    tenant.refuses["subscriptions/a/events?2"] = 403
    for _ in range(3):
        report = await night()
        assert (report.updated, report.quarantined) == (0, 1)
        with closing(sqlite3.connect(target)) as db:
            stale = db.execute("SELECT id FROM subscriptions_events WHERE stale_since IS NOT NULL").fetchall()
        assert stale == [("a/3",)]
    tenant.refuses.clear()
    assert (await night()).updated == 1


async def test_a_cursor_that_comes_back_ends_it_and_nothing_is_gone(
    make: Any, tenant: RawObjects, sink: MemorySink, tmp_path: Path
) -> None:
    await sync(make, sink, tmp_path, "events")
    tenant.loops.add("subscriptions/a/events")
    tenant.lists["subscriptions/a/events"] = PAGES[:2]
    asked = len(tenant.asked)
    report = await sync(make, sink, tmp_path, "events")
    assert (report.status, report.deleted) == ("incomplete", 0)
    assert sink.live("subscriptions_events").keys() == ALL
    assert len(tenant.asked) - asked < 15  # once, and once more at the end


@pytest.mark.parametrize(("name", "path"), [*PATHS.items()])
async def test_a_listing_follows_it(make: Any, tenant: RawObjects, name: str, path: str) -> None:
    async with make() as limio:
        listing = getattr(limio.subscriptions, name)("a").raw()
        assert [one async for one in listing] == [*PAGES[0], *PAGES[2]]
        assert listing.report.ended
        one = getattr(limio.subscriptions, name)("b")
        assert len([child async for child in one]) == 20
        assert one.report.requests == 1
        tenant.loops.add(f"subscriptions/b/{path}")
        with pytest.raises(errors.CursorLoop):
            await getattr(limio.subscriptions, name)("b").collect(limit=100)


def test_dlt_follows_it(
    make: Any, tenant: RawObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    target = dlt.destinations.duckdb(str(tmp_path / "tenant.duckdb"))
    pipeline = dlt.pipeline("children", destination=target, dataset_name="limio")
    pipeline.run(source(["subscriptions.events"], client=make))
    with pipeline.sql_client() as database:
        rows = database.execute_sql("SELECT id FROM subscriptions_events") or []
    assert {row[0] for row in rows} == ALL
    tenant.refuses["subscriptions/a/events?2"] = 404  # what came before stays as it was
    pipeline.run(source(["subscriptions.events"], client=make))
    with pipeline.sql_client() as database:
        rows = database.execute_sql("SELECT id FROM subscriptions_events") or []
        noted = database.execute_sql("SELECT item_id FROM _limio_quarantine") or []
    assert {row[0] for row in rows} == ALL
    assert [row[0] for row in noted] == ["a/"]
