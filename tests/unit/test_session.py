"""One call: what is sent, how often, and what the caller gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from limio_async import errors
from limio_async.auth import NoAuth
from limio_async.core.session import Session
from limio_async.core.wire import Request, Response, Retry
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
    def first_fails(request: Request) -> Response:
        return answer({}, 429, {"retry-after": "50"}) if request.target.endswith("/0") else OK

    session = Session(ScriptedTransport(first_fails), NoAuth(), max_concurrency=1, attempts=2)
    waiting = asyncio.create_task(session.call(GET, {"id": "0"}))
    await asyncio.sleep(0.1)
    await session.call(GET, {"id": "1"})
    assert virtual_time.elapsed < 1
    with pytest.raises(errors.TooManyRequests):
        await waiting


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
