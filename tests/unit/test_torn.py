"""An item with a quote too many or too few: its neighbours come whole, and what is doubtful is not read."""

from __future__ import annotations

import pytest

from limio_async.core.listing.head import read_head
from limio_async.core.listing.repeats import id_of, key_of
from limio_async.core.splitter import is_doubtful
from limio_async.core.torn import torn_id, torn_page, without_torn
from limio_async.errors import Unreadable
from tests.unit.helpers import KEY
from tests.unit.torn_pages import DAMAGES, SEVERAL, verdict

DRAWS = 250
FIRST = b'{"id":"a","l":[{"x":1},{"y":2},{"z":3}]}'
LAST = b'{"id":"z","name":"}],{"}'


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_neighbour_is_lost_or_invented(damage: str) -> None:
    said = [verdict(seed, damage)[0] for seed in range(DRAWS)]
    assert "wrong" not in said
    assert damage in SEVERAL or "lookalike" not in said
    if damage == "a quote":
        assert said.count("exact") > 0.9 * DRAWS


def page(*items: bytes, tail: bytes = b"") -> bytes:
    return b'{"items": [%b]%b}' % (b" , ".join(items), tail)


TORN = {
    "a quote too many": b'{"id":"b","name":"5" screen","l":[{"x":1},{"y":2}]}',
    "in a key": b'{"id":"b","na"me":"5","l":[{"x":1},{"y":2}]}',
    "in a list": b'{"id":"b","l":[{"x":"1"},{"y":"2},{"z":"3"}]}',
    "at the end": b'{"id":"b","l":[{"x":1},{"y":2}],"name":"5 screen}',
    "behind a backslash": rb'{"id":"b","l":["c:\\"],"name":"c:\"}',
    "beside half a surrogate pair": rb'{"id":"b","x":"\ud83d","name":"5" screen"}',
}


@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_torn_item_is_cut_out_byte_for_byte(torn: bytes, at: int) -> None:
    items = [FIRST, LAST]
    items.insert(at, torn)
    body = page(*items, tail=b', "queryMore": "]"')
    head = read_head("listThings", KEY, body)
    assert [*map(bytes, head.parts or ())] == items
    assert bytes(head.items or b"") == body[10:-19]
    assert head.cursor is not None
    items[at] = b"null"
    assert without_torn(body) == page(*items, tail=b', "queryMore": "]"')
    assert (torn_id(torn), id_of(torn), key_of(torn)) == (b'"b"', "b", "b")


DOUBTFUL = {
    "two torn items": page(TORN["in a key"], FIRST, TORN["a quote too many"]),
    "three torn items": page(TORN["in a key"], FIRST, TORN["in a key"], TORN["in a key"]),
    "two torn items side by side": page(FIRST, TORN["in a key"], TORN["a quote too many"]),
    "what may be two items": page(b'{"id":"a","t":"x"} , {y","z":2}'),
    "a bracket too few": page(FIRST, b'{"id":"b","name":"5" screen"', LAST),
    "no comma": page(FIRST, TORN["in a key"]).replace(b" , ", b" "),
    "a torn item that is no object": page(FIRST, b'["a"b"]', LAST),
    "a neighbour that is no object": page(b"7", TORN["in a key"], LAST),
    "torn before the items": b'{"a":"5" x","items":[%b]}' % FIRST,
    "torn behind the items": page(FIRST, tail=b',"queryMore":"5" x"'),
    "the key in an inner object": b'{"a":{"items":[{"x":1}]},"items":[%b]}' % TORN["in a key"],
    "cut": page(FIRST, TORN["in a key"], LAST)[:-1],
    "cut in an item": page(FIRST, TORN["in a key"], LAST)[:-8],
    "a text that is not closed for long": page(
        b'{"id":"b","name":"%b,"x":1}' % (b"a, b: " * 40_000),
    ),
}


@pytest.mark.parametrize("body", DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_is_doubtful_is_unreadable(body: bytes) -> None:
    assert torn_page(body, "items") is None
    with pytest.raises(Unreadable):
        read_head("listThings", KEY, body)


def test_quotes_that_match_by_chance_hide_no_item() -> None:
    hidden = b'{"id":"a","n":"5" x"},{"id":"b"},{"id":"c","n":"7" y"}'
    assert is_doubtful(b"[%b]" % hidden, [hidden])
    for fine in (
        b'{"id":"a","n":"5" by 7" x","l":[{"x":1},{"y":2}]}',
        b'{"n":"},{","x":NaN}',
        b"null",
        b"7",
        b'"},{"',
    ):
        assert not is_doubtful(b"[%b]" % fine, [fine])


@pytest.mark.parametrize(
    "item",
    [
        b'{"id":"o"2","n":1}',
        b'{"id":"o,"n":1}',
        b'{"i"d":"o","n":1}',
        b'{"n":"5" x"}',
        b'{"id":"a"}',
        b"null",
        b"",
    ],
)
def test_an_id_is_read_only_where_the_damage_is_elsewhere(item: bytes) -> None:
    assert torn_id(item) is None
