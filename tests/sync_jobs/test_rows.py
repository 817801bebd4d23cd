"""What is fast is what is plain: rows, summaries and drift of random items, held against `plain_rows`."""

from __future__ import annotations

import copy
import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from limio_async.core.wire import UNDECODABLE
from limio_async.drift.findings import Drift
from limio_async.sync_jobs.columns import Columns, Spot, value_at
from limio_async.sync_jobs.rows import Item, Reader, summary_of
from limio_async.sync_jobs.streams import Stream, known_streams, stream

from . import plain_rows
from .test_drift import SAMPLES, values

STREAMS = {name: stream(name) for name in known_streams()}
ODD = st.one_of(
    st.sampled_from(
        [None, True, 0, -1, 2**70, 1.0, 1e300, "", "odd", "2026-01-02", "2026-01-02T03:04:05+02:00"]
    ),
    st.sampled_from([[], {}, [None], [{"id": 1}], {"odd": {"odd": []}}, ["a", 1, {}], "ü\u2028\U0001f600"]),
)


def _objects(value: Any) -> list[dict[str, Any]]:
    held = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [
        *([value] if isinstance(value, dict) else []),
        *(one for inner in held for one in _objects(inner)),
    ]


@st.composite
def _texts(draw: st.DrawFn, model: Any) -> bytes:
    """An item of a model as JSON: as it should be, or with odd values, fields and spellings."""
    item = copy.deepcopy(draw(values(inspect.type_info(model))))
    for _ in range(draw(st.integers(0, 2))):
        held = draw(st.sampled_from(_objects(item)))
        name = draw(st.sampled_from([*held, "planted", "id", "data", "status", "updated", "created"]))
        held[name] = copy.deepcopy(draw(ODD))
    match draw(st.sampled_from(["compact", "compact", "spaced", "twice", "within"])):
        case "spaced":
            return json.dumps(item, ensure_ascii=draw(st.booleans())).encode()
        case "twice":
            name = draw(st.sampled_from([*item, "id", "data"]))
            return b"{%b:%b,%b" % (_json(name), _json(draw(ODD)), _json({**item, name: item.get(name)})[1:])
        case "within" if isinstance(item.get("data"), dict) and item["data"]:
            name = draw(st.sampled_from([*item["data"]]))
            twice = b'"data":{%b:%b,' % (_json(name), _json(draw(ODD)))
            return _json(item).replace(b'"data":{', twice, 1)
        case _:
            return _json(item)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


MADE = st.sampled_from(sorted(STREAMS)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.lists(_texts(STREAMS[name].endpoint.returns), min_size=1, max_size=4)
    )
)


@settings(deadline=None)
@given(MADE)
@example(("offers", [b'{"id":"a","data":5,"data":{}}', b'{"id":"a","id":5,"id":"b"}', b'{"data":[]}']))
@example(
    ("offers", [b"null", b"[]", b'"x"', b"", b"{", b'{"id":"\\ud83d"}', b'{"id":"\xff"}', b' {"id":"a"}'])
)
def test_rows_summaries_and_drift_are_what_they_would_be_plainly(made: tuple[str, list[bytes]]) -> None:
    name, texts = made
    of = STREAMS[name]
    reader = Reader(of, "full")
    looked_at: list[Any] = []
    for raw in texts:
        for held in (raw, msgspec.Raw(raw)):
            told = summary_of(held)
            assert (
                told.id,
                told.content,
                told.changed,
                told.last_change,
                told.created,
            ) == plain_rows.summary(raw)
        item = Item(raw, "key", {"starting_point": "start"}, "parent", told.content)
        _assert_same(reader, of, item)
        try:
            found = msgspec.json.decode(raw)
        except UNDECODABLE:
            continue
        looked_at += [found] if isinstance(found, dict) else []
    found_in = {(one.model, one.path, one.kind, one.found): one.count for one in reader.drift.findings()}
    assert found_in == plain_rows.drift(of.endpoint.returns, looked_at)


def _assert_same(reader: Reader, of: Stream, item: Item) -> None:
    """A row is what it would be plainly, whatever it is made from."""
    plain = plain_rows.row(of, reader.table.columns, item)
    found = reader.row(item)
    if isinstance(plain, str) or isinstance(found, str):
        assert found == plain
        return
    at = reader.table.at("hash")
    assert (*found[:at], "…", *found[at + 1 :]) == plain
    assert [*map(type, found)] == [*map(type, plain)]
    told = msgspec.structs.replace(item, content=summary_of(item.raw).content)
    assert found[at] == reader.hash(item) == reader.hash(told)


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("list*.json")))
def test_documented_items_are_read_as_they_would_be_plainly(sample: str) -> None:
    body = json.loads((SAMPLES / f"{sample}.json").read_text())
    of = next(
        one
        for one in STREAMS.values()
        if one.endpoint.operation in {sample.partition("_")[0], "listJourneysV2"}
    )
    for name in STREAMS:
        if STREAMS[name].endpoint.operation == sample.partition("_")[0]:
            of = STREAMS[name]
    items = body["journeys" if "journeys" in body else "items"]
    reader = Reader(of, "full")
    for item in items:
        raw = _json(item)
        _assert_same(reader, of, Item(raw, summary_of(raw).id, parent="parent"))
    found_in = {(one.model, one.path, one.kind, one.found): one.count for one in reader.drift.findings()}
    assert found_in == plain_rows.drift(of.endpoint.returns, items)


PARTS: st.SearchStrategy[str | int] = st.sampled_from(["a", "b"]) | st.integers(0, 1)
HELD = st.recursive(
    st.sampled_from(
        [None, True, 0, 2.5, "", "7", "2026-01-02", "2026-01-02T03:04:05Z", 2**70, "nan", "1e999"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
)
SPOTS = st.lists(
    st.builds(
        Spot,
        st.just("spot"),
        st.lists(st.lists(PARTS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=3).map(tuple),
        st.sampled_from(["text", "number", "integer", "boolean", "time"]),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(SPOTS, st.dictionaries(st.sampled_from(["a", "b"]), HELD))
def test_columns_read_at_once_are_those_read_one_by_one(spots: list[Spot], item: dict[str, Any]) -> None:
    found, plain = Columns(spots).of(item), [value_at(item, spot) for spot in spots]
    assert (found, [*map(type, found)]) == (plain, [*map(type, plain)])


class Closed(msgspec.Struct):
    """A model that refuses what fits its types."""

    word: Literal["new", "old"]
    size: float | None = None
    inner: list[dict[str, Closed]] = []


class Numbers(msgspec.Struct):
    """A model without an integer beside a number."""

    id: str
    size: float | int | None = None


CLOSED = st.recursive(
    st.sampled_from(["new", "old", "other", None, 1, 1.5]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["word", "size", "inner", "x"]), inner)
    ),
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([Closed, Numbers]),
    st.dictionaries(st.sampled_from(["id", "word", "size", "inner"]), CLOSED),
)
def test_what_surely_fits_is_taken(model: type, item: dict[str, Any]) -> None:
    if Drift(model).see(item):
        msgspec.json.decode(_json(item), type=model)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_model_of_a_list_is_one_of_which_that_can_be_said(name: str) -> None:
    taken = {"id": "a"}
    assert Drift(STREAMS[name].endpoint.returns).see(taken)
    msgspec.convert(taken, STREAMS[name].endpoint.returns)


@pytest.mark.parametrize("depth", [100, 900, 990, 1_000, 20_000])
def test_what_is_nested_deep_is_refused_as_it_would_be_plainly(depth: int) -> None:
    raw = b'{"id":"a","odd":' + b"[" * depth + b"]" * depth + b"}"
    reader = Reader(STREAMS["offers"], "full")
    plain = plain_rows.row(STREAMS["offers"], reader.table.columns, Item(raw, "a"))
    assert isinstance(reader.row(Item(raw, "a")), str) == isinstance(plain, str)


# --- hashes


def test_a_hash_tells_of_bytes_heads_columns_and_salt() -> None:
    of, item = STREAMS["journeys"], Item(b'{"id":"a"}', "a")
    with_head = Item(b'{"id":"a"}', "a", {"starting_point": "start"})
    hashes = [
        Reader(of, "full").hash(item),
        Reader(of, "full").hash(with_head),
        Reader(of, "full", salt="1").hash(item),
        Reader(of, "full").hash(item.holding(b'{"id": "a"}')),
        Reader(STREAMS["offers"], "full").hash(item),
    ]
    assert len(set(hashes)) == len(hashes)
    assert Reader(of, "full").hash(Item(b'{"id":"a"}', "a", dict(with_head.head))) == hashes[1]


def test_an_item_with_other_bytes_has_another_hash() -> None:
    reader, whole = Reader(STREAMS["orders"], "full"), b'{"id":"a","data":{}}'
    told = summary_of(b'{"id":"a"}')
    item = Item(b'{"id":"a"}', "a", content=told.content)
    assert reader.hash(item.holding(whole)) == reader.hash(Item(whole, "a")) != reader.hash(item)
    assert item.holding(whole) == Item(whole, "a")


def test_versions_are_told_apart_as_release_0_1_did() -> None:
    """Else each version that is kept would be appended once more."""
    reader = Reader(STREAMS["offers"], "append")
    item = Item(b'{"id":"a"}', "a", content=summary_of(b'{"id":"a"}').content)
    found = reader.row(item)
    assert not isinstance(found, str)
    assert found[reader.table.at("hash")] == reader.hash(item) == "27e56749a9cf2f2b88dff07122c60133"
