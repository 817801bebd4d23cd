"""Items whose JSON is damaged: they are in quarantine with their bytes, their neighbours arrive, and no row is lost by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limio_async.core.listing.repeats import key_of
from limio_async.sync_jobs import StreamReport

from .raw_lists import RawLists, offer
from .test_nights import (
    SUBSCRIPTIONS,
    Night,
    ask,
    by_name,
    db,
    ids,
    limio,
    night,
    quarantine,
    tenant,
)

__all__ = ["db", "limio", "night", "tenant"]

TORN = {  # by what is wrong: what stands in place of the name
    "a quote too many": (b'"Offer 2"', b'"Offer 2" wide"'),
    "a quote too few": (b'"Offer 2"', b'"Offer 2'),
}


def written(item: dict[str, Any]) -> bytes:
    return json.dumps(item).encode()


def others() -> set[str]:
    return {f"o{one}" for one in range(5) if one != 2}


@pytest.mark.parametrize(("was", "now"), TORN.values(), ids=TORN)
async def test_a_torn_item_is_in_quarantine_and_its_row_stays(
    tenant: RawLists, night: Night, db: Path, was: bytes, now: bytes
) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(5)]
    await night("offers")
    torn = written(offer(2)).replace(was, now)
    changed = [written(offer(one, name="new")) for one in range(5)]
    tenant.lists["offers"] = [torn if one == 2 else changed[one] for one in range(4)]
    report = (await night("offers")).streams[0]
    assert (report.status, report.seen, report.updated, report.deleted) == ("complete", 4, 3, 1)
    assert ids(db, "offers") == {"o0", "o1", "o2", "o3"}
    assert ids(db, "offers", "stale_since IS NOT NULL") == {"o2"}
    assert ask(db, "SELECT item_id, raw FROM _limio_quarantine") == [("o2", torn)]
    tenant.lists["offers"] = [*changed]
    assert (await night("offers")).complete
    assert (ids(db, "offers"), quarantine(db)) == ({*others(), "o2"}, {})


NAMELESS = {
    "a torn id": b'{"id":"o"2","name":"x"}',
    "an id that is not closed": b'{"id":"o2,"name":"x"}',
}
WITHOUT = {
    "no object": b"7",
    "null": b"null",
    "no id": b'{"name":"x"}',
    "null as id": b'{"id":null,"name":"x"}',
}


async def after_an_odd_one(odd: bytes, tenant: RawLists, night: Night) -> StreamReport:
    """Return the report of a run that misses three of five offers, with *odd* among those that come."""
    tenant.lists["offers"] = [offer(one) for one in range(5)]
    await night("offers")
    tenant.lists["offers"] = [written(offer(0)), odd, written(offer(3))]
    report: StreamReport = (await night("offers")).streams[0]
    return report


@pytest.mark.parametrize("odd", NAMELESS.values(), ids=NAMELESS)
async def test_no_row_is_deleted_where_an_item_may_be_any(
    tenant: RawLists, night: Night, db: Path, odd: bytes
) -> None:
    report = await after_an_odd_one(odd, tenant, night)
    assert (report.status, report.seen, report.deleted) == ("complete", 3, 0)
    assert report.error is not None
    assert "3 rows were not seen" in report.error
    assert ids(db, "offers") == {*others(), "o2"}
    assert ask(db, "SELECT item_id, raw FROM _limio_quarantine") == [(key_of(odd), odd)]
    tenant.lists["offers"] = [offer(0), offer(3)]
    report = (await night("offers")).streams[0]
    assert (report.status, report.deleted, report.error) == ("complete", 3, None)


@pytest.mark.parametrize("odd", WITHOUT.values(), ids=WITHOUT)
async def test_what_is_whole_and_has_no_id_holds_up_no_deletion(
    tenant: RawLists, night: Night, db: Path, odd: bytes
) -> None:
    report = await after_an_odd_one(odd, tenant, night)
    assert (report.status, report.deleted, report.error) == ("complete", 3, None)
    assert ids(db, "offers", "deleted_at IS NULL") == {"o0", "o3"}
    assert ask(db, "SELECT item_id, raw FROM _limio_quarantine") == [(key_of(odd), odd)]


async def test_an_item_that_may_be_any_is_not_told_where_no_row_is_missing(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.lists["offers"] = [written(offer(0)), NAMELESS["a torn id"]]
    for _ in range(2):
        report = (await night("offers")).streams[0]
        assert (report.status, report.error) == ("complete", None)


async def test_children_of_an_object_that_may_be_any_stay(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.subscriptions(3)
    streams = ("subscriptions", "subscriptions.events")
    await night(*streams)
    assert ids(db, "subscriptions_events") == {"s0/e0", "s1/e1", "s2/e2"}
    tenant.lists[SUBSCRIPTIONS][1] = b'{"id":"s"1","record_type":"subscription"}'
    tenant.objects[f"{SUBSCRIPTIONS}/s2/events"] = (200, b'{"items":[]}')
    reports = by_name(await night(*streams))
    assert {one.status for one in reports.values()} == {"complete"}
    assert ids(db, "subscriptions") == {"s0", "s1", "s2"}
    assert ids(db, "subscriptions_events") == {"s0/e0", "s1/e1", "s2/e2"}
    assert "2 rows were not seen" in (reports["subscriptions.events"].error or "")


async def test_a_child_that_may_be_any_keeps_the_children_of_its_object(
    tenant: RawLists, night: Night, db: Path
) -> None:
    tenant.subscriptions(3)
    streams = ("subscriptions", "subscriptions.events")
    await night(*streams)
    tenant.objects[f"{SUBSCRIPTIONS}/s1/events"] = (200, b'{"items":[{"id":"e"1"}]}')
    tenant.objects[f"{SUBSCRIPTIONS}/s2/events"] = (200, b'{"items":[]}')
    report = by_name(await night(*streams))["subscriptions.events"]
    assert (report.status, report.deleted, report.error) == ("complete", 1, None)
    assert ids(db, "subscriptions_events") == {"s0/e0", "s1/e1"}


async def test_two_torn_items_of_a_page_are_not_read(tenant: RawLists, night: Night, db: Path) -> None:
    tenant.lists["offers"] = [offer(one) for one in range(5)]
    await night("offers")
    was, now = TORN["a quote too many"]
    torn = [written(offer(one, name="Offer 2")).replace(was, now) for one in (1, 3)]
    tenant.lists["offers"] = [written(offer(0)), torn[0], written(offer(2)), torn[1], written(offer(4))]
    report = (await night("offers")).streams[0]
    assert report.status == "failed"
    assert ids(db, "offers") == {*others(), "o2"}
