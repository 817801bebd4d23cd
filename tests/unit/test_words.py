"""Every error says what its answer said, whatever shape that had."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limio_async import errors
from limio_async.core import words
from limio_async.core.outcome import error_for
from limio_async.core.words import words_of
from tests.unit.helpers import answer

NAMES = [
    "message",
    "Message",
    "error_description",
    "error",
    "detail",
    "errorMessage",
    "title",
    "description",
    "reason",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*NAMES, "errors"]), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "Unauthorized"}, "Unauthorized"),
        ({"error": {"message": "Not found", "code": "NOTFOUND"}}, "Not found"),
        ({"error": "nope"}, "nope"),
        ({"message": None, "error": "e"}, "e"),
        ({"error": "invalid_client", "error_description": "unknown client"}, "unknown client"),
        (
            {"errors": [{"message": "quantity must be positive", "path": "quantity"}]},
            "quantity must be positive",
        ),
        ({"errors": ["a must be a number", "b is required"]}, "a must be a number"),
        ({"errors": {"quantity": ["must be positive"]}}, "quantity: must be positive"),
        ({"errors": [{"detail": "too late", "title": "Conflict"}]}, "too late"),
        ({"errors": [{}, {"message": "second"}]}, "second"),
        ({"errors": [], "detail": "no list"}, "no list"),
        ([{"message": "Session expired", "errorCode": "INVALID_SESSION_ID"}], "Session expired"),
        (["first", "second"], "first"),
        ([[], [{"reason": "deep in lists"}]], "deep in lists"),
        ({"detail": "not yours", "title": "Forbidden"}, "not yours"),
        ({"type": "about:blank", "title": "Forbidden", "status": 403}, "Forbidden"),
        (
            {"errorMessage": "Cannot read x of undefined", "errorType": "TypeError"},
            "Cannot read x of undefined",
        ),
        ({"message": ["a must be a number", "b is required"]}, "a must be a number"),
        ({"message": {"en": "locked"}}, "en: locked"),
        ({"error": {"code": 7, "reason": "locked"}}, "locked"),
        ({"error": {"code": "E42"}, "detail": "not yours"}, "not yours"),
        ({"error": {"code": "E42"}}, "code: E42"),
        ({"error": {"code": 7}}, '{"error": {"code": 7}}'),
        ({"error": True}, '{"error": true}'),
        ({"code": "E42", "description": "no such offer"}, "no such offer"),
        ({"code": "E42"}, '{"code": "E42"}'),
        ({"Message": "User is not authorized"}, "User is not authorized"),
        ({"Error": {"Detail": "in capitals"}}, "in capitals"),
        ({"message": "", "errorMessage": "   ", "reason": "at last"}, "at last"),
        (7, "7"),
        (False, "false"),
        ("text", "text"),
        (b"\xef\xbb\xbf" + b'{"message": "after a mark"}', "after a mark"),
        (b'{"message": "a\\u009b31m\\u202eb"}', "a 31m b"),
        (b"plain\ntext", "plain text"),
        (b'{"message": "cut', '{"message": "cut'),
        (b"<html>no</html>", "(a page of HTML)"),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
        (b'""', ""),
        (b"", ""),
        (b"x" * 500, "x" * 199 + "…"),
        (b"[" * 100_000, "[" * 199 + "…"),
        (b'{"message":' * 100_000, ('{"message":' * 20)[:199] + "…"),
        (b'{"message":' * 30 + b'"deep"' + b"}" * 30, ('{"message":' * 20)[:199] + "…"),
        (b'{"message": "%b"}' % (b"long " * 100_000), ('{"message": "' + "long " * 40)[:199] + "…"),
    ],
)
@pytest.mark.parametrize(
    ("status", "kind"), [(400, errors.BadRequest), (403, errors.Forbidden), (503, errors.ServerError)]
)
def test_error_bodies_of_any_shape_become_one_short_line(
    body: Any, words: str, status: int, kind: type[errors.ApiError]
) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = error_for("getThing", answer(text, status))
    assert type(error) is kind
    assert error.words == words
    assert str(error) == error.message == f"getThing: {status} {words}".rstrip()


@given(JSON | st.binary())
def test_words_are_one_short_line_of_any_body_and_none_is_lost(value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    words = words_of(body)
    assert len(words) <= 200
    assert words == "" or words.isprintable()
    if isinstance(value, dict | list) and value:
        assert words


@given(st.sampled_from(NAMES), st.text("abc xyz", min_size=1).map(str.strip).filter(bool), st.data())
def test_words_are_found_under_each_name_and_in_each_wrapping(
    name: str, said: str, data: st.DataObject
) -> None:
    value: Any = {"code": 7, name: said}
    for wrap in data.draw(st.lists(st.sampled_from(["errors", "error", "list"]), max_size=3)):
        value = [value] if wrap == "list" else {wrap: value}
    assert words_of(json.dumps(value).encode()) == " ".join(said.split())[:200]


@pytest.mark.parametrize(
    "body", [b"s3cr3t", b'{"id_token": "s3cr3t"}', b'["s3cr3t', b'{"error": {"code": 7}, "t": "s3cr3t"}']
)
def test_of_the_token_endpoint_only_words_by_name_are_shown(body: bytes) -> None:
    assert str(error_for("createToken", answer(body, 500))) == "createToken: 500"


@pytest.mark.parametrize(("before", "words"), [(19, "the last"), (20, "")])
def test_the_first_twenty_of_a_list_are_looked_at(before: int, words: str) -> None:
    body = json.dumps({"errors": [*({"code": None} for _ in range(before)), "the last"]}).encode()
    assert words_of(body, of_text=False) == words


def test_a_large_body_of_nothing_but_known_names_is_looked_at_once_or_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    named = words._named

    def counted(value: Any, **options: Any) -> str:
        nonlocal looked
        looked += 1
        return named(value, **options)

    monkeypatch.setattr(words, "_named", counted)
    value: Any = {}
    for _ in range(7):
        value = {"message": value, "error": value}
    assert words_of(json.dumps(value).encode(), of_text=False) == ""
    assert looked <= 2 * 2**8
