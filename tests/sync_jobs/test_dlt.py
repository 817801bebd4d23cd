"""The source of dlt: from an emulator over HTTP into a real DuckDB file."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import secrets
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import dlt
import pytest
from anyio.from_thread import BlockingPortalProvider
from dlt.pipeline.exceptions import PipelineStepFailed

from limio_async import Limio, errors
from limio_async.core.wire import Request, Response
from limio_async.emulator import InMemoryTransport, World, reply
from limio_async.sync_jobs import dlt as limio_dlt
from limio_async.sync_jobs import dlt_rows
from limio_async.sync_jobs.dlt import limio
from limio_async.sync_jobs.portal import stepped
from limio_async.sync_jobs.rows import table_of
from limio_async.sync_jobs.streams import stream
from limio_async.testing import served
from tests.flows.conftest import all_credentials
from tests.sync_jobs.sinks.targets import POSTGRES, schema_of_postgres

Make = Callable[[], Limio]


@pytest.fixture
def make(world: World) -> Iterator[Make]:
    """Makes a client over HTTP, as users do."""
    with served(world) as url:
        yield lambda: Limio.from_env(world.environ(url), attempts=1)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dlt.Pipeline:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)
    target = dlt.destinations.duckdb(str(tmp_path / "tenant.duckdb"))
    return dlt.pipeline("limio", destination=target, dataset_name="limio")


def ask(pipeline: dlt.Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as database:
        return [tuple(row) for row in database.execute_sql(query) or []]


def kept(pipeline: dlt.Pipeline, table: str) -> dict[str, Any]:
    """What the destination has, by id."""
    return {one: json.loads(raw) for one, raw in ask(pipeline, f"SELECT id, raw FROM {table}")}  # noqa: S608


def loaded(pipeline: dlt.Pipeline, table: str) -> int:
    """How many rows of a table the last run handed to the destination."""
    trace: Any = pipeline.last_trace
    return int(trace.last_normalize_info.row_counts.get(table, 0))


def watermark(pipeline: dlt.Pipeline, table: str) -> datetime:
    return datetime.fromisoformat(pipeline.state["sources"]["limio"]["resources"][table]["watermark"])


def in_world(world: World, work: Callable[[Limio], Awaitable[Any]]) -> Any:
    """What comes of asking the world, past the wire and all faults that were armed for it."""
    client = Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))

    async def run() -> Any:
        return await work(client)

    return asyncio.run(run())


async def offers(client: Limio) -> dict[str, Any]:
    return {one["id"]: one async for raw in client.offers.list().raw() for one in (json.loads(raw),)}


async def subscriptions(client: Limio) -> dict[str, Any]:
    listing = client.subscriptions.list(unique=True).raw()
    return {one["id"]: one async for raw in listing for one in (json.loads(raw),)}


def test_the_destination_holds_what_the_tenant_has(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["offers", "subscriptions", "journeys_v2", "subscriptions.events"], client=make))
    assert world.tokens_issued == 1  # the walks share a client
    assert kept(pipeline, "offers") == in_world(world, offers)
    assert kept(pipeline, "subscriptions") == in_world(world, subscriptions)
    assert len(kept(pipeline, "journeys_v2")) == 3
    ((events, parents),) = ask(
        pipeline, "SELECT count(*), count(DISTINCT parent_id) FROM subscriptions_events"
    )
    assert events >= parents == 120
    types = dict(
        ask(
            pipeline,
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'offers'",
        )
    )
    assert (types["price_amount"], types["term_length"], types["updated"], types["raw"]) == (
        "DOUBLE",
        "BIGINT",
        "TIMESTAMP WITH TIME ZONE",
        "JSON",
    )


def test_the_second_run_asks_for_what_has_changed(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["offers", "subscriptions"], client=make))
    reached = watermark(pipeline, "offers")
    ((newest,),) = ask(pipeline, "SELECT max(updated) FROM offers")
    assert reached == newest
    first = next(iter(kept(pipeline, "subscriptions")))
    in_world(world, lambda client: client.subscriptions.update(first, {"data": {"quantity": 3}}))
    pipeline.run(limio(["offers", "subscriptions"], client=make, overlap=timedelta(minutes=1)))
    asked = world.requests("listOffers")[-1].query["opt.modifiedAfter"]
    assert datetime.fromisoformat(asked) == reached - timedelta(minutes=1)
    assert 0 < loaded(pipeline, "offers") < 20
    assert 0 < loaded(pipeline, "subscriptions") < 120  # the server does not filter these
    assert kept(pipeline, "subscriptions") == in_world(world, subscriptions)
    assert ask(pipeline, f"SELECT quantity FROM subscriptions WHERE id = '{first}'") == [(3.0,)]  # noqa: S608


@pytest.mark.parametrize("broken", ["refused", "lost", "short", "rebuilt"])
def test_a_broken_walk_fails_the_pipeline_and_the_next_run_mends_it(
    world: World, make: Make, pipeline: dlt.Pipeline, broken: str
) -> None:
    pipeline.run(limio(["products", "subscriptions"], client=make))
    before = dict(pipeline.state["sources"]["limio"]["resources"])
    fault = world.faults.on("listOffers", from_page=2)
    match broken:
        case "refused":
            fault.status(403)
        case "lost":
            fault.lose_answer()
        case "short":
            fault.drop_items(3)
        case _:
            world.faults.on("listOffers", page=2).change_commit_id()
    with pytest.raises(PipelineStepFailed, match="listOffers: "):
        pipeline.run(limio(["offers", "subscriptions"], client=make, mode="full"))
    assert ask(pipeline, "SELECT table_name FROM information_schema.tables WHERE table_name = 'offers'") == []
    assert pipeline.state["sources"]["limio"]["resources"] == before
    world.faults.clear()
    pipeline.run(limio(["offers", "subscriptions"], client=make))
    assert kept(pipeline, "offers") == in_world(world, offers)
    assert watermark(pipeline, "offers")


def test_a_run_that_is_cut_short_does_not_move_the_watermark(make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["offers"], client=make, page_size=20).add_limit(2))
    assert 0 < len(kept(pipeline, "offers")) < 250
    assert "watermark" not in pipeline.state["sources"]["limio"]["resources"]["offers"]
    pipeline.run(limio(["offers"], client=make))
    assert len(kept(pipeline, "offers")) == 250


class _SlowToClose(InMemoryTransport):
    async def aclose(self) -> None:
        await asyncio.sleep(0.05)
        await super().aclose()


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_whoever_stops_a_walk_early_leaves_no_connection_behind(
    world: World, pipeline: dlt.Pipeline, pages: int
) -> None:
    made: list[InMemoryTransport] = []

    def make() -> Limio:
        made.append(_SlowToClose(world))
        return Limio("limio.emulated", auth=all_credentials(world), transport=made[-1])

    pipeline.run(limio(["offers", "products"], client=make, page_size=5).add_limit(pages))
    assert made
    assert all(one.closed for one in made)


class _Stuck(_SlowToClose):
    cancelled = False

    async def send(self, request: Request, *, timeout: float) -> Response:
        if request.operation == "listProducts":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled = True
        return await super().send(request, timeout=timeout)


def test_a_walk_that_breaks_ends_those_that_wait(world: World, pipeline: dlt.Pipeline) -> None:
    world.faults.on("listOffers", page=2).status(403)
    transport = _Stuck(world)

    def make() -> Limio:
        return Limio("limio.emulated", auth=all_credentials(world), transport=transport)

    with pytest.raises(PipelineStepFailed, match="listOffers"):
        pipeline.run(limio(["products", "offers"], client=make, page_size=20))
    assert (transport.cancelled, transport.closed) == (True, True)


def test_a_walk_that_is_ended_as_it_asks_waits_for_no_answer() -> None:
    answered: list[int] = []

    async def pages(number: int) -> AsyncGenerator[Any]:
        await asyncio.sleep(0.1)
        answered.append(number)
        yield []

    with BlockingPortalProvider() as portal:
        for number in range(20):  # whether its loop has begun with it is a matter of luck
            walk = stepped(portal, pages(number))
            assert next(walk) is None
            walk.close()
    assert answered == []


def test_a_walk_that_takes_its_time_to_end_is_waited_for() -> None:
    ended: list[int] = []

    async def pages() -> AsyncGenerator[Any]:
        try:
            await asyncio.sleep(10)
            yield []
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
            ended.append(1)

    with BlockingPortalProvider() as portal:
        walk = stepped(portal, pages())
        next(walk)
        portal.call(anyio.sleep, 0.01)
        walk.close()
        assert ended == [1]


def test_append_adds_every_version_once(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["subscriptions"], client=make, mode="append"))
    first, *_ = in_world(world, subscriptions)
    in_world(world, lambda client: client.subscriptions.update(first, {"data": {"quantity": 3}}))
    for _ in range(2):
        pipeline.run(limio(["subscriptions"], client=make, mode="append"))
    of_first = f"SELECT quantity FROM subscriptions_history WHERE id = '{first}' ORDER BY updated"  # noqa: S608
    versions = ask(pipeline, of_first)
    assert versions == [(1.0,), (3.0,)]
    assert ask(pipeline, "SELECT count(*) FROM subscriptions_history") == [(121,)]


def test_objects_are_fetched_whole_and_one_that_is_gone_is_quarantined(
    world: World, make: Make, pipeline: dlt.Pipeline
) -> None:
    world.script("getObject", reply({"message": "gone"}, 404))
    pipeline.run(limio(["promo_codes"], client=make, hydrate=True))
    (one,) = ask(pipeline, "SELECT stream, item_id, reason, raw FROM _limio_quarantine")
    assert (one[0], json.loads(one[3])["id"]) == ("promo_codes", one[1])
    assert "404" in one[2]
    assert len(kept(pipeline, "promo_codes")) == 11
    world.script("getObject", reply({"message": "down"}, 503))
    with pytest.raises(PipelineStepFailed, match="getObject"):
        pipeline.run(limio(["promo_codes"], client=make, hydrate=True))
    pipeline.run(limio(["promo_codes"], client=make, hydrate=True))
    assert len(kept(pipeline, "promo_codes")) == 12


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_verdict_about_one_object_is_quarantined_and_the_rest_arrives(
    world: World, make: Make, pipeline: dlt.Pipeline, status: int
) -> None:
    world.script("listObjectEvents", reply({"message": "not this one"}, status))
    world.script("getObject", None, reply({"message": "not this one"}, status))
    pipeline.run(limio(["subscriptions.events"], client=make))
    pipeline.run(limio(["promo_codes"], client=make, hydrate=True))
    assert ask(pipeline, "SELECT count(DISTINCT parent_id) FROM subscriptions_events") == [(119,)]
    assert len(kept(pipeline, "promo_codes")) == 11
    found = ask(pipeline, "SELECT stream, reason FROM _limio_quarantine ORDER BY stream")
    assert [stream for stream, _ in found] == ["promo_codes", "subscriptions.events"]
    assert all(f"{status} not this one" in reason for _, reason in found)


def test_children_that_were_refused_arrive_later_however_old_they_are(
    world: World, make: Make, pipeline: dlt.Pipeline
) -> None:
    world.script("listObjectEvents", reply({"message": "not this one"}, 403))
    pipeline.run(limio(["subscriptions.events"], client=make))
    assert ask(pipeline, "SELECT count(DISTINCT parent_id) FROM subscriptions_events") == [(119,)]
    pipeline.run(limio(["subscriptions.events"], client=make))
    assert ask(pipeline, "SELECT count(DISTINCT parent_id) FROM subscriptions_events") == [(120,)]


@pytest.mark.parametrize("status", [500, 503])
def test_what_may_come_later_fails_the_pipeline(
    world: World, make: Make, pipeline: dlt.Pipeline, status: int
) -> None:
    world.script("listObjectEvents", reply({"message": "not now"}, status))
    with pytest.raises(PipelineStepFailed, match=f"listObjectEvents: {status} not now"):
        pipeline.run(limio(["subscriptions.events"], client=make))


def test_a_tenant_that_refuses_every_object_fails_the_pipeline(
    world: World, make: Make, pipeline: dlt.Pipeline
) -> None:
    world.script("listObjectEvents", *[reply({"message": "no"}, 403)] * 120)
    with pytest.raises(PipelineStepFailed, match="20 objects in a row"):
        pipeline.run(limio(["subscriptions.events"], client=make))


def test_what_postgresql_cannot_hold_blocks_no_later_load(
    world: World, make: Make, tmp_path: Path, pipeline: dlt.Pipeline
) -> None:
    """One NUL in a package that is pending would fail every run."""
    name = f"dlt_{secrets.token_hex(4)}"
    with schema_of_postgres(name), schema_of_postgres(f"{name}_staging"):
        target = dlt.destinations.postgres(POSTGRES.replace("postgres@", "postgres:any@"))
        into = dlt.pipeline(name, destination=target, dataset_name=name)
        world.faults.on("listOffers", page=1).bad_item(at=3, field="own", value="a\0b")
        into.run(limio(["offers"], client=make))
        ((count,),) = ask(into, "SELECT count(*) FROM offers")
        ((reason, raw),) = ask(into, "SELECT reason, raw FROM _limio_quarantine")
        assert count == 249
        assert "the target cannot" in reason
        assert rb"a\u0000b" in bytes(raw)
        world.faults.clear()
        into.run(limio(["offers"], client=make, mode="full"))
        assert ask(into, "SELECT count(*) FROM offers") == [(250,)]


def test_what_cannot_be_decoded_is_quarantined_with_its_bytes(
    world: World, make: Make, pipeline: dlt.Pipeline
) -> None:
    world.faults.on("listOffers", page=1).bad_item(at=3, field="name", value=["odd"])
    pipeline.run(limio(["offers", "products"], client=make))
    ((reason, raw),) = ask(pipeline, "SELECT reason, raw FROM _limio_quarantine")
    assert "$.name" in reason
    assert b'"name":["odd"]' in raw.replace(b" ", b"")
    columns = {name for (name,) in ask(pipeline, "SELECT name FROM pragma_table_info('_limio_quarantine')")}
    assert columns >= {"id", "stream", "item_id", "reason", "quarantined_at", "raw"}
    assert not columns & {"run", "deleted_at"}
    assert len(kept(pipeline, "offers")) == 249


def test_another_tenant_is_refused(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["products"], client=make))
    with served(World()) as url, pytest.raises(PipelineStepFailed, match="use another target for it"):
        pipeline.run(limio(["products"], client=lambda: Limio.from_env(world.environ(url))))


def test_a_state_of_a_newer_release_is_refused_before_anything_is_asked(
    world: World, make: Make, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(limio_dlt, "_VERSION", 2)
        pipeline.run(limio(["products"], client=make))
    asked = len(world.requests("listProducts"))
    with pytest.raises(PipelineStepFailed, match="made by a newer release of limio_async"):
        pipeline.run(limio(["products"], client=make))
    assert len(world.requests("listProducts")) == asked


def test_a_state_without_a_version_is_taken_over(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["products"], client=make))
    with pipeline.managed_state() as state:
        held: Any = state
        kept_by_products = held["sources"]["limio"]["resources"]["products"]
        assert kept_by_products.pop("version") == 1  # 0.1 wrote none
    pipeline.run(limio(["products"], client=make, overlap=timedelta(0)))
    assert "opt.modifiedAfter" in world.requests("listProducts")[-1].query
    assert pipeline.state["sources"]["limio"]["resources"]["products"]["version"] == 1


def test_a_moment_without_a_zone_is_in_utc(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["subscriptions"], client=make, since=datetime(2024, 3, 1, 1)))  # as people write it
    assert loaded(pipeline, "subscriptions") == 60


def test_without_names_all_comes_that_can_be_asked_for(
    world: World, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(limio(client=make).resources) == 22
    with caplog.at_level(logging.WARNING, "limio_async"):
        few = limio(client=lambda: Limio("limio.emulated", auth=all_credentials(world)[:1]))
    assert "subscriptions is left out: takes bearer credentials" in caplog.text
    assert "offers" in few.resources
    with pytest.raises(errors.ConfigurationError, match="did you mean offers"):
        limio(["ofers"], client=make)
    with pytest.raises(errors.JobError, match="a full run has no beginning in time"):
        limio(client=make, mode="full", since=datetime(2026, 1, 1, tzinfo=UTC))


def formats(pipeline: dlt.Pipeline, table: str) -> list[str]:
    """In which formats the last load brought the rows of a table, file by file."""
    trace: Any = pipeline.last_trace
    jobs = trace.last_load_info.load_packages[0].jobs["completed_jobs"]
    return [
        one.job_file_info.file_format
        for one in jobs
        if one.job_file_info.table_name == table and one.job_file_info.file_format not in {"sql", "reference"}
    ]


def held(pipeline: dlt.Pipeline, table: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The columns of a table, and its rows without what dlt draws at random."""
    described = ask(
        pipeline,
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"  # noqa: S608
        f" WHERE table_name = '{table}' AND table_schema = 'limio' ORDER BY ordinal_position",
    )
    rows = f"SELECT * EXCLUDE (raw, _dlt_id, _dlt_load_id), raw::JSON FROM {table} ORDER BY id"  # noqa: S608
    return described, ask(pipeline, rows)


def test_duckdb_gets_the_same_table_with_and_without_pyarrow(
    make: Make, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["offers", "subscriptions", "subscriptions.events"]
    pipeline.run(limio(names, client=make))
    assert set(formats(pipeline, "offers")) == {"parquet"}
    assert loaded(pipeline, "offers") == 250
    assert ask(pipeline, "SELECT count(DISTINCT _dlt_id), count(DISTINCT _dlt_load_id) FROM offers") == [
        (250, 1)
    ]
    in_files = {table: held(pipeline, table) for table in ("offers", "subscriptions", "subscriptions_events")}
    assert not [one for one in caplog.records if one.name == "dlt" and one.levelno >= logging.WARNING]

    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "limio_async.sync_jobs.sinks.arrow", None)
        pipeline.drop()
        with pipeline.sql_client() as database:
            database.drop_dataset()
        pipeline.run(limio(names, client=make))
        assert set(formats(pipeline, "offers")) == {"insert_values"}
        for table, (columns, rows) in in_files.items():
            assert held(pipeline, table) == (columns, rows)

    pipeline.run(limio(names, client=make, mode="full"))  # what was loaded in one way goes on in the other
    assert set(formats(pipeline, "offers")) == {"parquet"}
    for table, (columns, rows) in in_files.items():
        assert held(pipeline, table) == (columns, rows)


def test_files_hold_as_many_rows_as_they_may(
    world: World, make: Make, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlt_rows, "_ROWS_A_FILE", 100)
    pipeline.run(limio(["offers"], client=make, page_size=50))
    assert formats(pipeline, "offers") == ["parquet"] * 3
    assert kept(pipeline, "offers") == in_world(world, offers)


def test_a_list_without_items_makes_no_file(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    world.script("listOffers", reply({"items": [], "hits": {"value": 0, "relation": "eq"}, "commitId": "1"}))
    pipeline.run(limio(["offers"], client=make))
    assert formats(pipeline, "offers") == []


def test_whoever_looks_at_rows_on_the_way_gets_dicts(make: Make, pipeline: dlt.Pipeline) -> None:
    source = limio(["offers"], client=make)
    source.resources["offers"].add_map(lambda row: {**row, "seen": row["id"]})
    pipeline.run(source)
    assert ask(pipeline, "SELECT count(*) FROM offers WHERE seen = id") == [(250,)]
    assert {type(row) for row in limio(["products"], client=make)} == {dict}


def test_a_format_that_was_chosen_is_kept(make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["offers"], client=make), loader_file_format="insert_values")
    assert formats(pipeline, "offers") == ["insert_values"]
    pipeline.run(limio(["offers"], client=make, mode="full"), loader_file_format="parquet")
    assert formats(pipeline, "offers") == ["parquet"]
    assert ask(pipeline, "SELECT count(*) FROM offers") == [(250,)]


def test_a_merge_strategy_that_was_chosen_is_kept(make: Make, pipeline: dlt.Pipeline) -> None:
    scd2: Any = {"disposition": "merge", "strategy": "scd2"}
    source = limio(["offers"], client=make, mode="full")
    source.resources["offers"].apply_hints(write_disposition=scd2)
    for _ in range(2):
        pipeline.run(source)
        assert ask(pipeline, "SELECT count(*) FROM offers") == [(250,)]


def test_ids_of_rows_that_dlt_is_told_to_add_are_added_once(
    make: Make, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID", "true")
    pipeline.run(limio(["offers"], client=make))
    assert ask(pipeline, "SELECT count(DISTINCT _dlt_id) FROM offers") == [(250,)]


def test_tables_can_be_replaced_by_a_full_run(world: World, make: Make, pipeline: dlt.Pipeline) -> None:
    for _ in range(2):
        source = limio(["offers"], client=make, mode="full")
        source.resources["offers"].apply_hints(write_disposition="replace")
        pipeline.run(source)
    assert kept(pipeline, "offers") == in_world(world, offers)


def test_files_of_other_destinations_stay_what_they_are(
    world: World, make: Make, tmp_path: Path, pipeline: dlt.Pipeline
) -> None:
    files = dlt.destinations.filesystem(str(tmp_path / "files"))
    into = dlt.pipeline("files", destination=files, dataset_name="limio")
    into.run(limio(["offers"], client=make))
    assert formats(into, "offers") == ["jsonl"]
    (written,) = (tmp_path / "files/limio/offers").iterdir()
    raw = written.read_bytes()
    rows = [json.loads(one) for one in (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).splitlines()]
    assert {one["id"]: one["raw"] for one in rows} == in_world(world, offers)


def spared(pipeline: dlt.Pipeline) -> object:
    """Whether dlt was told that no key comes twice."""
    return pipeline.default_schema.tables["offers"].get("x-stage-data-deduplicated", False)


def test_what_is_loaded_twice_in_one_load_is_there_once(make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["offers"], client=make))
    assert spared(pipeline)
    for _ in range(2):
        pipeline.extract(limio(["offers"], client=make, mode="full"))
    pipeline.normalize()
    pipeline.load()
    assert loaded(pipeline, "offers") == 500
    assert ask(pipeline, "SELECT count(*) FROM offers") == [(250,)]


def test_two_lists_in_one_table_are_merged_by_key(make: Make, pipeline: dlt.Pipeline) -> None:
    source = limio(["offers", "offers_v2"], client=make)
    source.resources["offers_v2"].apply_hints(table_name="offers")
    pipeline.run(source)
    assert not spared(pipeline)
    ((rows, different),) = ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM offers")
    assert rows == different >= 250


def test_rows_that_somebody_repeats_are_merged_by_key(make: Make, pipeline: dlt.Pipeline) -> None:
    pipeline.run(limio(["offers"], client=make))
    source = limio(["offers"], client=make, mode="full")
    source.resources["offers"].add_yield_map(lambda row: iter([row, row]))
    pipeline.run(source)
    assert loaded(pipeline, "offers") == 500
    assert ask(pipeline, "SELECT count(*) FROM offers") == [(250,)]


@pytest.mark.parametrize(("key", "once"), [("json:#0123456789abcdef", False), ("offer-1", True)])
def test_items_without_an_id_may_come_twice_in_a_walk(pipeline: dlt.Pipeline, key: str, once: bool) -> None:
    table = table_of(stream("offers"), "incremental")
    row = tuple({"id": key, "raw": b"{}"}.get(column.name) for column in table.columns)

    def rows() -> Iterator[Any]:
        pages = ([row], [row]) if not once else ([row],)
        yield from dlt_rows.given(table, (page for page in pages))

    columns = dlt_rows.hints(dlt_rows.told(table))
    pipeline.run(
        dlt.resource(rows, name="offers", primary_key="id", write_disposition="merge", columns=columns)
    )
    assert formats(pipeline, "offers") == ["parquet"]
    assert spared(pipeline) is once
    assert ask(pipeline, "SELECT id FROM offers") == [(key,)]
