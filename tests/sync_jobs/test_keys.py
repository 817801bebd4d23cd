"""No two things share a key: ids of every kind, items without id, children of any parent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limio_async import BearerToken, Limio
from limio_async.core.listing.repeats import id_in, key_of
from limio_async.drift.findings import Finding
from limio_async.sync_jobs import Job, JobReport
from limio_async.sync_jobs.dlt import limio as source
from limio_async.sync_jobs.ledger import QUARANTINE, drift_row
from limio_async.sync_jobs.rows import child_key, summary_of
from tests.sync_jobs.memory_sink import MemorySink
from tests.sync_jobs.raw_tenant import RawObjects, raw_tenant

TEXTS = st.text(st.sampled_from('a7%/2F5json:#"{[\\. \0é😀') | st.characters(codec="utf-8"), max_size=9)
NUMBERS = ["7", "7.0", "7e0", "70e-1", "0", "-0", "-7", "1e400", "9" * 40, "true", "[7]", '{"id":7}']
HALVES = [r'"\ud800"', r'"\uD800"', r'"a\udfff"']
TOKENS = TEXTS.map(lambda text: msgspec.json.encode(text).decode()) | st.sampled_from([*NUMBERS, *HALVES])


def said(token: str) -> object:
    """What an id is: two spellings of one text are one, two of a number are two."""
    return json.loads(token) if token.startswith('"') else token.encode()


@given(TOKENS, TOKENS)
@example("7", '"7"')
@example("7", '"json:7"')
@example('"json:7"', r'"json:\"json:7\""')
@example(r'"\ud800"', r'"json:\"\\ud800\""')
@example("true", '"True"')
@example("7", "7.0")
def test_two_ids_have_two_keys(one: str, other: str) -> None:
    first, second = (f'{{"id":{token}}}'.encode() for token in (one, other))
    differ = (said(one) != said(other)) if (one, other) != (r'"\ud800"', r'"\uD800"') else True
    if one in HALVES and other in HALVES:
        differ = one != other  # each is told by how it came
    assert (key_of(first) != key_of(second)) == differ
    assert summary_of(first).id == key_of(first)


@given(TEXTS.filter(lambda text: not text.startswith("json:")))
def test_an_ordinary_id_is_its_own_key(text: str) -> None:
    assert key_of(msgspec.json.encode({"id": text})) == text
    assert child_key(text, None) == text


@given(TOKENS)
@example('"7"')
@example('"json:7"')
def test_the_id_comes_out_of_its_key_for_the_path(token: str) -> None:
    found = id_in(key_of(f'{{"id":{token}}}'.encode()))
    if token in HALVES:
        assert found == f"json:{token}"  # which no path can hold
    else:
        assert found == (json.loads(token) if token.startswith('"') else token)


@pytest.mark.parametrize("nameless", [b'{"name":"a"}', b'{"id":null}', b"{}", b"7", rb'{"name":"\ud800"}'])
def test_no_text_has_the_key_of_an_item_without_id(nameless: bytes) -> None:
    key = key_of(nameless)
    assert key.startswith("json:#")
    assert summary_of(nameless).id == key
    for text in (key, hashlib.sha256(nameless).hexdigest()[:16]):
        assert key_of(msgspec.json.encode({"id": text})) != key


@given(TEXTS, TEXTS, TEXTS, TEXTS)
@example("a", "b/c", "a/b", "c")
@example("a%2Fb", "c", "a/b", "c")
def test_two_children_have_two_keys(parent: str, child: str, other_parent: str, other: str) -> None:
    same = (parent, child) == (other_parent, other)
    assert (child_key(child, parent) == child_key(other, other_parent)) == same


def test_an_ordinary_child_has_the_key_of_earlier_releases() -> None:
    assert child_key("event-1", "sub-1") == "sub-1/event-1"
    assert child_key("a/b", "sub-1") == "sub-1/a/b"


def test_two_findings_have_two_keys() -> None:
    spots = [("$.a", "b/c"), ("$.a/b", "c")]
    rows = [
        drift_row(Finding(model="M", path=path, kind="value", found=found, count=1), "run", "offers")
        for path, found in spots
    ]
    assert len({row[0] for row in rows}) == 2


# --- in a job and in dlt

IDS = [
    "7",
    '"7"',
    "7.0",
    "7e0",
    "true",
    '"true"',
    '"True"',
    "9" * 40,
    f'"{"9" * 40}"',
    '"json:7"',
    r'"\ud800"',
]
NAMELESS = [b'{"name":"nameless"}', b'{"id":null,"name":"null"}']
ITEMS = [*(f'{{"id":{token},"record_type":"subscription"}}'.encode() for token in IDS), *NAMELESS]
CHILDREN = {"a": [b'{"id":"b/c"}', b'{"id":"x"}'], "a%2Fb": [b'{"id":"c"}'], "a%252Fb": [b'{"id":"c"}']}


@pytest.fixture
def tenant() -> Iterator[RawObjects]:
    parents = [json.dumps({"id": one}).encode() for one in ("a", "a/b", "a%2Fb")]
    lists = {"subscriptions": [[*ITEMS[:6]], [*ITEMS[6:]]], "orders": [parents]}
    lists |= {f"orders/{name}/events": [items] for name, items in CHILDREN.items()}
    with raw_tenant(RawObjects(lists)) as found:
        yield found


async def sync(tenant: RawObjects, sink: MemorySink, state: Path, *streams: str, **options: Any) -> JobReport:
    async with Limio(tenant.url, auth=BearerToken("token"), attempts=1) as limio:
        return await Job(limio, to=sink, state=state / "state", streams=streams, **options).run()


@pytest.mark.parametrize("mode", ["full", "append"])
async def test_a_job_keeps_every_id_apart(
    tenant: RawObjects, sink: MemorySink, tmp_path: Path, mode: Any
) -> None:
    report = await sync(tenant, sink, tmp_path, "subscriptions", mode=mode)
    table = "subscriptions" if mode == "full" else "subscriptions_history"
    rows = [row["raw"] for row in sink.tables[table].values()]
    bad = [row["raw"] for row in sink.tables[QUARANTINE.name].values()]
    assert sorted([*rows, *bad]) == sorted(ITEMS)
    assert report.streams[0].seen == len(ITEMS)
    again = (await sync(tenant, sink, tmp_path, "subscriptions", mode=mode)).streams[0]
    assert (again.inserted, again.updated, again.deleted) == (0, 0, 0)


async def test_children_of_every_parent_have_rows(
    tenant: RawObjects, sink: MemorySink, tmp_path: Path
) -> None:
    report = await sync(tenant, sink, tmp_path, "orders.events")
    assert report.complete
    rows = {(row["parent_id"], row["raw"]) for row in sink.tables["orders_events"].values()}
    assert rows == {
        ("a", b'{"id":"b/c"}'),
        ("a", b'{"id":"x"}'),
        ("a/b", b'{"id":"c"}'),
        ("a%2Fb", b'{"id":"c"}'),
    }


async def test_a_number_is_asked_for_as_it_stands(
    tenant: RawObjects, sink: MemorySink, tmp_path: Path
) -> None:
    tenant.lists["orders"] = [[b'{"id":7}', b'{"id":"json:7"}']]
    tenant.lists |= {f"orders/{one}/events": [[b'{"id":"x"}']] for one in ("7", "json:7")}
    tenant.objects = {"orders/7": b'{"id":7}', "orders/json:7": b'{"id":"json:7"}'}
    await sync(tenant, sink, tmp_path, "orders.events", hydrate=True)
    parents = {row["parent_id"] for row in sink.tables["orders_events"].values()}
    assert parents == {"json:7", 'json:"json:7"'}
    assert "orders/7" in tenant.asked


def test_dlt_keeps_every_id_apart(
    tenant: RawObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    target = dlt.destinations.duckdb(str(tmp_path / "tenant.duckdb"))
    pipeline = dlt.pipeline("keys", destination=target, dataset_name="limio")
    streams = ["subscriptions", "orders.events"]
    pipeline.run(source(streams, client=lambda: Limio(tenant.url, auth=BearerToken("token"), attempts=1)))
    with pipeline.sql_client() as database:
        found = [
            (database.execute_sql(f"SELECT count(*), count(DISTINCT id) FROM {name}") or [])[0]  # noqa: S608
            for name in ("subscriptions", "_limio_quarantine", "orders_events")
        ]
    counts = [tuple(one) for one in found]
    assert all(count == different for count, different in counts)
    assert counts[0][0] + counts[1][0] == len(ITEMS)
    assert counts[2][0] == 4
