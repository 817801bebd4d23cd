"""Requests are built as the wire wants them, answers become values or the right error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async import errors
from limio_async.core.codec import build_request, checked_headers, read_response
from limio_async.core.outcome import error_for
from limio_async.core.wire import Param, Redirect
from tests.unit.helpers import answer, endpoint


def query(name: str, kind: Any = "string", wire: str | None = None) -> Param:
    return Param(name=name, wire=wire or name, place="query", kind=kind)


@pytest.mark.parametrize(
    ("given_id", "segment"),
    [
        ("sub-1", "sub-1"),
        ("$75 for 52 weeks", "%2475%20for%2052%20weeks"),
        ("50% off", "50%25%20off"),
        ("a/b", "a%2Fb"),
        ("a?x=1#f", "a%3Fx%3D1%23f"),
        ("%2e%2e", "%252e%252e"),
        ("Ünïcode", "%C3%9Cn%C3%AFcode"),
    ],
)
def test_a_path_value_stays_in_its_segment(given_id: str, segment: str) -> None:
    assert build_request(endpoint(), {"id": given_id}).target == f"/api/things/{segment}"


@pytest.mark.parametrize("bad", ["", ".", "..", "a/../b", "a\nb", "a\x00", "\x7f", "\ud800"])
def test_a_path_value_that_could_climb_or_break_out_is_refused(bad: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="getThing: id"):
        build_request(endpoint(), {"id": bad})


@given(st.text(min_size=1))
def test_no_path_value_adds_a_segment_a_query_or_a_fragment(text: str) -> None:
    try:
        target = build_request(endpoint(), {"id": text}).target
    except errors.InvalidArgument:
        return
    assert target.startswith("/api/things/")
    assert not set(target.removeprefix("/api/things/")) & set("/?# \\")


def test_a_missing_path_value_is_named() -> None:
    with pytest.raises(errors.InvalidArgument, match="getThing: id is required"):
        build_request(endpoint(), {})


def test_an_item_path_loses_its_leading_slash_and_becomes_one_segment() -> None:
    param = Param(name="id", wire="itemPath", place="path", kind="item_path", required=True)
    request = build_request(endpoint(params=(param,)), {"id": "/offers2/$5 a month"})
    assert request.target == "/api/things/offers2%2F%245%20a%20month"


def test_query_values_are_written_as_the_api_wants_them() -> None:
    params = (
        query("reduced", "boolean", "reducedData"),
        query("size", "integer", "opt.pageSize"),
        query("after", "datetime", "opt.modifiedAfter"),
        query("attributes", "mapping", "attributes."),
        query("absent"),
    )
    args = {
        "reduced": True,
        "size": 20,
        "after": datetime(2024, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2))),
        "attributes": {"term": "Due Upon Receipt"},
        "absent": None,
    }
    target = build_request(endpoint(path="/api/things", params=params), args).target
    assert target == (
        "/api/things?reducedData=true&opt.pageSize=20&opt.modifiedAfter=2024-01-02T01%3A04%3A00Z"
        "&attributes.term=Due%20Upon%20Receipt"
    )


@given(st.text(), st.text())
def test_whatever_a_query_s_names_and_values_are_a_server_reads_them_back(name: str, value: str) -> None:
    params = (query("attributes", "mapping", "attributes."),)
    try:
        target = build_request(endpoint(path="/t", params=params), {"attributes": {name: value}}).target
    except errors.InvalidArgument:  # half a surrogate pair
        return
    assert not set(target) & set(' #"<>\\^`{|}')
    read = parse_qsl(target.removeprefix("/t?"), keep_blank_values=True, strict_parsing=True)
    assert read == [(f"attributes.{name}", value)]


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00%3A00%3A00Z"),
        (datetime(2024, 1, 2), "2024-01-02T00%3A00%3A00"),  # a zone-less one stays as it is
        ("2020-12-01", "2020-12-01"),
    ],
)
def test_moments(moment: Any, written: str) -> None:
    at = endpoint(path="/t", params=(query("at", "datetime"),))
    assert build_request(at, {"at": moment}).target == f"/t?at={written}"


def test_a_query_value_that_is_not_text_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="query parameter"):
        build_request(endpoint(path="/t", params=(query("tags"),)), {"tags": "\ud800"})


def test_a_default_of_a_required_parameter_is_sent() -> None:
    params = (Param(name="limit", wire="limit", place="query", kind="integer", required=True, default=50),)
    assert build_request(endpoint(path="/t", params=params), {}).target == "/t?limit=50"


def test_header_parameters_travel_in_lower_case() -> None:
    params = (Param(name="limio_host", wire="xLimioHost", place="header", required=True),)
    request = build_request(endpoint(path="/t", params=params), {"limio_host": "shop.example.com"})
    assert request.headers["xlimiohost"] == "shop.example.com"


@pytest.mark.parametrize("bad", ["a\r\nx: y", "a\0", "naïve"])
def test_a_header_value_cannot_smuggle_another(bad: str) -> None:
    params = (Param(name="cookie", wire="Cookie", place="header"),)
    with pytest.raises(errors.InvalidArgument, match="cookie"):
        build_request(endpoint(path="/t", params=params), {"cookie": bad})


@pytest.mark.parametrize(
    "ours",
    ["Authorization", "connection", "Content-Length", "content-type", "cookie", "HOST", "transfer-encoding"],
)
def test_a_header_that_is_the_client_s_own_is_refused(ours: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"(?i){ours}"):
        checked_headers({ours: "x"})


class Body(msgspec.Struct):
    name: str
    note: str | msgspec.UnsetType = msgspec.UNSET


@pytest.mark.parametrize("body", [Body(name="x"), {"name": "x"}, msgspec.Raw(b'{"name":"x"}')])
def test_a_body_is_a_model_plain_data_or_ready_json(body: object) -> None:
    request = build_request(endpoint(method="POST", body=Body, path="/t", params=()), {}, body)
    assert request.body == b'{"name":"x"}'
    assert request.headers["content-type"] == "application/json"


def test_a_form_body() -> None:
    form = endpoint(method="POST", body=Body, body_format="form", path="/t", params=())
    assert build_request(form, {}, {"name": "a b&c"}).body == b"name=a+b%26c"


@pytest.mark.parametrize("body", [None, object(), {"a": {1, 2j}}, [1], "x", msgspec.Raw(b"[1]")])
def test_a_body_that_is_missing_or_not_json_is_refused(body: object) -> None:
    with pytest.raises(errors.InvalidArgument, match="getThing: (.*body|a\\[1\\]: )"):
        build_request(endpoint(method="POST", body=Body, path="/t", params=()), {}, body)


# ------------------------------------------------------------------ answers


def test_an_answer_is_decoded_to_its_type() -> None:
    assert read_response(endpoint(returns=Body), answer({"name": "x", "new": 1})) == Body(name="x")


def test_an_unreadable_answer_names_operation_and_spot() -> None:
    kind = dict[str, list[Body]]
    with pytest.raises(errors.Unreadable) as caught:
        read_response(endpoint(returns=kind), answer({"items": [{"name": "a"}, {"name": None}]}))
    assert str(caught.value) == "getThing: expected str, got null - at $[...][1].name"
    assert caught.value.spot == "$[...][1].name"


@pytest.mark.parametrize(("status", "kind"), [(400, errors.BadRequest), (502, errors.UnknownOutcome)])
def test_error_bodies_that_are_not_utf_8_are_errors_all_the_same(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        read_response(endpoint(retry="once"), answer(b'{"message":"caf\xe9"}', status))


def test_what_is_not_implemented_did_not_happen() -> None:
    with pytest.raises(errors.ServerError, match="501"):
        read_response(endpoint(retry="once"), answer({"message": "not emulated"}, 501))


@pytest.mark.parametrize("body", [b'{"access_token":"canary","expires_in":[]}', b'{"access_token":"canary"'])
def test_no_error_keeps_the_answer_of_the_token_endpoint(body: bytes) -> None:
    tokens = endpoint(operation="createToken", returns=dict[str, str])
    for status in (200, 400):
        with pytest.raises(errors.LimioError) as caught:
            read_response(tokens, answer(body, status))
        assert "canary" not in str(vars(caught.value))


@pytest.mark.parametrize("body", [b'{"id":"\xff"}', b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} x'])
def test_only_unreadable_comes_out_of_garbage(body: bytes) -> None:
    with pytest.raises(errors.Unreadable):
        read_response(endpoint(returns=dict[str, Any]), answer(body))


def test_a_page_of_html_says_so() -> None:
    with pytest.raises(errors.Unreadable, match="HTML; is the host right"):
        read_response(endpoint(), answer(b"<!doctype html><html>"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (418, errors.ApiError),
        (422, errors.BadRequest),
        (423, errors.Locked),
        (408, errors.TooManyRequests),
        (425, errors.TooManyRequests),
        (429, errors.TooManyRequests),
        (524, errors.ServerError),
        (500, errors.ServerError),
        (502, errors.BadGateway),
        (503, errors.ServerError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[errors.ApiError]) -> None:
    with pytest.raises(errors.ApiError) as caught:
        read_response(endpoint(), answer({"message": "no"}, status))
    assert type(caught.value) is kind
    assert str(caught.value) == f"getThing: {status} no"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_on_a_write_of_class_once_leaves_the_outcome_open(status: int) -> None:
    with pytest.raises(errors.UnknownOutcome, match="look before sending it again") as caught:
        read_response(endpoint(retry="once"), answer({"message": "upstream"}, status))
    assert caught.value.status == status


def test_an_error_shows_only_headers_on_the_allow_list() -> None:
    error = error_for("x", answer({}, 404, {"x-amzn-requestid": "r-1", "set-cookie": "lmo_session=secret"}))
    assert isinstance(error, errors.ApiError)
    assert error.headers == {"x-amzn-requestid": "r-1"}


@pytest.mark.parametrize(
    "kept",
    ["content-type", "date", "retry-after", "via", "x-amz-cf-id", "x-amzn-requestid", "x-request-id"],
)
def test_an_error_shows_what_support_asks_for(kept: str) -> None:
    error = error_for("x", answer({}, 404, {kept: "Thu, 01 Jan 2026 00:00:00 GMT"}))
    assert error.headers == {kept: "Thu, 01 Jan 2026 00:00:00 GMT"}


def test_a_redirect_is_a_value_where_the_operation_is_one_and_an_error_elsewhere() -> None:
    moved = answer(b"", 302, {"location": "https://shop.example.com/?code=1"})
    assert read_response(endpoint(returns=Redirect), moved) == Redirect(
        location="https://shop.example.com/?code=1"
    )
    with pytest.raises(errors.ApiError, match="redirects are not followed"):
        read_response(endpoint(), moved)


@pytest.mark.parametrize("body", [b'{"ok": tru', b'{"ok": "\\ud800" x}', b"<html>"])
def test_an_answer_that_cannot_be_read_is_in_its_error(body: bytes) -> None:
    with pytest.raises(errors.Unreadable) as caught:
        read_response(endpoint(), answer(body))
    assert caught.value.body == body
