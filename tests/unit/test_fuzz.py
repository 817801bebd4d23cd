"""Whatever bytes an answer holds, a call gives a value or one of our errors: nothing else escapes, nothing hangs."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from random import Random
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from limio_async import errors
from limio_async.auth import NoAuth
from limio_async.core import retry
from limio_async.core.codec import build_request, read_response
from limio_async.core.listing.checkpoint import Checkpoint, Cursor
from limio_async.core.listing.head import read_head
from limio_async.core.listing.repeats import last_id
from limio_async.core.outcome import error_for
from limio_async.core.session import Session
from limio_async.core.wire import UNDECODABLE, Endpoint, ListEndpoint, Response
from limio_async.transport.workarounds import is_cut_short
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, OPAQUE, SCROLL, WHOLE, answer, listing_of
from tests.unit.test_samples import _ENDPOINTS, ANSWERS, sample

fuzzed = settings(max_examples=500, deadline=None, derandomize=True, database=None)

# ------------------------------------------------------------------ bytes that an answer may hold

HOSTILE = (
    b"null", b"true", b"-0", b"NaN", b"-Infinity", b"1e999", b"1.5", b"9" * 400, b"[]", b"{}", b'""', b'"x"', b"[null]",
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\x00"', b'"\\u0000"', b"\xef\xbb\xbf", b"\x00", b"\xff", b"'", b"<html>",
    b"[" * 2000, b'{"a":' * 2000, b"[" * 2000 + b"]" * 2000, b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b'{"id":"1","id":"2"}', b'{"":1}', b'"' + b"a" * 20_000 + b'"', b'"2024-99-99T99:99:99Z"', b"-9223372036854775809",
    b'{"value":1e400}', b'{"from":["s"],"alias":{}}', b'{"from":"","alias":""}', b'[[[{"id":{}}]]]',
)  # fmt: skip
WEIRD: tuple[Any, ...] = (
    None, True, -1, 0.5, 2**63, 10**400, "", "x", "\ud800", "\x00", [], [None], [[[]]], {}, {"": 0}, {"id": {}},
)  # fmt: skip


def broken_bytes(whole: bytes, chance: Random) -> bytes:
    """*whole* with a few bytes flipped, dropped, doubled, cut off, or replaced by something hostile."""
    body = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(body))
        upto = min(len(body), at + chance.randint(1, 40))
        match chance.choice(("flip", "drop", "double", "cut", "put", "replace")):
            case "flip" if at < len(body):
                body[at] ^= 1 << chance.randint(0, 7)
            case "drop":
                del body[at:upto]
            case "double":
                body[at:at] = body[at:upto]
            case "cut":
                del body[at:]
            case "put":
                body[at:at] = chance.choice(HOSTILE)
            case _:
                body[at:upto] = chance.choice(HOSTILE)
    return bytes(body)


def of_another_shape(whole: bytes, chance: Random) -> bytes:
    """*whole*, still JSON, with a few of its values replaced, removed, wrapped or given another key."""
    document: Any = {"": json.loads(whole)}
    for _ in range(chance.randint(1, 4)):
        parent, key = chance.choice(list(_places(document)))
        match chance.choice(("weird", "weird", "drop", "wrap", "rename")):
            case "drop" if parent is not document:
                del parent[key]
            case "wrap":
                parent[key] = chance.choice(([parent[key]], {"id": parent[key]}, {"value": parent[key]}))
            case "rename" if isinstance(parent, dict) and parent is not document:
                parent[chance.choice(("items", "queryMore", "hits", "id", "data", "commitId"))] = parent.pop(
                    key
                )
            case _:
                parent[key] = copy.deepcopy(chance.choice(WEIRD))
    return json.dumps(document[""]).encode()


def _places(document: Any) -> Any:
    """Every value of the document, as its parent and its key."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)


@st.composite
def answers(draw: st.DrawFn, *, lists: bool) -> tuple[Any, bytes]:
    """An operation and what is left of an answer to it."""
    fitting = [one for one in ANSWERS if isinstance(_ENDPOINTS[one[1]], ListEndpoint) == lists]
    name, operation = draw(st.sampled_from(fitting))
    mutated = draw(st.sampled_from((broken_bytes, of_another_shape)))
    chance = draw(st.randoms(use_true_random=True))  # seeded by what is drawn
    return _ENDPOINTS[operation], mutated(sample(name), chance)


def _is_one_of_ours(error: errors.LimioError) -> None:
    """It can be shown, logged and sent to another process."""
    assert str(error).encode(errors="strict")
    assert len(str(error)) < 1000
    assert type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301


# ------------------------------------------------------------------ one answer


@fuzzed
@given(answers(lists=False))
def test_an_answer_is_a_value_or_unreadable(answer: tuple[Endpoint[Any], bytes]) -> None:
    endpoint, body = answer
    try:
        value = read_response(endpoint, Response(status=200, headers={}, body=body))
    except errors.Unreadable as error:
        _is_one_of_ours(error)
    else:
        msgspec.json.encode(value)


@fuzzed
@given(answers(lists=False), st.integers(100, 999), st.sampled_from(("safe", "once")))
def test_an_answer_that_is_no_has_an_error_whatever_its_body(
    answer: tuple[Endpoint[Any], bytes], status: int, how: Literal["safe", "once"]
) -> None:
    endpoint, body = answer
    error = error_for(endpoint.operation, Response(status=status, headers={}, body=body), how)
    _is_one_of_ours(error)
    assert str(error).isprintable()


@fuzzed
@given(st.binary(max_size=200) | st.sampled_from(HOSTILE))
def test_any_bytes_are_an_answer_or_unreadable(body: bytes) -> None:
    for endpoint in (_ENDPOINTS["getObject"], _ENDPOINTS["submitOrder"], _ENDPOINTS["createToken"]):
        try:
            read_response(endpoint, Response(status=200, headers={}, body=body))
        except errors.Unreadable as error:
            _is_one_of_ours(error)


@fuzzed
@given(answers(lists=True) | answers(lists=False))
def test_only_what_stops_early_counts_as_cut_short(answer: tuple[Endpoint[Any], bytes]) -> None:
    body = answer[1]
    cut = is_cut_short(Response(status=200, headers={}, body=body))
    try:
        msgspec.json.decode(body)
    except UNDECODABLE:
        return
    assert not cut


# ------------------------------------------------------------------ a page, a walk

Walking = dict[str, Any]
WALKS: tuple[Walking, ...] = (
    {},
    {"read_ahead": 0},
    {"on_bad_item": "skip"},
    {"on_bad_item": "yield", "unique": True},
    {"on_ambiguous": "restart", "on_snapshot_change": "restart", "verify": "warn"},
    {"verify": "off", "unique": True},
)


@fuzzed
@given(answers(lists=True))
def test_a_page_is_a_page_or_unreadable(answer: tuple[ListEndpoint[Any], bytes]) -> None:
    endpoint, body = answer
    try:
        head = read_head(endpoint.operation, endpoint.paging, body)
    except errors.Unreadable as error:
        _is_one_of_ours(error)
    else:
        assert head.hits is None or isinstance(head.hits, int)
        assert head.commit_id is None or isinstance(head.commit_id, str)


@fuzzed
@given(answers(lists=True), st.sampled_from(WALKS), st.sampled_from(("typed", "raw", "pages")), st.booleans())
def test_a_walk_over_any_pages_ends_and_raises_only_our_errors(
    answer: tuple[ListEndpoint[Any], bytes], options: Walking, how: str, first_is_sound: bool
) -> None:
    endpoint, body = answer
    [name, *_] = [name for name, operation in ANSWERS if _ENDPOINTS[operation] is endpoint]
    sound = Response(status=200, headers={}, body=sample(name))
    broken = Response(status=200, headers={}, body=body)
    script = (sound, broken) if first_is_sound else (broken,)
    asyncio.run(_walked(endpoint, script, options, how))


async def _walked(endpoint: ListEndpoint[Any], script: Any, options: Walking, how: str) -> None:
    session = Session(ScriptedTransport(*script), NoAuth(), attempts=1)
    endpoint = msgspec.structs.replace(endpoint, auth=())
    args = {one.name: "x" for one in endpoint.params if one.required}
    listing: Any = session.list(endpoint, args, **options)
    listing = listing.raw() if how == "raw" else listing
    try:
        async with asyncio.timeout(10):
            count = 0
            async for _ in listing.pages() if how == "pages" else listing:
                count += 1
                if count == 100:
                    break
    except errors.LimioError as error:
        _is_one_of_ours(error)
    saved = listing.checkpoint()
    if not saved.ended:  # reading it may say that it cannot be resumed
        saved = msgspec.structs.replace(saved, commit_ids=saved.commit_ids[:1], gone=0)
    read = Checkpoint.read(
        saved.to_json(), operation=saved.operation, digest=saved.digest, paging=endpoint.paging or WHOLE
    )
    assert read == saved
    assert listing.report.items >= 0
    await session.aclose()


@fuzzed
@given(st.binary(max_size=100) | st.sampled_from(HOSTILE))
def test_any_item_has_an_identity(item: bytes) -> None:
    assert last_id(item)


# ------------------------------------------------------------------ cursors and checkpoints

texts = st.text(max_size=40) | st.text(alphabet="%&=?#/+ \r\n\x00\u2028\ud800ä€😀", max_size=12)
cursors: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.just("c" * 20_000),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("from", "alias", "", "x")), inner),
    max_leaves=4,
)  # fmt: skip


@fuzzed
@given(cursors, st.sampled_from((SCROLL, KEY, OPAQUE, WHOLE)))
@example({"from": "s\r\nx-evil: 1", "alias": "&opt.all=false#"}, SCROLL)
@example("../../admin?x=%2e%2e", KEY)
def test_a_cursor_comes_back_as_it_was_or_not_at_all(found: Any, paging: Any) -> None:
    body = json.dumps({"items": [], "queryMore": found}).encode()
    try:
        cursor = read_head("listThings", paging, body).cursor
    except errors.Unreadable as error:
        _is_one_of_ours(error)
        return
    if cursor is None:
        return
    assert repr(cursor) == "Cursor(…)"
    request = build_request(listing_of(paging), {"tags": "t"}, query=cursor.query)
    assert request.target.isascii()
    assert request.target.isprintable()
    assert " " not in request.target
    url = urlsplit(request.target)
    assert (url.path, url.fragment) == ("/api/things", "")
    sent = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=True))
    assert sent == {"tags": "t", **cursor.query}
    parts = found if isinstance(found, dict) else {"": found}
    assert set(cursor.query.values()) <= {value for value in parts.values() if isinstance(value, str)}


saved = st.fixed_dictionaries(
    {"operation": st.just("listThings"), "digest": st.just("d"), "items": st.integers(-1, 9)},
    optional={
        "cursor": st.none() | st.just({"query": {"queryMore": "k"}}) | cursors,
        "skip": st.integers(-2, 2**70),
        "last": texts,
        "commit_id": texts,
        "mixed": st.booleans(),
        "sent": st.integers(-1, 9),
        "twice": st.integers(-1, 9),
        "hits": st.none() | st.integers(-1, 9),
        "exact": st.booleans(),
        "commit_ids": st.lists(texts, max_size=3),
        "gone": st.integers(-1, 2),
        "repeated": st.integers(-1, 9),
        "pages": st.lists(st.integers(-(2**65), 2**65), max_size=3),
        "ended": st.booleans(),
        "done": st.booleans(),
        "version": st.integers(0, 3),
        "unknown": cursors,
    },
)


@fuzzed
@given(
    saved.map(lambda one: json.dumps(one).encode())
    | st.binary(max_size=60)
    | texts
    | st.sampled_from(HOSTILE)
)
def test_what_is_no_checkpoint_of_this_listing_is_foreign(text: str | bytes) -> None:
    try:
        checkpoint = Checkpoint.read(text, operation="listThings", digest="d", paging=KEY)
    except errors.ForeignCheckpoint as error:
        _is_one_of_ours(error)
    else:
        again = Checkpoint.read(checkpoint.to_json(), operation="listThings", digest="d", paging=KEY)
        assert again == checkpoint
        assert isinstance(checkpoint.cursor, Cursor | None)
        session = Session(ScriptedTransport(answer({"items": []})), NoAuth())
        fitting = msgspec.structs.replace(
            checkpoint, digest=session.list(listing_of(KEY), {}).checkpoint().digest
        )
        resumed = session.list(listing_of(KEY), {}, resume=fitting, verify="off")
        assert isinstance(resumed.report.complete, bool)


# ------------------------------------------------------------------ Retry-After


@fuzzed
@given(texts, texts)
@example("Wed, 21 Oct 2015 07:28:00 -9999999", "")
@example("²", "")
@example("9" * 11, "")
@example("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT")
def test_retry_after_is_a_wait_or_nothing(value: str, date: str) -> None:
    response = Response(status=429, headers={"retry-after": value, "date": date}, body=b"")
    asked = retry.retry_after(response)
    assert asked is None or 0 <= asked < 1e12
    assert 0 <= retry.wait_before_resend(1, response) < 1e12
