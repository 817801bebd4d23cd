"""One call: what is sent, how often, and what the caller gets."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from limio_async import errors
from limio_async.auth import NoAuth
from limio_async.core.session import Session
from limio_async.core.wire import Attempt, Request, Response, Retry
from tests.conftest import ScriptedTransport
from tests.unit.helpers import answer, endpoint

GET = endpoint()
ORDER = endpoint(
    operation="submitThing", method="POST", path="/api/thing", params=(), body=dict, retry="once"
)
PUT = endpoint(
    operation="putThing", method="PUT", path="/api/thing", params=(), body=dict, retry="idempotent"
)
LOST = errors.AnswerLost("hung up", operation="submitThing")
NEVER = errors.NeverSent("refused", operation="submitThing")
OK = answer({"ok": True})


async def call(transport: ScriptedTransport, which: Any, **options: Any) -> Any:
    session = Session(transport, NoAuth(), **options)
    return await session.call(which, {"id": "1"}, None if which is GET else {})


@pytest.mark.parametrize(
    ("which", "outcome", "sent"),
    [
        (GET, LOST, 2),
        (GET, NEVER, 2),
        (GET, answer({}, 429), 2),
        (GET, answer({}, 502), 2),
        (PUT, LOST, 2),
        (PUT, answer({}, 503), 2),
        (ORDER, NEVER, 2),
    ],
)
async def test_what_is_safe_is_sent_again(virtual_time: Any, which: Any, outcome: Any, sent: int) -> None:
    transport = ScriptedTransport(outcome, OK)
    assert await call(transport, which) == {"ok": True}
    assert len(transport.requests) == sent


@pytest.mark.parametrize(
    "outcome", [LOST, answer({}, 500), answer({}, 502), answer({}, 503), answer({}, 504)]
)
async def test_an_order_is_never_sent_twice(virtual_time: Any, outcome: Any) -> None:
    transport = ScriptedTransport(outcome, OK)
    with pytest.raises(errors.UnknownOutcome, match="submitThing: .*look before sending it again") as caught:
        await call(transport, ORDER)
    assert len(transport.requests) == 1
    assert len(caught.value.attempts) == 1


async def test_an_order_refused_for_too_many_requests_tells_how_long_to_wait(virtual_time: Any) -> None:
    transport = ScriptedTransport(answer({}, 429, {"retry-after": "30"}), OK)
    with pytest.raises(errors.TooManyRequests) as caught:
        await call(transport, ORDER)
    assert caught.value.retry_after == 30
    assert len(transport.requests) == 1


async def test_giving_up_tells_what_was_tried(virtual_time: Any) -> None:
    transport = ScriptedTransport(answer({}, 502), LOST, answer({"message": "down"}, 503))
    with pytest.raises(errors.ServerError, match="getThing: 503 down") as caught:
        await call(transport, GET)
    assert [(one.status, one.reason) for one in caught.value.attempts] == [
        (502, "status 502"),
        (None, "AnswerLost"),
        (503, "status 503"),
    ]
    assert sum(one.waited for one in caught.value.attempts) == pytest.approx(virtual_time.elapsed)


async def test_a_call_tells_its_attempts_whether_it_ends_well_or_badly(virtual_time: Any) -> None:
    session = Session(ScriptedTransport(LOST, OK, answer({}, 404)), NoAuth())
    trace: list[Attempt] = []
    await session.call(GET, {"id": "1"}, trace=trace)
    with pytest.raises(errors.NotFound):
        await session.call(GET, {"id": "1"}, trace=trace)
    assert [one.reason for one in trace] == ["AnswerLost", "status 200", "status 404"]
    assert trace[0].waited > 0


async def test_an_attempt_tells_when_it_left_how_long_it_took_and_what_support_asks_for(
    virtual_time: Any,
) -> None:
    async def slowly(request: Request) -> Response:
        await asyncio.sleep(2.5)
        return answer({}, 404, headers={"x-amz-cf-id": "cf", "x-amzn-requestid": "gateway"})

    begun = time.time()
    with pytest.raises(errors.NotFound) as caught:
        await call(ScriptedTransport(answer({}, 503, headers={"x-request-id": "first"}), slowly), GET)
    refused, last = caught.value.attempts
    assert (refused.status, refused.duration, refused.request_id) == (503, 0, "first")
    assert (last.status, last.duration, last.request_id) == (404, pytest.approx(2.5), "gateway")
    assert begun <= refused.start <= time.time()
    assert begun <= last.start + last.duration <= time.time()  # whose seconds are virtual ones


async def test_an_attempt_without_an_answer_tells_how_long_that_took(virtual_time: Any) -> None:
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await call(ScriptedTransport(lambda _: asyncio.sleep(60)), GET, timeout=4.0)
    (only,) = caught.value.attempts
    assert (only.status, only.reason, only.request_id) == (None, "cut by the deadline", None)
    assert only.duration == pytest.approx(4.0)


async def test_attempts_are_limited(virtual_time: Any) -> None:
    transport = ScriptedTransport(LOST)
    with pytest.raises(errors.AnswerLost):
        await call(transport, GET, attempts=5)
    assert len(transport.requests) == 5


async def never(request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_deadline_ends_a_call_that_waits_for_its_answer(virtual_time: Any) -> None:
    with pytest.raises(errors.DeadlineExceeded, match="getThing: not finished after 2 s"):
        await call(ScriptedTransport(never), GET, timeout=2)
    assert virtual_time.elapsed == pytest.approx(2, abs=0.01)


async def test_an_order_cut_by_the_deadline_may_have_happened(virtual_time: Any) -> None:
    with pytest.raises(
        errors.UnknownOutcome, match="submitThing: not finished after 2 s: it may have happened"
    ):
        await call(ScriptedTransport(never), ORDER, timeout=2)


async def test_a_resend_that_cannot_be_in_time_is_not_begun(virtual_time: Any) -> None:
    transport = ScriptedTransport(answer({}, 429, {"retry-after": "30"}))
    with pytest.raises(errors.TooManyRequests) as caught:
        await call(transport, GET, timeout=10)
    assert caught.value.retry_after == 30
    assert len(transport.requests) == 1
    assert virtual_time.elapsed < 1


async def test_one_call_may_have_a_deadline_of_its_own(virtual_time: Any) -> None:
    session = Session(ScriptedTransport(never), NoAuth(), timeout=60)
    with pytest.raises(errors.DeadlineExceeded, match="after 0.5 s"):
        await session.call(GET, {"id": "1"}, timeout=0.5)


async def test_the_transport_is_given_the_time_that_is_left(virtual_time: Any) -> None:
    transport = ScriptedTransport(answer({}, 429, {"retry-after": "3"}), OK)
    session = Session(transport, NoAuth(), timeout=0.4)
    await session.call(GET, {"id": "1"}, timeout=10)
    assert transport.timeouts[0] == pytest.approx(10, abs=0.1)
    assert transport.timeouts[1] == pytest.approx(7, abs=0.2)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_a_deadline_that_makes_no_sense_is_refused_before_anything_is_sent(timeout: float) -> None:
    transport = ScriptedTransport(OK)
    with pytest.raises(errors.InvalidArgument, match="timeout must be positive"):
        await Session(transport, NoAuth()).call(ORDER, {}, {}, timeout=timeout)
    assert transport.requests == []


async def test_no_more_than_the_ceiling_is_on_the_wire() -> None:
    running = peak = 0

    async def slow(request: Request) -> Response:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return OK

    session = Session(ScriptedTransport(slow), NoAuth(), max_concurrency=3)
    await asyncio.gather(*(session.call(GET, {"id": str(n)}) for n in range(20)))
    assert peak == 3


async def test_waiting_to_send_again_holds_no_slot(virtual_time: Any) -> None:
    def one_fails(request: Request) -> Response:
        return answer({}, 502) if request.target.endswith("/0") else OK

    session = Session(ScriptedTransport(one_fails), NoAuth(), max_concurrency=1)
    waiting = asyncio.create_task(session.call(GET, {"id": "0"}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await session.call(GET, {"id": "1"})
    assert virtual_time.elapsed == 0
    with pytest.raises(errors.BadGateway):
        await waiting


async def test_a_server_that_asks_for_a_pause_gets_it_from_all_calls(virtual_time: Any) -> None:
    sent: list[float] = []

    def busy_once(request: Request) -> Response:
        sent.append(virtual_time.elapsed)
        return answer({}, 429, {"retry-after": "7"}) if len(sent) == 1 else OK

    session = Session(ScriptedTransport(busy_once), NoAuth())
    first = asyncio.create_task(session.call(GET, {"id": "0"}))
    await asyncio.sleep(0.01)
    await asyncio.gather(first, *(session.call(GET, {"id": str(n)}) for n in range(20)))
    assert sent[0] == 0
    assert min(sent[1:]) >= 7
    assert len(sent) == 22


@pytest.mark.parametrize("timeout", [10, 30])
async def test_a_call_that_cannot_wait_out_the_pause_fails_at_once(virtual_time: Any, timeout: float) -> None:
    transport = ScriptedTransport(answer({}, 429, {"retry-after": "30"}))
    session = Session(transport, NoAuth(), timeout=timeout)
    with pytest.raises(errors.TooManyRequests):
        await session.call(GET, {"id": "0"})
    with pytest.raises(errors.TooManyRequests, match="not sent: the server asked for a pause") as caught:
        await session.call(ORDER, {}, {})
    assert caught.value.retry_after == pytest.approx(30, abs=0.1)
    assert len(transport.requests) == 1
    assert virtual_time.elapsed < 0.1


async def test_an_absurd_pause_does_not_close_the_client_for_ever(virtual_time: Any) -> None:
    session = Session(
        ScriptedTransport(answer({}, 429, {"retry-after": "999999999"}), OK), NoAuth(), timeout=90
    )
    with pytest.raises(errors.TooManyRequests):
        await session.call(GET, {"id": "0"})
    await session.call(GET, {"id": "0"})
    assert virtual_time.elapsed == pytest.approx(60, abs=0.1)


async def test_a_job_in_the_background_does_not_starve_interactive_calls(virtual_time: Any) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(1)
        return OK

    session = Session(ScriptedTransport(slow), NoAuth(), max_concurrency=4)
    job = session.with_options(lane="background")
    running = [asyncio.create_task(job.call(GET, {"id": str(n)})) for n in range(20)]
    await asyncio.sleep(0.5)
    await session.call(GET, {"id": "now"})
    assert virtual_time.elapsed == pytest.approx(1.5)
    await asyncio.gather(*running)


# ------------------------------------------------------------------ the quota


def _flaky(share: float) -> Any:
    chance = random.Random(1)
    return lambda request: answer({}, 503) if chance.random() < share else OK


@pytest.mark.parametrize(
    ("share", "least_success", "most_requests"),
    [(0, 1, 1), (0.05, 0.999, 1.07), (0.2, 0.99, 1.26), (1, 0, 1.05)],
)
async def test_faults_are_ridden_out_and_an_outage_is_not_made_worse(
    virtual_time: Any, share: float, least_success: float, most_requests: float
) -> None:
    calls = 2000
    transport = ScriptedTransport(_flaky(share))
    session = Session(transport, NoAuth())
    done = 0
    for _ in range(calls):
        try:
            await session.call(GET, {"id": "1"})
            done += 1
        except errors.ServerError:
            pass
    assert done / calls >= least_success
    assert len(transport.requests) / calls <= most_requests


async def test_the_quota_comes_back_with_success(virtual_time: Any) -> None:
    down = ScriptedTransport(answer({}, 503))
    session = Session(down, NoAuth())
    for _ in range(50):
        with pytest.raises(errors.ServerError):
            await session.call(GET, {"id": "1"})
    assert len(down.requests) < 50 + 40
    down.script = [OK]
    for _ in range(14):
        await session.call(GET, {"id": "1"})
    down.script = [answer({}, 503), OK]
    assert await session.call(GET, {"id": "1"}) == {"ok": True}


# ------------------------------------------------------------------ views


async def test_a_view_has_options_of_its_own_and_shares_the_rest(virtual_time: Any) -> None:
    transport = ScriptedTransport(LOST)
    session = Session(transport, NoAuth())
    view = session.with_options(attempts=1, timeout=2, headers={"X-Request-Source": "worker"})
    with pytest.raises(errors.AnswerLost):
        await view.call(GET, {"id": "1"})
    assert len(transport.requests) == 1
    assert transport.requests[0].headers["x-request-source"] == "worker"
    with pytest.raises(errors.AnswerLost):
        await session.call(GET, {"id": "1"})
    assert len(transport.requests) == 4
    assert "x-request-source" not in transport.requests[1].headers
    await view.aclose()
    with pytest.raises(errors.ClientClosed):
        await session.call(GET, {"id": "1"})


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "x"}, {"cookie": "x"}, {"host": "x"}, {"a b": "x"}, {"": "x"}, {"x": "a\r\nb: c"}],
)
def test_headers_that_are_not_the_callers_to_set_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidArgument):
        Session(ScriptedTransport(OK), NoAuth()).with_options(headers=headers)


@pytest.mark.parametrize("retry", ["safe", "once"])
async def test_cancelling_a_call_gives_its_slot_back(retry: Retry) -> None:
    transport = ScriptedTransport(never, OK)
    session = Session(transport, NoAuth(), max_concurrency=1)
    hanging = asyncio.create_task(session.call(endpoint(retry=retry), {"id": "1"}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await session.call(GET, {"id": "2"}) == {"ok": True}


async def test_a_closed_client_says_so_and_closing_twice_is_fine() -> None:
    session = Session(ScriptedTransport(OK), NoAuth())
    await session.aclose()
    await session.aclose()
    with pytest.raises(errors.ClientClosed, match="closed"):
        await session.call(GET, {"id": "1"})


def test_a_client_of_another_event_loop_says_so() -> None:
    session = Session(ScriptedTransport(OK), NoAuth())
    asyncio.run(session.call(GET, {"id": "1"}))
    with pytest.raises(errors.ClientClosed, match="another event loop"):
        asyncio.run(session.call(GET, {"id": "1"}))
