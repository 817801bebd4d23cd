"""Whatever call a job dies at, and whatever the network does meanwhile: run again, it ends with the tenant's content."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from limio_async import Limio, errors
from limio_async.emulator import InMemoryTransport, World
from limio_async.sync_jobs import Job
from limio_async.sync_jobs.ledger import RUNS
from limio_async.sync_jobs.spool import Spool
from limio_async.sync_jobs.walk import Noted, Page, SavedWalk, walk_in
from tests.flows.conftest import all_credentials
from tests.sync_jobs.memory_sink import ComparingSink, MemorySink

STREAMS = ("offers", "subscriptions", "subscriptions.events")
CALLS = ("begin", "rewind", "note", "waiting", "restart", "next_batch", "known", "forget", "seen", "drop")


class Died(Exception):
    """The process is gone."""


class Fate:
    """Ends everything at the call that was drawn, before or after it took effect."""

    def __init__(self, rng: random.Random) -> None:
        self._left = rng.randrange(1, 60)
        self._after = rng.random() < 0.5

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0 or (self._left == 0 and not self._after):
                raise Died  # and nothing works any more
            result = call(*args, **named)
            if self._left == 0:
                raise Died
            return result

        return called


def faults(world: World, rng: random.Random) -> None:
    on = world.faults.on
    on("listOffers", probability=0.05, seed=rng.randrange(1000), times=3).lose_answer()
    on("listOffers", probability=0.05, seed=rng.randrange(1000), times=2).expire_scroll()
    on("listObjects", probability=0.1, seed=rng.randrange(1000), times=4).status(500)
    on("getObject", probability=0.02, seed=rng.randrange(1000)).lose_answer()


@pytest.mark.parametrize("seed", range(18))
@pytest.mark.parametrize("way", ["spooled", "straight", "both"])
async def test_a_job_that_dies_at_any_call_ends_with_the_content_of_the_tenant(
    way: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    world, sink = World(offers=60, subscriptions=25), MemorySink() if way == "spooled" else ComparingSink()
    if way == "both":  # the target keeps up with some pages only
        monkeypatch.setattr(ComparingSink, "batch_bytes", 20_000)
        monkeypatch.setattr("limio_async.sync_jobs.run.fill._KEEPS_UP", 0.0)
    client = Limio(
        "limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world), attempts=4
    )
    monkeypatch.setattr("limio_async.core.retry._BASE", 0.0001)
    faults(world, rng)
    changes = rng.random() < 0.5

    def job() -> Job:
        return Job(
            client,
            to=sink,
            state=tmp_path / "state",
            streams=STREAMS,
            hydrate=seed % 2 == 0,
            page_size=7,
            most_deleted=None,
        )

    died = 0
    for _ in range(12):
        fate = Fate(rng)
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(Spool, name, fate.wrap(getattr(Spool, name)))
            patch.setattr(MemorySink, "apply", fate.wrap(MemorySink.apply))
            patch.setattr(MemorySink, "mark_unseen", fate.wrap(MemorySink.mark_unseen))
            patch.setattr(ComparingSink, "held", fate.wrap(ComparingSink.held))
            try:
                await job().run()
            except Died:
                died += 1
        if changes and rng.random() < 0.3:
            world.add_offers(rng.choice([-3, 5]))
    assert died

    world.faults.clear()
    while not (await job().run()).complete:  # what the faults left is walked anew
        pass
    if changes:
        assert (await job().run()).complete  # a walk that was gone on with has seen the tenant as it was then
    offers = [raw async for raw in client.offers.list().raw()]
    assert sink.live("offers") == {msgspec.json.decode(raw)["id"]: raw for raw in offers}
    assert set(sink.live("subscriptions")) == set(world.ids("subscriptions"))
    for some in list(world.ids("subscriptions"))[:3]:
        events = [raw async for raw in client.subscriptions.events(some).raw()]
        rows = sink.tables["subscriptions_events"].values()
        assert sorted(row["raw"] for row in rows if row["parent_id"] == some) == sorted(events)
    for name in ("offers", "subscriptions", "subscriptions_events"):
        told = sum(row["inserted"] for row in sink.rows(RUNS) if row["table_name"] == name)
        assert told == len(sink.tables[name]), "the reports tell of every row once"


@pytest.mark.parametrize("batch", range(1, 4))
@pytest.mark.parametrize("stream", ["offers", "subscriptions", "subscriptions.events"])
async def test_pages_that_were_only_in_memory_are_listed_again(
    stream: str, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are noted as seen before the target has them."""
    world, sink = World(offers=60, subscriptions=40), ComparingSink()
    client = Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))
    table, left = stream.replace(".", "_"), batch
    monkeypatch.setattr("limio_async.sync_jobs.run.drain.BATCH_ITEMS", 7)

    def job() -> Job:
        return Job(client, to=sink, state=tmp_path / "state", streams=[stream], page_size=7)

    def died(changes: Any, *, then: Any = None) -> Any:
        nonlocal left
        left -= any(change.table.name == table and change.rows for change in changes)
        if not left:
            raise Died
        return MemorySink.apply(sink, changes, then=then)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(sink, "apply", died)
        await job().run()
    asked = world.count("listObjects")
    report = (await job().run()).streams[-1]
    assert report.complete
    if stream == "subscriptions":  # a walk of 40 in pages of 7 goes on behind what the target has
        assert world.count("listObjects") - asked <= 7 - (batch - 1)
    held = sink.live(table)
    if stream == "offers":
        assert held == {msgspec.json.decode(raw)["id"]: raw async for raw in client.offers.list().raw()}
    assert (report.inserted, report.updated, report.unchanged) == (len(held), 0, 0)
    assert (report.seen, report.listed >= report.seen) == (len(held), True)


async def test_a_foreign_error_ends_the_job_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise errors.SinkError("the database went away")

    world, sink = World(offers=60, subscriptions=0), MemorySink()
    client = Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))
    monkeypatch.setattr(sink, "mark_unseen", broken)
    with pytest.raises(errors.SinkError, match="the database went away"):
        await Job(client, to=sink, state=tmp_path / "state", streams=["offers"]).run()


async def test_a_job_that_dies_right_after_marking_still_tells_how_many_it_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, sink = World(offers=60, subscriptions=0), MemorySink()
    client = Limio("limio.emulated", auth=all_credentials(world), transport=InMemoryTransport(world))

    def job() -> Job:
        return Job(client, to=sink, state=tmp_path / "state", streams=["offers"])

    await job().run()
    world.add_offers(-3)

    def marked_and_died(*args: Any, **named: Any) -> Any:
        MemorySink.mark_unseen(sink, *args, **named)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(sink, "mark_unseen", marked_and_died)
        with pytest.raises(Died):
            await job().run()
    (report,) = (await job().run()).streams
    assert (report.status, report.deleted) == ("complete", 3)


def test_a_walk_that_began_at_the_top_again_does_not_go_on_where_the_one_before_it_stood(
    tmp_path: Path,
) -> None:
    spool, walk = Spool(tmp_path / "state"), SavedWalk(run="r", started=datetime.now(UTC))
    spool.open(target="t", origin="o")
    spool.begin("offers", "full", walk)

    def note(number: int) -> Noted:
        page = Page(items=[b'{"id":"%d"}' % number], walk=copy(walk))
        return spool.note("offers", walk, [page], keeps=False)

    walk.after = "o-1"
    first = note(1)
    walk.restarts, walk.after = 1, ""
    spool.restart("offers", walk)
    note(1)
    rewound = spool.rewind("offers", first.seq, walk_in(first.walk))
    assert rewound is not None
    assert (rewound.after, rewound.restarts) == ("", 1)
    walk.after = "o-2"
    second = note(2)
    note(3)
    rewound = spool.rewind("offers", second.seq, walk_in(second.walk))
    assert rewound is not None
    assert (rewound.after, rewound.restarts) == ("o-2", 1)
    spool.close()


def test_what_is_lost_is_told_again_and_what_is_in_the_target_is_not(tmp_path: Path) -> None:
    spool, walk = Spool(tmp_path / "state"), SavedWalk(run="r", started=datetime.now(UTC))
    spool.open(target="t", origin="o")
    spool.begin("offers", "full", walk)
    spool.expect("offers", ["2"])  # marked as deleted in the target

    def note(*items: bytes) -> Noted:
        page = Page(items=items, walk=copy(walk), since=datetime(2026, 1, 1, tzinfo=UTC))
        return spool.note("offers", walk, [page], keeps=False)

    new = b'{"id":"1","updated":"2026-02-02T00:00:00Z"}'
    old = b'{"id":"2","updated":"2020-02-02T00:00:00Z"}'
    first = note(new)
    for _ in range(
        3
    ):  # each time the page is lost that tells of the one that is marked, and of the other again
        lost = note(new, old)
        assert [item.id for item in lost.fresh] == ["2"]
        assert spool.rewind("offers", first.seq, walk_in(first.walk)) is not None
    spool.close()
