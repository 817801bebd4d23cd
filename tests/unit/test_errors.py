"""Errors travel between processes and keep their facts."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from limio_async import errors
from limio_async.core.listing.checkpoint import Checkpoint

MADE: list[errors.LimioError] = [
    errors.NeverSent("refused", operation="getObject"),
    errors.NotFound("gone", operation="getObject", status=404, body=b"{}", headers={"date": "x"}),
    errors.TooManyRequests("wait", operation="getObject", status=429, retry_after=2.0),
    errors.UnknownOutcome("lost", operation="submitOrder", status=502),
    errors.Unreadable("bad", operation="getObject", spot="$.id"),
    errors.IncompleteListing(
        "short",
        operation="listOffers",
        expected=3,
        seen=2,
        checkpoint=Checkpoint(operation="x", digest="y", items=2),
    ),
    errors.InvalidArgument("wrong"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301
def test_an_error_survives_the_way_to_another_process(error: errors.LimioError, travel: Any) -> None:
    there = travel(error)
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert vars(there) == vars(error)


FACTS: dict[str, Any] = {
    "operation": "getObject", "status": 418, "body": b"tea", "headers": {"date": "x"}, "retry_after": 2.5, "spot": "$.a",
    "too_large": True, "checkpoint": "there", "expected": 9, "seen": 7, "attempts": 3, "final": True, "one_table": True,
    "paths": ("$.a",),
}  # fmt: skip


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__], ids=str)
def test_an_error_keeps_each_fact_it_is_given(kind: type[errors.LimioError]) -> None:
    takes = inspect.signature(kind).parameters
    given = {name: FACTS[name] for name, one in takes.items() if one.kind is one.KEYWORD_ONLY}
    error = kind("why", **given)
    assert {name: getattr(error, name) for name in given} == given
    said = "418 why" if "retry_after" in given else "why"
    assert str(error) == error.message == f"getObject: {said}"
    assert error.said == said


def test_what_reads_back_stays_behind() -> None:
    error = errors.UnknownOutcome("lost", operation="submitOrder")
    error.read_back = lambda: None  # type: ignore[assignment]
    assert pickle.loads(pickle.dumps(error)).read_back is None  # noqa: S301


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_crash_reporters_find_the_whole_text_in_message(error: errors.LimioError) -> None:
    assert error.message == str(error)
    assert copy.copy(error).message == str(error)


def test_what_limio_said_is_in_words() -> None:
    error = errors.NotFound("gone", operation="getObject", status=404)
    assert (error.words, error.message) == ("gone", "getObject: 404 gone")


def test_a_deadline_says_that_a_request_left_only_where_somebody_saw_it() -> None:
    assert errors.DeadlineExceeded("late", operation="x").left is False
