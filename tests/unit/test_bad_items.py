"""One bad item is one bad item: its neighbours come, `raw()` gives its exact bytes, and the walk stands where it should."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async import errors
from limio_async._readback import read_back_args
from limio_async.api.offers import LIST_OFFERS
from limio_async.core.codec import decode_as, raw_items, read_response
from limio_async.core.listing import BadItem
from limio_async.core.listing.reader import PageReader
from limio_async.core.listing.repeats import id_of, last_id
from limio_async.core.outcome import error_for
from limio_async.core.splitter import container, elements, member
from limio_async.core.tolerant import mended, readable
from limio_async.core.wire import Response
from limio_async.transport.workarounds import is_cut_short
from tests.unit.helpers import KEY, answer, endpoint
from tests.unit.served import KINDS, Served, names
from tests.unit.test_listing import walk

DEEP = b"[" * 20_000 + b"]" * 20_000
MENDED = {  # by what is odd: the item's rest, and how a typed item reads it
    "high half": (rb'"name":"cut \ud83d"', {"name": "cut �"}),
    "low half": (rb'"name":"\udE00 cut"', {"name": "� cut"}),
    "halves in the wrong order": (rb'"name":"\udc00\ud800"', {"name": "��"}),
    "half before a pair": (rb'"name":"\ud83d\ud83d\ude00"', {"name": "�😀"}),
    "half behind quotes and backslashes": (
        rb'"name":"\\\"]}\\\ud800\\ud800,{"',
        {"name": '\\"]}\\�\\ud800,{'},
    ),
    "in a key": (rb'"\ud800":[],"name":"x"', {"name": "x"}),
    "in a nested object": (rb'"more":{"a":[{"b":"\ud800"}]}', {"more": {"a": [{"b": "�"}]}}),
    "in a nested key": (rb'"more":{"\udfff":1}', {"more": {"�": 1}}),
}
BAD = {
    "NaN": b'"more":{"x":NaN}',
    "infinity": b'"more":{"x":Infinity}',
    "minus infinity": b'"more":[-Infinity]',
    "a number beyond all": b'"more":{"x":1e999}',
    "20,000 brackets": b'"more":%b' % DEEP,
    "no UTF-8": b'"more":{"x":"\xff\xfe]}"}',
    "no UTF-8 in a key": b'"more":{"\xc3":1}',
    "a control character": b'"name":"a\x00b"',
    "half and NaN": rb'"name":"\ud800","more":NaN',
    "another type": b'"name":{}',
    "a quote too many": b'"name":"5" screen","more":[{"x":1},{"y":"},{"}]',
    "a quote too few": b'"more":[{"x":1},{"id":"}"}],"name":"5 screen',
}
PLACES = {"first": (0, 7), "in the middle": (4, 7), "last": (6, 7), "alone": (0, 1)}


class Item(msgspec.Struct):
    id: str
    name: str | None = None
    more: Any = None


def odd(rest: bytes, name: str = "odd") -> bytes:
    return b'{"id":"%b", %b }' % (name.encode(), rest)


class Odd:
    """A list with one odd item, behind any kind of cursor."""

    def __init__(self, kind: str, item: bytes, at: int, count: int, length: int = 3) -> None:
        self.ids = names(count)
        self.server = Served(kind, self.ids, length)
        self.item = item
        self.raw = [item if n == at else b'{"id":"%b"}' % one.encode() for n, one in enumerate(self.ids)]
        self.server.edit = self._edit
        self._plain = b'{"id":"%b"}' % self.ids[at].encode()

    def _edit(self, number: int, body: dict[str, Any]) -> Response:
        page = json.dumps(body, separators=(",", ":")).encode().replace(self._plain, self.item)
        return Response(status=200, headers={}, body=page)


every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_mended = pytest.mark.parametrize(("rest", "read"), MENDED.values(), ids=MENDED)
every_bad = pytest.mark.parametrize("rest", BAD.values(), ids=BAD)
every_odd = pytest.mark.parametrize(
    "rest", [one for one, _ in MENDED.values()] + [*BAD.values()], ids=[*MENDED, *BAD]
)


async def all_of(items: AsyncIterable[Any]) -> list[Any]:
    return [one async for one in items]


# ------------------------------------------------------------------ how the items come


@every_kind
@every_place
@every_odd
@pytest.mark.parametrize("unique", [False, True])
async def test_raw_hands_out_the_exact_bytes(kind: str, place: Any, rest: bytes, unique: bool) -> None:
    served = Odd(kind, odd(rest), *place)
    listing = served.server.listing(unique=unique).raw()
    assert await all_of(listing) == served.raw
    assert listing.report.complete
    pages = [page async for page in served.server.listing(unique=unique).raw().pages()]
    assert [item for page in pages for item in page.items] == served.raw


@every_kind
@every_place
@every_mended
async def test_half_surrogates_are_replaced_where_items_are_typed(
    kind: str, place: Any, rest: bytes, read: dict[str, Any]
) -> None:
    served = Odd(kind, odd(rest), *place)
    for how in ("raise", "skip", "yield"):
        listing = served.server.listing(on_bad_item=how).into(Item)
        items = await all_of(listing)
        assert [one.id for one in items] == [
            "odd" if n == place[0] else one for n, one in enumerate(served.ids)
        ]
        assert items[place[0]] == Item("odd", **read)
        assert (listing.report.undecodable, listing.report.complete) == (0, True)


@every_kind
@every_place
@every_bad
async def test_what_cannot_be_decoded_is_raised_skipped_or_yielded(
    kind: str, place: Any, rest: bytes
) -> None:
    served = Odd(kind, odd(rest), *place)
    at, _ = place
    others = [one for n, one in enumerate(served.ids) if n != at]
    skipping = served.server.listing(on_bad_item="skip").into(Item)
    assert [one.id for one in await all_of(skipping)] == others
    assert (skipping.report.undecodable, skipping.report.complete) == (1, True)
    yielding = served.server.listing(on_bad_item="yield").into(Item)
    items = await all_of(yielding)
    bad = items.pop(at)
    assert isinstance(bad, BadItem)
    assert bad.raw == served.item
    assert "$" in bad.reason
    assert [one.id for one in items] == others
    spot = at if kind == "whole" else at % 3
    with pytest.raises(errors.Unreadable, match=re.escape(f"$.items[{spot}]")):
        await all_of(served.server.listing().into(Item))


@pytest.mark.parametrize("item", [b"NaN", b'"\\ud800"', b'"a,b]"', b"[1e999]", DEEP, b"nil", b"-"])
@every_place
async def test_items_that_are_no_objects(item: bytes, place: Any) -> None:
    served = Odd("key", item, *place)
    assert await all_of(served.server.listing().raw()) == served.raw


RESUMED = [
    *((rest, at) for rest in (MENDED["high half"][0], BAD["NaN"], BAD["no UTF-8"]) for at in range(7)),
    (BAD["20,000 brackets"], 4),  # takes a second
]


@every_kind
@pytest.mark.parametrize(("rest", "at"), RESUMED)
@pytest.mark.parametrize("how", ["raw", "yield"])
async def test_resumed_in_mid_page_with_other_sizes(kind: str, rest: bytes, at: int, how: str) -> None:
    for stop in range(1, 8):
        served = Odd(kind, odd(rest), at, 7)

        def walk(**options: Any) -> Any:
            listing: Any = served.server.listing(on_bad_item="yield", **options)  # noqa: B023
            return listing.raw() if how == "raw" else listing.into(Item)

        listing = walk()
        seen: list[Any] = []
        async for one in listing:
            seen.append(one)
            if len(seen) == stop:
                break
        served.server.length = 2
        resumed = walk(resume=listing.checkpoint().to_json())
        seen += await all_of(resumed)
        raws: list[Any] = [
            one if how == "raw" else one.raw if isinstance(one, BadItem) else one.id for one in seen
        ]
        assert len(raws) == 7
        assert raws == served.raw if how == "raw" else raws[at] in {served.item, "odd"}
        assert resumed.report.complete


@every_kind
@every_odd
async def test_a_page_with_an_odd_item_is_read_for_what_it_holds_besides(kind: str, rest: bytes) -> None:
    class Frame(msgspec.Struct):
        queryMore: Any = None  # noqa: N815

    served = Odd(kind, odd(rest), 1, 3)
    page = await served.server.listing().raw()
    assert page.read(Frame).queryMore == page.read(dict[str, Any]).get("queryMore")
    assert len(page.read(dict[str, Any])["items"]) == 3


@every_odd
async def test_a_page_has_one_fingerprint_however_it_is_read(rest: bytes) -> None:
    served = Odd("key", odd(rest), 4, 9)
    found: set[tuple[int, ...]] = set()
    for listing in (
        served.server.listing(on_bad_item="yield").into(Item),
        served.server.listing(on_bad_item="yield"),
        served.server.listing().raw(),
    ):
        async for _ in listing:
            if listing.report.items == 7:
                break
        found.add(listing.checkpoint().pages)
    assert len(found) == 1
    assert len(found.pop()) == 2


# ------------------------------------------------------------------ ids


@pytest.mark.parametrize("odd_id", [rb"a\ud800", rb"a\ud801", rb"\udc00"])
async def test_an_odd_id_is_told_from_others(odd_id: bytes) -> None:
    item = b'{"id":"%b"}' % odd_id
    assert id_of(item) == last_id(item)
    assert id_of(item) not in {id_of(rb'{"id":"a\ud802"}'), id_of('{"id":"a�"}'.encode()), None}
    assert (id_of(item) or "").encode()
    served = Odd("scroll", item, 3, 7)
    listing = served.server.listing(unique=True).raw()
    assert await all_of(listing) == served.raw
    assert listing.report.duplicates == 0


@every_odd
def test_a_bad_item_has_the_id_that_it_says(rest: bytes) -> None:
    assert id_of(odd(rest)) == "odd"
    assert id_of(b'{%b,"i\\u0064":7}' % rest) == "7"
    assert id_of(b'{"more":{"id":"x"},%b}' % rest) is None


@every_kind
@pytest.mark.parametrize("rest", [MENDED["low half"][0], BAD["infinity"]])
async def test_a_bad_item_that_comes_again_is_dropped_where_ids_are_watched(kind: str, rest: bytes) -> None:
    served = Odd(kind, odd(rest, "i1"), 3, 7)
    listing = served.server.listing(unique=True, verify="warn").raw()
    assert await all_of(listing) == [one for one in served.raw if one != served.item]
    assert listing.report.duplicates == 1


# ------------------------------------------------------------------ what is no bad item


@pytest.mark.parametrize(
    "body",
    [
        rb'{"items":[{"id":"a","x":"\ud800"}],"queryMore":"\ud800"}',
        rb'{"items":[{"id":"a","x":NaN}],"\ud800":1}',
        b'{"items":[{"id":"a","x":NaN}],"hits":NaN}',
        b'{"items":[{"id":"a","x":NaN}],"x":"\x00"}',
        b'{"items":[{"id":"a","x":NaN}]',
        b'{"items":[{"id":"a","x":NaN}]}}',
        b'{"items":[{"id":"a","x":NaN},]}',
        b'{"items":[{"id":"a","x":NaN},,{"id":"b"}]}',
        b'{"items":[{"id":"a","x":"',
        b'{"items":{"id":NaN}}',
        b'{"items":NaN}',
        b'["items",NaN]',
    ],
)
async def test_a_page_whose_frame_is_broken_is_unreadable(body: bytes) -> None:
    served = Odd("key", b"{}", 0, 1)
    served.server.edit = lambda number, page: Response(status=200, headers={}, body=body)
    for listing in (served.server.listing(on_bad_item="skip"), served.server.listing().raw()):
        with pytest.raises(errors.Unreadable):
            await all_of(listing)


# ------------------------------------------------------------------ one answer


@every_mended
def test_one_answer_is_read_with_half_surrogates_replaced(rest: bytes, read: dict[str, Any]) -> None:
    body = odd(rest)
    for retry in ("safe", "once", "idempotent"):
        answer = Response(status=200, headers={}, body=body)
        assert read_response(endpoint(returns=Item, retry=retry), answer) == Item("odd", **read)
        assert bytes(read_response(endpoint(returns=msgspec.Raw, retry=retry), answer)) == body


@every_bad
def test_one_answer_that_cannot_be_read_names_the_spot(rest: bytes) -> None:
    with pytest.raises(errors.Unreadable, match=r"at \$"):
        decode_as("getThing", odd(rest), Item)


def test_what_an_answer_says_survives_half_surrogates() -> None:
    body = rb'{"message":"cut \ud83d","id":"a\ud800","x":"\ud800"}'
    assert str(error_for("getThing", Response(status=400, headers={}, body=body))).endswith("cut �")
    assert not is_cut_short(Response(status=200, headers={}, body=body))
    assert is_cut_short(Response(status=200, headers={}, body=body[:-1]))
    assert read_back_args({"id": "answer:x"}, {}, {}, body) is None
    assert read_back_args({"id": "answer:y"}, {}, {}, body[:-1] + b',"y":"1"}') == {"id": "1"}


@pytest.mark.parametrize("value", ["", None, 7, ["1"], False])
def test_a_write_is_read_back_by_a_name_that_is_known_and_by_no_other(value: Any) -> None:
    how = {"id": "body:y"}
    assert read_back_args(how, {}, {"y": value}, b"") is None
    assert read_back_args(how, {}, {"y": "1"}, b"") == {"id": "1"}


# ------------------------------------------------------------------ the splitter

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6) | st.text(alphabet='\\"[]{},: \ud800', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"\\]},', max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(values, max_size=6), st.sampled_from([None, 1]), st.integers(0, 30))
def test_the_splitter_agrees_with_msgspec(items: list[Any], indent: int | None, depth: int) -> None:
    for _ in range(depth):
        items = [items, 1]
    page = {"a": items, "items": items, "z": '],"items":['}
    text = mended(json.dumps(page, indent=indent).encode())
    found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    for name in (*page, "none"):
        at = member(text, name)
        assert (None if at is None else text[slice(*at)]) == (bytes(found[name]) if name in found else None)
    raw = bytes(found["items"])
    assert [raw[slice(*one)] for one in elements(raw) or ()] == list(map(bytes, raw_items(raw)))
    assert readable(text) == text


@given(st.lists(values, max_size=6), st.sampled_from([None, 1]))
def test_half_a_pair_costs_a_page_nothing(items: list[Any], indent: int | None) -> None:
    written = [json.dumps(one, indent=indent) for one in [*items, {"id": "\ud800"}]]
    listed = " ,\n".join(written)
    body = f'{{"items" : [{listed}\t] ,"z":["items",[1]]}}'.encode()
    found = PageReader(LIST_OFFERS, msgspec.Raw).split(body)
    assert list(map(bytes, found)) == [one.encode() for one in written]


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\a 1', max_size=40).map(str.encode))
def test_any_bytes_are_taken_apart_or_not(text: bytes) -> None:
    for form in (b"[", b"{"):
        for begin, end in elements(text, form) or ():
            assert text[begin:end].strip(b" \t\r\n") == text[begin:end] != b""
    assert len(mended(text)) == len(text)
    assert readable(text) is not None


@given(
    st.lists(
        st.sampled_from([r"\ud83d", r"\ude00", r"\\", r"\"", "a", r"\u00e9", r"\uD83D\uDE00"]), max_size=8
    )
)
def test_mending_is_what_a_lenient_reader_would_do(parts: list[str]) -> None:
    text = f'"{"".join(parts)}"'
    lenient = json.loads(text)
    expected = "".join("�" if "\ud800" <= one <= "\udfff" else one for one in lenient)
    assert msgspec.json.decode(mended(text.encode())) == expected


@pytest.mark.parametrize(
    "text", [b'[1,"2]', b'{"a":"}', b'["]', b"[1,[2]", b"[1}", b'[[1],"2]]', b'[1,"\\"]', b"["]
)
def test_what_is_not_closed_has_no_parts(text: bytes) -> None:
    assert container(text, 0) is None
    assert elements(text, text[:1]) is None


def test_an_array_with_something_behind_it_is_none() -> None:
    assert elements(b" [1] \n") == [(2, 3)]
    assert elements(b"[1] 2") is None
    assert elements(b"[1],") is None


@pytest.mark.parametrize("on_bad_item", ["skip", "yield"])
async def test_an_error_beside_items_of_which_one_is_bad_is_no_error_of_the_page(on_bad_item: Any) -> None:
    body = {"items": [{"id": "1"}, {"id": []}, {"id": "3"}], "error": "one shard failed"}
    listing, _ = walk(KEY, answer(body), on_bad_item=on_bad_item)
    good = [item.id async for item in listing if not isinstance(item, BadItem)]
    assert good == ["1", "3"]


async def test_an_error_beside_items_that_cannot_be_read_in_one_pass_is_no_error_of_the_page() -> None:
    body = rb'{"items":[{"id":"1"},{"id":"2","x":"\ud800"}],"error":"one shard failed"}'
    listing, _ = walk(KEY, answer(body))
    assert [item.id async for item in listing] == ["1", "2"]
