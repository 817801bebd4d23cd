"""Nights that go wrong in one place: what concerns one object, one row or one moment costs no more than that."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from limio_async import Limio
from limio_async.errors import TargetAway
from limio_async.sync_jobs import Job, JobReport, StreamReport, SyncEvent, patience
from limio_async.sync_jobs.run import drain
from limio_async.sync_jobs.run.settle import too_many_odd

from . import raw_lists as lists_of_a_test
from .conftest import client_of, only
from .memory_sink import ComparingSink, MemorySink
from .raw_lists import RawLists, offer, raw_lists, subscription

SUBSCRIPTIONS = "objects/limio/subscriptions"
Night = Callable[..., Awaitable[JobReport]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST", 0.01)
    monkeypatch.setattr(patience, "_LONGEST", 0.2)
    monkeypatch.setattr(patience, "_STUMBLE", 0.6)
    assert Job.__init__.__kwdefaults__
    monkeypatch.setitem(Job.__init__.__kwdefaults__, "patience", timedelta(minutes=10))


@pytest.fixture
async def tenant() -> AsyncIterator[RawLists]:
    async with raw_lists() as lists:
        yield lists


@pytest.fixture
async def limio(tenant: RawLists) -> AsyncIterator[Limio]:
    async with client_of(tenant) as client:
        yield client


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def night(limio: Limio, db: Path) -> Night:
    async def run(*streams: str, **options: Any) -> JobReport:
        return await Job(limio, to=f"sqlite:///{db}", streams=streams, **options).run()

    return run


def ask(db: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(statement, values).fetchall()


def ids(db: Path, table: str, where: str = "deleted_at IS NULL") -> set[str]:
    return {one for (one,) in ask(db, f"SELECT id FROM {table} WHERE {where}")}  # noqa: S608


def quarantine(db: Path) -> dict[str, str]:
    return dict(ask(db, "SELECT item_id, reason FROM _limio_quarantine WHERE deleted_at IS NULL"))


def by_name(report: JobReport) -> dict[str, StreamReport]:
    return {one.stream: one for one in report.streams}


def no(status: int) -> tuple[int, bytes]:
    return status, b'{"message": "no"}'


def away(times: int, of: str = "", status: int = 503) -> Any:
    """Answer the first *times* requests for a path with an outage."""
    left = times

    async def hook(path: str, request: web.Request) -> web.Response | None:
        nonlocal left
        if path.startswith(of) and path != "oauth2/token" and left > 0:
            left -= 1
            return web.Response(status=status)
        return None

    return hook


# --- outages


async def test_an_outage_in_the_middle_costs_the_night_nothing(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(100)]
    tenant.subscriptions(60)
    asked = 0

    async def hook(path: str, request: web.Request) -> web.Response | None:
        nonlocal asked
        asked += path != "oauth2/token"
        return web.Response(status=503) if 6 <= asked < 40 else None

    tenant.hook = hook
    report = await night("offers", "subscriptions", "subscriptions.events", hydrate=True)
    assert {one.stream: one.status for one in report.streams} == dict.fromkeys(
        ("offers", "subscriptions", "subscriptions.events"), "complete"
    )
    assert (len(ids(db, "offers")), len(ids(db, "subscriptions")), len(ids(db, "subscriptions_events"))) == (
        100,
        60,
        60,
    )
    assert max(one.waited_seconds for one in report.streams) > 0


async def test_a_tenant_that_has_never_answered_is_not_waited_for(tenant: RawLists, night: Night) -> None:
    tenant.lists["offers"] = [offer(1)]
    tenant.hook = away(10_000)
    report = only(await night("offers"))
    assert (report.status, report.waited_seconds) == ("failed", 0)
    assert tenant.times_asked("offers") == 1


async def test_one_that_answered_in_an_earlier_run_is(tenant: RawLists, night: Night) -> None:
    tenant.lists["offers"] = [offer(1)]
    await night("offers")
    tenant.hook = away(5)
    report = only(await night("offers"))
    assert (report.status, report.unchanged) == ("complete", 1)


async def test_without_patience_an_outage_is_a_failure(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(60)]
    await night("offers", patience=timedelta(0))
    tenant.hook = away(2)
    assert only(await night("offers", patience=timedelta(0))).status == "failed"


async def test_a_failed_stream_is_tried_once_more_at_the_end(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(1)]
    await night("offers")
    tenant.hook = away(1, of="offers", status=500)
    report = only(await night("offers"))
    assert (report.status, report.error) == ("complete", None)
    assert ids(db, "offers") == {"o1"}


async def test_an_outage_beyond_the_patience_is_waited_for_once(tenant: RawLists, night: Night) -> None:
    names = ("offers", "products", "segments", "pages", "assets", "campaigns")
    for name in names:
        tenant.lists[name] = [offer(1)]
    await night(*names)
    tenant.hook = away(100_000)
    report = await night(*names, patience=timedelta(seconds=1))
    assert {one.status for one in report.streams} == {"failed"}
    assert sum(one.waited_seconds for one in report.streams) < 4.5  # four side by side
    assert max(one.waited_seconds for one in report.streams) < 1.2


@pytest.mark.parametrize("path", ["offers", SUBSCRIPTIONS])
async def test_a_list_that_answers_500_for_a_while_is_ridden_out(
    path: str, tenant: RawLists, night: Night, db: Path
) -> None:
    name = path.rpartition("/")[2]
    tenant.lists[path] = [offer(one) if name == "offers" else subscription(one) for one in range(60)]
    asked = 0

    async def hook(asks: str, request: web.Request) -> web.Response | None:
        nonlocal asked
        asked += asks == path
        return web.Response(status=500) if asks == path and 2 <= asked < 9 else None

    tenant.hook = hook
    report = only(await night(name))
    assert (report.status, report.error, len(ids(db, name))) == ("complete", None, 60)
    assert report.waited_seconds > 0


async def test_the_wait_is_told(tenant: RawLists, limio: Limio, db: Path) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(60)]
    events: list[SyncEvent] = []
    job = Job(limio, to=f"sqlite:///{db}", streams=["offers"], on_event=events.append)
    asked = 0

    async def hook(path: str, request: web.Request) -> web.Response | None:
        nonlocal asked
        asked += path == "offers"
        return web.Response(status=503) if asked == 2 else None

    tenant.hook = hook
    await job.run()
    (told,) = [one for one in events if one.kind == "waiting"]
    assert told.report.stream == "offers"
    assert "503" in told.message
    assert "patience left" in told.message


async def test_stop_ends_a_wait_within_a_second(
    tenant: RawLists, limio: Limio, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_FIRST", 30.0)
    monkeypatch.setattr(patience, "_LONGEST", 30.0)
    tenant.lists["offers"] = [offer(one) for one in range(60)]
    asked = 0

    async def hook(path: str, request: web.Request) -> web.Response | None:
        nonlocal asked
        asked += path == "offers"
        return web.Response(status=503) if asked >= 2 else None

    tenant.hook = hook
    waits = asyncio.Event()

    def note(event: SyncEvent) -> None:
        if event.kind == "waiting":
            waits.set()

    job = Job(
        limio,
        to=f"sqlite:///{db}",
        streams=["offers"],
        on_event=note,
    )
    running = asyncio.create_task(job.run())
    await waits.wait()
    job.stop()
    async with asyncio.timeout(1):
        report = await running
    assert only(report).status == "interrupted"
    assert len(ids(db, "offers")) == 20  # what had come is delivered


LAST_PAGES = ["500", "403", "a broken body", "a repeated cursor"]


def last_page(kind: str, path: str) -> web.Response:
    """Return how the third page of a list fails."""
    if kind.isdigit():
        return web.json_response({"message": "no"}, status=int(kind))
    if kind == "a broken body":
        return web.Response(body=b'{"items":', content_type="application/json")
    if path == "offers":
        return web.json_response({"items": [offer(0)], "queryMore": {"from": "40", "alias": "a"}})
    return web.json_response({"items": [subscription(0)], "queryMore": "40"})


def asks_for_it(request: web.Request) -> bool:
    return "40" in {request.query.get(name) for name in ("opt.queryMoreFrom", "queryMore")}


def once(kind: str) -> Any:
    """Let the third page fail the first time that it is asked for."""
    failures = 1

    async def hook(path: str, request: web.Request) -> web.Response | None:
        nonlocal failures
        if not failures or not asks_for_it(request):
            return None
        failures -= 1
        return last_page(kind, path)

    return hook


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("kind", LAST_PAGES)
async def test_what_was_listed_is_delivered_although_the_list_fails(
    kind: str, patient: bool, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(60)]
    tenant.subscriptions(60)

    async def hook(path: str, request: web.Request) -> web.Response | None:
        return last_page(kind, path) if asks_for_it(request) else None

    tenant.hook = hook
    report = await night(
        "offers", "subscriptions", patience=timedelta(minutes=10) if patient else timedelta(0)
    )
    assert {one.status for one in report.streams} == {"failed"}
    assert len(ids(db, "offers")) == 40
    assert len(ids(db, "subscriptions")) == 40


@pytest.mark.parametrize("name", ["offers", "subscriptions"])
@pytest.mark.parametrize("kind", LAST_PAGES)
async def test_a_second_try_adds_to_the_figures_of_the_first(
    name: str, kind: str, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(60)]
    tenant.subscriptions(60)
    tenant.hook = once(kind)
    report = only(await night(name))
    assert (report.status, report.inserted, report.updated, report.unchanged) == ("complete", 60, 0, 0)
    assert report.requests == len([path for path in tenant.asked if path.endswith(name)])
    assert ask(db, "SELECT inserted, requests FROM _limio_runs") == [(60, report.requests)]


async def test_children_are_tried_again_with_their_objects_and_add_to_their_figures(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)
    tenant.hook = once("403")
    reports = by_name(await night("subscriptions.events"))
    assert [(one.status, one.inserted, one.unchanged) for one in reports.values()] == [
        ("complete", 60, 0)
    ] * 2
    asked = [path.endswith("/events") for path in tenant.asked if path.startswith(SUBSCRIPTIONS)]
    assert reports["subscriptions.events"].requests == sum(asked)
    assert reports["subscriptions"].requests == len(asked) - sum(asked)
    assert ask(db, "SELECT inserted, requests FROM _limio_runs WHERE stream = 'subscriptions.events'") == [
        (60, sum(asked))
    ]


# --- verdicts about one


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_refused_object_is_in_quarantine_and_its_neighbours_arrive(
    status: int, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(50)
    tenant.objects[f"{SUBSCRIPTIONS}/s7"] = no(status)
    tenant.objects[f"{SUBSCRIPTIONS}/s8/events"] = no(status)
    for _ in range(2):
        reports = by_name(await night("subscriptions.events", hydrate=True))
        assert {one.status for one in reports.values()} == {"complete"}
        assert [one.quarantined for one in reports.values()] == [1, 1]
        assert ids(db, "subscriptions") == {f"s{one}" for one in range(50)} - {"s7"}
        assert len(ids(db, "subscriptions_events")) == 49
        assert set(quarantine(db)) == {"s7", "s8/"}
        assert str(status) in quarantine(db)["s7"]


async def test_it_keeps_its_row_which_says_since_when_it_is_stale(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(20)
    await night("subscriptions.events", hydrate=True)
    well = dict(tenant.objects)
    tenant.objects[f"{SUBSCRIPTIONS}/s7"] = no(403)
    tenant.objects[f"{SUBSCRIPTIONS}/s8/events"] = no(403)
    await night("subscriptions.events", hydrate=True)
    (since,) = ask(db, "SELECT stale_since FROM subscriptions WHERE id = 's7' AND deleted_at IS NULL")
    assert since[0]
    assert ids(db, "subscriptions", "stale_since IS NOT NULL") == {"s7"}
    assert ids(db, "subscriptions_events", "stale_since IS NOT NULL AND deleted_at IS NULL") == {"s8/e8"}
    await night("subscriptions.events", hydrate=True)
    assert ask(db, "SELECT stale_since FROM subscriptions WHERE id = 's7'") == [since]
    tenant.objects.update(well)
    await night("subscriptions.events", hydrate=True)
    assert ids(db, "subscriptions", "stale_since IS NOT NULL") == set()
    assert ids(db, "subscriptions_events", "stale_since IS NOT NULL") == set()
    assert quarantine(db) == {}


async def test_it_is_asked_for_again_though_it_has_not_changed(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(20)
    well = dict(tenant.objects)
    tenant.objects[f"{SUBSCRIPTIONS}/s7"] = no(403)
    tenant.objects[f"{SUBSCRIPTIONS}/s8/events"] = no(403)
    incremental: dict[str, Any] = {"mode": "incremental", "hydrate": True}
    await night("subscriptions.events", **incremental)
    await night("subscriptions.events", **incremental)
    assert set(quarantine(db)) == {"s7", "s8/"}
    tenant.objects.update(well)
    await night("subscriptions.events", **incremental)
    assert "s7" in ids(db, "subscriptions")
    assert "s8/e8" in ids(db, "subscriptions_events")
    assert quarantine(db) == {}


async def test_twenty_refusals_in_a_row_stop_the_stream(tenant: RawLists, night: Night) -> None:
    tenant.subscriptions(60)
    for one in range(60):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(403)
    report = only(await night("subscriptions", hydrate=True))
    assert report.status == "failed"
    assert "20 objects in a row" in (report.error or "")


@pytest.fixture
def in_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists_of_a_test, "_SIZE", 100)


@pytest.mark.usefixtures("in_one_page")
@pytest.mark.parametrize("first", [0, 30])
async def test_what_is_known_is_written_though_refusals_stop_the_stream(
    first: int, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)
    well = dict(tenant.objects)
    for one in range(first, first + 25):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(403)
    report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.quarantined, report.missing) == ("failed", 20, 0)
    assert set(quarantine(db)) == {f"s{first + one}" for one in range(20)}
    assert ids(db, "subscriptions") == {f"s{one}" for one in range(first)}
    assert report.inserted == first
    tenant.objects.update(well)
    tenant.asked.clear()
    report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.quarantined) == ("complete", 0)
    assert (report.inserted, report.unchanged) == (60, 0)
    assert len(ids(db, "subscriptions")) == 60
    assert quarantine(db) == {}
    assert [tenant.times_asked(f"{SUBSCRIPTIONS}/s{one}") for one in range(first, 60)] == [1] * (60 - first)


@pytest.mark.parametrize("at_once", [7, 2_000])
@pytest.mark.parametrize("size", [7, 20])
async def test_refusals_may_stop_the_stream_in_any_page(
    size: int, at_once: int, tenant: RawLists, night: Night, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_of_a_test, "_SIZE", size)
    monkeypatch.setattr(drain, "HYDRATED_AT_ONCE", at_once)
    tenant.subscriptions(80)
    well = dict(tenant.objects)
    for one in range(25, 75):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(403)
    report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.inserted) == ("failed", 25)
    assert set(quarantine(db)) >= {f"s{one}" for one in range(25, 45)}
    assert report.quarantined == len(quarantine(db))
    tenant.objects.update(well)
    report = only(await night("subscriptions", hydrate=True))
    assert (report.inserted, report.quarantined, report.unchanged) == (80, 0, 0)
    assert (len(ids(db, "subscriptions")), quarantine(db)) == (80, {})


async def test_children_that_stopped_their_list_are_asked_for_again(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)
    well = dict(tenant.objects)
    for one in sorted(f"s{number}" for number in range(60))[10:35]:
        tenant.objects[f"{SUBSCRIPTIONS}/{one}/events"] = no(403)
    _, report = (await night("subscriptions.events")).streams
    assert (report.status, report.quarantined, report.pages, report.inserted) == ("failed", 20, 10, 10)
    tenant.objects.update(well)
    _, report = (await night("subscriptions.events")).streams
    assert (report.status, report.quarantined, report.pages, report.written) == ("complete", 0, 60, 60)
    assert (len(ids(db, "subscriptions_events")), quarantine(db)) == (60, {})


@pytest.mark.usefixtures("in_one_page")
async def test_objects_that_were_away_when_the_patience_ended_are_no_refusals(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)
    well = dict(tenant.objects)
    for one in range(30, 60):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(500)
    report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.missing, report.quarantined) == ("failed", 0, 0)
    assert len(ids(db, "subscriptions")) == 30
    tenant.objects.update(well)
    report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.missing, report.inserted) == ("complete", 0, 60)


@pytest.mark.usefixtures("in_one_page")
@pytest.mark.parametrize("when", ["asked again", "stopped"])
async def test_what_was_written_counts_once_although_the_answer_was_lost(
    when: str,
    tenant: RawLists,
    limio: Limio,
    sink: MemorySink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant.subscriptions(10 if when == "asked again" else 60)
    well = dict(tenant.objects)
    if when == "asked again":
        tenant.hook = away(1, of=f"{SUBSCRIPTIONS}/s7", status=500)
    else:
        for one in range(10, 35):
            tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(403)
    lost: list[int] = []

    def apply(changes: Any, **named: Any) -> Any:
        found = MemorySink.apply(sink, changes, **named)
        rows = [one.rows for one in changes if one.table.name == "subscriptions"]
        if rows and len(rows[0]) == (1 if when == "asked again" else 10) and not lost:
            lost.append(len(rows[0]))
            raise TargetAway("the answer to COMMIT was lost")
        return found

    monkeypatch.setattr(sink, "apply", apply)

    async def run() -> StreamReport:
        job = Job(limio, to=sink, state=tmp_path / "state", streams=["subscriptions"], hydrate=True)
        return only(await job.run())

    report = await run()
    assert lost
    if when == "stopped":
        assert (report.status, report.inserted, report.unchanged, report.quarantined) == ("failed", 10, 0, 20)
        tenant.objects.update(well)
        report = await run()
    count = 10 if when == "asked again" else 60
    assert (report.status, report.inserted, report.unchanged) == ("complete", count, 0)


async def test_credentials_that_are_refused_for_everything_stop_the_stream(
    tenant: RawLists, night: Night
) -> None:
    tenant.subscriptions(60)
    for one in range(60):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(401)
    report = await night("subscriptions", hydrate=True)
    assert only(report).status == "failed"
    assert report.refused


async def test_an_object_that_is_away_for_ever_costs_neither_the_list_nor_the_patience(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(50)
    tenant.objects[f"{SUBSCRIPTIONS}/s7"] = no(503)
    async with asyncio.timeout(20):
        report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.missing) == ("incomplete", 1)
    assert len(ids(db, "subscriptions")) == 49


async def test_what_could_not_be_had_just_then_is_asked_for_once_more_at_the_end(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(50)
    failures = dict.fromkeys((f"{SUBSCRIPTIONS}/s7", f"{SUBSCRIPTIONS}/s8/events"), 1)

    async def hook(path: str, request: web.Request) -> web.Response | None:
        failures[path] = failures.get(path, 0) - 1
        return web.Response(status=500) if failures[path] >= 0 else None

    tenant.hook = hook
    reports = by_name(await night("subscriptions.events", hydrate=True))
    assert [(one.status, one.missing, one.quarantined) for one in reports.values()] == [
        ("complete", 0, 0)
    ] * 2
    assert (len(ids(db, "subscriptions")), len(ids(db, "subscriptions_events"))) == (50, 50)
    assert quarantine(db) == {}
    assert ids(db, "subscriptions", "stale_since IS NOT NULL") == set()


async def test_what_is_missing_in_the_last_batch_makes_it_incomplete(tenant: RawLists, night: Night) -> None:
    tenant.subscriptions(3)
    tenant.objects[f"{SUBSCRIPTIONS}/s2"] = no(500)
    report = only(await night("subscriptions", hydrate=True))
    assert (report.status, report.missing, report.quarantined) == ("incomplete", 1, 1)


async def test_an_item_without_id_is_not_asked_for(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.subscriptions(10)
    tenant.lists[SUBSCRIPTIONS] += [
        {"record_type": "subscription"},
        {"id": ["a"], "record_type": "subscription"},
    ]
    reports = by_name(await night("subscriptions.events", hydrate=True))
    assert [(one.status, one.quarantined) for one in reports.values()] == [("complete", 2), ("complete", 0)]
    assert all("has no id" in reason for reason in quarantine(db).values())
    assert not [path for path in tenant.asked if "json" in path]


@pytest.mark.parametrize(
    ("odd", "well", "asked_for_all", "too_many"),
    [(0, 0, True, False), (1, 0, True, True), (1, 0, False, False), (10, 0, False, False), (11, 0, False, True), (11, 44, True, False), (11, 43, True, True)],
)  # fmt: skip
def test_of_a_few_changes_all_may_be_odd(odd: int, well: int, asked_for_all: bool, too_many: bool) -> None:
    assert too_many_odd(odd, well, asked_for_all=asked_for_all) is too_many


async def test_what_was_soft_deleted_counts_although_the_answer_was_lost(
    tenant: RawLists, limio: Limio, sink: MemorySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> StreamReport:
        return only(await Job(limio, to=sink, state=tmp_path / "state", streams=["offers"]).run())

    tenant.lists["offers"] = [offer(one) for one in range(20)]
    await run()
    lost: list[str] = []

    def once(table: Any, *args: Any, **named: Any) -> Any:
        found = MemorySink.mark_unseen(sink, table, *args, **named)
        if table.name == "offers" and not lost:
            lost.append(table.name)
            raise TargetAway("the answer to COMMIT was lost")
        return found

    monkeypatch.setattr(sink, "mark_unseen", once)
    tenant.lists["offers"] = [offer(one) for one in range(5, 20)]
    report = await run()
    assert (report.status, report.deleted, lost) == ("complete", 5, ["offers"])


async def test_parents_without_children_are_well_beside_one_that_is_refused(
    tenant: RawLists, night: Night
) -> None:
    tenant.subscriptions(12)
    for one in range(12):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}/events"] = (200, b'{"items": []}')
    tenant.objects[f"{SUBSCRIPTIONS}/s3/events"] = no(403)
    _, events = (await night("subscriptions.events")).streams
    assert (events.status, events.quarantined) == ("complete", 1)


# --- asked for again

OLD = "2023-01-01T00:00:00Z"


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("odd", ["undecodable", "refused by the target"])
async def test_what_is_asked_for_again_and_comes_odd_is_in_quarantine(
    odd: str, mode: str, tenant: RawLists, limio: Limio, sink: MemorySink, tmp_path: Path
) -> None:
    tenant.subscriptions(40, updated=OLD)
    tenant.lists[SUBSCRIPTIONS].append(subscription(99))
    tenant.objects[f"{SUBSCRIPTIONS}/s99"] = (200, json.dumps(subscription(99)).encode())
    path = f"{SUBSCRIPTIONS}/s5"
    if odd == "undecodable":
        tenant.objects[path] = (200, json.dumps(subscription(5, data="no object")).encode())
    else:
        sink.refuses = lambda table, row: (
            "no" if table.name == "subscriptions" and row["id"] == "s5" else None
        )

    async def run(**options: Any) -> StreamReport:
        job = Job(
            limio, to=sink, state=tmp_path / "state", streams=["subscriptions"], hydrate=True, **options
        )
        return only(await job.run())

    if mode == "full":
        tenant.hook = away(1, of=path, status=500)
    else:
        tenant.hook = away(1, of=path, status=403)
        await run()
    for _ in range(2):
        report = await run(mode=mode)
        (held,) = [
            row["reason"] for row in sink.tables["_limio_quarantine"].values() if row["deleted_at"] is None
        ]
        assert not {"500", "403"} & {*held.split()}
        assert (report.status, "s5" in sink.live("subscriptions")) == ("complete", False)
        assert len(sink.live("subscriptions")) == 40


@pytest.mark.parametrize("status", [403, 500, 401])
async def test_many_that_are_refused_for_good_hold_up_no_later_run(
    status: int, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(150, updated=OLD)
    tenant.lists[SUBSCRIPTIONS].append(subscription(999))
    tenant.objects[f"{SUBSCRIPTIONS}/s999"] = (200, json.dumps(subscription(999)).encode())
    tenant.objects[f"{SUBSCRIPTIONS}/s999/events"] = (200, b'{"items": []}')
    refused = {f"s{one}" for one in range(0, 150, 6)}
    for one in refused:
        tenant.objects[f"{SUBSCRIPTIONS}/{one}"] = no(403)
        tenant.objects[f"{SUBSCRIPTIONS}/{one}/events"] = no(403)
    reports = by_name(await night("subscriptions.events", hydrate=True))
    assert [(one.status, one.quarantined) for one in reports.values()] == [("complete", 25)] * 2
    for one in refused:
        tenant.objects[f"{SUBSCRIPTIONS}/{one}"] = no(status)
        tenant.objects[f"{SUBSCRIPTIONS}/{one}/events"] = no(status)
    for new in range(1000, 1002):
        tenant.lists[SUBSCRIPTIONS].append(subscription(new))
        tenant.objects[f"{SUBSCRIPTIONS}/s{new}"] = (200, json.dumps(subscription(new)).encode())
        tenant.objects[f"{SUBSCRIPTIONS}/s{new}/events"] = (200, b'{"items": [{"id": "e"}]}')
        tenant.asked.clear()
        reports = by_name(await night("subscriptions.events", hydrate=True, mode="incremental"))
        assert [(one.status, one.missing) for one in reports.values()] == [("complete", 0)] * 2
        assert f"s{new}" in ids(db, "subscriptions")
        assert f"s{new}/e" in ids(db, "subscriptions_events")
        assert set(quarantine(db)) == refused | {f"{one}/" for one in refused}
        assert tenant.times_asked(f"{SUBSCRIPTIONS}/s6") >= 1


async def test_many_that_are_away_make_a_run_incomplete_and_not_failed(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(150)
    for one in range(0, 150, 6):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(500)
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}/events"] = no(500)
    reports = by_name(await night("subscriptions.events", hydrate=True))
    assert [(one.status, one.missing) for one in reports.values()] == [("incomplete", 25)] * 2
    assert (len(ids(db, "subscriptions")), len(ids(db, "subscriptions_events"))) == (125, 125)


async def test_one_that_is_refused_with_401_is_left_alone_where_nothing_else_is_fetched(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(20, updated=OLD)
    tenant.lists[SUBSCRIPTIONS].append(subscription(99))
    tenant.objects[f"{SUBSCRIPTIONS}/s99"] = (200, json.dumps(subscription(99)).encode())
    tenant.objects[f"{SUBSCRIPTIONS}/s7"] = no(401)
    await night("subscriptions", hydrate=True)
    del tenant.lists[SUBSCRIPTIONS][-1]
    for _ in range(2):
        report = only(await night("subscriptions", hydrate=True, mode="incremental"))
        assert (report.status, set(quarantine(db))) == ("complete", {"s7"})


async def test_a_walk_that_came_no_further_is_not_resumed_for_ever(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)
    for one in range(30, 60):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(403)
    assert only(await night("subscriptions", hydrate=True)).status == "failed"
    tenant.lists[SUBSCRIPTIONS].insert(0, subscription("new"))
    tenant.objects[f"{SUBSCRIPTIONS}/snew"] = (200, json.dumps(subscription("new")).encode())
    for _ in range(2):
        assert only(await night("subscriptions", hydrate=True)).status == "failed"
    assert "snew" in ids(db, "subscriptions")


async def test_a_list_that_fails_at_the_same_page_again_is_walked_from_the_top(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)

    async def hook(path: str, request: web.Request) -> web.Response | None:
        return web.Response(status=403) if request.query.get("queryMore") == "40" else None

    tenant.hook = hook
    await night("subscriptions")
    tenant.lists[SUBSCRIPTIONS].insert(0, subscription("new"))
    for _ in range(2):
        assert only(await night("subscriptions")).status == "failed"
    assert "snew" in ids(db, "subscriptions")


@pytest.mark.parametrize("odd", ["undecodable", "refused by the target"])
async def test_what_was_refused_before_and_is_odd_again_counts_in_no_later_run(
    odd: str, tenant: RawLists, limio: Limio, sink: MemorySink, tmp_path: Path
) -> None:
    tenant.subscriptions(100, updated=OLD)
    tenant.lists[SUBSCRIPTIONS].append(subscription(999))
    tenant.objects[f"{SUBSCRIPTIONS}/s999"] = (200, json.dumps(subscription(999)).encode())
    refused = {f"s{one}" for one in range(0, 75, 5)}
    for one in refused:
        tenant.objects[f"{SUBSCRIPTIONS}/{one}"] = no(403)

    async def run(**options: Any) -> StreamReport:
        job = Job(
            limio, to=sink, state=tmp_path / "state", streams=["subscriptions"], hydrate=True, **options
        )
        return only(await job.run())

    def held() -> set[str]:
        rows = sink.tables["_limio_quarantine"].values()
        return {row["item_id"] for row in rows if row["deleted_at"] is None and row["raw"]}

    await run()
    for one in refused:
        item = {"id": one, "data": "no object"} if odd == "undecodable" else {"id": one}
        tenant.objects[f"{SUBSCRIPTIONS}/{one}"] = (200, json.dumps(item).encode())
    if odd != "undecodable":
        sink.refuses = lambda table, row: (
            "no" if table.name == "subscriptions" and row["id"] in refused else None
        )
    for _ in range(3):
        report = await run(mode="incremental")
        assert (report.status, report.quarantined) == ("complete", 0)
        assert held() == refused
    report = await run()
    assert (report.status, report.quarantined) == ("complete", 15)


@pytest.mark.parametrize(
    ("parents", "children", "status"),
    [(11, 0, "complete"), (13, 0, "incomplete"), (0, 240, "complete"), (0, 260, "incomplete"), (11, 190, "complete")],
)  # fmt: skip
async def test_parents_are_weighed_against_parents_and_children_against_children(
    parents: int, children: int, status: str, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(60)
    for one in range(60):  # 20 children each
        events = [
            {"id": f"e{number}", "reference": {"odd": True} if 20 * one + number < children else "R"}
            for number in range(20)
        ]
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}/events"] = (200, json.dumps({"items": events}).encode())
    for one in range(59, 59 - 4 * parents, -4):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one % 60}/events"] = no(403)
    _, report = (await night("subscriptions.events")).streams
    assert (report.status, report.quarantined) == (status, parents + children)


@pytest.mark.parametrize("refusing", ["offers", "offers_history"])
async def test_what_one_table_of_a_stream_takes_stays_in_quarantine_of_the_other(
    refusing: str, tenant: RawLists, limio: Limio, sink: MemorySink, tmp_path: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(10)]
    sink.refuses = lambda table, row: "no" if table.name == refusing and row["id"] == "o7" else None

    def held() -> int:
        return sum(row["deleted_at"] is None for row in sink.tables["_limio_quarantine"].values())

    async def run(mode: Any) -> StreamReport:
        job = Job(limio, to=sink, state=tmp_path / "state", streams=["offers"], mode=mode)
        return only(await job.run())

    if refusing == "offers_history":
        await run("append")
    for mode in ("full", "append", "full", "append", "incremental"):
        report = await run(mode)
        assert (report.status, held()) == ("complete", 1)
    sink.refuses = lambda table, row: None
    tenant.lists["offers"][7] = offer(7, name="well")
    for mode in ("full", "append"):
        await run(mode)
        assert held() == (1 if refusing == "offers_history" and mode == "full" else 0)


# --- unchanged means unchanged


async def test_a_wrong_deletion_mark_is_taken_back_in_every_mode(
    tenant: RawLists, night: Night, db: Path
) -> None:
    every = [subscription(one, updated=f"2024-01-{one + 1:02}T10:00:00Z") for one in range(20)]
    tenant.lists[SUBSCRIPTIONS] = list(every)
    await night("subscriptions")
    tenant.lists[SUBSCRIPTIONS] = list(every[3:])
    assert only(await night("subscriptions")).deleted == 3
    tenant.lists[SUBSCRIPTIONS] = list(every)
    report = only(await night("subscriptions", mode="incremental"))
    assert len(ids(db, "subscriptions")) == 20
    assert report.updated == 3


async def test_a_table_that_was_emptied_or_dropped_forgets_its_watermark(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists[SUBSCRIPTIONS] = [subscription(one) for one in range(20)]
    for statement in (
        "DELETE FROM subscriptions",
        "DROP TABLE subscriptions",
        "ALTER TABLE subscriptions RENAME TO old",
    ):
        await night("subscriptions", mode="incremental")
        with closing(sqlite3.connect(db)) as connection, connection:
            connection.execute(statement)
        await night("subscriptions", mode="incremental")
        assert len(ids(db, "subscriptions")) == 20, statement


async def test_a_column_that_comes_back_is_filled(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(10)]
    await night("offers")
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("ALTER TABLE offers DROP COLUMN name")
    assert only(await night("offers")).updated == 10
    assert ask(db, "SELECT count(name) FROM offers") == [(10,)]
    assert only(await night("offers")).unchanged == 10


async def test_rewrite_writes_all_rows_again(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(10)]
    await night("offers")
    assert only(await night("offers", rewrite=True)).updated == 10
    assert only(await night("offers")).unchanged == 10


# --- judgement


async def test_as_many_different_items_as_promised_are_complete_though_one_came_twice(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(50)]

    async def hook(path: str, request: web.Request) -> web.Response | None:
        if path != "offers" or request.query.get("opt.queryMoreFrom") != "40":
            return None
        items = [offer(one) for one in range(39, 50)]  # o39 was on the page before
        return web.json_response({"items": items, "hits": {"value": 50, "relation": "eq"}})

    tenant.hook = hook
    report = only(await night("offers"))
    assert (report.status, report.seen, report.listed, report.restarts) == ("complete", 50, 51, 0)


@pytest.mark.parametrize(
    ("odd", "of", "status"),
    [(10, 12, "complete"), (11, 54, "incomplete"), (11, 56, "complete"), (3, 3, "incomplete")],
)
async def test_more_than_a_fifth_in_quarantine_is_incomplete(
    odd: int, of: int, status: str, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one, name={"en": "odd"} if one < odd else "well") for one in range(of)]
    report = only(await night("offers"))
    assert (report.status, report.quarantined) == (status, odd)
    assert (report.watermark is None) == (status == "incomplete")


@pytest.mark.parametrize(
    ("gone", "of", "status"),
    [(10, 12, "complete"), (11, 54, "incomplete"), (11, 56, "complete"), (3, 3, "incomplete")],
)
async def test_ten_rows_are_always_few_except_where_the_list_came_empty(
    gone: int, of: int, status: str, tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(of)]
    await night("offers")
    tenant.lists["offers"] = [offer(one) for one in range(gone, of)]
    report = only(await night("offers"))
    assert (report.status, report.deleted) == (status, gone if status == "complete" else 0)
    if status == "incomplete":
        assert only(await night("offers", allow_mass_delete_of=["offers"])).deleted == gone


async def test_new_and_changed_rows_are_published_although_deletions_are_withheld(
    tenant: RawLists, limio: Limio, tmp_path: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(60)]

    async def run() -> StreamReport:
        return only(await Job(limio, to=f"ndjson:{tmp_path}", streams=["offers"]).run())

    await run()
    tenant.lists["offers"] = [offer(one, name="renamed") for one in range(20)]
    assert (await run()).status == "incomplete"
    lines = [json.loads(line) for line in (tmp_path / "offers.ndjson").read_text().splitlines()]
    assert len(lines) == 60
    assert sum(line["name"] == "renamed" for line in lines) == 20


async def test_requests_and_retries_are_exact_with_hydration(
    tenant: RawLists, limio: Limio, db: Path
) -> None:
    tenant.subscriptions(200)
    asked = failed = 0

    async def hook(path: str, request: web.Request) -> web.Response | None:
        nonlocal asked, failed
        asked += path.startswith(SUBSCRIPTIONS)
        if asked % 10 == 0 and path.startswith(SUBSCRIPTIONS):
            failed += 1
            return web.Response(status=500)
        return None

    tenant.hook = hook
    patient = limio.with_options(attempts=5)
    report = only(await Job(patient, to=f"sqlite:///{db}", streams=["subscriptions"], hydrate=True).run())
    assert (report.status, report.requests, report.retries) == ("complete", asked, failed)


# --- keys


async def test_runs_that_are_too_old_are_forgotten(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.lists["offers"] = [offer(1)]
    for _ in range(3):
        await night("offers")
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE _limio_runs SET started = '2020-01-01T00:00:00.000000Z'")
    await night("offers", keep_runs=timedelta(days=30))
    assert ask(db, "SELECT count(*) FROM _limio_runs") == [(1,)]


async def test_a_table_tells_since_when_it_fails(tenant: RawLists, night: Night, db: Path) -> None:
    def state() -> tuple[Any, ...]:
        return ask(db, "SELECT ended IS NOT NULL, failing_since IS NOT NULL FROM _limio_streams")[0]

    tenant.lists["offers"] = [offer(1)]
    tenant.hook = away(10_000, of="offers", status=500)
    await night("offers")
    assert state() == (0, 1)
    (since,) = ask(db, "SELECT failing_since FROM _limio_streams")
    await night("offers")
    assert ask(db, "SELECT failing_since FROM _limio_streams") == [since]
    tenant.hook = None
    await night("offers")
    assert state() == (1, 0)


async def test_more_than_a_batch_of_objects_may_be_refused_again(tenant: RawLists, night: Night) -> None:
    tenant.subscriptions(400, updated=OLD)
    tenant.lists[SUBSCRIPTIONS].append(subscription(999))
    tenant.objects[f"{SUBSCRIPTIONS}/s999"] = (200, json.dumps(subscription(999)).encode())
    for one in range(0, 360, 6):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}"] = no(403)
    await night("subscriptions", hydrate=True, most_deleted=None)
    async with asyncio.timeout(20):
        report = only(await night("subscriptions", hydrate=True, mode="incremental"))
    assert (report.status, report.quarantined) == ("complete", 0)


async def test_children_that_are_asked_for_again_after_a_kill_are_not_missing(
    tenant: RawLists, limio: Limio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, batches = ComparingSink(), 0
    tenant.subscriptions(100)
    well = dict(tenant.objects)
    for one in (15, 35):
        tenant.objects[f"{SUBSCRIPTIONS}/s{one}/events"] = no(500)
    monkeypatch.setattr("limio_async.sync_jobs.run.drain.BATCH_ITEMS", 5)

    def killed(changes: Any, *, then: Any = None) -> Any:
        nonlocal batches
        if any(one.table.name == "subscriptions_events" and one.rows for one in changes):
            batches += 1
            time.sleep(0.3)  # a slow target: the list runs ahead
            if batches == 3:
                raise KeyError("killed")
        return MemorySink.apply(sink, changes, then=then)

    async def run() -> StreamReport:
        names = ["subscriptions.events"]
        job = Job(
            limio, to=sink, state=tmp_path / "state", streams=names, patience=timedelta(0), concurrency=1
        )
        return (await job.run()).streams[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyError, match="killed"):
        patch.setattr(sink, "apply", killed)
        await run()
    tenant.objects.update(well)
    report = await run()
    assert (report.status, report.missing) == ("complete", 0)
    assert len(sink.live("subscriptions_events")) == 100


async def test_what_has_a_long_id_is_counted_in_quarantine_and_leaves_it(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(30)]
    well = [*tenant.lists["offers"]]
    tenant.lists["offers"].append({**offer(1), "id": "x" * 3_000, "data": "no object"})
    report = only(await night("offers"))
    assert (report.status, report.quarantined, len(quarantine(db))) == ("complete", 1, 1)
    tenant.lists["offers"] = well
    report = only(await night("offers"))
    assert (report.status, report.quarantined, quarantine(db)) == ("complete", 0, {})
