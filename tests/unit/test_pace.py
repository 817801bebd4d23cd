"""A pace of the caller's is waited for before a request has begun: whatever happens there leaves nothing in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from limio_async import Limio, Rate, errors
from limio_async.core.limiter import Lane
from limio_async.core.wire import Attempt, Credential, Request, Response
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer, endpoint

GET = endpoint()
ORDER = endpoint(
    operation="submitThing", method="POST", path="/api/thing", params=(), body=dict, retry="once"
)
OK = answer({"id": "1"})


class Paced:
    """Does what it is told when it is asked."""

    def __init__(self, what: Callable[[], Awaitable[Any]]) -> None:
        self.what = what
        self.lanes: list[Lane] = []

    async def take(self, lane: Lane) -> None:
        self.lanes.append(lane)
        await self.what()


async def never() -> None:
    await asyncio.Event().wait()


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def fails() -> None:
        raise error

    return fails


def client(transport: ScriptedTransport, **options: Any) -> Limio:
    return Limio(transport.origin, transport=transport, **options)


async def test_an_order_whose_deadline_strikes_before_its_turn_was_not_sent(virtual_time: Any) -> None:
    transport = ScriptedTransport(OK)
    async with client(transport, pace=Paced(never)) as limio:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await limio.request(ORDER, {}, {}, timeout=1)
        assert caught.value.left is False
        assert transport.requests == []


async def test_an_order_that_is_cancelled_before_its_turn_was_not_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = ScriptedTransport(OK)
    trace: list[Attempt] = []
    async with client(transport, pace=Paced(never), max_concurrency=1) as limio:
        for _ in range(3):  # nor is a slot lost
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await limio.request(ORDER, {}, {}, trace=trace)
    assert (transport.requests, trace, caplog.text) == ([], [], "")


@pytest.mark.parametrize(
    "error",
    [ValueError("dsn://user:hidden@host"), TimeoutError(), errors.AnswerLost("no"), asyncio.CancelledError()],
)
@pytest.mark.parametrize("which", [GET, ORDER])
async def test_a_pace_that_fails_is_never_taken_for_what_came_of_a_request(
    which: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    transport = ScriptedTransport(OK)
    async with client(transport, pace=Paced(raising(error)), max_concurrency=1) as limio:
        for _ in range(2):
            with pytest.raises(errors.NeverSent) as caught:
                await limio.request(which, {"id": "1"}, None if which is GET else {})
            said = f"{which.operation}: not sent: the pace raised {type(error).__name__}"
            assert str(caught.value).startswith(said)
            assert "hidden" not in str(caught.value)
    assert transport.requests == []
    assert [one.exc_info is not None for one in caplog.records] == [True, True]


async def test_an_order_that_had_left_stays_in_doubt_when_the_pace_fails_after_it(virtual_time: Any) -> None:
    put = endpoint(operation="putThing", method="PUT", path="/t", params=(), body=dict, retry="idempotent")
    turns = iter([asyncio.sleep(0)])

    async def once() -> None:
        await next(turns)

    async with client(ScriptedTransport(errors.AnswerLost("hung up")), pace=Paced(once)) as limio:
        with pytest.raises(errors.AnswerLost):
            await limio.request(put, {}, {})


async def test_each_attempt_takes_its_turn_in_its_lane(virtual_time: Any) -> None:
    pace = Paced(lambda: asyncio.sleep(0))
    async with client(ScriptedTransport(answer({}, 503), OK), pace=pace) as limio:
        await limio.with_options(lane="background").request(GET, {"id": "1"})
    assert pace.lanes == ["background", "background"]


async def test_nothing_leaves_in_a_pause_that_began_while_the_pace_was_waited_for(virtual_time: Any) -> None:
    left: list[float] = []

    def served(request: Request) -> Response:
        left.append(virtual_time.elapsed)
        return answer({}, 429, {"retry-after": "5"}) if len(left) == 1 else OK

    turns = iter([0.0, 1.0, 0.0, 0.0, 0.0])
    async with client(ScriptedTransport(served), pace=Paced(lambda: asyncio.sleep(next(turns)))) as limio:
        await asyncio.gather(*(limio.request(GET, {"id": str(n)}) for n in range(2)))
    assert [one >= 5 for one in left] == [False, True, True]


@pytest.mark.parametrize("options", [{"requests_per_second": 10}, {"pace": Rate(10)}])
async def test_requests_leave_at_the_rate_and_interactive_ones_first(
    virtual_time: Any, options: dict[str, Any]
) -> None:
    left: list[tuple[float, str]] = []

    def served(request: Request) -> Response:
        left.append((virtual_time.elapsed, request.target))
        return OK

    async with client(ScriptedTransport(served), **options) as limio:
        job = limio.with_options(lane="background")
        jobs = [asyncio.create_task(job.request(GET, {"id": "job"})) for _ in range(50)]
        await asyncio.sleep(1.05)
        begun = virtual_time.elapsed
        await limio.request(GET, {"id": "first"})
        assert virtual_time.elapsed - begun <= 0.11
        await asyncio.gather(*jobs)
    assert all(later - earlier >= 0.0999 for (earlier, _), (later, _) in pairwise(left))


async def test_two_clients_share_one_rate(virtual_time: Any) -> None:
    rate = Rate(10)
    transports = ScriptedTransport(OK), ScriptedTransport(OK)
    clients = [client(one, pace=rate) for one in transports]
    await asyncio.gather(*(one.request(GET, {"id": "1"}) for one in clients for _ in range(10)))
    assert virtual_time.elapsed >= 1.89


async def test_a_pace_and_a_rate_both_hold(virtual_time: Any) -> None:
    pace = Paced(lambda: asyncio.sleep(0.5))
    async with client(ScriptedTransport(OK), pace=pace, requests_per_second=1, max_concurrency=1) as limio:
        await asyncio.gather(*(limio.request(GET, {"id": "1"}) for _ in range(3)))
    assert len(pace.lanes) == 3
    assert virtual_time.elapsed >= 2.5


async def test_a_call_that_the_rate_holds_up_past_its_deadline_is_no_refusal_of_the_server(
    virtual_time: Any,
) -> None:
    async with client(ScriptedTransport(OK), requests_per_second=0.1) as limio:
        await limio.request(GET, {"id": "1"})
        with pytest.raises(errors.DeadlineExceeded):
            await limio.request(GET, {"id": "1"}, timeout=2)


@pytest.mark.parametrize("pace", [10, Paced, "fast"])
def test_what_is_no_pace_is_refused(pace: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="pace= takes a pace"):
        Limio("limio.test", pace=pace)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "10", True, None])
def test_a_rate_is_positive_and_finite(rate: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"a number above 0, not {rate!r}"):
        Rate(rate)
    if rate is not None:
        with pytest.raises(errors.ConfigurationError, match=f"a number above 0, not {rate!r}"):
            Limio("limio.test", requests_per_second=rate)


def test_a_rate_serves_one_event_loop_after_another() -> None:
    rate = Rate(2)

    async def calls(timeout: float) -> list[Any]:
        async with client(ScriptedTransport(OK), pace=rate) as limio:
            every = (limio.request(GET, {"id": "1"}, timeout=timeout) for _ in range(2))
            return await asyncio.gather(*every, return_exceptions=True)

    assert [type(one) for one in asyncio.run(calls(0.1))] == [dict, errors.DeadlineExceeded]
    assert [type(one) for one in asyncio.run(calls(3))] == [dict, dict]


def test_a_rate_that_another_event_loop_waits_for_says_so() -> None:
    rate = Rate(0.1)
    first = asyncio.new_event_loop()

    async def waits() -> asyncio.Task[None]:
        await rate.take("interactive")
        task = asyncio.create_task(rate.take("interactive"))
        await asyncio.sleep(0)
        return task

    async def call() -> None:
        async with client(ScriptedTransport(OK), pace=rate) as limio:
            await limio.request(GET, {"id": "1"})

    waiting = first.run_until_complete(waits())
    with pytest.raises(errors.ConfigurationError, match="make a Rate for each event loop"):
        asyncio.run(call())
    waiting.cancel()
    first.run_until_complete(asyncio.wait([waiting]))
    first.close()


async def test_a_turn_is_paid_once_whatever_pause_the_server_asks_for(virtual_time: Any) -> None:
    answers = iter([answer({}, 429, {"retry-after": "5"})])
    pace = Paced(lambda: asyncio.sleep(0.05))
    transport = ScriptedTransport(lambda _: next(answers, OK))
    async with client(transport, pace=pace) as limio:
        await asyncio.gather(*(limio.request(GET, {"id": str(n)}) for n in range(10)))
    assert len(pace.lanes) == len(transport.requests) == 11


async def test_what_waited_for_a_rate_in_a_pause_leaves_evenly_after_it(virtual_time: Any) -> None:
    left: list[float] = []

    def served(request: Request) -> Response:
        left.append(virtual_time.elapsed)
        return answer({}, 429, {"retry-after": "5"}) if len(left) == 1 else OK

    async with client(ScriptedTransport(served), pace=Rate(10)) as limio:
        await asyncio.gather(*(limio.request(GET, {"id": str(n)}) for n in range(10)))
    assert all(later - earlier >= 0.0999 for earlier, later in pairwise(left))
    assert left[1] >= 5


@pytest.mark.parametrize("status", [401, 503])
async def test_a_pace_that_fails_before_a_resend_ends_the_call(
    virtual_time: Any, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level("INFO", "limio_async")
    takes = iter([asyncio.sleep(0)])
    trace: list[Attempt] = []

    async def once() -> None:
        await next(takes)

    class Renewing:
        offers = ("bearer",)

        async def credential(self, accepts: Any, exchange: Any) -> Credential:
            return Credential(scheme="bearer", authorization="Bearer x")

        async def renew(self, refused: Any, exchange: Any) -> bool:
            return True

    pace, auth = Paced(once), Renewing()
    transport = ScriptedTransport(answer({}, status), OK)
    async with client(transport, pace=pace, auth=auth) as limio:
        with pytest.raises(errors.NeverSent, match="the pace raised"):
            await limio.request(endpoint(auth=("bearer",)), {"id": "1"}, trace=trace)
    said = [one.getMessage() for one in caplog.records]
    assert [("sending again" in one, "the pace raised" in one) for one in said].count((True, False)) == (
        status == 503
    )
    assert (len(pace.lanes), [one.status for one in trace]) == (2, [status])
