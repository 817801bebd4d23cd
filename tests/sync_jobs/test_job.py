"""What a job promises: nothing lost, nothing twice, deletions only after a complete walk, going on after anything."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
import pytest

from limio_async import ApiKey, Limio, errors, models
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World
from limio_async.sync_jobs import Job, JobReport, StreamReport, SyncEvent
from limio_async.sync_jobs.context import JobContext
from limio_async.sync_jobs.ledger import DRIFT, QUARANTINE, QUARANTINED, RUNS, STREAMS, in_quarantine
from limio_async.sync_jobs.times import now
from tests.flows.conftest import BOTH, all_credentials
from tests.sync_jobs.conftest import RunJob, names_in, only
from tests.sync_jobs.memory_sink import MemorySink


async def everything(client: Limio, name: str) -> dict[str, bytes]:
    """What the tenant holds, by id, as its list sends it."""
    listing = getattr(client, name).list(page_size=500).raw()
    return {_id(raw): raw async for raw in listing}


def _id(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)["id"])


# --- full


@BOTH
async def test_a_full_run_mirrors_the_tenant(client: Limio, sink: MemorySink, run_job: RunJob) -> None:
    report = await run_job("offers", "subscriptions")
    assert report.complete
    for name in ("offers", "subscriptions"):
        assert sink.live(name) == await everything(client, name)
    offers, subscriptions = report.streams
    assert (offers.expected, offers.seen, offers.inserted) == (250, 250, 250)
    assert (subscriptions.expected, subscriptions.seen, subscriptions.inserted) == (None, 120, 120)
    for one in report.streams:
        assert one.received == sum(map(len, sink.live(one.stream).values()))
        assert (one.retries, one.restarts, one.passed, one.missing, one.quarantined) == (0, 0, 0, 0, 0)
    assert sink.published == ["offers", "subscriptions"] or sink.published == ["subscriptions", "offers"]


async def test_the_whole_tenant_needs_no_names(world: World, sink: MemorySink, run_job: RunJob) -> None:
    report = await run_job()
    assert report.complete
    assert {"offers", "products", "abandoned_baskets", "journeys_v2", "orders"} <= {
        one.stream for one in report.streams
    }
    assert len(sink.live("products")) == len(list(world.ids("products")))


async def test_a_second_run_changes_nothing(sink: MemorySink, run_job: RunJob) -> None:
    await run_job("offers")
    before = dict(sink.tables["offers"])
    again = only(await run_job("offers"))
    assert (again.inserted, again.updated, again.unchanged, again.deleted) == (0, 0, 250, 0)
    assert sink.tables["offers"] == before


@BOTH
async def test_the_useful_columns_are_typed(sink: MemorySink, run_job: RunJob) -> None:
    await run_job("offers", "subscriptions", "journeys_v2")
    offer = next(iter(sink.tables["offers"].values()))
    assert (offer["name"], offer["price_amount"], offer["price_currency"]) == (
        "Digital Monthly 000000",
        1.99,
        "GBP",
    )
    assert (offer["repeat_interval"], offer["term_length"], offer["term_type"]) == (1, 52, "weeks")
    assert offer["updated"] == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert offer["created"] == datetime(2023, 1, 1, tzinfo=UTC)
    assert offer["record_type"] == "offer"
    subscription = next(iter(sink.tables["subscriptions"].values()))
    assert (subscription["status"], subscription["price_amount"], subscription["start_date"]) == (
        "active",
        75.0,
        "2024-03-01",
    )
    assert next(iter(sink.tables["journeys_v2"].values()))["starting_point"] == "/cancel-now/"


@BOTH
async def test_what_is_gone_is_marked_and_comes_back(
    world: World, client: Limio, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    world.add_offers(-20)
    assert only(await run_job("offers")).deleted == 20
    assert sink.live("offers") == await everything(client, "offers")
    assert len(sink.tables["offers"]) == 250
    world.add_offers(20)
    back = only(await run_job("offers"))
    assert (back.updated, back.deleted) == (20, 0)
    assert sink.live("offers") == await everything(client, "offers")


@pytest.mark.parametrize(("gone", "deleted"), [(20, 20), (21, 0), (22, 0)])
async def test_up_to_a_fifth_is_deleted_and_more_only_where_it_is_allowed(
    gone: int, deleted: int, sink: MemorySink, tmp_path: Path
) -> None:
    world = World(offers=100)
    client = Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))

    async def run(**options: Any) -> StreamReport:
        job = Job(client, to=sink, state=tmp_path / "state", streams=["offers"], **options)
        return only(await job.run())

    await run()
    world.add_offers(-gone)
    report = await run()
    assert (report.status, report.deleted) == ("complete" if deleted else "incomplete", deleted)
    assert ("of 100 rows were not seen, more than 20%" in str(report.error)) == (not deleted)
    assert len(sink.live("offers")) == 100 - deleted
    assert (await run(most_deleted=None)).complete
    assert len(sink.live("offers")) == 100 - gone


# --- one at a time


@pytest.mark.parametrize("place", ["in_sink", "in_spool"])
async def test_nobody_who_comes_as_one_leaves_is_let_in_beside_the_next(client: Limio, place: str) -> None:
    nothing: Any = None
    turn = getattr(JobContext(client, nothing, nothing, None, patience=0, lock_wait=0), place)
    loop = asyncio.get_running_loop()
    inside = 0
    seen: list[int] = []

    def work() -> None:
        nonlocal inside
        inside += 1
        seen.append(inside)
        time.sleep(0.001)
        inside -= 1

    async def late(steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        await turn(work)

    def calling(steps: int) -> Future[None]:
        work()
        return asyncio.run_coroutine_threadsafe(late(steps), loop)

    for steps in [*range(6)] * 8:  # so many turns of the loop later comes the third
        third, _ = await asyncio.gather(turn(partial(calling, steps)), turn(work))
        await asyncio.wrap_future(third)
    assert seen == [1] * 3 * 6 * 8


# --- walks that are not smooth


async def test_a_catalog_that_is_rebuilt_meanwhile_is_walked_again(
    world: World, client: Limio, sink: MemorySink, run_job: RunJob
) -> None:
    world.faults.on("listOffers", page=3).change_commit_id()
    told: list[tuple[int, int]] = []

    def watch(event: SyncEvent) -> None:
        if event.kind == "restarted":
            told.append((event.report.restarts, event.report.seen))

    report = only(await run_job("offers", on_event=watch))
    assert (report.status, report.restarts, report.seen) == ("complete", 1, 250)
    assert told == [(1, 0)]
    assert sink.live("offers") == await everything(client, "offers")


async def test_a_lost_page_of_a_scroll_is_not_lost(
    world: World, client: Limio, sink: MemorySink, run_job: RunJob
) -> None:
    world.faults.on("listOffers", page=2).lose_answer()
    world.faults.on("listOffers", page=4).reset()
    report = only(await run_job("offers"))
    assert (report.status, report.restarts) == ("complete", 2)
    assert sink.live("offers") == await everything(client, "offers")


async def test_what_was_delivered_before_a_restart_is_not_delivered_again(
    world: World, run_job: RunJob
) -> None:
    world.faults.on("listOffers", page=5).lose_answer()
    report = only(await run_job("offers"))
    assert report.written == 250
    assert report.listed == 450


async def test_a_walk_that_never_comes_out_right_deletes_nothing(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    world.add_offers(-10)
    world.faults.on("listOffers").wrong_hits(245)
    report = only(await run_job("offers"))
    assert (report.status, report.deleted, report.restarts) == ("incomplete", 0, 3)
    assert report.error is not None
    assert "245 were promised" in report.error
    assert len(sink.live("offers")) == 250


async def test_items_that_come_twice_are_no_substitute_for_those_that_are_missing(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    world.faults.on("listOffers", page=2, times=9).drop_items(1)
    world.faults.on("listOffers", page=3, times=9).duplicate_items(1)
    report = only(await run_job("offers"))
    assert (report.status, report.seen, report.deleted) == ("incomplete", 249, 0)
    assert len(sink.live("offers")) == 250


async def test_one_stream_that_fails_ends_no_other(world: World, sink: MemorySink, run_job: RunJob) -> None:
    world.faults.on("listProducts").status(403)
    report = await run_job("offers", "products", "segments")
    by_name = {one.stream: one for one in report.streams}
    assert by_name["offers"].complete
    assert by_name["segments"].complete
    assert by_name["products"].status == "failed"
    assert "listProducts" in str(by_name["products"].error)
    assert not report.complete


# --- incremental and append


@BOTH
async def test_an_incremental_run_asks_for_what_has_changed(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("offers")
    (stream,) = sink.rows(STREAMS)
    newest = max(row["updated"] for row in sink.tables["offers"].values())
    assert stream["watermark"] == newest
    report = only(await run_job("offers", mode="incremental", overlap=timedelta(hours=2)))
    asked = world.requests("listOffers")[-1].query["opt.modifiedAfter"]
    assert datetime.fromisoformat(asked) == newest - timedelta(hours=2)
    assert 0 < report.seen < 20
    assert (report.status, report.deleted) == ("complete", 0)
    assert len(sink.live("offers")) == 250


@BOTH
async def test_where_the_server_does_not_filter_old_items_are_passed_over(
    sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("subscriptions")
    report = only(await run_job("subscriptions", mode="incremental", overlap=timedelta(minutes=1)))
    assert report.seen == 120
    assert report.passed > 100
    assert report.passed + report.unchanged == 120


@BOTH
async def test_the_watermark_moves_only_after_a_complete_walk(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    world.faults.on("listOffers").wrong_hits(251)
    await run_job("offers", mode="incremental")
    assert [row["watermark"] for row in sink.rows(STREAMS)] == [None]
    world.faults.clear()
    await run_job("offers", mode="incremental")
    (stream,) = sink.rows(STREAMS)
    assert stream["watermark"] is not None


@BOTH
async def test_append_keeps_every_version_once(
    world: World, client: Limio, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("subscriptions", mode="append")
    first = next(iter(sink.tables["subscriptions_history"].values()))["id"]
    await client.subscriptions.update(first, {"data": {"quantity": 3}})
    for _ in range(2):
        await run_job("subscriptions", mode="append")
    versions = [row for row in sink.tables["subscriptions_history"].values() if row["id"] == first]
    assert [row["quantity"] for row in versions] == [1.0, 3.0]
    assert len(sink.tables["subscriptions_history"]) == 121


# --- hydration


async def test_objects_are_fetched_whole(client: Limio, sink: MemorySink, run_job: RunJob) -> None:
    await run_job("promo_codes", hydrate=True)
    for one, raw in sink.live("promo_codes").items():
        assert msgspec.json.decode(raw, type=models.LimioObject) == await client.promo_codes.get(one)
    assert len(sink.live("promo_codes")) == 12


async def test_an_object_that_is_gone_meanwhile_does_not_stop_the_job(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("subscriptions", hydrate=True)
    world.faults.on("getObject", call=7).status(404)
    report = only(await run_job("subscriptions", hydrate=True))
    assert (report.status, report.quarantined, report.deleted, report.seen) == ("complete", 1, 0, 120)
    (one,) = sink.rows(QUARANTINE)
    assert "404" in one["reason"]
    assert b'"record_type":"subscription"' in one["raw"]
    assert only(await run_job("subscriptions", hydrate=True)).updated == 1


@pytest.mark.parametrize("status", [408, 425, 429, 503, 522])
async def test_what_cannot_be_fetched_now_is_asked_for_again_by_the_next_run(
    world: World, sink: MemorySink, run_job: RunJob, status: int
) -> None:
    unlucky = list(world.ids("subscriptions"))[7]
    world.faults.on("getObject", where={"id": unlucky}).status(status)
    report = only(await run_job("subscriptions", hydrate=True, attempts=1))
    assert (report.status, report.missing, report.quarantined, report.deleted) == ("incomplete", 1, 1, 0)
    assert [row["watermark"] for row in sink.rows(STREAMS)] == [None]
    assert unlucky not in sink.live("subscriptions")
    world.faults.clear()
    assert only(await run_job("subscriptions", hydrate=True)).complete
    assert unlucky in sink.live("subscriptions")


async def test_credentials_that_are_refused_end_the_stream(world: World, run_job: RunJob) -> None:
    world.faults.on("getObject").status(403)
    report = only(await run_job("subscriptions", hydrate=True))
    assert report.status == "failed"
    assert world.count("getObject") <= 20 + 2 * 8  # those that were under way besides


# --- children


async def test_events_and_related_records_of_every_object(
    client: Limio, sink: MemorySink, run_job: RunJob
) -> None:
    report = await run_job("subscriptions.events", "subscriptions.related")
    assert [one.stream for one in report.streams] == [
        "subscriptions",
        "subscriptions.events",
        "subscriptions.related",
    ]
    assert report.complete
    some = next(iter(sink.live("subscriptions")))
    events = [raw async for raw in client.subscriptions.events(some).raw()]
    kept = [row["raw"] for row in sink.tables["subscriptions_events"].values() if row["parent_id"] == some]
    assert sorted(kept) == sorted(events)
    assert len(sink.tables["subscriptions_related"]) > 120
    for one in report.streams[1:]:
        assert one.listed == len(sink.tables[one.stream.replace(".", "_")])


async def test_an_incremental_run_asks_only_for_children_of_what_has_changed(
    world: World, client: Limio, run_job: RunJob
) -> None:
    await run_job("subscriptions.events")
    before = world.count("listObjectEvents")
    report = await run_job("subscriptions.events", mode="incremental", overlap=timedelta(minutes=1))
    assert report.complete
    assert world.count("listObjectEvents") - before < 10


# --- quarantine


async def test_an_item_that_cannot_be_decoded_is_quarantined_with_its_bytes(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    world.faults.on("listOffers", page=1).bad_item(at=3, field="name", value=["odd"])
    report = only(await run_job("offers"))
    assert (report.status, report.quarantined, report.seen, report.inserted) == ("complete", 1, 250, 249)
    (looked_at,) = sink.rows(QUARANTINED)
    assert "raw" not in looked_at, "it may be large"
    (one,) = sink.rows(QUARANTINE)
    assert b'"name":["odd"]' in one["raw"].replace(b" ", b"")
    assert "$.name" in one["reason"]
    (drift,) = sink.rows(DRIFT)
    assert (drift["kind"], drift["path"], drift["found"], drift["count"]) == ("type", "$.name", "array", 1)


@pytest.mark.parametrize("nobody", [{}, {"id": None, "path": ""}, {"error": "gone"}, {"name": "of nobody"}])
async def test_an_item_that_tells_of_nothing_is_quarantined_alone(
    world: World, sink: MemorySink, run_job: RunJob, nobody: dict[str, Any]
) -> None:
    world.faults.on("listOffers", page=1).bad_item(at=3, value=nobody)
    report = only(await run_job("offers"))
    assert (report.status, report.quarantined, report.seen, report.inserted) == ("complete", 1, 250, 249)
    (one,) = sink.rows(QUARANTINE)
    assert (msgspec.json.decode(one["raw"]), one["reason"]) == (
        nobody,
        "listOffers: the item has no id or path",
    )


ODD = {
    "half a surrogate": rb'"cut \ud83d"',
    "half in a key": rb'{"\udc00":1}',
    "NaN": b"NaN",
    "no UTF-8": b'"\xff"',
    "too deep": b"[" * 20_000 + b"]" * 20_000,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("stream", ["offers", "subscriptions"])
async def test_an_item_that_no_reader_of_json_takes_is_quarantined_alone(
    monkeypatch: pytest.MonkeyPatch, sink: MemorySink, run_job: RunJob, odd: bytes, stream: str
) -> None:
    sent = InMemoryTransport.send
    edited: list[Request] = []

    async def send(self: InMemoryTransport, request: Request, *, timeout: float) -> Response:
        found = await sent(self, request, timeout=timeout)
        body, edits = re.subn(rb'"name": ?"[^"]*"', lambda _: b'"name":' + odd, found.body, count=1)
        edited.extend([request] * edits)
        return msgspec.structs.replace(found, body=body)

    monkeypatch.setattr(InMemoryTransport, "send", send)
    report = only(await run_job(stream, page_size=50))
    assert len(edited) >= 3
    assert (report.status, report.quarantined) == ("complete", len(edited))
    assert report.inserted == report.seen - len(edited)
    held = list(sink.rows(QUARANTINE))
    assert len({row["item_id"] for row in held}) == len(edited)
    assert all(
        odd in row["raw"] and re.search("byte|UTF-8|depth|truncated|hex", row["reason"]) for row in held
    )


async def test_an_item_that_is_well_again_or_gone_leaves_the_quarantine(
    world: World, sink: MemorySink, run_job: RunJob
) -> None:
    def held() -> dict[str, str]:
        return {row["stream"]: row["item_id"] for row in in_quarantine(sink.rows(QUARANTINE))}

    world.faults.on("listOffers", page=1, times=2).bad_item(at=249, field="name", value=["odd"])
    world.faults.on("listProducts", page=1).bad_item(field="name", value=["odd"])
    await run_job("offers", "products", page_size=250)
    first = held()
    assert first.keys() == {"offers", "products"}
    await run_job("offers", page_size=250)
    assert held() == first, "still odd, and products were not looked at"
    await run_job("offers", mode="incremental", overlap=timedelta(0))
    assert held() == first, "it was not looked at"
    world.faults.on("listOffers").wrong_hits(251)
    await run_job("offers")
    assert held() == first, "not complete"
    world.faults.clear()
    await run_job("offers")
    assert held() == {"products": first["products"]}
    assert first["offers"] in sink.live("offers")
    await run_job("products", mode="append")
    assert held() == {"products": first["products"]}, "it is in another table now"
    await run_job("products")
    assert held() == {}, "it was looked at"
    assert first["products"] in sink.live("products")
    (offers, products) = sink.rows(QUARANTINE)
    assert offers["deleted_at"] <= products["deleted_at"]
    world.faults.on("listOffers", page=1).bad_item(at=249, field="name", value=["odd"])
    await run_job("offers", page_size=250)
    assert held() == {"offers": first["offers"]}, "odd again"
    world.faults.clear()
    world.add_offers(-5)
    await run_job("offers")
    assert held() == {}, "gone"


async def test_what_the_target_cannot_hold_is_quarantined(
    sink: MemorySink, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwanted = "Digital Monthly 000000"
    monkeypatch.setattr(sink, "refusal", lambda table, row: "no digits" if unwanted in row else None)
    report = only(await run_job("offers"))
    assert (report.quarantined, report.inserted) == (1, 249)
    assert [row["reason"] for row in sink.rows(QUARANTINE)] == ["no digits"]


# --- going on


@pytest.mark.parametrize("fails_at", [2, 3, 5])
async def test_a_target_that_fails_ends_the_job_and_the_next_goes_on(
    world: World,
    client: Limio,
    sink: MemorySink,
    run_job: RunJob,
    fails_at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WRITTEN_AT_ONCE", "_HELD_AT_MOST"):  # however late the target is: four writes of objects
        monkeypatch.setattr(f"limio_async.sync_jobs.run.whole.{name}", 30)
    sink.fails_at = fails_at
    with pytest.raises(errors.SinkError, match="the disk is full"):
        await run_job("subscriptions", hydrate=True, page_size=5)
    report = only(await run_job("subscriptions", hydrate=True, page_size=5))
    assert report.complete
    assert report.inserted == 120
    assert len(sink.live("subscriptions")) == 120
    assert len(list(sink.rows(RUNS))) == 1


async def test_a_stopped_job_says_so_and_goes_on_in_the_middle(
    world: World, client: Limio, sink: MemorySink, make_job: Callable[..., Job]
) -> None:
    def stop_soon(event: SyncEvent) -> None:
        if event.kind == "listed" and event.report.pages == 3:
            job.stop()

    job = make_job("subscriptions", page_size=10, on_event=stop_soon)
    report = await job.run()
    assert report.interrupted
    assert only(report).status == "interrupted"
    asked = world.count("listObjects")
    again = only(await make_job("subscriptions", page_size=10).run())
    assert (again.status, again.inserted, again.run) == ("complete", 120, only(report).run)
    assert "queryMore" in world.requests("listObjects")[asked].query  # not from the top
    assert sink.live("subscriptions") == await everything(client, "subscriptions")


async def test_a_stopped_scroll_begins_at_the_top_and_delivers_nothing_twice(
    world: World, client: Limio, sink: MemorySink, make_job: Callable[..., Job]
) -> None:
    def stop_soon(event: SyncEvent) -> None:
        if event.kind == "written":
            job.stop()

    job = make_job("offers", page_size=20, on_event=stop_soon)
    first = only(await job.run())
    assert first.status == "interrupted"
    again = only(await make_job("offers", page_size=20).run())
    assert (again.status, again.inserted, again.unchanged) == ("complete", 250, 0)
    assert sink.live("offers") == await everything(client, "offers")


async def test_a_target_that_was_replaced_gets_everything(
    sink: MemorySink, make_job: Callable[..., Job]
) -> None:
    def stop_soon(event: SyncEvent) -> None:
        if event.kind == "written":
            job.stop()

    job = make_job("subscriptions", page_size=10, on_event=stop_soon)
    assert (await job.run()).interrupted
    sink.tables.clear()
    sink.target_id = "memory-2"
    report = only(await make_job("subscriptions", page_size=10).run())
    assert (report.status, report.inserted) == ("complete", 120)
    assert len(sink.live("subscriptions")) == 120


async def test_a_target_that_was_put_back_to_an_older_state_gets_everything(
    sink: MemorySink, make_job: Callable[..., Job]
) -> None:
    def stop_soon(event: SyncEvent) -> None:
        if event.kind == "written":
            job.stop()

    job = make_job("subscriptions", page_size=10, on_event=stop_soon)
    assert (await job.run()).interrupted
    for table in sink.tables.values():  # as a backup from before the run
        table.clear()
    report = only(await make_job("subscriptions", page_size=10).run())
    assert (report.status, report.inserted) == ("complete", 120)


async def test_a_slow_target_does_not_hold_a_scroll_open(
    sink: MemorySink, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = threading.Event()
    apply = sink.apply

    def slow(changes: Any, *, then: Any = None) -> Any:
        if any(change.table.name == "offers" and change.rows for change in changes):
            assert listed.wait(10)  # gives nothing back before the whole list is in the spool
        return apply(changes, then=then)

    def watch(event: SyncEvent) -> None:
        if event.report.listed == 250:
            listed.set()

    monkeypatch.setattr(sink, "apply", slow)
    assert (await make_job("offers", page_size=10, on_event=watch).run()).complete


async def test_a_job_needs_no_thread_of_those_that_its_process_has_for_itself(
    make_job: Callable[..., Job],
) -> None:
    limiter = anyio.to_thread.current_default_thread_limiter()
    taken = [object() for _ in range(int(limiter.total_tokens))]
    for one in taken:
        limiter.acquire_on_behalf_of_nowait(one)
    try:
        with anyio.fail_after(20):
            assert (await make_job("offers").run()).complete
    finally:
        for one in taken:
            limiter.release_on_behalf_of(one)


async def test_streams_take_turns(world: World, client: Limio, sink: MemorySink, tmp_path: Path) -> None:
    narrow = Limio(
        "limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world), max_concurrency=1
    )
    await Job(narrow, to=sink, state=tmp_path / "state", streams=["offers", "orders"], page_size=5).run()
    asked = [one.operation for one in world.requests() if one.operation in {"listOffers", "listObjects"}]
    shorter = min(asked.count("listOffers"), asked.count("listObjects"))
    turns = [len(list(run)) for _, run in itertools.groupby(asked[: 2 * shorter - 4])]
    assert max(turns) <= 4


async def test_what_a_callback_raises_comes_out_as_it_is(make_job: Callable[..., Job]) -> None:
    def broken(_: SyncEvent) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await make_job("offers", "subscriptions", on_event=broken).run()


async def test_a_state_in_which_nothing_is_left_is_removed(run_job: RunJob, tmp_path: Path) -> None:
    await run_job("products")
    assert names_in(tmp_path) == []


# --- bad input


async def test_two_runs_on_one_target_refuse_each_other(make_job: Callable[..., Job]) -> None:
    other: list[BaseException] = []

    async def start_another() -> None:
        try:
            await make_job("products").run()
        except errors.TargetBusy as error:
            other.append(error)

    tasks: list[asyncio.Task[None]] = []

    def once(_: SyncEvent) -> None:
        if not tasks:
            tasks.append(asyncio.ensure_future(start_another()))

    assert (await make_job("offers", on_event=once).run()).complete
    await asyncio.gather(*tasks)
    assert "another run is writing" in str(other[0])


async def test_a_target_of_another_tenant_is_refused(
    world: World, sink: MemorySink, run_job: RunJob, tmp_path: Path
) -> None:
    await run_job("products")
    elsewhere = InMemoryTransport(world, origin="https://other.limio.emulated")
    client = Limio(transport=elsewhere)
    with pytest.raises(
        errors.JobError, match=r"holds https://limio\.emulated, this client asks https://other"
    ):
        await Job(client, to=sink, state=tmp_path / "state", streams=["products"]).run()
    assert len(sink.live("products")) == 40


@pytest.mark.parametrize("noted", ["started", "ended"])
async def test_a_clock_that_lies_five_minutes_before_a_run_is_told(
    noted: str, sink: MemorySink, run_job: RunJob
) -> None:
    await run_job("products")
    (row,) = sink.tables[RUNS.name].values()
    row[noted] = now() + timedelta(minutes=5, seconds=30)
    with pytest.raises(errors.JobError, match="set the clock right; nothing was done"):
        await run_job("products")
    row[noted] = now() + timedelta(minutes=4, seconds=59)
    assert only(await run_job("products")).complete


async def test_a_target_that_fails_as_a_stream_begins_ends_the_job(
    sink: MemorySink, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise errors.SinkError("the disk is gone")

    monkeypatch.setattr(sink, "apply", fails)
    with pytest.raises(errors.SinkError, match="the disk is gone"):
        await run_job("offers")


async def test_a_catalog_that_is_rebuilt_all_the_time_fails_its_stream(world: World, run_job: RunJob) -> None:
    world.faults.on("listOffers", from_page=2).change_commit_id()
    report = only(await run_job("offers"))
    assert (report.status, report.restarts) == ("failed", 3)
    assert "the catalog was rebuilt" in (report.error or "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"state": None}, "a custom sink needs state="),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC)}, "a full run has no beginning in time"),
        ({"concurrency": 0}, "at least 1"),
        ({"streams_at_once": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    client: Limio, sink: MemorySink, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises((errors.JobError, errors.ConfigurationError), match=said):
        Job(client, **{"to": sink, "state": tmp_path / "state", **options})


async def test_a_stream_of_a_service_is_a_list_of_that_service(world: World, run_job: RunJob) -> None:
    await run_job("promo_codes@magento")
    asked = [one for one in world.requests() if one.operation == "listObjects"]
    assert {one.target.partition("?")[0] for one in asked} == {"/api/objects/magento/promo_codes_v2"}


async def test_unknown_streams_are_named_with_those_that_are_near(run_job: RunJob) -> None:
    with pytest.raises(errors.ConfigurationError, match="there is no stream ofers; did you mean offers"):
        await run_job("ofers")
    with pytest.raises(errors.ConfigurationError, match="no such children of offers; it has none"):
        await run_job("offers.events")
    with pytest.raises(errors.ConfigurationError, match="it has children, events, related$"):
        await run_job("subscriptions.owner")
    with pytest.raises(errors.ConfigurationError, match="offers is not kept by several services"):
        await run_job("offers@zuora")


async def test_what_the_credentials_cannot_ask_for_is_left_out_of_the_whole_tenant(
    world: World, sink: MemorySink, tmp_path: Path
) -> None:
    client = Limio("limio.emulated", auth=ApiKey(world.api_key), transport=InMemoryTransport(world))
    job = Job(client, to=sink, state=tmp_path / "state")
    assert "subscriptions" in job.left_out
    report = await job.run()
    assert report.left_out == job.left_out
    assert report.complete
    assert {one.stream for one in report.streams} >= {"offers", "campaigns"}
    named = await Job(client, to=sink, state=tmp_path / "state", streams=["subscriptions"]).run()
    assert only(named).status == "failed"
    assert "bearer token" in str(only(named).error)


async def test_of_its_own_tables_a_job_publishes_none(world: World, client: Limio, tmp_path: Path) -> None:
    world.faults.on("listProducts", page=1).bad_item(field="name", value=["odd"])
    report = await Job(client, to=f"csv:{tmp_path / 'out'}", streams=["products"]).run()
    assert only(report).quarantined == 1
    assert names_in(tmp_path / "out") == ["_limio", "products.csv"]


async def test_a_state_file_that_cannot_be_made_is_named_with_the_system_s_reason(
    client: Limio, sink: MemorySink, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.SinkError, match=r"the state of the job, .*: (File exists|Not a directory)$"):
        await Job(client, to=sink, state=tmp_path / "file" / "state", streams=["products"]).run()


def test_a_job_of_no_streams_was_not_refused() -> None:
    report = JobReport(target="t", streams=())
    assert (report.complete, report.refused, report.interrupted) == (True, False, False)


def test_a_job_was_refused_where_each_of_its_streams_was() -> None:
    def report(*refused: bool) -> JobReport:
        streams = [
            StreamReport(run="r", stream="s", table_name="t", mode="full", started=now(), refused=one)
            for one in refused
        ]
        return JobReport(target="t", streams=tuple(streams))

    assert [report(*one).refused for one in ((True, True), (True, False), (False,))] == [True, False, False]


async def test_an_event_of_a_restart_says_why(world: World, run_job: RunJob) -> None:
    world.faults.on("listOffers", page=3).change_commit_id()
    told: list[tuple[str, str]] = []
    await run_job("offers", on_event=lambda event: told.append((event.kind, event.message)))
    assert [kind for kind, message in told if message] == ["restarted"]
    assert "the catalog was rebuilt before page 3" in dict(told)["restarted"]
