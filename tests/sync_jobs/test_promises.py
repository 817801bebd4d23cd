"""What docs/sync-jobs.md promises and trying it out found broken, each as small as it gets."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from limio_async import Limio, errors
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World, reply
from limio_async.sync_jobs import Job, SyncEvent
from limio_async.sync_jobs.columns import Spot, value_at
from limio_async.sync_jobs.ledger import QUARANTINE, RUNS, STREAMS
from limio_async.sync_jobs.packing import unpack
from limio_async.sync_jobs.rows import Item, Reader, Summary, summary_of
from limio_async.sync_jobs.sink import Column, Kind, Table
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.streams import stream
from limio_async.sync_jobs.times import is_old, newest, watermark
from limio_async.sync_jobs.walk import Noted, Page, SavedWalk
from tests.flows.conftest import all_credentials
from tests.sync_jobs.conftest import RunJob, only
from tests.sync_jobs.memory_sink import MemorySink
from tests.sync_jobs.sinks.targets import small_disk

Make = Callable[..., Job]


def stopping_job(make: Make, *streams: str, at: Callable[[SyncEvent], bool], **options: Any) -> Job:
    """A job that is stopped by the first event that *at* picks."""

    def stop(event: SyncEvent) -> None:
        if at(event):
            job.stop()

    job = make(*streams, on_event=stop, **options)
    return job


def parents_in(sink: MemorySink) -> set[str]:
    return {row["parent_id"] for row in sink.tables["subscriptions_events"].values()}


def client_of(world: World, origin: str) -> Limio:
    return Limio(origin, auth=all_credentials(world), transport=InMemoryTransport(world, origin=origin))


async def test_a_page_size_is_for_lists_that_have_pages(run_job: RunJob) -> None:
    report = await run_job("products", "journeys_v2", page_size=10)
    assert [(one.status, one.pages) for one in report.streams] == [("complete", 4), ("complete", 1)]


async def test_a_gap_that_since_leaves_is_asked_for_by_the_next_run(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    (stream,) = sink.rows(STREAMS)
    reached = stream["watermark"]
    later = only(await run_job("offers", mode="incremental", since=reached + timedelta(minutes=5)))
    assert later.watermark == reached
    earlier = only(await run_job("offers", mode="incremental", since=reached - timedelta(days=5)))
    assert earlier.watermark == reached
    await run_job("offers", mode="incremental")
    asked = world.requests("listOffers")[-1].query["opt.modifiedAfter"]
    assert datetime.fromisoformat(asked) == reached - timedelta(hours=1)


async def test_a_wrong_host_leaves_nothing_that_refuses_the_right_one(
    world: World, sink: MemorySink, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    world.faults.on("listProducts", times=1).status(404)
    wrong = Job(client_of(world, "https://wrong.emulated"), to=sink, state=state, streams=["products"])
    assert only(await wrong.run()).status == "failed"
    right = Job(client_of(world, "https://right.emulated"), to=sink, state=state, streams=["products"])
    assert (await right.run()).complete


@pytest.mark.parametrize("broken", ["interrupted", "short"])
async def test_rows_of_another_tenant_refuse_a_client_though_no_stream_was_ever_complete(
    world: World, sink: MemorySink, tmp_path: Path, broken: str
) -> None:
    state = tmp_path / "state"

    def stop_soon(event: SyncEvent) -> None:
        if broken == "interrupted" and event.kind == "written":
            one.stop()

    if broken == "short":
        world.faults.on("listProducts").wrong_hits(41)
    else:
        world.faults.on("listProducts", from_page=3).delay(60)
    client = client_of(world, "https://one.emulated")
    one = Job(client, to=sink, state=state, streams=["products"], page_size=10, on_event=stop_soon)
    assert not (await one.run()).complete
    assert sink.live("products")
    world.faults.clear()
    other = Job(client_of(world, "https://other.emulated"), to=sink, state=state, streams=["products"])
    with pytest.raises(errors.JobError, match="use another target for it"):
        await other.run()


@pytest.mark.parametrize("url", ["sqlite:///{}/limio.db", "ndjson:{}/lake"])
def test_two_runs_refuse_each_other_whatever_state_and_name_they_use(tmp_path: Path, url: str) -> None:
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path)
    one, other = open_sink(url.format(tmp_path)), open_sink(url.format(link))
    one.open()
    with pytest.raises(errors.TargetBusy, match="another run is writing to the target"):
        other.open()
    other.close()
    one.close()
    other.open()
    other.prepare([Table(name="things", columns=(Column("id"), Column("raw", "json")))])
    other.close()
    link.unlink()


def keep(
    spool: Spool, walk: SavedWalk, items: Sequence[bytes], *, stream: str = "offers", head: Any = None
) -> Noted:
    return spool.note(stream, walk, [Page(items=items, walk=copy(walk), head=head)], keeps=True)


def test_a_full_disk_of_the_state_says_what_to_do(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state")
    spool.open(target="a target", origin="a tenant")
    walk = SavedWalk(run="run", started=datetime.now(UTC))
    spool.begin("offers", "", walk)
    items = [b'{"id":"%d"}' % number for number in range(50_000)]
    io_error = r"disk I/O error \(is the disk full, or a limit on the size of files reached\? Nothing is lost, run again\)"
    with small_disk(1_000_000), pytest.raises(errors.SinkError, match=io_error):
        keep(spool, walk, items)
    spool._db.execute("PRAGMA max_page_count = 1")
    full = r"full \(make room on the disk; nothing is lost, run again\)"
    with pytest.raises(errors.SinkError, match=full):
        keep(spool, walk, items)
    assert spool.seen("offers") == 0
    spool._db.execute("PRAGMA max_page_count = 1000000")
    assert keep(spool, walk, items).seen == 50_000
    spool.close()


def test_a_page_that_cannot_be_spooled_leaves_nothing_and_the_next_one_can(tmp_path: Path) -> None:
    spool, walk = Spool(tmp_path / "state"), SavedWalk(run="run", started=datetime.now(UTC))
    spool.open(target="a target", origin="a tenant")
    spool.begin("offers", "", walk)
    with pytest.raises(TypeError):
        keep(spool, walk, [b'{"id":"o-1"}'], head={"a": object()})
    assert list(spool.seen_ids("offers")) == []
    assert keep(spool, walk, [b'{"id":"o-2"}']).seen == 1
    assert list(spool.seen_ids("offers")) == ["o-2"]
    spool.close()


async def test_a_state_that_is_removed_meanwhile_fails_no_job(
    sink: MemorySink, make_job: Make, tmp_path: Path
) -> None:
    def remove(event: SyncEvent) -> None:
        if event.kind == "ended":
            (tmp_path / "state").unlink()

    assert (await make_job("products", on_event=remove).run()).complete
    assert len(sink.live("products")) == 40


def test_a_state_that_is_broken_at_the_end_is_told_and_let_go_of(tmp_path: Path) -> None:
    spool, again = Spool(tmp_path / "state"), Spool(tmp_path / "state")
    spool.lock()
    spool.open(target="a target", origin="a tenant")
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._db.execute("PRAGMA shrink_memory")  # nothing of the file is remembered
    os.truncate(tmp_path / "state", 0)
    with pytest.raises(errors.SinkError, match=r"not a database \(name another file, or remove this one\)"):
        spool.close()
    spool.close()
    again.lock()
    again.close()


def test_a_power_failure_may_take_the_last_moments_of_the_state_but_breaks_none_of_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state")
    spool.open(target="a target", origin="a tenant")
    assert spool._db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert spool._db.execute("PRAGMA synchronous").fetchall() == [(1,)]  # NORMAL
    spool.close()


def test_a_client_without_credentials_syncs_nothing_and_says_so(
    world: World, sink: MemorySink, tmp_path: Path
) -> None:
    nobody = Limio("limio.emulated", transport=InMemoryTransport(world))
    with pytest.raises(errors.MissingCredentials, match="the client has no credentials for any"):
        Job(nobody, to=sink, state=tmp_path / "state")


async def test_streams_whose_tables_have_one_name_are_kept_apart(run_job: RunJob) -> None:
    with pytest.raises(errors.ConfigurationError, match="would share the table objects_gift_code"):
        await run_job("objects:gift_code", "objects:gift-code")
    assert (await run_job("objects:subscription")).complete
    with pytest.raises(
        errors.JobError, match="holds objects:subscription: sync objects:SUBSCRIPTION to another"
    ):
        await run_job("objects:SUBSCRIPTION")


async def test_an_object_that_is_gone_when_it_is_fetched_whole_is_marked_and_in_quarantine(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("promo_codes", hydrate=True)
    world.script("getObject", reply({"message": "gone"}, 404))
    report = only(await run_job("promo_codes", hydrate=True))
    assert (report.status, report.seen, report.deleted, report.quarantined) == ("complete", 12, 0, 1)
    assert len(sink.live("promo_codes")) == 12


async def test_what_is_in_quarantine_leaves_the_row_that_it_had(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    world.faults.on("listOffers", page=1).bad_item(at=3, field="name", value=["odd"])
    report = only(await run_job("offers"))
    assert (report.status, report.quarantined, report.deleted) == ("complete", 1, 0)
    assert len(sink.live("offers")) == 250


async def test_a_walk_that_was_left_with_another_since_is_begun_anew(
    sink: MemorySink, make_job: Make
) -> None:
    options: dict[str, Any] = {"mode": "incremental", "page_size": 10}
    since = datetime(2030, 1, 1, tzinfo=UTC)
    left = stopping_job(
        make_job, "subscriptions", at=lambda event: bool(event.report.passed), since=since, **options
    )
    assert only(await left.run()).status == "interrupted"
    assert only(await make_job("subscriptions", **options).run()).complete
    assert len(sink.live("subscriptions")) == 120


async def test_what_could_not_be_had_before_an_interruption_is_still_missing_after_it(
    world: World, sink: MemorySink, make_job: Make
) -> None:
    unlucky = list(world.ids("subscriptions"))[3]
    world.faults.on("getObject", where={"id": unlucky}).status(503)
    options: dict[str, Any] = {"hydrate": True, "page_size": 10}
    left = stopping_job(
        make_job, "subscriptions", at=lambda event: event.report.missing > 0, attempts=1, **options
    )
    assert only(await left.run()).status == "interrupted"
    world.faults.clear()
    report = only(await make_job("subscriptions", **options).run())
    assert (report.status, report.missing) == ("incomplete", 1)
    assert only(await make_job("subscriptions", **options).run()).complete
    assert unlucky in sink.live("subscriptions")


async def test_a_walk_is_begun_anew_where_another_run_has_written_the_table_since(
    world: World, client: Limio, sink: MemorySink, make_job: Make, tmp_path: Path
) -> None:
    left = stopping_job(make_job, "subscriptions", at=lambda event: event.kind == "written", page_size=10)
    assert only(await left.run()).status == "interrupted"
    elsewhere = Job(client, to=sink, state=tmp_path / "of another machine", streams=["subscriptions"])
    assert only(await elsewhere.run()).complete
    before = world.count("listObjects")
    assert only(await make_job("subscriptions", page_size=10).run()).complete
    assert world.count("listObjects") - before == 13


async def test_children_that_could_not_be_had_are_asked_for_by_the_next_incremental_run(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    unlucky = list(world.ids("subscriptions"))[3]
    world.faults.on("listObjectEvents", where={"id": unlucky}).status(503)
    options: dict[str, Any] = {"mode": "incremental", "overlap": timedelta(minutes=1)}
    first = await run_job("subscriptions.events", attempts=1, **options)
    assert [one.status for one in first.streams] == ["complete", "incomplete"]
    world.faults.clear()
    assert (await run_job("subscriptions.events", **options)).complete
    assert unlucky in parents_in(sink)
    before = world.count("listObjectEvents")
    assert (await run_job("subscriptions.events", **options)).complete
    assert world.count("listObjectEvents") - before < 10


async def test_children_that_are_synced_for_the_first_time_are_those_of_all_objects(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("subscriptions")
    assert (await run_job("subscriptions.events", mode="incremental", overlap=timedelta())).complete
    assert parents_in(sink) == {*world.ids("subscriptions")}
    assert world.count("listObjectEvents") == 120
    watermarks = {row["id"]: row["watermark"] for row in sink.rows(STREAMS)}
    assert watermarks["subscriptions_events"] == watermarks["subscriptions"]


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("cut", ["subscriptions", "subscriptions.events"])
async def test_a_stop_among_parents_or_children_is_gone_on_with_in_the_middle(
    world: World, sink: MemorySink, make_job: Make, mode: str, cut: str
) -> None:
    options: dict[str, Any] = {
        "mode": mode,
        "page_size": 10,
        "concurrency": 1,
        "overlap": timedelta(minutes=1),
    }
    left = stopping_job(
        make_job,
        "subscriptions.events",
        at=lambda event: event.report.stream == cut and event.report.pages > 2,
        **options,
    )
    assert (await left.run()).interrupted
    assert (await make_job("subscriptions.events", **options).run()).complete
    assert parents_in(sink) == {*world.ids("subscriptions")}
    assert world.count("listObjects") <= 14
    assert world.count("listObjectEvents") <= 123  # three were in hand or on the wire when it was stopped


@pytest.mark.parametrize("mode", ["full", "incremental"])
async def test_children_that_were_left_of_a_list_that_broke_off_are_listed_anew(
    world: World, sink: MemorySink, make_job: Make, mode: str
) -> None:
    options: dict[str, Any] = {"mode": mode, "page_size": 10, "attempts": 1}
    world.faults.on("listObjects", from_page=4).status(503)
    left = stopping_job(
        make_job,
        "subscriptions.events",
        at=lambda event: event.report.stream == "subscriptions.events" and event.report.pages > 20,
        **options,
    )
    assert [one.status for one in (await left.run()).streams] == ["failed", "interrupted"]
    world.faults.clear()
    assert (await make_job("subscriptions.events", **options).run()).complete
    assert parents_in(sink) == {*world.ids("subscriptions")}


async def test_objects_are_listed_anew_once_nobody_waits_for_their_children(
    world: World, sink: MemorySink, make_job: Make
) -> None:
    left = stopping_job(
        make_job, "subscriptions.events", at=lambda event: event.report.stream == "subscriptions.events"
    )
    assert (await left.run()).interrupted
    before = world.count("listObjects")
    assert only(await make_job("subscriptions").run()).complete
    assert world.count("listObjects") > before


async def test_a_database_of_somebody_else_is_no_state(
    client: Limio, sink: MemorySink, tmp_path: Path
) -> None:
    file = tmp_path / "mine.db"
    with closing(sqlite3.connect(file)) as mine:
        mine.executescript("CREATE TABLE pages (text); INSERT INTO pages VALUES ('precious');")
    with pytest.raises(errors.SinkError, match="a database that limio did not make; name another file"):
        await Job(client, to=sink, state=file, streams=["products"]).run()
    with closing(sqlite3.connect(file)) as mine:
        assert mine.execute("SELECT * FROM pages").fetchall() == [("precious",)]


async def test_a_job_that_is_refused_makes_no_tables(world: World, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/limio.db"
    await Job(client_of(world, "https://one.emulated"), to=url, streams=["products"]).run()
    with pytest.raises(errors.JobError, match="use another target for it"):
        await Job(client_of(world, "https://other.emulated"), to=url, streams=["segments"]).run()
    with closing(sqlite3.connect(tmp_path / "limio.db")) as file:
        assert not file.execute("SELECT * FROM sqlite_master WHERE name = 'segments'").fetchall()


@pytest.mark.parametrize(
    "kind", ["TABLE products (id VARCHAR, raw VARCHAR)", "VIEW products AS SELECT '1' AS id, '2' AS raw"]
)
async def test_a_table_of_somebody_else_is_not_taken_up_though_the_file_is_ours(
    client: Limio, tmp_path: Path, kind: str
) -> None:
    duckdb = pytest.importorskip("duckdb")
    url = f"duckdb:///{tmp_path}/limio.duckdb"
    assert (await Job(client, to=url, streams=["segments"]).run()).complete
    with duckdb.connect(tmp_path / "limio.duckdb") as file:
        file.execute(f"CREATE {kind}")
    with pytest.raises(errors.SinkError, match="a table products that limio did not make"):
        await Job(client, to=url, streams=["products"]).run()


async def test_a_target_on_a_read_only_disk_can_be_looked_at(client: Limio, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/limio.db"
    await Job(client, to=url, streams=["products"]).run()
    (tmp_path / "limio.db-shm").symlink_to("nowhere/index")  # on such a disk, none can be made for a journal
    sink = open_sink(url)
    sink.open(to_read=True)
    assert [row["status"] for row in sink.rows(RUNS)] == ["complete"]
    sink.close()


async def test_a_stream_that_fails_tells_how_often_it_was_tried(world: World, run_job: RunJob) -> None:
    world.faults.on("listObjects").status(503)
    report = only(await run_job("subscriptions"))
    assert (report.status, report.requests, report.retries) == ("failed", 3, 2)


@pytest.mark.parametrize(
    ("name", "operation"), [("promo_codes", "getObject"), ("subscriptions.events", "listObjectEvents")]
)
async def test_what_is_fetched_for_each_object_counts_every_request_and_retry(
    world: World, run_job: RunJob, monkeypatch: pytest.MonkeyPatch, name: str, operation: str
) -> None:
    monkeypatch.setattr("limio_async.core.retry._BASE", 0.0001)
    world.faults.on(operation, times=2).status(503)
    world.faults.on(operation, call=9).status(500)
    report = (await run_job(name, hydrate=operation == "getObject")).streams[-1]
    listed = 0 if "." in name else report.pages
    assert (report.status, report.retries) == ("complete", 3)
    assert report.requests == world.count(operation) + listed


async def test_a_directory_in_the_place_of_a_file_is_told_each_time(client: Limio, tmp_path: Path) -> None:
    url = f"ndjson:{tmp_path}"
    await Job(client, to=url, streams=["products"]).run()
    (tmp_path / "products.ndjson").unlink()
    (tmp_path / "products.ndjson").mkdir()
    with pytest.raises(errors.SinkError, match=r"products.ndjson.*: Is a directory"):
        await Job(client, to=url, streams=["products"]).run()


async def test_streams_that_a_stopped_job_never_began_are_interrupted_and_the_next_run_does_them(
    world: World, sink: MemorySink, make_job: Make
) -> None:
    names = ("products", "segments", "subscriptions.events")
    left = stopping_job(make_job, *names, at=lambda event: event.kind == "ended", streams_at_once=1)
    report = await left.run()
    assert {one.stream: (one.status, one.requests) for one in report.streams} == {
        "subscriptions": ("complete", 3),
        "products": ("interrupted", 0),
        "segments": ("interrupted", 0),
        "subscriptions.events": ("interrupted", 0),
    }
    assert (report.interrupted, report.complete) == (True, False)
    assert [row["stream"] for row in sink.rows(RUNS)] == ["subscriptions"]
    assert (await make_job(*names).run()).complete
    assert parents_in(sink) == {*world.ids("subscriptions")}


@pytest.mark.parametrize("name", ["offers", "subscriptions", "subscriptions.events"])
async def test_a_list_that_was_walked_to_its_end_is_not_asked_for_again(
    world: World, sink: MemorySink, run_job: RunJob, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    table, note, at_end = name.replace(".", "_"), Spool.note, threading.Event()

    def noted(spool: Spool, stream: str, walk: SavedWalk, pages: Sequence[Page], **named: Any) -> Noted:
        made = note(spool, stream, walk, pages, **named)
        if stream == name and pages[-1].walk.ended:
            at_end.set()
        return made

    def full(changes: Any, *, then: Any = None) -> Any:
        if any(change.table.name == table and change.rows for change in changes):
            assert at_end.wait(10)
            raise errors.SinkError("the disk is full")
        return MemorySink.apply(sink, changes, then=then)

    with monkeypatch.context() as patch, pytest.raises(errors.SinkError, match="the disk is full"):
        patch.setattr(Spool, "note", noted)
        patch.setattr(sink, "apply", full)
        await run_job(name, page_size=10)
    asked = world.count()
    report = (await run_job(name, page_size=10)).streams[-1]
    assert (report.status, report.inserted) == ("complete", len(sink.live(table)))
    assert world.count() == asked


async def test_a_list_that_was_not_whole_is_not_complete_for_the_run_that_goes_on_with_it(
    world: World, sink: MemorySink, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = InMemoryTransport.send

    async def of_some_more(self: InMemoryTransport, request: Request, *, timeout: float) -> Response:
        found = await send(self, request, timeout=timeout)
        return msgspec.structs.replace(found, body=found.body.replace(b'"eq"', b'"gte"'))

    def killed(changes: Any, *, then: Any = None) -> Any:
        if any("incomplete" in row for change in changes if change.table is RUNS for row in change.rows):
            raise KeyError("killed")
        return MemorySink.apply(sink, changes, then=then)

    await run_job("offers")
    monkeypatch.setattr(InMemoryTransport, "send", of_some_more)
    world.faults.on("listOffers").wrong_hits(300)
    world.add_offers(-10)
    with monkeypatch.context() as patch, pytest.raises(KeyError, match="killed"):
        patch.setattr(sink, "apply", killed)
        await run_job("offers")
    asked = world.count("listOffers")
    report = only(await run_job("offers"))
    assert (report.status, report.seen, report.deleted) == ("incomplete", 240, 0)
    assert "300 were promised" in str(report.error)
    assert world.count("listOffers") == asked


async def test_a_job_that_is_stopped_waits_for_no_object(
    world: World, client: Limio, sink: MemorySink, tmp_path: Path
) -> None:
    class Slow(InMemoryTransport):
        async def send(self, request: Request, *, timeout: float) -> Response:
            if world.count("getObject") > 8:
                job.stop()
                await anyio.sleep_forever()
            return await super().send(request, timeout=timeout)

    slow = Limio("limio.emulated", auth=all_credentials(world), transport=Slow(world))
    options: dict[str, Any] = {
        "to": sink,
        "state": tmp_path / "state",
        "streams": ["subscriptions"],
        "hydrate": True,
    }
    job = Job(slow, **options)
    with anyio.fail_after(10):
        assert only(await job.run()).status == "interrupted"
    assert only(await Job(client, **options).run()).inserted == 120


async def test_a_kill_between_a_batch_and_its_note_forgets_no_object_that_is_gone(
    world: World, sink: MemorySink, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(changes: Any, *, then: Any = None) -> Any:
        MemorySink.apply(sink, changes, then=then)
        if any(one.table.name == QUARANTINE.name and one.rows for one in changes):
            raise KeyError("killed")

    await run_job("promo_codes", hydrate=True)
    world.script("getObject", reply({"message": "gone"}, 404))
    with monkeypatch.context() as patch, pytest.raises(KeyError, match="killed"):
        patch.setattr(sink, "apply", killed)
        await run_job("promo_codes", hydrate=True)
    report = only(await run_job("promo_codes", hydrate=True))
    assert (report.status, report.seen, report.deleted, report.quarantined) == ("complete", 12, 0, 1)
    assert len(sink.live("promo_codes")) == 12


async def test_a_job_that_is_cancelled_while_it_opens_its_target_has_closed_it(
    sink: MemorySink, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = threading.Event()
    told: list[str] = []

    def slowly(**_: object) -> None:
        opening.wait(5)
        MemorySink.open(sink)
        told.append("open")

    def closed() -> None:
        MemorySink.close(sink)
        told.append("closed")

    monkeypatch.setattr(sink, "open", slowly)
    monkeypatch.setattr(sink, "close", closed)
    running = asyncio.create_task(make_job("offers").run())
    await asyncio.sleep(0.05)
    running.cancel()  # as `asyncio.timeout` does it
    await asyncio.sleep(0.05)
    opening.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert told == ["open", "closed"]


async def test_a_state_that_cannot_be_closed_leaves_no_target_open(
    sink: MemorySink, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Spool.close

    def broken(spool: Spool) -> None:
        close(spool)
        raise errors.SinkError("the disk is gone")

    closed: list[bool] = []
    monkeypatch.setattr(Spool, "close", broken)
    monkeypatch.setattr(sink, "close", lambda: closed.append(True))
    with pytest.raises(errors.SinkError, match="the disk is gone"):
        await make_job("offers").run()
    assert closed


async def test_a_moment_without_a_zone_is_in_utc(world: World, run_job: RunJob) -> None:
    since = datetime(2024, 3, 1, 1)  # as people write it
    naive = only(await run_job("subscriptions", mode="incremental", since=since))
    assert (naive.status, naive.passed) == ("complete", 60)


@pytest.mark.parametrize("none", ["concurrency", "streams_at_once"])
async def test_a_job_that_could_do_nothing_is_refused(make_job: Make, none: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="at least 1"):
        make_job("offers", **{none: 0})


async def test_items_are_read_in_worker_threads(run_job: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(raw: bytes) -> Summary:
        threads.add(threading.get_ident())
        return summary_of(raw)

    threads: set[int] = set()
    for module in ("spool", "walk"):
        monkeypatch.setattr(f"limio_async.sync_jobs.{module}.summary_of", noted)
    assert (await run_job("offers")).complete
    assert threads
    assert threading.get_ident() not in threads


async def test_a_target_and_a_state_are_used_by_one_thread_at_a_time(
    sink: MemorySink, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(work: Callable[..., Any]) -> Callable[..., Any]:
        in_use = threading.Lock()

        def called(*args: Any, **named: Any) -> Any:
            assert in_use.acquire(blocking=False), "two threads at once"
            time.sleep(0.01)
            done = work(*args, **named)
            in_use.release()
            return done

        return called

    monkeypatch.setattr(sink, "apply", alone(sink.apply))
    monkeypatch.setattr(Spool, "begin", alone(Spool.begin))
    assert (await make_job("offers", "products", "segments", "assets").run()).complete


def test_a_watermark_says_before_when_all_changes_were_seen() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert watermark(noon, noon - hour, before=None, since=None) == noon - hour
    assert watermark(noon, noon + hour, before=None, since=None) == noon  # more may have come meanwhile
    assert watermark(noon, noon, before=noon - 2 * hour, since=noon - hour) == noon - 2 * hour  # a gap
    assert watermark(noon, noon, before=noon - 2 * hour, since=noon - 3 * hour) == noon
    assert watermark(noon, noon - hour, before=noon, since=None) == noon  # it never goes back
    assert watermark(noon, None, before=None, since=None) is None


def test_a_time_that_is_still_to_come_moves_no_watermark() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert newest(None, noon + hour, until=noon) is None
    assert newest(noon - hour, noon + hour, until=noon) == noon - hour
    assert newest(noon - hour, None, until=noon) == noon - hour
    assert newest(noon - hour, noon - 2 * hour, until=noon) == noon - hour
    assert newest(noon - hour, noon, until=noon) == noon


def test_an_item_is_old_only_where_every_time_that_it_tells_is() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    old, new = "2025-12-31T23:00:00Z", "2026-01-01T01:00:00Z"
    told = {
        b'{"updated":"%b"}': True,
        b'{"data":{"modified":"%b"}}': True,
        b'{"created":"%b"}': False,
        b'{"data":{"modified":"%b","version_date":"NEW"}}': False,
        b"{}": False,
    }
    for text, expected in told.items():
        item = text.replace(b"%b", old.encode()).replace(b"NEW", new.encode())
        assert is_old(summary_of(item), since) is expected, text
    assert not is_old(summary_of(b'{"updated":"2020-01-01"}'), None)


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("text", True, "true"),
        ("text", False, "false"),
        ("number", True, None),
        ("number", False, None),
        ("number", {"amount": 1}, None),
        ("number", [1], None),
        ("number", "one", None),
        ("number", "7.5", 7.5),
        ("number", "1e999", None),
        ("number", 10**400, None),
        ("integer", 2**63 - 1, 2**63 - 1),
        ("integer", 1 - 2**63, 1 - 2**63),
        ("integer", 2**63, None),
        ("integer", [1], None),
        ("integer", "seven", None),
        ("integer", True, None),
        ("integer", False, None),
        ("boolean", False, False),
        ("boolean", 0, None),
        ("boolean", "true", None),
    ],
)
def test_true_is_no_number_and_no_number_is_true(kind: Kind, sent: object, kept: object) -> None:
    found = value_at({"sent": sent}, Spot("kept", (("sent",),), kind))
    assert (found, type(found)) == (kept, type(kept))


def test_a_row_is_written_anew_when_its_columns_are_read_elsewhere() -> None:
    item = Item(b'{"id":"o1"}', "o1")
    plain = stream("offers")
    spots = tuple(msgspec.structs.replace(spot, paths=spot.paths[:1]) for spot in plain.spots)
    elsewhere = msgspec.structs.replace(plain, spots=spots)
    first, other = (Reader(one, "full").row(item)[-2] for one in (plain, elsewhere))
    assert first != other
    first, same = (Reader(one, "append").row(item)[-2] for one in (plain, elsewhere))
    assert first == same  # a version that is kept is not another one


@pytest.mark.parametrize(
    ("bound", "later", "parent_run", "goes_on"),
    [
        ("full", timedelta(hours=23), "p1", True),
        ("full", timedelta(hours=24), "p1", False),
        ("append", timedelta(0), "p1", False),
        ("full", timedelta(0), "p2", False),
    ],
)
def test_a_walk_is_gone_on_with_for_a_day_by_a_run_like_it(
    tmp_path: Path, bound: str, later: timedelta, parent_run: str, goes_on: bool
) -> None:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    spool = Spool(tmp_path / "state")
    spool.open(target="t", origin="o")
    spool.begin("events", "full", SavedWalk(run="r1", started=started, parent_run="p1"))
    fresh = SavedWalk(run="r2", started=started + later, parent_run=parent_run)
    walk, _, _ = spool.begin("events", bound, fresh)
    spool.close()
    assert walk.run == ("r1" if goes_on else "r2")


@pytest.mark.parametrize("other", [{"target": "t2"}, {"origin": "o2"}, {}])
def test_a_state_of_another_target_or_tenant_is_not_resumed(tmp_path: Path, other: dict[str, str]) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    spool = Spool(tmp_path / "state")
    for run, belongs in (("r1", {}), ("r2", other)):
        spool.open(**{"target": "t", "origin": "o"} | belongs)
        walk, _, _ = spool.begin("offers", "full", SavedWalk(run=run, started=began))
        spool.close()
    assert walk.run == ("r2" if other else "r1")


@pytest.mark.parametrize(
    ("items", "size", "pages"),
    [
        (6, 10**6, 2),
        (5, 10**6, 1),
        (1, 10**6, 1),
        (99, 10**6, 4),
        (99, 2 * 62, 2),
        (99, 2 * 62 - 1, 1),
        (99, 1, 1),
    ],
)
def test_a_batch_holds_so_many_items_and_bytes_and_at_least_a_page(
    tmp_path: Path, items: int, size: int, pages: int
) -> None:
    spool, walk = Spool(tmp_path / "state"), SavedWalk(run="r1", started=datetime.now(UTC))
    spool.open(target="t", origin="o")
    for name in ("offers", "products"):
        spool.begin(name, "full", walk)
    for page in "abcd":
        for name in ("offers", "products"):
            keep(spool, walk, [b'{"id":"%b%d"}' % (page.encode(), n) for n in range(3)], stream=name)
    found = spool.next_batch("offers", 0, items=items, size=size)
    assert [msgspec.json.decode(unpack(one.packed)[0])["id"] for one in found] == [
        f"{page}0" for page in "abcd"[:pages]
    ]
    assert len(found[0].packed) == 62
    rest = spool.next_batch("offers", found[-1].seq, items=99, size=10**6)
    assert len(rest) == 4 - pages
    spool.close()


@pytest.mark.parametrize("delivered", [0, 10_000])
async def test_a_report_that_is_older_or_newer_than_the_state_is_not_gone_on_with(
    sink: MemorySink, make_job: Make, delivered: int
) -> None:
    left = stopping_job(make_job, "subscriptions", at=lambda event: event.kind == "written", page_size=10)
    first = only(await left.run())
    assert (first.status, first.delivered > 0) == ("interrupted", True)
    for row in sink.tables[RUNS.name].values():
        row["delivered"] = delivered
    again = only(await make_job("subscriptions", page_size=10).run())
    assert (again.status, again.seen) == ("complete", 120)
    assert again.run != first.run
    assert len(sink.live("subscriptions")) == 120


@pytest.mark.parametrize("other", [{"hydrate": True}, {"mode": "append"}])
async def test_a_walk_is_not_gone_on_with_by_a_run_of_another_kind(
    make_job: Make, other: dict[str, Any]
) -> None:
    left = stopping_job(make_job, "subscriptions", at=lambda event: event.kind == "written", page_size=10)
    first = only(await left.run())
    again = only(await make_job("subscriptions", page_size=10, **other).run())
    assert (first.status, again.status) == ("interrupted", "complete")
    assert again.run != first.run


async def test_children_of_an_incomplete_list_mark_nothing(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("subscriptions.events", hydrate=True)
    unlucky = next(iter(world.ids("subscriptions")))
    world.faults.on("getObject", where={"id": unlucky}).status(500)
    world.faults.on("listObjectEvents", times=1).status(
        404
    )  # its object is gone: it has none, and nothing is missing
    parent, events = (await run_job("subscriptions.events", hydrate=True, attempts=1)).streams
    assert (parent.status, parent.missing) == ("incomplete", 1)
    assert (events.status, events.error, events.missing) == ("incomplete", "subscriptions is not complete", 0)
    assert len(sink.live("subscriptions_events")) == len(sink.tables["subscriptions_events"])


async def test_credentials_that_children_refuse_end_their_stream(world: World, run_job: RunJob) -> None:
    world.faults.on("listObjectEvents").status(403)
    _, events = (await run_job("subscriptions.events")).streams
    assert events.status == "failed"
    assert world.count("listObjectEvents") < 120  # not each is tried


async def test_quarantine_holds_the_exact_bytes(
    world: World, client: Limio, sink: MemorySink, run_job: RunJob
) -> None:
    world.faults.on("listOffers", page=1, times=2).bad_item(at=3, field="name", value=["odd"])
    await run_job("offers")
    sent = {raw async for raw in client.offers.list().raw()}
    (row,) = sink.rows(QUARANTINE)
    assert row["raw"] in sent


async def test_files_are_published_with_all_rows_where_too_many_are_gone(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    sink.published.clear()
    world.add_offers(-100)
    assert only(await run_job("offers")).status == "incomplete"
    assert sink.published == ["offers"]
    assert len(sink.live("offers")) == 250


def test_a_row_is_written_anew_when_its_table_has_other_columns() -> None:
    item = Item(b'{"id":"o1"}', "o1")
    plain = stream("offers")
    fewer = msgspec.structs.replace(plain, spots=plain.spots[:-1])
    first, same, other = (Reader(one, "full").row(item)[-2] for one in (plain, plain, fewer))
    assert first == same
    assert first != other


@pytest.mark.parametrize(("stream", "waits"), [("subscriptions", True), ("offers", False)])
async def test_a_slow_target_holds_up_a_list_unless_it_is_a_scroll(
    stream: str, waits: bool, sink: MemorySink, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scroll would expire meanwhile; all else stays small in the job's state."""
    writing, ahead = sink.apply, 0

    def slowly(*args: Any, **named: Any) -> Any:
        time.sleep(0.2)
        return writing(*args, **named)

    def note(event: SyncEvent) -> None:
        nonlocal ahead
        ahead = max(ahead, event.report.listed - event.report.written)

    monkeypatch.setattr(sink, "apply", slowly)
    monkeypatch.setattr("limio_async.sync_jobs.run.fill.SPOOLED_AT_MOST", 20_000)
    monkeypatch.setattr("limio_async.sync_jobs.run.drain.BATCH_ITEMS", 30)
    report = only(await make_job(stream, page_size=10, on_event=note).run())
    assert report.complete
    assert (ahead < report.listed / 2) is waits
