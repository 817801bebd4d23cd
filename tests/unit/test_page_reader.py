"""Reading a page: the cursor found early is the one that the page has; one pass reads what several would."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async import errors
from limio_async.api._cursors import CATALOG, OBJECTS
from limio_async.api.offers import LIST_OFFERS
from limio_async.core.listing.beside import Beside
from limio_async.core.listing.checkpoint import Cursor
from limio_async.core.listing.head import read_head
from limio_async.core.listing.reader import PageReader
from limio_async.core.wire import Paging
from limio_async.errors import Unreadable
from tests.unit.helpers import SCROLL, scroll_page
from tests.unit.test_listing import ids, walk

OFFERS = msgspec.structs.replace(LIST_OFFERS, identity=())

FILLER = [{"id": f"o-{number}", "text": "x" * 200} for number in range(90)]
WORDS = st.sampled_from(
    [
        "queryMore",
        '"queryMore"',
        'a,"queryMore":"b"',
        "{",
        "}",
        "]",
        "\\",
        '\\"queryMore\\":',
        "items",
        "é",
        ",",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
CURSORS = (
    st.sampled_from(["", "abc", 'a"b', "\\", "é", "}"])
    | st.none()
    | st.fixed_dictionaries({"from": st.text(max_size=4), "alias": st.text(max_size=4)})
)


def certain(paging: Paging, body: bytes) -> Any:
    """The cursor that a full parse finds; a marker where it finds none that can be used."""
    try:
        return read_head("listThings", paging, body).cursor
    except Unreadable:
        return "unreadable"


@pytest.mark.parametrize("paging", [CATALOG, OBJECTS])
@given(
    fields=st.lists(st.tuples(st.sampled_from(["a", "header", "hits", "tail"]) | WORDS, VALUES), max_size=4),
    cursor=CURSORS,
    at=st.integers(0, 5),
    first=st.booleans(),
    indent=st.sampled_from([None, 1]),
    escaped=st.booleans(),
    rest=st.sampled_from([b"", b" ", b"\n", b"}", b"]", b',"queryMore":"late"}', b'{"queryMore":"more"}']),
)
def test_a_cursor_found_early_is_that_of_the_page(
    paging: Paging,
    fields: list[tuple[str, Any]],
    cursor: Any,
    at: int,
    first: bool,
    indent: int | None,
    escaped: bool,
    rest: bytes,
) -> None:
    pairs = [(name, value) for name, value in fields if name != "items"]
    pairs.insert(min(at, len(pairs)), ("queryMore", cursor))
    pairs.insert(0 if first else len(pairs), ("items", FILLER))
    text = ",".join(f"{json.dumps(name)}: {json.dumps(value, indent=indent)}" for name, value in pairs)
    if escaped:
        text = text.replace('"queryMore"', '"query\\u004dore"', 1)
    body = f"{{{text}}}".encode() + rest
    early = Beside("listThings", paging).cursor_in_tail(body)
    if early is not None and certain(paging, body) != "unreadable":
        assert early == certain(paging, body)


PAGES = st.fixed_dictionaries(
    {"items": st.sampled_from([FILLER, FILLER[:1], [], None])},
    optional={
        "queryMore": CURSORS,
        "hits": st.sampled_from([1, "2", {"value": 3, "relation": "gte"}, "many", []]),
        "commitId": st.sampled_from(["a", "b", 7]),
        "header": st.sampled_from([{"commitId": "c"}, {}, None]),
        "more": st.sampled_from([1, "]", [1], {"items": 1}]),
        "message": st.sampled_from(["no", ""]),
    },
)


@given(pages=st.lists(st.tuples(PAGES, st.integers(0, 5)), min_size=1, max_size=4))
def test_a_page_means_the_same_whatever_the_pages_before_it_said(
    pages: list[tuple[dict[str, Any], int]],
) -> None:
    reader: PageReader[Any] = PageReader(LIST_OFFERS, msgspec.Raw)
    for page, first in pages:
        fields = list(page.items())
        body = json.dumps(dict([*fields[first:], *fields[:first]])).encode()
        alone: PageReader[Any] = PageReader(LIST_OFFERS, msgspec.Raw)
        assert reader.cursor_in_tail(body) == alone.cursor_in_tail(body)
        read, expected = reader.read(body), alone.read(body)
        assert read == expected
        if read and expected and read[1]:
            length = len(read[1])
            assert reader.fingerprint(read[0], body, length) == alone.fingerprint(expected[0], body, length)


def test_a_common_page_is_certain() -> None:
    body = json.dumps({"items": FILLER, "hits": 5, "queryMore": {"from": "f", "alias": "a"}}).encode()
    assert Beside("listOffers", CATALOG).cursor_in_tail(body) == read_head("listOffers", CATALOG, body).cursor
    first = json.dumps({"queryMore": "k", "items": FILLER * 3}).encode()
    assert (
        Beside("listObjects", OBJECTS).cursor_in_tail(first) is None
    )  # too far from the end: the page is read first


@pytest.mark.parametrize(
    "body",
    [
        b'{"items": [], "hits": {"value": 3, "relation": "gte"}, "commitId": "abc"}',
        b'{"header": {"commitId": 17}, "items": [{"id": "a"}], "queryMore": {"from": "f", "alias": "g"}}',
        b'{"items": null, "hits": "many"}',
        b'{"items": [{"id": "a", "new": [1, {}]}, {"id": null}], "hits": 2, "other": {"items": [1]}}',
    ],
)
def test_one_pass_finds_what_several_find(body: bytes) -> None:
    class Thing(msgspec.Struct):
        id: str | None = None

    reader = PageReader[Thing](OFFERS, Thing)
    read = reader.read(body)
    assert read is not None
    head, items = read
    careful = reader.read_head(body)
    assert (items, 0) == asyncio.run(reader.decoded(reader.raw_items(careful), "raise"))
    assert (head.hits, head.exact, head.cursor, head.commit_id) == (
        careful.hits,
        careful.exact,
        careful.cursor,
        careful.commit_id,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"hits": 1}',
        b'{"items": [{"id": 7}]}',
        b'{"items": {}}',
        b'{"items": [], "queryMore": 5}',
    ],
)
def test_what_is_odd_is_left_to_the_careful_way(body: bytes) -> None:
    class Thing(msgspec.Struct):
        id: str

    assert PageReader[Thing](OFFERS, Thing).read(body) is None


@pytest.mark.parametrize("hits", [b"1e999", b"-1.0", b"-1", b"0.5", b"[1, 2]", b"true", b'{"value": []}'])
def test_hits_that_are_no_number_are_odd(hits: bytes) -> None:
    head = read_head("listOffers", CATALOG, b'{"hits": %b, "items": []}' % hits)
    assert (head.hits, head.exact, head.odd_hits) == (None, False, True)


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    body = b'{"items": [{"id": "1"}], "items": [{"id": "2"}]}'
    reader: PageReader[Any] = PageReader(LIST_OFFERS, msgspec.Raw)
    assert [*map(bytes, reader.split(body))] == [b'{"id": "2"}']
    with pytest.raises(Unreadable):
        reader.split(b'{"items": [{"id": "\\ud800"}], "items": [{"id": "2"}]}')


@pytest.mark.parametrize("ends", [False, True])
async def test_a_page_that_was_asked_for_with_another_cursor_than_the_page_has_is_lost(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Only what was found at the end of a page could differ from what is read in it; then a page would be skipped."""
    listing, _ = walk(
        SCROLL, scroll_page("1"), scroll_page("2"), scroll_page() if ends else scroll_page("3"), scroll_page()
    )
    wrong = Cursor({"opt.queryMoreFrom": "elsewhere", "opt.queryMoreAlias": "a"})
    asked: list[int] = []

    def in_tail(*_: Any) -> Cursor | None:
        asked.append(1)
        return wrong if len(asked) == 2 or not ends else None

    monkeypatch.setattr(PageReader, "cursor_in_tail", in_tail)
    if ends:
        assert await ids(listing) == ["1", "2"]
    else:
        with pytest.raises(errors.IncompleteListing, match="two cursors"):
            await ids(listing)


@pytest.mark.parametrize(
    "page",
    [
        b'{"items":%b}',
        b'{"hits":200,"items": %b ,"more":"]"}',
        b'{"items":%b,"more":{"text":"' + b"x" * 40_000 + b'"}}',
        b'{"\\u0069tems":%b,"more":1}',
        b'{"items":%b,"more":"[ ] [ ]"}',
        b'{"items":%b,"more":"],x"}',
    ],
)
def test_a_page_s_fingerprint_is_that_of_its_items_however_it_is_written(page: bytes) -> None:
    reader: PageReader[Any] = PageReader(LIST_OFFERS, msgspec.Raw)
    items = json.dumps([{"id": str(number), "text": "x" * 200} for number in range(200)]).encode()
    prints = set[int]()
    for wrapped in (b'{"items":%b}', page):
        body = wrapped % items
        read = reader.read(body)
        assert read is not None
        prints.add(reader.fingerprint(read[0], body, 200))
    assert len(prints) == 1


@pytest.mark.parametrize("place", [0, 1])
def test_a_page_s_fingerprint_is_of_its_items_whatever_other_lists_it_has(place: int) -> None:
    reader: PageReader[Any] = PageReader(LIST_OFFERS, msgspec.Raw)
    items = [{"id": str(number), "path": "/offers/x", "text": "x" * 200} for number in range(200)]
    prints = set[int]()
    for other in (None, [1], ["x" * 5_000], [{"items": [1]}, {"items": [2] * 3_000}]):
        fields: list[tuple[str, Any]] = [("items", items)]
        if other is not None:
            fields.insert(place, ("more", other))
        body = msgspec.json.encode(dict(fields))
        read = reader.read(body)
        assert read is not None
        prints.add(reader.fingerprint(read[0], body, len(items)))
    assert len(prints) == 1


@given(
    key=st.text().filter(lambda key: key not in {"items", "queryMore", "hits", "commitId", "header"}),
    first=st.booleans(),
)
def test_a_page_may_have_any_key_beside_its_items(key: str, first: bool) -> None:
    """None ends as an error that is not ours, nor do the pages after it suffer."""
    reader: PageReader[Any] = PageReader(OFFERS, Any)
    beside, items = {key: 1}, {"items": [{"id": "1"}]}
    odd = json.dumps(beside | items if first else items | beside).encode()
    plain = json.dumps(items).encode()
    for body in (odd, plain, odd):
        read = reader.read(body)
        assert read[1] == [{"id": "1"}] if read is not None else body is odd
        assert [*map(bytes, reader.split(body))] == [b'{"id": "1"}']


async def test_a_bad_item_leaves_nothing_for_the_garbage_collector() -> None:
    class Named(msgspec.Struct):
        id: str

    reader: PageReader[Any] = PageReader(OFFERS, Named)
    gc.collect()
    gc.disable()
    try:
        items, bad = await reader.decoded([msgspec.Raw(b'{"id": 1}')], "yield")
        assert (len(items), bad) == (1, 1)
        assert not [one for one in gc.get_objects() if isinstance(one, Unreadable)]
    finally:
        gc.enable()


def test_of_the_keys_that_pages_have_no_more_than_forty_are_learned() -> None:
    reader: PageReader[Any] = PageReader(OFFERS, Any)
    for page in range(100):
        body = json.dumps({"items": [{"id": "1"}], f"key{page}": 1}).encode()
        read = reader.read(body)
        assert read is None or read[1] == [{"id": "1"}]
        assert [*map(bytes, reader.split(body))] == [b'{"id": "1"}']
    assert len(reader._names) <= 40
