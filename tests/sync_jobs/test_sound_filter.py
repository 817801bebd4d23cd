"""Incremental runs against tenants whose filter sees every item, and whose filter hides some: no row is ever stale."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from limio_async import ApiKey, BearerToken, Limio
from limio_async.cli.app import app
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World
from limio_async.sync_jobs import Job, StreamReport, SyncEvent
from limio_async.sync_jobs.dlt import limio as source
from limio_async.sync_jobs.ledger import QUARANTINE, RUNS, in_quarantine
from limio_async.sync_jobs.rows import table_of
from limio_async.sync_jobs.sink import Sink
from limio_async.sync_jobs.sinks import open_sink
from limio_async.sync_jobs.streams import stream
from tests.conftest import ScriptedTransport
from tests.flows.conftest import all_credentials
from tests.sync_jobs.conftest import only
from tests.sync_jobs.memory_sink import MemorySink
from tests.sync_jobs.raw_tenant import Mode, RawTenant, Shape, raw_tenant
from tests.sync_jobs.sinks.targets import schema_of_postgres


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> Iterator[RawTenant]:
    """One whose filter sees every item, or the one that a test names."""
    with raw_tenant(RawTenant(getattr(request, "param", "sees"))) as found:
        yield found


hiding = pytest.mark.parametrize("tenant", ["hides"], indirect=True)


async def sync(tenant: RawTenant, to: Sink | str, state: Path | None = None, **options: Any) -> StreamReport:
    async with Limio(tenant.url, auth=ApiKey("public_key"), attempts=2) as limio:
        given = {"mode": "incremental", "streams": ["offers"], "state": state, **options}
        return only(await Job(limio, to=to, **given).run())


def rows_of(sink: Sink, mode: Any = "incremental") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in sink.rows(table_of(stream("offers"), mode))}


def stale(tenant: RawTenant, rows: dict[str, dict[str, Any]]) -> set[str]:
    """Offers whose row is missing or is not as they are."""
    return {
        name
        for name, item in tenant.items.items()
        if name not in rows or json.loads(rows[name]["raw"]) != item
    }


# --- nights


@pytest.mark.parametrize(
    ("kind", "shape", "nights"),
    [("sqlite", "live", 30), ("sqlite", "documented", 30), ("postgres", "live", 10)],
)
@pytest.mark.parametrize("since", [None, timedelta(days=1, hours=1)], ids=["watermark", "since"])
@pytest.mark.parametrize("mode", ["sees", "hides"])
async def test_over_thirty_nights_no_row_is_stale(
    mode: Mode, since: timedelta | None, shape: Shape, kind: str, nights: int, tmp_path: Path
) -> None:
    tenant = RawTenant(mode, shape=shape, seed=14)
    with raw_tenant(tenant), ExitStack() as stack:
        name = f"limio_nights_{secrets.token_hex(4)}"
        url = (
            f"sqlite:///{tmp_path}/nights.db"
            if kind == "sqlite"
            else stack.enter_context(schema_of_postgres(name))
        )
        for night in range(nights):
            asked = len(tenant.asked)
            chosen = tenant.now - since if since and night else None
            report = await sync(tenant, url, tmp_path / "state", since=chosen, page_size=20)
            assert report.complete
            assert report.requests == len(tenant.asked) - asked
            with closing(open_sink(url)) as sink:
                sink.open(to_read=True)
                assert stale(tenant, rows_of(sink)) == set(), f"night {night}"
            if night:
                assert (report.unfiltered is None) == (mode == "sees"), report.unfiltered
                assert report.seen < 10 if mode == "sees" else report.seen == len(tenant.items)
            tenant.night(quietly=not since or mode == "sees")


@pytest.mark.parametrize("mode", ["sees", "hides"])
async def test_every_version_is_appended_over_nights(mode: Mode, tmp_path: Path, sink: MemorySink) -> None:
    tenant = RawTenant(mode, seed=5)
    versions: set[bytes] = set()
    with raw_tenant(tenant):
        for _ in range(6):
            versions |= {json.dumps(item).encode() for item in tenant.items.values()}
            assert (await sync(tenant, sink, tmp_path / "state", mode="append")).complete
            tenant.night(quietly=True)
            kept = [bytes(row["raw"]) for row in sink.tables["offers_history"].values()]
            assert {json.dumps(json.loads(raw)).encode() for raw in kept} == versions
            assert len(kept) == len(versions)


# --- one run after another


async def test_where_the_filter_sees_every_item_only_what_has_changed_is_asked_for(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    first = await sync(tenant, sink, tmp_path / "state")
    assert (first.seen, first.unfiltered) == (24, None)
    assert tenant.looks == []  # there is nothing to filter by yet
    reached = first.watermark
    assert reached == tenant.now
    for name, row in rows_of(sink).items():
        assert (row["created"], row["record_type"]) == (tenant.changed[name], "offer")
        assert row["updated"] == (None if name == "o020" else tenant.changed[name])
    tenant.now += timedelta(days=1)
    tenant.change("o001")
    tenant.retag("o012")
    tenant.asked.clear()
    second = await sync(tenant, sink, tmp_path / "state")
    assert (second.seen, second.updated, second.unchanged) == (3, 2, 1)  # and the last one, by the overlap
    assert (second.unfiltered, second.requests) == (None, 3)
    assert tenant.looks == [
        {"opt.pageSize": "1"},
        {"opt.pageSize": "1", "opt.modifiedAfter": "1970-01-01T00:00:00Z"},
    ]
    (walk,) = tenant.walks
    assert datetime.fromisoformat(walk["opt.modifiedAfter"]) == reached - timedelta(hours=1)
    assert second.watermark == tenant.now
    assert stale(tenant, rows_of(sink)) == set()


@hiding
async def test_where_the_filter_hides_items_everything_is_asked_for_and_the_report_says_why(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.now += timedelta(days=1)
    tenant.change("o012")  # one that the filter hides
    gone = "o021"
    tenant.delete(gone)
    tenant.asked.clear()
    report = await sync(tenant, sink, tmp_path / "state")
    assert report.unfiltered == "the filter hides 16 of 23 items"
    assert (report.status, report.seen, report.passed, report.updated) == ("complete", 23, 0, 1)
    assert report.requests == len(tenant.asked) == 5
    assert "opt.modifiedAfter" not in tenant.walks[0]
    assert report.deleted == 0  # as in every incremental run
    assert rows_of(sink)[gone]["deleted_at"] is None
    assert (await sync(tenant, sink, tmp_path / "state", mode="full")).deleted == 1


@hiding
async def test_with_since_what_says_that_it_is_older_is_left_alone_and_what_says_nothing_is_not(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.now += timedelta(days=1)
    tenant.change("o012")
    tenant.publish("o002")  # its `modified` stays
    tenant.change("o020")  # tells no time
    report = await sync(tenant, sink, tmp_path / "state", since=tenant.now - timedelta(hours=1))
    assert report.unfiltered == "the filter hides 17 of 24 items"
    assert (report.seen, report.passed, report.updated, report.unchanged) == (24, 21, 3, 0)
    assert stale(tenant, rows_of(sink)) == set()


@hiding
async def test_what_says_that_it_is_older_stays_in_quarantine_until_it_is_looked_at(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    def held() -> list[str]:
        return [row["item_id"] for row in in_quarantine(sink.rows(QUARANTINE))]

    name = tenant.items["o003"]["name"]
    tenant.items["o003"]["name"] = ["odd"]
    await sync(tenant, sink, tmp_path / "state")
    (odd,) = held()
    tenant.now += timedelta(days=1)
    assert (await sync(tenant, sink, tmp_path / "state", since=tenant.now - timedelta(hours=1))).passed >= 21
    assert held() == [odd]
    tenant.items["o003"]["name"] = name
    tenant.change("o003")
    await sync(tenant, sink, tmp_path / "state", since=tenant.now - timedelta(hours=1))
    assert held() == []


async def test_a_full_run_and_one_without_a_watermark_ask_nothing_beside_the_list(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    for mode in ("full", "incremental", "full", "append"):
        await sync(tenant, sink, tmp_path / "state", mode=mode)
    assert len(tenant.looks) == 2


# --- what the tenant tells


@pytest.mark.parametrize(
    ("hits", "unfiltered"),
    [
        (lambda count: count, None),
        (lambda count: str(count), None),
        (lambda count: {"value": count, "relation": "eq"}, None),
        (
            lambda count: {"value": count, "relation": "gte"},
            "the tenant does not tell how many items there are",
        ),
        (lambda count: {"value": None}, "the tenant does not tell how many items there are"),
        (lambda count: None, "the tenant does not tell how many items there are"),
    ],
)
async def test_only_exact_counts_are_trusted(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path, hits: Callable[[int], Any], unfiltered: str | None
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.hits = hits
    report = await sync(tenant, sink, tmp_path / "state")
    assert (report.status, report.unfiltered) == ("complete", unfiltered)


@pytest.mark.parametrize("names_snapshot", [True, False])
async def test_a_catalog_that_was_rebuilt_between_the_two_is_asked_once_more(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path, names_snapshot: bool
) -> None:
    tenant.names_snapshot = names_snapshot
    await sync(tenant, sink, tmp_path / "state")
    tenant.before_answer = lambda _: tenant.insert("published") if len(tenant.looks) == 2 else None
    report = await sync(tenant, sink, tmp_path / "state")
    assert (len(tenant.looks), report.requests, report.unfiltered) == (4, 5, None)
    assert stale(tenant, rows_of(sink)) == set()


async def test_a_catalog_that_is_rebuilt_all_the_time_is_listed_in_full(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.change("o003")

    def rebuild(request: web.Request) -> None:
        tenant.commit += "opt.all" not in request.query

    tenant.before_answer = rebuild
    report = await sync(tenant, sink, tmp_path / "state")
    assert report.unfiltered == "the catalog was rebuilt while the tenant was asked"
    assert (len(tenant.looks), report.requests, report.status) == (4, 7, "complete")
    assert stale(tenant, rows_of(sink)) == set()


async def test_a_catalog_that_is_rebuilt_during_the_walk_is_asked_again(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.now += timedelta(days=1)
    for name in [*tenant.items][:15]:
        tenant.change(name)

    def rebuild(request: web.Request) -> None:
        if "opt.queryMoreFrom" in request.query and tenant.mode == "sees":
            tenant.mode = "hides"
            tenant.commit += 1

    tenant.before_answer = rebuild
    report = await sync(tenant, sink, tmp_path / "state")
    assert (report.restarts, report.unfiltered) == (1, "the filter hides 17 of 24 items")
    assert (report.status, report.seen) == ("complete", 24)
    assert stale(tenant, rows_of(sink)) == set()


async def test_a_page_whose_answer_is_lost_leaves_no_row_out(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    lost: list[str] = []

    def lose(request: web.Request) -> None:
        if "opt.queryMoreFrom" in request.query and not lost:
            lost.append(request.query["opt.queryMoreFrom"])
            assert request.transport is not None
            request.transport.abort()  # the scroll moves on all the same

    tenant.before_answer = lose
    report = await sync(tenant, sink, tmp_path / "state")
    assert (report.status, report.seen, report.restarts, len(lost)) == ("complete", 24, 1, 1)
    assert stale(tenant, rows_of(sink)) == set()


@pytest.mark.parametrize("status", [200, 400, 403, 404, 501])
async def test_a_filter_that_is_refused_is_not_used(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path, status: int
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    refusal = {"message": "no such option", "items": None}
    tenant.before_answer = lambda request: (
        web.json_response(refusal, status=status) if "opt.modifiedAfter" in request.query else None
    )
    report = await sync(tenant, sink, tmp_path / "state")
    assert report.complete
    assert report.unfiltered is not None
    assert report.unfiltered.startswith("the tenant refuses the filter (")
    assert ("no such option" if status != 200 else "has no items") in report.unfiltered


@pytest.mark.parametrize("status", [401, 429])
async def test_a_filter_is_not_said_to_be_refused_where_nothing_was_said_of_it(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path, status: int
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.before_answer = lambda request: (
        web.json_response({"message": "not now"}, status=status)
        if "opt.modifiedAfter" in request.query
        else None
    )
    report = await sync(tenant, sink, tmp_path / "state")
    assert (report.status, report.unfiltered, report.watermark) == ("failed", None, None)
    assert f"{status} not now" in (report.error or "")


async def test_a_tenant_that_is_down_while_it_is_asked_fails_the_stream_and_every_request_counts(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.asked.clear()
    tenant.before_answer = lambda _: web.json_response({"message": "down"}, status=503)
    report = await sync(tenant, sink, tmp_path / "state")
    assert (report.status, report.requests, report.retries) == ("failed", len(tenant.asked), 1)
    assert report.watermark is None


@pytest.mark.parametrize("status", [408, 425, 429])
async def test_a_filter_that_is_not_answered_for_now_is_not_a_refused_one(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path, status: int
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    tenant.before_answer = lambda request: (
        web.json_response({}, status=status) if "opt.modifiedAfter" in request.query else None
    )
    report = await sync(tenant, sink, tmp_path / "state")
    assert (report.status, report.unfiltered) == ("failed", None)


@hiding
async def test_a_stopped_run_goes_on_as_one_that_asks_for_everything(
    tenant: RawTenant, tmp_path: Path, sink: MemorySink
) -> None:
    await sync(tenant, sink, tmp_path / "state")
    for name in [*tenant.items]:
        tenant.change(name)

    def stop(event: SyncEvent) -> None:
        if event.kind == "listed":
            job.stop()

    async with Limio(tenant.url, auth=ApiKey("public_key")) as limio:
        job = Job(
            limio,
            to=sink,
            state=tmp_path / "state",
            streams=["offers"],
            mode="incremental",
            page_size=5,
            on_event=stop,
        )
        stopped = only(await job.run())
    assert (stopped.status, stopped.unfiltered) == ("interrupted", "the filter hides 17 of 24 items")
    report = await sync(tenant, sink, tmp_path / "state", page_size=5)
    assert (report.run, report.status, report.seen) == (stopped.run, "complete", 24)
    assert report.unfiltered == "the filter hides 17 of 24 items"
    assert stale(tenant, rows_of(sink)) == set()


# --- the watermark


async def test_a_time_that_is_still_to_come_does_not_move_the_watermark(
    tenant: RawTenant, sink: MemorySink, tmp_path: Path
) -> None:
    tenant.items["o002"]["data"]["modified"] = "2999-01-01T00:00:00Z"
    assert (await sync(tenant, sink, tmp_path / "state")).watermark == tenant.now
    del tenant.items["o002"]
    for item in tenant.items.values():
        for field in {"modified", "version_date"} & {*item["data"]}:
            item["data"][field] = "2999-01-01T00:00:00Z"
    report = await sync(tenant, MemorySink(), tmp_path / "other")
    assert (report.watermark, report.unfiltered) == (None, "no item tells when it was changed")


async def test_objects_that_tell_only_when_they_were_created_are_compared(
    sink: MemorySink, tmp_path: Path
) -> None:
    status = "active"

    def answer(request: Request) -> Response:
        items = [
            {"id": f"s{day}", "status": status, "created": f"2024-01-{day:02}T10:00:00Z"}
            for day in range(1, 21)
        ]
        return Response(status=200, headers={}, body=msgspec.json.encode({"items": items}))

    async with Limio("limio.test", auth=BearerToken("t"), transport=ScriptedTransport(answer)) as limio:
        for status in ("active", "cancelled"):
            job = Job(limio, to=sink, state=tmp_path / "state", streams=["promo_codes"], mode="incremental")
            report = only(await job.run())
            assert {row["status"] for row in sink.tables["promo_codes"].values()} == {status}
            assert {row["updated"] for row in sink.tables["promo_codes"].values()} == {None}
    assert (report.updated, report.passed, report.watermark) == (20, 0, None)


# --- the emulator


@pytest.mark.parametrize("modified_filter", ["every", "only-modified"])
@pytest.mark.parametrize("envelope", ["live", "documented"])
@pytest.mark.parametrize(
    "name", ["offers", "pages", "add_ons", "products", "segments", "assets", "campaigns"]
)
async def test_the_catalog_of_the_emulator_is_synced_as_its_filter_allows(
    name: str, envelope: Any, modified_filter: Any, sink: MemorySink, tmp_path: Path
) -> None:
    world = World(offers=60, envelope=envelope, modified_filter=modified_filter)
    async with Limio(
        "limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world)
    ) as limio:

        async def run() -> StreamReport:
            job = Job(limio, to=sink, state=tmp_path / "state", streams=[name], mode="incremental")
            return only(await job.run())

        first, second = await run(), await run()
        assert (first.status, second.status) == ("complete", "complete")
        rows = sink.tables[name].values()
        if name in {"offers", "pages", "add_ons"}:
            assert all(row["created"] and row["record_type"] for row in rows)
        times = [row["updated"] for row in rows if row["updated"]]
        assert second.watermark == max(times, default=None)
        modified = [
            row
            for row in rows
            if {"modified", "updated"} & {*(item := json.loads(row["raw"])), *item["data"]}
        ]
        assert times or (first.unfiltered == "no item tells when it was changed")
        if not times:
            assert (second.unfiltered, second.seen) == (first.unfiltered, first.seen)
        elif modified_filter == "every" or len(modified) == len(rows):
            assert second.unfiltered is None
            assert 0 < second.seen < first.seen
        else:
            hidden = len(rows) - len(modified)
            assert second.unfiltered == f"the filter hides {hidden} of {len(rows)} items"
            assert second.seen == first.seen
        assert (envelope, name) != ("live", "offers") or 0 < len(modified) < len(rows)


async def test_baskets_are_asked_for_by_when_they_came(sink: MemorySink, tmp_path: Path) -> None:
    world = World()
    async with Limio(
        "limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world)
    ) as limio:
        for _ in range(2):
            given: dict[str, Any] = {"streams": ["abandoned_baskets"], "mode": "incremental"}
            report = only(await Job(limio, to=sink, state=tmp_path / "state", **given).run())
    newest = max(row["created"] for row in sink.tables["abandoned_baskets"].values())
    assert {row["updated"] for row in sink.tables["abandoned_baskets"].values()} == {None}
    first, second = (one.query["createdAfter"] for one in world.requests("listAbandonedBaskets"))
    assert datetime.fromisoformat(first).year == 2000
    assert datetime.fromisoformat(second) == newest - timedelta(hours=1)
    assert (report.watermark, report.unfiltered) == (newest, None)


# --- how it is told


@hiding
async def test_the_reason_is_in_the_ledger_of_a_database(tenant: RawTenant, tmp_path: Path) -> None:
    file = tmp_path / "limio.db"
    await sync(tenant, f"sqlite:///{file}")
    await sync(tenant, f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT unfiltered FROM _limio_runs ORDER BY started").fetchall()
    assert rows == [(None,), ("the filter hides 17 of 24 items",)]


@hiding
async def test_a_target_of_a_release_that_knew_no_reason_goes_on(tenant: RawTenant, tmp_path: Path) -> None:
    file = tmp_path / "limio.db"
    await sync(tenant, f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE _limio_runs DROP COLUMN unfiltered")
        database.commit()
    with closing(open_sink(f"sqlite:///{file}")) as sink:
        sink.open(to_read=True)
        assert [row["unfiltered"] for row in sink.rows(RUNS)] == [None]
    assert (await sync(tenant, f"sqlite:///{file}")).unfiltered == "the filter hides 17 of 24 items"


@hiding
def test_the_command_line_says_it_while_it_runs_at_the_end_and_in_the_status(
    tenant: RawTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMIO_HOST", tenant.url)
    monkeypatch.setenv("LIMIO_API_KEY", "public_key")
    monkeypatch.chdir(tmp_path)
    asks = ("sync", "offers", "--mode", "incremental", "--to", "sqlite:///limio.db")
    told = "the filter hides 17 of 24 items"
    said = f"offers: listed in full: {told}"

    def run(*args: str) -> Result:
        return CliRunner().invoke(app, args, catch_exceptions=False)

    assert "listed in full" not in run(*asks).output
    again = run(*asks)
    assert "complete, " in again.stderr
    assert f" s: listed in full: {told}" in again.stderr
    assert said in again.stdout
    assert said in run("sync", "--status", "--to", "sqlite:///limio.db").stdout
    status = json.loads(run("sync", "--status", "--json", "--to", "sqlite:///limio.db").stdout)
    assert status["streams"][0]["last_run"]["unfiltered"] == told
    *_, report = run(*asks, "--json").stdout.splitlines()
    assert json.loads(report)["streams"][0]["unfiltered"] == told


# --- dlt


def test_dlt_is_told_where_no_item_tells_when_it_was_changed(
    tenant: RawTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)
    for item in tenant.items.values():
        for field in ("modified", "version_date"):
            item["data"].pop(field, None)
    target = dlt.destinations.duckdb(str(tmp_path / "tenant.duckdb"))
    pipeline = dlt.pipeline("limio", destination=target, dataset_name="limio")
    pipeline.run(source(["offers"], client=lambda: Limio(tenant.url, auth=ApiKey("public_key"))))
    said = [record.message for record in caplog.records if "listed in full" in record.message]
    assert said == ["offers: listed in full: no item tells when it was changed"]


@pytest.mark.parametrize(
    ("tenant", "since"),
    [("sees", None), ("hides", None), ("hides", timedelta(days=1, hours=1))],
    indirect=["tenant"],
)
def test_what_dlt_loads_is_never_stale(
    tenant: RawTenant,
    since: timedelta | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)
    target = dlt.destinations.duckdb(str(tmp_path / "tenant.duckdb"))
    pipeline = dlt.pipeline("limio", destination=target, dataset_name="limio")

    def client() -> Limio:
        return Limio(tenant.url, auth=ApiKey("public_key"))

    for night in range(3):
        chosen = tenant.now - since if since and night else None
        pipeline.run(source(["offers"], client=client, since=chosen))
        with pipeline.sql_client() as database:
            found = database.execute_sql("SELECT id, raw, created, updated, record_type FROM offers") or []
        rows = {row[0]: {"raw": row[1], "filled": row[2:]} for row in map(tuple, found)}
        assert stale(tenant, rows) == set(), f"night {night}"
        assert all(row["filled"][0] and row["filled"][2] == "offer" for row in rows.values())
        tenant.night(quietly=not since or tenant.mode == "sees")
    assert len(tenant.looks) == 4
    said = [record.message for record in caplog.records if "listed in full" in record.message]
    assert len(said) == (2 if tenant.mode == "hides" else 0)
