"""No answer that says no is called a success, and no sample anything else. See `refusals`."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest

from limio_async.api.endpoints import ENDPOINTS
from tests.judges import refusals
from tests.judges.refusals import NO, Cell
from tests.judges.refusals_calls import CALLS, LISTS
from tests.judges.refusals_samples import ANSWERS, ITEMS, unused
from tests.judges.walks_clock import HurriedLoop


@cache
def cells() -> list[Cell]:
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        return runner.run(refusals.judge())


@pytest.mark.parametrize("operation", [*CALLS, *LISTS])
def test_what_comes_of_a_no_and_of_a_sample_is_what_the_samples_allow(operation: str) -> None:
    wrong = [
        f"{one.aspect}, {one.form}: {one.wrong}" for one in cells() if one.operation == operation if one.wrong
    ]
    assert wrong == []


def test_the_table_has_every_operation_form_and_sample() -> None:
    assert {*CALLS, *LISTS} == ENDPOINTS.keys()
    assert (CALLS.keys(), LISTS.keys()) == (ANSWERS.keys(), ITEMS.keys())
    shown = {(one.operation, one.form) for one in cells()}
    assert {(operation, form) for operation in ENDPOINTS for form in (*NO, "sample")} <= shown
    assert unused() == set()


def test_the_judge_sees_a_client_that_takes_any_200_for_a_yes() -> None:
    told = refusals.Told(value="an answer", sent=1)
    for operation, call in CALLS.items():
        body = {"errorMessage": "no"}
        assert refusals.wrong_of_a_no(call, told, refusals.verdict(operation, body)), operation
