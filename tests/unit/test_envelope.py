"""Where an item says what: the right values for items as live tenants answer them, and for those of older answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limio_async.envelope import CHANGED, TAGS, at, changed_at, last_change, moment, places, tags_of, told
from limio_async.sync_jobs.rows import Item, Reader, summary_of
from limio_async.sync_jobs.sink import Kind
from limio_async.sync_jobs.streams import known_streams, stream

OLD, NEW = "2024-01-15T13:56:18.000Z", "2026-03-01T08:00:00+02:00"
AT_MARCH = datetime(2024, 3, 22, 12, 13, 29, tzinfo=UTC)
AT_OLD, AT_NEW = datetime(2024, 1, 15, 13, 56, 18, tzinfo=UTC), datetime(2026, 3, 1, 6, tzinfo=UTC)

PUBLISHED_OFFER = {
    "path": "/offers2/Digital",
    "data": {
        "attributes": {"tags__limio": ["/tags/site"]},
        "baseTemplate": "/templates/offer",
        "created": OLD,
        "record_type": "offer",
        "version_date": NEW,
    },
    "name": "Digital",
    "id": "8a1",
    "type": "item",
    "version": "1.0.3",
}
"""As most published offers of live tenants come: a bare envelope, no `data.modified` (dossier, §15)."""

PAGE = {
    "path": "/Pages/Home",
    "data": {"created": OLD, "modified": NEW, "tags": ["/tags/a", "/tags/b"], "record_type": "page"},
    "name": "Home",
    "id": "9b2",
    "type": "item",
    "version": "2",
}


@pytest.mark.parametrize(
    ("item", "changed"),
    [
        (PUBLISHED_OFFER, AT_NEW),
        (PAGE, AT_NEW),
        ({"updated": NEW, "modified": OLD, "data": {"modified": OLD}}, AT_NEW),
        ({"modified": NEW, "data": {"modified": OLD, "version_date": OLD}}, AT_NEW),
        ({"data": {"modified": NEW, "version_date": OLD}, "version_date": OLD}, AT_NEW),
        ({"version_date": NEW, "data": {"version_date": OLD}}, AT_NEW),
        ({"updated": "", "modified": None, "data": {"modified": "yesterday", "version_date": NEW}}, AT_NEW),
        ({"updated": 1709280000, "data": {"modified": NEW}}, AT_NEW),
        ({"created": NEW, "data": {"created": NEW}}, None),
        ({"created": NEW, "data": None}, None),
        ({"data": ["modified", NEW]}, None),
        ({}, None),
    ],
)
def test_when_an_item_changed(item: Mapping[str, Any], changed: datetime | None) -> None:
    assert changed_at(item) == changed
    assert summary_of(msgspec.json.encode(item)).changed == changed


def test_whether_it_has_stayed_as_it_was_only_the_latest_time_tells() -> None:
    item = {"data": {"modified": OLD, "version_date": NEW}}
    assert (changed_at(item), last_change(item)) == (AT_OLD, AT_NEW)
    assert last_change({"created": NEW}) is None


@pytest.mark.parametrize(
    ("item", "tags"),
    [
        (PUBLISHED_OFFER, ["/tags/site"]),
        (PAGE, ["/tags/a", "/tags/b"]),
        ({"tags": ["/tags/x"], "data": {"tags": ["/tags/y", "/tags/x"]}}, ["/tags/x", "/tags/y"]),
        ({"tags": "/tags/x"}, ["/tags/x"]),
        ({"tags": [None, 3, "", {"path": "/tags/x"}], "data": {"tags": {"a": "b"}}}, []),
        ({"data": "tags"}, []),
        ({}, []),
    ],
)
def test_which_tags_an_item_has(item: Mapping[str, Any], tags: list[str]) -> None:
    assert tags_of(item) == tags


def test_a_field_stands_outside_or_in_data() -> None:
    assert told(PUBLISHED_OFFER, "created") == OLD
    assert told({"created": NEW, **PAGE}, "created") == NEW
    assert told({"created": None, "data": {"created": OLD}}, "created") == OLD
    assert told({"mode": False, "data": {"mode": True}}, "mode") is False
    assert told({"data": "x"}, "created") is None
    assert told(PAGE, "updated") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T06:00", AT_NEW),
        ("2026-03-01T08:00:00+02:00", AT_NEW),
        ("2024-01-15T13:56:18.000Z", AT_OLD),
        ("0001-01-01T00:00:00+14:00", None),
        ("20260301", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20261301", None),
        ("2026-W10", None),
        ("2026", None),
        ("1709280000000", None),
        ("1711120101230", None),  # 1711-12-01T12:30, were its sixth digit from the end a T
        ("2024-03-22+02:00", None),
        ("2024-03-22Z", None),
        ("2024-03-22x12:00", None),
        ("20240322-12:00", None),
        ("2024-03-22T", None),
        ("20240322T121329Z", AT_MARCH),
        ("2024-03-22 12:13:29Z", AT_MARCH),
        ("2024-03-22t12:13:29z", AT_MARCH),
        ("", None),
        (None, None),
        (1709280000, None),
        (["2026-03-01"], None),
    ],
)
def test_a_moment_is_a_date_or_a_date_and_time(text: object, found: datetime | None) -> None:
    assert moment(text) == found


def test_milliseconds_are_no_moment() -> None:
    assert [n for n in range(1_577_836_800_000, 1_893_456_000_000, 1_579_007) if moment(str(n))] == []


# --- of any shape

ZONES = st.sampled_from([UTC, *(timezone(timedelta(minutes=minutes)) for minutes in (-720, -1, 90, 840))])
TIMES = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=ZONES)
NAMES = sorted({name for place in (*CHANGED, *TAGS) for name in place} | {"id", "created"})
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 2.5, "", "yesterday", "2026-13-01", "/tags/ü"])
    | TIMES.map(datetime.isoformat),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)
ITEMS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


@given(TIMES, st.characters(codec="utf-8"), st.sampled_from(["Z", "z"]))
def test_a_date_and_its_time_are_parted_by_t_or_a_space(time: datetime, mark: str, zone: str) -> None:
    time = time.replace(tzinfo=UTC)
    text = time.isoformat().removesuffix("+00:00")
    found = moment(f"{text[:10]}{mark}{text[11:]}{zone}")
    assert found == (time if mark in "Tt " else None)


@given(ITEMS)
@example({"data": {"modified": {"modified": OLD}}})
@example({"data": None, "version_date": NEW})
@example({"data": "x", "modified": NEW, "id": 5})
def test_what_a_walk_reads_agrees_with_the_envelope(item: dict[str, Any]) -> None:
    found = summary_of(msgspec.json.encode(item))
    assert found.changed == changed_at(item)
    assert found.last_change == last_change(item)
    assert found.created == moment(item.get("created"))
    if isinstance(item.get("id"), str):
        assert found.id == item["id"]


@given(ITEMS)
def test_the_last_change_is_never_before_the_one_that_counts(item: dict[str, Any]) -> None:
    changed, last = changed_at(item), last_change(item)
    assert (changed is None) == (last is None)
    assert changed is None or last is None or changed <= last


@given(TIMES, st.sampled_from(CHANGED), st.dictionaries(st.sampled_from(["created"]), TIMES.map(str)))
def test_one_place_is_enough_and_created_is_none(
    time: datetime, place: tuple[str, ...], item: dict[str, Any]
) -> None:
    assert changed_at(item) is None
    holder: dict[str, Any] = item
    for name in place[:-1]:
        holder = holder.setdefault(name, {})
    holder[place[-1]] = time.isoformat()
    assert at(item, place) == time.isoformat()
    assert changed_at(item) == last_change(item) == time


# --- columns

CATALOG = [name for name in known_streams() if stream(name).endpoint.paging.commit_id]
EXAMPLES: Mapping[Kind, tuple[Any, Any]] = {
    "text": ("told", "told"),
    "time": (NEW, AT_NEW),
    "number": (2.5, 2.5),
    "integer": (3, 3),
    "boolean": (True, True),
}


def test_every_kind_of_a_column_has_an_example() -> None:
    assert {*get_args(Kind)} - {"json", "bytes"} == {*EXAMPLES}


@pytest.mark.parametrize("name", [*CATALOG, "catalog_items:offer", "published_catalog_items:page"])
def test_columns_of_every_catalog_table_are_filled_from_data(name: str) -> None:
    of = stream(name)
    own = [spot for spot in of.spots if spot.paths == places(spot.name)]
    assert {"created", "record_type", "parent_path", "status", "service"} <= {spot.name for spot in own}
    inside = {spot.name: EXAMPLES[spot.kind][0] for spot in own}
    outside = msgspec.json.encode({"id": "i1", **inside, "updated": NEW})
    for raw in (msgspec.json.encode({"id": "i1", "data": {**inside, "modified": NEW}}), outside):
        reader = Reader(of, "full")
        row = reader.row(Item(raw, "i1"))
        assert not isinstance(row, str)
        values = dict(zip([column.name for column in reader.table.columns], row, strict=True))
        assert {spot.name: values[spot.name] for spot in own} == {
            spot.name: EXAMPLES[spot.kind][1] for spot in own
        }
        assert values["updated"] == AT_NEW


def test_a_row_of_a_live_offer_is_filled() -> None:
    reader = Reader(stream("offers"), "full")
    row = reader.row(Item(msgspec.json.encode(PUBLISHED_OFFER), "8a1"))
    assert not isinstance(row, str)
    values = dict(zip([column.name for column in reader.table.columns], row, strict=True))
    assert (values["record_type"], values["created"], values["updated"]) == ("offer", AT_OLD, AT_NEW)
