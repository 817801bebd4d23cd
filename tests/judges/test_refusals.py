"""No answer that says no is called a success, and no sample anything else. See `refusals`."""

from __future__ import annotations

import asyncio

import pytest

from limio_async import errors
from limio_async.api.endpoints import ENDPOINTS
from tests.judges import refusals
from tests.judges.refusals_calls import CALLS, LISTS
from tests.judges.refusals_samples import ANSWERS, ITEMS, unused
from tests.judges.walks_clock import HurriedLoop


@pytest.mark.parametrize("operation", [*CALLS, *LISTS])
def test_what_comes_of_a_no_and_of_a_sample_is_what_the_samples_allow(operation: str) -> None:
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        cells = runner.run(refusals.judge(operation))
    assert {*refusals.NO, "sample"} <= {one.form for one in cells}
    assert [f"{one.aspect}, {one.form}: {one.wrong}" for one in cells if one.wrong] == []


def test_the_table_has_every_operation_and_every_sample() -> None:
    assert {*CALLS, *LISTS} == ENDPOINTS.keys()
    assert (CALLS.keys(), LISTS.keys()) == (ANSWERS.keys(), ITEMS.keys())
    assert unused() == set()


@pytest.mark.parametrize("operation", CALLS)
def test_the_judge_sees_a_client_that_takes_any_200_for_a_yes(operation: str) -> None:
    told = refusals.Told(value="an answer", sent=1)
    assert refusals.wrong_of_a_no(CALLS[operation], told, refusals.verdict(operation, {"errorMessage": "no"}))


def test_the_judge_sees_an_order_that_is_sent_twice_or_called_failed() -> None:
    failed = refusals.Told(error=errors.Unreadable("no", operation="submitOrder"), sent=1)
    twice = refusals.Told(error=errors.UnknownOutcome("who knows", operation="submitOrder"), sent=2)
    assert refusals.wrong_of_a_no(CALLS["submitOrder"], failed, "no")
    assert refusals.wrong_of_a_no(CALLS["submitOrder"], twice, "no")
