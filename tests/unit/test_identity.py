"""A success has what tells one: of an answer at its top, of a list in each item, never inside them."""

from __future__ import annotations

import json
import logging
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limio_async import errors
from limio_async.api.endpoints import ENDPOINTS
from limio_async.auth import NoAuth
from limio_async.core.codec import read_response
from limio_async.core.identity import Judge, no_in, says_yes, tells_of_error, told_beside
from limio_async.core.listing import BadItem
from limio_async.core.session import Session
from limio_async.core.wire import Redirect, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import KEY, answer, endpoint, listing_of
from tests.unit.test_samples import SAMPLES, read

REFUSALS: dict[str, Any] = {
    "a function that timed out": {
        "errorMessage": "Task timed out after 29.00 seconds",
        "errorType": "Timeout",
    },
    "a text": {"error": "invalid quantity"},
    "an object": {"error": {"message": "Not found", "code": "NOTFOUND"}},
    "a gateway's": {"message": "Internal server error"},
    "a gateway's of AWS": {"Message": "User is not authorized", "statusCode": 403},
    "a gateway's with company": {
        "message": "boom",
        "timestamp": "2026-01-01T00:00:00Z",
        "path": "/api",
        "status": 500,
    },
    "a problem": {"type": "about:blank", "title": "Bad Gateway", "status": 502, "detail": "upstream"},
    "unmapped": {"statusCode": 500, "body": "{}"},
    "a status with a point": {"statusCode": 500.0},
    "a status of HTTP": {"httpStatus": "503"},
    "a code of HTTP": {"httpStatusCode": 503},
    "a message beside no error": {"error": False, "message": "Forbidden"},
    "upper case": {"Error": {"Code": "AccessDenied", "Message": "no"}},
    "no success": {"success": False, "message": "boom"},
    "no success in text": {"success": "false"},
    "several": {"errors": [{"message": "quantity must be positive"}]},
    "an id that is null": {"id": None, "path": None, "success": None, "preview": None, "name": None},
}
NOTHING: dict[str, Any] = {"nothing": {}, "null": None, "a list of them": [{}], "a text": "OK", "a number": 5}
TAKES_NOTHING = {"getBasket", "getTimeline", "validateBasket", "handleZuoraEvent", "deleteCatalogItem"}
"""Operations of which no sample tells what a success has."""
ONE = {name: one for name, one in ENDPOINTS.items() if one.paging is None and one.returns is not Redirect}


@pytest.mark.parametrize("refusal", [REFUSALS[name] for name in REFUSALS if "null" not in name])
@pytest.mark.parametrize("operation", sorted(ONE))
def test_no_operation_takes_an_error_for_a_success(operation: str, refusal: Any) -> None:
    with pytest.raises(errors.Unreadable) as caught:
        read(operation, refusal)
    assert (caught.value.operation, caught.value.status) == (operation, 200)


@pytest.mark.parametrize("operation", sorted(name for name, one in ONE.items() if one.identity))
def test_no_operation_takes_what_is_there_and_null_for_a_success(operation: str) -> None:
    with pytest.raises(errors.Unreadable):
        read(operation, {**dict.fromkeys(ONE[operation].identity), "name": None})


@pytest.mark.parametrize("none", NOTHING)
@pytest.mark.parametrize("operation", sorted(ONE))
def test_no_operation_takes_nothing_for_a_success_unless_the_samples_show_it(
    operation: str, none: str
) -> None:
    shown = {
        "addRelatedObject": {"null", "nothing"},
        "removeExternalIdentity": {"nothing"},
        "deleteObject": {"nothing"},
    }
    if none in shown.get(operation, {"nothing"} if operation in TAKES_NOTHING else set[str]()):
        read(operation, NOTHING[none])
        return
    with pytest.raises(errors.Unreadable):
        read(operation, NOTHING[none])


@pytest.mark.parametrize(
    ("operation", "body", "said"),
    [
        (
            "submitOrder",
            {"errorMessage": "Task timed out"},
            "has no id or order_reference, it says: Task timed out",
        ),
        ("getObject", {"message": "Internal server error"}, "has no id, it says: Internal server error"),
        ("publishPages", {}, "has no success"),
        ("deleteObject", {"error": "locked"}, "tells of an error, it says: locked"),
        (
            "createJourneyV2",
            {"message": "Internal server error"},
            "has no message with the word success, it says: Internal server error",
        ),
    ],
)
def test_the_error_says_what_is_missing_and_what_the_answer_says(
    operation: str, body: Any, said: str
) -> None:
    with pytest.raises(errors.Unreadable, match=f"^{operation}: the answer {said}"):
        read(operation, body)


@pytest.mark.parametrize("body", [b"[]", b"[null]", b'[{"id":"1"}]', b" [ ] "])
@pytest.mark.parametrize("operation", sorted(name for name, one in ONE.items() if one.identity))
def test_a_list_is_a_success_only_where_one_may_be_answered_whatever_it_is_read_as(
    operation: str, body: bytes
) -> None:
    for kind in (msgspec.Raw, Any):
        as_it_is: Any = msgspec.structs.replace(ONE[operation], returns=kind)
        response = Response(status=200, headers={}, body=body)
        if operation == "getComponentBuilds":
            read_response(as_it_is, response)
            continue
        with pytest.raises(errors.Unreadable):
            read_response(as_it_is, response)


@pytest.mark.parametrize("operation", ["deleteObject", "getTimeline", "recoverBasket", "getObject"])
@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b" \n", b"\xef\xbb\xbf\n"])
def test_what_stands_before_an_error_does_not_make_it_a_success(operation: str, before: bytes) -> None:
    for body in (b'{"error":"no"}', b'{"errorMessage":"cut \\ud83d"}'):
        with pytest.raises(errors.Unreadable):
            read_response(ENDPOINTS[operation], Response(status=200, headers={}, body=before + body))


@pytest.mark.parametrize("operation", ["createJourneyV2", "deleteJourneyV2"])
def test_a_word_that_only_contains_success_is_none(operation: str) -> None:
    with pytest.raises(errors.Unreadable, match="with the word success"):
        read(operation, {"message": "The publication was unsuccessful"})
    read(operation, {"message": "Successfully done"})


def test_the_token_endpoint_s_answer_is_never_shown() -> None:
    with pytest.raises(errors.Unreadable) as caught:
        read("createToken", {"message": "canary", "refresh": "canary"})
    assert "canary" not in f"{caught.value!r} {caught.value.body!r}"


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_write_that_is_answered_no_may_have_happened_and_is_sent_once(status: int) -> None:
    transport = ScriptedTransport(answer({"message": "Internal server error"}, status))
    session = Session(transport, NoCredentials())
    with pytest.raises(
        errors.UnknownOutcome, match=r"has no id.*Internal server error.*it may have happened"
    ) as caught:
        await session.call(endpoint(retry="once", method="POST", identity=("id",)), {"id": "1"})
    assert (caught.value.status, len(transport.requests)) == (status, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "a", "error": "slow"},
        {"id": "a", "errors": ["slow"]},
        {"id": "a", "success": False, "words": "slow"},
        {"id": "a", "success": "false", "words": "slow"},
        {"id": "a", "Error": "slow"},
        {"id": "a", "ErrorMessage": "slow"},
        {"id": "a", "fault": {"faultstring": "slow"}},
        {"id": "a", "errorCode": "slow"},
    ],
)
async def test_what_a_success_says_of_errors_is_logged(body: Any, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(ScriptedTransport(answer(body)), NoCredentials())
    with caplog.at_level(logging.WARNING, "limio_async"):
        assert await session.call(endpoint(identity=("id",)), {"id": "1"}) == body
    assert "getThing: a success, but the answer also says" in caplog.text
    assert ("slow" if "words" not in body else '"success"') in caplog.text


async def test_a_name_that_is_escaped_tells_of_errors_too(caplog: pytest.LogCaptureFixture) -> None:
    session = Session(ScriptedTransport(answer(rb'{"id":"a","\u0045rror":"slow"}')), NoCredentials())
    with caplog.at_level(logging.WARNING, "limio_async"):
        await session.call(endpoint(identity=("id",)), {"id": "1"})
    assert 'the answer also says {"Error":"slow"}' in caplog.text


@pytest.mark.parametrize(
    "body",
    [{"id": "a"}, {"id": "a", "error": None}, {"id": "a", "errors": []}, {"id": "a", "error": False}, {"id": "a", "data": {"error": "old"}},
     {"id": "a", "completed": False}, {"id": "a", "logErrors": ["built with care"]}, {"id": "a", "errorCount": 0},
     {"id": "a", "status": "active", "message": "done"}, {"id": "a", "statusCode": 200}],
)  # fmt: skip
async def test_a_success_that_tells_of_no_error_is_not_logged(
    body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session(ScriptedTransport(answer(body)), NoCredentials())
    with caplog.at_level(logging.WARNING, "limio_async"):
        assert await session.call(endpoint(identity=("id",)), {"id": "1"}) == body
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("status", "body", "fine"),
    [
        (200, b"<html>sign in</html>", True),
        (200, b"\xef\xbb\xbf <html>", True),
        (200, b"", False),
        (200, b"boom", False),
        (200, b"500", False),
        (200, b'{"error":"no"}', False),
        (200, b"{}", False),
        (200, b" null ", False),
        (302, b"{}", True),
    ],
)
def test_a_redirect_or_a_page_is_an_answer_where_a_browser_is_sent_on(
    status: int, body: bytes, fine: bool
) -> None:
    response = Response(status=status, headers={}, body=body)
    if fine:
        assert read_response(ENDPOINTS["recoverBasket"], response) == Redirect(location=None)
        return
    with pytest.raises(errors.Unreadable, match="has no location"):
        read_response(ENDPOINTS["recoverBasket"], response)


# ------------------------------------------------------------------ lists


SECRET = "canary-secret"


class Named(msgspec.Struct):
    name: str | None = None


class Unset(msgspec.Struct):
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    path: str | msgspec.UnsetType | None = msgspec.UNSET


class OneOfThem(msgspec.Struct):
    path: str | None = None


BAD_ITEMS = [{}, {"error": "gone"}, {"name": "of nobody"}, {"id": None, "path": None}, {"message": "no"}]


@pytest.mark.parametrize("size", [1, 400_000])
@pytest.mark.parametrize("kind", [None, dict[str, Any], Named, Unset, OneOfThem])
@pytest.mark.parametrize("bad", BAD_ITEMS)
async def test_an_item_that_tells_of_nothing_is_a_bad_item_and_its_neighbours_come(
    bad: Any, kind: Any, size: int
) -> None:
    good = [{"id": "a", "name": "a" * size}, {"path": "/b", "name": "b" * size}]

    def listing(**options: Any) -> Any:
        body = {"items": [good[0], bad, good[1]]}
        listed = listing_of(KEY, returns=Both, identity=("id", "path"))
        found = Session(ScriptedTransport(answer(body)), NoCredentials()).list(listed, {}, **options)
        return found if kind is None else found.into(kind)

    with pytest.raises(
        errors.Unreadable, match=r"listThings: the item has no id or path.* - at \$\.items\[1\]"
    ):
        await listing().collect(limit=9)
    skipped = listing(on_bad_item="skip")
    assert len(await skipped.collect(limit=9)) == 2
    assert skipped.report.undecodable == 1
    one, odd, other = await listing(on_bad_item="yield").collect(limit=9)
    assert isinstance(odd, BadItem)
    assert json.loads(odd.raw) == bad
    assert not isinstance(one, BadItem)
    assert not isinstance(other, BadItem)
    raw = await listing().raw().collect(limit=9)
    assert [json.loads(each) for each in raw] == [good[0], bad, good[1]]


@pytest.mark.parametrize("size", [1, 400_000])
@pytest.mark.parametrize(
    ("odd", "fine"), [(b"NaN", False), (b'"\xff"', False), (rb'"\ud800"', True), (b"7", True), (b"{}", True)]
)
async def test_an_identity_that_cannot_be_read_is_none_also_where_the_type_lacks_it(
    odd: bytes, fine: bool, size: int
) -> None:
    body = b'{"items":[{"id":"a","name":"%b"},{"id":%b,"name":"b"}]}' % (b"a" * size, odd)
    session = Session(ScriptedTransport(answer(body)), NoCredentials())
    listing = session.list(listing_of(KEY, identity=("id",)), {}, on_bad_item="yield").into(Named)
    _, second = await listing.collect(limit=9)
    assert isinstance(second, Named if fine else BadItem)


class Both(msgspec.Struct):
    id: str | None = None
    path: str | None = None
    name: str | None = None


async def test_what_is_nested_is_never_judged() -> None:
    old = {
        "id": "sub-1",
        "data": {"offer": {"name": "old"}, "products": [{}, {"id": None}], "error": "none of ours"},
    }
    subscription = read("subscriptions.get", old)
    assert subscription.data.offer.id is None


async def test_a_page_that_has_items_and_tells_of_errors_is_handed_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listed = listing_of(KEY, identity=("id",))
    session = Session(
        ScriptedTransport(answer({"items": [{"id": "a"}], "errors": ["a shard is down"]})), NoCredentials()
    )
    with caplog.at_level(logging.WARNING, "limio_async"):
        assert len(await session.list(listed, {}).collect(limit=9)) == 1
    assert "a shard is down" in caplog.text


# ------------------------------------------------------------------ where the facts come from


def test_every_operation_says_what_tells_a_success_and_names_a_sample_that_is_there() -> None:
    overlay = tomllib.loads(
        (Path(__file__).parents[2] / "openapi" / "overlay.toml").read_text(encoding="utf-8")
    )
    for name, entry in overlay["operations"].items():
        assert "identity" in entry, name
        sample = entry["sample"]
        assert (
            sample in {"none", "recorded", "described only", "a redirect"} or (SAMPLES / sample).exists()
        ), name


class Form(msgspec.Struct):
    a: str


async def test_what_a_form_is_answered_with_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    transport = ScriptedTransport(answer({"id": "1", "error": SECRET}))
    form = endpoint(method="POST", body=Form, body_format="form", params=(), path="/t", identity=("id",))
    with caplog.at_level("WARNING"):
        await Session(transport, NoAuth()).call(form, {}, Form("b"))
    assert "the answer also says something that is not shown, as a form has secrets" in caplog.text
    assert SECRET not in caplog.text


# ------------------------------------------------------------------ any answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "error", "errors", "message", "errorMessage", "a", "success"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@example({"id": "FALSE"})
@example({"id": " false "})
def test_an_answer_says_yes_if_one_of_the_fields_at_its_top_tells_something(value: Any) -> None:
    def tells(found: Any) -> bool:
        if isinstance(found, str):
            return found.strip().lower() not in ("", "false")
        return found is not None and found is not False

    body = json.dumps(value).encode()
    judged = [one for one in value if one is not None] if isinstance(value, list) else [value]
    yes = all(isinstance(one, dict) and tells(one.get("id")) for one in judged)
    if not any(isinstance(one, list) for one in judged):
        both = (value, msgspec.Raw(body))
        assert [says_yes(("id",), one, several=True) for one in both] == [yes, yes]
        assert [says_yes(("id",), one) for one in both] == [yes and not isinstance(value, list)] * 2


@pytest.mark.parametrize("deep", [2, 300, 900, 2_000, 20_000])
def test_a_list_in_a_list_has_no_identity_however_deep_it_is(deep: int) -> None:
    body = b"[" * deep + b'{"id":"1"}' + b"]" * deep
    for operation in ("getObject", "submitOrder", "publishPages", "createJourneyV2"):
        with pytest.raises(errors.Unreadable):
            read_response(ENDPOINTS[operation], Response(status=200, headers={}, body=body))


@given(JSON)
@example({"errorMessage": 0})
@example({"errorMessage": 0, "message": "done"})
@example({"error": 0})
def test_only_what_stands_at_the_top_tells_of_an_error(value: Any) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    empty: tuple[Any, ...] = (None, "", [], {}, False)

    def told(name: str) -> bool:
        found = value.get(name)
        return (
            found is not False
            and found not in empty[:4]
            and not (isinstance(found, str) and not found.strip())
        )

    top = isinstance(value, dict)
    code = top and value.get("errorMessage") == 0  # a code or a count of none
    some = top and (told("error") or told("errors") or (told("errorMessage") and not code))
    no = top and value.get("success") is False
    alone = top and {name for name in value if told(name)} == {"message"}
    assert tells_of_error(body) == (some or no or alone)
    assert bool(told_beside(body)) == (some or (top and value.get("success") is False))


@pytest.mark.parametrize("more", [0, 63, 64, 5_000])
def test_a_no_is_found_among_however_many_fields(more: int) -> None:
    body = msgspec.json.encode({**{f"errand {n}": None for n in range(more)}, "Errors": ["no"], "id": "1"})
    assert told_beside(body) == '{"Errors":["no"]}'
    assert told_beside(body.replace(b"no", b"so")) == '{"Errors":["so"]}'


def test_a_key_that_is_cased_oddly_does_not_hide_another_answers_fields() -> None:
    first, second = b'{"STATUS":"active","id":"1"}', b'{"STATUS":500,"id":"1"}'
    assert [told_beside(first), told_beside(second), told_beside(first)] == ["", '{"STATUS":500}', ""]


class NoCredentials:
    offers = ()

    async def credential(self, accepts: Any, exchange: Any) -> None:
        return None

    async def renew(self, refused: Any, exchange: Any) -> bool:
        return False


# ------------------------------------------------------------------ spellings and bytes


@pytest.mark.parametrize("value", [" ", "False", " FALSE "])
async def test_a_no_in_another_spelling_is_none_of_what_a_success_has(value: str) -> None:
    session = Session(ScriptedTransport(answer({"success": value})), NoCredentials())
    with pytest.raises(errors.Unreadable, match="has no success"):
        await session.call(endpoint(identity=("success",)), {"id": "1"})


@pytest.mark.parametrize(
    ("body", "fine"),
    [
        (b'{"errorMessage":"d\xe9lai"}', False),
        (b'{"id":null,"error":"d\xe9lai"}', False),
        (b'{"id":"a","name":"d\xe9lai"}', True),
        (b'[{"id":"a","name":"d\xe9lai"}]', True),
    ],
)
async def test_bytes_that_are_no_utf8_are_judged_by_what_they_hold(body: bytes, fine: bool) -> None:
    asked = endpoint(returns=msgspec.Raw, identity=("id",))
    response = Response(status=200, headers={}, body=body)
    if fine:
        assert bytes(read_response(asked, response)) == body
        return
    with pytest.raises(errors.Unreadable, match="has no id"):
        read_response(asked, response)


class Nameless(msgspec.Struct):
    text: str = ""


@pytest.mark.parametrize("given", [[b'{"id":"1"}'], [b'{"id":"1"}', b'{"id":""}'], [b'{"x":1}'], []])
def test_a_page_says_yes_where_each_item_does(given: list[bytes]) -> None:
    judge = Judge(Nameless, ("id",))
    items = [msgspec.json.decode(one, type=Nameless) for one in given]
    yes = judge.all_say_yes(items, lambda kind: [msgspec.json.decode(one, type=kind) for one in given])
    assert yes is all(judge.says_yes(item, msgspec.Raw(one)) for item, one in zip(items, given, strict=True))


SAYS_NO = ["error", "ERRORS", "errorMessage", "fault", "Exception", "faultstring"]


@given(
    st.sampled_from(
        [*SAYS_NO, "ok", "Success", "status", "statusCode", "httpStatus", "HTTPSTATUSCODE", "oth\u00e9r"]
    ),
    st.sampled_from(["no", False, "false", " False ", 404, "503", 500.0, True, 200, None, "", [], ["x"]]),
    st.sampled_from(["", "x" * 2_000, "\u00e9", "a\\b"]),
    st.sampled_from([None, 1]),
)
def test_a_short_answer_says_what_a_long_one_says(
    key: str, value: Any, beside: str, indent: int | None
) -> None:
    fields = {"id": "1", key: value, "text": beside}
    body = json.dumps(fields, indent=indent, ensure_ascii=not beside.startswith("\u00e9")).encode()
    long = json.dumps({**fields, "more": "y" * 2_000}, indent=indent).encode()
    assert told_beside(body) == told_beside(long)


def test_of_several_signs_of_a_no_the_first_is_named() -> None:
    fields = {name: msgspec.Raw(b'"no"') for name in ("Fault", "error", "message")}
    assert no_in(fields, some=False) == no_in(fields, some=True) == "Fault"
    assert no_in({"message": msgspec.Raw(b'"no"')}, some=False) == "message"
    assert no_in({"message": msgspec.Raw(b'"no"')}, some=True) == ""
