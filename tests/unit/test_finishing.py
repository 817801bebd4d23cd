"""`limio.finish()`: the call runs to its end whoever stops waiting for it, and what it came to is not lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from limio_async import BearerToken, Limio, errors
from limio_async.core.wire import Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer
from tests.wire.test_cancelled_writes import (
    by_a_cancel_scope,
    by_a_sibling,
    by_cancel,
    by_gather,
    by_timeout,
    by_wait_for,
)

ORDER: Any = {"order_type": "new"}
PLACED = {"id": "order-1", "order_reference": "r"}


def after(seconds: float, said: Response | Exception) -> Callable[[Request], Any]:
    async def say(_: Request) -> Response:
        await asyncio.sleep(seconds)
        if isinstance(said, Exception):
            raise said
        return said

    return say


def client(*script: Any, **options: Any) -> Limio:
    return Limio("https://limio.test", auth=BearerToken("t"), transport=ScriptedTransport(*script), **options)


def no_task_is_left() -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def stop_waiting(waiting: asyncio.Task[Any]) -> None:
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_whoever_waits_gets_what_the_call_gives(virtual_time: Any) -> None:
    outcomes: list[Any] = []
    async with client(after(2, answer(PLACED)), answer({}, 400)) as limio:
        placed = await limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append)
        assert placed.id == "order-1"
        with pytest.raises(errors.BadRequest):
            await limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append)
    assert outcomes == []
    no_task_is_left()


@pytest.mark.parametrize(
    "by", [by_wait_for, by_timeout, by_cancel, by_a_sibling, by_gather, by_a_cancel_scope]
)
async def test_a_call_goes_on_where_its_caller_is_cancelled(
    by: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Any] = []
    async with client(after(0.2, answer(PLACED))) as limio:
        with pytest.raises((TimeoutError, asyncio.CancelledError, ExceptionGroup)):
            await by(limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append))
        assert outcomes == []
    assert [one.id for one in outcomes] == ["order-1"]  # the end of the client waits for it
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
    no_task_is_left()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer({}, 404), errors.NotFound),
        (answer({}, 502), errors.UnknownOutcome),
        (errors.AnswerLost("x"), errors.UnknownOutcome),
    ],
    ids=["404", "502", "lost"],
)
async def test_an_error_is_handed_over_too(said: Any, kind: type[Exception], virtual_time: Any) -> None:
    outcomes: list[Any] = []
    async with client(after(5, said)) as limio:
        await stop_waiting(
            asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append))
        )
    assert [type(one) for one in outcomes] == [kind]


async def test_its_deadline_holds_all_the_same(virtual_time: Any) -> None:
    outcomes: list[Any] = []
    limio = client(after(500, answer(PLACED)))
    await stop_waiting(
        asyncio.create_task(limio.finish(limio.orders.submit, ORDER, timeout=4.0, on_outcome=outcomes.append))
    )
    await asyncio.sleep(3.5)
    assert [type(one) for one in outcomes] == [errors.UnknownOutcome]
    assert "not finished after 4 s" in str(outcomes[0])
    await limio.aclose()
    assert virtual_time.elapsed == pytest.approx(4.5)


async def test_one_that_waits_in_line_still_gets_its_turn(virtual_time: Any) -> None:
    outcomes: list[Any] = []
    async with client(after(3, answer(PLACED)), max_concurrency=1) as limio:
        first, second = (
            asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append))
            for _ in "ab"
        )
        await stop_waiting(second)
        await stop_waiting(first)
    assert [one.id for one in outcomes] == ["order-1", "order-1"]


async def test_the_outcome_that_comes_just_as_the_caller_is_cancelled_is_not_lost(virtual_time: Any) -> None:
    outcomes: list[Any] = []
    async with client(answer(PLACED)) as limio:
        limio._transport.suspends = 0  # type: ignore[attr-defined]
        for steps in range(8):
            waiting = asyncio.create_task(
                limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append)
            )
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            done = await asyncio.gather(waiting, return_exceptions=True)
            for _ in range(8):
                await asyncio.sleep(0)
            got = [one for one in done if not isinstance(one, BaseException)]
            started = not (waiting.cancelled() and steps == 0)
            assert len(got) + len(outcomes) == started, steps
            outcomes.clear()


# ------------------------------------------------------------------ the end of the client


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("closed_by", ["the caller", "another"])
@pytest.mark.parametrize("later", range(4))
@pytest.mark.parametrize("steps", range(8))
async def test_the_end_waits_for_the_outcome_that_comes_just_as_the_caller_is_cancelled(
    steps: int, later: int, closed_by: str, is_async: bool, virtual_time: Any
) -> None:
    outcomes: list[Any] = []
    there = asyncio.Event()

    async def save(outcome: Any) -> None:
        await asyncio.sleep(0.01)
        outcomes.append(outcome)

    async def say(_: Request) -> Response:
        await there.wait()
        return answer(PLACED)

    async def place() -> None:
        on_outcome = save if is_async else outcomes.append
        try:
            outcomes.append(await limio.finish(limio.orders.submit, ORDER, on_outcome=on_outcome))
        finally:
            if closed_by == "the caller":
                await limio.aclose()

    limio = client(say)
    placing = asyncio.create_task(place())
    await asyncio.sleep(0.01)
    there.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if closed_by == "another":
        closing = asyncio.create_task(limio.aclose())
        for _ in range(later):
            await asyncio.sleep(0)
        placing.cancel()
        await closing
    else:
        placing.cancel()
    await asyncio.wait([placing])
    assert [one.id for one in outcomes] == ["order-1"]
    no_task_is_left()


async def test_the_end_of_the_client_waits_no_longer_than_its_grace(
    virtual_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Any] = []
    limio = client(after(50, answer(PLACED)))
    await stop_waiting(
        asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append))
    )
    await limio.aclose(grace=3)
    assert virtual_time.elapsed == pytest.approx(4)
    assert [type(one) for one in outcomes] == [errors.UnknownOutcome]
    assert len([one for one in caplog.records if "it may have happened" in one.getMessage()]) == 1
    no_task_is_left()


@pytest.mark.parametrize(("call", "kind"), [("get", errors.ClientClosed), ("submit", errors.UnknownOutcome)])
async def test_who_still_waits_is_told_that_the_client_was_closed(
    call: str, kind: Any, virtual_time: Any
) -> None:
    limio = client(after(50, answer(PLACED)))
    made = limio.orders.submit if call == "submit" else limio.orders.get
    waiting = asyncio.create_task(limio.finish(made, ORDER if call == "submit" else "o-1"))
    await asyncio.sleep(1)
    await limio.aclose(grace=0)
    with pytest.raises(kind):
        await waiting
    no_task_is_left()


@pytest.mark.parametrize("grace", [None, "x", True, float("nan")])
async def test_a_grace_that_is_no_number_is_refused_at_once_and_ends_nothing(grace: Any) -> None:
    async with Limio("limio.test") as limio:
        with pytest.raises(errors.InvalidArgument, match=f"grace is a number of seconds, not {grace!r}"):
            await limio.aclose(grace=grace)
        assert limio.state().open


async def test_ten_seconds_are_the_grace_of_a_block(virtual_time: Any) -> None:
    async with client(after(50, answer(PLACED))) as limio:
        await stop_waiting(asyncio.create_task(limio.finish(limio.orders.submit, ORDER)))
    assert virtual_time.elapsed == pytest.approx(11)


async def test_a_block_that_is_cancelled_leaves_nothing_behind(virtual_time: Any) -> None:
    outcomes: list[Any] = []
    with anyio.move_on_after(2):
        async with client(after(50, answer(PLACED))) as limio:
            await limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append)
    await asyncio.sleep(0.01)
    assert virtual_time.elapsed < 3
    assert [type(one) for one in outcomes] == [errors.UnknownOutcome]
    no_task_is_left()


async def test_a_client_without_such_calls_closes_at_once(virtual_time: Any) -> None:
    limio = client(answer(PLACED))
    await limio.finish(limio.orders.submit, ORDER)
    begun = virtual_time.elapsed
    await limio.aclose()
    assert virtual_time.elapsed == begun


def test_what_the_end_of_the_loop_cancels_cannot_be_finished_but_is_told() -> None:
    outcomes: list[Any] = []

    async def main() -> None:
        limio = client(after(50, answer(PLACED)))
        waiting = asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=outcomes.append))
        await asyncio.sleep(0.01)
        waiting.cancel()

    asyncio.run(main())
    assert [type(one) for one in outcomes] == [errors.UnknownOutcome]


# ------------------------------------------------------------------ on_outcome


async def test_on_outcome_may_be_a_coroutine_function_that_the_end_waits_for(virtual_time: Any) -> None:
    saved: list[Any] = []

    async def save(outcome: Any) -> None:
        await asyncio.sleep(2)
        saved.append(outcome)

    async with client(after(3, answer(PLACED))) as limio:
        await stop_waiting(asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=save)))
    assert [one.id for one in saved] == ["order-1"]
    assert virtual_time.elapsed == pytest.approx(5)
    no_task_is_left()


@pytest.mark.parametrize("is_async", [False, True])
async def test_one_that_raises_is_logged_and_no_more(
    is_async: bool, virtual_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Any) -> None:
        raise RuntimeError("mine")

    async def fails_later(_: Any) -> None:
        await asyncio.sleep(1)
        raise RuntimeError("mine")

    async with client(after(3, answer(PLACED))) as limio:
        on_outcome: Any = fails_later if is_async else fails
        await stop_waiting(
            asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=on_outcome))
        )
    (said,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "on_outcome, given OrderResponse, failed" in said.getMessage()
    assert said.exc_info is not None
    no_task_is_left()


async def test_one_that_the_end_cuts_off_is_logged(
    virtual_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(_: Any) -> None:
        await asyncio.sleep(60)

    limio = client(after(3, answer(PLACED)))
    await stop_waiting(asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=slow)))
    await limio.aclose(grace=5)
    assert virtual_time.elapsed == pytest.approx(7)
    (said,) = [one.getMessage() for one in caplog.records if "cut off" in one.getMessage()]
    assert "submit: on_outcome, given OrderResponse, was cut off by the end of the client" in said
    no_task_is_left()


@pytest.mark.parametrize("grace", [0, 5])
async def test_one_that_the_end_of_the_grace_begins_has_time_to_save_what_it_is_given(
    grace: float, virtual_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    saved: list[Any] = []

    async def save(outcome: Any) -> None:
        await asyncio.sleep(0.5)
        saved.append(outcome)

    limio = client(after(50, answer(PLACED)))
    await stop_waiting(asyncio.create_task(limio.finish(limio.orders.submit, ORDER, on_outcome=save)))
    await limio.aclose(grace=grace)
    assert virtual_time.elapsed == pytest.approx(1 + grace + 0.5)
    assert [type(one) for one in saved] == [errors.UnknownOutcome]
    assert "cut off" not in caplog.text
    no_task_is_left()


async def test_a_failure_that_nobody_is_given_is_logged(
    virtual_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(after(3, answer({}, 404))) as limio:
        await stop_waiting(asyncio.create_task(limio.finish(limio.orders.submit, ORDER)))
    assert any("404" in one.getMessage() and one.levelno == logging.WARNING for one in caplog.records)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("which", ["a listing", "a view", "a coroutine", "a plain function"])
async def test_only_a_call_can_be_finished(which: str) -> None:
    async with client(answer(PLACED)) as limio:
        call: Any = {
            "a listing": limio.offers.list,
            "a view": limio.subscriptions.list,
            "a coroutine": asyncio.get_running_loop().create_future,
            "a plain function": list,
        }[which]
        with pytest.raises(TypeError, match=r"pages\(\)"):
            await limio.finish(call)
        assert limio._transport.requests == []  # type: ignore[attr-defined]


async def test_a_view_shares_what_is_to_be_finished(virtual_time: Any) -> None:
    outcomes: list[Any] = []
    limio = client(after(3, answer(PLACED)))
    view = limio.with_options(timeout=20)
    await stop_waiting(
        asyncio.create_task(view.finish(view.orders.submit, ORDER, on_outcome=outcomes.append))
    )
    await limio.aclose()
    assert len(outcomes) == 1
